//! The libp2p behaviour that opens and accepts the streams of our channels.
//!
//! Written rather than taken from `libp2p-stream`, which chooses among the connections of a peer at random, cannot
//! tell why a stream was not opened, and drops a stream that arrives while another one waits to be accepted.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, ListenUpgradeError,
        },
    },
};
use tokio::sync::oneshot;

use crate::{Channel, PeerKey, registry::Registry};

/// Why a connection is not wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwanted {
    #[error("the peer's key is not Ed25519")]
    ForeignKey,
    #[error("too many strangers are connected")]
    TooManyStrangers,
}

/// Why a stream could not be opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenFailure {
    /// The peer does not speak the protocol.
    Unsupported,
    /// The connection went away, or the peer did not answer.
    Broken,
    /// There is no connection.
    NotConnected,
}

/// A stream that was opened, and whether it leads through a relay.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) relayed: bool,
}

pub(crate) type OpenReply = oneshot::Sender<Result<Opened, OpenFailure>>;

/// A peer opened a stream to us.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) peer: PeerKey,
    pub(crate) channel: Channel,
    pub(crate) stream: Stream,
}

#[derive(Clone, Copy)]
struct Link {
    id: ConnectionId,
    relayed: bool,
    incoming: bool,
    kept: bool,
}

pub(crate) struct Behaviour {
    registry: Arc<Registry>,
    strangers_max: usize,
    links: BTreeMap<PeerId, Vec<Link>>,
    actions: VecDeque<ToSwarm<Incoming, Instruction>>,
}

impl Behaviour {
    pub(crate) fn new(registry: Arc<Registry>, strangers_max: usize) -> Self {
        Self { registry, strangers_max, links: BTreeMap::new(), actions: VecDeque::new() }
    }

    /// Opens a stream on the best connection: direct before relayed, then the newest.
    pub(crate) fn open(&mut self, peer: PeerKey, channel: Channel, reply: OpenReply) {
        let peer_id = peer.to_peer_id();
        let links = self.links.get(&peer_id).map_or(&[][..], Vec::as_slice);
        match links.iter().max_by_key(|link| (!link.relayed, link.id)) {
            Some(link) => self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(link.id),
                event: Instruction::Open(Request { channel, relayed: link.relayed, reply }),
            }),
            None => {
                // Whoever asked may have given up.
                let _ = reply.send(Err(OpenFailure::NotConnected));
            }
        }
    }

    /// Whether the peer came to us, over every connection there is with it.
    pub(crate) fn is_incoming(&self, peer: &PeerKey) -> bool {
        self.links.get(&peer.to_peer_id()).is_some_and(|links| links.iter().all(|link| link.incoming))
    }

    /// Permitted peers stay connected, over a relay only until there is a direct connection.
    pub(crate) fn refresh(&mut self, peer: PeerKey) {
        let permitted = self.registry.is_permitted(&peer);
        let peer_id = peer.to_peer_id();
        let Some(links) = self.links.get_mut(&peer_id) else { return };
        let direct = links.iter().any(|link| !link.relayed);
        for link in links {
            let keep = permitted && !(link.relayed && direct);
            if link.kept != keep {
                link.kept = keep;
                self.actions.push_back(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::One(link.id),
                    event: Instruction::Keep(keep),
                });
            }
        }
    }

    fn admit(&self, peer: &PeerId, incoming: bool) -> Result<Handler, ConnectionDenied> {
        let Some(key) = PeerKey::from_peer_id(peer) else {
            self.registry.refusals.foreign_key.fetch_add(1, Relaxed);
            return Err(ConnectionDenied::new(Unwanted::ForeignKey));
        };
        if incoming && !self.registry.is_permitted(&key) && !self.links.contains_key(peer) {
            let is_stranger = |known: &PeerId| {
                PeerKey::from_peer_id(known)
                    .is_some_and(|known| self.is_incoming(&known) && !self.registry.is_permitted(&known))
            };
            if self.links.keys().filter(|known| is_stranger(known)).count() >= self.strangers_max {
                self.registry.refusals.too_many_strangers.fetch_add(1, Relaxed);
                return Err(ConnectionDenied::new(Unwanted::TooManyStrangers));
            }
        }
        Ok(Handler::new(&Channel::ALL))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer, true)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer, false)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let peer_id = match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let relayed = opened.endpoint.is_relayed();
                let incoming = opened.endpoint.is_listener();
                let link = Link { id: opened.connection_id, relayed, incoming, kept: false };
                self.links.entry(opened.peer_id).or_default().push(link);
                opened.peer_id
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(links) = self.links.get_mut(&closed.peer_id) {
                    links.retain(|link| link.id != closed.connection_id);
                    if links.is_empty() {
                        self.links.remove(&closed.peer_id);
                    }
                }
                closed.peer_id
            }
            _ => return,
        };
        if let Some(peer) = PeerKey::from_peer_id(&peer_id) {
            self.refresh(peer);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let (channel, stream) = event;
        if let Some(peer) = PeerKey::from_peer_id(&peer) {
            self.actions.push_back(ToSwarm::GenerateEvent(Incoming { peer, channel, stream }));
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // The swarm polls again after every call and event that can add an action.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// From the behaviour to the handler of one connection.
#[derive(Debug)]
pub(crate) enum Instruction {
    Open(Request),
    Keep(bool),
}

/// Somebody waits for a stream.
#[derive(Debug)]
pub(crate) struct Request {
    channel: Channel,
    relayed: bool,
    reply: OpenReply,
}

impl Request {
    pub(crate) fn new(channel: Channel, reply: OpenReply) -> Self {
        Self { channel, relayed: false, reply }
    }
}

/// The part of the behaviour that lives with one connection.
pub(crate) struct Handler {
    /// Which channels others may open.
    channels: &'static [Channel],
    keep: bool,
    requests: VecDeque<Request>,
    incoming: VecDeque<(Channel, Stream)>,
}

impl Handler {
    pub(crate) fn new(channels: &'static [Channel]) -> Self {
        Self { channels, keep: false, requests: VecDeque::new(), incoming: VecDeque::new() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Instruction;
    type ToBehaviour = (Channel, Stream);
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Request;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.channels.to_vec()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep || !self.requests.is_empty()
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        // The connection polls again after every event that can add to either queue.
        if let Some(incoming) = self.incoming.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(incoming));
        }
        if let Some(request) = self.requests.pop_front() {
            let protocol = SubstreamProtocol::new(Upgrade(vec![request.channel]), request);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Instruction) {
        match event {
            Instruction::Open(request) => self.requests.push_back(request),
            Instruction::Keep(keep) => self.keep = keep,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), Request>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.incoming.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (_, stream), info }) => {
                // Whoever asked may have given up; the stream is then reset.
                let _ = info.reply.send(Ok(Opened { stream, relayed: info.relayed }));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let failure = match error {
                    StreamUpgradeError::NegotiationFailed => OpenFailure::Unsupported,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => OpenFailure::Broken,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.reply.send(Err(failure));
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { error, .. }) => match error {},
            _ => {}
        }
    }
}

/// Negotiates one of some channels, and hands out the bare stream.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade(Vec<Channel>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|channel| channel.stream_protocol()).collect()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Channel, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        let channel = Channel::from_protocol(&protocol).expect("only protocols we offered are negotiated");
        ready(Ok((channel, stream)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Channel, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        self.upgrade_inbound(stream, protocol)
    }
}
