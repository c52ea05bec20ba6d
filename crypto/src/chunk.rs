//! Chunks of files, sealed so that equal chunks have equal ciphertexts inside one circle and nowhere else.
//!
//! The key of a chunk is a hash of its content and of the circle's convergence secret (convergent encryption).
//! Without the secret nobody can test whether a circle holds a file they know. A chunk is named by the hash of its
//! ciphertext ([`HashContext::Chunk`](crate::HashContext)), and whoever refers to it names its key too: the pair
//! commits to one plaintext. Does not know where chunks begin and end, nor which files they belong to.

use zeroize::Zeroizing;

use crate::{CryptoError, aead, kdf, labels, padding};

/// The key of one chunk. It seals that chunk only.
pub struct ChunkKey(Zeroizing<[u8; 32]>);

impl ChunkKey {
    /// Takes a key from a file's manifest.
    #[must_use]
    pub fn from_bytes(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The key, to be written in a file's manifest, which is sealed, and nowhere else.
    #[must_use]
    pub fn as_bytes(&self) -> &Zeroizing<[u8; 32]> {
        &self.0
    }
}

/// Pads and seals `plaintext` for those who share `convergence_secret`. The same chunk and secret give the same key
/// and the same bytes.
#[must_use]
pub fn seal_chunk(convergence_secret: &[u8; 32], plaintext: &[u8]) -> (ChunkKey, Vec<u8>) {
    let key = kdf::derive(labels::CHUNK_KEY, &[convergence_secret, plaintext]);
    let mut buffer = padding::pad(plaintext);
    aead::seal(&key, &[], &mut buffer, 0);
    (ChunkKey(key), buffer)
}

/// Opens what [`seal_chunk`] made, where it lies.
///
/// # Errors
/// [`CryptoError::BadCiphertext`] if it was altered or sealed under another key; [`CryptoError::Malformed`] if whoever
/// made it padded it wrongly.
pub fn open_chunk(key: &ChunkKey, sealed: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
    padding::unpad(aead::open_in_place(&key.0, &[], sealed)?)
}
