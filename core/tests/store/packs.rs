//! Chunks beside the database: they are there or not, whatever happens in between.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clave::{FailingStore, Fault, MemoryStore, SealedStore, Store, StoreKind, open_store};
use clave_engine::crypto::{Entropy, VaultKey};
use clave_engine::{Batch, Key, Keyspace, StoreRead};

fn vault() -> VaultKey {
    VaultKey::generate(&mut Entropy::from_seed([1; 32]))
}

fn sealed(store: Arc<dyn Store>, chunks: &Path) -> SealedStore {
    SealedStore::new(store, vault(), Entropy::from_seed([99; 32])).with_chunks(chunks).unwrap()
}

fn open(directory: &Path) -> SealedStore {
    sealed(open_store(directory, StoreKind::Redb).unwrap(), &directory.join("chunks"))
}

fn key(n: u32) -> Key {
    Key::new(Keyspace::Chunks, "circle", n.to_be_bytes())
}

fn chunk(n: u32, bytes: usize) -> Vec<u8> {
    let mut chunk = vec![0; bytes];
    Entropy::from_seed([n as u8; 32]).fill(&mut chunk);
    chunk
}

fn put(store: &SealedStore, chunks: &[(u32, Vec<u8>)]) -> Result<(), clave::StoreError> {
    let mut batch = Batch::default();
    chunks.iter().for_each(|(n, chunk)| batch.put(key(*n), chunk.clone()));
    store.write(vec![batch])
}

fn remove(store: &SealedStore, n: u32) {
    let mut batch = Batch::default();
    batch.remove(key(n));
    store.write(vec![batch]).unwrap();
}

fn all(store: &SealedStore) -> BTreeMap<u32, Vec<u8>> {
    let mut found = BTreeMap::new();
    let visit = &mut |suffix: &[u8], chunk: Vec<u8>| found.insert(number(suffix), chunk).is_none();
    store.scan(Keyspace::Chunks, b"circle", &[], visit).unwrap();
    let mut sizes = BTreeMap::new();
    let visit = &mut |suffix: &[u8], bytes| sizes.insert(number(suffix), bytes as usize).is_none();
    store.scan_sizes(Keyspace::Chunks, b"circle", visit).unwrap();
    assert_eq!(sizes, found.iter().map(|(n, chunk)| (*n, chunk.len())).collect());
    found
}

fn number(suffix: &[u8]) -> u32 {
    u32::from_be_bytes(suffix.try_into().unwrap())
}

fn packs(directory: &Path) -> u64 {
    let packs = fs::read_dir(directory.join("chunks")).unwrap();
    packs.map(|pack| pack.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn chunks_lie_beside_the_database_and_are_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let chunks: Vec<_> = (0..40).map(|n| (n, chunk(n, 100_000 + n as usize))).collect();
    let store = open(directory.path());
    put(&store, &chunks).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(all(&store), chunks.iter().cloned().collect());
    assert_eq!(store.read(&key(7)).unwrap(), Some(chunks[7].1.clone()));
    assert!(store.contains(&key(7)).unwrap() && !store.contains(&key(70)).unwrap());
    assert!(packs(directory.path()) > 4_000_000);
    assert!(store.store().size_bytes().unwrap() < 2_000_000);
    assert!(store.size_bytes().unwrap() > 4_000_000);
}

#[test]
fn a_cut_in_the_middle_of_a_chunk_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[(1, chunk(1, 50_000))]).unwrap();
    drop(store);
    // What was appended and not recorded when the power went.
    let pack = directory.path().join("chunks/00000000.pack");
    fs::File::options().append(true).open(&pack).unwrap().write_all(&[7; 12_345]).unwrap();
    let store = open(directory.path());
    put(&store, &[(2, chunk(2, 60_000))]).unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(all(&store), BTreeMap::from([(1, chunk(1, 50_000)), (2, chunk(2, 60_000))]));
}

#[test]
fn a_commit_that_fails_leaves_no_record() {
    let directory = tempfile::tempdir().unwrap();
    for fails_at in 0..12 {
        let chunks = directory.path().join(format!("chunks{fails_at}"));
        let failing = Arc::new(FailingStore::new(Arc::new(MemoryStore::new())));
        let store = sealed(failing.clone(), &chunks);
        failing.fail_after(fails_at, Fault::Write);
        let mut there = BTreeMap::new();
        for n in 0..12 {
            if put(&store, &[(n, chunk(n, 10_000))]).is_ok() {
                there.insert(n, chunk(n, 10_000));
            }
        }
        failing.mend();
        assert_eq!(all(&store), there, "{fails_at}");
        // It goes on, here and after reopening.
        put(&store, &[(100, chunk(100, 10_000))]).unwrap();
        there.insert(100, chunk(100, 10_000));
        drop(store);
        assert_eq!(all(&sealed(failing, &chunks)), there, "{fails_at}");
    }
}

#[test]
fn chunks_of_a_database_are_moved_out_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let chunks: Vec<_> = (0..50).map(|n| (n, chunk(n, 500_000))).collect();
    let store = open_store(directory.path(), StoreKind::Redb).unwrap();
    put(&SealedStore::new(store, vault(), Entropy::from_seed([98; 32])), &chunks).unwrap();
    let store = open(directory.path());
    assert_eq!(all(&store), chunks.into_iter().collect());
    assert!(packs(directory.path()) >= 25_000_000);
    let mut left = 0;
    store
        .store()
        .scan(Keyspace::Chunks as u8, &[], &[], &mut |_, _| {
            left += 1;
            true
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn space_is_given_back_and_nothing_that_is_there_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    // Some packs' worth.
    let mut there = BTreeMap::new();
    for n in 0..200 {
        put(&store, &[(n, chunk(n, 1_000_000))]).unwrap();
        there.insert(n, chunk(n, 1_000_000));
    }
    let before = packs(directory.path());
    assert_eq!(store.reclaim_chunks().unwrap(), 0);
    for n in (0..200).filter(|n| n % 5 != 0) {
        remove(&store, n);
        there.remove(&n);
    }
    // While somebody reads.
    let store = Arc::new(store);
    let reading = {
        let (store, there) = (store.clone(), there.clone());
        std::thread::spawn(move || {
            for _ in 0..20 {
                there.iter().for_each(|(n, chunk)| assert_eq!(store.read(&key(*n)).unwrap().as_ref(), Some(chunk)));
            }
        })
    };
    assert!(store.reclaim_chunks().unwrap() > before / 2);
    reading.join().unwrap();
    assert!(packs(directory.path()) < before / 3);
    assert_eq!(all(&store), there);
    drop(store);
    assert_eq!(all(&open(directory.path())), there);
}
