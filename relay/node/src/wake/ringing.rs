//! Pushes what is due, and keeps the file up to date.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Health, Subscription, SubscriptionId, Wakes, schedule::Outcome};
use crate::service::now_seconds;

/// How often the health of those for whom it changed is written. A relay that is killed forgets so much of it.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Subscriptions that one transaction removes at most.
const EXPIRED_MAX: usize = 1_000;

impl Wakes {
    /// Pushes until it is told to stop. What waits then is written, and pushed after the next start.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut flush = tokio::time::interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pushes = JoinSet::new();
        loop {
            while let Some((id, subscription)) = self.next(Instant::now()) {
                let wakes = self.clone();
                pushes.spawn(async move {
                    let outcome = wakes.sender.push(&subscription).await;
                    wakes.done(id, &subscription, outcome, Instant::now(), now_seconds());
                });
            }
            let deadline = self.inner().schedule.deadline();
            tokio::select! {
                Some(_) = pushes.join_next() => {}
                () = self.changed.notified() => {}
                () = until(deadline) => {}
                _ = flush.tick() => {
                    self.flush().await;
                    self.expire(now_seconds()).await;
                }
                () = stop.cancelled() => break,
            }
        }
        // Those on their way wait, too: better woken twice than not at all.
        pushes.shutdown().await;
        self.flush().await;
    }

    pub(super) fn next(&self, now: Instant) -> Option<(SubscriptionId, Arc<Subscription>)> {
        let inner = &mut *self.inner();
        let id = inner.schedule.next(now)?;
        inner.dirty.insert(id);
        let (subscription, _) = inner.known.get(&id).expect("only those who are known are pushed");
        Some((id, subscription.clone()))
    }

    pub(super) fn done(
        &self,
        id: SubscriptionId,
        pushed: &Arc<Subscription>,
        outcome: Outcome,
        now: Instant,
        now_seconds: u64,
    ) {
        let counter = match outcome {
            Outcome::Accepted => &self.counts.accepted,
            Outcome::Refused { .. } => &self.counts.refused,
            Outcome::Gone { .. } => &self.counts.gone,
            Outcome::Later { status: 0, .. } => &self.counts.unreached,
            Outcome::Later { .. } => &self.counts.failed,
        };
        counter.fetch_add(1, Relaxed);
        let inner = &mut *self.inner();
        let Some((known, health)) = inner.known.get_mut(&id) else { return };
        if known.endpoint != pushed.endpoint || known.keys != pushed.keys {
            // It says nothing of where pushes go by now.
            return inner.schedule.done(id, Outcome::Accepted, now);
        }
        match outcome {
            Outcome::Accepted => health.accepted_seconds = now_seconds,
            Outcome::Refused { status } | Outcome::Later { status, .. } | Outcome::Gone { status } => {
                (health.refused_seconds, health.status) = (now_seconds, status.into());
                health.gone = matches!(outcome, Outcome::Gone { .. });
            }
        }
        inner.schedule.done(id, outcome, now);
        inner.dirty.insert(id);
    }

    /// Writes the health of those for whom it changed.
    pub(super) async fn flush(&self) {
        let _writing = self.writing.lock().await;
        let changed: Vec<(SubscriptionId, Health)> = {
            let inner = &mut *self.inner();
            let dirty = std::mem::take(&mut inner.dirty);
            let of = |id: SubscriptionId| {
                let (_, health) = inner.known.get_mut(&id)?;
                health.waiting = inner.schedule.is_waiting(id);
                Some((id, *health))
            };
            dirty.into_iter().filter_map(of).collect()
        };
        if changed.is_empty() {
            return;
        }
        let store = self.store.clone();
        let ids: Vec<_> = changed.iter().map(|(id, _)| *id).collect();
        if super::blocking(move || store.put_health(&changed)).await.is_err() {
            let inner = &mut *self.inner();
            inner.dirty.extend(ids.into_iter().filter(|id| inner.known.contains_key(id)));
        }
    }

    /// Removes the subscriptions of devices that did not come for too long.
    pub(super) async fn expire(&self, now_seconds: u64) {
        let _writing = self.writing.lock().await;
        let oldest_day = (now_seconds / super::DAY_SECONDS).saturating_sub(self.rules.kept_days);
        let old: Vec<_> = {
            let inner = self.inner();
            let is_old = |(_, (_, health)): &(_, &(_, Health))| health.seen_day < oldest_day;
            inner.known.iter().filter(is_old).map(|(id, _)| *id).take(EXPIRED_MAX).collect()
        };
        if !old.is_empty() {
            // Logged where it failed; it is tried again.
            let _ = self.remove(old).await;
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
