//! What waits: only what no member can read may.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::{DeviceId, KeyId};
use clave_engine::fuzzing::inside;
use clave_engine::membership::Operation;
use clave_engine::{CircleId, EntryId, Key, Keyspace, OperationId, StoreRead};

use super::rights::admits;
use super::{Check, Findings};
use crate::{Who, World};

impl World {
    /// What waits for ever is what nobody who is in can read: no device that is in was ever in the epoch, or it would
    /// have its key, as content keys are kept; and nobody handed it over. All who have it are out or lost.
    pub(super) fn check_held(&mut self, circle: CircleId, members: &[Who], findings: &mut Findings) {
        let has_key = |world: &Self, who: Who, tag: &[u8]| {
            let key = Key::new(Keyspace::ContentKeys, circle.as_bytes(), tag);
            world.device(who).disk.read(&key).expect("memory can be read").is_some()
        };
        let shared = members.first().is_none_or(|who| self.is_shared(*who, circle));
        let known = self.known(circle, members);
        let (mut unreadable, mut withheld) = (BTreeSet::new(), BTreeSet::new());
        let mut faults = BTreeMap::<String, BTreeSet<EntryId>>::new();
        for who in members {
            let mut held = Vec::new();
            let note = &mut |id: &[u8], _: Vec<u8>| {
                held.push(id.to_vec());
                true
            };
            let disk = self.device(*who).disk.clone();
            disk.scan(Keyspace::Held, circle.as_bytes(), &[], note).expect("memory can be read");
            let name = self.device(*who).name.clone();
            findings.readable += disk.suffixes(Keyspace::Entries, circle.as_bytes()).len() - held.len();
            for id in held {
                let key = Key::new(Keyspace::Entries, circle.as_bytes(), &*id);
                let envelope = disk.read(&key).expect("memory can be read").unwrap_or_default();
                let entry = EntryId::try_from(id.as_slice()).expect("entries are filed by their ids");
                let Some(tag) = inside::tag(&envelope) else {
                    findings
                        .faults
                        .push(Check::Readable.fault(&format!("{name}: waits with {entry:?}, which is gone")));
                    continue;
                };
                if self.rogues.forged(&entry) {
                    withheld.insert(id);
                } else if !shared {
                    unreadable.insert(id);
                } else if let Some(reader) = members.iter().find(|who| self.is_free(**who, circle, &tag, &known)) {
                    let author = self.cites_what_no_member_has(circle, *reader, &envelope, &known);
                    // Whoever is in and cites an operation has it.
                    let outside = |author: &DeviceId| !members.iter().any(|who| self.device(*who).id == *author);
                    if let Some(author) = author.filter(outside) {
                        let by_rogue = self.who(&author).is_some_and(|who| self.rogues.is_one(who));
                        let _ = if by_rogue { withheld.insert(id) } else { unreadable.insert(id) };
                        continue;
                    }
                    let what = format!("{name}: holds entries whose key {} has", self.device(*reader).name);
                    faults.entry(what).or_default().insert(entry);
                } else if self.everyone().any(|anybody| has_key(self, anybody, tag.as_bytes())) {
                    unreadable.insert(id);
                } else if self.is_for_whom_rogues_know(circle, &tag) {
                    withheld.insert(id);
                } else if self.is_for_whom_others_know(circle, members, &tag) {
                    unreadable.insert(id);
                } else {
                    let what = format!("{name}: holds entries whose key nobody ever had");
                    faults.entry(what).or_default().insert(entry);
                }
            }
        }
        for (what, entries) in faults {
            findings.faults.push(Check::Readable.fault(&format!("{what}: {entries:?}")));
        }
        (findings.unreadable, findings.withheld) = (unreadable.len(), withheld.len());
    }

    /// Who made a commit that cites an operation which no member has, as only rogues, or devices that are out or lost, can read
    /// it; none if an entry is no such commit.
    fn cites_what_no_member_has(
        &mut self,
        circle: CircleId,
        member: Who,
        envelope: &[u8],
        known: &BTreeSet<OperationId>,
    ) -> Option<DeviceId> {
        let entry = inside::open(self.engine(member), circle, envelope)?;
        let inside::What::Commit { operations, .. } = entry.what else { return None };
        operations.iter().any(|id| !known.contains(id)).then_some(entry.author)
    }

    /// All operations that some member has.
    fn known(&mut self, circle: CircleId, members: &[Who]) -> BTreeSet<OperationId> {
        let mut known = BTreeSet::new();
        for who in members {
            let log = inside::log(self.engine(*who), circle).expect("a member");
            known.extend(log.operations().map(Operation::id));
        }
        known
    }

    /// Whether a device has a key and may hand it on, if it has what any member has: rule E29.
    fn is_free(&mut self, who: Who, circle: CircleId, tag: &KeyId, known: &BTreeSet<OperationId>) -> bool {
        let unknown = inside::unknown_of_giver(self.engine(who), circle, tag);
        unknown.is_some_and(|unknown| unknown.iter().all(|id| known.contains(id)))
    }

    /// Whether a tag is that of a device which an operation on somebody's disk names that no member has: its author told those
    /// alone who are out or lost by now, and what they sent to that device waits with all others.
    fn is_for_whom_others_know(&self, circle: CircleId, members: &[Who], tag: &KeyId) -> bool {
        let mut found = false;
        let take = &mut |_: &[u8], bytes: Vec<u8>| {
            let named = Operation::decode(&bytes).map(|operation| admits(&operation)).unwrap_or_default();
            found |= named.iter().any(|device| inside::direct_tag(circle, device) == *tag);
            true
        };
        for who in self.everyone().filter(|who| !members.contains(who)) {
            let disk = &self.device(who).disk;
            disk.scan(Keyspace::Operations, circle.as_bytes(), &[], take).expect("memory can be read");
        }
        found
    }

    /// The entries of a member that wait for a key which some member has and may not hand on, as whoever gave it knew what no
    /// member knows (rule E45).
    pub(super) fn kept_back(&mut self, circle: CircleId, members: &[Who]) -> BTreeSet<Vec<u8>> {
        let (mut tags, known) = (BTreeSet::new(), self.known(circle, members));
        for who in members {
            let keys = inside::content_keys(&*self.device(*who).disk, circle);
            tags.extend(keys.into_iter().map(|(tag, ..)| tag).filter(|tag| !self.is_free(*who, circle, tag, &known)));
        }
        let mut kept_back = BTreeSet::new();
        for who in members {
            let take = &mut |id: &[u8], tag: Vec<u8>| {
                if KeyId::try_from(tag.as_slice()).is_ok_and(|tag| tags.contains(&tag)) {
                    kept_back.insert(id.to_vec());
                }
                true
            };
            let disk = &self.device(*who).disk;
            disk.scan(Keyspace::Held, circle.as_bytes(), &[], take).expect("memory can be read");
        }
        kept_back
    }

    /// Whether a tag is that of a device which a rogue's log has: if it waits with others, they do not know of the device, as
    /// what brought it in is kept from them.
    fn is_for_whom_rogues_know(&mut self, circle: CircleId, tag: &KeyId) -> bool {
        let rogues: Vec<Who> = self.everyone().filter(|who| self.rogues.is_one(*who) && self.is_up(*who)).collect();
        rogues.into_iter().any(|who| {
            let devices = inside::log(self.engine(who), circle).map(|log| &log.membership().devices);
            devices.is_some_and(|devices| devices.keys().any(|device| inside::direct_tag(circle, device) == *tag))
        })
    }
}
