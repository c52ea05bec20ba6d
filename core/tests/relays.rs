//! Two devices that nobody can reach, and two relays, named by the persons or by their space, that come and go.

use std::path::Path;
use std::time::Duration;

use clave::{NetworkConfig, Node, NodeConfig, NodeStatus, RelayAddress, RelayUse, Space, Way};
use clave_transport::{Address, RelayConfig, RelayEvent, RelayLimits, RelayServer};

#[path = "relays/mailboxes.rs"]
mod mailboxes;

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
            status.relays.iter().filter(|relay| relay.reserved).map(|relay| relay.address.clone()).collect();
        held.sort();
        held == wanted
    }
}

fn config(directory: &Path, name: &str, listen: &[&str], relays: &[&Address]) -> NodeConfig {
    let network = NetworkConfig {
        listen: listen.iter().map(ToString::to_string).collect(),
        mdns: false,
        relays: relays.iter().map(ToString::to_string).collect(),
        ..NetworkConfig::default()
    };
    NodeConfig::new(directory.join(name)).online(network)
}

async fn hidden(directory: &Path, name: &str, relays: &[&Address]) -> Node {
    let node = Node::create(config(directory, name, &[], relays), name, "phone").await.expect("a new directory");
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

/// A relay as it is run: circuits and mailboxes.
async fn whole_relay(seed: u8) -> (RelayServer, Address) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let config = RelayConfig { seed: [seed; 32].into(), listen, external: vec![], limits: RelayLimits::default() };
    let (server, mut events, callers) =
        RelayServer::start_with_mailboxes(config, 16).expect("the configuration is sound");
    tokio::spawn(mailboxes::serve(server.key(), callers));
    match within(events.recv()).await {
        Some(RelayEvent::Listening { address }) => (server, address),
        other => panic!("{other:?}"),
    }
}

fn named(relay: &Address) -> RelayAddress {
    relay.to_string().parse().expect("it names its key")
}

/// Whether the only member that is connected is so through a relay.
fn through(relay: &Address) -> impl FnMut(&NodeStatus) -> bool {
    let wanted = Way::Relayed { relay: relay.to_string() };
    move |status| status.peers.iter().map(|peer| &peer.way).eq([&wanted])
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_reached_through_the_relays_that_their_space_names() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    let (_first, at_first) = whole_relay(110).await;
    let (_second, at_second) = whole_relay(111).await;
    let listening = config(directory, "爱丽丝", &["/ip4/127.0.0.1/tcp/0"], &[]);
    let alice = Node::create(listening, "爱丽丝", "laptop").await.expect("a new directory");
    within(alice.listening()).await.expect("it runs");
    let hers = alice.create_space("团队").await.expect("a space");
    let bob = hidden(directory, "Bob", &[]).await;
    let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
    let his = within(bob.join(&link, SAFETY)).await.expect("she listens");

    hers.set_relays(&[named(&at_first)]).await.expect("an owner may");
    until(&bob, placed(&[&at_first])).await;
    until(&alice, placed(&[&at_first])).await;
    let used = RelayUse {
        address: at_first.to_string(),
        by_person: false,
        by_spaces: vec![hers.id()],
        mailboxes: true,
        circuits: true,
        reserved: true,
    };
    assert_eq!(alice.status().await.expect("it runs").relays, [used]);

    // From now on nobody can dial her but through a relay that nobody gave either of them.
    alice.shutdown().await;
    let alice = Node::open(config(directory, "爱丽丝", &[], &[])).await.expect("her directory");
    let hers = alice.space(hers.id()).await.expect("she is in it");
    until(&bob, through(&at_first)).await;
    says(&hers, &his, "你好").await;

    // The space moves; its members hear of it through the relay that they leave.
    hers.set_relays(&[named(&at_second)]).await.expect("an owner may");
    for node in [&alice, &bob] {
        until(node, placed(&[&at_second])).await;
        until(node, through(&at_second)).await;
        assert_eq!(node.status().await.expect("it runs").relays.len(), 1, "the first is forgotten");
    }
    says(&his, &hers, "Hallo 爱丽丝").await;
    hers.set_relays(&[]).await.expect("an owner may");
    until(&bob, |status| status.relays.is_empty() && status.peers.is_empty()).await;
    alice.shutdown().await;
    bob.shutdown().await;
}
