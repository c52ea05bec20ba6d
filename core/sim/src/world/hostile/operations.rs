//! Operations and changes that no rule allows.

use clave_engine::OperationId;
use clave_engine::crypto::{DeviceKey, PersonKey};
use clave_engine::fuzzing::rogue::Said;
use clave_engine::membership::{Action, DeviceEntry, KeyPackages, MEMBERS_MAY_INVITE, Operation, PersonEntry, Role};

use super::{Act, GHOSTS_MAX};

impl Act<'_> {
    pub(super) fn forged_author(&mut self) {
        let Some(who) = self.somebody_else() else { return };
        let victim = self.world.device(who).id;
        let head = self.rogue.head;
        let Some(key) = self.rogue.key(&head) else { return };
        let action = Action::Rename { name: "Mine".to_owned() };
        let heads = self.heads();
        let operation = Operation::sign(self.rogue.device(), heads, self.now_ms, action);
        let bytes = operation.encode();
        // An operation that names the victim, in an entry of its own; then entries that do.
        let mut forged = bytes.clone();
        let own = *self.rogue.id().as_bytes();
        if let Some(at) = forged.windows(32).position(|part| part == own) {
            forged[at..at + 32].copy_from_slice(victim.as_bytes());
        }
        let entry = self.seal_with(&key, Said::Operation(forged));
        let whole = self.rogue.seal(&key, victim, Said::Operation(bytes), self.now_ms, &mut self.entropy);
        let said = self.change_of(who, "in another's name");
        let written = said.map(|said| self.rogue.seal(&key, victim, said, self.now_ms, &mut self.entropy));
        self.give_all([entry, whole].into_iter().chain(written));
    }

    pub(super) fn foreign_actor(&mut self) {
        let Some(victim) = self.somebody_else() else { return };
        let Some(change) = self.change_of(victim, "in another's name") else { return };
        let entry = self.seal_somehow(change);
        self.give_all([entry]);
    }

    pub(super) fn backdated_operation(&mut self) {
        let (who, circle, me) = (self.who, self.circle, self.rogue.id());
        let Some(log) = clave_engine::fuzzing::inside::log(self.world.engine(who), circle) else { return };
        let knows_me = |operation: &&Operation| {
            log.membership_at(&[operation.id()]).is_some_and(|then| then.devices.contains_key(&me))
        };
        let parents: Vec<OperationId> = log.operations().filter(knows_me).map(Operation::id).collect();
        let (Some(parent), Some(victim)) = (self.random().pick(&parents), self.somebody_else()) else { return };
        let (person, device) = (self.world.device(victim).person, self.world.device(victim).id);
        let own = self.world.device(who).person;
        let action = match self.random().between(0..8) {
            0 => Action::revoke_person(person),
            1 => Action::revoke_device(device),
            2 => Action::SetRole { person: own, role: Role::Owner, keep_heads: Vec::new() },
            3 => Action::SetRole { person, role: Role::Guest, keep_heads: Vec::new() },
            4 => Action::end_grant(person),
            5 => Action::SetPolicy {
                key: MEMBERS_MAY_INVITE.to_owned(),
                value: "false".to_owned(),
                keep_heads: Vec::new(),
            },
            6 => Action::SetProfile { person, name: "Nobody".to_owned() },
            _ => Action::AddPerson { newcomer: self.stranger(true).0, role: Role::Owner },
        };
        self.operation(vec![parent], action);
    }

    fn operation(&mut self, parents: Vec<OperationId>, action: Action) {
        let operation = Operation::sign(self.rogue.device(), parents, self.now_ms, action);
        let entry = self.seal_somehow(Said::Operation(operation.encode()));
        self.give_all([entry]);
    }

    pub(super) fn two_operations(&mut self) {
        let (person, heads) = (self.world.device(self.who).person, self.heads());
        for (half, name) in self.halves().into_iter().zip(["One", "Other"]) {
            let action = Action::SetProfile { person, name: name.to_owned() };
            let operation = Operation::sign(self.rogue.device(), heads.clone(), self.now_ms, action);
            let entry = self.seal_somehow(Said::Operation(operation.encode()));
            self.give(&half, entry.into_iter().collect());
        }
    }

    pub(super) fn two_changes(&mut self) {
        for (half, text) in self.halves().into_iter().zip(["one thing", "another"]) {
            let Some(change) = self.change_of(self.who, text) else { return };
            let entry = self.seal_somehow(change);
            self.give(&half, entry.into_iter().collect());
        }
    }

    pub(super) fn ground_operation(&mut self) {
        let (person, heads) = (self.world.device(self.who).person, self.heads());
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).person) else { return };
        let sign = |number: u64| {
            let action = if number.is_multiple_of(2) {
                Action::SetRole { person, role: Role::Owner, keep_heads: heads.clone() }
            } else {
                Action::RevokePerson {
                    person: victim,
                    keep_heads: vec![OperationId::from_bytes([number as u8; 32])],
                    keep_changes: Vec::new(),
                }
            };
            Operation::sign(self.rogue.device(), heads.clone(), self.now_ms, action)
        };
        let least = (0..32).map(sign).min_by_key(Operation::id).expect("there are 32");
        let entry = self.seal_somehow(Said::Operation(least.encode()));
        self.give_all([entry]);
    }

    /// Somebody who does not exist, perhaps with a key package that works.
    pub(super) fn stranger(&mut self, sound: bool) -> (PersonEntry, DeviceKey) {
        let (person, device) = (PersonKey::generate(&mut self.entropy), DeviceKey::generate(&mut self.entropy));
        let package = if sound {
            self.world.agreement.build().key_package(&device, self.world.suite, true, &mut self.entropy).public
        } else {
            self.entropy.bytes::<64>().to_vec()
        };
        let key_packages = KeyPackages { single_use: vec![package.clone()], last_resort: Some(package), x_wing: None };
        let entry = DeviceEntry::new(&person, &device, "ghost", key_packages);
        (
            PersonEntry {
                person: person.id(),
                name: "Ghost".to_owned(),
                devices: vec![entry],
                invitation: None,
                recovery: None,
            },
            device,
        )
    }

    pub(super) fn stale_key_packages(&mut self) {
        let (who, circle) = (self.who, self.circle);
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let Ok(membership) = self.world.engine(who).membership(circle) else { return };
        let anothers = membership.devices.get(&victim).map(|device| device.key_packages.clone()).unwrap_or_default();
        let key_packages = match self.random().between(0..3) {
            0 => anothers,
            1 => KeyPackages::default(),
            _ => KeyPackages { single_use: vec![vec![7; 100]], last_resort: Some(vec![9; 100]), x_wing: None },
        };
        let heads = self.heads();
        self.operation(heads, Action::PublishKeyPackages { key_packages });
    }

    pub(super) fn ghost(&mut self) {
        if self.world.rogues.ghosts >= GHOSTS_MAX {
            return;
        }
        self.world.rogues.ghosts += 1;
        let sound = self.random().permille(500);
        let (newcomer, heads) = (self.stranger(sound).0, self.heads());
        self.operation(heads, Action::AddPerson { newcomer, role: Role::Member });
    }
}
