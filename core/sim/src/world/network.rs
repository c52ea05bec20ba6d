//! Connections, and the frames on them.
//!
//! What the transport promises is what is modelled: between `connected` and `disconnected`, frames of one channel come
//! in the order in which they were sent, without gaps unless the sender is told `interrupted`. A connection that breaks
//! loses what is in flight, and the two sides notice at different times.

use std::collections::BTreeMap;

use clave_engine::Channel;
use clave_engine::crypto::DeviceId;

use super::{Happening, World};
use crate::Who;

const CHANNELS: [Channel; 3] = [Channel::Sync, Channel::Join, Channel::Bulk];

/// How a network treats frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The least and greatest usual time on the way, in milliseconds.
    pub latency_ms: (u64, u64),
    /// Of a thousand frames, so many take a hundred times as long.
    pub slow_permille: u64,
    /// Of a thousand frames, so many arrive twice. No authenticated stream does this.
    pub duplicate_permille: u64,
    /// Of a thousand frames, so many overtake others of their channel. No authenticated stream does this.
    pub overtake_permille: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self { latency_ms: (1, 50), slow_permille: 10, duplicate_permille: 0, overtake_permille: 0 }
    }
}

/// The connections between devices.
#[derive(Default)]
pub(super) struct Links {
    made: u64,
    links: BTreeMap<(Who, Who), Link>,
}

struct Link {
    number: u64,
    /// Whether each side was told of it.
    up: [bool; 2],
    dying: bool,
    /// When the newest frame of each direction and channel arrives, and a number that changes when frames are lost.
    lanes: BTreeMap<(Who, Channel), (u64, u64)>,
}

fn pair_of(a: Who, b: Who) -> (Who, Who) {
    (a.min(b), a.max(b))
}

fn side(pair: (Who, Who), who: Who) -> usize {
    usize::from(pair.1 == who)
}

impl World {
    pub(crate) fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// The pairs that are connected.
    pub(crate) fn connected_pairs(&self) -> Vec<(Who, Who)> {
        self.links.links.iter().filter(|(_, link)| !link.dying).map(|(pair, _)| *pair).collect()
    }

    fn may_meet(&self, a: Who, b: Who) -> bool {
        let reach = |who: &Who| self.is_up(*who) && !self.away.contains(who);
        [a, b].iter().all(reach) && self.islands[a.0] == self.islands[b.0]
    }

    /// Whether two devices both take the other to be connected.
    #[must_use]
    pub fn are_connected(&self, a: Who, b: Who) -> bool {
        self.peers_seen_by(a).contains(&b) && self.peers_seen_by(b).contains(&a)
    }

    /// Connects, in a while, whoever can be.
    pub(crate) fn connect_all(&mut self) {
        let all: Vec<Who> = self.everyone().collect();
        for (place, a) in all.iter().enumerate() {
            for b in &all[place + 1..] {
                if self.may_meet(*a, *b) && !self.links.links.contains_key(&(*a, *b)) {
                    let delay = self.random.between(1..500);
                    self.schedule(delay, Happening::Connect(*a, *b));
                }
            }
        }
    }

    pub(super) fn network_step(&mut self, happening: Happening) {
        match happening {
            Happening::Connect(a, b) => {
                let pair = pair_of(a, b);
                if !self.may_meet(a, b) || self.links.links.contains_key(&pair) {
                    return;
                }
                self.links.made += 1;
                let number = self.links.made;
                let link = Link { number, up: [false; 2], dying: false, lanes: BTreeMap::new() };
                self.links.links.insert(pair, link);
                for at in [a, b] {
                    let delay = self.random.between(0..20);
                    self.schedule(delay, Happening::Up { link: number, pair, at });
                }
            }
            Happening::Up { link: number, pair, at } => {
                let Some(link) = self.links.links.get_mut(&pair).filter(|link| link.number == number) else { return };
                if !link.dying {
                    link.up[side(pair, at)] = true;
                    self.tell_up(at, if at == pair.0 { pair.1 } else { pair.0 });
                }
            }
            Happening::Down { link: number, pair, at } => self.side_down(number, pair, at),
            Happening::Interrupted { link: number, pair, at, channel } => {
                let here =
                    self.links.links.get(&pair).is_some_and(|link| link.number == number && link.up[side(pair, at)]);
                if here {
                    let peer = self.devices[if at == pair.0 { pair.1 } else { pair.0 }.0].id;
                    self.note(format_args!("interrupted {} {channel:?} {}", at.0, peer.short()), &[]);
                    self.input(at, |engine, now| engine.handle_interrupted(peer, channel, now));
                }
            }
            Happening::Sent { link: number, from, to, channel } => {
                let pair = pair_of(from, to);
                let here =
                    self.links.links.get(&pair).is_some_and(|link| link.number == number && link.up[side(pair, from)]);
                if here && self.is_up(from) {
                    let peer = self.devices[to.0].id;
                    self.input(from, |engine, now| engine.handle_sent(peer, channel, now));
                }
            }
            Happening::Frame { link: number, lane, from, to, channel, frame } => {
                self.deliver(number, lane, (from, to), channel, frame);
            }
            _ => unreachable!("the caller keeps the rest"),
        }
    }

    /// The devices that a device takes to be connected.
    pub(super) fn peers_seen_by(&self, who: Who) -> Vec<Who> {
        let of = self
            .links
            .links
            .iter()
            .filter(|(pair, link)| (pair.0 == who || pair.1 == who) && link.up[side(**pair, who)]);
        of.map(|(pair, _)| if pair.0 == who { pair.1 } else { pair.0 }).collect()
    }

    pub(super) fn tell_up(&mut self, at: Who, peer: Who) {
        let peer_id = self.devices[peer.0].id;
        self.note(format_args!("connected {} {}", at.0, peer.0), &[]);
        self.input(at, |engine, now| engine.handle_connected(peer_id, now));
    }

    fn side_down(&mut self, number: u64, pair: (Who, Who), at: Who) {
        let Some(link) = self.links.links.get_mut(&pair).filter(|link| link.number == number) else { return };
        let was_up = std::mem::replace(&mut link.up[side(pair, at)], false);
        if link.up == [false; 2] {
            self.links.links.remove(&pair);
            let delay = self.random.between(1..2_000);
            self.schedule(delay, Happening::Connect(pair.0, pair.1));
        }
        if was_up && self.is_up(at) {
            let peer = self.devices[if at == pair.0 { pair.1 } else { pair.0 }.0].id;
            self.note(format_args!("disconnected {} {}", at.0, peer.short()), &[]);
            self.input(at, |engine, now| engine.handle_disconnected(peer, now));
        }
    }

    pub(crate) fn send(&mut self, from: Who, peer: DeviceId, channel: Channel, frame: Vec<u8>) {
        let Some(to) = self.who(&peer) else { return };
        let pair = pair_of(from, to);
        let Some(link) = self.links.links.get(&pair).filter(|link| link.up[side(pair, from)]) else { return };
        let (number, dying) = (link.number, link.dying);
        let (mut last, lane) = link.lanes.get(&(from, channel)).copied().unwrap_or((0, 0));
        self.devices[from.0].sent_bytes += frame.len() as u64;
        self.note(format_args!("send {} {} {channel:?} {}", from.0, to.0, frame.len()), &frame);
        let delay = self.random.between(0..3);
        self.schedule(delay, Happening::Sent { link: number, from, to, channel });
        let copies = 1 + u64::from(self.random.permille(self.network.duplicate_permille));
        for _ in 0..copies {
            let (least, most) = self.network.latency_ms;
            let mut latency = self.random.between(least..most + 1);
            if self.random.permille(self.network.slow_permille) {
                latency *= 100;
            }
            let mut at = self.now_ms + latency;
            if !self.random.permille(self.network.overtake_permille) {
                at = at.max(last);
                last = at;
            }
            if !dying {
                let frame = frame.clone();
                self.schedule(at - self.now_ms, Happening::Frame { link: number, lane, from, to, channel, frame });
            }
        }
        let link = self.links.links.get_mut(&pair).expect("it was there above");
        link.lanes.insert((from, channel), (last, lane));
    }

    fn deliver(&mut self, number: u64, lane: u64, (from, to): (Who, Who), channel: Channel, frame: Vec<u8>) {
        let pair = pair_of(from, to);
        let Some(link) = self.links.links.get(&pair).filter(|link| link.number == number && !link.dying) else {
            return;
        };
        if lane != link.lanes.get(&(from, channel)).map_or(0, |lane| lane.1) {
            return;
        }
        if !link.up[side(pair, to)] {
            // Not told of the connection yet: the frame waits.
            return self.schedule(5, Happening::Frame { link: number, lane, from, to, channel, frame });
        }
        let peer = self.devices[from.0].id;
        if channel != Channel::Join && !self.devices[to.0].permitted.contains(&peer) {
            // The transport refuses the stream, and the sender hears of it.
            let delay = self.random.between(1..50);
            return self.schedule(delay, Happening::Interrupted { link: number, pair, at: from, channel });
        }
        self.note(format_args!("deliver {} {} {channel:?}", from.0, to.0), &frame);
        self.input(to, |engine, now| engine.handle_frame(peer, channel, frame, now));
    }

    /// Breaks a connection. The two sides notice at different times.
    pub(crate) fn break_link(&mut self, pair: (Who, Who)) {
        let Some(link) = self.links.links.get_mut(&pair).filter(|link| !link.dying) else { return };
        link.dying = true;
        self.was_disturbed = true;
        let number = link.number;
        for at in [pair.0, pair.1] {
            let delay = self.random.between(0..3_000);
            self.schedule(delay, Happening::Down { link: number, pair, at });
        }
    }

    /// The device is gone: it notices nothing, the others do after a while.
    pub(super) fn lose_links(&mut self, who: Who) {
        let pairs: Vec<_> = self.links.links.keys().filter(|pair| pair.0 == who || pair.1 == who).copied().collect();
        for pair in pairs {
            self.break_link(pair);
            let number = self.links.links[&pair].number;
            self.side_down(number, pair, who);
        }
    }

    /// One side sees its connection replaced by a new one, the other only that frames were lost.
    pub(crate) fn replace_link(&mut self, pair: (Who, Who), notices: Who) {
        let Some(link) = self.links.links.get_mut(&pair).filter(|link| !link.dying && link.up == [true; 2]) else {
            return;
        };
        self.was_disturbed = true;
        self.links.made += 1;
        link.number = self.links.made;
        link.lanes.clear();
        let number = link.number;
        let other = if notices == pair.0 { pair.1 } else { pair.0 };
        let peer = self.devices[other.0].id;
        self.note(format_args!("replaced {} {}", notices.0, other.0), &[]);
        self.input(notices, |engine, now| engine.handle_disconnected(peer, now));
        if self.is_up(notices) {
            self.tell_up(notices, other);
        }
        for channel in CHANNELS {
            let delay = self.random.between(0..2_000);
            self.schedule(delay, Happening::Interrupted { link: number, pair, at: other, channel });
        }
    }

    /// Loses what is on its way from one device to another on one channel, and says so to the sender.
    pub fn interrupt(&mut self, sender: Who, to: Who, channel: Channel) {
        let pair = pair_of(sender, to);
        let Some(link) = self.links.links.get_mut(&pair).filter(|link| !link.dying) else { return };
        let number = link.number;
        link.lanes.entry((sender, channel)).or_default().1 += 1;
        self.was_disturbed = true;
        let delay = self.random.between(0..1_000);
        self.schedule(delay, Happening::Interrupted { link: number, pair, at: sender, channel });
    }
}
