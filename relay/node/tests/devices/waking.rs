//! Devices that are away are woken through a real push server, and for nothing that they muted.

use clave::{Event, Node, PushEndpoint, PushError, PushKeys};

use crate::{
    harness::{Relay, in_time},
    people::{config, event, person, reads, stored, team, until},
    push_server::{Browser, PushServer, vapid_claims},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_away_is_woken_once_with_nothing_said_and_not_for_what_it_muted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = PushServer::start(folder.path()).await;
    let relay = Relay::start(folder.path(), &server.config("interval_seconds = 86400")).await;
    let (alice, bob) = (person(folder.path(), "Alice", false).await, person(folder.path(), "小波", false).await);
    let (hers, his) = team(&alice, &bob, &relay).await;
    let person_bob = bob.profile().person;
    let budget = hers.create_circle("预算", &[person_bob], clave::Scope::Nested).await.unwrap();
    stored(&alice, &hers).await;
    until(&bob, async || his.circle(budget.id()).await.ok()).await;

    // He subscribes for the key of the relay, and mutes one circle.
    let browser = Browser::new(40);
    let health = bob.push().status().await.unwrap().relays.remove(0);
    let server_key = health.server_key.expect("the relay was met");
    let keys = PushKeys { p256dh: (*browser.p256dh()).try_into().unwrap(), auth: browser.auth };
    let endpoint = PushEndpoint::new(&server.endpoint("phone"), Some(keys)).unwrap();
    bob.push().mute(budget.id(), true).await.unwrap();
    bob.push().set_endpoint(endpoint).await.unwrap();
    // For so many mailboxes at least.
    let registered = async |bob: &Node, mailboxes: usize| {
        until(bob, async || {
            let health = bob.push().status().await.unwrap().relays.remove(0);
            (health.registered && health.mailboxes >= mailboxes).then_some(health)
        })
        .await
    };
    let health = registered(&bob, 1).await;
    let muted_mailboxes = health.mailboxes;
    assert_eq!((health.error, health.accepted_ms), (None, None));
    bob.shutdown().await;

    // What is written in the muted circle wakes nobody; what is written to everybody does, once.
    budget.timeline().send("机密").await.unwrap();
    stored(&alice, &hers).await;
    hers.timeline().send("在吗").await.unwrap();
    hers.timeline().send("在吗？").await.unwrap();
    stored(&alice, &hers).await;
    let push = server.push().await;
    assert_eq!(push.path, "/phone");
    assert_eq!(browser.opened(&push), b"wake");
    vapid_claims(&push, &server_key, &format!("https://localhost:{}", server.port));

    // He comes, hears of it, and it is as it was: muted, and registered under the same id.
    let bob = Node::open(config(folder.path(), "小波", false)).await.unwrap();
    bob.push().woken().await.unwrap();
    let his = bob.spaces().await.unwrap().remove(0);
    reads(&bob, &his, "在吗？").await;
    let health = registered(&bob, 1).await;
    assert!(health.accepted_ms.is_some() && health.refused_ms.is_none(), "{health:?}");
    let status = bob.push().status().await.unwrap();
    assert_eq!((status.muted, status.woken_ms.is_some()), (vec![budget.id()], true));
    assert!(relay.command("stats", &[]).await.1.contains("clave_relay_wake_subscriptions 1\n"));
    bob.shutdown().await;
    budget.timeline().send("机密 2").await.unwrap();
    stored(&alice, &hers).await;

    // Muted no more, woken for it; the push server forgets him, and he hears of that.
    let bob = Node::open(config(folder.path(), "小波", false)).await.unwrap();
    bob.push().mute(budget.id(), false).await.unwrap();
    registered(&bob, muted_mailboxes + 1).await;
    let his = bob.spaces().await.unwrap().remove(0);
    let his_budget = his.circle(budget.id()).await.unwrap();
    reads(&bob, &his_budget, "机密 2").await;
    bob.shutdown().await;
    assert!(server.is_idle(), "nothing was pushed for the muted circle");
    server.answer(410, "");
    budget.timeline().send("机密 3").await.unwrap();
    assert_eq!(server.push().await.path, "/phone");
    stored(&alice, &hers).await;

    // Taken back: the relay keeps nothing of it.
    let bob = Node::open(config(folder.path(), "小波", false)).await.unwrap();
    until(&bob, async || {
        let health = bob.push().status().await.unwrap().relays.remove(0);
        (health.error == Some(PushError::Gone) && health.status == Some(410)).then_some(())
    })
    .await;
    let mut events = bob.events();
    bob.push().clear().await.unwrap();
    event(&mut events, |event| matches!(event, Event::PushChanged { .. })).await;
    assert!(!bob.push().status().await.unwrap().has_endpoint);
    in_time(async { while !relay.command("stats", &[]).await.1.contains("clave_relay_wake_subscriptions 0\n") {} })
        .await;
    bob.shutdown().await;
    alice.shutdown().await;
    relay.stop().await;
    assert!(server.is_idle());
}
