//! Names of files and folders.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::CrdtError;

/// The longest name, in bytes of UTF-8. What common file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// The form in which a name is stored and compared (Unicode NFC), if it is one.
pub(super) fn normal(name: &str) -> Result<String, CrdtError> {
    let name: String = name.nfc().collect();
    if name.is_empty() || name == "." || name == ".." {
        return Err(CrdtError::Invalid("a name needs at least one character, and is not '.' or '..'"));
    }
    if name.chars().any(|c| c == '/' || c.is_control()) {
        return Err(CrdtError::Invalid("a name holds neither '/' nor control characters"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CrdtError::TooLarge { what: "the name", bytes: name.len(), limit: NAME_BYTES_MAX });
    }
    Ok(name)
}

/// A name to look up, in the form in which names are stored.
pub(super) fn to_compare(name: &str) -> Cow<'_, str> {
    if is_nfc(name) { Cow::Borrowed(name) } else { Cow::Owned(name.nfc().collect()) }
}

/// A file's name with a number before its extension, a folder's with a number at its end: `name (2).txt`. Shortened
/// where it would be too long.
pub(super) fn numbered(name: &str, number: usize, is_folder: bool) -> String {
    let dot = if is_folder { None } else { name.rfind('.').filter(|dot| *dot > 0) };
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let suffix = format!(" ({number})");
    // An extension that leaves no room is no extension.
    let (stem, extension) =
        if suffix.len() + extension.len() < NAME_BYTES_MAX { (stem, extension) } else { (name, "") };
    let room = NAME_BYTES_MAX - suffix.len() - extension.len();
    let end = (0..=stem.len().min(room)).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}{extension}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_normalised() {
        assert_eq!(normal("cafe\u{301}").unwrap(), "café");
        assert_eq!(normal("会议纪要 📝.md").unwrap(), "会议纪要 📝.md");
        for wrong in ["", ".", "..", "a/b", "a\nb", "a\0"] {
            assert!(matches!(normal(wrong), Err(CrdtError::Invalid(_))), "{wrong:?}");
        }
        assert!(normal(&"字".repeat(85)).is_ok());
        let error = normal(&"字".repeat(86)).unwrap_err();
        assert_eq!(error.to_string(), "the name takes 258 bytes, more than the 255 that are allowed; shorten it");
    }

    #[test]
    fn numbers_go_before_the_extension() {
        assert_eq!(numbered("name.txt", 2, false), "name (2).txt");
        assert_eq!(numbered("v1.2", 2, true), "v1.2 (2)");
        assert_eq!(numbered(".profile", 3, false), ".profile (3)");
        assert_eq!(numbered("报告.tar.gz", 12, false), "报告.tar (12).gz");
        let long = numbered(&"字".repeat(85), 2, false);
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("字 (2)"));
        let dotted = numbered(&format!("a.{}", "x".repeat(253)), 2, false);
        assert!(dotted.len() <= NAME_BYTES_MAX && dotted.ends_with("x (2)"));
    }
}
