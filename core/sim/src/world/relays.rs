//! Relays in a world, and the connections of devices with them.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::DeviceId;
use clave_engine::membership::RelayAddress;
use clave_engine::{Channel, CircleId, EngineError};
use clave_mailbox::{self as wire, Reply, reply};

use super::{Happening, World};
use crate::{ModelRelay, Who};

/// Which relay of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayNumber(usize);

/// What is about to happen between a device and a relay.
#[derive(Clone)]
pub(crate) enum AtRelay {
    Connect(Who, RelayNumber),
    ToRelay { link: u64, who: Who, relay: RelayNumber, frame: Vec<u8> },
    ToDevice { link: u64, who: Who, relay: RelayNumber, frame: Vec<u8> },
}

/// All relays, and who is connected with which.
#[derive(Default)]
pub(super) struct Relays {
    relays: Vec<ModelRelay<Who>>,
    down: BTreeSet<RelayNumber>,
    /// Devices that reach no relay.
    offline: BTreeSet<Who>,
    wanted: BTreeSet<(Who, RelayNumber)>,
    links: BTreeMap<(Who, RelayNumber), Link>,
    made: u64,
    /// Of a thousand frames, so many take a hundred times as long, and those behind them with them.
    slow_permille: u64,
    /// Entries that were delivered so far.
    delivered: u64,
}

struct Link {
    number: u64,
    /// When the newest frame of each direction arrives.
    to_relay_at: u64,
    to_device_at: u64,
}

impl World {
    /// A relay that nobody uses yet.
    pub fn add_relay(&mut self) -> RelayNumber {
        let (id, generation) = (DeviceId::from_bytes(self.random.seed()), self.random.seed());
        let generation = *generation.first_chunk().expect("16 of 32 bytes");
        self.relays.relays.push(ModelRelay::new(id, generation));
        RelayNumber(self.relays.relays.len() - 1)
    }

    /// Has a space use these relays and no others.
    ///
    /// # Panics
    /// If somebody may not set that.
    pub fn use_relays(&mut self, who: Who, space: CircleId, relays: &[RelayNumber]) {
        self.name_relays(who, space, relays).expect("an owner may set policies");
    }

    /// As [`use_relays`](Self::use_relays).
    pub(crate) fn name_relays(&mut self, who: Who, space: CircleId, relays: &[RelayNumber]) -> Result<(), EngineError> {
        for place in 0..4 {
            let address = relays.get(place).map(|relay| {
                let id = self.relay(*relay).id;
                RelayAddress::of(&format!("/ip4/192.0.2.{}/tcp/4400", relay.0), &id).expect("an address").to_string()
            });
            let (key, value) = (format!("relay.{}", place + 1), address.unwrap_or_default());
            let known = self.engine(who).membership(space).expect("a member").policies.get(&key).cloned();
            if known.unwrap_or_default() != value {
                self.input(who, |engine, now| engine.set_policy(space, &key, &value, now))?;
            }
        }
        Ok(())
    }

    /// Whether there is any relay.
    pub(crate) fn has_relays(&self) -> bool {
        !self.relays.relays.is_empty()
    }

    /// Whether any relay betrays those who use it.
    pub(crate) fn has_bad_relays(&self) -> bool {
        self.relays.relays.iter().any(|relay| relay.malice.is_some())
    }

    /// Whether every relay does what it should, for every device.
    pub(crate) fn do_relays_serve(&self) -> bool {
        let serves = |relay: &ModelRelay<Who>| relay.malice.is_none() && relay.refuses_puts.is_none();
        self.relays.relays.iter().all(serves) && self.relays.down.is_empty() && self.relays.offline.is_empty()
    }

    /// How many entries relays delivered, and how many frames of bad ones were not what they should have been.
    pub(crate) fn relay_figures(&self) -> (u64, u64) {
        (self.relays.delivered, self.relays.relays.iter().map(|relay| relay.betrayals).sum())
    }

    /// From now on, so many of a thousand frames from and to relays are late.
    pub(crate) fn slow_relays(&mut self, permille: u64) {
        self.relays.slow_permille = permille;
    }

    /// A relay that refuses anything stops, and takes everything when it starts again: what a device was told that a relay will not
    /// have, it does not offer again in that session.
    pub(crate) fn mend_relay(&mut self, relay: RelayNumber) {
        if self.relay_mut(relay).refuses_puts.take().is_some() {
            self.note(format_args!("relay {relay:?} is mended"), &[]);
            self.stop_relay(relay);
            self.start_relay(relay);
        }
    }

    /// Ends every fault of relays but their malice.
    pub(super) fn heal_relays(&mut self) {
        self.relays.down.clear();
        self.relays.offline.clear();
        self.relays.slow_permille = 0;
        for number in 0..self.relays.relays.len() {
            self.mend_relay(RelayNumber(number));
        }
        self.connect_relays();
    }

    /// A connection with a relay breaks.
    pub(crate) fn break_some_relay_link(&mut self) {
        let links = self.relay_links(|_, _| true);
        if let Some((who, relay)) = self.random.pick(&links) {
            self.break_relay_link(who, relay);
        }
    }

    fn relay_latency(&mut self) -> u64 {
        let latency = self.random.between(1..50);
        let is_slow = self.relays.slow_permille > 0 && self.random.permille(self.relays.slow_permille);
        if is_slow { latency * 100 } else { latency }
    }

    /// A relay.
    #[must_use]
    pub fn relay(&self, relay: RelayNumber) -> &ModelRelay<Who> {
        &self.relays.relays[relay.0]
    }

    /// A relay, to change how it behaves.
    pub fn relay_mut(&mut self, relay: RelayNumber) -> &mut ModelRelay<Who> {
        &mut self.relays.relays[relay.0]
    }

    /// A relay stops; what it keeps is there when it starts again.
    pub fn stop_relay(&mut self, relay: RelayNumber) {
        self.relays.down.insert(relay);
        for (who, at) in self.relay_links(|_, at| at == relay) {
            self.break_relay_link(who, at);
        }
    }

    /// A relay starts again.
    pub fn start_relay(&mut self, relay: RelayNumber) {
        self.relays.down.remove(&relay);
        self.connect_relays();
    }

    /// A relay loses all that it kept, and starts again with nothing.
    pub fn wipe_relay(&mut self, relay: RelayNumber) {
        self.stop_relay(relay);
        let generation = self.random.seed();
        self.relay_mut(relay).lose_data(*generation.first_chunk().expect("16 of 32 bytes"));
        self.start_relay(relay);
    }

    /// A device reaches no relay any more.
    pub fn cut_from_relays(&mut self, who: Who) {
        self.relays.offline.insert(who);
        for (who, at) in self.relay_links(|one, _| one == who) {
            self.break_relay_link(who, at);
        }
    }

    /// A device reaches relays again.
    pub fn let_to_relays(&mut self, who: Who) {
        self.relays.offline.remove(&who);
        self.connect_relays();
    }

    pub(super) fn want_relay(&mut self, who: Who, id: DeviceId) {
        let Some(relay) = self.relays.relays.iter().position(|relay| relay.id == id).map(RelayNumber) else { return };
        self.relays.wanted.insert((who, relay));
        self.connect_relays();
    }

    pub(super) fn drop_relay(&mut self, who: Who, id: DeviceId) {
        self.relays.wanted.retain(|(one, relay)| *one != who || self.relays.relays[relay.0].id != id);
        self.hang_up(who, id);
    }

    pub(super) fn hang_up(&mut self, who: Who, id: DeviceId) {
        for (who, at) in self.relay_links(|one, _| one == who) {
            if self.relay(at).id == id {
                self.break_relay_link(who, at);
            }
        }
    }

    /// A device that crashed says nothing more; once it is up again it asks for its relays.
    pub(super) fn lose_relay_links(&mut self, who: Who) {
        self.relays.wanted.retain(|(one, _)| *one != who);
        for (who, at) in self.relay_links(|one, _| one == who) {
            self.relays.links.remove(&(who, at));
            self.relay_mut(at).disconnect(who);
        }
    }

    /// The relays that a device is connected with.
    pub(super) fn relays_seen_by(&self, who: Who) -> Vec<RelayNumber> {
        self.relay_links(|one, _| one == who).into_iter().map(|(_, relay)| relay).collect()
    }

    /// An engine that was opened anew hears of the connections that stayed.
    pub(super) fn tell_relays_up(&mut self, who: Who, relays: Vec<RelayNumber>) {
        for relay in relays {
            // A session belongs to a connection: the engine begins with another one.
            let id = self.relay(relay).id;
            self.hang_up(who, id);
        }
    }

    fn relay_links(&self, which: impl Fn(Who, RelayNumber) -> bool) -> Vec<(Who, RelayNumber)> {
        self.relays.links.keys().filter(|(who, relay)| which(*who, *relay)).copied().collect()
    }

    fn break_relay_link(&mut self, who: Who, relay: RelayNumber) {
        if self.relays.links.remove(&(who, relay)).is_none() {
            return;
        }
        self.relay_mut(relay).disconnect(who);
        let id = self.relay(relay).id;
        self.note(format_args!("relay disconnected {} {}", who.0, relay.0), &[]);
        if self.is_up(who) {
            self.input(who, |engine, now| engine.handle_disconnected(id, now));
        }
        let delay = self.random.between(1..2_000);
        self.schedule(delay, Happening::AtRelay(AtRelay::Connect(who, relay)));
    }

    fn connect_relays(&mut self) {
        for (who, relay) in self.relays.wanted.clone() {
            if !self.relays.links.contains_key(&(who, relay)) {
                let delay = self.random.between(1..500);
                self.schedule(delay, Happening::AtRelay(AtRelay::Connect(who, relay)));
            }
        }
    }

    pub(super) fn send_to_relay(&mut self, who: Who, peer: DeviceId, frame: Vec<u8>) {
        let at = self.now_ms + self.relay_latency();
        let Some(relay) = self.relays.relays.iter().position(|relay| relay.id == peer).map(RelayNumber) else { return };
        let Some(link) = self.relays.links.get_mut(&(who, relay)) else { return };
        link.to_relay_at = link.to_relay_at.max(at);
        let (number, at) = (link.number, link.to_relay_at);
        self.devices[who.0].sent_bytes += frame.len() as u64;
        self.note(format_args!("to relay {} {} {}", who.0, relay.0, frame.len()), &frame);
        self.schedule(at - self.now_ms, Happening::AtRelay(AtRelay::ToRelay { link: number, who, relay, frame }));
    }

    pub(super) fn relay_step(&mut self, happening: AtRelay) {
        match happening {
            AtRelay::Connect(who, relay) => {
                let reaches =
                    self.is_up(who) && !self.relays.offline.contains(&who) && !self.relays.down.contains(&relay);
                let known = self.relays.links.contains_key(&(who, relay));
                if !reaches || known || !self.relays.wanted.contains(&(who, relay)) {
                    return;
                }
                self.relays.made += 1;
                let link = Link { number: self.relays.made, to_relay_at: 0, to_device_at: 0 };
                self.relays.links.insert((who, relay), link);
                let challenge = self.random.seed();
                self.relay_mut(relay).connect(who, challenge);
                let id = self.relay(relay).id;
                self.note(format_args!("relay connected {} {}", who.0, relay.0), &[]);
                self.input(who, |engine, now| engine.handle_connected(id, now));
            }
            AtRelay::ToRelay { link, who, relay, frame } => {
                if self.relays.links.get(&(who, relay)).is_none_or(|known| known.number != link) {
                    return;
                }
                let model = &mut self.relays.relays[relay.0];
                model.pass_time(self.now_ms);
                let honest = model.take(who, &frame);
                for (to, frame) in model.betray(honest, &mut self.random) {
                    self.send_from_relay(relay, to, frame);
                }
            }
            AtRelay::ToDevice { link, who, relay, frame } => {
                if self.relays.links.get(&(who, relay)).is_some_and(|known| known.number == link) && self.is_up(who) {
                    let id = self.relay(relay).id;
                    self.note(format_args!("from relay {} {}", who.0, relay.0), &frame);
                    self.relays.delivered += entries_delivered(&frame);
                    self.input(who, |engine, now| engine.handle_frame(id, Channel::Mailbox, frame, now));
                }
            }
        }
    }

    /// Has a relay say something.
    pub fn send_from_relay(&mut self, relay: RelayNumber, to: Who, frame: Vec<u8>) {
        let at = self.now_ms + self.relay_latency();
        let Some(link) = self.relays.links.get_mut(&(to, relay)) else { return };
        link.to_device_at = link.to_device_at.max(at);
        let (number, at) = (link.number, link.to_device_at);
        self.schedule(at - self.now_ms, Happening::AtRelay(AtRelay::ToDevice { link: number, who: to, relay, frame }));
    }
}

fn entries_delivered(frame: &[u8]) -> u64 {
    match wire::decode::<Reply>(frame) {
        Ok(Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) }) => delivery.entries.len() as u64,
        _ => 0,
    }
}
