//! When the store is compacted: after something was erased, or when a third of it is free; and at most once a day.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{SealedStore, StoreError};

/// How long after one compaction the next may begin, in milliseconds. It copies the whole store.
const EVERY_MS: u64 = 86_400_000;
/// How long after one that had to give way to a reader, or failed, in milliseconds.
const AGAIN_MS: u64 = 60_000;
/// What part of the store has to be free to be given back.
const FREE_PART: u64 = 3;

/// Compactions that are due and under way.
#[derive(Default)]
pub(super) struct Compaction {
    wanted: bool,
    /// Bytes that were freed since the last one. Some may be in use again.
    freed_bytes: u64,
    not_before_ms: u64,
    running: Option<JoinHandle<Result<bool, StoreError>>>,
}

impl Compaction {
    /// Something was erased that must not be found in what the store left behind.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// So many bytes of a store of so many are not needed any more.
    pub(super) fn freed(&mut self, bytes: u64, of_bytes: u64) {
        self.freed_bytes = self.freed_bytes.saturating_add(bytes);
        self.wanted |= self.freed_bytes.saturating_mul(FREE_PART) >= of_bytes;
    }

    /// When there is something to do.
    pub(super) fn next_ms(&self) -> Option<u64> {
        (self.wanted && self.running.is_none()).then_some(self.not_before_ms)
    }

    /// Begins one, if it is due, on a thread of its own. The engine waits when it reads meanwhile.
    pub(super) async fn tend(&mut self, store: &Arc<SealedStore>, now_ms: u64) {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish(now_ms).await;
        }
        if self.next_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let store = store.clone();
            (self.wanted, self.freed_bytes) = (false, 0);
            self.running = Some(tokio::task::spawn_blocking(move || store.store().compact()));
        }
    }

    /// Waits for the one that is under way.
    pub(super) async fn finish(&mut self, now_ms: u64) {
        let Some(running) = self.running.take() else { return };
        match running.await {
            Ok(Ok(true)) => self.not_before_ms = now_ms.saturating_add(EVERY_MS),
            outcome => {
                tracing::warn!(?outcome, "the store was not compacted; it is tried again");
                self.wanted = true;
                self.not_before_ms = now_ms.saturating_add(AGAIN_MS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clave_engine::crypto::{Entropy, VaultKey};

    use super::*;
    use crate::RedbStore;

    #[test]
    fn the_store_is_compacted_when_a_third_of_it_is_free() {
        let mut compaction = Compaction::default();
        compaction.freed(20, 100);
        assert_eq!(compaction.next_ms(), None);
        compaction.freed(20, 100);
        assert_eq!(compaction.next_ms(), Some(0));
    }

    #[tokio::test]
    async fn the_store_is_compacted_when_something_was_erased_and_once_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let mut entropy = Entropy::from_seed([1; 32]);
        let vault = VaultKey::generate(&mut entropy);
        let redb = Arc::new(RedbStore::open(directory.path()).unwrap());
        let store = Arc::new(SealedStore::new(redb, vault, entropy));
        let mut compaction = Compaction::default();
        compaction.tend(&store, 1_000).await;
        assert!(compaction.running.is_none());
        compaction.want();
        assert_eq!(compaction.next_ms(), Some(0));
        compaction.tend(&store, 1_000).await;
        assert!(compaction.running.is_some());
        compaction.finish(2_000).await;
        assert_eq!(compaction.next_ms(), None);
        compaction.want();
        assert_eq!(compaction.next_ms(), Some(2_000 + EVERY_MS));
        compaction.tend(&store, 3_000).await;
        assert!(compaction.running.is_none());
        compaction.tend(&store, 2_000 + EVERY_MS).await;
        assert!(compaction.running.is_some());
        compaction.finish(2_000 + EVERY_MS).await;
    }
}
