//! The kinds of documents, and the change each kind starts with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{AutoCommit, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, TextEncoding};

use crate::Actor;

/// The schema version that this build writes. A document may carry a newer one: what is not understood is kept.
pub const SCHEMA: u64 = 1;

/// Root key of the document's kind.
pub(crate) const KIND_KEY: &str = "kind";
/// Root key of the document's schema version.
pub(crate) const SCHEMA_KEY: &str = "schema";

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum DocumentKind {
    /// A segment of a chat.
    Timeline = 1,
    /// A rich text.
    Note = 2,
    /// Events.
    Calendar = 3,
    /// Folders and files.
    Drive = 4,
}

impl DocumentKind {
    /// Every kind that this build knows.
    pub const ALL: [Self; 4] = [Self::Timeline, Self::Note, Self::Calendar, Self::Drive];

    /// The kind with this number on the wire.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its number on the wire and in the document's root.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeline => "timeline",
            Self::Note => "note",
            Self::Calendar => "calendar",
            Self::Drive => "drive",
        })
    }
}

/// A document that holds only the genesis change of its kind: the same bytes, hence the same hash, on every device, so
/// that two devices which start one document at the same time start with the same objects.
pub(crate) fn genesis_document(kind: DocumentKind) -> AutoCommit {
    let mut doc = AutoCommit::new_with_encoding(TEXT_ENCODING).with_actor(Actor::GENESIS.to_automerge());
    let write = |doc: &mut AutoCommit| {
        doc.put(ROOT, KIND_KEY, u64::from(kind.number()))?;
        doc.put(ROOT, SCHEMA_KEY, SCHEMA)?;
        for (key, object) in genesis_objects(kind) {
            doc.put_object(ROOT, *key, *object)?;
        }
        Ok::<_, automerge::AutomergeError>(())
    };
    write(&mut doc).expect("writing to the root of an empty document cannot fail");
    doc.commit_with(CommitOptions::default().with_time(0));
    doc
}

/// The hash of a kind's genesis change.
pub(crate) fn genesis_hash(kind: DocumentKind) -> ChangeHash {
    static HASHES: OnceLock<[ChangeHash; DocumentKind::ALL.len()]> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| DocumentKind::ALL.map(|kind| genesis_document(kind).get_heads()[0]));
    hashes[usize::from(kind.number()) - 1]
}

/// Where the operations of a kind's genesis end.
pub(crate) fn genesis_operations(kind: DocumentKind) -> u64 {
    static ENDS: OnceLock<[u64; DocumentKind::ALL.len()]> = OnceLock::new();
    let end = |kind| genesis_document(kind).get_changes(&[]).first().map_or(0, automerge::Change::max_op);
    ENDS.get_or_init(|| DocumentKind::ALL.map(end))[usize::from(kind.number()) - 1]
}

/// The id of an object that a kind starts with. Whatever is done to the root later, the object keeps it.
pub(crate) fn genesis_object(kind: DocumentKind, key: &str) -> ObjId {
    static OBJECTS: OnceLock<BTreeMap<(DocumentKind, &'static str), ObjId>> = OnceLock::new();
    let objects = OBJECTS.get_or_init(|| {
        let mut objects = BTreeMap::new();
        for kind in DocumentKind::ALL {
            let doc = genesis_document(kind);
            for (key, _) in genesis_objects(kind) {
                let (_, id) = doc.get(ROOT, *key).ok().flatten().expect("the genesis holds its objects");
                objects.insert((kind, *key), id);
            }
        }
        objects
    });
    objects.get(&(kind, key)).expect("asked only for what the genesis of the kind holds").clone()
}

/// The maps that a kind starts with.
pub(crate) fn genesis_maps(kind: DocumentKind) -> impl Iterator<Item = ObjId> {
    let maps = genesis_objects(kind).iter().filter(|(_, object)| *object == ObjType::Map);
    maps.map(move |(key, _)| genesis_object(kind, key))
}

/// How positions in a text are counted: Unicode code points.
pub(crate) const TEXT_ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// The objects at the root that a kind starts with. To change a line here is to change the format.
fn genesis_objects(kind: DocumentKind) -> &'static [(&'static str, ObjType)] {
    match kind {
        DocumentKind::Timeline => &[],
        DocumentKind::Note => &[("text", ObjType::Text)],
        DocumentKind::Calendar => {
            &[("events", ObjType::Map), ("others", ObjType::Map), ("properties", ObjType::Map), ("zones", ObjType::Map)]
        }
        DocumentKind::Drive => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_match() {
        for kind in DocumentKind::ALL {
            assert_eq!(DocumentKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(DocumentKind::from_number(0), None);
        assert_eq!(DocumentKind::from_number(5), None);
    }

    #[test]
    fn genesis_is_the_same_everywhere() {
        let golden = [
            (DocumentKind::Timeline, "3b40b3ff7e76b22f9ab9321cfb23f14a2269bb848d8123180553e5e56a3f58c5"),
            (DocumentKind::Note, "b9ed34f16ace5e1be2fe7a88561f6bf72019974576cd0608f8a702698bcd5b77"),
            (DocumentKind::Calendar, "cddc6967d497de6688f787308ebb30edf31b96523011403508404cfbd0fc62b6"),
            (DocumentKind::Drive, "37e7c1560e8455c1978c022481cb2b44d34bfc78f90f12e44d31476af958bcc4"),
        ];
        let actual = DocumentKind::ALL.map(|kind| (kind, genesis_hash(kind).to_string()));
        assert_eq!(actual, golden.map(|(kind, hash)| (kind, hash.to_owned())));
    }
}
