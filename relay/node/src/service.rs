//! Sessions over streams: reads frames, has the store do tasks, writes what is to be sent.

mod driver;
mod sets;
mod tasks;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clave_transport::{Caller, PeerKey};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::sets::Sets;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::tasks::perform;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{sets::set_of, tasks::reconcile};
use crate::{
    access::Blocks,
    hub::Hub,
    metrics::Metrics,
    session::{Ended, Terms},
    sources::{Network, Sources},
    store::MailboxStore,
    wake::Wakes,
};

/// Bytes of requests longer than [`SHORT_REQUEST_BYTES`] that all sessions together have in memory.
const REQUEST_BYTES_MAX: usize = 256 << 20;

/// Requests up to this length are not counted there, so that who sends a long one slowly does not hold them up. A session has one of them
/// besides what `PUT_BYTES_IN_FLIGHT_MAX` allows.
const SHORT_REQUEST_BYTES: usize = 64 << 10;

/// Answers with blobs that all sessions together have in memory.
const ANSWERS_MAX: usize = 128;

/// How long sessions go on after they were told that the relay is about to stop: puts are refused, everything else is done.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// All that sessions share.
pub(crate) struct Service {
    pub(crate) store: Arc<dyn MailboxStore>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) wakes: Option<Arc<Wakes>>,
    sets: Sets,
    terms: RwLock<Arc<Terms>>,
    request_room: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    /// The newest session of each device, by a number, and how to end it.
    newest: Mutex<HashMap<PeerKey, Newest>>,
    draining: CancellationToken,
    /// The grace is over.
    drained: CancellationToken,
    sessions: TaskTracker,
    log_addresses: bool,
}

struct Newest {
    number: u64,
    address: Option<std::net::IpAddr>,
    end: mpsc::Sender<Ended>,
}

impl Service {
    pub(crate) fn new(
        store: Arc<dyn MailboxStore>,
        hub: Arc<Hub>,
        sources: Arc<Sources>,
        terms: Terms,
        metrics: Arc<Metrics>,
        log_addresses: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            hub,
            sources,
            blocks: terms.blocks.clone(),
            wakes: terms.wakes.clone(),
            sets: Sets::default(),
            metrics,
            terms: RwLock::new(Arc::new(terms)),
            request_room: Arc::new(Semaphore::new(REQUEST_BYTES_MAX)),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            newest: Mutex::default(),
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
            sessions: TaskTracker::new(),
            log_addresses,
        })
    }

    /// Begins a session with everyone who comes, until nobody can any more.
    pub(crate) async fn serve(self: Arc<Self>, mut callers: mpsc::Receiver<Caller>) {
        let mut number = 0;
        while let Some(caller) = callers.recv().await {
            number += 1;
            self.begin(number, caller);
        }
    }

    fn begin(self: &Arc<Self>, number: u64, caller: Caller) {
        if self.draining.is_cancelled() {
            return;
        }
        let (peer, address) = (caller.peer(), caller.address());
        if self.log_addresses {
            tracing::info!(session = number, %peer, ?address, "came");
        }
        if self.blocks.has_source(&peer, address) {
            return self.metrics.ended(Ended::Refused);
        }
        let Ok(ticket) = self.sources.admit(peer, address.and_then(Network::of), Instant::now()) else {
            self.metrics.turned_away.fetch_add(1, Relaxed);
            return;
        };
        let (end, ending) = mpsc::channel(1);
        let newest = Newest { number, address, end };
        if let Some(before) = self.newest().insert(peer, newest) {
            // Full: it ends already.
            let _ = before.end.try_send(Ended::Replaced);
        }
        self.metrics.sessions.fetch_add(1, Relaxed);
        let service = self.clone();
        self.sessions.spawn(async move {
            let why = driver::run(&service, caller, ticket, ending).await;
            service.forget(number, peer);
            service.metrics.ended(why);
            if service.log_addresses {
                tracing::info!(session = number, ?why, "gone");
            } else {
                tracing::debug!(session = number, ?why, "gone");
            }
        });
    }

    fn forget(&self, number: u64, peer: PeerKey) {
        let newest = &mut *self.newest();
        if newest.get(&peer).is_some_and(|newest| newest.number == number) {
            newest.remove(&peer);
        }
    }

    fn newest(&self) -> MutexGuard<'_, HashMap<PeerKey, Newest>> {
        self.newest.lock().expect("nothing panics while it holds this lock")
    }

    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For sessions that begin from now on.
    pub(crate) fn set_terms(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Ends the sessions of those who are blocked by now.
    pub(crate) fn end_blocked(&self) {
        for (peer, newest) in &*self.newest() {
            if self.blocks.has_source(peer, newest.address) {
                let _ = newest.end.try_send(Ended::Refused);
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Bytes of long requests that are in memory.
    pub(crate) fn request_bytes(&self) -> usize {
        REQUEST_BYTES_MAX - self.request_room.available_permits()
    }

    /// Long answers that are in memory.
    pub(crate) fn answers(&self) -> usize {
        ANSWERS_MAX - self.answers.available_permits()
    }

    /// Takes no further sessions or puts, tells all devices so, lets everything be answered, and returns when all sessions have ended; at the
    /// latest after `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.draining.cancel();
        self.sessions.close();
        if tokio::time::timeout(DRAIN_GRACE.min(patience), self.sessions.wait()).await.is_err() {
            self.drained.cancel();
            if tokio::time::timeout(patience, self.sessions.wait()).await.is_err() {
                tracing::warn!(sessions = self.sessions.len(), "stopped before all sessions had ended");
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
