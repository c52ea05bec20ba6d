//! What is looked at while it happens: whether anything is sealed for somebody who is out, and whether a lie is filed.

use std::collections::BTreeSet;

use clave_engine::crypto::{DeviceId, EpochId};
use clave_engine::fuzzing::inside::{self, What};
use clave_engine::membership::{DeviceStanding, History, Log, Person, Right, Scope};
use clave_engine::{Batch, CircleId, EntryId, Key, Keyspace, OperationId};

use super::Check;
use crate::{Who, World};

/// The entries that were written so far, and what did not hold when they were.
#[derive(Default)]
pub(crate) struct Watch {
    seen: BTreeSet<EntryId>,
    /// The operations that were.
    pub(super) operations: BTreeSet<OperationId>,
    pub(crate) slips: Vec<String>,
    /// Epochs of rogues' own groups, and who entered them.
    entered: BTreeSet<(Who, EpochId)>,
}

impl Watch {
    #[cfg(test)]
    pub(super) fn forget_operations(&mut self) {
        self.operations.clear();
    }
}

/// The operations that are written at or behind a place in a batch.
fn later(batch: &Batch, place: usize) -> BTreeSet<OperationId> {
    let later = batch.writes[place..].iter().filter(|(key, _)| key.keyspace == Keyspace::Operations);
    later.filter_map(|(key, _)| OperationId::try_from(key.suffix.as_slice()).ok()).collect()
}

/// Whether a device is out by a log without some operations and what follows them. One that was set aside then may count
/// again since, and have removed it long before: nobody could have gone by that.
pub(super) fn is_out(log: &Log, device: DeviceId, without: &BTreeSet<OperationId>) -> bool {
    let mut beyond = without.clone();
    let mut heads = BTreeSet::new();
    // Parents come first.
    for operation in log.operations() {
        if beyond.contains(&operation.id()) || operation.parents().iter().any(|parent| beyond.contains(parent)) {
            beyond.insert(operation.id());
        } else {
            operation.parents().iter().for_each(|parent| _ = heads.remove(parent));
            heads.insert(operation.id());
        }
    }
    let seen = log.membership_at(&Vec::from_iter(heads));
    seen.is_some_and(|seen| matches!(seen.device_standing(device), DeviceStanding::Removed { .. }))
}

impl World {
    /// Looks at the entries of a batch that nobody wrote before: whoever writes them first made them.
    pub(crate) fn look_at(&mut self, who: Who, batch: &Batch) {
        for (place, (key, value)) in batch.writes.iter().enumerate() {
            if value.is_some() {
                self.look_for_lies(who, batch, key);
            }
            if let Some(bytes) = value.as_ref().filter(|_| key.keyspace == Keyspace::Operations) {
                let id = OperationId::try_from(key.suffix.as_slice()).expect("operations are filed by their ids");
                self.look_at_operation(who, id, bytes);
            }
            let Some(bytes) = value.as_ref().filter(|_| key.keyspace == Keyspace::Entries) else { continue };
            let id = EntryId::try_from(key.suffix.as_slice()).expect("entries are filed by their ids");
            self.note_entry(who, id, key, bytes);
            if self.watch.seen.insert(id) && !self.rogues.is_one(who) {
                let circle = CircleId::try_from(key.scope.as_slice()).expect("entries are filed by their circles");
                // What is written at one go is in order: who is removed further on was in when this was sealed.
                self.look_at_entry(who, circle, bytes, &later(batch, place));
            }
        }
    }

    /// Has the trace say what an entry is: when it is first written by somebody who can read it, and when it reaches the
    /// device that it is sealed to.
    fn note_entry(&mut self, who: Who, id: EntryId, key: &Key, bytes: &[u8]) {
        if !self.trace().keeps_lines() || !self.is_up(who) {
            return;
        }
        let circle = CircleId::try_from(key.scope.as_slice()).expect("entries are filed by their circles");
        let Some(entry) = inside::open(self.engine(who), circle, bytes) else { return };
        if entry.is_direct || !self.watch.seen.contains(&id) {
            let author = self.who(&entry.author).map_or_else(|| entry.author.short(), |who| who.0.to_string());
            let direct = if entry.is_direct { "direct " } else { "" };
            self.explain(format_args!("entry {} {direct}{id:?} by {author} {:?}", who.0, entry.what));
        }
    }

    /// Whether a device files what it must refuse: a commit that lies, or where a Welcome of somebody who is out leads.
    pub(crate) fn look_for_lies(&mut self, who: Who, batch: &Batch, key: &Key) {
        if self.rogues.is_empty() || self.rogues.is_one(who) || !self.is_up(who) {
            return;
        }
        let circle = CircleId::try_from(key.scope.as_slice());
        let name = self.device(who).name.clone();
        let slip = match key.keyspace {
            Keyspace::Entries => {
                let id = EntryId::try_from(key.suffix.as_slice()).expect("entries are filed by their ids");
                let Some(parent) = self.rogues.lie(&id).copied() else { return };
                // One that waits was not judged yet, and stays when it is refused.
                let waits = |key: &Key| matches!(key.keyspace, Keyspace::Held | Keyspace::Commits);
                let waits = batch.writes.iter().any(|(other, _)| waits(other) && other.suffix == key.suffix);
                let what = format!("{name} files {id:?}, which lies");
                let circle = circle.expect("entries are filed by their circles");
                (!waits && inside::is_in(self.engine(who), circle, &parent)).then_some(what)
            }
            Keyspace::Checkpoints => {
                let epoch =
                    EpochId::from_bytes(key.suffix.as_slice().try_into().expect("epochs are filed by their ids"));
                let Some((author, cites)) = self.rogues.lure(&epoch).cloned() else { return };
                if !self.watch.entered.insert((who, epoch)) {
                    return;
                }
                let circle = circle.expect("epochs are filed by their circles");
                let what = format!("{name} enters {epoch:?} by the Welcome of somebody who is out");
                let later = later(batch, 0);
                let log = inside::log(self.engine(who), circle).expect("it enters an epoch of it");
                let is_out = is_out(log, author, &later) && is_out(log, author, &BTreeSet::new());
                let is_here = |id: &OperationId| log.operation(id).is_some() && !later.contains(id);
                (is_out && cites.iter().all(is_here)).then_some(what)
            }
            _ => None,
        };
        if let Some(what) = slip {
            self.slip(Check::Lies, &what);
        }
    }

    pub(super) fn slip(&mut self, check: Check, what: &str) {
        self.explain(format_args!("slip {what}"));
        self.watch.slips.push(check.fault(&what));
    }

    /// Whether a device seals keys to one that is out, and whose `entry` says so once it is opened there.
    fn look_at_direct(&mut self, who: Who, circle: CircleId, bytes: &[u8], later: &BTreeSet<OperationId>) {
        let Some(tag) = inside::tag(bytes) else { return };
        let to = |one: &Who| inside::direct_tag(circle, &self.device(*one).id) == tag;
        let Some(to) = self.everyone().find(to).filter(|to| self.is_up(*to)) else { return };
        let Some(entry) = inside::open(self.engine(to), circle, bytes) else { return };
        let recipient = self.device(to).id;
        let engine = self.engine(who);
        let log = inside::log(engine, circle).expect("it writes an entry of it");
        let is_out = match log.membership().device_standing(recipient) {
            DeviceStanding::Removed { .. } => is_out(log, recipient, later),
            standing => matches!(standing, DeviceStanding::SetAside { .. }),
        };
        let is_own = entry.author == engine.identity().device();
        let membership = log.membership();
        let leaks = membership.suite.is_post_quantum() && membership.history() == History::Full;
        if is_own {
            self.look_at_keys(who, circle, &entry);
            self.look_at_gift(who, circle, &entry, recipient);
        }
        if is_own && leaks && matches!(&entry.what, What::Keys(keys) if !keys.is_empty()) {
            let what = format!("{} sealed keys of a post-quantum circle to one device", self.device(who).name);
            self.slip(Check::SendGate, &what);
        }
        if is_own && is_out && matches!(entry.what, What::Keys(_)) {
            let what = format!("{} sealed {:?} to {}", self.device(who).name, entry.what, self.device(to).name);
            self.slip(Check::SendGate, &what);
        }
    }

    /// `later` are operations that were not there yet when the entry was made.
    pub(crate) fn look_at_entry(&mut self, who: Who, circle: CircleId, bytes: &[u8], later: &BTreeSet<OperationId>) {
        let now_ms = self.device(who).clock(self.wall_clock_ms());
        let engine = self.engine(who);
        let Some(entry) = inside::open(engine, circle, bytes) else {
            return self.look_at_direct(who, circle, bytes, later);
        };
        if entry.author != engine.identity().device() {
            return self.look_at_foreign(who, &entry);
        }
        if entry.is_direct {
            return;
        }
        let early = match entry.what {
            What::Commit { parent, .. } => Some(parent),
            What::Changes | What::Bundle | What::Keys(_) => inside::epoch_under(engine, circle, &entry.tag),
            _ => None,
        };
        if early.is_some_and(|epoch| inside::is_early(engine, circle, &epoch)) {
            let what = format!("{} sealed {:?} before it knew who is in", self.device(who).name, entry.what);
            return self.slip(Check::SendGate, &what);
        }
        // Operations, commits and Welcomes go to those who are to learn of them; what people write does not.
        if !matches!(entry.what, What::Changes | What::Bundle | What::Keys(_)) {
            return;
        }
        self.look_at_keys(who, circle, &entry);
        self.look_at_seal(who, circle, &entry);
        let engine = self.engine(who);
        let membership = engine.membership(circle).expect("it opened an entry of it");
        let leaves = inside::leaves_under(engine, circle, &entry.tag).unwrap_or_default();
        // Out of the space is out of what is nested in it.
        let space = membership.parent.filter(|_| membership.scope == Scope::Nested);
        let space = space.and_then(|space| inside::log(engine, space));
        let is_over = |guest: &&Person| guest.expires_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let over: BTreeSet<DeviceId> =
            membership.people.values().filter(is_over).flat_map(|guest| guest.devices.iter().copied()).collect();
        let may_end = entry.what == What::Changes && membership.may(entry.author, Right::EndGrant);
        let is_out = |leaf: &&DeviceId| {
            [inside::log(engine, circle), space].into_iter().flatten().any(|log| {
                match log.membership().device_standing(**leaf) {
                    DeviceStanding::Removed { .. } => is_out(log, **leaf, later),
                    // By its own clock, which is all that it can go by.
                    DeviceStanding::Current => may_end && over.contains(*leaf),
                    standing => matches!(standing, DeviceStanding::SetAside { .. }),
                }
            })
        };
        // Who learns of their own removal and writes on is heard by nobody.
        let Some(leaf) = leaves.iter().filter(|leaf| **leaf != entry.author).find(is_out).copied() else { return };
        if membership.devices.contains_key(&entry.author) {
            let name = self.who(&leaf).map_or_else(|| leaf.short(), |leaf| self.device(leaf).name.clone());
            let what = format!("{} sealed {:?} for {name}", self.device(who).name, entry.what);
            self.slip(Check::SendGate, &what);
        }
    }
}
