//! Messages to one device under a secret that both sides have: `Noise_Xpsk1_25519_ChaChaPoly_BLAKE2s` (Noise
//! specification, 7.4 and 9).
//!
//! A letter is the handshake message without payload (96 bytes: ephemeral key, sealed static key of the sender, tag),
//! followed by the records of a [`Session`].

use zeroize::Zeroizing;

use super::to_device::one_way;
use super::{COMPLETE, HANDSHAKE_OVERHEAD_BYTES_MAX, NoisePublicKey, Session, blame, primitives};
use crate::{CryptoError, DeviceKey, Entropy, labels};

pub(super) const PATTERN: &str = "Noise_Xpsk1_25519_ChaChaPoly_BLAKE2s";

/// A letter that is being written: it has a [name](Self::handshake_hash) before it says anything, so that what it says
/// can be signed as said in this letter.
///
/// Not protected: letters can be replayed. Whoever comes to hold the recipient's seed **and** the secret can read those
/// sent before, and forge others to it.
pub struct Letter {
    first: Vec<u8>,
    session: Session,
}

impl Letter {
    /// Begins one, in a `context` that both know.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if nothing can be sealed to `recipient`, because it is a point of low order.
    pub fn begin(
        sender: &DeviceKey,
        recipient: &NoisePublicKey,
        psk: &[u8; 32],
        context: &[u8],
        entropy: &mut Entropy,
    ) -> Result<Self, CryptoError> {
        let (own, ephemeral) = (sender.noise_secret(), Zeroizing::new(entropy.bytes()));
        let prologue = labelled(context);
        let mut handshake = primitives::builder(PATTERN, Some(&ephemeral))
            .local_private_key(&*own)
            .and_then(|builder| builder.remote_public_key(recipient.as_bytes()))
            .and_then(|builder| builder.psk(1, psk))
            .and_then(|builder| builder.prologue(&prologue))
            .and_then(snow::Builder::build_initiator)
            .expect(COMPLETE);
        let mut first = vec![0; HANDSHAKE_OVERHEAD_BYTES_MAX];
        handshake.write_message(&[], &mut first).map_err(|error| blame(&error))?;
        Ok(Self { first, session: one_way(handshake) })
    }

    /// A name that only the two ends of this very letter share.
    #[must_use]
    pub fn handshake_hash(&self) -> &[u8; 32] {
        self.session.handshake_hash()
    }

    /// Says what it has to say, of any length.
    ///
    /// # Errors
    /// None that can happen to a letter that was just begun.
    pub fn seal(mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.first.extend(self.session.seal(message)?);
        Ok(self.first)
    }
}

/// A letter that was opened.
pub struct OpenedLetter {
    /// The Noise key of who sealed it.
    pub sender: NoisePublicKey,
    /// What [`Letter::handshake_hash`] was.
    pub handshake_hash: [u8; 32],
    /// What it says.
    pub message: Zeroizing<Vec<u8>>,
}

/// Opens a letter to this device.
///
/// # Errors
/// [`CryptoError::Malformed`] if `sealed` has not the shape of one; [`CryptoError::BadCiphertext`] if it was altered, or
/// sealed to another device, under another secret or in another context.
pub fn open_letter(
    recipient: &DeviceKey,
    psk: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
) -> Result<OpenedLetter, CryptoError> {
    let own = recipient.noise_secret();
    let prologue = labelled(context);
    let mut handshake = primitives::builder(PATTERN, None)
        .local_private_key(&*own)
        .and_then(|builder| builder.psk(1, psk))
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(snow::Builder::build_responder)
        .expect(COMPLETE);
    let (first, records) =
        sealed.split_at_checked(HANDSHAKE_OVERHEAD_BYTES_MAX).ok_or(CryptoError::Malformed("Noise message"))?;
    handshake.read_message(first, &mut []).map_err(|error| blame(&error))?;
    let sender = handshake.get_remote_static().expect("the pattern sends the sender's key").try_into()?;
    let mut session = one_way(handshake);
    let message = Zeroizing::new(session.open(records)?);
    Ok(OpenedLetter { sender, handshake_hash: *session.handshake_hash(), message })
}

fn labelled(context: &[u8]) -> Vec<u8> {
    [labels::NOISE_LETTER.as_bytes(), context].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Post {
        entropy: Entropy,
        from: DeviceKey,
        to: DeviceKey,
    }

    impl Post {
        fn new() -> Self {
            let mut entropy = Entropy::from_seed([7; 32]);
            let [from, to] = std::array::from_fn(|_| DeviceKey::generate(&mut entropy));
            Self { entropy, from, to }
        }

        fn send(&mut self, message: &[u8]) -> ([u8; 32], Vec<u8>) {
            let letter = Letter::begin(&self.from, &self.to.noise_public(), &[1; 32], b"door", &mut self.entropy);
            let letter = letter.expect("a good key");
            (*letter.handshake_hash(), letter.seal(message).expect("it was just begun"))
        }
    }

    #[test]
    fn a_letter_of_any_length_arrives_and_names_its_sender() {
        let mut post = Post::new();
        for length in [0, 1, 70_000, 300_000] {
            let message = vec![9; length];
            let (hash, sealed) = post.send(&message);
            let opened = open_letter(&post.to, &[1; 32], b"door", &sealed).expect("it is honest");
            assert_eq!(*opened.message, message);
            assert_eq!((opened.sender, opened.handshake_hash), (post.from.noise_public(), hash));
        }
    }

    #[test]
    fn it_opens_for_its_recipient_with_its_secret_in_its_context_only() {
        let mut post = Post::new();
        let (_, sealed) = post.send(b"secret");
        for (device, psk, context) in
            [(&post.from, [1; 32], b"door"), (&post.to, [2; 32], b"door"), (&post.to, [1; 32], b"roof")]
        {
            assert_eq!(open_letter(device, &psk, context, &sealed).err(), Some(CryptoError::BadCiphertext));
        }
        assert!(open_letter(&post.to, &[1; 32], b"door", &sealed[..95]).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open_letter(&post.to, &[1; 32], b"door", &altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_two_letters_are_alike() {
        let mut post = Post::new();
        let ((one, first), (two, second)) = (post.send(b"same"), post.send(b"same"));
        assert!(one != two && first != second);
    }
}
