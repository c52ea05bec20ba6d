//! What a relay can do, measured against the real program over loopback, this process being all the devices.
//!
//! ```text
//! cargo build --release -p clave-relay
//! cargo run --release -p clave-relay --example relay_load -- [--idle N] [--follow N] [--seconds N]
//! ```
//!
//! Puts of 1 kB by one device, each awaited and with 256 in flight; fan-out of one entry to followers; memory of the relay for each idle session. Every
//! acknowledged put is on disk. Addresses of loopback count as no network, so limits by network do not show here.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A measurement may panic, and prints.

use std::{
    collections::VecDeque,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use clave_mailbox::{Bytes, Hello, Kind, Open, Opening, Put, Reply, Request, Welcome, reply, request};
use clave_transport::{Address, Channel, Config, Event, Events, PeerKey, Transport};
use ed25519_dalek::{Signer, SigningKey};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

struct Device {
    transport: Transport,
    events: Events,
    relay: PeerKey,
    number: u64,
}

impl Device {
    async fn connect(seed: u32, address: &Address) -> Self {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&seed.to_be_bytes());
        let mut config = Config::new(bytes);
        config.listen = Vec::new();
        config.hole_punching = false;
        let (transport, events) = Transport::start(config).unwrap();
        let relay = address.peer().unwrap();
        transport.permit(relay);
        transport.connect(Some(relay), vec![address.clone()]).await.unwrap();
        Self { transport, events, relay, number: 0 }
    }

    async fn send(&mut self, body: request::Body) {
        self.number += 1;
        let frame = clave_mailbox::encode(&Request { number: self.number, body: Some(body) });
        self.transport.send(self.relay, Channel::Mailbox, frame).await.unwrap();
    }

    async fn reply(&mut self) -> reply::Body {
        loop {
            match self.events.next().await.unwrap() {
                Event::Frame { channel: Channel::Mailbox, bytes, .. } => {
                    return clave_mailbox::decode::<Reply>(&bytes).unwrap().body.unwrap();
                }
                Event::Interrupted { .. } | Event::Disconnected { .. } => panic!("the relay ended the session"),
                _ => {}
            }
        }
    }

    async fn open(&mut self, key: &SigningKey, follow: bool) {
        self.send(request::Body::Hello(Hello { version: 1, token: Bytes::new() })).await;
        let reply::Body::Welcome(Welcome { challenge, .. }) = self.reply().await else { panic!("no welcome") };
        let name = key.verifying_key().to_bytes();
        let proof = clave_mailbox::proof(&self.relay.0, &challenge[..].try_into().unwrap(), &name);
        let signature = Bytes::copy_from_slice(&key.sign(&proof).to_bytes());
        let opening = Opening { mailbox: Bytes::copy_from_slice(&name), signature, after: 0, follow };
        self.send(request::Body::Open(Open { mailboxes: vec![opening] })).await;
        assert!(matches!(self.reply().await, reply::Body::Opened(_)));
    }

    async fn put(&mut self, key: &SigningKey, number: u64, length: usize) {
        let mut blob = vec![3; length];
        blob[..8].copy_from_slice(&number.to_be_bytes());
        let mailbox = Bytes::copy_from_slice(key.verifying_key().as_bytes());
        let put = Put { mailbox, kind: Kind::Entry.into(), blobs: vec![blob.into()] };
        self.send(request::Body::Put(put)).await;
    }

    async fn stored(&mut self) {
        assert!(matches!(self.reply().await, reply::Body::Stored(stored) if stored.new == 1));
    }
}

async fn start(folder: &Path) -> (Child, Address) {
    let config = format!(
        "listen = [\"/ip4/127.0.0.1/tcp/0\"]\ndata = {:?}\n[sources]\nput_kib_per_second = 0\nrequests_per_second = 0\n\
         sessions_max = 20000\n[circuits]\nconnections_max = 20000\n[metrics]\nlisten = \"\"\n",
        folder.join("data")
    );
    let path = folder.join("relay.toml");
    std::fs::write(&path, config).unwrap();
    // Beside this program: .../release/examples/relay_load
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("clave-relay");
    let mut relay = Command::new(program);
    relay.args(["run", "--config"]).arg(path).stdout(Stdio::piped()).kill_on_drop(true);
    let mut relay = relay.spawn().unwrap();
    let mut lines = BufReader::new(relay.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(address) = line.strip_prefix("listening on ") {
            return (relay, address.parse().unwrap());
        }
    }
}

fn resident_kib(relay: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

async fn puts(address: &Address, in_flight: usize, seconds: u64, seed: u32) {
    let key = SigningKey::from_bytes(&[u8::try_from(seed).unwrap(); 32]);
    let mut device = Device::connect(seed, address).await;
    device.open(&key, false).await;
    let (began, mut done, mut asked, mut took) = (Instant::now(), 0, VecDeque::new(), Vec::new());
    let mut number = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        while asked.len() < in_flight {
            number += 1;
            device.put(&key, number, 1_000).await;
            asked.push_back(Instant::now());
        }
        device.stored().await;
        took.push(asked.pop_front().unwrap().elapsed());
        done += 1;
    }
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    took.sort_unstable();
    let (half, most) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!("puts of 1 kB, {in_flight:>3} in flight: {rate:>8.0}/s  p50 {half:?}  p99 {most:?}");
}

async fn fan_out(address: &Address, followers: u32) {
    let key = SigningKey::from_bytes(&[200; 32]);
    let mut devices = Vec::new();
    for seed in 0..followers {
        let mut device = Device::connect(10_000 + seed, address).await;
        device.open(&key, true).await;
        devices.push(device);
    }
    let mut writer = Device::connect(9_999, address).await;
    writer.open(&key, false).await;
    let mut took = Vec::new();
    for number in 0..10 {
        let began = Instant::now();
        writer.put(&key, number, 1_000).await;
        let heard = futures::future::join_all(devices.iter_mut().map(|device| async {
            assert!(matches!(device.reply().await, reply::Body::Delivery(_)));
            began.elapsed()
        }));
        took.extend(heard.await);
        writer.stored().await;
    }
    took.sort_unstable();
    let (half, most) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!(
        "one entry to {followers} followers: p50 {half:?}  p99 {most:?}  (from the put, devices in this one process)"
    );
}

async fn idle(relay: &Child, address: &Address, sessions: u32) {
    let key = SigningKey::from_bytes(&[201; 32]);
    let mut held = Vec::new();
    // First those that say nothing on the mailbox channel: what libp2p itself takes.
    let before = resident_kib(relay);
    for seed in 0..sessions {
        held.push(Device::connect(100_000 + seed, address).await);
    }
    let connected = resident_kib(relay);
    for device in &mut held {
        device.open(&key, true).await;
    }
    let following = resident_kib(relay);
    let each = |kib: u64| (kib * 1024) as f64 / f64::from(sessions);
    println!(
        "{sessions} idle: {:.1} kB for each connection, and {:.1} kB more for its session that follows a mailbox",
        each(connected - before) / 1000.0,
        each(following.saturating_sub(connected)) / 1000.0
    );
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let number = |flag: &str, default| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let folder = tempfile::tempdir_in(".").unwrap();
    let (relay, address) = start(folder.path()).await;
    let seconds = number("--seconds", 5);
    puts(&address, 1, seconds.into(), 1).await;
    puts(&address, 256, seconds.into(), 2).await;
    let followers = number("--follow", 1_000);
    if followers > 0 {
        fan_out(&address, followers).await;
    }
    let sessions = number("--idle", 1_000);
    if sessions > 0 {
        idle(&relay, &address, sessions).await;
    }
}
