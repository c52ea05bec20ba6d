//! Welcomes into groups of a rogue's own that have the circle's name.

use clave_engine::OperationId;
use clave_engine::crypto::{EpochId, RosterChange};
use clave_engine::fuzzing::rogue::{Said, Sealed};
use clave_engine::membership::{Action, Operation};

use super::Act;
use crate::Who;

impl Act<'_> {
    pub(super) fn lure(&mut self) {
        let Some(victim) = self.somebody_else() else { return };
        let operations = self.heads();
        let welcome = self.lured_by(self.who, victim, operations);
        self.give_all([welcome]);
    }

    pub(super) fn early_lure(&mut self) {
        let Some(victim) = self.somebody_else() else { return };
        let (person, heads) = (self.world.device(self.who).person, self.heads());
        let action = Action::SetProfile { person, name: "Nobody hears of this".to_owned() };
        let kept_back = Operation::sign(self.rogue.device(), heads, self.now_ms, action).id();
        let welcome = self.lured_by(self.who, victim, vec![kept_back]);
        self.give_all([welcome]);
    }

    /// A Welcome by `by`, whose keys this attack is made with, into a group deeper than the real one.
    pub(super) fn lured_by(&mut self, by: Who, victim: Who, operations: Vec<OperationId>) -> Option<Sealed> {
        let device = self.world.device(victim).id;
        let package = self.package_of(device)?;
        let (epoch, message) = self.own_group(by, package)?;
        self.world.rogues.add_lure(epoch, self.rogue.id(), operations.clone());
        self.seal_direct(device, Said::Welcome { message, operations })
    }

    /// The last epoch of a group that has the circle's name, and the Welcome to it.
    fn own_group(&mut self, by: Who, package: Vec<u8>) -> Option<(EpochId, Vec<u8>)> {
        let circle = self.circle;
        let agreement = self.world.agreement.build();
        let mut checkpoint =
            agreement.create(self.rogue.device(), circle.as_bytes(), self.world.suite, &mut self.entropy);
        let depth = [by, self.who].map(|who| self.world.engine(who).status(circle).map_or(0, |status| status.depth));
        for _ in 0..depth[0].max(depth[1]) + 5 {
            let change = RosterChange::default();
            let output = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy);
            checkpoint = output.ok()?.checkpoint;
        }
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let output = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy).ok()?;
        Some((output.checkpoint.epoch, output.welcome.unwrap_or_default()))
    }
}
