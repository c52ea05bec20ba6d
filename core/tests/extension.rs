//! A notification extension looks at what came while the app is paused, in the same directory.

use std::time::Duration;

use clave::{Error, NetworkConfig, Node, NodeConfig, Purpose, StoreError};

const SAFETY: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_opens_while_the_app_is_paused_and_the_app_waits_for_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = |name: &str| {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
        NodeConfig::new(directory.path().join(name)).online(network)
    };
    let app = Node::create(config("小红"), "小红", "手机").await.expect("a new directory");
    let ming = Node::create(config("小明"), "小明", "电脑").await.expect("a new directory");
    within(ming.listening()).await.expect("loopback is there");
    let his = ming.create_space("编辑部").await.expect("a space");
    let link = his.invite(Duration::from_secs(3_600)).await.expect("he may");
    let hers = within(app.join(&link, SAFETY)).await.expect("the link is good");

    // While the app has the directory, nobody else does.
    let extension = || Node::open(config("小红").for_purpose(Purpose::Extension));
    let busy = extension().await.err().expect("the app has it");
    assert!(matches!(busy, Error::Store(StoreError::Busy { holder: Some(_) })) && busy.is_retryable(), "{busy}");
    app.pause().await.expect("it runs");
    his.timeline().send("四月见").await.expect("a message");

    let extension = extension().await.expect("the app let go of it");
    let caught_up = within(extension.catch_up(SAFETY)).await.expect("it runs");
    assert!(caught_up.completed && caught_up.reached == 1, "{caught_up:?}");
    let seen = extension.space(hers.id()).await.expect("she is in").timeline().history(1, None).await.expect("it runs");
    assert_eq!(seen[0].body, "四月见");
    let inbox = extension.inbox().await.expect("it runs");
    assert!(inbox[0].preview.current && inbox[0].preview.unread > 0, "what is asked for is derived here too");
    assert!(extension.status().await.expect("it runs").addresses.is_empty(), "it dials and is not dialled");

    let busy = app.resume().await.expect_err("the extension has it");
    assert!(matches!(busy, Error::Store(StoreError::Busy { .. })) && busy.is_retryable() && app.is_paused());
    extension.shutdown().await;
    app.resume().await.expect("the extension let go of it");
    assert_eq!(hers.timeline().history(1, None).await.expect("it runs")[0].body, "四月见");
    app.shutdown().await;
    ming.shutdown().await;
}
