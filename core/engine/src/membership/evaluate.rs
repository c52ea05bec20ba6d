//! Which operations stand: the fixed order in which revocations are decided. The module above explains it.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceId, PersonId};

use super::action::Action;
use super::graph::{Graph, Place};
use super::past::Past;
use super::policy::Policy;
use super::reason::Reason;
use super::rights::Role;
use super::state::View;
use crate::OperationId;
use crate::mutation::{Rule, off};

/// How an author compares with another: less stands. Rank, then seniority of the person's role, then of the device.
/// None of it is in the author's own hands, so none of it can be ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    pub(crate) rank: u8,
    pub(crate) role: Place,
    pub(crate) device: Place,
    pub(crate) id: DeviceId,
}

/// Who or what loses rights by an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Person(PersonId),
    Device(DeviceId, PersonId),
    Lower(PersonId, Role),
    /// Recoveries with the key that was in force.
    Recovery(PersonId),
    Invitations,
}

/// An operation that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) person: PersonId,
    /// The author's role, after what was taken away at the same time.
    pub(crate) role: Role,
    pub(crate) precedence: Precedence,
    pub(crate) cut: Option<Cut>,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not among those that are evaluated.
    Outside,
    Stands(Standing),
    Void(Reason),
}

/// The verdict on each operation of a set that is closed under "happened before".
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    pub(crate) universe: Past,
    pub(crate) verdicts: Vec<Verdict>,
    /// Revocations that were decided: `true` was carried out and stands whatever comes later, `false` is void.
    pub(crate) decided: BTreeMap<usize, bool>,
    pub(crate) cuts: Cuts,
    /// No revocation was void, nor hit anything that others rest on: what is judged is what was judged at first.
    undisturbed: bool,
}

/// The revocations that were carried out, by whom they hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) people: BTreeMap<PersonId, Vec<usize>>,
    pub(crate) devices: BTreeMap<DeviceId, Vec<usize>>,
    pub(crate) recoveries: BTreeMap<PersonId, Vec<usize>>,
    pub(crate) invitations: Vec<usize>,
}

impl Cuts {
    fn list(&mut self, cut: Cut) -> &mut Vec<usize> {
        match cut {
            Cut::Person(person) | Cut::Lower(person, _) => self.people.entry(person).or_default(),
            Cut::Device(device, _) => self.devices.entry(device).or_default(),
            Cut::Recovery(person) => self.recoveries.entry(person).or_default(),
            Cut::Invitations => &mut self.invitations,
        }
    }
}

type Queue = BTreeSet<(Precedence, OperationId, usize)>;

impl Evaluation {
    /// Evaluates the operations in `universe`.
    pub(crate) fn new(graph: &Graph, universe: Past) -> Self {
        let mut undone = BTreeSet::new();
        loop {
            let (evaluation, last) = Self::without(graph, universe.clone(), &undone);
            // What was void in the end may have been what let earlier decisions leave an owner.
            let without_owner = || !evaluation.has_owner(graph, &View::of(&evaluation.universe), None, None);
            match last.filter(|_| !off(Rule::LastOwnerAfter) && without_owner()) {
                Some(last) => undone.insert(last),
                None => return evaluation,
            };
        }
    }

    /// Evaluates as though some revocations would leave no owner. Gives the one that was carried out last, too.
    fn without(graph: &Graph, universe: Past, undone: &BTreeSet<usize>) -> (Self, Option<usize>) {
        let verdicts = vec![Verdict::Outside; graph.len()];
        let mut evaluation =
            Self { universe, verdicts, decided: BTreeMap::new(), cuts: Cuts::default(), undisturbed: true };
        evaluation.judge_from(graph, 0);
        let (mut queue, mut last) = (evaluation.undecided(graph), None);
        while let Some((_, _, revocation)) = queue.pop_first() {
            let disturbs = if undone.contains(&revocation) {
                evaluation.reject(graph, revocation, Reason::LastOwner);
                true
            } else {
                evaluation.decide(graph, revocation)
            };
            last = Some(revocation).filter(|_| evaluation.decided[&revocation]).or(last);
            if disturbs {
                queue = evaluation.undecided(graph);
            }
        }
        // What stands is final. Why something else does not may have been found out too early to name the revocation.
        evaluation.judge_from(graph, if off(Rule::RestsOnSetAside) { graph.len() } else { 0 });
        (evaluation, last)
    }

    /// Takes in the newest operation of the graph. `false`: it may change the verdict on others; evaluate anew.
    pub(crate) fn extend(&mut self, graph: &Graph) -> bool {
        let index = graph.len() - 1;
        if graph.kept_heads.contains(&graph.id(index)) {
            // A revocation waited for it: what came before it may stand after all.
            return false;
        }
        let first_heard_of = |person: PersonId, role: Role| {
            let about = &graph.people[&person];
            let elsewhere = |device: &DeviceId| {
                let about = &graph.devices[device];
                about.introductions.len() > 1 || !about.removals.is_empty() || !about.authored.is_empty()
            };
            role != Role::Owner
                && about.introductions.len() == 1
                && about.roles.is_empty()
                && about.removals.is_empty()
                && !about.devices.iter().any(elsewhere)
        };
        let harmless = match graph.action(index) {
            Action::AddPerson { newcomer, role } => first_heard_of(newcomer.person, *role),
            Action::Grant { guest, .. } => first_heard_of(guest.person, Role::Guest),
            action => !bears(action),
        } || self.is_last_word(graph, index);
        if harmless {
            self.universe.insert(index);
            self.verdicts.push(Verdict::Outside);
            self.judge_from(graph, index);
            if let Verdict::Stands(Standing { cut: Some(cut), precedence, .. }) = self.verdicts[index] {
                self.decided.insert(index, true);
                // Where the full evaluation, which decides by precedence, would have put it.
                let key = |other: usize| match &self.verdicts[other] {
                    Verdict::Stands(standing) => (standing.precedence, graph.id(other)),
                    _ => unreachable!("what was carried out stands"),
                };
                let mut list = std::mem::take(self.cuts.list(cut));
                let place = list.partition_point(|other| key(*other) < (precedence, graph.id(index)));
                list.insert(place, index);
                *self.cuts.list(cut) = list;
            }
        }
        harmless
    }

    /// Whether the newest operation follows all others and cannot change the verdict on any: nothing was done at the
    /// same time, and it touches no owner, on whom the last-owner rule looks out of order.
    fn is_last_word(&self, graph: &Graph, index: usize) -> bool {
        if graph.heads.len() != 1 {
            return false;
        }
        let no_owner = |person: &PersonId| !graph.owners.contains(person);
        let no_owners = |device: &DeviceId| {
            graph
                .devices
                .get(device)
                .is_some_and(|about| about.introductions.iter().all(|(_, person)| no_owner(person)))
        };
        let neither = |person: &PersonId| {
            no_owner(person) && graph.people.get(person).is_some_and(|about| about.devices.iter().all(no_owners))
        };
        match graph.action(index) {
            Action::AddPerson { newcomer: entry, .. } | Action::Grant { guest: entry, .. } => neither(&entry.person),
            Action::AddDevice { device } | Action::RecoverDevice { device, .. } => no_owners(&device.device()),
            // A revocation is decided before those by whom has less precedence, and stands whatever becomes of them.
            Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => {
                self.undisturbed && neither(person)
            }
            Action::RevokeDevice { device, .. } => self.undisturbed && no_owners(device),
            Action::SetRole { person, .. } => self.undisturbed && neither(person),
            action @ Action::SetPolicy { .. } => self.undisturbed || !narrows(action),
            _ => false,
        }
    }

    /// Judges every operation from an index on, under what is decided so far.
    fn judge_from(&mut self, graph: &Graph, start: usize) {
        self.judge_all(graph, start..graph.len());
    }

    fn judge_all(&mut self, graph: &Graph, indices: impl IntoIterator<Item = usize>) {
        for index in indices {
            if self.universe.contains(index) && (!self.decided.contains_key(&index) || off(Rule::DecidedForGood)) {
                self.verdicts[index] = match self.judge(graph, index) {
                    Ok(standing) => Verdict::Stands(standing),
                    Err(reason) => Verdict::Void(reason),
                };
            }
        }
    }

    /// The revocations that stand and are not decided, in the order in which they are.
    fn undecided(&self, graph: &Graph) -> Queue {
        let revocations = self.verdicts.iter().enumerate().filter_map(|(index, verdict)| match verdict {
            Verdict::Stands(Standing { cut: Some(_), precedence, .. }) if !self.decided.contains_key(&index) => {
                Some((*precedence, graph.id(index), index))
            }
            _ => None,
        });
        revocations.collect()
    }

    /// Decides one revocation. Says whether any other verdict may have changed.
    fn decide(&mut self, graph: &Graph, revocation: usize) -> bool {
        let Verdict::Stands(Standing { cut: Some(cut), .. }) = self.verdicts[revocation] else {
            unreachable!("only revocations that stand are queued")
        };
        if let Some(by) = self.overruled(graph, revocation).filter(|_| !off(Rule::Overruled)) {
            self.reject(graph, revocation, Reason::Overruled { by: graph.id(by) });
            return true;
        }
        let had_owner = self.has_owner(graph, &self.decided_view(), None, None);
        self.decided.insert(revocation, true);
        self.cuts.list(cut).push(revocation);
        let hits = self.hits(graph, revocation, cut);
        let first = hits.iter().copied().filter(|index| bears(graph.action(*index))).min();
        let before = first.map(|_| self.verdicts.clone());
        self.judge_all(graph, hits.iter().copied());
        if let Some(first) = first {
            self.undisturbed = false;
            self.judge_from(graph, if off(Rule::RestsOnSetAside) { graph.len() } else { first });
        }
        if had_owner && !off(Rule::LastOwnerMeanwhile) && !self.has_owner(graph, &self.decided_view(), None, None) {
            self.cuts.list(cut).pop();
            if let Some(before) = before {
                self.verdicts = before;
            }
            self.judge_all(graph, hits);
            self.reject(graph, revocation, Reason::LastOwner);
            return true;
        }
        first.is_some()
    }

    fn reject(&mut self, graph: &Graph, revocation: usize, reason: Reason) {
        self.undisturbed = false;
        self.decided.insert(revocation, false);
        self.verdicts[revocation] = Verdict::Void(reason);
        self.judge_from(graph, revocation + 1);
    }

    /// The operations that stand and were done at the same time by whom this revocation hits.
    fn hits(&self, graph: &Graph, revocation: usize, cut: Cut) -> Vec<usize> {
        let hit = |index: &usize| {
            matches!(self.verdicts[*index], Verdict::Stands(_)) && self.cuts_off(graph, revocation, Some(*index))
        };
        let authored = |device: &DeviceId| graph.devices.get(device).into_iter().flat_map(|about| &about.authored);
        match cut {
            Cut::Person(person) | Cut::Lower(person, _) => {
                let devices = graph.people.get(&person).into_iter().flat_map(|about| &about.devices);
                devices.flat_map(authored).copied().filter(hit).collect()
            }
            Cut::Device(device, _) => authored(&device).copied().filter(hit).collect(),
            Cut::Recovery(person) => {
                let devices = graph.people.get(&person).into_iter().flat_map(|about| &about.devices);
                let recovers = |index: &usize| matches!(graph.action(*index), Action::RecoverDevice { .. });
                devices.flat_map(authored).copied().filter(recovers).filter(hit).collect()
            }
            Cut::Invitations => graph.admissions.iter().copied().filter(hit).collect(),
        }
    }

    /// Whether a revocation reaches an operation, or something that is done now: done neither before nor after it,
    /// and not kept.
    fn cuts_off(&self, graph: &Graph, revocation: usize, index: Option<usize>) -> bool {
        let Some(index) = index else { return true };
        let kept = |head: &OperationId| {
            let head = graph.index(head).filter(|head| self.universe.contains(*head));
            head.is_some_and(|head| head == index || graph.precedes(index, head))
        };
        index != revocation
            && !graph.precedes(index, revocation)
            && !graph.precedes(revocation, index)
            && (off(Rule::KeepHeads) || !graph.action(revocation).keep_heads().iter().any(kept))
    }

    /// Those of `revocations` that happened neither before nor after an act, and do not keep it. `past` is the act's,
    /// `index` its place if it is an operation.
    pub(crate) fn meanwhile<'a>(
        &'a self,
        graph: &'a Graph,
        revocations: Option<&'a Vec<usize>>,
        past: &'a Past,
        index: Option<usize>,
    ) -> impl Iterator<Item = usize> + 'a {
        let revocations = revocations.into_iter().flatten().copied();
        revocations.filter(move |revocation| !past.contains(*revocation) && self.cuts_off(graph, *revocation, index))
    }

    /// What was given, at the same time, to whom a revocation hits, and is beyond its author's reach.
    fn overruled(&self, graph: &Graph, revocation: usize) -> Option<usize> {
        let Verdict::Stands(Standing { person, role, cut: Some(cut), .. }) = self.verdicts[revocation] else {
            return None;
        };
        let target = match cut {
            Cut::Person(target) | Cut::Lower(target, _) | Cut::Device(_, target) if target != person => target,
            _ => return None,
        };
        let ends_grant = matches!(graph.action(revocation), Action::EndGrant { .. });
        let beyond = |index: &usize| {
            let given = match graph.action(*index) {
                Action::AddPerson { role, .. } | Action::SetRole { role, .. } => *role,
                Action::Genesis { .. } => Role::Owner,
                _ => Role::Guest,
            };
            let reached = if ends_grant { given == Role::Guest } else { role.manages(given) };
            !reached
                && matches!(self.verdicts[*index], Verdict::Stands(_))
                && !graph.precedes(*index, revocation)
                && !graph.precedes(revocation, *index)
        };
        let about = graph.people.get(&target)?;
        let given = about.introductions.iter().chain(&about.roles).copied().filter(beyond);
        given.min_by_key(|index| graph.place(*index))
    }

    fn decided_view(&self) -> View<'_> {
        View { past: &self.universe, decided_only: true }
    }
}

/// Whether anybody's standing or rights can rest on an action.
fn bears(action: &Action) -> bool {
    !matches!(
        action,
        Action::Rename { .. }
            | Action::SetProfile { .. }
            | Action::RenameDevice { .. }
            | Action::PublishKeyPackages { .. }
            | Action::Unknown { .. }
    )
}

/// Whether an action takes a right away from everybody of a role.
pub(crate) fn narrows(action: &Action) -> bool {
    let Action::SetPolicy { key, value, .. } = action else { return false };
    matches!(Policy::parse(key, value), Ok(Some(Policy::MembersMayInvite(false))))
}
