//! The log as a list for people who have to account for it: who did what, when, on whose authority, to what effect.
//!
//! The list follows from the set of operations alone, so that two devices that hold the same operations export the
//! same list, with the same last hash. Each record is hashed with the hash of the one before it: whoever knows the
//! last hash of an export, by a signature over it or by reading it out to another member, can tell whether anything
//! in it was altered, left out or added since. A hash by itself proves nothing about who made the list.

use clave_crypto::{DeviceId, HashContext, PersonId, hash};

use super::action::Action;
use super::evaluate::{Evaluation, Verdict};
use super::graph::Graph;
use super::log::Log;
use super::reason::{Names, Reason, explanation, sentence};
use super::rights::Role;
use super::state::View;
use crate::{CircleId, OperationId};

/// One operation, as an audit tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its place in the list, from 0. Operations that arrive later can move it.
    pub sequence: u64,
    /// The operation.
    pub operation: OperationId,
    /// What it directly follows.
    pub parents: Vec<OperationId>,
    /// When its author says that it was written, in Unix milliseconds. Clocks lie.
    pub time_ms: u64,
    /// The device that wrote it.
    pub device: DeviceId,
    /// How the device was called at that point.
    pub device_name: String,
    /// Whose device it was.
    pub person: Option<PersonId>,
    /// How they were called at that point.
    pub person_name: String,
    /// Their role at that point. None: they were not in.
    pub role: Option<Role>,
    /// What was done: "Alice added Bob as a member".
    pub sentence: String,
    /// On whose authority. None: of a genesis, and of whoever was not in.
    pub warrant: Option<Warrant>,
    /// Why it has no effect, and as a sentence.
    pub set_aside: Option<(Reason, String)>,
    /// The hash of the record before it; of the first, the circle's id.
    pub previous: [u8; 32],
    /// The hash of this record and the one before it.
    pub hash: [u8; 32],
}

/// On whose authority somebody acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warrant {
    /// The operation that brought the device in.
    pub admission: OperationId,
    /// The operation that gave its person the role.
    pub role_given: OperationId,
    /// Who gave it.
    pub given_by: Option<PersonId>,
    /// How they were called at that point.
    pub given_by_name: String,
}

/// A list that is not as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence} of the audit was altered, moved, or follows one that was left out; export it again")]
pub struct BrokenChain {
    /// The first record that does not fit.
    pub sequence: u64,
}

/// Checks that the records are those of one audit of a circle, from its first on, and returns the last one's hash. To
/// be compared with a hash that is known to be right.
///
/// # Errors
/// If one was altered, or is not in its place.
pub fn verify_chain(circle: CircleId, records: &[AuditRecord]) -> Result<[u8; 32], BrokenChain> {
    let mut previous = *circle.as_bytes();
    for (sequence, record) in (0..).zip(records) {
        if record.sequence != sequence || record.previous != previous || record.hash != record.chained() {
            return Err(BrokenChain { sequence });
        }
        previous = record.hash;
    }
    Ok(previous)
}

impl AuditRecord {
    /// The bytes that are hashed: every field but the hashes, each of fixed length or after its length.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes(Vec::new());
        bytes.number(self.sequence);
        bytes.0.extend(self.operation.as_bytes());
        bytes.number(self.parents.len() as u64);
        self.parents.iter().for_each(|parent| bytes.0.extend(parent.as_bytes()));
        bytes.number(self.time_ms);
        bytes.0.extend(self.device.as_bytes());
        bytes.text(&self.device_name);
        bytes.optional(self.person.as_ref().map(PersonId::as_bytes));
        bytes.text(&self.person_name);
        bytes.0.push(self.role.map_or(0, Role::number));
        bytes.text(&self.sentence);
        bytes.0.push(self.warrant.is_some().into());
        if let Some(warrant) = &self.warrant {
            bytes.0.extend(warrant.admission.as_bytes());
            bytes.0.extend(warrant.role_given.as_bytes());
            bytes.optional(warrant.given_by.as_ref().map(PersonId::as_bytes));
            bytes.text(&warrant.given_by_name);
        }
        bytes.0.push(self.set_aside.is_some().into());
        if let Some((reason, why)) = &self.set_aside {
            bytes.optional(reason.by().as_ref().map(OperationId::as_bytes));
            bytes.text(why);
        }
        bytes.0
    }

    fn chained(&self) -> [u8; 32] {
        hash(HashContext::AuditRecord, &[self.previous.as_slice(), &self.canonical_bytes()].concat())
    }
}

/// Fields, each of fixed length or after its length.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, id: Option<&[u8; 32]>) {
        self.0.push(id.is_some().into());
        self.0.extend(id.into_iter().flatten());
    }
}

impl Log {
    /// Everything that was done in the circle, parents first, in an order that is the same everywhere: longest way
    /// from the genesis, then id. What waits for its parents is not in it.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditRecord> {
        let (graph, evaluation) = self.parts();
        let mut previous = *self.circle().as_bytes();
        let mut records = Vec::with_capacity(graph.len());
        for (sequence, index) in (0..).zip(graph.in_order()) {
            let mut record = record(graph, evaluation, index);
            (record.sequence, record.previous) = (sequence, previous);
            record.hash = record.chained();
            previous = record.hash;
            records.push(record);
        }
        records
    }

    /// Whose a device is and how both are called, seen from `heads`: of those that have not arrived, nothing is.
    pub(crate) fn called_at(&self, device: DeviceId, heads: &[OperationId]) -> (Option<PersonId>, String, String) {
        let (graph, evaluation) = self.parts();
        let past = graph.past_of(heads.iter().filter(|head| graph.index(head).is_some())).unwrap_or_default();
        let view = View::of(&past);
        let person = graph.person_of(device);
        let person_name = person.and_then(|person| evaluation.person_name(graph, person, &view));
        let device_name = evaluation.device_name(graph, device, &view);
        let short = || person.map_or_else(|| device.short(), |person| person.short());
        (person, person_name.unwrap_or_else(short), device_name.unwrap_or_else(|| device.short()))
    }
}

fn record(graph: &Graph, evaluation: &Evaluation, index: usize) -> AuditRecord {
    let node = graph.node(index);
    let operation = &node.operation;
    // With the operation itself, which may be what names somebody; but its author is called as before.
    let mut past = node.past.clone();
    past.insert(index);
    let before = View::of(&node.past);
    let names = At { graph, evaluation, index, before, view: View::of(&past) };
    let device = operation.author();
    let here = match operation.action() {
        Action::Genesis { .. } | Action::RecoverDevice { .. } => evaluation.device(graph, device, &names.view),
        _ => evaluation.device(graph, device, &before),
    };
    let person = here.as_ref().map(|(person, ..)| *person).or_else(|| graph.person_of(device));
    let warrant = here.as_ref().filter(|_| node.depth > 0).map(|(_, here, admission)| {
        let given_by = match &evaluation.verdicts[here.given] {
            Verdict::Stands(standing) => Some(standing.person),
            _ => None,
        };
        Warrant {
            admission: graph.id(*admission),
            role_given: graph.id(here.given),
            given_by,
            given_by_name: given_by.map(|person| names.person(person)).unwrap_or_default(),
        }
    });
    let set_aside = match evaluation.verdicts[index] {
        Verdict::Void(reason) => Some((reason, explanation(operation, reason, person, &names))),
        _ => None,
    };
    AuditRecord {
        sequence: 0,
        operation: operation.id(),
        parents: operation.parents().to_vec(),
        time_ms: operation.time_ms(),
        device,
        device_name: names.device(device),
        person,
        person_name: names.author(operation.id()),
        role: here.map(|(_, here, _)| here.role),
        sentence: sentence(operation, person, &names),
        warrant,
        set_aside,
        previous: [0; 32],
        hash: [0; 32],
    }
}

/// Names as they were at a point in the graph.
struct At<'a> {
    graph: &'a Graph,
    evaluation: &'a Evaluation,
    /// The operation that is told of.
    index: usize,
    before: View<'a>,
    view: View<'a>,
}

impl Names for At<'_> {
    fn person(&self, person: PersonId) -> String {
        self.evaluation.person_name(self.graph, person, &self.view).unwrap_or_else(|| person.short())
    }

    fn device(&self, device: DeviceId) -> String {
        self.evaluation.device_name(self.graph, device, &self.view).unwrap_or_else(|| device.short())
    }

    fn author(&self, operation: OperationId) -> String {
        let Some(index) = self.graph.index(&operation) else { return operation.short() };
        let author = self.graph.node(index).operation.author();
        let view = if index == self.index { &self.before } else { &self.view };
        let person = self.graph.person_of(author);
        let name = person.and_then(|person| self.evaluation.person_name(self.graph, person, view));
        name.unwrap_or_else(|| author.short())
    }
}
