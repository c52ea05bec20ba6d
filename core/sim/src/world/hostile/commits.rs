//! Commits that no operation justifies, that compete, or that lie.

use clave_engine::crypto::{ContentKey, EpochId, RosterChange};
use clave_engine::fuzzing::rogue::{self, Committed, Said};

use super::Act;

impl Act<'_> {
    pub(super) fn two_commits(&mut self) {
        let parent = self.rogue.head;
        for (half, text) in self.halves().into_iter().zip(["on one branch", "on the other"]) {
            let Some(committed) = self.commit(&RosterChange::default(), 1) else { return };
            let said = self.said(parent, &committed);
            let commit = self.seal(parent, said);
            // Its own number must not be in the way here.
            let key = **self.rogue.key(&parent).expect("the head has a key").as_bytes();
            let keys = Said::Keys { keys: vec![(parent, key)], operations: Vec::new() };
            let after = self.seal_with(&committed.key, keys);
            let garbage = self.seal_with(&committed.key, Said::Garbage(text.as_bytes().to_vec()));
            self.give(&half, [commit, after, garbage].into_iter().flatten().collect());
        }
    }

    pub(super) fn commit_spam(&mut self) {
        let mut parent = (self.rogue.head, self.rogue.key(&self.rogue.head));
        let mut last: Option<Committed> = None;
        let mut entries = Vec::new();
        for _ in 0..3 + self.random().between(0..6) {
            let engine = self.world.engine(self.who);
            let checkpoint = last.as_ref().map(|last| &last.checkpoint);
            let change = RosterChange::default();
            let Some(next) = rogue::commit(engine, self.circle, checkpoint, &change, 1, &mut self.entropy) else {
                return;
            };
            let said = self.said(parent.0, &next);
            let Some(key) = &parent.1 else { return };
            entries.push(self.seal_with(key, said));
            parent = (next.checkpoint.epoch, Some(ContentKey::from_bytes(next.key.as_bytes().clone())));
            last = Some(next);
        }
        self.give_all(entries);
    }

    pub(super) fn ground_commit(&mut self) {
        let parent = self.rogue.head;
        let Some(committed) = self.commit(&RosterChange::default(), 16) else { return };
        let said = self.said(parent, &committed);
        let entry = self.seal(parent, said);
        self.give_all([entry]);
    }

    pub(super) fn withheld_commit(&mut self) {
        let Some(committed) = self.commit(&RosterChange::default(), 1) else { return };
        let entries: Vec<_> =
            (0..3_u8).map(|number| self.seal_with(&committed.key, Said::Garbage(vec![number; 64]))).collect();
        self.give_all(entries);
    }

    pub(super) fn unjustified_add(&mut self) {
        let (entry, device) = self.stranger(true);
        let package = entry.devices[0].key_packages.last_resort.clone().expect("it was made above");
        let parent = self.rogue.head;
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let Some(committed) = self.commit(&change, 1) else { return };
        let said = self.said(parent, &committed);
        let commit = self.seal(parent, said);
        self.note_lie(commit.as_ref(), parent);
        let message = committed.welcome.clone().unwrap_or_default();
        let (to, operations) = ((device.id(), &device.noise_public()), self.heads());
        let said = Said::Welcome { message, operations };
        let welcome = self.rogue.seal_direct(to, said, self.now_ms, &mut self.entropy);
        self.give_all([commit, welcome]);
    }

    pub(super) fn unjustified_removal(&mut self) {
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let parent = self.rogue.head;
        let change = RosterChange { add: Vec::new(), remove: vec![victim] };
        let Some(committed) = self.commit(&change, 1) else { return };
        let said = self.said(parent, &committed);
        let commit = self.seal(parent, said);
        self.note_lie(commit.as_ref(), parent);
        let after = self.seal_with(&committed.key, Said::Garbage(vec![1; 64]));
        self.give_all([commit, after]);
    }

    pub(super) fn false_epoch(&mut self) {
        let parent = self.rogue.head;
        let Some(committed) = self.commit(&RosterChange::default(), 1) else { return };
        let epoch = EpochId::from_bytes(self.entropy.bytes());
        let said = match self.said(parent, &committed) {
            Said::Commit { message, operations, renews, adds, removes, .. } => {
                Said::Commit { parent, epoch, message, operations, renews, adds, removes }
            }
            said => said,
        };
        let commit = self.seal(parent, said);
        self.note_lie(commit.as_ref(), parent);
        self.give_all([commit]);
    }

    pub(super) fn false_roster(&mut self) {
        let (who, circle, parent) = (self.who, self.circle, self.rogue.head);
        let Some(victim) = self.somebody_else().map(|who| self.world.device(who).id) else { return };
        let Some(package) = self.package_of(victim) else { return };
        if !rogue::leaves(self.world.engine(who), circle).contains(&victim) {
            return;
        }
        let renewed = RosterChange { add: vec![package], remove: vec![victim] };
        let (change, renews, removes) = match self.random().between(0..3) {
            // Whoever is given a new leaf is kept from it.
            0 => (renewed, Vec::new(), Vec::new()),
            1 => (RosterChange::default(), vec![victim], Vec::new()),
            _ => (RosterChange::default(), Vec::new(), vec![victim]),
        };
        let Some(committed) = self.commit(&change, 1) else { return };
        let (epoch, message, operations) = (committed.checkpoint.epoch, committed.message, self.heads());
        let said = Said::Commit { parent, epoch, message, operations, renews, adds: Vec::new(), removes };
        let commit = self.seal(parent, said);
        self.note_lie(commit.as_ref(), parent);
        self.give_all([commit]);
    }
}
