//! The Noise protocol (revision 34, by `snow`): interactive handshakes for pairing and invitations, and messages
//! sealed to one device, with a shared secret or without.
//!
//! Owns the patterns, the keys and the records. Does not know who talks to whom, nor over what: bytes go in and out,
//! and whatever is agreed must be bound to identities by the caller, who signs the
//! [handshake hash](Session::handshake_hash) in [`Domain::InvitationHandshake`](crate::Domain).

use zeroize::Zeroizing;

use crate::{CryptoError, Entropy, labels};

mod letter;
mod primitives;
mod session;
mod to_device;

#[cfg(test)]
mod tests;

pub use letter::{Letter, OpenedLetter, open_letter};
pub use session::Session;
pub use to_device::{NoisePublicKey, open_from_device, seal_to_device};

const HANDSHAKE_PATTERN: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";
/// The longest Noise message (Noise specification, section 3).
const MESSAGE_BYTES_MAX: usize = 65_535;
/// The most that a handshake message adds to its payload: an ephemeral key, a sealed static key and a tag.
const HANDSHAKE_OVERHEAD_BYTES_MAX: usize = 32 + 48 + 16;

/// One side of a handshake between two parties who share a secret (`Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`).
///
/// Three messages: the initiator writes the first and the third, the responder the second. Static keys are made for the
/// occasion.
///
/// **What a payload is worth**: those of the first two messages are open to anyone who sits in between, for the
/// shared secret enters with the third only. The responder knows that the initiator holds the secret once it has read
/// the third message; the initiator knows it of the responder once it has opened the first message of the session.
///
/// A message that cannot be read ends the handshake, so that a shared secret cannot be guessed at twice.
pub struct Handshake(Option<snow::HandshakeState>);

impl Handshake {
    /// The most payload that fits in any one handshake message, in bytes.
    pub const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX - HANDSHAKE_OVERHEAD_BYTES_MAX;

    /// The side that writes first. Both sides must give the same secret and the same `prologue`.
    #[must_use]
    pub fn initiator(psk: &[u8; 32], prologue: &[u8], entropy: &mut Entropy) -> Self {
        let keys = Keys::generate(entropy);
        Self(Some(keys.builder(psk, &labelled(prologue)).and_then(snow::Builder::build_initiator).expect(COMPLETE)))
    }

    /// The side that answers.
    #[must_use]
    pub fn responder(psk: &[u8; 32], prologue: &[u8], entropy: &mut Entropy) -> Self {
        let keys = Keys::generate(entropy);
        Self(Some(keys.builder(psk, &labelled(prologue)).and_then(snow::Builder::build_responder).expect(COMPLETE)))
    }

    /// Writes this side's next message.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] if it is the other side's turn or nobody's;
    /// [`CryptoError::TooLong`] if the payload exceeds [`Self::PAYLOAD_BYTES_MAX`];
    /// [`CryptoError::Malformed`] if the other side sent a bad key; [`CryptoError::SessionOver`].
    pub fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let state = self.0.as_mut().ok_or(CryptoError::SessionOver)?;
        if state.is_handshake_finished() || !state.is_my_turn() {
            return Err(CryptoError::OutOfTurn);
        }
        if payload.len() > Self::PAYLOAD_BYTES_MAX {
            return Err(CryptoError::TooLong(Self::PAYLOAD_BYTES_MAX));
        }
        let mut message = vec![0; payload.len() + HANDSHAKE_OVERHEAD_BYTES_MAX];
        let written = state.write_message(payload, &mut message).map_err(|error| self.end(&error))?;
        message.truncate(written);
        Ok(message)
    }

    /// Reads the other side's next message and returns its payload.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] if it is this side's turn or nobody's.
    /// [`CryptoError::BadCiphertext`] if the message was altered, or the secrets or prologues differ, and
    /// [`CryptoError::Malformed`] if it is no handshake message: both end the handshake.
    /// [`CryptoError::SessionOver`] from then on.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let state = self.0.as_mut().ok_or(CryptoError::SessionOver)?;
        if state.is_handshake_finished() || state.is_my_turn() {
            return Err(CryptoError::OutOfTurn);
        }
        let mut payload = vec![0; message.len().min(MESSAGE_BYTES_MAX)];
        let read = state.read_message(message, &mut payload).map_err(|error| self.end(&error))?;
        payload.truncate(read);
        Ok(payload)
    }

    /// Whether the next step is to [`write`](Self::write).
    #[must_use]
    pub fn is_my_turn(&self) -> bool {
        self.0.as_ref().is_some_and(|state| !state.is_handshake_finished() && state.is_my_turn())
    }

    /// Whether all three messages have passed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_some_and(snow::HandshakeState::is_handshake_finished)
    }

    /// A name that only the two ends of this very handshake share.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] before the handshake has finished, [`CryptoError::SessionOver`] if it failed.
    pub fn handshake_hash(&self) -> Result<[u8; 32], CryptoError> {
        let state = self.0.as_ref().ok_or(CryptoError::SessionOver)?;
        if !state.is_handshake_finished() {
            return Err(CryptoError::OutOfTurn);
        }
        Ok(state.get_handshake_hash().try_into().expect("BLAKE2s hashes have 32 bytes"))
    }

    /// Goes over to the session.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] before the handshake has finished, [`CryptoError::SessionOver`] if it failed.
    pub fn into_session(self) -> Result<Session, CryptoError> {
        let handshake_hash = self.handshake_hash()?;
        let state = self.0.ok_or(CryptoError::SessionOver)?;
        Ok(Session::new(state.into_transport_mode().expect("the handshake has finished"), handshake_hash))
    }

    fn end(&mut self, error: &snow::Error) -> CryptoError {
        self.0 = None;
        blame(error)
    }
}

const COMPLETE: &str = "the pattern is known and has all the keys it needs";

/// The two secret keys that one side brings to a handshake.
struct Keys {
    own: Zeroizing<[u8; 32]>,
    ephemeral: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn generate(entropy: &mut Entropy) -> Self {
        Self { own: Zeroizing::new(entropy.bytes()), ephemeral: Zeroizing::new(entropy.bytes()) }
    }

    fn builder<'a>(&'a self, psk: &'a [u8; 32], prologue: &'a [u8]) -> Result<snow::Builder<'a>, snow::Error> {
        primitives::builder(HANDSHAKE_PATTERN, Some(&self.ephemeral))
            .local_private_key(&*self.own)?
            .psk(3, psk)?
            .prologue(prologue)
    }
}

fn labelled(prologue: &[u8]) -> Vec<u8> {
    [labels::NOISE_HANDSHAKE.as_bytes(), prologue].concat()
}

/// What a message that `snow` refuses says about the message.
fn blame(error: &snow::Error) -> CryptoError {
    match error {
        snow::Error::Decrypt => CryptoError::BadCiphertext,
        snow::Error::Dh => CryptoError::Malformed("Noise key"),
        _ => CryptoError::Malformed("Noise message"),
    }
}
