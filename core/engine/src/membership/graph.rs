//! The operations, what each follows, and which speak of whom. Nothing here judges.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceId, PersonId};

use super::action::{Action, RecoveryCertificate};
use super::operation::Operation;
use super::past::Past;
use super::rights::Role;
use crate::OperationId;

/// A place in a deterministic topological order: longest way from the genesis, then id.
pub(crate) type Place = (u64, OperationId);

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) operation: Operation,
    pub(crate) depth: u64,
    /// All operations that happened before this one.
    pub(crate) past: Past,
}

/// The operations that speak of a person, each list in order of index.
#[derive(Clone, Debug, Default)]
pub(crate) struct AboutPerson {
    pub(crate) introductions: Vec<usize>,
    pub(crate) roles: Vec<usize>,
    pub(crate) removals: Vec<usize>,
    pub(crate) profiles: Vec<usize>,
    /// Changes of the recovery key.
    pub(crate) recoveries: Vec<usize>,
    pub(crate) devices: BTreeSet<DeviceId>,
}

/// The operations that speak of a device or come from it, each list in order of index.
#[derive(Clone, Debug, Default)]
pub(crate) struct AboutDevice {
    /// With the person that each names.
    pub(crate) introductions: Vec<(usize, PersonId)>,
    pub(crate) removals: Vec<usize>,
    pub(crate) authored: Vec<usize>,
    pub(crate) key_packages: Vec<usize>,
    pub(crate) names: Vec<usize>,
}

/// Indices are places in order of arrival, hence topological; no result may depend on them otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    index: BTreeMap<OperationId, usize>,
    pub(crate) heads: BTreeSet<OperationId>,
    pub(crate) people: BTreeMap<PersonId, AboutPerson>,
    pub(crate) devices: BTreeMap<DeviceId, AboutDevice>,
    /// Whoever any operation makes an owner.
    pub(crate) owners: BTreeSet<PersonId>,
    pub(crate) policies: BTreeMap<String, Vec<usize>>,
    pub(crate) names: Vec<usize>,
    /// The recovery keys under which the signature of a recovery, or of a change of the key, is good, of those that something before it names.
    pub(crate) recoveries: BTreeMap<usize, Vec<[u8; 32]>>,
    /// What any operation would let stand of what its target did, whether or not it is here yet.
    pub(crate) kept_heads: BTreeSet<OperationId>,
    /// Operations that bring people in.
    pub(crate) admissions: Vec<usize>,
}

impl Graph {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn index(&self, id: &OperationId) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    pub(crate) fn id(&self, index: usize) -> OperationId {
        self.nodes[index].operation.id()
    }

    pub(crate) fn action(&self, index: usize) -> &Action {
        self.nodes[index].operation.action()
    }

    pub(crate) fn place(&self, index: usize) -> Place {
        (self.nodes[index].depth, self.id(index))
    }

    /// Whether `earlier` happened before `later`.
    pub(crate) fn precedes(&self, earlier: usize, later: usize) -> bool {
        self.nodes[later].past.contains(earlier)
    }

    /// What happened before something that directly follows `heads`. `None` if one of them is not here.
    pub(crate) fn past_of<'a>(&self, heads: impl IntoIterator<Item = &'a OperationId>) -> Option<Past> {
        let mut past = Past::default();
        for head in heads {
            let index = self.index(head)?;
            past.union(&self.nodes[index].past);
            past.insert(index);
        }
        Some(past)
    }

    /// The person that a device was first introduced as.
    pub(crate) fn person_of(&self, device: DeviceId) -> Option<PersonId> {
        let introductions = &self.devices.get(&device)?.introductions;
        introductions.iter().min_by_key(|(index, _)| self.place(*index)).map(|(_, person)| *person)
    }

    /// The recovery keys that operations in `past` name for a person.
    pub(crate) fn recovery_keys(&self, person: PersonId, past: &Past) -> BTreeSet<[u8; 32]> {
        let about = self.people.get(&person).into_iter();
        let introductions = about.flat_map(|about| about.introductions.iter().chain(&about.recoveries));
        let named = introductions.filter(|index| past.contains(**index)).filter_map(|index| self.recovery_key(*index));
        named.collect()
    }

    /// The recovery key that an operation names.
    pub(crate) fn recovery_key(&self, index: usize) -> Option<[u8; 32]> {
        self.recovery_certificate(index).map(|certificate| certificate.key)
    }

    /// The same, with the person's word on it.
    pub(crate) fn recovery_certificate(&self, index: usize) -> Option<RecoveryCertificate> {
        match self.action(index) {
            Action::SetRecovery { recovery, .. } => Some(*recovery),
            action => action.introduces().0?.recovery,
        }
    }

    /// Takes in an operation whose parents are all here.
    pub(crate) fn push(&mut self, operation: Operation) -> usize {
        let past = self.past_of(operation.parents()).expect("the caller checked that the parents are here");
        let above = operation.parents().iter().filter_map(|id| self.index(id)).map(|parent| self.nodes[parent].depth);
        let depth = above.max().map_or(0, |depth| depth + 1);
        let (index, id) = (self.nodes.len(), operation.id());
        for parent in operation.parents() {
            self.heads.remove(parent);
        }
        self.heads.insert(id);
        self.index.insert(id, index);
        self.note(index, &operation);
        self.nodes.push(Node { operation, depth, past });
        index
    }

    fn note(&mut self, index: usize, operation: &Operation) {
        let author = self.devices.entry(operation.author()).or_default();
        author.authored.push(index);
        if let Action::PublishKeyPackages { .. } = operation.action() {
            author.key_packages.push(index);
        }
        self.kept_heads.extend(operation.action().keep_heads());
        let (person, devices) = operation.action().introduces();
        if let Some(entry) = person {
            self.people.entry(entry.person).or_default().introductions.push(index);
            self.admissions.push(index);
        }
        for device in devices {
            let certificate = &device.certificate;
            self.people.entry(certificate.person).or_default().devices.insert(certificate.device);
            let about = self.devices.entry(certificate.device).or_default();
            if about.introductions.last() != Some(&(index, certificate.person)) {
                about.introductions.push((index, certificate.person));
            }
        }
        match operation.action() {
            Action::Genesis { founder: entry, .. } | Action::AddPerson { newcomer: entry, role: Role::Owner } => {
                self.owners.insert(entry.person);
            }
            Action::SetRole { person, role, .. } => {
                self.people.entry(*person).or_default().roles.push(index);
                if *role == Role::Owner {
                    self.owners.insert(*person);
                }
            }
            Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => {
                self.people.entry(*person).or_default().removals.push(index);
            }
            Action::RevokeDevice { device, .. } => self.devices.entry(*device).or_default().removals.push(index),
            Action::SetProfile { person, .. } => self.people.entry(*person).or_default().profiles.push(index),
            Action::SetRecovery { person, .. } => self.people.entry(*person).or_default().recoveries.push(index),
            Action::RenameDevice { device, .. } => self.devices.entry(*device).or_default().names.push(index),
            Action::SetPolicy { key, .. } => self.policies.entry(key.clone()).or_default().push(index),
            Action::Rename { .. } => self.names.push(index),
            _ => {}
        }
        if matches!(operation.action(), Action::Genesis { .. }) {
            self.names.push(index);
        }
    }

    /// All indices in the deterministic topological order.
    pub(crate) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by_key(|index| self.place(*index));
        order
    }
}
