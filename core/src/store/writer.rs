//! The thread that writes: takes batches from a bounded queue and commits all that wait in one go.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use clave_engine::Batch;
use tokio::sync::mpsc;

use super::{SealedStore, StoreError};

/// How many batches may be on their way at once: queued, being committed, or done and not yet asked for.
pub const WRITER_BATCHES_MAX: usize = 256;

/// The bytes after which a commit takes no further batch. One batch may be larger.
pub const WRITER_COMMIT_BYTES_MAX: usize = 8 << 20;

/// Commits batches on a thread of its own and tells, by the caller's id, when each one is durable.
///
/// While the disk is busy batches queue up, and the next commit takes them all: the busier the store, the cheaper
/// each batch. Batches are committed in the order of [`submit`](Self::submit). If a commit fails, all of its batches fail with
/// the same error, none is applied in part, and so do the batches after them, untried, since they may build on what is not
/// there: until [`go_on`](Self::go_on).
///
/// One task drives it: `submit` while there [is room](Self::has_room), await [`next`](Self::next) in between.
/// Neither channel can then be full when something is to be put in, so nothing ever waits for anything else.
///
/// Dropping it commits what is queued and waits for that; no results are reported for it.
///
/// ```
/// use std::sync::Arc;
/// use clave::{SealedStore, StoreKind, Writer, open_store};
/// use clave_engine::crypto::{Entropy, VaultKey};
/// use clave_engine::{Batch, Key, Keyspace, StoreRead};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let mut entropy = Entropy::from_seed([1; 32]);
/// let vault = VaultKey::generate(&mut entropy);
/// let store = Arc::new(SealedStore::new(open_store(directory.path(), StoreKind::Redb)?, vault, entropy));
/// let mut writer = Writer::spawn(Arc::clone(&store))?;
///
/// let key = Key::new(Keyspace::Meta, "settings", "");
/// let mut batch = Batch::default();
/// batch.put(key.clone(), b"quiet".to_vec());
/// writer.submit(1, batch).expect("nothing is queued yet");
/// assert_eq!(writer.next().await, Some((1, Ok(()))));
/// assert_eq!(store.read(&key)?, Some(b"quiet".to_vec()));
/// # Ok(())
/// # }
/// ```
pub struct Writer<Id> {
    queue: Option<mpsc::Sender<Queued<Id>>>,
    /// Counts the failures that the owner knows of.
    age: u64,
    done: mpsc::Receiver<(Id, Result<(), StoreError>)>,
    outstanding: usize,
    thread: Option<JoinHandle<()>>,
}

struct Queued<Id> {
    id: Id,
    age: u64,
    batch: Batch,
}

impl<Id: Send + 'static> Writer<Id> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(store: Arc<SealedStore>) -> Result<Self, StoreError> {
        let (queue, batches) = mpsc::channel(WRITER_BATCHES_MAX);
        let (reports, done) = mpsc::channel(WRITER_BATCHES_MAX);
        let thread =
            thread::Builder::new().name("clave-writer".to_owned()).spawn(move || run(&store, batches, &reports))?;
        Ok(Self { queue: Some(queue), age: 0, done, outstanding: 0, thread: Some(thread) })
    }

    /// Whether [`submit`](Self::submit) will take a batch.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outstanding < WRITER_BATCHES_MAX
    }

    /// How many batches have been submitted and not yet reported.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Queues a batch. Does not wait.
    ///
    /// # Errors
    /// Gives both back if there is no room; there will be after the next [`next`](Self::next).
    pub fn submit(&mut self, id: Id, batch: Batch) -> Result<(), (Id, Batch)> {
        if !self.has_room() {
            return Err((id, batch));
        }
        let queue = self.queue.as_ref().expect("open until dropped");
        let queued = Queued { id, age: self.age, batch };
        queue.try_send(queued).map_err(|error| {
            let Queued { id, batch, .. } = error.into_inner();
            (id, batch)
        })?;
        self.outstanding += 1;
        Ok(())
    }

    /// Has batches be tried again after one failed: those that are submitted from now on.
    pub fn go_on(&mut self) {
        self.age += 1;
    }

    /// Waits for the next batch to be durable, or to have failed. Pends while nothing is outstanding, and returns
    /// `None` only if the thread died, which is a bug.
    ///
    /// Cancel safe: a result that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Option<(Id, Result<(), StoreError>)> {
        let report = self.done.recv().await?;
        self.outstanding -= 1;
        Some(report)
    }
}

impl<Id> Drop for Writer<Id> {
    fn drop(&mut self) {
        self.queue = None;
        self.done.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread panicked");
        }
    }
}

impl<Id> fmt::Debug for Writer<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} outstanding)", self.outstanding)
    }
}

fn run<Id>(
    store: &SealedStore,
    mut queue: mpsc::Receiver<Queued<Id>>,
    reports: &mpsc::Sender<(Id, Result<(), StoreError>)>,
) {
    // What failed, and the batches of which age fail with it.
    let mut failed: Option<(u64, StoreError)> = None;
    // Taken from the queue, and too young for the commit that was being gathered.
    let mut left = None;
    while let Some(first) = left.take().or_else(|| queue.blocking_recv()) {
        let age = first.age;
        let (mut ids, mut batches, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(Queued { id, batch, .. }) = next {
            bytes += batch_bytes(&batch);
            ids.push(id);
            batches.push(batch);
            next = if bytes < WRITER_COMMIT_BYTES_MAX { queue.try_recv().ok() } else { None };
            left = next.take_if(|next| next.age != age);
        }
        let result = match &failed {
            Some((of, error)) if *of == age => Err(error.clone()),
            _ => store.write(batches),
        };
        match &result {
            Ok(()) => tracing::debug!(batches = ids.len(), bytes, "committed"),
            Err(error) => {
                tracing::warn!(batches = ids.len(), bytes, %error, "commit failed");
                failed = Some((age, error.clone()));
            }
        }
        for id in ids {
            // Fails only when the receiver is closed, because the writer is being dropped.
            let _ = reports.try_send((id, result.clone()));
        }
    }
}

fn batch_bytes(batch: &Batch) -> usize {
    batch.writes.iter().map(|(key, value)| key.suffix.len() + value.as_ref().map_or(0, |value| value.len())).sum()
}
