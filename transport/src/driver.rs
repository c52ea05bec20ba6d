//! The one task that owns the swarm. It never waits for the owner of the transport nor for a peer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use futures::StreamExt;
use libp2p::{
    Swarm, TransportError as WireError, autonat,
    core::{ConnectedPoint, transport::ListenerId},
    dcutr, identify, mdns, ping,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Address, Channel, DialError, Event, Limits, ListenError, PeerKey,
    dial::{Dial, DialReply, Progress},
    event::{EventSink, NOTICES_MAX},
    fresh_seed,
    net::{Node, NodeEvent, Tasks},
    registry::{ConnectionInfo, Peer, Registry, Way},
    relays::Relays,
    session::Session,
    streams::{Incoming, OpenReply},
};

/// What every task of a transport can reach.
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) events: EventSink,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) limits: Limits,
    pub(crate) quic: bool,
    pub(crate) tasks: Tasks,
}

impl Shared {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// What the driver is asked to do.
pub(crate) enum Command {
    /// By the owner.
    Dial {
        peer: Option<PeerKey>,
        addresses: Vec<Address>,
        reply: DialReply,
    },
    Listen {
        address: Address,
    },
    Disconnect {
        peer: PeerKey,
        done: oneshot::Sender<()>,
    },
    Refresh {
        peer: PeerKey,
    },
    NetworkChanged,
    Shutdown,
    /// By a writer.
    Open {
        peer: PeerKey,
        channel: Channel,
        reply: OpenReply,
    },
    Interrupted {
        peer: Arc<Peer>,
        channel: Channel,
    },
    /// By the driver itself, once what was queued for the peer has been sent.
    Close {
        peer: PeerKey,
    },
}

pub(crate) struct Driver {
    swarm: Swarm<Node>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    sessions: BTreeMap<PeerKey, Session>,
    /// Of peers who are gone: cancelled once the owner was told so.
    ended: BTreeMap<PeerKey, CancellationToken>,
    /// How many sessions have ended and the owner was not told yet.
    unreported: Arc<AtomicUsize>,
    dials: HashMap<ConnectionId, Dial>,
    listeners: HashMap<ListenerId, Address>,
    relays: Relays,
    notices: VecDeque<(Event, Option<Arc<AtomicBool>>)>,
    disconnecting: BTreeMap<PeerKey, Vec<oneshot::Sender<()>>>,
    /// When to stop even if something is still queued.
    deadline: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(swarm: Swarm<Node>, commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        Self {
            swarm,
            commands,
            shared,
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            unreported: Arc::default(),
            dials: HashMap::new(),
            listeners: HashMap::new(),
            relays: Relays::default(),
            notices: VecDeque::new(),
            disconnecting: BTreeMap::new(),
            deadline: None,
        }
    }

    /// Runs until it is told to shut down, or `abandoned` because nobody holds the transport any more.
    pub(crate) async fn run(mut self, abandoned: CancellationToken) {
        let mut strangers = interval(self.shared.limits.stranger_idle);
        strangers.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.deadline.is_some() && self.sessions.is_empty() && self.swarm.network_info().num_peers() == 0 {
                break;
            }
            let (deadline, relay_due) = (self.deadline, self.relays.next().filter(|_| self.deadline.is_none()));
            tokio::select! {
                () = abandoned.cancelled() => break,
                () = async { sleep_until(deadline.expect("the branch is disabled without")).await }, if deadline.is_some() => break,
                room = self.shared.events.notice_room(), if !self.notices.is_empty() => {
                    let notice = self.notices.pop_front();
                    if let (Some(room), Some((event, pending))) = (room, notice) {
                        self.shared.events.put(event, pending, room);
                    }
                }
                Some(command) = self.commands.recv() => self.on_command(command),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = async { sleep_until(relay_due.expect("the branch is disabled without")).await }, if relay_due.is_some() => {
                    self.relays.due().into_iter().for_each(|relay| self.listen(relay));
                }
                _ = strangers.tick() => self.disconnect_idle_strangers(),
            }
        }
        // Sockets and connections go with the swarm, what is left of their tasks with `stop`.
        drop(self.swarm);
        for (_, dial) in self.dials.drain() {
            dial.reply.finish(Err(DialError::Stopped));
        }
        self.shared.tasks.stop().await;
    }

    /// Queues an event for the owner. What others can cause at will is dropped when there is too much of it.
    fn notify(&mut self, event: Event) {
        if matches!(event, Event::Discovered { .. }) && self.notices.len() >= NOTICES_MAX {
            tracing::warn!("too many devices nearby: some are left out");
            return;
        }
        self.notices.push_back((event, None));
    }

    pub(crate) fn listen(&mut self, address: Address) {
        let relay = address.peer().is_some();
        if relay && self.relays.is_asked(&address) {
            return;
        }
        let asked = if relay { address.circuit() } else { Ok(address.0.clone()) };
        let listening = match asked {
            Ok(asked) => self.swarm.listen_on(asked).map_err(|error| {
                tracing::warn!(%address, %error, "cannot listen");
                match error {
                    WireError::MultiaddrNotSupported(_) => ListenError::Unsupported,
                    WireError::Other(_) => ListenError::Refused,
                }
            }),
            Err(_) => Err(ListenError::Unsupported),
        };
        match listening {
            Ok(listener) => {
                if relay {
                    self.relays.asking(address.clone());
                    self.shared.registry.set_relays(self.relays.infos());
                }
                self.listeners.insert(listener, address);
            }
            Err(error) if !relay || self.relays.lost(&address, random()) => {
                self.notify(Event::ListenFailed { address: Some(address), error });
            }
            Err(_) => {}
        }
    }

    /// Nothing more is heard at an address that was asked for.
    fn on_listener_closed(&mut self, address: Address) {
        if address.peer().is_none() {
            return self.notify(Event::ListenFailed { address: Some(address), error: ListenError::Refused });
        }
        let untold = self.relays.lost(&address, random());
        self.shared.registry.set_relays(self.relays.infos());
        if untold {
            self.notify(Event::ListenFailed { address: Some(address), error: ListenError::Relay });
        }
    }

    /// mDNS could not be started.
    pub(crate) fn discovery_failed(&mut self) {
        self.notify(Event::ListenFailed { address: None, error: ListenError::Discovery });
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { peer, addresses, reply } => self.dial(Dial::new(peer, addresses, reply)),
            Command::Listen { address } => self.listen(address),
            Command::Disconnect { peer, done } => {
                if self.sessions.contains_key(&peer) {
                    self.disconnecting.entry(peer).or_default().push(done);
                    self.close_when_sent(peer);
                } else {
                    // The caller may have stopped waiting.
                    let _ = done.send(());
                }
            }
            Command::NetworkChanged => self.relays.hurry(),
            Command::Refresh { peer } => self.swarm.behaviour_mut().streams.refresh(peer),
            Command::Open { peer, channel, reply } => self.swarm.behaviour_mut().streams.open(peer, channel, reply),
            Command::Interrupted { peer, channel } => self.on_interrupted(&peer, channel),
            Command::Close { peer } => {
                // An error only says that the peer is gone already.
                let _ = self.swarm.disconnect_peer_id(peer.to_peer_id());
            }
            Command::Shutdown => {
                if self.deadline.is_none() {
                    self.deadline = Some(Instant::now() + 2 * self.shared.limits.flush_timeout);
                    self.close_all();
                    let listeners: Vec<ListenerId> = self.listeners.keys().copied().collect();
                    for listener in listeners {
                        self.swarm.remove_listener(listener);
                    }
                }
            }
        }
    }

    /// Closes the connections with everybody; those with relays once nobody is connected through them any more.
    fn close_all(&mut self) {
        let mut relays = BTreeSet::new();
        for session in self.sessions.values() {
            for connection in session.peer.connections().values() {
                if let Way::Relayed { relay } = &connection.way {
                    relays.extend(relay.peer());
                }
            }
        }
        let free: Vec<PeerKey> = self.sessions.keys().copied().filter(|peer| !relays.contains(peer)).collect();
        free.into_iter().for_each(|peer| self.close_when_sent(peer));
    }

    /// Closes the connections with a peer as soon as everything queued has arrived, or time is over.
    fn close_when_sent(&mut self, peer: PeerKey) {
        let Some(session) = self.sessions.get(&peer) else { return };
        if session.is_closing() {
            return;
        }
        let sent = session.close();
        let shared = self.shared.clone();
        self.shared.spawn(async move {
            // Late or not, it is closed now.
            let _ = tokio::time::timeout(shared.limits.flush_timeout, sent).await;
            let _ = shared.commands.send(Command::Close { peer }).await;
        });
    }

    fn on_interrupted(&mut self, peer: &Arc<Peer>, channel: Channel) {
        let current = self.sessions.get(&peer.key).is_some_and(|session| Arc::ptr_eq(&session.peer, peer));
        let pending = &peer.interruptions[channel as usize];
        if current && !pending.swap(true, Relaxed) {
            let event = Event::Interrupted { peer: peer.key, channel };
            self.notices.push_back((event, Some(pending.clone())));
        }
    }

    fn dial(&mut self, mut dial: Dial) {
        if self.deadline.is_some() {
            return self.dial_failed(dial, DialError::Stopped);
        }
        if let Some(peer) = dial.peer {
            if peer.to_peer_id() == *self.swarm.local_peer_id() {
                return self.dial_failed(dial, DialError::OwnKey);
            }
            let connections = self.sessions.get(&peer).map(|session| session.peer.connections());
            let known = connections.as_ref().is_some_and(|known| !known.is_empty());
            let direct = connections.is_some_and(|known| known.values().any(|known| !known.is_relayed()));
            if direct || known && dial.addresses.iter().all(Address::is_relayed) {
                return dial.reply.finish(Ok(peer));
            }
            if known {
                dial.skip_relays();
            }
        }
        if !dial.addresses.is_empty() && !dial.addresses.iter().any(|address| address.is_supported(self.shared.quic)) {
            return self.dial_failed(dial, DialError::Unsupported);
        }
        loop {
            let opts: DialOpts = match dial.next() {
                Ok(opts) => opts,
                Err(error) => return self.dial_failed(dial, error),
            };
            let connection = opts.connection_id();
            match self.swarm.dial(opts) {
                Ok(()) => {
                    self.dials.insert(connection, dial);
                    return;
                }
                Err(error) => match dial.failed(&error) {
                    Progress::GoOn => {}
                    Progress::GiveUp(error) => return self.dial_failed(dial, error),
                },
            }
        }
    }

    fn dial_failed(&mut self, dial: Dial, error: DialError) {
        if let Some(event) = dial.fail(error) {
            self.notices.push_back((event, None));
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<NodeEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let Some(peer) = PeerKey::from_peer_id(&peer_id) else { return };
                self.on_connected(peer, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                let Some(peer) = PeerKey::from_peer_id(&peer_id) else { return };
                tracing::debug!(?peer, ?cause, "connection closed");
                self.on_disconnected(peer, connection_id, num_established == 0);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                tracing::debug!(%error, "dialling failed");
                let Some(mut dial) = self.dials.remove(&connection_id) else { return };
                match dial.failed(&error) {
                    Progress::GoOn => self.dial(dial),
                    Progress::GiveUp(error) => self.dial_failed(dial, error),
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            SwarmEvent::NewListenAddr { listener_id, address } => {
                if let Some(relay) = self.listeners.get(&listener_id).filter(|_| Address(address.clone()).is_relayed())
                {
                    self.relays.held(relay);
                    self.shared.registry.set_relays(self.relays.infos());
                }
                let address = Address(address);
                if self.shared.registry.set_listening(&address, true) {
                    self.notify(Event::Listening { address });
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listen_ended(Address(address)),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                addresses.into_iter().for_each(|address| self.on_listen_ended(Address(address)));
                let asked = self.listeners.remove(&listener_id);
                // A relay that goes away closes the listener without an error.
                if let (Some(address), None) = (asked, self.deadline) {
                    tracing::warn!(%address, ?reason, "no longer listening");
                    self.on_listener_closed(address);
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::NewExternalAddrCandidate { address } => self.shared.registry.observe(Address(address)),
            _ => {}
        }
    }

    fn on_listen_ended(&mut self, address: Address) {
        if self.shared.registry.set_listening(&address, false) {
            self.notify(Event::ListenEnded { address });
        }
    }

    fn on_behaviour_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Streams(Incoming { peer, channel, stream }) => {
                if !self.shared.registry.allows(&peer, channel) {
                    self.shared.registry.refusals.not_permitted.fetch_add(1, Relaxed);
                    tracing::warn!(?peer, ?channel, "refused a stream: the peer is not permitted");
                } else if let Some(session) = self.sessions.get(&peer) {
                    session.accept(channel, stream);
                }
            }
            NodeEvent::Ping(ping::Event { peer, connection, result }) => {
                let Some(peer) = PeerKey::from_peer_id(&peer) else { return };
                match result {
                    Ok(round_trip) => {
                        if let Some(session) = self.sessions.get(&peer)
                            && let Some(info) = session.peer.connections().get_mut(&connection)
                        {
                            info.round_trip = Some(round_trip);
                        }
                    }
                    Err(ping::Failure::Unsupported) => {}
                    Err(failure) => {
                        tracing::debug!(?peer, %failure, "no answer: closing the connection");
                        self.swarm.close_connection(connection);
                    }
                }
            }
            NodeEvent::Mdns(mdns::Event::Discovered(found)) => {
                let mut peers: BTreeMap<PeerKey, BTreeSet<Address>> = BTreeMap::new();
                for (peer, address) in found {
                    if let Some(peer) = PeerKey::from_peer_id(&peer) {
                        peers.entry(peer).or_default().insert(Address(address));
                    }
                }
                for (peer, addresses) in peers {
                    self.notify(Event::Discovered { peer, addresses: addresses.into_iter().collect() });
                }
            }
            NodeEvent::Identify(identify::Event::Error { error, .. }) => tracing::debug!(%error, "identify"),
            NodeEvent::Dcutr(event) => self.on_hole_punched(event),
            NodeEvent::Probe(event) => self.on_tested(event),
            NodeEvent::Relay(event) => tracing::debug!(?event, "relay"),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerKey, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let dial = self.dials.remove(&connection);
        let address = Address(endpoint.get_remote_address().clone());
        let way = way(endpoint);
        let relayed = way != Way::Direct;
        let info = ConnectionInfo { address: address.clone(), way, outgoing: endpoint.is_dialer(), round_trip: None };
        if !self.sessions.contains_key(&peer) {
            let overload = self.unreported.load(Relaxed) >= self.shared.limits.connections_max as usize;
            if overload {
                self.shared.registry.refusals.overload.fetch_add(1, Relaxed);
            }
            if overload || self.deadline.is_some() {
                self.swarm.close_connection(connection);
                if let Some(dial) = dial {
                    self.dial_failed(dial, if overload { DialError::TooMany } else { DialError::Stopped });
                }
                return;
            }
            let connected = Event::Connected { peer, address: address.clone(), relayed };
            let session = Session::start(&self.shared, peer, connected, self.ended.remove(&peer));
            self.shared.registry.insert(session.peer.clone());
            self.sessions.insert(peer, session);
        }
        let Some(session) = self.sessions.get(&peer) else { return };
        let became_direct = {
            let mut connections = session.peer.connections();
            let became_direct =
                !relayed && !connections.is_empty() && connections.values().all(ConnectionInfo::is_relayed);
            connections.insert(connection, info);
            became_direct
        };
        if !relayed {
            session.set_direct(true);
        }
        if became_direct {
            self.notices.push_back((Event::BecameDirect { peer, address }, None));
        }
        // Not before the session is there: whoever waited will send at once.
        if let Some(dial) = dial {
            dial.reply.finish(Ok(peer));
        }
    }

    /// The two sides have tried to replace a relayed connection.
    fn on_hole_punched(&mut self, event: dcutr::Event) {
        tracing::debug!(?event, "hole punching");
        let (Some(peer), Ok(connection)) = (PeerKey::from_peer_id(&event.remote_peer_id), event.result) else { return };
        if let Some(session) = self.sessions.get(&peer)
            && let Some(info) = session.peer.connections().get_mut(&connection)
        {
            info.way = Way::HolePunched;
        }
    }

    /// A relay has dialled this device, or tried to.
    fn on_tested(&mut self, event: autonat::v2::client::Event) {
        tracing::debug!(?event, "whether this device can be reached");
        let address = Address(event.tested_addr);
        let reached = event.result.is_ok().then(|| address.clone());
        if self.shared.registry.tested(reached) {
            self.notify(Event::Listening { address });
        }
    }

    /// Without any connection it is open which network this is, and where it can be reached.
    fn forget_tests(&mut self) {
        self.swarm.behaviour_mut().probe.forget();
        for address in self.shared.registry.forget_tests() {
            self.swarm.remove_external_address(&address.0);
            if !self.shared.registry.is_listening(&address) {
                self.notify(Event::ListenEnded { address });
            }
        }
    }

    fn on_disconnected(&mut self, peer: PeerKey, connection: ConnectionId, last: bool) {
        if self.swarm.network_info().num_peers() == 0 && self.deadline.is_none() {
            self.forget_tests();
        }
        let Some(session) = self.sessions.get(&peer) else { return };
        {
            let mut connections = session.peer.connections();
            connections.remove(&connection);
            session.set_direct(connections.values().any(|known| !known.is_relayed()));
        }
        if !last {
            return;
        }
        self.shared.registry.remove(&peer);
        if let Some(session) = self.sessions.remove(&peer) {
            let reported = session.end();
            self.ended.retain(|_, reported| !reported.is_cancelled());
            self.ended.insert(peer, reported.clone());
            let unreported = self.unreported.clone();
            unreported.fetch_add(1, Relaxed);
            self.shared.spawn(async move {
                reported.cancelled().await;
                unreported.fetch_sub(1, Relaxed);
            });
        }
        for done in self.disconnecting.remove(&peer).unwrap_or_default() {
            let _ = done.send(());
        }
        if self.deadline.is_some() {
            self.close_all();
        }
    }

    /// Strangers come to join. Who says nothing for long gives up the place.
    fn disconnect_idle_strangers(&mut self) {
        let mut idle = Vec::new();
        for (peer, session) in &mut self.sessions {
            let frames = session.peer.received_frames.load(Relaxed) + session.peer.sent_frames.load(Relaxed);
            let stranger = !self.shared.registry.is_permitted(peer);
            if stranger && session.seen_frames == Some(frames) && self.swarm.behaviour().streams.is_incoming(peer) {
                idle.push(*peer);
            }
            session.seen_frames = Some(frames);
        }
        for peer in idle {
            self.shared.registry.refusals.idle_strangers.fetch_add(1, Relaxed);
            self.close_when_sent(peer);
        }
    }
}

fn way(endpoint: &ConnectedPoint) -> Way {
    // Who comes through a relay is seen at no address: it stands in the one that was listened on.
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    Address(address.clone()).relay().map_or(Way::Direct, |relay| Way::Relayed { relay })
}

/// For jitter.
fn random() -> u64 {
    u64::from_be_bytes(fresh_seed()[..8].try_into().expect("eight of 32 bytes"))
}
