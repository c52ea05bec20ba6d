//! One attempt to reach a peer, over all the addresses that were given.

use libp2p::{
    PeerId,
    swarm::{
        DialError as SwarmDialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::sync::oneshot;

use crate::{Address, DialError, Event, PeerKey};

/// Who wants to know how it ended.
pub(crate) enum DialReply {
    /// Events tell.
    Event,
    /// Somebody waits.
    Waiting(oneshot::Sender<Result<PeerKey, DialError>>),
}

impl DialReply {
    pub(crate) fn finish(self, result: Result<PeerKey, DialError>) {
        if let Self::Waiting(reply) = self {
            // The caller may have stopped waiting.
            let _ = reply.send(result);
        }
    }
}

pub(crate) struct Dial {
    pub(crate) peer: Option<PeerKey>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) reply: DialReply,
    /// Not tried yet.
    left: Vec<Address>,
    worst: Option<DialError>,
}

/// What to do after a failure.
pub(crate) enum Progress {
    GoOn,
    GiveUp(DialError),
}

impl Dial {
    /// If no peer is given and all addresses name the same one, that one is meant.
    pub(crate) fn new(peer: Option<PeerKey>, addresses: Vec<Address>, reply: DialReply) -> Self {
        let named = addresses.first().and_then(Address::peer);
        let peer = peer.or(named.filter(|_| addresses.iter().all(|address| address.peer() == named)));
        Self { peer, left: addresses.clone(), addresses, reply, worst: None }
    }

    /// There is a relayed connection already: only a direct one would be better.
    pub(crate) fn skip_relays(&mut self) {
        self.left.retain(|address| !address.is_relayed());
    }

    /// What to dial next: for a known peer all addresses at once, otherwise one after the other.
    pub(crate) fn next(&mut self) -> Result<DialOpts, DialError> {
        if self.left.is_empty() {
            return Err(self.worst.take().unwrap_or(DialError::NoAddress));
        }
        match self.peer {
            Some(peer) => {
                // An address of somebody else would only be refused by libp2p as malformed.
                let addresses = self.left.iter().map(|address| address.with_peer(peer).0).collect();
                let opts = DialOpts::peer_id(peer.to_peer_id()).condition(PeerCondition::Always);
                Ok(opts.addresses(addresses).build())
            }
            None => Ok(DialOpts::unknown_peer_id().address(self.left.remove(0).0).build()),
        }
    }

    /// Whether there is something left to try.
    pub(crate) fn failed(&mut self, error: &SwarmDialError) -> Progress {
        let reason = reason(error);
        if self.peer.is_some() {
            // An old address may be somebody else's today: the others are still good.
            let SwarmDialError::WrongPeerId { address, .. } = error else { return Progress::GiveUp(reason) };
            let answered = Address(address.clone());
            let before = self.left.len();
            self.left.retain(|left| left.transport() != answered.transport());
            if self.left.len() == before {
                return Progress::GiveUp(reason);
            }
        }
        if self.left.is_empty() {
            return Progress::GiveUp(reason);
        }
        self.worst = Some(reason);
        Progress::GoOn
    }

    /// Tells whoever waits; or else returns the event that tells.
    pub(crate) fn fail(self, error: DialError) -> Option<Event> {
        match self.reply {
            DialReply::Event => Some(Event::DialFailed { peer: self.peer, addresses: self.addresses, error }),
            waiting => {
                waiting.finish(Err(error));
                None
            }
        }
    }
}

fn reason(error: &SwarmDialError) -> DialError {
    match error {
        SwarmDialError::LocalPeerId { .. } => DialError::OwnKey,
        SwarmDialError::NoAddresses => DialError::NoAddress,
        SwarmDialError::WrongPeerId { obtained, .. } => wrong(obtained),
        SwarmDialError::Denied { cause } => match cause.downcast_ref::<crate::streams::Unwanted>() {
            Some(crate::streams::Unwanted::ForeignKey) => DialError::WrongPeer { obtained: None },
            _ => DialError::TooMany,
        },
        SwarmDialError::Transport(_) | SwarmDialError::Aborted | SwarmDialError::DialPeerConditionFalse(_) => {
            DialError::Unreachable
        }
    }
}

fn wrong(obtained: &PeerId) -> DialError {
    DialError::WrongPeer { obtained: PeerKey::from_peer_id(obtained) }
}
