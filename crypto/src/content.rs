//! Content keys: one per epoch of a circle, from which the key of each entry derives.
//!
//! From each content key a *lasting key* derives, and nothing leads back. So what is to be read for longer, or by more, than
//! the rest of an epoch is sealed with the lasting key, which can be handed on without the content key.
//!
//! Owns how content is sealed. Does not know epochs, circles or entries: what a ciphertext belongs to comes in as
//! associated data.

use std::fmt;

use zeroize::Zeroizing;

use crate::{CryptoError, Entropy, aead, kdf, labels, padding};

/// In the last byte of a name.
const LASTING_BIT: u8 = 1;

/// The public name of a content key: it stands beside each ciphertext and says which key opens it.
///
/// It is a hash of the key, so it also commits to it: to find two keys of one name takes about 2⁶⁴ attempts, and
/// ChaCha20-Poly1305 alone would let their finder make a ciphertext that opens under both. (The last bit is not of the hash:
/// it says whether the key is a lasting one.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Wraps the 16 bytes of a name.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it names a lasting key: what it seals can be told from the rest without any key.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        self.0[15] & LASTING_BIT != 0
    }

    /// The first 16 bytes of a hash as a name.
    #[must_use]
    pub fn of_hash(hash: &[u8; 32], lasting: bool) -> Self {
        let mut name: [u8; 16] = *hash.first_chunk().expect("16 of 32 bytes");
        name[15] = name[15] & !LASTING_BIT | u8::from(lasting);
        Self(name)
    }
}

impl TryFrom<&[u8]> for KeyId {
    type Error = CryptoError;

    fn try_from(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self(bytes.try_into().map_err(|_| CryptoError::Malformed("key id"))?))
    }
}

/// 26 characters of lower-case base32.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What one entry's own key derives from, beside the content key. 128 bits: by the birthday bound, two of 2⁴⁰ entries under one
/// content key have the same one with a probability of 2⁻⁴⁹ (as for the key derivation of Gueron and Lindell, "Better Bounds for
/// Block Cipher Modes of Operation via Nonce-Based Key Derivation", CCS 2017), and an MLS epoch ends long before that.
pub type Salt = [u8; 16];

/// The secret of one epoch from which the keys of its entries derive. It outlives the MLS state it was exported from.
pub struct ContentKey {
    key: Zeroizing<[u8; 32]>,
    lasting: bool,
}

impl ContentKey {
    /// Takes a key that was exported from an epoch, or that comes back from a vault.
    #[must_use]
    pub fn from_bytes(key: Zeroizing<[u8; 32]>) -> Self {
        Self { key, lasting: false }
    }

    /// Takes a key that is a lasting one or not.
    #[must_use]
    pub fn of_class(key: Zeroizing<[u8; 32]>, lasting: bool) -> Self {
        Self { key, lasting }
    }

    /// The lasting key that derives from this one; itself, if it is one.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let key = if self.lasting { self.key.clone() } else { kdf::derive(labels::LASTING_KEY, &[&*self.key]) };
        Self { key, lasting: true }
    }

    /// Whether this is a lasting key.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// The key, to be sealed in a vault or in a key bundle and nowhere else.
    #[must_use]
    pub fn as_bytes(&self) -> &Zeroizing<[u8; 32]> {
        &self.key
    }

    /// The key's public name.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let label = if self.lasting { labels::LASTING_KEY_ID } else { labels::CONTENT_KEY_ID };
        KeyId::of_hash(&kdf::derive(label, &[&*self.key]), self.lasting)
    }

    /// Pads and seals `plaintext` under a key of its own (HKDF-SHA256 of this key and the returned salt), and binds
    /// it to `aad`. Returns the salt, which is not secret, and the ciphertext.
    #[must_use]
    pub fn seal(&self, entropy: &mut Entropy, aad: &[u8], plaintext: &[u8]) -> (Salt, Vec<u8>) {
        self.seal_with(kdf::hedged_salt(labels::ENTRY_SALT, &self.key, entropy, aad, plaintext), aad, plaintext)
    }

    /// The same with a salt that derives from key, `aad` and `plaintext`: whoever seals the same makes the same bytes. Who
    /// sees two of them learns whether they are equal, and without the key nothing else (as of the synthetic IV of RFC 5297).
    #[must_use]
    pub fn seal_alike(&self, aad: &[u8], plaintext: &[u8]) -> (Salt, Vec<u8>) {
        self.seal_with(kdf::content_salt(labels::ENTRY_SALT_OF_CONTENT, &self.key, aad, plaintext), aad, plaintext)
    }

    fn seal_with(&self, salt: Salt, aad: &[u8], plaintext: &[u8]) -> (Salt, Vec<u8>) {
        let mut buffer = padding::pad(plaintext);
        aead::seal(&self.entry_key(&salt), aad, &mut buffer, 0);
        (salt, buffer)
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`CryptoError::BadCiphertext`] if the ciphertext, salt or `aad` was altered or belongs to another key;
    /// [`CryptoError::Malformed`] if whoever holds the key padded it wrongly.
    pub fn open(&self, salt: &Salt, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        padding::unpad(aead::open(&self.entry_key(salt), aad, ciphertext)?)
    }

    /// As [`seal`](Self::seal), for what is said in passing and kept by nobody: under a key of another derivation, so that
    /// neither passes for the other.
    #[must_use]
    pub fn seal_passing(&self, entropy: &mut Entropy, aad: &[u8], plaintext: &[u8]) -> (Salt, Vec<u8>) {
        let salt = kdf::hedged_salt(labels::PASSING_SALT, &self.key, entropy, aad, plaintext);
        let mut buffer = padding::pad(plaintext);
        aead::seal(&self.passing_key(&salt), aad, &mut buffer, 0);
        (salt, buffer)
    }

    /// Opens what [`seal_passing`](Self::seal_passing) made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_passing(&self, salt: &Salt, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        padding::unpad(aead::open(&self.passing_key(salt), aad, ciphertext)?)
    }

    fn passing_key(&self, salt: &Salt) -> Zeroizing<[u8; 32]> {
        kdf::hkdf(&self.key, salt, labels::PASSING_KEY)
    }

    fn entry_key(&self, salt: &Salt) -> Zeroizing<[u8; 32]> {
        kdf::hkdf(&self.key, salt, labels::ENTRY_KEY)
    }
}
