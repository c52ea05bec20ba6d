//! The libp2p behaviour that hands out who opens [`Channel::Mailbox`].

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use tokio::sync::{mpsc, oneshot};

use super::Caller;
use crate::{
    Channel, PeerKey,
    streams::{Handler, Instruction, Request},
};

pub(super) struct Behaviour {
    callers: mpsc::Sender<Caller>,
    /// Where the peers of connections are, as far as that is an IP address.
    addresses: HashMap<ConnectionId, IpAddr>,
    actions: VecDeque<ToSwarm<Infallible, Instruction>>,
}

impl Behaviour {
    pub(super) fn new(callers: mpsc::Sender<Caller>) -> Self {
        Self { callers, addresses: HashMap::new(), actions: VecDeque::new() }
    }
}

fn ip_address(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(address.into()),
        Protocol::Ip6(address) => Some(address.into()),
        _ => None,
    })
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(&[Channel::Mailbox]))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(&[Channel::Mailbox]))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                if let Some(address) = ip_address(opened.endpoint.get_remote_address()) {
                    self.addresses.insert(opened.connection_id, address);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.addresses.remove(&closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let (channel, stream) = event;
        let Some(key) = PeerKey::from_peer_id(&peer) else { return };
        // Before a stream the other way is asked for: that of a caller who is turned away would be of no use.
        let Ok(place) = self.callers.try_reserve() else {
            tracing::warn!("a caller was turned away: too many wait");
            return;
        };
        let (reply, outgoing) = oneshot::channel();
        place.send(Caller::new(key, self.addresses.get(&connection).copied(), stream, outgoing));
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Instruction::Open(Request::new(channel, reply)),
        });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // The swarm polls again after every call and event that can add an action.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
