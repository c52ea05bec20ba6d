//! What is in the stream, as far as this relay has followed it: everything but the blobs themselves.
//!
//! A function of the stream's messages in their order, and of the quotas: so every relay comes to the same, and a duplicate that two relays
//! stored at once counts nowhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use clave_mailbox::{BlobId, Kind};

use super::record::Record;
use crate::store::{MailboxId, MailboxState, Quotas, Usage, cost};

/// Blobs by position, and by mailbox and id.
pub(super) struct Index {
    pub(super) quotas: Quotas,
    /// The newest position that was seen.
    seen: u64,
    blobs: BTreeMap<u64, Record>,
    mailboxes: HashMap<MailboxId, Mailbox>,
    usage: Usage,
    gone: Gone,
}

#[derive(Default)]
struct Mailbox {
    positions: HashMap<(Kind, BlobId), u64>,
    entries: BTreeSet<u64>,
    chunks: BTreeSet<u64>,
    bytes: u64,
}

/// What the stream and the object store need not keep any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Of each mailbox and kind, everything up to a position.
    pub(super) of_mailboxes: HashMap<(MailboxId, Kind), u64>,
    /// Everything up to a position.
    pub(super) of_all: u64,
    /// Blobs whose objects go.
    pub(super) objects: Vec<Record>,
}

impl Index {
    pub(super) fn new(quotas: Quotas) -> Self {
        Self {
            quotas,
            seen: 0,
            blobs: BTreeMap::new(),
            mailboxes: HashMap::new(),
            usage: Usage::default(),
            gone: Gone::default(),
        }
    }

    /// The next message of the stream. Whether it is news: if not, it was seen, or its blob is there already.
    pub(super) fn apply(&mut self, position: u64, record: Option<Record>) -> bool {
        if position <= self.seen {
            return false;
        }
        self.seen = position;
        let Some(record) = record else { return false };
        let mailbox = self.mailboxes.entry(record.mailbox).or_default();
        if let Some(first) = mailbox.positions.get(&(record.kind, record.id)) {
            // One put that was published twice has one object.
            let of_another = record.object > 0 && record.object != self.blobs[first].object;
            self.gone.objects.extend(of_another.then_some(record));
            return false;
        }
        mailbox.positions.insert((record.kind, record.id), position);
        mailbox.of_kind(record.kind).insert(position);
        mailbox.bytes += cost(record.bytes as usize);
        self.usage.bytes += cost(record.bytes as usize);
        *self.count(record.kind) += 1;
        self.blobs.insert(position, record);
        self.trim_mailbox(record.mailbox);
        self.trim_store();
        true
    }

    fn count(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Entry => &mut self.usage.entries,
            Kind::Chunk => &mut self.usage.chunks,
        }
    }

    fn trim_mailbox(&mut self, id: MailboxId) {
        while let Some(mailbox) = self.mailboxes.get(&id)
            && (mailbox.bytes > self.quotas.mailbox_bytes_max
                || mailbox.entries.len() as u64 > self.quotas.mailbox_entries_max)
            && let Some(oldest) = mailbox.oldest()
        {
            let record = self.remove(oldest).expect("what a mailbox names is there");
            self.usage.dropped += 1;
            self.gone.of_mailboxes.insert((id, record.kind), oldest);
        }
    }

    /// Removes the oldest of all until the rest fits.
    pub(super) fn trim_store(&mut self) {
        while self.usage.bytes > self.quotas.store_bytes_max
            && let Some((&oldest, _)) = self.blobs.first_key_value()
        {
            self.remove(oldest);
            self.usage.dropped += 1;
            self.gone.of_all = oldest;
        }
    }

    /// Removes what is too old. The stream removes it, too, by its own clock.
    pub(super) fn expire(&mut self, now_seconds: u64) {
        // In the order of positions, which is nearly that of time.
        while let Some((&oldest, record)) = self.blobs.first_key_value()
            && u64::from(record.seconds) + self.quotas.kept_seconds <= now_seconds
        {
            self.remove(oldest);
            self.usage.expired += 1;
        }
    }

    /// The stream has nothing before this position any more.
    pub(super) fn begins_at(&mut self, first: u64) {
        while let Some((&oldest, _)) = self.blobs.first_key_value()
            && oldest < first
        {
            self.remove(oldest);
            self.usage.expired += 1;
        }
    }

    /// Removes a blob that was not found where it was.
    pub(super) fn forget(&mut self, position: u64) {
        self.remove(position);
    }

    fn remove(&mut self, position: u64) -> Option<Record> {
        let record = self.blobs.remove(&position)?;
        let bytes = cost(record.bytes as usize);
        self.usage.bytes -= bytes;
        *self.count(record.kind) -= 1;
        if let Some(mailbox) = self.mailboxes.get_mut(&record.mailbox) {
            mailbox.positions.remove(&(record.kind, record.id));
            mailbox.of_kind(record.kind).remove(&position);
            mailbox.bytes -= bytes;
            if mailbox.positions.is_empty() {
                self.mailboxes.remove(&record.mailbox);
            }
        }
        self.gone.objects.extend((record.object > 0).then_some(record));
        Some(record)
    }

    /// Begins again, as if nothing had been seen. What was seen until now.
    pub(super) fn forget_all(&mut self) -> u64 {
        let before = std::mem::replace(self, Self::new(self.quotas));
        self.usage = Usage { expired: before.usage.expired, dropped: before.usage.dropped, ..Usage::default() };
        before.seen
    }

    /// Mailboxes with entries after a position.
    pub(super) fn mailboxes_after(&self, position: u64) -> BTreeSet<MailboxId> {
        let after = self.blobs.range((Excluded(position), Unbounded));
        after.filter(|(_, record)| record.kind == Kind::Entry).map(|(_, record)| record.mailbox).collect()
    }

    /// What has gone since this was asked last.
    pub(super) fn take_gone(&mut self) -> Gone {
        std::mem::take(&mut self.gone)
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether a put to this mailbox may be taken.
    pub(super) fn has_room_for(&self, mailbox: MailboxId) -> bool {
        let full = self.usage.bytes >= self.quotas.new_mailboxes_bytes_max
            || self.mailboxes.len() as u64 >= self.quotas.mailboxes_max;
        !full || self.mailboxes.contains_key(&mailbox)
    }

    pub(super) fn position(&self, mailbox: MailboxId, kind: Kind, id: BlobId) -> Option<u64> {
        self.mailboxes.get(&mailbox)?.positions.get(&(kind, id)).copied()
    }

    /// The blob with this id in one of these mailboxes.
    pub(super) fn find(&self, mailboxes: &[MailboxId], kind: Kind, id: BlobId) -> Option<(u64, Record)> {
        let position = mailboxes.iter().find_map(|mailbox| self.position(*mailbox, kind, id))?;
        Some((position, self.blobs[&position]))
    }

    pub(super) fn state(&self, mailbox: MailboxId) -> MailboxState {
        let Some(mailbox) = self.mailboxes.get(&mailbox) else { return MailboxState::default() };
        MailboxState { last: mailbox.entries.last().copied().unwrap_or(0), entries: mailbox.entries.len() as u64 }
    }

    /// The entries of a mailbox after a position.
    pub(super) fn after(&self, mailbox: MailboxId, after: u64) -> impl Iterator<Item = (u64, Record)> {
        let entries = self.mailboxes.get(&mailbox).map(|mailbox| mailbox.entries.range((Excluded(after), Unbounded)));
        entries.into_iter().flatten().map(|position| (*position, self.blobs[position]))
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { mailboxes: self.mailboxes.len() as u64, ..self.usage }
    }
}

impl Mailbox {
    fn of_kind(&mut self, kind: Kind) -> &mut BTreeSet<u64> {
        match kind {
            Kind::Entry => &mut self.entries,
            Kind::Chunk => &mut self.chunks,
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.entries.first().into_iter().chain(self.chunks.first()).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::QUOTAS;

    #[test]
    fn a_put_that_was_published_twice_keeps_its_object() {
        let mut index = Index::new(QUOTAS);
        let (mailbox, kind, id) = (MailboxId([1; 32]), Kind::Chunk, BlobId([2; 32]));
        let record = Record { mailbox, kind, id, seconds: 1_000, bytes: 100, object: 5 };
        assert!(index.apply(3, Some(record)));
        assert!(!index.apply(4, Some(record)) && !index.apply(3, Some(record)));
        assert_eq!(index.take_gone(), Gone::default());
        // Another put's is of no use: the first counts.
        let other = Record { object: 6, ..record };
        assert!(!index.apply(5, Some(other)));
        assert_eq!(index.take_gone().objects, [other]);
        assert_eq!((index.position(mailbox, kind, id), index.usage().chunks, index.seen()), (Some(3), 1, 5));
    }
}
