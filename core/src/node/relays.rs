//! Which relays this device uses, what each is trusted with, and by whose word.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::DeviceId;
use clave_engine::{RelayInUse, SpaceId};
use clave_transport::{Address, PeerKey, RelayInfo};

use super::driver::{Driver, hang_up, now_ms};

/// How long connections through a relay that is not wanted any more may go on, in milliseconds: they may be how the others
/// hear of that.
const PARTING_MS: u64 = 5_000;

/// A relay that this device uses. What it is trusted with follows from who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayUse {
    /// Its address, with its key.
    pub address: String,
    /// Whether the person named it ([`NetworkConfig::relays`](crate::NetworkConfig::relays)).
    pub by_person: bool,
    /// The spaces whose policy names it.
    pub by_spaces: Vec<SpaceId>,
    /// Whether it keeps, sealed, what is for who is not online: what is written in the spaces that name it, or what is said
    /// about an invitation that this device took up. It learns which mailboxes this device opens.
    pub mailboxes: bool,
    /// Whether this device wants to be reached through it. It learns who talks to whom through it, and how much. Other
    /// members are dialled through the relays of the spaces that are shared with them, and through what they say
    /// themselves.
    pub circuits: bool,
    /// Whether this device can be reached through it now. If not, and it is to carry circuits, it is asked again and again.
    pub reserved: bool,
}

/// The relays of a node: those that it asks for places, and those that the engine speaks with.
pub(super) fn in_use(asked: &[RelayInfo], by_person: &[Address], wanted: &[RelayInUse]) -> Vec<RelayUse> {
    let is_same = |asked: &RelayInfo, wanted: &RelayInUse| {
        asked.address.peer().is_some_and(|key| key.0 == *wanted.address.relay().as_bytes())
    };
    let of_asked = |relay: &RelayInfo| {
        let wanted = wanted.iter().find(|wanted| is_same(relay, wanted));
        RelayUse {
            address: relay.address.to_string(),
            by_person: by_person.contains(&relay.address),
            by_spaces: wanted.map(|wanted| wanted.spaces.iter().copied().collect()).unwrap_or_default(),
            mailboxes: wanted.is_some(),
            circuits: true,
            reserved: relay.reserved,
        }
    };
    let of_wanted = |relay: &RelayInUse| RelayUse {
        address: relay.address.to_string(),
        by_person: false,
        by_spaces: relay.spaces.iter().copied().collect(),
        mailboxes: true,
        circuits: relay.circuits,
        reserved: false,
    };
    let not_asked = wanted.iter().filter(|wanted| !asked.iter().any(|asked| is_same(asked, wanted)));
    asked.iter().map(of_asked).chain(not_asked.map(of_wanted)).collect()
}

/// What the driver has to know of relays.
#[derive(Default)]
pub(super) struct Relays {
    /// Those the person named: they are asked for places from the start, whatever a space says of them.
    by_person: BTreeSet<DeviceId>,
    /// Those the engine wants, with the address of those that are to carry circuits.
    wanted: BTreeMap<DeviceId, Option<Address>>,
    /// Those it does not want any more, and when to end the connection, in Unix milliseconds.
    parting: BTreeMap<DeviceId, u64>,
}

/// How the places that this device asks for change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Move {
    /// A relay to ask no more.
    pub(super) leave: Option<Address>,
    /// One to ask.
    pub(super) ask: Option<Address>,
}

impl Relays {
    pub(super) fn named_by_person(relays: &[Address]) -> Self {
        let by_person = relays.iter().filter_map(Address::peer).map(|key| DeviceId::from_bytes(key.0)).collect();
        Self { by_person, ..Self::default() }
    }

    /// Whether the engine wants it.
    pub(super) fn contains(&self, relay: &DeviceId) -> bool {
        self.wanted.contains_key(relay)
    }

    /// Whether members are reached through any.
    pub(super) fn carry_circuits(&self) -> bool {
        self.wanted.values().any(Option::is_some)
    }

    /// The engine wants a relay, at an address if it is to carry circuits.
    pub(super) fn want(&mut self, relay: DeviceId, address: Option<Address>) -> Move {
        self.parting.remove(&relay);
        self.change(relay, |wanted| _ = wanted.insert(relay, address))
    }

    /// It does not any more.
    pub(super) fn drop(&mut self, relay: DeviceId, now_ms: u64) -> Move {
        // What the person named gives a place still.
        if !self.by_person.contains(&relay) {
            self.parting.insert(relay, now_ms + PARTING_MS);
        }
        self.change(relay, |wanted| _ = wanted.remove(&relay))
    }

    /// When somebody is due next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.parting.values().min().copied()
    }

    /// Those with which the connection is to end now.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<DeviceId> {
        self.parting.extract_if(.., |_, at| *at <= now_ms).map(|(relay, _)| relay).collect()
    }

    fn change(&mut self, relay: DeviceId, change: impl FnOnce(&mut BTreeMap<DeviceId, Option<Address>>)) -> Move {
        let place = |wanted: &BTreeMap<DeviceId, Option<Address>>| wanted.get(&relay).cloned().flatten();
        let before = place(&self.wanted);
        change(&mut self.wanted);
        let after = place(&self.wanted);
        if self.by_person.contains(&relay) || before == after {
            return Move::default();
        }
        Move { leave: before, ask: after }
    }
}

impl Driver {
    /// Is connected with a relay from now on, and asks it for a place if it is to carry circuits.
    pub(super) async fn want_relay(&mut self, relay: DeviceId, address: String, circuits: bool) {
        let place = address.parse().ok().filter(|_| circuits);
        let moved = self.relays.want(relay, place);
        self.dialer.learn(relay, vec![address], now_ms());
        if let Some((transport, _)) = &self.network {
            transport.permit(PeerKey(*relay.as_bytes()));
        }
        let has_left = moved.leave.is_some();
        self.move_places(moved).await;
        if has_left {
            // The place that it has ends with the connection.
            hang_up(self.network.as_ref(), relay);
        }
    }

    /// No longer, unless the person named it: then only the space has no more to do with it.
    pub(super) async fn drop_relay(&mut self, relay: DeviceId) {
        let moved = self.relays.drop(relay, now_ms());
        self.dialer.forget(&relay);
        if let Some((transport, _)) = &self.network {
            transport.forbid(PeerKey(*relay.as_bytes()));
        }
        self.move_places(moved).await;
    }

    /// Ends the connections with relays that nobody wants any more, once they had their time.
    pub(super) fn part_with_relays(&mut self) {
        for relay in self.relays.due(now_ms()) {
            hang_up(self.network.as_ref(), relay);
        }
    }

    async fn move_places(&mut self, moved: Move) {
        self.dialer.go_through_relays(self.relays.carry_circuits(), now_ms());
        let Some((transport, _)) = &self.network else { return };
        if let Some(address) = moved.leave {
            transport.unlisten(address).await;
        }
        if let Some(address) = moved.ask {
            transport.listen(address).await;
        }
    }

    /// Where another device may be reached through the relays of the spaces that are shared with it.
    pub(super) fn ways_through_relays(&self, device: &DeviceId) -> Vec<Address> {
        let there = PeerKey(*device.as_bytes());
        let relays = self.engine.relays_towards(device);
        let relays = relays.iter().filter_map(|relay| relay.as_str().parse::<Address>().ok());
        relays.filter_map(|relay| relay.circuit_to(there).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use clave_transport::PeerKey;

    use super::*;

    fn relay(number: u8) -> (DeviceId, Address) {
        let way: Address = format!("/ip4/192.0.2.{number}/tcp/1").parse().expect("an address");
        (DeviceId::from_bytes([number; 32]), way.with_peer(PeerKey([number; 32])))
    }

    #[test]
    fn places_follow_what_spaces_say_but_those_of_the_person_stay() {
        let ((mine, at_mine), (theirs, at_theirs)) = (relay(1), relay(2));
        let elsewhere: Address = "/ip4/192.0.2.9/tcp/9".parse().expect("an address");
        let elsewhere = elsewhere.with_peer(PeerKey([2; 32]));
        let mut relays = Relays::named_by_person(std::slice::from_ref(&at_mine));
        assert_eq!(relays.want(mine, Some(at_mine)), Move::default(), "it is asked already");
        assert_eq!(relays.want(theirs, None), Move::default(), "an invitation names it: it carries no circuits");
        let ask = relays.want(theirs, Some(at_theirs.clone()));
        assert_eq!(ask, Move { leave: None, ask: Some(at_theirs.clone()) });
        assert_eq!(relays.want(theirs, Some(at_theirs.clone())), Move::default());
        let moved = relays.want(theirs, Some(elsewhere.clone()));
        assert_eq!(moved, Move { leave: Some(at_theirs), ask: Some(elsewhere.clone()) });
        assert_eq!(relays.drop(mine, 1), Move::default());
        assert_eq!(relays.next_ms(), None, "it is connected still");
        assert!(relays.carry_circuits() && !relays.contains(&mine));
        assert_eq!(relays.drop(theirs, 1), Move { leave: Some(elsewhere.clone()), ask: None });
        assert!(!relays.carry_circuits() && relays.due(PARTING_MS).is_empty());
        assert_eq!((relays.next_ms(), relays.due(PARTING_MS + 1)), (Some(PARTING_MS + 1), vec![theirs]));
        relays.want(theirs, Some(elsewhere.clone()));
        relays.drop(theirs, 2);
        relays.want(theirs, Some(elsewhere));
        assert_eq!(relays.next_ms(), None, "it is wanted again");
    }
}
