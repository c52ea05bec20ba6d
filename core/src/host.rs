//! What the host of a node, an app on some system, does in its place: keep the key of the vault, resolve names, tell the
//! addresses of its interfaces, take what is logged. What the host finds nearby it tells by [`Node::peer_found`].
//!
//! A hook is called on a thread that may block, and nothing is locked meanwhile. One that panics or never returns costs what
//! it was asked for, and nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clave_engine::crypto::DeviceId;
use clave_transport::{Address, Names, ResolveNames};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::{Error, Node};

mod log;

pub use log::{LOG_LINES_WAITING_MAX, LogLevel, LogSink, LogSinkSet, set_log_sink};

/// How long the host may take to tell its addresses.
const INTERFACES_PATIENCE: Duration = Duration::from_secs(5);
/// Addresses of interfaces that are listened on.
const INTERFACES_MAX: usize = 32;
/// Addresses of one device that the host found.
const FOUND_ADDRESSES_MAX: usize = 16;

/// Keeps the key of a vault where the system keeps keys: the Android Keystore, the iOS Keychain, a TPM.
///
/// Both are called on a thread that may block for as long as the system asks its user. A panic counts as
/// [`KeyWrappingError::Unavailable`].
pub trait KeyWrapping: Send + Sync {
    /// Makes something of the key (32 bytes) from which nobody else makes the key again: at most 4,096 bytes, which are stored
    /// beside the data. Called once, when the vault is made.
    ///
    /// # Errors
    /// Why not: the vault is not made.
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, KeyWrappingError>;

    /// Makes the key again. Called each time the vault is opened, before anything is locked; not when a node resumes.
    ///
    /// # Errors
    /// Why not: the vault stays closed, and nothing in it changes.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Vec<u8>, KeyWrappingError>;
}

/// Why the system did not make a vault's key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyWrappingError {
    /// Not now: the device was not unlocked since it started, say.
    #[error("the system's key store cannot be used now: unlock the device, then try again")]
    Unavailable,
    /// The user was asked, and did not say yes.
    #[error("the system's key store was not unlocked, because it was cancelled: try again")]
    Cancelled,
    /// It has no such key any more: the screen lock was taken off, or the data came from another device.
    #[error(
        "the system's key store no longer has the key of this vault: restore it from a backup, or link this device anew"
    )]
    KeyGone,
}

impl KeyWrappingError {
    /// Whether the same call may work later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self != Self::KeyGone
    }
}

/// Tells the addresses of this machine, where the system lets no program list its interfaces.
pub trait Interfaces: Send + Sync {
    /// The addresses that others can reach. Asked when the node starts, resumes, and is told that the network changed. What
    /// takes longer than five seconds is not waited for; a panic counts as none.
    fn addresses(&self) -> Vec<IpAddr>;
}

/// What the host does for the network of a node.
#[derive(Clone, Default)]
pub struct Host {
    /// Resolves names in addresses.
    pub names: Option<Arc<dyn ResolveNames>>,
    /// Tells the addresses of interfaces.
    pub interfaces: Option<Arc<dyn Interfaces>>,
}

impl Host {
    /// For the transport.
    pub(crate) fn resolver(&self) -> Option<Names> {
        self.names.clone().map(Names::new)
    }

    /// What to listen on: with the host's addresses in place of *any address*, if it tells some.
    pub(crate) async fn listen_on(&self, listen: &[String]) -> Vec<String> {
        let Some(interfaces) = self.interfaces.clone() else { return listen.to_vec() };
        let asked = spawn_blocking(move || interfaces.addresses());
        match tokio::time::timeout(INTERFACES_PATIENCE, asked).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => spread(listen, &addresses),
            Ok(Ok(_)) => listen.to_vec(),
            Ok(Err(_)) | Err(_) => {
                tracing::error!("the host did not tell its addresses");
                listen.to_vec()
            }
        }
    }
}

/// Puts each address of an interface in place of *any address* of its kind.
fn spread(listen: &[String], addresses: &[IpAddr]) -> Vec<String> {
    let mut spread = Vec::new();
    for text in listen {
        let any = ["/ip4/0.0.0.0/", "/ip6/::/"].into_iter().find_map(|any| Some((any, text.strip_prefix(any)?)));
        let Some((any, rest)) = any else {
            spread.push(text.clone());
            continue;
        };
        let is_v4 = any.starts_with("/ip4/");
        let of_kind = addresses.iter().filter(|ip| ip.is_ipv4() == is_v4 && !ip.is_unspecified());
        spread.extend(of_kind.take(INTERFACES_MAX).map(|ip| {
            let kind = if is_v4 { "ip4" } else { "ip6" };
            format!("/{kind}/{ip}/{rest}")
        }));
    }
    spread
}

/// Has the host wrap a key.
pub(crate) fn wrap(host: &dyn KeyWrapping, key: &[u8; 32]) -> Result<Vec<u8>, KeyWrappingError> {
    contained(|| host.wrap(key))
}

/// Has the host make a key again.
pub(crate) fn unwrap(host: &dyn KeyWrapping, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyWrappingError> {
    contained(|| host.unwrap(wrapped)).map(Zeroizing::new)
}

fn contained<T>(ask: impl FnOnce() -> Result<T, KeyWrappingError>) -> Result<T, KeyWrappingError> {
    // What it has seen of a host that panics is dropped: nothing is left half done.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).unwrap_or_else(|_| {
        tracing::error!("the host's key store panicked");
        Err(KeyWrappingError::Unavailable)
    })
}

impl Node {
    /// The host found a device nearby (by NSD, Bonjour, Bluetooth), at these multiaddrs: it is dialled if it is a member's, or
    /// if a code is being looked for that anybody may answer. What is wrong with it shows when it is dialled: nobody is taken
    /// for a device who cannot prove its key. At most 16 addresses. Lost when the node pauses.
    ///
    /// To be found, the host tells others the device of [`profile`](Self::profile) and what
    /// [`listening`](Self::listening) gives.
    ///
    /// # Errors
    /// [`Error::Address`] if one is none; [`Error::Paused`], [`Error::Stopped`].
    pub async fn peer_found(&self, device: DeviceId, addresses: Vec<String>) -> Result<(), Error> {
        for address in &addresses {
            address.parse::<Address>()?;
        }
        self.tell_found(device, addresses.into_iter().take(FOUND_ADDRESSES_MAX).collect()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_stands_for_those_of_its_kind() {
        let addresses = ["192.0.2.7", "192.0.2.8", "2001:db8::7", "0.0.0.0"].map(|ip| ip.parse().unwrap());
        let listen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0/ws", "/ip4/127.0.0.1/tcp/9"].map(str::to_owned);
        assert_eq!(
            spread(&listen, &addresses),
            ["/ip4/192.0.2.7/tcp/0", "/ip4/192.0.2.8/tcp/0", "/ip6/2001:db8::7/tcp/0/ws", "/ip4/127.0.0.1/tcp/9",]
        );
        assert_eq!(spread(&listen[..2], &addresses[..1]), ["/ip4/192.0.2.7/tcp/0"]);
    }

    #[test]
    fn what_the_key_store_says_tells_what_to_do() {
        let says = |error: KeyWrappingError| (error.to_string(), error.is_retryable());
        assert!(says(KeyWrappingError::Unavailable).0.ends_with("unlock the device, then try again"));
        assert!(says(KeyWrappingError::Cancelled).1 && !says(KeyWrappingError::KeyGone).1);
    }
}
