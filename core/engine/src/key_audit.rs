//! The changes of a circle's keys as a list for people who have to account for them, beside that of the membership log.
//!
//! Owns the order of the list, what stands and what lost, and the chain of hashes. Does not know where commits are kept.
//!
//! It is a chain of its own, since it follows from other things than the audit of the log: from the commits that a device
//! holds and can read, and from the branch that it follows. Two devices that hold the same commits, and follow the same
//! head, make the same list with the same last hash. Who came later, or in whose circle commits expire, lacks the oldest:
//! the list says how many, and the first hash covers that. So the audits of the log can be compared among all, whoever
//! lacks which commits.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceId, EpochId, HashContext, PersonId, hash};

use crate::membership::{BrokenChain, Bytes, Log};
use crate::{CircleId, OperationId};

/// The changes of a circle's keys, as far as this device has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAudit {
    /// How many changes led to the oldest one on the chosen branch that are not here: this device came later, or they have expired.
    pub missing: u64,
    /// What is here, each after the one that it starts from.
    pub changes: Vec<KeyChange>,
    /// The hash of the last; of an empty list, the first one's `previous`.
    pub hash: [u8; 32],
}

/// One change of keys: an MLS commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Its place in the list, from 0. Changes that arrive later can move it.
    pub sequence: u64,
    /// The epoch whose keys it replaces.
    pub parent: EpochId,
    /// The epoch that it leads to.
    pub epoch: EpochId,
    /// When its author says that it was made, in Unix milliseconds. Clocks lie.
    pub time_ms: u64,
    /// The device that made it.
    pub by: Party,
    /// The newest operations of the log that its author had seen: on their authority it adds and removes.
    pub operations: Vec<OperationId>,
    /// Devices that it gives the new keys to and that were not in.
    pub added: Vec<Party>,
    /// Devices that it keeps the new keys from.
    pub removed: Vec<Party>,
    /// Devices that were in and could not follow: they begin anew.
    pub renewed: Vec<Party>,
    /// What was done: "Alice changed the keys: Bob (phone) is out".
    pub sentence: String,
    /// What became of it.
    pub standing: KeyStanding,
    /// Whether this device made it, or saw by itself that it does what it says. Else that is its author's word: this device
    /// was not in the epoch that it starts from. Not hashed, as it differs among devices.
    pub checked: bool,
    /// The hash of the change before it; of the first, one of the circle and of how many are missing.
    pub previous: [u8; 32],
    /// The hash of this change and the one before it.
    pub hash: [u8; 32],
}

/// A device, and whose it is, as both were called when the change was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The device.
    pub device: DeviceId,
    /// How it was called.
    pub device_name: String,
    /// Whose it is.
    pub person: Option<PersonId>,
    /// How they were called.
    pub person_name: String,
}

/// What became of a change of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// It is on the branch that is followed.
    Stands,
    /// Another change of the same keys was chosen, or one of those that came before it lost so.
    Lost {
        /// The epoch that the winner led to.
        to: EpochId,
    },
    /// It starts from the keys in use here, or follows one that does, and this device cannot follow: it is out.
    Beyond,
    /// What it starts from is not here.
    Unconnected,
}

/// A commit as its entry has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) parent: EpochId,
    pub(crate) epoch: EpochId,
    pub(crate) author: DeviceId,
    pub(crate) time_ms: u64,
    pub(crate) operations: Vec<OperationId>,
    pub(crate) added: BTreeSet<DeviceId>,
    pub(crate) removed: BTreeSet<DeviceId>,
    pub(crate) renewed: BTreeSet<DeviceId>,
}

/// The most devices that a sentence names.
const NAMED_MAX: usize = 8;

impl KeyAudit {
    /// Puts the list together. `claims` are the commits that are here, each with whether it was checked here; `head` is the
    /// epoch that is followed, and how many commits led there.
    pub(crate) fn new(log: &Log, head: (EpochId, u64), mut claims: BTreeMap<Claim, bool>) -> Self {
        // What was seen here outweighs what others say of the same epoch.
        let seen: BTreeSet<EpochId> = claims.iter().filter(|(_, seen)| **seen).map(|(claim, _)| claim.epoch).collect();
        claims.retain(|claim, checked| *checked || !seen.contains(&claim.epoch));
        let tree = Tree::new(&claims, head);
        let missing = head.1.saturating_sub(tree.line.len() as u64);
        let mut order: Vec<(&Claim, bool)> = claims.iter().map(|(claim, checked)| (claim, *checked)).collect();
        order.sort_by_key(|(claim, _)| (tree.place(claim), *claim));
        let mut previous = first_hash(log.circle(), missing);
        let mut changes = Vec::with_capacity(order.len());
        for (sequence, (claim, checked)) in (0..).zip(order) {
            let mut change = KeyChange::new(log, claim, tree.standing(claim));
            (change.sequence, change.checked, change.previous) = (sequence, checked, previous);
            change.hash = change.chained();
            previous = change.hash;
            changes.push(change);
        }
        Self { missing, changes, hash: previous }
    }
}

/// Checks that the changes are those of one list of a circle from which `missing` are said to be missing, and returns the
/// last one's hash.
///
/// # Errors
/// If one was altered, or is not in its place, or the number is not the one that the list was made with.
pub fn verify_key_chain(circle: CircleId, missing: u64, changes: &[KeyChange]) -> Result<[u8; 32], BrokenChain> {
    let mut previous = first_hash(circle, missing);
    for (sequence, change) in (0..).zip(changes) {
        if change.sequence != sequence || change.previous != previous || change.hash != change.chained() {
            return Err(BrokenChain { sequence });
        }
        previous = change.hash;
    }
    Ok(previous)
}

fn first_hash(circle: CircleId, missing: u64) -> [u8; 32] {
    hash(HashContext::AuditKeyChange, &[circle.as_bytes().as_slice(), &missing.to_be_bytes()].concat())
}

/// How the commits hang together.
struct Tree<'a> {
    /// The commit that leads to each epoch; of several that say so, the least.
    to: BTreeMap<EpochId, &'a Claim>,
    /// Of the branch that is followed: where each epoch on it leads.
    onward: BTreeMap<EpochId, EpochId>,
    /// The epochs that commits on that branch lead to.
    line: BTreeSet<EpochId>,
    head: EpochId,
    /// How many commits lead to each epoch, as far as they are here.
    depths: BTreeMap<EpochId, u64>,
}

impl<'a> Tree<'a> {
    fn new(claims: &'a BTreeMap<Claim, bool>, head: (EpochId, u64)) -> Self {
        let mut to: BTreeMap<EpochId, &Claim> = BTreeMap::new();
        for claim in claims.keys() {
            to.entry(claim.epoch).or_insert(claim);
        }
        let (mut onward, mut line) = (BTreeMap::new(), BTreeSet::new());
        let mut epoch = head.0;
        // No more than led to the head, whatever circles false commits may form.
        for _ in 0..head.1 {
            let Some(claim) = to.get(&epoch) else { break };
            if !line.insert(epoch) {
                break;
            }
            onward.insert(claim.parent, epoch);
            epoch = claim.parent;
        }
        let mut tree = Self { to, onward, line, head: head.0, depths: BTreeMap::new() };
        for epoch in claims.keys().map(|claim| claim.epoch) {
            tree.measure(epoch);
        }
        tree
    }

    fn measure(&mut self, epoch: EpochId) {
        let mut path = Vec::new();
        let mut passed = BTreeSet::new();
        let mut next = epoch;
        while let Some(claim) = self.to.get(&next).filter(|_| !self.depths.contains_key(&next)) {
            if !passed.insert(next) {
                break;
            }
            path.push(next);
            next = claim.parent;
        }
        let mut depth = self.depths.get(&next).copied().unwrap_or(0);
        for epoch in path.into_iter().rev() {
            depth += 1;
            self.depths.insert(epoch, depth);
        }
    }

    fn place(&self, claim: &Claim) -> u64 {
        self.depths.get(&claim.parent).copied().unwrap_or(0)
    }

    fn standing(&self, claim: &Claim) -> KeyStanding {
        if self.line.contains(&claim.epoch) && self.to.get(&claim.epoch) == Some(&claim) {
            return KeyStanding::Stands;
        }
        let mut passed = BTreeSet::new();
        let mut parent = claim.parent;
        while passed.insert(parent) {
            if let Some(winner) = self.onward.get(&parent) {
                return KeyStanding::Lost { to: *winner };
            }
            if parent == self.head {
                return KeyStanding::Beyond;
            }
            let Some(before) = self.to.get(&parent) else { break };
            parent = before.parent;
        }
        KeyStanding::Unconnected
    }
}

impl KeyChange {
    fn new(log: &Log, claim: &Claim, standing: KeyStanding) -> Self {
        let party = |device: &DeviceId| {
            let (person, person_name, device_name) = log.called_at(*device, &claim.operations);
            Party { device: *device, device_name, person, person_name }
        };
        let parties = |devices: &BTreeSet<DeviceId>| devices.iter().map(party).collect::<Vec<_>>();
        let by = party(&claim.author);
        let (added, removed, renewed) = (parties(&claim.added), parties(&claim.removed), parties(&claim.renewed));
        let sentence = sentence(&by, &added, &removed, &renewed);
        let (parent, epoch, time_ms) = (claim.parent, claim.epoch, claim.time_ms);
        let operations = claim.operations.clone();
        let (previous, hash) = ([0; 32], [0; 32]);
        Self {
            sequence: 0,
            parent,
            epoch,
            time_ms,
            by,
            operations,
            added,
            removed,
            renewed,
            sentence,
            standing,
            checked: false,
            previous,
            hash,
        }
    }

    /// The bytes that are hashed: every field but `checked` and the hashes, each of fixed length or after its length.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes(Vec::new());
        bytes.number(self.sequence);
        bytes.0.extend(self.parent.as_bytes());
        bytes.0.extend(self.epoch.as_bytes());
        bytes.number(self.time_ms);
        self.by.write(&mut bytes);
        bytes.number(self.operations.len() as u64);
        self.operations.iter().for_each(|operation| bytes.0.extend(operation.as_bytes()));
        for parties in [&self.added, &self.removed, &self.renewed] {
            bytes.number(parties.len() as u64);
            parties.iter().for_each(|party| party.write(&mut bytes));
        }
        bytes.text(&self.sentence);
        match self.standing {
            KeyStanding::Stands => bytes.0.push(1),
            KeyStanding::Lost { to } => {
                bytes.0.push(2);
                bytes.0.extend(to.as_bytes());
            }
            KeyStanding::Beyond => bytes.0.push(3),
            KeyStanding::Unconnected => bytes.0.push(4),
        }
        bytes.0
    }

    fn chained(&self) -> [u8; 32] {
        hash(HashContext::AuditKeyChange, &[self.previous.as_slice(), &self.canonical_bytes()].concat())
    }
}

impl Party {
    fn write(&self, bytes: &mut Bytes) {
        bytes.0.extend(self.device.as_bytes());
        bytes.text(&self.device_name);
        bytes.optional(self.person.as_ref().map(PersonId::as_bytes));
        bytes.text(&self.person_name);
    }
}

fn sentence(by: &Party, added: &[Party], removed: &[Party], renewed: &[Party]) -> String {
    let mut parts = Vec::new();
    for (parties, one, more) in [
        (removed, "is out", "are out"),
        (added, "is in", "are in"),
        (renewed, "begins anew with them", "begin anew with them"),
    ] {
        if !parties.is_empty() {
            parts.push(format!("{} {}", named(parties), if parties.len() == 1 { one } else { more }));
        }
    }
    if parts.is_empty() {
        return format!("{} renewed the keys", by.person_name);
    }
    format!("{} changed the keys: {}", by.person_name, parts.join("; "))
}

fn named(parties: &[Party]) -> String {
    let name = |party: &Party| format!("{} ({})", party.person_name, party.device_name);
    let mut names: Vec<String> = parties.iter().take(NAMED_MAX).map(name).collect();
    if parties.len() > NAMED_MAX {
        names.push(format!("{} more", parties.len() - NAMED_MAX));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
