//! Who may have which keys, by the history policy of the circle.
//!
//! With the policy *full* whoever is in may read everything, and keys are handed over under the head. With any other a
//! newcomer gets no key of an epoch from before it came: what some lack and others must not have goes to each alone.
//!
//! That is about the chat. A note, a calendar or a drive is what was done to it from the beginning, so whoever is to see
//! it as it is needs all of that. So the changes of such documents are sealed with the *lasting key* of the epoch, which
//! derives from the content key and leads nowhere. Under every policy whoever is in may have the lasting keys of all
//! epochs, and they are handed over under the head's, as content keys are with the policy *full*. They never expire.

use clave_crypto::DeviceId;

use super::*;
use crate::group::Held;
use crate::membership::History;

/// Keys in one bundle for one device, so that it fits an entry.
const DIRECT_KEYS: usize = 4_096;
/// How long before this device came an entry has to be from, not to be waited for, in hours. Clocks differ.
const BEFORE_HOURS: u32 = 24;

impl Circle {
    /// Whether everybody who is in may read everything.
    pub(super) fn is_shared(&self) -> bool {
        self.log.membership().history() == History::Full
    }

    /// Whether lasting keys are to be handed over by themselves: for content keys, which lead to them, are not, or expired.
    pub(super) fn hands_over_lasting(&self) -> bool {
        !self.is_shared() || self.lasting.len() != self.keys.len()
    }

    /// The keys that a newcomer may have.
    pub(crate) fn history(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        let lasting = self.lasting.iter().filter(|_| self.hands_over_lasting() && !off(Rule::LastingKeys));
        self.keys.iter().filter(|_| self.is_shared()).chain(lasting)
    }

    /// The keys for another device of this device's person, who may read whatever this device can.
    pub(crate) fn own_history(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.keys.iter().chain(self.lasting.iter().filter(|_| self.hands_over_lasting()))
    }

    /// Whether the policy lets a device have a key. It does if its person is in the key's epoch, with whichever of their
    /// devices, or was in where that epoch's line leaves the head's: then they were in before, on a branch that did not know
    /// of the other. A device of this device's own person may have whatever is here.
    pub(super) fn may_have(&self, device: &DeviceId, held: &Held, me: DeviceId) -> bool {
        if self.is_shared() || held.key.is_lasting() || off(Rule::HistoryPolicy) {
            return true;
        }
        let membership = self.log.membership();
        let person_of = |device: &DeviceId| membership.devices.get(device).map(|known| known.person);
        let person = person_of(device);
        if person.is_some() && person == person_of(&me) && !off(Rule::OwnDevicesRead) {
            return true;
        }
        let theirs = person.and_then(|person| membership.people.get(&person)).map(|known| &known.devices);
        let line: BTreeSet<EpochId> = self.group.line_of(self.group.head().epoch).collect();
        let forks_at = self.group.line_of(held.epoch).find(|epoch| line.contains(epoch));
        let was_in = |epoch: &EpochId| {
            self.group.get(epoch).is_some_and(|checkpoint| {
                let others = theirs.into_iter().flatten().filter(|_| !off(Rule::OwnDevicesRead));
                checkpoint.contains(device) || others.into_iter().any(|other| checkpoint.contains(other))
            })
        };
        // What is said of the epoch of a key that was not derived here says nothing of who may have it.
        (held.derived || off(Rule::KeysDerived)) && (was_in(&held.epoch) || forks_at.as_ref().is_some_and(was_in))
    }

    /// Keys, with the heads of the log of who hands them over.
    pub(super) fn bundle(&self, keys: Vec<proto::ContentKey>) -> proto::KeyBundle {
        proto::KeyBundle { keys, operations: self.cites(), ..proto::KeyBundle::default() }
    }

    /// Hands keys to each device that may have them and is not in their epoch, and tells all that this was done.
    pub(super) fn hand_over_directly(&mut self, ids: &[KeyId], desk: &mut Desk) -> Result<(), EngineError> {
        let me = desk.me();
        let devices = self.log.membership().devices.keys().copied();
        let others: Vec<DeviceId> = devices.filter(|device| *device != me).collect();
        for device in others {
            let lacks = |held: &&Held| !self.group.get(&held.epoch).is_some_and(|at| at.contains(&device));
            let held = ids.iter().filter_map(|id| self.keys.held(id));
            let held = held.filter(lacks).filter(|held| self.may_have(&device, held, me));
            let keys: Vec<_> = held.map(wire_key).collect();
            for keys in keys.chunks(DIRECT_KEYS) {
                let bundle = self.bundle(keys.to_vec());
                match self.publish_direct(device, Body::Keys(bundle), desk) {
                    Err(EngineError::NoSuchDevice) => {}
                    published => drop(published?),
                }
            }
        }
        let head = self.group.head().epoch;
        for ids in ids.chunks(DIRECT_KEYS) {
            let given = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
            let bundle = proto::KeyBundle { keys: Vec::new(), operations: self.cites(), given, log: Vec::new() };
            self.publish_under(head, Body::Keys(bundle), desk)?;
        }
        Ok(())
    }

    /// Whether an entry under a key that is not here is from before this device's person came, and not for them to read.
    pub(super) fn is_from_before(&self, envelope: &Envelope, desk: &Desk) -> bool {
        if self.is_shared() || envelope.tag.is_lasting() {
            return false;
        }
        let membership = self.log.membership();
        let me = membership.devices.get(&desk.me()).and_then(|me| membership.people.get(&me.person));
        let devices = me.into_iter().flat_map(|me| &me.devices).filter_map(|device| membership.devices.get(device));
        let came = devices.filter_map(|device| self.log.operation(&device.since)).map(Operation::time_ms).min();
        came.is_some_and(|came_ms| {
            let came = u32::try_from(came_ms / crate::entry::HOUR_MS).unwrap_or(u32::MAX);
            envelope.hour.saturating_add(BEFORE_HOURS) < came
        })
    }
}

/// A key as a bundle has it.
pub(super) fn wire_key(held: &Held) -> proto::ContentKey {
    proto::ContentKey {
        epoch: held.epoch.as_bytes().to_vec(),
        key: held.key.as_bytes().to_vec(),
        lasting: held.key.is_lasting(),
    }
}
