//! Welcomes that lead nowhere that others are.

use clave_engine::crypto::RosterChange;
use clave_engine::fuzzing::rogue::Said;

use super::Act;

impl Act<'_> {
    pub(super) fn lure(&mut self) {
        let (who, circle) = (self.who, self.circle);
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let Ok(membership) = self.world.engine(who).membership(circle) else { return };
        let Some(known) = membership.devices.get(&victim) else { return };
        let (noise, packages) = (known.noise, known.key_packages.clone());
        let Some(package) = packages.last_resort.or_else(|| packages.single_use.first().cloned()) else { return };
        let agreement = self.world.agreement.build();
        let mut checkpoint = agreement.create(self.rogue.device(), circle.as_bytes(), &mut self.entropy);
        let depth = self.world.engine(who).status(circle).map_or(0, |status| status.depth);
        for _ in 0..depth + 5 {
            let change = RosterChange::default();
            match agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy) {
                Ok(output) => checkpoint = output.checkpoint,
                Err(_) => return,
            }
        }
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let Ok(output) = agreement.commit(self.rogue.device(), &checkpoint, &change, &mut self.entropy) else { return };
        let message = output.welcome.unwrap_or_default();
        let operations = self.heads();
        let entry = self.seal_somehow(Said::Welcome { device: victim, noise, message, operations });
        self.give_all([entry]);
    }
}
