//! The world: time, devices, and what is about to happen to them.

use std::collections::{BTreeMap, BTreeSet};

use clave_engine::crypto::{DeviceId, Entropy, GroupKeyAgreement, Mls, SealedSecret, Suite};
use clave_engine::{Bundling, Channel, CircleId, Engine, Event, IoId, JoinError, Output};

use crate::check::Watch;
use crate::{Device, Random, Trace, Who, Written};

mod faults;
mod hostile;
mod network;
mod papers;
pub(crate) mod people;
mod recovery;
mod relays;
mod strays;

pub use hostile::Attack;
pub(crate) use hostile::Rogues;
use network::Links;
pub use network::Network;
pub use papers::OpenNote;
pub use relays::RelayNumber;
use relays::Relays;

/// Simulated milliseconds without a write after which nothing will happen any more: more than the time between two
/// reconciliations of the same devices.
const QUIET_MS: u64 = 130_000;
/// Simulated milliseconds after which a world that does not come to rest never will.
const SETTLE_MS_MAX: u64 = 3_600_000;
/// When worlds begin, in Unix milliseconds.
const BEGINNING_MS: u64 = 1_800_000_000_000;

/// How the devices agree on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// As in real life.
    Mls,
    /// The trivial implementation: the oracle for the other, and faster.
    SealedSecret,
}

impl Agreement {
    pub(crate) fn build(self) -> Box<dyn GroupKeyAgreement + Send> {
        match self {
            Self::Mls => Box::new(Mls),
            Self::SealedSecret => Box::new(SealedSecret),
        }
    }
}

/// The world did not come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Livelock {
    /// The devices that were still writing.
    pub busy: Vec<String>,
}

impl std::fmt::Display for Livelock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "still busy after an hour without anybody doing anything: {}", self.busy.join(", "))
    }
}

impl std::error::Error for Livelock {}

/// What is about to happen.
pub(crate) enum Happening {
    Connect(Who, Who),
    Up { link: u64, pair: (Who, Who), at: Who },
    Down { link: u64, pair: (Who, Who), at: Who },
    Interrupted { link: u64, pair: (Who, Who), at: Who, channel: Channel },
    Frame { link: u64, lane: u64, from: Who, to: Who, channel: Channel, frame: Vec<u8> },
    Sent { link: u64, from: Who, to: Who, channel: Channel },
    Durable { who: Who, session: u64, io: IoId, written: bool },
    Tick { who: Who, session: u64 },
    Open(Who),
    AtRelay(relays::AtRelay),
}

/// Many devices under one seed.
///
/// Commands ([`post`](Self::post), [`invite`](Self::invite), …) take effect at once on the device they are given to;
/// what follows from them happens while time passes: [`pass`](Self::pass), [`settle`](Self::settle).
pub struct World {
    now_ms: u64,
    agreement: Agreement,
    /// Of the spaces that are founded.
    pub(crate) suite: Suite,
    /// When devices bundle entries, if not by default.
    pub(crate) bundling: Option<Bundling>,
    pub(crate) random: Random,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    devices: Vec<Device>,
    network: Network,
    /// Whether frames ever came twice or out of order.
    was_hostile: bool,
    was_disturbed: bool,
    was_anybody_removed: bool,
    was_anybody_restored: bool,
    links: Links,
    /// Devices that are not reached by devices of another number.
    islands: Vec<u8>,
    trace: Trace,
    last_write_ms: u64,
    busy: BTreeSet<Who>,
    steps: u64,
    posts: u64,
    /// Devices that are gone for good.
    lost: BTreeSet<Who>,
    /// Devices that nobody reaches until the world is healed.
    away: BTreeSet<Who>,
    /// Which device is to crash at which of its writes.
    crash_plan: Option<(Who, u64)>,
    /// Newcomers who were written into the log, and whose inviter will never answer.
    pub(crate) unanswered: BTreeSet<Who>,
    /// Looks at what is sealed, while it happens.
    pub(crate) watch: Watch,
    /// Devices that keep to no rule, and what they did.
    pub(crate) rogues: Rogues,
    /// People of the log alone.
    pub(crate) strays: strays::Strays,
    relays: Relays,
}

impl World {
    /// An empty world with MLS and a network without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Agreement::Mls, Network::default())
    }

    /// An empty world.
    #[must_use]
    pub fn with(seed: u64, agreement: Agreement, network: Network) -> Self {
        Self {
            now_ms: BEGINNING_MS,
            agreement,
            suite: Suite::default(),
            bundling: None,
            random: Random::new(seed),
            queue: BTreeMap::new(),
            scheduled: 0,
            devices: Vec::new(),
            network,
            was_hostile: network.duplicate_permille + network.overtake_permille > 0,
            was_disturbed: false,
            was_anybody_removed: false,
            was_anybody_restored: false,
            links: Links::default(),
            islands: Vec::new(),
            trace: Trace::default(),
            last_write_ms: BEGINNING_MS,
            busy: BTreeSet::new(),
            steps: 0,
            posts: 0,
            lost: BTreeSet::new(),
            away: BTreeSet::new(),
            crash_plan: None,
            unanswered: BTreeSet::new(),
            watch: Watch::default(),
            rogues: Rogues::default(),
            strays: strays::Strays::default(),
            relays: Relays::default(),
        }
    }

    /// The same world, in which spaces are founded with that suite.
    #[must_use]
    pub fn of_suite(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// The same world, in which entries of the chat are bundled early and often.
    #[must_use]
    pub fn with_bundles(self) -> Self {
        let early = Bundling { settled_hours: 0, closed_only: false, changes_min: 4, changes_again: 6, at_once_max: 2 };
        Self { bundling: Some(early), ..self }
    }

    /// A new device, of a new person.
    pub fn add(&mut self, name: &str) -> Who {
        self.add_with_clock(name, 0)
    }

    /// A new device whose clock is wrong by so many milliseconds.
    pub fn add_with_clock(&mut self, name: &str, skew_ms: i64) -> Who {
        let mut entropy = Entropy::from_seed(self.random.seed());
        self.take_in(Device::new(name, skew_ms, &mut entropy))
    }

    /// Turns a new device on.
    fn take_in(&mut self, device: Device) -> Who {
        let who = Who(self.devices.len());
        self.devices.push(device);
        self.islands.push(0);
        self.open(who);
        who
    }

    /// A new device that takes up a code which a device of somebody else's shows: both are that person's in the end.
    pub fn link(&mut self, shows: Who, name: &str) -> Who {
        let hour_ms = 3_600_000;
        let code = self.input(shows, |engine, now| engine.link_device(hour_ms, false, now));
        let code = code.expect("it belongs to somebody");
        let mut entropy = Entropy::from_seed(self.random.seed());
        let (who, person) = (Who(self.devices.len()), self.device(shows).person);
        self.devices.push(Device::provisional(name, person, &mut entropy));
        self.islands.push(self.islands[shows.0]);
        self.open(who);
        self.input(who, |engine, now| engine.take_link(code, now)).expect("it belongs to nobody");
        who
    }

    /// The device of that name, a new one if there is none.
    pub fn named(&mut self, name: &str) -> Who {
        match self.devices.iter().position(|device| device.name == name) {
            Some(place) => Who(place),
            None => self.add(name),
        }
    }

    /// Alice's device.
    pub fn alice(&mut self) -> Who {
        self.named("Alice")
    }

    /// Bob's device.
    pub fn bob(&mut self) -> Who {
        self.named("Bob")
    }

    /// Carol's device.
    pub fn carol(&mut self) -> Who {
        self.named("Carol")
    }

    /// Dave's device.
    pub fn dave(&mut self) -> Who {
        self.named("Dave")
    }

    /// A device.
    #[must_use]
    pub fn device(&self, who: Who) -> &Device {
        &self.devices[who.0]
    }

    /// All devices.
    pub fn everyone(&self) -> impl Iterator<Item = Who> + use<> {
        (0..self.devices.len()).map(Who)
    }

    /// The engine of a device, to ask it something.
    ///
    /// # Panics
    /// If the device is down.
    pub fn engine(&mut self, who: Who) -> &mut Engine {
        self.devices[who.0].engine.as_mut().expect("the device is up")
    }

    /// Whether the device is up.
    #[must_use]
    pub fn is_up(&self, who: Who) -> bool {
        self.devices[who.0].engine.is_some()
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// From now on, keeps a readable trace.
    pub fn keep_trace(&mut self) {
        self.trace.keep_lines();
    }

    pub(crate) fn was_hostile(&self) -> bool {
        self.was_hostile
    }

    /// Whether anybody was ever removed, perhaps for the short while until a disk failed to take it.
    pub(crate) fn was_anybody_removed(&self) -> bool {
        self.was_anybody_removed
    }

    /// Whether anybody ever came back by a phrase.
    pub(crate) fn was_anybody_restored(&self) -> bool {
        self.was_anybody_restored
    }

    /// Whether frames were ever lost, or a device: then some that were asked for come when nobody waits any more.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.was_disturbed
    }

    /// How many things happened so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Milliseconds since the world began.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.now_ms - BEGINNING_MS
    }

    /// What a clock that is right says, in Unix milliseconds.
    #[must_use]
    pub fn wall_clock_ms(&self) -> u64 {
        self.now_ms
    }

    /// The errors with which joins of this device failed.
    #[must_use]
    pub fn join_errors(&self, who: Who) -> Vec<JoinError> {
        let failed = |event: &Event| match event {
            Event::JoinFailed { error, .. } => Some(*error),
            _ => None,
        };
        self.device(who).events.iter().filter_map(failed).collect()
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step();
        }
        self.now_ms = until;
    }

    /// Lets time pass until nobody has anything left to do.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn settle(&mut self) -> Result<(), Livelock> {
        self.settle_within(SETTLE_MS_MAX)
    }

    pub(crate) fn settle_within(&mut self, most_ms: u64) -> Result<(), Livelock> {
        let start = self.now_ms;
        self.last_write_ms = start;
        self.busy.clear();
        while self.now_ms < self.last_write_ms + QUIET_MS {
            if self.now_ms > start + most_ms {
                return Err(Livelock { busy: self.busy.iter().map(|who| self.device(*who).name.clone()).collect() });
            }
            let next = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            if next > self.last_write_ms + QUIET_MS {
                self.now_ms = self.last_write_ms + QUIET_MS;
            } else {
                self.step();
            }
        }
        Ok(())
    }

    /// Lets one thing happen.
    pub fn step(&mut self) {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return };
        self.now_ms = self.now_ms.max(at);
        self.steps += 1;
        match happening {
            Happening::Durable { who, session, io, written } => self.written(who, session, io, written),
            Happening::Tick { who, session } => {
                if self.devices[who.0].session == session && self.is_up(who) {
                    self.devices[who.0].tick_at_ms = None;
                    self.input(who, |engine, now| engine.handle_tick(now));
                }
            }
            Happening::Open(who) => self.restart(who),
            Happening::AtRelay(happening) => self.relay_step(happening),
            other => self.network_step(other),
        }
    }

    pub(crate) fn schedule(&mut self, in_ms: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((self.now_ms + in_ms, self.scheduled), happening);
    }

    pub(crate) fn open(&mut self, who: Who) {
        let (seed, now_ms, agreement) = (self.random.seed(), self.now_ms, self.agreement);
        self.note(format_args!("open {}", who.0), &[]);
        self.devices[who.0].open(agreement, Entropy::from_seed(seed), now_ms);
        if let Some(bundling) = self.bundling {
            self.engine(who).set_bundling(bundling);
        }
        self.take_outputs(who);
        self.connect_all();
    }

    /// Gives a device an input or command, with the time by its clock, and takes what comes out.
    pub fn input<T>(&mut self, who: Who, input: impl FnOnce(&mut Engine, u64) -> T) -> T {
        let device = &mut self.devices[who.0];
        let now = device.clock(self.now_ms);
        let result = input(device.engine.as_mut().expect("only devices that are up get inputs"), now);
        self.take_outputs(who);
        result
    }

    /// As [`input`](Self::input); what it says it wrote, if anything, is remembered once it is durable.
    pub(crate) fn command<T, E>(
        &mut self,
        who: Who,
        command: impl FnOnce(&mut Engine, u64) -> Result<(T, Option<Written>), E>,
    ) -> Result<T, E> {
        let device = &mut self.devices[who.0];
        let now = device.clock(self.now_ms);
        let engine = device.engine.as_mut().expect("only devices that are up get commands");
        let result = command(engine, now).map(|(result, written)| {
            device.unacknowledged.extend(engine.last_write().zip(written));
            result
        });
        self.take_outputs(who);
        result
    }

    fn take_outputs(&mut self, who: Who) {
        while let Some(output) = self.devices[who.0].engine.as_mut().and_then(Engine::poll_output) {
            match output {
                Output::Write { io, batch } => {
                    self.last_write_ms = self.now_ms;
                    self.busy.insert(who);
                    self.look_at(who, &batch);
                    let (least, most) = self.devices[who.0].disk_delay_ms;
                    let delay = self.random.between(least..most + 1);
                    let device = &mut self.devices[who.0];
                    let done = device.disk_free_at_ms.max(self.now_ms + delay);
                    device.disk_free_at_ms = done;
                    device.writing.push_back((io, batch));
                    let written = device.failing_writes == 0;
                    device.failing_writes -= u32::from(!written);
                    let session = device.session;
                    self.schedule(done - self.now_ms, Happening::Durable { who, session, io, written });
                }
                Output::Send { peer, channel: Channel::Mailbox, frame } => {
                    self.send_to_relay(who, peer, frame.concat())
                }
                Output::Send { peer, channel, frame } => self.send(who, peer, channel, frame.concat()),
                Output::WantRelay { relay, .. } => self.want_relay(who, relay),
                Output::DropRelay(relay) => self.drop_relay(who, relay),
                Output::HangUp(relay) => self.hang_up(who, relay),
                Output::Permit(peer) => {
                    self.devices[who.0].permitted.insert(peer);
                }
                Output::Forbid(peer) => {
                    self.devices[who.0].permitted.remove(&peer);
                }
                Output::Event(event) => {
                    self.note(format_args!("event {} {event:?}", who.0), &[]);
                    self.devices[who.0].events.push(event);
                }
                _ => {}
            }
        }
        self.schedule_tick(who);
    }

    fn schedule_tick(&mut self, who: Who) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[who.0];
        let Some(due) = device.engine.as_ref().and_then(Engine::poll_timeout) else { return };
        let due = due.saturating_add_signed(-device.skew_ms).max(now_ms + 1);
        if device.tick_at_ms.is_none_or(|at| due < at) {
            device.tick_at_ms = Some(due);
            let session = device.session;
            self.schedule(due - now_ms, Happening::Tick { who, session });
        }
    }

    fn written(&mut self, who: Who, session: u64, io: IoId, written: bool) {
        if self.devices[who.0].session != session || !self.is_up(who) {
            return;
        }
        if !written {
            return self.write_failed(who, io);
        }
        let device = &mut self.devices[who.0];
        let (front, batch) = device.writing.pop_front().expect("writes are confirmed in order");
        assert_eq!(front, io, "writes are confirmed in order");
        device.disk.write(&batch);
        device.writes += 1;
        if self.crash_plan == Some((who, device.writes - 1)) {
            let ms = self.random.between(1..20_000);
            self.restart_in(who, ms);
            return self.crash(who);
        }
        if let Some(countdown) = &mut device.crash_at_write {
            if *countdown == 0 {
                device.crash_at_write = None;
                // Durable, but the engine never hears of it.
                return self.crash(who);
            }
            *countdown -= 1;
        }
        while device.unacknowledged.front().is_some_and(|(waiting, _)| *waiting <= io) {
            let (_, written) = device.unacknowledged.pop_front().expect("the loop condition saw it");
            device.acknowledged.push(written);
        }
        let digest: Vec<u8> = batch
            .writes
            .iter()
            .flat_map(|(key, value)| [key.suffix.clone(), value.as_ref().map_or_else(Vec::new, |value| value.to_vec())])
            .flatten()
            .collect();
        self.note(format_args!("durable {} {io:?}", who.0), &digest);
        self.input(who, |engine, _| engine.handle_written(io, true));
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>, bytes: &[u8]) {
        self.trace.note(self.now_ms - BEGINNING_MS, what, bytes);
    }

    pub(crate) fn explain(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.explain(self.now_ms - BEGINNING_MS, what);
    }

    #[cfg(test)]
    pub(crate) fn rename_device(&mut self, who: Who, id: DeviceId) {
        self.devices[who.0].id = id;
    }

    #[cfg(test)]
    pub(crate) fn acknowledge(&mut self, who: Who, written: Written) {
        self.devices[who.0].acknowledged.push(written);
    }

    pub(crate) fn who(&self, id: &DeviceId) -> Option<Who> {
        self.devices.iter().position(|device| device.id == *id).map(Who)
    }

    /// The circles that a device is in.
    #[must_use]
    pub fn circles(&self, who: Who) -> Vec<CircleId> {
        self.device(who).engine.iter().flat_map(Engine::circles).collect()
    }
}
