//! The relay against the bare engine that it could stand on: `just relay-bench`.
//!
//! In one run on one machine: puts of 1 kB to `nats-server` JetStream with file storage by its bare client, and to the real relay through the whole protocol
//! over libp2p on loopback, by one connection each, in turns. Then what sessions cost that say nothing, and how long an entry takes to 1,000 subscribers.
//! Numbers are medians of the rounds, with the least and the greatest.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, missing_docs)]

#[path = "../../tests/mailbox/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../../tests/support/nats.rs"]
#[allow(dead_code)]
mod nats;
mod sessions;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use async_nats::{
    HeaderMap, StatusCode,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, push},
        message::PublishMessage,
        stream::{Config, StorageType},
    },
};
use clave_mailbox::{Kind, reply};
use clave_transport::Channel;
use futures::{StreamExt, stream::FuturesUnordered};
use harness::{Device, Relay, mailbox, put};

const ENTRY_BYTES: usize = 1_000;
const IN_FLIGHT: usize = 256;
const ROUNDS: usize = 5;

/// How long one measurement goes on.
const ROUND: Duration = Duration::from_secs(2);

/// No limits but those of the machine.
pub const UNLIMITED: &str = "[sources]\nput_kib_per_second = 0\nrequests_per_second = 0\nsessions_max = 20000\n\
                             network_sessions_max = 20000\n[circuits]\nconnections_max = 20000";

/// A kilobyte that is like no other.
fn entry(number: u64) -> Vec<u8> {
    let mut bytes = vec![0x5a; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// What a relay has to do besides putting, for the bare client to do, too.
#[derive(Clone, Copy, Default)]
struct Besides {
    /// Headers as long as the relay's with each message.
    headers: bool,
    /// A consumer that follows the stream.
    follows: bool,
}

/// Follows a stream as a relay does, for as long as this process lives.
async fn follow(context: &Context, stream: &str) {
    let client = context.client();
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.unwrap();
    let config = push::Config {
        deliver_subject: inbox,
        ack_policy: AckPolicy::None,
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: Duration::from_secs(1),
        num_replicas: 1,
        memory_storage: true,
        ..push::Config::default()
    };
    context.get_stream(stream).await.unwrap().create_consumer(config).await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            // Whether we have kept up.
            if let (Some(StatusCode::IDLE_HEARTBEAT), Some(reply)) = (message.status, message.reply) {
                client.publish(reply, Default::default()).await.unwrap();
            }
        }
    });
}

/// Somebody who can put.
enum Putter {
    Bare { context: Box<Context>, subject: String, headers: HeaderMap, next: u64 },
    Relay { device: Box<Device>, next: u64 },
}

impl Putter {
    async fn bare(urls: Vec<String>, replicas: usize, besides: Besides) -> Self {
        let context = jetstream::new(async_nats::connect(urls).await.unwrap());
        let subject = format!("bare{replicas}-{}-{}", besides.headers, besides.follows);
        let config = Config {
            name: subject.clone(),
            subjects: vec![subject.clone()],
            storage: StorageType::File,
            num_replicas: replicas,
            ..Config::default()
        };
        // A cluster that has just begun has no leader yet.
        while context.create_stream(config.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if besides.follows {
            follow(&context, &subject).await;
        }
        let mut headers = HeaderMap::new();
        if besides.headers {
            headers.insert("Clave-Id", "e".repeat(129));
            headers.insert("Clave-At", "1700000000");
        }
        Self::Bare { context: Box::new(context), subject, headers, next: 0 }
    }

    async fn relay(seed: u8, relay: &Relay) -> Self {
        let mut device = Device::greeted(seed, &relay.address).await;
        device.open(&mailbox(seed), 0, false).await;
        Self::Relay { device: Box::new(device), next: 0 }
    }

    /// Puts a second after the other, so many at a time. Those acknowledged a second.
    async fn rate(&mut self, in_flight: usize) -> f64 {
        let began = Instant::now();
        let done = match self {
            Self::Bare { context, subject, headers, next } => {
                let (mut waiting, mut done) = (FuturesUnordered::new(), 0_u64);
                loop {
                    while waiting.len() < in_flight && began.elapsed() < ROUND {
                        *next += 1;
                        let message = PublishMessage::build().payload(entry(*next).into());
                        let message = if headers.is_empty() { message } else { message.headers(headers.clone()) };
                        let ack = context.send_publish(subject.clone(), message).await.unwrap();
                        waiting.push(ack.into_future());
                    }
                    match waiting.next().await {
                        Some(acknowledged) => drop(acknowledged.unwrap()),
                        None => break done,
                    }
                    done += 1;
                }
            }
            Self::Relay { device, next } => {
                let (mut waiting, mut done) = (0, 0_u64);
                let key = mailbox(1);
                loop {
                    while waiting < in_flight && began.elapsed() < ROUND {
                        *next += 1;
                        let body = put(&key, Kind::Entry, &[&entry(*next)]);
                        let request = clave_mailbox::Request { number: *next + 1_000, body: Some(body) };
                        let frame = clave_mailbox::encode(&request);
                        device.transport.send(device.relay, Channel::Mailbox, frame).await.unwrap();
                        waiting += 1;
                    }
                    if waiting == 0 {
                        break done;
                    }
                    let (_, body) = device.reply().await.unwrap();
                    assert!(matches!(&body, reply::Body::Stored(stored) if stored.new == 1), "{body:?}");
                    waiting -= 1;
                    done += 1;
                }
            }
        };
        done as f64 / began.elapsed().as_secs_f64()
    }
}

/// The middle one, the least and the greatest.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Both in turns, and how they compare; with a bar, whether it is reached.
async fn compare(what: &str, bar: Option<f64>, bare: &mut Putter, relay: &mut Putter) {
    for (how, in_flight) in [("awaited", 1), ("256 in flight", IN_FLIGHT)] {
        let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let (a, b) = (bare.rate(in_flight).await, relay.rate(in_flight).await);
            rates.entry("bare").or_default().push(a);
            rates.entry("relay").or_default().push(b);
            ratios.push(b / a);
        }
        for (who, rates) in rates {
            let (median, least, most) = spread(rates);
            println!("{what}, {how}: {who} {median:.0} puts/s ({least:.0} to {most:.0})");
        }
        let (median, least, most) = spread(ratios);
        let verdict = match bar {
            Some(bar) if median >= bar => format!("; bar {bar}: reached"),
            Some(bar) => format!("; bar {bar}: MISSED"),
            None => String::new(),
        };
        println!("{what}, {how}: ratio {median:.2} ({least:.2} to {most:.2}){verdict}");
    }
}

async fn alone(program: &Path, folder: &Path) {
    let server = nats::Server::start(program, folder).await;
    let relay = Relay::start(folder, &format!("[mailboxes]\nmailbox_entries = 1000000\n{UNLIMITED}")).await;
    let mut bare = Putter::bare(vec![server.url()], 1, Besides::default()).await;
    let mut device = Putter::relay(1, &relay).await;
    compare("embedded", Some(0.5), &mut bare, &mut device).await;
    // What it promises is not that: as its default is to sync every two minutes, it may lose what it has acknowledged.
    let syncing = nats::Server::start_syncing(program, folder).await;
    let mut bare = Putter::bare(vec![syncing.url()], 1, Besides::default()).await;
    compare("embedded, both with each put on the disk", None, &mut bare, &mut device).await;
    relay.stop().await;
}

async fn clustered(program: &Path, folder: &Path) {
    let servers = nats::cluster(program, folder, 3).await;
    let urls: Vec<_> = servers.iter().map(nats::Server::url).collect();
    let mut bare = Putter::bare(urls.clone(), 3, Besides::default()).await;
    let objects = folder.join("objects");
    let config = format!(
        "[storage]\nkind = \"jetstream\"\nservers = {urls:?}\nobjects = {objects:?}\n[mailboxes]\nstore_mib = 2048\n\
         mailbox_entries = 1000000\n{UNLIMITED}"
    );
    let relay = Relay::start(&folder.join("n0"), &config).await;
    let mut device = Putter::relay(1, &relay).await;
    compare("clustered", Some(0.8), &mut bare, &mut device).await;
    // What of it is the cluster's, for what it is asked.
    for (what, headers, follows) in
        [("with headers", true, false), ("with a consumer", false, true), ("with both", true, true)]
    {
        let mut bare = Putter::bare(urls.clone(), 3, Besides { headers, follows }).await;
        compare(&format!("clustered, the bare client {what}"), None, &mut bare, &mut device).await;
    }
    relay.stop().await;
}

fn machine(program: Option<&Path>) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("machine: {model}, {cores} cores, load before {}", load.split(' ').next().unwrap_or(""));
    if let Some(program) = program {
        let said = std::process::Command::new(program).arg("--version").output().unwrap();
        print!("{}", String::from_utf8_lossy(&said.stdout));
    }
}

#[tokio::main]
async fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let program = nats::program().await;
    machine(program.as_deref());
    if let Some(program) = &program {
        for name in ["embedded", "clustered"].into_iter().filter(|name| wants(name)) {
            let folder = tempfile::tempdir().unwrap();
            match name {
                "embedded" => alone(program, folder.path()).await,
                _ => clustered(program, folder.path()).await,
            }
        }
    }
    if wants("idle") {
        sessions::idle().await;
    }
    if wants("fan-out") {
        sessions::fan_out().await;
    }
}
