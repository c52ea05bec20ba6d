//! The tree of epochs of one circle, and the content keys that belong to them.
//!
//! MLS wants one order of commits and peers have none, so every commit that follows the membership log is kept,
//! as a child of the epoch it starts from. All devices choose the same head among the tips by one rule
//! ([`Group::choose_head`]) that looks at no clock and no arrival order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, KeyId};

use crate::OperationId;

/// The epochs that this device is or was in, by id. That one follows another was checked when the commit between them was
/// processed; what others say of epochs that this device is not in counts for nothing.
pub(crate) struct Group {
    nodes: BTreeMap<EpochId, Node>,
    head: EpochId,
}

struct Node {
    /// None for the first epoch, and for one that this device was welcomed into.
    parent: Option<EpochId>,
    checkpoint: Checkpoint,
    /// The operations that a Welcome cites. The epoch is judged by the log, so not before they are in it.
    after: Vec<OperationId>,
}

impl Group {
    pub(crate) fn new(parent: Option<EpochId>, first: Checkpoint, after: Vec<OperationId>) -> Self {
        let head = first.epoch;
        Self { nodes: BTreeMap::from([(head, Node { parent, checkpoint: first, after })]), head }
    }

    pub(crate) fn insert(&mut self, parent: Option<EpochId>, checkpoint: Checkpoint, after: Vec<OperationId>) {
        self.nodes.entry(checkpoint.epoch).or_insert(Node { parent, checkpoint, after });
    }

    pub(crate) fn head(&self) -> &Checkpoint {
        self.get(&self.head).expect("the head is an epoch this device is in")
    }

    /// The state of an epoch this device is in.
    pub(crate) fn get(&self, epoch: &EpochId) -> Option<&Checkpoint> {
        Some(&self.nodes.get(epoch)?.checkpoint)
    }

    /// The epochs this device is in and that none such follows.
    pub(crate) fn tips(&self) -> impl Iterator<Item = &Checkpoint> {
        let parents: BTreeSet<EpochId> = self.nodes.values().filter_map(|node| node.parent).collect();
        let tips = self.nodes.iter().filter(move |(epoch, _)| !parents.contains(epoch));
        tips.map(|(_, node)| &node.checkpoint)
    }

    /// `epoch` and what it descends from, newest first, as far as this device was there.
    pub(crate) fn line_of(&self, epoch: EpochId) -> impl Iterator<Item = EpochId> {
        std::iter::successors(Some(epoch), |epoch| self.nodes.get(epoch)?.parent)
    }

    /// Moves the head to the tip that has the fewest leaves that the log has removed, then the greatest depth, then
    /// the least id; those that cite operations which are not here come last. Returns the former head if it changed.
    ///
    /// A branch that executed a removal beats any longer one that did not, so nobody who was removed wins by
    /// committing much.
    pub(crate) fn choose_head(
        &mut self,
        is_current: impl Fn(&DeviceId) -> bool,
        is_here: impl Fn(&OperationId) -> bool,
    ) -> Option<EpochId> {
        let rank = |tip: &Checkpoint| {
            let early = !self.nodes[&tip.epoch].after.iter().all(&is_here);
            let removed = tip.leaves.iter().filter(|leaf| !is_current(leaf)).count();
            (early, removed, Reverse(tip.depth), tip.epoch)
        };
        let best = self.tips().min_by_key(|tip| rank(tip)).expect("a tree has a tip").epoch;
        (best != self.head).then(|| std::mem::replace(&mut self.head, best))
    }
}

/// The content keys of a circle. They outlive the epochs they come from.
#[derive(Default)]
pub(crate) struct Keyring {
    keys: BTreeMap<KeyId, Held>,
    by_epoch: BTreeMap<EpochId, KeyId>,
    derived: usize,
}

/// A key and where it comes from.
pub(crate) struct Held {
    pub(crate) epoch: EpochId,
    pub(crate) key: ContentKey,
    /// Whether this device derived it. What others say which epoch a key belongs to never counts against that.
    pub(crate) derived: bool,
    /// The keys under which it was handed over to all who have those.
    pub(crate) under: BTreeSet<KeyId>,
    /// The operations that whoever handed it over had. Without them one may not know of whom it must be kept.
    pub(crate) after: Vec<OperationId>,
}

impl Keyring {
    /// Takes a key in, or learns more about one. Whether anything was new.
    pub(crate) fn insert(
        &mut self,
        epoch: EpochId,
        key: ContentKey,
        derived: bool,
        under: Option<KeyId>,
        after: Vec<OperationId>,
    ) -> bool {
        let id = key.key_id();
        let known = self.keys.contains_key(&id);
        let held = self.keys.entry(id).or_insert(Held {
            epoch,
            key,
            derived: false,
            under: BTreeSet::new(),
            after: after.clone(),
        });
        let mut news = !known;
        if after.is_empty() && !held.after.is_empty() {
            held.after.clear();
            news = true;
        }
        if derived {
            news |= !held.derived;
            self.derived += usize::from(!held.derived);
            (held.epoch, held.derived) = (epoch, true);
            self.by_epoch.insert(epoch, id);
        } else {
            self.by_epoch.entry(epoch).or_insert(id);
        }
        // Under itself it was handed over to nobody who did not have it.
        news | under.is_some_and(|under| under != id && held.under.insert(under))
    }

    /// How many keys were handed over and not derived.
    pub(crate) fn learned(&self) -> usize {
        self.keys.len() - self.derived
    }

    pub(crate) fn get(&self, id: &KeyId) -> Option<&ContentKey> {
        self.keys.get(id).map(|held| &held.key)
    }

    pub(crate) fn held(&self, id: &KeyId) -> Option<&Held> {
        self.keys.get(id)
    }

    pub(crate) fn of_epoch(&self, epoch: &EpochId) -> Option<&ContentKey> {
        self.get(self.by_epoch.get(epoch)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.keys.values().map(|held| (held.epoch, &held.key))
    }

    /// The keys that somebody who has those of `line` cannot find by what was handed over. What is said of the epoch of a
    /// key that was not derived here has no say in it: it would hide the key.
    pub(crate) fn out_of_reach(&self, line: impl Iterator<Item = EpochId>) -> Vec<KeyId> {
        let mut handed_over: BTreeMap<KeyId, Vec<KeyId>> = BTreeMap::new();
        for (id, held) in &self.keys {
            for under in &held.under {
                handed_over.entry(*under).or_default().push(*id);
            }
        }
        let derived = |epoch| self.by_epoch.get(&epoch).copied().filter(|id| self.keys[id].derived);
        let mut next: Vec<KeyId> = line.filter_map(derived).collect();
        let mut within = BTreeSet::new();
        while let Some(id) = next.pop() {
            if within.insert(id) {
                next.extend(handed_over.remove(&id).unwrap_or_default());
            }
        }
        self.keys.keys().filter(|id| !within.contains(id)).copied().collect()
    }
}

/// Reads an epoch id from the wire or the store.
pub(crate) fn epoch_id(bytes: &[u8]) -> Option<EpochId> {
    Some(EpochId::from_bytes(bytes.try_into().ok()?))
}
