//! The writing thread: groups, order, back-pressure, failures by id.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use clave::{FailingStore, Fault, MemoryStore, RawBatch, SealedStore, Store, StoreError, WRITER_BATCHES_MAX, Writer};
use clave_engine::crypto::{Entropy, VaultKey};
use clave_engine::{Batch, Key, Keyspace, StoreRead};

fn sealed(store: Arc<dyn Store>) -> Arc<SealedStore> {
    let mut entropy = Entropy::from_seed([5; 32]);
    let vault = VaultKey::generate(&mut entropy);
    Arc::new(SealedStore::new(store, vault, entropy))
}

fn key(n: usize) -> Key {
    Key::new(Keyspace::Entries, "circle", n.to_be_bytes())
}

fn numbered(n: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put(key(n), vec![n as u8; 10]);
    batch.put(Key::new(Keyspace::Meta, "", "last"), n.to_be_bytes().to_vec());
    batch
}

/// Counts commits, and holds each one up until the test comes to the barrier twice.
struct Held {
    inner: MemoryStore,
    commits: AtomicUsize,
    barrier: Barrier,
}

impl Store for Held {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key)
    }
    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.inner.scan(table, prefix, from, visit)
    }
    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        self.barrier.wait();
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.barrier.wait();
        self.inner.apply(batches)
    }
    fn compact(&self) -> Result<bool, StoreError> {
        self.inner.compact()
    }
    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes()
    }
}

#[tokio::test]
async fn each_batch_is_reported_once_it_is_there() {
    let store = sealed(Arc::new(MemoryStore::new()));
    let mut writer = Writer::spawn(Arc::clone(&store)).unwrap();
    for n in 0..1000 {
        while let Err(back) = writer.submit(n, numbered(n)) {
            assert_eq!(back, (n, numbered(n)));
            let (id, result) = writer.next().await.unwrap();
            result.unwrap();
            assert!(store.read(&key(id)).unwrap().is_some());
        }
    }
    while writer.outstanding() > 0 {
        let (id, result) = writer.next().await.unwrap();
        result.unwrap();
        assert!(store.read(&key(id)).unwrap().is_some());
    }
    let last = store.read(&Key::new(Keyspace::Meta, "", "last")).unwrap().unwrap();
    assert_eq!(last, 999_usize.to_be_bytes());
}

#[tokio::test]
async fn what_waits_is_committed_together_and_in_order() {
    let held = Arc::new(Held { inner: MemoryStore::new(), commits: AtomicUsize::new(0), barrier: Barrier::new(2) });
    let store = sealed(held.clone());
    let mut writer = Writer::spawn(Arc::clone(&store)).unwrap();
    writer.submit(0, numbered(0)).unwrap();
    held.barrier.wait();
    // The first commit is under way, alone: all these wait for the next.
    for n in 1..WRITER_BATCHES_MAX {
        writer.submit(n, numbered(n)).unwrap();
    }
    assert!(!writer.has_room());
    assert!(writer.submit(1000, numbered(1000)).is_err());
    held.barrier.wait();
    assert_eq!(writer.next().await.unwrap(), (0, Ok(())));
    assert!(writer.has_room());
    held.barrier.wait();
    held.barrier.wait();
    for n in 1..WRITER_BATCHES_MAX {
        assert_eq!(writer.next().await.unwrap(), (n, Ok(())));
    }
    assert_eq!(held.commits.load(Ordering::SeqCst), 2);
    assert_eq!(writer.outstanding(), 0);
    let last = store.read(&Key::new(Keyspace::Meta, "", "last")).unwrap().unwrap();
    assert_eq!(last, (WRITER_BATCHES_MAX - 1).to_be_bytes());
}

#[tokio::test]
async fn what_follows_a_failed_batch_fails_with_it_until_told_to_go_on() {
    let failing = Arc::new(FailingStore::new(Arc::new(MemoryStore::new())));
    let store = sealed(failing.clone());
    let mut writer = Writer::spawn(Arc::clone(&store)).unwrap();
    writer.submit("before", numbered(1)).unwrap();
    assert_eq!(writer.next().await.unwrap(), ("before", Ok(())));
    failing.fail_after(0, Fault::OutOfSpace);
    writer.submit("full", numbered(2)).unwrap();
    assert_eq!(writer.next().await.unwrap(), ("full", Err(StoreError::OutOfSpace)));
    // There is room again, and this may build on what is not there.
    failing.mend();
    writer.submit("built on it", numbered(3)).unwrap();
    assert_eq!(writer.next().await.unwrap(), ("built on it", Err(StoreError::OutOfSpace)));
    assert_eq!((store.read(&key(2)).unwrap(), store.read(&key(3)).unwrap()), (None, None));
    assert_eq!(store.read(&Key::new(Keyspace::Meta, "", "last")).unwrap().unwrap(), 1_usize.to_be_bytes());
    // Those before the word and those after it may be in the queue at the same time.
    writer.submit("still", numbered(4)).unwrap();
    writer.go_on();
    writer.submit("after", numbered(5)).unwrap();
    assert_eq!(writer.next().await.unwrap(), ("still", Err(StoreError::OutOfSpace)));
    assert_eq!(writer.next().await.unwrap(), ("after", Ok(())));
    assert!(store.read(&key(4)).unwrap().is_none() && store.read(&key(5)).unwrap().is_some());
}

#[tokio::test]
async fn dropping_the_writer_commits_what_is_queued() {
    let store = sealed(Arc::new(MemoryStore::new()));
    let mut writer = Writer::spawn(Arc::clone(&store)).unwrap();
    for n in 0..WRITER_BATCHES_MAX {
        writer.submit(n, numbered(n)).unwrap();
    }
    drop(writer);
    for n in 0..WRITER_BATCHES_MAX {
        assert!(store.read(&key(n)).unwrap().is_some());
    }
}
