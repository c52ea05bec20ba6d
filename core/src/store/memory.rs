//! A store that forgets everything when it is dropped, for tests and the simulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{RawBatch, Store, StoreError, outcome, tabled};

type Records = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// A store in memory. Durable is what has been applied; a simulated crash keeps the store and drops what uses it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: Mutex<Records>,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // The map is only ever replaced or changed by calls that do not panic half-way.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An independent store with the same records.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { records: Mutex::new(self.records().clone()) }
    }
}

impl Store for MemoryStore {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records().get(&tabled(table, &[key])).cloned())
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let state = self.records().clone();
        let prefix = tabled(table, &[prefix]);
        for (key, value) in state.range(tabled(table, &[&prefix[1..], from])..) {
            if !key.starts_with(&prefix) || !visit(&key[1..], value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        let writes = outcome(batches)?;
        let mut records = self.records();
        let records = Arc::make_mut(&mut records);
        for ((table, key), value) in writes {
            let key = tabled(table, &[key]);
            match value {
                Some(value) => records.insert(key, value.to_vec()),
                None => records.remove(&key),
            };
        }
        Ok(())
    }

    fn compact(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.records().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
