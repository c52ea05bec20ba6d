//! What a group of jobs did, as records of the journal: nothing of it depends on quotas, on the time or on what else is there.
//!
//! | first byte | then |
//! | --- | --- |
//! | 1 | a blob was stored: position (8), [`Header`], bytes |
//! | 2 | a blob was removed: position (8) |

use super::{
    journal::FRAME_HEAD_BYTES,
    tables::{Header, PIECE_BYTES},
};

const STORED: u8 = 1;
const REMOVED: u8 = 2;

/// One thing that was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'r> {
    Stored { position: u64, header: Header, bytes: &'r [u8] },
    Removed { position: u64 },
}

/// Records that are being gathered, behind room for the head of their frame.
#[derive(Debug)]
pub(super) struct Log(Vec<u8>);

impl Log {
    pub(super) fn new() -> Self {
        Self(vec![0; FRAME_HEAD_BYTES])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == FRAME_HEAD_BYTES
    }

    /// For [`Journal::append`](super::journal::Journal::append), which fills in the head.
    pub(super) fn frame(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(FRAME_HEAD_BYTES);
    }

    /// Notes a blob. Gives its first piece as it lies in the table: the header, then bytes.
    pub(super) fn stored(&mut self, position: u64, header: &Header, bytes: &[u8]) -> &[u8] {
        self.0.push(STORED);
        self.0.extend_from_slice(&position.to_be_bytes());
        let piece = self.0.len();
        self.0.extend_from_slice(&header.encode());
        self.0.extend_from_slice(bytes);
        &self.0[piece..piece + Header::BYTES + bytes.len().min(PIECE_BYTES)]
    }

    pub(super) fn removed(&mut self, position: u64) {
        self.0.push(REMOVED);
        self.0.extend_from_slice(&position.to_be_bytes());
    }
}

/// The first record, and what stands behind it; `None` if that is none.
pub(super) fn split(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (what, rest) = records.split_first()?;
    let (position, rest) = rest.split_first_chunk()?;
    let position = u64::from_be_bytes(*position);
    match *what {
        STORED => {
            let (header, rest) = Header::split(rest)?;
            let (bytes, rest) = rest.split_at_checked(header.length as usize)?;
            Some((Record::Stored { position, header, bytes }, rest))
        }
        REMOVED => Some((Record::Removed { position }, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clave_mailbox::{BlobId, Kind};

    use super::*;
    use crate::store::MailboxId;

    #[test]
    fn what_is_noted_is_read() {
        let header = |length| Header {
            mailbox: MailboxId([1; 32]),
            id: BlobId([2; 32]),
            kind: Kind::Entry,
            seconds: 1_800_000_000,
            length,
        };
        let mut log = Log::new();
        assert!(log.is_empty());
        let piece = log.stored(7, &header(3), "信".as_bytes()).to_vec();
        assert_eq!(Header::split(&piece), Some((header(3), "信".as_bytes())));
        log.removed(5);
        let long = vec![9; PIECE_BYTES + 1];
        assert_eq!(log.stored(8, &header(long.len() as u32), &long).len(), Header::BYTES + PIECE_BYTES);
        let records = log.frame()[FRAME_HEAD_BYTES..].to_vec();
        let (first, rest) = split(&records).unwrap();
        assert_eq!(first, Record::Stored { position: 7, header: header(3), bytes: "信".as_bytes() });
        let (second, rest) = split(rest).unwrap();
        assert_eq!(second, Record::Removed { position: 5 });
        let (third, rest) = split(rest).unwrap();
        assert_eq!(third, Record::Stored { position: 8, header: header(long.len() as u32), bytes: &long });
        assert_eq!((rest, split(rest)), (&[][..], None));
        // Cut short, or of no kind.
        for end in [1, 8, 9, 85, 86 + 2] {
            assert_eq!(split(&records[..end]), None, "{end}");
        }
        assert_eq!(split(&[3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        log.clear();
        assert!(log.is_empty());
    }
}
