//! What is counted, for whoever operates the relay. Nothing here is about one device, mailbox or address.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use clave_mailbox::Reason;

use crate::session::{Ended, Tally};

/// The reasons of the protocol, in the order of their numbers.
const REASONS: [Reason; 15] = [
    Reason::Internal,
    Reason::Malformed,
    Reason::Version,
    Reason::Access,
    Reason::Proof,
    Reason::NotOpen,
    Reason::Mailboxes,
    Reason::TooLarge,
    Reason::Rate,
    Reason::NoNewMailboxes,
    Reason::Full,
    Reason::Draining,
    Reason::Unsupported,
    Reason::Blocked,
    Reason::Endpoint,
];

const ENDS: [Ended; 10] = [
    Ended::Closed,
    Ended::Malformed,
    Ended::Silent,
    Ended::Version,
    Ended::Refused,
    Ended::Unacknowledged,
    Ended::Slow,
    Ended::Replaced,
    Ended::Drained,
    Ended::Failed,
];

/// Counted since the start.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) sessions: AtomicU64,
    /// Sessions that were not begun because a source or all together had too many.
    pub(crate) turned_away: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) put: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) put_seconds: Histogram,
    pub(crate) circuits: AtomicU64,
    pub(crate) reservations: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
    ended: [AtomicU64; ENDS.len()],
}

impl Metrics {
    pub(crate) fn count(&self, tally: &Tally) {
        self.requests.fetch_add(tally.requests, Relaxed);
        self.put.fetch_add(tally.put, Relaxed);
        self.delivered.fetch_add(tally.delivered, Relaxed);
        for reason in &tally.refused {
            let at = REASONS.iter().position(|known| known == reason).unwrap_or(0);
            self.refused[at].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn ended(&self, why: Ended) {
        let at = ENDS.iter().position(|known| *known == why).expect("all ends are listed");
        self.ended[at].fetch_add(1, Relaxed);
    }

    /// How many requests were refused, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().zip(&self.refused).map(|(reason, count)| {
            let name = reason.as_str_name().strip_prefix("REASON_").unwrap_or("UNKNOWN");
            (name, count.load(Relaxed))
        })
    }

    /// How many sessions ended, by why.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDS.iter().zip(&self.ended).map(|(why, count)| (name(*why), count.load(Relaxed)))
    }
}

fn name(why: Ended) -> &'static str {
    match why {
        Ended::Closed => "closed",
        Ended::Malformed => "malformed",
        Ended::Silent => "silent",
        Ended::Version => "version",
        Ended::Refused => "refused",
        Ended::Unacknowledged => "unacknowledged",
        Ended::Slow => "slow",
        Ended::Replaced => "replaced",
        Ended::Drained => "drained",
        Ended::Failed => "failed",
    }
}

/// How long something took, in buckets.
#[derive(Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; Self::BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// The upper bounds of the buckets, in milliseconds; the last has none.
    pub(crate) const BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 1_000, 5_000];

    pub(crate) fn observe(&self, took: Duration) {
        let at = Self::BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.counts[at.unwrap_or(Self::BOUNDS_MS.len())].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many took at most so many milliseconds (`None`: any), bucket by bucket.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = Self::BOUNDS_MS.into_iter().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |total, (bound, count)| {
            *total += count.load(Relaxed);
            Some((bound, *total))
        })
    }

    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_under_its_name() {
        let metrics = Metrics::default();
        let tally = Tally { requests: 3, put: 2, delivered: 1, refused: vec![Reason::Rate, Reason::Rate] };
        metrics.count(&tally);
        metrics.ended(Ended::Slow);
        assert!(metrics.refusals().any(|refused| refused == ("RATE", 2)));
        assert!(metrics.ends().any(|ended| ended == ("slow", 1)));
        for ms in [1, 3, 9_000] {
            metrics.put_seconds.observe(Duration::from_millis(ms));
        }
        let counts: Vec<_> = metrics.put_seconds.cumulative().collect();
        assert_eq!(
            (counts[0], counts[2], counts[9], counts[10]),
            ((Some(1), 1), (Some(5), 2), (Some(5_000), 2), (None, 3))
        );
        assert_eq!(metrics.put_seconds.sum(), Duration::from_millis(9_004));
    }
}
