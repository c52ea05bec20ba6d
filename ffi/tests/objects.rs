//! The objects as an app uses them, from Rust: what is asserted here needs no other language.

use std::sync::Arc;
use std::time::Duration;

use clave_ffi::{ClaveError, NetworkOptions, Node, NodeOptions, Timeline, TimelineDiff, TimelineListener};
use tempfile::TempDir;
use tokio::sync::watch;

const SAFETY: Duration = Duration::from_secs(60);

fn options(directory: &TempDir, name: &str) -> NodeOptions {
    NodeOptions::new(directory.path().join(name).display().to_string())
}

fn online(directory: &TempDir, name: &str) -> NodeOptions {
    let listen = Some(vec!["/ip4/127.0.0.1/tcp/0".to_owned()]);
    NodeOptions {
        network: Some(NetworkOptions { listen, mdns: false, ..NetworkOptions::default() }),
        ..options(directory, name)
    }
}

async fn create(options: NodeOptions, name: &str) -> Node {
    Node::create(options, name.to_owned(), "laptop".to_owned()).await.expect("a new directory")
}

async fn chat(node: &Node) -> Timeline {
    node.create_space("Team".to_owned()).await.expect("a space").timeline()
}

/// What a listener was told so far.
#[derive(Default)]
struct Recorder(watch::Sender<Vec<TimelineDiff>>);

impl TimelineListener for Recorder {
    fn on_update(&self, diffs: Vec<TimelineDiff>) -> Result<(), ClaveError> {
        self.0.send_modify(|told| told.extend(diffs));
        Ok(())
    }
}

impl Recorder {
    async fn until(&self, enough: impl FnMut(&Vec<TimelineDiff>) -> bool) -> Vec<TimelineDiff> {
        let mut told = self.0.subscribe();
        let told = tokio::time::timeout(SAFETY, told.wait_for(enough)).await.expect("it takes far less than a minute");
        told.expect("the recorder holds the sender").clone()
    }
}

#[tokio::test]
async fn the_first_step_is_reset_and_cancel_is_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = create(options(&directory, "alice"), "Alice").await;
    let timeline = chat(&node).await;
    timeline.send("before".to_owned()).await.expect("a message");
    let (heard, witness) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let subscription = timeline.observe(10, heard.clone());
    timeline.send("你好 👋".to_owned()).await.expect("a message");

    let body = |step: &TimelineDiff| match step {
        TimelineDiff::Reset { items } | TimelineDiff::Append { items } => {
            items.iter().map(|message| message.body.clone()).collect()
        }
        _ => Vec::new(),
    };
    let bodies = |told: &[TimelineDiff]| told.iter().flat_map(body).collect::<Vec<_>>();
    let told = heard.until(|told| bodies(told).len() == 2).await;
    assert!(matches!(told[0], TimelineDiff::Reset { .. }));
    assert!(told[1..].iter().all(|step| !matches!(step, TimelineDiff::Reset { .. })));
    assert_eq!(bodies(&told), ["before", "你好 👋"]);

    subscription.cancel();
    assert_eq!(subscription.finished().await, Ok(()));
    let _witness = timeline.observe(10, witness.clone());
    timeline.send("unheard".to_owned()).await.expect("a message");
    witness.until(|told| bodies(told).contains(&"unheard".to_owned())).await;
    assert_eq!(heard.until(|_| true).await, told);
    node.shutdown().await;
}

#[tokio::test]
async fn a_subscription_that_is_let_go_of_ends_and_one_that_is_kept_ends_with_the_node() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = create(options(&directory, "alice"), "Alice").await;
    let timeline = chat(&node).await;
    let dropped = Arc::new(Recorder::default());
    let subscription = timeline.observe(10, dropped.clone());
    dropped.until(|told| !told.is_empty()).await;
    drop(subscription);
    let let_go = async {
        while Arc::strong_count(&dropped) > 1 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(SAFETY, let_go).await.expect("the listener is let go of");

    let kept = timeline.observe(10, Arc::new(Recorder::default()));
    let (ended, ()) = tokio::join!(kept.finished(), node.shutdown());
    assert_eq!(ended, Ok(()));
    let late = timeline.observe(10, Arc::new(Recorder::default()));
    assert_eq!(late.finished().await, Ok(()));
}

#[tokio::test]
async fn a_listener_that_fails_ends_its_own_subscription() {
    struct Fails(bool);
    impl TimelineListener for Fails {
        fn on_update(&self, _: Vec<TimelineDiff>) -> Result<(), ClaveError> {
            assert!(!self.0, "a panic");
            Err(uniffi::UnexpectedUniFFICallbackError::new("Exception: a bug\n\tat Line.kt").into())
        }
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = create(options(&directory, "alice"), "Alice").await;
    let timeline = chat(&node).await;
    let end = timeline.observe(10, Arc::new(Fails(false))).finished().await.expect_err("it failed");
    assert_eq!(
        (end.code().as_str(), end.to_string().as_str()),
        (
            "argument.listener",
            "the listener failed (Exception: a bug) and is not called any more: mend it, and observe again"
        )
    );
    let end = timeline.observe(10, Arc::new(Fails(true))).finished().await.expect_err("it panicked");
    assert_eq!(end.code(), "argument.listener");
    timeline.send("the node goes on".to_owned()).await.expect("a message");
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_nobody_holds_shuts_down_by_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = create(online(&directory, "alice"), "Alice").await;
    let timeline = chat(&node).await;
    drop(node);
    timeline.send("a handle keeps it".to_owned()).await.expect("a message");
    drop(timeline);
    let reopened = async {
        loop {
            match Node::open(options(&directory, "alice")).await {
                Ok(node) => return node,
                Err(error) => assert_eq!(error.code(), "store.busy"),
            }
        }
    };
    let node = tokio::time::timeout(SAFETY, reopened).await.expect("it lets go of the directory");
    assert_eq!(node.spaces().await.expect("it runs").len(), 1);
    node.shutdown().await;
}

#[tokio::test]
async fn opening_can_be_given_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    create(options(&directory, "alice"), "Alice").await.shutdown().await;
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::ZERO, Node::open(online(&directory, "alice"))).await;
        if let Ok(node) = given_up {
            node.expect("nobody else holds it").shutdown().await;
        }
        // Whatever was begun winds down; then the directory is free.
        let reopened = async {
            loop {
                match Node::open(options(&directory, "alice")).await {
                    Ok(node) => return node.shutdown().await,
                    Err(error) => assert_eq!(error.code(), "store.busy"),
                }
            }
        };
        tokio::time::timeout(SAFETY, reopened).await.expect("it lets go of the directory");
    }
}

#[tokio::test]
async fn subscriptions_and_handles_outlive_a_pause_and_transfers_say_that_they_ended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = create(online(&directory, "alice"), "Alice").await;
    let space = node.create_space("Team".to_owned()).await.expect("a space");
    let timeline = space.timeline();
    let (heard, cancelled) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let kept = timeline.observe(10, heard.clone());
    let ended = timeline.observe(10, cancelled.clone());
    heard.until(|told| !told.is_empty()).await;
    cancelled.until(|told| !told.is_empty()).await;
    timeline.send("before".to_owned()).await.expect("a message");
    heard.until(|told| told.len() == 2).await;

    for round in 0..3 {
        node.pause().await.expect("it runs");
        assert!(node.is_paused());
        let paused = timeline.send("no".to_owned()).await.expect_err("it is paused");
        assert_eq!((paused.code().as_str(), paused.is_retryable()), ("paused", true));
        let transfer = space.everybody().drive().add("/x".to_owned(), "x".to_owned(), None).expect("it is well formed");
        assert_eq!(transfer.finished().await.expect_err("it is paused").code(), "paused");
        if round == 0 {
            ended.cancel();
            assert_eq!(ended.finished().await, Ok(()), "cancelling works while paused");
        }
        // Another process could have it now, so this one can.
        let again = Node::open(options(&directory, "alice")).await.expect("nobody has it");
        let busy = node.resume().await.expect_err("somebody has it");
        assert_eq!((busy.code().as_str(), busy.is_retryable()), ("store.busy", true));
        again.shutdown().await;
        node.resume().await.expect("nobody has it");
        timeline.send(format!("round {round}")).await.expect("a message");
        heard.until(|told| told.len() == 3 + round).await;
    }
    let told = heard.until(|_| true).await;
    assert_eq!(told.iter().filter(|step| matches!(step, TimelineDiff::Reset { .. })).count(), 1, "{told:?}");
    let caught_up = node.catch_up(SAFETY).await.expect("it runs");
    assert_eq!((caught_up.completed, caught_up.reached), (true, 0));
    node.pause().await.expect("it runs");
    node.shutdown().await;
    assert_eq!(kept.finished().await, Ok(()), "it ends with the node, paused or not");
    assert_eq!(node.resume().await.expect_err("it is over").code(), "stopped");
}
