//! Hashes and key derivation, always under a label of [`crate::labels`].
//!
//! Owns the two ways in which this crate turns bytes into keys and names: BLAKE3 in its key derivation mode, and
//! HKDF-SHA256 (RFC 5869). Does not know what the keys are for.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::{Entropy, HashContext};

/// The hash of `bytes` that serves as a name in `context`: BLAKE3 in key derivation mode under the context's label.
#[must_use]
pub fn hash(context: HashContext, bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(context.label(), bytes)
}

/// A key derived from the concatenation of `parts`, of which all but the last must be of fixed length.
pub(crate) fn derive(label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// HKDF-SHA256, extract and expand.
pub(crate) fn hkdf(secret: &[u8; 32], salt: &[u8], label: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    hkdf_into(secret, salt, label.as_bytes(), &mut *out);
    out
}

fn hkdf_into(secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    struct Length(usize);

    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("the output is far shorter than HKDF's limit of 8,160 bytes");
}

/// A salt that is unique as long as the generator *or* the message is: fresh randomness, mixed with everything that
/// is about to be sealed under the secret `key`. So a generator that repeats itself (a cloned virtual machine, a
/// restored snapshot) shows that two messages are equal, and nothing more.
pub(crate) fn hedged_salt<const N: usize>(
    label: &str,
    key: &[u8; 32],
    entropy: &mut Entropy,
    aad: &[u8],
    plaintext: &[u8],
) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    hasher.update(key);
    hasher.update(&entropy.bytes::<32>());
    hasher.update(&(aad.len() as u64).to_be_bytes());
    hasher.update(aad);
    hasher.update(plaintext);
    let mut salt = [0; N];
    hasher.finalize_xof().fill(&mut salt);
    salt
}
