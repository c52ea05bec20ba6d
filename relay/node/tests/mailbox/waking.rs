//! Devices that are not there are woken by the real program, through a real push server.

use clave_mailbox::{Bytes, Kind, Reason, Wake, Woken, reply, request};
use ed25519_dalek::SigningKey;

use crate::{
    harness::{Device, Relay, in_time, mailbox, name, put},
    push_server::{Browser, PushServer, vapid_claims},
};

fn wake(id: u8, endpoint: &str, mailboxes: &[&SigningKey]) -> Wake {
    let mailboxes: Vec<u8> = mailboxes.iter().flat_map(|key| name(key)).collect();
    Wake { id: vec![id; 16].into(), endpoint: endpoint.into(), mailboxes: mailboxes.into(), ..Wake::default() }
}

fn with_keys(wake: Wake, browser: &Browser) -> Wake {
    let auth = Bytes::copy_from_slice(&browser.auth);
    Wake { p256dh: Bytes::copy_from_slice(&browser.p256dh()), auth, ..wake }
}

async fn register(device: &mut Device, wake: Wake) -> Result<Woken, Reason> {
    match device.call(request::Body::Wake(wake)).await {
        reply::Body::Woken(woken) => Ok(woken),
        reply::Body::Refused(refused) => Err(refused.reason()),
        other => panic!("{other:?}"),
    }
}

/// A device that opens mailboxes, asks to be woken, and goes to sleep. What it was told.
async fn sleeper(seed: u8, relay: &Relay, mailboxes: &[&SigningKey], wake: Wake) -> Woken {
    let mut device = Device::greeted(seed, &relay.address).await;
    for key in mailboxes {
        let last = device.open(key, 0, false).await.mailboxes[0].last;
        device.open(key, last, true).await;
    }
    register(&mut device, wake).await.unwrap()
}

async fn stats(relay: &Relay) -> String {
    relay.command("stats", &[]).await.1
}

#[tokio::test]
async fn a_browser_is_woken_once_until_it_comes_and_not_for_what_is_muted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PushServer::start(folder.path()).await;
    let config = server.config("interval_seconds = 86400\ncontact = \"mailto:运维@example.org\"\nttl_hours = 2");
    let relay = Relay::start(folder.path(), &config).await;
    let (chat, muted) = (mailbox(1), mailbox(2));
    let mut writer = Device::greeted(1, &relay.address).await;
    writer.open(&chat, 0, false).await;
    writer.open(&muted, 0, false).await;
    let key = writer.welcome.as_ref().unwrap().wake_key.clone();

    let browser = Browser::new(40);
    let phone = with_keys(wake(1, &server.endpoint("phone?a=1"), &[&chat]), &browser);
    let tablet = wake(2, &server.endpoint("tablet"), &[&muted]);
    sleeper(2, &relay, &[&chat, &muted], phone.clone()).await;
    sleeper(3, &relay, &[&chat, &muted], tablet).await;
    // The phone has muted this one.
    writer.put(&muted, Kind::Entry, &["吃了吗".as_bytes()]).await.unwrap();
    let push = server.push().await;
    assert_eq!(push.path, "/tablet");
    assert!(
        push.body.is_empty() && push.header("authorization").is_none() && push.header("content-encoding").is_none()
    );
    writer.put(&chat, Kind::Chunk, &[b"a chunk wakes nobody"]).await.unwrap();
    writer.put(&chat, Kind::Entry, &["在吗".as_bytes()]).await.unwrap();
    let push = server.push().await;
    assert_eq!(push.path, "/phone?a=1");
    assert_eq!(browser.opened(&push), b"wake");
    let claims = vapid_claims(&push, &key, &format!("https://localhost:{}", server.port));
    assert_eq!(claims["sub"], "mailto:运维@example.org");
    let headers = ["ttl", "urgency", "topic"].map(|name| push.header(name));
    assert_eq!(headers, [Some("7200"), Some("high"), Some("wake")]);

    // It knows already; when it has come and gone, it does no more.
    writer.put(&chat, Kind::Entry, &[b"2"]).await.unwrap();
    let woken = sleeper(2, &relay, &[&chat], phone).await;
    assert!(woken.accepted_seconds > 0 && woken.refused_seconds == 0 && !woken.gone, "{woken:?}");
    writer.put(&chat, Kind::Entry, &[b"3"]).await.unwrap();
    assert_eq!(server.push().await.path, "/phone?a=1");
    let text = stats(&relay).await;
    assert!(text.contains("clave_relay_wake_subscriptions 2\n"), "{text}");
    relay.stop().await;
    assert!(server.is_idle(), "three pushes, and no more");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!log.contains("phone") && !log.contains("localhost"), "{log}");
}

#[tokio::test]
async fn who_is_there_is_told_and_woken_when_it_did_not_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PushServer::start(folder.path()).await;
    let relay = Relay::start(folder.path(), &server.config("interval_seconds = 0")).await;
    let (chat, other) = (mailbox(1), mailbox(2));
    let mut phone = Device::greeted(2, &relay.address).await;
    phone.open(&chat, 0, true).await;
    phone.open(&other, 0, false).await;
    let subscription = wake(1, &server.endpoint("phone"), &[&chat, &other]);
    register(&mut phone, subscription.clone()).await.unwrap();
    let mut writer = Device::greeted(1, &relay.address).await;
    writer.open(&chat, 0, false).await;
    writer.open(&other, 0, false).await;
    writer.put(&chat, Kind::Entry, &[b"told"]).await.unwrap();
    assert_eq!(phone.delivered(1).await.len(), 1);
    assert!(server.is_idle());
    // It has not said that it has it, and is gone.
    drop(phone);
    assert_eq!(server.push().await.path, "/phone");
    // The next time it says so: then nothing is left to wake it for, until something comes.
    let mut phone = Device::greeted(2, &relay.address).await;
    phone.open(&chat, 0, true).await;
    phone.open(&other, 0, false).await;
    register(&mut phone, subscription).await.unwrap();
    let position = phone.delivered(1).await[0].0;
    phone.acknowledge(&chat, position).await;
    phone.get(&chat, Kind::Entry, &[]).await;
    drop(phone);
    in_time(async { while !stats(&relay).await.contains("clave_relay_sessions 1\n") {} }).await;
    assert!(stats(&relay).await.contains("clave_relay_wake_waiting 0\n"));
    writer.put(&other, Kind::Entry, &[b"2"]).await.unwrap();
    assert_eq!(server.push().await.path, "/phone");
    relay.stop().await;
    assert!(server.is_idle(), "two pushes, and no more");
}

#[tokio::test]
async fn who_puts_and_leaves_is_not_woken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PushServer::start(folder.path()).await;
    let relay = Relay::start(folder.path(), &server.config("interval_seconds = 0")).await;
    let chat = mailbox(1);
    let mut other = Device::greeted(1, &relay.address).await;
    other.open(&chat, 0, true).await;
    for round in 0..30 {
        let mut phone = Device::greeted(2, &relay.address).await;
        let last = phone.open(&chat, 0, false).await.mailboxes[0].last;
        phone.open(&chat, last, true).await;
        register(&mut phone, wake(1, &server.endpoint("phone"), &[&chat])).await.unwrap();
        for number in 0..20 {
            phone.send(put(&chat, Kind::Entry, &[format!("我走了 {round} {number}").as_bytes()])).await;
        }
        // It goes while they are being stored, without having heard so.
        other.delivered(1).await;
    }
    in_time(async { while !stats(&relay).await.contains("clave_relay_sessions 1\n") {} }).await;
    assert!(stats(&relay).await.contains("clave_relay_wake_waiting 0\n") && server.is_idle());
    // It is woken for what somebody else puts.
    other.put(&chat, Kind::Entry, &[b"2"]).await.unwrap();
    assert_eq!(server.push().await.path, "/phone");
    relay.stop().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn subscriptions_outlive_the_relay_and_end_when_they_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PushServer::start(folder.path()).await;
    let config = server.config("interval_seconds = 0\nretry_seconds = 1");
    let (chat, browser) = (mailbox(1), Browser::new(50));
    let (phone, tablet) = (
        with_keys(wake(1, &server.endpoint("phone"), &[&chat]), &browser),
        wake(2, &server.endpoint("tablet"), &[&chat]),
    );
    let mut relay = Relay::start(folder.path(), &config).await;
    sleeper(2, &relay, &[&chat], phone.clone()).await;
    relay.process.kill().await.unwrap();
    let relay = Relay::start(folder.path(), &config).await;
    let mut writer = Device::greeted(1, &relay.address).await;
    writer.open(&chat, 0, false).await;
    // Tried again, as the push server says, under the same key.
    server.answer(503, "");
    server.answer(429, "1");
    writer.put(&chat, Kind::Entry, &[b"1"]).await.unwrap();
    for _ in 0..3 {
        let push = server.push().await;
        assert_eq!((push.path.as_str(), &browser.opened(&push)[..]), ("/phone", &b"wake"[..]));
        let key = &writer.welcome.as_ref().unwrap().wake_key;
        vapid_claims(&push, key, &format!("https://localhost:{}", server.port));
    }
    let woken = sleeper(2, &relay, &[&chat], phone.clone()).await;
    assert_eq!((woken.status, woken.gone), (429, false));
    // Gone: the tablet is woken for what the phone no longer is.
    server.answer(410, "");
    writer.put(&chat, Kind::Entry, &[b"2"]).await.unwrap();
    assert_eq!(server.push().await.path, "/phone");
    relay.stop().await;
    let relay = Relay::start(folder.path(), &config).await;
    sleeper(3, &relay, &[&chat], tablet).await;
    let mut writer = Device::greeted(1, &relay.address).await;
    writer.open(&chat, 0, false).await;
    writer.put(&chat, Kind::Entry, &[b"3"]).await.unwrap();
    assert_eq!(server.push().await.path, "/tablet");
    let woken = sleeper(2, &relay, &[&chat], phone).await;
    assert!(woken.gone && woken.status == 410 && woken.refused_seconds > 0, "{woken:?}");
    relay.stop().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn nobody_has_the_relay_connect_where_they_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let server = PushServer::start(folder.path()).await;
    let more = "device_subscriptions_per_day = 2\nmailboxes_max = 1\nretry_seconds = 3600";
    let config = server.config(more).replace("private_addresses = true\n", "");
    let relay = Relay::start(folder.path(), &config).await;
    let (chat, other) = (mailbox(1), mailbox(2));
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&chat, 0, false).await;
    for endpoint in [
        "http://push.example.org/1",
        "https://127.0.0.1/1",
        "https://[::1]:8443/1",
        "https://[::ffff:10.0.0.1]/1",
        "https://169.254.169.254/latest/meta-data/",
        "https://192.168.0.1/",
        "push",
    ] {
        assert_eq!(register(&mut device, wake(1, endpoint, &[&chat])).await, Err(Reason::Endpoint), "{endpoint}");
    }
    let no_point =
        Wake { p256dh: vec![4; 65].into(), auth: vec![0; 16].into(), ..wake(1, "https://push.example.org/", &[]) };
    assert_eq!(register(&mut device, no_point).await, Err(Reason::Endpoint));
    assert_eq!(register(&mut device, wake(1, "https://push.example.org/", &[&other])).await, Err(Reason::NotOpen));
    device.open(&other, 0, false).await;
    let both = wake(1, "https://push.example.org/", &[&chat, &other]);
    assert_eq!(register(&mut device, both).await, Err(Reason::Mailboxes));
    // A name that stands for this machine is taken, and not connected to.
    let phone = wake(1, &server.endpoint("phone"), &[&chat]);
    register(&mut device, phone.clone()).await.unwrap();
    device.put(&chat, Kind::Entry, &[b"1"]).await.unwrap();
    in_time(async { while !stats(&relay).await.contains("clave_relay_pushes_total{outcome=\"unreached\"} 1\n") {} })
        .await;
    let woken = register(&mut device, phone).await.unwrap();
    assert_eq!((woken.accepted_seconds, woken.status, woken.gone), (0, 0, false));
    assert!(woken.refused_seconds > 0 && server.is_idle());
    // So many places a day; the same again is none.
    register(&mut device, wake(1, &server.endpoint("2"), &[&chat])).await.unwrap();
    register(&mut device, wake(1, &server.endpoint("2"), &[])).await.unwrap();
    // What flows in meanwhile is enough for one more, which then owes the rest.
    let mut refusals = Vec::new();
    for path in ["3", "4"] {
        if let reply::Body::Refused(refused) =
            device.call(request::Body::Wake(wake(1, &server.endpoint(path), &[]))).await
        {
            refusals.push((refused.reason(), refused.retry_after_ms > 60 * 60 * 1000));
        }
    }
    assert_eq!(refusals.last(), Some(&(Reason::Rate, true)));
    assert_eq!(register(&mut device, wake(1, "", &[])).await, Ok(Woken::default()));
    assert!(stats(&relay).await.contains("clave_relay_wake_subscriptions 0\n"));
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_wakes_nobody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "[wake]\nenabled = false").await;
    let mut device = Device::greeted(1, &relay.address).await;
    assert!(device.welcome.as_ref().unwrap().wake_key.is_empty());
    assert_eq!(register(&mut device, wake(1, "https://push.example.org/", &[])).await, Err(Reason::Unsupported));
    assert!(!relay.data.join("wake.redb").exists());
    relay.stop().await;
}
