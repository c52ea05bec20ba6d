//! Where a relay is, as a space's policy says it.

use std::fmt;
use std::str::FromStr;

use clave_crypto::DeviceId;

use super::policy::BadPolicy;

/// The most relays that a space names.
pub const RELAYS_MAX: u8 = 4;

/// How the identity of an Ed25519 key is encoded as a libp2p PeerId before the 32 bytes of the key: an identity multihash of 36
/// bytes, which hold a protobuf of the key's type and the key.
const PEER_ID_HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The address of a relay: a multiaddr that ends in `/p2p/` and the PeerId of the relay, an Ed25519 key. It is kept as it is
/// written; whether its other parts can be dialled shows when somebody does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayAddress {
    relay: DeviceId,
    text: String,
}

impl RelayAddress {
    /// The address of a relay: the way to it, a multiaddr without `/p2p/`, and its key.
    ///
    /// # Errors
    /// If that is no way.
    pub fn of(way: &str, relay: &DeviceId) -> Result<Self, BadPolicy> {
        let peer = [PEER_ID_HEAD.as_slice(), relay.as_bytes()].concat();
        format!("{way}/p2p/{}", bs58::encode(peer).into_string()).parse()
    }

    /// The relay's key.
    #[must_use]
    pub fn relay(&self) -> DeviceId {
        self.relay
    }

    /// The whole multiaddr.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for RelayAddress {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let (way, peer) = text.rsplit_once("/p2p/").ok_or(BadPolicy::Relay)?;
        let is_plain = way.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        // Of a circuit the last part would be who is reached through it, and no relay.
        if !is_plain || way.contains("/p2p") || text.len() > super::codec::NAME_BYTES_MAX {
            return Err(BadPolicy::Relay);
        }
        let bytes = bs58::decode(peer).into_vec().map_err(|_| BadPolicy::Relay)?;
        let key = bytes.strip_prefix(&PEER_ID_HEAD).ok_or(BadPolicy::Relay)?;
        let relay = DeviceId::try_from(key).map_err(|_| BadPolicy::Relay)?;
        Ok(Self { relay, text: text.to_owned() })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayAddress({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_relay() {
        let relay = DeviceId::from_bytes([7; 32]);
        let address = RelayAddress::of("/dns4/relay.example/tcp/443/wss", &relay).expect("an address");
        let peer = address.as_str().rsplit('/').next().expect("its last part").to_owned();
        assert!(peer.starts_with("12D3KooW"));
        assert_eq!(address.as_str(), format!("/dns4/relay.example/tcp/443/wss/p2p/{peer}"));
        assert_eq!((address.relay(), address.as_str().parse()), (relay, Ok(address.clone())));
        for wrong in [
            String::new(),
            format!("/p2p/{peer} "),
            format!("relay.example/p2p/{peer}"),
            format!("/dns4/relay.example/tcp/443/p2p/{peer}x"),
            "/dns4/relay.example/tcp/443".to_owned(),
            // Another kind of key.
            "/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}/p2p-circuit/p2p/{peer}"),
            format!("/dns4/{}/p2p/{peer}", "a".repeat(256)),
        ] {
            assert_eq!(wrong.parse::<RelayAddress>(), Err(BadPolicy::Relay), "{wrong}");
        }
    }
}
