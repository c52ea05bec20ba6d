//! How blobs lie in tables. Numbers are big-endian, so that keys sort by them.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `blobs` | position (8), piece (2) | of piece 0: a [`Header`]; then, and of the others: bytes |
//! | `order` | mailbox's number (8), kind (1), position (8) | nothing |
//! | `ids` | mailbox's number (8), kind (1), id (32) | position (8) |
//! | `mailboxes` | mailbox (32) | a [`Record`] |
//! | `meta` | name | see [`Counters`]; the generation (16); the number of the last frame of the journal that is in here (8) |
//!
//! Positions are given to blobs of all mailboxes from one counter, in the order of their coming: so `blobs` is filled at its end and emptied at
//! its beginning, and what expires next or is dropped first is what stands first. A position is never given twice.

use clave_mailbox::{BlobId, Kind};
use redb::TableDefinition;

use crate::store::MailboxId;

pub(super) const BLOBS: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("blobs");
pub(super) const ORDER: TableDefinition<'_, &[u8; 17], ()> = TableDefinition::new("order");
pub(super) const IDS: TableDefinition<'_, &[u8; 41], u64> = TableDefinition::new("ids");
pub(super) const MAILBOXES: TableDefinition<'_, &[u8; 32], &[u8; 40]> = TableDefinition::new("mailboxes");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

pub(super) const FORMAT: &str = "format";
pub(super) const GENERATION: &str = "generation";
pub(super) const COUNTERS: &str = "counters";

/// Up to which frame of the journal this has everything.
pub(super) const JOURNALED: &str = "journaled";

/// The format of this file.
pub(super) const VERSION: u8 = 2;

/// The one before: without a journal.
pub(super) const VERSION_ALONE: u8 = 1;

/// A blob that is longer lies in several pieces: a page of the database is a power of two, and a half empty one of megabytes would be
/// dear. With its header and redb's own, a piece just fills 64 KiB.
pub(super) const PIECE_BYTES: usize = (64 << 10) - 128;

pub(super) fn piece_key(position: u64, piece: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&position.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

/// Which position a key of `blobs` is of.
pub(super) fn position_of(key: &[u8; 10]) -> u64 {
    u64::from_be_bytes(key[..8].try_into().expect("eight bytes"))
}

pub(super) fn order_key(number: u64, kind: Kind, position: u64) -> [u8; 17] {
    let mut key = [0; 17];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8] = kind as u8;
    key[9..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Which position a key of `order` is of.
pub(super) fn ordered_position(key: &[u8; 17]) -> u64 {
    u64::from_be_bytes(key[9..].try_into().expect("eight bytes"))
}

pub(super) fn id_key(number: u64, kind: Kind, id: &BlobId) -> [u8; 41] {
    let mut key = [0; 41];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8] = kind as u8;
    key[9..].copy_from_slice(&id.0);
    key
}

/// What stands before the bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) mailbox: MailboxId,
    pub(super) id: BlobId,
    pub(super) kind: Kind,
    /// When it was stored, in seconds since 1970.
    pub(super) seconds: u64,
    /// Its length in bytes.
    pub(super) length: u32,
}

impl Header {
    pub(super) const BYTES: usize = 77;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&self.mailbox.0);
        bytes[32..64].copy_from_slice(&self.id.0);
        bytes[64] = self.kind as u8;
        bytes[65..73].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[73..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// The header, and what stands behind it; `None` if that is none.
    pub(super) fn split(piece: &[u8]) -> Option<(Self, &[u8])> {
        let (bytes, rest) = piece.split_first_chunk::<{ Self::BYTES }>()?;
        let header = Self {
            mailbox: MailboxId(bytes[..32].try_into().ok()?),
            id: BlobId(bytes[32..64].try_into().ok()?),
            kind: Kind::try_from(i32::from(bytes[64])).ok()?,
            seconds: u64::from_be_bytes(bytes[65..73].try_into().ok()?),
            length: u32::from_be_bytes(bytes[73..].try_into().ok()?),
        };
        Some((header, rest))
    }

    /// How many pieces the blob lies in.
    pub(super) fn pieces(&self) -> u16 {
        let pieces = (self.length as usize).div_ceil(PIECE_BYTES).max(1);
        u16::try_from(pieces).expect("a blob is far shorter than 65535 pieces")
    }
}

/// What is known of a mailbox that is not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Its short name in `order` and `ids`.
    pub(super) number: u64,
    /// The position of its newest entry.
    pub(super) last: u64,
    pub(super) entries: u64,
    pub(super) chunks: u64,
    /// As quotas count them.
    pub(super) bytes: u64,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; 40] {
        encode_numbers([self.number, self.last, self.entries, self.chunks, self.bytes])
    }

    pub(super) fn decode(bytes: &[u8; 40]) -> Self {
        let [number, last, entries, chunks, bytes] = decode_numbers(bytes);
        Self { number, last, entries, chunks, bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0 && self.chunks == 0
    }
}

/// What is known of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The newest position that was given.
    pub(super) position: u64,
    /// The newest number of a mailbox.
    pub(super) number: u64,
    pub(super) mailboxes: u64,
    pub(super) entries: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

impl Counters {
    pub(super) fn encode(&self) -> [u8; 48] {
        encode_numbers([self.position, self.number, self.mailboxes, self.entries, self.chunks, self.bytes])
    }

    pub(super) fn decode(bytes: &[u8; 48]) -> Self {
        let [position, number, mailboxes, entries, chunks, bytes] = decode_numbers(bytes);
        Self { position, number, mailboxes, entries, chunks, bytes }
    }
}

fn encode_numbers<const N: usize, const M: usize>(numbers: [u64; N]) -> [u8; M] {
    let mut bytes = [0; M];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

fn decode_numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut numbers = [0; N];
    for (number, place) in numbers.iter_mut().zip(bytes.as_chunks().0) {
        *number = u64::from_be_bytes(*place);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header {
            mailbox: MailboxId([1; 32]),
            id: BlobId([2; 32]),
            kind: Kind::Chunk,
            seconds: 1_800_000_000,
            length: 5,
        };
        let piece = [&header.encode()[..], b"bytes"].concat();
        assert_eq!(Header::split(&piece), Some((header, &b"bytes"[..])));
        assert_eq!(Header::split(&piece[..76]), None);
        let record = Record { number: 1, last: 2, entries: 3, chunks: 4, bytes: 5 };
        assert_eq!(Record::decode(&record.encode()), record);
        let counters = Counters { position: 1, number: 2, mailboxes: 3, entries: 4, chunks: 5, bytes: 6 };
        assert_eq!(Counters::decode(&counters.encode()), counters);
        assert_eq!(position_of(&piece_key(7, 8)), 7);
        assert_eq!(ordered_position(&order_key(9, Kind::Entry, 10)), 10);
        assert_eq!(Header { length: 0, ..header }.pieces(), 1);
        assert_eq!(Header { length: PIECE_BYTES as u32 + 1, ..header }.pieces(), 2);
    }
}
