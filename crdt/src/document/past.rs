//! What a change may build on: its own causal past, and nothing else.
//!
//! A change that names an operation which its dependencies do not include would fit the documents of those who
//! happen to have that operation, and not those of others. So it is refused by everyone.

use std::collections::BTreeMap;

use automerge::legacy::{ElementId, Key, ObjectId, OpId};
use automerge::{AutoCommit, Change, ExpandedChange};

use super::Tip;
use crate::change::ChangeHash;
use crate::contained::contained;
use crate::{Actor, ChangeFault};

/// For each author, the last operation that is included.
type Clock = BTreeMap<Actor, u64>;

/// What the changes of one batch can see.
pub(super) struct Past {
    /// The last operation of each author, in the document or among what waits to enter it.
    reach: Clock,
    /// The last operation of each author in the document before the batch.
    start: Clock,
    /// What each change can see, itself included.
    clocks: BTreeMap<ChangeHash, Clock>,
}

impl Past {
    /// Before a batch. `None` if none of it names operations of others, for then there is nothing to look after.
    pub(super) fn new<'a>(
        tips: &BTreeMap<Actor, Tip>,
        batch: impl Iterator<Item = &'a Change> + Clone,
    ) -> Option<Self> {
        if batch.clone().all(|change| change.other_actor_ids().is_empty()) {
            return None;
        }
        let start: Clock = tips.iter().map(|(actor, tip)| (*actor, tip.last_operation)).collect();
        let mut reach = start.clone();
        for change in batch {
            if let Some(author) = Actor::from_automerge(change.actor_id()) {
                let last = reach.entry(author).or_default();
                *last = change.max_op().max(*last);
            }
        }
        Some(Self { reach, start, clocks: BTreeMap::new() })
    }

    /// Checks that a change names only operations that its dependencies include. To be called in causal order.
    pub(super) fn check(&mut self, doc: &mut AutoCommit, author: Actor, change: &Change) -> Result<(), ChangeFault> {
        let mut clock = Clock::new();
        for dep in change.deps() {
            let seen = self.clocks.entry(dep.0).or_insert_with(|| clock_of(doc, &self.start, *dep));
            for (actor, last) in seen.iter() {
                let entry = clock.entry(*actor).or_default();
                *entry = (*entry).max(*last);
            }
        }
        let sees = |actor: &Actor, counter| clock.get(actor).is_some_and(|last| counter <= *last);
        let mut others = change.other_actor_ids().iter().filter_map(Actor::from_automerge);
        let is_concurrent = others.any(|other| self.reach.get(&other).is_none_or(|last| !sees(&other, *last)));
        if is_concurrent {
            let is_seen =
                |id: &OpId| Actor::from_automerge(&id.1).is_some_and(|actor| actor == author || sees(&actor, id.0));
            // Automerge decodes some changes that it cannot then unfold.
            let all_seen = contained(|| named(change)).is_some_and(|named| named.iter().all(is_seen));
            if !all_seen {
                return Err(ChangeFault::Operations);
            }
        }
        clock.insert(author, change.max_op());
        self.clocks.insert(change.hash().0, clock);
        Ok(())
    }
}

/// What a change that is in the document can see: all that is there, less what is not in its past.
fn clock_of(doc: &mut AutoCommit, start: &Clock, hash: automerge::ChangeHash) -> Clock {
    let mut clock = start.clone();
    for meta in doc.get_changes_meta(&[hash]) {
        if let Some(last) = Actor::from_automerge(&meta.actor).and_then(|actor| clock.get_mut(&actor)) {
            *last = (*last).min(meta.start_op - 1);
        }
    }
    clock
}

/// Every operation that a change names: the objects it writes to, the elements it points at, what it replaces.
fn named(change: &Change) -> Vec<OpId> {
    let operations = ExpandedChange::from(change).operations;
    let names = operations.into_iter().flat_map(|op| {
        let object = match op.obj {
            ObjectId::Id(id) => Some(id),
            ObjectId::Root => None,
        };
        let element = match op.key {
            Key::Seq(ElementId::Id(id)) => Some(id),
            _ => None,
        };
        object.into_iter().chain(element).chain(op.pred.iter().cloned().collect::<Vec<_>>())
    });
    names.collect()
}
