//! The handle.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Address, Addresses, Channel, Config, DialError, Events, PeerInfo, PeerKey, SendError, Stats, TransportError,
    dial::DialReply,
    driver::{Command, Driver, Shared},
    event::EventSink,
    net::{self, Tasks},
    registry::{Outbox, Peer, Registry},
};

/// Commands that may wait for the driver.
const COMMANDS_MAX: usize = 64;

/// A device on the network. Cheap to clone; when the last clone is dropped, everything stops at once. To let queued
/// frames arrive, [`shutdown`](Self::shutdown) first.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    key: PeerKey,
    shared: Arc<Shared>,
    stopped: CancellationToken,
    _abandon: DropGuard,
}

impl Transport {
    /// Starts listening, in a tokio task of its own. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration cannot work. What the environment refuses, such as an address in use or the lack of
    /// multicast, is an event ([`Event::ListenFailed`](crate::Event::ListenFailed)) and no error.
    pub fn start(config: Config) -> Result<(Self, Events), TransportError> {
        config.limits.check()?;
        for relay in &config.relays {
            relay.circuit()?;
        }
        let runtime = Handle::try_current().map_err(|_| TransportError::NoRuntime)?;
        let registry = Arc::new(Registry::default());
        let tasks = Tasks::default();
        let (events, queue) = EventSink::new(config.limits.inbound_bytes_max);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (swarm, discovery) = net::node(&config, &registry, &tasks)?;
        let key = PeerKey::from_peer_id(swarm.local_peer_id()).expect("made from an Ed25519 seed");
        let shared = Arc::new(Shared {
            registry: registry.clone(),
            events,
            commands,
            limits: config.limits.clone(),
            quic: config.quic,
            tasks,
        });
        let mut driver = Driver::new(swarm, inbox, shared.clone());
        if let Some(error) = discovery {
            tracing::warn!(%error, "devices nearby cannot be found");
            driver.discovery_failed();
        }
        config.listen.iter().chain(&config.relays).for_each(|address| driver.listen(address.clone()));
        let abandoned = CancellationToken::new();
        let stopped = CancellationToken::new();
        let events = Events { queue, registry, stopped: stopped.clone() };
        let inner = Inner { key, shared, stopped: stopped.clone(), _abandon: abandoned.clone().drop_guard() };
        runtime.spawn(async move {
            // However it ends: nobody is to wait for it for ever.
            let _stopped = stopped.drop_guard();
            driver.run(abandoned).await;
        });
        Ok((Self { inner: Arc::new(inner) }, events))
    }

    /// This device's own key.
    pub fn key(&self) -> PeerKey {
        self.inner.key
    }

    /// Begins to connect. With `peer`, anybody else who answers is refused; without, whoever answers is taken,
    /// unless the addresses name one. What comes of it is an event: `Connected` or `DialFailed`; neither if there is
    /// a connection already that is as good (a relayed one is not as good as a direct address).
    pub async fn dial(&self, peer: Option<PeerKey>, addresses: Vec<Address>) {
        // Stopped: no event comes any more.
        let _ = self.command(Command::Dial { peer, addresses, reply: DialReply::Event }).await;
    }

    /// As [`dial`](Self::dial), but waits until there is a connection, and says with whom. Dropping the future stops
    /// waiting, not dialling.
    ///
    /// # Errors
    /// If the peer could not be reached. There is no `DialFailed` event then.
    pub async fn connect(&self, peer: Option<PeerKey>, addresses: Vec<Address>) -> Result<PeerKey, DialError> {
        let (reply, result) = oneshot::channel();
        let reply = DialReply::Waiting(reply);
        self.command(Command::Dial { peer, addresses, reply }).await.map_err(|_| DialError::Stopped)?;
        result.await.unwrap_or(Err(DialError::Stopped))
    }

    /// Listens on one more address, or again on one that failed. The address of a relay (`…/p2p/<relay>`) asks that
    /// relay for a place, now and whenever it has been lost. The answer is an event: `Listening` or `ListenFailed`.
    pub async fn listen(&self, address: Address) {
        let _ = self.command(Command::Listen { address }).await;
    }

    /// Listens there no more: the opposite of [`listen`](Self::listen). A relay is not asked again; the place that it gave ends
    /// with the [connection](Self::disconnect), and circuits that are there stay until then. The answer is
    /// [`Event::ListenEnded`](crate::Event::ListenEnded), if it listened there. Nothing happens if it was not asked to.
    pub async fn unlisten(&self, address: Address) {
        let _ = self.command(Command::Unlisten { address }).await;
    }

    /// The network is another one (another Wi-Fi, back from sleep): relays that give no place are asked again at once.
    pub async fn network_changed(&self) {
        let _ = self.command(Command::NetworkChanged).await;
    }

    /// Takes no more frames for the peer, lets those that are queued arrive (for `flush_timeout` at most), closes
    /// all connections with it and waits until they are. Nothing happens if there is none.
    pub async fn disconnect(&self, peer: PeerKey) {
        let (done, closed) = oneshot::channel();
        if self.command(Command::Disconnect { peer, done }).await.is_ok() {
            // It can only fail because everything has stopped.
            let _ = closed.await;
        }
    }

    /// Lets a peer use all channels, and keeps connections with it open. Peers who are not permitted may use
    /// [`Channel::Join`] only. Permissions outlast connections, not the transport.
    pub fn permit(&self, peer: PeerKey) {
        self.set_permitted(peer, true);
    }

    /// Takes the permission back. When this returns, no frame of the peer is handed out any more on other channels
    /// than [`Channel::Join`], and none is queued for it. Connections stay until they are idle.
    pub fn forbid(&self, peer: PeerKey) {
        self.set_permitted(peer, false);
    }

    fn set_permitted(&self, peer: PeerKey, permitted: bool) {
        if self.inner.shared.registry.set_permitted(peer, permitted) {
            let inner = self.inner.clone();
            // Only about keeping connections: it may come a little later.
            self.inner.shared.spawn(async move {
                let _ = inner.shared.commands.send(Command::Refresh { peer }).await;
            });
        }
    }

    /// Queues a frame, having waited for room if need be. That it was queued does not mean that it arrives:
    /// `Disconnected` and `Interrupted` say when it may not have. Cancel-safe: a frame is queued as a whole or not.
    ///
    /// # Errors
    /// If the frame was not queued; see [`SendError`].
    pub async fn send(&self, peer: PeerKey, channel: Channel, frame: Vec<u8>) -> Result<(), SendError> {
        self.send_pieces(peer, channel, vec![frame.into()]).await
    }

    /// The same for a frame that lies in pieces, which are sent one after another and never copied together.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_pieces(&self, peer: PeerKey, channel: Channel, pieces: Vec<Bytes>) -> Result<(), SendError> {
        let target = self.target(&peer, channel)?;
        outbox(&target, channel).send(pieces).await
    }

    /// Queues a frame if there is room now.
    ///
    /// # Errors
    /// If the frame was not queued; see [`SendError`].
    pub fn try_send(&self, peer: PeerKey, channel: Channel, frame: Vec<u8>) -> Result<(), SendError> {
        let target = self.target(&peer, channel)?;
        outbox(&target, channel).try_send(vec![frame.into()])
    }

    fn target(&self, peer: &PeerKey, channel: Channel) -> Result<Arc<Peer>, SendError> {
        let registry = &self.inner.shared.registry;
        if !registry.allows(peer, channel) {
            return Err(SendError::NotPermitted);
        }
        registry.peer(peer).ok_or(SendError::NotConnected)
    }

    /// Where this device can be reached.
    pub fn addresses(&self) -> Addresses {
        self.inner.shared.registry.addresses()
    }

    /// What is known of a peer while it is connected.
    pub fn peer(&self, peer: &PeerKey) -> Option<PeerInfo> {
        let registry = &self.inner.shared.registry;
        registry.peer(peer).map(|peer| registry.info(&peer))
    }

    /// Connected peers, counters and queues.
    pub fn stats(&self) -> Stats {
        let Shared { registry, events, .. } = &*self.inner.shared;
        let (sent_bytes, received_bytes) = registry.total_bytes();
        Stats {
            sent_bytes,
            received_bytes,
            peers: registry.peers().iter().map(|peer| registry.info(peer)).collect(),
            refusals: registry.refusals.snapshot(),
            inbound_waiting_bytes: Channel::ALL.map(|channel| events.waiting(channel)),
        }
    }

    /// Lets queued frames arrive (for a bounded time, see [`Limits::flush_timeout`](crate::Limits)), closes
    /// everything, and returns when all tasks have ended and all sockets are closed. Events that came before can
    /// still be taken. Calling it again waits for the same end.
    pub async fn shutdown(&self) {
        // If the driver is gone already, so is everything.
        let _ = self.command(Command::Shutdown).await;
        self.inner.stopped.cancelled().await;
    }

    async fn command(&self, command: Command) -> Result<(), TransportError> {
        self.inner.shared.commands.send(command).await.map_err(|_| TransportError::Stopped)
    }
}

fn outbox(peer: &Peer, channel: Channel) -> &Outbox {
    &peer.outboxes[channel as usize]
}
