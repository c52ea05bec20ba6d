//! The sealing layer: the engine reads what it wrote, and the disk learns nothing from it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clave::{MemoryStore, RawBatch, SealedStore, Store, StoreKind, open_store};
use clave_engine::crypto::{Entropy, VaultKey};
use clave_engine::{Batch, Key, Keyspace, ReadError, StoreRead};
use tempfile::TempDir;

use crate::fixture::records;

fn sealed(store: Arc<dyn Store>, vault_seed: u8) -> SealedStore {
    let vault = VaultKey::generate(&mut Entropy::from_seed([vault_seed; 32]));
    SealedStore::new(store, vault, Entropy::from_seed([99; 32]))
}

fn suffixes(store: &SealedStore, keyspace: Keyspace, scope: &[u8], from: &[u8]) -> Vec<Vec<u8>> {
    let (mut with_values, mut without) = (Vec::new(), Vec::new());
    let visit = &mut |suffix: &[u8], _| {
        with_values.push(suffix.to_vec());
        true
    };
    store.scan(keyspace, scope, from, visit).unwrap();
    let visit = &mut |suffix: &[u8]| {
        without.push(suffix.to_vec());
        true
    };
    store.scan_suffixes(keyspace, scope, from, visit).unwrap();
    assert_eq!(with_values, without);
    without
}

#[test]
fn the_engine_reads_what_it_wrote() {
    let store = sealed(Arc::new(MemoryStore::new()), 1);
    let mut batch = Batch::default();
    for keyspace in Keyspace::ALL {
        for suffix in [[3], [1], [2]] {
            batch.put(Key::new(keyspace, "scope", suffix), vec![keyspace as u8, suffix[0]]);
        }
        batch.put(Key::new(keyspace, "another scope", [1]), b"other".to_vec());
        batch.put(Key::new(keyspace, "", ""), Vec::new());
    }
    store.write(vec![batch]).unwrap();
    for keyspace in Keyspace::ALL {
        assert_eq!(store.read(&Key::new(keyspace, "scope", [2])).unwrap().unwrap(), [keyspace as u8, 2]);
        assert_eq!(store.read(&Key::new(keyspace, "another scope", [1])).unwrap().unwrap(), b"other");
        assert_eq!(store.read(&Key::new(keyspace, "", "")).unwrap().unwrap(), b"");
        assert_eq!(store.read(&Key::new(keyspace, "scop", [2])).unwrap(), None);
        assert_eq!(suffixes(&store, keyspace, b"scope", &[]), [[1], [2], [3]]);
        assert_eq!(suffixes(&store, keyspace, b"scope", &[2]), [[2], [3]]);
        assert_eq!(suffixes(&store, keyspace, b"nowhere", &[]), Vec::<Vec<u8>>::new());
    }
    let mut seen = Vec::new();
    store
        .scan(Keyspace::Meta, b"scope", &[], &mut |suffix, value| {
            seen.push((suffix[0], value));
            seen.len() < 2
        })
        .unwrap();
    assert_eq!(seen, [(1, vec![1, 1]), (2, vec![1, 2])]);
}

#[test]
fn batches_of_a_write_are_applied_in_order() {
    let store = sealed(Arc::new(MemoryStore::new()), 1);
    let key = Key::new(Keyspace::Meta, "s", "k");
    let (mut first, mut second) = (Batch::default(), Batch::default());
    first.put(key.clone(), b"1".to_vec());
    second.remove(key.clone());
    store.write(vec![first.clone(), second.clone()]).unwrap();
    assert_eq!(store.read(&key).unwrap(), None);
    store.write(vec![second, first]).unwrap();
    assert_eq!(store.read(&key).unwrap().unwrap(), b"1");
}

#[test]
fn equal_records_do_not_look_equal() {
    let raw = Arc::new(MemoryStore::new());
    let store = sealed(raw.clone(), 1);
    let mut batch = Batch::default();
    batch.put(Key::new(Keyspace::Meta, "s", [1]), b"the same".to_vec());
    batch.put(Key::new(Keyspace::Meta, "s", [2]), b"the same".to_vec());
    batch.put(Key::new(Keyspace::Circles, "s", [1]), b"the same".to_vec());
    store.write(vec![batch]).unwrap();
    let (meta, circles) = (records(&*raw, 1, b"", b""), records(&*raw, 3, b"", b""));
    assert_ne!(meta[0].1, meta[1].1);
    assert_eq!(meta[0].0[..16], meta[1].0[..16]);
    assert_ne!(meta[0].0[..16], circles[0].0[..16], "a scope is hidden apart in each keyspace");
    assert_eq!(meta[0].0.len(), 17);
}

#[test]
fn a_record_that_was_swapped_or_altered_is_damaged() {
    let raw = Arc::new(MemoryStore::new());
    let store = sealed(raw.clone(), 1);
    let (one, two) = (Key::new(Keyspace::Meta, "s", [1]), Key::new(Keyspace::Meta, "s", [2]));
    let mut batch = Batch::default();
    batch.put(one.clone(), b"one".to_vec());
    batch.put(two.clone(), b"two".to_vec());
    store.write(vec![batch]).unwrap();

    let found = records(&*raw, 1, b"", b"");
    let mut swap = RawBatch::default();
    swap.put(1, found[0].0.clone(), found[1].1.clone());
    // The same key and value in another table.
    swap.put(2, found[0].0.clone(), found[0].1.clone());
    raw.apply(&[swap]).unwrap();
    assert_eq!(store.read(&one), Err(ReadError::Damaged));
    assert_eq!(store.read(&two).unwrap().unwrap(), b"two");
    assert_eq!(store.scan(Keyspace::Meta, b"s", &[], &mut |_, _| true), Err(ReadError::Damaged));
    assert_eq!(store.scan(Keyspace::Meta, b"s", &[2], &mut |_, _| true), Ok(()));

    for position in 0..found[1].1.len() {
        let mut value = found[1].1.clone();
        value[position] ^= 1;
        let mut alter = RawBatch::default();
        alter.put(1, found[1].0.clone(), value);
        raw.apply(&[alter]).unwrap();
        assert_eq!(store.read(&two), Err(ReadError::Damaged), "byte {position}");
    }
    let mut cut = RawBatch::default();
    cut.put(1, found[1].0.clone(), []);
    raw.apply(&[cut]).unwrap();
    assert_eq!(store.read(&two), Err(ReadError::Damaged));
}

#[test]
fn another_vault_key_finds_nothing() {
    let raw = Arc::new(MemoryStore::new());
    let key = Key::new(Keyspace::Meta, "s", "k");
    let mut batch = Batch::default();
    batch.put(key.clone(), b"value".to_vec());
    sealed(raw.clone(), 1).write(vec![batch]).unwrap();
    assert_eq!(sealed(raw.clone(), 2).read(&key).unwrap(), None);
    assert_eq!(sealed(raw, 1).read(&key).unwrap().unwrap(), b"value");
}

/// Whether any file below `directory`, or its name, holds `needle`.
fn holds(directory: &Path, needle: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let in_name = path.file_name().unwrap().as_encoded_bytes().windows(needle.len()).any(|found| found == needle);
        in_name
            || if path.is_dir() {
                holds(&path, needle)
            } else {
                fs::read(&path).unwrap().windows(needle.len()).any(|found| found == needle)
            }
    })
}

#[test]
fn nothing_on_disk_is_plaintext() {
    let canaries: [&[u8]; 4] = [b"canary-in-a-value", b"canary-in-a-scope", b"canary-at-the-end", b"canary-removed"];
    for kind in [StoreKind::Redb, StoreKind::Sled] {
        let directory = TempDir::new().unwrap();
        let raw = open_store(directory.path(), kind).unwrap();
        let mut long = vec![0; 100_000];
        long.extend_from_slice(canaries[2]);
        let mut batch = Batch::default();
        let mut removal = Batch::default();
        for keyspace in Keyspace::ALL.into_iter().filter(|keyspace| *keyspace != Keyspace::Chunks) {
            batch.put(Key::new(keyspace, canaries[1], [1]), canaries[0].to_vec());
            batch.put(Key::new(keyspace, canaries[1], [2]), long.clone());
            batch.put(Key::new(keyspace, canaries[1], [3]), canaries[3].to_vec());
            removal.remove(Key::new(keyspace, canaries[1], [3]));
        }
        let store = sealed(Arc::clone(&raw), 1);
        store.write(vec![batch]).unwrap();
        store.write(vec![removal]).unwrap();
        // Shows that the search below finds what is there.
        let mut control = RawBatch::default();
        control.put(200, *b"canary-control", *b"canary-in-clear");
        raw.apply(&[control]).unwrap();
        drop((store, raw));
        assert!(holds(directory.path(), b"canary-control") && holds(directory.path(), b"canary-in-clear"));
        for canary in canaries {
            assert!(!holds(directory.path(), canary), "{kind} wrote {}", String::from_utf8_lossy(canary));
        }
    }
}
