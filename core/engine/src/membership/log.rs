//! The log of one circle: takes operations in, in any order, and answers from what they come to.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use clave_crypto::{DeviceId, DeviceKey, Domain, PersonId};

use super::action::{Action, recovery_change_message, recovery_message};
use super::evaluate::Evaluation;
use super::graph::Graph;
use super::operation::{Operation, PARENTS_MAX, Refusal};
use super::past::Past;
use super::pending::Pending;
use super::reason::{Names, Reason, SetAside, explanation, sentence};
use super::rights::Right;
use super::roster::Membership;
use super::state::View;
use crate::{CircleId, OperationId};

/// What became of an operation that was offered to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insertion {
    /// It is in, and with it those that waited for it; all of them, parents first.
    Inserted(Vec<OperationId>),
    /// It was in or held already.
    Duplicate,
    /// It is held until these arrive.
    MissingParents(Vec<OperationId>),
    /// It is not taken in.
    Refused(Refusal),
}

/// Whether somebody may do something, seen from a point in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// They may.
    Granted,
    /// At that point they might, but this operation, which was done neither before nor after, took it from them.
    Withdrawn {
        /// The revocation, the lowering of their role, or the policy.
        by: OperationId,
    },
    /// They may not.
    Refused(Reason),
    /// The point is named by operations that have not arrived.
    Unseen,
}

/// Two operations by one device, neither of which follows the other: its key is in two hands, was restored from an
/// old backup, or lies. Evidence, not a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The device.
    pub device: DeviceId,
    /// The earliest such pair.
    pub operations: [OperationId; 2],
}

#[derive(Debug)]
struct Evaluated {
    evaluation: Evaluation,
    membership: Arc<Membership>,
}

/// The membership log of one circle.
///
/// Put in what arrives with [`insert`](Self::insert), write with [`new_operation`](Self::new_operation), and read
/// [`membership`](Self::membership). Two logs that hold the same operations answer the same, bit for bit.
#[derive(Debug)]
pub struct Log {
    circle: CircleId,
    graph: Graph,
    pending: Pending,
    evaluated: OnceLock<Evaluated>,
    /// The last few that were asked for. What a set of operations comes to never changes.
    seen_from: Mutex<VecDeque<(Past, Arc<Membership>)>>,
}

/// How many memberships at a point are kept.
const SEEN_FROM_MAX: usize = 4;

impl Log {
    /// An empty log of a circle.
    #[must_use]
    pub fn new(circle: CircleId) -> Self {
        let (graph, pending) = (Graph::default(), Pending::default());
        Self { circle, graph, pending, evaluated: OnceLock::new(), seen_from: Mutex::default() }
    }

    /// Founds a circle: a log with its genesis in it.
    ///
    /// # Errors
    /// If `action` is no genesis by one of the founder's devices, or out of bounds.
    pub fn found(author: &DeviceKey, action: Action, now_ms: u64) -> Result<Self, Refusal> {
        let genesis = Operation::sign(author, Vec::new(), now_ms, action);
        let mut log = Self::new(CircleId::from_bytes(*genesis.id().as_bytes()));
        match log.insert(genesis) {
            Insertion::Refused(refusal) => Err(refusal),
            _ => Ok(log),
        }
    }

    /// The circle.
    #[must_use]
    pub fn circle(&self) -> CircleId {
        self.circle
    }

    /// Takes in an operation from anywhere.
    pub fn insert(&mut self, operation: Operation) -> Insertion {
        if self.is_known(&operation.id()) {
            return Insertion::Duplicate;
        }
        match operation.verify() {
            Ok(()) => self.insert_verified(operation),
            Err(refusal) => Insertion::Refused(refusal),
        }
    }

    /// Takes in an operation whose signatures were checked before: one that comes from the device's own sealed store.
    pub fn insert_verified(&mut self, operation: Operation) -> Insertion {
        if self.is_known(&operation.id()) {
            return Insertion::Duplicate;
        }
        if let Err(refusal) = self.check_origin(&operation) {
            return Insertion::Refused(refusal);
        }
        let missing: BTreeSet<_> =
            operation.parents().iter().filter(|id| self.graph.index(id).is_none()).copied().collect();
        if !missing.is_empty() {
            let roots = self.pending.roots(&missing);
            return match self.pending.hold(operation, missing) {
                Ok(()) => Insertion::MissingParents(roots.into_iter().collect()),
                Err(refusal) => Insertion::Refused(refusal),
            };
        }
        let mut inserted = Vec::new();
        let mut ready = vec![operation];
        while let Some(operation) = ready.pop() {
            let id = operation.id();
            match self.push(operation) {
                Ok(()) => {
                    inserted.push(id);
                    ready.extend(self.pending.release(id));
                }
                Err(refusal) if inserted.is_empty() => return Insertion::Refused(refusal),
                Err(_) => {}
            }
        }
        Insertion::Inserted(inserted)
    }

    fn is_known(&self, id: &OperationId) -> bool {
        self.graph.index(id).is_some() || self.pending.contains(id)
    }

    fn check_origin(&self, operation: &Operation) -> Result<(), Refusal> {
        match operation.action() {
            Action::Genesis { founder, .. } => {
                if !operation.parents().is_empty() || operation.id().as_bytes() != self.circle.as_bytes() {
                    return Err(Refusal::OtherCircle);
                }
                let own = founder.devices.iter().any(|device| device.device() == operation.author());
                if own { Ok(()) } else { Err(Refusal::UnknownAuthor) }
            }
            _ if operation.parents().is_empty() => Err(Refusal::OtherCircle),
            _ => Ok(()),
        }
    }

    fn push(&mut self, operation: Operation) -> Result<(), Refusal> {
        let mut recovery = None;
        if !operation.parents().is_empty() {
            let past = self.graph.past_of(operation.parents()).expect("released only once all parents are in");
            recovery = self.recovery(operation.author(), operation.action(), &past)?;
            let introduced = matches!(operation.action(), Action::RecoverDevice { .. })
                || self
                    .graph
                    .devices
                    .get(&operation.author())
                    .is_some_and(|about| about.introductions.iter().any(|(index, _)| past.contains(*index)));
            if !introduced {
                return Err(Refusal::UnknownAuthor);
            }
        }
        let index = self.graph.push(operation);
        self.graph.recoveries.extend(recovery.map(|keys| (index, keys)));
        if let Some(Evaluated { evaluation, membership }) = self.evaluated.get_mut() {
            if evaluation.extend(&self.graph) {
                evaluation.refresh(&self.graph, Arc::make_mut(membership));
            } else {
                self.evaluated.take();
            }
        }
        Ok(())
    }

    /// The recovery keys that vouch for a recovery or a change of the key, of those that something before it names: at
    /// least one, or it is refused. `None` for every other action.
    fn recovery(&self, author: DeviceId, action: &Action, past: &Past) -> Result<Option<Vec<[u8; 32]>>, Refusal> {
        let (person, domain, message, signature) = match action {
            Action::RecoverDevice { device, recovery_signature } => {
                let (device, person) = (device.device(), device.certificate.person);
                if author != device {
                    return Err(Refusal::BadRecovery);
                }
                (person, Domain::Recovery, recovery_message(self.circle, device, person), recovery_signature)
            }
            Action::SetRecovery { person, recovery, former_signature } => {
                let message = recovery_change_message(*person, &recovery.key);
                (*person, Domain::RecoveryChange, message, former_signature)
            }
            _ => return Ok(None),
        };
        // The type of the key is of no matter to Ed25519; the domain keeps its signatures apart.
        let good = |key: &[u8; 32]| DeviceId::from_bytes(*key).verify(domain, &message, signature).is_ok();
        let keys: Vec<_> = self.graph.recovery_keys(person, past).into_iter().filter(good).collect();
        if keys.is_empty() { Err(Refusal::BadRecovery) } else { Ok(Some(keys)) }
    }

    /// The change of a person's recovery key that is in force.
    pub(crate) fn recovery_change(&self, person: PersonId) -> Option<&Operation> {
        let past = Past::first(self.graph.len());
        let index = self.evaluated().evaluation.recovery_change(&self.graph, person, &View::of(&past))?;
        Some(&self.graph.node(index).operation)
    }

    fn evaluated(&self) -> &Evaluated {
        self.evaluated.get_or_init(|| {
            let evaluation = Evaluation::new(&self.graph, Past::first(self.graph.len()));
            let membership = Arc::new(evaluation.membership(&self.graph));
            Evaluated { evaluation, membership }
        })
    }

    /// For what reads the whole log.
    pub(crate) fn parts(&self) -> (&Graph, &Evaluation) {
        (&self.graph, &self.evaluated().evaluation)
    }

    /// What all operations come to. Evaluated on first use after a change.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.evaluated().membership
    }

    /// What the operations up to `heads` come to by themselves: the membership as it was seen there. `None` if one of
    /// them has not arrived. Costs nothing if that is all there is or was asked for a moment ago, else a full
    /// evaluation; for a right at a point, [`authority`](Self::authority) is always cheap.
    #[must_use]
    pub fn membership_at(&self, heads: &[OperationId]) -> Option<Arc<Membership>> {
        let universe = self.graph.past_of(heads)?;
        if self.graph.heads.iter().all(|head| heads.contains(head)) {
            return Some(Arc::clone(&self.evaluated().membership));
        }
        let seen_from = || self.seen_from.lock().expect("nothing panics while it holds the lock");
        if let Some((_, membership)) = seen_from().iter().find(|(past, _)| *past == universe) {
            return Some(Arc::clone(membership));
        }
        let membership = Arc::new(Evaluation::new(&self.graph, universe.clone()).membership(&self.graph));
        let mut seen_from = seen_from();
        seen_from.truncate(SEEN_FROM_MAX - 1);
        seen_from.push_front((universe, Arc::clone(&membership)));
        Some(membership)
    }

    /// Whether `device` may use `right` in something that follows exactly `heads`, by the rules that hold for
    /// operations: allowed in its own causal past, and not withdrawn at the same time.
    #[must_use]
    pub fn authority(&self, device: DeviceId, heads: &[OperationId], right: Right) -> Authority {
        let Some(past) = self.graph.past_of(heads) else { return Authority::Unseen };
        let evaluation = &self.evaluated().evaluation;
        let act = evaluation.act(&self.graph, device, &past, None);
        match act.and_then(|act| evaluation.may(&act, right)) {
            Ok(()) => Authority::Granted,
            Err(Reason::RemovedMeanwhile { by } | Reason::LoweredMeanwhile { by } | Reason::PolicyMeanwhile { by }) => {
                Authority::Withdrawn { by }
            }
            Err(reason) => Authority::Refused(reason),
        }
    }

    /// Whether `device` may do `action` now.
    ///
    /// # Errors
    /// Why others would set it aside.
    pub fn may_do(&self, device: DeviceId, action: &Action) -> Result<(), Reason> {
        if !action.is_well_formed() {
            return Err(Reason::Unreadable);
        }
        let past = Past::first(self.graph.len());
        let evaluation = &self.evaluated().evaluation;
        let keys = self.recovery(device, action, &past).ok().flatten().unwrap_or_default();
        if let Action::RecoverDevice { device: entry, .. } = action {
            return evaluation.judge_recovery(&self.graph, &past, None, entry, &keys).map(|_| ());
        }
        let act = evaluation.act(&self.graph, device, &past, None)?;
        evaluation.judge_act(&act, action, &keys).map(|_| ())
    }

    /// Signs `action` as following everything that is in the log, at `now_ms` in Unix milliseconds. The caller makes it durable and inserts it.
    ///
    /// # Errors
    /// Why others would set it aside.
    pub fn new_operation(&self, author: &DeviceKey, action: Action, now_ms: u64) -> Result<Operation, Reason> {
        self.may_do(author.id(), &action)?;
        Ok(Operation::sign(author, self.parents_for(author.id()), now_ms, action))
    }

    /// The heads; where there are too many, first those that follow the author's own operations, then the deepest.
    fn parents_for(&self, author: DeviceId) -> Vec<OperationId> {
        let own = self.graph.devices.get(&author).and_then(|about| about.authored.last().copied());
        let mut heads: Vec<usize> = self.graph.heads.iter().filter_map(|id| self.graph.index(id)).collect();
        heads.sort_by_key(|head| {
            let follows_own = own.is_some_and(|own| own == *head || self.graph.precedes(own, *head));
            (!follows_own, std::cmp::Reverse(self.graph.place(*head)))
        });
        heads.truncate(PARENTS_MAX);
        heads.into_iter().map(|head| self.graph.id(head)).collect()
    }

    /// The operations that nothing follows yet, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<OperationId> {
        self.graph.heads.iter().copied().collect()
    }

    /// How many operations are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Whether not even the genesis is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.len() == 0
    }

    /// How many operations are held until their parents arrive.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// An operation that is in.
    #[must_use]
    pub fn operation(&self, id: &OperationId) -> Option<&Operation> {
        self.graph.index(id).map(|index| &self.graph.node(index).operation)
    }

    /// All operations that are in: parents before children, the same order everywhere.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.graph.in_order().into_iter().map(|index| &self.graph.node(index).operation)
    }

    /// Everything that happened before `heads`, and they themselves. `None` if one has not arrived.
    #[must_use]
    pub fn ancestors(&self, heads: &[OperationId]) -> Option<BTreeSet<OperationId>> {
        let past = self.graph.past_of(heads)?;
        Some((0..self.graph.len()).filter(|index| past.contains(*index)).map(|index| self.graph.id(index)).collect())
    }

    /// The devices that something brings in which is not before `heads`, nor one of them, whether it stands or not.
    pub(crate) fn brought_in_beside(&self, heads: &[OperationId]) -> impl Iterator<Item = DeviceId> {
        let all = self.graph.heads.iter().eq(heads);
        let past = self.graph.past_of(heads.iter().filter(|head| self.graph.index(head).is_some())).unwrap_or_default();
        let devices = self.graph.devices.iter().filter(move |_| !all);
        let beside = move |index: &usize| !past.contains(*index);
        devices.filter(move |(_, about)| about.introductions.iter().any(|(index, _)| beside(index))).map(|(id, _)| *id)
    }

    /// Whether `earlier` happened before `later`. `None` if one of them has not arrived.
    #[must_use]
    pub fn precedes(&self, earlier: &OperationId, later: &OperationId) -> Option<bool> {
        Some(self.graph.precedes(self.graph.index(earlier)?, self.graph.index(later)?))
    }

    /// Whose a device is or was, by whatever brought it in first.
    #[must_use]
    pub fn person_of(&self, device: DeviceId) -> Option<PersonId> {
        let introductions = &self.graph.devices.get(&device)?.introductions;
        introductions.iter().min_by_key(|(index, _)| self.graph.place(*index)).map(|(_, person)| *person)
    }

    /// Devices that did two things of which neither follows the other, each with its earliest such pair.
    #[must_use]
    pub fn equivocations(&self) -> Vec<Equivocation> {
        let mut equivocations = Vec::new();
        for (device, about) in &self.graph.devices {
            let mut own = about.authored.clone();
            own.sort_unstable_by_key(|index| self.graph.place(*index));
            if let Some(pair) = own.windows(2).find(|pair| !self.graph.precedes(pair[0], pair[1])) {
                let operations = [self.graph.id(pair[0]), self.graph.id(pair[1])];
                equivocations.push(Equivocation { device: *device, operations });
            }
        }
        equivocations
    }

    /// An operation as a sentence: "Alice added Bob as a member".
    #[must_use]
    pub fn describe(&self, id: &OperationId) -> Option<String> {
        let operation = self.operation(id)?;
        Some(sentence(operation, self.graph.person_of(operation.author()), self))
    }

    /// Why an operation has no effect, as a sentence: "Bob's addition of Eve as a member was set aside because Alice
    /// removed Bob at the same time."
    #[must_use]
    pub fn explain(&self, set_aside: &SetAside) -> String {
        let Some(operation) = self.operation(&set_aside.operation) else { return String::new() };
        explanation(operation, set_aside.reason, self.graph.person_of(operation.author()), self)
    }
}

impl Names for Log {
    fn person(&self, person: PersonId) -> String {
        let membership = self.membership();
        if let Some(name) = membership.people.get(&person).map(|person| &person.name) {
            return name.clone();
        }
        if let Some(former) = membership.former_people.get(&person) {
            return former.name.clone();
        }
        let introductions = self.graph.people.get(&person).into_iter().flat_map(|about| &about.introductions);
        let first = introductions.min_by_key(|index| self.graph.place(**index));
        let entry = first.and_then(|index| self.graph.action(*index).introduces().0);
        entry.map_or_else(|| person.short(), |entry| entry.name.clone())
    }

    fn device(&self, device: DeviceId) -> String {
        let membership = self.membership();
        let current = membership.devices.get(&device).map(|device| &device.name);
        let former = membership.former_devices.get(&device).map(|former| &former.name);
        current.or(former).cloned().unwrap_or_else(|| device.short())
    }

    fn author(&self, operation: OperationId) -> String {
        let Some(author) = self.operation(&operation).map(Operation::author) else { return operation.short() };
        self.graph.person_of(author).map_or_else(|| author.short(), |person| self.person(person))
    }
}
