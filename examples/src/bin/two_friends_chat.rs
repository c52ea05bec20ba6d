//! Two friends, two devices, no server: one founds a space and invites the other by a link; they talk, one of them goes
//! offline, and finds what was said meanwhile when she is back.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::collections::BTreeSet;
use std::path::Path;

use clave::{Message, NetworkConfig, Node, NodeConfig, Timeline};
use clave_examples::{Outcome, PATIENCE};

fn config(directory: &Path, name: &str) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory.join(name)).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

/// Watches a chat until it holds `count` messages. What a screen would draw is `shown` after each batch of steps.
async fn watch(timeline: Timeline, count: usize) -> Result<Vec<Message>, clave::Error> {
    let (mut updates, mut shown) = (timeline.observe(50), Vec::new());
    while shown.len() < count {
        updates.next().await?.into_iter().for_each(|step| step.apply(&mut shown));
    }
    Ok(shown)
}

#[tokio::main]
async fn main() -> Outcome {
    let directory = tempfile::tempdir()?;
    let alice = Node::create(config(directory.path(), "alice"), "Alice", "laptop").await?;
    let bob = Node::create(config(directory.path(), "bob"), "小波", "phone").await?;

    // A link carries addresses: be reachable before making one. It works once, for whoever has it.
    println!("Alice listens on {}", alice.listening().await?.join(", "));
    let hers = alice.create_space("周末 Weekend").await?;
    let link = hers.invite(PATIENCE).await?;
    println!("Alice invites: {link}");
    let his = bob.join(&link, PATIENCE).await?;
    println!("小波 joined {}", his.name().await?);

    hers.timeline().send("去爬山吗? 🥾").await?;
    tokio::time::timeout(PATIENCE, watch(his.timeline(), 1)).await??;
    his.timeline().send("好! Saturday at nine").await?;
    tokio::time::timeout(PATIENCE, watch(hers.timeline(), 2)).await??;

    // Alice goes offline; 小波 goes on writing, which reaches her when she is back.
    alice.shutdown().await;
    his.timeline().send("bring water").await?;
    let alice = Node::open(config(directory.path(), "alice")).await?;
    let hers = alice.space(hers.id()).await?;
    let chat = tokio::time::timeout(PATIENCE, watch(hers.timeline(), 3)).await??;
    for message in &chat {
        println!("{:>6}: {}", message.author.name, message.body);
    }

    let said: BTreeSet<_> = chat.iter().map(|message| (message.author.name.as_str(), message.body.as_str())).collect();
    let expected = [("Alice", "去爬山吗? 🥾"), ("小波", "好! Saturday at nine"), ("小波", "bring water")];
    assert_eq!(said, expected.into());
    assert_eq!(his.timeline().history(50, None).await?.len(), 3);
    tokio::join!(alice.shutdown(), bob.shutdown());
    Ok(())
}
