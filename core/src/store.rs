//! Where a device keeps what it knows: ordered tables of opaque bytes, written in atomic and durable batches.
//!
//! This module owns the data directory (its lock, its format version), the backends behind [`Store`], the sealing
//! of every record under the vault key ([`SealedStore`]) and the thread that commits in groups ([`Writer`]).
//! A backend knows bytes only; what they mean is the engine's business, which it states as
//! [`Batch`](clave_engine::Batch) and [`StoreRead`](clave_engine::StoreRead).
//!
//! From the bottom up: [`open_store`] locks a directory and opens the backend it holds, [`SealedStore::new`] puts
//! the vault key in front of it, [`Writer::spawn`] gives it a thread.

mod directory;
mod error;
mod failing;
#[cfg(feature = "sled")]
mod gate;
mod memory;
mod migration;
mod packs;
mod redb;
mod sealed;
#[cfg(feature = "sled")]
mod sled;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use directory::{DirectoryLock, STORE_FORMAT};
pub use error::{StoreError, UnknownStoreKind};
pub use failing::{FailingStore, Fault};
pub use memory::MemoryStore;
pub use redb::RedbStore;
pub use sealed::SealedStore;
pub(crate) use sealed::{HIDDEN_BYTES, Readable};
#[cfg(feature = "sled")]
pub use sled::SledStore;
pub use writer::{WRITER_BATCHES_MAX, WRITER_COMMIT_BYTES_MAX, Writer};

/// The longest key, in bytes, that a store takes.
pub const KEY_BYTES_MAX: usize = 256;

/// The largest value, in bytes, that a store takes.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// One write of a [`RawBatch`].
#[derive(Clone, PartialEq, Eq)]
pub struct RawWrite {
    /// The table.
    pub table: u8,
    /// The key, of at most [`KEY_BYTES_MAX`].
    pub key: Vec<u8>,
    /// The value to put, of at most [`VALUE_BYTES_MAX`], or `None` to remove the key.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for RawWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(Vec::len);
        write!(f, "RawWrite(table {}, key of {} bytes, value of {value:?} bytes)", self.table, self.key.len())
    }
}

/// Writes of opaque bytes that are there together or not at all. Later writes to a key win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBatch {
    /// In order.
    pub writes: Vec<RawWrite>,
}

impl RawBatch {
    /// Adds a put.
    pub fn put(&mut self, table: u8, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(RawWrite { table, key: key.into(), value: Some(value.into()) });
    }

    /// Adds a removal. Removing what is not there is no error.
    pub fn remove(&mut self, table: u8, key: impl Into<Vec<u8>>) {
        self.writes.push(RawWrite { table, key: key.into(), value: None });
    }
}

/// Ordered tables of opaque bytes.
///
/// All methods block on the disk; an async caller uses a thread of its own ([`Writer`]). Every implementation
/// passes the conformance suite in `core/tests/store`.
pub trait Store: Send + Sync {
    /// The value at `key`, as of the last batch applied.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, table: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Calls `visit` with each key that starts with `prefix`, and its value, in byte order, beginning with the first
    /// that is not below `prefix ‖ from`, until it returns `false`.
    ///
    /// A scan sees one state of the store: none of the batches applied after it began, or, where a backend cannot
    /// keep old states, those batches wait for its end. `visit` may read from the store; it must not write to it.
    ///
    /// # Errors
    /// If the store cannot be read. `visit` may then have seen some of the records.
    fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Commits all batches, in order, in one atomic commit, and returns once it is durable: no power cut after that
    /// undoes it.
    ///
    /// # Errors
    /// If the disk refuses, or a write is over a limit. The store then holds either what it held before or, where
    /// the disk failed in the last step, all of the batches: never a part. Applying them again is safe.
    fn apply(&self, batches: &[RawBatch]) -> Result<(), StoreError>;

    /// Copies all records into a new file and removes the old one: space that removed records held goes back to the file
    /// system, and what stood in it is in no file of the store any more. Takes time and, for a while, up to the size of
    /// the store again. Returns whether anything was done; `false` when it would have to wait for a scan.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost.
    fn compact(&self) -> Result<bool, StoreError>;

    /// What the store takes on disk, in bytes.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn size_bytes(&self) -> Result<u64, StoreError>;
}

/// The engines to choose from. `docs/adr/0001-redb-is-the-default-store.md` says why there are two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// redb 4, a copy-on-write B-tree in one file.
    #[default]
    Redb,
    /// sled 0.34, a log-structured tree, with an fsync behind each of its flushes. Where the feature `sled` is on.
    Sled,
}

impl StoreKind {
    /// Its name, as in configuration files and in the data directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StoreKind {
    type Err = UnknownStoreKind;

    fn from_str(name: &str) -> Result<Self, UnknownStoreKind> {
        match name {
            "redb" => Ok(Self::Redb),
            "sled" => Ok(Self::Sled),
            _ => Err(UnknownStoreKind),
        }
    }
}

/// Opens the store in `directory`, creating it if there is none, and holds the directory until it is dropped.
///
/// # Errors
/// [`StoreError::Busy`] if another process (or this one) has it open, [`StoreError::WrongKind`] if it holds the
/// other kind, [`StoreError::NotBuiltIn`] if this build has no such store, [`StoreError::TooNew`] if a later version
/// wrote it, [`StoreError::Damaged`] if it cannot be trusted, and what the disk has to say.
pub fn open_store(directory: &Path, kind: StoreKind) -> Result<Arc<dyn Store>, StoreError> {
    open_store_within(directory, kind, redb::CACHE_BYTES)
}

/// The same, with so many bytes of the database kept in memory at most; sled keeps what it keeps.
pub(crate) fn open_store_within(
    directory: &Path,
    kind: StoreKind,
    cache_bytes: usize,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match kind {
        StoreKind::Redb => Arc::new(RedbStore::open_within(directory, cache_bytes)?),
        #[cfg(feature = "sled")]
        StoreKind::Sled => Arc::new(SledStore::open(directory)?),
        #[cfg(not(feature = "sled"))]
        StoreKind::Sled => return Err(StoreError::NotBuiltIn(kind)),
    })
}

/// Brings the store in `directory`, which is open, from the format that an earlier version wrote to this version's. Where a
/// step fails, nothing is lost, and the next call goes on from there.
///
/// # Errors
/// What the disk has to say.
pub(crate) fn migrate(directory: &Path, store: &SealedStore) -> Result<(), StoreError> {
    let (found, kind) = directory::read_format(directory)?;
    migration::migrate(store, found, migration::STEPS, |reached| directory::write_next_format(directory, reached, kind))
}

/// The last write to each key, by table and key.
type Outcome<'a> = BTreeMap<(u8, &'a [u8]), Option<&'a [u8]>>;

/// What a list of batches amounts to.
///
/// # Errors
/// If a key or a value is over its limit.
fn outcome(batches: &[RawBatch]) -> Result<Outcome<'_>, StoreError> {
    let mut writes = Outcome::new();
    for write in batches.iter().flat_map(|batch| &batch.writes) {
        within(write.key.len(), KEY_BYTES_MAX)?;
        within(write.value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)?;
        writes.insert((write.table, write.key.as_slice()), write.value.as_deref());
    }
    Ok(writes)
}

fn within(bytes: usize, bytes_max: usize) -> Result<(), StoreError> {
    if bytes > bytes_max { Err(StoreError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}

/// How a record of a table is called where all tables share one ordered space: `table ‖ key`.
fn tabled(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![table];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
