//! What follows from the log: who may hold which keys, and what no rogue may have got.
//!
//! These checks look at the operations and what each follows, not at how the engine evaluated them, as far as that can be.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::{DeviceId, EpochId, KeyId, PersonId};
use clave_engine::fuzzing::inside::{self, Inside, What};
use clave_engine::membership::{Action, DeviceStanding, Log, Operation, Role};
use clave_engine::{CircleId, Keyspace, OperationId, StoreRead};

use super::Check;
use crate::{Who, World};

/// All that is before some operations, themselves included.
fn past(log: &Log, heads: &[OperationId]) -> BTreeSet<OperationId> {
    let mut past = BTreeSet::new();
    let mut next = heads.to_vec();
    while let Some(id) = next.pop() {
        if let Some(operation) = log.operation(&id)
            && past.insert(id)
        {
            next.extend_from_slice(operation.parents());
        }
    }
    past
}

/// The devices that an operation brings in.
pub(super) fn admits(operation: &Operation) -> Vec<DeviceId> {
    match operation.action() {
        Action::Genesis { founder: entry, .. }
        | Action::AddPerson { newcomer: entry, .. }
        | Action::Grant { guest: entry, .. } => entry.devices.iter().map(|device| device.device()).collect(),
        Action::AddDevice { device } | Action::RecoverDevice { device, .. } => vec![device.device()],
        _ => Vec::new(),
    }
}

impl World {
    /// The devices that a removal that stands hit at some time, whether or not they came back; and those that were once
    /// brought in by an operation that is set aside: what they wrote in that stay is set aside with it (rules M31, D1).
    pub(super) fn ever_removed(&mut self, circle: CircleId, first: Who) -> BTreeSet<Who> {
        let log = inside::log(self.engine(first), circle).expect("a member");
        let aside: BTreeSet<OperationId> = log.membership().set_aside.iter().map(|aside| aside.operation).collect();
        let (mut people, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for operation in log.operations() {
            if aside.contains(&operation.id()) {
                devices.extend(admits(operation));
                continue;
            }
            match operation.action() {
                Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => _ = people.insert(*person),
                Action::RevokeDevice { device, .. } => _ = devices.insert(*device),
                _ => {}
            }
        }
        let hit = |who: &Who| people.contains(&self.device(*who).person) || devices.contains(&self.device(*who).id);
        self.everyone().filter(hit).collect()
    }

    /// All entries that a member can read.
    fn opened(&mut self, circle: CircleId, who: Who) -> Vec<Inside> {
        let disk = self.device(who).disk.clone();
        let mut envelopes = Vec::new();
        let take = &mut |_: &[u8], bytes: Vec<u8>| {
            envelopes.push(bytes);
            true
        };
        disk.scan(Keyspace::Entries, circle.as_bytes(), &[], take).expect("memory can be read");
        let engine = self.engine(who);
        envelopes.iter().filter_map(|envelope| inside::open(engine, circle, envelope)).collect()
    }

    /// All operations that honest devices have on their disks, those included who are out or lost. What nobody has who is
    /// in may be known to those who are out: who was removed may have brought somebody back before they heard of it.
    fn all_operations(&mut self, circle: CircleId, first: Who) -> Log {
        let mut log = Log::new(circle);
        for operation in inside::log(self.engine(first), circle).into_iter().flat_map(Log::operations) {
            let _ = log.insert_verified(operation.clone());
        }
        let take = &mut |_: &[u8], bytes: Vec<u8>| {
            // It was verified before it was filed.
            let _ = Operation::decode(&bytes).map(|operation| log.insert_verified(operation));
            true
        };
        for who in self.everyone().filter(|who| !self.rogues.is_one(*who)) {
            let disk = &self.device(who).disk;
            disk.scan(Keyspace::Operations, circle.as_bytes(), &[], take).expect("memory can be read");
        }
        log
    }

    /// A device that was removed holds no key of any epoch whose commit cites the removal, unless the removal is set aside
    /// in the end, or an operation outside the commit's past brings the device in again, or a rogue gave the key away.
    ///
    /// That operation may be known to devices only that are out, and need not stand in the end: its author may have been
    /// removed at the same time. Whoever wrote it, and all who followed it before they heard of that, handed over what
    /// they had, and nobody could have known better. But it has to be good beside all that the commit cites: whoever had
    /// the key knew of that.
    pub(super) fn check_later_keys(&mut self, circle: CircleId, first: Who, faults: &mut Vec<String>) {
        let (mut commits, mut leaked) = (Vec::new(), BTreeSet::<KeyId>::new());
        let mut bundles: BTreeMap<EpochId, Vec<(DeviceId, KeyId)>> = BTreeMap::new();
        for entry in self.opened(circle, first) {
            match entry.what {
                What::Commit { epoch, operations, .. } => commits.push((epoch, operations, entry.author)),
                What::Keys(keys) => {
                    for (epoch, _) in keys {
                        bundles.entry(epoch).or_default().push((entry.author, entry.tag));
                    }
                }
                _ => {}
            }
        }
        // What a rogue gives to those who are out reaches nobody else.
        for who in self.everyone().filter(|who| self.is_up(*who)).collect::<Vec<_>>() {
            for entry in self.opened(circle, who) {
                if let What::Keys(keys) = entry.what
                    && self.who(&entry.author).is_some_and(|who| self.rogues.is_one(who))
                {
                    leaked.extend(keys.into_iter().map(|(_, key)| key));
                }
            }
        }
        let mut holders: BTreeMap<EpochId, Vec<(Who, bool)>> = BTreeMap::new();
        for who in self.everyone().filter(|who| !self.rogues.is_one(*who)) {
            let keys = inside::content_keys(&*self.device(who).disk, circle);
            for (_, epoch, derived) in keys.into_iter().filter(|(key, _, derived)| *derived || !leaked.contains(key)) {
                holders.entry(epoch).or_default().push((who, derived));
            }
        }
        let ids: BTreeMap<Who, DeviceId> = self.everyone().map(|who| (who, self.device(who).id)).collect();
        let all = self.all_operations(circle, first);
        let void: BTreeSet<OperationId> = all.membership().set_aside.iter().map(|aside| aside.operation).collect();
        let returns = |id: DeviceId, heads: &[OperationId], past: &BTreeSet<OperationId>| {
            let is_in_beside = |other: OperationId| {
                let seen = all.membership_at(&[heads, &[other]].concat());
                seen.is_some_and(|seen| seen.devices.contains_key(&id))
            };
            let later = || all.operations().filter(|later| !past.contains(&later.id()));
            let (brings_in, others): (Vec<_>, Vec<_>) = later().partition(|later| admits(later).contains(&id));
            let stands = |by: &&Operation| !void.contains(&by.id());
            brings_in.iter().any(stands) || brings_in.iter().chain(&others).any(|other| is_in_beside(other.id()))
        };
        let mut at_heads = BTreeMap::new();
        let mut found = BTreeSet::new();
        {
            let log = inside::log(self.engine(first), circle).expect("a member");
            let aside: BTreeSet<OperationId> = log.membership().set_aside.iter().map(|aside| aside.operation).collect();
            for (epoch, heads, author) in commits {
                let Some(holders) = holders.get(&epoch) else { continue };
                let (membership, past) = at_heads
                    .entry(heads.clone())
                    .or_insert_with(|| (log.membership_at(&heads).unwrap_or_default(), past(log, &heads)));
                for (who, derived) in holders {
                    let id = ids[who];
                    // A removal that was set aside since took nothing from anybody.
                    let is_out = match membership.device_standing(id) {
                        DeviceStanding::Removed { by } => !aside.contains(&by),
                        _ => false,
                    };
                    if is_out && !returns(id, &heads, past) {
                        found.insert((*who, *derived, epoch, author));
                    }
                }
            }
        }
        for (who, derived, epoch, author) in found {
            let by = self.who(&author).map_or_else(|| author.short(), |who| self.device(who).name.clone());
            // Who handed it over, under a key that the device has too.
            let own: BTreeSet<KeyId> =
                inside::content_keys(&*self.device(who).disk, circle).into_iter().map(|(key, ..)| key).collect();
            let handed = bundles.get(&epoch).into_iter().flatten().find(|(_, under)| own.contains(under));
            let giver = handed.and_then(|(giver, _)| self.who(giver)).map(|who| self.device(who).name.clone());
            let how = match giver {
                _ if derived => "was in".to_owned(),
                Some(giver) => format!("was handed by {giver} the key of"),
                None => "has the key of".to_owned(),
            };
            let what =
                format!("{} {how} {epoch:?}, though the commit by {by} cites the removal", self.device(who).name);
            faults.push(Check::LaterKeys.fault(&what));
        }
    }

    /// Rogues are members: nobody ever gave them more, so nothing of theirs that needs more may stand.
    pub(super) fn check_rogues(&mut self, circle: CircleId, first: Who, faults: &mut Vec<String>) {
        let rogues: Vec<Who> = self.everyone().filter(|who| self.rogues.is_one(*who)).collect();
        for who in rogues {
            let (device, person) = (self.device(who).id, self.device(who).person);
            let name = self.device(who).name.clone();
            let log = inside::log(self.engine(first), circle).expect("a member");
            let membership = log.membership();
            let aside = membership.set_aside.iter().map(|aside| aside.operation).collect();
            if let Some(person) = membership.people.get(&person)
                && matches!(person.role, Role::Owner | Role::Admin)
            {
                faults.push(Check::NoRightGained.fault(&format!("{name} is {}", person.role)));
            }
            for operation in beyond_a_member(log, &aside, device, person) {
                let what = format!("{name}: {:?} stands", log.describe(&operation));
                faults.push(Check::NoRightGained.fault(&what));
            }
            for operation in beside_a_removal(log, &aside, device, person) {
                let what = format!("{name} was removed, and {:?} stands", log.describe(&operation));
                faults.push(Check::NoRightGained.fault(&what));
            }
        }
    }
}

/// What a device did, not being set aside, that no member may.
pub(super) fn beyond_a_member(
    log: &Log,
    aside: &BTreeSet<OperationId>,
    device: DeviceId,
    person: PersonId,
) -> Vec<OperationId> {
    let may = |operation: &&Operation| match operation.action() {
        Action::AddPerson { role, .. } => !matches!(role, Role::Owner | Role::Admin | Role::Bot),
        Action::Grant { .. } | Action::EndGrant { .. } | Action::PublishKeyPackages { .. } => true,
        Action::AddDevice { device } => device.certificate.person == person,
        Action::SetProfile { person: of, .. } | Action::RevokePerson { person: of, .. } => *of == person,
        Action::RevokeDevice { device: of, .. } => *of == device,
        Action::RenameDevice { device: of, .. } => log.person_of(*of) == Some(person),
        _ => false,
    };
    let own = log.operations().filter(|one| one.author() == device && !aside.contains(&one.id()));
    own.filter(|operation| !may(operation)).map(Operation::id).collect()
}

/// What a device did, not being set aside, after its removal or at the same time, unless it or its person came back.
pub(super) fn beside_a_removal(
    log: &Log,
    aside: &BTreeSet<OperationId>,
    device: DeviceId,
    person: PersonId,
) -> Vec<OperationId> {
    let standing = || log.operations().filter(|one| !aside.contains(&one.id()));
    if standing().filter(|one| admits(one).contains(&device)).count() > 1 {
        return Vec::new();
    }
    let removes = |operation: &&Operation| match operation.action() {
        Action::RevokePerson { person: of, .. } | Action::EndGrant { person: of, .. } => *of == person,
        Action::RevokeDevice { device: of, .. } => *of == device,
        _ => false,
    };
    let before = |removal: &Operation| {
        let kept: &[OperationId] = match removal.action() {
            Action::RevokePerson { keep_heads, .. } | Action::RevokeDevice { keep_heads, .. } => keep_heads,
            _ => &[],
        };
        past(log, &[&[removal.id()], kept].concat())
    };
    let pasts: Vec<_> = standing().filter(removes).map(before).collect();
    let own = standing().filter(|one| one.author() == device).map(Operation::id);
    own.filter(|id| pasts.iter().any(|past| !past.contains(id))).collect()
}
