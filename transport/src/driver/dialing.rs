//! Reaching somebody.

use libp2p::swarm::{ConnectionId, DialError as SwarmDialError, dial_opts::DialOpts};

use super::Driver;
use crate::{
    Address, DialError,
    dial::{Dial, Progress},
};

impl Driver {
    pub(super) fn dial(&mut self, mut dial: Dial) {
        if self.deadline.is_some() {
            return self.dial_failed(dial, DialError::Stopped);
        }
        if let Some(peer) = dial.peer {
            if peer.to_peer_id() == *self.swarm.local_peer_id() {
                return self.dial_failed(dial, DialError::OwnKey);
            }
            let connections = self.sessions.get(&peer).map(|session| session.peer.connections());
            let known = connections.as_ref().is_some_and(|known| !known.is_empty());
            let direct = connections.is_some_and(|known| known.values().any(|known| !known.is_relayed()));
            if direct || known && dial.addresses.iter().all(Address::is_relayed) {
                return dial.reply.finish(Ok(peer));
            }
            if known {
                dial.skip_relays();
            }
        }
        if !dial.addresses.is_empty() && !dial.addresses.iter().any(|address| address.is_supported(self.shared.quic)) {
            return self.dial_failed(dial, DialError::Unsupported);
        }
        loop {
            let opts: DialOpts = match dial.next() {
                Ok(opts) => opts,
                Err(error) => return self.dial_failed(dial, error),
            };
            let connection = opts.connection_id();
            match self.swarm.dial(opts) {
                Ok(()) => {
                    self.dials.insert(connection, dial);
                    return;
                }
                Err(error) => match dial.failed(&error) {
                    Progress::GoOn => {}
                    Progress::GiveUp(error) => return self.dial_failed(dial, error),
                },
            }
        }
    }

    pub(super) fn dial_failed(&mut self, dial: Dial, error: DialError) {
        if let Some(event) = dial.fail(error) {
            self.notices.push_back((event, None));
        }
    }

    pub(super) fn on_dial_error(&mut self, connection: ConnectionId, error: &SwarmDialError) {
        tracing::debug!(%error, "dialling failed");
        let Some(mut dial) = self.dials.remove(&connection) else { return };
        match dial.failed(error) {
            Progress::GoOn => self.dial(dial),
            Progress::GiveUp(error) => self.dial_failed(dial, error),
        }
    }
}
