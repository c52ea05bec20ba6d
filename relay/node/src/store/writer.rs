//! The thread that writes, and what waits for it.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::{Batch, Placed, StoreError};

/// Jobs that may wait for the thread. Whoever has one more waits, in order of arrival.
const JOBS_MAX: usize = 4_096;

/// Bytes of blobs after which a group takes no more of what waits.
const GROUP_BYTES: usize = 16 << 20;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something to be done, and who waits for it.
pub(super) enum Job {
    Put(Batch, Reply<Placed>),
    /// At what time, in seconds since 1970.
    Sweep(u64, Reply<()>),
    /// Readers are to see everything that was answered.
    Publish(Reply<()>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(batch, _) => batch.blobs.iter().map(|(_, bytes)| bytes.len()).sum(),
            Self::Sweep(..) | Self::Publish(_) => 0,
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Put(_, reply) => answer(reply, Err(error)),
            Self::Sweep(_, reply) | Self::Publish(reply) => answer(reply, Err(error)),
        }
    }
}

pub(super) fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    // Whoever asked may have gone.
    let _ = reply.send(with);
}

/// What waits for the thread.
pub(super) struct Jobs(mpsc::Receiver<Job>);

impl Jobs {
    /// Waits for a job, and takes what else waits. `None`: there will be none.
    pub(super) fn next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.blocking_recv()?;
        Some(self.behind(vec![first]))
    }

    /// What waits now.
    pub(super) fn waiting(&mut self) -> Vec<Job> {
        self.behind(Vec::new())
    }

    fn behind(&mut self, mut group: Vec<Job>) -> Vec<Job> {
        let mut bytes = group.iter().map(Job::bytes).sum::<usize>();
        while bytes < GROUP_BYTES
            && let Ok(job) = self.0.try_recv()
        {
            bytes += job.bytes();
            group.push(job);
        }
        group
    }
}

/// The way to the thread. It ends once all clones are gone and all that waited is done.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(work: impl FnOnce(Jobs) + Send + 'static) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let thread = thread::Builder::new().name("store".into()).spawn(move || work(Jobs(waiting)))?;
        Ok((Self { jobs }, thread))
    }

    /// Queues a job, having waited for its turn, and waits for its answer.
    pub(super) async fn ask<T>(self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.unwrap_or(Err(StoreError::Stopped))
    }
}
