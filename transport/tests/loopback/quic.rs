//! Over QUIC, where both sides and the relay between them speak it.

use clave_transport::{Address, Channel, Config, Event, RelayLimits, Way};

use crate::harness::{Device, config, connect, in_time, relay_at, start};

fn anywhere() -> Address {
    "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()
}

/// A device that listens for QUIC only, or nowhere.
fn quic(seed: u8, listens: bool, relays: Vec<Address>) -> Config {
    let listen = if listens { vec![anywhere()] } else { vec![] };
    Config { listen, relays, quic: true, hole_punching: listens, ..config(seed) }
}

async fn placed(device: &mut Device) -> Address {
    let relayed = |event| match event {
        Event::Listening { address } if address.is_relayed() => Some(address),
        _ => None,
    };
    device.until(relayed).await
}

#[tokio::test]
async fn two_exchange_frames_and_one_hears_of_the_end() {
    let (alice, mut bob) = connect(start(quic(1, true, vec![])), start(quic(2, true, vec![]))).await;
    assert!(alice.transport.peer(&bob.key()).unwrap().best().unwrap().address.to_string().contains("/quic-v1"));
    alice.transport.send(bob.key(), Channel::Bulk, vec![3; 2_000_000]).await.unwrap();
    assert_eq!(bob.frame().await.2, vec![3; 2_000_000]);
    in_time(alice.transport.shutdown()).await;
    bob.disconnected(alice.key()).await;
}

/// Somebody who has no QUIC reaches one who has both, and one who has both takes whichever answers.
#[tokio::test]
async fn one_who_speaks_both_is_reached_by_either() {
    let mut both = quic(2, true, vec![]);
    both.listen.insert(0, "/ip4/127.0.0.1/tcp/0".parse().unwrap());
    let mut bob = start(both);
    let at_bob = [bob.address().await, bob.address().await];
    assert_eq!(at_bob.iter().filter(|address| address.to_string().contains("/quic-v1")).count(), 1);
    for (seed, quic) in [(3, false), (4, true)] {
        let other = start(Config { listen: vec![], quic, ..config(seed) });
        in_time(other.transport.connect(Some(bob.key()), at_bob.to_vec())).await.unwrap();
        bob.connected(other.key()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_know_only_the_relay_exchange_frames_over_it() {
    let relay = relay_at(100, anywhere(), RelayLimits::default()).await;
    assert!(relay.address.to_string().contains("/quic-v1/p2p/"));
    let [mut alice, mut bob] = [1, 2].map(|seed| start(quic(seed, false, vec![relay.address.clone()])));
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    let at_bob = placed(&mut bob).await;
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    assert_eq!(
        alice.transport.peer(&bob.key()).unwrap().best().unwrap().way,
        Way::Relayed { relay: relay.address.clone() }
    );
    alice.transport.send(bob.key(), Channel::Bulk, vec![5; 3_000_000]).await.unwrap();
    assert!(bob.frame().await.2 == vec![5; 3_000_000]);
    bob.transport.send(alice.key(), Channel::Sync, b"heard".to_vec()).await.unwrap();
    assert_eq!(alice.frame().await.2, b"heard");
    relay.server.shutdown().await;
    alice.disconnected(bob.key()).await;
    bob.disconnected(alice.key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_connection_becomes_direct() {
    let relay = relay_at(100, anywhere(), RelayLimits::default()).await;
    let [mut alice, mut bob] = [1, 2].map(|seed| start(quic(seed, true, vec![relay.address.clone()])));
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    placed(&mut alice).await;
    let at_bob = placed(&mut bob).await;
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    let direct = alice
        .until(|event| match event {
            Event::BecameDirect { peer, address } => (peer == bob.key()).then_some(address),
            _ => None,
        })
        .await;
    assert!(direct.to_string().contains("/quic-v1"), "{direct}");
    alice.transport.send(bob.key(), Channel::Sync, b"directly".to_vec()).await.unwrap();
    assert_eq!(bob.frame().await.2, b"directly");
}
