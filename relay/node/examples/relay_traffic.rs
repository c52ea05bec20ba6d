//! Some traffic for a relay: a device that puts an entry ten times a second, and one that follows and acknowledges. Until it is ended.
//!
//! ```text
//! cargo run -p clave-relay --example relay_traffic -- /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…
//! ```

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)] // A tool may panic.

#[path = "../benches/load/client.rs"]
#[allow(dead_code, reason = "shared with the benches")]
mod client;

use std::time::Duration;

use clave_mailbox::{Delivery, Kind, reply};
use client::{Client, Lost};
use ed25519_dalek::SigningKey;

const EVERY: Duration = Duration::from_millis(100);
const ENTRY_BYTES: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Lost> {
    let address = std::env::args().nth(1).expect("the address that the relay prints").parse().expect("an address");
    let key = SigningKey::from_bytes(&[9; 32]);
    let mut reader = Client::greeted([1; 32], &address).await?;
    let mailbox = reader.opening(&key, 0, true);
    reader.open(vec![mailbox]).await?;
    let mut writer = Client::greeted([2; 32], &address).await?;
    let mailbox = writer.opening(&key, 0, false);
    writer.open(vec![mailbox]).await?;
    tokio::try_join!(read(reader), write(writer, &key)).map(drop)
}

async fn read(mut reader: Client) -> Result<(), Lost> {
    loop {
        if let Some(reply::Body::Delivery(Delivery { mailbox, entries })) = reader.hear().await?.body {
            reader.acknowledge(mailbox, entries.last().ok_or(Lost)?.position).await?;
        }
    }
}

async fn write(mut writer: Client, key: &SigningKey) -> Result<(), Lost> {
    for number in 0_u64.. {
        let entry = [&number.to_be_bytes()[..], &[7; ENTRY_BYTES]].concat();
        writer.put(key, Kind::Entry, entry).await?;
        writer.hear_soon().await?;
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}
