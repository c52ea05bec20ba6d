//! The one task that owns the swarm. It never waits for the owner of the transport nor for a peer.
//!
//! Here are its state and its loop, which hands on what comes: commands and events about listening to `listening.rs`,
//! about reaching somebody to `dialing.rs`, about those who are connected to `peers.rs`.

mod dialing;
mod listening;
mod peers;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use futures::StreamExt;
use libp2p::{
    Swarm,
    core::transport::ListenerId,
    identify, mdns,
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Address, Channel, DialError, Event, Limits, PeerKey,
    dial::{Dial, DialReply},
    event::{EventSink, NOTICES_MAX},
    net::{Node, NodeEvent, Tasks},
    registry::{Peer, Registry},
    relays::Relays,
    session::Session,
    streams::OpenReply,
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
    Unlisten {
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

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { peer, addresses, reply } => self.dial(Dial::new(peer, addresses, reply)),
            Command::Listen { address } => self.listen(address),
            Command::Unlisten { address } => self.unlisten(&address),
            Command::Disconnect { peer, done } => self.disconnect(peer, done),
            Command::NetworkChanged => self.relays.hurry(),
            Command::Refresh { peer } => self.swarm.behaviour_mut().streams.refresh(peer),
            Command::Open { peer, channel, reply } => self.swarm.behaviour_mut().streams.open(peer, channel, reply),
            Command::Interrupted { peer, channel } => self.on_interrupted(&peer, channel),
            Command::Close { peer } => {
                // An error only says that the peer is gone already.
                let _ = self.swarm.disconnect_peer_id(peer.to_peer_id());
            }
            Command::Shutdown if self.deadline.is_none() => {
                self.deadline = Some(Instant::now() + 2 * self.shared.limits.flush_timeout);
                self.close_all();
                self.stop_listening();
            }
            Command::Shutdown => {}
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
                self.on_dial_error(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, Address(address)),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listen_ended(Address(address)),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                addresses.into_iter().for_each(|address| self.on_listen_ended(Address(address)));
                self.on_listener_closed(listener_id, &reason);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::NewExternalAddrCandidate { address } => self.shared.registry.observe(Address(address)),
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Streams(incoming) => self.on_stream(incoming),
            NodeEvent::Ping(event) => self.on_ping(&event),
            NodeEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            NodeEvent::Identify(identify::Event::Error { error, .. }) => tracing::debug!(%error, "identify"),
            NodeEvent::Dcutr(event) => self.on_hole_punched(event),
            NodeEvent::Probe(event) => self.on_tested(event),
            NodeEvent::Relay(event) => tracing::debug!(?event, "relay"),
            _ => {}
        }
    }
}
