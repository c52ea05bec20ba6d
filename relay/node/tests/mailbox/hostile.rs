//! What a device may not do.

use clave_mailbox::{Bytes, Hello, Kind, Open, Opening, Put, Reason, Reconcile, Wake, reply, request};
use clave_transport::Channel;

use crate::harness::{Device, Relay, in_time, mailbox, name};

fn reason(body: reply::Body) -> Reason {
    match body {
        reply::Body::Refused(refused) => refused.reason(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_that_are_no_requests_end_the_session_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let frames: [Vec<u8>; 6] = [
        vec![],
        vec![0xff; 100],
        b"hello".to_vec(),
        vec![0; 4 << 20],
        // A Put with a length that it does not have.
        vec![0x08, 0x01, 0x2a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        // Number 0.
        vec![0x12, 0x02, 0x08, 0x01],
    ];
    for (seed, frame) in (10..).zip(frames) {
        for greeted in [false, true] {
            let mut device = Device::connect(seed, &relay.address).await;
            if greeted {
                device.hello(b"").await.unwrap();
            }
            device.raw(frame.clone()).await;
            device.ended().await;
            in_time(device.transport.shutdown()).await;
        }
    }
    // The first request is Hello, and there is one.
    let mut device = Device::connect(1, &relay.address).await;
    device.send(request::Body::Open(Open::default())).await;
    assert_eq!(device.reply().await.map(|(_, body)| reason(body)), Some(Reason::Malformed));
    device.ended().await;
    let mut device = Device::greeted(2, &relay.address).await;
    assert_eq!(device.hello(b"").await, Err(Reason::Malformed));
    device.ended().await;
    let mut device = Device::connect(3, &relay.address).await;
    let hello = request::Body::Hello(Hello { version: 0, token: Bytes::new() });
    assert_eq!(reason(device.call(hello).await), Reason::Version);
    device.ended().await;
    // All the same, others are served.
    let mut device = Device::greeted(4, &relay.address).await;
    device.open(&mailbox(1), 0, false).await;
    assert_eq!(device.put(&mailbox(1), Kind::Entry, &[b"sealed"]).await, Ok(1));
    let (_, stats, _) = relay.command("stats", &[]).await;
    assert!(stats.contains("clave_relay_ended_total{why=\"malformed\"} 14\n"), "{stats}");
    relay.stop().await;
}

#[tokio::test]
async fn a_mailbox_opens_to_its_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "[mailboxes]\nblob_kib = 1\nopen_max = 3").await;
    let (key, other) = (mailbox(1), mailbox(2));
    let mut owner = Device::greeted(1, &relay.address).await;
    owner.open(&key, 0, false).await;
    owner.put(&key, Kind::Entry, &[b"sealed"]).await.unwrap();
    let stolen = owner.opening(&key, 0, true);

    let mut thief = Device::greeted(2, &relay.address).await;
    // Not opened: nothing is stored, told or given.
    assert_eq!(thief.put(&key, Kind::Entry, &[b"planted"]).await, Err((Reason::NotOpen, 0)));
    let step = Reconcile { mailbox: name(&key), message: Bytes::from_static(&[0x61]) };
    assert_eq!(reason(thief.call(request::Body::Reconcile(step)).await), Reason::NotOpen);
    let get = clave_mailbox::Get { mailboxes: name(&key), kind: 0, ids: vec![0; 32].into(), only_whether: true };
    assert_eq!(reason(thief.call(request::Body::Get(get)).await), Reason::NotOpen);
    // Another's proof, one by another key, one that is cut up, a key with which anybody can sign.
    let own = thief.opening(&other, 0, true);
    let weak = Opening {
        mailbox: [&[1][..], &[0; 31]].concat().into(),
        signature: [&[1][..], &[0; 63]].concat().into(),
        ..own.clone()
    };
    let swapped = Opening { mailbox: name(&key), ..own.clone() };
    for opening in [stolen, swapped, Opening { signature: vec![0; 64].into(), ..own.clone() }, weak] {
        // One that is sound does not help the other.
        let open = request::Body::Open(Open { mailboxes: vec![own.clone(), opening] });
        assert_eq!(reason(thief.call(open).await), Reason::Proof);
    }
    assert_eq!(thief.put(&other, Kind::Entry, &[b"x"]).await, Err((Reason::NotOpen, 0)), "the request had no effect");
    // What is open has bounds.
    let four = (2..6).map(|number| thief.opening(&mailbox(number), 0, false)).collect();
    assert_eq!(reason(thief.call(request::Body::Open(Open { mailboxes: four })).await), Reason::Mailboxes);
    thief.open(&other, 0, false).await;
    assert_eq!(thief.put(&other, Kind::Entry, &[&[7; 1025]]).await, Err((Reason::TooLarge, 0)));
    let endpoint = "https://push.example/1".into();
    let wake = Wake { id: vec![0; 16].into(), endpoint, mailboxes: name(&key), ..Wake::default() };
    assert_eq!(reason(thief.call(request::Body::Wake(wake)).await), Reason::NotOpen);
    let strange = request::Body::Put(Put { mailbox: name(&other), kind: 7, blobs: vec![Bytes::from_static(b"x")] });
    thief.send(strange).await;
    thief.ended().await;
    let (_, stats, _) = relay.command("stats", &[]).await;
    assert!(stats.contains("\nclave_relay_entries 1\n"), "{stats}");
    relay.stop().await;
}

#[tokio::test]
async fn access_is_by_token_or_by_list() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "[access]\nmode = \"token\"\ntokens = [\"芝麻开门\"]").await;
    let mut device = Device::connect(1, &relay.address).await;
    assert_eq!(device.hello(b"sesame").await, Err(Reason::Access));
    device.ended().await;
    let mut device = Device::connect(2, &relay.address).await;
    device.hello("芝麻开门".as_bytes()).await.unwrap();
    let listed = device.transport.key();
    relay.stop().await;
    let relay = Relay::start(folder.path(), &format!("[access]\nmode = \"devices\"\ndevices = [\"{listed}\"]")).await;
    Device::greeted(2, &relay.address).await;
    let mut device = Device::connect(1, &relay.address).await;
    assert_eq!(device.hello("芝麻开门".as_bytes()).await, Err(Reason::Access));
    relay.stop().await;
}

#[tokio::test]
async fn a_flood_from_one_source_is_slowed_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[sources]\nput_kib_per_second = 1\nput_burst_kib = 64\nnetwork_devices = 1";
    let relay = Relay::start(folder.path(), config).await;
    let mut flooder = Device::greeted(1, &relay.address).await;
    let mut other = Device::greeted(2, &relay.address).await;
    flooder.open(&mailbox(1), 0, false).await;
    other.open(&mailbox(2), 0, false).await;
    // Each gets its burst, however often the other asks.
    let blob = |number: u16| [&number.to_be_bytes()[..], &[7; 4096]].concat();
    let (mut stored, mut refused) = (0, 0);
    for number in 0..200 {
        match flooder.put(&mailbox(1), Kind::Entry, &[&blob(number)]).await {
            Ok(new) => stored += new,
            Err((reason, retry_after_ms)) => {
                assert!(reason == Reason::Rate && retry_after_ms > 0, "{reason:?} {retry_after_ms}");
                refused += 1;
            }
        }
        if number % 20 == 0 {
            assert_eq!(other.put(&mailbox(2), Kind::Entry, &[&blob(number)]).await, Ok(1));
        }
    }
    assert!(stored >= 15 && refused >= 100, "{stored} stored, {refused} refused");
    relay.stop().await;
}

#[tokio::test]
async fn a_new_stream_of_a_device_takes_the_place_of_its_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let mut first = Device::greeted(1, &relay.address).await;
    // The same device from elsewhere.
    let mut second = Device::greeted(1, &relay.address).await;
    first.ended().await;
    second.open(&mailbox(1), 0, false).await;
    assert_eq!(second.put(&mailbox(1), Kind::Entry, &[b"sealed"]).await, Ok(1));
    // Other channels are not the relay's.
    second.transport.try_send(second.relay, Channel::Sync, b"hello".to_vec()).unwrap();
    second.ended().await;
    relay.stop().await;
}
