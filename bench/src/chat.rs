//! Messages from one device to another over loopback: how long one takes, and how many go through a second.
//!
//! Both devices are whole nodes over redb. Whatever is compared with is measured in the same run and process: the parts
//! that a message is made of, each alone.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clave::{DocumentKind, Draft, NetworkConfig, Node, NodeConfig, RawBatch, Space, Store, StoreKind, open_store};
use clave_crdt::{Actor, Document};
use clave_crypto::{ContentKey, DeviceKey, Domain, Entropy, Signature};
use clave_transport::{Channel, Config, Event as Heard, Events, PeerKey, Transport};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::Scale;
use crate::harness::{Spread, human};

const PATIENCE: Duration = Duration::from_secs(120);
/// Sends that an application has under way at once. Those that wait together travel in one entry.
const IN_FLIGHT: usize = 256;
/// Changes that a receiver takes in with one call, as frames bring them.
const PER_CALL: usize = 100;
/// How often a receiver looks at what came: each look applies that.
const LOOKS: Duration = Duration::from_millis(20);
const ENDS: &str = "both ends are in this process";
const ROOM: &str = "the disk has room and takes writes";

/// Two people in one space, connected.
struct Pair {
    alice: Node,
    bob: Node,
    hers: Space,
    his: Space,
    _directory: tempfile::TempDir,
}

impl Pair {
    async fn meet(data: &Path) -> Self {
        let directory = tempfile::tempdir_in(data).expect(ROOM);
        let device = async |name: &str| {
            let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
            let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
            let config = NodeConfig::new(directory.path().join(name)).online(network);
            let node = Node::create(config, name, "laptop").await.expect(ROOM);
            tokio::time::timeout(PATIENCE, node.listening()).await.expect(ENDS).expect(ENDS);
            node
        };
        let (alice, bob) = (device("Alice").await, device("Bob").await);
        let hers = alice.create_space("会议").await.expect(ROOM);
        let link = hers.invite(PATIENCE).await.expect(ROOM);
        let his = bob.join(&link, PATIENCE).await.expect(ENDS);
        Self { alice, bob, hers, his, _directory: directory }
    }

    /// Alice posts so many messages, many at once; returns when both have them on disk.
    async fn fill(&self, from: usize, count: usize) -> Duration {
        let mut updates = self.bob.events();
        let started = Instant::now();
        let timeline = self.hers.timeline();
        let mut under_way = VecDeque::new();
        for number in from..from + count {
            if under_way.len() == IN_FLIGHT {
                let oldest: tokio::task::JoinHandle<_> = under_way.pop_front().expect("it is full");
                oldest.await.expect(ENDS);
            }
            let timeline = timeline.clone();
            let send = async move { timeline.send(text(number)).await.expect(ROOM) };
            under_way.push_back(tokio::spawn(send));
        }
        for sent in under_way {
            sent.await.expect(ENDS);
        }
        let (his, total) = (self.his.timeline(), timeline.len().await.expect(ENDS));
        while his.len().await.expect(ENDS) < total {
            // Whatever happens there, look again, but no more often than people see.
            let _ = tokio::time::timeout(PATIENCE, updates.recv()).await.expect(ENDS);
            tokio::time::sleep(LOOKS).await;
        }
        started.elapsed()
    }

    async fn part(self) {
        tokio::join!(self.alice.shutdown(), self.bob.shutdown());
    }
}

/// A message as people write them.
fn text(number: usize) -> String {
    format!("Message {number}: 明天的会议改到下午三点, bring the slides")
}

/// A message, from `send` until it is durable on both devices and the other one was told.
pub fn live(scale: Scale, data: &Path) -> Vec<Value> {
    let runtime = Runtime::new().expect("threads can be started");
    let (filled, rounds) = (scale.of(100_000, 200) as usize, scale.of(400, 20) as usize);
    let (samples, parts) = runtime.block_on(messages(filled, rounds, data));
    let sums: Vec<f64> = parts.iter().map(|parts| parts.iter().sum()).collect();
    let (whole, sum) = (Spread::of(samples), Spread::of(sums));
    println!(
        "\na live message in a channel of {filled}, from `send` to the event at the other device, durable on both"
    );
    let line = |name: &str, spread: &Spread, rest: &str| {
        let (median, low, high) = (human(spread.median), human(spread.low), human(spread.high));
        println!("  {name:37} {median:>10}  ({low} to {high}){rest}");
    };
    let of_part = |index: usize| Spread::of(parts.iter().map(|parts| parts[index]).collect());
    let spreads: Vec<(&str, Spread)> = PARTS.iter().enumerate().map(|(at, name)| (*name, of_part(at))).collect();
    for (name, spread) in &spreads {
        line(name, spread, "");
    }
    line("all of them in a row", &sum, "");
    let ratio = whole.median / sum.median;
    line("the message", &whole, &format!("   ×{ratio:.2} of its parts (bar: 2)"));
    let parts: Vec<Value> =
        spreads.iter().map(|(name, spread)| json!({ "part": name, "seconds": spread.json() })).collect();
    vec![json!({ "name": format!("live message in a channel of {filled}"), "rounds": rounds, "parts": parts,
        "sum_seconds": sum.json(), "seconds": whole.json(), "ratio": ratio })]
}

/// The time of each message, and of what it is made of right behind it, for the disk is not as fast at all times.
async fn messages(filled: usize, rounds: usize, data: &Path) -> (Vec<f64>, Vec<[f64; PARTS.len()]>) {
    let pair = Pair::meet(data).await;
    pair.fill(0, filled).await;
    let mut parts = Parts::new(data).await;
    // The first opens the streams.
    parts.round().await;
    let (timeline, mut events) = (pair.hers.timeline(), pair.bob.events());
    let (mut samples, mut alone) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        while events.try_recv().is_ok() {}
        let started = Instant::now();
        let heard = async {
            let is_heard = |event: &clave::Event| {
                matches!(event, clave::Event::DocumentChanged { kind: DocumentKind::Timeline, .. })
            };
            while !is_heard(&events.recv().await.expect(ENDS)) {}
        };
        let (sent, ()) = tokio::join!(timeline.send(text(filled + round)), heard);
        sent.expect(ROOM);
        samples.push(started.elapsed().as_secs_f64());
        // People do not type faster.
        tokio::time::sleep(Duration::from_millis(5)).await;
        alone.push(parts.round().await);
    }
    let newest = pair.his.timeline().history(1, None).await.expect(ENDS);
    assert_eq!(newest[0].body, text(filled + rounds - 1));
    parts.end().await;
    pair.part().await;
    (samples, alone)
}

/// What a message cannot do without.
const PARTS: [&str; 6] = ["sign", "seal", "two durable writes", "one way over libp2p", "verify", "open"];

/// Does each part alone.
struct Parts {
    entropy: Entropy,
    device: DeviceKey,
    key: ContentKey,
    store: Arc<dyn Store>,
    writes: u64,
    near: Transport,
    near_hears: Events,
    far: Transport,
    echo: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Parts {
    async fn new(data: &Path) -> Self {
        let mut entropy = Entropy::from_seed([5; 32]);
        let device = DeviceKey::generate(&mut entropy);
        let key = ContentKey::from_bytes(Zeroizing::new([6; 32]));
        let folder = tempfile::tempdir_in(data).expect(ROOM);
        let store = open_store(folder.path(), StoreKind::Redb).expect(ROOM);
        let listening =
            Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")], ..Config::new([1; 32]) };
        let (near, mut near_hears) = Transport::start(listening).expect(ENDS);
        let (far, far_hears) = Transport::start(Config { listen: vec![], ..Config::new([2; 32]) }).expect(ENDS);
        let address = loop {
            if let Heard::Listening { address } = near_hears.next().await.expect(ENDS) {
                break address;
            }
        };
        far.permit(near.key());
        near.permit(far.key());
        far.connect(Some(near.key()), vec![address]).await.expect(ENDS);
        while !matches!(near_hears.next().await.expect(ENDS), Heard::Connected { .. }) {}
        let echo = tokio::spawn(echo(far.clone(), far_hears, near.key()));
        Self { entropy, device, key, store, writes: 0, near, near_hears, far, echo, _folder: folder }
    }

    async fn round(&mut self) -> [f64; PARTS.len()] {
        let message = vec![7; 300];
        let (sign, signature) = timed(|| self.device.sign(Domain::Entry, &message));
        let (seal, (salt, sealed)) = timed(|| self.key.seal(&mut self.entropy, b"context", &message));
        let (write, ()) = timed(|| self.write());
        let one_way = self.one_way().await;
        let (again, ()) = timed(|| self.write());
        let (verify, ()) =
            timed(|| self.device.id().verify(Domain::Entry, &message, &signature).expect("it was just signed"));
        let (open, _) = timed(|| black_box(self.key.open(&salt, b"context", &sealed).expect("it was just sealed")));
        [sign, seal, write + again, one_way, verify, open]
    }

    /// The envelope, the change and the document's record.
    fn write(&mut self) {
        self.writes += 1;
        let mut batch = RawBatch::default();
        for (table, bytes) in [(2, 600), (9, 350), (7, 60)] {
            batch.put(table, blake3::hash(&self.writes.to_be_bytes()).as_bytes()[..16].to_vec(), vec![8; bytes]);
        }
        self.store.apply(&[batch]).expect(ROOM);
    }

    /// Half of there and back, with frames of the size of a message.
    async fn one_way(&mut self) -> f64 {
        let started = Instant::now();
        self.near.send(self.far.key(), Channel::Sync, vec![9; 700]).await.expect(ENDS);
        while !matches!(self.near_hears.next().await.expect(ENDS), Heard::Frame { .. }) {}
        started.elapsed().as_secs_f64() / 2.0
    }

    async fn end(self) {
        tokio::join!(self.near.shutdown(), self.far.shutdown());
        self.echo.await.expect(ENDS);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let started = Instant::now();
    let result = work();
    (started.elapsed().as_secs_f64(), result)
}

async fn echo(from: Transport, mut heard: Events, to: PeerKey) {
    while let Some(event) = heard.next().await {
        if let Heard::Frame { bytes, .. } = event {
            let _ = from.send(to, Channel::Sync, bytes).await;
        }
    }
}

/// How many messages a second one sender gets through to one receiver, durable on both, beside what the slower of the
/// two could do at most.
pub fn stream(scale: Scale, data: &Path) -> Vec<Value> {
    let runtime = Runtime::new().expect("threads can be started");
    let (count, rounds) = (scale.of(20_000, 300) as usize, if scale.quick { 1 } else { scale.rounds.min(5) });
    let (mut ours, mut sending, mut receiving) = (Vec::new(), Vec::new(), Vec::new());
    runtime.block_on(async {
        let pair = Pair::meet(data).await;
        pair.fill(0, IN_FLIGHT).await;
        for round in 0..rounds {
            let (send, receive) = limits(count.min(2_000));
            sending.push(send);
            receiving.push(receive);
            let took = pair.fill(IN_FLIGHT + round * count, count).await;
            ours.push(count as f64 / took.as_secs_f64());
        }
        pair.part().await;
    });
    let ratios = ours.iter().zip(sending.iter().zip(&receiving)).map(|(own, (send, receive))| own / send.min(*receive));
    let ratio = Spread::of(ratios.collect());
    let (ours, sending, receiving) = (Spread::of(ours), Spread::of(sending), Spread::of(receiving));
    println!("\n{count} small messages from one device to another, durable on both, {IN_FLIGHT} under way");
    let line = |name: &str, spread: &Spread| {
        println!("  {name:48} {:>9.0} /s  ({:.0} to {:.0})", spread.median, spread.low, spread.high);
    };
    line("limit of the sender (sign, automerge append)", &sending);
    line("limit of the receiver (verify, batched apply)", &receiving);
    line("ours", &ours);
    println!(
        "  ×{:.2} ({:.2} to {:.2}) of the slower limit (bars: 0.6, and 5,000 /s)",
        ratio.median, ratio.low, ratio.high
    );
    vec![
        json!({ "name": "stream of small messages", "messages": count, "rounds": rounds, "ours_per_second": ours.json(),
        "sender_limit_per_second": sending.json(), "receiver_limit_per_second": receiving.json(), "ratio": ratio.json() }),
    ]
}

/// Messages a second that a sender can sign and append, and that a receiver can verify and take in.
fn limits(count: usize) -> (f64, f64) {
    let mut entropy = Entropy::from_seed([5; 32]);
    let device = DeviceKey::generate(&mut entropy);
    let actor = |id: [u8; 32]| Actor::new(id, [0; 4], 1);
    let mut document = Document::new(DocumentKind::Timeline, actor(*device.id().as_bytes()));
    let started = Instant::now();
    let signed: Vec<(Vec<u8>, Signature)> = (0..count)
        .map(|number| {
            let draft = Draft::text(text(number));
            document
                .timeline()
                .expect("a timeline")
                .post(1_790_000_000_000 + number as u64, entropy.bytes(), &draft)
                .expect("there is room");
            let change = document.commit(1_790_000_000_000).expect("a message was posted");
            let signature = device.sign(Domain::Entry, &change);
            (change, signature)
        })
        .collect();
    let sending = count as f64 / started.elapsed().as_secs_f64();
    let mut copy = Document::new(DocumentKind::Timeline, actor([9; 32]));
    let started = Instant::now();
    for run in signed.chunks(PER_CALL) {
        let changes: Vec<&[u8]> = run
            .iter()
            .map(|(change, signature)| {
                device.id().verify(Domain::Entry, change, signature).expect("signed above");
                change.as_slice()
            })
            .collect();
        assert!(copy.apply(&changes).expect("the changes are sound").changed);
    }
    (sending, count as f64 / started.elapsed().as_secs_f64())
}
