//! Checkpoints at rest: what an epoch shares with others is stored once.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{BlobId, EpochId};

use super::*;

/// Which blobs the stored checkpoints consist of.
#[derive(Default)]
pub(super) struct Trees {
    of: BTreeMap<EpochId, Vec<BlobId>>,
    uses: BTreeMap<BlobId, usize>,
}

impl Trees {
    /// Notes what an epoch's checkpoint consists of, and says which of it nothing else did.
    pub(super) fn add(&mut self, epoch: EpochId, blobs: Vec<BlobId>) -> BTreeSet<BlobId> {
        let mut new = BTreeSet::new();
        for blob in &blobs {
            let uses = self.uses.entry(*blob).or_default();
            *uses += 1;
            if *uses == 1 {
                new.insert(*blob);
            }
        }
        self.of.insert(epoch, blobs);
        new
    }

    /// Forgets an epoch, and says what nothing consists of any more.
    fn remove(&mut self, epoch: &EpochId) -> Vec<BlobId> {
        let mut unused = Vec::new();
        for blob in self.of.remove(epoch).unwrap_or_default() {
            let uses = self.uses.get_mut(&blob).expect("it is in use until the last epoch that uses it goes");
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&blob);
                unused.push(blob);
            }
        }
        unused
    }
}

impl Circle {
    /// Writes down an epoch as it is known now: with its secrets, or once those are erased without.
    pub(super) fn file_epoch(&mut self, epoch: &EpochId, desk: &mut Desk) -> Result<(), EngineError> {
        let scope = self.id.as_bytes();
        let key = Key::new(Keyspace::Checkpoints, scope, epoch.as_bytes());
        let Some(known) = self.group.node(epoch) else { return Ok(()) };
        let mut record = local::Checkpoint {
            parent: known.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
            state: Vec::new(),
            operations: known.after.iter().map(|id| id.as_bytes().to_vec()).collect(),
            depth: known.depth,
            entered_ms: known.entered_ms,
            left_ms: known.left_ms,
            apart: false,
            recovery: Vec::new(),
            cites: known.cites.iter().map(|id| id.as_bytes().to_vec()).collect(),
            adds: known.adds,
        };
        if known.checkpoint.is_none() {
            for unused in self.trees.remove(epoch) {
                desk.remove(Key::new(Keyspace::Trees, scope, unused.as_bytes()));
            }
        } else if self.trees.of.contains_key(epoch) {
            // It never changes, only what is noted beside it.
            let stored = desk.store.read(&key)?.ok_or(EngineError::Damaged)?;
            record.state = local::Checkpoint::decode(stored.as_slice())?.state;
        } else if let Some(checkpoint) = &known.checkpoint {
            let parts = checkpoint.to_parts()?;
            record.state = parts.state.to_vec();
            let new = self.trees.add(*epoch, parts.blobs.iter().map(|(id, _)| *id).collect());
            for (id, blob) in parts.blobs.into_iter().filter(|(id, _)| new.contains(id)) {
                desk.put(Key::new(Keyspace::Trees, scope, id.as_bytes()), blob);
            }
        }
        desk.put(key, record.encode_to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_goes_with_the_last_epoch_that_uses_it() {
        let blob = |n: u8| BlobId::from_bytes([n; 32]);
        let epoch = |n: u8| EpochId::from_bytes([n; 32]);
        let mut trees = Trees::default();
        assert_eq!(trees.add(epoch(1), vec![blob(1), blob(2), blob(2)]), BTreeSet::from([blob(1), blob(2)]));
        assert_eq!(trees.add(epoch(2), vec![blob(2), blob(3)]), BTreeSet::from([blob(3)]));
        assert_eq!(trees.remove(&epoch(1)), [blob(1)]);
        assert_eq!(trees.remove(&epoch(1)), []);
        assert_eq!(trees.remove(&epoch(2)), [blob(2), blob(3)]);
        assert!(trees.uses.is_empty() && trees.of.is_empty());
    }
}
