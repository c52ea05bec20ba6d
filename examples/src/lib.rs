//! What the programs in `src/bin` have in common: two people who share a space, and a way to wait for each other. Each
//! program tells one story over the `clave` library, checks it, and ends by itself; [`two_friends_chat`] sets everything
//! up by hand, so start there.
//!
//! [`two_friends_chat`]: https://github.com/clave/clave/blob/main/examples/src/bin/two_friends_chat.rs

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use clave::{NetworkConfig, Node, NodeConfig, Space};
use tempfile::TempDir;

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What every program returns: the first thing that went wrong ends it.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Alice and Bob, each on a device of their own, in one space.
pub struct Friends {
    /// Hers, which founded the space.
    pub alice: Node,
    /// His.
    pub bob: Node,
    /// The space, as Alice's device has it.
    pub hers: Space,
    /// The same space, as Bob's device has it.
    pub his: Space,
    /// Where all of it lies, until the program ends.
    pub directory: TempDir,
}

impl Friends {
    /// Two new devices; Bob has joined the space that Alice founded.
    ///
    /// # Errors
    /// What the disk or the network has to say.
    pub async fn meet(space: &str) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let (alice, bob) = (device(directory.path(), "Alice").await?, device(directory.path(), "Bob").await?);
        let hers = alice.create_space(space).await?;
        let his = bob.join(&hers.invite(PATIENCE).await?, PATIENCE).await?;
        Ok(Self { alice, bob, hers, his, directory })
    }

    /// Both devices let go of everything.
    pub async fn part(self) {
        tokio::join!(self.alice.shutdown(), self.bob.shutdown());
    }
}

/// A new device that can be reached on this machine.
///
/// # Errors
/// What the disk or the network has to say.
pub async fn device(directory: &Path, person: &str) -> Result<Node, Box<dyn Error>> {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
    let node = Node::create(NodeConfig::new(directory.join(person)).online(network), person, "laptop").await?;
    tokio::time::timeout(PATIENCE, node.listening()).await??;
    Ok(node)
}

/// Looks again whenever something has happened on a device, until there is something to see.
///
/// # Errors
/// What `look` has to say, or that nothing came.
pub async fn until<T>(
    node: &Node,
    mut look: impl AsyncFnMut() -> Result<Option<T>, clave::Error>,
) -> Result<T, Box<dyn Error>> {
    let mut events = node.events();
    let seen = async {
        loop {
            if let Some(seen) = look().await? {
                return Ok::<_, clave::Error>(seen);
            }
            // That some were missed is one more reason to look.
            let _ = events.recv().await;
        }
    };
    Ok(tokio::time::timeout(PATIENCE, seen).await??)
}
