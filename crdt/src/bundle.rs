//! Many changes of one document in little room, so that each of them comes out again byte for byte.
//!
//! A change says much that follows from the others: the hashes of those it builds on, its author's name, its place, where
//! its operations are numbered from. A bundle leaves that out, gathers what is alike and compresses it; who unpacks it puts
//! it back. So what was hashed and signed can be hashed and checked again, and nothing in a bundle is believed that a
//! change by itself would not be: Automerge's own saved document, which is as small, has an order of operations besides
//! that its loader trusts.
//!
//! The bytes follow from the set of changes: they stand in one order, causes before effects and those that could stand in the
//! same place by hash.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::change::ChangeHash;
use crate::{Actor, ChangeFault, ChangeInfo, CrdtError, DocumentKind, kind};

mod columns;
#[cfg(test)]
mod tests;

use columns::Reader;

/// The most changes that a bundle holds.
pub const BUNDLE_CHANGES_MAX: usize = 65_536;
/// What a bundle unpacks to at most, in bytes: a few bytes could claim gigabytes.
pub const BUNDLE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A change with what it says about itself.
pub type Bundled = (ChangeInfo, Vec<u8>);

/// A bundle whose content is closed: all that a change in it builds on is in it too, each author's changes are there from the
/// first on without gaps, and each names the one before it. Whether they fit the document is for
/// [`Document::apply`](crate::Document::apply) to find, as of any changes.
#[derive(Debug)]
pub struct Bundle {
    kind: DocumentKind,
    changes: Vec<Bundled>,
}

impl Bundle {
    /// Puts changes into the order of a bundle: those of a document, each once, in any order.
    ///
    /// # Errors
    /// [`CrdtError::Change`] if they are not closed as a bundle is, [`CrdtError::TooLarge`] if they are too many.
    pub fn new(kind: DocumentKind, changes: impl IntoIterator<Item = Bundled>) -> Result<Self, CrdtError> {
        let (order, left) = sorted(kind, changes.into_iter().collect());
        if left > 0 {
            return Err(ChangeFault::Dependency.into());
        }
        let bundle = Self { kind, changes: order };
        check_len(bundle.changes.len())?;
        check_bytes(bundle.changes.iter().map(|(_, bytes)| bytes.len()).sum())?;
        Chains::new(kind).check(&bundle.changes)?;
        Ok(bundle)
    }

    /// As many of these changes as can be in a bundle: not `without`, not two of one author in one place, and nothing that builds
    /// on what is not in it. It follows from the sets alone.
    #[must_use]
    pub fn most(
        kind: DocumentKind,
        changes: impl IntoIterator<Item = Bundled>,
        without: &BTreeSet<ChangeHash>,
    ) -> Self {
        let changes: BTreeMap<ChangeHash, Bundled> =
            changes.into_iter().map(|change| (change.0.hash, change)).collect();
        let mut rivals = BTreeMap::<(Actor, u64), usize>::new();
        changes.values().for_each(|(info, _)| *rivals.entry((info.actor, info.seq)).or_default() += 1);
        let stands = |(info, _): &Bundled| rivals[&(info.actor, info.seq)] == 1 && !without.contains(&info.hash);
        let (order, _) = sorted(kind, changes.into_values().filter(stands).collect());
        let mut chains = Chains::new(kind);
        Self { kind, changes: order.into_iter().filter(|(info, _)| chains.admit(info).is_ok()).collect() }
    }

    /// Of which kind the document is.
    #[must_use]
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The changes, causes before effects.
    #[must_use]
    pub fn changes(&self) -> &[Bundled] {
        &self.changes
    }

    /// The changes, causes before effects.
    #[must_use]
    pub fn into_changes(self) -> Vec<Bundled> {
        self.changes
    }

    /// Their hashes.
    #[must_use]
    pub fn hashes(&self) -> BTreeSet<ChangeHash> {
        self.changes.iter().map(|(info, _)| info.hash).collect()
    }

    /// The last change of each author, as a place in [`changes`](Self::changes).
    #[must_use]
    pub fn tips(&self) -> BTreeMap<Actor, usize> {
        // Of one author each comes after the one before it.
        self.changes.iter().enumerate().map(|(place, (info, _))| (info.actor, place)).collect()
    }

    /// The bundle in one piece. Equal sets of changes give equal bytes.
    ///
    /// # Errors
    /// [`CrdtError::Change`] if a change was not what [`inspect_change`](crate::inspect_change) read.
    pub fn pack(&self) -> Result<Vec<u8>, CrdtError> {
        let columns = columns::write(self.kind, &self.changes)?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(9));
        let packed = encoder.write_all(&columns).and_then(|()| encoder.finish());
        packed.map_err(|_| CrdtError::Internal("a bundle could not be written to memory"))
    }

    /// Reads what [`pack`](Self::pack) wrote, from whomever. Takes no more memory than a few times [`BUNDLE_BYTES_MAX`],
    /// whatever the bytes are.
    ///
    /// # Errors
    /// [`CrdtError::Change`] or [`CrdtError::TooLarge`].
    pub fn unpack(kind: DocumentKind, packed: &[u8]) -> Result<Self, CrdtError> {
        let mut columns = Vec::new();
        let limit = BUNDLE_BYTES_MAX as u64 + 1;
        let read = DeflateDecoder::new(packed).take(limit).read_to_end(&mut columns);
        read.map_err(|_| ChangeFault::Malformed)?;
        check_bytes(columns.len())?;
        let mut reader = Reader::new(kind, &columns)?;
        check_len(reader.len())?;
        let (mut changes, mut chains, mut bytes) = (Vec::new(), Chains::new(kind), 0);
        while let Some(change) = reader.next()? {
            bytes += change.1.len();
            check_bytes(bytes)?;
            chains.admit(&change.0)?;
            changes.push(change);
        }
        Ok(Self { kind, changes })
    }
}

fn check_len(len: usize) -> Result<(), CrdtError> {
    if len > BUNDLE_CHANGES_MAX {
        return Err(CrdtError::TooLarge { what: "the number of changes", bytes: len, limit: BUNDLE_CHANGES_MAX });
    }
    Ok(())
}

fn check_bytes(bytes: usize) -> Result<(), CrdtError> {
    if bytes > BUNDLE_BYTES_MAX {
        return Err(CrdtError::TooLarge { what: "the bundle", bytes, limit: BUNDLE_BYTES_MAX });
    }
    Ok(())
}

/// What the changes so far come to: whether the next one may follow.
struct Chains {
    known: BTreeSet<ChangeHash>,
    last: BTreeMap<Actor, (u64, ChangeHash)>,
}

impl Chains {
    fn new(kind: DocumentKind) -> Self {
        Self { known: BTreeSet::from([kind::genesis_hash(kind).0]), last: BTreeMap::new() }
    }

    fn check(&mut self, changes: &[Bundled]) -> Result<(), ChangeFault> {
        changes.iter().try_for_each(|(info, _)| self.admit(info))
    }

    fn admit(&mut self, info: &ChangeInfo) -> Result<(), ChangeFault> {
        if info.deps.is_empty() {
            return Err(ChangeFault::AnotherDocument);
        }
        if !info.deps.iter().all(|dep| self.known.contains(dep)) {
            return Err(ChangeFault::Dependency);
        }
        let continues = match self.last.get(&info.actor) {
            None => info.seq == 1,
            Some((seq, hash)) => info.seq == seq + 1 && info.deps.contains(hash),
        };
        if !continues || !self.known.insert(info.hash) {
            return Err(ChangeFault::Sequence);
        }
        self.last.insert(info.actor, (info.seq, info.hash));
        Ok(())
    }
}

/// Causes before effects; of those that could come next the one with the least hash. And how many changes build on what is not
/// there.
fn sorted(kind: DocumentKind, changes: Vec<Bundled>) -> (Vec<Bundled>, usize) {
    let genesis = kind::genesis_hash(kind).0;
    let mut all: BTreeMap<ChangeHash, Bundled> = changes.into_iter().map(|change| (change.0.hash, change)).collect();
    let (mut unmet, mut children) = (BTreeMap::new(), BTreeMap::<ChangeHash, Vec<ChangeHash>>::new());
    let mut ready = BTreeSet::new();
    for (hash, (info, _)) in &all {
        let deps = info.deps.iter().filter(|dep| **dep != genesis);
        deps.clone().for_each(|dep| children.entry(*dep).or_default().push(*hash));
        if deps.clone().next().is_none() {
            ready.insert(*hash);
        }
        unmet.insert(*hash, deps.count());
    }
    let mut order = Vec::with_capacity(all.len());
    while let Some(hash) = ready.pop_first() {
        order.extend(all.remove(&hash));
        for child in children.get(&hash).into_iter().flatten() {
            let unmet = unmet.get_mut(child).expect("every change has its number");
            *unmet -= 1;
            if *unmet == 0 {
                ready.insert(*child);
            }
        }
    }
    (order, all.len())
}
