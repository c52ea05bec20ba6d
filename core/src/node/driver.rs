//! Drives the engine: one thread that awaits commands, frames, finished writes and time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clave_engine::crypto::{DeviceId, Mls};
use clave_engine::{Channel, Engine, EngineError, Event, Identity, IoId, Output, ReadError};
use clave_transport::{Events, PeerKey, Transport};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::catching::{self, Busy, Catching, CaughtUp};
use super::compaction::Compaction;
use super::dialer::Dialer;
use super::posts::{self, Post};
use super::relays::Relays;
use super::{Profile, profile_of, seed_entropy};
use crate::{Error, SealedStore, StoreError, Writer};

mod network;

use network::Links;
pub(super) use network::{addresses_of, hang_up, in_order};

/// Commands that may wait for the engine.
pub(super) const COMMANDS_MAX: usize = 256;
/// Messages that are posted together, if so many wait.
const POSTS_TOGETHER_MAX: usize = 64;
/// Calls that may wait at a time for the node to have caught up.
const CATCHING_MAX: usize = 64;
/// Frames the engine is told were sent that may wait for it.
const SENT_QUEUED_MAX: usize = 1_024;
/// The longest the engine sleeps, so that a clock that was set is noticed.
const SLEEP_MS_MAX: u64 = 5_000;

/// Something to run on the engine's thread, with the time in Unix milliseconds; or why there is no engine to run it on.
pub(super) type Run = Box<dyn FnOnce(Result<&mut Engine, StoreError>, u64) + Send>;

/// The two ends of the queue that reports which frames left.
type SentQueue = (mpsc::Sender<(DeviceId, Channel)>, mpsc::Receiver<(DeviceId, Channel)>);

/// Hears once what somebody did is durable.
pub(super) type Durable = oneshot::Sender<Result<(), StoreError>>;

/// What a command is: it runs on the engine's thread, and its caller hears once its effects are durable.
pub(super) struct Command {
    pub(super) run: Run,
    pub(super) durable: Durable,
}

/// What reaches the driver from a [`Node`](crate::Node).
pub(super) enum Input {
    Command(Command),
    Post(Post),
    NetworkChanged,
    /// A device nearby, and where.
    Found(DeviceId, Vec<String>),
    /// Until when, in Unix milliseconds.
    CatchUp(oneshot::Sender<CaughtUp>, u64),
    Stop(oneshot::Sender<()>),
}

/// What the handles of a node are told.
pub(super) struct Told {
    pub(super) events: broadcast::Sender<Event>,
    pub(super) listening: watch::Sender<Vec<String>>,
    pub(super) profile: watch::Sender<Option<Profile>>,
    /// Whether members nearby may still be found.
    pub(super) has_mdns: bool,
}

/// Everything the engine's thread owns.
pub(super) struct Driver {
    pub(super) engine: Engine,
    pub(super) store: Arc<SealedStore>,
    pub(super) writer: Writer<IoId>,
    pub(super) network: Option<(Transport, Events)>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) told: Told,
    pub(super) dialer: Dialer,
    pub(super) connected: BTreeMap<DeviceId, Links>,
    /// Commands whose writes are on their way, in order.
    pub(super) waiting: VecDeque<(IoId, Durable)>,
    pub(super) compaction: Compaction,
    /// Those who wait for all of it.
    pub(super) catching: Vec<Catching>,
    /// How many writes failed: each time the engine is another one.
    pub(super) failures: u64,
    pub(super) sent: SentQueue,
    /// One task for each queue of each peer.
    pub(super) forwarding: JoinSet<()>,
    pub(super) relays: Relays,
}

pub(super) fn sent_queue() -> SentQueue {
    mpsc::channel(SENT_QUEUED_MAX)
}

/// Unix milliseconds by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Driver {
    /// Runs until it is stopped or every handle is gone. Whoever stopped it waits until everything has been let go of.
    pub(super) async fn run(mut self) -> Option<oneshot::Sender<()>> {
        // Was taken from the queue to see whether it goes with what was before it.
        let mut next = None;
        loop {
            self.take_outputs().await;
            self.dial().await;
            self.part_with_relays();
            self.compaction.tend(&self.store, now_ms()).await;
            let due_ms = self.engine.poll_timeout().filter(|_| !self.engine.has_failed());
            let is_writing = self.writer.outstanding() > 0;
            let busy = Busy { has_mdns: self.told.has_mdns, is_writing, relays: &self.relays };
            let caught_up_ms = catching::tend(&mut self.catching, &self.engine, &self.dialer, &busy);
            let (dial_ms, part_ms) = (self.dialer.next_ms(), self.relays.next_ms());
            let wake_ms = [due_ms, dial_ms, part_ms, self.compaction.next_ms(), caught_up_ms];
            let wake_ms = wake_ms.into_iter().flatten().min();
            let sleep_ms = wake_ms.map_or(SLEEP_MS_MAX, |at| at.saturating_sub(now_ms()).min(SLEEP_MS_MAX));
            let network = async {
                match &mut self.network {
                    Some((_, events)) => events.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((io, result)) = self.writer.next() => self.written(io, result).await,
                Some((peer, channel)) = self.sent.1.recv() => self.engine.handle_sent(peer, channel, now_ms()),
                Some(event) = network => self.network_event(event),
                input = async { if next.is_some() { next.take() } else { self.inputs.recv().await } } => match input {
                    Some(Input::Command(command)) => self.command(command),
                    Some(Input::Post(post)) => next = self.post(post),
                    Some(Input::NetworkChanged) => self.network_changed().await,
                    Some(Input::Found(device, addresses)) => self.dialer.discovered(device, addresses, now_ms()),
                    Some(Input::CatchUp(answer, until_ms)) => self.catch_up(answer, until_ms),
                    Some(Input::Stop(stopped)) => {
                        self.stop().await;
                        return Some(stopped);
                    }
                    None => {
                        self.stop().await;
                        return None;
                    }
                },
                () = tokio::time::sleep(Duration::from_millis(sleep_ms)) => {
                    if self.return_to_disk().is_ok() {
                        self.engine.handle_tick(now_ms());
                    }
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        if let Err(error) = self.return_to_disk() {
            (command.run)(Err(error.clone()), now_ms());
            let _ = command.durable.send(Err(error));
            return;
        }
        (command.run)(Ok(&mut self.engine), now_ms());
        self.tell_when_durable(command.durable);
    }

    fn catch_up(&mut self, answer: oneshot::Sender<CaughtUp>, until_ms: u64) {
        if self.catching.len() < CATCHING_MAX && self.return_to_disk().is_ok() {
            self.dialer.network_changed(now_ms());
            self.engine.compare_anew(now_ms());
            self.catching.push(Catching::new(answer, until_ms));
        } else {
            // It is not waited for.
            let _ = answer.send(CaughtUp::default());
        }
    }

    /// Posts a message and those that wait right behind it. Gives the input behind them, if that was taken.
    fn post(&mut self, first: Post) -> Option<Input> {
        let (mut together, mut next) = (vec![first], None);
        while together.len() < POSTS_TOGETHER_MAX {
            match self.inputs.try_recv().ok() {
                Some(Input::Post(post)) => together.push(post),
                other => {
                    next = other;
                    break;
                }
            }
        }
        let waiting = match self.return_to_disk() {
            Ok(()) => posts::run(together, Ok(&mut self.engine)),
            Err(error) => posts::run(together, Err(error)),
        };
        for durable in waiting {
            self.tell_when_durable(durable);
        }
        next
    }

    /// Whoever did something hears of it once everything until now is durable.
    fn tell_when_durable(&mut self, durable: Durable) {
        match self.engine.last_write() {
            Some(io) => self.waiting.push_back((io, durable)),
            None => _ = durable.send(Ok(())),
        }
    }

    async fn written(&mut self, io: IoId, result: Result<(), StoreError>) {
        match result {
            Ok(()) => {
                self.engine.handle_written(io, true);
                while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= io) {
                    let (_, durable) = self.waiting.pop_front().expect("the loop condition saw it");
                    let _ = durable.send(Ok(()));
                }
            }
            Err(error) => self.write_failed(io, &error).await,
        }
    }

    /// Goes back to what is on disk: nobody was shown more than that.
    async fn write_failed(&mut self, io: IoId, error: &StoreError) {
        self.engine.handle_written(io, false);
        // What was submitted after it fails as well: the engine that comes next hears of none of it.
        while self.writer.outstanding() > 0 && self.writer.next().await.is_some() {}
        self.writer.go_on();
        self.failures += 1;
        tracing::error!(%error, "a write failed; going back to what is on disk");
        for (_, durable) in self.waiting.drain(..) {
            let _ = durable.send(Err(error.clone()));
        }
        let _ = self.return_to_disk();
    }

    /// Opens the engine anew, if a write failed. A disk that is full may not even let its store be opened: then the next
    /// command, or the next tick, tries again, and until then there is nothing that could be shown.
    fn return_to_disk(&mut self) -> Result<(), StoreError> {
        if !self.engine.has_failed() {
            return Ok(());
        }
        // The engine says no more than that it could not read. The store says why, and may have mended itself by that.
        let reopened = match self.reopened() {
            Err(_) => self.store.store().get(0, &[]).and_then(|_| self.reopened().map_err(unreadable)),
            Ok(engine) => Ok(engine),
        };
        self.engine = reopened.inspect_err(|error| {
            tracing::error!(%error, "the store could not be read back; commands fail until it can");
        })?;
        let now = now_ms();
        if let Some((transport, _)) = &self.network {
            self.engine.handle_addresses(addresses_of(transport), now);
        }
        for peer in self.connected.keys() {
            if self.relays.contains(peer) {
                // What was said to it is not known any more: a session belongs to a connection.
                hang_up(self.network.as_ref(), *peer);
            } else {
                self.engine.handle_connected(*peer, now);
            }
        }
        Ok(())
    }

    fn reopened(&self) -> Result<Engine, Error> {
        let identity = Identity::load(&*self.store)?.ok_or(Error::NoIdentity)?;
        let mut engine = Engine::open(identity, Box::new(Mls), self.store.clone(), seed_entropy()?, now_ms())?;
        engine.set_memory_budget(self.engine.memory_budget());
        engine.set_sparing(self.engine.is_sparing());
        Ok(engine)
    }

    async fn take_outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Write { io, batch } => {
                    let failures = self.failures;
                    while !self.writer.has_room() {
                        if let Some((done, result)) = self.writer.next().await {
                            self.written(done, result).await;
                        }
                    }
                    // If a write failed while this one waited for room, it is of an engine that is no more.
                    if self.failures == failures {
                        let submitted = self.writer.submit(io, batch);
                        debug_assert!(submitted.is_ok(), "there was room");
                    }
                }
                Output::Send { peer, channel, frame } => self.send(peer, channel, frame),
                Output::Permit(device) => {
                    self.dialer.want(device, now_ms());
                    if let Some((transport, _)) = &self.network {
                        transport.permit(PeerKey(*device.as_bytes()));
                    }
                }
                Output::WantRelay { relay, address, circuits } => self.want_relay(relay, address, circuits).await,
                Output::DropRelay(relay) => self.drop_relay(relay).await,
                Output::HangUp(relay) => hang_up(self.network.as_ref(), relay),
                Output::Forbid(device) if self.relays.contains(&device) => {}
                Output::Forbid(device) => {
                    self.dialer.forget(&device);
                    if let Some((transport, _)) = &self.network {
                        transport.forbid(PeerKey(*device.as_bytes()));
                    }
                }
                Output::Addresses { device, addresses } => self.dialer.learn(device, addresses, now_ms()),
                Output::Seek(seek) => self.dialer.seek(seek, now_ms()),
                Output::Compact => self.compaction.want(),
                Output::Freed(bytes) => match self.store.store().size_bytes() {
                    Ok(size) => self.compaction.freed(bytes, size),
                    Err(error) => tracing::warn!(%error, "the size of the store is not known"),
                },
                Output::Event(event) => {
                    if matches!(event, Event::Linked { .. } | Event::Renamed { .. }) {
                        self.told.profile.send_replace(profile_of(self.engine.identity()));
                    }
                    self.catching.iter_mut().for_each(|catching| catching.note(&event));
                    // Nobody may be listening.
                    let _ = self.told.events.send(event);
                }
                _ => {}
            }
        }
    }

    /// Lets what is on its way become durable, closes the network, and lets go of the store.
    async fn stop(&mut self) {
        while self.writer.outstanding() > 0 {
            match self.writer.next().await {
                Some((io, result)) => self.written(io, result).await,
                None => break,
            }
            self.take_outputs().await;
        }
        self.compaction.finish(now_ms()).await;
        self.connected.clear();
        if let Some((transport, _)) = self.network.take() {
            transport.shutdown().await;
        }
        self.forwarding.shutdown().await;
    }
}

/// Why an engine could not be opened, as far as its store is concerned.
fn unreadable(error: Error) -> StoreError {
    match error {
        Error::Store(error) => error,
        Error::Engine(EngineError::Store(ReadError::Unreadable)) => StoreError::Io(std::io::ErrorKind::Other),
        _ => StoreError::Damaged,
    }
}
