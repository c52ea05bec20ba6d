//! People with devices that meet nobody but the relay, unless they listen.

use std::{path::Path, time::Duration};

use clave::{Circle, Event, Message, MessageState, NetworkConfig, Node, NodeConfig, RelayAddress, Space};

use crate::harness::{Relay, in_time};

pub fn config(folder: &Path, name: &str, listens: bool) -> NodeConfig {
    let listen = if listens { vec!["/ip4/127.0.0.1/tcp/0".to_owned()] } else { Vec::new() };
    NodeConfig::new(folder.join(name)).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

pub async fn person(folder: &Path, name: &str, listens: bool) -> Node {
    let node = Node::create(config(folder, name, listens), name, "phone").await.unwrap();
    if listens {
        in_time(node.listening()).await.unwrap();
    }
    node
}

pub fn address(relay: &Relay) -> RelayAddress {
    relay.address.to_string().parse().unwrap()
}

/// A space of the first whose relay this is, and the second in it.
pub async fn team(alice: &Node, bob: &Node, relay: &Relay) -> (Space, Space) {
    let hers = alice.create_space("团队").await.unwrap();
    hers.set_relays(&[address(relay)]).await.unwrap();
    let link = hers.invite(Duration::from_secs(3_600)).await.unwrap();
    let his = in_time(bob.join(&link, Duration::from_secs(60))).await.unwrap();
    (hers, his)
}

/// Waits until something holds that events tell of.
pub async fn until<T>(node: &Node, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let mut events = node.events();
    in_time(async {
        loop {
            if let Some(found) = holds().await {
                return found;
            }
            // One that was missed may have mattered.
            let _ = events.recv().await;
        }
    })
    .await
}

/// Waits until all that was written here is at a relay.
pub async fn stored(node: &Node, space: &Space) {
    until(node, async || (space.waiting_for_relays().await.unwrap() == 0).then_some(())).await;
}

pub async fn reads(node: &Node, circle: &Circle, text: &str) -> Message {
    until(node, async || {
        let newest = circle.timeline().history(20, None).await.unwrap();
        newest.into_iter().find(|message| message.body == text)
    })
    .await
}

/// What an observer is shown of the state of the one message, until it is the last of these; each as it follows from the one before.
pub async fn states(circle: &Circle, until: impl Fn(&MessageState) -> bool) -> Vec<MessageState> {
    let mut updates = circle.timeline().observe(10);
    let (mut shown, mut seen): (Vec<Message>, Vec<MessageState>) = (Vec::new(), Vec::new());
    in_time(async {
        loop {
            updates.next().await.unwrap().into_iter().for_each(|step| step.apply(&mut shown));
            let state = shown.first().and_then(|message| message.state);
            if let Some(state) = state.filter(|state| seen.last() != Some(state)) {
                seen.push(state);
                if until(&state) {
                    return seen;
                }
            }
        }
    })
    .await
}

/// Waits for an event.
pub async fn event(events: &mut tokio::sync::broadcast::Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    in_time(async { while !events.recv().await.is_ok_and(|event| wanted(&event)) {} }).await;
}
