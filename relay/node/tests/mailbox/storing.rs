//! Put, deliver, acknowledge, reconcile, get.

use clave_mailbox::{BlobId, Kind, Reconcile, reply, request};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::harness::{Device, Relay, mailbox, name, put};

#[tokio::test]
async fn two_devices_that_are_never_there_together_get_what_each_put() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let key = mailbox(1);
    let mut alice = Device::greeted(1, &relay.address).await;
    assert_eq!(alice.open(&key, 0, true).await.mailboxes[0].last, 0);
    assert_eq!(alice.put(&key, Kind::Entry, &["封好的信".as_bytes(), b"two"]).await, Ok(2));
    assert_eq!(alice.put(&key, Kind::Entry, &[b"two", b"three"]).await, Ok(1));
    let chunk = vec![7; 1 << 20];
    assert_eq!(alice.put(&key, Kind::Chunk, &[&chunk]).await, Ok(1));
    // Nothing of what it put itself came meanwhile.
    assert!(alice.deliveries.is_empty());
    let generation = alice.welcome.as_ref().unwrap().generation.clone();
    alice.transport.shutdown().await;

    let mut bob = Device::greeted(2, &relay.address).await;
    assert_eq!(bob.welcome.as_ref().unwrap().generation, generation);
    let state = bob.open(&key, 0, true).await.mailboxes.remove(0);
    assert_eq!(state.entries, 3);
    let entries = bob.delivered(3).await;
    assert_eq!(
        entries.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>(),
        ["封好的信".as_bytes(), b"two", b"three"]
    );
    assert_eq!(entries[2].0, state.last);
    bob.acknowledge(&key, entries[1].0).await;
    let ids = [BlobId::of(Kind::Chunk, &chunk), BlobId([9; 32])];
    let found = bob.get(&key, Kind::Chunk, &ids).await;
    assert!(found[0].as_deref() == Some(&chunk) && found[1].is_none());
    bob.transport.shutdown().await;

    // A new session goes on where it says; what comes then comes at once.
    let mut bob = Device::greeted(2, &relay.address).await;
    bob.open(&key, entries[1].0, true).await;
    assert_eq!(bob.delivered(1).await, entries[2..]);
    let mut alice = Device::greeted(1, &relay.address).await;
    alice.open(&key, state.last, true).await;
    alice.put(&key, Kind::Entry, &[b"four"]).await.unwrap();
    let live = bob.delivered(1).await;
    assert!(live[0].0 > state.last && &live[0].1[..] == b"four");
    bob.put(&key, Kind::Entry, &[b"five"]).await.unwrap();
    assert_eq!(&alice.delivered(1).await[0].1[..], b"five", "and not its own four");
    relay.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_outlasts_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&mailbox(1), 0, false).await;
    for number in 0..20u8 {
        device.put(&mailbox(1), Kind::Entry, &[&[number; 100]]).await.unwrap();
    }
    relay.stop().await;
    let relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(2, &relay.address).await;
    assert_eq!(device.open(&mailbox(1), 0, true).await.mailboxes[0].entries, 20);
    let entries = device.delivered(20).await;
    assert!(entries.is_sorted_by_key(|(position, _)| *position));
    relay.stop().await;
}

#[tokio::test]
async fn both_sides_find_what_either_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let key = mailbox(1);
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&key, 0, false).await;
    let texts: Vec<_> = (0..600u32).map(|number| format!("entry {number}").into_bytes()).collect();
    let blobs: Vec<_> = texts[..500].iter().map(Vec::as_slice).collect();
    assert_eq!(device.put(&key, Kind::Entry, &blobs).await, Ok(500));
    let mut storage = NegentropyStorageVector::new();
    for text in &texts[100..] {
        storage.insert(0, Id::from_byte_array(BlobId::of(Kind::Entry, text).0)).unwrap();
    }
    storage.seal().unwrap();
    let mut own = Negentropy::owned(storage, clave_mailbox::RECONCILE_BYTES_MAX as u64).unwrap();
    let mut message = own.initiate().unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    loop {
        let step = Reconcile { mailbox: name(&key), message: message.into() };
        let reply::Body::Reconcile(answer) = device.call(request::Body::Reconcile(step)).await else {
            panic!("not an answer");
        };
        if answer.message.is_empty() {
            break;
        }
        match own.reconcile_with_ids(&answer.message, &mut have, &mut need).unwrap() {
            Some(next) => message = next,
            None => break,
        }
    }
    assert_eq!((have.len(), need.len()), (100, 100));
    // What it lacks it gets by id.
    let ids: Vec<_> = need.iter().map(|id| BlobId(id.to_bytes())).collect();
    let found = device.get(&key, Kind::Entry, &ids).await;
    assert!(found.iter().flatten().all(|bytes| texts[..100].iter().any(|text| text == bytes)) && found.len() == 100);
    relay.stop().await;
}

#[tokio::test]
async fn much_comes_as_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let key = mailbox(1);
    let mut alice = Device::greeted(1, &relay.address).await;
    alice.open(&key, 0, false).await;
    // Three times what may be on its way.
    let size = 256 << 10;
    for number in 0..48u8 {
        alice.put(&key, Kind::Entry, &[&vec![number; size]]).await.unwrap();
    }
    let mut bob = Device::greeted(2, &relay.address).await;
    bob.open(&key, 0, true).await;
    let first = bob.delivered(clave_mailbox::DELIVERED_BYTES_MAX / size).await;
    // A request after it is answered although nothing more is on its way: nothing came before the answer.
    bob.get(&key, Kind::Entry, &[BlobId([0; 32])]).await;
    assert!(bob.deliveries.is_empty());
    let mut last = first.last().unwrap().0;
    let mut numbers: Vec<u8> = first.iter().map(|(_, bytes)| bytes[0]).collect();
    while numbers.len() < 48 {
        bob.acknowledge(&key, last).await;
        let next = bob.delivered(1).await;
        last = next.last().unwrap().0;
        numbers.extend(next.iter().map(|(_, bytes)| bytes[0]));
    }
    assert_eq!(numbers, (0..48).collect::<Vec<_>>());
    relay.stop().await;
}

#[tokio::test]
async fn many_puts_in_flight_are_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let key = mailbox(1);
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&key, 0, false).await;
    let mut sent = Vec::new();
    for number in 0..1_000u32 {
        sent.push(device.send(put(&key, Kind::Entry, &[&number.to_be_bytes()])).await);
    }
    for number in sent {
        let (answered, body) = device.reply().await.unwrap();
        assert!(answered == number && matches!(body, reply::Body::Stored(stored) if stored.new == 1));
    }
    relay.stop().await;
}
