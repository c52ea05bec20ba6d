//! The thread that writes: it takes everything that waits into one durable commit.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::{Batch, Placed, StoreError};

/// Jobs that may wait for the thread. Whoever has one more waits, in order of arrival.
const JOBS_MAX: usize = 4_096;

/// Bytes of blobs after which a commit takes no more of what waits.
const COMMIT_BYTES: usize = 16 << 20;

/// Something to be written, and who waits for it.
pub(super) enum Job {
    Put(Batch, oneshot::Sender<Result<Placed, StoreError>>),
    /// At what time, in seconds since 1970.
    Sweep(u64, oneshot::Sender<Result<(), StoreError>>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(batch, _) => batch.blobs.iter().map(|(_, bytes)| bytes.len()).sum(),
            Self::Sweep(..) => 0,
        }
    }
}

/// The way to the thread. It ends once all clones are gone and all that waited is done.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread, which hands `commit` everything that waits.
    pub(super) fn start(
        mut commit: impl FnMut(Vec<Job>) + Send + 'static,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(JOBS_MAX);
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            while let Some(first) = waiting.blocking_recv() {
                let mut bytes = first.bytes();
                let mut group = vec![first];
                while bytes < COMMIT_BYTES
                    && let Ok(job) = waiting.try_recv()
                {
                    bytes += job.bytes();
                    group.push(job);
                }
                commit(group);
            }
        })?;
        Ok((Self { jobs }, thread))
    }

    /// Queues a job, having waited for its turn, and waits for its answer.
    pub(super) async fn ask<T>(
        self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.unwrap_or(Err(StoreError::Stopped))
    }
}
