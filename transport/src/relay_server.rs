//! The other half of a relay: what carries circuits for devices that cannot reach each other.

mod caller;
mod mailbox;

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Swarm, Transport as _, autonat,
    core::transport::timeout::TransportTimeout,
    identify, ping, relay,
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

pub use self::caller::{Caller, FrameReader, FrameWriter, StreamError};
use crate::{
    Address, ListenError, PeerKey, TransportError,
    connections::Connections,
    dial_back,
    net::{self, Tasks, Wires},
};

/// Events that may wait for the operator. Those that do not fit are logged only.
const EVENTS_MAX: usize = 256;

/// How long a device that asks whether it can be reached may take to answer. A NAT that drops what it did not ask for
/// says nothing at all, and the answer that it did not is due within ten seconds (libp2p's AutoNAT).
const DIAL_BACK_PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one device: an old one may not be known to be gone.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;

/// On a relay every circuit of a peer is a stream of its connection.
const STREAMS_PER_CONNECTION_MAX: usize = 1024;

/// How a [`RelayServer`] is set up. Not `Debug` nor `Clone`: it holds the relay's secret.
pub struct RelayConfig {
    /// The seed of the relay's Ed25519 key. Wiped when the configuration is dropped.
    pub seed: Zeroizing<[u8; 32]>,
    /// Where to listen.
    pub listen: Vec<Address>,
    /// Where devices reach the relay, if that is not where it listens (behind a router, or by name). Empty: every
    /// address that it listens on.
    pub external: Vec<Address>,
    /// What the relay gives.
    pub limits: RelayLimits,
}

/// What a relay gives, so that nobody uses it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Connections, all together.
    pub connections_max: u32,
    /// Devices that can be reached through the relay at a time.
    pub reservations_max: usize,
    /// How long a device keeps its place. It renews it before the time is over.
    pub reservation_duration: Duration,
    /// Circuits, that is, pairs of devices that talk through the relay at a time.
    pub circuits_max: usize,
    /// Circuits that one device may begin.
    pub circuits_per_peer_max: usize,
    /// A circuit is cut after this time. Devices build a new one. At most 2³² − 1 seconds, as it travels as such.
    pub circuit_duration: Duration,
    /// A circuit is cut after so many bytes, both directions together. 0: never.
    pub circuit_bytes_max: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            reservations_max: 1024,
            reservation_duration: Duration::from_secs(60 * 60),
            circuits_max: 1024,
            circuits_per_peer_max: 32,
            circuit_duration: Duration::from_secs(60 * 60),
            circuit_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

/// What happens at a relay. It learns who talks to whom and how much, never what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEvent {
    /// The relay can be reached there from now on. The address names the relay: devices are given it as it is.
    Listening {
        /// Where.
        address: Address,
    },
    /// It cannot.
    ListenFailed {
        /// The address as it was asked for.
        address: Address,
        /// Why.
        error: ListenError,
    },
    /// A device can be reached through this relay.
    Reserved {
        /// Who.
        peer: PeerKey,
    },
    /// It asked again before the time of its place was over.
    Renewed {
        /// Who.
        peer: PeerKey,
    },
    /// It no longer can.
    Released {
        /// Who.
        peer: PeerKey,
    },
    /// Two devices talk.
    CircuitOpened {
        /// Who began.
        from: PeerKey,
        /// With whom.
        to: PeerKey,
    },
    /// They no longer do.
    CircuitClosed {
        /// Who had begun.
        from: PeerKey,
        /// With whom.
        to: PeerKey,
    },
    /// A limit was reached, or the device asked for cannot be reached here.
    Denied {
        /// Who had asked.
        peer: PeerKey,
    },
}

#[derive(NetworkBehaviour)]
struct Node {
    connections: Connections,
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    /// Answers devices that ask whether they can be reached.
    autonat: autonat::v2::server::Behaviour,
    dial_back: dial_back::Guard,
    mailbox: Toggle<mailbox::Behaviour>,
}

/// A blind relay (circuit relay v2): it passes on what two devices encrypt for each other, and has no key to it.
/// Stops at once when dropped.
pub struct RelayServer {
    key: PeerKey,
    ask: CancellationToken,
    stopped: watch::Receiver<bool>,
    _abandon: DropGuard,
}

impl RelayServer {
    /// Starts listening, in a tokio task of its own. Must be called inside a tokio runtime. Events that nobody takes
    /// are dropped.
    ///
    /// # Errors
    /// If the configuration cannot work. What the environment refuses is an event.
    pub fn start(config: RelayConfig) -> Result<(Self, mpsc::Receiver<RelayEvent>), TransportError> {
        Self::start_serving(config, None)
    }

    /// As [`start`](Self::start), and offers [`Channel::Mailbox`](crate::Channel::Mailbox) to everyone who connects. At most `callers_max` of
    /// them wait to be taken; those who come then are turned away.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_mailboxes(
        config: RelayConfig,
        callers_max: usize,
    ) -> Result<(Self, mpsc::Receiver<RelayEvent>, mpsc::Receiver<Caller>), TransportError> {
        let (callers, receiver) = mpsc::channel(callers_max);
        let (server, events) = Self::start_serving(config, Some(mailbox::Behaviour::new(callers)))?;
        Ok((server, events, receiver))
    }

    fn start_serving(
        config: RelayConfig,
        mailbox: Option<mailbox::Behaviour>,
    ) -> Result<(Self, mpsc::Receiver<RelayEvent>), TransportError> {
        if config.limits.circuit_duration.as_secs() > u32::MAX.into() {
            return Err(TransportError::BadLimit("circuit_duration"));
        }
        let runtime = Handle::try_current().map_err(|_| TransportError::NoRuntime)?;
        let tasks = Tasks::default();
        let swarm = swarm(&config, mailbox, &tasks)?;
        let key = PeerKey::from_peer_id(swarm.local_peer_id()).expect("made from an Ed25519 seed");
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let ask = CancellationToken::new();
        let (stopping, stopped) = watch::channel(false);
        let mut server = Server { key, swarm, events, announce: config.external.is_empty() };
        server.listen(&config);
        let asked = ask.clone();
        runtime.spawn(async move {
            server.run(asked).await;
            tasks.stop().await;
            stopping.send_replace(true);
        });
        Ok((Self { key, ask: ask.clone(), stopped, _abandon: ask.drop_guard() }, receiver))
    }

    /// The relay's key, which stands in its addresses.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// Cuts all circuits and returns when everything has ended.
    pub async fn shutdown(mut self) {
        self.ask.cancel();
        // An error means that the task is gone, which is what is waited for.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}

fn swarm(
    config: &RelayConfig,
    mailbox: Option<mailbox::Behaviour>,
    tasks: &Tasks,
) -> Result<Swarm<Node>, TransportError> {
    let limits = &config.limits;
    let keys = net::keypair(&config.seed);
    let id = keys.public().to_peer_id();
    // The rate limits of libp2p's default (a circuit in two minutes per device) would keep a team that reconnects
    // out; what is limited here is how much is in use at a time.
    let relay = relay::Config {
        max_reservations: limits.reservations_max,
        max_reservations_per_peer: 4,
        reservation_duration: limits.reservation_duration,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: limits.circuit_duration,
        max_circuit_bytes: limits.circuit_bytes_max,
        circuit_src_rate_limiters: Vec::new(),
    };
    let patience = Duration::from_secs(15);
    let behaviour = Node {
        connections: Connections::new(limits.connections_max, CONNECTIONS_PER_PEER_MAX),
        relay: relay::Behaviour::new(id, relay),
        identify: net::identify(&keys),
        ping: ping::Behaviour::new(ping::Config::new()),
        autonat: autonat::v2::server::Behaviour::default(),
        dial_back: dial_back::Guard::default(),
        mailbox: mailbox.into(),
    };
    let wires = Wires {
        quic: cfg!(feature = "quic"),
        streams: STREAMS_PER_CONNECTION_MAX,
        // Connections are many here, and most say little.
        patience,
        name_servers: &[],
        names: None,
        tls_roots: &[],
    };
    let wire = TransportTimeout::with_outgoing_timeout(wires.build(&keys)?, DIAL_BACK_PATIENCE).boxed();
    Ok(Swarm::new(wire, behaviour, id, tasks.swarm_config(Duration::from_secs(60))))
}

struct Server {
    key: PeerKey,
    swarm: Swarm<Node>,
    events: mpsc::Sender<RelayEvent>,
    /// Whether to tell devices every address that is listened on.
    announce: bool,
}

impl Server {
    fn listen(&mut self, config: &RelayConfig) {
        for address in &config.listen {
            if let Err(error) = self.swarm.listen_on(address.transport()) {
                tracing::warn!(%address, %error, "cannot listen");
                let error = match error {
                    libp2p::TransportError::MultiaddrNotSupported(_) => ListenError::Unsupported,
                    libp2p::TransportError::Other(_) => ListenError::Refused,
                };
                self.tell(RelayEvent::ListenFailed { address: address.clone(), error });
            }
        }
        for address in &config.external {
            self.swarm.add_external_address(address.transport());
            self.tell(RelayEvent::Listening { address: address.with_peer(self.key) });
        }
    }

    async fn run(mut self, asked: CancellationToken) {
        loop {
            tokio::select! {
                () = asked.cancelled() => return,
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    fn tell(&self, event: RelayEvent) {
        tracing::debug!(?event);
        // The operator's eyes are not worth waiting for.
        let _ = self.events.try_send(event);
    }

    fn on_event(&mut self, event: SwarmEvent<NodeEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let named = Address(address.clone()).with_peer(self.key);
                if self.announce {
                    self.swarm.add_external_address(address);
                    self.tell(RelayEvent::Listening { address: named });
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } if self.announce => {
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::Behaviour(NodeEvent::Relay(event)) => self.on_relay_event(event),
            // A phone that lost its network says no goodbye. A circuit or a session would keep the connection for ever.
            SwarmEvent::Behaviour(NodeEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            })) => {
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    fn on_relay_event(&mut self, event: relay::Event) {
        let key = |peer| PeerKey::from_peer_id(&peer);
        let event = match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed } => key(src_peer_id)
                .map(|peer| if renewed { RelayEvent::Renewed { peer } } else { RelayEvent::Reserved { peer } }),
            relay::Event::ReservationClosed { src_peer_id } | relay::Event::ReservationTimedOut { src_peer_id } => {
                key(src_peer_id).map(|peer| RelayEvent::Released { peer })
            }
            relay::Event::ReservationReqDenied { src_peer_id, .. }
            | relay::Event::CircuitReqDenied { src_peer_id, .. } => {
                key(src_peer_id).map(|peer| RelayEvent::Denied { peer })
            }
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                key(src_peer_id).zip(key(dst_peer_id)).map(|(from, to)| RelayEvent::CircuitOpened { from, to })
            }
            relay::Event::CircuitClosed { src_peer_id, dst_peer_id, .. } => {
                key(src_peer_id).zip(key(dst_peer_id)).map(|(from, to)| RelayEvent::CircuitClosed { from, to })
            }
            _ => None,
        };
        if let Some(event) = event {
            self.tell(event);
        }
    }
}
