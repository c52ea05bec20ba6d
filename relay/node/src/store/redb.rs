//! The embedded store: redb, a copy-on-write B-tree in one file.

mod changes;
mod copying;
mod reading;
mod tables;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use clave_mailbox::{BlobId, Bytes, Kind};
use futures::future::FutureExt;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable};
use tokio::sync::{Semaphore, oneshot};

use self::{
    changes::{Changes, Finished},
    tables::{BLOBS, COUNTERS, Counters, FORMAT, GENERATION, IDS, MAILBOXES, META, ORDER, VERSION},
};
use super::{
    Answer, Batch, MailboxId, MailboxState, MailboxStore, News, Page, PageRoom, Placed, Quotas, StoreError, Usage,
    writer::{Job, Writer},
};

/// Reads that go on at a time, each on a thread of its own. Others wait in order of arrival.
const READS_MAX: usize = 32;

/// Blobs that one transaction of a sweep removes at most: puts wait for it.
const SWEEP_BLOBS_MAX: usize = 2_000;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    #[error("{0} is in use: is another relay running with this data directory?")]
    Busy(PathBuf),
    #[error(
        "{0} is damaged or not a store of this program: move it away, or restore a backup with `clave-relay restore`"
    )]
    Damaged(PathBuf),
    #[error("{0} is of a later version of this program: use that one")]
    Later(PathBuf),
    #[error("{0} cannot be opened: {1}. Check the data directory's owner and mode, and the disk")]
    Io(PathBuf, io::Error),
}

/// What went wrong inside.
#[derive(Debug)]
enum Failure {
    Redb(redb::Error),
    /// The tables contradict each other.
    Damaged,
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl From<&Failure> for StoreError {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Redb(redb::Error::Io(error)) if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            _ => Self::Failed,
        }
    }
}

/// Blobs in a redb database. Whatever it answers to have stored is on disk: one commit, with what else waits.
pub(crate) struct RedbStore {
    shared: Arc<Shared>,
    generation: [u8; 16],
    reads: Arc<Semaphore>,
    /// `None` while it is dropped.
    writer: Option<(Writer, JoinHandle<()>)>,
}

struct Shared {
    path: PathBuf,
    cache_bytes: usize,
    /// `None` after a failure of the disk, until it could be opened again: redb refuses everything until then.
    database: RwLock<Option<Arc<Database>>>,
    quotas: Mutex<Quotas>,
    disk_full: AtomicBool,
    usage: Mutex<Usage>,
}

impl RedbStore {
    /// Opens the store in a file, creating it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(
        path: &Path,
        cache_bytes: usize,
        quotas: Quotas,
        news: Arc<dyn News>,
    ) -> Result<Self, OpenError> {
        let database = open(path, cache_bytes)?;
        let (generation, counters) = begin(&database).map_err(|failure| refused(path, failure))?;
        let shared = Arc::new(Shared {
            path: path.into(),
            cache_bytes,
            database: RwLock::new(Some(Arc::new(database))),
            quotas: Mutex::new(quotas),
            disk_full: AtomicBool::new(false),
            usage: Mutex::new(Usage::default()),
        });
        shared.count(&counters, 0, 0, 0);
        let committing = shared.clone();
        let writer = Writer::start(move |jobs| commit(&committing, &*news, jobs))
            .map_err(|error| OpenError::Io(path.into(), error))?;
        Ok(Self { shared, generation, reads: Arc::new(Semaphore::new(READS_MAX)), writer: Some(writer) })
    }

    fn writer(&self) -> Writer {
        self.writer.as_ref().expect("there until it is dropped").0.clone()
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Answer<'_, T> {
        let (shared, reads) = (self.shared.clone(), self.reads.clone());
        async move {
            let _permit = reads.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
            let done = tokio::task::spawn_blocking(move || {
                let database = shared.database().ok_or(StoreError::Failed)?;
                let read = || work(&database.begin_read()?);
                read().map_err(|failure| {
                    tracing::error!(?failure, "the store could not be read");
                    StoreError::from(&failure)
                })
            });
            done.await.unwrap_or(Err(StoreError::Stopped))
        }
        .boxed()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        if let Some((writer, thread)) = self.writer.take() {
            drop(writer);
            // It panicked, which it has told.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn database(&self) -> Option<Arc<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn quotas(&self) -> MutexGuard<'_, Quotas> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, counters: &Counters, expired: u64, dropped: u64, commits: u64) {
        let usage = &mut *self.usage();
        *usage = Usage {
            mailboxes: counters.mailboxes,
            entries: counters.entries,
            chunks: counters.chunks,
            bytes: counters.bytes,
            expired: usage.expired + expired,
            dropped: usage.dropped + dropped,
            commits: usage.commits + commits,
        };
    }

    /// The database, opened again if need be.
    fn reopened(&self) -> Option<Arc<Database>> {
        if let Some(database) = self.database() {
            return Some(database);
        }
        // As long as somebody still reads, it is in use: then the next who comes tries again.
        let database = open(&self.path, self.cache_bytes).inspect_err(|error| tracing::error!(%error, "still closed"));
        let database = Arc::new(database.ok()?);
        tracing::warn!("the store is open again");
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database.clone());
        Some(database)
    }
}

/// Writes what waits in one transaction, tells the news, and answers.
fn commit(shared: &Shared, news: &dyn News, jobs: Vec<Job>) {
    let full = shared.disk_full.load(Relaxed);
    let (mut puts, mut sweeps) = (Vec::new(), Vec::new());
    for job in jobs {
        match job {
            Job::Put(_, reply) if full => answer(reply, Err(StoreError::Full)),
            Job::Put(batch, reply) => puts.push((batch, reply)),
            Job::Sweep(now_seconds, reply) => sweeps.push((now_seconds, reply)),
        }
    }
    for (now_seconds, reply) in sweeps {
        answer(reply, sweep(shared, now_seconds));
    }
    if puts.is_empty() {
        return;
    }
    let written =
        write(shared, |changes| puts.iter().map(|(batch, _)| changes.put(batch)).collect::<Result<Vec<_>, _>>());
    match written {
        Ok((placed, finished)) => {
            finished.entries.iter().for_each(|(mailbox, entry)| news.stored(*mailbox, entry));
            puts.into_iter().zip(placed).for_each(|((_, reply), placed)| answer(reply, placed));
        }
        Err(error) => puts.into_iter().for_each(|(_, reply)| answer(reply, Err(error))),
    }
}

fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    // Whoever asked may have gone.
    let _ = reply.send(with);
}

fn sweep(shared: &Shared, now_seconds: u64) -> Result<(), StoreError> {
    while write(shared, |changes| {
        let more = changes.expire(now_seconds, SWEEP_BLOBS_MAX)?;
        changes.trim_store()?;
        Ok(more)
    })?
    .0
    {}
    Ok(())
}

/// One durable transaction. A failure leaves what was there before, and closes the database for the next to open again.
fn write<T>(
    shared: &Shared,
    work: impl FnOnce(&mut Changes<'_>) -> Result<T, Failure>,
) -> Result<(T, Finished), StoreError> {
    let database = shared.reopened().ok_or(StoreError::Failed)?;
    let write = || -> Result<(T, Finished), Failure> {
        let mut transaction = database.begin_write()?;
        // Costs a second sync, and saves the walk over the whole file that opening after a kill takes without it.
        transaction.set_quick_repair(true);
        let counters = counters(&transaction.open_table(META)?)?;
        let mut changes = Changes::begin(&transaction, *shared.quotas(), counters)?;
        let done = work(&mut changes)?;
        let finished = changes.finish()?;
        transaction.commit()?;
        Ok((done, finished))
    };
    let (done, finished) = write().map_err(|failure| {
        tracing::error!(?failure, "the store could not be written; it is opened again");
        *shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        StoreError::from(&failure)
    })?;
    shared.count(&finished.counters, finished.expired, finished.dropped, 1);
    Ok((done, finished))
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    builder(cache_bytes).create(path).map_err(|error| refused(path, error.into()))
}

fn refused(path: &Path, failure: Failure) -> OpenError {
    match failure {
        Failure::Redb(redb::Error::DatabaseAlreadyOpen) => OpenError::Busy(path.into()),
        Failure::Redb(redb::Error::UpgradeRequired(_)) => OpenError::Later(path.into()),
        Failure::Redb(redb::Error::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io(path.into(), error)
        }
        _ => OpenError::Damaged(path.into()),
    }
}

/// Makes the tables if there are none. The generation, and what was counted.
fn begin(database: &Database) -> Result<([u8; 16], Counters), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let found = {
        transaction.open_table(BLOBS)?;
        transaction.open_table(ORDER)?;
        transaction.open_table(IDS)?;
        transaction.open_table(MAILBOXES)?;
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(FORMAT)?.map(|value| value.value().to_vec());
        match format.as_deref() {
            None => {
                meta.insert(FORMAT, [VERSION].as_slice())?;
                meta.insert(GENERATION, fresh_generation().as_slice())?;
            }
            Some([VERSION]) => {}
            Some(_) => return Err(Failure::Redb(redb::Error::UpgradeRequired(VERSION))),
        }
        let generation = meta.get(GENERATION)?.and_then(|value| value.value().try_into().ok());
        (generation.ok_or(Failure::Damaged)?, counters(&meta)?)
    };
    transaction.commit()?;
    Ok(found)
}

fn counters(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Counters, Failure> {
    match meta.get(COUNTERS)? {
        None => Ok(Counters::default()),
        Some(bytes) => bytes.value().try_into().map(Counters::decode).map_err(|_| Failure::Damaged),
    }
}

fn fresh_generation() -> [u8; 16] {
    let mut generation = [0; 16];
    getrandom::fill(&mut generation).expect("a system without randomness could not have made the relay's key");
    generation
}

/// Gives a store that was restored another generation: positions that devices remember may mean other entries by now.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn renew_generation(path: &Path) -> Result<(), OpenError> {
    let renew = || -> Result<(), Failure> {
        let database = Database::open(path)?;
        begin(&database)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(META)?.insert(GENERATION, fresh_generation().as_slice())?;
        transaction.commit()?;
        Ok(())
    };
    renew().map_err(|failure| refused(path, failure))
}

impl MailboxStore for RedbStore {
    fn generation(&self) -> [u8; 16] {
        self.generation
    }

    fn put(&self, batch: Batch) -> Answer<'_, Placed> {
        self.writer().ask(|reply| Job::Put(batch, reply)).boxed()
    }

    fn states(&self, mailboxes: Vec<MailboxId>) -> Answer<'_, Vec<MailboxState>> {
        self.read(move |transaction| reading::states(transaction, &mailboxes))
    }

    fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Answer<'_, Page> {
        self.read(move |transaction| reading::after(transaction, mailbox, after, room))
    }

    fn get(
        &self,
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        self.read(move |transaction| reading::get(transaction, &mailboxes, kind, &ids, bytes_max))
    }

    fn which(&self, mailboxes: Vec<MailboxId>, kind: Kind, ids: Vec<BlobId>) -> Answer<'_, Vec<bool>> {
        self.read(move |transaction| reading::which(transaction, &mailboxes, kind, &ids))
    }

    fn entry_ids(&self, mailbox: MailboxId) -> Answer<'_, Vec<BlobId>> {
        self.read(move |transaction| reading::entry_ids(transaction, mailbox))
    }

    fn sweep(&self, now_seconds: u64) -> Answer<'_, ()> {
        self.writer().ask(move |reply| Job::Sweep(now_seconds, reply)).boxed()
    }

    fn set_quotas(&self, quotas: Quotas) {
        *self.shared.quotas() = quotas;
    }

    fn set_disk_full(&self, full: bool) {
        self.shared.disk_full.store(full, Relaxed);
    }

    fn usage(&self) -> Usage {
        *self.shared.usage()
    }

    fn backup(&self, to: PathBuf) -> Answer<'_, ()> {
        self.read(move |transaction| copying::copy(transaction, &to))
    }
}

#[cfg(test)]
mod tests;
