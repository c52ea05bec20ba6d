//! What waits: only what no member can read may.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::KeyId;
use clave_engine::fuzzing::inside;
use clave_engine::{CircleId, EntryId, Key, Keyspace, StoreRead};

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
                } else if let Some(reader) = members.iter().find(|who| has_key(self, **who, tag.as_bytes())) {
                    if self.cites_what_rogues_keep(circle, *reader, &envelope) {
                        withheld.insert(id);
                        continue;
                    }
                    let what = format!("{name}: holds entries whose key {} has", self.device(*reader).name);
                    faults.entry(what).or_default().insert(entry);
                } else if self.everyone().any(|anybody| has_key(self, anybody, tag.as_bytes())) {
                    unreadable.insert(id);
                } else if self.is_for_whom_rogues_know(circle, &tag) {
                    withheld.insert(id);
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

    /// Whether an entry is a commit by a rogue that cites an operation which a member has not: one that only rogues can read.
    fn cites_what_rogues_keep(&mut self, circle: CircleId, member: Who, envelope: &[u8]) -> bool {
        let engine = self.engine(member);
        let Some(entry) = inside::open(engine, circle, envelope) else { return false };
        let inside::What::Commit { operations, .. } = entry.what else { return false };
        let log = inside::log(engine, circle).expect("a member");
        let lacks = operations.iter().any(|id| log.operation(id).is_none());
        lacks && self.who(&entry.author).is_some_and(|who| self.rogues.is_one(who))
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
