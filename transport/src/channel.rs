//! The channels between two peers.

use libp2p::StreamProtocol;

/// The longest frame, in bytes. A bigger one ends the stream it came on.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

/// A sequence of frames between two peers that is ordered in itself and waits for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Live entries and reconciliation. For permitted peers.
    Sync = 0,
    /// Invitations and pairing: the only channel open to peers who are not permitted (yet).
    Join = 1,
    /// Big bodies, so that a file does not hold up a message. For permitted peers.
    Bulk = 2,
    /// What a device and a relay say to each other about mailboxes. A device opens it to relays that it permits.
    Mailbox = 3,
}

impl Channel {
    /// All channels, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Sync, Self::Join, Self::Bulk, Self::Mailbox];

    /// How many there are.
    pub const COUNT: usize = 4;

    /// The name of its protocol on the wire.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Sync => "/clave/sync/1",
            Self::Join => "/clave/join/1",
            Self::Bulk => "/clave/bulk/1",
            Self::Mailbox => "/clave/mailbox/1",
        }
    }

    /// Whether peers who were not permitted may use it.
    pub const fn is_open_to_strangers(self) -> bool {
        matches!(self, Self::Join)
    }

    pub(crate) fn stream_protocol(self) -> StreamProtocol {
        StreamProtocol::new(self.protocol())
    }

    pub(crate) fn from_protocol(protocol: &StreamProtocol) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.protocol() == protocol.as_ref())
    }
}
