//! What can go wrong, by who has to act. Every sentence says what to do.

use crate::{FRAME_BYTES_MAX, PeerKey};

/// Why [`Transport::start`](crate::Transport::start) or a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The caller: QUIC was asked for, and this build has none.
    #[error("this build has no QUIC: use TCP addresses, or build with the feature `quic`")]
    NoQuic,
    /// The caller: a limit contradicts another or the length of a frame.
    #[error("the limit {0} is out of range: see the documentation of `Limits` for what it may be")]
    BadLimit(&'static str),
    /// The caller: an address in the configuration cannot be used.
    #[error("an address in the configuration cannot be used: {0}")]
    BadAddress(#[from] AddressError),
    /// The caller: a certificate authority is none.
    #[error("a certificate in `tls_roots` cannot be used: give each as X.509 in DER form")]
    BadCertificate,
    /// The environment: the operating system gave no secure randomness, or refused what Noise needs.
    #[error("the secure channel could not be set up: check that the operating system provides randomness")]
    Security,
    /// The caller: there is no tokio runtime around the call.
    #[error("there is no tokio runtime: start the transport from inside one")]
    NoRuntime,
    /// The caller: it was shut down.
    #[error("the transport has stopped: start a new one")]
    Stopped,
}

/// Why an address cannot be used. The caller's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a multiaddress.
    #[error("not an address: write it like /ip4/192.0.2.7/tcp/4001 or /dns/relay.example/tcp/4001/p2p/12D3KooW…")]
    Malformed,
    /// Not the IP address of a name server.
    #[error("a name server is not an IP address: write it like 192.0.2.53 or 2001:db8::53")]
    NotAnIp,
    /// It names a peer by something other than an Ed25519 key.
    #[error("the address names a peer whose key is not Ed25519: ask for an address that ends in /p2p/12D3KooW…")]
    ForeignKey,
    /// It does not name the relay.
    #[error(
        "the address does not name its relay: append /p2p/ and the relay's id, as the relay prints it at its start"
    )]
    NoRelayKey,
}

/// Why a peer could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The caller gave no address.
    #[error("no address was given: pass at least one")]
    NoAddress,
    /// None of the addresses is of a kind that this transport was started with.
    #[error("none of the addresses can be dialled from here: ask for a TCP address, or start with QUIC enabled")]
    Unsupported,
    /// Nobody answered, or not in time, or broke off.
    #[error("nobody answered at any of the addresses: check that the peer is online, then try again")]
    Unreachable,
    /// Somebody else answered. `obtained` is `None` if their key is not Ed25519.
    #[error("somebody else answered at the address: ask the peer for a current one")]
    WrongPeer {
        /// Who answered.
        obtained: Option<PeerKey>,
    },
    /// It is this very device.
    #[error("the address is this device's own: dial somebody else")]
    OwnKey,
    /// A limit of ours was reached.
    #[error("too many connections are open or being opened: try again later, or raise the limits")]
    TooMany,
    /// The transport stopped meanwhile.
    #[error("the transport has stopped: start a new one")]
    Stopped,
}

impl DialError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TooMany)
    }
}

/// Why a frame was not queued. The frame is lost; nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection to the peer, or it ended while waiting for room.
    #[error("not connected to the peer: dial it, then send again")]
    NotConnected,
    /// The channel is for permitted peers only.
    #[error("the peer is not permitted on this channel: permit it first")]
    NotPermitted,
    /// The frame is longer than [`FRAME_BYTES_MAX`].
    #[error("the frame is {bytes} bytes long, more than {FRAME_BYTES_MAX}: split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Only from `try_send`: the peer reads more slowly than this.
    #[error("the queue to the peer is full: wait with `send`, or try again later")]
    Full,
}

impl SendError {
    /// Whether the same frame may be sent later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotConnected | Self::Full)
    }
}

/// Why an address is not, or no longer, listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The transport was started without what this address needs.
    #[error("this kind of address cannot be listened on: use TCP, or start with QUIC enabled")]
    Unsupported,
    /// The system refused, or took it away.
    #[error("the system does not let us listen there: check that the address is free and permitted")]
    Refused,
    /// The relay could not be reached, refused the reservation, or went away.
    #[error("the relay gives us no place, or went away: it is asked again; if that lasts, choose another relay")]
    Relay,
    /// Multicast on the local network does not work here.
    #[error("devices nearby cannot be found here (no network interface or no permission): connect by address")]
    Discovery,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors that reach people: one sentence that says what to do, without jargon of Rust.
    #[test]
    fn errors_say_what_to_do() {
        let said = [
            TransportError::Stopped.to_string(),
            TransportError::BadAddress(AddressError::Malformed).to_string(),
            DialError::WrongPeer { obtained: None }.to_string(),
            SendError::TooLong { bytes: 5_000_000 }.to_string(),
            ListenError::Relay.to_string(),
        ];
        assert_eq!(
            said,
            [
                "the transport has stopped: start a new one",
                "an address in the configuration cannot be used: not an address: write it like /ip4/192.0.2.7/tcp/4001 or \
                 /dns/relay.example/tcp/4001/p2p/12D3KooW…",
                "somebody else answered at the address: ask the peer for a current one",
                "the frame is 5000000 bytes long, more than 4259840: split it",
                "the relay gives us no place, or went away: it is asked again; if that lasts, choose another relay",
            ]
        );
        assert!(DialError::Unreachable.is_retryable() && !DialError::OwnKey.is_retryable());
        assert!(SendError::Full.is_retryable() && !SendError::NotPermitted.is_retryable());
    }
}
