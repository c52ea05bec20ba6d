//! Several relays, some of which go away and come back.

use std::time::Duration;

use clave_transport::{Address, Channel, Config, DialError, Event, ListenError, PeerKey, RelayEvent, RelayLimits, Way};

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

#[tokio::test]
async fn a_relay_that_was_dropped_leads_nowhere_and_the_other_one_does() {
    let first = relay_at(100, anywhere(), RelayLimits::default()).await;
    let second = relay_at(101, anywhere(), RelayLimits::default()).await;
    let both = [first.address.clone(), second.address.clone()];
    let mut bob = start(Config { listen: vec![], relays: both.to_vec(), hole_punching: false, ..config(2) });
    reserved(&mut bob, &[&both[0], &both[1]]).await;
    bob.transport.unlisten(both[0].clone()).await;
    in_time(bob.transport.disconnect(both[0].peer().unwrap())).await;
    bob.until(|event| match event {
        Event::ListenEnded { address } => (address.relay().as_ref() == Some(&both[0])).then_some(()),
        _ => None,
    })
    .await;
    let asked: Vec<Address> = bob.transport.addresses().relays.into_iter().map(|relay| relay.address).collect();
    assert_eq!((asked, places(&bob)), (vec![both[1].clone()], vec![both[1].clone()]));

    let alice = start(Config { listen: vec![], hole_punching: false, ..config(1) });
    let at_bob = both.clone().map(|relay| relay.circuit_to(bob.key()).unwrap());
    let refused = in_time(alice.transport.connect(Some(bob.key()), vec![at_bob[0].clone()])).await;
    assert_eq!(refused, Err(DialError::Unreachable));
    in_time(alice.transport.connect(Some(bob.key()), at_bob.to_vec())).await.unwrap();
    assert_eq!(way(&alice, bob.key()), Way::Relayed { relay: both[1].clone() });

    // Wanted again, it gives a place again.
    bob.transport.listen(both[0].clone()).await;
    reserved(&mut bob, &[&both[0]]).await;
    assert_eq!(places(&bob).len(), 2);
}

/// libp2p-relay 0.22 panics when a relay says yes to a listener that was removed meanwhile.
#[tokio::test]
async fn who_leaves_while_a_relay_gives_them_a_place_leaves() {
    let relay = relay_at(100, anywhere(), RelayLimits::default()).await;
    for round in 0..20 {
        let mut bob = start(Config { listen: vec![], relays: vec![relay.address.clone()], ..config(2) });
        bob.until(|event| matches!(event, Event::Connected { .. }).then_some(())).await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            bob.transport.unlisten(relay.address.clone()).await;
        }
        in_time(bob.transport.shutdown()).await;
    }
}

#[tokio::test]
async fn a_place_outlasts_the_time_that_it_was_given_for() {
    let limits = RelayLimits { reservation_duration: Duration::from_secs(4), ..RelayLimits::default() };
    let mut relay = relay_at(100, anywhere(), limits).await;
    let given = vec![relay.address.clone()];
    let mut bob = start(Config { listen: vec![], relays: given.clone(), hole_punching: false, ..config(2) });
    reserved(&mut bob, &[&given[0]]).await;
    // Each after three of the four seconds.
    let mut renewed = 0;
    while renewed < 2 {
        match in_time(relay.events.recv()).await.expect("it runs") {
            RelayEvent::Renewed { peer } => renewed += u32::from(peer == bob.key()),
            RelayEvent::Released { .. } => panic!("the place was lost in between"),
            _ => {}
        }
    }
    assert_eq!(places(&bob), given);
    let alice = start(Config { listen: vec![], hole_punching: false, ..config(1) });
    in_time(alice.transport.connect(None, vec![given[0].circuit_to(bob.key()).unwrap()])).await.unwrap();
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
