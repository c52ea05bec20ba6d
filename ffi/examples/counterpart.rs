//! The other side of the bindings' tests: a Rust process over the facade that founds a space, prints a link, and answers
//! every message with an echo, until its standard input ends. Lines of output: `link …`, `heard …`, `bye`.

#![allow(clippy::print_stdout, reason = "the tests read its output")]

use std::io::Read as _;
use std::time::Duration;

use clave::{Error, ListDiff, NetworkConfig, Node, NodeConfig, Timeline};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: counterpart DIRECTORY")?;
    let loopback = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let network = NetworkConfig { listen: loopback, mdns: false, ..NetworkConfig::default() };
    let node = Node::create(NodeConfig::new(directory).online(network), "Rust 🦀", "process").await?;
    node.listening().await?;
    let space = node.create_space("团队 🥁").await?;
    println!("link {}", space.invite(Duration::from_secs(3600)).await?);

    let input_ends = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        ended = echo(space.timeline()) => ended?,
        ended = input_ends => { ended??; }
    }
    node.shutdown().await;
    println!("bye");
    Ok(())
}

async fn echo(timeline: Timeline) -> Result<(), Error> {
    let mut updates = timeline.observe(50);
    loop {
        for step in updates.next().await? {
            let messages = match step {
                ListDiff::Reset(messages) | ListDiff::Append(messages) => messages,
                // It was sent before what is shown last.
                ListDiff::Insert { item, .. } => vec![item],
                _ => continue,
            };
            for message in messages.into_iter().filter(|message| !message.author.is_me) {
                println!("heard {}", message.body);
                timeline.send(format!("echo: {}", message.body)).await?;
            }
        }
    }
}
