//! The file of the embedded store as somebody reads it who copied it: by the layout that `store/redb/tables.rs` tells, and by none of its code.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const BLOBS: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("blobs");
const MAILBOXES: TableDefinition<'_, &[u8; 32], &[u8; 40]> = TableDefinition::new("mailboxes");

/// Mailbox, id, kind, seconds, length.
const HEADER_BYTES: usize = 32 + 32 + 1 + 8 + 4;

pub(super) struct Stored {
    pub(super) mailboxes: Vec<Mailbox>,
    /// In the order of their positions.
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Mailbox {
    pub(super) name: [u8; 32],
}

pub(super) struct Entry {
    pub(super) position: u64,
    pub(super) mailbox: [u8; 32],
    pub(super) bytes: Vec<u8>,
}

/// Of a store with short entries only.
pub(super) fn read(path: &Path) -> Stored {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let mailboxes = transaction.open_table(MAILBOXES).unwrap();
    let mailboxes = mailboxes.iter().unwrap().map(|record| Mailbox { name: *record.unwrap().0.value() }).collect();
    let mut entries: Vec<Entry> = Vec::new();
    for record in transaction.open_table(BLOBS).unwrap().iter().unwrap() {
        let (key, value) = record.unwrap();
        let (position, piece) = key.value().split_at(8);
        let position = u64::from_be_bytes(position.try_into().unwrap());
        match piece {
            [0, 0] => {
                let (header, bytes) = value.value().split_at(HEADER_BYTES);
                let mailbox = header[..32].try_into().unwrap();
                entries.push(Entry { position, mailbox, bytes: bytes.to_vec() });
            }
            // Further pieces of the same.
            _ => entries.last_mut().unwrap().bytes.extend_from_slice(value.value()),
        }
    }
    Stored { mailboxes, entries }
}
