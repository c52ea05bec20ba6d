//! Which entries of a circle are here, in the order that set reconciliation walks them: a tree in the store, of which memory
//! holds a few pages.
//!
//! The entries are the truth and this follows from them, in the same batch: if it is missing or damaged it is made anew from
//! them, see [`EntryIndex::rebuild`].

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::KeyId;

use crate::desk::Desk;
use crate::entry::Envelope;
use crate::{CircleId, EngineError, EntryId, Key, Keyspace, ReadError, StoreRead};

mod message;
mod page;
mod pages;
mod reconcile;
#[cfg(test)]
pub(crate) mod tests;
mod tree;

use page::{Body, Page, Place};
use pages::TreeName;
use tree::Tree;

pub(crate) use tree::Cut;

pub(crate) use pages::{Pages, Shelf};
pub(crate) use reconcile::Failure;

/// The greatest reconciliation message, in bytes.
pub(crate) const RECONCILE_BYTES_MAX: usize = 256 * 1024;
/// Entries that one step of reconciliation has this side offer, about; what else there is comes with the next step.
pub(crate) const OFFERED_IDS_MAX: usize = 8_192;
/// The most guides that are offered ahead of all else.
const GUIDES_MAX: u64 = 8_192;
/// Bytes of entries that are read at a time while an index is made anew.
const REBUILD_BYTES: usize = 4 * 1024 * 1024;

/// The entries of a circle by (hour, id), and how many are sealed with each lasting key.
#[derive(Debug)]
pub(crate) struct EntryIndex {
    circle: CircleId,
    entries: Tree,
    /// Of these, as far as is known here, those without which others mean nothing: operations, commits and keys.
    guides: Tree,
    lasting: BTreeMap<KeyId, u64>,
}

/// What a step of reconciliation brought to light on the side that began.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Entries that the other side lacks, the newest first.
    pub(crate) have: Vec<EntryId>,
    /// Entries that are missing here, or most likely so, about the newest first.
    pub(crate) need: Vec<EntryId>,
    /// The next message, unless the two sides are through.
    pub(crate) reply: Option<Vec<u8>>,
    /// From where on the other side lacks much, if it does.
    pub(crate) much_since: Option<Cut>,
}

/// What the side says that did not begin.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) message: Vec<u8>,
    /// From where on the other side lacks much, if it does.
    pub(crate) much_since: Option<Cut>,
    /// Whether the two are not known to have the same: then the other side says more.
    pub(crate) differs: bool,
    /// Whether the other side may lack something that is here, as far as its message shows.
    pub(crate) lacks: bool,
}

fn entries_of(circle: CircleId) -> TreeName {
    TreeName { circle, kind: 0 }
}

fn guides_of(circle: CircleId) -> TreeName {
    TreeName { circle, kind: 1 }
}

fn lasting_key(circle: CircleId, key: &KeyId) -> Key {
    Key::new(Keyspace::LastingUses, circle.as_bytes(), key.as_bytes())
}

/// The index of a circle as it is in the store, whoever is at work there: the entries that it has, and its records. `None` if it
/// cannot be read.
pub(crate) fn stored(
    store: &dyn StoreRead,
    circle: CircleId,
) -> Result<(Option<BTreeSet<EntryId>>, Vec<Key>), ReadError> {
    let (mut ids, mut records) = (Some(BTreeSet::new()), Vec::new());
    for name in [entries_of(circle), guides_of(circle)] {
        store.scan(Keyspace::Index, &name.scope(), &[], &mut |suffix, page| {
            records.push(Key::new(Keyspace::Index, name.scope(), suffix));
            match Page::decode(&page).map(|page| page.body) {
                Ok(Body::Leaf(places)) if name == entries_of(circle) => {
                    ids.iter_mut().for_each(|ids| ids.extend(places.iter().map(|place| place.id)));
                }
                Ok(_) => {}
                Err(_) => ids = None,
            }
            true
        })?;
    }
    store.scan_suffixes(Keyspace::LastingUses, circle.as_bytes(), &[], &mut |suffix| {
        records.push(Key::new(Keyspace::LastingUses, circle.as_bytes(), suffix));
        true
    })?;
    Ok((ids, records))
}

impl EntryIndex {
    /// The index of a circle: as it stands in the store, or made anew if that was written before there was one, or has lost it.
    pub(crate) fn open(circle: CircleId, desk: &mut Desk) -> Result<Self, EngineError> {
        let trees = [entries_of, guides_of].map(|name| Tree::open(name(circle), &mut desk.shelf()));
        let [entries, guides] = trees;
        let guides = guides.map(|guides| guides.unwrap_or(Tree::empty(guides_of(circle))));
        match entries.and_then(|entries| Ok((entries, guides?))) {
            Ok((Some(entries), guides)) => {
                let mut lasting = BTreeMap::new();
                for (suffix, count) in desk.store.all(Keyspace::LastingUses, circle.as_bytes())? {
                    let key = KeyId::try_from(suffix.as_slice()).map_err(|_| EngineError::IndexDamaged)?;
                    let count = count.as_slice().try_into().map_err(|_| EngineError::IndexDamaged)?;
                    lasting.insert(key, u64::from_be_bytes(count));
                }
                return Ok(Self { circle, entries, guides, lasting });
            }
            Ok((None, guides)) if !desk.store.has_any(Keyspace::Entries, circle.as_bytes())? => {
                return Ok(Self { circle, entries: Tree::empty(entries_of(circle)), guides, lasting: BTreeMap::new() });
            }
            Ok((None, _)) => tracing::info!(circle = %circle.short(), "the index of entries is made"),
            Err(error @ EngineError::Store(crate::ReadError::Unreadable)) => return Err(error),
            Err(error) => tracing::warn!(circle = %circle.short(), %error, "the index of entries is made anew"),
        }
        Self::rebuild(circle, desk)
    }

    /// Makes the index anew from the entries, reading each once. Of the guides only the commits are found again: what others
    /// are shows when an entry is opened, and is not needed but to be quicker.
    pub(crate) fn rebuild(circle: CircleId, desk: &mut Desk) -> Result<Self, EngineError> {
        let (mut places, mut guides, mut lasting) = (Vec::new(), Vec::new(), BTreeMap::<KeyId, u64>::new());
        let commits = desk.store.suffixes(Keyspace::KeyChanges, circle.as_bytes())?;
        let mut from = Some(Vec::new());
        while let Some(start) = from {
            let (records, next) = desk.store.page(Keyspace::Entries, circle.as_bytes(), &start, REBUILD_BYTES)?;
            for (suffix, bytes) in records {
                let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
                let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
                places.push(Place { hour: envelope.hour, id });
                if commits.contains(&suffix) {
                    guides.push(Place { hour: envelope.hour, id });
                }
                if envelope.tag.is_lasting() {
                    *lasting.entry(envelope.tag).or_default() += 1;
                }
            }
            from = next;
        }
        places.sort_unstable();
        guides.sort_unstable();
        let entries = Tree::build(entries_of(circle), &places, &mut desk.shelf())?;
        let guides = Tree::build(guides_of(circle), &guides, &mut desk.shelf())?;
        for suffix in desk.store.suffixes(Keyspace::LastingUses, circle.as_bytes())? {
            desk.remove(Key::new(Keyspace::LastingUses, circle.as_bytes(), suffix));
        }
        for (key, count) in &lasting {
            desk.put(lasting_key(circle, key), count.to_be_bytes().to_vec());
        }
        Ok(Self { circle, entries, guides, lasting })
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.entries.total().count).unwrap_or(usize::MAX)
    }

    /// Whether both hold the same, by their own account.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.entries.total() == other.entries.total() && self.lasting == other.lasting
    }

    /// Takes an entry in; nothing happens if it is there.
    pub(crate) fn insert(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        let place = Place { hour: envelope.hour, id: envelope.id };
        if self.entries.insert(place, &mut desk.shelf())? && envelope.tag.is_lasting() {
            let count = self.lasting.entry(envelope.tag).or_default();
            *count += 1;
            desk.put(lasting_key(self.circle, &envelope.tag), count.to_be_bytes().to_vec());
        }
        Ok(())
    }

    /// Takes out an entry that is sealed with a key that does not last.
    pub(crate) fn remove_fleeting(&mut self, hour: u32, id: EntryId, desk: &mut Desk) -> Result<(), EngineError> {
        self.guides.remove(&Place { hour, id }, &mut desk.shelf())?;
        self.entries.remove(&Place { hour, id }, &mut desk.shelf()).map(drop)
    }

    /// Takes out any entry.
    pub(crate) fn remove(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        let place = Place { hour: envelope.hour, id: envelope.id };
        self.guides.remove(&place, &mut desk.shelf())?;
        if self.entries.remove(&place, &mut desk.shelf())?
            && let Some(count) = self.lasting.get_mut(&envelope.tag)
        {
            *count = count.saturating_sub(1);
            let (key, count) = (lasting_key(self.circle, &envelope.tag), *count);
            if count == 0 {
                self.lasting.remove(&envelope.tag);
                desk.remove(key);
            } else {
                desk.put(key, count.to_be_bytes().to_vec());
            }
        }
        Ok(())
    }

    pub(crate) fn contains(&self, envelope: &Envelope, desk: &mut Desk) -> Result<bool, EngineError> {
        self.entries.contains(&Place { hour: envelope.hour, id: envelope.id }, &mut desk.shelf())
    }

    /// Entries from a place on, up to an hour, in order: at most so many.
    pub(crate) fn page(
        &self,
        from: (u32, EntryId),
        until_hour: u32,
        most: usize,
        desk: &mut Desk,
    ) -> Result<Vec<(u32, EntryId)>, EngineError> {
        let shelf = &mut desk.shelf();
        let first = self.entries.before(&Cut::before(&Place { hour: from.0, id: from.1 }), shelf)?.count;
        let last = self.entries.total().count.min(first.saturating_add(most as u64));
        let mut page = Vec::new();
        for rank in first..last {
            let place = self.entries.at(rank, shelf)?.0;
            if place.hour > until_hour {
                break;
            }
            page.push((place.hour, place.id));
        }
        Ok(page)
    }

    /// The newest entries since an hour: at most so many.
    pub(crate) fn since(&self, hour: u32, most: usize, desk: &mut Desk) -> Result<Vec<EntryId>, EngineError> {
        let mut ids = Vec::new();
        let from = Cut { hour: hour.into(), id: [0; 32] };
        self.entries.walk_back(&Cut::END, &mut desk.shelf(), &mut |place| {
            let is_in = Cut::before(place) >= from && ids.len() < most;
            if is_in {
                ids.push(place.id);
            }
            is_in
        })?;
        Ok(ids)
    }

    /// Notes that an entry is one without which others mean nothing.
    pub(crate) fn note_guide(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        let place = Place { hour: envelope.hour, id: envelope.id };
        self.guides.insert(place, &mut desk.shelf()).map(drop)
    }

    /// The guides from a point on, the oldest first, at most [`GUIDES_MAX`].
    pub(crate) fn guides_since(&self, cut: &Cut, desk: &mut Desk) -> Result<Vec<EntryId>, EngineError> {
        let shelf = &mut desk.shelf();
        let first = self.guides.before(cut, shelf)?.count;
        let last = self.guides.total().count.min(first + GUIDES_MAX);
        (first..last).map(|rank| Ok(self.guides.at(rank, shelf)?.0.id)).collect()
    }

    /// Whether something here is sealed with that lasting key.
    pub(crate) fn uses_lasting(&self, key: &KeyId) -> bool {
        self.lasting.contains_key(key)
    }

    /// The first message of the side that begins.
    pub(crate) fn begin(&self, desk: &mut Desk) -> Result<Vec<u8>, EngineError> {
        reconcile::begin(&self.entries, &mut desk.shelf())
    }

    /// The answer of the other side.
    pub(crate) fn answer(&self, message: &[u8], desk: &mut Desk) -> Result<Answer, Failure> {
        reconcile::answer(&self.entries, message, &mut desk.shelf())
    }

    /// The beginner's reading of an answer.
    pub(crate) fn proceed(&self, message: &[u8], desk: &mut Desk) -> Result<Difference, Failure> {
        reconcile::proceed(&self.entries, message, &mut desk.shelf())
    }
}
