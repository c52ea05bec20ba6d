//! Sets of operations that are closed under "happened before".

/// A set of indices into the log, in practice all up to some point and a few after it.
///
/// Everything below `floor × 64` is in; from there on one bit each. A log without concurrency costs one word per
/// operation, the worst one bit for each pair of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    floor: usize,
    words: Vec<u64>,
}

const BITS: usize = u64::BITS as usize;

impl Past {
    /// The first `count` operations.
    pub(crate) fn first(count: usize) -> Self {
        let partial = (1_u64 << (count % BITS)) - 1;
        Self { floor: count / BITS, words: if partial == 0 { Vec::new() } else { vec![partial] } }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        let word = index / BITS;
        word < self.floor || self.words.get(word - self.floor).is_some_and(|bits| bits >> (index % BITS) & 1 == 1)
    }

    /// All operations below this index are in.
    pub(crate) fn all_below(&self) -> usize {
        self.floor * BITS
    }

    /// No operation from this index on is in.
    pub(crate) fn end(&self) -> usize {
        (self.floor + self.words.len()) * BITS
    }

    pub(crate) fn insert(&mut self, index: usize) {
        let word = index / BITS;
        if word < self.floor {
            return;
        }
        let offset = word - self.floor;
        if self.words.len() <= offset {
            self.words.resize(offset + 1, 0);
        }
        self.words[offset] |= 1 << (index % BITS);
        self.raise_floor();
    }

    pub(crate) fn union(&mut self, other: &Self) {
        if other.floor > self.floor {
            let covered = (other.floor - self.floor).min(self.words.len());
            self.words.drain(..covered);
            self.floor = other.floor;
        }
        let offset = self.floor - other.floor;
        for (index, bits) in other.words.iter().skip(offset).enumerate() {
            match self.words.get_mut(index) {
                Some(word) => *word |= bits,
                None => self.words.push(*bits),
            }
        }
        self.raise_floor();
    }

    fn raise_floor(&mut self) {
        let full = self.words.iter().take_while(|bits| **bits == u64::MAX).count();
        self.words.drain(..full);
        self.floor += full;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(
            a in proptest::collection::btree_set(0_usize..300, 0..200),
            b in proptest::collection::btree_set(0_usize..300, 0..200),
            first in 0_usize..300,
        ) {
            let collect = |set: &BTreeSet<usize>| {
                let mut past = Past::first(first);
                set.iter().for_each(|index| past.insert(*index));
                past
            };
            let mut union = collect(&a);
            let mut other = Past::default();
            b.iter().for_each(|index| other.insert(*index));
            let mut reverse = other.clone();
            reverse.union(&union);
            union.union(&other);
            prop_assert_eq!(&union, &reverse);
            for index in 0..400 {
                prop_assert_eq!(union.contains(index), index < first || a.contains(&index) || b.contains(&index));
            }
            prop_assert!((union.end()..400).all(|index| !union.contains(index)));
            prop_assert!((0..union.all_below()).all(|index| union.contains(index)));
        }
    }
}
