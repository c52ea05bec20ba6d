//! How people make sure that the keys they see are each other's.
//!
//! Owns two ways. **Short authentication strings**: two devices exchange three messages, then both persons see the same
//! seven pictures (or three numbers), or somebody is between them. **Safety numbers**: 60 digits that follow from the
//! two identity keys alone, to be compared whenever one likes. Does not know how messages travel, nor what a successful
//! comparison means for anything else.
//!
//! The exchange is commit-then-reveal (S. Vaudenay, "Secure Communications over Insecure Channels Based on Short
//! Authenticated Strings", CRYPTO 2005), as ZRTP (RFC 6189) and Matrix practise it:
//!
//! ```text
//! initiator                                        responder
//!   nonce_a  ── commitment = H(context ‖ nonce_a) ──▶
//!            ◀─────────────── nonce_b ──────────────  nonce_b
//!            ────────────── nonce_a ───────────────▶  checks the commitment
//!            both show KDF(context ‖ nonce_a ‖ nonce_b)
//! ```
//!
//! Whoever sits in between must fix their own nonces before they see those that decide what is shown, so they have one
//! guess among 2⁴² per exchange (2³⁹ for the numbers). Therefore a failed exchange is over, and a program should
//! not start another without its person.
//!
//! ```
//! use clave_crypto::{DeviceKey, Entropy, PersonKey, SasContext, SasExchange, SasParty};
//!
//! let entropy = &mut Entropy::from_seed([7; 32]); // each has their own, in earnest
//! let party = |entropy: &mut Entropy| SasParty {
//!     person: PersonKey::generate(entropy).id(),
//!     device: DeviceKey::generate(entropy).id(),
//! };
//! let (alice, bob) = (party(entropy), party(entropy));
//! let context = SasContext { initiator: alice, responder: bob, circle: b"the id of the circle" };
//!
//! let (mut alice, commitment) = SasExchange::initiate(&context, entropy);
//! let mut bob = SasExchange::respond(&context, entropy);
//! let nonce = bob.receive(commitment)?.send.expect("the responder's nonce");
//! let step = alice.receive(nonce)?;
//! let shown_to_alice = step.sas.expect("the initiator has seen all");
//! let shown_to_bob = bob.receive(step.send.expect("the reveal"))?.sas.expect("so has the responder");
//! assert_eq!(shown_to_alice.emoji(), shown_to_bob.emoji());
//! # Ok::<(), clave_crypto::CryptoError>(())
//! ```

mod emoji;

use ring::digest::{SHA512, digest};
use zeroize::Zeroizing;

use crate::{CryptoError, DeviceId, Entropy, PersonId, kdf, labels};
use emoji::EMOJI;

const NONCE_BYTES: usize = 32;

/// One of the two in a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SasParty {
    /// Whose key is verified.
    pub person: PersonId,
    /// The device that they hold in their hands.
    pub device: DeviceId,
}

/// What a verification is about, as one device sees it. If the other sees anything else, what they show differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SasContext<'a> {
    /// Who sent the first message.
    pub initiator: SasParty,
    /// Who answered.
    pub responder: SasParty,
    /// The id of the circle in which they met.
    pub circle: &'a [u8],
}

impl SasContext<'_> {
    fn hash(&self) -> [u8; 32] {
        let SasContext { initiator, responder, circle } = self;
        let parts: [&[u8]; 5] = [
            initiator.person.as_bytes(),
            initiator.device.as_bytes(),
            responder.person.as_bytes(),
            responder.device.as_bytes(),
            circle,
        ];
        *kdf::derive(labels::SAS_CONTEXT, &parts)
    }
}

/// A message of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SasMessage {
    /// The initiator commits to its nonce.
    Commitment([u8; 32]),
    /// The responder's nonce.
    Nonce([u8; NONCE_BYTES]),
    /// The initiator's nonce.
    Reveal([u8; NONCE_BYTES]),
}

impl SasMessage {
    /// The length of every message.
    pub const BYTES: usize = 33;

    /// The encoding: its kind (1, 2, 3), then 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let (kind, body) = match self {
            Self::Commitment(body) => (1, body),
            Self::Nonce(body) => (2, body),
            Self::Reveal(body) => (3, body),
        };
        let mut out = [kind; Self::BYTES];
        out[1..].copy_from_slice(body);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let malformed = CryptoError::Malformed("verification message");
        let (kind, body) = bytes.split_first().ok_or(malformed.clone())?;
        let body = body.try_into().map_err(|_| malformed.clone())?;
        match kind {
            1 => Ok(Self::Commitment(body)),
            2 => Ok(Self::Nonce(body)),
            3 => Ok(Self::Reveal(body)),
            _ => Err(malformed),
        }
    }
}

/// What follows from a message that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SasStep {
    /// To be sent to the other side.
    pub send: Option<SasMessage>,
    /// To be shown. Nothing more will be received.
    pub sas: Option<Sas>,
}

/// One verification, as one side sees it: three messages, one attempt.
pub struct SasExchange {
    context: [u8; 32],
    nonce: Zeroizing<[u8; NONCE_BYTES]>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// The responder, before anything was received.
    AwaitsCommitment,
    /// The initiator.
    AwaitsNonce,
    /// The responder, with the initiator's commitment.
    AwaitsReveal([u8; 32]),
    Done,
    Failed,
}

impl SasExchange {
    /// Starts as the initiator of `context`. The message is to be sent.
    #[must_use]
    pub fn initiate(context: &SasContext<'_>, entropy: &mut Entropy) -> (Self, SasMessage) {
        let exchange = Self::new(context, State::AwaitsNonce, entropy);
        let commitment = exchange.commitment(&exchange.nonce);
        (exchange, SasMessage::Commitment(commitment))
    }

    /// Waits as the responder of `context`, who [receives](Self::receive) first.
    #[must_use]
    pub fn respond(context: &SasContext<'_>, entropy: &mut Entropy) -> Self {
        Self::new(context, State::AwaitsCommitment, entropy)
    }

    fn new(context: &SasContext<'_>, state: State, entropy: &mut Entropy) -> Self {
        Self { context: context.hash(), nonce: Zeroizing::new(entropy.bytes()), state }
    }

    /// Takes the other side's next message. Any error ends the exchange.
    ///
    /// # Errors
    /// [`CryptoError::OutOfTurn`] if another message was due, or none; [`CryptoError::CommitmentMismatch`] if the
    /// reveal is not what was committed to, in this context; [`CryptoError::SessionOver`] after any of them.
    pub fn receive(&mut self, message: SasMessage) -> Result<SasStep, CryptoError> {
        // Failed until proven otherwise: whoever returns early leaves it so.
        let state = std::mem::replace(&mut self.state, State::Failed);
        let step = match (state, message) {
            (State::AwaitsCommitment, SasMessage::Commitment(commitment)) => {
                self.state = State::AwaitsReveal(commitment);
                return Ok(SasStep { send: Some(SasMessage::Nonce(*self.nonce)), sas: None });
            }
            (State::AwaitsNonce, SasMessage::Nonce(nonce_b)) => SasStep {
                send: Some(SasMessage::Reveal(*self.nonce)),
                sas: Some(Sas::new(&self.context, &self.nonce, &nonce_b)),
            },
            (State::AwaitsReveal(commitment), SasMessage::Reveal(nonce_a)) => {
                if self.commitment(&nonce_a) != commitment {
                    return Err(CryptoError::CommitmentMismatch);
                }
                SasStep { send: None, sas: Some(Sas::new(&self.context, &nonce_a, &self.nonce)) }
            }
            (State::Failed, _) => return Err(CryptoError::SessionOver),
            _ => return Err(CryptoError::OutOfTurn),
        };
        self.state = State::Done;
        Ok(step)
    }

    fn commitment(&self, nonce_a: &[u8; NONCE_BYTES]) -> [u8; 32] {
        *kdf::derive(labels::SAS_COMMITMENT, &[&self.context, nonce_a])
    }
}

/// What both persons compare. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sas {
    /// 42 bits for the pictures, and 39 others for the numbers.
    emoji: [u8; 7],
    digits: [u16; 3],
}

impl Sas {
    fn new(context: &[u8; 32], nonce_a: &[u8; NONCE_BYTES], nonce_b: &[u8; NONCE_BYTES]) -> Self {
        let output = kdf::derive(labels::SAS_OUTPUT, &[context, nonce_a, nonce_b]);
        let word = |at: usize| u64::from_be_bytes(output[at..at + 8].try_into().expect("8 of 32 bytes"));
        let (emoji, digits) = (word(0), word(8));
        Self {
            emoji: std::array::from_fn(|n| (emoji >> (58 - 6 * n) & 0x3f) as u8),
            digits: std::array::from_fn(|n| (digits >> (51 - 13 * n) & 0x1fff) as u16 + 1000),
        }
    }

    /// What the two ends of a handshake show: of anybody between them, each would show something else. For handshakes whose
    /// key is known to few: there is no commitment, so whoever has that key and sits in between may try as many keys of
    /// their own as they can while both wait.
    #[must_use]
    pub fn of_handshake(handshake_hash: &[u8; 32]) -> Self {
        Self::new(&kdf::derive(labels::SAS_LINK, &[handshake_hash]), &[0; NONCE_BYTES], &[0; NONCE_BYTES])
    }

    /// Seven pictures, each with the English word for it.
    #[must_use]
    pub fn emoji(&self) -> [(&'static str, &'static str); 7] {
        self.emoji.map(|index| EMOJI[usize::from(index)])
    }

    /// Three numbers of four digits each, for who cannot see pictures or talks over the phone.
    #[must_use]
    pub fn digits(&self) -> [u16; 3] {
        self.digits
    }
}

/// Sixty digits, in groups of five, that two persons compare to know that each has the other's key. The same whichever
/// is named first.
///
/// As Signal's numeric fingerprints are made (T. Perrin, M. Marlinspike; libsignal, version 2): each person's half is 30
/// digits of an iterated SHA-512 over their key. The 5,200 iterations make it that much dearer to find a key of which
/// many digits match.
#[must_use]
pub fn safety_number(person_a: PersonId, person_b: PersonId) -> String {
    let (first, second) = if person_a <= person_b { (person_a, person_b) } else { (person_b, person_a) };
    let groups: Vec<String> =
        [first, second].into_iter().flat_map(fingerprint).map(|group| format!("{group:05}")).collect();
    groups.join(" ")
}

fn fingerprint(person: PersonId) -> [u64; 6] {
    const ITERATIONS: usize = 5200;
    let key = person.as_bytes();
    let start = [labels::SAFETY_NUMBER.as_bytes(), key].concat();
    let hash = (0..ITERATIONS)
        .fold(start, |previous, _| digest(&SHA512, &[previous.as_slice(), key].concat()).as_ref().to_vec());
    std::array::from_fn(|n| {
        let chunk = &hash[5 * n..5 * n + 5];
        chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % 100_000
    })
}

#[cfg(test)]
mod tests;
