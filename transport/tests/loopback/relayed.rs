//! Through a relay.

use std::sync::Arc;

use clave_transport::{Address, Channel, Config, Event, ListenError, RelayEvent, RelayLimits, Way};
use tokio::sync::Semaphore;

use crate::harness::{Device, config, in_time, relay, start};

/// A device that nobody can reach but through the relay.
async fn hidden(seed: u8, relay: &Address, hole_punching: bool) -> (Device, Address) {
    let listen = if hole_punching { config(seed).listen } else { vec![] };
    let config = Config { listen, relays: vec![relay.clone()], hole_punching, ..config(seed) };
    let mut device = start(config);
    let address = device
        .until(|event| match event {
            Event::Listening { address } if address.is_relayed() => Some(address),
            _ => None,
        })
        .await;
    assert_eq!(address.peer(), Some(device.key()));
    (device, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_know_only_the_relay_exchange_frames() {
    let mut relay = relay(RelayLimits::default()).await;
    let (mut alice, _) = hidden(1, &relay.address, false).await;
    let (mut bob, at_bob) = hidden(2, &relay.address, false).await;
    assert_eq!(at_bob, relay.address.circuit_to(bob.key()).unwrap());
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    let keys = [alice.key(), bob.key()];
    for (device, other) in [(&mut alice, keys[1]), (&mut bob, keys[0])] {
        let relayed = device
            .until(|event| match event {
                Event::Connected { peer, relayed, .. } if peer == other => Some(relayed),
                _ => None,
            })
            .await;
        assert!(relayed);
        let info = device.transport.peer(&other).unwrap();
        assert_eq!(info.best().unwrap().way, Way::Relayed { relay: relay.address.clone() });
    }
    for number in 0..1000u32 {
        alice.transport.send(bob.key(), Channel::Sync, number.to_be_bytes().to_vec()).await.unwrap();
    }
    for number in 0..1000u32 {
        assert_eq!(bob.frame().await, (alice.key(), Channel::Sync, number.to_be_bytes().to_vec()));
    }
    bob.transport.send(alice.key(), Channel::Bulk, vec![5; 3_000_000]).await.unwrap();
    assert!(alice.frame().await.2 == vec![5; 3_000_000]);
    let mut seen = Vec::new();
    while let Ok(event) = relay.events.try_recv() {
        seen.push(event);
    }
    assert!(seen.contains(&RelayEvent::Reserved { peer: bob.key() }));
    assert!(seen.contains(&RelayEvent::CircuitOpened { from: alice.key(), to: bob.key() }), "{seen:?}");
    // Without the relay there is nothing between them.
    relay.server.shutdown().await;
    alice.disconnected(bob.key()).await;
    let lost = bob
        .until(|event| match event {
            Event::ListenFailed { error, .. } => Some(error),
            _ => None,
        })
        .await;
    assert_eq!(lost, ListenError::Relay);
}

/// Loopback is no obstacle to hole punching: the connection becomes direct while frames flow, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_connection_becomes_direct_and_no_frame_is_lost() {
    let relay = relay(RelayLimits::default()).await;
    let (alice, _) = hidden(1, &relay.address, true).await;
    let (mut bob, at_bob) = hidden(2, &relay.address, true).await;
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    let (sender, to) = (alice.transport.clone(), bob.key());
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    // Some frames are always under way, and not so many that they keep the two from finding each other.
    let window = Arc::new(Semaphore::new(16));
    let permits = Arc::clone(&window);
    let sending = tokio::spawn(async move {
        let mut number = 0u32;
        while stopped.try_recv().is_err() {
            permits.acquire().await.unwrap().forget();
            sender.send(to, Channel::Sync, number.to_be_bytes().to_vec()).await.unwrap();
            number += 1;
        }
        number
    });
    let (mut next, mut direct) = (0u32, None);
    // Until a thousand frames came after the change.
    in_time(async {
        while direct.is_none_or(|at| next < at + 1000) {
            match bob.next().await {
                Event::Frame { bytes, .. } => {
                    assert_eq!(bytes, next.to_be_bytes());
                    next += 1;
                    window.add_permits(1);
                }
                Event::BecameDirect { peer, .. } if peer == alice.key() => direct = Some(next),
                Event::Connected { relayed: false, peer, .. } if peer == alice.key() => panic!("it never was relayed"),
                Event::Disconnected { peer } if peer == alice.key() => panic!("it was interrupted"),
                _ => {}
            }
        }
    })
    .await;
    stop.send(()).unwrap();
    window.add_permits(1);
    let sent = in_time(sending).await.unwrap();
    while next < sent {
        assert_eq!(bob.frame().await.2, next.to_be_bytes());
        next += 1;
    }
    // Each side has both connections, and prefers the same.
    let ways = [(&bob, alice.key()), (&alice, bob.key())].map(|(device, other)| {
        let info = device.transport.peer(&other).unwrap();
        info.best().unwrap().way.clone()
    });
    assert!(ways.contains(&Way::HolePunched), "{ways:?}");
    assert!(ways.iter().all(|way| matches!(way, Way::Direct | Way::HolePunched)), "{ways:?}");
}

#[tokio::test]
async fn a_relay_that_is_full_says_so() {
    let relay = relay(RelayLimits { reservations_max: 1, ..RelayLimits::default() }).await;
    let (_first, _) = hidden(1, &relay.address, false).await;
    let config = Config { listen: vec![], relays: vec![relay.address.clone()], ..config(2) };
    let mut second = start(config);
    let failed = second.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(event)).await;
    assert_eq!(failed, Event::ListenFailed { address: Some(relay.address.clone()), error: ListenError::Relay });
}

/// What is queued goes through the relay: so the connection with it has to go last.
#[tokio::test]
async fn whoever_shuts_down_lets_arrive_what_a_relay_is_to_carry() {
    let relay = relay(RelayLimits::default()).await;
    let (alice, _) = hidden(1, &relay.address, false).await;
    let (mut bob, at_bob) = hidden(2, &relay.address, false).await;
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    for number in 0..100u32 {
        let mut frame = vec![0; 10_000];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        alice.transport.send(bob.key(), Channel::Join, frame).await.unwrap();
    }
    in_time(alice.transport.shutdown()).await;
    for number in 0..100u32 {
        assert_eq!(bob.frame().await.2[..4], number.to_be_bytes());
    }
}
