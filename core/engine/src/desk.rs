//! What a circle works with while it handles one input, and what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use clave_crypto::{DeviceId, DeviceKey, Entropy, GroupKeyAgreement};

use crate::{Batch, CircleId, EntryId, Event, Key, Keyspace, ReadError, Refusal, RefusalCounts, StoreRead};

/// Tools in, effects out. One per engine; [`Engine`](crate::Engine) empties it after each input.
pub(crate) struct Desk {
    pub(crate) device: DeviceKey,
    pub(crate) incarnation: u32,
    pub(crate) agreement: Box<dyn GroupKeyAgreement + Send>,
    pub(crate) entropy: Entropy,
    pub(crate) now_ms: u64,
    pub(crate) store: View,
    /// What has to become durable.
    pub(crate) batch: Batch,
    /// What the application is told.
    pub(crate) events: Vec<Event>,
    /// Entries made here: pushed to whoever is connected.
    pub(crate) published: Vec<(CircleId, EntryId)>,
    /// Entries that arrived and were news: offered to whoever else is connected.
    pub(crate) relayed: Vec<(CircleId, EntryId)>,
    pub(crate) refusals: RefusalCounts,
}

impl Desk {
    pub(crate) fn me(&self) -> DeviceId {
        self.device.id()
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        tracing::warn!(%refusal, "refused");
        *self.refusals.entry(refusal).or_default() += 1;
    }

    pub(crate) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.store.overlay(key.clone(), Some(value.clone()));
        self.batch.put(key, value);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.store.overlay(key.clone(), None);
        self.batch.remove(key);
    }
}

/// The store as the engine sees it: what is durable, under what is on its way to be.
pub(crate) struct View {
    durable: Arc<dyn StoreRead + Send + Sync>,
    /// The newest value of each key, and how many writes of it are on their way.
    unwritten: BTreeMap<Key, (Option<Vec<u8>>, usize)>,
}

impl View {
    pub(crate) fn new(durable: Arc<dyn StoreRead + Send + Sync>) -> Self {
        Self { durable, unwritten: BTreeMap::new() }
    }

    fn overlay(&mut self, key: Key, value: Option<Vec<u8>>) {
        let (newest, writes) = self.unwritten.entry(key).or_default();
        *newest = value;
        *writes += 1;
    }

    /// Forgets what became durable, unless it was written again since.
    pub(crate) fn written(&mut self, batch: &Batch) {
        for (key, _) in &batch.writes {
            if let Some((_, writes)) = self.unwritten.get_mut(key) {
                *writes -= 1;
                if *writes == 0 {
                    self.unwritten.remove(key);
                }
            }
        }
    }

    pub(crate) fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        match self.unwritten.get(key) {
            Some((value, _)) => Ok(value.clone()),
            None => self.durable.read(key),
        }
    }

    /// All records of a scope, in order of suffix.
    pub(crate) fn all(&self, keyspace: Keyspace, scope: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
        let mut records = BTreeMap::new();
        self.durable.scan(keyspace, scope, &[], &mut |suffix, value| {
            records.insert(suffix.to_vec(), value);
            true
        })?;
        for (key, (value, _)) in self.unwritten.range(Key::new(keyspace, scope, [])..) {
            if key.keyspace != keyspace || key.scope != scope {
                break;
            }
            match value {
                Some(value) => records.insert(key.suffix.clone(), value.clone()),
                None => records.remove(&key.suffix),
            };
        }
        Ok(records)
    }
}
