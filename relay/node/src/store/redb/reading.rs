//! Reading, each from one moment of the store.

use clave_mailbox::{BlobId, Bytes, Kind};
use redb::{ReadOnlyTable, ReadTransaction};

use super::{
    Failure,
    tables::{
        BLOBS, Header, IDS, MAILBOXES, ORDER, PIECE_BYTES, Record, id_key, order_key, ordered_position, piece_key,
    },
};
use crate::store::{MailboxId, MailboxState, Page, PageRoom, StoredEntry};

type Blobs = ReadOnlyTable<&'static [u8; 10], &'static [u8]>;

fn record(transaction: &ReadTransaction, mailbox: MailboxId) -> Result<Option<Record>, Failure> {
    Ok(transaction.open_table(MAILBOXES)?.get(&mailbox.0)?.map(|bytes| Record::decode(bytes.value())))
}

pub(super) fn states(transaction: &ReadTransaction, mailboxes: &[MailboxId]) -> Result<Vec<MailboxState>, Failure> {
    let state = |mailbox: &MailboxId| {
        let record = record(transaction, *mailbox)?.unwrap_or_default();
        Ok(MailboxState { last: record.last, entries: record.entries })
    };
    mailboxes.iter().map(state).collect()
}

pub(super) fn after(
    transaction: &ReadTransaction,
    mailbox: MailboxId,
    after: u64,
    room: PageRoom,
) -> Result<Page, Failure> {
    let mut page = Page::default();
    let (Some(record), Some(first)) = (record(transaction, mailbox)?, after.checked_add(1)) else { return Ok(page) };
    let blobs = transaction.open_table(BLOBS)?;
    let from = order_key(record.number, Kind::Entry, first);
    let to = order_key(record.number, Kind::Entry, u64::MAX);
    let mut bytes = 0;
    for key in transaction.open_table(ORDER)?.range::<&[u8; 17]>(&from..=&to)? {
        let position = ordered_position(key?.0.value());
        let (header, first) = first_piece(&blobs, position)?;
        bytes += header.length as usize;
        if !page.entries.is_empty() && (bytes > room.bytes || page.entries.len() >= room.entries) {
            page.more = true;
            break;
        }
        let bytes = joined(&blobs, position, &header, first)?;
        page.entries.push(StoredEntry { position, id: header.id, bytes });
    }
    Ok(page)
}

fn first_piece(blobs: &Blobs, position: u64) -> Result<(Header, Vec<u8>), Failure> {
    let piece = blobs.get(&piece_key(position, 0))?.ok_or(Failure::Damaged)?;
    let (header, bytes) = Header::split(piece.value()).ok_or(Failure::Damaged)?;
    // Not trusted before there is so much.
    let mut whole = Vec::with_capacity((header.length as usize).min(usize::from(header.pieces()) * PIECE_BYTES));
    whole.extend_from_slice(bytes);
    Ok((header, whole))
}

fn joined(blobs: &Blobs, position: u64, header: &Header, mut whole: Vec<u8>) -> Result<Bytes, Failure> {
    for piece in 1..header.pieces() {
        let piece = blobs.get(&piece_key(position, piece))?.ok_or(Failure::Damaged)?;
        whole.extend_from_slice(piece.value());
    }
    if whole.len() == header.length as usize { Ok(whole.into()) } else { Err(Failure::Damaged) }
}

/// The numbers of those mailboxes that are not empty.
fn numbers(transaction: &ReadTransaction, mailboxes: &[MailboxId]) -> Result<Vec<u64>, Failure> {
    let mut numbers = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        numbers.extend(record(transaction, *mailbox)?.map(|record| record.number));
    }
    Ok(numbers)
}

fn find(
    ids: &ReadOnlyTable<&'static [u8; 41], u64>,
    numbers: &[u64],
    kind: Kind,
    id: &BlobId,
) -> Result<Option<u64>, Failure> {
    for number in numbers {
        if let Some(position) = ids.get(&id_key(*number, kind, id))? {
            return Ok(Some(position.value()));
        }
    }
    Ok(None)
}

pub(super) fn get(
    transaction: &ReadTransaction,
    mailboxes: &[MailboxId],
    kind: Kind,
    ids: &[BlobId],
    bytes_max: usize,
) -> Result<Vec<Option<Bytes>>, Failure> {
    let numbers = numbers(transaction, mailboxes)?;
    let (table, blobs) = (transaction.open_table(IDS)?, transaction.open_table(BLOBS)?);
    let (mut found, mut bytes) = (Vec::new(), 0);
    for id in ids {
        let blob = match find(&table, &numbers, kind, id)? {
            None => None,
            Some(position) => {
                let (header, first) = first_piece(&blobs, position)?;
                bytes += header.length as usize;
                if !found.is_empty() && bytes > bytes_max {
                    break;
                }
                Some(joined(&blobs, position, &header, first)?)
            }
        };
        found.push(blob);
    }
    Ok(found)
}

pub(super) fn which(
    transaction: &ReadTransaction,
    mailboxes: &[MailboxId],
    kind: Kind,
    ids: &[BlobId],
) -> Result<Vec<bool>, Failure> {
    let numbers = numbers(transaction, mailboxes)?;
    let table = transaction.open_table(IDS)?;
    ids.iter().map(|id| Ok(find(&table, &numbers, kind, id)?.is_some())).collect()
}

pub(super) fn entry_ids(transaction: &ReadTransaction, mailbox: MailboxId) -> Result<Vec<BlobId>, Failure> {
    let Some(record) = record(transaction, mailbox)? else { return Ok(Vec::new()) };
    let from = id_key(record.number, Kind::Entry, &BlobId([0; 32]));
    let to = id_key(record.number, Kind::Entry, &BlobId([0xff; 32]));
    let mut ids = Vec::new();
    for key in transaction.open_table(IDS)?.range::<&[u8; 41]>(&from..=&to)? {
        ids.push(BlobId(key?.0.value()[9..].try_into().expect("32 of 41 bytes")));
    }
    Ok(ids)
}
