//! What is looked at while it happens: whether anything is sealed for somebody who was removed.

use std::collections::BTreeSet;

use clave_engine::fuzzing::inside::{self, What};
use clave_engine::membership::{DeviceStanding, Scope};
use clave_engine::{Batch, CircleId, EntryId, Key, Keyspace, OperationId};

use super::Check;
use crate::{Who, World};

/// The entries that were written so far, and what did not hold when they were.
#[derive(Default)]
pub(crate) struct Watch {
    seen: BTreeSet<EntryId>,
    pub(crate) slips: Vec<String>,
}

impl World {
    /// Looks at the entries of a batch that nobody wrote before: whoever writes them first made them.
    pub(crate) fn look_at(&mut self, who: Who, batch: &Batch) {
        for (place, (key, value)) in batch.writes.iter().enumerate() {
            let Some(bytes) = value.as_ref().filter(|_| key.keyspace == Keyspace::Entries) else { continue };
            let id = EntryId::try_from(key.suffix.as_slice()).expect("entries are filed by their ids");
            self.note_entry(who, id, key, bytes);
            if self.watch.seen.insert(id) && !self.rogues.is_one(who) {
                let circle = CircleId::try_from(key.scope.as_slice()).expect("entries are filed by their circles");
                // What is written at one go is in order: who is removed further on was in when this was sealed.
                let later = batch.writes[place..].iter().filter(|(key, _)| key.keyspace == Keyspace::Operations);
                let later = later.filter_map(|(key, _)| OperationId::try_from(key.suffix.as_slice()).ok()).collect();
                self.look_at_entry(who, circle, bytes, &later);
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

    /// `later` are operations that were not there yet when the entry was made.
    pub(crate) fn look_at_entry(&mut self, who: Who, circle: CircleId, bytes: &[u8], later: &BTreeSet<OperationId>) {
        let engine = self.engine(who);
        let Some(entry) = inside::open(engine, circle, bytes) else { return };
        // Operations, commits and Welcomes go to those who are to learn of them; what people write does not.
        if entry.author != engine.identity().device() || !matches!(entry.what, What::Changes | What::Keys(_)) {
            return;
        }
        let membership = engine.membership(circle).expect("it opened an entry of it");
        let leaves = inside::leaves_under(engine, circle, &entry.tag).unwrap_or_default();
        // Out of the space is out of what is nested in it.
        let space = membership.parent.filter(|_| membership.scope == Scope::Nested);
        let space = space.and_then(|space| engine.membership(space).ok());
        let is_out = |leaf: &&clave_engine::crypto::DeviceId| {
            [Some(membership), space].into_iter().flatten().any(|membership| match membership.device_standing(**leaf) {
                DeviceStanding::Removed { by } => !later.contains(&by),
                standing => matches!(standing, DeviceStanding::SetAside { .. }),
            })
        };
        // Who learns of their own removal and writes on is heard by nobody.
        let Some(leaf) = leaves.iter().filter(|leaf| **leaf != entry.author).find(is_out).copied() else { return };
        if membership.devices.contains_key(&entry.author) {
            let name = self.who(&leaf).map_or_else(|| leaf.short(), |leaf| self.device(leaf).name.clone());
            let what = format!("{} sealed {:?} for {name}", self.device(who).name, entry.what);
            self.watch.slips.push(Check::SendGate.fault(&what));
        }
    }
}
