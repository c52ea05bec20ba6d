//! Padding that hides the exact length of what is sealed.
//!
//! Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019,
//! section 4): of a length of `L` bits only the highest `log2 L` bits stay, so that a ciphertext of up to `M` bytes
//! leaks O(log log M) bits about its length and grows by at most 12 %, less as it gets longer.

use crate::CryptoError;
use crate::aead::TAG_BYTES;

/// Ends the content of a padded message; zeros follow (ISO/IEC 7816-4).
const END: u8 = 0x80;

/// The length to which a message of `bytes` bytes, its end marker included, is padded.
#[must_use]
pub const fn padded_len(bytes: usize) -> usize {
    let Some(exponent) = bytes.checked_ilog2() else { return 0 };
    let Some(exponent_bits) = exponent.checked_ilog2() else { return bytes };
    let zeroed_bits = exponent - (exponent_bits + 1);
    match bytes.checked_next_multiple_of(1 << zeroed_bits) {
        Some(padded) => padded,
        None => usize::MAX,
    }
}

/// Pads `plaintext`. The result has room for an AEAD's tag.
#[must_use]
pub fn pad(plaintext: &[u8]) -> Vec<u8> {
    let bytes = padded_len(plaintext.len() + 1);
    let mut padded = Vec::with_capacity(bytes + TAG_BYTES);
    padded.extend_from_slice(plaintext);
    padded.push(END);
    padded.resize(bytes, 0);
    padded
}

/// Takes off what [`pad`] put on.
///
/// # Errors
/// [`CryptoError::Malformed`] if `padded` is not exactly what [`pad`] makes of some plaintext.
pub fn unpad(mut padded: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
    match padded.iter().rposition(|byte| *byte != 0) {
        Some(end) if padded[end] == END && padded_len(end + 1) == padded.len() => {
            padded.truncate(end);
            Ok(padded)
        }
        _ => Err(CryptoError::Malformed("padding")),
    }
}
