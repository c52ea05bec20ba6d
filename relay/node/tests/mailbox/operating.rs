//! What an operator does.

use clave_mailbox::{Kind, Reason, Wake, Welcome, reply, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Device, Relay, command, in_time, mailbox};

#[tokio::test]
async fn a_configuration_is_written_checked_and_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    let path = path.to_str().unwrap();
    let (done, said, _) = command(&["init", path]).await;
    assert!(done.success() && said.contains("clave-relay run --config"), "{said}");
    assert!(command(&["check-config", "--config", path]).await.0.success());
    let (done, _, said) = command(&["init", path]).await;
    assert!(!done.success() && said.contains("is there already"), "{said}");
    std::fs::write(path, "[mailboxes]\nstore_mb = 5").unwrap();
    let (done, _, said) = command(&["check-config", "--config", path]).await;
    assert!(!done.success() && said.contains("did you mean `mailboxes.store_mib`?"), "{said}");
    let (done, _, said) = command(&["status", "--data", folder.path().to_str().unwrap()]).await;
    assert!(!done.success() && said.contains("no relay runs with the data directory"), "{said}");
    let (_, page, _) = command(&["man"]).await;
    assert!(page.contains(".TH clave-relay 1"), "{page}");
}

#[tokio::test]
async fn draining_refuses_puts_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&mailbox(1), 0, false).await;
    device.put(&mailbox(1), Kind::Entry, &[b"before"]).await.unwrap();
    relay.signal("-TERM").await;
    // The notice comes by itself; a put after it is refused, not lost.
    while !device.draining {
        match device.put(&mailbox(1), Kind::Entry, &[b"while"]).await {
            Ok(_) => {}
            Err(refused) => assert_eq!(refused, (Reason::Draining, 0)),
        }
    }
    assert_eq!(device.put(&mailbox(1), Kind::Entry, &[b"after"]).await, Err((Reason::Draining, 0)));
    device.ended().await;
    assert_eq!(in_time(relay.lines.next_line()).await.unwrap().as_deref(), Some("stopped"));
    assert!(in_time(relay.process.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_relay_that_is_drained_by_command_is_gone_when_the_command_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(1, &relay.address).await;
    let (done, said, _) = relay.command("status", &[]).await;
    assert!(done.success() && said.contains("running, version") && said.contains("sessions: 1,"), "{said}");
    let (done, said, why) = relay.command("drain", &[]).await;
    assert!(done.success() && said == "stopped\n", "{said}{why}");
    device.ended().await;
    assert!(in_time(relay.process.wait()).await.unwrap().success());
    // The next takes the directory over.
    Relay::start(folder.path(), "").await.stop().await;
}

#[tokio::test]
async fn a_backup_of_a_running_relay_is_restored_under_a_new_generation() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(1, &relay.address).await;
    let Welcome { generation, wake_key, .. } = device.welcome.clone().unwrap();
    device.open(&mailbox(1), 0, false).await;
    let endpoint = "https://push.example.org/1".into();
    let wake = request::Body::Wake(Wake { id: vec![1; 16].into(), endpoint, ..Wake::default() });
    assert!(matches!(device.call(wake).await, reply::Body::Woken(_)));
    device.put(&mailbox(1), Kind::Entry, &[b"kept"]).await.unwrap();
    let backup = folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    let (done, _, said) = relay.command("backup", &[backup]).await;
    assert!(done.success(), "{said}");
    let (done, _, said) = relay.command("backup", &[backup]).await;
    assert!(!done.success() && said.contains("is there already"), "{said}");
    device.put(&mailbox(1), Kind::Entry, &[b"lost"]).await.unwrap();
    let key = relay.address.peer();
    let (done, _, said) = relay.command("restore", &[backup]).await;
    assert!(!done.success() && said.contains("is there already"), "{said}");
    let data = relay.data.clone();
    relay.stop().await;
    std::fs::rename(&data, folder.path().join("broken")).unwrap();
    let (done, _, said) = command(&["restore", backup, "--data", data.to_str().unwrap()]).await;
    assert!(done.success(), "{said}");
    let relay = Relay::start(folder.path(), "").await;
    assert_eq!(relay.address.peer(), key);
    let mut device = Device::greeted(1, &relay.address).await;
    let welcome = device.welcome.clone().unwrap();
    assert!(welcome.generation != generation && welcome.wake_key == wake_key);
    let (_, stats, _) = relay.command("stats", &[]).await;
    assert!(stats.contains("clave_relay_wake_subscriptions 1\n"), "{stats}");
    device.open(&mailbox(1), 0, true).await;
    assert_eq!(&device.delivered(1).await[0].1[..], b"kept");
    relay.stop().await;
}

#[tokio::test]
async fn what_is_blocked_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let mut device = Device::greeted(1, &relay.address).await;
    device.open(&mailbox(1), 0, false).await;
    let name = device.transport.key().to_string();
    let (done, said, _) = relay.command("block", &[&name]).await;
    assert!(done.success() && said.contains("is blocked"), "{said}");
    device.ended().await;
    in_time(device.transport.shutdown()).await;
    let mut again = Device::connect(1, &relay.address).await;
    again.raw(vec![1]).await;
    again.ended().await;
    in_time(again.transport.shutdown()).await;
    assert!(relay.command("unblock", &[&name]).await.0.success());
    let mut device = Device::greeted(1, &relay.address).await;
    let hex: String = mailbox(1).verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(relay.command("block", &[&hex]).await.0.success());
    assert_eq!(relay.command("blocked", &[]).await.1, format!("{hex}\n"));
    let opening = device.opening(&mailbox(1), 0, false);
    let open = clave_mailbox::request::Body::Open(clave_mailbox::Open { mailboxes: vec![opening] });
    let clave_mailbox::reply::Body::Refused(refused) = device.call(open).await else { panic!("opened") };
    assert_eq!(refused.reason(), Reason::Blocked);
    assert!(!relay.command("block", &["nonsense"]).await.0.success());
    relay.stop().await;
}

#[tokio::test]
async fn limits_are_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let path = folder.path().join("relay.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}[mailboxes]\nblob_kib = 1\n")).unwrap();
    let (done, _, said) = relay.command("reload", &[]).await;
    assert!(done.success(), "{said}");
    let device = Device::greeted(1, &relay.address).await;
    assert_eq!(device.welcome.unwrap().blob_bytes_max, 1024);
    std::fs::write(&path, format!("{config}[mailboxes]\nblob_kb = 1\n")).unwrap();
    let (done, _, said) = relay.command("reload", &[]).await;
    assert!(!done.success() && said.contains("did you mean `mailboxes.blob_kib`?"), "{said}");
    Device::greeted(2, &relay.address).await;
    relay.stop().await;
}

async fn http(address: &str, path: &str) -> String {
    let mut stream = in_time(tokio::net::TcpStream::connect(address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn numbers_are_served_and_name_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // The address of the metrics is printed first.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let relay = Relay::start(folder.path(), "").await;
    let config = folder.path().join("relay.toml");
    relay.stop().await;
    let text = std::fs::read_to_string(&config).unwrap().replace("127.0.0.1:0", &probe);
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_clave-relay"));
    std::fs::write(&config, text).unwrap();
    process.args(["run", "--config", config.to_str().unwrap()]).kill_on_drop(true);
    process.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut process = process.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(process.stdout.take().unwrap()));
    let address = loop {
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        if let Some(address) = line.strip_prefix("listening on ") {
            break address.parse().unwrap();
        }
    };
    let mut device = Device::greeted(1, &address).await;
    device.open(&mailbox(1), 0, true).await;
    device.put(&mailbox(1), Kind::Entry, &[b"sealed"]).await.unwrap();
    let metrics = http(&probe, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    for line in ["clave_relay_sessions 1", "clave_relay_entries 1", "clave_relay_put_seconds_count 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    let name = device.transport.key().to_string();
    assert!(!metrics.contains(&name[..12]) && !metrics.contains("127.0.0.1"));
    assert!(http(&probe, "/health").await.ends_with("ok\n"));
    let page = http(&probe, "/").await;
    assert!(page.contains("<title>clave-relay</title>") && !page.contains("https://") && !page.contains("src="));
    let status = http(&probe, "/status.json").await;
    let json: serde_json::Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["store"]["entries"], 1);
    assert!(http(&probe, "/else").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn nothing_that_is_kept_or_logged_names_a_device_or_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let mut keys = Vec::new();
    for seed in 1..=5 {
        let mut device = Device::greeted(seed, &relay.address).await;
        // Not of the same seed as the device: that would be the same key.
        let key = mailbox(100 + seed);
        device.open(&key, 0, true).await;
        device.put(&key, Kind::Entry, &[&[seed; 300]]).await.unwrap();
        device.put(&key, Kind::Chunk, &[&[seed; 70_000]]).await.unwrap();
        keys.push(device.transport.key());
        if seed == 5 {
            // One that is refused is logged as little.
            device.raw(vec![0xff]).await;
            device.ended().await;
        }
        in_time(device.transport.shutdown()).await;
    }
    let backup = folder.path().join("backup");
    assert!(relay.command("backup", &[backup.to_str().unwrap()]).await.0.success());
    let data = relay.data.clone();
    relay.stop().await;
    let log = std::fs::read(folder.path().join("log")).unwrap();
    assert!(log.windows(4).any(|found| found == b"gone"), "sessions are logged");
    let mut files = vec![folder.path().join("log")];
    for directory in [&data, &backup] {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.is_file()));
    }
    let mut looked_at = 0;
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        looked_at += bytes.len();
        let finds = |canary: &[u8]| bytes.windows(canary.len()).any(|found| found == canary);
        for key in &keys {
            let text = key.to_string();
            let (start, end) = (&text.as_bytes()[..16], &text.as_bytes()[text.len() - 8..]);
            assert!(!finds(&key.0) && !finds(start) && !finds(end), "{path:?} names a device");
        }
        assert!(!finds(b"127.0.0.1"), "{path:?} names an address");
    }
    // The search would find what is there: a blob.
    let store = std::fs::read(data.join("mailboxes.redb")).unwrap();
    assert!(looked_at > 350_000 && store.windows(300).any(|found| found == [3; 300]));
}
