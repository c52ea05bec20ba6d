//! Pausing, resuming, catching up: what a phone asks of a node, looked at from outside its process where that counts.

#![allow(clippy::unwrap_used, reason = "a helper of a test is one, too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clave::{
    CaughtUp, Error, ListDiff, Message, NetworkConfig, Node, NodeConfig, NodeId, Space, StoreError, TimelineUpdates,
};

#[cfg(target_os = "linux")]
#[path = "lifecycle/outside.rs"]
mod outside;

/// Far more than anything here takes.
const SAFETY: Duration = Duration::from_secs(60);

fn config(directory: &tempfile::TempDir, name: &str) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory.path().join(name)).online(NetworkConfig {
        listen,
        mdns: false,
        ..NetworkConfig::default()
    })
}

/// Two who are in a space together.
async fn two(directory: &tempfile::TempDir) -> (Node, Space, Node, Space) {
    let alice = Node::create(config(directory, "alice"), "Alice", "laptop").await.unwrap();
    let bob = Node::create(config(directory, "bob"), "小波", "手机").await.unwrap();
    alice.listening().await.unwrap();
    let hers = alice.create_space("团队").await.unwrap();
    let his = bob.join(&hers.invite(SAFETY).await.unwrap(), SAFETY).await.unwrap();
    (alice, hers, bob, his)
}

/// A list as an app keeps it.
struct Shown(TimelineUpdates, Vec<Message>);

impl Shown {
    async fn until(&mut self, enough: impl Fn(&[String]) -> bool) -> usize {
        let mut resets = 0;
        while !enough(&self.bodies()) {
            let steps = tokio::time::timeout(SAFETY, self.0.next()).await.expect("it comes").unwrap();
            for step in steps {
                resets += usize::from(matches!(step, ListDiff::Reset(_)));
                step.apply(&mut self.1);
            }
        }
        resets
    }

    fn bodies(&self) -> Vec<String> {
        self.1.iter().map(|message| message.body.clone()).collect()
    }
}

fn is_paused<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("the node is paused");
    assert!(matches!(error, Error::Paused) && error.is_retryable() && error.code() == "paused", "{error}");
}

#[tokio::test]
async fn handles_outlive_a_pause_and_say_so_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, hers, bob, his) = two(&directory).await;
    let mut shown = Shown(his.timeline().observe(100), Vec::new());
    hers.timeline().send("before").await.unwrap();
    shown.until(|bodies| bodies == ["before"]).await;

    bob.pause().await.unwrap();
    bob.pause().await.unwrap();
    assert!(bob.is_paused());
    is_paused(his.timeline().send("paused").await);
    is_paused(his.members().await);
    is_paused(bob.status().await);
    is_paused(bob.listening().await);
    is_paused(bob.create_space("New").await.map(|space| space.id()));
    assert_eq!(bob.profile().person_name, "小波");
    bob.network_changed().await;
    hers.timeline().send("while he was away").await.unwrap();

    bob.resume().await.unwrap();
    bob.resume().await.unwrap();
    let resets = shown.until(|bodies| bodies == ["before", "while he was away"]).await;
    assert_eq!(resets, 0, "what was shown stays, and goes on");
    his.timeline().send("after").await.unwrap();
    assert_eq!(shown.until(|bodies| bodies.len() == 3).await, 0);

    bob.shutdown().await;
    assert!(matches!(bob.pause().await, Err(Error::Stopped)));
    assert!(matches!(bob.resume().await, Err(Error::Stopped)));
    assert!(matches!(shown.0.next().await, Err(Error::Stopped)), "an observer hears of the end");
    alice.shutdown().await;
}

#[tokio::test]
async fn what_waits_ends_with_the_pause_and_can_be_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let alice = Node::create(config(&directory, "alice"), "Alice", "laptop").await.unwrap();
    alice.listening().await.unwrap();
    let hers = alice.create_space("Team").await.unwrap();
    let link = hers.invite(SAFETY).await.unwrap();
    alice.pause().await.unwrap();

    // Nobody answers: it waits for her.
    let bob = Node::create(config(&directory, "bob"), "Bob", "phone").await.unwrap();
    let mut offline = Node::create(NodeConfig::new(directory.path().join("off")), "Off", "line").await.unwrap();
    let (joined, listening, ()) = tokio::join!(bob.join(&link, SAFETY), offline.listening(), async {
        // Both are under way once each node has answered something asked after them.
        bob.spaces().await.unwrap();
        offline.spaces().await.unwrap();
        bob.pause().await.unwrap();
        offline.pause().await.unwrap();
    });
    is_paused(joined.map(|space| space.id()));
    is_paused(listening);
    offline.resume().await.unwrap();
    offline.shutdown().await;
    offline = Node::open(NodeConfig::new(directory.path().join("off"))).await.unwrap();
    offline.shutdown().await;

    alice.resume().await.unwrap();
    let address = alice.listening().await.unwrap();
    assert!(!address.is_empty());
    bob.resume().await.unwrap();
    let his = bob.join(&hers.invite(SAFETY).await.unwrap(), SAFETY).await.unwrap();
    assert_eq!(his.name().await.unwrap(), "Team");
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test]
async fn nothing_is_lost_by_pausing_under_traffic() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, hers, bob, his) = two(&directory).await;
    let over = Arc::new(AtomicBool::new(false));
    let writing = |space: Space, who: &'static str| {
        let over = over.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut refused) = (Vec::new(), 0);
            for number in 0.. {
                let body = format!("{who} {number} 👋");
                match space.timeline().send(body.clone()).await {
                    Ok(_) => acknowledged.push(body),
                    Err(error) => {
                        assert!(matches!(error, Error::Paused), "{error}");
                        refused += 1;
                        tokio::task::yield_now().await;
                    }
                }
                if over.load(Relaxed) {
                    break;
                }
            }
            (acknowledged, refused)
        })
    };
    let (ours, theirs) = (writing(his.clone(), "bob"), writing(hers.clone(), "alice"));
    for _ in 0..8 {
        bob.pause().await.unwrap();
        assert!(Node::exists(&directory.path().join("bob")));
        bob.resume().await.unwrap();
        // Some of each get through in between.
        his.timeline().send("between").await.unwrap();
    }
    // A pause that nobody waits for goes on, and the next call waits for it.
    {
        let mut pausing = std::pin::pin!(bob.pause());
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(pausing.as_mut().poll(context).is_pending())).await
        );
    }
    bob.resume().await.unwrap();
    over.store(true, Relaxed);
    let ((ours, _), (theirs, refused)) = (ours.await.unwrap(), theirs.await.unwrap());
    assert_eq!(refused, 0, "she was never paused");
    let caught_up = bob.catch_up(SAFETY).await.unwrap();
    assert!(caught_up.completed, "{caught_up:?}");
    let mut shown = Shown(his.timeline().observe(100_000), Vec::new());
    shown.until(|bodies| ours.iter().chain(&theirs).all(|body| bodies.contains(body))).await;
    let mut at_hers = Shown(hers.timeline().observe(100_000), Vec::new());
    at_hers.until(|bodies| ours.iter().all(|body| bodies.contains(body))).await;
    assert_eq!(
        at_hers.bodies().iter().filter(|body| body.starts_with("bob")).count(),
        ours.len(),
        "what was refused is not there"
    );
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test]
async fn catching_up_completes_with_everything_or_says_that_it_did_not() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, hers, bob, his) = two(&directory).await;
    bob.pause().await.unwrap();
    for number in 0..300 {
        hers.timeline().send(format!("消息 {number}")).await.unwrap();
    }
    let note = hers.create_note("会议").await.unwrap();
    note.append_markdown("- 预算\n").await.unwrap();

    // Paused: it resumes by itself.
    let caught_up = bob.catch_up(SAFETY).await.unwrap();
    assert_eq!(caught_up, CaughtUp { completed: true, reached: 1, unreached: 0, relays: 0, changed: vec![his.id()] });
    assert_eq!(his.timeline().len().await.unwrap(), 300);
    assert_eq!(his.notes().await.unwrap()[0].title, "会议");

    // Nothing new: it completes again, and names nothing.
    let again = bob.catch_up(SAFETY).await.unwrap();
    assert_eq!(again, CaughtUp { completed: true, reached: 1, unreached: 0, relays: 0, changed: vec![] });

    // No time: it says so.
    bob.pause().await.unwrap();
    hers.timeline().send("late").await.unwrap();
    let hurried = bob.catch_up(Duration::ZERO).await.unwrap();
    assert!(!hurried.completed || hurried.reached == 0, "{hurried:?}");

    // Nobody there: it ends, having everything that could be had.
    alice.shutdown().await;
    let alone = bob.catch_up(SAFETY).await.unwrap();
    assert_eq!((alone.completed, alone.reached, alone.unreached), (true, 0, 1), "{alone:?}");

    // Given up, and paused while it waits.
    drop(tokio::time::timeout(Duration::ZERO, bob.catch_up(SAFETY)).await);
    let (caught_up, paused) = tokio::join!(bob.catch_up(SAFETY), bob.pause());
    paused.unwrap();
    is_paused(caught_up);
    bob.shutdown().await;
}

#[tokio::test]
async fn a_transfer_ends_with_the_pause_and_goes_on_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, hers, bob, his) = two(&directory).await;
    let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let bytes: Vec<u8> = (0..4_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&source, &bytes).unwrap();
    let file = hers.drive().add(&source, NodeId::ROOT, "计划.bin", |_| {}).await.unwrap();
    bob.catch_up(SAFETY).await.unwrap();
    // She is gone: it waits for her.
    alice.pause().await.unwrap();
    let drive = his.drive();
    let (got, ()) = tokio::join!(drive.get(file, &copy, |_| {}), async {
        bob.spaces().await.unwrap();
        bob.pause().await.unwrap();
    });
    is_paused(got);
    assert!(!copy.exists());
    alice.resume().await.unwrap();
    bob.resume().await.unwrap();
    tokio::time::timeout(SAFETY, drive.get(file, &copy, |_| {})).await.expect("she is back").unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    alice.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once_and_the_directory_can_be_held_by_one_only() {
    let directory = tempfile::tempdir().unwrap();
    let unlock = || clave::Unlock::Passphrase("correct horse 电池".to_owned().into());
    let locked = || NodeConfig { unlock: unlock(), ..NodeConfig::new(directory.path().join("a")) };
    let node = Node::create(locked(), "Alice", "phone").await.unwrap();
    let space = node.create_space("Team").await.unwrap();
    node.pause().await.unwrap();

    // Another holds it meanwhile, as a notification extension does.
    let other = Node::open(locked()).await.unwrap();
    let busy = node.resume().await.unwrap_err();
    assert!(matches!(busy, Error::Store(StoreError::Busy { holder: Some(_) })) && busy.is_retryable(), "{busy}");
    assert!(node.is_paused());
    other.spaces().await.unwrap()[0].timeline().send("from the extension").await.unwrap();
    other.shutdown().await;
    node.resume().await.unwrap();
    assert_eq!(space.timeline().history(5, None).await.unwrap()[0].body, "from the extension");
    node.shutdown().await;
}

#[tokio::test]
async fn one_of_three_who_pauses_while_the_others_talk_catches_up_with_both() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, hers, bob, his) = two(&directory).await;
    let carol = Node::create(config(&directory, "carol"), "Carol", "laptop").await.unwrap();
    carol.listening().await.unwrap();
    let theirs = carol.join(&his.invite(SAFETY).await.unwrap(), SAFETY).await.unwrap();
    let talking = |space: Space, who: &'static str| {
        tokio::spawn(async move {
            for number in 0..60 {
                space.timeline().send(format!("{who} {number}")).await.unwrap();
            }
        })
    };
    let talk = (talking(hers.clone(), "alice"), talking(theirs.clone(), "carol"));
    for _ in 0..5 {
        bob.pause().await.unwrap();
        bob.resume().await.unwrap();
        his.timeline().send("between").await.unwrap();
    }
    bob.pause().await.unwrap();
    talk.0.await.unwrap();
    talk.1.await.unwrap();
    bob.catch_up(Duration::ZERO).await.unwrap();
    let caught_up = bob.catch_up(Duration::from_secs(20)).await.unwrap();
    assert!(caught_up.completed && caught_up.reached == 2, "{caught_up:?}");
    let bodies: Vec<String> =
        his.timeline().history(1_000, None).await.unwrap().into_iter().map(|message| message.body).collect();
    let missing: Vec<String> = ["alice", "carol"]
        .iter()
        .flat_map(|who| (0..60).map(move |number| format!("{who} {number}")))
        .filter(|body| !bodies.contains(body))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for node in [alice, bob, carol] {
        node.shutdown().await;
    }
}
