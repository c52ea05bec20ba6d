//! The vault: what keeps everything at rest sealed.
//!
//! Owns the vault key, how records are sealed and names hidden under it, and how it is itself wrapped by a
//! passphrase. Does not know what a record holds nor where it is stored.
//!
//! A sealed record is `version (1) ‖ salt (24) ‖ ciphertext ‖ tag (16)`, under a key of its own derived from the salt.

use zeroize::Zeroizing;

use crate::{CryptoError, Entropy, aead, kdf, labels};

mod passphrase;
mod wrapped;

pub use passphrase::PassphraseParams;
pub use wrapped::{HOST_WRAPPED_BYTES_MAX, Protection, WrappedVaultKey};

const RECORD_VERSION: u8 = 1;
const SALT_BYTES: usize = 24;
const CIPHERTEXT_START: usize = 1 + SALT_BYTES;

/// The key under which a device keeps everything it stores.
pub struct VaultKey {
    key: Zeroizing<[u8; 32]>,
    records: Zeroizing<[u8; 32]>,
    names: Zeroizing<[u8; 32]>,
}

impl VaultKey {
    /// What sealing adds to a record, in bytes.
    pub const OVERHEAD_BYTES: usize = CIPHERTEXT_START + aead::TAG_BYTES;

    /// Makes a new key.
    #[must_use]
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self::from_bytes(Zeroizing::new(entropy.bytes()))
    }

    /// Takes a key that the host kept, for instance in the Android Keystore or the iOS Keychain.
    #[must_use]
    pub fn from_bytes(key: Zeroizing<[u8; 32]>) -> Self {
        let records = kdf::derive(labels::VAULT_RECORDS, &[&*key]);
        let names = kdf::derive(labels::VAULT_NAMES, &[&*key]);
        Self { key, records, names }
    }

    /// The key, to be handed to a host that keeps it, and to nothing else.
    #[must_use]
    pub fn as_bytes(&self) -> &Zeroizing<[u8; 32]> {
        &self.key
    }

    /// Seals a record and binds it to `aad`, which should say where the record stands, so that records cannot be
    /// swapped.
    #[must_use]
    pub fn seal(&self, entropy: &mut Entropy, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let salt: [u8; SALT_BYTES] = kdf::hedged_salt(labels::VAULT_SALT, &self.records, entropy, aad, plaintext);
        let mut record = Vec::with_capacity(plaintext.len() + Self::OVERHEAD_BYTES);
        record.push(RECORD_VERSION);
        record.extend_from_slice(&salt);
        record.extend_from_slice(plaintext);
        aead::seal(&self.record_key(&salt), aad, &mut record, CIPHERTEXT_START);
        record
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if `record` has not the shape of a record; [`CryptoError::BadCiphertext`] if it or
    /// `aad` was altered, or it was sealed under another key.
    pub fn open(&self, aad: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (head, sealed) = record.split_at_checked(CIPHERTEXT_START).ok_or(CryptoError::Malformed("vault record"))?;
        let (&[RECORD_VERSION], salt) = head.split_at(1) else {
            return Err(CryptoError::Malformed("vault record"));
        };
        aead::open(&self.record_key(salt), aad, sealed).map(Zeroizing::new)
    }

    /// A pseudonym for `name`: the same for the same name and key, and without the key unlinkable to it. For the names
    /// of records, which a store must be able to look up.
    #[must_use]
    pub fn hide(&self, name: &[u8]) -> [u8; 16] {
        blake3::keyed_hash(&self.names, name).as_bytes()[..16].try_into().expect("16 of 32 bytes")
    }

    fn record_key(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*blake3::keyed_hash(&self.records, salt).as_bytes())
    }
}
