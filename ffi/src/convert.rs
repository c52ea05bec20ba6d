//! What crosses the boundary in another shape than inside: ids as text, counts of 32 bits.

use std::str::FromStr;

use crate::ClaveError;

/// The id that a text is, of a `what`.
pub(crate) fn parse<T: FromStr>(text: &str, what: &str) -> Result<T, ClaveError> {
    text.parse().map_err(|_| ClaveError::not_an_id(what))
}

/// The same for many.
pub(crate) fn parse_all<T: FromStr>(texts: &[String], what: &str) -> Result<Vec<T>, ClaveError> {
    texts.iter().map(|text| parse(text, what)).collect()
}

/// The same for one that may be missing.
pub(crate) fn parse_if<T: FromStr>(text: Option<&String>, what: &str) -> Result<Option<T>, ClaveError> {
    text.map(|text| parse(text, what)).transpose()
}

/// A count, as far as it can be told.
pub(crate) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count that was told.
pub(crate) fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A hash, as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes that were told as text.
pub(crate) fn hashes(texts: &[String]) -> Result<Vec<[u8; 32]>, ClaveError> {
    let hash = |text: &String| {
        let mut bytes = [0; 32];
        let is_hex = text.len() == 64 && text.is_ascii();
        for (index, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        is_hex.then_some(bytes)
    };
    texts.iter().map(|text| hash(text).ok_or_else(|| ClaveError::not_an_id("version"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_comes_back_as_it_went() {
        let bytes: [u8; 32] = std::array::from_fn(|n| (n * 9) as u8);
        assert_eq!(hashes(&[hex(&bytes)]), Ok(vec![bytes]));
        for bad in ["", "é", &"g".repeat(64), &"é".repeat(32), &"0".repeat(63)] {
            assert!(hashes(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
