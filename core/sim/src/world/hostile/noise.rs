//! Keys, entries and frames that mean nothing.

use clave_engine::crypto::{ContentKey, EpochId};
use clave_engine::fuzzing::rogue::{self, FalseBundle, Said};
use clave_engine::membership::{Action, Operation};
use clave_engine::{Channel, FRAME_BYTES_MAX, OperationId};

use super::Act;

impl Act<'_> {
    pub(super) fn poisoned_keys(&mut self) {
        let mut keys: Vec<(EpochId, [u8; 32])> =
            self.rogue.epochs().into_iter().take(8).map(|epoch| (epoch, self.entropy.bytes())).collect();
        keys.push((EpochId::from_bytes(self.entropy.bytes()), self.entropy.bytes()));
        let entry = self.seal_somehow(Said::Keys { keys, operations: Vec::new() });
        self.give_all([entry]);
    }

    pub(super) fn false_bundle(&mut self) {
        let (who, circle) = (self.who, self.circle);
        for how in FalseBundle::ALL {
            let entry = rogue::false_bundle(self.world.engine(who), circle, how);
            self.give_all([entry]);
        }
    }

    pub(super) fn held_flood(&mut self) {
        let entries: Vec<_> = (0..20_u8)
            .map(|number| {
                let key = ContentKey::from_bytes(self.entropy.bytes().into());
                self.seal_with(&key, Said::Garbage(vec![number; 16]))
            })
            .collect();
        self.give_all(entries);
    }

    pub(super) fn oversize(&mut self) {
        let heads = self.heads();
        let long = Operation::sign(
            self.rogue.device(),
            heads.clone(),
            self.now_ms,
            Action::Rename { name: "x".repeat(300 * 1024) },
        );
        let parents = (0..200_u8).map(|number| OperationId::from_bytes([number; 32])).collect();
        let many = Operation::sign(self.rogue.device(), parents, self.now_ms, Action::Rename { name: "x".to_owned() });
        let cited = vec![OperationId::from_bytes([1; 32]); 5_000];
        let epoch = EpochId::from_bytes(self.entropy.bytes());
        let commit = Said::Commit {
            parent: self.rogue.head,
            epoch,
            message: vec![0; 100_000],
            operations: cited,
            renews: Vec::new(),
            adds: Vec::new(),
            removes: Vec::new(),
        };
        let mut entries = Vec::new();
        for said in [Said::Operation(long.encode()), Said::Operation(many.encode()), commit] {
            let entry = self.seal_somehow(said);
            entries.push(entry);
        }
        self.give_all(entries);
        let peers = self.peers.clone();
        if let Some(peer) = self.random().pick(&peers) {
            self.frame(peer, Channel::Sync, vec![0; FRAME_BYTES_MAX + 1]);
        }
    }

    pub(super) fn garbage(&mut self) {
        let noise = self.entropy.bytes::<200>().to_vec();
        let entry = self.seal_somehow(Said::Garbage(vec![255; 40]));
        let peers = self.peers.clone();
        for channel in [Channel::Sync, Channel::Join, Channel::Bulk] {
            if let Some(peer) = self.random().pick(&peers) {
                self.frame(peer, channel, noise.clone());
            }
        }
        // A real entry, broken somewhere.
        if let Some(mut entry) = entry {
            let at = self.random().between(0..entry.bytes.len() as u64) as usize;
            entry.bytes[at] ^= 1 << self.random().between(0..8);
            entry.id = clave_engine::fuzzing::envelope(&entry.bytes).unwrap_or(entry.id);
            self.give_all([Some(entry)]);
        }
    }
}
