//! Whether a device can be reached.

use std::collections::BTreeMap;

use clave_transport::{Config, Event, Reachability, RelayLimits};
use futures::StreamExt;
use libp2p::{
    Multiaddr, SwarmBuilder, autonat, identify, noise,
    swarm::{FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, SwarmEvent},
    tcp, yamux,
};

use crate::harness::{config, eventually, in_time, relay, start};

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

/// A bare swarm, none of our code.
#[derive(NetworkBehaviour)]
struct Mallory {
    identify: identify::Behaviour,
    autonat: autonat::v2::client::Behaviour,
}

/// A relay must not be a way to look for open ports elsewhere: it dials a peer where that is connected from, and
/// nowhere else.
#[cfg(target_os = "linux")] // As above.
#[tokio::test]
async fn a_relay_dials_nobody_on_the_word_of_another() {
    let relay = relay(RelayLimits::default()).await;
    let mut mallory = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keys| Mallory {
            identify: identify::Behaviour::new(identify::Config::new("/mallory/1".into(), keys.public())),
            autonat: autonat::v2::client::Behaviour::default(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(60)))
        .build();
    // Somebody does answer at all of these.
    mallory.listen_on("/ip4/0.0.0.0/tcp/0".parse().unwrap()).unwrap();
    let port = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = in_time(mallory.select_next_some()).await {
            break address.to_string().rsplit('/').next().unwrap().to_owned();
        }
    };
    mallory.dial(relay.address.to_string().parse::<Multiaddr>().unwrap()).unwrap();
    let claimed = ["/ip4/127.0.0.2", "/dns4/localhost", "/ip4/127.0.0.1"].map(|host| format!("{host}/tcp/{port}"));
    for address in &claimed {
        let addr: Multiaddr = address.parse().unwrap();
        let candidate = FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr: &addr });
        mallory.behaviour_mut().autonat.on_swarm_event(candidate);
    }
    let mut tested = BTreeMap::new();
    while tested.len() < claimed.len() {
        if let SwarmEvent::Behaviour(MalloryEvent::Autonat(answer)) = in_time(mallory.select_next_some()).await {
            tested.insert(answer.tested_addr.to_string(), answer.result.is_ok());
        }
    }
    let reached = claimed.each_ref().map(|address| tested[address]);
    assert_eq!(reached, [false, false, true]);
}
