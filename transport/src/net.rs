//! The libp2p side: which transports, which behaviours.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::config::NameServerConfig;
use libp2p::{
    PeerId, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dcutr, dns, identify,
    identity::Keypair,
    mdns, noise, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, websocket, yamux,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config, Limits, Names, TransportError, connections::Connections, names::Named, probe, registry::Registry, streams,
};

/// What identify says of us. No version: it would only tell strangers which bugs we have.
const AGENT: &str = "clave";
const PROTOCOL: &str = "/clave/1";

/// Streams that one connection may have at a time: ours, both ways, and those of ping, identify and circuits.
const STREAMS_PER_CONNECTION_MAX: usize = 64;
const NEGOTIATING_STREAMS_MAX: usize = 16;
/// The longest WebSocket frame that is taken.
const SOCKET_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// What may have come over QUIC and not been read: on a stream, and on all of a connection together.
#[cfg(feature = "quic")]
const QUIC_STREAM_BYTES_MAX: u32 = 4 * 1024 * 1024;
#[cfg(feature = "quic")]
const QUIC_CONNECTION_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// NATs forget UDP that is quiet for 30 seconds. Pings mostly make this needless.
#[cfg(feature = "quic")]
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A connection is given up after so many milliseconds of silence.
#[cfg(feature = "quic")]
const QUIC_SILENCE_MS_MAX: u32 = 40_000;

pub(crate) type Wire = Boxed<(PeerId, StreamMuxerBox)>;

/// The behaviours of a device.
#[derive(NetworkBehaviour)]
pub(crate) struct Node {
    connections: Connections,
    pub(crate) streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    relay: relay::client::Behaviour,
    dcutr: Toggle<dcutr::Behaviour>,
    pub(crate) probe: probe::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Spawns tasks that end when told to, and can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    pub(crate) stopped: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Ends all tasks, and waits until they have.
    pub(crate) async fn stop(&self) {
        self.stopped.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn swarm_config(&self, idle: Duration) -> libp2p::swarm::Config {
        let tasks = self.clone();
        libp2p::swarm::Config::with_executor(move |task| tasks.spawn(task))
            .with_idle_connection_timeout(idle)
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
    }
}

pub(crate) fn keypair(seed: &[u8; 32]) -> Keypair {
    let mut seed = *seed;
    // Wipes its argument.
    Keypair::ed25519_from_bytes(&mut seed).expect("any 32 bytes are an Ed25519 seed")
}

/// A swarm for a device. The error is that of mDNS, which a device can do without.
pub(crate) fn node(
    config: &Config,
    registry: &Arc<Registry>,
    tasks: &Tasks,
) -> Result<(Swarm<Node>, Option<io::Error>), TransportError> {
    let keys = keypair(&config.seed);
    let id = keys.public().to_peer_id();
    let (relay_wire, relay) = relay::client::new(id);
    let relay_wire = secured(relay_wire, &keys, STREAMS_PER_CONNECTION_MAX, config.limits.dial_timeout)?;
    let wires = Wires {
        quic: config.quic,
        streams: STREAMS_PER_CONNECTION_MAX,
        patience: config.limits.dial_timeout,
        name_servers: &config.name_servers,
        names: config.names.as_ref(),
        tls_roots: &config.tls_roots,
    };
    let wire = relay_wire.or_transport(wires.build(&keys)?).map(|either, _| either.into_inner()).boxed();
    let (mdns, failure) = match config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), id)) {
        None => (None, None),
        Some(Ok(mdns)) => (Some(mdns), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let behaviour = Node {
        connections: Connections::new(config.limits.connections_max, config.limits.connections_per_peer_max),
        streams: streams::Behaviour::new(registry.clone(), config.limits.strangers_max),
        identify: identify(&keys),
        ping: ping(&config.limits),
        relay,
        dcutr: config.hole_punching.then(|| dcutr::Behaviour::new(id)).into(),
        probe: probe::Behaviour::default(),
        mdns: mdns.into(),
    };
    Ok((Swarm::new(wire, behaviour, id, tasks.swarm_config(config.limits.idle_timeout)), failure))
}

pub(crate) fn identify(keys: &Keypair) -> identify::Behaviour {
    // What we listen on is told to the team by the team's own means, not to everyone who connects.
    let config = identify::Config::new(PROTOCOL.into(), keys.public())
        .with_agent_version(AGENT.into())
        .with_cache_size(0)
        .with_hide_listen_addrs(true);
    identify::Behaviour::new(config)
}

fn ping(limits: &Limits) -> ping::Behaviour {
    ping::Behaviour::new(ping::Config::new().with_interval(limits.ping_interval).with_timeout(limits.ping_timeout))
}

/// What bytes travel over: TCP, WebSocket over TCP (with TLS where the address says so), QUIC if wanted, all of them by
/// name too.
pub(crate) struct Wires<'a> {
    pub(crate) quic: bool,
    pub(crate) streams: usize,
    pub(crate) patience: Duration,
    /// Empty: those of the system.
    pub(crate) name_servers: &'a [IpAddr],
    /// The host, in place of them.
    pub(crate) names: Option<&'a Names>,
    pub(crate) tls_roots: &'a [Vec<u8>],
}

impl Wires<'_> {
    pub(crate) fn build(&self, keys: &Keypair) -> Result<Wire, TransportError> {
        let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let plain = || -> Result<Wire, TransportError> {
            let tcp = secured(tcp(), keys, self.streams, self.patience)?;
            if self.quic { with_quic(tcp, keys, self.streams, self.patience) } else { Ok(tcp) }
        };
        if let Some(names) = self.names {
            let sockets = self.sockets(Named::new(tcp(), names.clone()), keys)?;
            let rest = Named::new(plain()?, names.clone());
            return Ok(sockets.or_transport(rest).map(|either, _| either.into_inner()).boxed());
        }
        // WebSocket looks at the name itself, for TLS: so it goes around the resolver, not the other way round. And it
        // goes first, as the resolver takes every address.
        let (sockets, rest) = match self.resolver() {
            Ok((config, options)) => {
                let names = dns::tokio::Transport::custom(tcp(), config.clone(), options.clone());
                let sockets = self.sockets(names, keys)?;
                (sockets, dns::tokio::Transport::custom(plain()?, config, options).boxed())
            }
            Err(error) => {
                // So it is on Android, which has no /etc/resolv.conf.
                tracing::warn!(%error, "no DNS resolver: addresses with names cannot be dialled");
                (self.sockets(tcp(), keys)?, plain()?)
            }
        };
        Ok(sockets.or_transport(rest).map(|either, _| either.into_inner()).boxed())
    }

    fn resolver(&self) -> Result<(dns::ResolverConfig, dns::ResolverOpts), hickory_resolver::net::NetError> {
        if self.name_servers.is_empty() {
            return hickory_resolver::system_conf::read_system_conf();
        }
        let servers = self.name_servers.iter().copied().map(NameServerConfig::udp_and_tcp).collect();
        Ok((dns::ResolverConfig::from_parts(None, Vec::new(), servers), dns::ResolverOpts::default()))
    }

    fn sockets<T>(&self, tcp: T, keys: &Keypair) -> Result<Wire, TransportError>
    where
        T: libp2p::Transport + Send + Unpin + 'static,
        T::Output: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        let mut tls = websocket::tls::Config::builder();
        for root in self.tls_roots {
            tls.add_trust(&websocket::tls::Certificate::new(root.clone()))
                .map_err(|_| TransportError::BadCertificate)?;
        }
        let mut sockets = websocket::Config::new(tcp);
        sockets.set_tls_config(tls.finish());
        // A stranger may send frames of any length. Noise cuts what we send at 64 KiB.
        sockets.set_max_data_size(SOCKET_FRAME_BYTES_MAX);
        secured(sockets, keys, self.streams, self.patience)
    }
}

#[cfg(feature = "quic")]
fn with_quic(tcp: Wire, keys: &Keypair, streams: usize, patience: Duration) -> Result<Wire, TransportError> {
    use futures::future::Either;
    use libp2p::quic;

    let mut config = quic::Config::new(keys);
    config.handshake_timeout = patience;
    config.max_concurrent_stream_limit = u32::try_from(streams).expect("a small constant");
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config.max_idle_timeout = QUIC_SILENCE_MS_MAX;
    config.max_stream_data = QUIC_STREAM_BYTES_MAX;
    config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
    let either = quic::tokio::Transport::new(config).or_transport(tcp).map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right(tcp) => tcp,
    });
    Ok(either.boxed())
}

#[cfg(not(feature = "quic"))]
fn with_quic(_: Wire, _: &Keypair, _: usize, _: Duration) -> Result<Wire, TransportError> {
    Err(TransportError::NoQuic)
}

/// Noise and Yamux over a stream of bytes.
fn secured<T>(wire: T, keys: &Keypair, streams: usize, patience: Duration) -> Result<Wire, TransportError>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let noise = noise::Config::new(keys).map_err(|_| TransportError::Security)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(streams);
    let secured = wire.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux).timeout(patience);
    Ok(secured.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}
