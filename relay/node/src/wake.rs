//! Waking devices: a push (RFC 8030) without content when something is stored for one that is not there.
//!
//! This owns the subscriptions (in memory, and in a file that outlives the relay), who is to be pushed when, and the relay's key for push servers. It
//! knows a device by the id that it chose for this, and nothing of entries but the mailbox that they are in. [`Wakes::register`] is what
//! a device asks for, [`Wakes::stored`] and [`Wakes::missed`] say that there is something; [`Wakes::run`] pushes.

mod endpoint;
mod ringing;
mod schedule;
mod sealing;
mod sender;
#[cfg(test)]
mod tests;
mod vapid;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub(crate) use self::{
    endpoint::Endpoint,
    sealing::{PushKeys, are_keys},
};
use self::{
    schedule::{Rules, Schedule},
    sender::Sender,
    vapid::Vapid,
};
use crate::{
    hub::Hub,
    store::{MailboxId, News, OpenError, StoreError, StoredEntry, SubscriptionStore},
};

/// Mailboxes of all subscriptions together.
const LINKS_MAX: usize = 2_000_000;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a device chose to be known by, for this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(pub(crate) [u8; 16]);

/// Enough to tell them apart in a log, too little to change one.
impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// Whom to wake for what.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) endpoint: String,
    /// `None`: for an empty body.
    pub(crate) keys: Option<PushKeys>,
    pub(crate) mailboxes: Vec<MailboxId>,
}

/// An endpoint is a secret: who knows it can push.
impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("mailboxes", &self.mailboxes).finish_non_exhaustive()
    }
}

/// How pushes went. Seconds since 1970; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) accepted_seconds: u64,
    pub(crate) refused_seconds: u64,
    /// Of the last refusal; 0: the server was not reached.
    pub(crate) status: u32,
    pub(crate) gone: bool,
    /// When this was written, a push waited.
    pub(crate) waiting: bool,
    /// The day on which the device came last, since 1970.
    pub(crate) seen_day: u64,
}

/// Why the relay cannot wake anybody, or a device not be woken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WakeError {
    #[error("the key for push servers {0} cannot be read or written: {1}. Check the data directory's owner and mode")]
    Key(PathBuf, io::Error),
    #[error(
        "{0} is no key for push servers: restore it from a backup, or move it away to get a new one (browsers have to subscribe anew)"
    )]
    NoKey(PathBuf),
    #[error("others can read the key for push servers {0}: if nobody has, run `chmod 600` on it; else move it away")]
    Exposed(PathBuf),
    #[error("`wake.roots` names {0}, which is no file of certificates (PEM): mend it, or leave it empty")]
    Roots(PathBuf),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What is allowed, and how often.
#[derive(Clone, Debug)]
pub(crate) struct WakeRules {
    pub(crate) contact: String,
    pub(crate) roots: PathBuf,
    pub(crate) private_allowed: bool,
    pub(crate) ttl_seconds: u64,
    pub(crate) interval: Duration,
    pub(crate) gap: Duration,
    pub(crate) retry: Duration,
    pub(crate) pushes_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) mailboxes_max: usize,
    pub(crate) kept_days: u64,
}

/// Counted since the start.
#[derive(Default)]
pub(crate) struct WakeCounts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) unreached: AtomicU64,
    pub(crate) gone: AtomicU64,
}

/// All that want to be woken.
pub(crate) struct Wakes {
    rules: WakeRules,
    sender: Sender,
    store: Arc<SubscriptionStore>,
    inner: Mutex<Inner>,
    changed: Notify,
    /// Held while a subscription is written, so that memory and file agree.
    writing: tokio::sync::Mutex<()>,
    pub(crate) counts: WakeCounts,
}

struct Inner {
    known: BTreeMap<SubscriptionId, (Arc<Subscription>, Health)>,
    by_mailbox: HashMap<MailboxId, Vec<SubscriptionId>>,
    links: usize,
    schedule: Schedule,
    /// Whose health is not on disk as it is.
    dirty: BTreeSet<SubscriptionId>,
}

/// The names of the files in a data directory.
pub(crate) fn subscriptions_path(data: &Path) -> PathBuf {
    data.join("wake.redb")
}

pub(crate) fn key_path(data: &Path) -> PathBuf {
    data.join("wake.key")
}

impl Wakes {
    /// With what is in a data directory. Pushes that waited when it was written wait for one interval more: devices come by themselves first.
    ///
    /// # Errors
    /// See [`WakeError`].
    pub(crate) fn open(data: &Path, rules: WakeRules, now: Instant) -> Result<Arc<Self>, WakeError> {
        let vapid = Vapid::load_or_create(&key_path(data), &rules.contact)?;
        let sender = Sender::new(vapid, &rules.roots, rules.ttl_seconds, rules.private_allowed)?;
        let (store, all) = SubscriptionStore::open(&subscriptions_path(data))?;
        let WakeRules { interval, gap, retry, pushes_max, .. } = rules;
        let schedule = Schedule::new(Rules { interval, gap, retry, pushes_max });
        let mut inner =
            Inner { known: BTreeMap::new(), by_mailbox: HashMap::new(), links: 0, schedule, dirty: BTreeSet::new() };
        for (id, (subscription, health)) in all {
            if health.waiting && !health.gone {
                inner.schedule.want(id, now + interval);
            }
            inner.insert(id, subscription, health);
        }
        Ok(Arc::new(Self {
            rules,
            sender,
            store: Arc::new(store),
            inner: Mutex::new(inner),
            changed: Notify::new(),
            writing: tokio::sync::Mutex::new(()),
            counts: WakeCounts::default(),
        }))
    }

    /// The public key for push servers, uncompressed.
    pub(crate) fn key(&self) -> [u8; 65] {
        self.sender.vapid.public()
    }

    pub(crate) fn mailboxes_max(&self) -> usize {
        self.rules.mailboxes_max
    }

    /// Whether pushes may go there.
    pub(crate) fn allows(&self, endpoint: &str) -> bool {
        Endpoint::parse(endpoint, self.rules.private_allowed).is_some()
    }

    /// Whether the subscription is there, with this endpoint.
    pub(crate) fn has(&self, id: SubscriptionId, endpoint: &str) -> bool {
        self.inner().known.get(&id).is_some_and(|(known, _)| known.endpoint == endpoint)
    }

    /// A device is there. It wants to be woken like this, or (`None`) no more. Durable when this returns.
    ///
    /// # Errors
    /// If there are too many, or the disk fails: then what was there is still there.
    pub(crate) async fn register(
        &self,
        id: SubscriptionId,
        wanted: Option<Subscription>,
        now_seconds: u64,
    ) -> Result<Health, StoreError> {
        let _writing = self.writing.lock().await;
        let Some(wanted) = wanted else {
            if self.inner().known.contains_key(&id) {
                self.remove(vec![id]).await?;
            }
            return Ok(Health::default());
        };
        let seen_day = now_seconds / DAY_SECONDS;
        let health = {
            let inner = &mut *self.inner();
            inner.schedule.came(id);
            match inner.known.get_mut(&id) {
                Some((known, health)) if **known == wanted => {
                    if health.seen_day != seen_day || health.waiting {
                        (health.seen_day, health.waiting) = (seen_day, false);
                        inner.dirty.insert(id);
                    }
                    return Ok(*health);
                }
                known => {
                    let (before, links) = known.as_ref().map_or((0, 0), |(known, _)| (1, known.mailboxes.len()));
                    let count = inner.known.len() - before;
                    let links = inner.links - links + wanted.mailboxes.len();
                    if count >= self.rules.subscriptions_max || links > LINKS_MAX {
                        return Err(StoreError::Full);
                    }
                    // What is known of another endpoint or other keys says nothing of this one.
                    let is_same = |known: &Subscription| known.endpoint == wanted.endpoint && known.keys == wanted.keys;
                    let health = inner.known.get(&id).filter(|(known, _)| is_same(known)).map(|(_, health)| *health);
                    Health { seen_day, waiting: false, ..health.unwrap_or_default() }
                }
            }
        };
        let (store, written) = (self.store.clone(), wanted.clone());
        blocking(move || store.put(id, &written, &health)).await?;
        let inner = &mut *self.inner();
        inner.remove(id);
        inner.insert(id, wanted, health);
        Ok(health)
    }

    async fn remove(&self, ids: Vec<SubscriptionId>) -> Result<(), StoreError> {
        let (store, removed) = (self.store.clone(), ids.clone());
        blocking(move || store.remove(&removed)).await?;
        let inner = &mut *self.inner();
        for id in ids {
            inner.remove(id);
            inner.schedule.forget(id);
        }
        Ok(())
    }

    /// Something was stored. `told`: the subscriptions whose sessions hear of it.
    pub(crate) fn stored(&self, mailbox: MailboxId, told: impl FnOnce() -> HashSet<SubscriptionId>, now: Instant) {
        let inner = &mut *self.inner();
        let Some(ids) = inner.by_mailbox.get(&mailbox) else { return };
        let told = told();
        for id in ids {
            let is_gone = inner.known.get(id).is_none_or(|(_, health)| health.gone);
            if !is_gone && !told.contains(id) {
                inner.schedule.want(*id, now);
                inner.dirty.insert(*id);
            }
        }
        self.changed.notify_one();
    }

    /// A session of that subscription ended before it acknowledged what it was told of these mailboxes. After a gap, so that it can come
    /// back by itself.
    pub(crate) fn missed(&self, id: SubscriptionId, mailboxes: &[MailboxId], now: Instant) {
        let inner = &mut *self.inner();
        let Some((known, health)) = inner.known.get(&id) else { return };
        if !health.gone && mailboxes.iter().any(|mailbox| known.mailboxes.contains(mailbox)) {
            inner.schedule.want(id, now + self.rules.gap);
            inner.dirty.insert(id);
            self.changed.notify_one();
        }
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.inner().known.len()
    }

    /// Pushes that wait or are on their way.
    pub(crate) fn waiting(&self) -> usize {
        self.inner().schedule.waiting()
    }

    /// Writes the subscriptions and the key to a directory, durably.
    pub(crate) async fn backup(&self, data: &Path, to: &Path) -> Result<(), StoreError> {
        let (store, copy) = (self.store.clone(), subscriptions_path(to));
        let (key, key_copy) = (key_path(data), key_path(to));
        blocking(move || {
            let copied = std::fs::read(key).and_then(|bytes| crate::files::write_durably(&key_copy, &bytes));
            copied.map_err(|error| {
                tracing::error!(%error, "the key for push servers could not be copied");
                StoreError::Failed
            })?;
            store.backup(copy)
        })
        .await
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds this lock")
    }
}

impl Inner {
    fn insert(&mut self, id: SubscriptionId, mut subscription: Subscription, health: Health) {
        subscription.mailboxes.shrink_to_fit();
        self.links += subscription.mailboxes.len();
        for mailbox in &subscription.mailboxes {
            self.by_mailbox.entry(*mailbox).or_default().push(id);
        }
        self.known.insert(id, (Arc::new(subscription), health));
    }

    fn remove(&mut self, id: SubscriptionId) {
        let Some((known, _)) = self.known.remove(&id) else { return };
        self.links -= known.mailboxes.len();
        self.dirty.remove(&id);
        for mailbox in &known.mailboxes {
            if let Some(ids) = self.by_mailbox.get_mut(mailbox) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_mailbox.remove(mailbox);
                }
            }
        }
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Result<(), StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopped))
}

/// Tells sessions what was stored, and then wakes those who have none.
pub(crate) struct Bell {
    pub(crate) hub: Arc<Hub>,
    pub(crate) wakes: Option<Arc<Wakes>>,
}

impl News for Bell {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry) {
        self.hub.stored(mailbox, entry);
        self.wake(mailbox);
    }

    fn lagged(&self, mailbox: MailboxId) {
        self.hub.lagged(mailbox);
        self.wake(mailbox);
    }
}

impl Bell {
    fn wake(&self, mailbox: MailboxId) {
        if let Some(wakes) = &self.wakes {
            wakes.stored(mailbox, || self.hub.told(mailbox), Instant::now());
        }
    }
}
