//! How far messages come.

use clave::{Event, MessageState, Node, RelayError};

use crate::{
    harness::Relay,
    people::{address, config, event, person, reads, states, stored, team},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_queued_then_relayed_then_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "").await;
    let (alice, bob) = (person(folder.path(), "Alice", true).await, person(folder.path(), "小波", true).await);
    let (hers, _) = team(&alice, &bob, &relay).await;
    stored(&alice, &hers).await;
    bob.shutdown().await;
    let port = relay.address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    relay.stop().await;

    let id = hers.timeline().send("你好").await.unwrap();
    assert_eq!(hers.timeline().history(1, None).await.unwrap()[0].state, Some(MessageState::Queued));
    let observed = hers.everybody().clone();
    let is_delivered = |state: &MessageState| matches!(state, MessageState::Delivered { .. });
    let seen = tokio::spawn(async move { states(&observed, is_delivered).await });
    let relay = Relay::start_on(folder.path(), "", port).await;
    stored(&alice, &hers).await;
    assert_eq!(hers.timeline().history(1, None).await.unwrap()[0].state, Some(MessageState::Relayed));

    let bob = Node::open(config(folder.path(), "小波", true)).await.unwrap();
    let his = bob.spaces().await.unwrap().remove(0);
    assert_eq!(reads(&bob, &his, "你好").await.state, None, "it is not his");
    let delivered = MessageState::Delivered { people: 1, devices: 1, everybody: true };
    assert_eq!(seen.await.unwrap(), [MessageState::Queued, MessageState::Relayed, delivered]);
    assert_eq!(hers.timeline().received_by(id).await.unwrap(), [bob.profile().device]);
    alice.shutdown().await;
    bob.shutdown().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_relay_takes_says_why_until_a_token_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(folder.path(), "[access]\nmode = \"token\"\ntokens = [\"芝麻开门\"]").await;
    let alice = person(folder.path(), "Alice", false).await;
    let hers = alice.create_space("团队").await.unwrap();
    let mut events = alice.events();
    hers.set_relays(&[address(&relay)]).await.unwrap();
    let relay_id = address(&relay).relay();
    hers.timeline().send("你好").await.unwrap();
    let state = async || hers.timeline().history(1, None).await.unwrap()[0].state;
    for (token, error) in [(None, RelayError::Access), (Some("开门"), RelayError::Token)] {
        if let Some(token) = token {
            alice.set_relay_token(relay_id, Some(token.parse().unwrap())).await.unwrap();
        }
        let changed = Event::RelayChanged { relay: relay_id, error: Some(error) };
        event(&mut events, |event| *event == changed).await;
        assert_eq!(state().await, Some(MessageState::Failed { error, retryable: false }));
        assert_eq!(hers.relays().await.unwrap()[0].error, Some(error));
        assert!(error.to_string().contains("ask its operator"), "{error}");
    }
    alice.set_relay_token(relay_id, Some("芝麻开门".parse().unwrap())).await.unwrap();
    stored(&alice, &hers).await;
    assert_eq!(state().await, Some(MessageState::Relayed));
    // It is on this device: it is shown again after a restart.
    alice.shutdown().await;
    let alice = Node::open(config(folder.path(), "Alice", false)).await.unwrap();
    let hers = alice.spaces().await.unwrap().remove(0);
    hers.timeline().send("再见").await.unwrap();
    stored(&alice, &hers).await;
    assert_eq!(hers.relays().await.unwrap()[0].error, None);
    alice.shutdown().await;
    relay.stop().await;
}
