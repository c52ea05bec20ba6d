//! Who can read what: the log, the leaves of the head, and what each device was seen to use, put together for people.

use std::collections::BTreeMap;

use clave_crypto::PersonId;

use super::*;
use crate::engine::{Access, DeviceAccess, PersonAccess, Reading};

impl Circle {
    /// Who can read what is written now.
    pub(crate) fn access(&self, me: DeviceId, now_ms: u64) -> Access {
        let membership = self.log.membership();
        let head = self.group.head();
        let confirmed = self.confirmed();
        let is_confirmed =
            |device: &DeviceId| *device == me || confirmed.get(device).is_some_and(|(_, depth)| *depth >= head.depth);
        let mut former = self.former_devices();
        let mut people: Vec<PersonAccess> = Vec::new();
        for (person, known) in &membership.people {
            let reading = |device: &DeviceId| match known.expires_ms {
                _ if !self.is_let_in(device) => self.out(device),
                Some(at) if at <= now_ms => self.out(device),
                _ if !head.contains(device) => Reading::Soon,
                Some(at) => Reading::Until(at),
                None => Reading::Now,
            };
            let devices = known.devices.iter().map(|device| DeviceAccess {
                device: *device,
                name: membership.devices[device].name.clone(),
                reading: reading(device),
                confirmed: is_confirmed(device),
            });
            let (name, role) = (known.name.clone(), Some(known.role));
            let devices = devices.chain(former.remove(person).unwrap_or_default()).collect();
            people.push(PersonAccess { person: *person, name, role, removed: None, devices });
        }
        people.sort_by(|a, b| (a.role, &a.name, a.person).cmp(&(b.role, &b.name, b.person)));
        people.extend(self.former_access(former));
        let rotated = !head.leaves.iter().any(|leaf| !self.is_member(leaf));
        let history = membership.history();
        Access { epoch: head.epoch, depth: head.depth, rotated, history, people }
    }

    /// The devices that are out, by person, who may be in with others.
    fn former_devices(&self) -> BTreeMap<PersonId, Vec<DeviceAccess>> {
        let mut devices: BTreeMap<PersonId, Vec<DeviceAccess>> = BTreeMap::new();
        for (device, former) in &self.log.membership().former_devices {
            let Some(person) = self.log.person_of(*device) else { continue };
            let reading = self.out(device);
            let access = DeviceAccess { device: *device, name: former.name.clone(), reading, confirmed: false };
            devices.entry(person).or_default().push(access);
        }
        devices
    }

    fn former_access(&self, mut devices: BTreeMap<PersonId, Vec<DeviceAccess>>) -> Vec<PersonAccess> {
        let membership = self.log.membership();
        let mut people: Vec<PersonAccess> = membership
            .former_people
            .iter()
            .map(|(person, former)| PersonAccess {
                person: *person,
                name: former.name.clone(),
                role: None,
                removed: self.log.describe(&former.by),
                devices: devices.remove(person).unwrap_or_default(),
            })
            .collect();
        people.sort_by(|a, b| (&a.name, a.person).cmp(&(&b.name, b.person)));
        people
    }

    /// A device that is out: whether it still has the keys in use.
    fn out(&self, device: &DeviceId) -> Reading {
        if self.group.head().contains(device) { Reading::Stopping } else { Reading::Ended }
    }
}
