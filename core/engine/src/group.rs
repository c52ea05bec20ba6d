//! The tree of epochs of one circle, and the content keys that belong to them.
//!
//! MLS wants one order of commits and peers have none, so every commit that follows the membership log is kept,
//! as a child of the epoch it starts from. All devices choose the same head among the tips by one rule
//! ([`Group::choose_head`]) that looks at no clock and no arrival order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, KeyId};

/// The epochs this device knows of, by id.
pub(crate) struct Group {
    nodes: BTreeMap<EpochId, Node>,
    head: EpochId,
}

struct Node {
    parent: Option<EpochId>,
    /// None for an epoch that this device is not in: before its time, on a branch without it, or after its removal.
    checkpoint: Option<Checkpoint>,
}

impl Group {
    pub(crate) fn new(parent: Option<EpochId>, first: Checkpoint) -> Self {
        let head = first.epoch;
        Self { nodes: BTreeMap::from([(head, Node { parent, checkpoint: Some(first) })]), head }
    }

    pub(crate) fn insert(&mut self, parent: Option<EpochId>, checkpoint: Checkpoint) {
        let node = self.nodes.entry(checkpoint.epoch).or_insert(Node { parent, checkpoint: None });
        node.parent = node.parent.or(parent);
        node.checkpoint.get_or_insert(checkpoint);
    }

    /// Notes that `epoch` follows `parent`. Returns those of the two about which something is new.
    pub(crate) fn link(&mut self, epoch: EpochId, parent: Option<EpochId>) -> Vec<EpochId> {
        let mut news = Vec::new();
        let node = self.nodes.entry(epoch).or_insert_with(|| {
            news.push(epoch);
            Node { parent: None, checkpoint: None }
        });
        if let (None, Some(parent)) = (node.parent, parent) {
            node.parent = Some(parent);
            if news.is_empty() {
                news.push(epoch);
            }
            news.extend(self.link(parent, None));
        }
        news
    }

    pub(crate) fn head(&self) -> &Checkpoint {
        self.get(&self.head).expect("the head is an epoch this device is in")
    }

    /// The state of an epoch this device is in.
    pub(crate) fn get(&self, epoch: &EpochId) -> Option<&Checkpoint> {
        self.nodes.get(epoch)?.checkpoint.as_ref()
    }

    /// Whether the epoch was heard of.
    pub(crate) fn knows(&self, epoch: &EpochId) -> bool {
        self.nodes.contains_key(epoch)
    }

    pub(crate) fn parent_of(&self, epoch: &EpochId) -> Option<EpochId> {
        self.nodes.get(epoch)?.parent
    }

    /// The epochs this device is in and that none such follows.
    pub(crate) fn tips(&self) -> impl Iterator<Item = &Checkpoint> {
        let own = || self.nodes.values().filter(|node| node.checkpoint.is_some());
        let parents: BTreeSet<EpochId> = own().filter_map(|node| node.parent).collect();
        own().filter_map(|node| node.checkpoint.as_ref()).filter(move |tip| !parents.contains(&tip.epoch))
    }

    /// `epoch` and what it descends from, newest first.
    pub(crate) fn line_of(&self, epoch: EpochId) -> impl Iterator<Item = EpochId> {
        let mut left = self.nodes.len();
        std::iter::successors(Some(epoch), move |epoch| {
            // Who cannot process a commit cannot check what it says it follows: it must not lead in circles.
            left = left.checked_sub(1)?;
            self.nodes.get(epoch)?.parent
        })
    }

    /// Moves the head to the tip that has the fewest leaves that the log has removed, then the greatest depth, then
    /// the least id. Returns the former head if it changed.
    ///
    /// A branch that executed a removal beats any longer one that did not, so nobody who was removed wins by
    /// committing much.
    pub(crate) fn choose_head(&mut self, is_current: impl Fn(&DeviceId) -> bool) -> Option<EpochId> {
        let rank = |tip: &Checkpoint| {
            let removed = tip.leaves.iter().filter(|leaf| !is_current(leaf)).count();
            (removed, Reverse(tip.depth), tip.epoch)
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
    /// The epochs under whose keys it was handed over.
    pub(crate) under: BTreeSet<EpochId>,
}

impl Keyring {
    /// Takes a key in, or learns more about one. Whether anything was new.
    pub(crate) fn insert(&mut self, epoch: EpochId, key: ContentKey, derived: bool, under: Option<EpochId>) -> bool {
        let id = key.key_id();
        let known = self.keys.contains_key(&id);
        let held = self.keys.entry(id).or_insert(Held { epoch, key, derived: false, under: BTreeSet::new() });
        let mut news = !known;
        if derived {
            news |= !held.derived;
            self.derived += usize::from(!held.derived);
            (held.epoch, held.derived) = (epoch, true);
            self.by_epoch.insert(epoch, id);
        } else {
            self.by_epoch.entry(epoch).or_insert(id);
        }
        news | under.is_some_and(|under| held.under.insert(under))
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

    /// The keys that somebody who has those of `line` cannot find by what was handed over.
    pub(crate) fn out_of_reach(&self, line: impl Iterator<Item = EpochId>) -> Vec<KeyId> {
        let mut within: BTreeSet<EpochId> = line.collect();
        let mut beyond: Vec<(&KeyId, &Held)> =
            self.keys.iter().filter(|(_, held)| !within.contains(&held.epoch)).collect();
        loop {
            let (reached, rest): (Vec<_>, Vec<_>) =
                beyond.into_iter().partition(|(_, held)| held.under.iter().any(|under| within.contains(under)));
            if reached.is_empty() {
                return rest.into_iter().map(|(id, _)| *id).collect();
            }
            within.extend(reached.into_iter().map(|(_, held)| held.epoch));
            beyond = rest;
        }
    }
}

/// Reads an epoch id from the wire or the store.
pub(crate) fn epoch_id(bytes: &[u8]) -> Option<EpochId> {
    Some(EpochId::from_bytes(bytes.try_into().ok()?))
}
