//! Where a peer can be reached.

use std::{fmt, net::IpAddr, str::FromStr};

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::{AddressError, PeerKey};

/// A multiaddress such as `/ip4/192.0.2.7/tcp/4001`, `/dns/relay.example/tcp/443/wss/p2p/12D3KooW…` or, through a
/// relay,
/// `…/p2p/<relay>/p2p-circuit/p2p/<peer>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub(crate) Multiaddr);

impl Address {
    /// The peer that this address leads to, if it says so (its last `/p2p/`).
    pub fn peer(&self) -> Option<PeerKey> {
        match self.0.iter().last() {
            Some(Protocol::P2p(peer)) => PeerKey::from_peer_id(&peer),
            _ => None,
        }
    }

    /// Whether the way leads through a relay.
    pub fn is_relayed(&self) -> bool {
        self.0.iter().any(|part| part == Protocol::P2pCircuit)
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self.0.iter().next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip).is_loopback(),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip).is_loopback(),
            _ => false,
        }
    }

    /// The same address, ending in `/p2p/<peer>`, so that whoever dials it refuses anybody else who answers.
    #[must_use]
    pub fn with_peer(&self, peer: PeerKey) -> Self {
        Self(self.transport().with(Protocol::P2p(peer.to_peer_id())))
    }

    /// Taking this for the address of a relay: the address of `peer` behind it.
    ///
    /// # Errors
    /// [`AddressError::NoRelayKey`] if the address does not name the relay (`/p2p/…` at its end).
    pub fn circuit_to(&self, peer: PeerKey) -> Result<Self, AddressError> {
        Ok(Self(self.circuit()?.with(Protocol::P2p(peer.to_peer_id()))))
    }

    /// The relay in between, if the way leads through one: what stands before `/p2p-circuit`.
    pub fn relay(&self) -> Option<Self> {
        let parts: Vec<Protocol<'_>> = self.0.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
        self.is_relayed().then(|| Self(parts.into_iter().collect()))
    }

    pub(crate) fn circuit(&self) -> Result<Multiaddr, AddressError> {
        if self.is_relayed() || self.peer().is_none() {
            return Err(AddressError::NoRelayKey);
        }
        Ok(self.0.clone().with(Protocol::P2pCircuit))
    }

    /// Whether this crate speaks what the (first hop of the) address needs.
    pub(crate) fn is_supported(&self, quic: bool) -> bool {
        let mut supported = false;
        for part in &self.0 {
            match part {
                Protocol::Tcp(_) => supported = true,
                Protocol::QuicV1 => supported = quic,
                Protocol::WebTransport => return false,
                Protocol::P2pCircuit => return supported,
                _ => {}
            }
        }
        supported
    }

    /// Without the `/p2p/<peer>` at its end.
    pub(crate) fn transport(&self) -> Multiaddr {
        let mut address = self.0.clone();
        if let Some(Protocol::P2p(_)) = address.iter().last() {
            address.pop();
        }
        address
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address: Multiaddr = text.parse().map_err(|_| AddressError::Malformed)?;
        let stranger = |part| matches!(part, Protocol::P2p(peer) if PeerKey::from_peer_id(&peer).is_none());
        if address.is_empty() {
            return Err(AddressError::Malformed);
        }
        if address.iter().any(stranger) {
            return Err(AddressError::ForeignKey);
        }
        Ok(Self(address))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: PeerKey = PeerKey([1; 32]);
    const BOB: PeerKey = PeerKey([2; 32]);

    #[test]
    fn an_address_knows_its_peer_and_its_way() {
        let address: Address = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        assert_eq!((address.peer(), address.is_relayed(), address.is_loopback()), (None, false, true));
        let relay = address.with_peer(RELAY);
        assert_eq!(relay.peer(), Some(RELAY));
        assert_eq!(relay.with_peer(BOB).to_string(), format!("/ip4/127.0.0.1/tcp/4001/p2p/{BOB}"));
        let circuit = relay.circuit_to(BOB).unwrap();
        assert_eq!((circuit.peer(), circuit.is_relayed()), (Some(BOB), true));
        assert_eq!(circuit.to_string().parse::<Address>().unwrap(), circuit);
        assert_eq!((circuit.relay(), relay.relay()), (Some(relay), None));
    }

    #[test]
    fn it_is_known_beforehand_what_cannot_be_dialled() {
        let supported = |text: &str, quic| text.parse::<Address>().unwrap().is_supported(quic);
        let circuit = format!("/ip4/192.0.2.7/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{BOB}");
        assert!(supported("/dns/relay.example/tcp/1", false) && supported(&circuit, false));
        assert!(supported("/ip6/::1/udp/1/quic-v1", true) && !supported("/ip6/::1/udp/1/quic-v1", false));
        assert!(supported("/dns/relay.example/tcp/443/wss", false) && supported("/ip4/192.0.2.7/tcp/1/ws", false));
        assert!(
            !supported("/ip4/192.0.2.7/udp/1/quic-v1/webtransport", true) && !supported("/ip4/192.0.2.7/udp/1", true)
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_a_reason() {
        assert_eq!("".parse::<Address>(), Err(AddressError::Malformed));
        assert_eq!("192.0.2.7:4001".parse::<Address>(), Err(AddressError::Malformed));
        let rsa = "/ip4/192.0.2.7/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        assert_eq!(rsa.parse::<Address>(), Err(AddressError::ForeignKey));
        let nameless: Address = "/ip4/192.0.2.7/tcp/1".parse().unwrap();
        assert_eq!(nameless.circuit_to(BOB), Err(AddressError::NoRelayKey));
    }
}
