//! The devices of this device's person: keeping them in every circle, listing them, naming one, revoking one.

use super::*;
use crate::identity::check_name;
use crate::membership::{Action, DeviceEntry};

/// A device of this device's person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDevice {
    /// Which.
    pub device: DeviceId,
    /// What the person calls it.
    pub name: String,
    /// The circles that it is in, as far as this device is in them too.
    pub circles: Vec<CircleId>,
    /// Whether it is connected now, or is this one.
    pub online: bool,
}

impl Engine {
    /// This person's devices that are in some circle with this one, and this one, in order of id.
    #[must_use]
    pub fn own_devices(&self) -> Vec<OwnDevice> {
        let me = self.desk.me();
        let own = |device, name| OwnDevice { device, name, circles: Vec::new(), online: false };
        let mut devices = BTreeMap::from([(me, own(me, self.identity.device_name().to_owned()))]);
        let Some(person) = self.identity.person() else { return Vec::new() };
        for circle in self.circles.values() {
            let membership = circle.log.membership();
            for device in membership.people.get(&person).into_iter().flat_map(|person| &person.devices) {
                if circle.is_member(device)
                    && let Some(known) = membership.devices.get(device)
                {
                    let entry = devices.entry(*device).or_insert_with(|| own(*device, known.name.clone()));
                    entry.circles.push(circle.id);
                }
            }
        }
        for device in devices.values_mut() {
            device.online = device.device == me || self.peers.contains_key(&device.device);
        }
        devices.into_values().collect()
    }

    /// Command: revokes a device of this person, for example one that was lost, in every circle that this device is in. The
    /// keys change at once. What it did or wrote at the same time is set aside.
    ///
    /// # Errors
    /// If it is no device of this person that is in any circle here, or is this one, or no owner would be left in some
    /// circle. In circles before that one it is revoked.
    pub fn revoke_own_device(&mut self, device: DeviceId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let own = self.own_devices().into_iter().find(|own| own.device == device && device != self.desk.me());
        let done = own.ok_or(EngineError::NoSuchDevice).and_then(|own| {
            // One circle that refuses, for want of another owner, must not leave a lost device in all the others.
            let revoked = own.circles.into_iter().map(|circle| {
                let (circle, desk) = self.circle_mut(circle)?;
                circle.act(Action::revoke_device(device), desk)
            });
            revoked.fold(Ok(()), Result::and)
        });
        self.finish();
        done
    }

    /// Command: says how a device of this person is called, this one or another, in every circle that it is in with this one.
    /// The device itself, when it hears of it, says so in its other circles.
    ///
    /// # Errors
    /// If the name cannot be used, or it is no device of this person. In circles before one that refuses it is renamed.
    pub fn rename_own_device(&mut self, device: DeviceId, name: &str, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let name = check_name(name)?.to_owned();
        let own = self.own_devices().into_iter().find(|own| own.device == device).ok_or(EngineError::NoSuchDevice)?;
        if device == self.desk.me() {
            self.desk.renamed = Some(name.clone());
        }
        let done = own.circles.into_iter().map(|circle| self.rename_in(circle, device, &name));
        let done = done.fold(Ok(()), Result::and);
        self.finish();
        done
    }

    /// In a circle where it is called so already, nothing is done.
    fn rename_in(&mut self, circle: CircleId, device: DeviceId, name: &str) -> Result<(), EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        let known = circle.log.membership().devices.get(&device);
        if known.is_none_or(|known| known.name == name) {
            return Ok(());
        }
        circle.act(Action::RenameDevice { device, name: name.to_owned() }, desk)
    }

    /// Takes up the name that another device of this person gave this one, and says so in circles that the other is not in.
    pub(super) fn follow_own_name(&mut self) {
        let Some(name) = self.desk.renamed.take() else { return };
        if self.identity.device_name() == name {
            return;
        }
        let me = self.desk.me();
        self.identity.rename_device(name.clone());
        for (key, value) in self.identity.to_batch().writes {
            value.into_iter().for_each(|value| self.desk.put(key.clone(), value));
        }
        let circles: Vec<CircleId> = self.circles.keys().copied().collect();
        for circle in circles {
            if let Err(error) = self.rename_in(circle, me, &name) {
                tracing::warn!(circle = %circle.short(), %error, "this device could not be renamed everywhere");
            }
        }
        // Its own operations said the same once more.
        self.desk.renamed = None;
        self.desk.events.push(Event::Renamed { name });
    }

    /// Brings devices of this person into circles of a space that they are in: ones that were linked after the circle was
    /// founded. Of those of the person's devices that are in the circle and connected, the one with the least id does.
    pub(super) fn care_for_own_devices(&mut self) {
        let (me, Some(person)) = (self.desk.me(), self.identity.person()) else { return };
        let mut lacking: Vec<(CircleId, DeviceEntry)> = Vec::new();
        for circle in self.circles.values().filter(|circle| circle.is_member(&me) && !circle.is_apart()) {
            let membership = circle.log.membership();
            let Some(root) = membership.parent.and_then(|space| self.circles.get(&space)) else { continue };
            let Some(there) = root.log.membership().people.get(&person) else { continue };
            let is_out = |device: &DeviceId| {
                !membership.devices.contains_key(device)
                    // Whoever revoked it here meant it.
                    && !membership.former_devices.contains_key(device)
                    && root.is_member(device)
                    // It asks for its circles one by one just now.
                    && !self.joins.answering.keys().any(|(peer, _)| peer == device)
            };
            if !there.devices.iter().any(is_out) {
                continue;
            }
            let connected = |device: &&DeviceId| **device == me || self.peers.contains_key(*device);
            let in_circle = there.devices.iter().filter(|device| circle.is_member(device));
            if in_circle.filter(connected).min() != Some(&me) {
                continue;
            }
            let devices = root.device_entries(person, circle.suite()).filter(|entry| is_out(&entry.device()));
            // One that has not said yet how it can be added waits until it has.
            let same = root.suite() == circle.suite();
            let devices = devices.filter(|entry| same || entry.key_packages.last_resort.is_some());
            lacking.extend(devices.map(|device| (circle.id, device)));
        }
        for (id, device) in lacking {
            let circle = self.circles.get_mut(&id).expect("it was there above");
            let added = circle.act(Action::AddDevice { device }, &mut self.desk);
            if let Err(error) = added.and_then(|()| circle.catch_up_roster(&mut self.desk)) {
                tracing::warn!(circle = %id.short(), %error, "a device of one's own could not be brought in");
            }
        }
    }
}
