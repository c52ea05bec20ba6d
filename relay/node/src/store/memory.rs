//! A store that forgets: for tests.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use clave_mailbox::{BlobId, Bytes, Kind};
use futures::future::{FutureExt, ready};

use super::{
    Answer, Batch, MailboxId, MailboxState, MailboxStore, News, Page, PageRoom, Placed, Quotas, StoreError,
    StoredEntry, Usage, cost,
};

struct Blob {
    mailbox: MailboxId,
    kind: Kind,
    id: BlobId,
    seconds: u64,
    bytes: Bytes,
}

struct State {
    quotas: Quotas,
    blobs: BTreeMap<u64, Blob>,
    next: u64,
    disk_full: bool,
    expired: u64,
    dropped: u64,
}

/// Says the contract in as few words as possible: everything is looked for by walking over all blobs.
pub(crate) struct MemoryStore {
    generation: [u8; 16],
    news: Arc<dyn News>,
    state: Mutex<State>,
}

impl MemoryStore {
    pub(crate) fn new(quotas: Quotas, news: Arc<dyn News>) -> Self {
        let mut generation = [0; 16];
        getrandom::fill(&mut generation).expect("the system gives randomness");
        let state = State { quotas, blobs: BTreeMap::new(), next: 1, disk_full: false, expired: 0, dropped: 0 };
        Self { generation, news, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn of(&self, mailbox: MailboxId) -> impl DoubleEndedIterator<Item = (u64, &Blob)> {
        self.blobs.iter().filter(move |(_, blob)| blob.mailbox == mailbox).map(|(position, blob)| (*position, blob))
    }

    fn find(&self, mailbox: MailboxId, kind: Kind, id: BlobId) -> Option<&Blob> {
        self.of(mailbox).map(|(_, blob)| blob).find(|blob| blob.kind == kind && blob.id == id)
    }

    fn bytes<'a>(blobs: impl Iterator<Item = &'a Blob>) -> u64 {
        blobs.map(|blob| cost(blob.bytes.len())).sum()
    }

    fn mailboxes(&self) -> usize {
        self.blobs.values().map(|blob| blob.mailbox).collect::<std::collections::BTreeSet<_>>().len()
    }

    fn trim(&mut self, mailbox: MailboxId) {
        loop {
            let entries = self.of(mailbox).filter(|(_, blob)| blob.kind == Kind::Entry).count() as u64;
            let over = Self::bytes(self.of(mailbox).map(|(_, blob)| blob)) > self.quotas.mailbox_bytes_max;
            if !over && entries <= self.quotas.mailbox_entries_max {
                break;
            }
            let oldest = self.of(mailbox).next().expect("what is over a quota is not empty").0;
            self.blobs.remove(&oldest);
            self.dropped += 1;
        }
        while Self::bytes(self.blobs.values()) > self.quotas.store_bytes_max {
            self.blobs.pop_first();
            self.dropped += 1;
        }
    }

    fn put(&mut self, batch: Batch) -> Result<(Placed, Vec<StoredEntry>), StoreError> {
        if self.disk_full {
            return Err(StoreError::Full);
        }
        let full = Self::bytes(self.blobs.values()) >= self.quotas.new_mailboxes_bytes_max
            || self.mailboxes() as u64 >= self.quotas.mailboxes_max;
        if full && self.of(batch.mailbox).next().is_none() {
            return Err(StoreError::NoNewMailboxes);
        }
        let (mut placed, mut entries) = (Placed::default(), Vec::new());
        for (id, bytes) in batch.blobs {
            if self.find(batch.mailbox, batch.kind, id).is_some() {
                continue;
            }
            let position = self.next;
            self.next += 1;
            placed.new.push((id, position));
            if batch.kind == Kind::Entry {
                entries.push(StoredEntry { position, id, bytes: bytes.clone() });
            }
            let blob = Blob { mailbox: batch.mailbox, kind: batch.kind, id, seconds: batch.now_seconds, bytes };
            self.blobs.insert(position, blob);
        }
        self.trim(batch.mailbox);
        Ok((placed, entries))
    }
}

impl MailboxStore for MemoryStore {
    fn generation(&self) -> [u8; 16] {
        self.generation
    }

    fn put(&self, batch: Batch) -> Answer<'_, Placed> {
        let mailbox = batch.mailbox;
        let mut state = self.state();
        let done = state.put(batch).map(|(placed, entries)| {
            entries.iter().for_each(|entry| self.news.stored(mailbox, entry));
            placed
        });
        drop(state);
        ready(done).boxed()
    }

    fn states(&self, mailboxes: Vec<MailboxId>) -> Answer<'_, Vec<MailboxState>> {
        let state = self.state();
        let of = |mailbox: MailboxId| {
            let positions: Vec<_> =
                state.of(mailbox).filter(|(_, blob)| blob.kind == Kind::Entry).map(|(position, _)| position).collect();
            MailboxState { last: positions.last().copied().unwrap_or(0), entries: positions.len() as u64 }
        };
        ready(Ok(mailboxes.into_iter().map(of).collect())).boxed()
    }

    fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Answer<'_, Page> {
        let state = self.state();
        let mut page = Page::default();
        let mut bytes = 0;
        for (position, blob) in state.of(mailbox).filter(|(at, blob)| *at > after && blob.kind == Kind::Entry) {
            bytes += blob.bytes.len();
            if !page.entries.is_empty() && (bytes > room.bytes || page.entries.len() >= room.entries) {
                page.more = true;
                break;
            }
            page.entries.push(StoredEntry { position, id: blob.id, bytes: blob.bytes.clone() });
        }
        ready(Ok(page)).boxed()
    }

    fn get(
        &self,
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        let state = self.state();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for id in ids {
            let blob =
                mailboxes.iter().find_map(|mailbox| state.find(*mailbox, kind, id)).map(|blob| blob.bytes.clone());
            bytes += blob.as_ref().map_or(0, Bytes::len);
            if blob.is_some() && !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(blob);
        }
        ready(Ok(found)).boxed()
    }

    fn which(&self, mailboxes: Vec<MailboxId>, kind: Kind, ids: Vec<BlobId>) -> Answer<'_, Vec<bool>> {
        let state = self.state();
        let is_there = |id| mailboxes.iter().any(|mailbox| state.find(*mailbox, kind, id).is_some());
        ready(Ok(ids.into_iter().map(is_there).collect())).boxed()
    }

    fn entry_ids(&self, mailbox: MailboxId) -> Answer<'_, Vec<BlobId>> {
        let state = self.state();
        let mut ids: Vec<_> =
            state.of(mailbox).filter(|(_, blob)| blob.kind == Kind::Entry).map(|(_, blob)| blob.id).collect();
        ids.sort_unstable();
        ready(Ok(ids)).boxed()
    }

    fn sweep(&self, now_seconds: u64) -> Answer<'_, ()> {
        let state = &mut *self.state();
        let before = state.blobs.len();
        state.blobs.retain(|_, blob| blob.seconds + state.quotas.kept_seconds > now_seconds);
        state.expired += (before - state.blobs.len()) as u64;
        while State::bytes(state.blobs.values()) > state.quotas.store_bytes_max {
            state.blobs.pop_first();
            state.dropped += 1;
        }
        ready(Ok(())).boxed()
    }

    fn set_quotas(&self, quotas: Quotas) {
        self.state().quotas = quotas;
    }

    fn set_disk_full(&self, full: bool) {
        self.state().disk_full = full;
    }

    fn usage(&self) -> Usage {
        let state = self.state();
        let count = |kind| state.blobs.values().filter(|blob| blob.kind == kind).count() as u64;
        Usage {
            mailboxes: state.mailboxes() as u64,
            entries: count(Kind::Entry),
            chunks: count(Kind::Chunk),
            bytes: State::bytes(state.blobs.values()),
            expired: state.expired,
            dropped: state.dropped,
            commits: 0,
        }
    }

    fn backup(&self, _: PathBuf) -> Answer<'_, ()> {
        ready(Err(StoreError::Failed)).boxed()
    }
}
