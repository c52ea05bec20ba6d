//! The tree of epochs of one circle, and the content keys that belong to them.
//!
//! MLS wants one order of commits and peers have none, so every commit that follows the membership log is kept,
//! as a child of the epoch it starts from. All devices choose the same head among the tips by one rule
//! ([`Group::choose_head`]) that looks at no clock and no arrival order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, KeyId};

/// Epochs this device was in, by id.
pub(crate) struct Group {
    nodes: BTreeMap<EpochId, Node>,
    head: EpochId,
}

struct Node {
    parent: Option<EpochId>,
    checkpoint: Checkpoint,
}

impl Group {
    pub(crate) fn new(parent: Option<EpochId>, first: Checkpoint) -> Self {
        let head = first.epoch;
        Self { nodes: BTreeMap::from([(head, Node { parent, checkpoint: first })]), head }
    }

    pub(crate) fn insert(&mut self, parent: Option<EpochId>, checkpoint: Checkpoint) {
        self.nodes.entry(checkpoint.epoch).or_insert(Node { parent, checkpoint });
    }

    pub(crate) fn head(&self) -> &Checkpoint {
        &self.nodes[&self.head].checkpoint
    }

    pub(crate) fn get(&self, epoch: &EpochId) -> Option<&Checkpoint> {
        self.nodes.get(epoch).map(|node| &node.checkpoint)
    }

    /// The depth below which this device has seen nothing and never will.
    pub(crate) fn first_depth(&self) -> u64 {
        self.nodes.values().map(|node| node.checkpoint.depth).min().unwrap_or(0)
    }

    /// The epochs without a child.
    pub(crate) fn tips(&self) -> impl Iterator<Item = &Checkpoint> {
        let parents: BTreeSet<EpochId> = self.nodes.values().filter_map(|node| node.parent).collect();
        self.nodes.values().map(|node| &node.checkpoint).filter(move |tip| !parents.contains(&tip.epoch))
    }

    /// `epoch` and what it descends from, newest first.
    pub(crate) fn line_of(&self, epoch: EpochId) -> impl Iterator<Item = EpochId> {
        std::iter::successors(Some(epoch), |epoch| self.nodes.get(epoch)?.parent)
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
///
/// The keys of epochs that this device was in it derived itself. Only those it seals under, and only those it hands on.
/// All others came in bundles: which epoch they belong to is hearsay, so they open entries and nothing else rests on
/// them.
#[derive(Default)]
pub(crate) struct Keyring {
    keys: BTreeMap<KeyId, (EpochId, ContentKey)>,
    own: BTreeMap<EpochId, KeyId>,
}

impl Keyring {
    /// Takes in the key that this device derived in an epoch it is in. What was heard of that key gives way.
    pub(crate) fn insert_own(&mut self, epoch: EpochId, key: ContentKey) {
        let id = key.key_id();
        self.own.insert(epoch, id);
        self.keys.insert(id, (epoch, key));
    }

    /// Takes in a key from elsewhere, unless there is one of that name. Whether it is new.
    pub(crate) fn learn(&mut self, epoch: EpochId, key: ContentKey) -> bool {
        let id = key.key_id();
        let news = !self.keys.contains_key(&id);
        if news {
            self.keys.insert(id, (epoch, key));
        }
        news
    }

    /// How many keys came from elsewhere.
    pub(crate) fn learned(&self) -> usize {
        self.keys.len() - self.own.len()
    }

    pub(crate) fn get(&self, id: &KeyId) -> Option<&ContentKey> {
        self.keys.get(id).map(|(_, key)| key)
    }

    /// The key to seal under in an epoch that this device is in.
    pub(crate) fn of_epoch(&self, epoch: &EpochId) -> Option<&ContentKey> {
        self.get(self.own.get(epoch)?)
    }

    /// The keys that this device derived itself, in order of epoch.
    pub(crate) fn own(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.own.iter().filter_map(|(epoch, id)| Some((*epoch, self.get(id)?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.keys.values().map(|(epoch, key)| (*epoch, key))
    }
}

/// Reads an epoch id from the wire or the store.
pub(crate) fn epoch_id(bytes: &[u8]) -> Option<EpochId> {
    Some(EpochId::from_bytes(bytes.try_into().ok()?))
}
