//! What every store has to do. A further one joins by a module in `conformance!`.

use std::sync::{Arc, Mutex};

use clave_mailbox::{BlobId, Bytes, Kind};

use super::{
    Batch, MailboxId, MailboxStore, MemoryStore, News, PageRoom, Quotas, RedbStore, StoreError, StoredEntry, cost,
    jetstream::tests::alone as jetstream_alone,
};

pub(super) const QUOTAS: Quotas = Quotas {
    kept_seconds: 1_000,
    mailbox_bytes_max: 1 << 20,
    mailbox_entries_max: 1_000,
    store_bytes_max: 4 << 20,
    new_mailboxes_bytes_max: 3 << 20,
    mailboxes_max: 100,
};

const ALL: PageRoom = PageRoom { bytes: usize::MAX, entries: usize::MAX };

/// When the tests' batches come, in seconds since 1970.
const NOW: u64 = 1_000;

/// Remembers the news.
#[derive(Default)]
pub(super) struct Heard {
    stored: Mutex<Vec<(MailboxId, u64)>>,
    lagged: Mutex<Vec<MailboxId>>,
}

impl Heard {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn take(&self) -> Vec<(MailboxId, u64)> {
        std::mem::take(&mut *self.stored.lock().unwrap())
    }

    pub(super) fn take_lagged(&self) -> Vec<MailboxId> {
        std::mem::take(&mut *self.lagged.lock().unwrap())
    }
}

impl News for Heard {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry) {
        self.stored.lock().unwrap().push((mailbox, entry.position));
    }

    fn lagged(&self, mailbox: MailboxId) {
        self.lagged.lock().unwrap().push(mailbox);
    }
}

/// A kilobyte that is like no other.
pub(super) fn entry(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(256)
}

pub(super) fn batch(mailbox: u8, kind: Kind, blobs: &[&[u8]]) -> Batch {
    let blobs = blobs.iter().map(|bytes| (BlobId::of(kind, bytes), Bytes::copy_from_slice(bytes))).collect();
    Batch { mailbox: MailboxId([mailbox; 32]), kind, blobs, now_seconds: NOW }
}

async fn numbers(store: &dyn MailboxStore, mailbox: u8) -> Vec<u32> {
    let page = store.after(MailboxId([mailbox; 32]), 0, ALL).await.unwrap();
    assert!(page.entries.is_sorted_by_key(|entry| entry.position) && !page.more);
    page.entries.iter().map(|entry| u32::from_be_bytes(*entry.bytes.first_chunk().unwrap())).collect()
}

async fn puts_are_idempotent_and_announced_once(store: &dyn MailboxStore, heard: &Heard) {
    let first = store.put(batch(1, Kind::Entry, &[b"a", b"b"])).await.unwrap();
    assert_eq!(first.new.len(), 2);
    let mailbox = MailboxId([1; 32]);
    assert_eq!(heard.take(), [(mailbox, first.new[0].1), (mailbox, first.new[1].1)]);
    // Again, within one batch too; and one that is new.
    let second = store.put(batch(1, Kind::Entry, &[b"b", b"c", b"c", b"a"])).await.unwrap();
    assert_eq!(second.new.len(), 1);
    assert_eq!(second.new[0].0, BlobId::of(Kind::Entry, b"c"));
    assert!(second.new[0].1 > first.new[1].1);
    assert_eq!(heard.take(), [(mailbox, second.new[0].1)]);
    // Another mailbox and another kind are other places.
    assert_eq!(store.put(batch(2, Kind::Entry, &[b"a"])).await.unwrap().new.len(), 1);
    heard.take();
    assert_eq!(store.put(batch(1, Kind::Chunk, &[b"a"])).await.unwrap().new.len(), 1);
    assert_eq!(heard.take(), [], "chunks are not announced");
    let states = store.states([1, 2, 3].map(|mailbox| MailboxId([mailbox; 32])).into()).await.unwrap();
    assert_eq!(states.iter().map(|state| state.entries).collect::<Vec<_>>(), [3, 1, 0]);
    assert_eq!((states[0].last, states[2].last), (second.new[0].1, 0));
    let usage = store.usage();
    assert_eq!((usage.mailboxes, usage.entries, usage.chunks, usage.bytes), (2, 4, 1, 5 * cost(1)));
}

async fn pages_go_on_after_a_position(store: &dyn MailboxStore, _: &Heard) {
    for number in 0..10 {
        store.put(batch(1, Kind::Entry, &[&entry(number)])).await.unwrap();
        // What lies between does not count.
        store.put(batch(1, Kind::Chunk, &[&entry(number)])).await.unwrap();
        store.put(batch(2, Kind::Entry, &[&entry(number)])).await.unwrap();
    }
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let page = store.after(MailboxId([1; 32]), after, PageRoom { bytes: 3 * 1024, entries: 100 }).await.unwrap();
        after = page.entries.last().unwrap().position;
        pages.push(page.entries.len());
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, [3, 3, 3, 1]);
    let page = store.after(MailboxId([1; 32]), 0, PageRoom { bytes: usize::MAX, entries: 4 }).await.unwrap();
    assert!(page.more && page.entries.len() == 4);
    let page = store.after(MailboxId([1; 32]), 0, PageRoom { bytes: 1, entries: 1 }).await.unwrap();
    assert!(page.more && page.entries.len() == 1, "one at least");
    for end in [after, u64::MAX] {
        let page = store.after(MailboxId([1; 32]), end, ALL).await.unwrap();
        assert!(page.entries.is_empty() && !page.more);
    }
}

async fn blobs_are_found_by_their_ids_in_the_mailboxes_named(store: &dyn MailboxStore, _: &Heard) {
    let big = vec![7; 300_000];
    store.put(batch(1, Kind::Chunk, &[&big, b"small"])).await.unwrap();
    store.put(batch(2, Kind::Chunk, &[b"other"])).await.unwrap();
    let ids: Vec<_> = [&big[..], b"missing", b"small", b"other"].map(|bytes| BlobId::of(Kind::Chunk, bytes)).into();
    let both: Vec<_> = [1, 2].map(|mailbox| MailboxId([mailbox; 32])).into();
    let found = store.get(both.clone(), Kind::Chunk, ids.clone(), usize::MAX).await.unwrap();
    let expected = [Some(big.clone()), None, Some(b"small".to_vec()), Some(b"other".to_vec())];
    // Not assert_eq: it would print them.
    assert!(found == expected.map(|bytes| bytes.map(Bytes::from)));
    let found = store.get(both.clone(), Kind::Chunk, ids.clone(), 1).await.unwrap();
    let lengths: Vec<_> = found.iter().map(|blob| blob.as_ref().map(Bytes::len)).collect();
    assert_eq!(lengths, [Some(big.len()), None], "one at least; what is missing takes no room");
    assert_eq!(store.which(both.clone(), Kind::Chunk, ids.clone()).await.unwrap(), [true, false, true, true]);
    let one = vec![MailboxId([2; 32])];
    assert_eq!(store.which(one, Kind::Chunk, ids.clone()).await.unwrap(), [false, false, false, true]);
    assert_eq!(store.which(both, Kind::Entry, ids.clone()).await.unwrap(), [false; 4]);
    assert_eq!(store.which(Vec::new(), Kind::Chunk, ids).await.unwrap(), [false; 4]);
}

async fn entry_ids_are_those_of_one_mailbox_in_order(store: &dyn MailboxStore, _: &Heard) {
    store.put(batch(1, Kind::Entry, &[b"a", b"b", b"c"])).await.unwrap();
    store.put(batch(1, Kind::Chunk, &[b"d"])).await.unwrap();
    store.put(batch(2, Kind::Entry, &[b"e"])).await.unwrap();
    let mut ids: Vec<_> = [b"a", b"b", b"c"].map(|bytes| BlobId::of(Kind::Entry, bytes)).into();
    ids.sort_unstable();
    assert_eq!(store.entry_ids(MailboxId([1; 32])).await.unwrap(), ids);
    assert_eq!(store.entry_ids(MailboxId([9; 32])).await.unwrap(), []);
}

async fn what_is_too_old_goes(store: &dyn MailboxStore, _: &Heard) {
    store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    store.put(batch(2, Kind::Chunk, &[&entry(1)])).await.unwrap();
    store.put(Batch { now_seconds: NOW + 500, ..batch(1, Kind::Entry, &[&entry(2)]) }).await.unwrap();
    store.sweep(NOW + QUOTAS.kept_seconds - 1).await.unwrap();
    assert_eq!(store.usage().expired, 0);
    store.sweep(NOW + QUOTAS.kept_seconds).await.unwrap();
    assert_eq!(numbers(store, 1).await, [2]);
    let usage = store.usage();
    assert_eq!((usage.expired, usage.mailboxes, usage.chunks, usage.bytes), (2, 1, 0, cost(1024)));
    let last = store.states(vec![MailboxId([1; 32])]).await.unwrap()[0].last;
    store.sweep(NOW + 500 + QUOTAS.kept_seconds).await.unwrap();
    assert_eq!(store.usage().mailboxes, 0);
    // It may come again, later in the order.
    let again = store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    assert!(again.new[0].1 > last, "a position is never given twice");
}

async fn a_mailbox_over_its_quota_loses_its_oldest(store: &dyn MailboxStore, _: &Heard) {
    let entries = Quotas { mailbox_entries_max: 3, ..QUOTAS };
    store.set_quotas(entries);
    store.put(batch(1, Kind::Chunk, &[&entry(0)])).await.unwrap();
    store.put(batch(2, Kind::Entry, &[&entry(0)])).await.unwrap();
    for number in 1..=5 {
        store.put(batch(1, Kind::Entry, &[&entry(number)])).await.unwrap();
    }
    assert_eq!(numbers(store, 1).await, [3, 4, 5]);
    assert_eq!((store.usage().chunks, store.usage().dropped), (0, 3), "the chunk was the oldest of all");
    store.set_quotas(Quotas { mailbox_bytes_max: 2 * cost(1024), ..QUOTAS });
    store.put(batch(1, Kind::Chunk, &[&entry(9)])).await.unwrap();
    assert_eq!(numbers(store, 1).await, [5]);
    assert_eq!(numbers(store, 2).await, [0], "others are left alone");
}

async fn new_mailboxes_are_refused_before_old_ones(store: &dyn MailboxStore, heard: &Heard) {
    store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    store.put(batch(2, Kind::Entry, &[&entry(2)])).await.unwrap();
    heard.take();
    let full = 2 * cost(1024);
    store.set_quotas(Quotas { new_mailboxes_bytes_max: full, store_bytes_max: 2 * full, ..QUOTAS });
    let refused = store.put(batch(3, Kind::Entry, &[&entry(3)])).await;
    assert_eq!(refused, Err(StoreError::NoNewMailboxes));
    assert_eq!((heard.take(), store.usage().entries), (vec![], 2), "nor any part of it");
    // Old ones go on; when all is full, what is oldest of all goes, whoever's it is.
    for number in 10..13 {
        store.put(batch(2, Kind::Entry, &[&entry(number)])).await.unwrap();
    }
    assert!(numbers(store, 1).await.is_empty());
    assert_eq!(numbers(store, 2).await, [2, 10, 11, 12]);
    assert_eq!(store.usage().dropped, 1);
    // Which made it a new one.
    assert_eq!(store.put(batch(1, Kind::Entry, &[&entry(1)])).await, Err(StoreError::NoNewMailboxes));
    // A quota that was lowered is kept by the next sweep.
    store.set_quotas(Quotas { store_bytes_max: cost(1024), ..QUOTAS });
    store.sweep(NOW).await.unwrap();
    assert_eq!(numbers(store, 2).await, [12]);
    store.set_quotas(Quotas { mailboxes_max: 1, ..QUOTAS });
    assert_eq!(store.put(batch(1, Kind::Entry, &[&entry(1)])).await, Err(StoreError::NoNewMailboxes));
    store.put(batch(2, Kind::Entry, &[&entry(1)])).await.unwrap();
}

async fn a_full_disk_refuses_puts_only(store: &dyn MailboxStore, _: &Heard) {
    store.put(batch(1, Kind::Entry, &[&entry(1)])).await.unwrap();
    store.set_disk_full(true);
    assert_eq!(store.put(batch(1, Kind::Entry, &[&entry(2)])).await, Err(StoreError::Full));
    assert_eq!(numbers(store, 1).await, [1]);
    store.sweep(NOW + QUOTAS.kept_seconds).await.unwrap();
    assert_eq!(store.usage().entries, 0, "what is too old still goes");
    store.set_disk_full(false);
    store.put(batch(1, Kind::Entry, &[&entry(2)])).await.unwrap();
}

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                let heard = super::Heard::new();
                super::$test(&super::MemoryStore::new(super::QUOTAS, heard.clone()), &heard).await;
            })*
        }

        mod redb {
            $(#[tokio::test]
            async fn $test() {
                let (folder, heard) = (tempfile::tempdir().unwrap(), super::Heard::new());
                let path = folder.path().join("mailboxes.redb");
                let store = super::RedbStore::open(&path, 8 << 20, super::QUOTAS, heard.clone()).unwrap();
                super::$test(&store, &heard).await;
            })*
        }

        mod jetstream {
            $(#[tokio::test]
            async fn $test() {
                let heard = super::Heard::new();
                // It has said so if there is no server.
                let Some((_folder, _server, store)) = super::jetstream_alone(heard.clone()).await else { return };
                super::$test(&store, &heard).await;
            })*
        }
    };
}

conformance!(
    puts_are_idempotent_and_announced_once,
    pages_go_on_after_a_position,
    blobs_are_found_by_their_ids_in_the_mailboxes_named,
    entry_ids_are_those_of_one_mailbox_in_order,
    what_is_too_old_goes,
    a_mailbox_over_its_quota_loses_its_oldest,
    new_mailboxes_are_refused_before_old_ones,
    a_full_disk_refuses_puts_only,
);
