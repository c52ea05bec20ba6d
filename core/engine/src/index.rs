//! Which entries of a circle are here, in the order that set reconciliation walks them.

use negentropy::{Bound, Id, Item, Negentropy, NegentropyStorageBase};

use crate::{EntryId, Refusal};

/// The greatest reconciliation message, in bytes.
const RECONCILE_BYTES_MAX: u64 = 256 * 1024;

/// A sorted set of (hour, id).
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryIndex {
    items: Vec<Item>,
}

/// What a step of reconciliation brought to light on the side that began.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Entries that the other side lacks.
    pub(crate) have: Vec<EntryId>,
    /// Entries that are missing here.
    pub(crate) need: Vec<EntryId>,
    /// The next message, unless the two sides are through.
    pub(crate) reply: Option<Vec<u8>>,
}

impl EntryIndex {
    pub(crate) fn from_unsorted(entries: impl IntoIterator<Item = (u32, EntryId)>) -> Self {
        let mut items: Vec<Item> = entries.into_iter().map(|(hour, id)| item(hour, id)).collect();
        items.sort_unstable();
        items.dedup();
        Self { items }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn insert(&mut self, hour: u32, id: EntryId) {
        let item = item(hour, id);
        if let Err(place) = self.items.binary_search(&item) {
            self.items.insert(place, item);
        }
    }

    pub(crate) fn remove(&mut self, hour: u32, id: EntryId) {
        if let Ok(place) = self.items.binary_search(&item(hour, id)) {
            self.items.remove(place);
        }
    }

    pub(crate) fn contains(&self, hour: u32, id: EntryId) -> bool {
        self.items.binary_search(&item(hour, id)).is_ok()
    }

    /// Entries from a place on, up to an hour, in order: at most so many.
    pub(crate) fn page(&self, from: (u32, EntryId), until_hour: u32, most: usize) -> Vec<(u32, EntryId)> {
        let from = item(from.0, from.1);
        let start = self.items.partition_point(|item| *item < from);
        let entries = self.items[start..].iter().map_while(|item| {
            let hour = u32::try_from(item.timestamp).ok().filter(|hour| *hour <= until_hour)?;
            Some((hour, EntryId::from_bytes(item.id.to_bytes())))
        });
        entries.take(most).collect()
    }

    /// The first message of the side that begins.
    pub(crate) fn begin(&self) -> Vec<u8> {
        self.negentropy().initiate().expect("a fresh instance over a sorted index can begin")
    }

    /// The answer of the other side.
    pub(crate) fn answer(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.negentropy().reconcile(message).map_err(|_| Refusal::Malformed)
    }

    /// The beginner's reading of an answer.
    pub(crate) fn proceed(&self, message: &[u8]) -> Result<Difference, Refusal> {
        let mut negentropy = self.negentropy();
        negentropy.set_initiator();
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let reply = negentropy.reconcile_with_ids(message, &mut have, &mut need).map_err(|_| Refusal::Malformed)?;
        // The library collects what is needed from a hash set; a seed must replay a run exactly.
        need.sort_unstable();
        let ids = |ids: Vec<Id>| ids.into_iter().map(|id| EntryId::from_bytes(id.to_bytes())).collect();
        Ok(Difference { have: ids(have), need: ids(need), reply })
    }

    fn negentropy(&self) -> Negentropy<'_, Self> {
        Negentropy::borrowed(self, RECONCILE_BYTES_MAX).expect("the frame limit is above the library's least")
    }
}

fn item(hour: u32, id: EntryId) -> Item {
    Item::with_timestamp_and_id(u64::from(hour), Id::from_byte_array(*id.as_bytes()))
}

impl NegentropyStorageBase for EntryIndex {
    fn size(&self) -> Result<usize, negentropy::Error> {
        Ok(self.items.len())
    }

    fn get_item(&self, i: usize) -> Result<Option<Item>, negentropy::Error> {
        Ok(self.items.get(i).copied())
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, negentropy::Error>,
    ) -> Result<(), negentropy::Error> {
        let items = self.items.get(begin..end).ok_or(negentropy::Error::BadRange)?;
        for (offset, item) in items.iter().enumerate() {
            if !visit(*item, begin + offset)? {
                break;
            }
        }
        Ok(())
    }

    fn find_lower_bound(&self, first: usize, last: usize, bound: &Bound) -> usize {
        first + self.items[first..last].partition_point(|item| *item < bound.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> EntryId {
        EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    #[test]
    fn two_sides_learn_exactly_what_each_lacks() {
        let left = EntryIndex::from_unsorted((0..5_000).map(|n| (n / 100, id(n))));
        let right = EntryIndex::from_unsorted((200..5_100).filter(|n| n % 1_000 != 7).map(|n| (n / 100, id(n))));
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut message = left.begin();
        loop {
            let answer = right.answer(&message).expect("an honest message");
            let step = left.proceed(&answer).expect("an honest answer");
            have.extend(step.have);
            need.extend(step.need);
            match step.reply {
                Some(next) => message = next,
                None => break,
            }
        }
        have.sort_unstable();
        need.sort_unstable();
        let mut lacking: Vec<_> = (0..200).chain([1_007, 2_007, 3_007, 4_007]).map(id).collect();
        lacking.sort_unstable();
        let mut missing: Vec<_> = (5_000..5_100).filter(|n| n % 1_000 != 7).map(id).collect();
        missing.sort_unstable();
        assert_eq!((have, need), (lacking, missing));
    }

    #[test]
    fn garbage_is_refused() {
        let index = EntryIndex::from_unsorted((0..10).map(|n| (1, id(n))));
        for garbage in [&b""[..], b"\x61", b"\x61\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x61\x01\x00\x02\xff\xff"]
        {
            let answer = index.answer(garbage);
            assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.len() <= 64), "{garbage:?}");
        }
        assert_eq!(index.proceed(b"nonsense").unwrap_err(), Refusal::Malformed);
    }
}
