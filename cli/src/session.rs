//! A node to ask: the one that `clave run` keeps, or the store opened by this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clave::{NetworkConfig, Node, StoreError};

use crate::execute::execute;
use crate::failure::Failure;
use crate::place::Place;
use crate::reply::Reply;
use crate::request::{Network, Request};
use crate::wire::{Line, Out};

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod socket;

#[cfg(unix)]
pub(crate) use client::Client;
#[cfg(unix)]
pub(crate) use server::Server;

/// How long another short command may hold the data directory before that is an error.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
/// How often to look again.
const BUSY_PAUSE: Duration = Duration::from_millis(40);

/// Somebody to ask.
pub(crate) enum Session {
    /// A running node in another process.
    #[cfg(unix)]
    Remote(Client),
    /// A node of this process.
    Local(Node),
}

impl Session {
    /// Finds the running node of a data directory, or opens the store.
    pub(crate) async fn open(place: &Place, network: Network) -> Result<Self, Failure> {
        let deadline = tokio::time::Instant::now() + BUSY_PATIENCE;
        loop {
            #[cfg(unix)]
            if let Some(client) = Client::connect(&place.directory).await? {
                return Ok(Self::Remote(client));
            }
            let network = (network == Network::Online).then(|| short_lived_network(&place.directory));
            match place.open(network).await {
                Err(clave::Error::Store(StoreError::Busy { .. })) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                node => return Ok(Self::Local(node?)),
            }
        }
    }

    /// Whether a running node answers, which stays online when this command has ended.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Self::Local(_))
    }

    /// Asks, and hands what comes before the end to `take`. Dropping the future cancels the request.
    pub(crate) async fn call(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Reply, Failure> {
        match self {
            #[cfg(unix)]
            Self::Remote(client) => client.call(request, take).await,
            Self::Local(node) => {
                let (out, mut lines) = Out::channel();
                let mut work = Box::pin(execute(node, request, &out));
                let result = loop {
                    tokio::select! {
                        result = &mut work => break result,
                        Some(line) = lines.recv() => take(line)?,
                    }
                };
                while let Ok(line) = lines.try_recv() {
                    take(line)?;
                }
                result
            }
        }
    }

    /// Lets go of the store, if this process holds it.
    pub(crate) async fn close(self) {
        if let Self::Local(node) = self {
            node.shutdown().await;
        }
    }
}

/// The network of a command that ends soon. It takes the port that links made earlier name, if it is free.
fn short_lived_network(directory: &Path) -> NetworkConfig {
    NetworkConfig { listen: crate::run::listen_addresses(directory), ..NetworkConfig::default() }
}

/// The file in a data directory that holds the port which `clave run` took last, so that links stay good.
pub(crate) fn port_file(directory: &Path) -> PathBuf {
    directory.join("port")
}
