//! How a transport is set up.

use std::{net::IpAddr, time::Duration};

use zeroize::Zeroizing;

use crate::{Address, FRAME_BYTES_MAX, Names, TransportError};

/// How to start a [`Transport`](crate::Transport). Not `Debug` nor `Clone`: it holds the device's secret.
pub struct Config {
    /// The seed of the device's Ed25519 key. Wiped when the configuration is dropped.
    pub seed: Zeroizing<[u8; 32]>,
    /// Where to listen. Port 0 lets the system choose one; `/ws` at the end listens for WebSocket. Empty: nowhere, dial
    /// only.
    pub listen: Vec<Address>,
    /// Relays to be reachable through, all of them at a time. Each address names its relay (`/p2p/…` at its end). One
    /// that gives no place, or goes away, is asked again for as long as the transport runs.
    pub relays: Vec<Address>,
    /// Whether to tell the local network of this device and to look for others there (mDNS).
    pub mdns: bool,
    /// Whether QUIC addresses can be dialled and listened on. Needs the feature `quic`.
    pub quic: bool,
    /// Whether to try to replace relayed connections by direct ones (DCUtR).
    pub hole_punching: bool,
    /// Who resolves names in addresses. Empty: whom the system names, which a program can only find out where there is
    /// an `/etc/resolv.conf`, or on Windows. A host on Android or iOS gives what the system told it
    /// (`LinkProperties.getDnsServers`, `res_ninit`), or else addresses with names cannot be dialled.
    pub name_servers: Vec<IpAddr>,
    /// Resolves names in addresses in place of any name server. `/dnsaddr` cannot be dialled then: it is no address of a host.
    pub names: Option<Names>,
    /// Certificate authorities (X.509, DER) that are trusted with `wss` addresses beside those of the web: an
    /// organisation's own. TLS is only the way through its proxy; who is at the other end is proved inside it, by
    /// Noise, all the same.
    pub tls_roots: Vec<Vec<u8>>,
    /// What the transport may use.
    pub limits: Limits,
}

impl Config {
    /// The default: TCP on a port of the system's choice on every interface, no relay, no QUIC, no mDNS.
    pub fn new(seed: [u8; 32]) -> Self {
        let everywhere = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"];
        Self {
            seed: Zeroizing::new(seed),
            listen: everywhere.map(|address| address.parse().expect("a constant address")).into(),
            relays: Vec::new(),
            mdns: false,
            quic: false,
            hole_punching: true,
            name_servers: Vec::new(),
            names: None,
            tls_roots: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// What a transport may use, so that no peer can exhaust the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames received on one channel, of all peers together, that the caller has not taken yet: at most so many bytes.
    /// From [`FRAME_BYTES_MAX`] to 1 GiB.
    pub inbound_bytes_max: usize,
    /// Frames waiting to be sent to one peer on one channel: at most so many bytes. Range as above.
    pub outbound_bytes_max: usize,
    /// Connections, all together. At least 1.
    pub connections_max: u32,
    /// Connections with one peer (two that dial each other at once have two; a relayed one and its direct
    /// successor overlap). At least 1.
    pub connections_per_peer_max: u32,
    /// Peers who are not permitted and came to us: at most so many at a time.
    pub strangers_max: usize,
    /// A stranger who came to us and exchanges no frame for so long is disconnected, at the latest after twice the
    /// time. Not zero.
    pub stranger_idle: Duration,
    /// How long dialling one peer may take.
    pub dial_timeout: Duration,
    /// A connection that nobody uses, with a peer who is not permitted, is closed after so long.
    pub idle_timeout: Duration,
    /// How long after an answer the other side of a connection is asked again whether it is still there.
    pub ping_interval: Duration,
    /// A connection whose other side does not answer for so long, twice in a row, is closed: after the default 50 seconds of
    /// silence at most. (libp2p forgives the first time.)
    pub ping_timeout: Duration,
    /// How long `disconnect` and `shutdown` wait for what is queued to arrive.
    pub flush_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inbound_bytes_max: 2 * FRAME_BYTES_MAX,
            outbound_bytes_max: 2 * FRAME_BYTES_MAX,
            connections_max: 256,
            connections_per_peer_max: 4,
            strangers_max: 32,
            stranger_idle: Duration::from_secs(600),
            dial_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            flush_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let bytes = FRAME_BYTES_MAX..=1 << 30;
        let sound = [
            ("inbound_bytes_max", bytes.contains(&self.inbound_bytes_max)),
            ("outbound_bytes_max", bytes.contains(&self.outbound_bytes_max)),
            ("connections_max", self.connections_max >= 1),
            ("stranger_idle", !self.stranger_idle.is_zero()),
            ("connections_per_peer_max", self.connections_per_peer_max >= 1),
        ];
        match sound.into_iter().find(|(_, sound)| !sound) {
            Some((name, _)) => Err(TransportError::BadLimit(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_refused_by_name() {
        assert_eq!(Limits::default().check(), Ok(()));
        let narrow = Limits { outbound_bytes_max: FRAME_BYTES_MAX - 1, ..Limits::default() };
        assert_eq!(narrow.check(), Err(TransportError::BadLimit("outbound_bytes_max")));
        let closed = Limits { connections_max: 0, ..Limits::default() };
        assert_eq!(closed.check(), Err(TransportError::BadLimit("connections_max")));
    }
}
