//! Which keys lead to which, kept up to date: a circle lives through thousands of epochs, and the question which keys are
//! out of reach is asked at every commit.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{EpochId, KeyId};

/// What whoever has the keys of one head can find by what was handed over.
#[derive(Default)]
pub(super) struct Reach {
    /// By key, those that were handed over under it.
    handed_over: BTreeMap<KeyId, BTreeSet<KeyId>>,
    /// From which head this was found; none if it must be found anew.
    head: Option<EpochId>,
    within: BTreeSet<KeyId>,
    beyond: BTreeSet<KeyId>,
    /// Of those within, the keys of what the head descends from that whoever has nothing but the head's key does not find:
    /// somebody committed and did not hand over the key before. Newest first, each as though those before it were found.
    unlinked: BTreeSet<KeyId>,
    /// Whether one of those may be found by now in a roundabout way.
    doubtful: bool,
    /// The head's own key.
    head_key: Option<KeyId>,
}

impl Reach {
    /// Notes a key that was not there before.
    pub(super) fn add(&mut self, id: KeyId) {
        if !self.within.contains(&id) {
            self.beyond.insert(id);
        }
    }

    /// Notes that a key was handed over under another.
    pub(super) fn hand_over(&mut self, id: KeyId, under: KeyId) {
        self.handed_over.entry(under).or_default().insert(id);
        if self.head_key == Some(under) {
            self.unlinked.remove(&id);
        }
        // More can only be found than before: that none is left to be found needs no second look.
        self.doubtful = !self.unlinked.is_empty();
        if self.within.contains(&under) {
            self.spread(vec![id]);
        }
    }

    /// Has what was found so far be found anew: what an epoch's own key is has changed.
    pub(super) fn forget(&mut self) {
        self.head = None;
    }

    /// The keys that are out of reach of whoever has those of `line`: a head, and what it descends from. `key_of` says
    /// the own key of each epoch.
    pub(super) fn beyond(
        &mut self,
        mut line: impl Iterator<Item = EpochId>,
        key_of: impl Fn(EpochId) -> Option<KeyId>,
    ) -> Vec<KeyId> {
        let Some(head) = line.next() else { return self.within.union(&self.beyond).copied().collect() };
        if std::mem::take(&mut self.doubtful) {
            self.forget();
        }
        if self.head != Some(head) {
            let parent = line.next();
            self.head_key = key_of(head);
            // One commit further is the rule, and a new key leads nowhere yet; another branch is the exception.
            let is_new = self.head_key.is_none_or(|id| !self.handed_over.contains_key(&id));
            if self.head.is_some() && self.head == parent && (is_new || self.unlinked.is_empty()) {
                let before = parent.and_then(&key_of);
                self.unlinked.extend(before.filter(|id| !self.leads_to(*id)));
                self.spread(self.head_key.into_iter().collect());
            } else {
                self.beyond.append(&mut self.within);
                self.unlinked.clear();
                self.spread(self.head_key.into_iter().collect());
                for id in parent.into_iter().chain(line).filter_map(key_of) {
                    if !self.within.contains(&id) {
                        self.unlinked.insert(id);
                        self.spread(vec![id]);
                    }
                }
            }
            self.head = Some(head);
        }
        self.beyond.iter().copied().collect()
    }

    /// Of what the head descends from, as of the last call of [`beyond`](Self::beyond), the keys that whoever is welcomed
    /// into the head does not find.
    pub(super) fn unlinked(&self) -> impl Iterator<Item = KeyId> {
        self.unlinked.iter().copied()
    }

    /// Whether the head's own key leads to another. A new one leads to few, if not to the one before.
    fn leads_to(&self, id: KeyId) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), Vec::from_iter(self.head_key));
        while let Some(key) = next.pop() {
            let handed_over = self.handed_over.get(&key);
            if key == id || handed_over.is_some_and(|handed_over| handed_over.contains(&id)) {
                return true;
            }
            if seen.insert(key) {
                next.extend(handed_over.into_iter().flatten());
            }
        }
        false
    }

    fn spread(&mut self, mut next: Vec<KeyId>) {
        while let Some(id) = next.pop() {
            if self.within.insert(id) {
                self.beyond.remove(&id);
                next.extend(self.handed_over.get(&id).into_iter().flatten());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(number: u8) -> EpochId {
        EpochId::from_bytes([number; 32])
    }

    fn key(number: u8) -> KeyId {
        KeyId::from_bytes([number; 16])
    }

    /// The same, from scratch.
    fn anew(keys: &BTreeSet<u8>, handed_over: &[(u8, u8)], line: &[u8]) -> Vec<KeyId> {
        let mut within: BTreeSet<u8> = line.iter().copied().filter(|number| keys.contains(number)).collect();
        while let Some((id, _)) = handed_over.iter().find(|(id, under)| within.contains(under) && !within.contains(id))
        {
            within.insert(*id);
        }
        keys.difference(&within).map(|number| key(*number)).collect()
    }

    /// The keys of a line that are not found from its head's, from scratch.
    fn unlinked_anew(keys: &BTreeSet<u8>, handed_over: &[(u8, u8)], line: &[u8]) -> Vec<KeyId> {
        let mut unlinked = BTreeSet::new();
        let mut found: Vec<u8> = line[..1].to_vec();
        for number in line[1..].iter().filter(|number| keys.contains(number)) {
            let beyond = anew(keys, handed_over, &found);
            if beyond.contains(&key(*number)) {
                unlinked.insert(key(*number));
                found.push(*number);
            }
        }
        unlinked.into_iter().collect()
    }

    #[test]
    fn a_key_that_leads_round_to_itself_is_not_found() {
        let mut reach = Reach::default();
        (1..4).for_each(|number| reach.add(key(number)));
        let key_of = |at: EpochId| Some(key(at.as_bytes()[0]));
        let line = || [3, 2, 1].into_iter().map(epoch);
        // 3 descends from 2, whose key nobody handed over; 2 leads to 1.
        reach.hand_over(key(1), key(2));
        assert!(reach.beyond(line(), key_of).is_empty());
        assert_eq!(reach.unlinked().collect::<Vec<_>>(), [key(2)]);
        reach.hand_over(key(2), key(1));
        assert!(reach.beyond(line(), key_of).is_empty());
        assert_eq!(reach.unlinked().collect::<Vec<_>>(), [key(2)]);
        reach.hand_over(key(2), key(3));
        assert!(reach.beyond(line(), key_of).is_empty());
        assert_eq!(reach.unlinked().count(), 0);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_comes_out_anew(
            parents in proptest::collection::vec(any::<proptest::sample::Index>(), 1..40),
            steps in proptest::collection::vec((0_u8..4, 0_u8..40, 0_u8..40), 0..120),
        ) {
            // Epoch n follows one of those before it; its own key is key n, once that is known.
            let parent = |number: u8| {
                (number > 0).then(|| parents[(usize::from(number) - 1) % parents.len()].index(usize::from(number)))
            };
            let line = |head: u8| {
                std::iter::successors(Some(head), |number| parent(*number).map(|at| u8::try_from(at).expect("small")))
            };
            let (mut reach, mut keys, mut handed_over) = (Reach::default(), BTreeSet::new(), Vec::new());
            for (what, one, other) in steps {
                match what {
                    // As the keyring does: an epoch's key may become known after one descends from it.
                    0 if keys.insert(one) => {
                        reach.add(key(one));
                        reach.forget();
                    }
                    1 if keys.contains(&one) && one != other => {
                        reach.hand_over(key(one), key(other));
                        handed_over.push((one, other));
                    }
                    _ => {}
                }
                let key_of = |at: EpochId| Some(at.as_bytes()[0]).filter(|at| keys.contains(at)).map(key);
                let head = if what == 2 { one } else { other };
                prop_assert_eq!(
                    reach.beyond(line(head).map(epoch), key_of),
                    anew(&keys, &handed_over, &line(head).collect::<Vec<_>>())
                );
                prop_assert_eq!(
                    reach.unlinked().collect::<Vec<_>>(),
                    unlinked_anew(&keys, &handed_over, &line(head).collect::<Vec<_>>())
                );
                // One commit further, and back to where it was.
                for head in (0..40).filter(|child| parent(*child) == Some(usize::from(head))).chain([head]) {
                    prop_assert_eq!(
                        reach.beyond(line(head).map(epoch), key_of),
                        anew(&keys, &handed_over, &line(head).collect::<Vec<_>>())
                    );
                    prop_assert_eq!(
                        reach.unlinked().collect::<Vec<_>>(),
                        unlinked_anew(&keys, &handed_over, &line(head).collect::<Vec<_>>())
                    );
                }
            }
        }
    }
}
