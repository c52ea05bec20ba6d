//! Long work as a handle: how far it is, its end, and giving it up.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::ClaveError;
use crate::session::{Session, panicked};

/// Files on their way, or a backup being made. It goes on by itself, and ends when it is let go of.
#[derive(uniffi::Object)]
pub struct Transfer {
    progress: watch::Receiver<Progress>,
    finished: watch::Receiver<Option<Result<Vec<String>, ClaveError>>>,
    running: Option<AbortHandle>,
}

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct Progress {
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0 while that is not known.
    pub total_bytes: u64,
}

impl Transfer {
    /// Begins `work`, which says how far it is, and in the end gives ids.
    pub(crate) fn begin<F: Future<Output = Result<Vec<String>, clave::Error>> + Send + 'static>(
        session: &Arc<Session>,
        work: impl FnOnce(Box<dyn FnMut(clave::Progress) + Send>) -> F,
    ) -> Arc<Self> {
        let (moved, progress) = watch::channel(Progress::default());
        let (end, finished) = watch::channel(None);
        let note = move |now: clave::Progress| {
            moved.send_replace(Progress { done_bytes: now.done_bytes, total_bytes: now.total_bytes });
        };
        let Some(handle) = session.handle() else {
            end.send_replace(Some(Err(session.closed().into())));
            return Arc::new(Self { progress, finished, running: None });
        };
        let working = handle.spawn(work(Box::new(note)));
        let running = Some(working.abort_handle());
        // Weak: a transfer that nobody holds keeps no node alive.
        let session = Arc::downgrade(session);
        handle.spawn(async move {
            // Dropped without a word, this says that the threads ended.
            let ended = working.await;
            let closed = || session.upgrade().map_or(clave::Error::Stopped, |session| session.closed());
            let result = match ended {
                Ok(result) => result.map_err(ClaveError::from),
                Err(error) if error.is_cancelled() => Err(clave::Error::Cancelled.into()),
                Err(error) => Err(panicked(error).unwrap_or_else(closed).into()),
            };
            end.send_replace(Some(result));
        });
        Arc::new(Self { progress, finished, running })
    }
}

#[uniffi::export]
impl Transfer {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until it is further than `than`, or over: then nothing is returned. For showing how it goes on.
    pub async fn progress_after(&self, than: Progress) -> Option<Progress> {
        let mut progress = self.progress.clone();
        progress.wait_for(|now| *now != than).await.ok().map(|now| *now)
    }

    /// Gives it up. What was not finished is not there; what was fetched stays, so that a second try goes on from there.
    pub fn cancel(&self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }

    /// Waits for its end, and returns the ids of what was added, if that is what it did.
    ///
    /// # Errors
    /// [`ClaveError::Cancelled`]; [`ClaveError::Paused`] if the node paused meanwhile: begin it again, and it goes on where it
    /// was. If a file cannot be read or written, or what arrived is not what was meant.
    pub async fn finished(&self) -> Result<Vec<String>, ClaveError> {
        let mut finished = self.finished.clone();
        let end = finished.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // It is closed without a word if its threads ended first.
        end.unwrap_or_else(|| Err(clave::Error::Paused.into()))
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.cancel();
    }
}
