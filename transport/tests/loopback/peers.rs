//! Who may connect, and who may say what.

use clave_transport::{Channel, Config, DialError, Event, Events, Limits, PeerKey, SendError, Transport};

use crate::harness::{alice, bob, config, eventually, in_time, pair, start};

const CAROL: PeerKey = PeerKey([9; 32]);

#[tokio::test]
async fn a_connection_has_a_state_that_both_see() {
    let (alice, mut bob) = pair().await;
    let info = alice.transport.peer(&bob.key()).unwrap();
    assert!(info.permitted && !info.is_relayed() && info.connections[0].outgoing);
    assert!(info.connections[0].address.to_string().starts_with("/ip4/127.0.0.1/tcp/"));
    assert!(!bob.transport.peer(&alice.key()).unwrap().connections[0].outgoing);
    eventually(|| alice.transport.peer(&bob.key()).is_some_and(|info| info.round_trip().is_some())).await;
    alice.transport.send(bob.key(), Channel::Join, vec![1; 500]).await.unwrap();
    bob.frame().await;
    let info = bob.transport.peer(&alice.key()).unwrap();
    assert_eq!((info.received_frames, info.received_bytes, info.sent_frames), (1, 500, 0));
    eventually(|| alice.transport.peer(&bob.key()).unwrap().sent_bytes == 500).await;
    let listening = bob.transport.addresses().listening;
    assert!(listening.len() == 1 && listening[0].loopback, "{listening:?}");
}

#[tokio::test]
async fn who_comes_back_is_connected_anew() {
    let (mut alice, mut bob) = pair().await;
    for round in 0..3u8 {
        alice.transport.send(bob.key(), Channel::Sync, vec![round]).await.unwrap();
        assert_eq!(bob.frame().await.2, [round]);
        in_time(bob.transport.disconnect(alice.key())).await;
        bob.disconnected(alice.key()).await;
        alice.disconnected(bob.key()).await;
        let lost = alice.transport.send(bob.key(), Channel::Sync, vec![]).await;
        assert_eq!(lost, Err(SendError::NotConnected));
        let address = bob.transport.addresses().listening[0].address.clone();
        alice.transport.dial(Some(bob.key()), vec![address]).await;
        alice.connected(bob.key()).await;
        bob.connected(alice.key()).await;
    }
}

#[tokio::test]
async fn two_who_dial_each_other_at_once_are_connected_once() {
    let (mut alice, mut bob) = (alice(), bob());
    let (at_alice, at_bob) = (alice.address().await, bob.address().await);
    let (to_bob, to_alice) = in_time(async {
        tokio::join!(
            alice.transport.connect(None, vec![at_bob.clone()]),
            bob.transport.connect(None, vec![at_alice.clone()]),
        )
    })
    .await;
    assert_eq!((to_bob, to_alice), (Ok(bob.key()), Ok(alice.key())));
    alice.connected(bob.key()).await;
    bob.connected(alice.key()).await;
    // Already connected: nothing more happens.
    assert_eq!(in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await, Ok(bob.key()));
    alice.transport.send(bob.key(), Channel::Join, b"one".to_vec()).await.unwrap();
    bob.transport.send(alice.key(), Channel::Join, b"two".to_vec()).await.unwrap();
    assert!(matches!(bob.next().await, Event::Frame { bytes, .. } if bytes == b"one"));
    assert!(matches!(alice.next().await, Event::Frame { bytes, .. } if bytes == b"two"));
}

#[tokio::test]
async fn nobody_can_answer_for_somebody_else() {
    let (alice, mut bob) = (alice(), bob());
    let address = bob.address().await;
    let dialled = in_time(alice.transport.connect(Some(CAROL), vec![address.clone()])).await;
    assert_eq!(dialled, Err(DialError::WrongPeer { obtained: Some(bob.key()) }));
    // The same through an event, and with the key in the address only.
    let mut alice = alice;
    alice.transport.dial(None, vec![address.with_peer(CAROL)]).await;
    let failed = alice.until(|event| matches!(event, Event::DialFailed { .. }).then_some(event)).await;
    let error = DialError::WrongPeer { obtained: Some(bob.key()) };
    assert_eq!(failed, Event::DialFailed { peer: Some(CAROL), addresses: vec![address.with_peer(CAROL)], error });
    assert_eq!(alice.transport.peer(&bob.key()), None);
}

#[tokio::test]
async fn an_address_that_is_somebody_elses_today_does_not_spoil_the_others() {
    let (alice, mut bob) = (alice(), bob());
    let mut carol = start(config(3));
    let addresses = vec![carol.address().await, bob.address().await];
    assert_eq!(in_time(alice.transport.connect(Some(bob.key()), addresses)).await, Ok(bob.key()));
}

#[tokio::test]
async fn what_cannot_be_dialled_fails_with_a_reason() {
    let (mut alice, nobody) = (alice(), "/ip4/127.0.0.1/tcp/1".parse().unwrap());
    let own = alice.address().await;
    let quic = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
    let dial = |peer, addresses| in_time(alice.transport.connect(peer, addresses));
    assert_eq!(dial(Some(CAROL), vec![nobody]).await, Err(DialError::Unreachable));
    assert_eq!(dial(Some(CAROL), vec![quic]).await, Err(DialError::Unsupported));
    assert_eq!(dial(Some(CAROL), vec![]).await, Err(DialError::NoAddress));
    assert_eq!(dial(Some(alice.key()), vec![own]).await, Err(DialError::OwnKey));
}

#[tokio::test]
async fn strangers_may_join_and_nothing_else() {
    let (mut alice, mut bob) = (alice(), bob());
    let address = bob.address().await;
    alice.transport.connect(None, vec![address]).await.unwrap();
    alice.connected(bob.key()).await;
    assert_eq!(alice.transport.try_send(bob.key(), Channel::Sync, vec![1]), Err(SendError::NotPermitted));
    // Alice permits Bob; Bob does not permit Alice.
    alice.transport.permit(bob.key());
    alice.transport.send(bob.key(), Channel::Sync, b"no".to_vec()).await.unwrap();
    let interrupted = Event::Interrupted { peer: bob.key(), channel: Channel::Sync };
    alice.until(|event| (event == interrupted).then_some(())).await;
    assert_eq!(bob.transport.stats().refusals.not_permitted, 1);
    alice.transport.send(bob.key(), Channel::Join, b"please".to_vec()).await.unwrap();
    assert_eq!(bob.frame().await, (alice.key(), Channel::Join, b"please".to_vec()));
    bob.transport.permit(alice.key());
    alice.transport.send(bob.key(), Channel::Sync, b"yes".to_vec()).await.unwrap();
    assert_eq!(bob.frame().await, (alice.key(), Channel::Sync, b"yes".to_vec()));
}

#[tokio::test]
async fn who_is_forbidden_is_not_heard_even_with_what_already_came() {
    let (alice, mut bob) = pair().await;
    alice.transport.send(bob.key(), Channel::Sync, b"late".to_vec()).await.unwrap();
    eventually(|| bob.transport.stats().inbound_waiting_bytes[Channel::Sync as usize] > 0).await;
    bob.transport.forbid(alice.key());
    alice.transport.send(bob.key(), Channel::Join, b"again".to_vec()).await.unwrap();
    assert_eq!(bob.frame().await, (alice.key(), Channel::Join, b"again".to_vec()));
    assert_eq!(bob.transport.stats().refusals.not_permitted, 1);
    // The open stream is of no more use either.
    alice.transport.send(bob.key(), Channel::Sync, b"still".to_vec()).await.unwrap();
    eventually(|| bob.transport.stats().refusals.not_permitted == 2).await;
}

#[tokio::test]
async fn strangers_cannot_keep_the_team_out() {
    let limits = Limits { strangers_max: 2, ..Limits::default() };
    let mut bob = start(Config { limits, ..config(2) });
    let address = bob.address().await;
    let mut strangers = Vec::new();
    for seed in 10..13 {
        let mut stranger = start(config(seed));
        stranger.transport.connect(None, vec![address.clone()]).await.unwrap();
        stranger.connected(bob.key()).await;
        strangers.push(stranger);
    }
    // A connection that is not wanted is closed as soon as it is known whose it is.
    strangers[2].disconnected(bob.key()).await;
    assert_eq!(bob.transport.stats().refusals.too_many_strangers, 1);
    let (_alice, bob) = connect_to(bob, address).await;
    assert_eq!(bob.transport.stats().peers.len(), 3);
}

async fn connect_to(
    mut bob: crate::harness::Device,
    address: clave_transport::Address,
) -> (crate::harness::Device, crate::harness::Device) {
    let alice = alice();
    bob.transport.permit(alice.key());
    alice.transport.connect(Some(bob.key()), vec![address]).await.unwrap();
    bob.connected(alice.key()).await;
    (alice, bob)
}

#[tokio::test]
async fn strangers_who_say_nothing_give_up_their_place() {
    let limits = Limits { stranger_idle: std::time::Duration::from_millis(50), ..Limits::default() };
    let mut bob = start(Config { limits, ..config(2) });
    let mut alice = alice();
    let address = bob.address().await;
    alice.transport.connect(None, vec![address]).await.unwrap();
    alice.connected(bob.key()).await;
    alice.disconnected(bob.key()).await;
    assert_eq!(bob.transport.stats().refusals.idle_strangers, 1);
}

#[cfg(not(feature = "quic"))]
#[tokio::test]
async fn a_build_without_quic_says_so() {
    let mut config = config(1);
    config.quic = true;
    assert_eq!(clave_transport::Transport::start(config).err(), Some(clave_transport::TransportError::NoQuic));
}

#[tokio::test]
async fn what_the_environment_refuses_is_an_event() {
    let mut first = alice();
    let taken = first.address().await;
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
    let mut config = config(2);
    config.listen = vec![taken.clone(), quic];
    config.mdns = true; // Works or degrades: it must not hinder the start.
    let mut second = start(config);
    let mut failures = Vec::new();
    while failures.len() < 2 {
        if let Event::ListenFailed { address: Some(address), .. } = second.next().await {
            failures.push(address);
        }
    }
    assert_eq!(failures.len(), 2);
}

#[tokio::test]
async fn after_a_shutdown_everything_has_ended() {
    let (alice, mut bob) = pair().await;
    let port = alice.transport.addresses().listening[0].address.clone();
    in_time(alice.transport.shutdown()).await;
    bob.disconnected(alice.key()).await;
    assert_eq!(alice.transport.connect(None, vec![port.clone()]).await, Err(DialError::Stopped));
    // The port is free again at once.
    let mut config = config(3);
    config.listen = vec![port.clone()];
    let mut carol = start(config);
    assert_eq!(carol.address().await, port.with_peer(carol.key()));
    in_time(alice.transport.shutdown()).await;
}

/// The types cross tasks and threads.
#[test]
fn handles_are_send_and_sync() {
    fn send_and_sync<T: Send + Sync>() {}
    fn send<T: Send>() {}
    send_and_sync::<Transport>();
    send::<Events>();
}
