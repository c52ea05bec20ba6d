//! Whose writing counts: documents under the membership log.
//!
//! What a document shows is a pure function of all its changes and the membership (`Document::review` says how). This
//! module tells it who is in standing, notes who wrote where, so that a removal can name what it keeps without loading a
//! document, and tells the application which documents look different since the log moved.

use std::collections::BTreeSet;

use clave_crdt::{Actor, ChangeHash, ChangeInfo};

use super::documents::kind_of;
use super::*;
use crate::OperationId;
use crate::membership::{KEEP_CHANGES_MAX, Membership, Stay};

/// Bytes of a document's name in the suffix of an author's record: what comes before is stay and incarnation.
const ACTOR_TAIL_BYTES: usize = 8;

/// What the membership says of writing, as far as it differs from "everybody counts".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standings {
    /// The stays that do not count.
    out: BTreeMap<DeviceId, BTreeSet<OperationId>>,
    kept: BTreeSet<ChangeHash>,
}

impl Standings {
    fn of(membership: &Membership) -> Self {
        if !membership.has_ended_stays() {
            return Self::default();
        }
        let mut out = BTreeMap::<_, BTreeSet<_>>::new();
        for (device, stays) in &membership.stays {
            for (admission, _) in stays.iter().filter(|(_, stay)| **stay != Stay::InStanding) {
                out.entry(*device).or_default().insert(*admission);
            }
        }
        Self { out, kept: membership.kept_changes().clone() }
    }

    /// The devices whose writing may look different under `other`.
    fn differing(&self, other: &Self) -> BTreeSet<DeviceId> {
        let devices: BTreeSet<DeviceId> = self.out.keys().chain(other.out.keys()).copied().collect();
        let kept_differs = self.kept != other.kept;
        devices.into_iter().filter(|device| kept_differs || self.out.get(device) != other.out.get(device)).collect()
    }
}

/// Whether what this author wrote counts by itself.
pub(super) fn in_standing(membership: &Membership, actor: &Actor) -> bool {
    membership.stay_of_actor(&actor.device_prefix(), &actor.stay()) == Stay::InStanding
}

/// The last change that is stored of one author in one document.
struct Written {
    actor: Actor,
    document: (DocumentId, DocumentKind),
    hash: ChangeHash,
}

impl Circle {
    /// Notes the last change of each author. Each builds on the one before, so it stands for all of them.
    pub(super) fn note_authors(
        &mut self,
        document: (DocumentId, DocumentKind),
        changes: &[ChangeInfo],
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        let mut last = BTreeMap::<Actor, &ChangeInfo>::new();
        for info in changes {
            let newest = last.entry(info.actor).or_insert(info);
            if info.seq > newest.seq {
                *newest = info;
            }
        }
        for (actor, info) in last {
            let key = author_key(self.id, &document, &actor);
            let record = desk.store.read(&key)?.map(|bytes| local::Author::decode(bytes.as_slice())).transpose()?;
            if record.is_none_or(|record| record.seq < info.seq) {
                desk.put(key, local::Author { seq: info.seq, hash: info.hash.to_vec() }.encode_to_vec());
            }
        }
        Ok(())
    }

    /// Whether a change comes behind all that is stored of its author in that document.
    pub(super) fn is_later(&self, document: &(DocumentId, DocumentKind), change: &ChangeInfo, desk: &Desk) -> bool {
        let record = desk.store.read(&author_key(self.id, document, &change.actor)).ok().flatten();
        let record = record.and_then(|bytes| local::Author::decode(bytes.as_slice()).ok());
        record.is_none_or(|record| record.seq < change.seq)
    }

    /// Where a device wrote, as all of its actors.
    fn written_by(&self, device: &DeviceId, desk: &Desk) -> Result<Vec<Written>, EngineError> {
        let prefix = device.as_bytes().first_chunk::<16>().expect("an id is longer");
        let mut all = Vec::new();
        for (suffix, record) in desk.store.all(Keyspace::Authors, &author_scope(self.id, prefix))? {
            let record = local::Author::decode(record.as_slice())?;
            let (tail, name) = suffix.split_at_checked(ACTOR_TAIL_BYTES).ok_or(EngineError::Damaged)?;
            let (kind, id) = name.split_last().ok_or(EngineError::Damaged)?;
            let actor = [prefix.as_slice(), tail].concat().try_into().map_err(|_| EngineError::Damaged)?;
            all.push(Written {
                actor: Actor::from_bytes(actor),
                document: (
                    DocumentId::try_from(id).map_err(|_| EngineError::Damaged)?,
                    kind_of((*kind).into()).ok_or(EngineError::Damaged)?,
                ),
                hash: record.hash.as_slice().try_into().map_err(|_| EngineError::Damaged)?,
            });
        }
        Ok(all)
    }

    /// Has a removal keep what is here of what they wrote who are removed, besides what its caller named.
    ///
    /// A removal names so many changes at most; of what goes beyond, only that stays which others built on.
    pub(super) fn keep_what_is_here(&self, action: &mut Action, desk: &Desk) -> Result<(), EngineError> {
        let membership = self.log.membership();
        let of_person = |person| membership.people.get(person).map(|person| person.devices.clone()).unwrap_or_default();
        let (devices, keep_changes) = match action {
            Action::RevokePerson { person, keep_changes, .. } | Action::EndGrant { person, keep_changes, .. } => {
                (of_person(person), keep_changes)
            }
            Action::RevokeDevice { device, keep_changes, .. } => (BTreeSet::from([*device]), keep_changes),
            _ => return Ok(()),
        };
        let mut kept: BTreeSet<ChangeHash> = keep_changes.iter().copied().collect();
        for device in devices {
            let written = self.written_by(&device, desk)?;
            let written = written.into_iter().filter(|_| !off(Rule::ChangesNamed)).collect::<Vec<_>>();
            kept.extend(written.iter().filter(|written| in_standing(membership, &written.actor)).map(|w| w.hash));
        }
        let room = KEEP_CHANGES_MAX.saturating_sub(keep_changes.len());
        let named: BTreeSet<ChangeHash> = keep_changes.iter().copied().collect();
        if kept.len() > named.len() + room {
            tracing::warn!(circle = %self.id.short(), count = kept.len(), "a removal cannot keep every document");
        }
        keep_changes.extend(kept.difference(&named).take(room));
        Ok(())
    }

    /// After the log moved: says which documents are to be looked at again.
    pub(super) fn follow_standings(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let now = Standings::of(self.log.membership());
        if now == self.standings {
            return Ok(());
        }
        let mut documents = BTreeSet::new();
        for device in now.differing(&self.standings) {
            documents.extend(self.written_by(&device, desk)?.into_iter().map(|written| written.document));
        }
        self.standings = now;
        for (document, kind) in documents {
            self.make_stale((document, kind), false, desk);
            desk.events.push(Event::DocumentChanged { circle: self.id, document, kind });
        }
        Ok(())
    }

    /// After operations that bring devices in: whose these are may have been taken for somebody else's. (Nobody's entries are
    /// judged before their device is known, so this is about devices that two operations bring in.)
    pub(super) fn follow_owners(&mut self, operations: &[OperationId], desk: &mut Desk) -> Result<(), EngineError> {
        let operations = operations.iter().filter_map(|id| self.log.operation(id));
        let devices: Vec<DeviceId> =
            operations.flat_map(|operation| operation.action().introduces().1).map(|entry| entry.device()).collect();
        for device in devices {
            for written in self.written_by(&device, desk)? {
                self.make_stale(written.document, true, desk);
            }
        }
        Ok(())
    }

    /// As [`follow_standings`](Self::follow_standings), of a log that was there before: nobody needs to be told.
    pub(super) fn begin_standings(&mut self) {
        self.standings = Standings::of(self.log.membership());
    }

    /// The documents in which somebody wrote who is not in standing.
    pub(super) fn documents_to_review(&self, desk: &Desk) -> Result<BTreeSet<(DocumentId, DocumentKind)>, EngineError> {
        let mut documents = BTreeSet::new();
        for device in self.standings.out.keys() {
            documents.extend(self.written_by(device, desk)?.into_iter().map(|written| written.document));
        }
        Ok(documents)
    }
}

fn author_key(circle: CircleId, (document, kind): &(DocumentId, DocumentKind), actor: &Actor) -> Key {
    let suffix = [&actor.as_bytes()[16..], document.as_bytes(), &[kind.number()]].concat();
    Key::new(Keyspace::Authors, author_scope(circle, &actor.device_prefix()), suffix)
}

pub(super) fn author_scope(circle: CircleId, device_prefix: &[u8; 16]) -> Vec<u8> {
    [circle.as_bytes().as_slice(), device_prefix].concat()
}
