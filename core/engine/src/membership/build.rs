//! From verdicts to the [`Membership`] that people see.

use std::collections::BTreeMap;

use clave_crypto::{DeviceId, PersonId};

use super::action::{Action, DeviceEntry, KeyPackages, RecoveryCertificate};
use super::evaluate::{Evaluation, Verdict};
use super::graph::Graph;
use super::reason::SetAside;
use super::roster::{Device, Former, Membership, Person, Seniority, Stay};
use super::state::View;
use crate::mutation::{Rule, off};

impl Evaluation {
    /// The membership that the operations come to.
    pub(crate) fn membership(&self, graph: &Graph) -> Membership {
        let mut membership = Membership::default();
        for device in graph.devices.keys() {
            self.refresh_device(graph, *device, &mut membership);
            self.refresh_stays(graph, *device, &mut membership);
        }
        for person in graph.people.keys() {
            self.refresh_person(graph, *person, &mut membership);
        }
        for key in graph.policies.keys() {
            self.refresh_policy(graph, key, &mut membership);
        }
        self.refresh_name(graph, &mut membership);
        for index in graph.in_order() {
            if self.standing(index, &self.view()).is_some() || off(Rule::KeptByStanding) {
                membership.kept_changes.extend(graph.action(index).keep_changes());
            }
            membership.set_aside.extend(self.set_aside(graph, index));
        }
        membership
    }

    /// Brings a membership up to date with the newest operation, which [`extend`](Self::extend) took in.
    pub(crate) fn refresh(&self, graph: &Graph, membership: &mut Membership) {
        let index = graph.len() - 1;
        if let Some(set_aside) = self.set_aside(graph, index) {
            let place = |set_aside: &SetAside| graph.index(&set_aside.operation).map(|index| graph.place(index));
            let after = membership.set_aside.partition_point(|other| place(other) < Some(graph.place(index)));
            membership.set_aside.insert(after, set_aside);
        }
        let operation = &graph.node(index).operation;
        if self.standing(index, &self.view()).is_some() || off(Rule::KeptByStanding) {
            membership.kept_changes.extend(operation.action().keep_changes());
        }
        let (person, devices) = operation.action().introduces();
        self.refresh_all(devices.iter().map(DeviceEntry::device), graph, membership);
        if let Some(entry) = person {
            self.refresh_person(graph, entry.person, membership);
        }
        match operation.action() {
            Action::PublishKeyPackages { .. } => self.refresh_device(graph, operation.author(), membership),
            Action::SetProfile { person, .. } | Action::SetRole { person, .. } => {
                self.refresh_person(graph, *person, membership);
            }
            Action::RenameDevice { device, .. } => self.refresh_device(graph, *device, membership),
            Action::RevokeDevice { device, .. } => self.refresh_all([*device], graph, membership),
            Action::RevokePerson { person, .. } | Action::EndGrant { person, .. } => {
                self.refresh_all(graph.people[person].devices.iter().copied(), graph, membership);
                self.refresh_person(graph, *person, membership);
            }
            Action::SetPolicy { key, .. } => self.refresh_policy(graph, key, membership),
            Action::Rename { .. } => self.refresh_name(graph, membership),
            _ => {}
        }
    }

    /// Some devices, and whose they are or were.
    fn refresh_all(&self, devices: impl IntoIterator<Item = DeviceId>, graph: &Graph, membership: &mut Membership) {
        for device in devices {
            self.refresh_device(graph, device, membership);
            self.refresh_stays(graph, device, membership);
            for (_, person) in &graph.devices[&device].introductions {
                self.refresh_person(graph, *person, membership);
            }
        }
    }

    fn refresh_policy(&self, graph: &Graph, key: &str, membership: &mut Membership) {
        if let Some(value) = self.policy(graph, key, &self.view()) {
            membership.policies.insert(key.to_owned(), value.to_owned());
        }
    }

    fn view(&self) -> View<'_> {
        View::of(&self.universe)
    }

    /// The latest of operations that stand.
    fn latest(&self, graph: &Graph, operations: impl IntoIterator<Item = usize>) -> Option<usize> {
        self.latest_seen(graph, operations, &self.view())
    }

    fn latest_seen(
        &self,
        graph: &Graph,
        operations: impl IntoIterator<Item = usize>,
        view: &View<'_>,
    ) -> Option<usize> {
        let standing = operations.into_iter().filter(|index| self.standing(*index, view).is_some());
        standing.max_by_key(|index| graph.place(*index))
    }

    /// How somebody was called, in what a view shows; or else when they were first heard of.
    pub(crate) fn person_name(&self, graph: &Graph, person: PersonId, view: &View<'_>) -> Option<String> {
        let about = graph.people.get(&person)?;
        let first = || about.introductions.iter().copied().min_by_key(|index| graph.place(*index));
        let naming = about.profiles.iter().chain(&about.introductions).copied();
        match graph.action(self.latest_seen(graph, naming, view).or_else(first)?) {
            Action::SetProfile { name, .. } => Some(name.clone()),
            action => action.introduces().0.map(|entry| entry.name.clone()),
        }
    }

    /// How a device was called, in what a view shows; or else when it was first heard of.
    pub(crate) fn device_name(&self, graph: &Graph, device: DeviceId, view: &View<'_>) -> Option<String> {
        let about = graph.devices.get(&device)?;
        let introductions = || about.introductions.iter().map(|(index, _)| *index);
        let first = || introductions().min_by_key(|index| graph.place(*index));
        let naming = about.names.iter().copied().chain(introductions());
        match graph.action(self.latest_seen(graph, naming, view).or_else(first)?) {
            Action::RenameDevice { name, .. } => Some(name.clone()),
            action => device_entry(action, device).map(|entry| entry.name.clone()),
        }
    }

    fn set_aside(&self, graph: &Graph, index: usize) -> Option<SetAside> {
        match self.verdicts[index] {
            Verdict::Void(reason) => {
                let operation = &graph.node(index).operation;
                Some(SetAside { operation: operation.id(), author: operation.author(), reason })
            }
            _ => None,
        }
    }

    fn refresh_name(&self, graph: &Graph, membership: &mut Membership) {
        let latest = self.latest(graph, graph.names.iter().copied());
        if let Some(Action::Genesis { name, .. } | Action::Rename { name }) = latest.map(|index| graph.action(index)) {
            membership.name.clone_from(name);
        }
        if let Some(Action::Genesis { parent, scope, suite, .. }) =
            graph.nodes.first().map(|node| node.operation.action())
        {
            membership.parent = *parent;
            (membership.scope, membership.suite) = (*scope, *suite);
        }
    }

    fn refresh_person(&self, graph: &Graph, person: PersonId, membership: &mut Membership) {
        let (about, view) = (&graph.people[&person], self.view());
        membership.people.remove(&person);
        membership.former_people.remove(&person);
        let Some(latest) = self.latest(graph, about.introductions.iter().copied()) else { return };
        let name = self.person_name(graph, person, &view).unwrap_or_default();
        if let Some(here) = self.person(graph, person, &view) {
            let (depth, operation) = graph.place(here.given);
            let whose = |device: &&DeviceId| membership.devices.get(*device).is_some_and(|d| d.person == person);
            let person_now = Person {
                name,
                role: here.role,
                seniority: Seniority { depth, operation },
                since: graph.id(here.since),
                expires_ms: here.expires_ms,
                recovery: self.recovery(graph, person, &view),
                devices: about.devices.iter().filter(whose).copied().collect(),
            };
            membership.people.insert(person, person_now);
        } else {
            let ends = |removal: &usize| !graph.precedes(*removal, latest);
            if let Some(by) = self.latest(graph, about.removals.iter().copied().filter(ends)) {
                membership.former_people.insert(person, Former { name, by: graph.id(by) });
            }
        }
    }

    /// The recovery key that was set last, or that of the last admission by which a person is in that names one.
    fn recovery(&self, graph: &Graph, person: PersonId, view: &View<'_>) -> Option<RecoveryCertificate> {
        let naming = self.admissions(graph, person, view).filter(|index| graph.recovery_key(*index).is_some());
        let change = self.recovery_change(graph, person, view);
        graph.recovery_certificate(change.or_else(|| naming.max_by_key(|index| graph.place(*index)))?)
    }

    fn refresh_device(&self, graph: &Graph, device: DeviceId, membership: &mut Membership) {
        let (about, view) = (&graph.devices[&device], self.view());
        membership.devices.remove(&device);
        membership.former_devices.remove(&device);
        membership.devices_set_aside.remove(&device);
        let introductions =
            || about.introductions.iter().map(|(index, _)| *index).filter(|index| view.past.contains(*index));
        if let Some((person, _, since)) = self.device(graph, device, &view) {
            let publications = about.key_packages.iter().copied();
            let key_packages = match self.latest(graph, publications.chain(introductions())) {
                Some(index) => key_packages(graph.action(index), device),
                None => KeyPackages::default(),
            };
            let entry = device_entry(graph.action(since), device).expect("that operation brought it in");
            let current = Device {
                person,
                name: self.device_name(graph, device, &view).unwrap_or_default(),
                since: graph.id(since),
                certificate: entry.certificate,
                consent: entry.consent,
                key_packages,
                noise: entry.noise,
            };
            membership.devices.insert(device, current);
            return;
        }
        let Some(latest) = self.latest(graph, introductions()) else {
            let first = introductions().min_by_key(|index| graph.place(*index));
            membership.devices_set_aside.extend(first.map(|index| (device, graph.id(index))));
            return;
        };
        let of_people = about.introductions.iter().flat_map(|(_, person)| &graph.people[person].removals);
        let ends = |removal: &usize| !graph.precedes(*removal, latest);
        if let Some(by) = self.latest(graph, about.removals.iter().chain(of_people).copied().filter(ends)) {
            let name = self.device_name(graph, device, &view).unwrap_or_default();
            membership.former_devices.insert(device, Former { name, by: graph.id(by) });
        }
    }

    fn refresh_stays(&self, graph: &Graph, device: DeviceId, membership: &mut Membership) {
        let (about, view) = (&graph.devices[&device], self.view());
        let mut stays = BTreeMap::new();
        for (index, person) in about.introductions.iter().copied().filter(|(index, _)| view.past.contains(*index)) {
            let ended = |removals: &[usize]| self.ended_by(graph, index, removals, &view).is_some();
            let stay = if self.standing(index, &view).is_none() {
                Stay::SetAside
            } else if !off(Rule::StayEnded) && (ended(&about.removals) || ended(&graph.people[&person].removals)) {
                Stay::Ended
            } else {
                Stay::InStanding
            };
            stays.insert(graph.id(index), stay);
        }
        let not_in_standing = |stays: &BTreeMap<_, _>| stays.values().filter(|stay| **stay != Stay::InStanding).count();
        membership.stays_not_in_standing += not_in_standing(&stays);
        let before = if stays.is_empty() { None } else { membership.stays.insert(device, stays) };
        membership.stays_not_in_standing -= before.map_or(0, |before| not_in_standing(&before));
    }
}

fn device_entry(action: &Action, device: DeviceId) -> Option<&DeviceEntry> {
    action.introduces().1.iter().find(|entry| entry.device() == device)
}

fn key_packages(action: &Action, device: DeviceId) -> KeyPackages {
    match action {
        Action::PublishKeyPackages { key_packages } => key_packages.clone(),
        action => device_entry(action, device).map(|entry| entry.key_packages.clone()).unwrap_or_default(),
    }
}
