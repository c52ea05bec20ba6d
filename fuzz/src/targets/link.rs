//! Invitation links, as people paste them.

use clave_engine::{InviteLink, LINK_CHARS_MAX};

use super::engine_frames::session;

/// Reads the bytes as a link.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(link) = text.parse::<InviteLink>() {
        assert!(text.trim().len() <= LINK_CHARS_MAX + 16, "a longer link than may be looked at");
        assert!(!link.space_name.chars().any(char::is_control), "a name that cannot be shown");
        assert!(link.to_string().parse() == Ok(link), "a link that is not read back");
    }
}

/// The link of an honest session, and what it begins with.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![session().link.clone().into_bytes(), b"clave://join/".to_vec()]
}
