//! Entries that wait for a key or an operation.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceId, KeyId};

use crate::{EntryId, OperationId};

/// The most entries of one circle that may wait.
pub const HELD_ENTRIES_MAX: usize = 20_000;
/// The most bytes of entries of one circle that may wait.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What an entry waits for. It is judged again once that is there, and not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaits {
    /// The key it is sealed with.
    Key(KeyId),
    /// For changes: that the key it is sealed with may be handed on.
    FreeKey(KeyId),
    /// The operation that added its author.
    Author(DeviceId),
    /// For a commit: something that it follows.
    Operation(OperationId),
    /// For that commit: what it follows of the space's log.
    Space(EntryId),
    /// The next time that the circle is opened, perhaps by a newer version.
    Opening,
}

/// The peer that brought an entry; none for what was here when the circle was opened.
pub(super) type Bringer = Option<DeviceId>;

/// What each entry waits for, its size, and who brought it.
#[derive(Default)]
pub(super) struct Held {
    entries: BTreeMap<EntryId, (Awaits, usize, Bringer)>,
    by_cause: BTreeMap<Awaits, BTreeSet<EntryId>>,
    by_bringer: BTreeMap<Bringer, (usize, BTreeSet<EntryId>)>,
    bytes: usize,
    /// Changes with what anything waits for.
    version: u64,
}

impl Held {
    /// Changes with what anything waits for.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, id: &EntryId) -> bool {
        self.entries.contains_key(id)
    }

    /// Whether anything waits for a key.
    pub(super) fn lacks_keys(&self) -> bool {
        self.lacked().next().is_some()
    }

    fn lacked(&self) -> impl Iterator<Item = KeyId> {
        // These are the first of all that is waited for.
        self.by_cause.keys().map_while(|awaits| match awaits {
            Awaits::Key(tag) | Awaits::FreeKey(tag) => Some(*tag),
            _ => None,
        })
    }

    /// Whether anything waits for that key.
    pub(super) fn waits_for_key(&self, tag: KeyId) -> bool {
        [Awaits::Key(tag), Awaits::FreeKey(tag)].iter().any(|awaits| self.by_cause.contains_key(awaits))
    }

    /// Keys that something waits for: at most so many, those behind `after` first.
    pub(super) fn lacking(&self, after: Option<KeyId>, most: usize) -> Vec<KeyId> {
        let all: BTreeSet<KeyId> = self.lacked().collect();
        let behind = all.iter().filter(|tag| after.is_none_or(|after| **tag > after));
        let before = all.iter().filter(|tag| after.is_some_and(|after| **tag <= after));
        behind.chain(before).take(most).copied().collect()
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.entries.len() < HELD_ENTRIES_MAX && self.bytes + bytes <= HELD_BYTES_MAX
    }

    /// The entry that makes room for one that `bringer` brings: of whoever takes up most, unless that is `bringer`.
    pub(super) fn makes_room_for(&self, bringer: Bringer) -> Option<EntryId> {
        let share = |whose: &Bringer| {
            self.by_bringer.get(whose).map_or(0, |(bytes, ids)| {
                // Places and bytes are equally scarce.
                let of_places = ids.len() * (HELD_BYTES_MAX / HELD_ENTRIES_MAX);
                of_places.max(*bytes)
            })
        };
        let greatest = self.by_bringer.keys().max_by_key(|whose| share(whose))?;
        let (_, ids) = &self.by_bringer[greatest];
        (*greatest != bringer && share(greatest) > share(&bringer)).then(|| ids.last().copied()).flatten()
    }

    /// Has an entry wait; one that waits already, perhaps for something else than before.
    pub(super) fn insert(&mut self, id: EntryId, awaits: Awaits, bytes: usize, bringer: Bringer) {
        let before = self.entries.get(&id).map(|(_, _, bringer)| *bringer);
        let bringer = before.unwrap_or(bringer);
        self.remove(&id);
        self.entries.insert(id, (awaits, bytes, bringer));
        let causes = self.by_cause.len();
        self.by_cause.entry(awaits).or_default().insert(id);
        self.version += u64::from(self.by_cause.len() != causes);
        let (share, ids) = self.by_bringer.entry(bringer).or_default();
        *share += bytes;
        ids.insert(id);
        self.bytes += bytes;
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: &EntryId) -> bool {
        let Some((awaits, bytes, bringer)) = self.entries.remove(id) else { return false };
        self.bytes -= bytes;
        if let Some((share, ids)) = self.by_bringer.get_mut(&bringer) {
            *share -= bytes;
            ids.remove(id);
            if ids.is_empty() {
                self.by_bringer.remove(&bringer);
            }
        }
        if let Some(ids) = self.by_cause.get_mut(&awaits) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_cause.remove(&awaits);
                self.version += 1;
            }
        }
        true
    }

    /// The entries that wait for something that is there, in order of id.
    pub(super) fn ready(&self, is_there: impl Fn(&Awaits) -> bool) -> BTreeSet<EntryId> {
        self.by_cause.iter().filter(|(awaits, _)| is_there(awaits)).flat_map(|(_, ids)| ids).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_is_bounded_in_number_and_in_bytes() {
        let (tag, id) = (Awaits::Key(KeyId::from_bytes([1; 16])), |n: u32| {
            EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
        });
        let mut held = Held::default();
        held.insert(id(0), tag, HELD_BYTES_MAX - 1, None);
        held.insert(id(0), tag, HELD_BYTES_MAX - 1, None);
        assert!(held.has_room_for(1) && !held.has_room_for(2));
        assert!(held.remove(&id(0)) && !held.remove(&id(0)));
        for n in 0..u32::try_from(HELD_ENTRIES_MAX).expect("it is small") {
            assert!(held.has_room_for(1));
            held.insert(id(n), tag, 1, None);
        }
        assert!(!held.has_room_for(1));
    }

    #[test]
    fn an_entry_waits_for_what_it_was_last_said_to() {
        let (one, other) = (Awaits::Key(KeyId::from_bytes([1; 16])), Awaits::Key(KeyId::from_bytes([2; 16])));
        let id = EntryId::from_bytes([3; 32]);
        let mut held = Held::default();
        held.insert(id, one, 10, None);
        held.insert(id, other, 10, None);
        assert_eq!(held.ready(|awaits| *awaits == one), BTreeSet::new());
        assert_eq!(held.ready(|awaits| *awaits == other), BTreeSet::from([id]));
        assert!(held.remove(&id) && held.by_cause.is_empty() && held.bytes == 0);
    }

    #[test]
    fn whoever_takes_up_most_makes_room() {
        let tag = Awaits::Key(KeyId::from_bytes([1; 16]));
        let (many, few) = (Some(DeviceId::from_bytes([1; 32])), Some(DeviceId::from_bytes([2; 32])));
        let id = |n: u8| EntryId::from_bytes([n; 32]);
        let mut held = Held::default();
        assert_eq!(held.makes_room_for(few), None);
        for n in 0..3 {
            held.insert(id(n), tag, 1, many);
        }
        held.insert(id(9), tag, 1, few);
        assert_eq!(held.makes_room_for(few), Some(id(2)));
        assert_eq!(held.makes_room_for(many), None);
        // Whoever brings it again has not brought it first.
        held.insert(id(9), tag, 1, many);
        assert_eq!(held.makes_room_for(few), Some(id(2)));
        // Bytes count as places do.
        held.insert(id(8), tag, HELD_BYTES_MAX / 2, few);
        assert_eq!(held.makes_room_for(many), Some(id(9)));
        for n in [0, 1, 2, 8, 9] {
            held.remove(&id(n));
        }
        assert!(held.by_bringer.is_empty());
    }
}
