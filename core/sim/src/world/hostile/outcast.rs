//! A rogue that left, and goes on through another that is in: its own frames are heard by nobody, what others pass on is.

use clave_engine::crypto::{DeviceId, KeyId, RosterChange};
use clave_engine::fuzzing::rogue::{self, Rogue, Said, Sealed};

use super::Act;
use crate::Who;

impl Act<'_> {
    pub(super) fn outcast(&mut self) {
        let (who, circle) = (self.who, self.circle);
        let rogues: Vec<Who> = self.world.everyone().filter(|one| *one != who && self.world.is_rogue(*one)).collect();
        let rogues: Vec<Who> = rogues.into_iter().filter(|one| self.world.is_up(*one)).collect();
        let Some(outcast) = self.random().pick(&rogues) else { return };
        let Ok(membership) = self.world.engine(who).membership(circle) else { return };
        let roster: Vec<DeviceId> = membership.devices.keys().copied().collect();
        if roster.contains(&self.world.device(outcast).id) {
            // Whoever is in may leave.
            let _ = self.world.remove(outcast, circle, outcast);
            return;
        }
        let Some(rogue) = Rogue::of(self.world.engine(outcast), circle) else { return };
        let Some(victim) = self.somebody_else() else { return };
        let operations = self.heads();
        let tags: Vec<KeyId> =
            self.rogue.epochs().iter().filter_map(|of| self.rogue.key(of)).map(|key| key.key_id()).collect();
        self.rogue = rogue;
        let commit = self.commit_of(outcast, &roster);
        let welcome = self.lured_by(outcast, victim, operations);
        let plea = self.plea_of(outcast, victim, tags);
        self.give_all([commit, welcome, plea]);
    }

    /// A commit that leaves nobody in who is out, but its author.
    fn commit_of(&mut self, outcast: Who, roster: &[DeviceId]) -> Option<Sealed> {
        let (circle, parent, me) = (self.circle, self.rogue.head, self.rogue.id());
        let engine = self.world.engine(outcast);
        let gone = rogue::leaves(engine, circle).into_iter().filter(|leaf| *leaf != me && !roster.contains(leaf));
        let change = RosterChange { add: Vec::new(), remove: gone.collect() };
        let committed = rogue::commit(engine, circle, None, &change, 1, &mut self.entropy)?;
        // It cites the heads of whoever passes it on, which the removal is before.
        let said = self.said(parent, &committed);
        let commit = self.seal(parent, said);
        self.note_lie(commit.as_ref(), parent);
        commit
    }

    /// Asks for the newest keys of whoever passes it on, and for a new leaf.
    fn plea_of(&mut self, outcast: Who, victim: Who, mut tags: Vec<KeyId>) -> Option<Sealed> {
        let (circle, epoch, device) = (self.circle, self.rogue.head, self.world.device(victim).id);
        let depth = self.world.engine(outcast).status(circle).map_or(0, |status| status.depth);
        let key_package = self
            .world
            .agreement
            .build()
            .key_package(self.rogue.device(), self.world.suite, true, &mut self.entropy)
            .public;
        tags.truncate(clave_engine::PLEA_KEYS_MAX);
        self.seal_direct(device, Said::Plea { epoch, depth, tags, key_package })
    }
}
