//! Catching up waits for what relays have.

use std::time::Duration;

use clave::Node;

use crate::{
    harness::Relay,
    people::{config, person, stored, team},
};

const MESSAGES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_caught_up_once_the_relay_has_said_all_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let (alice, bob) = (person(folder.path(), "Alice", false).await, person(folder.path(), "小波", false).await);
    let (hers, _) = team(&alice, &bob, &relay).await;
    stored(&alice, &hers).await;
    bob.shutdown().await;
    // More than what may be on its way at a time, in entries of their own.
    for n in 0..MESSAGES {
        hers.timeline().send(format!("{n} {}", "好".repeat(20_000))).await.unwrap();
    }
    stored(&alice, &hers).await;
    alice.shutdown().await;

    let bob = Node::open(config(folder.path(), "小波", false)).await.unwrap();
    let caught_up = bob.catch_up(Duration::from_secs(60)).await.unwrap();
    let his = bob.spaces().await.unwrap().remove(0);
    assert_eq!(his.timeline().len().await.unwrap(), MESSAGES, "{caught_up:?}");
    assert_eq!((caught_up.completed, caught_up.relays), (true, 1), "{caught_up:?}");
    assert!(caught_up.changed.contains(&his.id()));
    // Alice alone was not reached: a relay is no member.
    assert_eq!((caught_up.reached, caught_up.unreached), (0, 1));
    bob.shutdown().await;
    relay.stop().await;
}
