//! A node and the threads it runs on.
//!
//! Not UniFFI's `async_runtime = "tokio"`: that is one thread for everything in the process, which never ends, and it
//! polls futures on the thread that awaits them, so that a passphrase would be checked on a user interface's thread.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::ClaveError;
use crate::observer::Observers;

/// Threads that work at the same time. A phone has few cores to spare, and documents have a thread of their own.
const WORKERS: usize = 2;

/// How long pausing and shutting down wait for a listener that does not return.
const LISTENERS_END: Duration = Duration::from_secs(1);

/// A node, with its threads around it. Every handle holds it; when the last is gone, the node shuts down by itself.
pub(crate) struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    node: clave::Node,
    standing: RwLock<Standing>,
    /// Held for as long as a turn takes, on a thread of its own.
    threads: Mutex<Option<Threads>>,
    observers: Observers,
}

/// Where calls go.
#[derive(Clone)]
enum Standing {
    Running(Handle),
    Paused,
    Stopped,
}

/// What a node is made to do next.
#[derive(Clone, Copy)]
enum Turn {
    Pause,
    Resume,
    Stop,
}

/// A runtime that may be dropped anywhere.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self, ClaveError> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("clave").enable_all().build();
        Ok(Self(Some(runtime.map_err(|error| ClaveError::no_threads(&error))?)))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken by those who own it only")
    }

    /// Ends all threads. Not to be called on one of them.
    fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LISTENERS_END);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    /// Starts threads and opens a node on them. If the caller goes away meanwhile, the node shuts down again.
    pub(crate) async fn open(
        opening: impl Future<Output = Result<clave::Node, clave::Error>> + Send + 'static,
    ) -> Result<Arc<Self>, ClaveError> {
        let threads = Threads::start()?;
        let handle = threads.runtime().handle().clone();
        let opened = handle.clone().spawn(async move {
            let threads = threads;
            let node = opening.await?;
            let (standing, threads) = (RwLock::new(Standing::Running(handle)), Mutex::new(Some(threads)));
            let inner = Inner { node, standing, threads, observers: Observers::default() };
            Ok(Arc::new(Self { inner: Arc::new(inner) }))
        });
        Ok(opened.await.unwrap_or_else(|error| Err(panicked(error).unwrap_or(clave::Error::Stopped)))?)
    }

    pub(crate) fn node(&self) -> &clave::Node {
        &self.inner.node
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.inner.observers
    }

    /// Where tasks go; nowhere while the node is paused or stopped.
    pub(crate) fn handle(&self) -> Option<Handle> {
        match self.inner.standing() {
            Standing::Running(handle) => Some(handle),
            _ => None,
        }
    }

    /// Why there is nowhere to go.
    pub(crate) fn closed(&self) -> clave::Error {
        match self.inner.standing() {
            Standing::Stopped => clave::Error::Stopped,
            _ => clave::Error::Paused,
        }
    }

    /// Does work on the node's threads. If the caller goes away, the work is cancelled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, clave::Error>> + Send + 'static,
    ) -> Result<T, ClaveError> {
        let handle = self.handle().ok_or_else(|| self.closed())?;
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &handle);
        let result = tasks.join_next().await.expect("a task was spawned on the line above");
        Ok(result.unwrap_or_else(|error| Err(panicked(error).unwrap_or_else(|| self.closed())))?)
    }

    /// Returns when nothing of the node runs any more. Once begun it goes on, whoever waits for it.
    pub(crate) async fn pause(&self) -> Result<(), ClaveError> {
        self.turn(Turn::Pause).await
    }

    /// Starts threads, and the node on them.
    pub(crate) async fn resume(&self) -> Result<(), ClaveError> {
        self.turn(Turn::Resume).await
    }

    /// Returns when the node and its threads have ended. Once begun it goes on, whoever waits for it.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.turn(Turn::Stop).await {
            tracing::error!(%error, "the node could not be shut down in order");
        }
    }

    async fn turn(&self, turn: Turn) -> Result<(), ClaveError> {
        let (done, result) = oneshot::channel();
        let inner = self.inner.clone();
        // Not on the threads that are to end.
        let turning = thread::Builder::new().name("clave-turn".to_owned()).spawn(move || {
            let result = inner.turn(turn);
            drop(inner);
            let _ = done.send(result);
        });
        let turning = turning.map_err(|error| ClaveError::no_threads(&error))?;
        let result = result.await;
        // It has said its last word.
        match (turning.join(), result) {
            (Ok(()), Ok(result)) => result,
            (Err(panic), _) => resume_unwind(panic),
            (Ok(()), Err(_)) => Err(clave::Error::Stopped.into()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let inner = self.inner.clone();
        thread::spawn(move || inner.turn(Turn::Stop));
    }
}

impl Inner {
    fn standing(&self) -> Standing {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stand(&self, standing: Standing) {
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn turn(&self, turn: Turn) -> Result<(), ClaveError> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        match (turn, self.standing()) {
            (Turn::Stop, _) => self.end(threads, Standing::Stopped),
            (_, Standing::Stopped) => return Err(clave::Error::Stopped.into()),
            (Turn::Resume, Standing::Paused) => return self.begin(threads),
            (Turn::Pause, Standing::Running(_)) => self.end(threads, Standing::Paused),
            (Turn::Resume, Standing::Running(_)) | (Turn::Pause, Standing::Paused) => {}
        }
        Ok(())
    }

    /// Has the node pause or stop, and ends its threads.
    fn end(&self, mut threads: MutexGuard<'_, Option<Threads>>, next: Standing) {
        let is_over = matches!(next, Standing::Stopped);
        self.stand(next);
        if let Some(threads) = threads.take() {
            threads.runtime().block_on(async {
                // They may call back in: that fails by now, and returns.
                self.observers.rest(LISTENERS_END).await;
                if is_over {
                    self.node.shutdown().await;
                } else if let Err(error) = self.node.pause().await {
                    tracing::error!(%error, "the node did not pause");
                }
            });
            threads.end();
        }
        if is_over {
            self.observers.end();
        }
    }

    fn begin(&self, mut threads: MutexGuard<'_, Option<Threads>>) -> Result<(), ClaveError> {
        let started = Threads::start()?;
        if let Err(error) = started.runtime().block_on(self.node.resume()) {
            started.end();
            return Err(error.into());
        }
        let handle = started.runtime().handle().clone();
        *threads = Some(started);
        self.stand(Standing::Running(handle.clone()));
        self.observers.go_on(&handle);
        Ok(())
    }
}

/// Whoever waits for work that panicked does so, too; what else ends work before its end is no error of its own.
pub(crate) fn panicked(error: JoinError) -> Option<clave::Error> {
    if let Ok(panic) = error.try_into_panic() {
        resume_unwind(panic);
    }
    None
}
