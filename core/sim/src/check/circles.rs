//! Circles inside a space: who is in, going by two logs; and that nobody else has a trace of them.

use std::collections::BTreeSet;

use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::fuzzing::inside;
use clave_engine::membership::{Log, Operation, Scope};
use clave_engine::{CircleId, Keyspace, StoreRead};

use super::Check;
use super::rights::admits;
use crate::{Who, World};

impl World {
    /// The space that a circle is nested in, as any device says that is up and knows of it.
    fn space_around(&mut self, circle: CircleId) -> Option<CircleId> {
        let up: Vec<Who> = self.everyone().filter(|who| self.is_up(*who)).collect();
        up.into_iter().find_map(|who| {
            let membership = self.engine(who).membership(circle).ok()?;
            membership.parent.filter(|_| membership.scope == Scope::Nested)
        })
    }

    /// Who is in a circle, as a device sees it: by its log, and by that of the space that it is nested in.
    pub(crate) fn roster(&mut self, who: Who, circle: CircleId) -> BTreeSet<DeviceId> {
        let engine = self.engine(who);
        let Ok(membership) = engine.membership(circle) else { return BTreeSet::new() };
        let space = membership.parent.filter(|_| membership.scope == Scope::Nested);
        let space = space.and_then(|space| engine.membership(space).ok());
        let lets_in = |device: &&DeviceId| space.is_none_or(|space| space.devices.contains_key(*device));
        membership.devices.keys().filter(lets_in).copied().collect()
    }

    /// Whether a device was restored and nobody has let it in yet.
    pub(super) fn is_apart(&mut self, who: Who, circle: CircleId) -> bool {
        self.engine(who).status(circle).is_ok_and(|status| status.rejoining)
    }

    /// Whether a device hears of a circle when it is brought in: one inside a space is introduced through it, by members who
    /// are in both.
    pub(super) fn is_reached(&mut self, who: Who, circle: CircleId) -> bool {
        let up: Vec<Who> = self.everyone().filter(|who| self.is_up(*who)).collect();
        let space = up.into_iter().find_map(|who| self.engine(who).membership(circle).ok().and_then(|of| of.parent));
        let Some(space) = space else { return true };
        let (around, inside) = (self.members(space), self.members(circle));
        around.contains(&who) && inside.iter().any(|member| around.contains(member))
    }

    /// Whether anybody is in, by all that is known, who could do anything: who is out may not have been told.
    pub(super) fn is_anybody_in(&mut self, circle: CircleId) -> bool {
        let everybody: Vec<Who> = self.members(circle).into_iter().filter(|who| !self.rogues.is_one(*who)).collect();
        let roster = self.united_roster(circle, &everybody);
        roster.iter().filter_map(|id| self.who(id)).any(|who| self.is_expected(who))
    }

    /// Whether a device was brought in by somebody who told nobody else before they were lost: it was given all keys up to
    /// then, and the others do not know it.
    pub(super) fn is_stranded(&mut self, who: Who, circle: CircleId, first: Who) -> bool {
        let id = self.device(who).id;
        let space = self.space_around(circle);
        let since = |world: &mut Self, circle: CircleId| {
            let engine = world.is_up(who).then(|| world.engine(who))?;
            engine.membership(circle).ok()?.devices.get(&id).map(|device| device.since)
        };
        let circles: Vec<CircleId> = [circle].into_iter().chain(space).collect();
        circles.into_iter().any(|circle| {
            let Some(since) = since(self, circle) else { return false };
            inside::log(self.engine(first), circle).is_some_and(|log| log.operation(&since).is_none())
        })
    }

    /// Who is in by all that those devices know together.
    pub(super) fn united_roster(&mut self, circle: CircleId, believers: &[Who]) -> BTreeSet<DeviceId> {
        let mut union = Log::new(circle);
        for who in believers {
            for operation in inside::log(self.engine(*who), circle).into_iter().flat_map(Log::operations) {
                // It was verified where it comes from.
                let _ = union.insert_verified(operation.clone());
            }
        }
        let mut roster: BTreeSet<DeviceId> = union.membership().devices.keys().copied().collect();
        if let Some(space) = self.space_around(circle) {
            let mut outer = self.members(space);
            outer.retain(|who| !self.rogues.is_one(*who));
            let outer = self.united_roster(space, &outer);
            roster.retain(|device| outer.contains(device));
        }
        roster
    }

    /// Everybody whom any operation of a circle ever named, on whatever disk it is.
    fn ever_named(&self, circle: CircleId) -> BTreeSet<PersonId> {
        let mut named = BTreeSet::new();
        for who in self.everyone() {
            let read = &mut |_: &[u8], bytes: Vec<u8>| {
                let operation = Operation::decode(&bytes).ok();
                let devices = operation.iter().flat_map(admits);
                named.extend(devices.filter_map(|id| Some(self.device(self.who(&id)?).person)));
                true
            };
            self.device(who).disk.scan(Keyspace::Operations, circle.as_bytes(), &[], read).expect("memory can be read");
        }
        named
    }

    /// Nobody who was never brought into a circle inside a space has its id, its name or an entry of it anywhere on their
    /// disk, or was told of it. A space is no secret to those with whom links are exchanged.
    pub(super) fn check_privacy(&mut self, circle: CircleId, faults: &mut Vec<String>) {
        let up: Vec<Who> = self.everyone().filter(|who| self.is_up(*who)).collect();
        let genesis = up.into_iter().find_map(|who| {
            let membership = self.engine(who).membership(circle).ok()?;
            membership.parent.map(|_| membership.name.clone())
        });
        let Some(name) = genesis else { return };
        let named = self.ever_named(circle);
        let outside = |who: &Who| !named.contains(&self.device(*who).person);
        let outside: Vec<Who> = self.everyone().filter(outside).collect();
        let mut entries = BTreeSet::new();
        for who in self.everyone() {
            entries.extend(self.device(who).disk.suffixes(Keyspace::Entries, circle.as_bytes()));
        }
        let mut secrets: Vec<(&str, Vec<u8>)> = vec![("the id", circle.as_bytes().to_vec())];
        secrets.extend((!name.is_empty()).then(|| ("the name", name.into_bytes())));
        for who in outside {
            let device = self.device(who);
            for (what, secret) in &secrets {
                if let Some(key) = device.disk.find(secret) {
                    let what = format!("{} has {what} of a circle it was never in, under {key:?}", device.name);
                    faults.push(Check::Private.fault(&what));
                }
            }
            if device.disk.has_suffix(Keyspace::Entries, &entries) {
                faults.push(Check::Private.fault(&format!("{} has an entry of a circle it was never in", device.name)));
            }
            let told = format!("{:?}", device.events);
            let knows = self.is_up(who) && self.circles(who).contains(&circle);
            if knows || told.contains(&format!("{circle:?}")) {
                let what = format!("{} was told of a circle it was never in", self.device(who).name);
                faults.push(Check::Private.fault(&what));
            }
        }
    }
}
