//! The embedded store: redb, a copy-on-write B-tree in one file, behind a journal ([ADR 28](../../../../docs/adr/0028-the-relays-store-writes-a-journal-first.md)).

mod changes;
mod committing;
mod copying;
mod journal;
mod log;
mod place;
mod reading;
mod tables;

use std::{
    collections::HashSet,
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
use tokio::sync::Semaphore;

use self::{
    changes::Done,
    committing::{Committer, recover},
    journal::{Journal, Unusable},
    place::{Files, Place},
    tables::{
        BLOBS, COUNTERS, Counters, FORMAT, GENERATION, IDS, JOURNALED, MAILBOXES, META, ORDER, VERSION, VERSION_ALONE,
    },
};
use super::{
    Answer, Batch, MailboxId, MailboxState, MailboxStore, News, Page, PageRoom, Placed, Quotas, StoreError, Usage,
    writer::{Job, Writer},
};

/// Reads that go on at a time, each on a thread of its own. Others wait in order of arrival.
const READS_MAX: usize = 32;

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

/// Blobs in a redb database. Whatever it answers to have stored is on disk: in its journal, with what else waited.
pub(crate) struct RedbStore {
    shared: Arc<Shared>,
    generation: [u8; 16],
    reads: Arc<Semaphore>,
    /// `None` while it is dropped.
    writer: Option<(Writer, JoinHandle<()>)>,
}

struct Shared {
    place: Box<dyn Place>,
    /// `None` after a failure of the disk, until it could be opened again: redb refuses everything until then.
    database: RwLock<Option<Arc<Database>>>,
    /// Mailboxes of which readers of the database do not see everything that was answered.
    unpublished: Mutex<HashSet<MailboxId>>,
    quotas: Mutex<Quotas>,
    disk_full: AtomicBool,
    usage: Mutex<Usage>,
}

impl RedbStore {
    /// Opens the store in a file and the journal beside it, creating what is not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(
        path: &Path,
        cache_bytes: usize,
        quotas: Quotas,
        news: Arc<dyn News>,
    ) -> Result<Self, OpenError> {
        Self::open_at(Box::new(Files { path: path.into(), cache_bytes }), path, quotas, news)
    }

    fn open_at(place: Box<dyn Place>, path: &Path, quotas: Quotas, news: Arc<dyn News>) -> Result<Self, OpenError> {
        let failed = |failure| refused(path, failure);
        let database = place.database().map_err(|error| failed(error.into()))?;
        let generation = begin(&database).map_err(failed)?;
        let path_of_journal = journal_path(path);
        let mut journal = place
            .journal()
            .map_err(Unusable::Io)
            .and_then(|file| Journal::open(file, generation))
            .map_err(|unusable| refused_journal(&path_of_journal, unusable))?;
        let counters = recover(&database, &mut journal, quotas, false).map_err(failed)?;
        let shared = Arc::new(Shared {
            place,
            database: RwLock::new(Some(Arc::new(database))),
            unpublished: Mutex::default(),
            quotas: Mutex::new(quotas),
            disk_full: AtomicBool::new(false),
            usage: Mutex::new(Usage::default()),
        });
        shared.count(&counters, &Done::default(), 0);
        let of_thread = shared.clone();
        let writer = Writer::start(move |jobs| Committer::new(of_thread, news, journal, jobs).run())
            .map_err(|error| OpenError::Io(path.into(), error))?;
        Ok(Self { shared, generation, reads: Arc::new(Semaphore::new(READS_MAX)), writer: Some(writer) })
    }

    fn writer(&self) -> Writer {
        self.writer.as_ref().expect("there until it is dropped").0.clone()
    }

    /// Reads of some mailboxes, or of all, what was answered to be stored by now.
    fn read<T: Send + 'static>(
        &self,
        mailboxes: Option<&[MailboxId]>,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Answer<'_, T> {
        let (shared, reads) = (self.shared.clone(), self.reads.clone());
        let lacks = shared.lacks(mailboxes);
        async move {
            let publish = || self.writer().ask(Job::Publish);
            if lacks {
                publish().await?;
            }
            let _permit = reads.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
            if shared.database().is_none() {
                // Which has it opened again, if that can be.
                publish().await?;
            }
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

    fn unpublished(&self) -> MutexGuard<'_, HashSet<MailboxId>> {
        self.unpublished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether readers do not see everything of some mailboxes, or of any.
    fn lacks(&self, mailboxes: Option<&[MailboxId]>) -> bool {
        let unpublished = self.unpublished();
        match mailboxes {
            Some(mailboxes) => mailboxes.iter().any(|mailbox| unpublished.contains(mailbox)),
            None => !unpublished.is_empty(),
        }
    }

    /// Which was there before.
    fn set_database(&self, database: Option<Arc<Database>>) -> Option<Arc<Database>> {
        std::mem::replace(&mut *self.database.write().unwrap_or_else(PoisonError::into_inner), database)
    }

    fn count(&self, counters: &Counters, done: &Done, commits: u64) {
        let usage = &mut *self.usage();
        *usage = Usage {
            mailboxes: counters.mailboxes,
            entries: counters.entries,
            chunks: counters.chunks,
            bytes: counters.bytes,
            expired: usage.expired + done.expired,
            dropped: usage.dropped + done.dropped,
            commits: usage.commits + commits,
        };
    }
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, OpenError> {
    builder(cache_bytes).create(path).map_err(|error| refused(path, error.into()))
}

/// The journal of the store in a file.
pub(crate) fn journal_path(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

fn refused_journal(path: &Path, unusable: Unusable) -> OpenError {
    match unusable {
        Unusable::Foreign => OpenError::Damaged(path.into()),
        Unusable::Later => OpenError::Later(path.into()),
        Unusable::Io(error) => OpenError::Io(path.into(), error),
    }
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

/// Makes the tables if there are none, and brings those of an older format to this one. The generation.
fn begin(database: &Database) -> Result<[u8; 16], Failure> {
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
            // Its journal is empty. Who knows nothing of journals must not open it any more.
            Some([VERSION_ALONE]) => drop(meta.insert(FORMAT, [VERSION].as_slice())?),
            Some(_) => return Err(Failure::Redb(redb::Error::UpgradeRequired(VERSION))),
        }
        let generation = meta.get(GENERATION)?.and_then(|value| value.value().try_into().ok());
        generation.ok_or(Failure::Damaged)?
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

/// Up to which frame of the journal the database has everything.
fn number_of(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Failure> {
    match meta.get(JOURNALED)? {
        None => Ok(0),
        Some(bytes) => bytes.value().try_into().map(u64::from_be_bytes).map_err(|_| Failure::Damaged),
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
        let of = mailboxes.clone();
        self.read(Some(&of), move |transaction| reading::states(transaction, &mailboxes))
    }

    fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Answer<'_, Page> {
        self.read(Some(&[mailbox]), move |transaction| reading::after(transaction, mailbox, after, room))
    }

    fn get(
        &self,
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        let of = mailboxes.clone();
        self.read(Some(&of), move |transaction| reading::get(transaction, &mailboxes, kind, &ids, bytes_max))
    }

    fn which(&self, mailboxes: Vec<MailboxId>, kind: Kind, ids: Vec<BlobId>) -> Answer<'_, Vec<bool>> {
        let of = mailboxes.clone();
        self.read(Some(&of), move |transaction| reading::which(transaction, &mailboxes, kind, &ids))
    }

    fn entry_ids(&self, mailbox: MailboxId) -> Answer<'_, Vec<BlobId>> {
        self.read(Some(&[mailbox]), move |transaction| reading::entry_ids(transaction, mailbox))
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
        self.read(None, move |transaction| copying::copy(transaction, &to))
    }
}

#[cfg(test)]
mod tests;
