//! The real program, used as a relay by two devices.

#![allow(clippy::unwrap_used)] // A test may panic.

use std::{path::Path, process::Stdio, time::Duration};

use clave_transport::{Address, Channel, Config, Event, Events, PeerKey, Transport};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A safety net only.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this should have happened by now")
}

struct Relay {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: Address,
}

async fn relay(identity: &Path) -> Relay {
    let mut process = Command::new(env!("CARGO_BIN_EXE_clave-relay"))
        .args(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--identity"])
        .arg(identity)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = in_time(lines.next_line()).await.unwrap().unwrap();
    let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    Relay { process, lines, address }
}

async fn until<T>(events: &mut Events, mut fits: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = fits(in_time(events.next()).await.unwrap()) {
            return found;
        }
    }
}

async fn device(seed: u8, relay: &Address) -> (Transport, Events, Address) {
    let mut config = Config::new([seed; 32]);
    config.listen = Vec::new();
    config.relays = vec![relay.clone()];
    config.hole_punching = false;
    let (transport, mut events) = Transport::start(config).unwrap();
    let address = until(&mut events, |event| match event {
        Event::Listening { address } => Some(address),
        _ => None,
    })
    .await;
    (transport, events, address)
}

async fn frame(events: &mut Events) -> (PeerKey, Vec<u8>) {
    until(events, |event| match event {
        Event::Frame { peer, bytes, .. } => Some((peer, bytes)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn two_devices_talk_through_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("relay.key");
    let mut first = relay(&identity).await;
    let (alice, mut alice_hears, _) = device(1, &first.address).await;
    let (bob, mut bob_hears, at_bob) = device(2, &first.address).await;
    assert!(at_bob.is_relayed());
    in_time(alice.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    alice.send(bob.key(), Channel::Join, b"hello".to_vec()).await.unwrap();
    assert_eq!(frame(&mut bob_hears).await, (alice.key(), b"hello".to_vec()));
    bob.send(alice.key(), Channel::Join, vec![7; 1 << 20]).await.unwrap();
    assert_eq!(frame(&mut alice_hears).await, (bob.key(), vec![7; 1 << 20]));

    // Ctrl-c: it says goodbye and ends well.
    let id = first.process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    assert_eq!(in_time(first.lines.next_line()).await.unwrap().as_deref(), Some("stopped"));
    assert!(in_time(first.process.wait()).await.unwrap().success());
    until(&mut alice_hears, |event| (event == Event::Disconnected { peer: bob.key() }).then_some(())).await;
    // With the same file it is the same relay.
    let second = relay(&identity).await;
    assert_eq!(second.address.peer(), first.address.peer());
}

#[tokio::test]
async fn help_shows_an_example_and_mistakes_say_what_to_do() {
    let relay = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_clave-relay")).args(args).output();
    let help = in_time(relay(&["--help"])).await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("clave-relay run --listen /ip4/0.0.0.0/tcp/4001"), "{help}");
    let wrong = in_time(relay(&["run", "--listen", "0.0.0.0:4001"])).await.unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(!wrong.status.success() && said.contains("write it like /ip4/192.0.2.7/tcp/4001"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/relay.key");
    let args = ["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--identity", missing.to_str().unwrap()];
    let wrong = in_time(relay(&args)).await.unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(!wrong.status.success() && said.contains("Give another one with --identity"), "{said}");
}
