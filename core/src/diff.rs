//! How an observed list changes.

use std::collections::BTreeSet;

/// One step from the former state of a list to the next. Steps apply one after the other; the first ever is a
/// [`Reset`](Self::Reset), so that the state at the beginning arrives by the same path as every later change. Whoever shows the list has to do
/// every kind of step, so the compiler says when there is a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListDiff<T> {
    /// Forget what you have: this is the list.
    Reset(Vec<T>),
    /// Put these behind the last.
    Append(Vec<T>),
    /// Put this before what stands at the index.
    Insert {
        /// Where.
        index: usize,
        /// What.
        item: T,
    },
    /// Replace what stands at the index.
    Set {
        /// Where.
        index: usize,
        /// By what.
        item: T,
    },
    /// Take out what stands at the index.
    Remove {
        /// Where.
        index: usize,
    },
}

impl<T: Clone> ListDiff<T> {
    /// Does this step to `list`.
    ///
    /// # Panics
    /// If the list is not the one that the step was made for.
    pub fn apply(self, list: &mut Vec<T>) {
        match self {
            Self::Reset(items) => *list = items,
            Self::Append(items) => list.extend(items),
            Self::Insert { index, item } => list.insert(index, item),
            Self::Set { index, item } => list[index] = item,
            Self::Remove { index } => {
                list.remove(index);
            }
        }
    }
}

/// The steps from `old` to `new`, both strictly ascending by `key`.
pub(crate) fn diff<T: Clone + PartialEq, K: Ord>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Vec<ListDiff<T>> {
    let mut steps = Vec::new();
    let (mut before, mut index) = (old.iter().peekable(), 0);
    for (place, item) in new.iter().enumerate() {
        while before.next_if(|gone| key(gone) < key(item)).is_some() {
            steps.push(ListDiff::Remove { index });
        }
        match before.next_if(|known| key(known) == key(item)) {
            Some(known) if known == item => {}
            Some(_) => steps.push(ListDiff::Set { index, item: item.clone() }),
            None if before.peek().is_none() => {
                steps.push(ListDiff::Append(new[place..].to_vec()));
                return steps;
            }
            None => steps.push(ListDiff::Insert { index, item: item.clone() }),
        }
        index += 1;
    }
    steps.extend(before.map(|_| ListDiff::Remove { index }));
    steps
}

/// The steps from `old` to `new`, in any order, where `key` names each item once. What moved is taken out and put in again.
pub(crate) fn diff_any<T: Clone + PartialEq, K: Ord>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Vec<ListDiff<T>> {
    let (mut steps, mut list) = (Vec::new(), old.to_vec());
    let kept: BTreeSet<K> = new.iter().map(&key).collect();
    for index in (0..list.len()).rev().filter(|index| !kept.contains(&key(&old[*index]))) {
        list.remove(index);
        steps.push(ListDiff::Remove { index });
    }
    let known: BTreeSet<K> = old.iter().map(&key).collect();
    for (index, item) in new.iter().enumerate() {
        if index == list.len() && new[index..].iter().all(|item| !known.contains(&key(item))) {
            steps.push(ListDiff::Append(new[index..].to_vec()));
            break;
        }
        match list[index..].iter().position(|before| key(before) == key(item)) {
            Some(0) if list[index] == *item => continue,
            Some(0) => {
                list[index] = item.clone();
                steps.push(ListDiff::Set { index, item: item.clone() });
                continue;
            }
            Some(further) => {
                list.remove(index + further);
                steps.push(ListDiff::Remove { index: index + further });
            }
            None => {}
        }
        list.insert(index, item.clone());
        steps.push(ListDiff::Insert { index, item: item.clone() });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &[(u8, char)], new: &[(u8, char)]) -> usize {
        let steps = diff(old, new, |item| item.0);
        let count = steps.len();
        let mut list = old.to_vec();
        steps.into_iter().for_each(|step| step.apply(&mut list));
        assert_eq!(list, new);
        count
    }

    #[test]
    fn steps_lead_from_one_state_to_the_next() {
        assert_eq!(check(&[], &[(1, 'a'), (2, 'b')]), 1);
        assert_eq!(check(&[(1, 'a')], &[(1, 'a')]), 0);
        assert_eq!(check(&[(1, 'a'), (3, 'c')], &[(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')]), 2);
        assert_eq!(check(&[(1, 'a'), (2, 'b'), (3, 'c')], &[(2, 'x')]), 3);
        assert_eq!(check(&[(2, 'b'), (3, 'c')], &[(1, 'a')]), 3);
        assert_eq!(check(&[(1, 'a')], &[]), 1);
    }

    #[test]
    fn steps_lead_from_any_order_to_any_other() {
        let lists: [&[(u8, char)]; 7] = [
            &[],
            &[(1, 'a'), (2, 'b'), (3, 'c')],
            &[(3, 'c'), (1, 'a'), (2, 'b')],
            &[(3, 'x'), (4, 'd')],
            &[(4, 'd'), (3, 'c'), (2, 'b'), (1, 'a')],
            &[(2, 'b')],
            &[(5, 'e'), (1, 'z'), (6, 'f')],
        ];
        for (old, new) in lists.iter().flat_map(|old| lists.iter().map(move |new| (old, new))) {
            let steps = diff_any(old, new, |item| item.0);
            assert_eq!(steps.is_empty(), old == new);
            let mut list = old.to_vec();
            steps.into_iter().for_each(|step| step.apply(&mut list));
            assert_eq!(list, *new, "from {old:?}");
        }
        let moved = diff_any(&[(1, 'a'), (2, 'b'), (3, 'c')], &[(3, 'c'), (1, 'a'), (2, 'b')], |item| item.0);
        assert_eq!(moved.len(), 2, "one moved: {moved:?}");
    }
}
