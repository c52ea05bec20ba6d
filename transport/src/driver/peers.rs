//! Those who are connected: sessions from the first connection to the last, and who has to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, dcutr, ping, swarm::ConnectionId};
use tokio::sync::oneshot;

use super::{Command, Driver};
use crate::{
    Address, Channel, DialError, Event, PeerKey,
    registry::{ConnectionInfo, Peer, Way},
    session::Session,
    streams::Incoming,
};

impl Driver {
    pub(super) fn on_connected(&mut self, peer: PeerKey, connection: ConnectionId, endpoint: &ConnectedPoint) {
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

    pub(super) fn on_disconnected(&mut self, peer: PeerKey, connection: ConnectionId, last: bool) {
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

    /// The two sides have tried to replace a relayed connection.
    pub(super) fn on_hole_punched(&mut self, event: dcutr::Event) {
        tracing::debug!(?event, "hole punching");
        let (Some(peer), Ok(connection)) = (PeerKey::from_peer_id(&event.remote_peer_id), event.result) else { return };
        if let Some(session) = self.sessions.get(&peer)
            && let Some(info) = session.peer.connections().get_mut(&connection)
        {
            info.way = Way::HolePunched;
        }
    }

    pub(super) fn on_interrupted(&mut self, peer: &Arc<Peer>, channel: Channel) {
        let current = self.sessions.get(&peer.key).is_some_and(|session| Arc::ptr_eq(&session.peer, peer));
        let pending = &peer.interruptions[channel as usize];
        if current && !pending.swap(true, Relaxed) {
            let event = Event::Interrupted { peer: peer.key, channel };
            self.notices.push_back((event, Some(pending.clone())));
        }
    }

    /// Closes the connections with everybody; those with relays once nobody is connected through them any more.
    pub(super) fn close_all(&mut self) {
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
    pub(super) fn close_when_sent(&mut self, peer: PeerKey) {
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

    /// Strangers come to join. Who says nothing for long gives up the place.
    pub(super) fn disconnect_idle_strangers(&mut self) {
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

    pub(super) fn disconnect(&mut self, peer: PeerKey, done: oneshot::Sender<()>) {
        if self.sessions.contains_key(&peer) {
            self.disconnecting.entry(peer).or_default().push(done);
            self.close_when_sent(peer);
        } else {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }

    pub(super) fn on_stream(&mut self, Incoming { peer, channel, stream }: Incoming) {
        if !self.shared.registry.allows(&peer, channel) {
            self.shared.registry.refusals.not_permitted.fetch_add(1, Relaxed);
            tracing::warn!(?peer, ?channel, "refused a stream: the peer is not permitted");
        } else if let Some(session) = self.sessions.get(&peer) {
            session.accept(channel, stream);
        }
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        let Some(peer) = PeerKey::from_peer_id(&event.peer) else { return };
        match &event.result {
            Ok(round_trip) => {
                if let Some(session) = self.sessions.get(&peer)
                    && let Some(info) = session.peer.connections().get_mut(&event.connection)
                {
                    info.round_trip = Some(*round_trip);
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(failure) => {
                tracing::debug!(?peer, %failure, "no answer: closing the connection");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// mDNS heard of others.
    pub(super) fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
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
}

fn way(endpoint: &ConnectedPoint) -> Way {
    // Who comes through a relay is seen at no address: it stands in the one that was listened on.
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    Address(address.clone()).relay().map_or(Way::Direct, |relay| Way::Relayed { relay })
}
