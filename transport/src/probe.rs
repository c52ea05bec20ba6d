//! Whether this device can be reached from outside (AutoNAT, version 2): relays are asked to dial the addresses at
//! which others see it.
//!
//! libp2p's client, within a bound. It keeps every address that any peer claims to see this device at; here it hears of
//! the first [`CANDIDATES_MAX`] only. And it never asks twice about an address; so [`Behaviour::forget`] begins anew
//! with a fresh one when the device has moved to another network, which takes part in connections that come after.

use std::{
    collections::HashSet,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

/// Addresses that are tested between two changes of the network: at most so many.
const CANDIDATES_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Behaviour {
    client: client::Behaviour,
    candidates: HashSet<Multiaddr>,
    /// The connections that the client knows of.
    connections: HashSet<ConnectionId>,
}

impl Behaviour {
    /// The network is another: what was learned says nothing any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn concerns(&mut self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::NewExternalAddrCandidate(new) => {
                let relayed = new.addr.iter().any(|part| part == Protocol::P2pCircuit);
                let room = self.candidates.len() < CANDIDATES_MAX;
                self.candidates.contains(new.addr) || (!relayed && room && self.candidates.insert(new.addr.clone()))
            }
            FromSwarm::ConnectionEstablished(opened) => self.connections.insert(opened.connection_id),
            FromSwarm::ConnectionClosed(closed) => self.connections.remove(&closed.connection_id),
            _ => true,
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if self.concerns(&event) {
            self.client.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.connections.contains(&connection) {
            self.client.on_connection_handler_event(peer, connection, event);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.client.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::NewExternalAddrCandidate;

    use super::*;

    #[test]
    fn whoever_claims_to_see_us_everywhere_is_heard_a_few_times_only() {
        let mut probe = Behaviour::default();
        let mut heard = |text: String| {
            let addr: Multiaddr = text.parse().unwrap();
            probe.concerns(&FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr: &addr }))
        };
        let claims = (1..=1000).filter(|port| heard(format!("/ip4/192.0.2.7/tcp/{port}"))).count();
        assert_eq!(claims, CANDIDATES_MAX);
        assert!(heard("/ip4/192.0.2.7/tcp/1".into()) && !heard("/ip4/192.0.2.7/tcp/1001".into()));
        probe.forget();
        let mut heard = |text: String| {
            let addr: Multiaddr = text.parse().unwrap();
            probe.concerns(&FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr: &addr }))
        };
        assert!(heard("/ip4/192.0.2.7/tcp/1001".into()));
    }
}
