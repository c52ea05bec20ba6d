//! Listeners at work, over pauses.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::ClaveError;
use crate::session::Session;

/// Where what a listener is told comes from.
pub(crate) trait Source: Send + 'static {
    /// What it is told at a time.
    type Batch: Send + 'static;
    /// The next batch. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Self::Batch, clave::Error>> + Send;
}

/// All listeners of a node.
#[derive(Default)]
pub(crate) struct Observers(Arc<Mutex<Known>>);

/// One of them, and its task, unless it rests.
type Running = (Arc<dyn Observer>, Option<JoinHandle<()>>);

#[derive(Default)]
struct Known {
    next: u64,
    all: BTreeMap<u64, Running>,
    /// Whether they are to come to rest.
    rest: watch::Sender<bool>,
}

/// A listener with its source.
trait Observer: Send + Sync {
    fn run(self: Arc<Self>, rest: watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Says that it is over.
    fn finish(&self, how: Result<(), ClaveError>);
}

struct Listening<S: Source> {
    source: tokio::sync::Mutex<S>,
    tell: Arc<dyn Fn(S::Batch) -> Result<(), ClaveError> + Send + Sync>,
    cancelled: watch::Receiver<bool>,
    finished: watch::Sender<Option<Result<(), ClaveError>>>,
    known: Weak<Mutex<Known>>,
    number: u64,
}

/// A listener at work. Keep it: when it is let go of, the listener is not called any more.
#[derive(uniffi::Object)]
pub struct Subscription {
    cancelled: watch::Sender<bool>,
    finished: watch::Receiver<Option<Result<(), ClaveError>>>,
    session: Arc<Session>,
    number: u64,
}

impl Observers {
    /// Tells `tell` what `source` has, in calls one at a time, until the subscription is cancelled or the node stops.
    pub(crate) fn begin<S: Source>(
        session: &Arc<Session>,
        source: S,
        tell: impl Fn(S::Batch) -> Result<(), ClaveError> + Send + Sync + 'static,
    ) -> Subscription {
        let (cancel, cancelled) = watch::channel(false);
        let (finish, finished) = watch::channel(None);
        let observers = session.observers();
        let mut known = observers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = known.next;
        known.next += 1;
        let listening = Arc::new(Listening {
            source: tokio::sync::Mutex::new(source),
            tell: Arc::new(tell),
            cancelled,
            finished: finish,
            known: Arc::downgrade(&observers.0),
            number,
        });
        match session.handle() {
            Some(handle) => {
                let running = handle.spawn(listening.clone().run(known.rest.subscribe()));
                known.all.insert(number, (listening, Some(running)));
            }
            None => _ = known.all.insert(number, (listening, None)),
        }
        drop(known);
        let subscription = Subscription { cancelled: cancel, finished, session: session.clone(), number };
        if matches!(session.closed(), clave::Error::Stopped) && session.handle().is_none() {
            // It may have stopped while this began.
            subscription.cancel();
        }
        subscription
    }

    /// Waits until no listener is being called, but not for longer than `patience`; none is called from then on.
    pub(crate) async fn rest(&self, patience: Duration) {
        let running: Vec<JoinHandle<()>> = {
            let mut known = self.lock();
            known.rest.send_replace(true);
            known.all.values_mut().filter_map(|(_, running)| running.take()).collect()
        };
        let all = async {
            for running in running {
                let _ = running.await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("a listener does not return; it is not waited for");
        }
    }

    /// After a rest: each goes on where it was.
    pub(crate) fn go_on(&self, handle: &Handle) {
        let mut known = self.lock();
        known.rest.send_replace(false);
        let rest = known.rest.subscribe();
        for (listening, running) in known.all.values_mut() {
            *running = Some(handle.spawn(listening.clone().run(rest.clone())));
        }
    }

    /// It is over for all of them.
    pub(crate) fn end(&self) {
        let all = std::mem::take(&mut self.lock().all);
        all.into_values().for_each(|(listening, _)| listening.finish(Ok(())));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Source> Listening<S> {
    /// Tells what there is until it is over, or to rest. Nothing is locked that anybody waits for while the listener is
    /// called, and no worker waits for it.
    async fn tell(&self, mut rest: watch::Receiver<bool>) -> Option<Result<(), ClaveError>> {
        let mut source = self.source.lock().await;
        let mut cancelled = self.cancelled.clone();
        loop {
            let batch = tokio::select! {
                biased;
                () = until(&mut cancelled) => return Some(Ok(())),
                () = until(&mut rest) => return None,
                batch = source.next() => match batch {
                    Err(clave::Error::Stopped) => return Some(Ok(())),
                    Err(error) => return Some(Err(error.into())),
                    Ok(batch) => batch,
                },
            };
            let tell = self.tell.clone();
            let heard = spawn_blocking(move || tell(batch)).await;
            if let Err(error) = heard.unwrap_or_else(|panic| Err(ClaveError::listener_failed(&panic.to_string()))) {
                return Some(Err(error));
            }
        }
    }
}

impl<S: Source> Observer for Listening<S> {
    fn run(self: Arc<Self>, rest: watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if let Some(how) = self.tell(rest).await {
                let known = self.known.upgrade();
                let gone = known
                    .and_then(|known| known.lock().unwrap_or_else(PoisonError::into_inner).all.remove(&self.number));
                // What it holds may call into the language it is of: not under the lock.
                drop(gone);
                self.finish(how);
            }
        })
    }

    fn finish(&self, how: Result<(), ClaveError>) {
        self.finished.send_if_modified(|finished| finished.replace(how).is_none());
    }
}

/// Until it is so, or can never be otherwise.
async fn until(so: &mut watch::Receiver<bool>) {
    let _ = so.wait_for(|so| *so).await;
}

#[uniffi::export]
impl Subscription {
    /// Ends it. A call to the listener that is under way comes to its end; [`finished`](Self::finished) says when.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
        if self.session.handle().is_none() {
            // Paused: it is not running, and nothing would notice.
            let gone = self.session.observers().lock().all.remove(&self.number);
            if let Some((listening, _)) = gone {
                listening.finish(Ok(()));
            }
        }
    }

    /// Returns when the listener is not called any more: it was cancelled, or the node was shut down.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if it ended because the listener threw something, or what the disk had to say.
    pub async fn finished(&self) -> Result<(), ClaveError> {
        let mut finished = self.finished.clone();
        finished.wait_for(Option::is_some).await.map_or(Ok(()), |end| end.clone().unwrap_or(Ok(())))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cancel();
    }
}
