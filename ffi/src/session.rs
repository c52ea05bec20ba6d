//! A node and the threads it runs on.
//!
//! Not UniFFI's `async_runtime = "tokio"`: that is one thread for everything in the process, which never ends, and it
//! polls futures on the thread that awaits them, so that a passphrase would be checked on a user interface's thread.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::ClaveError;

/// Threads that work at the same time. A phone has few cores to spare, and documents have a thread of their own.
const WORKERS: usize = 2;

/// How long shutting down waits for a listener that does not return.
const LISTENERS_END: Duration = Duration::from_secs(1);

/// A node, with its threads around it from before it opens until it has let go of everything. Every handle holds it;
/// when the last is gone, the node shuts down by itself.
pub(crate) struct Session {
    node: clave::Node,
    handle: Handle,
    threads: Mutex<Option<Threads>>,
    stopped: watch::Sender<bool>,
}

/// A runtime that may be dropped anywhere.
struct Threads(Option<Runtime>);

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
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("clave").enable_all().build();
        let runtime = runtime.map_err(|error| ClaveError::no_threads(&error))?;
        let (handle, threads) = (runtime.handle().clone(), Threads(Some(runtime)));
        let opened = handle.clone().spawn(async move {
            let threads = threads;
            let node = opening.await?;
            let (threads, stopped) = (Mutex::new(Some(threads)), watch::Sender::new(false));
            Ok(Arc::new(Self { node, handle, threads, stopped }))
        });
        Ok(opened.await.unwrap_or_else(|error| Err(ended(error)))?)
    }

    pub(crate) fn node(&self) -> &clave::Node {
        &self.node
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Does work on the node's threads. If the caller goes away, the work is cancelled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, clave::Error>> + Send + 'static,
    ) -> Result<T, ClaveError> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle);
        let result = tasks.join_next().await.expect("a task was spawned on the line above");
        Ok(result.unwrap_or_else(|error| Err(ended(error)))?)
    }

    /// Returns when the node and the runtime have shut down. Once begun it goes on, whoever waits for it.
    pub(crate) async fn shutdown(&self) {
        self.begin_shutdown();
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn begin_shutdown(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut threads) = threads else { return };
        let (node, stopped) = (self.node.clone(), self.stopped.clone());
        // Not on the threads that are to end.
        thread::spawn(move || {
            if let Some(runtime) = threads.0.take() {
                runtime.block_on(node.shutdown());
                drop(node);
                runtime.shutdown_timeout(LISTENERS_END);
            }
            stopped.send_replace(true);
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}

/// Why work came to no end of its own: the node stopped; or it panicked, and so does whoever waits for it.
fn ended(error: JoinError) -> clave::Error {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => clave::Error::Stopped,
    }
}
