//! One-shot messages to a device that need not be online (`Noise_X_25519_ChaChaPoly_BLAKE2s`).
//!
//! A sealed message is a Noise X handshake message without payload (96 bytes: ephemeral key, sealed static key of
//! the sender, tag), followed by the records of a [`Session`].

use std::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{COMPLETE, HANDSHAKE_OVERHEAD_BYTES_MAX, Session, blame, primitives};
use crate::{CryptoError, DeviceKey, Entropy, kdf, labels};

pub(super) const PATTERN: &str = "Noise_X_25519_ChaChaPoly_BLAKE2s";

/// The X25519 public key of a device, to which messages can be sealed.
///
/// It does not follow from a [`DeviceId`](crate::DeviceId): a device must publish it under its signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoisePublicKey([u8; 32]);

impl NoisePublicKey {
    /// Wraps a public key. Whether anything can be sealed to it shows on sealing.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for NoisePublicKey {
    type Error = CryptoError;

    fn try_from(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self(bytes.try_into().map_err(|_| CryptoError::Malformed("Noise key"))?))
    }
}

impl fmt::Debug for NoisePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        write!(f, "NoisePublicKey({})", &text[..10])
    }
}

impl DeviceKey {
    /// The public key to which others seal messages for this device.
    #[must_use]
    pub fn noise_public(&self) -> NoisePublicKey {
        NoisePublicKey(PublicKey::from(&StaticSecret::from(*self.noise_secret())).to_bytes())
    }

    pub(super) fn noise_secret(&self) -> Zeroizing<[u8; 32]> {
        kdf::hkdf(self.seed(), &[], labels::DEVICE_NOISE_KEY)
    }
}

/// Seals `message`, of any length, from one device to another, in a `context` that both know.
///
/// The recipient learns which Noise key sealed it; nobody else does. Not protected: messages can be replayed, and
/// whoever comes to hold the recipient's seed can read those sent before and forge others to it.
///
/// # Errors
/// [`CryptoError::Malformed`] if nothing can be sealed to `recipient`, because it is a point of low order.
pub fn seal_to_device(
    sender: &DeviceKey,
    recipient: &NoisePublicKey,
    context: &[u8],
    message: &[u8],
    entropy: &mut Entropy,
) -> Result<Vec<u8>, CryptoError> {
    let (own, ephemeral) = (sender.noise_secret(), Zeroizing::new(entropy.bytes()));
    let prologue = labelled(context);
    let mut handshake = primitives::builder(PATTERN, Some(&ephemeral))
        .local_private_key(&*own)
        .and_then(|builder| builder.remote_public_key(&recipient.0))
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(snow::Builder::build_initiator)
        .expect(COMPLETE);

    let mut sealed = vec![0; HANDSHAKE_OVERHEAD_BYTES_MAX];
    handshake.write_message(&[], &mut sealed).map_err(|error| blame(&error))?;
    sealed.extend(one_way(handshake).seal(message)?);
    Ok(sealed)
}

/// Opens what [`seal_to_device`] sealed to this device. Returns the sender's Noise key and the message.
///
/// # Errors
/// [`CryptoError::Malformed`] if `sealed` has not the shape of such a message; [`CryptoError::BadCiphertext`] if it was
/// altered, or sealed to another device or in another context.
pub fn open_from_device(
    recipient: &DeviceKey,
    context: &[u8],
    sealed: &[u8],
) -> Result<(NoisePublicKey, Zeroizing<Vec<u8>>), CryptoError> {
    let own = recipient.noise_secret();
    let prologue = labelled(context);
    let mut handshake = primitives::builder(PATTERN, None)
        .local_private_key(&*own)
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(snow::Builder::build_responder)
        .expect(COMPLETE);

    let (first, records) =
        sealed.split_at_checked(HANDSHAKE_OVERHEAD_BYTES_MAX).ok_or(CryptoError::Malformed("Noise message"))?;
    handshake.read_message(first, &mut []).map_err(|error| blame(&error))?;
    let sender = handshake.get_remote_static().expect("the pattern sends the sender's key").try_into()?;
    let message = one_way(handshake).open(records)?;
    Ok((sender, Zeroizing::new(message)))
}

pub(super) fn one_way(handshake: snow::HandshakeState) -> Session {
    let handshake_hash = handshake.get_handshake_hash().try_into().expect("BLAKE2s hashes have 32 bytes");
    Session::new(handshake.into_transport_mode().expect("the pattern has one message"), handshake_hash)
}

fn labelled(context: &[u8]) -> Vec<u8> {
    [labels::NOISE_TO_DEVICE.as_bytes(), context].concat()
}
