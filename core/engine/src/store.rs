//! What the engine asks of a store: ordered keyspaces, synchronous reads, atomic batches.
//!
//! Reads are synchronous and go through [`StoreRead`]; writes leave the engine as a [`Batch`] and count as done
//! only once the driver reports them durable. Values and key scopes are sealed by the store's owner, not here.

use std::fmt;

use bytes::Bytes;

/// The tables of the store. The numbers are part of the storage format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Keyspace {
    /// One value each: identity, settings, format version.
    Meta = 1,
    /// Sealed envelopes, as they travel. Scope: circle. Suffix: entry id.
    Entries = 2,
    /// The circles this device is in. Suffix: circle. Value: empty.
    Circles = 3,
    /// Key-agreement checkpoints. Scope: circle. Suffix: epoch id.
    Checkpoints = 4,
    /// Content keys. Scope: circle. Suffix: key id.
    ContentKeys = 5,
    /// Membership operations. Scope: circle. Suffix: operation id.
    Operations = 6,
    /// What is known of a document. Scope: circle. Suffix: document id, then its kind in one byte.
    Documents = 7,
    /// Saved documents. Scope: circle, document id, kind.
    Snapshots = 8,
    /// Automerge changes since the snapshot. Scope: as of snapshots. Suffix: big-endian sequence number.
    Changes = 9,
    /// Sealed chunks of files. Scope: circle. Suffix: chunk id.
    Chunks = 10,
    /// Invitations and links given. Suffix: invitation id.
    Invitations = 11,
    /// Key packages whose private halves wait for a Welcome. Suffix: key package reference.
    KeyPackages = 12,
    /// Known addresses of devices. Suffix: device id.
    Addresses = 13,
    /// Entries that could not be opened or judged yet. Scope: circle. Suffix: entry id. Value: the entry's tag.
    Held = 14,
    /// Entries that are kept for others and have no effect here: from before this device's person came, under keys that are not here; or refused
    /// after they waited. Scope: circle. Suffix: the entry's tag, its id. Value: empty.
    Carried = 45,
    /// Commits that start from epochs this device is not in. Scope: circle. Suffix: entry id. Value: that epoch.
    Commits = 15,
    /// The last change of each author in each document. Scope: circle, first 16 bytes of the device id. Suffix: the rest
    /// of the actor, document id, kind.
    Authors = 16,
    /// The key package that pleas offer. Scope: circle.
    Pleas = 17,
    /// The epoch that each device was last seen to follow. Scope: circle. Suffix: device id. Value: the epoch.
    Seen = 18,
    /// Whose keys were compared. Suffix: person id.
    Marks = 23,
    /// Parts of checkpoints that epochs share. Scope: circle. Suffix: the part's id.
    Trees = 24,
    /// Where sealed chunks lie, if they lie beside the database. Scope and suffix: as of chunks. Known to the store only.
    ChunkPlaces = 34,
    /// Chunks that nothing refers to. Scope and suffix: as of chunks. Value: since when, in Unix milliseconds, big-endian.
    Condemned = 35,
    /// What is known of the relays of this device's spaces. Suffix: the relay's key. Value: see `engine/mailboxes/records.rs`.
    Relays = 36,
    /// How far the mailboxes of a relay were read. Scope: the relay's key. Suffix: mailbox. Value: the position, big-endian (8 bytes).
    Positions = 37,
    /// What this device made and no relay has yet. Scope: circle. Suffix: 0 for an entry, 1 for a chunk, then its id.
    Unsent = 38,
    /// Invitations that this device takes up through relays. Suffix: invitation id.
    Asks = 39,
    /// What this device keeps in the mailboxes of invitations. Suffix: invitation id, the request that it is or answers, its
    /// id at relays.
    Letters = 40,
    /// What this device shows to relays that are for some only. Suffix: the relay's key. Value: the token.
    RelayTokens = 41,
    /// Where this device is pushed to, and what relays were asked about that. Scope: see `engine/mailboxes/waking.rs`. Suffix: the
    /// relay's key; empty for all.
    Wakes = 42,
    /// Circles for which this device is not woken. Suffix: circle. Value: empty.
    Muted = 43,
    /// How far messages of this device are known to have come. Scope: circle. Suffix: device id, or empty for relays. Value: see
    /// `engine/reach.rs`.
    Reach = 44,
    /// The entries that are commits. Scope: circle. Suffix: entry id. Value: 1 if this device made or processed it, else 0.
    KeyChanges = 25,
    /// Pages of the trees over entries. Scope: circle, which tree (1 byte). Suffix: big-endian page number.
    Index = 26,
    /// How many entries are sealed with each lasting key. Scope: circle. Suffix: key id. Value: big-endian count (8 bytes).
    LastingUses = 27,
    /// The documents from which something follows that was not derived yet. Scope: circle. Suffix: document id, kind. Value:
    /// empty.
    Stale = 30,
    /// What follows from a document. Scope: circle. Suffix: document id, kind.
    Views = 31,
    /// What follows from a document and is read in parts. Scope: circle, document id, kind. Suffix: the part's name, hidden.
    Pages = 32,
    /// How far this person has read. Suffix: circle.
    Reads = 33,
    /// Welcomes of devices that were added by this one and not seen since. Scope: circle. Suffix: device id.
    Answers = 21,
    /// Key packages made for joins that are not final. Suffix: invitation id, then circle.
    Requests = 22,
    /// The search index. Scope: circle, what it is, and what of it. Suffix: numbers, document ids.
    Search = 28,
    /// Texts that are shown of what was found. Scope: circle, what it is. Suffix: the last item number of a block.
    SearchTexts = 29,
}

impl Keyspace {
    /// All of them, in order.
    pub const ALL: [Self; 43] = [
        Self::Meta,
        Self::Entries,
        Self::Circles,
        Self::Checkpoints,
        Self::ContentKeys,
        Self::Operations,
        Self::Documents,
        Self::Snapshots,
        Self::Changes,
        Self::Chunks,
        Self::Invitations,
        Self::KeyPackages,
        Self::Addresses,
        Self::Held,
        Self::Commits,
        Self::Authors,
        Self::Pleas,
        Self::Seen,
        Self::Answers,
        Self::Requests,
        Self::Marks,
        Self::Trees,
        Self::KeyChanges,
        Self::Index,
        Self::LastingUses,
        Self::Search,
        Self::SearchTexts,
        Self::Stale,
        Self::Views,
        Self::Pages,
        Self::Reads,
        Self::ChunkPlaces,
        Self::Condemned,
        Self::Relays,
        Self::Positions,
        Self::Unsent,
        Self::Asks,
        Self::Letters,
        Self::RelayTokens,
        Self::Wakes,
        Self::Muted,
        Self::Reach,
        Self::Carried,
    ];
}

/// A key: a keyspace, a scope that the sealing layer hides, and an ordered suffix that it must leave in clear.
///
/// The suffix therefore never holds anything but hashes, random ids and sequence numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub keyspace: Keyspace,
    /// What the value belongs to. Hidden at rest; two scopes are unrelated in order.
    pub scope: Vec<u8>,
    /// Orders the values of one scope, byte by byte.
    pub suffix: Vec<u8>,
}

impl Key {
    /// Builds a key.
    pub fn new(keyspace: Keyspace, scope: impl AsRef<[u8]>, suffix: impl AsRef<[u8]>) -> Self {
        Self { keyspace, scope: scope.as_ref().to_vec(), suffix: suffix.as_ref().to_vec() }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{} bytes/{} bytes", self.keyspace, self.scope.len(), self.suffix.len())
    }
}

/// Writes that become durable together or not at all. Later operations on a key win.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order: a value puts, `None` removes.
    pub writes: Vec<(Key, Option<Bytes>)>,
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.writes.push((key, Some(value.into())));
    }

    /// Adds a removal. Removing what is not there is no error.
    pub fn remove(&mut self, key: Key) {
        self.writes.push((key, None));
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Appends the writes of `other`.
    pub fn extend(&mut self, other: Self) {
        self.writes.extend(other.writes);
    }
}

impl<Value: Into<Bytes>> FromIterator<(Key, Option<Value>)> for Batch {
    fn from_iter<Writes: IntoIterator<Item = (Key, Option<Value>)>>(writes: Writes) -> Self {
        Self { writes: writes.into_iter().map(|(key, value)| (key, value.map(Into::into))).collect() }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} writes)", self.writes.len())
    }
}

/// A read that did not work out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The device or file system failed.
    #[error("the store could not be read")]
    Unreadable,
    /// A value does not authenticate: the file was altered, or it is another vault's.
    #[error(
        "the store holds a damaged record; put back a copy of the data directory, or begin in a new one and join again"
    )]
    Damaged,
}

/// The reading half of a store.
pub trait StoreRead {
    /// The value at `key`.
    ///
    /// # Errors
    /// If the store cannot be read or the value does not authenticate.
    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError>;

    /// Calls `visit` with the suffix and value of each record of a scope, in order of suffix, starting at `from`
    /// (inclusive), until it returns `false`.
    ///
    /// # Errors
    /// If the store cannot be read or a value does not authenticate.
    fn scan(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], Vec<u8>) -> bool,
    ) -> Result<(), ReadError>;

    /// Like [`scan`](Self::scan), without the values.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan_suffixes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ReadError>;

    /// Whether there is a value at `key`.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn contains(&self, key: &Key) -> Result<bool, ReadError> {
        Ok(self.read(key)?.is_some())
    }

    /// Calls `visit` with the suffix of each record of a scope, in order, and the bytes of its value, until it returns
    /// `false`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    fn scan_sizes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        visit: &mut dyn FnMut(&[u8], u64) -> bool,
    ) -> Result<(), ReadError> {
        self.scan(keyspace, scope, &[], &mut |suffix, value| visit(suffix, value.len() as u64))
    }
}
