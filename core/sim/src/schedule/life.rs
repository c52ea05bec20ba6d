//! What people have beside one circle and one device: circles inside the space, further devices, phrases for the day when
//! all devices are gone.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::PersonId;
use clave_engine::membership::{Role, Scope};
use clave_engine::{CircleId, Event};

use super::Run;
use crate::{Who, World};

/// How many circles there are inside the space, at most.
const CIRCLES_MAX: usize = 6;
/// The most people that a circle is founded with.
const FOUNDED_WITH_MAX: u64 = 4;

pub(super) struct Life {
    pub(super) space: CircleId,
    /// The circles in it, each with a name for whoever reads of it.
    circles: Vec<(CircleId, String)>,
    /// Devices that took up a code, and the devices that showed it.
    links: BTreeMap<Who, Who>,
    /// What people have put aside: the last export of each.
    exports: BTreeMap<PersonId, Vec<u8>>,
    /// How many devices were restored.
    pub(super) recovered: u64,
}

impl Life {
    pub(super) fn new(space: CircleId) -> Self {
        Self { space, circles: Vec::new(), links: BTreeMap::new(), exports: BTreeMap::new(), recovered: 0 }
    }

    /// The space, and all circles in it. The space's name is empty.
    pub(super) fn named_circles(&self) -> Vec<(CircleId, String)> {
        [(self.space, String::new())].into_iter().chain(self.circles.iter().cloned()).collect()
    }

    /// How many devices are linked to somebody, and have all circles.
    pub(super) fn linked(&self, world: &World) -> u64 {
        let is_linked = |who: &&Who| world.device(**who).events.contains(&Event::LinkFinished);
        self.links.keys().filter(is_linked).count() as u64
    }
}

impl Run {
    pub(super) fn is_private(&self) -> bool {
        self.circle != self.life.space
    }

    /// Somebody does what people do with several circles and devices. If nobody does, they work: in the space, or in the
    /// circle that is chosen here.
    pub(super) fn somebody_lives(&mut self) -> bool {
        match self.world.random.between(0..100) {
            0..8 => self.found_circle(),
            8..12 => self.begin_chat(),
            12..19 => self.link_device(),
            19..24 => self.revoke_own_device(),
            24..30 => self.put_aside(),
            30..36 => self.come_back(),
            36..70 => {
                let circles: Vec<CircleId> = self.life.circles.iter().map(|(id, _)| *id).collect();
                let circle = self.world.random.pick(&circles);
                self.circle = circle.unwrap_or(self.life.space);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn found_circle(&mut self) {
        let Some(who) = self.somebody().filter(|_| self.life.circles.len() < CIRCLES_MAX) else { return };
        let space = self.life.space;
        let others = self.world.people(who, space);
        let mut people = BTreeSet::new();
        for _ in 0..self.world.random.between(0..FOUNDED_WITH_MAX + 1) {
            people.extend(self.world.random.pick(&others));
        }
        let people: Vec<PersonId> = people.into_iter().collect();
        let scope = if self.world.random.permille(250) { Scope::Isolated } else { Scope::Nested };
        let name = format!("the {scope:?} circle number {}", self.life.circles.len() + 1);
        let founded = self.world.input(who, |engine, now| engine.create_circle(space, &name, scope, &people, now));
        match founded {
            Ok(circle) => {
                self.world.note(format_args!("found {name} {}", who.0), &[]);
                self.life.circles.push((circle, name));
            }
            Err(error) => self.world.note(format_args!("{} may not found {name}: {error}", who.0), &[]),
        }
    }

    fn begin_chat(&mut self) {
        let Some(who) = self.somebody().filter(|_| self.life.circles.len() < CIRCLES_MAX) else { return };
        let (space, own) = (self.life.space, self.world.device(who).person);
        let mut others = self.world.people(who, space);
        others.retain(|person| *person != own);
        let Some(other) = self.world.random.pick(&others) else { return };
        if !matches!(self.world.engine(who).direct_circle(space, other), Ok(None)) {
            return;
        }
        if let Ok(circle) = self.world.input(who, |engine, now| engine.create_direct_circle(space, other, now)) {
            let name = format!("the chat number {}", self.life.circles.len() + 1);
            self.world.note(format_args!("found {name} {}", who.0), &[]);
            self.life.circles.push((circle, name));
        }
    }

    /// Brings somebody of the space into the circle that people act in, for good or as a guest.
    pub(super) fn bring_in(&mut self) {
        let Some(by) = self.somebody() else { return };
        let (space, circle) = (self.life.space, self.circle);
        let there = self.world.people(by, circle);
        let mut others = self.world.people(by, space);
        others.retain(|person| !there.contains(person));
        let Some(person) = self.world.random.pick(&others) else { return };
        let guest = self.world.random.permille(200);
        let lasts_ms = self.world.random.between(1_000..300_000);
        let done = self.world.input(by, |engine, now| match guest {
            true => engine.grant_until(circle, person, now + lasts_ms, now),
            false => engine.add_person(circle, person, Role::Member, now),
        });
        let whom = self.world.first_of(person).map(|who| who.0);
        self.world.note(format_args!("act {} brings {whom:?} in: {done:?}", by.0), &[]);
    }

    /// Whether the plan has room for one device more.
    fn is_room(&self) -> bool {
        self.people.len() < self.plan.devices
    }

    /// What the next device of a person is called.
    fn next_name(&self, of: Who) -> String {
        let person = self.world.device(of).person;
        let first = self.world.first_of(person).unwrap_or(of);
        format!("{}'s device {}", self.world.device(first).name, self.people.len())
    }

    fn link_device(&mut self) {
        let Some(shows) = self.somebody().filter(|_| self.is_room()) else { return };
        let name = self.next_name(shows);
        let new = self.world.link(shows, &name);
        self.take_up(new);
        self.life.links.insert(new, shows);
    }

    /// A further device is there, which nobody has to invite.
    fn take_up(&mut self, new: Who) {
        self.people.push(new);
        self.invited.push(new);
    }

    /// Somebody revokes a device of their own: one that is lost, if there is any.
    fn revoke_own_device(&mut self) {
        let Some(by) = self.somebody().filter(|_| self.plan.removals) else { return };
        let own = self.world.device(by).person;
        let mut devices: Vec<Who> = self.people.iter().copied().filter(|who| *who != by).collect();
        devices.retain(|who| self.world.device(*who).person == own);
        let lost: Vec<Who> = devices.iter().copied().filter(|who| self.world.is_lost(*who)).collect();
        let Some(whom) = self.world.random.pick(&lost).or_else(|| self.world.random.pick(&devices)) else { return };
        let _ = self.world.revoke_own_device(by, whom);
    }

    /// Somebody makes an export of their account.
    fn put_aside(&mut self) {
        let Some(who) = self.somebody() else { return };
        let person = self.world.device(who).person;
        let export = self.world.export(who, |_| {});
        self.life.exports.insert(person, export);
    }

    /// Somebody who has lost all devices comes back; if nobody has, somebody loses them.
    fn come_back(&mut self) {
        let exports: Vec<PersonId> = self.life.exports.keys().copied().collect();
        let (mut gone, mut here) = (Vec::new(), Vec::new());
        for person in exports {
            match self.devices_of(person).iter().all(|who| self.world.is_lost(*who)) {
                true => gone.push(person),
                false => here.push(person),
            }
        }
        if let Some(person) = self.world.random.pick(&gone).filter(|_| self.is_room()) {
            let phrase_of = self.world.first_of(person).expect("who made an export has a device");
            let (name, phrase) = (self.next_name(phrase_of), self.world.phrase(phrase_of));
            let new = self.world.restore(&name, &self.life.exports[&person].clone(), &phrase);
            self.take_up(new);
            self.life.recovered += 1;
        } else if let Some(person) = self.world.random.pick(&here).filter(|_| self.is_room()) {
            let devices = self.devices_of(person);
            let lost = self.people.iter().filter(|who| self.world.is_lost(**who)).count();
            if lost + devices.len() <= self.people.len() / 3 {
                devices.into_iter().for_each(|who| self.world.lose(who));
            }
        }
    }

    fn devices_of(&self, person: PersonId) -> Vec<Who> {
        self.people.iter().copied().filter(|who| self.world.device(*who).person == person).collect()
    }

    /// Whose device showed a code and is lost, or out, waits for its circles for ever; and so does whose link came to
    /// nothing half way, in a circle into which it was written and that was not handed over.
    pub(super) fn note_unlinked(&mut self, members: &BTreeSet<Who>) {
        for (new, shows) in &self.life.links {
            let events = &self.world.device(*new).events;
            let failed = events.iter().any(|event| matches!(event, Event::LinkFailed { .. }));
            if failed || !members.contains(shows) && !events.contains(&Event::LinkFinished) {
                self.world.unanswered.insert(*new);
            }
        }
    }
}
