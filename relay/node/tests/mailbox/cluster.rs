//! Relays over a cluster of three NATS servers: any of them serves any mailbox, and a server that is killed costs a pause.
//! `scripts/relay-cluster-kill9.sh` runs it with many kills.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_nats::jetstream;
use clave_mailbox::{BlobId, Kind, reply};
use clave_transport::{Address, Channel};
use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::{
    harness::{Device, Relay, in_time, mailbox, put},
    nats::{self, Server},
};

/// How many devices put at a time, how much each has in flight, and how much all put around each kill.
const DEVICES: u8 = 4;
const IN_FLIGHT: usize = 32;
const PUTS: usize = 2_000;

/// What was acknowledged, by mailbox; and the longest that anybody waited for an answer.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u8, Vec<(Kind, BlobId)>>,
    pause: Duration,
}

impl Told {
    fn count(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
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

/// Puts as many as there are permits, until those are closed. Its session must not end, and nothing be refused.
async fn load(seed: u8, relay: Address, told: Arc<Mutex<Told>>, permits: Arc<Semaphore>) {
    let key = mailbox(seed);
    let mut device = Device::greeted(seed, &relay).await;
    device.open(&key, 0, false).await;
    let (mut number, mut waiting) = (0, BTreeMap::new());
    loop {
        while waiting.len() < IN_FLIGHT {
            let permit = if waiting.is_empty() { permits.acquire().await.ok() } else { permits.try_acquire().ok() };
            let Some(permit) = permit else { break };
            permit.forget();
            number += 1;
            let (kind, bytes) = blob(seed, number);
            let body = put(&key, kind, &[&bytes]);
            let request = clave_mailbox::Request { number: u64::from(number) + 1_000, body: Some(body) };
            let frame = clave_mailbox::encode(&request);
            device.transport.send(device.relay, Channel::Mailbox, frame).await.unwrap();
            waiting.insert(request.number, (kind, BlobId::of(kind, &bytes)));
        }
        if waiting.is_empty() {
            return;
        }
        let asked = Instant::now();
        let (answered, body) = device.reply().await.expect("the session goes on");
        assert!(matches!(body, reply::Body::Stored(_)), "{body:?}");
        let stored = waiting.remove(&answered).expect("asked for");
        let told = &mut *told.lock().unwrap();
        told.pause = told.pause.max(asked.elapsed());
        told.acknowledged.entry(seed).or_default().push(stored);
    }
}

/// Waits until so many are acknowledged.
async fn progress(told: &Mutex<Told>, enough: usize) {
    in_time(async {
        while told.lock().unwrap().count() < enough {
            tokio::task::yield_now().await;
        }
    })
    .await;
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

async fn assert_all_there(told: &Mutex<Told>, relay: &Address, when: &str) {
    let all = told.lock().unwrap().acknowledged.clone();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_a_server() {
    let Some(program) = nats::program().await else { return };
    let kills: usize = std::env::var("CLAVE_KILLS").map_or(3, |kills| kills.parse().expect("CLAVE_KILLS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let mut servers = nats::cluster(&program, folder.path(), 3).await;
    let config = config(&servers, folder.path().join("objects").to_str().unwrap());
    let one = relay(folder.path(), "one", &config).await;
    let two = relay(folder.path(), "two", &config).await;
    let (told, permits) = (Arc::new(Mutex::new(Told::default())), Arc::new(Semaphore::new(0)));
    let devices: Vec<_> = (1..=DEVICES)
        .map(|seed| {
            let relay = if seed % 2 == 0 { &one } else { &two };
            tokio::spawn(load(seed, relay.address.clone(), told.clone(), permits.clone()))
        })
        .collect();
    for kill in 1..=kills {
        let leader = leader(&servers).await;
        // The leader each second time, else one of the others.
        let of_leader = servers.iter().position(|server| server.name() == leader).expect("one of them");
        let victim = if kill % 2 == 1 { of_leader } else { (of_leader + 1 + kill / 2 % 2) % 3 };
        let before = told.lock().unwrap().count();
        permits.add_permits(PUTS);
        progress(&told, before + 200 + 37 * (kill % 17)).await;
        servers[victim].kill().await;
        // It goes on with the other two, and while the third comes back.
        progress(&told, before + PUTS * 3 / 4).await;
        servers[victim].run().await;
        progress(&told, before + PUTS).await;
    }
    permits.close();
    for device in devices {
        device.await.unwrap();
    }
    leader(&servers).await;
    assert_all_there(&told, &one.address, "from a relay that was there").await;
    // One that reads everything anew.
    let three = relay(folder.path(), "three", &config).await;
    assert_all_there(&told, &three.address, "from a relay that came later").await;
    for relay in [one, two, three] {
        relay.stop().await;
    }
    let told = told.lock().unwrap();
    let (count, pause) = (told.count(), told.pause.as_secs_f32());
    println!(
        "{kills} kills, {count} puts acknowledged, none lost; no session ended, the longest pause was {pause:.1} s"
    );
}
