//! The documents of a circle: which there are, loading them when they are asked for, editing, taking in changes.

use clave_crdt::{Actor, ChangeHash, CrdtError, DocumentKind, inspect_change};

use super::judge::ChangesByDocument;
use super::*;
use crate::membership::{Reason, Right};

/// Changes since the last snapshot after which a document is saved anew when it is loaded.
const CHANGES_PER_SNAPSHOT: usize = 256;

/// Bytes of changes per entry, as far as whole changes allow.
const PIECE_BYTES: usize = 1024 * 1024;

/// Bytes of changes that may wait for somebody to look at a loaded document; with more it is let go.
const ARRIVED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A document that somebody looked at.
pub(super) struct Loaded {
    pub(super) document: Document,
    /// Of a segment of the chat, once something was derived from it.
    pub(super) tally: Option<views::Tally>,
    /// When it was used last, in uses of documents.
    pub(super) used: u64,
    /// How many operations the log had when it was last reviewed.
    reviewed_at: usize,
}

/// Changes that wait to be applied.
#[derive(Default)]
pub(super) struct Arrived {
    changes: Vec<Vec<u8>>,
    pub(super) bytes: usize,
    /// Whether one is by somebody who is not in standing.
    to_review: bool,
}

/// A document, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentInfo {
    /// Which.
    pub id: DocumentId,
    /// Of which kind.
    pub kind: DocumentKind,
    /// The hour of the newest entry about it, in hours since 1970, by its author's clock.
    pub newest_hour: u32,
}

/// A change that is not shown, because its author was removed (or never was in) and nobody in standing built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// The author, as Automerge names it.
    pub actor: Actor,
    /// The author's device, if the log knows it.
    pub device: Option<DeviceId>,
    /// When its author's clock says it was made, in Unix seconds.
    pub time_s: i64,
}

impl Circle {
    /// What documents there are, in order of id.
    pub(crate) fn documents(&self) -> Vec<DocumentInfo> {
        let info = |((id, kind), record): (&(DocumentId, DocumentKind), &local::DocumentRecord)| DocumentInfo {
            id: *id,
            kind: *kind,
            newest_hour: record.newest_hour,
        };
        self.documents.iter().map(info).collect()
    }

    /// Whether anybody wrote to a document.
    pub(crate) fn has_document(&self, id: DocumentId, kind: DocumentKind) -> bool {
        self.documents.contains_key(&(id, kind))
    }

    /// The document as the membership has it, loaded if it is not yet; an empty one of `kind` if nobody wrote to it so
    /// far.
    pub(crate) fn document(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
    ) -> Result<&mut Document, EngineError> {
        let name = (id, kind);
        let actor = self.actor(desk);
        // Who came back writes in another stay.
        if self.loaded.get(&name).is_some_and(|loaded| loaded.document.owner() != actor) {
            self.unload(&name);
        }
        if !self.loaded.contains_key(&name) {
            let document = self.load(id, kind, actor, desk)?;
            self.loaded.insert(name, Loaded { document, tally: None, used: 0, reviewed_at: 0 });
            self.arrived.remove(&name);
        }
        self.make_room(&name, desk);
        desk.uses += 1;
        let loaded = self.loaded.get_mut(&name).expect("it was loaded above");
        loaded.used = desk.uses;
        let arrived = self.arrived.remove(&name).unwrap_or_default();
        if !arrived.changes.is_empty() {
            loaded.document.apply(&arrived.changes)?;
        }
        let membership = self.log.membership();
        if arrived.to_review || loaded.reviewed_at != self.log.len() {
            loaded.document.review(
                |actor| off(Rule::ChangesSetAside) || standing::in_standing(membership, actor),
                |hash| membership.kept_changes().contains(hash) && !off(Rule::ChangesKept),
            )?;
            loaded.reviewed_at = self.log.len();
        }
        let counts = (count(loaded.document.set_aside_len()), count(loaded.document.held()));
        if let Some(record) = self.documents.get_mut(&name)
            && (record.set_aside, record.waiting) != counts
        {
            (record.set_aside, record.waiting) = counts;
            desk.put(record_key(self.id, id, kind), record.encode_to_vec());
        }
        Ok(&mut loaded.document)
    }

    /// Lets go of a document, to be loaded again when it is next asked for.
    pub(super) fn unload(&mut self, name: &(DocumentId, DocumentKind)) {
        self.loaded.remove(name);
        self.arrived.remove(name);
    }

    /// Who this device writes as in this circle.
    fn actor(&self, desk: &Desk) -> Actor {
        let device = self.log.membership().devices.get(&desk.me());
        let stay = device.map(|device| *device.since.as_bytes().first_chunk().expect("an id is longer"));
        Actor::new(*desk.me().as_bytes(), stay.unwrap_or_default(), desk.incarnation)
    }

    /// The document with everything that anybody wrote.
    fn load(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        actor: Actor,
        desk: &mut Desk,
    ) -> Result<Document, EngineError> {
        let snapshot = desk.store.read(&snapshot_key(self.id, id, kind))?;
        let records = desk.store.all(Keyspace::Changes, &scope(self.id, id, kind))?;
        let mut changes = self.unread_changes(&(id, kind), desk)?;
        changes.extend(records.values().cloned());
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
            self.note_read(&(id, kind), desk);
        }
        Ok(document)
    }

    /// What is set aside in a document.
    pub(crate) fn set_aside(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        desk: &mut Desk,
    ) -> Result<Vec<SetAsideChange>, EngineError> {
        let infos = self.document(id, kind, desk)?.set_aside();
        let known = &self.log.membership().stays;
        let device = |actor: &Actor| known.keys().copied().find(|device| actor.belongs_to(device.as_bytes()));
        Ok(infos
            .into_iter()
            .map(|info| SetAsideChange {
                hash: info.hash,
                actor: info.actor,
                device: device(&info.actor),
                time_s: info.time_s,
            })
            .collect())
    }

    /// What is set aside in each document in which somebody wrote who is not in standing.
    pub(crate) fn all_set_aside(
        &mut self,
        desk: &mut Desk,
    ) -> Result<BTreeMap<(DocumentId, DocumentKind), Vec<SetAsideChange>>, EngineError> {
        let mut all = BTreeMap::new();
        for name in self.documents_to_review(desk)? {
            let set_aside = self.set_aside(name.0, name.1, desk)?;
            if !set_aside.is_empty() {
                all.insert(name, set_aside);
            }
        }
        Ok(all)
    }

    /// Takes over what is set aside in a document. How many changes that were.
    pub(crate) fn vouch(&mut self, id: DocumentId, kind: DocumentKind, desk: &mut Desk) -> Result<usize, EngineError> {
        let (before, now_ms) = (self.set_aside(id, kind, desk)?.len(), desk.now_ms);
        self.edit(id, kind, desk, |document, changes| {
            changes.extend(document.vouch(now_ms)?);
            Ok(())
        })?;
        Ok(before - self.set_aside(id, kind, desk)?.len())
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
        self.refuse_apart()?;
        // Who is out of the space around, or a guest whose date has passed by this clock, writes no more than who is removed:
        // they cannot change the keys, so it would be sealed for whoever was removed.
        if !self.is_member(&desk.me()) || !self.log.membership().may(desk.me(), Right::Write) {
            return Err(EngineError::NotAllowed(Reason::NotAllowed { right: Right::Write }));
        }
        let now_ms = desk.now_ms;
        if self.is_over_segment(&(id, kind), now_ms) {
            return Err(EngineError::Document(CrdtError::NotFound("message: it has expired")));
        }
        let document = self.document(id, kind, desk)?;
        let mut changes = Vec::new();
        let result = edit(document, &mut changes);
        match &result {
            Ok(_) => changes.extend(document.commit(now_ms)),
            Err(_) => document.discard(),
        }
        if let Err(error) = self.publish_changes(id, kind, &changes, desk) {
            // Not everybody could be sent it: forget it, and load what is stored when the document is next asked for.
            self.unload(&(id, kind));
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
            let infos = piece.iter().map(|change| inspect_change(change)).collect::<Result<Vec<_>, _>>()?;
            if lasts(kind) {
                self.publish_lasting(Body::Changes(body), desk)?;
            } else {
                self.publish(Body::Changes(body), desk)?;
            }
            let hour = crate::entry::hour_of(desk.now_ms);
            self.record(id, kind, piece, (hour, hour), desk);
            self.note_authors((id, kind), &infos, desk)?;
        }
        if !changes.is_empty() {
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
        Ok(())
    }

    /// Writes changes behind those a document already has.
    fn record(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        changes: &[Vec<u8>],
        (oldest_hour, newest_hour): (u32, u32),
        desk: &mut Desk,
    ) {
        let is_new = !self.documents.contains_key(&(id, kind));
        let record = self.documents.entry((id, kind)).or_default();
        record.newest_hour = record.newest_hour.max(newest_hour);
        // What is not known of those before stays unknown.
        record.oldest_hour = if is_new { oldest_hour } else { record.oldest_hour.min(oldest_hour) };
        record.loose += changes.len() as u64;
        for change in changes {
            let key = Key::new(Keyspace::Changes, scope(self.id, id, kind), record.next_change.to_be_bytes());
            desk.put(key, change.clone());
            record.next_change += 1;
        }
        desk.put(record_key(self.id, id, kind), record.encode_to_vec());
        self.note_loose(&(id, kind), is_new, desk);
        self.make_stale((id, kind), false, desk);
    }

    /// Takes in changes from others. They are stored now, and applied when somebody next asks for the document, all that
    /// came by then in one call: a call costs as much as hundreds of changes.
    pub(super) fn apply(&mut self, changes: ChangesByDocument, desk: &mut Desk) -> Result<(), EngineError> {
        let mut result = Ok(());
        for (name, judge::Arriving { mut changes, newest_hour, oldest_hour, bundles }) in changes {
            let (id, kind) = name;
            if self.is_over_segment(&name, desk.now_ms) {
                // What it builds on is erased.
                continue;
            }
            let mut bundled = Vec::new();
            let is_bundled = !bundles.is_empty();
            for bundle in bundles {
                match self.adopt(name, bundle, desk) {
                    Ok(changes) => bundled.extend(changes),
                    Err(error) => result = result.and(Err(error)),
                }
            }
            if is_bundled && bundled.is_empty() && changes.is_empty() {
                continue;
            }
            if !changes.is_empty() || !is_bundled {
                let bytes: Vec<Vec<u8>> = changes.iter().map(|(_, bytes)| bytes.clone()).collect();
                self.record(id, kind, &bytes, (oldest_hour, newest_hour), desk);
                self.sweep_if(&name, is_bundled, desk);
            }
            if !bundled.is_empty() {
                self.make_stale(name, false, desk);
            }
            changes.extend(bundled);
            let (infos, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            // The changes are filed as done: they have to take effect whatever becomes of the note.
            result = result.and(self.note_authors(name, &infos, desk));
            if self.loaded.contains_key(&name) {
                let membership = self.log.membership();
                let arrived = self.arrived.entry(name).or_default();
                arrived.to_review |= infos.iter().any(|info| !standing::in_standing(membership, &info.actor));
                arrived.bytes += changes.iter().map(Vec::len).sum::<usize>();
                arrived.changes.extend(changes);
                if arrived.bytes > ARRIVED_BYTES_MAX {
                    // Nobody looks at it. Who does will have it loaded.
                    self.unload(&name);
                }
            }
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
        result
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

/// Whether what was done to a document has to stay readable for whoever is to see it: all but the chat, whose segments are
/// read by themselves.
pub(super) fn lasts(kind: DocumentKind) -> bool {
    kind != DocumentKind::Timeline
}

pub(crate) fn kind_of(number: u32) -> Option<DocumentKind> {
    DocumentKind::from_number(u8::try_from(number).ok()?)
}

pub(crate) fn scope(circle: CircleId, document: DocumentId, kind: DocumentKind) -> Vec<u8> {
    [circle.as_bytes().as_slice(), document.as_bytes(), &[kind.number()]].concat()
}

pub(crate) fn record_key(circle: CircleId, document: DocumentId, kind: DocumentKind) -> Key {
    Key::new(Keyspace::Documents, circle.as_bytes(), [document.as_bytes().as_slice(), &[kind.number()]].concat())
}

/// As records count.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(crate) fn snapshot_key(circle: CircleId, document: DocumentId, kind: DocumentKind) -> Key {
    Key::new(Keyspace::Snapshots, scope(circle, document, kind), [])
}
