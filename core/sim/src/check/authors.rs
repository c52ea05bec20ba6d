//! Who says what, looked at while it is filed.

use clave_engine::crypto::{DeviceId, KeyId};
use clave_engine::fuzzing::inside::{self, Inside, What};
use clave_engine::membership::{History, Operation};
use clave_engine::{CircleId, OperationId};

use super::Check;
use crate::{Who, World};

impl World {
    /// Whether an operation is filed in the name of an honest device that never wrote it: whoever writes one files it first.
    pub(super) fn look_at_operation(&mut self, who: Who, id: OperationId, bytes: &[u8]) {
        if !self.watch.operations.insert(id) || self.rogues.is_one(who) {
            return;
        }
        if let Ok(operation) = Operation::decode(bytes) {
            self.look_at_author(who, operation.author(), &format!("{id:?}"));
        }
    }

    /// The same of an entry of another author.
    pub(super) fn look_at_foreign(&mut self, who: Who, entry: &Inside) {
        if matches!(entry.what, What::Changes | What::Commit { .. } | What::Keys(_)) {
            self.look_at_author(who, entry.author, &format!("{:?}", entry.id));
        }
    }

    fn look_at_author(&mut self, who: Who, author: DeviceId, what: &str) {
        if let Some(author) = self.who(&author).filter(|author| *author != who && !self.rogues.is_one(*author)) {
            let (name, author) = (&self.device(who).name, &self.device(author).name);
            let what = format!("{name} files {what}, which {author} never wrote");
            self.slip(Check::Authors, &what);
        }
    }

    /// Whether somebody hands on keys before all is known here that their giver knew (rule E29).
    pub(super) fn look_at_keys(&mut self, who: Who, circle: CircleId, entry: &Inside) {
        let What::Keys(keys) = &entry.what else { return };
        let engine = self.engine(who);
        let unknown = |id| inside::unknown_of_giver(engine, circle, id).is_some_and(|unknown| !unknown.is_empty());
        if let Some((_, id)) = keys.iter().find(|(_, id)| unknown(id)) {
            let what = format!("{} hands on {id:?} before it knows what its giver knew", self.device(who).name);
            self.slip(Check::SendGate, &what);
        }
    }

    /// Whether a device seals what it writes, or keys, under one that it did not derive itself.
    pub(super) fn look_at_seal(&mut self, who: Who, circle: CircleId, entry: &Inside) {
        if inside::is_derived(self.engine(who), circle, &entry.tag) == Some(false) {
            let what = format!("{} sealed {:?} under a key that it was told", self.device(who).name, entry.what);
            self.slip(Check::SendGate, &what);
        }
    }

    /// Whether a device gives another keys that it did not derive itself, though not everybody may read everything: what it
    /// was told of their epochs says nothing of who may have them. Devices of one person give each other all.
    pub(super) fn look_at_gift(&mut self, who: Who, circle: CircleId, entry: &Inside, to: DeviceId) {
        let What::Keys(keys) = &entry.what else { return };
        let engine = self.engine(who);
        let membership = engine.membership(circle).expect("it writes an entry of it");
        let person = membership.person_of(to);
        if membership.history() == History::Full || person == membership.person_of(entry.author) {
            return;
        }
        let told = |id: &&KeyId| !id.is_lasting() && inside::is_derived(engine, circle, id) == Some(false);
        if let Some(id) = keys.iter().map(|(_, id)| id).find(told) {
            let what = format!("{} gives {} {id:?}, of which it was told", self.device(who).name, to.short());
            self.slip(Check::History, &what);
        }
    }
}
