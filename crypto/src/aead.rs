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
    open_in_place(key, aad, sealed.to_vec())
}

/// The same without a second buffer.
pub(crate) fn open_in_place(key: &[u8; 32], aad: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
    open_at(ONLY_NONCE, key, aad, sealed)
}

fn seal_at(nonce: [u8; 12], key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer[start..])
        .expect("a message in memory is shorter than the cipher's limit of 256 GiB");
    buffer.extend_from_slice(tag.as_ref());
}

fn open_at(nonce: [u8; 12], key: &[u8; 32], aad: &[u8], mut buffer: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
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

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 8439, section 2.8.2.
    #[test]
    fn sealing_gives_the_published_vector() {
        let key = std::array::from_fn(|byte| 0x80 + byte as u8);
        let nonce = HEXLOWER.decode(b"070000004041424344454647").unwrap().try_into().unwrap();
        let aad = HEXLOWER.decode(b"50515253c0c1c2c3c4c5c6c7").unwrap();
        let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                          sunscreen would be it.";
        let expected = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca96712\
                        82fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58\
                        fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09\
                        e26a7e902ecbd0600691";

        let mut buffer = [b"head".as_slice(), plaintext].concat();
        seal_at(nonce, &key, &aad, &mut buffer, 4);
        assert_eq!(&buffer[..4], b"head");
        assert_eq!(HEXLOWER.encode(&buffer[4..]), expected);
        assert_eq!(open_at(nonce, &key, &aad, buffer.split_off(4)).unwrap(), plaintext);
    }
}
