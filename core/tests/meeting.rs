//! Members who came while a device was away: it has to find them by what the others say.

#![allow(clippy::unwrap_used, reason = "a helper of a test is one, too")]

use std::time::Duration;

use clave::{DeviceId, NetworkConfig, Node, NodeConfig};

/// Far more than anything here takes.
const SAFETY: Duration = Duration::from_secs(60);

async fn device(directory: &tempfile::TempDir, name: &str, listen: &[&str]) -> Node {
    let listen = listen.iter().map(ToString::to_string).collect();
    let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
    Node::create(NodeConfig::new(directory.path().join(name)).online(network), name, "laptop").await.unwrap()
}

/// Waits until the two are connected.
async fn meets(node: &Node, other: DeviceId) {
    let meeting = async {
        while !node.status().await.unwrap().peers.iter().any(|peer| peer.device == other) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SAFETY, meeting).await.expect("they find each other");
}

/// Nobody can dial 爱丽丝, so she has to hear where Carol is. Bob says it before she knows that Carol is a member at all.
#[tokio::test(flavor = "multi_thread")]
async fn one_who_was_away_reaches_who_came_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let loopback = ["/ip4/127.0.0.1/tcp/0"];
    let bob = device(&directory, "Bob", &loopback).await;
    bob.listening().await.unwrap();
    let his = bob.create_space("团队").await.unwrap();
    let alice = device(&directory, "爱丽丝", &[]).await;
    let hers = alice.join(&his.invite(SAFETY).await.unwrap(), SAFETY).await.unwrap();
    meets(&alice, bob.profile().device).await;

    alice.pause().await.unwrap();
    let carol = device(&directory, "Carol", &loopback).await;
    carol.listening().await.unwrap();
    let theirs = carol.join(&his.invite(SAFETY).await.unwrap(), SAFETY).await.unwrap();
    meets(&carol, bob.profile().device).await;

    alice.resume().await.unwrap();
    meets(&alice, carol.profile().device).await;
    theirs.timeline().send("你好").await.unwrap();
    let caught_up = alice.catch_up(SAFETY).await.unwrap();
    assert!(caught_up.completed && caught_up.reached == 2, "{caught_up:?}");
    assert_eq!(hers.timeline().history(1, None).await.unwrap()[0].body, "你好");
    for node in [alice, bob, carol] {
        node.shutdown().await;
    }
}
