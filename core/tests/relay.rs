//! Two devices that are never online together, over real libp2p on loopback, with the simulator's relay between them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clave::{DeviceId, Event, NetworkConfig, Node, NodeConfig, NodeId, RelayAddress};
use clave_sim::ModelRelay;
use clave_transport::{Channel, Config, Event as Heard, PeerKey, Transport};

const SAFETY: Duration = Duration::from_secs(60);

fn config(directory: &Path, name: &str) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory.join(name)).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

type Relay = Arc<Mutex<ModelRelay<PeerKey>>>;

/// A relay that listens on loopback.
async fn relay() -> (Relay, RelayAddress, Transport) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a constant address")];
    let (transport, mut events) = Transport::start(Config { listen, ..Config::new([9; 32]) }).expect("loopback");
    let address = within(async {
        loop {
            if let Some(Heard::Listening { address }) = events.next().await {
                return address.to_string();
            }
        }
    })
    .await;
    let id = DeviceId::from_bytes(transport.key().0);
    let way = address.split("/p2p/").next().expect("it begins somewhere");
    let address = RelayAddress::of(way, &id).expect("a multiaddr");
    let relay = Arc::new(Mutex::new(ModelRelay::new(id, [1; 16])));
    let (serves, out) = (relay.clone(), transport.clone());
    tokio::spawn(async move {
        let mut challenges = 0;
        while let Some(event) = events.next().await {
            let frames = {
                let mut relay = serves.lock().expect("nobody panics");
                match event {
                    Heard::Connected { peer, .. } => {
                        out.permit(peer);
                        challenges += 1;
                        relay.connect(peer, [challenges; 32]);
                        Vec::new()
                    }
                    Heard::Disconnected { peer } => {
                        relay.disconnect(peer);
                        Vec::new()
                    }
                    Heard::Frame { peer, channel: Channel::Mailbox, bytes } => relay.take(peer, &bytes),
                    _ => Vec::new(),
                }
            };
            for (peer, frame) in frames {
                let _ = out.send(peer, Channel::Mailbox, frame).await;
            }
        }
    });
    (relay, address, transport)
}

/// Hears that all that a device made is stored; the receiver is from before it was made.
async fn stored(events: &mut tokio::sync::broadcast::Receiver<Event>) {
    within(async { while !matches!(events.recv().await, Ok(Event::Stored { .. })) {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_are_never_online_together_share_a_chat_and_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (relay, address, _transport) = relay().await;
    let alice = Node::create(config(directory.path(), "Alice"), "Alice", "laptop").await.expect("a new directory");
    within(alice.listening()).await.expect("it runs");
    let hers = alice.create_space("团队").await.expect("a space");
    hers.set_relays(std::slice::from_ref(&address)).await.expect("an owner may");
    let bob = Node::create(config(directory.path(), "小波"), "小波", "laptop").await.expect("a new directory");
    let link = hers.invite(Duration::from_secs(3_600)).await.expect("an invitation");
    within(bob.join(&link, SAFETY)).await.expect("the link is good");
    bob.shutdown().await;

    // Alice is alone, and so is Bob after her.
    let mut events = alice.events();
    let content: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let source = directory.path().join("报告.bin");
    std::fs::write(&source, &content).expect("a writable directory");
    let file = hers.drive().add(&source, NodeId::ROOT, "报告.bin", |_| {}).await.expect("a readable file");
    hers.timeline().send("你好，小波").await.expect("a message");
    while hers.waiting_for_relays().await.expect("it runs") > 0 {
        stored(&mut events).await;
    }
    let status = hers.relays().await.expect("it runs").remove(0);
    assert_eq!((status.address, status.connected, status.waiting, status.error), (address, true, 0, None));
    alice.shutdown().await;

    let bob = Node::open(config(directory.path(), "小波")).await.expect("his directory");
    let his = bob.spaces().await.expect("it runs").remove(0);
    let mut events = bob.events();
    within(async {
        while !his
            .timeline()
            .history(10, None)
            .await
            .expect("it runs")
            .iter()
            .any(|message| message.body == "你好，小波")
        {
            let _ = events.recv().await;
        }
        while his.drive().file(file).await.is_err() {
            let _ = events.recv().await;
        }
    })
    .await;
    let copy = directory.path().join("copy.bin");
    within(his.drive().get(file, &copy, |_| {})).await.expect("the relay has it");
    assert_eq!(std::fs::read(&copy).expect("it was written"), content);
    bob.shutdown().await;

    // What the relay keeps says nothing in clear.
    let relay = relay.lock().expect("nobody panics");
    assert!(relay.blobs().count() > 5);
    for canary in ["你好", "报告", "小波", "Alice", "团队"] {
        let shows = |blob: &[u8]| blob.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!relay.blobs().any(|(_, blob)| shows(blob)), "{canary}");
    }
}
