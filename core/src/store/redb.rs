//! The default store: redb, a copy-on-write B-tree in one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use ::redb::{
    Builder, CommitError, CompactionError, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError,
    TableDefinition, TableError, TransactionError,
};

use super::directory::{DirectoryLock, directory_bytes, open_guarded, sync_directory, take_store};
use super::{RawBatch, Store, StoreError, StoreKind, outcome, tabled};

/// One tree for all tables, so that a commit rewrites one path to the root and not one for each table.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// What redb may keep in memory, unless said otherwise. Its own default of a gibibyte is not for phones.
pub(super) const CACHE_BYTES: usize = 32 << 20;

const DATABASE_FILE: &str = "clave.redb";

/// A copy that compaction is making; removed when the store is opened.
const COPY_FILE: &str = "clave.redb.new";

/// Bytes of records that compaction copies per transaction.
const COPY_BYTES: usize = 16 << 20;

/// A store in a redb database.
///
/// Every commit is durable when it returns. After a failure of the disk, redb refuses everything until it is opened
/// again; this does so by itself on the next call.
pub struct RedbStore {
    /// `None` after a failure, until it is opened again.
    database: RwLock<Option<Database>>,
    store: PathBuf,
    cache_bytes: usize,
    // Last, so that the directory is released after the database.
    _lock: DirectoryLock,
}

impl RedbStore {
    /// Opens the store in `directory`, creating it if there is none.
    ///
    /// # Errors
    /// As [`open_store`](super::open_store).
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_within(directory, CACHE_BYTES)
    }

    /// The same, with so many bytes of the database kept in memory at most.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_within(directory: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let (lock, store) = take_store(directory, StoreKind::Redb, create)?;
        remove_file(&store.join(COPY_FILE))?;
        let database = open(&store, cache_bytes)?;
        Ok(Self { database: RwLock::new(Some(database)), store, cache_bytes, _lock: lock })
    }

    /// Runs `work` on the database. Where that shows that redb has given up, closes it, for the next call to reopen.
    fn with_database<T>(&self, work: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            database.as_ref().map(&work)
        };
        let result = match result {
            Some(result) => result,
            None => {
                let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
                if database.is_none() {
                    *database = Some(open(&self.store, self.cache_bytes)?);
                }
                work(database.as_ref().expect("opened above"))
            }
        };
        result.map_err(|failure| {
            if failure.closes {
                tracing::warn!(error = %failure.error, "redb failed; it is opened again before its next use");
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
            failure.error
        })
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.with_database(|database| Ok(database.begin_read()?))
    }

    /// Reading from a transaction failed: what follows starts from an open database.
    fn after_read(&self, failure: Failure) -> StoreError {
        self.with_database::<()>(|_| Err(failure.clone())).expect_err("the work fails")
    }
}

fn create(store: &Path) -> Result<(), StoreError> {
    let work = || -> Result<(), Failure> {
        let database = builder().create(store.join(DATABASE_FILE))?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
        Ok(())
    };
    work().map_err(|failure| failure.error)
}

fn open(store: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    open_guarded(|| match builder().set_cache_size(cache_bytes).open(store.join(DATABASE_FILE)) {
        Ok(database) => Ok(database),
        // The format file says that there is a database.
        Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::Damaged)
        }
        Err(error) => Err(Failure::from(error).error),
    })
}

/// Writes all records into a database of its own.
fn copy_records(from: &Database, to: &Path) -> Result<(), Failure> {
    let source = from.begin_read()?.open_table(RECORDS)?;
    let mut copy = builder().create(to)?;
    let mut records = source.range::<&[u8]>(..)?.peekable();
    loop {
        let mut transaction = copy.begin_write()?;
        transaction.set_quick_repair(true);
        {
            let (mut table, mut bytes) = (transaction.open_table(RECORDS)?, 0);
            while bytes < COPY_BYTES
                && let Some(record) = records.next()
            {
                let (key, value) = record?;
                bytes += key.value().len() + value.value().len();
                table.insert(key.value(), value.value())?;
            }
        }
        transaction.commit()?;
        if records.peek().is_none() {
            break;
        }
    }
    // It grew in steps. What this moves is live.
    match copy.compact() {
        Err(CompactionError::Storage(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

impl Store for RedbStore {
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = tabled(table, &[key]);
        let transaction = self.begin_read()?;
        let read = || -> Result<Option<Vec<u8>>, Failure> {
            Ok(transaction.open_table(RECORDS)?.get(key.as_slice())?.map(|value| value.value().to_vec()))
        };
        read().map_err(|failure| self.after_read(failure))
    }

    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let start = tabled(table, &[prefix, from]);
        let transaction = self.begin_read()?;
        let mut read = || -> Result<(), Failure> {
            for record in transaction.open_table(RECORDS)?.range(start.as_slice()..)? {
                let (key, value) = record?;
                let in_table = key.value().strip_prefix(&[table]).filter(|key| key.starts_with(prefix));
                if !in_table.is_some_and(|key| visit(key, value.value())) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|failure| self.after_read(failure))
    }

    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError> {
        let writes = outcome(batches)?;
        if writes.is_empty() {
            return Ok(());
        }
        self.with_database(|database| {
            // Durable unless told otherwise. Quick repair costs a second fsync and saves the walk over the whole file
            // that opening after a kill takes without it, which on a phone is every other opening.
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            {
                let mut records = transaction.open_table(RECORDS)?;
                for ((table, key), value) in &writes {
                    let key = tabled(*table, &[key]);
                    match value {
                        Some(value) => drop(records.insert(key.as_slice(), *value)?),
                        None => drop(records.remove(key.as_slice())?),
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    fn compact(&self) -> Result<bool, StoreError> {
        // redb's own compaction moves pages, and promises nothing of what stands in those it frees. A copy has live records only.
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let Some(from) = database.as_ref() else { return Ok(false) };
        let (file, copy) = (self.store.join(DATABASE_FILE), self.store.join(COPY_FILE));
        remove_file(&copy)?;
        if let Err(failure) = copy_records(from, &copy) {
            remove_file(&copy)?;
            return Err(failure.error);
        }
        // Readers that began before still have the former file open, and see its state.
        *database = None;
        fs::rename(&copy, &file)?;
        sync_directory(&self.store)?;
        *database = Some(open(&self.store, self.cache_bytes)?);
        Ok(true)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        directory_bytes(&self.store)
    }
}

/// A failure, and whether redb is of no more use until it is opened again.
#[derive(Clone)]
struct Failure {
    error: StoreError,
    closes: bool,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (error, closes) = match error {
            StorageError::Io(error) => (error.into(), true),
            StorageError::Corrupted(_) => (StoreError::Damaged, false),
            StorageError::ValueTooLarge(bytes) => {
                (StoreError::TooLarge { bytes, bytes_max: super::VALUE_BYTES_MAX }, false)
            }
            StorageError::Unsupported => (StoreError::Io(std::io::ErrorKind::Unsupported), false),
            _ => (StoreError::Io(std::io::ErrorKind::Other), true),
        };
        Self { error, closes }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        let error = match error {
            DatabaseError::Storage(error) => return error.into(),
            // The directory is ours, so this is either a program that ignores its lock, or a scan of our own that
            // has not let go of the database as it was before a failure.
            DatabaseError::DatabaseAlreadyOpen => StoreError::Busy { holder: None },
            _ => StoreError::Damaged,
        };
        Self { error, closes: false }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            _ => Self { error: StoreError::Io(std::io::ErrorKind::Other), closes: true },
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            _ => Self { error: StoreError::Damaged, closes: false },
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            _ => Self { error: StoreError::Io(std::io::ErrorKind::Other), closes: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::redb::ReadableTable;

    #[test]
    fn the_layout_is_as_documented() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(directory.path()).unwrap();
        let mut batch = RawBatch::default();
        batch.put(7, *b"key", *b"value");
        store.apply(&[batch]).unwrap();
        drop(store);
        let database = Database::open(directory.path().join("store/clave.redb")).unwrap();
        let table = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        let records: Vec<_> = table
            .iter()
            .unwrap()
            .map(|record| record.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect();
        assert_eq!(records, [(b"\x07key".to_vec(), b"value".to_vec())]);
    }

    #[test]
    fn a_kill_costs_no_repair() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(directory.path()).unwrap();
        let mut batch = RawBatch::default();
        batch.put(7, *b"key", *b"value");
        store.apply(&[batch]).unwrap();
        // The file as a kill at this moment leaves it.
        let copy = directory.path().join("copy.redb");
        std::fs::copy(directory.path().join("store/clave.redb"), &copy).unwrap();
        let mut builder = builder();
        builder.set_repair_callback(|session| session.abort());
        let database = builder.open(&copy).expect("opens without the repair that this forbids");
        let table = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        assert_eq!(table.get(&b"\x07key"[..]).unwrap().unwrap().value(), b"value");
    }
}
