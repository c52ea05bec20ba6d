//! Commits without what whoever has the parent's checkpoint knows.
//!
//! An `MLSMessage` that holds a `PublicMessage` (RFC 9420, sections 6 and 6.2) begins with protocol version, wire format, group
//! id and epoch. They follow from the parent's checkpoint, so they do not travel. They are put back before anything is
//! checked: what openmls reads, and what its signature and membership tag cover, is the whole message.

use crate::{Checkpoint, CryptoError};

/// Version `mls10`, and wire format `mls_public_message`.
const BEGINNING: [u8; 4] = [0, 1, 0, 1];
/// The greatest length that a variable-length vector says in one byte (RFC 9420, section 2.1.2).
const SHORT_MAX: usize = 63;

/// What comes before the sender.
fn front(group: &[u8], depth: u64) -> Result<Vec<u8>, CryptoError> {
    let length = u8::try_from(group.len()).ok().filter(|_| group.len() <= SHORT_MAX);
    let mut front = BEGINNING.to_vec();
    front.push(length.ok_or(CryptoError::TooLong(SHORT_MAX))?);
    front.extend_from_slice(group);
    front.extend_from_slice(&depth.to_be_bytes());
    Ok(front)
}

/// Takes off a whole message what follows from where it starts.
pub(super) fn brief(whole: &[u8], group: &[u8], depth: u64) -> Result<Vec<u8>, CryptoError> {
    let rest = whole.strip_prefix(front(group, depth)?.as_slice());
    rest.map(<[u8]>::to_vec).ok_or(CryptoError::Malformed("commit"))
}

/// Puts it back.
pub(super) fn whole(brief: &[u8], parent: &Checkpoint) -> Result<Vec<u8>, CryptoError> {
    let mut whole = front(&parent.group, parent.depth)?;
    whole.extend_from_slice(brief);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::EpochId;

    #[test]
    fn what_is_taken_off_is_put_back() {
        let parent = Checkpoint::without_secret(EpochId::from_bytes([1; 32]), 7, b"group");
        let message = b"\0\x01\0\x01\x05group\0\0\0\0\0\0\0\x07the rest";
        let short = brief(message, b"group", 7).unwrap();
        assert_eq!(short, b"the rest");
        assert_eq!(whole(&short, &parent).unwrap(), message);
        for (group, depth) in [(&b"other"[..], 7), (b"group", 8)] {
            assert_eq!(brief(message, group, depth), Err(CryptoError::Malformed("commit")));
        }
        assert_eq!(front(&[1; 64], 7), Err(CryptoError::TooLong(63)));
    }
}
