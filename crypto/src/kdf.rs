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
    salt_of(label, key, &entropy.bytes::<32>(), aad, plaintext)
}

/// A salt that says whether two messages are equal, and nothing more: for what all who seal it are to seal alike.
pub(crate) fn content_salt<const N: usize>(label: &str, key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> [u8; N] {
    salt_of(label, key, &[], aad, plaintext)
}

fn salt_of<const N: usize>(label: &str, key: &[u8; 32], fresh: &[u8], aad: &[u8], plaintext: &[u8]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    hasher.update(key);
    hasher.update(fresh);
    hasher.update(&(aad.len() as u64).to_be_bytes());
    hasher.update(aad);
    hasher.update(plaintext);
    let mut salt = [0; N];
    hasher.finalize_xof().fill(&mut salt);
    salt
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 5869, appendix A, the cases with SHA-256.
    #[test]
    fn hkdf_gives_the_published_vectors() {
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        for (secret, salt, info, expected) in [
            (
                vec![0x0b; 22],
                range(0x00, 0x0c),
                range(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                range(0x00, 0x4f),
                range(0x60, 0xaf),
                range(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                 da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                Vec::new(),
                Vec::new(),
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ] {
            let mut out = vec![0; expected.len() / 2];
            hkdf_into(&secret, &salt, &info, &mut out);
            assert_eq!(HEXLOWER.encode(&out), expected);
        }
    }

    #[test]
    fn a_hash_belongs_to_its_context() {
        assert_eq!(hash(HashContext::Entry, b"x"), blake3::derive_key("clave/1 hash entry", b"x"));
        assert_ne!(hash(HashContext::Entry, b"x"), hash(HashContext::Chunk, b"x"));
    }

    #[test]
    fn a_salt_differs_when_the_generator_or_the_message_does() {
        let salt = |seed: u8, aad: &[u8], plaintext: &[u8]| -> [u8; 32] {
            hedged_salt("test", &[1; 32], &mut Entropy::from_seed([seed; 32]), aad, plaintext)
        };
        let salts = [salt(1, b"a", b"b"), salt(2, b"a", b"b"), salt(1, b"ab", b""), salt(1, b"", b"ab")];
        assert_eq!(std::collections::BTreeSet::from(salts).len(), salts.len());
        assert_eq!(salt(1, b"a", b"b"), salts[0]);
    }
}
