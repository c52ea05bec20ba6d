//! A store in memory: what is durable, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::{Batch, Key, Keyspace, ReadError, StoreRead};

/// What a device finds when it opens its store again.
#[derive(Default)]
pub struct Memory {
    records: Mutex<BTreeMap<Key, Vec<u8>>>,
    entry_reads: AtomicU64,
}

impl Memory {
    /// Makes a batch durable.
    pub fn write(&self, batch: &Batch) {
        let mut records = self.records();
        for (key, value) in &batch.writes {
            match value {
                Some(value) => records.insert(key.clone(), value.to_vec()),
                None => records.remove(key),
            };
        }
    }

    /// Everything.
    #[must_use]
    pub fn content(&self) -> BTreeMap<Key, Vec<u8>> {
        self.records().clone()
    }

    /// Puts all that another store holds into this one.
    pub fn copy_from(&self, other: &Self) {
        self.records().extend(other.content());
    }

    /// The suffixes of a scope, in order.
    #[must_use]
    pub fn suffixes(&self, keyspace: Keyspace, scope: &[u8]) -> Vec<Vec<u8>> {
        let records = self.records();
        let first = Key::new(keyspace, scope, []);
        let keys = records.range(first..).map(|(key, _)| key);
        keys.take_while(|key| key.keyspace == keyspace && key.scope == scope).map(|key| key.suffix.clone()).collect()
    }

    /// The first record that has some bytes in its key or its value.
    #[must_use]
    pub fn find(&self, needle: &[u8]) -> Option<Key> {
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let records = self.records();
        let found = records.iter().find(|(key, value)| has(&key.scope) || has(&key.suffix) || has(value));
        found.map(|(key, _)| key.clone())
    }

    /// Whether any record of a keyspace ends in one of those.
    #[must_use]
    pub fn has_suffix(&self, keyspace: Keyspace, suffixes: &BTreeSet<Vec<u8>>) -> bool {
        self.records().keys().any(|key| key.keyspace == keyspace && suffixes.contains(&key.suffix))
    }

    /// How often a single entry was asked for.
    #[must_use]
    pub fn entry_reads(&self) -> u64 {
        self.entry_reads.load(Ordering::Relaxed)
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<u8>>> {
        self.records.lock().expect("no reader or writer panics while it holds the lock")
    }
}

impl StoreRead for Memory {
    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        if key.keyspace == Keyspace::Entries {
            self.entry_reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.records().get(key).cloned())
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], Vec<u8>) -> bool,
    ) -> Result<(), ReadError> {
        for (key, value) in self.records().range(Key::new(keyspace, scope, from)..) {
            if key.keyspace != keyspace || key.scope != scope || !visit(&key.suffix, value.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn scan_suffixes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ReadError> {
        for suffix in self.suffixes(keyspace, scope) {
            if suffix.as_slice() >= from && !visit(&suffix) {
                break;
            }
        }
        Ok(())
    }
}
