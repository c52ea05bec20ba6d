//! What is left after nodes that were connected have shut down. Alone in its process: it looks at all threads.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use clave_ffi::{NetworkOptions, Node, NodeOptions};
use tempfile::TempDir;

const SAFETY: Duration = Duration::from_secs(60);

/// The library's threads, by their ids. What a library below starts once per process inherits the name.
fn threads() -> BTreeSet<OsString> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it").flatten();
    let ours = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end().starts_with("clave"))
    });
    ours.map(|task| task.file_name()).collect()
}

async fn online(directory: &TempDir, name: &str) -> Node {
    let listen = Some(vec!["/ip4/127.0.0.1/tcp/0".to_owned()]);
    let network = Some(NetworkOptions { listen, mdns: false, ..NetworkOptions::default() });
    let options = NodeOptions { network, ..NodeOptions::new(directory.path().join(name).display().to_string()) };
    Node::create(options, name.to_owned(), "laptop".to_owned()).await.expect("a new directory")
}

/// Two devices meet and shut down.
async fn meet() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (online(&directory, "Alice").await, online(&directory, "Bob").await);
    alice.listening().await.expect("loopback is there");
    let space = alice.create_space("Team".to_owned()).await.expect("a space");
    let link = space.invite(SAFETY).await.expect("an invitation");
    bob.join(link, SAFETY).await.expect("a good link");
    for _ in 0..2 {
        alice.pause().await.expect("it runs");
        bob.pause().await.expect("it runs");
        // futures-timer's, which libp2p waits with: one per process, asleep.
        assert!(threads().len() <= 1, "paused: {:?}", threads());
        alice.resume().await.expect("nobody else has it");
        bob.resume().await.expect("nobody else has it");
    }
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test]
async fn no_thread_of_a_node_outlives_it_or_its_pause() {
    meet().await;
    assert!(threads().len() <= 1, "{:?}", threads());
    meet().await;
    assert!(threads().len() <= 1, "{:?}", threads());
}
