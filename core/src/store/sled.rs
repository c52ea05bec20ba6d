//! The second store: sled 0.34, with what it takes to survive a power cut.
//!
//! sled's own `flush` is no barrier on Linux (it calls `sync_file_range`; spacejam/sled#1452), so each batch is
//! flushed *and* its file fsynced before it counts. Three more things follow from how sled works:
//!
//! - Its background flusher is off: it would put writes on disk that no fsync of ours stands behind.
//! - sled moves any page over 128 KiB to a file of its own in `blobs/`, which nobody fsyncs. A page holds up to about
//!   twenty values, so values over [`PIECE_BYTES`] are cut into pieces, and there never is such a file.
//! - Without the flusher nothing reclaims space, so [`Store::compact`] copies the store.
//!
//! Layout of its one tree: `0 ‖ table ‖ key` holds `0 ‖ value` or, for a long value, `1 ‖ number ‖ length`; the pieces
//! of a long value are at `1 ‖ number ‖ index`. Integers are big-endian.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db, IVec, Tree};

use super::directory::{
    DirectoryLock, directory_bytes, open_guarded, remove_directory, sync_directory, take_store, try_lock,
};
use super::gate::Gate;
use super::{RawBatch, Store, StoreError, StoreKind, outcome};

/// The longest value that is kept in one piece, in bytes.
const PIECE_BYTES: usize = 4 << 10;

/// What sled may keep in memory. Its own default of a gibibyte is not for phones.
const CACHE_BYTES: u64 = 32 << 20;

/// How much one batch of a copy carries.
const COPY_BYTES: usize = 4 << 20;

/// How long sled's threads may hold on to a file after its database is dropped, and how often to look.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(5);
const RELEASE_POLL: Duration = Duration::from_millis(2);

const DATABASE_DIRECTORY: &str = "sled";
const COPY_DIRECTORY: &str = "sled.new";
const REPLACED_DIRECTORY: &str = "sled.old";

const RECORD: u8 = 0;
const PIECE: u8 = 1;
const WHOLE: u8 = 0;
const IN_PIECES: u8 = 1;

/// A store in a sled database.
///
/// A commit much larger than half a mebibyte reaches the disk in several segments in no particular order before the
/// fsync behind it; a power cut in that window is the case that sled does not always recover from. The
/// [`Writer`](super::Writer) bounds its commits, and the default store has no such window.
pub struct SledStore {
    database: RwLock<Option<Database>>,
    /// Keeps reading and committing apart: sled's iterators would see half of a batch, and writes not yet durable.
    gate: Gate,
    /// The number of the next long value; held while writing.
    next_number: Mutex<u64>,
    store: PathBuf,
    // Last, so that the directory is released after the database.
    _lock: DirectoryLock,
}

#[derive(Clone)]
struct Database {
    db: Db,
    file: Arc<File>,
}

impl SledStore {
    /// Opens the store in `directory`, creating it if there is none.
    ///
    /// # Errors
    /// As [`open_store`](super::open_store).
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let (lock, store) =
            take_store(directory, StoreKind::Sled, |store| Database::open(&store.join(DATABASE_DIRECTORY)).map(drop))?;
        let database = open(&store)?;
        let next_number = Mutex::new(database.next_number()?);
        Ok(Self { database: RwLock::new(Some(database)), gate: Gate::default(), next_number, store, _lock: lock })
    }

    /// The database, opened again if it failed before.
    fn database(&self) -> Result<Database, StoreError> {
        if let Some(database) = self.database.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(database);
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open(&self.store)?);
        }
        Ok(database.clone().expect("opened above"))
    }

    /// Closes the database after a failure of the disk, since sled then refuses everything.
    fn close_after<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error @ (StoreError::Io(_) | StoreError::OutOfSpace)) = &result {
            tracing::warn!(%error, "sled failed; it is opened again before its next use");
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }
}

/// Opens the database of a store that exists.
fn open(store: &Path) -> Result<Database, StoreError> {
    finish_compaction(store)?;
    let path = store.join(DATABASE_DIRECTORY);
    // The format file says that there is a database.
    if path.join("db").exists() { Database::open(&path) } else { Err(StoreError::Damaged) }
}

/// Takes up where a crash or a failure interrupted [`SledStore::compact`].
fn finish_compaction(store: &Path) -> Result<(), StoreError> {
    let (database, replaced) = (store.join(DATABASE_DIRECTORY), store.join(REPLACED_DIRECTORY));
    if replaced.exists() && !database.exists() {
        fs::rename(&replaced, &database)?;
        sync_directory(store)?;
    }
    remove_directory(&replaced)?;
    remove_directory(&store.join(COPY_DIRECTORY))
}

/// Waits until sled has let go of its file. Its threads may hold on to it for a moment after the database is dropped;
/// nobody else can, as the directory is ours.
fn wait_for_release(path: &Path) -> Result<(), StoreError> {
    let file = match File::options().read(true).write(true).open(path.join("db")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let started = Instant::now();
    while !try_lock(&file)? {
        if started.elapsed() > RELEASE_WAIT_MAX {
            return Err(StoreError::Busy { holder: Some(std::process::id()) });
        }
        thread::sleep(RELEASE_POLL);
    }
    Ok(())
}

/// sled begins a snapshot of its own under a name that it takes for a whole one when it opens, and then calls the database
/// corrupt: as after a full disk, or a kill at that moment. The log has all that is in it.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Database {
    fn open(path: &Path) -> Result<Self, StoreError> {
        wait_for_release(path)?;
        remove_unfinished_snapshots(path)?;
        let db = open_guarded(|| {
            Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None).open().map_err(failure)
        })?;
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        let database = Self { db, file: Arc::new(file) };
        // Opening wrote, too: at creation everything, later what recovery found to repair.
        database.flush()?;
        File::options().read(true).write(true).open(path.join("conf"))?.sync_all()?;
        sync_directory(path)?;
        Ok(database)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(failure)?;
        self.file.sync_all()?;
        Ok(())
    }

    fn next_number(&self) -> Result<u64, StoreError> {
        match self.db.last().map_err(failure)? {
            Some((key, _)) if key.first() == Some(&PIECE) => {
                let number = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).ok_or(StoreError::Damaged)?;
                Ok(u64::from_be_bytes(number) + 1)
            }
            _ => Ok(0),
        }
    }
}

impl Store for SledStore {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _pass = self.gate.read();
        let database = self.database()?;
        let read = || match database.db.get(record_key(table, &[key])).map_err(failure)? {
            Some(head) => read_value(&database.db, &head).map(Some),
            None => Ok(None),
        };
        self.close_after(read())
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let _pass = self.gate.read();
        let database = self.database()?;
        let all = record_key(table, &[prefix]);
        let mut read = || -> Result<(), StoreError> {
            for record in database.db.range(record_key(table, &[prefix, from])..) {
                let (key, head) = record.map_err(failure)?;
                if !key.starts_with(&all) || !visit(&key[2..], &read_value(&database.db, &head)?) {
                    break;
                }
            }
            Ok(())
        };
        self.close_after(read())
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        let writes = outcome(batches)?;
        if writes.is_empty() {
            return Ok(());
        }
        let mut next_number = self.next_number.lock().unwrap_or_else(PoisonError::into_inner);
        let database = self.database()?;
        let prepare = || -> Result<Batch, StoreError> {
            let mut batch = Batch::default();
            for ((table, key), value) in writes {
                let key = record_key(table, &[key]);
                if let Some(old) = database.db.get(&key).map_err(failure)? {
                    for piece in Pieces::of(&old)?.into_iter().flat_map(Pieces::keys) {
                        batch.remove(piece);
                    }
                }
                match value {
                    Some(value) => put(&mut batch, key, value, &mut next_number),
                    None => batch.remove(key),
                }
            }
            Ok(batch)
        };
        let batch = self.close_after(prepare())?;
        // Nobody reads what is not yet durable: it might be acted upon, and then not be there after all.
        let _pass = self.gate.write();
        self.close_after(database.db.apply_batch(batch).map_err(failure).and_then(|()| database.flush()))
    }

    fn compact(&self) -> Result<bool, StoreError> {
        let _writing = self.next_number.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(_pass) = self.gate.try_write() else { return Ok(false) };
        let from = self.database()?;
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let copy = self.store.join(COPY_DIRECTORY);
        remove_directory(&copy)?;
        copy_records(&from.db, &Database::open(&copy)?)?;
        *slot = None;
        drop(from);
        fs::rename(self.store.join(DATABASE_DIRECTORY), self.store.join(REPLACED_DIRECTORY))?;
        fs::rename(&copy, self.store.join(DATABASE_DIRECTORY))?;
        sync_directory(&self.store)?;
        remove_directory(&self.store.join(REPLACED_DIRECTORY))?;
        *slot = Some(open(&self.store)?);
        Ok(true)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        directory_bytes(&self.store)
    }
}

fn copy_records(from: &Tree, to: &Database) -> Result<(), StoreError> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    for record in from.iter() {
        let (key, value) = record.map_err(failure)?;
        bytes += key.len() + value.len();
        batch.insert(key, value);
        if bytes > COPY_BYTES {
            to.db.apply_batch(std::mem::take(&mut batch)).map_err(failure)?;
            bytes = 0;
        }
    }
    to.db.apply_batch(batch).map_err(failure)?;
    to.flush()
}

fn record_key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![RECORD, table];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

fn put(batch: &mut Batch, key: Vec<u8>, value: &[u8], next_number: &mut u64) {
    if value.len() <= PIECE_BYTES {
        let mut head = vec![WHOLE];
        head.extend_from_slice(value);
        batch.insert(key, head);
        return;
    }
    let pieces = Pieces { number: *next_number, bytes: value.len() };
    *next_number += 1;
    batch.insert(key, pieces.head());
    for (key, piece) in pieces.keys().zip(value.chunks(PIECE_BYTES)) {
        batch.insert(key, piece);
    }
}

fn read_value(tree: &Tree, head: &IVec) -> Result<Vec<u8>, StoreError> {
    let Some(pieces) = Pieces::of(head)? else { return Ok(head[1..].to_vec()) };
    let mut value = Vec::with_capacity(pieces.bytes);
    for key in pieces.keys() {
        let piece = tree.get(key).map_err(failure)?.ok_or(StoreError::Damaged)?;
        value.extend_from_slice(&piece);
    }
    if value.len() == pieces.bytes { Ok(value) } else { Err(StoreError::Damaged) }
}

/// Where a long value is.
#[derive(Clone, Copy)]
struct Pieces {
    number: u64,
    bytes: usize,
}

impl Pieces {
    /// What a record says of its pieces; `None` if it holds its value itself.
    fn of(head: &IVec) -> Result<Option<Self>, StoreError> {
        match head.split_first() {
            Some((&WHOLE, _)) => Ok(None),
            Some((&IN_PIECES, rest)) => {
                let (number, bytes) = rest.split_first_chunk::<8>().ok_or(StoreError::Damaged)?;
                let bytes = u32::from_be_bytes(bytes.try_into().map_err(|_| StoreError::Damaged)?);
                let bytes = usize::try_from(bytes).map_err(|_| StoreError::Damaged)?;
                if bytes > super::VALUE_BYTES_MAX {
                    return Err(StoreError::Damaged);
                }
                Ok(Some(Self { number: u64::from_be_bytes(*number), bytes }))
            }
            _ => Err(StoreError::Damaged),
        }
    }

    fn head(self) -> Vec<u8> {
        let bytes = u32::try_from(self.bytes).expect("values are bounded by VALUE_BYTES_MAX");
        [&[IN_PIECES][..], &self.number.to_be_bytes(), &bytes.to_be_bytes()].concat()
    }

    fn keys(self) -> impl Iterator<Item = Vec<u8>> {
        let count = u32::try_from(self.bytes.div_ceil(PIECE_BYTES)).expect("values are bounded by VALUE_BYTES_MAX");
        (0..count).map(move |index| [&[PIECE][..], &self.number.to_be_bytes(), &index.to_be_bytes()].concat())
    }
}

fn failure(error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => error.into(),
        ::sled::Error::Corruption { .. } => StoreError::Damaged,
        _ => StoreError::Io(io::ErrorKind::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_documented() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        let mut batch = RawBatch::default();
        batch.put(7, *b"short", *b"value");
        batch.put(7, *b"long", vec![9; PIECE_BYTES + 1]);
        store.apply(&[batch]).unwrap();
        let records: Vec<_> = store.database().unwrap().db.iter().map(|record| record.unwrap()).collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"\0\x07long", b"\x01\0\0\0\0\0\0\0\0\0\0\x10\x01"),
            (b"\0\x07short", b"\0value"),
            (b"\x01\0\0\0\0\0\0\0\0\0\0\0\0", &[9; PIECE_BYTES]),
            (b"\x01\0\0\0\0\0\0\0\0\0\0\0\x01", &[9]),
        ];
        assert_eq!(records.iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn pieces_go_with_their_record_and_numbers_are_not_reused() {
        let directory = tempfile::tempdir().unwrap();
        let put = |value: Option<usize>| {
            let store = SledStore::open(directory.path()).unwrap();
            let mut batch = RawBatch::default();
            batch.put(1, *b"other", vec![1; 2 * PIECE_BYTES]);
            match value {
                Some(bytes) => batch.put(1, *b"key", vec![2; bytes]),
                None => batch.remove(1, *b"key"),
            }
            store.apply(&[batch]).unwrap();
            let records = store.database().unwrap().db.len();
            assert_eq!(store.get(1, b"other").unwrap().unwrap(), vec![1; 2 * PIECE_BYTES]);
            assert_eq!(store.get(1, b"key").unwrap(), value.map(|bytes| vec![2; bytes]));
            records
        };
        assert_eq!(put(Some(10 * PIECE_BYTES)), 3 + 11);
        assert_eq!(put(Some(5 * PIECE_BYTES)), 3 + 6);
        assert_eq!(put(Some(3)), 3 + 1);
        assert_eq!(put(Some(4 * PIECE_BYTES)), 3 + 5);
        assert_eq!(put(None), 3);
    }

    #[test]
    fn a_snapshot_that_was_not_finished_is_no_damage() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        let mut batch = RawBatch::default();
        batch.put(1, *b"key", *b"value");
        store.apply(&[batch]).unwrap();
        drop(store);
        let unfinished = directory.path().join("store/sled/snap.00000000000FFFFF.generating");
        fs::write(&unfinished, b"").unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        assert_eq!(store.get(1, b"key").unwrap().unwrap(), b"value");
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_record_or_piece_that_makes_no_sense_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        let mut batch = RawBatch::default();
        batch.put(1, *b"long", vec![9; 3 * PIECE_BYTES]);
        store.apply(&[batch]).unwrap();
        let db = store.database().unwrap().db;
        let head = db.get(b"\0\x01long").unwrap().unwrap();
        for bad in [&b""[..], b"\x02", &head[..5], b"\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff"] {
            db.insert(b"\0\x01long", bad).unwrap();
            assert_eq!(store.get(1, b"long"), Err(StoreError::Damaged), "{bad:?}");
            assert_eq!(store.scan(1, b"", b"", &mut |_, _| true), Err(StoreError::Damaged));
        }
        db.insert(b"\0\x01long", head).unwrap();
        assert_eq!(store.get(1, b"long").unwrap().unwrap().len(), 3 * PIECE_BYTES);
        db.remove(b"\x01\0\0\0\0\0\0\0\0\0\0\0\x01").unwrap();
        assert_eq!(store.get(1, b"long"), Err(StoreError::Damaged));
    }
}
