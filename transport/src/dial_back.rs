//! What keeps a relay from being sent after others.
//!
//! Devices ask a relay to dial them, to learn whether they can be reached (AutoNAT). The protocol lets them name any
//! address, against a fee of some bytes. That would make the relay a scanner of its own network and a dialler of
//! strangers. So it dials nobody but at an IP address from which the same peer is connected at that moment.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

/// Why the relay does not dial.
#[derive(Debug, thiserror::Error)]
#[error("the peer is not connected from there")]
struct Elsewhere;

/// Denies all dialling but that of peers where they are. Knows as many addresses as there are connections.
#[derive(Default)]
pub(crate) struct Guard {
    seen: HashMap<PeerId, HashMap<ConnectionId, IpAddr>>,
}

impl Guard {
    fn permits(&self, peer: Option<PeerId>, addresses: &[Multiaddr]) -> bool {
        let Some(seen) = peer.and_then(|peer| self.seen.get(&peer)) else { return false };
        let here: HashSet<IpAddr> = seen.values().copied().collect();
        addresses.iter().all(|address| ip(address).is_some_and(|ip| here.contains(&ip)))
    }
}

/// The IP address that is dialled. None if it would have to be resolved, or a relay be asked.
fn ip(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.permits(peer, addresses) { Ok(Vec::new()) } else { Err(ConnectionDenied::new(Elsewhere)) }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // Only where they came from: what was dialled on their word says nothing.
            FromSwarm::ConnectionEstablished(opened) if opened.endpoint.is_listener() => {
                if let Some(ip) = ip(opened.endpoint.get_remote_address()) {
                    self.seen.entry(opened.peer_id).or_default().insert(opened.connection_id, ip);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(seen) = self.seen.get_mut(&closed.peer_id) {
                    seen.remove(&closed.connection_id);
                    if seen.is_empty() {
                        self.seen.remove(&closed.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_dialled_where_it_is_and_nowhere_else() {
        let (alice, bob) = (PeerId::random(), PeerId::random());
        let mut guard = Guard::default();
        guard.seen.entry(alice).or_default().insert(ConnectionId::new_unchecked(1), "192.0.2.7".parse().unwrap());
        let permits = |peer, texts: &[&str]| {
            guard.permits(peer, &texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
        };
        assert!(permits(Some(alice), &["/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.7/udp/2/quic-v1"]));
        assert!(!permits(Some(bob), &["/ip4/192.0.2.7/tcp/1"]) && !permits(None, &["/ip4/192.0.2.7/tcp/1"]));
        for elsewhere in ["/ip4/192.0.2.8/tcp/1", "/ip4/127.0.0.1/tcp/22", "/dns/localhost/tcp/22"] {
            assert!(!permits(Some(alice), &["/ip4/192.0.2.7/tcp/1", elsewhere]), "{elsewhere}");
        }
        let circuit = format!("/ip4/192.0.2.7/tcp/1/p2p/{bob}/p2p-circuit");
        assert!(!permits(Some(alice), &[&circuit]));
    }
}
