//! Which relays there are: those that the policies of this device's spaces name.

use super::*;
use crate::ReadError;

/// Why a relay does not do what it is asked, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// What it says makes no sense.
    #[error(
        "the relay does not speak the protocol; check that its address is that of a relay of Clave, or use another"
    )]
    Nonsense,
    /// Nothing came for too long.
    #[error("the relay does not answer; it is asked again by itself")]
    Silent,
    /// What was sent may not have arrived.
    #[error("the connection to the relay broke; it is tried again by itself")]
    Interrupted,
    /// It speaks another version.
    #[error("the relay speaks another version; update whichever of the two is older")]
    Version,
    /// It is for others.
    #[error("the relay is for some only; ask its operator for a token, and give it to this device, or to be let in")]
    Access,
    /// It does not take the token that this device shows.
    #[error(
        "the relay does not take this device's token; ask its operator for one that is valid, and give it to this device"
    )]
    Token,
    /// It allows fewer mailboxes than this device follows.
    #[error("the relay allows fewer open mailboxes than this device needs; ask its operator, or add another relay")]
    Mailboxes,
    /// It takes only smaller ones.
    #[error("something is larger than the relay takes; it reaches others when they are online together")]
    TooLarge,
    /// This device stored much.
    #[error("the relay takes no more from this device for a while; it goes on by itself")]
    Rate,
    /// It has no room.
    #[error("the relay is full; ask its operator, or add another relay")]
    Full,
    /// It is about to stop.
    #[error("the relay is about to stop; another is used until it is back, if the space has one")]
    Draining,
    /// Its operator does not want this.
    #[error("the operator of the relay blocked this; ask them")]
    Blocked,
    /// Something is wrong there.
    #[error("the relay failed; it is asked again by itself")]
    Internal,
}

impl RelayError {
    pub(super) fn of(reason: Reason) -> Self {
        match reason {
            Reason::Internal => Self::Internal,
            Reason::Malformed | Reason::Proof | Reason::NotOpen | Reason::Unsupported | Reason::Endpoint => {
                Self::Nonsense
            }
            Reason::Version => Self::Version,
            Reason::Access => Self::Access,
            Reason::Mailboxes => Self::Mailboxes,
            Reason::TooLarge => Self::TooLarge,
            Reason::Rate => Self::Rate,
            Reason::NoNewMailboxes | Reason::Full => Self::Full,
            Reason::Draining => Self::Draining,
            Reason::Blocked => Self::Blocked,
        }
    }
}

impl RelayError {
    /// Whether it goes on by itself, without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Silent | Self::Interrupted | Self::Rate | Self::Full | Self::Draining | Self::Internal)
    }

    /// Whether the relay said no, rather than nothing.
    pub(super) fn is_refusal(self) -> bool {
        !matches!(self, Self::Silent | Self::Interrupted | Self::Draining | Self::Internal)
    }
}

/// A relay of a space, as this device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// Its number among the space's.
    pub number: u8,
    /// Where it is.
    pub address: RelayAddress,
    /// Whether it answers.
    pub connected: bool,
    /// Entries and chunks of the space that this device made and that wait to be stored there.
    pub waiting: usize,
    /// What went wrong last, unless all went well since.
    pub error: Option<RelayError>,
}

/// A relay that this device uses, and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayInUse {
    /// Where it is.
    pub address: RelayAddress,
    /// The spaces whose policy names it: it keeps what is written there for who is not online. None: an invitation that this
    /// device took up names it, and it keeps what is said about that.
    pub spaces: BTreeSet<CircleId>,
    /// Whether this device and other members of these spaces are reached through it.
    pub circuits: bool,
}

impl Engine {
    /// All relays that this device uses.
    #[must_use]
    pub fn relays_in_use(&self) -> Vec<RelayInUse> {
        let relay = |relay: &Relay| RelayInUse {
            address: relay.address.clone(),
            spaces: relay.spaces.clone(),
            circuits: relay.circuits,
        };
        self.mailboxes.relays.values().map(relay).collect()
    }

    /// The relays through which this device may reach another: those of the spaces that both are in. No other relay is to
    /// learn that the two have to do with each other.
    #[must_use]
    pub fn relays_towards(&self, device: &DeviceId) -> Vec<RelayAddress> {
        let me = self.desk.me();
        let shared = self.circles.iter().filter(|(_, circle)| circle.is_member(device) && circle.is_member(&me));
        let spaces: BTreeSet<CircleId> = shared.filter_map(|(id, _)| self.space_around(id)).collect();
        let relays = self.mailboxes.relays.values().filter(|relay| relay.circuits);
        relays.filter(|relay| !relay.spaces.is_disjoint(&spaces)).map(|relay| relay.address.clone()).collect()
    }

    /// The relays of a space.
    ///
    /// # Errors
    /// If this device is not in the space.
    pub fn relays(&self, space: CircleId) -> Result<Vec<RelayStatus>, EngineError> {
        let membership = self.membership(space)?;
        let circles = || self.circles.keys().filter(|circle| self.space_around(circle) == Some(space));
        let status = |(number, address): (u8, RelayAddress)| {
            let id = address.relay();
            let relay = self.mailboxes.relays.get(&id);
            let session = relay.and_then(|relay| relay.session.as_ref());
            let waiting = circles().map(|circle| self.mailboxes.outbox.waiting_for(*circle, id).count()).sum();
            let connected = session.is_some_and(|session| matches!(session.state, State::Open { .. }));
            RelayStatus { number, address, connected, waiting, error: relay.and_then(|relay| relay.error) }
        };
        Ok(membership.relays().into_iter().map(status).collect())
    }

    /// Takes up what waits, as the engine opens.
    pub(in crate::engine) fn load_unsent(&mut self) -> Result<(), ReadError> {
        for circle in self.circles.keys() {
            self.mailboxes.outbox.load(*circle, &self.desk)?;
        }
        Ok(())
    }

    /// Works out anew which relays there are, as a log changed.
    pub(in crate::engine) fn update_relays(&mut self) {
        let me = self.desk.me();
        let unsent = self.mailboxes.outbox.circles();
        let unsent: BTreeSet<CircleId> = unsent.iter().filter_map(|circle| self.space_around(circle)).collect();
        let mut wanted: BTreeMap<DeviceId, (RelayAddress, BTreeSet<CircleId>)> = BTreeMap::new();
        for (id, circle) in &self.circles {
            let membership = circle.log.membership();
            // Who left has something to say still, if only that.
            let is_busy = || unsent.contains(id);
            if membership.parent.is_some() || !circle.is_member(&me) && !is_busy() {
                continue;
            }
            for address in membership.relays().into_values().filter(|address| address.relay() != me) {
                wanted.entry(address.relay()).or_insert_with(|| (address, BTreeSet::new())).1.insert(*id);
            }
        }
        for address in self.relays_of_asks().into_iter().filter(|address| address.relay() != me) {
            wanted.entry(address.relay()).or_insert_with(|| (address, BTreeSet::new()));
        }
        let gone: Vec<DeviceId> = self.mailboxes.relays.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in gone {
            self.take_leave(id);
            self.mailboxes.relays.remove(&id);
            records::forget(&id, &mut self.desk);
            self.fetches.lose_peer(&id);
            self.outbox.push(Output::DropRelay(id));
            if self.permitted.contains(&id) {
                // Somebody named a member's device as a relay.
                self.outbox.push(Output::Permit(id));
            }
        }
        for (id, (address, spaces)) in wanted {
            self.want_relay(id, address, spaces);
        }
        self.forget_unserved();
        let served: BTreeSet<CircleId> = self.circles.keys().filter(|circle| self.is_served(circle)).copied().collect();
        self.reaches.forget_unserved(&served);
        self.settle_partly();
    }

    fn want_relay(&mut self, id: DeviceId, address: RelayAddress, spaces: BTreeSet<CircleId>) {
        let me = self.desk.me();
        let circuits = spaces.iter().any(|space| self.circles[space].is_member(&me));
        let known = self.mailboxes.relays.get(&id);
        let is_elsewhere = known.is_none_or(|known| known.address != address || known.circuits != circuits);
        if !is_elsewhere && known.is_some_and(|known| known.spaces == spaces) {
            return;
        }
        let serves_more = known.is_some_and(|known| known.spaces != spaces);
        let is_new = known.is_some_and(|known| known.spaces.is_empty());
        if is_elsewhere {
            self.outbox.push(Output::WantRelay { relay: id, address: address.to_string(), circuits });
        }
        if serves_more {
            // What it was not to have until now is found by comparing, in a session that begins anew.
            self.set_compared(id, false);
            // Where this device only asked to come in so far, it has nothing to compare yet: the session goes on.
            if !is_new && self.mailboxes.relays.get_mut(&id).is_some_and(|relay| relay.session.take().is_some()) {
                self.outbox.push(Output::HangUp(id));
            }
        }
        match self.mailboxes.relays.get_mut(&id) {
            Some(relay) => (relay.address, relay.spaces, relay.circuits) = (address, spaces, circuits),
            None => {
                let record = Record::load(&id, &self.desk).unwrap_or_default();
                let relay = Relay {
                    address,
                    spaces,
                    circuits,
                    record,
                    session: None,
                    wake_key: Vec::new(),
                    error: None,
                    retry_at_ms: 0,
                    retries: 0,
                };
                self.mailboxes.relays.insert(id, relay);
            }
        }
        self.greet_relay(id);
    }

    /// Forgets what waits in circles whose space names no relay any more.
    fn forget_unserved(&mut self) {
        for circle in self.mailboxes.outbox.circles() {
            let space = self.space_around(&circle);
            let is_served = space.is_some_and(|space| self.mailboxes.serving(space).next().is_some());
            if !is_served {
                for item in self.mailboxes.outbox.all(circle) {
                    self.mailboxes.outbox.remove(&item, &mut self.desk);
                }
            }
        }
    }

    /// Remembers what is wrong with a relay, or that nothing is, and says so if that is news.
    pub(super) fn note_relay_error(&mut self, id: DeviceId, error: Option<RelayError>) {
        if let Some(relay) = self.mailboxes.relays.get_mut(&id).filter(|relay| relay.error != error) {
            relay.error = error;
            self.desk.events.push(Event::RelayChanged { relay: id, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        for number in 0..=13 {
            let error = RelayError::of(Reason::try_from(number).expect("a reason"));
            assert!(error.to_string().contains(';'), "{error}");
        }
    }
}
