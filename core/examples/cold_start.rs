//! What `scripts/cold-start.sh` holds an app in another language against: how long it takes from nothing to the first list.
//!
//! `cold_start build DIRECTORY MESSAGES` makes a space with so many messages; `cold_start open DIRECTORY` opens it and prints the
//! microseconds from before the node is opened to when the 50 newest messages are there.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // What it prints is what it is for.

use std::error::Error;
use std::time::Instant;

use clave::{ListDiff, Node, NodeConfig};
use tokio::task::JoinSet;

/// Messages that are sent at once: the node makes one change of those that wait.
const AT_ONCE: usize = 16;
/// What a screen shows first.
const SHOWN: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["build", directory, messages] => build(directory, messages.parse()?).await,
        ["open", directory] => open(directory).await,
        _ => Err("usage: cold_start build DIRECTORY MESSAGES | cold_start open DIRECTORY".into()),
    }
}

async fn build(directory: &str, messages: usize) -> Result<(), Box<dyn Error>> {
    let node = Node::create(NodeConfig::new(directory), "小波", "laptop").await?;
    let timeline = node.create_space("团队").await?.timeline();
    let mut sending = JoinSet::new();
    for number in 0..messages {
        if sending.len() == AT_ONCE {
            sending.join_next().await.ok_or("some are under way")???;
        }
        let timeline = timeline.clone();
        let body = format!("第 {number} 条：Kommst du morgen mit? The plan is in the note, see you at nine 👋");
        sending.spawn(async move { timeline.send(body).await.map(drop) });
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    node.shutdown().await;
    Ok(())
}

async fn open(directory: &str) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let node = Node::open(NodeConfig::new(directory)).await?;
    let space = node.spaces().await?.pop().ok_or("there is no space")?;
    let first = space.timeline().observe(SHOWN).next().await?;
    let taken = begun.elapsed();
    let [ListDiff::Reset(messages)] = first.as_slice() else { return Err("the first step is no reset".into()) };
    if messages.len() != SHOWN {
        return Err(format!("{} messages", messages.len()).into());
    }
    node.shutdown().await;
    println!("{}", taken.as_micros());
    Ok(())
}
