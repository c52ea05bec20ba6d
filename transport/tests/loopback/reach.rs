//! Whether a device can be reached.

use clave_transport::{Config, Event, Reachability, RelayLimits};

use crate::harness::{config, in_time, relay, start};

/// On loopback whatever listens can be reached: the relay dials back, and the device believes it.
#[tokio::test]
async fn a_device_that_can_be_reached_learns_so_from_a_relay() {
    let relay = relay(RelayLimits::default()).await;
    let mut alice = start(Config { relays: vec![relay.address.clone()], ..config(1) });
    let address = alice.address().await;
    assert_eq!(alice.transport.addresses().reachability, Reachability::Unknown);
    in_time(async {
        while alice.transport.addresses().reachability == Reachability::Unknown {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let known = alice.transport.addresses();
    assert_eq!(known.reachability, Reachability::Public);
    assert_eq!(known.confirmed.iter().map(|confirmed| confirmed.with_peer(alice.key())).collect::<Vec<_>>(), [address]);
    // Alone, it could be anywhere.
    relay.server.shutdown().await;
    alice.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(())).await;
    in_time(async {
        while alice.transport.addresses().reachability != Reachability::Unknown {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(alice.transport.addresses().confirmed.is_empty());
}

/// Who listens nowhere is seen at a port that nobody answers at.
#[tokio::test]
async fn a_device_that_cannot_be_reached_learns_that_too() {
    let relay = relay(RelayLimits::default()).await;
    let hidden = start(Config { listen: vec![], relays: vec![relay.address.clone()], ..config(1) });
    in_time(async {
        while hidden.transport.addresses().reachability == Reachability::Unknown {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let known = hidden.transport.addresses();
    assert_eq!((known.reachability, known.confirmed), (Reachability::Private, vec![]));
}
