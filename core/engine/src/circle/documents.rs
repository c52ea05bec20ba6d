//! The documents of a circle: which there are, loading them when they are asked for, editing, taking in changes.

use clave_crdt::{Actor, CrdtError, DocumentKind};

use super::*;
use crate::membership::{Reason, Right};

/// Changes since the last snapshot after which a document is saved anew when it is loaded.
const CHANGES_PER_SNAPSHOT: usize = 256;

/// Bytes of changes per entry, as far as whole changes allow.
const PIECE_BYTES: usize = 1024 * 1024;

/// Bytes of changes that may wait for somebody to look at a loaded document; with more it is let go.
const ARRIVED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Changes that wait to be applied.
#[derive(Default)]
pub(super) struct Arrived {
    changes: Vec<Vec<u8>>,
    bytes: usize,
}

/// A document, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentInfo {
    /// Which.
    pub id: DocumentId,
    /// Of which kind.
    pub kind: DocumentKind,
}

impl Circle {
    /// What documents there are, in order of id.
    pub(crate) fn documents(&self) -> Vec<DocumentInfo> {
        self.documents.keys().map(|(id, kind)| DocumentInfo { id: *id, kind: *kind }).collect()
    }

    /// The document, loaded if it is not yet; an empty one of `kind` if nobody wrote to it so far.
    pub(crate) fn document(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
    ) -> Result<&mut Document, EngineError> {
        if !self.loaded.contains_key(&(id, kind)) {
            let document = self.load(id, kind, desk)?;
            self.loaded.insert((id, kind), document);
        }
        let document = self.loaded.get_mut(&(id, kind)).expect("it was loaded above");
        if let Some(arrived) = self.arrived.remove(&(id, kind)) {
            document.apply(&arrived.changes)?;
        }
        Ok(document)
    }

    /// Who this device writes as in this circle.
    fn actor(&self, desk: &Desk) -> Actor {
        let device = self.log.membership().devices.get(&desk.me());
        let stay = device.map(|device| *device.since.as_bytes().first_chunk().expect("an id is longer"));
        Actor::new(*desk.me().as_bytes(), stay.unwrap_or_default(), desk.incarnation)
    }

    fn load(&mut self, id: DocumentId, kind: DocumentKind, desk: &mut Desk) -> Result<Document, EngineError> {
        let actor = self.actor(desk);
        let snapshot = desk.store.read(&snapshot_key(self.id, id, kind))?;
        let records = desk.store.all(Keyspace::Changes, &scope(self.id, id, kind))?;
        let changes: Vec<Vec<u8>> = records.values().cloned().collect();
        let mut document = Document::load(kind, actor, snapshot.as_deref(), &[] as &[Vec<u8>])?;
        let applied = document.apply(&changes)?;
        if !applied.refused.is_empty() {
            tracing::warn!(document = %id.short(), count = applied.refused.len(), "changes left out of a document");
        }
        if changes.len() >= CHANGES_PER_SNAPSHOT {
            desk.put(snapshot_key(self.id, id, kind), document.save()?);
            for suffix in records.into_keys() {
                desk.remove(Key::new(Keyspace::Changes, scope(self.id, id, kind), suffix));
            }
        }
        Ok(document)
    }

    /// Lets `edit` change a document; what it changed becomes one entry, or none if it changed nothing.
    ///
    /// A large edit may commit pieces of itself and put them into the list it is given; they become entries of their
    /// own. If `edit` fails, the document is as it was, but for such pieces.
    pub(crate) fn edit<T>(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
        edit: impl FnOnce(&mut Document, &mut Vec<Vec<u8>>) -> Result<T, CrdtError>,
    ) -> Result<T, EngineError> {
        if !self.log.membership().may(desk.me(), Right::Write) {
            return Err(EngineError::NotAllowed(Reason::NotAllowed { right: Right::Write }));
        }
        let now_ms = desk.now_ms;
        let document = self.document(id, kind, desk)?;
        let mut changes = Vec::new();
        let result = edit(document, &mut changes);
        match &result {
            Ok(_) => changes.extend(document.commit(now_ms)),
            Err(_) => document.discard(),
        }
        if let Err(error) = self.publish_changes(id, kind, &changes, desk) {
            // Not everybody could be sent it: forget it, and load what is stored when the document is next asked for.
            self.loaded.remove(&(id, kind));
            self.arrived.remove(&(id, kind));
            return Err(error);
        }
        Ok(result?)
    }

    fn publish_changes(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        changes: &[Vec<u8>],
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        for piece in pieces(changes) {
            let body = proto::Changes {
                document: id.as_bytes().to_vec(),
                kind: kind.number().into(),
                changes: piece.to_vec(),
            };
            self.publish(Body::Changes(body), desk)?;
            self.record(id, kind, piece, desk);
        }
        if !changes.is_empty() {
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
        Ok(())
    }

    /// Writes changes behind those a document already has.
    fn record(&mut self, id: DocumentId, kind: DocumentKind, changes: &[Vec<u8>], desk: &mut Desk) {
        let record = self.documents.entry((id, kind)).or_default();
        for change in changes {
            let key = Key::new(Keyspace::Changes, scope(self.id, id, kind), record.next_change.to_be_bytes());
            desk.put(key, change.clone());
            record.next_change += 1;
        }
        let suffix = [id.as_bytes().as_slice(), &[kind.number()]].concat();
        desk.put(Key::new(Keyspace::Documents, self.id.as_bytes(), suffix), record.encode_to_vec());
    }

    /// Takes in changes from others. They are stored now, and applied when somebody next asks for the document, all that
    /// came by then in one call: a call costs as much as hundreds of changes.
    pub(super) fn apply(&mut self, changes: BTreeMap<(DocumentId, DocumentKind), Vec<Vec<u8>>>, desk: &mut Desk) {
        for ((id, kind), changes) in changes {
            self.record(id, kind, &changes, desk);
            if self.loaded.contains_key(&(id, kind)) {
                let arrived = self.arrived.entry((id, kind)).or_default();
                arrived.bytes += changes.iter().map(Vec::len).sum::<usize>();
                arrived.changes.extend(changes);
                if arrived.bytes > ARRIVED_BYTES_MAX {
                    // Nobody looks at it. Who does will have it loaded.
                    self.loaded.remove(&(id, kind));
                    self.arrived.remove(&(id, kind));
                }
            }
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
    }
}

/// Cuts a run of changes into pieces that fit an entry. A single change is never cut.
fn pieces(changes: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let mut rest = changes;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |change: &&Vec<u8>| {
            bytes += change.len();
            bytes <= PIECE_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (piece, after) = rest.split_at(count);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

pub(super) fn kind_of(number: u32) -> Option<DocumentKind> {
    DocumentKind::from_number(u8::try_from(number).ok()?)
}

fn scope(circle: CircleId, document: DocumentId, kind: DocumentKind) -> Vec<u8> {
    [circle.as_bytes().as_slice(), document.as_bytes(), &[kind.number()]].concat()
}

fn snapshot_key(circle: CircleId, document: DocumentId, kind: DocumentKind) -> Key {
    Key::new(Keyspace::Snapshots, scope(circle, document, kind), [])
}
