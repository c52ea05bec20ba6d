//! How many connections there may be: all together, with one peer, and on their way.
//!
//! libp2p has a behaviour for that (`connection_limits`), which remembers each peer that was ever connected (0.7). Keys cost nothing, so whoever comes
//! with ever new ones would have memory grow without end. This one knows those who are there.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

/// Why there is no further connection.
#[derive(Debug, thiserror::Error)]
#[error("there are too many connections {0}")]
struct TooMany(&'static str);

/// Denies connections beyond its bounds.
pub(crate) struct Connections {
    /// All together; so many more may be on their way, to each side.
    max: usize,
    per_peer_max: usize,
    coming: HashSet<ConnectionId>,
    going: HashSet<ConnectionId>,
    /// Peers who are connected, and by how many connections.
    with: HashMap<PeerId, usize>,
    all: usize,
}

impl Connections {
    pub(crate) fn new(max: u32, per_peer_max: u32) -> Self {
        let [max, per_peer_max] = [max, per_peer_max].map(|max| max as usize);
        Self { max, per_peer_max, coming: HashSet::new(), going: HashSet::new(), with: HashMap::new(), all: 0 }
    }

    /// One more with this peer.
    fn check(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        below(self.with.get(peer).copied().unwrap_or(0), self.per_peer_max, "with this peer")?;
        below(self.all, self.max, "all together")
    }

    fn opened(&mut self, peer: PeerId) {
        self.all += 1;
        *self.with.entry(peer).or_default() += 1;
    }

    fn closed(&mut self, peer: PeerId) {
        let Entry::Occupied(mut with) = self.with.entry(peer) else { return };
        self.all -= 1;
        *with.get_mut() -= 1;
        if *with.get() == 0 {
            with.remove();
        }
    }
}

fn below(count: usize, max: usize, which: &'static str) -> Result<(), ConnectionDenied> {
    if count < max { Ok(()) } else { Err(ConnectionDenied::new(TooMany(which))) }
}

impl NetworkBehaviour for Connections {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        below(self.coming.len(), self.max, "on their way here")?;
        self.coming.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.coming.remove(&connection);
        self.check(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        below(self.going.len(), self.max, "on their way to others")?;
        self.going.insert(connection);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.going.remove(&connection);
        self.check(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => self.opened(opened.peer_id),
            FromSwarm::ConnectionClosed(closed) => self.closed(closed.peer_id),
            FromSwarm::DialFailure(failed) => drop(self.going.remove(&failed.connection_id)),
            FromSwarm::ListenFailure(failed) => drop(self.coming.remove(&failed.connection_id)),
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
    use libp2p::{
        core::ConnectedPoint,
        swarm::{
            DialError,
            behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure},
        },
    };

    use super::*;

    fn address() -> Multiaddr {
        "/ip4/192.0.2.7/tcp/4001".parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// Comes, as the swarm tells it.
    fn come(connections: &mut Connections, number: usize, peer: PeerId) -> Result<(), ConnectionDenied> {
        let address = address();
        connections.handle_pending_inbound_connection(id(number), &address, &address)?;
        connections.handle_established_inbound_connection(id(number), peer, &address, &address)?;
        let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address };
        connections.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id(number),
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        Ok(())
    }

    fn go(connections: &mut Connections, number: usize, peer: PeerId) {
        let endpoint = ConnectedPoint::Listener { local_addr: address(), send_back_addr: address() };
        connections.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: id(number),
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        }));
    }

    #[test]
    fn those_who_left_are_forgotten() {
        let mut connections = Connections::new(10, 2);
        for number in 0..1_000 {
            let peer = PeerId::random();
            come(&mut connections, 2 * number, peer).unwrap();
            come(&mut connections, 2 * number + 1, peer).unwrap();
            go(&mut connections, 2 * number, peer);
            assert_eq!((connections.with.len(), connections.all), (1, 1));
            go(&mut connections, 2 * number + 1, peer);
        }
        let Connections { coming, going, with, all, .. } = connections;
        assert_eq!((coming.len(), going.len(), with.len(), all), (0, 0, 0, 0));
    }

    #[test]
    fn a_peer_has_so_many_and_all_together_so_many() {
        let mut connections = Connections::new(3, 2);
        let [alice, bob, carol] = [(); 3].map(|()| PeerId::random());
        come(&mut connections, 1, alice).unwrap();
        come(&mut connections, 2, alice).unwrap();
        assert!(come(&mut connections, 3, alice).is_err());
        come(&mut connections, 4, bob).unwrap();
        assert!(come(&mut connections, 5, carol).is_err());
        go(&mut connections, 1, alice);
        come(&mut connections, 6, carol).unwrap();
        assert!(connections.coming.is_empty());
    }

    #[test]
    fn so_many_are_on_their_way_until_they_fail() {
        let mut connections = Connections::new(2, 2);
        let dial = |connections: &mut Connections, number| {
            connections.handle_pending_outbound_connection(id(number), None, &[], Endpoint::Dialer)
        };
        dial(&mut connections, 1).unwrap();
        dial(&mut connections, 2).unwrap();
        assert!(dial(&mut connections, 3).is_err());
        let failed = DialFailure { peer_id: None, error: &DialError::Aborted, connection_id: id(1) };
        connections.on_swarm_event(FromSwarm::DialFailure(failed));
        dial(&mut connections, 3).unwrap();
        let here = address();
        let mut coming = |number| connections.handle_pending_inbound_connection(id(number), &here, &here);
        coming(4).unwrap();
        coming(5).unwrap();
        assert!(coming(6).is_err());
    }
}
