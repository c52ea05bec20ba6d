//! A place to keep a store for the time of a test.

use std::sync::Arc;

use clave::{MemoryStore, Store, StoreError, StoreKind, open_store};
use tempfile::TempDir;

/// A backend and, where it needs one, a directory of its own.
pub(crate) enum Fixture {
    Memory(Arc<MemoryStore>),
    Disk(StoreKind, TempDir),
}

impl Fixture {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn disk(kind: StoreKind) -> Self {
        Self::Disk(kind, TempDir::new().unwrap())
    }

    pub(crate) fn try_open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.clone()),
            Self::Disk(kind, directory) => open_store(directory.path(), *kind),
        }
    }

    pub(crate) fn open(&self) -> Arc<dyn Store> {
        self.try_open().unwrap()
    }
}

/// All records of a table under a prefix, from `from` on.
pub(crate) fn records(store: &dyn Store, table: u8, prefix: &[u8], from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    store
        .scan(table, prefix, from, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    found
}

/// The keys of [`records`].
pub(crate) fn keys(store: &dyn Store, table: u8, prefix: &[u8], from: &[u8]) -> Vec<Vec<u8>> {
    records(store, table, prefix, from).into_iter().map(|(key, _)| key).collect()
}
