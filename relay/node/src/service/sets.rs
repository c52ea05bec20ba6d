//! Sets of ids that devices compare theirs with, kept for the next step and the next device.
//!
//! A comparison takes several steps, and when a relay has lost its data all devices of a circle compare the same mailbox: each time reading all its ids and sorting
//! them would be most of the work.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clave_mailbox::BlobId;
use negentropy::{Id, Item, NegentropyStorageVector};

use crate::store::{MailboxId, MailboxState, MailboxStore, StoreError};

/// Bytes of all sets that are kept. Beyond, those that were not asked for the longest go.
const SETS_BYTES_MAX: usize = 32 << 20;

/// A set that is sealed.
pub(crate) type Set = Arc<NegentropyStorageVector>;

/// The sets that were asked for lately.
#[derive(Default)]
pub(crate) struct Sets {
    /// Those asked for last stand last.
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    mailbox: MailboxId,
    /// Of which the set is: positions rise, so another one has another state.
    state: MailboxState,
    bytes: usize,
    set: Set,
}

impl Sets {
    /// The ids of a mailbox as it is now.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn of(&self, store: &dyn MailboxStore, mailbox: MailboxId) -> Result<Set, StoreError> {
        let state = store.states(vec![mailbox]).await?.first().copied().unwrap_or_default();
        if let Some(set) = self.find(mailbox, state) {
            return Ok(set);
        }
        let ids = store.entry_ids(mailbox).await?;
        let bytes = ids.len() * size_of::<Item>();
        let set = tokio::task::spawn_blocking(move || set_of(&ids)).await.map_err(|_| StoreError::Stopped)?;
        self.keep(Kept { mailbox, state, bytes, set: set.clone() });
        Ok(set)
    }

    fn find(&self, mailbox: MailboxId, state: MailboxState) -> Option<Set> {
        let kept = &mut *self.kept();
        let at = kept.iter().position(|kept| kept.mailbox == mailbox)?;
        let found = kept.remove(at)?;
        if found.state != state {
            return None;
        }
        let set = found.set.clone();
        kept.push_back(found);
        Some(set)
    }

    fn keep(&self, new: Kept) {
        let kept = &mut *self.kept();
        // Two may have made it at a time.
        kept.retain(|kept| kept.mailbox != new.mailbox);
        kept.push_back(new);
        let mut bytes: usize = kept.iter().map(|kept| kept.bytes).sum();
        while bytes > SETS_BYTES_MAX
            && let Some(oldest) = kept.pop_front()
        {
            bytes -= oldest.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids, each with timestamp 0.
pub(crate) fn set_of(ids: &[BlobId]) -> Set {
    let mut set = NegentropyStorageVector::with_capacity(ids.len());
    for id in ids {
        set.insert(0, Id::from_byte_array(id.0)).expect("it is not sealed");
    }
    set.seal().expect("it is sealed once");
    Arc::new(set)
}

#[cfg(test)]
mod tests {
    use clave_mailbox::{Bytes, Kind};

    use super::*;
    use crate::{
        hub::Hub,
        store::{Batch, MemoryStore, Quotas},
    };

    const QUOTAS: Quotas = Quotas {
        kept_seconds: 1_000,
        mailbox_bytes_max: 1 << 30,
        mailbox_entries_max: 100,
        store_bytes_max: 1 << 30,
        new_mailboxes_bytes_max: 1 << 30,
        mailboxes_max: 100,
    };

    async fn put(store: &MemoryStore, mailbox: MailboxId, entry: &'static [u8]) {
        let blobs = vec![(BlobId::of(Kind::Entry, entry), Bytes::from_static(entry))];
        store.put(Batch { mailbox, kind: Kind::Entry, blobs, now_seconds: 1 }).await.unwrap();
    }

    #[tokio::test]
    async fn a_set_is_kept_until_its_mailbox_changes() {
        let store = MemoryStore::new(QUOTAS, Arc::<Hub>::default());
        let (sets, one, other) = (Sets::default(), MailboxId([1; 32]), MailboxId([2; 32]));
        put(&store, one, b"first").await;
        let first = sets.of(&store, one).await.unwrap();
        put(&store, other, b"elsewhere").await;
        assert!(Arc::ptr_eq(&first, &sets.of(&store, one).await.unwrap()), "nothing changed here");
        assert!(!Arc::ptr_eq(&first, &sets.of(&store, other).await.unwrap()));
        put(&store, one, b"second").await;
        let second = sets.of(&store, one).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &sets.of(&store, one).await.unwrap()));
        // What is too old goes, and the newest stays: then the state is another, too.
        store.sweep(2_000).await.unwrap();
        assert!(!Arc::ptr_eq(&second, &sets.of(&store, one).await.unwrap()));
    }

    #[test]
    fn only_so_many_bytes_are_kept() {
        let sets = Sets::default();
        let state = MailboxState { last: 1, entries: 1 };
        for number in 0..10 {
            let set = set_of(&[]);
            sets.keep(Kept { mailbox: MailboxId([number; 32]), state, bytes: SETS_BYTES_MAX / 4, set });
            // This one is asked for all the time.
            assert!(sets.find(MailboxId([0; 32]), state).is_some());
        }
        let kept: Vec<_> = (0..10).filter(|number| sets.find(MailboxId([*number; 32]), state).is_some()).collect();
        assert_eq!(kept, [0, 7, 8, 9]);
        sets.keep(Kept { mailbox: MailboxId([77; 32]), state, bytes: SETS_BYTES_MAX + 1, set: set_of(&[]) });
        assert_eq!(sets.kept().len(), 0, "one that is too long is not kept at all");
    }
}
