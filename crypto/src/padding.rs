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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_of_the_paper() {
        // By the formula of section 4, worked out by hand.
        for (bytes, padded) in [(0, 0), (1, 1), (2, 2), (7, 7), (8, 8), (9, 10), (17, 18), (129, 144), (1_000, 1_024)] {
            assert_eq!(padded_len(bytes), padded, "of {bytes}");
        }
        assert_eq!(padded_len(1_000_000), 1_015_808);
        assert_eq!(padded_len(usize::MAX), usize::MAX);
    }

    #[test]
    fn only_what_pad_makes_is_unpadded() {
        assert_eq!(pad(b"12345678"), b"12345678\x80\0");
        for wrong in [&b""[..], b"\0", b"12345678\x80", b"12345678\x80\0\0", b"12345678\x81\0", b"\x80\0"] {
            assert_eq!(unpad(wrong.to_vec()), Err(CryptoError::Malformed("padding")), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn padding_costs_at_most_12_percent(bytes in prop_oneof![1..5_000_usize, 1..=1_usize << 40]) {
            let padded = padded_len(bytes);
            prop_assert!(padded >= bytes);
            prop_assert!((padded - bytes) * 100 <= bytes * 12, "{} to {}", bytes, padded);
            prop_assert_eq!(padded_len(padded), padded);
        }

        #[test]
        fn padding_comes_off(plaintext in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let padded = pad(&plaintext);
            prop_assert_eq!(padded.len(), padded_len(plaintext.len() + 1));
            prop_assert_eq!(unpad(padded), Ok(plaintext));
        }
    }
}
