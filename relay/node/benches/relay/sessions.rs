//! What sessions cost that say nothing, and how long an entry takes to many.

use std::time::{Duration, Instant};

use clave_mailbox::Kind;
use futures::{StreamExt, stream};

use crate::{
    UNLIMITED,
    harness::{Device, Relay, mailbox},
    spread,
};

/// Connections, if the machine has so many files to open; and how many are made at a time.
const CONNECTIONS_MAX: usize = 10_000;
const CONNECTING: usize = 32;

const SUBSCRIBERS: usize = 1_000;
const ENTRIES: usize = 30;

/// The bar: memory of a session over that of its connection, in bytes.
const SESSION_BYTES_MAX: f64 = 20_000.0;

/// A device's seed.
fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0x77; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

/// The resident memory of a process, in bytes.
fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

/// How many files this process may have open.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX)
}

async fn connected(relay: &Relay, count: usize) -> Vec<Device> {
    let connect = |number| Device::connect_as(seed(number), &relay.address);
    stream::iter(0..count).map(connect).buffer_unordered(CONNECTING).collect().await
}

pub async fn idle() {
    // Some are for the program itself.
    let count = CONNECTIONS_MAX.min(files_max().saturating_sub(500));
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), UNLIMITED).await;
    let process = relay.process.id().unwrap();
    let began = memory(process);
    let devices = connected(&relay, count).await;
    let with_connections = settled(process).await;
    let key = mailbox(1);
    let greet = |mut device: Device| {
        let key = &key;
        async move {
            device.hello(b"").await.unwrap();
            device.open(key, 0, true).await;
            device
        }
    };
    let devices: Vec<_> = stream::iter(devices).map(greet).buffer_unordered(CONNECTING).collect().await;
    let with_sessions = settled(process).await;
    let each = |bytes: f64| bytes / count as f64;
    let (of_libp2p, of_session) = (each(with_connections - began), each(with_sessions - with_connections));
    let verdict = if of_session <= SESSION_BYTES_MAX { "reached" } else { "MISSED" };
    println!(
        "idle: {count} connections: {:.1} kB each for libp2p, {:.1} kB each for a session over that, bar 20: {verdict}",
        of_libp2p / 1000.0,
        of_session / 1000.0
    );
    drop(devices);
    relay.stop().await;
}

/// The memory, once it does not grow any more.
async fn settled(process: u32) -> f64 {
    let mut last = memory(process);
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = memory(process);
        if now <= last * 1.002 {
            return now;
        }
        last = now;
    }
}

pub async fn fan_out() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), UNLIMITED).await;
    let key = mailbox(1);
    let mut subscribers = connected(&relay, SUBSCRIBERS).await;
    for device in &mut subscribers {
        device.hello(b"").await.unwrap();
        device.open(&key, 0, true).await;
    }
    let mut writer = Device::greeted(250, &relay.address).await;
    writer.open(&key, 0, false).await;
    let mut waits = Vec::new();
    for number in 0..ENTRIES {
        let bytes = vec![number as u8 + 1; 1_000];
        let began = Instant::now();
        let heard = subscribers.iter_mut().map(|device| {
            let key = &key;
            async move {
                let position = device.delivered(1).await[0].0;
                let waited = began.elapsed();
                device.acknowledge(key, position).await;
                waited.as_secs_f64() * 1000.0
            }
        });
        let blobs = [&bytes[..]];
        let (stored, heard) = tokio::join!(writer.put(&key, Kind::Entry, &blobs), futures::future::join_all(heard));
        stored.unwrap();
        waits.push(heard);
    }
    let at = |percent: usize| {
        let of_entry = |waits: &Vec<f64>| {
            let mut waits = waits.clone();
            waits.sort_by(f64::total_cmp);
            waits[(waits.len() * percent / 100).min(waits.len() - 1)]
        };
        spread(waits.iter().map(of_entry).collect())
    };
    for percent in [50, 99] {
        let (median, least, most) = at(percent);
        println!(
            "fan-out: 1 kB to {SUBSCRIBERS} subscribers, from put to delivery: p{percent} {median:.1} ms ({least:.1} to {most:.1})"
        );
    }
    relay.stop().await;
}
