//! What the operations that stand come to, at a point in the graph.

use clave_crypto::{DeviceId, PersonId};

use super::action::Action;
use super::evaluate::{Evaluation, Precedence, Standing, Verdict};
use super::graph::Graph;
use super::past::Past;
use super::policy::MEMBERS_MAY_INVITE;
use super::rights::Role;
use crate::mutation::{Rule, off};

/// From where one looks: which operations are seen.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) past: &'a Past,
    /// Leaves out the revocations that are not decided yet.
    pub(crate) decided_only: bool,
}

impl<'a> View<'a> {
    pub(crate) fn of(past: &'a Past) -> Self {
        Self { past, decided_only: false }
    }
}

/// A person who is in. The indices are those of the operations that made it so.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    pub(crate) role: Role,
    pub(crate) given: usize,
    pub(crate) since: usize,
    pub(crate) expires_ms: Option<u64>,
}

/// The start of a list of indices that a view can hold.
fn seen<'a>(indices: &'a [usize], view: &View<'_>) -> &'a [usize] {
    &indices[..indices.partition_point(|index| *index < view.past.end())]
}

impl Evaluation {
    pub(crate) fn standing(&self, index: usize, view: &View<'_>) -> Option<&Standing> {
        match &self.verdicts[index] {
            Verdict::Stands(standing)
                if view.past.contains(index)
                    && !(view.decided_only && standing.cut.is_some() && !self.decided.contains_key(&index)) =>
            {
                Some(standing)
            }
            _ => None,
        }
    }

    /// The first of `removals` that ends what `index` gave: all do but those that it came after.
    pub(crate) fn ended_by(&self, graph: &Graph, index: usize, removals: &[usize], view: &View<'_>) -> Option<usize> {
        let past = &graph.node(index).past;
        seen(removals, view)
            .iter()
            .rev()
            .copied()
            .take_while(|removal| *removal >= past.all_below())
            .filter(|removal| !off(Rule::RemovalBeatsAdmission) || graph.precedes(index, *removal))
            .find(|removal| !past.contains(*removal) && self.standing(*removal, view).is_some())
    }

    /// Of operations that set one thing, the one that counts: none of the others came after it, and of those done
    /// at the same time its author takes precedence.
    fn settle(
        &self,
        graph: &Graph,
        settings: &[usize],
        view: &View<'_>,
        live: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut newest: Vec<(Precedence, usize)> = Vec::new();
        let mut superseded = 0;
        for index in seen(settings, view).iter().rev().copied() {
            if index < superseded {
                break;
            }
            let Some(standing) = self.standing(index, view) else { continue };
            if live(index) && !newest.iter().any(|(_, newer)| graph.precedes(index, *newer)) {
                newest.push((standing.precedence, index));
                superseded = superseded.max(graph.node(index).past.all_below());
            }
        }
        let precedence = |precedence| (!off(Rule::SettingsByPrecedence)).then_some(precedence);
        newest.into_iter().min_by_key(|(by, index)| (precedence(*by), graph.id(*index))).map(|(_, index)| index)
    }

    /// The admissions by which a person is in.
    pub(crate) fn admissions<'a>(
        &'a self,
        graph: &'a Graph,
        person: PersonId,
        view: &'a View<'_>,
    ) -> impl Iterator<Item = usize> + 'a {
        let about = graph.people.get(&person);
        let introductions = about.into_iter().flat_map(|about| seen(&about.introductions, view)).copied();
        let live = move |index: &usize| {
            self.standing(*index, view).is_some()
                && about.is_some_and(|about| self.ended_by(graph, *index, &about.removals, view).is_none())
        };
        introductions.filter(live)
    }

    /// A person, if they are in.
    pub(crate) fn person(&self, graph: &Graph, person: PersonId, view: &View<'_>) -> Option<Here> {
        let about = graph.people.get(&person)?;
        let live = |index: usize| self.ended_by(graph, index, &about.removals, view).is_none();
        let mut since: Option<usize> = None;
        let mut highest: Option<(Role, usize)> = None;
        let mut expiry: Option<(usize, u64)> = None;
        for index in self.admissions(graph, person, view) {
            let place = graph.place(index);
            if since.is_none_or(|since| place < graph.place(since)) {
                since = Some(index);
            }
            let role = match graph.action(index) {
                Action::Genesis { .. } => Role::Owner,
                Action::AddPerson { role, .. } => *role,
                Action::Grant { expires_ms, .. } => {
                    if expiry.is_none_or(|(latest, _)| place > graph.place(latest)) {
                        expiry = Some((index, *expires_ms));
                    }
                    Role::Guest
                }
                _ => unreachable!("no other action introduces people"),
            };
            let rank = if off(Rule::HighestAdmission) { Role::Owner } else { role };
            if highest.is_none_or(|(other, at)| (rank, place) < (other, graph.place(at))) {
                highest = Some((role, index));
            }
        }
        let (role, given) = match self.settle(graph, &about.roles, view, live) {
            Some(index) => match graph.action(index) {
                Action::SetRole { role, .. } => (*role, index),
                _ => unreachable!("only role settings are listed"),
            },
            None => highest?,
        };
        let expires_ms = expiry.map(|(_, expires_ms)| expires_ms).filter(|_| role == Role::Guest);
        Some(Here { role, given, since: since?, expires_ms })
    }

    /// The person of a device that is in, that person's state, and the operation that brought the device in.
    pub(crate) fn device(&self, graph: &Graph, device: DeviceId, view: &View<'_>) -> Option<(PersonId, Here, usize)> {
        let about = graph.devices.get(&device)?;
        let mut introductions: Vec<_> = about
            .introductions
            .iter()
            .copied()
            .filter(|(index, person)| {
                self.standing(*index, view).is_some()
                    && (off(Rule::RevokedDeviceOut) || self.ended_by(graph, *index, &about.removals, view).is_none())
                    && (off(Rule::DevicesNamedAnew)
                        || self.ended_by(graph, *index, &graph.people[person].removals, view).is_none())
            })
            .collect();
        introductions.sort_unstable_by_key(|(index, _)| graph.place(*index));
        let (index, person, here) = introductions
            .into_iter()
            .find_map(|(index, person)| Some((index, person, self.person(graph, person, view)?)))?;
        Some((person, here, index))
    }

    /// A device that was in, as though it were: only while [`Rule::AuthorIn`] is off.
    pub(crate) fn former(&self, graph: &Graph, device: DeviceId, view: &View<'_>) -> Option<(PersonId, Here, usize)> {
        let about = graph.devices.get(&device).filter(|_| off(Rule::AuthorIn))?;
        let (index, person) = *about.introductions.iter().find(|(index, _)| self.standing(*index, view).is_some())?;
        let Standing { role, .. } = *self.standing(index, view)?;
        Some((person, Here { role, given: index, since: index, expires_ms: None }, index))
    }

    /// What a policy is set to.
    pub(crate) fn policy<'g>(&self, graph: &'g Graph, key: &str, view: &View<'_>) -> Option<&'g str> {
        let setting = self.settle(graph, graph.policies.get(key)?, view, |_| true)?;
        match graph.action(setting) {
            Action::SetPolicy { value, .. } => Some(value),
            _ => unreachable!("only policy settings are listed"),
        }
    }

    pub(crate) fn members_may_invite(&self, graph: &Graph, view: &View<'_>) -> bool {
        self.policy(graph, MEMBERS_MAY_INVITE, view).is_none_or(|value| value != "false")
    }

    /// Whether there is an owner with a device, apart from one person or one device.
    pub(crate) fn has_owner(
        &self,
        graph: &Graph,
        view: &View<'_>,
        without_person: Option<PersonId>,
        without_device: Option<DeviceId>,
    ) -> bool {
        graph.owners.iter().filter(|person| Some(**person) != without_person).any(|person| {
            let owner = self.person(graph, *person, view).is_some_and(|here| here.role == Role::Owner);
            let in_hand = |device: &DeviceId| {
                Some(*device) != without_device
                    && self.device(graph, *device, view).is_some_and(|(whose, _, _)| whose == *person)
            };
            owner && graph.people[person].devices.iter().any(in_hand)
        })
    }
}
