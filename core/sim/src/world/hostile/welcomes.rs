//! Welcomes into groups of a rogue's own that have the circle's name.

use clave_engine::OperationId;
use clave_engine::crypto::{DeviceId, EpochId, NoisePublicKey, RosterChange};
use clave_engine::fuzzing::rogue::{Said, Sealed};
use clave_engine::membership::{Action, Operation};

use super::Act;
use crate::Who;

/// Whom a Welcome is for, and what it leads to.
struct Lured {
    device: DeviceId,
    noise: NoisePublicKey,
    epoch: EpochId,
    message: Vec<u8>,
}

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
        let Lured { device, noise, epoch, message } = self.lured(by, victim)?;
        self.world.rogues.lures.insert(epoch, (self.rogue.id(), operations.clone()));
        self.seal_somehow(Said::Welcome { device, noise, message, operations })
    }

    fn lured(&mut self, by: Who, victim: Who) -> Option<Lured> {
        let (who, circle, device) = (self.who, self.circle, self.world.device(victim).id);
        let noise = self.noise_of(device)?;
        let package = self.package_of(device)?;
        let agreement = self.world.agreement.build();
        let mut checkpoint =
            agreement.create(self.rogue.device(), circle.as_bytes(), self.world.suite, &mut self.entropy);
        let depth = [by, who].map(|who| self.world.engine(who).status(circle).map_or(0, |status| status.depth));
        for _ in 0..depth[0].max(depth[1]) + 5 {
            let change = RosterChange::default();
            let output = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy);
            checkpoint = output.ok()?.checkpoint;
        }
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let output = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy).ok()?;
        let message = output.welcome.unwrap_or_default();
        Some(Lured { device, noise, epoch: output.checkpoint.epoch, message })
    }
}
