//! Several relays, some of which go away and come back.

use clave_transport::{Address, Channel, Config, Event, ListenError, PeerKey, RelayLimits, Way};

use crate::harness::{Device, config, in_time, relay_at, start};

fn anywhere() -> Address {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// Waits until the device has a place at each of the relays.
async fn reserved(device: &mut Device, relays: &[&Address]) {
    let mut missing: Vec<&Address> = relays.to_vec();
    while !missing.is_empty() {
        let at = device
            .until(|event| match event {
                Event::Listening { address } => address.relay(),
                _ => None,
            })
            .await;
        missing.retain(|relay| **relay != at);
    }
}

/// Which relays the device says it has a place at.
fn places(device: &Device) -> Vec<Address> {
    let relays = device.transport.addresses().relays;
    relays.into_iter().filter(|relay| relay.reserved).map(|relay| relay.address).collect()
}

async fn says(from: &mut Device, to: &mut Device, word: &[u8]) {
    from.transport.send(to.key(), Channel::Sync, word.to_vec()).await.unwrap();
    assert_eq!(to.frame().await, (from.key(), Channel::Sync, word.to_vec()));
}

fn way(device: &Device, peer: PeerKey) -> Way {
    device.transport.peer(&peer).unwrap().best().unwrap().way.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_relay_dies_the_other_carries_on_and_the_first_is_back_when_it_returns() {
    let first = relay_at(100, anywhere(), RelayLimits::default()).await;
    let second = relay_at(101, anywhere(), RelayLimits::default()).await;
    let both = [first.address.clone(), second.address.clone()];
    let hidden = |seed| start(Config { listen: vec![], relays: both.to_vec(), hole_punching: false, ..config(seed) });
    let (mut alice, mut bob) = (hidden(1), hidden(2));
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    reserved(&mut alice, &[&both[0], &both[1]]).await;
    reserved(&mut bob, &[&both[0], &both[1]]).await;
    assert_eq!(places(&bob).len(), 2);

    let at_bob = both.clone().map(|relay| relay.circuit_to(bob.key()).unwrap());
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob[0].clone()])).await.unwrap();
    says(&mut alice, &mut bob, b"over the first").await;
    assert_eq!(way(&bob, alice.key()), Way::Relayed { relay: both[0].clone() });

    first.server.shutdown().await;
    let mut told = 0;
    alice
        .until(|event| {
            told += usize::from(matches!(event, Event::ListenFailed { error: ListenError::Relay, .. }));
            (event == Event::Disconnected { peer: bob.key() }).then_some(())
        })
        .await;
    bob.disconnected(alice.key()).await;
    // The addresses that were given before are still good: one of them leads to the other relay.
    in_time(alice.transport.connect(Some(bob.key()), at_bob.to_vec())).await.unwrap();
    says(&mut alice, &mut bob, b"over the second").await;
    assert_eq!(way(&alice, bob.key()), Way::Relayed { relay: both[1].clone() });
    assert_eq!(places(&bob), [both[1].clone()]);

    let again = relay_at(100, both[0].clone(), RelayLimits::default()).await;
    assert_eq!(again.address, both[0]);
    alice
        .until(|event| match event {
            Event::ListenFailed { .. } => {
                told += 1;
                None
            }
            Event::Listening { address } => (address.relay().as_ref() == Some(&both[0])).then_some(()),
            _ => None,
        })
        .await;
    assert_eq!(told, 1, "the loss is told once, not with every attempt");
    reserved(&mut bob, &[&both[0]]).await;
    assert_eq!(places(&alice).len(), 2);
    second.server.shutdown().await;
    alice.disconnected(bob.key()).await;
    bob.disconnected(alice.key()).await;
    in_time(alice.transport.connect(Some(bob.key()), at_bob.to_vec())).await.unwrap();
    bob.connected(alice.key()).await;
    says(&mut bob, &mut alice, b"over the first again").await;
    assert_eq!(way(&bob, alice.key()), Way::Relayed { relay: both[0].clone() });
}

/// A relay that is not there yet is asked until it is.
#[tokio::test]
async fn a_relay_that_starts_late_is_found() {
    // A port that is free: it was just given and given back.
    let early = relay_at(100, anywhere(), RelayLimits::default()).await;
    let address = early.address.clone();
    early.server.shutdown().await;
    let mut device = start(Config { listen: vec![], relays: vec![address.clone()], ..config(1) });
    let failed = device.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(event)).await;
    assert_eq!(failed, Event::ListenFailed { address: Some(address.clone()), error: ListenError::Relay });
    let _late = relay_at(100, address.clone(), RelayLimits::default()).await;
    // Nobody has to wait for the next attempt who knows better.
    device.transport.network_changed().await;
    reserved(&mut device, &[&address]).await;
}
