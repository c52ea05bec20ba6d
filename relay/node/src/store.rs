//! Where blobs lie until they are fetched or too old.
//!
//! [`MailboxStore`] is the contract that a session relies on; `store/conformance.rs` is its test. It says nothing of files or
//! transactions, so that the same can stand on a cluster: every call is asynchronous and about one mailbox or about ids, nothing is
//! read that was not asked for by its mailbox, and what was stored is announced by the store itself ([`News`]), for on a cluster it may
//! have been stored through another relay.
//!
//! [`RedbStore`] is the embedded one, [`JetStreamStore`] that on a cluster. Nothing in a store says who put or fetched anything.

#[cfg(test)]
mod conformance;
mod jetstream;
#[cfg(any(test, feature = "fuzzing"))]
mod memory;
mod objects;
mod redb;
mod subscriptions;
mod writer;

use std::{fmt, path::PathBuf};

use clave_mailbox::{BlobId, Bytes, Kind};
use futures::future::BoxFuture;

pub(crate) use jetstream::{ClusterConfig, ClusterError, JetStreamStore};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use memory::MemoryStore;
pub(crate) use objects::{Objects, ObjectsError};
pub(crate) use redb::{OpenError, RedbStore, journal_path, renew_generation};
pub(crate) use subscriptions::SubscriptionStore;

/// The name of a mailbox: an Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MailboxId(pub(crate) [u8; 32]);

impl MailboxId {
    /// `None` if that is not 32 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// Enough to tell mailboxes apart in a log, too little to follow one.
impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// What even an empty blob is counted as in quotas, in bytes: its share of indexes, and of pages that are not full.
pub(crate) const BLOB_OVERHEAD_BYTES: u64 = 256;

/// What a blob is counted as in quotas.
pub(crate) fn cost(bytes: usize) -> u64 {
    bytes as u64 + BLOB_OVERHEAD_BYTES
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// What is older is removed.
    pub(crate) kept_seconds: u64,
    /// Bytes of one mailbox; beyond, its oldest blobs go.
    pub(crate) mailbox_bytes_max: u64,
    /// Entries of one mailbox; beyond, its oldest blobs go.
    pub(crate) mailbox_entries_max: u64,
    /// Bytes of the store; beyond, the oldest blobs of all go.
    pub(crate) store_bytes_max: u64,
    /// From so many bytes on, no new mailbox is taken.
    pub(crate) new_mailboxes_bytes_max: u64,
    /// From so many mailboxes on, no new one is taken.
    pub(crate) mailboxes_max: u64,
}

/// Blobs for one mailbox, of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) mailbox: MailboxId,
    pub(crate) kind: Kind,
    pub(crate) blobs: Vec<(BlobId, Bytes)>,
    /// Seconds since 1970.
    pub(crate) now_seconds: u64,
}

/// What became of a batch: it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The blobs that were news, and their positions.
    pub(crate) new: Vec<(BlobId, u64)>,
}

/// What is known of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailboxState {
    /// The position of the newest entry; 0 if the mailbox is empty and was for as long as can be told.
    pub(crate) last: u64,
    /// How many entries are there.
    pub(crate) entries: u64,
}

/// An entry as it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    pub(crate) position: u64,
    pub(crate) id: BlobId,
    pub(crate) bytes: Bytes,
}

/// Entries of a mailbox in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) entries: Vec<StoredEntry>,
    /// Whether there were more when it was read.
    pub(crate) more: bool,
}

/// How much a page has at most: at least one entry, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageRoom {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) mailboxes: u64,
    pub(crate) entries: u64,
    pub(crate) chunks: u64,
    /// As quotas count them.
    pub(crate) bytes: u64,
    /// Blobs that were removed since the start because they were too old.
    pub(crate) expired: u64,
    /// Blobs that were removed since the start because a quota was full.
    pub(crate) dropped: u64,
    /// Durable writes since the start: each of one group of puts.
    pub(crate) commits: u64,
}

/// Why a store did not do it. A batch that was refused is not stored, nor part of it, unless the store was unavailable: then part of it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    #[error(
        "the store is nearly full, and takes no new mailboxes: raise `store_mib`, or wait until something has expired"
    )]
    NoNewMailboxes,
    #[error("the disk is full: make room, or lower `store_mib`")]
    Full,
    #[error("the store failed: see the log, check the disk, then start the relay again")]
    Failed,
    #[error("the NATS cluster or the object store cannot be reached: see the log; it is tried again")]
    Unavailable,
    #[error("the store is no file of this relay: back up the JetStream stream and the objects with their own tools")]
    Elsewhere,
    #[error("the store has stopped")]
    Stopped,
}

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Hears what was stored, once it is durable, of each mailbox in the order of positions. Must not block.
pub(crate) trait News: Send + Sync + 'static {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry);

    /// An entry was stored that is not at hand: who follows the mailbox reads it.
    fn lagged(&self, mailbox: MailboxId);
}

/// Keeps blobs. All methods may be called from anywhere, at any time. Dropping a future of [`put`](Self::put) does not take the put back.
pub(crate) trait MailboxStore: Send + Sync + 'static {
    /// Made at random with the data, and again when the data is not what it was (a restored backup).
    fn generation(&self) -> [u8; 16];

    /// Stores what is not there yet; answers when it is durable. Positions of all mailboxes together rise.
    fn put(&self, batch: Batch) -> Answer<'_, Placed>;

    fn states(&self, mailboxes: Vec<MailboxId>) -> Answer<'_, Vec<MailboxState>>;

    /// The entries after a position.
    fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Answer<'_, Page>;

    /// Blobs by their ids, each looked for in all the mailboxes, in the order asked for, as many as `bytes_max` holds, but at least one.
    fn get(
        &self,
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Answer<'_, Vec<Option<Bytes>>>;

    /// Which blobs are there.
    fn which(&self, mailboxes: Vec<MailboxId>, kind: Kind, ids: Vec<BlobId>) -> Answer<'_, Vec<bool>>;

    /// The ids of all entries of a mailbox, in order.
    fn entry_ids(&self, mailbox: MailboxId) -> Answer<'_, Vec<BlobId>>;

    /// Removes what is too old by now, and what quotas that were lowered have no room for.
    fn sweep(&self, now_seconds: u64) -> Answer<'_, ()>;

    /// Takes effect with the next put or sweep.
    fn set_quotas(&self, quotas: Quotas);

    /// Says that the disk has (or again has not) too little room: then every put is refused.
    fn set_disk_full(&self, full: bool);

    fn usage(&self) -> Usage;

    /// Writes everything as it is at one moment to a file that does not exist yet, durably.
    fn backup(&self, to: PathBuf) -> Answer<'_, ()>;
}
