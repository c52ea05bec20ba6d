//! Seals every record under the vault key on its way to a backend.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use clave_engine::crypto::{Entropy, VaultKey};
use clave_engine::{Batch, Key, Keyspace, ReadError, StoreRead};

use super::packs::Packs;
use super::{RawBatch, Store, StoreError};

mod chunks;

/// The bytes that stand for a keyspace and a scope on disk.
pub(crate) const HIDDEN_BYTES: usize = 16;

/// What the engine reads from: a [`Store`] whose records are sealed under a vault key.
///
/// On disk a record's key is `hide(keyspace ‖ scope) ‖ suffix`, 16 bytes and the suffix, in the table that has the
/// keyspace's number; its value is sealed with `table ‖ key on disk` as associated data, so that a record moved or
/// swapped with another does not authenticate. [`Keyspace::Chunks`] are ciphertext already, checked against their
/// id by whoever reads them: they are stored as they are, in packs beside the database if it was given a place for
/// them ([`with_chunks`](Self::with_chunks)).
///
/// What shows on disk is how many records each keyspace and each (nameless) scope has, their sizes and their
/// suffixes, which hold hashes, random ids and sequence numbers only.
pub struct SealedStore {
    store: Arc<dyn Store>,
    vault: VaultKey,
    entropy: Mutex<Entropy>,
    packs: Option<Packs>,
}

impl SealedStore {
    /// Puts `vault` in front of `store`; `entropy` salts what is sealed from now on.
    ///
    /// Whether it is the right key shows at the first read.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: VaultKey, entropy: Entropy) -> Self {
        Self { store, vault, entropy: Mutex::new(entropy), packs: None }
    }

    /// Keeps the chunks of files in files of their own in `directory`, and moves there what the database has of them.
    ///
    /// # Errors
    /// What the disk has to say.
    pub fn with_chunks(mut self, directory: &Path) -> Result<Self, StoreError> {
        self.packs = Some(Packs::open(directory)?);
        self.move_chunks_out()?;
        Ok(self)
    }

    /// What it all takes on disk, in bytes.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        let packs = self.packs.as_ref().map_or(Ok(0), Packs::size_bytes)?;
        Ok(self.store.size_bytes()? + packs)
    }

    /// The store behind it, for its size and its compaction.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The key, for opening the same store again.
    pub(crate) fn vault(&self) -> &VaultKey {
        &self.vault
    }

    /// Seals the batches and commits them, in order, in one atomic commit; returns once it is durable. Blocks.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn write(&self, mut batches: Vec<Batch>) -> Result<(), StoreError> {
        leave_last(&mut batches);
        let has_chunks = |batch: &Batch| batch.writes.iter().any(|(key, _)| is_ciphertext(key.keyspace));
        match &self.packs {
            Some(packs) if batches.iter().any(has_chunks) => self.write_with_chunks(packs, batches),
            _ => {
                let raw: Vec<RawBatch> = batches.into_iter().map(|batch| self.sealed(batch)).collect();
                self.store.apply(&raw)
            }
        }
    }

    pub(crate) fn sealed(&self, batch: Batch) -> RawBatch {
        // Nothing panics half-way through drawing bytes; a poisoned generator is as good as any.
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut raw = RawBatch::default();
        for (key, value) in batch.writes {
            let on_disk = self.disk_key(&key);
            match value {
                None => raw.remove(key.keyspace as u8, on_disk),
                Some(value) if is_ciphertext(key.keyspace) => raw.put(key.keyspace as u8, on_disk, value),
                Some(value) => {
                    let sealed = self.vault.seal(&mut entropy, &associated(key.keyspace, &on_disk), &value);
                    raw.put(key.keyspace as u8, on_disk, sealed);
                }
            }
        }
        raw
    }

    fn opened(&self, keyspace: Keyspace, on_disk: &[u8], value: &[u8]) -> Result<Vec<u8>, ReadError> {
        if is_ciphertext(keyspace) {
            return Ok(value.to_vec());
        }
        let opened = self.vault.open(&associated(keyspace, on_disk), value);
        // Moved out, not copied: from here on it is the engine's to wipe.
        opened.map(|mut value| std::mem::take(&mut *value)).map_err(|_| ReadError::Damaged)
    }

    pub(crate) fn disk_key(&self, key: &Key) -> Vec<u8> {
        let mut on_disk = self.hidden(key.keyspace, &key.scope).to_vec();
        on_disk.extend_from_slice(&key.suffix);
        on_disk
    }

    fn hidden(&self, keyspace: Keyspace, scope: &[u8]) -> [u8; HIDDEN_BYTES] {
        self.vault.hide(&[&[keyspace as u8], scope].concat())
    }
}

/// Takes a suffix and what became of its record; says whether to go on.
type VisitOpened<'a> = dyn FnMut(&[u8], Result<Vec<u8>, ReadError>) -> Result<bool, ReadError> + 'a;

impl SealedStore {
    /// The keyspace in whose table a record of this keyspace is: chunks in packs have only their places in the database.
    pub(crate) fn table_of(&self, keyspace: Keyspace) -> Keyspace {
        self.packs_of(keyspace).map_or(keyspace, |_| Keyspace::ChunkPlaces)
    }

    /// Opens the records of a scope in turn.
    fn scan_opened(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut VisitOpened<'_>,
    ) -> Result<(), ReadError> {
        let prefix = self.hidden(keyspace, scope);
        let mut outcome = Ok(());
        self.store.scan(self.table_of(keyspace) as u8, &prefix, from, &mut |on_disk, value| {
            let opened = match self.packs_of(keyspace) {
                Some(packs) => self.chunk(packs, on_disk).map_err(ReadError::from).transpose(),
                None => Some(self.opened(keyspace, on_disk, value)),
            };
            // A chunk that was removed since the scan began is passed over.
            let goes_on = opened.map_or(Ok(true), |opened| visit(&on_disk[HIDDEN_BYTES..], opened));
            goes_on.unwrap_or_else(|error| {
                outcome = Err(error);
                false
            })
        })?;
        outcome
    }

    /// Whether a record, as it is on disk, is one that was written there under this key. Chunks are not sealed: they always are.
    pub(crate) fn authenticates(&self, keyspace: Keyspace, on_disk: &[u8], value: &[u8]) -> bool {
        on_disk.len() >= HIDDEN_BYTES && self.opened(keyspace, on_disk, value).is_ok()
    }
}

/// Reads what can be read, and passes over what does not authenticate.
pub(crate) struct Readable<'a>(&'a SealedStore);

impl<'a> Readable<'a> {
    pub(crate) fn new(store: &'a SealedStore) -> Self {
        Self(store)
    }
}

impl StoreRead for Readable<'_> {
    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        match self.0.read(key) {
            Err(ReadError::Damaged) => Ok(None),
            read => read,
        }
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], Vec<u8>) -> bool,
    ) -> Result<(), ReadError> {
        self.0.scan_opened(keyspace, scope, from, &mut |suffix, opened| match opened {
            Err(ReadError::Damaged) => Ok(true),
            opened => Ok(visit(suffix, opened?)),
        })
    }

    fn scan_suffixes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ReadError> {
        self.scan(keyspace, scope, from, &mut |suffix, _| visit(suffix))
    }
}

impl StoreRead for SealedStore {
    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(packs) = self.packs_of(key.keyspace) {
            return Ok(self.chunk(packs, &self.disk_key(key))?);
        }
        let on_disk = self.disk_key(key);
        match self.store.get(key.keyspace as u8, &on_disk)? {
            Some(value) => self.opened(key.keyspace, &on_disk, &value).map(Some),
            None => Ok(None),
        }
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], Vec<u8>) -> bool,
    ) -> Result<(), ReadError> {
        self.scan_opened(keyspace, scope, from, &mut |suffix, opened| Ok(visit(suffix, opened?)))
    }

    fn scan_suffixes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ReadError> {
        if self.packs_of(keyspace).is_some() {
            return Ok(self.scan_places(scope, from, &mut |suffix, _| visit(suffix))?);
        }
        let prefix = self.hidden(keyspace, scope);
        Ok(self.store.scan(keyspace as u8, &prefix, from, &mut |on_disk, _| visit(&on_disk[HIDDEN_BYTES..]))?)
    }

    fn contains(&self, key: &Key) -> Result<bool, ReadError> {
        match self.packs_of(key.keyspace) {
            Some(_) => Ok(self.place(&self.disk_key(key))?.is_some()),
            None => Ok(self.store.get(key.keyspace as u8, &self.disk_key(key))?.is_some()),
        }
    }

    fn scan_sizes(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        visit: &mut dyn FnMut(&[u8], u64) -> bool,
    ) -> Result<(), ReadError> {
        if self.packs_of(keyspace).is_some() {
            return Ok(self.scan_places(scope, &[], &mut |suffix, place| visit(suffix, place.bytes.into()))?);
        }
        self.scan(keyspace, scope, &[], &mut |suffix, value| visit(suffix, value.len() as u64))
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedStore")
    }
}

/// Drops what is written again in the same commit: each of many messages writes the same pages of an index.
fn leave_last(batches: &mut [Batch]) {
    let mut written = HashSet::new();
    for batch in batches.iter_mut().rev() {
        let mut kept: Vec<_> = std::mem::take(&mut batch.writes);
        kept.reverse();
        kept.retain(|(key, _)| written.insert(key.clone()));
        kept.reverse();
        batch.writes = kept;
    }
}

fn is_ciphertext(keyspace: Keyspace) -> bool {
    keyspace == Keyspace::Chunks
}

fn associated(keyspace: Keyspace, on_disk: &[u8]) -> Vec<u8> {
    [&[keyspace as u8], on_disk].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_one_commit_writes_twice_only_the_last_is_left() {
        let key = |n: u8| Key::new(Keyspace::Index, [1], [n]);
        let batch = |writes: &[(u8, Option<u8>)]| -> Batch {
            writes.iter().map(|(n, value)| (key(*n), value.map(|value| vec![value]))).collect()
        };
        let mut batches = [batch(&[(1, Some(1)), (2, Some(2)), (1, Some(3))]), batch(&[(3, Some(4)), (2, None)])];
        leave_last(&mut batches);
        assert!(batches == [batch(&[(1, Some(3))]), batch(&[(3, Some(4)), (2, None)])]);
    }
}
