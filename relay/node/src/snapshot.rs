//! What the relay is doing, in numbers: for `status` and `stats`, Prometheus and the status page.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::{metrics::Metrics, service::Service, store::Usage, wake::Wakes};

/// Everything at one moment. What ends in `_total` counts since the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) version: String,
    pub(crate) protocol: u32,
    pub(crate) uptime_seconds: u64,
    pub(crate) draining: bool,
    pub(crate) sessions: u64,
    pub(crate) followed_mailboxes: u64,
    pub(crate) sources: u64,
    pub(crate) request_bytes: u64,
    pub(crate) long_answers: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_full: bool,
    pub(crate) store: StoreSnapshot,
    pub(crate) sessions_total: u64,
    pub(crate) turned_away_total: u64,
    pub(crate) requests_total: u64,
    pub(crate) put_total: u64,
    pub(crate) delivered_total: u64,
    pub(crate) received_bytes_total: u64,
    pub(crate) sent_bytes_total: u64,
    pub(crate) reservations_total: u64,
    pub(crate) circuits_total: u64,
    pub(crate) refused_total: BTreeMap<String, u64>,
    pub(crate) ended_total: BTreeMap<String, u64>,
    /// How many puts took at most so many milliseconds; `null`: any.
    pub(crate) put_ms: Vec<(Option<u64>, u64)>,
    pub(crate) put_seconds_sum: f64,
    pub(crate) wake_subscriptions: u64,
    pub(crate) wake_waiting: u64,
    pub(crate) pushes_total: BTreeMap<String, u64>,
}

/// What is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoreSnapshot {
    pub(crate) mailboxes: u64,
    pub(crate) entries: u64,
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) expired_total: u64,
    pub(crate) dropped_total: u64,
    pub(crate) commits_total: u64,
}

/// What is known outside of the service.
#[derive(Default)]
pub(crate) struct Surroundings {
    pub(crate) disk_free_bytes: AtomicU64,
    pub(crate) disk_full: std::sync::atomic::AtomicBool,
    pub(crate) store_bytes_max: AtomicU64,
}

impl Snapshot {
    pub(crate) fn take(service: &Service, around: &Surroundings, uptime_seconds: u64) -> Self {
        let metrics: &Metrics = &service.metrics;
        let Usage { mailboxes, entries, chunks, bytes, expired, dropped, commits } = service.store.usage();
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let named = |(name, count): (&str, u64)| (name.to_lowercase(), count);
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: clave_mailbox::VERSION,
            uptime_seconds,
            draining: service.is_draining(),
            sessions: service.sources.sessions() as u64,
            followed_mailboxes: service.hub.followed() as u64,
            sources: service.sources.remembered() as u64,
            request_bytes: service.request_bytes() as u64,
            long_answers: service.answers() as u64,
            disk_free_bytes: count(&around.disk_free_bytes),
            disk_full: around.disk_full.load(Relaxed),
            store: StoreSnapshot {
                mailboxes,
                entries,
                chunks,
                bytes,
                bytes_max: count(&around.store_bytes_max),
                expired_total: expired,
                dropped_total: dropped,
                commits_total: commits,
            },
            sessions_total: count(&metrics.sessions),
            turned_away_total: count(&metrics.turned_away),
            requests_total: count(&metrics.requests),
            put_total: count(&metrics.put),
            delivered_total: count(&metrics.delivered),
            received_bytes_total: count(&metrics.received_bytes),
            sent_bytes_total: count(&metrics.sent_bytes),
            reservations_total: count(&metrics.reservations),
            circuits_total: count(&metrics.circuits),
            refused_total: metrics.refusals().map(named).collect(),
            ended_total: metrics.ends().map(named).collect(),
            put_ms: metrics.put_seconds.cumulative().collect(),
            put_seconds_sum: metrics.put_seconds.sum().as_secs_f64(),
            wake_subscriptions: service.wakes.as_ref().map_or(0, |wakes| wakes.subscriptions() as u64),
            wake_waiting: service.wakes.as_ref().map_or(0, |wakes| wakes.waiting() as u64),
            pushes_total: service.wakes.as_ref().map_or_else(BTreeMap::new, |wakes| pushes(wakes)),
        }
    }

    /// Whether it takes what it is there to take.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.draining && !self.disk_full
    }

    /// In the text format of Prometheus, version 0.0.4.
    pub(crate) fn prometheus(&self) -> String {
        let mut text = String::new();
        let gauges = [
            ("sessions", "Sessions now.", self.sessions),
            ("followed_mailboxes", "Mailboxes that somebody follows now.", self.followed_mailboxes),
            ("sources", "Devices and networks whose rates are remembered.", self.sources),
            ("request_bytes", "Bytes of long requests in memory.", self.request_bytes),
            ("long_answers", "Answers with blobs in memory.", self.long_answers),
            ("mailboxes", "Mailboxes that are not empty.", self.store.mailboxes),
            ("entries", "Entries stored.", self.store.entries),
            ("chunks", "Chunks stored.", self.store.chunks),
            ("stored_bytes", "Bytes stored, as quotas count them.", self.store.bytes),
            ("stored_bytes_max", "Bytes that may be stored.", self.store.bytes_max),
            ("disk_free_bytes", "Bytes free on the disk of the data directory.", self.disk_free_bytes),
            ("draining", "1 while it takes nothing more.", self.draining.into()),
            ("disk_full", "1 while puts are refused because the disk has too little room.", self.disk_full.into()),
            ("wake_subscriptions", "Subscriptions of devices that want to be woken.", self.wake_subscriptions),
            ("wake_waiting", "Pushes that wait or are on their way.", self.wake_waiting),
            ("uptime_seconds", "Seconds since the start.", self.uptime_seconds),
        ];
        let counters = [
            ("sessions_total", "Sessions begun.", self.sessions_total),
            ("turned_away_total", "Sessions not begun because there were too many.", self.turned_away_total),
            ("requests_total", "Requests read.", self.requests_total),
            ("put_total", "Blobs stored.", self.put_total),
            ("delivered_total", "Entries delivered.", self.delivered_total),
            ("received_bytes_total", "Bytes of frames received.", self.received_bytes_total),
            ("sent_bytes_total", "Bytes of frames sent.", self.sent_bytes_total),
            ("expired_total", "Blobs removed because they were too old.", self.store.expired_total),
            ("dropped_total", "Blobs removed because a quota was full.", self.store.dropped_total),
            ("commits_total", "Durable commits.", self.store.commits_total),
            ("reservations_total", "Places given to devices to be reached through the relay.", self.reservations_total),
            ("circuits_total", "Circuits between devices.", self.circuits_total),
        ];
        for (kind, numbers) in [("gauge", &gauges[..]), ("counter", &counters[..])] {
            for (name, help, value) in numbers {
                head(&mut text, name, help, kind);
                line(&mut text, format_args!("clave_relay_{name} {value}"));
            }
        }
        let families = [
            ("refused_total", "Requests refused.", "reason", &self.refused_total),
            ("ended_total", "Sessions ended.", "why", &self.ended_total),
            ("pushes_total", "Pushes, by what the push server did.", "outcome", &self.pushes_total),
        ];
        for (name, help, label, values) in families {
            head(&mut text, name, help, "counter");
            for (value, count) in values {
                line(&mut text, format_args!("clave_relay_{name}{{{label}=\"{value}\"}} {count}"));
            }
        }
        head(&mut text, "put_seconds", "How long puts took, from request to disk.", "histogram");
        let mut all = 0;
        for (bound, count) in &self.put_ms {
            let bound = bound.map_or("+Inf".to_owned(), |ms| (ms as f64 / 1000.0).to_string());
            line(&mut text, format_args!("clave_relay_put_seconds_bucket{{le=\"{bound}\"}} {count}"));
            all = *count;
        }
        line(&mut text, format_args!("clave_relay_put_seconds_sum {}", self.put_seconds_sum));
        line(&mut text, format_args!("clave_relay_put_seconds_count {all}"));
        head(&mut text, "build_info", "The version that runs.", "gauge");
        let Self { version, protocol, .. } = self;
        line(&mut text, format_args!("clave_relay_build_info{{version=\"{version}\",protocol=\"{protocol}\"}} 1"));
        text
    }
}

fn pushes(wakes: &Wakes) -> BTreeMap<String, u64> {
    let counts = &wakes.counts;
    let all = [
        ("accepted", &counts.accepted),
        ("refused", &counts.refused),
        ("failed", &counts.failed),
        ("unreached", &counts.unreached),
        ("gone", &counts.gone),
    ];
    all.into_iter().map(|(name, count)| (name.into(), count.load(Relaxed))).collect()
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    line(text, format_args!("# HELP clave_relay_{name} {help}\n# TYPE clave_relay_{name} {kind}"));
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("memory takes what is written");
}
