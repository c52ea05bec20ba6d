//! ChaCha20-Poly1305 (RFC 8439) under keys that seal one message each.
//!
//! Every caller derives a fresh key per message, so the nonce is always zero and can never be reused by mistake.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::CryptoError;

/// What sealing adds to a plaintext, in bytes.
pub(crate) const TAG_BYTES: usize = 16;

const ONLY_NONCE: [u8; 12] = [0; 12];

/// Encrypts `buffer[start..]` in place and appends the tag.
pub(crate) fn seal(key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
    seal_at(ONLY_NONCE, key, aad, buffer, start);
}

/// Decrypts what [`seal`] made: ciphertext and tag.
pub(crate) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    open_at(ONLY_NONCE, key, aad, sealed)
}

fn seal_at(nonce: [u8; 12], key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer[start..])
        .expect("a message in memory is shorter than the cipher's limit of 256 GiB");
    buffer.extend_from_slice(tag.as_ref());
}

fn open_at(nonce: [u8; 12], key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut buffer = sealed.to_vec();
    let plaintext_bytes = cipher(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
        .map_err(|_| CryptoError::BadCiphertext)?
        .len();
    buffer.truncate(plaintext_bytes);
    Ok(buffer)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a ChaCha20 key has 32 bytes"))
}
