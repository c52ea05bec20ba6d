//! Guests with a date: reminding before it, refusing after it, ending the stay for everybody.
//!
//! Time is never an input to the evaluation of the log. Each device stops serving a guest by its own clock, and whichever
//! member is there first writes the operation that ends the stay for all.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{HashContext, PersonId, hash};

use super::*;
use crate::membership::Right;

/// How long before the end of a stay everybody is reminded of it, in milliseconds.
pub const REMIND_BEFORE_MS: [u64; 2] = [24 * 3_600_000, 3_600_000];
/// Members end a stay at different moments within this time, so that as a rule one operation is enough, in milliseconds.
const END_WITHIN_MS: u64 = 25_600;

/// What a circle knows of its guests' dates.
#[derive(Default)]
pub(super) struct Grants {
    /// How many operations of the log that comes from.
    version: usize,
    /// When there is something to do.
    next_ms: Option<u64>,
    /// Reminders that were given, by person and date: how many.
    reminded: BTreeMap<(PersonId, u64), usize>,
    /// Devices of guests whose date has passed by this device's clock.
    expired: BTreeSet<DeviceId>,
    /// How often that was determined.
    looked: u64,
}

impl Circle {
    /// Whether a device is a guest's whose date has passed by this device's clock.
    pub(super) fn has_expired(&self, device: &DeviceId) -> bool {
        self.grants.expired.contains(device)
    }

    /// Changes whenever [`has_expired`](Self::has_expired) may.
    pub(super) fn expired_version(&self) -> u64 {
        self.grants.looked
    }

    /// When [`watch_grants`](Self::watch_grants) has something to do.
    pub(crate) fn grants_at_ms(&self) -> Option<u64> {
        self.grants.next_ms
    }

    /// Reminds of stays that end soon, and ends those that are over.
    pub(crate) fn watch_grants(&mut self, desk: &mut Desk) {
        let version = self.log.len();
        if self.grants.version == version && self.grants.next_ms.is_none_or(|at| desk.now_ms < at) {
            return;
        }
        let dated: Vec<(PersonId, u64, BTreeSet<DeviceId>)> = self
            .log
            .membership()
            .people
            .iter()
            .filter_map(|(person, known)| Some((*person, known.expires_ms?, known.devices.clone())))
            .collect();
        (self.grants.version, self.grants.next_ms) = (version, None);
        self.grants.expired.clear();
        self.grants.looked += 1;
        self.grants.reminded.retain(|(person, date), _| dated.iter().any(|(p, d, _)| (p, d) == (person, date)));
        for (person, expires_ms, devices) in dated {
            if desk.now_ms < expires_ms {
                self.remind(person, expires_ms, desk);
                continue;
            }
            self.grants.expired.extend(devices);
            let turn_ms = expires_ms + self.my_turn_ms(&person, desk);
            if desk.now_ms < turn_ms {
                self.wake_at(turn_ms);
            } else {
                self.end_grant(person, desk);
            }
        }
    }

    /// Ends the stays that are over, before anything is sealed for whose they were.
    pub(super) fn end_expired_grants(&mut self, desk: &mut Desk) {
        if self.grants.expired.is_empty() && self.grants.next_ms.is_none_or(|at| desk.now_ms < at) {
            return;
        }
        let over = |known: &crate::membership::Person| known.expires_ms.is_some_and(|at| at <= desk.now_ms);
        let people = &self.log.membership().people;
        let guests: Vec<PersonId> = people.iter().filter(|(_, known)| over(known)).map(|(person, _)| *person).collect();
        for person in guests {
            self.end_grant(person, desk);
        }
    }

    fn end_grant(&mut self, person: PersonId, desk: &mut Desk) {
        let me = desk.me();
        if !self.is_member(&me) || !self.log.membership().may(me, Right::EndGrant) {
            return;
        }
        if let Err(error) = self.act(Action::end_grant(person), desk) {
            tracing::debug!(circle = %self.id.short(), %error, "the end of a stay is left to others");
        }
    }

    fn remind(&mut self, person: PersonId, expires_ms: u64, desk: &mut Desk) {
        let due = REMIND_BEFORE_MS.iter().filter(|before| desk.now_ms + **before >= expires_ms).count();
        let given = self.grants.reminded.entry((person, expires_ms)).or_default();
        if *given < due {
            *given = due;
            desk.events.push(Event::GrantEnds { circle: self.id, person, expires_ms });
        }
        let next_ms = REMIND_BEFORE_MS.get(due).map_or(expires_ms, |before| expires_ms - before);
        self.wake_at(next_ms);
    }

    fn wake_at(&mut self, at_ms: u64) {
        self.grants.next_ms = Some(self.grants.next_ms.map_or(at_ms, |known| known.min(at_ms)));
    }

    fn my_turn_ms(&self, person: &PersonId, desk: &Desk) -> u64 {
        let name = [self.id.as_bytes().as_slice(), desk.me().as_bytes(), person.as_bytes()].concat();
        u64::from(hash(HashContext::RepairOrder, &name)[0]) * END_WITHIN_MS / 256
    }
}
