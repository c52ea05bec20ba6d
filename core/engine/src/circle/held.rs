//! Entries that wait for a key, an operation or an epoch.

use std::collections::BTreeMap;

use clave_crypto::KeyId;

use crate::EntryId;

/// The most entries of one circle that may wait.
pub const HELD_ENTRIES_MAX: usize = 20_000;
/// The most bytes of entries of one circle that may wait: whatever unlocks one of them has many looked at again.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The tag and size of each entry that waits.
#[derive(Default)]
pub(super) struct Held {
    entries: BTreeMap<EntryId, (KeyId, usize)>,
    bytes: usize,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, id: &EntryId) -> bool {
        self.entries.contains_key(id)
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.entries.len() < HELD_ENTRIES_MAX && self.bytes + bytes <= HELD_BYTES_MAX
    }

    pub(super) fn insert(&mut self, id: EntryId, tag: KeyId, bytes: usize) {
        if self.entries.insert(id, (tag, bytes)).is_none() {
            self.bytes += bytes;
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: &EntryId) -> bool {
        let removed = self.entries.remove(id);
        self.bytes -= removed.map_or(0, |(_, bytes)| bytes);
        removed.is_some()
    }

    /// In order of id, with their tags.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&EntryId, &KeyId)> {
        self.entries.iter().map(|(id, (tag, _))| (id, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_is_bounded_in_number_and_in_bytes() {
        let (tag, id) =
            (KeyId::from_bytes([1; 16]), |n: u32| EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes()));
        let mut held = Held::default();
        held.insert(id(0), tag, HELD_BYTES_MAX - 1);
        held.insert(id(0), tag, HELD_BYTES_MAX - 1);
        assert!(held.has_room_for(1) && !held.has_room_for(2));
        assert!(held.remove(&id(0)) && !held.remove(&id(0)));
        for n in 0..u32::try_from(HELD_ENTRIES_MAX).expect("it is small") {
            assert!(held.has_room_for(1));
            held.insert(id(n), tag, 1);
        }
        assert!(!held.has_room_for(1));
    }
}
