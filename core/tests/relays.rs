//! Two devices that nobody can reach, and two relays, of which one goes away and comes back.

use std::time::Duration;

use clave::{NetworkConfig, Node, NodeConfig, NodeStatus, Space, Way};
use clave_transport::{Address, RelayConfig, RelayEvent, RelayLimits, RelayServer};

const SAFETY: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

async fn relay(seed: u8, listen: &str) -> (RelayServer, Address) {
    let listen = vec![listen.parse().expect("an address")];
    let config = RelayConfig { seed: [seed; 32].into(), listen, external: vec![], limits: RelayLimits::default() };
    let (server, mut events) = RelayServer::start(config).expect("the configuration is sound");
    match within(events.recv()).await {
        Some(RelayEvent::Listening { address }) => (server, address),
        other => panic!("{other:?}"),
    }
}

async fn until(node: &Node, mut holds: impl FnMut(&NodeStatus) -> bool) {
    within(async {
        while !holds(&node.status().await.expect("it runs")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whether the device has a place at these relays, in this order, and at no other.
fn placed(relays: &[&Address]) -> impl FnMut(&NodeStatus) -> bool {
    let mut wanted: Vec<String> = relays.iter().map(ToString::to_string).collect();
    wanted.sort();
    move |status| {
        let mut held: Vec<String> =
            status.reservations.iter().filter(|relay| relay.reserved).map(|relay| relay.address.clone()).collect();
        held.sort();
        held == wanted
    }
}

async fn hidden(directory: &std::path::Path, name: &str, relays: &[&Address]) -> Node {
    let network = NetworkConfig {
        listen: vec![],
        mdns: false,
        relays: relays.iter().map(ToString::to_string).collect(),
        ..NetworkConfig::default()
    };
    let config = NodeConfig::new(directory.join(name)).online(network);
    let node = Node::create(config, name, "phone").await.expect("a new directory");
    until(&node, placed(relays)).await;
    node
}

/// What one says reaches the other.
async fn says(from: &Space, to: &Space, words: &str) {
    from.timeline().send(words).await.expect("a message");
    within(async {
        loop {
            let newest = to.timeline().history(1, None).await.expect("it runs");
            if newest.first().is_some_and(|message| message.body == words) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_goes_on_over_the_relay_that_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (first, at_first) = relay(100, "/ip4/127.0.0.1/tcp/0").await;
    let (second, at_second) = relay(101, "/ip4/127.0.0.1/tcp/0").await;
    let both = [&at_first, &at_second];
    let alice = hidden(directory.path(), "爱丽丝", &both).await;
    let bob = hidden(directory.path(), "Bob", &both).await;
    let hers = alice.create_space("团队").await.expect("a space");
    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let his = within(bob.join(&link, SAFETY)).await.expect("the link names both relays");
    says(&hers, &his, "你好").await;

    // Whichever carries them goes away.
    let mut carries = None;
    until(&bob, |status| {
        carries = status.peers.first().map(|peer| peer.way.clone());
        carries.is_some()
    })
    .await;
    let over_first = carries == Some(Way::Relayed { relay: at_first.to_string() });
    let (gone, gone_at, left_at) =
        if over_first { (first, &at_first, &at_second) } else { (second, &at_second, &at_first) };
    gone.shutdown().await;
    until(&alice, placed(&[left_at])).await;
    says(&his, &hers, "over the other").await;
    until(&bob, |status| {
        status.peers.first().is_some_and(|peer| peer.way == Way::Relayed { relay: left_at.to_string() })
    })
    .await;

    let seed = if over_first { 100 } else { 101 };
    let _back = relay(seed, &gone_at.to_string()).await;
    until(&alice, placed(&both)).await;
    until(&bob, placed(&both)).await;
    says(&hers, &his, "both are back").await;
    alice.shutdown().await;
    bob.shutdown().await;
}
