//! What a ratcheted circle leaves on the disk: an engine over the real stores, whose clock is set, and a look at the bytes of
//! the files.

// The lint knows test functions, not the functions that they share; what was measured is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clave::{SealedStore, StoreKind, open_store};
use clave_engine::crdt::{DocumentKind, Draft};
use clave_engine::crypto::{Entropy, KeyId, Mls, VaultKey};
use clave_engine::membership::Action;
use clave_engine::{CircleId, Engine, Identity, Keyspace, Output};

const HOUR_MS: u64 = 3_600_000;
const START_MS: u64 = 1_790_000_000_000;

/// Where what is secret or said stands.
const KEYSPACES: [Keyspace; 7] = [
    Keyspace::Entries,
    Keyspace::Checkpoints,
    Keyspace::ContentKeys,
    Keyspace::Documents,
    Keyspace::Snapshots,
    Keyspace::Changes,
    Keyspace::Authors,
];

/// Records as they stand on the disk, by table and key.
type Records = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

struct Device {
    store: Arc<SealedStore>,
    engine: Engine,
    now_ms: u64,
    /// How often the engine asked for a compaction, which it does not get here by itself.
    compactions: usize,
}

impl Device {
    fn new(directory: &Path, kind: StoreKind) -> Self {
        let mut entropy = Entropy::from_seed([3; 32]);
        let vault = VaultKey::generate(&mut entropy);
        let identity = Identity::generate("Alice", "phone", &mut entropy).unwrap();
        let (seed, store) = (entropy.bytes(), open_store(directory, kind).unwrap());
        let store = Arc::new(SealedStore::new(store, vault, entropy));
        store.write(vec![identity.to_batch()]).unwrap();
        let engine = Engine::open(identity, Box::new(Mls), store.clone(), Entropy::from_seed(seed), START_MS).unwrap();
        Self { store, engine, now_ms: START_MS, compactions: 0 }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Write { io, batch } => {
                    self.store.write(vec![batch]).unwrap();
                    self.engine.handle_written(io, true);
                }
                Output::Compact => self.compactions += 1,
                _ => {}
            }
        }
    }

    fn pass(&mut self, hours: u64) {
        for _ in 0..hours * 4 {
            self.now_ms += HOUR_MS / 4;
            self.engine.handle_tick(self.now_ms);
            self.drain();
        }
    }

    fn post(&mut self, circle: CircleId, text: &str) {
        let (now_ms, random) = (self.now_ms, self.engine.random());
        let segment = self.engine.segment(circle, 0, now_ms).unwrap();
        let post = self.engine.edit(circle, segment, DocumentKind::Timeline, now_ms, |document, _| {
            document.timeline()?.post(now_ms, random, &Draft::text(text))
        });
        post.unwrap();
        // Looked at, so that it is loaded, as it would be.
        assert_eq!(self.engine.document(circle, segment, DocumentKind::Timeline).unwrap().timeline().unwrap().len(), 1);
        self.drain();
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        for keyspace in KEYSPACES {
            let table = keyspace as u8;
            let scan = self.store.store().scan(table, &[], &[], &mut |key, value| {
                records.insert((table, key.to_vec()), value.to_vec());
                true
            });
            scan.unwrap();
        }
        records
    }
}

/// Of these records, those whose sealed bytes stand in some file of a directory. What is looked for is the salt with which a
/// record was sealed: 24 random bytes at its beginning, so no other record has them.
fn found(directory: &Path, records: &Records) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    read_all(directory, &mut bytes);
    let mut places = BTreeMap::<[u8; 8], Vec<usize>>::new();
    let beginning = |record: &[u8]| -> [u8; 8] { *record[1..].first_chunk().unwrap() };
    let wanted: BTreeSet<[u8; 8]> = records.values().map(|record| beginning(record)).collect();
    for (place, window) in bytes.windows(8).enumerate() {
        let window = window.try_into().unwrap();
        if wanted.contains(&window) {
            places.entry(window).or_default().push(place);
        }
    }
    let stands = |record: &[u8]| {
        let at = |place: &usize| bytes[*place..].starts_with(&record[1..25]);
        places.get(&beginning(record)).is_some_and(|places| places.iter().any(at))
    };
    records.iter().filter(|(_, record)| stands(record)).map(|(key, _)| key.clone()).collect()
}

fn read_all(directory: &Path, bytes: &mut Vec<u8>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, bytes);
        } else {
            bytes.extend(fs::read(&path).unwrap());
            // So that nothing is found across the border.
            bytes.extend([0; 32]);
        }
    }
}

fn what_expired_is_in_no_file(kind: StoreKind) {
    let directory = tempfile::tempdir().unwrap();
    let mut device = Device::new(directory.path(), kind);
    let circle = device.engine.create_space("Team", START_MS).unwrap();
    let (key, value) = ("history".to_owned(), "ratcheted:3600".to_owned());
    device.engine.act(circle, Action::SetPolicy { key, value, keep_heads: Vec::new() }, START_MS).unwrap();
    device.drain();
    let mut written = device.records();
    for number in 0..30 {
        device.post(circle, &format!("message {number}, which nobody shall read for long"));
        written.extend(device.records());
        device.pass(1);
        written.extend(device.records());
    }
    let keys = written.keys().filter(|(table, _)| *table == Keyspace::ContentKeys as u8).count();
    assert!(keys > 20, "the key was replaced while it was used: {keys} keys");
    device.pass(4);
    // No keyspace has any of it: what is left of entries and documents is nothing, of keys and secrets the head's.
    let left = device.records();
    let of = |keyspace: Keyspace| left.keys().filter(|(table, _)| *table == keyspace as u8).count();
    // Lasting keys stay: none opens anything of the chat.
    let is_lasting = |key: &[u8]| KeyId::try_from(&key[key.len() - 16..]).unwrap().is_lasting();
    let content = left.keys().filter(|(table, key)| *table == Keyspace::ContentKeys as u8 && !is_lasting(key));
    assert_eq!(content.count(), 1);
    for keyspace in [Keyspace::Entries, Keyspace::Documents, Keyspace::Snapshots, Keyspace::Changes, Keyspace::Authors]
    {
        assert_eq!(of(keyspace), 0, "{keyspace:?}");
    }
    let gone: Records = written.into_iter().filter(|(key, value)| left.get(key) != Some(value)).collect();
    assert!(gone.len() > 200, "{} records", gone.len());
    // The files still have some of it, sealed under the vault key, where records stood: that is why the engine asks.
    assert!(device.compactions > 0);
    let before = found(directory.path(), &gone).len();
    assert!(before > 0, "the look at the files finds nothing, so it shows nothing");
    assert!(device.store.store().compact().unwrap());
    let after = found(directory.path(), &gone);
    assert!(after.is_empty(), "{} of {before} records stand in the files after compaction", after.len());
    // What is to be kept is there, and found: the look at the files finds what stands in them.
    assert_eq!(device.records(), left);
    let mut unchanged = left.clone();
    unchanged.retain(|_, value| value.len() > 25);
    assert_eq!(found(directory.path(), &unchanged).len(), unchanged.len());
    println!("{kind}: {before} of {} erased records stood in the files before compaction, none after", gone.len());
}

#[test]
fn what_expired_is_in_no_file_of_redb() {
    what_expired_is_in_no_file(StoreKind::Redb);
}

#[test]
fn what_expired_is_in_no_file_of_sled() {
    what_expired_is_in_no_file(StoreKind::Sled);
}
