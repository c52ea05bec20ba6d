//! What a circle works with while it handles one input, and what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use clave_crypto::{DeviceId, DeviceKey, Entropy, GroupKeyAgreement, PersonId};

use crate::index::{Pages, Shelf};
use crate::{Batch, CircleId, EntryId, Event, Key, Keyspace, ReadError, Refusal, RefusalCounts, StoreRead};

/// Tools in, effects out. One per engine; [`Engine`](crate::Engine) empties it after each input.
pub(crate) struct Desk {
    pub(crate) device: DeviceKey,
    pub(crate) incarnation: u32,
    pub(crate) agreement: Box<dyn GroupKeyAgreement + Send>,
    pub(crate) entropy: Entropy,
    pub(crate) now_ms: u64,
    pub(crate) store: View,
    /// When entries are bundled.
    pub(crate) bundling: crate::Bundling,
    /// Of the indexes of all circles.
    pub(crate) pages: Pages,
    /// What has to become durable.
    pub(crate) batch: Batch,
    /// What the application is told.
    pub(crate) events: Vec<Event>,
    /// Entries made here: pushed to whoever is connected.
    pub(crate) published: Vec<Published>,
    /// Entries that arrived and were news: offered to whoever else is connected.
    pub(crate) relayed: Vec<(CircleId, EntryId)>,
    /// Devices that a commit added to a circle of a space, and that hear of it through the space.
    pub(crate) introducing: Vec<Introducing>,
    /// Circles that this device was introduced to.
    pub(crate) introduced: Vec<Introduced>,
    /// Whose keys this person compared, as another device of theirs says, and in which circle.
    pub(crate) marks: Vec<(CircleId, crate::proto::entry::Marks)>,
    /// How far this person has read, as another device of theirs says.
    pub(crate) reads: Vec<crate::proto::entry::Reads>,
    /// Whose device this is, once it is somebody's.
    pub(crate) person: Option<PersonId>,
    /// Bytes of loaded documents that are kept.
    pub(crate) memory_budget_bytes: usize,
    /// Whether nothing is done that another opening of the same store can do as well.
    pub(crate) is_sparing: bool,
    /// Counts uses of documents.
    pub(crate) uses: u64,
    pub(crate) refusals: RefusalCounts,
    /// How the log of some circle says that this device is called from now on.
    pub(crate) renamed: Option<String>,
    /// Bytes of entries that went because a bundle covers them.
    pub(crate) freed_bytes: u64,
    /// Circles whose index is found damaged.
    pub(crate) damaged: BTreeSet<CircleId>,
    /// Whether something was erased that must not be found in what the store left behind.
    pub(crate) erased: bool,
}

/// An entry that was made here.
#[derive(Clone, Copy)]
pub(crate) struct Published {
    pub(crate) circle: CircleId,
    pub(crate) id: EntryId,
    /// Whether others mean nothing without it.
    pub(crate) guides: bool,
    /// The first and the last message of this device that it brings.
    pub(crate) messages: Option<Span>,
}

/// A message of this device, as far as it tells them apart: a message id without its author. They rise, as long as the clock does.
pub(crate) type Stamp = [u8; 12];

/// Messages of this device, from the first to the last.
pub(crate) type Span = (Stamp, Stamp);

/// Somebody to be introduced to a circle.
pub(crate) struct Introducing {
    pub(crate) circle: CircleId,
    pub(crate) device: DeviceId,
    pub(crate) welcome: Vec<u8>,
}

/// What somebody of a space says that a circle of it is.
pub(crate) struct Introduced {
    pub(crate) space: CircleId,
    pub(crate) author: DeviceId,
    pub(crate) introduction: crate::proto::entry::Introduction,
}

impl Desk {
    pub(crate) fn me(&self) -> DeviceId {
        self.device.id()
    }

    /// The pages of all indexes.
    pub(crate) fn shelf(&mut self) -> Shelf<'_> {
        Shelf::new(&mut self.pages, &self.store)
    }

    /// Puts the pages that were changed into the batch: each once, however often it was changed.
    pub(crate) fn file_pages(&mut self) {
        let pages = self.pages.take_changed();
        self.put_all(pages);
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        tracing::warn!(%refusal, "refused");
        *self.refusals.entry(refusal).or_default() += 1;
    }

    pub(crate) fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        let value = value.into();
        self.store.overlay(key.clone(), Some(value.clone()));
        self.batch.put(key, value);
    }

    /// The same for the chunk of a file, of which no second copy is kept: it can be read once it is durable.
    pub(crate) fn put_chunk(&mut self, key: Key, chunk: Bytes) {
        self.store.overlay(key.clone(), Some(Bytes::new()));
        self.batch.put(key, chunk);
    }

    /// Bytes of chunks of a circle in the batch that is being made.
    pub(crate) fn chunk_bytes_unwritten(&self, circle: CircleId) -> u64 {
        let chunks = self
            .batch
            .writes
            .iter()
            .filter(|(key, _)| key.keyspace == Keyspace::Chunks && key.scope == circle.as_bytes());
        chunks.map(|(_, chunk)| chunk.as_ref().map_or(0, Bytes::len) as u64).sum()
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.store.overlay(key.clone(), None);
        self.batch.remove(key);
    }

    /// Puts what has a value, and removes what has none.
    pub(crate) fn put_all(&mut self, writes: impl IntoIterator<Item = (Key, Option<Vec<u8>>)>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.put(key, value),
                None => self.remove(key),
            }
        }
    }

    /// The same for what may not be there, without writing anything then.
    pub(crate) fn remove_if_there(&mut self, key: Key) -> Result<(), ReadError> {
        if self.store.read(&key)?.is_some() {
            self.remove(key);
        }
        Ok(())
    }
}

/// The store as the engine sees it: what is durable, under what is on its way to be.
pub(crate) struct View {
    durable: Arc<dyn StoreRead + Send + Sync>,
    /// The newest value of each key, and how many writes of it are on their way.
    unwritten: BTreeMap<Key, (Option<Bytes>, usize)>,
}

impl View {
    pub(crate) fn new(durable: Arc<dyn StoreRead + Send + Sync>) -> Self {
        Self { durable, unwritten: BTreeMap::new() }
    }

    fn overlay(&mut self, key: Key, value: Option<Bytes>) {
        let (newest, writes) = self.unwritten.entry(key).or_default();
        *newest = value;
        *writes += 1;
    }

    /// Forgets what became durable, unless it was written again since.
    pub(crate) fn written(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some((_, writes)) = self.unwritten.get_mut(key) {
                *writes -= 1;
                if *writes == 0 {
                    self.unwritten.remove(key);
                }
            }
        }
    }

    pub(crate) fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        match self.unwritten.get(key) {
            Some((Some(value), _)) if is_elsewhere(key, value) => self.durable.read(key),
            Some((value, _)) => Ok(value.as_ref().map(|value| value.to_vec())),
            None => self.durable.read(key),
        }
    }

    /// Whether there is a value, durable or on its way.
    pub(crate) fn contains(&self, key: &Key) -> Result<bool, ReadError> {
        match self.unwritten.get(key) {
            Some((value, _)) => Ok(value.is_some()),
            None => self.durable.contains(key),
        }
    }

    /// The sizes of the durable records of a scope, in bytes, by suffix.
    pub(crate) fn sizes(&self, keyspace: Keyspace, scope: &[u8]) -> Result<BTreeMap<Vec<u8>, u64>, ReadError> {
        let mut sizes = BTreeMap::new();
        self.durable.scan_sizes(keyspace, scope, &mut |suffix, bytes| {
            sizes.insert(suffix.to_vec(), bytes);
            true
        })?;
        Ok(sizes)
    }

    /// All records of a scope, in order of suffix.
    pub(crate) fn all(&self, keyspace: Keyspace, scope: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
        let mut records = BTreeMap::new();
        self.durable.scan(keyspace, scope, &[], &mut |suffix, value| {
            records.insert(suffix.to_vec(), value);
            true
        })?;
        for (key, (value, _)) in self.unwritten.range(Key::new(keyspace, scope, [])..) {
            if key.keyspace != keyspace || key.scope != scope {
                break;
            }
            match value {
                Some(value) if is_elsewhere(key, value) => None,
                Some(value) => records.insert(key.suffix.clone(), value.to_vec()),
                None => records.remove(&key.suffix),
            };
        }
        Ok(records)
    }
}

/// Whether this stands for a chunk that is on its way and not kept here: see [`Desk::put_chunk`].
fn is_elsewhere(key: &Key, value: &[u8]) -> bool {
    key.keyspace == Keyspace::Chunks && value.is_empty()
}

impl View {
    /// The suffixes of a scope, in order.
    pub(crate) fn suffixes(&self, keyspace: Keyspace, scope: &[u8]) -> Result<BTreeSet<Vec<u8>>, ReadError> {
        self.suffixes_with(keyspace, scope, &[])
    }

    /// The suffixes of a scope that begin so, in order.
    pub(crate) fn suffixes_with(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        prefix: &[u8],
    ) -> Result<BTreeSet<Vec<u8>>, ReadError> {
        let mut suffixes = BTreeSet::new();
        self.durable.scan_suffixes(keyspace, scope, prefix, &mut |suffix| {
            let begins = suffix.starts_with(prefix);
            if begins {
                suffixes.insert(suffix.to_vec());
            }
            begins
        })?;
        for (key, (value, _)) in self.unwritten.range(Key::new(keyspace, scope, prefix)..) {
            if key.keyspace != keyspace || key.scope != scope || !key.suffix.starts_with(prefix) {
                break;
            }
            match value {
                Some(_) => suffixes.insert(key.suffix.clone()),
                None => suffixes.remove(&key.suffix),
            };
        }
        Ok(suffixes)
    }

    /// Whether there is any record in a scope.
    pub(crate) fn has_any(&self, keyspace: Keyspace, scope: &[u8]) -> Result<bool, ReadError> {
        let mut any = self.unwritten_of(keyspace, scope).any(|(_, value)| value.is_some());
        if !any {
            self.durable.scan_suffixes(keyspace, scope, &[], &mut |suffix| {
                any = !self.unwritten.contains_key(&Key::new(keyspace, scope, suffix));
                !any
            })?;
        }
        Ok(any)
    }

    fn unwritten_of(&self, keyspace: Keyspace, scope: &[u8]) -> impl Iterator<Item = (&Key, &Option<Bytes>)> {
        let records = self.unwritten.range(Key::new(keyspace, scope, [])..);
        let records = records.take_while(move |(key, _)| key.keyspace == keyspace && key.scope == scope);
        records.map(|(key, (value, _))| (key, value))
    }

    /// The records of a scope from a suffix on, in order, until they come to so many bytes; and where the next ones begin,
    /// if there may be more.
    #[allow(clippy::type_complexity)]
    pub(crate) fn page(
        &self,
        keyspace: Keyspace,
        scope: &[u8],
        from: &[u8],
        bytes_max: usize,
    ) -> Result<(BTreeMap<Vec<u8>, Vec<u8>>, Option<Vec<u8>>), ReadError> {
        let (mut records, mut bytes, mut end) = (BTreeMap::new(), 0, None);
        self.durable.scan(keyspace, scope, from, &mut |suffix, value| {
            bytes += suffix.len() + value.len();
            records.insert(suffix.to_vec(), value);
            if bytes >= bytes_max {
                end = Some(suffix.to_vec());
            }
            end.is_none()
        })?;
        for (key, (value, _)) in self.unwritten.range(Key::new(keyspace, scope, from)..) {
            let beyond = end.as_ref().is_some_and(|end| key.suffix > *end);
            if key.keyspace != keyspace || key.scope != scope || beyond {
                break;
            }
            match value {
                Some(value) if is_elsewhere(key, value) => None,
                Some(value) => records.insert(key.suffix.clone(), value.to_vec()),
                None => records.remove(&key.suffix),
            };
        }
        let next = end.map(|mut end| {
            end.push(0);
            end
        });
        Ok((records, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::Memory;

    #[test]
    fn pages_hold_what_is_durable_and_what_is_on_its_way_once_each() {
        let memory = Arc::new(Memory::default());
        let mut view = View::new(memory.clone());
        let key = |n: u8| Key::new(Keyspace::Documents, [1], [n]);
        for n in [1, 2, 4, 5, 7] {
            memory.write(&[(key(n), Some(vec![n; 10]))].into_iter().collect());
        }
        view.overlay(key(2), None);
        view.overlay(key(3), Some(vec![3].into()));
        view.overlay(key(5), Some(vec![50].into()));
        view.overlay(key(9), Some(vec![9].into()));
        view.overlay(Key::new(Keyspace::Documents, [2], [0]), Some(vec![1].into()));
        let whole = view.all(Keyspace::Documents, &[1]).expect("memory can be read");
        for bytes_max in [1, 12, 25, 1_000] {
            let (mut all, mut from, mut pages) = (BTreeMap::new(), Vec::new(), 0);
            loop {
                let page = view.page(Keyspace::Documents, &[1], &from, bytes_max).expect("memory can be read");
                all.extend(page.0);
                pages += 1;
                match page.1 {
                    Some(next) => from = next,
                    None => break,
                }
            }
            assert_eq!(all, whole, "{bytes_max}");
            assert_eq!(pages > 1, bytes_max < 1_000);
        }
        let suffixes = view.suffixes(Keyspace::Documents, &[1]).expect("memory can be read");
        assert!(suffixes.iter().eq(whole.keys()));
        assert_eq!(whole.into_keys().flatten().collect::<Vec<_>>(), [1, 3, 4, 5, 7, 9]);
    }

    #[test]
    fn the_newest_value_is_read_while_older_ones_become_durable() {
        let memory = Arc::new(Memory::default());
        let mut view = View::new(memory.clone());
        let key = Key::new(Keyspace::Documents, [1], [2]);
        // What is written first and third is equal, and says nothing of the second.
        let batches = [b"a", b"b", b"a"].map(|value| {
            view.overlay(key.clone(), Some(Bytes::from_static(value)));
            Batch { writes: vec![(key.clone(), Some(Bytes::from_static(value)))] }
        });
        for batch in &batches {
            memory.write(batch);
            view.written(std::slice::from_ref(&key));
            assert_eq!(view.read(&key).expect("memory can be read"), Some(b"a".to_vec()));
            let all = view.all(Keyspace::Documents, &[1]).expect("memory can be read");
            assert_eq!(all, BTreeMap::from([(vec![2], b"a".to_vec())]));
        }
        view.overlay(key.clone(), None);
        assert_eq!(view.read(&key).expect("memory can be read"), None);
        let removal = Batch { writes: vec![(key.clone(), None)] };
        memory.write(&removal);
        view.written(std::slice::from_ref(&key));
        assert_eq!(view.read(&key).expect("memory can be read"), None);
        assert!(view.unwritten.is_empty());
    }
}
