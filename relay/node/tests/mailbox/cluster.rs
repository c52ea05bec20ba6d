//! Relays over a cluster of three NATS servers: any of them serves any mailbox, a server that is killed costs a pause, and a relay that is killed only its
//! own sessions. `scripts/relay-cluster-kill9.sh` runs it with many kills.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_nats::jetstream;
use clave_mailbox::{BlobId, Kind, reply};
use clave_transport::{Address, Channel};
use futures::StreamExt;
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    harness::{Device, Relay, in_time, mailbox, put},
    nats::{self, Server},
};

/// How many devices put at a time, how much each has in flight, and how much all put around each kill.
const DEVICES: u8 = 4;
const IN_FLIGHT: usize = 32;
const PUTS: usize = 2_000;

/// What was acknowledged.
#[derive(Default)]
struct Told {
    known: Mutex<Known>,
    more: Notify,
}

#[derive(Default)]
struct Known {
    by_mailbox: BTreeMap<u8, Vec<(Kind, BlobId)>>,
    count: usize,
    /// The longest that anybody waited for an answer.
    pause: Duration,
    /// Sessions that ended with their relay.
    ended: usize,
}

impl Told {
    fn count(&self) -> usize {
        self.known.lock().unwrap().count
    }

    fn acknowledged(&self, seed: u8, blob: (Kind, BlobId), after: Duration) {
        let known = &mut *self.known.lock().unwrap();
        known.by_mailbox.entry(seed).or_default().push(blob);
        known.count += 1;
        known.pause = known.pause.max(after);
        self.more.notify_one();
    }

    /// Waits until so many are acknowledged. One waits at a time.
    async fn reaches(&self, enough: usize) {
        in_time(async {
            while self.count() < enough {
                self.more.notified().await;
            }
        })
        .await;
    }
}

fn config(servers: &[Server], objects: &str) -> String {
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    format!(
        "[storage]\nkind = \"jetstream\"\nservers = {urls:?}\nobjects = {objects:?}\nreplicas = {}\n\
         [mailboxes]\nstore_mib = 512\n[sources]\nput_kib_per_second = 0\nrequests_per_second = 0",
        servers.len(),
    )
}

async fn relay(folder: &Path, name: &str, config: &str) -> Relay {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    Relay::start(&folder, config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_through_one_relay_is_delivered_by_another() {
    let Some(program) = nats::program().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let servers = nats::cluster(&program, folder.path(), 3).await;
    let config = config(&servers, folder.path().join("objects").to_str().unwrap());
    let one = relay(folder.path(), "one", &config).await;
    let two = relay(folder.path(), "two", &config).await;
    let (mut writer, mut reader) = (Device::greeted(1, &one.address).await, Device::greeted(2, &two.address).await);
    let generation = |device: &Device| device.welcome.as_ref().unwrap().generation.clone();
    assert_eq!(generation(&writer), generation(&reader));
    let key = mailbox(1);
    writer.open(&key, 0, true).await;
    writer.put(&key, Kind::Entry, &["早".as_bytes()]).await.unwrap();
    reader.open(&key, 0, true).await;
    writer.put(&key, Kind::Entry, &["你好".as_bytes()]).await.unwrap();
    let long = vec![9; 600_000];
    writer.put(&key, Kind::Entry, &[&long]).await.unwrap();
    let entries = reader.delivered(3).await;
    let texts: Vec<_> = entries[..2].iter().map(|(_, bytes)| std::str::from_utf8(bytes).unwrap()).collect();
    assert_eq!(texts, ["早", "你好"]);
    assert!(entries[2].1 == long);
    reader.acknowledge(&key, entries[2].0).await;
    // The other way round; and chunks, by their ids.
    writer.put(&key, Kind::Chunk, &[b"chunk"]).await.unwrap();
    reader.put(&key, Kind::Entry, &["再见".as_bytes()]).await.unwrap();
    assert_eq!(writer.delivered(1).await[0].1, "再见".as_bytes());
    let chunk = BlobId::of(Kind::Chunk, b"chunk");
    assert_eq!(reader.get(&key, Kind::Chunk, &[chunk]).await[0].as_deref(), Some(&b"chunk"[..]));
    one.stop().await;
    two.stop().await;
}

/// `scripts/relay-s3.sh` runs it, with a server that speaks S3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_lie_in_s3() {
    let Ok(bucket) = std::env::var("CLAVE_S3") else {
        return println!("SKIPPED: chunks in S3: scripts/relay-s3.sh starts a server for it");
    };
    let Some(program) = nats::program().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let servers = [Server::start(&program, folder.path()).await];
    let config = config(&servers, &bucket);
    let one = relay(folder.path(), "one", &config).await;
    let two = relay(folder.path(), "two", &config).await;
    let (mut writer, mut reader) = (Device::greeted(1, &one.address).await, Device::greeted(2, &two.address).await);
    let key = mailbox(1);
    writer.open(&key, 0, false).await;
    reader.open(&key, 0, true).await;
    let chunks: Vec<_> = (0..20_u8).map(|number| vec![number; 100_000]).collect();
    for chunk in &chunks {
        assert_eq!(writer.put(&key, Kind::Chunk, &[chunk]).await, Ok(1));
        assert_eq!(writer.put(&key, Kind::Chunk, &[chunk]).await, Ok(0));
    }
    // By then it has followed them.
    writer.put(&key, Kind::Entry, &["完".as_bytes()]).await.unwrap();
    reader.delivered(1).await;
    for chunk in &chunks {
        let id = BlobId::of(Kind::Chunk, chunk);
        assert!(reader.get(&key, Kind::Chunk, &[id]).await[0].as_ref().is_some_and(|found| found == chunk));
    }
    one.stop().await;
    two.stop().await;
}

fn blob(device: u8, number: u32) -> (Kind, Vec<u8>) {
    let (kind, length) = if number.is_multiple_of(64) { (Kind::Chunk, 20_000) } else { (Kind::Entry, 700) };
    let mut bytes = vec![device; length];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    (kind, bytes)
}

/// A relay that comes back where it was.
struct Seat {
    folder: PathBuf,
    address: Address,
    relay: Option<Relay>,
    /// How often it was started.
    lives: watch::Sender<u32>,
}

impl Seat {
    async fn new(folder: &Path, name: &str, config: &str) -> Self {
        let relay = relay(folder, name, config).await;
        let address = relay.address.clone();
        Self { folder: folder.join(name), address, relay: Some(relay), lives: watch::Sender::new(1) }
    }

    /// `kill -9`.
    async fn kill(&mut self) {
        self.relay.take().expect("it runs").process.kill().await.unwrap();
    }

    async fn run(&mut self, config: &str) {
        let port = self.address.to_string().split('/').nth(4).unwrap().parse().unwrap();
        let relay = Relay::start_on(&self.folder, config, port).await;
        assert_eq!(relay.address, self.address);
        self.relay = Some(relay);
        self.lives.send_modify(|lives| *lives += 1);
    }
}

/// A device that puts.
struct Putter {
    seed: u8,
    told: Arc<Told>,
    permits: Arc<Semaphore>,
    number: u32,
    /// What is not acknowledged yet.
    waiting: BTreeSet<u32>,
}

impl Putter {
    /// Puts as many as there are permits, until those are closed. Nothing may be refused, and no session end but those of a relay that was killed.
    async fn put(mut self, relay: Address, mut lives: watch::Receiver<u32>) {
        loop {
            let life = *lives.borrow_and_update();
            let mut device = Device::greeted(self.seed, &relay).await;
            device.open(&mailbox(self.seed), 0, false).await;
            if self.session(&mut device).await {
                return;
            }
            in_time(lives.wait_for(|now| *now > life)).await.expect("the relay was killed, and comes back");
            self.told.known.lock().unwrap().ended += 1;
        }
    }

    /// Until everything is put, or the session ends. Whether everything is.
    async fn session(&mut self, device: &mut Device) -> bool {
        for number in self.waiting.clone() {
            if !self.send(device, number).await {
                return false;
            }
        }
        loop {
            while self.waiting.len() < IN_FLIGHT {
                let permit = match self.waiting.is_empty() {
                    true => self.permits.acquire().await.ok(),
                    false => self.permits.try_acquire().ok(),
                };
                let Some(permit) = permit else { break };
                permit.forget();
                self.number += 1;
                self.waiting.insert(self.number);
                if !self.send(device, self.number).await {
                    return false;
                }
            }
            if self.waiting.is_empty() {
                return true;
            }
            let asked = Instant::now();
            let Some((answered, body)) = device.reply().await else { return false };
            assert!(matches!(body, reply::Body::Stored(_)), "{body:?}");
            let number = u32::try_from(answered - 1_000).unwrap();
            assert!(self.waiting.remove(&number), "asked for");
            let (kind, bytes) = blob(self.seed, number);
            self.told.acknowledged(self.seed, (kind, BlobId::of(kind, &bytes)), asked.elapsed());
        }
    }

    async fn send(&self, device: &Device, number: u32) -> bool {
        let (kind, bytes) = blob(self.seed, number);
        let body = put(&mailbox(self.seed), kind, &[&bytes]);
        let request = clave_mailbox::Request { number: u64::from(number) + 1_000, body: Some(body) };
        device.transport.send(device.relay, Channel::Mailbox, clave_mailbox::encode(&request)).await.is_ok()
    }
}

/// The name of the stream's leader, once it has one, all others have everything, and the cluster has a leader, too.
async fn leader(servers: &[Server]) -> String {
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let context = jetstream::new(async_nats::connect(urls).await.unwrap());
    in_time(async {
        loop {
            // The cluster's own leader answers the second.
            let (stream, names) = (context.get_stream("clave").await, context.stream_names().next().await);
            let (Ok(stream), Some(Ok(_))) = (stream, names) else { continue };
            if let Some(cluster) = &stream.cached_info().cluster
                && let Some(leader) = &cluster.leader
                && cluster.replicas.len() == 2
                && cluster.replicas.iter().all(|replica| replica.current && !replica.offline)
            {
                return leader.clone();
            }
        }
    })
    .await
}

async fn assert_all_there(told: &Told, relay: &Address, when: &str) {
    let all = told.known.lock().unwrap().by_mailbox.clone();
    for (seed, blobs) in &all {
        let mut device = Device::greeted(100 + seed, relay).await;
        device.open(&mailbox(*seed), 0, false).await;
        for kind in [Kind::Entry, Kind::Chunk] {
            let ids: Vec<_> = blobs.iter().filter(|(of, _)| *of == kind).map(|(_, id)| *id).collect();
            // The bytes themselves: a relay that knows an id must have what it names.
            let mut asked = &ids[..];
            while !asked.is_empty() {
                let found = device.get(&mailbox(*seed), kind, &asked[..asked.len().min(512)]).await;
                for (id, blob) in asked.iter().zip(&found) {
                    let blob = blob.as_ref().unwrap_or_else(|| panic!("lost {id:?} of device {seed}, {when}"));
                    assert_eq!(BlobId::of(kind, blob), *id);
                }
                asked = &asked[found.len()..];
            }
        }
    }
}

/// The first and third of four kills take the leader, the second another server, the fourth a relay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_server_or_a_relay() {
    let Some(program) = nats::program().await else { return };
    let kills: usize = std::env::var("CLAVE_KILLS").map_or(4, |kills| kills.parse().expect("CLAVE_KILLS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let mut servers = nats::cluster(&program, folder.path(), 3).await;
    let config = config(&servers, folder.path().join("objects").to_str().unwrap());
    let mut seats = [Seat::new(folder.path(), "one", &config).await, Seat::new(folder.path(), "two", &config).await];
    let (told, permits) = (Arc::<Told>::default(), Arc::new(Semaphore::new(0)));
    let devices: Vec<_> = (1..=DEVICES)
        .map(|seed| {
            let (told, permits) = (told.clone(), permits.clone());
            let putter = Putter { seed, told, permits, number: 0, waiting: BTreeSet::new() };
            let seat = &seats[usize::from(seed) % 2];
            tokio::spawn(putter.put(seat.address.clone(), seat.lives.subscribe()))
        })
        .collect();
    for kill in 1..=kills {
        let leader = leader(&servers).await;
        let of_leader = servers.iter().position(|server| server.name() == leader).expect("one of them");
        let before = told.count();
        permits.add_permits(PUTS);
        told.reaches(before + 200 + 37 * (kill % 17)).await;
        // It goes on with the others, and while the one that was killed comes back.
        let on_others = before + PUTS * 3 / 4;
        if kill % 4 == 0 {
            let seat = &mut seats[kill / 4 % 2];
            seat.kill().await;
            told.reaches(on_others).await;
            seat.run(&config).await;
        } else {
            let victim = if kill % 2 == 1 { of_leader } else { (of_leader + 1 + kill / 4 % 2) % 3 };
            servers[victim].kill().await;
            told.reaches(on_others).await;
            servers[victim].run().await;
        }
        told.reaches(before + PUTS).await;
        if kill % 10 == 0 {
            println!("{kill} kills, {} puts acknowledged so far", told.count());
        }
    }
    permits.close();
    for device in devices {
        device.await.unwrap();
    }
    leader(&servers).await;
    assert_all_there(&told, &seats[0].address, "from a relay that was there").await;
    // One that reads everything anew.
    let three = relay(folder.path(), "three", &config).await;
    assert_all_there(&told, &three.address, "from a relay that came later").await;
    for relay in seats.into_iter().filter_map(|seat| seat.relay).chain([three]) {
        relay.stop().await;
    }
    let Known { count, pause, ended, .. } = &*told.known.lock().unwrap();
    // Two devices at each relay.
    assert_eq!(*ended, kills / 4 * usize::from(DEVICES) / 2);
    println!(
        "{kills} kills, {} of them of relays: {count} puts acknowledged, none lost; {ended} sessions ended, all with their relay; the longest pause was {:.1} s",
        kills / 4,
        pause.as_secs_f32()
    );
}
