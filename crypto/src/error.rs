//! What can go wrong in this crate.

/// An error of the cryptographic layer. None of them is worth retrying with the same input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A signature was not made by the key it is said to be of.
    #[error("the signature does not match")]
    BadSignature,
    /// A ciphertext was altered, or sealed under another key.
    #[error("could not be decrypted: it was altered, or sealed under another key")]
    BadCiphertext,
    /// Bytes are not an encoding of what they should be.
    #[error("malformed {0}")]
    Malformed(&'static str),
}
