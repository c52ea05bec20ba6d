//! Who a peer is on the wire.

use std::{fmt, str::FromStr};

use libp2p::{PeerId, identity::Keypair};
use zeroize::{Zeroize, Zeroizing};

use crate::AddressError;

/// An Ed25519 public key inside an identity multihash: `0x00 36` (identity, length), then the protobuf of a public
/// key, `0x08 01` (type Ed25519) `0x12 32` (data, length). See the libp2p "Peer Ids" specification.
const ED25519_PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The Ed25519 public key of a device, which is what Noise authenticates and all that this crate knows of a peer.
///
/// It shows as a libp2p peer id (`12D3KooW…`), the text that stands in addresses behind `/p2p/`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

impl PeerKey {
    pub(crate) fn to_peer_id(self) -> PeerId {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&ED25519_PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a peer id")
    }

    /// `None` if the peer is known by anything but an Ed25519 key.
    pub(crate) fn from_peer_id(peer: &PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&ED25519_PEER_ID_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

/// A fresh seed for a key, of the operating system's randomness.
pub fn fresh_seed() -> Zeroizing<[u8; 32]> {
    let pair = Keypair::generate_ed25519().try_into_ed25519().expect("just generated as Ed25519");
    let mut seed = Zeroizing::new([0; 32]);
    let mut bytes = pair.to_bytes(); // The seed, then the public key.
    seed.copy_from_slice(&bytes[..32]);
    bytes.zeroize();
    seed
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_peer_id().fmt(f)
    }
}

/// The peer id, as it is shown.
impl FromStr for PeerKey {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let peer: PeerId = text.parse().map_err(|_| AddressError::Malformed)?;
        Self::from_peer_id(&peer).ok_or(AddressError::ForeignKey)
    }
}

/// The last eight characters of the peer id: enough to tell peers apart in a log.
impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.to_peer_id().to_base58();
        write!(f, "PeerKey(…{})", &id[id.len() - 8..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_seed_makes_a_key_of_its_own() {
        let key = |mut seed: [u8; 32]| Keypair::ed25519_from_bytes(&mut seed).unwrap().public();
        let seeds = [fresh_seed(), fresh_seed()];
        assert_ne!(key(*seeds[0]), key(*seeds[1]));
        assert_ne!(*seeds[0], key(*seeds[0]).try_into_ed25519().unwrap().to_bytes());
    }

    #[test]
    fn a_key_is_its_peer_id_and_back() {
        let pair = Keypair::ed25519_from_bytes([7; 32]).unwrap();
        let public = pair.public().try_into_ed25519().unwrap().to_bytes();
        let peer = pair.public().to_peer_id();
        assert_eq!(PeerKey(public).to_peer_id(), peer);
        assert_eq!(PeerKey::from_peer_id(&peer), Some(PeerKey(public)));
        assert_eq!(PeerKey(public).to_string(), peer.to_base58());
        assert_eq!(peer.to_base58().parse(), Ok(PeerKey(public)));
        assert_eq!("12D3".parse::<PeerKey>(), Err(AddressError::Malformed));
    }

    #[test]
    fn a_hashed_key_is_not_ours() {
        // SHA-256 multihash: how RSA and other long keys are named.
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([9; 32]);
        assert_eq!(PeerKey::from_peer_id(&PeerId::from_bytes(&bytes).unwrap()), None);
    }
}
