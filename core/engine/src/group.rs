//! The tree of epochs of one circle, and the content keys that belong to them.
//!
//! MLS wants one order of commits and peers have none, so every commit that follows the membership log is kept,
//! as a child of the epoch it starts from. All devices choose the same head among the tips by one rule
//! ([`Group::choose_head`]) that looks at no clock and no arrival order.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, KeyId};

use crate::OperationId;
use crate::mutation::{Rule, off};

mod reach;

use reach::Reach;

/// The epochs that this device is or was in, by id. That one follows another was checked when the commit between them was
/// processed; what others say of epochs that this device is not in counts for nothing.
pub(crate) struct Group {
    nodes: BTreeMap<EpochId, Node>,
    head: EpochId,
    /// Of a device that was restored from an export and is in no epoch yet: stands where the export left off. It has no
    /// leaves and no secret; all that is taken from it is under which key this device asks to be let in.
    apart: Option<Checkpoint>,
    /// Whether the head is any epoch, as the choice was not made since this was read back.
    unchosen: bool,
}

/// An epoch that this device is or was in.
pub(crate) struct Node {
    /// None for the first epoch, and for one that this device was welcomed into.
    pub(crate) parent: Option<EpochId>,
    pub(crate) depth: u64,
    pub(crate) entered_ms: u64,
    /// When it last ceased to be the head, in Unix milliseconds; 0 if it never was.
    pub(crate) left_ms: u64,
    /// None once its secrets were erased.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The operations that a Welcome cites. The epoch is judged by the log, so not before they are in it.
    pub(crate) after: Vec<OperationId>,
    /// The heads of the log that the commit leading here follows.
    pub(crate) cites: Vec<OperationId>,
    /// Whether that added anybody; so it does where there is no parent.
    pub(crate) adds: bool,
}

/// An epoch to be entered.
pub(crate) struct Entered {
    /// None for the first epoch, and for one that this device is welcomed into.
    pub(crate) parent: Option<EpochId>,
    pub(crate) checkpoint: Checkpoint,
    /// The operations that the choice of the head waits for.
    pub(crate) after: Vec<OperationId>,
    /// The heads of the log that the commit leading there follows.
    pub(crate) cites: Vec<OperationId>,
    /// Whether that adds anybody; so it does where there is no parent.
    pub(crate) adds: bool,
}

impl Group {
    pub(crate) fn new(first: Checkpoint, cites: Vec<OperationId>, now_ms: u64) -> Self {
        let mut group = Self { nodes: BTreeMap::new(), head: first.epoch, apart: None, unchosen: false };
        group.insert(Entered { parent: None, checkpoint: first, after: Vec::new(), cites, adds: true }, now_ms);
        group
    }

    /// What is stored; none if no epoch has its secrets, unless this device stands apart.
    pub(crate) fn restore(nodes: BTreeMap<EpochId, Node>, apart: Option<Checkpoint>) -> Option<Self> {
        let known = || nodes.iter().find(|(_, node)| node.checkpoint.is_some()).map(|(epoch, _)| *epoch);
        let head = apart.as_ref().map(|apart| apart.epoch).or_else(known)?;
        Some(Self { nodes, head, unchosen: apart.is_none(), apart })
    }

    /// Whether this device is in no epoch that it may follow, so that it seals nothing and commits nothing.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    pub(crate) fn insert(&mut self, entered: Entered, now_ms: u64) {
        let Entered { parent, checkpoint, after, cites, adds } = entered;
        let (epoch, depth) = (checkpoint.epoch, checkpoint.depth);
        let checkpoint = Some(checkpoint);
        let node = Node { parent, depth, entered_ms: now_ms, left_ms: 0, checkpoint, after, cites, adds };
        self.nodes.entry(epoch).or_insert(node);
    }

    /// Forgets the secrets of an epoch, and keeps its place.
    pub(crate) fn erase(&mut self, epoch: &EpochId) {
        if let Some(node) = self.nodes.get_mut(epoch).filter(|_| *epoch != self.head) {
            node.checkpoint = None;
        }
    }

    /// The epochs whose secrets are kept, and when this device entered each.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&Checkpoint, u64)> {
        self.nodes.values().filter_map(|node| Some((node.checkpoint.as_ref()?, node.entered_ms)))
    }

    pub(crate) fn node(&self, epoch: &EpochId) -> Option<&Node> {
        self.nodes.get(epoch)
    }

    /// Whether this device is in the epoch or was, with its secrets or without.
    pub(crate) fn knows(&self, epoch: &EpochId) -> bool {
        self.nodes.contains_key(epoch)
    }

    /// Whether a depth is at most so far beyond the greatest here.
    pub(crate) fn is_within_lead(&self, depth: u64, lead: u64) -> bool {
        let depths = self.nodes.values().map(|node| node.depth);
        let deepest = depths.chain(self.apart.iter().map(|apart| apart.depth)).max().unwrap_or(0);
        depth <= deepest.saturating_add(lead)
    }

    pub(crate) fn depth_of(&self, epoch: &EpochId) -> Option<u64> {
        self.nodes.get(epoch).map(|node| node.depth)
    }

    pub(crate) fn entered_ms(&self, epoch: &EpochId) -> Option<u64> {
        self.nodes.get(epoch).map(|node| node.entered_ms)
    }

    /// Since when nothing was to be sealed in an epoch any more; none for the head and for epochs that are not known.
    pub(crate) fn superseded_ms(&self, epoch: &EpochId) -> Option<u64> {
        let node = self.nodes.get(epoch).filter(|_| *epoch != self.head)?;
        Some(if node.left_ms > 0 { node.left_ms } else { node.entered_ms })
    }

    pub(crate) fn head(&self) -> &Checkpoint {
        let head = self.apart.as_ref().or_else(|| self.get(&self.head));
        head.expect("the head is an epoch this device is in, unless it stands apart")
    }

    /// The state of an epoch this device is in.
    pub(crate) fn get(&self, epoch: &EpochId) -> Option<&Checkpoint> {
        self.nodes.get(epoch)?.checkpoint.as_ref()
    }

    /// The epochs this device is in and that none such follows.
    pub(crate) fn tips(&self) -> impl Iterator<Item = &Checkpoint> {
        let parents: BTreeSet<EpochId> = self.nodes.values().filter_map(|node| node.parent).collect();
        let tips = self.nodes.iter().filter(move |(epoch, _)| !parents.contains(epoch));
        tips.filter_map(|(_, node)| node.checkpoint.as_ref())
    }

    /// `epoch` and what it descends from, newest first, as far as this device was there.
    pub(crate) fn line_of(&self, epoch: EpochId) -> impl Iterator<Item = EpochId> {
        std::iter::successors(Some(epoch), |epoch| self.nodes.get(epoch)?.parent)
    }

    /// The head and what it descends from, as far as all that are in the head were in there: up to the newest epoch that
    /// somebody was added to.
    pub(crate) fn stretch(&self) -> impl Iterator<Item = EpochId> {
        let before = |epoch: &EpochId| self.nodes.get(epoch).filter(|node| !node.adds)?.parent;
        std::iter::successors(Some(self.head), before)
    }

    /// Moves the head to the tip that has the fewest leaves that the log has removed (those that are not in `current`,
    /// which is sorted), then the greatest depth, then the least id; those that cite operations which are not here come last. Returns the former head if it changed.
    ///
    /// A branch that executed a removal beats any longer one that did not, so nobody who was removed wins by
    /// committing much.
    ///
    /// A device that stands apart enters the first epoch whose operations it has: it would take people for removed who
    /// came after its export was made, and shut them out.
    pub(crate) fn choose_head(
        &mut self,
        current: &[DeviceId],
        is_here: impl Fn(&OperationId) -> bool,
        now_ms: u64,
    ) -> Option<EpochId> {
        let rank = |tip: &Checkpoint| {
            let early = !self.nodes[&tip.epoch].after.iter().all(&is_here);
            let removed = if off(Rule::ForkRemovedFirst) { 0 } else { absent(&tip.leaves, current).count() };
            let depth = if off(Rule::ForkDepth) { 0 } else { tip.depth };
            let arrival = if off(Rule::ForkId) { self.nodes[&tip.epoch].entered_ms } else { 0 };
            (early, removed, Reverse(depth), arrival, tip.epoch)
        };
        let best = match self.tips().min_by_key(|tip| rank(tip)) {
            Some(best) if self.apart.is_none() || !rank(best).0 => best.epoch,
            None if self.apart.is_none() => unreachable!("the head is never erased"),
            _ => return None,
        };
        self.apart = None;
        let was_chosen = !std::mem::replace(&mut self.unchosen, false);
        let former = std::mem::replace(&mut self.head, best);
        if best == former {
            return None;
        }
        if was_chosen && let Some(node) = self.nodes.get_mut(&former) {
            node.left_ms = now_ms;
        }
        Some(former)
    }
}

/// Those of `devices` that are not among `others`; both are sorted. One walk along the two: in a large circle, looking each
/// up costs many times as much.
pub(crate) fn absent<'a>(devices: &'a [DeviceId], others: &'a [DeviceId]) -> impl Iterator<Item = &'a DeviceId> {
    let mut others = others.iter().peekable();
    devices.iter().filter(move |device| {
        while others.next_if(|other| other < device).is_some() {}
        others.peek() != Some(device)
    })
}

/// The content keys of a circle, or its lasting keys. They outlive the epochs they come from.
#[derive(Default)]
pub(crate) struct Keyring {
    keys: BTreeMap<KeyId, Held>,
    by_epoch: BTreeMap<EpochId, KeyId>,
    derived: usize,
    reach: RefCell<Reach>,
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
    /// When it came here first.
    pub(crate) filed_ms: u64,
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
            filed_ms: 0,
        });
        let (mut news, reach) = (!known, self.reach.get_mut());
        if !known {
            reach.add(id);
        }
        if after.is_empty() && !held.after.is_empty() {
            held.after.clear();
            news = true;
        }
        if derived {
            news |= !held.derived;
            self.derived += usize::from(!held.derived);
            // That of a new epoch comes before the epoch. Everything else may change what is within reach of a head.
            let is_new = !known && !self.by_epoch.contains_key(&epoch);
            if !is_new {
                reach.forget();
            }
            (held.epoch, held.derived) = (epoch, true);
            self.by_epoch.insert(epoch, id);
        } else if off(Rule::KeysUndirected) {
            self.by_epoch.insert(epoch, id);
        } else {
            self.by_epoch.entry(epoch).or_insert(id);
        }
        // Under itself it was handed over to nobody who did not have it.
        if let Some(under) = under.filter(|under| *under != id && held.under.insert(*under)) {
            reach.hand_over(id, under);
            news = true;
        }
        news
    }

    /// Notes when a key came, unless that is known.
    pub(crate) fn stamp(&mut self, id: &KeyId, now_ms: u64) {
        if let Some(held) = self.keys.get_mut(id).filter(|held| held.filed_ms == 0) {
            held.filed_ms = now_ms;
        }
    }

    /// Forgets keys. What they led to is out of reach from now on, unless other keys lead there.
    pub(crate) fn erase(&mut self, ids: &[KeyId]) {
        for id in ids {
            if let Some(held) = self.keys.remove(id) {
                self.derived -= usize::from(held.derived);
                if self.by_epoch.get(&held.epoch) == Some(id) {
                    self.by_epoch.remove(&held.epoch);
                }
            }
        }
        // What was known of what leads where speaks of them.
        let mut reach = Reach::default();
        for (id, held) in &self.keys {
            reach.add(*id);
            held.under.iter().for_each(|under| reach.hand_over(*id, *under));
        }
        self.reach = RefCell::new(reach);
    }

    /// All keys, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&KeyId, &Held)> {
        self.keys.iter()
    }

    /// How many keys were handed over and not derived.
    pub(crate) fn learned(&self) -> usize {
        self.keys.len() - self.derived
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn get(&self, id: &KeyId) -> Option<&ContentKey> {
        self.keys.get(id).map(|held| &held.key)
    }

    pub(crate) fn held(&self, id: &KeyId) -> Option<&Held> {
        self.keys.get(id)
    }

    pub(crate) fn of_epoch(&self, epoch: &EpochId) -> Option<&ContentKey> {
        self.get(self.id_of_epoch(epoch)?)
    }

    pub(crate) fn id_of_epoch(&self, epoch: &EpochId) -> Option<&KeyId> {
        self.by_epoch.get(epoch)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.keys.values().map(|held| (held.epoch, &held.key))
    }

    /// The keys that somebody who has those of `line` cannot find by what was handed over. What is said of the epoch of a key has no say in it: this device has
    /// entered the epochs of its lines, and the key that it derived then stands for each.
    pub(crate) fn out_of_reach(&self, line: impl Iterator<Item = EpochId>) -> Vec<KeyId> {
        self.reach.borrow_mut().beyond(line, |epoch| self.by_epoch.get(&epoch).copied())
    }

    /// The keys of the line that whoever has nothing but its head's key cannot find: those of the epochs before the head since
    /// somebody handed them over.
    pub(crate) fn unlinked(&self, line: impl Iterator<Item = EpochId>) -> Vec<KeyId> {
        self.out_of_reach(line);
        self.reach.borrow().unlinked().collect()
    }
}

/// Reads an epoch id from the wire or the store.
pub(crate) fn epoch_id(bytes: &[u8]) -> Option<EpochId> {
    Some(EpochId::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use clave_crypto::{DeviceKey, Entropy, GroupKeyAgreement, SealedSecret, Suite};

    use super::*;

    #[test]
    fn no_epoch_is_believed_to_be_any_number_of_commits_ahead() {
        let mut entropy = Entropy::from_seed([1; 32]);
        let device = DeviceKey::generate(&mut entropy);
        let mut first = SealedSecret.create(&device, b"group", Suite::default(), &mut entropy);
        first.depth = 7;
        let group = Group::new(first, Vec::new(), 0);
        assert!(group.is_within_lead(3, 10) && group.is_within_lead(17, 10));
        assert!(!group.is_within_lead(18, 10) && !group.is_within_lead(u64::MAX, 10));
    }

    #[test]
    fn who_stands_apart_enters_no_epoch_before_its_operations_are_here() {
        let mut entropy = Entropy::from_seed([1; 32]);
        let device = DeviceKey::generate(&mut entropy);
        let exported = Checkpoint::without_secret(EpochId::from_bytes([7; 32]), 5, b"group");
        let mut group = Group::restore(BTreeMap::new(), Some(exported)).expect("it stands apart");
        assert!(group.is_apart() && group.head().leaves.is_empty() && group.tips().next().is_none());
        assert_eq!(group.choose_head(&[device.id()], |_| true, 0), None);
        let mut welcomed = SealedSecret.create(&device, b"group", Suite::default(), &mut entropy);
        welcomed.depth = 9;
        let epoch = welcomed.epoch;
        let after = vec![OperationId::from_bytes([3; 32])];
        group.insert(Entered { parent: None, checkpoint: welcomed, after, cites: Vec::new(), adds: true }, 0);
        assert_eq!(group.choose_head(&[device.id()], |_| false, 0), None);
        assert!(group.is_apart() && group.head().epoch != epoch);
        assert_eq!(group.choose_head(&[device.id()], |_| true, 0), Some(EpochId::from_bytes([7; 32])));
        assert!(!group.is_apart() && group.head().epoch == epoch);
    }

    #[test]
    fn who_is_absent_is_found_in_one_walk() {
        let some =
            |numbers: &[u8]| -> Vec<DeviceId> { numbers.iter().map(|n| DeviceId::from_bytes([*n; 32])).collect() };
        let absent = |these: &[u8], those: &[u8]| -> Vec<u8> {
            super::absent(&some(these), &some(those)).map(|device| device.as_bytes()[0]).collect()
        };
        assert_eq!(absent(&[1, 3, 5, 7], &[0, 3, 4, 7, 9]), [1, 5]);
        assert_eq!(absent(&[0, 3, 4, 7, 9], &[1, 3, 5, 7]), [0, 4, 9]);
        assert_eq!(absent(&[1, 2], &[]), [1, 2]);
        assert!(absent(&[], &[1, 2]).is_empty());
    }
}
