//! Whether a device can be reached.

use clave_transport::{Config, Event, Reachability, RelayLimits};

use crate::harness::{config, eventually, relay, start};

/// On loopback whatever listens can be reached: the relay dials back, and the device believes it.
#[tokio::test]
async fn a_device_that_can_be_reached_learns_so_from_a_relay() {
    let relay = relay(RelayLimits::default()).await;
    let mut alice = start(Config { relays: vec![relay.address.clone()], ..config(1) });
    let address = alice.address().await;
    assert_eq!(alice.transport.addresses().reachability, Reachability::Unknown);
    eventually(|| alice.transport.addresses().reachability != Reachability::Unknown).await;
    let known = alice.transport.addresses();
    assert_eq!(known.reachability, Reachability::Public);
    assert_eq!(known.confirmed.iter().map(|confirmed| confirmed.with_peer(alice.key())).collect::<Vec<_>>(), [address]);
    // Alone, it could be anywhere.
    relay.server.shutdown().await;
    alice.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(())).await;
    eventually(|| alice.transport.addresses().reachability == Reachability::Unknown).await;
    assert!(alice.transport.addresses().confirmed.is_empty());
}

/// As behind a NAT: the relay sees the device at an address where nobody listens.
#[cfg(target_os = "linux")] // Elsewhere loopback is one address.
#[tokio::test]
async fn a_device_that_cannot_be_reached_learns_that_too() {
    let relay = relay(RelayLimits::default()).await;
    let listen = vec!["/ip4/127.0.0.2/tcp/0".parse().unwrap()];
    let hidden = start(Config { listen, relays: vec![relay.address.clone()], ..config(1) });
    eventually(|| hidden.transport.addresses().reachability != Reachability::Unknown).await;
    let known = hidden.transport.addresses();
    assert_eq!((known.reachability, known.confirmed), (Reachability::Private, vec![]));
}
