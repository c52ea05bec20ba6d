//! The process under which `scripts/power-cut.py` cuts the power: opens a store, checks that it has all that was
//! acknowledged and nothing by half, and writes on until it is killed.
//!
//! `power_cut DIRECTORY redb|sled|packs|bare-sled ACKNOWLEDGED` prints `OPEN n` (the last batch that is there) or `WRONG why`, then
//! `ACK n` for each commit that the store called durable. `packs` is redb with every record a chunk
//! in a pack beside it, and collections in between. `bare-sled` is the control: sled with its own `flush` and no fsync.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // What it prints is what it is for.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clave::{RawBatch, SealedStore, Store, StoreError, StoreKind, open_store};
use clave_engine::crypto::{Entropy, VaultKey};
use clave_engine::{Batch, Key, Keyspace, ReadError, StoreRead as _};

#[path = "../tests/store/workload.rs"]
mod workload;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [directory, kind, acknowledged] = arguments.as_slice() else { return usage() };
    let Ok(acknowledged) = acknowledged.parse() else { return usage() };
    let directory = Path::new(directory);
    let store = match kind.as_str() {
        "bare-sled" => BareSled::open(directory).map(|store| Arc::new(store) as Arc<dyn Store>),
        "packs" => InPacks::open(directory).map(|store| Arc::new(store) as Arc<dyn Store>),
        kind => match kind.parse::<StoreKind>() {
            Ok(kind) => open_store(directory, kind),
            Err(_) => return usage(),
        },
    };
    let checked = store.map_err(|error| format!("it does not open: {error}"));
    let checked = checked.and_then(|store| Ok((workload::check(&*store, acknowledged)?, store)));
    match checked {
        Ok((last, store)) => {
            let ended = write_on(&*store, last);
            println!("END {}", ended.map_or_else(|error| error.to_string(), |()| "nobody reads".to_owned()));
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("WRONG {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    println!("power_cut DIRECTORY redb|sled|packs|bare-sled ACKNOWLEDGED");
    ExitCode::from(2)
}

fn write_on(store: &dyn Store, last: u64) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "OPEN {last}")?;
    let mut next = last + 1;
    loop {
        let batches = workload::commit_from(next);
        next += batches.len() as u64;
        store.apply(&batches).map_err(io::Error::other)?;
        writeln!(out, "ACK {}", next - 1)?;
        out.flush()?;
    }
}

/// Chunks in packs: the table of batches is chunks, the counter is a record in the same commit.
struct InPacks(SealedStore);

/// A collection follows each batch whose number is a multiple of this and ends a commit.
const COLLECTED_EVERY: u64 = 4;

impl InPacks {
    fn open(directory: &Path) -> Result<Self, StoreError> {
        let entropy = || Entropy::from_seed([7; 32]);
        let vault = VaultKey::generate(&mut entropy());
        let store = SealedStore::new(open_store(directory, StoreKind::Redb)?, vault, entropy());
        store.with_chunks(&directory.join("chunks")).map(Self)
    }

    fn key(table: u8, key: &[u8]) -> Key {
        let keyspace = if table == workload::BATCHES { Keyspace::Chunks } else { Keyspace::Meta };
        Key::new(keyspace, [], key)
    }
}

fn unread(error: ReadError) -> StoreError {
    match error {
        ReadError::Damaged => StoreError::Damaged,
        _ => StoreError::Io(io::ErrorKind::Other),
    }
}

impl Store for InPacks {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(&Self::key(table, key)).map_err(unread)
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let keyspace = Self::key(table, prefix).keyspace;
        self.0.scan(keyspace, &[], from, &mut |suffix, value| visit(suffix, &value)).map_err(unread)
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        let mut sealed = Batch::default();
        for write in batches.iter().flat_map(|batch| &batch.writes) {
            match &write.value {
                Some(value) => sealed.put(Self::key(write.table, &write.key), value.clone()),
                None => sealed.remove(Self::key(write.table, &write.key)),
            }
        }
        self.0.write(vec![sealed])?;
        if workload::last_batch(self).is_ok_and(|last| last.is_multiple_of(COLLECTED_EVERY)) {
            self.0.reclaim_chunks()?;
        }
        Ok(())
    }

    fn compact(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }
}

/// sled as its documentation has it: a batch, then `flush`.
struct BareSled(sled::Db);

impl BareSled {
    fn open(directory: &Path) -> Result<Self, StoreError> {
        sled::open(directory.join("sled")).map(Self).map_err(|_| StoreError::Damaged)
    }
}

fn tabled(table: u8, key: &[u8]) -> Vec<u8> {
    [&[table], key].concat()
}

impl Store for BareSled {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.0.get(tabled(table, key)).map_err(|_| StoreError::Damaged)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let all = tabled(table, prefix);
        for record in self.0.range([&all, from].concat()..) {
            let (key, value) = record.map_err(|_| StoreError::Damaged)?;
            if !key.starts_with(&all) || !visit(&key[1..], &value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for write in batches.iter().flat_map(|batch| &batch.writes) {
            let key = tabled(write.table, &write.key);
            match &write.value {
                Some(value) => batch.insert(key, value.as_slice()),
                None => batch.remove(key),
            }
        }
        let applied = self.0.apply_batch(batch).and_then(|()| self.0.flush());
        applied.map(drop).map_err(|_| StoreError::Io(io::ErrorKind::Other))
    }

    fn compact(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_on_disk().map_err(|_| StoreError::Damaged)
    }
}
