//! What one transaction changes: puts of many sessions, and removals. It goes on from group to group of jobs; after each, [`Changes::take_done`]
//! tells what is to be noted in the journal and told to others.

use std::collections::BTreeMap;

use clave_mailbox::{Bytes, Kind};
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    Failure, counters,
    log::{self, Log},
    number_of,
    tables::{
        BLOBS, COUNTERS, Counters, Header, IDS, JOURNALED, MAILBOXES, META, ORDER, PIECE_BYTES, Record, id_key,
        order_key, ordered_position, piece_key, position_of,
    },
};
use crate::store::{Batch, MailboxId, Placed, Quotas, StoreError, StoredEntry, cost};

/// A transaction that is being written. What it knows of mailboxes is written by [`finish`](Self::finish).
pub(super) struct Changes<'t> {
    pub(super) quotas: Quotas,
    blobs: Table<'t, &'static [u8; 10], &'static [u8]>,
    order: Table<'t, &'static [u8; 17], ()>,
    ids: Table<'t, &'static [u8; 41], u64>,
    mailboxes: Table<'t, &'static [u8; 32], &'static [u8; 40]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    /// Of the mailboxes that were looked at; `None`: there is none.
    records: BTreeMap<MailboxId, Option<Record>>,
    pub(super) counters: Counters,
    /// Up to which frame the journal is in here.
    pub(super) journaled: u64,
    /// Blobs that were stored or removed since it began.
    pub(super) changed: usize,
    /// What the journal has to have before anything of this group is answered.
    pub(super) log: Log,
    done: Done,
}

/// What a group of jobs did, for others to be told of once the journal has it.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) expired: u64,
    pub(super) dropped: u64,
    pub(super) entries: Vec<(MailboxId, StoredEntry)>,
    /// Whose blobs changed; some several times.
    pub(super) mailboxes: Vec<MailboxId>,
}

impl<'t> Changes<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, quotas: Quotas) -> Result<Self, Failure> {
        let meta = transaction.open_table(META)?;
        Ok(Self {
            quotas,
            blobs: transaction.open_table(BLOBS)?,
            order: transaction.open_table(ORDER)?,
            ids: transaction.open_table(IDS)?,
            mailboxes: transaction.open_table(MAILBOXES)?,
            records: BTreeMap::new(),
            counters: counters(&meta)?,
            journaled: number_of(&meta)?,
            meta,
            changed: 0,
            log: Log::new(),
            done: Done::default(),
        })
    }

    /// What was done since this was asked last.
    pub(super) fn take_done(&mut self) -> Done {
        self.log.clear();
        std::mem::take(&mut self.done)
    }

    /// Does again what is noted in a frame of the journal.
    pub(super) fn redo(&mut self, mut records: &[u8]) -> Result<(), Failure> {
        while !records.is_empty() {
            let (record, rest) = log::split(records).ok_or(Failure::Damaged)?;
            records = rest;
            match record {
                log::Record::Removed { position } => self.remove(position)?,
                log::Record::Stored { position, header, bytes } => {
                    if position <= self.counters.position {
                        return Err(Failure::Damaged);
                    }
                    let mut record = match self.record(header.mailbox)? {
                        Some(record) => record,
                        None => self.new_mailbox(),
                    };
                    self.insert(&mut record, position, &header, &Bytes::copy_from_slice(bytes))?;
                    self.records.insert(header.mailbox, Some(record));
                }
            }
        }
        self.take_done();
        Ok(())
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
            None => self.new_mailbox(),
        };
        for (id, bytes) in &batch.blobs {
            if self.ids.get(&id_key(record.number, batch.kind, id))?.is_none() {
                let header = Header {
                    mailbox: batch.mailbox,
                    id: *id,
                    kind: batch.kind,
                    seconds: batch.now_seconds,
                    length: u32::try_from(bytes.len()).expect("a blob is far shorter than 4 GiB"),
                };
                let position = self.counters.position + 1;
                self.insert(&mut record, position, &header, bytes)?;
                placed.new.push((*id, position));
            }
        }
        self.records.insert(batch.mailbox, Some(record));
        self.trim_mailbox(batch.mailbox)?;
        self.trim_store()?;
        Ok(Ok(placed))
    }

    /// What is known of a mailbox that is there from now on.
    fn new_mailbox(&mut self) -> Record {
        self.counters.number += 1;
        self.counters.mailboxes += 1;
        Record { number: self.counters.number, ..Record::default() }
    }

    fn insert(&mut self, record: &mut Record, position: u64, header: &Header, bytes: &Bytes) -> Result<(), Failure> {
        let Header { mailbox, id, kind, .. } = *header;
        self.counters.position = position;
        let first = self.log.stored(position, header, bytes);
        self.blobs.insert(&piece_key(position, 0), first)?;
        for (piece, bytes) in (1..).zip(bytes.chunks(PIECE_BYTES).skip(1)) {
            self.blobs.insert(&piece_key(position, piece), bytes)?;
        }
        self.order.insert(&order_key(record.number, kind, position), ())?;
        self.ids.insert(&id_key(record.number, kind, &id), position)?;
        record.bytes += cost(bytes.len());
        self.counters.bytes += cost(bytes.len());
        match kind {
            Kind::Entry => {
                record.last = position;
                record.entries += 1;
                self.counters.entries += 1;
                self.done.entries.push((mailbox, StoredEntry { position, id, bytes: bytes.clone() }));
            }
            Kind::Chunk => {
                record.chunks += 1;
                self.counters.chunks += 1;
            }
        }
        self.changed += 1;
        self.done.mailboxes.push(mailbox);
        Ok(())
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
            self.done.dropped += 1;
        }
        Ok(())
    }

    /// Drops the oldest blobs of all until the store is within its quota.
    pub(super) fn trim_store(&mut self) -> Result<(), Failure> {
        while self.counters.bytes > self.quotas.store_bytes_max {
            let (position, _) = self.oldest()?.ok_or(Failure::Damaged)?;
            self.remove(position)?;
            self.done.dropped += 1;
        }
        Ok(())
    }

    /// Removes what is too old, at most so many blobs. Whether there may be more.
    pub(super) fn expire(&mut self, now_seconds: u64, blobs_max: usize) -> Result<bool, Failure> {
        for _ in 0..blobs_max {
            match self.oldest()? {
                Some((position, header)) if header.seconds.saturating_add(self.quotas.kept_seconds) <= now_seconds => {
                    self.remove(position)?;
                    self.done.expired += 1;
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
        self.log.removed(position);
        self.changed += 1;
        self.done.mailboxes.push(header.mailbox);
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

    /// Writes what is known of mailboxes, and up to which frame of the journal this is. The transaction can be committed now.
    pub(super) fn finish(mut self, journaled: u64) -> Result<(), Failure> {
        for (mailbox, record) in &self.records {
            match record {
                Some(record) => drop(self.mailboxes.insert(&mailbox.0, &record.encode())?),
                None => drop(self.mailboxes.remove(&mailbox.0)?),
            }
        }
        self.meta.insert(COUNTERS, self.counters.encode().as_slice())?;
        self.meta.insert(JOURNALED, journaled.to_be_bytes().as_slice())?;
        Ok(())
    }
}
