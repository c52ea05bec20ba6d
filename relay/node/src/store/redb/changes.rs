//! What one transaction changes: puts of many sessions, and removals.

use std::collections::BTreeMap;

use clave_mailbox::{BlobId, Bytes, Kind};
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    Failure,
    tables::{
        BLOBS, COUNTERS, Counters, Header, IDS, MAILBOXES, META, ORDER, PIECE_BYTES, Record, id_key, order_key,
        ordered_position, piece_key, position_of,
    },
};
use crate::store::{Batch, MailboxId, Placed, Quotas, StoreError, StoredEntry, cost};

/// A transaction that is being written. What it knows of mailboxes is written by [`finish`](Self::finish).
pub(super) struct Changes<'t> {
    quotas: Quotas,
    blobs: Table<'t, &'static [u8; 10], &'static [u8]>,
    order: Table<'t, &'static [u8; 17], ()>,
    ids: Table<'t, &'static [u8; 41], u64>,
    mailboxes: Table<'t, &'static [u8; 32], &'static [u8; 40]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    /// Of the mailboxes that were looked at; `None`: there is none.
    records: BTreeMap<MailboxId, Option<Record>>,
    pub(super) counters: Counters,
    pub(super) expired: u64,
    pub(super) dropped: u64,
    /// What is to be told once it is durable.
    pub(super) entries: Vec<(MailboxId, StoredEntry)>,
}

impl<'t> Changes<'t> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        quotas: Quotas,
        counters: Counters,
    ) -> Result<Self, Failure> {
        Ok(Self {
            quotas,
            blobs: transaction.open_table(BLOBS)?,
            order: transaction.open_table(ORDER)?,
            ids: transaction.open_table(IDS)?,
            mailboxes: transaction.open_table(MAILBOXES)?,
            meta: transaction.open_table(META)?,
            records: BTreeMap::new(),
            counters,
            expired: 0,
            dropped: 0,
            entries: Vec::new(),
        })
    }

    /// Stores what is new of a batch. What is refused changes nothing.
    pub(super) fn put(&mut self, batch: &Batch) -> Result<Result<Placed, StoreError>, Failure> {
        let mut placed = Placed::default();
        let mut record = match self.record(batch.mailbox)? {
            Some(record) => record,
            None if batch.blobs.is_empty() => return Ok(Ok(placed)),
            None if self.counters.bytes >= self.quotas.new_mailboxes_bytes_max
                || self.counters.mailboxes >= self.quotas.mailboxes_max =>
            {
                return Ok(Err(StoreError::NoNewMailboxes));
            }
            None => {
                self.counters.number += 1;
                self.counters.mailboxes += 1;
                Record { number: self.counters.number, ..Record::default() }
            }
        };
        for (id, bytes) in &batch.blobs {
            let key = id_key(record.number, batch.kind, id);
            if self.ids.get(&key)?.is_none() {
                let position = self.insert(&mut record, batch, *id, bytes)?;
                self.ids.insert(&key, position)?;
                placed.new.push((*id, position));
            }
        }
        self.records.insert(batch.mailbox, Some(record));
        self.trim_mailbox(batch.mailbox)?;
        self.trim_store()?;
        Ok(Ok(placed))
    }

    fn insert(&mut self, record: &mut Record, batch: &Batch, id: BlobId, bytes: &Bytes) -> Result<u64, Failure> {
        self.counters.position += 1;
        let position = self.counters.position;
        let header = Header {
            mailbox: batch.mailbox,
            id,
            kind: batch.kind,
            seconds: batch.now_seconds,
            length: u32::try_from(bytes.len()).expect("a blob is far shorter than 4 GiB"),
        };
        let mut pieces = bytes.chunks(PIECE_BYTES);
        let first = [&header.encode()[..], pieces.next().unwrap_or_default()].concat();
        self.blobs.insert(&piece_key(position, 0), first.as_slice())?;
        for (piece, bytes) in (1..).zip(pieces) {
            self.blobs.insert(&piece_key(position, piece), bytes)?;
        }
        self.order.insert(&order_key(record.number, batch.kind, position), ())?;
        record.bytes += cost(bytes.len());
        self.counters.bytes += cost(bytes.len());
        match batch.kind {
            Kind::Entry => {
                record.last = position;
                record.entries += 1;
                self.counters.entries += 1;
                self.entries.push((batch.mailbox, StoredEntry { position, id, bytes: bytes.clone() }));
            }
            Kind::Chunk => {
                record.chunks += 1;
                self.counters.chunks += 1;
            }
        }
        Ok(position)
    }

    /// Drops the oldest blobs of a mailbox until it is within its quota.
    fn trim_mailbox(&mut self, mailbox: MailboxId) -> Result<(), Failure> {
        while let Some(record) = self.record(mailbox)? {
            let over = record.bytes > self.quotas.mailbox_bytes_max || record.entries > self.quotas.mailbox_entries_max;
            if !over {
                break;
            }
            let mut oldest = None;
            for kind in [Kind::Entry, Kind::Chunk] {
                let (from, to) = (order_key(record.number, kind, 0), order_key(record.number, kind, u64::MAX));
                if let Some(first) = self.order.range::<&[u8; 17]>(&from..=&to)?.next() {
                    let position = ordered_position(first?.0.value());
                    oldest = oldest.into_iter().chain([position]).min();
                }
            }
            self.remove(oldest.ok_or(Failure::Damaged)?)?;
            self.dropped += 1;
        }
        Ok(())
    }

    /// Drops the oldest blobs of all until the store is within its quota.
    pub(super) fn trim_store(&mut self) -> Result<(), Failure> {
        while self.counters.bytes > self.quotas.store_bytes_max {
            let (position, _) = self.oldest()?.ok_or(Failure::Damaged)?;
            self.remove(position)?;
            self.dropped += 1;
        }
        Ok(())
    }

    /// Removes what is too old, at most so many blobs. Whether there may be more.
    pub(super) fn expire(&mut self, now_seconds: u64, blobs_max: usize) -> Result<bool, Failure> {
        for _ in 0..blobs_max {
            match self.oldest()? {
                Some((position, header)) if header.seconds.saturating_add(self.quotas.kept_seconds) <= now_seconds => {
                    self.remove(position)?;
                    self.expired += 1;
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn oldest(&self) -> Result<Option<(u64, Header)>, Failure> {
        let Some((key, piece)) = self.blobs.first()? else { return Ok(None) };
        let (header, _) = Header::split(piece.value()).ok_or(Failure::Damaged)?;
        Ok(Some((position_of(key.value()), header)))
    }

    fn remove(&mut self, position: u64) -> Result<(), Failure> {
        let header = match self.blobs.remove(&piece_key(position, 0))? {
            Some(piece) => Header::split(piece.value()).ok_or(Failure::Damaged)?.0,
            None => return Err(Failure::Damaged),
        };
        for piece in 1..header.pieces() {
            self.blobs.remove(&piece_key(position, piece))?;
        }
        let mut record = self.record(header.mailbox)?.ok_or(Failure::Damaged)?;
        self.order.remove(&order_key(record.number, header.kind, position))?;
        self.ids.remove(&id_key(record.number, header.kind, &header.id))?;
        let cost = cost(header.length as usize);
        record.bytes = record.bytes.saturating_sub(cost);
        self.counters.bytes = self.counters.bytes.saturating_sub(cost);
        let (of_mailbox, of_all) = match header.kind {
            Kind::Entry => (&mut record.entries, &mut self.counters.entries),
            Kind::Chunk => (&mut record.chunks, &mut self.counters.chunks),
        };
        *of_mailbox = of_mailbox.saturating_sub(1);
        *of_all = of_all.saturating_sub(1);
        if record.entries == 0 {
            record.last = 0;
        }
        let kept = (!record.is_empty()).then_some(record);
        if kept.is_none() {
            self.counters.mailboxes = self.counters.mailboxes.saturating_sub(1);
        }
        self.records.insert(header.mailbox, kept);
        Ok(())
    }

    fn record(&mut self, mailbox: MailboxId) -> Result<Option<Record>, Failure> {
        if let Some(record) = self.records.get(&mailbox) {
            return Ok(*record);
        }
        let record = self.mailboxes.get(&mailbox.0)?.map(|bytes| Record::decode(bytes.value()));
        self.records.insert(mailbox, record);
        Ok(record)
    }

    /// Writes what is known of mailboxes, and hands back the rest. The transaction can be committed now.
    pub(super) fn finish(mut self) -> Result<Finished, Failure> {
        for (mailbox, record) in &self.records {
            match record {
                Some(record) => drop(self.mailboxes.insert(&mailbox.0, &record.encode())?),
                None => drop(self.mailboxes.remove(&mailbox.0)?),
            }
        }
        self.meta.insert(COUNTERS, self.counters.encode().as_slice())?;
        let Self { counters, expired, dropped, entries, .. } = self;
        Ok(Finished { counters, expired, dropped, entries })
    }
}

/// What holds once the transaction is committed.
pub(super) struct Finished {
    pub(super) counters: Counters,
    pub(super) expired: u64,
    pub(super) dropped: u64,
    pub(super) entries: Vec<(MailboxId, StoredEntry)>,
}
