//! The documents of a circle: which there are, loading them when they are asked for, editing, taking in changes.

use clave_crdt::{Actor, DocumentKind};

use super::*;

/// Changes since the last snapshot after which a document is saved anew when it is loaded.
const CHANGES_PER_SNAPSHOT: usize = 256;

/// The greatest single change that is made or sent.
const CHANGE_BYTES_MAX: usize = crate::entry::ENTRY_BYTES_MAX / 2;

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
        self.documents
            .iter()
            .filter_map(|(id, record)| {
                Some(DocumentInfo { id: *id, kind: DocumentKind::try_from(record.kind).ok()? })
            })
            .collect()
    }

    /// The document, loaded if it is not yet; an empty one of `kind` if nobody wrote to it so far.
    pub(crate) fn document(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
    ) -> Result<&mut Document, EngineError> {
        if self.documents.get(&id).is_some_and(|record| record.kind != u32::from(kind)) {
            return Err(EngineError::WrongKind);
        }
        if !self.loaded.contains_key(&id) {
            let document = self.load(id, kind, desk)?;
            self.loaded.insert(id, document);
        }
        Ok(self.loaded.get_mut(&id).expect("it was loaded above"))
    }

    fn load(&mut self, id: DocumentId, kind: DocumentKind, desk: &mut Desk) -> Result<Document, EngineError> {
        let actor = Actor::new(*desk.me().as_bytes(), desk.incarnation);
        let snapshot = desk.store.read(&snapshot_key(self.id, id))?;
        let records = desk.store.all(Keyspace::Changes, &scope(self.id, id))?;
        let changes: Vec<Vec<u8>> = records.values().cloned().collect();
        let mut document = Document::load(kind, actor, snapshot.as_deref(), &changes)?;
        if changes.len() >= CHANGES_PER_SNAPSHOT {
            desk.put(snapshot_key(self.id, id), document.save());
            for suffix in records.into_keys() {
                desk.remove(Key::new(Keyspace::Changes, scope(self.id, id), suffix));
            }
        }
        Ok(document)
    }

    /// Lets `edit` change a document; what it changed becomes one entry, or none if it changed nothing.
    ///
    /// If `edit` fails, the document is as it was.
    pub(crate) fn edit<T>(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
        edit: impl FnOnce(&mut Document) -> Result<T, clave_crdt::DocumentError>,
    ) -> Result<T, EngineError> {
        let now_ms = desk.now_ms;
        let document = self.document(id, kind, desk)?;
        let result = edit(document);
        let changes = match result {
            Ok(_) => document.take_local_changes(now_ms),
            Err(_) => {
                document.rollback();
                document.take_local_changes(now_ms)
            }
        };
        self.publish_changes(id, kind, changes, desk)?;
        Ok(result?)
    }

    fn publish_changes(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        changes: Vec<Vec<u8>>,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        if changes.is_empty() {
            return Ok(());
        }
        if changes.iter().any(|change| change.len() > CHANGE_BYTES_MAX) {
            // Nobody could be sent it: forget it, and load what is stored when the document is next asked for.
            self.loaded.remove(&id);
            return Err(EngineError::TooLarge);
        }
        for piece in pieces(&changes) {
            let body =
                proto::Changes { document: id.as_bytes().to_vec(), kind: kind.into(), changes: piece.to_vec() };
            self.publish(Body::Changes(body), desk)?;
        }
        self.record(id, kind, &changes, desk);
        desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        Ok(())
    }

    /// Writes changes behind those a document already has.
    fn record(&mut self, id: DocumentId, kind: DocumentKind, changes: &[Vec<u8>], desk: &mut Desk) {
        let record =
            self.documents.entry(id).or_insert(local::DocumentRecord { kind: kind.into(), next_change: 0 });
        for change in changes {
            let key = Key::new(Keyspace::Changes, scope(self.id, id), record.next_change.to_be_bytes());
            desk.put(key, change.clone());
            record.next_change += 1;
        }
        desk.put(Key::new(Keyspace::Documents, self.id.as_bytes(), id.as_bytes()), record.encode_to_vec());
    }

    /// Takes in changes from others: every document in one call.
    pub(super) fn apply(
        &mut self,
        changes: BTreeMap<DocumentId, (DocumentKind, Vec<Vec<u8>>)>,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        for (id, (kind, changes)) in changes {
            self.record(id, kind, &changes, desk);
            if let Some(document) = self.loaded.get_mut(&id) {
                document.apply(&changes)?;
            }
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
        Ok(())
    }
}

/// Cuts a run of changes into pieces that fit an entry. A single change is never cut.
fn pieces(changes: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    const PIECE_BYTES: usize = crate::entry::ENTRY_BYTES_MAX / 4;
    let (mut pieces, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, change) in changes.iter().enumerate() {
        if at > start && bytes + change.len() > PIECE_BYTES {
            pieces.push(&changes[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += change.len();
    }
    pieces.push(&changes[start..]);
    pieces
}

fn scope(circle: CircleId, document: DocumentId) -> Vec<u8> {
    [circle.as_bytes().as_slice(), document.as_bytes()].concat()
}

fn snapshot_key(circle: CircleId, document: DocumentId) -> Key {
    Key::new(Keyspace::Snapshots, scope(circle, document), [])
}
