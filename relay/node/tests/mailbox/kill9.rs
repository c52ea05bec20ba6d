//! `kill -9` under load: nothing that was acknowledged is lost. `scripts/relay-kill9.sh` runs it with many kills.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use clave_mailbox::{BlobId, Kind, reply};

use crate::harness::{Device, Relay, mailbox, put};

/// How many devices put at a time, and how much each has in flight.
const DEVICES: u8 = 4;
const IN_FLIGHT: usize = 32;

/// What a device was told is durable: by mailbox, ids.
type Acknowledged = Arc<Mutex<BTreeMap<u8, Vec<(Kind, BlobId)>>>>;

fn blob(device: u8, number: u32) -> Vec<u8> {
    // Some are long enough to lie in pieces.
    let length = if number.is_multiple_of(16) { 150_000 } else { 700 };
    let mut bytes = vec![device; length];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Puts until the relay is gone. The number of the next blob.
async fn load(seed: u8, relay: clave_transport::Address, mut number: u32, acknowledged: Acknowledged) -> u32 {
    let key = mailbox(seed);
    let mut device = Device::greeted(seed, &relay).await;
    device.open(&key, 0, false).await;
    let mut waiting = BTreeMap::new();
    loop {
        while waiting.len() < IN_FLIGHT {
            number += 1;
            let kind = if number.is_multiple_of(16) { Kind::Chunk } else { Kind::Entry };
            let bytes = blob(seed, number);
            let body = put(&key, kind, &[&bytes]);
            let request = clave_mailbox::Request { number: u64::from(number) + 1_000, body: Some(body) };
            let frame = clave_mailbox::encode(&request);
            if device.transport.send(device.relay, clave_transport::Channel::Mailbox, frame).await.is_err() {
                return number;
            }
            waiting.insert(request.number, (kind, BlobId::of(kind, &bytes)));
        }
        let Some((answered, body)) = device.reply().await else { return number };
        assert!(matches!(body, reply::Body::Stored(stored) if stored.new == 1), "{body:?}");
        let stored = waiting.remove(&answered).expect("asked for");
        acknowledged.lock().unwrap().entry(seed).or_default().push(stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let kills: usize = std::env::var("CLAVE_KILLS").map_or(3, |kills| kills.parse().expect("CLAVE_KILLS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let config = "[sources]\nput_kib_per_second = 0\nrequests_per_second = 0";
    let acknowledged = Acknowledged::default();
    let mut numbers = [0; DEVICES as usize];
    for kill in 1..=kills {
        let mut relay = Relay::start(folder.path(), config).await;
        let so_far = |acknowledged: &Acknowledged| acknowledged.lock().unwrap().values().map(Vec::len).sum::<usize>();
        let before = so_far(&acknowledged);
        let devices: Vec<_> = (1..=DEVICES)
            .zip(numbers)
            .map(|(seed, number)| tokio::spawn(load(seed, relay.address.clone(), number, acknowledged.clone())))
            .collect();
        // Under load, at a moment that depends on the kill and not on the clock.
        let enough = before + 200 + 37 * (kill % 17);
        while so_far(&acknowledged) < enough {
            tokio::task::yield_now().await;
        }
        relay.process.start_kill().unwrap();
        relay.process.wait().await.unwrap();
        for (device, number) in devices.into_iter().zip(&mut numbers) {
            *number = device.await.unwrap();
        }
        let relay = Relay::start(folder.path(), config).await;
        let all = acknowledged.lock().unwrap().clone();
        for (seed, blobs) in &all {
            let mut device = Device::greeted(100 + seed, &relay.address).await;
            device.open(&mailbox(*seed), 0, false).await;
            for kind in [Kind::Entry, Kind::Chunk] {
                let ids: Vec<_> = blobs.iter().filter(|(of, _)| *of == kind).map(|(_, id)| *id).collect();
                for ids in ids.chunks(clave_mailbox::IDS_MAX) {
                    let lost = device.which(&mailbox(*seed), kind, ids).await.iter().filter(|found| !**found).count();
                    assert_eq!(lost, 0, "of {} {kind:?} of device {seed} after kill {kill}", ids.len());
                }
            }
        }
        relay.stop().await;
    }
    let all: usize = acknowledged.lock().unwrap().values().map(Vec::len).sum();
    println!("{kills} kills, {all} puts acknowledged, none lost");
}
