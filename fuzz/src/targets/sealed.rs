//! Sealed content and file chunks from a peer: nothing opens but what was sealed.

use clave_crypto::{ContentKey, Entropy, open_chunk, seal_chunk, unpad};
use zeroize::Zeroizing;

const AAD: &[u8] = b"header";
const PLAINTEXT: &[u8] = b"what two people wrote to each other";

fn content_key() -> ContentKey {
    ContentKey::from_bytes(Zeroizing::new([1; 32]))
}

fn content() -> Vec<u8> {
    let (salt, ciphertext) = content_key().seal(&mut Entropy::from_seed([2; 32]), AAD, PLAINTEXT);
    [&salt[..], &ciphertext].concat()
}

/// Opens the bytes as content (salt, then ciphertext), as a chunk, and as padding.
pub fn run(data: &[u8]) {
    if let Some((salt, ciphertext)) = data.split_first_chunk::<16>()
        && let Ok(plaintext) = content_key().open(salt, AAD, ciphertext)
    {
        assert!(data == content() && plaintext == PLAINTEXT, "forged content was opened");
    }
    let (key, chunk) = seal_chunk(&[3; 32], PLAINTEXT);
    if let Ok(plaintext) = open_chunk(&key, data.to_vec()) {
        assert!(data == chunk && plaintext == PLAINTEXT, "a forged chunk was opened");
    }
    if let Ok(plaintext) = unpad(data.to_vec()) {
        assert_eq!(clave_crypto::pad(&plaintext), data, "two paddings of one plaintext");
    }
}

/// One of each.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![content(), seal_chunk(&[3; 32], PLAINTEXT).1, clave_crypto::pad(PLAINTEXT)]
}
