//! Who sends how much: so that one source cannot use up what all share.
//!
//! A *source* is a device's key, and the network that it comes from (its address's first 24 bits, or 48 of IPv6). Keys cost nothing, so what counts in the end is
//! the network; it may send as much as so many devices. All of this is in memory only, and forgotten ([`Sources::forget`]) once nobody of the source is
//! connected and its buckets are full again: it is never stored, logged or exported.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use clave_transport::PeerKey;
use tokio::sync::Semaphore;

/// Sources that are remembered at a time. Beyond, those that are new share one.
const SOURCES_MAX: usize = 65_536;

/// Bytes of long requests that one source may have in memory.
const SOURCE_REQUEST_BYTES_MAX: usize = 16 << 20;

/// Long answers that one source may have in memory.
const SOURCE_ANSWERS_MAX: usize = 16;

const DAY_SECONDS: f64 = 24.0 * 60.0 * 60.0;

/// What a source may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Bytes of blobs put by a device in a second, and at once. 0: no limit.
    pub(crate) bytes_per_second: u64,
    pub(crate) bytes_burst: u64,
    /// Requests of a device in a second, and at once. 0: no limit.
    pub(crate) requests_per_second: u64,
    pub(crate) requests_burst: u64,
    /// Places to push to that a device may name in a day, and at once. 0: no limit.
    pub(crate) subscriptions_per_day: u64,
    /// A network may do as much as so many devices.
    pub(crate) network_devices: u64,
    /// Sessions, all together.
    pub(crate) sessions_max: usize,
    /// Sessions of one device.
    pub(crate) sessions_per_device_max: usize,
    /// Sessions of one network.
    pub(crate) sessions_per_network_max: usize,
}

/// The network that an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Network {
    /// `None` for this machine itself: a proxy on it stands for anybody.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => address.octets().first_chunk().copied().map(Self::V4),
            IpAddr::V6(address) => address.octets().first_chunk().copied().map(Self::V6),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Device(PeerKey),
    Network(Network),
    /// All that do not fit.
    Others,
}

/// What flows in at a rate and is taken out in any portion: whoever takes more than is there, waits the longer.
struct Bucket {
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn refill(&mut self, per_second: f64, burst: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + passed * per_second).min(burst as f64);
        self.filled = now;
    }

    /// How long until there is something in it.
    fn wait(&self, per_second: f64) -> Duration {
        if self.level > 0.0 { Duration::ZERO } else { Duration::from_secs_f64((1.0 - self.level) / per_second) }
    }
}

struct Source {
    bytes: Bucket,
    requests: Bucket,
    subscriptions: Bucket,
    sessions: usize,
    shared: Arc<Shares>,
}

/// A source's part of what all share.
pub(crate) struct Shares {
    /// Bytes of long requests.
    pub(crate) request_bytes: Arc<Semaphore>,
    /// Long answers.
    pub(crate) answers: Arc<Semaphore>,
}

/// All sources.
pub(crate) struct Sources {
    inner: Mutex<Inner>,
}

struct Inner {
    rates: Rates,
    sources: HashMap<Key, Source>,
    sessions: usize,
}

/// Why a session is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Sources {
    pub(crate) fn new(rates: Rates) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { rates, sources: HashMap::new(), sessions: 0 }) })
    }

    pub(crate) fn set_rates(&self, rates: Rates) {
        self.inner().rates = rates;
    }

    /// Begins a session of a device.
    ///
    /// # Errors
    /// If it, its network or all together have too many.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: PeerKey,
        network: Option<Network>,
        now: Instant,
    ) -> Result<Ticket, TooMany> {
        let inner = &mut *self.inner();
        let rates = inner.rates;
        let wanted = [
            (Some(Key::Device(peer)), rates.sessions_per_device_max, 1),
            (network.map(Key::Network), rates.sessions_per_network_max, rates.network_devices),
        ];
        let is_full = |(key, max, _): &(Option<Key>, usize, u64)| {
            key.and_then(|key| inner.sources.get(&key)).is_some_and(|source| source.sessions >= *max)
        };
        if inner.sessions >= rates.sessions_max || wanted.iter().any(is_full) {
            return Err(TooMany);
        }
        inner.sessions += 1;
        let mut keys = Vec::with_capacity(2);
        let mut shares = None;
        for (key, _, factor) in wanted {
            let Some(key) = key else { continue };
            let key = inner.place(key, now);
            let source = inner.sources.entry(key).or_insert_with(|| Source {
                bytes: Bucket { level: rates.bytes_burst.saturating_mul(factor) as f64, filled: now },
                requests: Bucket { level: rates.requests_burst.saturating_mul(factor) as f64, filled: now },
                subscriptions: Bucket { level: rates.subscriptions_per_day.saturating_mul(factor) as f64, filled: now },
                sessions: 0,
                shared: Arc::new(Shares {
                    request_bytes: Arc::new(Semaphore::new(SOURCE_REQUEST_BYTES_MAX)),
                    answers: Arc::new(Semaphore::new(SOURCE_ANSWERS_MAX)),
                }),
            });
            source.sessions += 1;
            keys.push((key, factor));
            shares = Some(source.shared.clone());
        }
        let shares = shares.expect("there is the device's, if not its network's");
        Ok(Ticket { sources: self.clone(), keys, shares })
    }

    pub(crate) fn sessions(&self) -> usize {
        self.inner().sessions
    }

    /// How many are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.inner().sources.len()
    }

    /// Forgets those who would be given the same if they were unknown. To be called now and then.
    pub(crate) fn forget(&self, now: Instant) {
        self.inner().forget(now);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds this lock")
    }
}

impl Inner {
    /// Under which key a source is remembered.
    fn place(&mut self, key: Key, now: Instant) -> Key {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&key) {
            self.forget(now);
            if self.sources.len() >= SOURCES_MAX {
                return Key::Others;
            }
        }
        key
    }

    fn forget(&mut self, now: Instant) {
        let rates = self.rates;
        self.sources.retain(|key, source| {
            let factor = if matches!(key, Key::Device(_)) { 1 } else { rates.network_devices };
            source.refill(&rates, factor, now);
            // What has no limit is never owed.
            let is_full = |bucket: &Bucket, rate: u64, burst: u64| {
                rate == 0 || bucket.level >= burst.saturating_mul(factor) as f64
            };
            let is_full = is_full(&source.bytes, rates.bytes_per_second, rates.bytes_burst)
                && is_full(&source.requests, rates.requests_per_second, rates.requests_burst)
                && is_full(&source.subscriptions, rates.subscriptions_per_day, rates.subscriptions_per_day);
            source.sessions > 0 || !is_full
        });
        // After a crowd, its room is not kept.
        self.sources.shrink_to(2 * self.sources.len());
    }
}

impl Source {
    fn refill(&mut self, rates: &Rates, factor: u64, now: Instant) {
        let times = |rate: u64| rate.saturating_mul(factor);
        self.bytes.refill(times(rates.bytes_per_second) as f64, times(rates.bytes_burst), now);
        self.requests.refill(times(rates.requests_per_second) as f64, times(rates.requests_burst), now);
        let per_day = times(rates.subscriptions_per_day);
        self.subscriptions.refill(per_day as f64 / DAY_SECONDS, per_day, now);
    }
}

/// A session's hold on its sources. Dropping it ends the session.
pub(crate) struct Ticket {
    sources: Arc<Sources>,
    /// And how many devices' worth each has.
    keys: Vec<(Key, u64)>,
    pub(crate) shares: Arc<Shares>,
}

impl Ticket {
    /// Takes bytes of blobs, if none of the sources owes any; else says how long it does.
    pub(crate) fn take_bytes(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let per_second = self.sources.inner().rates.bytes_per_second;
        self.take(per_second as f64, now, |source| &mut source.bytes, bytes)
    }

    /// Takes one of the places to push to that may be named in a day, if none of the sources owes any; else says how long it does.
    pub(crate) fn take_subscription(&self, now: Instant) -> Result<(), Duration> {
        let per_day = self.sources.inner().rates.subscriptions_per_day;
        self.take(per_day as f64 / DAY_SECONDS, now, |source| &mut source.subscriptions, 1)
    }

    /// Counts a request that weighs so much. It is not asked for: [`owes_requests`](Self::owes_requests) says when the next may come.
    pub(crate) fn count_request(&self, weight: u64, now: Instant) {
        let inner = &mut *self.sources.inner();
        for (key, factor) in &self.keys {
            if let Some(source) = inner.sources.get_mut(key) {
                source.refill(&inner.rates, *factor, now);
                source.requests.level -= weight as f64;
            }
        }
    }

    /// How long no further request is read.
    pub(crate) fn owes_requests(&self, now: Instant) -> Duration {
        let per_second = self.sources.inner().rates.requests_per_second;
        self.take(per_second as f64, now, |source| &mut source.requests, 0).err().unwrap_or_default()
    }

    fn take(
        &self,
        per_second: f64,
        now: Instant,
        bucket: impl Fn(&mut Source) -> &mut Bucket,
        amount: u64,
    ) -> Result<(), Duration> {
        if per_second == 0.0 {
            return Ok(());
        }
        let inner = &mut *self.sources.inner();
        let mut wait = Duration::ZERO;
        for (key, factor) in &self.keys {
            if let Some(source) = inner.sources.get_mut(key) {
                source.refill(&inner.rates, *factor, now);
                wait = wait.max(bucket(source).wait(per_second * *factor as f64));
            }
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        for (key, _) in &self.keys {
            if let Some(source) = inner.sources.get_mut(key) {
                bucket(source).level -= amount as f64;
            }
        }
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let inner = &mut *self.sources.inner();
        inner.sessions -= 1;
        for (key, _) in &self.keys {
            if let Entry::Occupied(mut source) = inner.sources.entry(*key) {
                source.get_mut().sessions -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates {
        bytes_per_second: 100,
        bytes_burst: 1_000,
        requests_per_second: 10,
        requests_burst: 20,
        subscriptions_per_day: 2,
        network_devices: 3,
        sessions_max: 10,
        sessions_per_device_max: 2,
        sessions_per_network_max: 4,
    };

    fn network(last: u8) -> Option<Network> {
        Network::of(IpAddr::from([192, 0, last, 7]))
    }

    #[test]
    fn a_source_that_took_too_much_waits_and_others_do_not() {
        let (sources, now) = (Sources::new(RATES), Instant::now());
        let greedy = sources.admit(PeerKey([1; 32]), network(1), now).unwrap();
        let other = sources.admit(PeerKey([2; 32]), network(2), now).unwrap();
        greedy.take_bytes(1_500, now).unwrap();
        // It owes 500: with 100 a second, that and the first byte.
        let wait = greedy.take_bytes(1, now).unwrap_err();
        assert!(wait > Duration::from_secs(5) && wait < Duration::from_millis(5_100), "{wait:?}");
        other.take_bytes(1_000, now).unwrap();
        greedy.take_bytes(1, now + wait).unwrap();
        // A new session of the same device is the same source.
        drop(greedy);
        let again = sources.admit(PeerKey([1; 32]), network(1), now).unwrap();
        again.take_bytes(1, now).unwrap_err();
    }

    #[test]
    fn many_keys_in_one_network_are_one_source() {
        let (sources, now) = (Sources::new(RATES), Instant::now());
        let admit = |key, last| sources.admit(PeerKey([key; 32]), network(last), now);
        let keys: Vec<_> = (1..=4).map(|key| admit(key, 1).unwrap()).collect();
        assert_eq!(admit(5, 1).err(), Some(TooMany));
        // Three devices' worth.
        for ticket in &keys[..3] {
            ticket.take_bytes(1_000, now).unwrap();
        }
        keys[3].take_bytes(1, now).unwrap_err();
        let neighbour = admit(5, 2).unwrap();
        neighbour.take_bytes(1_000, now).unwrap();
        drop(keys);
        admit(5, 1).unwrap();
    }

    #[test]
    fn requests_are_counted_by_weight() {
        let (sources, now) = (Sources::new(RATES), Instant::now());
        let ticket = sources.admit(PeerKey([1; 32]), None, now).unwrap();
        ticket.count_request(19, now);
        assert_eq!(ticket.owes_requests(now), Duration::ZERO);
        ticket.count_request(100, now);
        assert_eq!(ticket.owes_requests(now), Duration::from_secs(10));
        assert_eq!(ticket.owes_requests(now + Duration::from_secs(10)), Duration::ZERO);
        sources.set_rates(Rates { requests_per_second: 0, ..RATES });
        assert_eq!(ticket.owes_requests(now), Duration::ZERO);
    }

    #[test]
    fn places_to_push_to_are_counted_by_the_day() {
        let (sources, now) = (Sources::new(RATES), Instant::now());
        let ticket = sources.admit(PeerKey([1; 32]), None, now).unwrap();
        assert_eq!([(); 2].map(|()| ticket.take_subscription(now)), [Ok(()); 2]);
        let wait = ticket.take_subscription(now).unwrap_err();
        assert!(wait.as_secs().abs_diff(12 * 60 * 60) <= 1, "{wait:?}");
        assert_eq!(ticket.take_subscription(now + wait), Ok(()));
        // Who comes back is not new.
        drop(ticket);
        let again = sources.admit(PeerKey([1; 32]), None, now + wait).unwrap();
        assert!(again.take_subscription(now + wait).is_err());
        sources.set_rates(Rates { subscriptions_per_day: 0, ..RATES });
        assert_eq!(again.take_subscription(now + wait), Ok(()));
    }

    #[test]
    fn sessions_are_bounded_and_sources_forgotten() {
        let (sources, now) = (Sources::new(RATES), Instant::now());
        let two = [0, 0].map(|_| sources.admit(PeerKey([1; 32]), None, now).unwrap());
        assert_eq!(sources.admit(PeerKey([1; 32]), None, now).err(), Some(TooMany));
        let more: Vec<_> = (2..10).map(|key| sources.admit(PeerKey([key; 32]), None, now).unwrap()).collect();
        assert_eq!(sources.admit(PeerKey([99; 32]), None, now).err(), Some(TooMany), "ten all together");
        two[0].take_bytes(1_000, now).unwrap();
        drop((two, more));
        assert_eq!(sources.sessions(), 0);
        sources.forget(now);
        assert_eq!(sources.remembered(), 1, "who owes is remembered");
        sources.forget(now + Duration::from_secs(10));
        assert_eq!((sources.remembered(), sources.inner().sources.capacity()), (0, 0));
        // Without a limit nothing is owed, however much was asked.
        sources.set_rates(Rates { requests_per_second: 0, ..RATES });
        sources.admit(PeerKey([1; 32]), None, now).unwrap().count_request(1_000, now);
        sources.forget(now);
        assert_eq!(sources.remembered(), 0);
    }

    #[test]
    fn a_network_is_the_first_part_of_an_address() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert!(of("192.0.2.7") == of("192.0.2.200") && of("192.0.2.7") != of("192.0.3.7"));
        assert!(of("::ffff:192.0.2.7") == of("192.0.2.9"));
        assert!(of("2001:db8:1:2::1") == of("2001:db8:1:ffff::1") && of("2001:db8:1::1") != of("2001:db8:2::1"));
        assert!(of("127.0.0.1").is_none() && of("::1").is_none());
    }
}
