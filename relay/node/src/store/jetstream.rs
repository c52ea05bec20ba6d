//! The store past one machine: a stream of a NATS JetStream cluster, which any number of relays share.
//!
//! Each blob is one message ([`record`]), which the cluster has on as many servers as configured before it acknowledges. Chunks, and
//! entries longer than [`INLINE_BYTES_MAX`](putting::INLINE_BYTES_MAX), lie in an object store, and their messages name the objects. Each relay follows the stream
//! ([`feed`]) and keeps in memory what is in it, without the blobs ([`index`]): about 300 bytes for each blob. So ids, positions and quotas need
//! no questions to the cluster, a blob costs one read by its position, and what another relay stored is announced here. Positions are those of the
//! stream; their generation stands in its description. There is no clustering here: who leads, who has what and who is back is JetStream's.

mod cluster;
mod feed;
mod index;
mod putting;
mod reading;
mod record;
#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::jetstream::{Context, stream::Stream};
use clave_mailbox::{BlobId, Bytes, Kind};
use futures::FutureExt;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::JoinHandle,
};

pub(crate) use self::cluster::{ClusterConfig, ClusterError};
use self::{
    feed::Until,
    index::{Gone, Index},
    record::Record,
};
use super::{
    Answer, Batch, MailboxId, MailboxState, MailboxStore, News, Objects, Page, PageRoom, Placed, Quotas, StoreError,
    StoredEntry, Usage,
};

/// How long the cluster may be without an answer until a request is refused: elections after the loss of a server take seconds, on a busy machine many.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a put that is durable waits until it was seen in the stream, so that whoever asks next finds it. Elections take as long, where a server was lost.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// The pause before something is tried again, at first and at most.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How often it is looked for objects that no message names, in seconds; and how much older than anything that is kept they are.
const ORPHANS_INTERVAL_SECONDS: i64 = 86_400;

/// Blobs in a stream and an object store.
pub(crate) struct JetStreamStore {
    shared: Arc<Shared>,
    feed: JoinHandle<()>,
}

struct Shared {
    config: ClusterConfig,
    context: Context,
    stream: Stream,
    objects: Objects,
    generation: [u8; 16],
    news: Arc<dyn News>,
    /// Room for blobs on their way to the stream.
    on_way: Semaphore,
    index: Mutex<Index>,
    /// The stream has not what the index says, and is to be read anew.
    changed: Notify,
    /// Who waits until a position was seen.
    waiting: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
    /// The quotas that the stream was given.
    applied: Mutex<Quotas>,
    disk_full: AtomicBool,
    commits: AtomicU64,
    /// When orphans were looked for last, in seconds since 1970.
    orphans_at: AtomicI64,
}

impl JetStreamStore {
    /// Connects, makes the stream if it is not there, and reads what is in it. Waits for as long as no server can be reached, and says so in the log.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub(crate) async fn open(
        config: ClusterConfig,
        objects: Objects,
        quotas: Quotas,
        news: Arc<dyn News>,
    ) -> Result<Self, ClusterError> {
        let context = cluster::connect(&config).await?;
        let (stream, generation) = cluster::stream(&context, &config, &quotas).await?;
        let shared = Arc::new(Shared {
            config,
            context,
            stream,
            objects,
            generation,
            news,
            on_way: Semaphore::new(cluster::ON_WAY_MAX),
            index: Mutex::new(Index::new(quotas)),
            changed: Notify::new(),
            waiting: Mutex::default(),
            applied: Mutex::new(quotas),
            disk_full: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            orphans_at: AtomicI64::new(0),
        });
        feed::follow(shared.clone(), Until::CaughtUp).await;
        // What was removed before was told to the stream by whoever was there.
        shared.index().take_gone();
        let feed = tokio::spawn(feed::follow(shared.clone(), Until::Stopped));
        Ok(Self { shared, feed })
    }
}

impl Drop for JetStreamStore {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing panics while it holds this lock")
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().expect("nothing panics while it holds this lock")
    }

    /// What stands at a position. Announced if it is news, before anything that is behind it.
    fn take(&self, position: u64, record: Option<Record>, payload: &Bytes, announced: bool) {
        {
            let mut index = self.index();
            let is_news = index.apply(position, record) && announced;
            if let Some(Record { mailbox, id, object, .. }) =
                record.filter(|record| is_news && record.kind == Kind::Entry)
            {
                match object {
                    0 => self.news.stored(mailbox, &StoredEntry { position, id, bytes: payload.clone() }),
                    _ => self.news.lagged(mailbox),
                }
            }
        }
        self.seen_to(position);
    }

    /// The cluster says that this stands at a position. If everything before it was seen, it need not be waited for.
    fn take_own(&self, position: u64, record: &Record, payload: &Bytes) {
        if self.index().seen() + 1 == position {
            self.take(position, Some(*record), payload, true);
        }
    }

    /// Everything up to a position was seen, and announced.
    fn seen_to(&self, position: u64) {
        let mut waiting = self.waiting();
        while let Some(first) = waiting.first_entry()
            && *first.key() <= position
        {
            // Whoever waited may have gone.
            for waiter in first.remove() {
                let _ = waiter.send(());
            }
        }
    }

    /// Waits until a position was seen. It is durable already: whoever waited long enough goes on.
    async fn seen(&self, position: u64) {
        let seen = {
            // Under this lock, so that it is not seen in between.
            let mut waiting = self.waiting();
            if self.index().seen() >= position {
                return;
            }
            let (waiter, seen) = oneshot::channel();
            waiting.entry(position).or_default().push(waiter);
            seen
        };
        let _ = tokio::time::timeout(SEEN_WITHIN, seen).await;
    }

    async fn sweep(&self, now_seconds: u64) -> Result<(), StoreError> {
        let (quotas, gone) = {
            let mut index = self.index();
            index.expire(now_seconds);
            index.trim_store();
            (index.quotas, index.take_gone())
        };
        if *self.applied.lock().expect("nothing panics while it holds this lock") != quotas {
            cluster::stream(&self.context, &self.config, &quotas).await.map_err(|error| {
                tracing::error!(%error);
                StoreError::Failed
            })?;
            *self.applied.lock().expect("nothing panics while it holds this lock") = quotas;
        }
        self.remove(gone).await?;
        let now = i64::try_from(now_seconds).unwrap_or(i64::MAX);
        if now - self.orphans_at.load(Relaxed) >= ORPHANS_INTERVAL_SECONDS {
            let kept = i64::try_from(quotas.kept_seconds).unwrap_or(i64::MAX);
            self.objects.expire(now.saturating_sub(kept).saturating_sub(ORPHANS_INTERVAL_SECONDS)).await?;
            self.orphans_at.store(now, Relaxed);
        }
        Ok(())
    }

    /// Has the stream and the object store remove what no relay serves any more. Every relay does, and whatever is removed already is no matter.
    async fn remove(&self, gone: Gone) -> Result<(), StoreError> {
        let unavailable = |_| StoreError::Unavailable;
        if gone.of_all > 0 {
            self.stream.purge().sequence(gone.of_all + 1).await.map_err(unavailable)?;
        }
        for ((mailbox, kind), position) in gone.of_mailboxes {
            let subject = record::subject(&self.config.stream, mailbox, kind);
            self.stream.purge().sequence(position + 1).filter(subject).await.map_err(unavailable)?;
        }
        self.objects.delete(gone.objects.iter().filter_map(Record::object_name).collect()).await
    }
}

impl MailboxStore for JetStreamStore {
    fn generation(&self) -> [u8; 16] {
        self.shared.generation
    }

    fn put(&self, batch: Batch) -> Answer<'_, Placed> {
        self.shared.put(batch).boxed()
    }

    fn states(&self, mailboxes: Vec<MailboxId>) -> Answer<'_, Vec<MailboxState>> {
        let index = self.shared.index();
        let states = mailboxes.into_iter().map(|mailbox| index.state(mailbox)).collect();
        futures::future::ready(Ok(states)).boxed()
    }

    fn after(&self, mailbox: MailboxId, after: u64, room: PageRoom) -> Answer<'_, Page> {
        self.shared.after(mailbox, after, room).boxed()
    }

    fn get(
        &self,
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
        bytes_max: usize,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        async move { self.shared.get(&mailboxes, kind, ids, bytes_max).await }.boxed()
    }

    fn which(&self, mailboxes: Vec<MailboxId>, kind: Kind, ids: Vec<BlobId>) -> Answer<'_, Vec<bool>> {
        let index = self.shared.index();
        let which = ids.into_iter().map(|id| index.find(&mailboxes, kind, id).is_some()).collect();
        futures::future::ready(Ok(which)).boxed()
    }

    fn entry_ids(&self, mailbox: MailboxId) -> Answer<'_, Vec<BlobId>> {
        let mut ids: Vec<_> = self.shared.index().after(mailbox, 0).map(|(_, record)| record.id).collect();
        ids.sort_unstable();
        futures::future::ready(Ok(ids)).boxed()
    }

    fn sweep(&self, now_seconds: u64) -> Answer<'_, ()> {
        self.shared.sweep(now_seconds).boxed()
    }

    fn set_quotas(&self, quotas: Quotas) {
        self.shared.index().quotas = quotas;
    }

    fn set_disk_full(&self, full: bool) {
        self.shared.disk_full.store(full, Relaxed);
    }

    fn usage(&self) -> Usage {
        Usage { commits: self.shared.commits.load(Relaxed), ..self.shared.index().usage() }
    }

    fn backup(&self, _: PathBuf) -> Answer<'_, ()> {
        futures::future::ready(Err(StoreError::Elsewhere)).boxed()
    }
}
