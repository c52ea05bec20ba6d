//! The program of the guide docs/apps/rust.md: `scripts/guides.py --write` puts it here.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::path::Path;

use clave::{Error, NetworkConfig, Node, NodeConfig, Unlock};

async fn device(directory: &Path, name: &str) -> Result<Node, Error> {
    let unlock = Unlock::Passphrase("correct horse".to_owned().into());
    let config = NodeConfig { unlock, ..NodeConfig::new(directory) }.online(NetworkConfig::default());
    if Node::exists(directory) { Node::open(config).await } else { Node::create(config, name, "laptop").await }
}

use std::time::Duration;

use clave::{InviteLink, Space};

async fn found(alice: &Node) -> Result<InviteLink, Error> {
    alice.listening().await?; // a link carries addresses: be reachable first
    alice.create_space("周末").await?.invite(Duration::from_secs(86_400)).await
}

async fn join(bob: &Node, link: &InviteLink) -> Result<Space, Error> {
    bob.join(link, Duration::from_secs(60)).await
}

async fn talk(hers: &Space, his: &Space) -> Result<(), Error> {
    hers.timeline().send("去爬山吗? 🥾").await?;
    let (mut updates, mut shown) = (his.timeline().observe(50), Vec::new());
    while shown.is_empty() {
        // in an app: for ever
        updates.next().await?.into_iter().for_each(|step| step.apply(&mut shown));
    }
    println!("{}: {}", shown[0].author.name, shown[0].body);
    Ok(())
}

async fn join_or_say(node: &Node, link: &str) {
    let joined = match link.parse() {
        Ok(link) => join(node, &link).await.map(|_| ()),
        Err(error) => Err(Error::Link(error)),
    };
    if let Err(error) = joined {
        println!("{error} [{}]{}", error.code(), if error.is_retryable() { ", try again" } else { "" });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let alice = device(&directory.path().join("alice"), "王小明").await?;
    let bob = device(&directory.path().join("bob"), "小波").await?;
    let his = join(&bob, &found(&alice).await?).await?;
    talk(&alice.spaces().await?[0], &his).await?;
    join_or_say(&bob, "https://example.org").await;
    tokio::join!(alice.shutdown(), bob.shutdown());
    Ok(())
}
