//! Names in addresses, where the host resolves them: on Android there is no `/etc/resolv.conf`, and what the system does for a
//! name (private DNS, a VPN, what a company pushes) only the system knows.

use std::{
    fmt, io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture, future::MapErr};
use libp2p::{
    Multiaddr, Transport, TransportError,
    core::transport::{DialOpts, ListenerId, TransportEvent},
    multiaddr::Protocol,
};
use tokio::sync::Semaphore;

/// Names that are being resolved at a time. A host that blocks for ever takes so many threads and no more: further names then
/// fail at once.
const RESOLVING_MAX: usize = 8;
/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses of one name that are dialled, one after the other.
const ADDRESSES_MAX: usize = 16;

/// Resolves names in place of this library.
pub trait ResolveNames: Send + Sync {
    /// The addresses of a host name, those to try first in front. Called on a thread that may block; what takes longer than
    /// ten seconds is not waited for. A panic counts as an error.
    ///
    /// # Errors
    /// Whatever the system says: the dial fails, and is tried again as any that fails.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The host's resolver, asked for few names at a time.
#[derive(Clone)]
pub struct Names {
    host: Arc<dyn ResolveNames>,
    room: Arc<Semaphore>,
}

impl Names {
    /// Has `host` resolve names.
    pub fn new(host: Arc<dyn ResolveNames>) -> Self {
        Self { host, room: Arc::new(Semaphore::new(RESOLVING_MAX)) }
    }

    async fn resolve(&self, name: String) -> io::Result<Vec<IpAddr>> {
        let busy = || io::Error::new(io::ErrorKind::WouldBlock, "the host is still resolving other names");
        let place = self.room.clone().try_acquire_owned().map_err(|_| busy())?;
        let host = self.host.clone();
        let resolving = tokio::task::spawn_blocking(move || {
            // Kept for as long as the host takes, whether or not anybody still waits.
            let _place = place;
            host.resolve(&name)
        });
        match tokio::time::timeout(PATIENCE, resolving).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(_)) => Err(io::Error::other("the host's resolver panicked")),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// Dials addresses with names over a transport that knows none.
pub(crate) struct Named<T> {
    inner: Arc<Mutex<T>>,
    names: Names,
}

impl<T> Named<T> {
    pub(crate) fn new(inner: T, names: Names) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), names }
    }
}

fn lock<T>(inner: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> io::Error {
    io::Error::other(error)
}

/// Which addresses fit.
type Fits = fn(&IpAddr) -> bool;

/// The name in an address: where it stands, and what may take its place.
fn name_in(address: &Multiaddr) -> Option<(usize, String, Fits)> {
    address.iter().enumerate().find_map(|(place, part)| match part {
        Protocol::Dns(name) => Some((place, name.into_owned(), (|_| true) as Fits)),
        Protocol::Dns4(name) => Some((place, name.into_owned(), IpAddr::is_ipv4)),
        Protocol::Dns6(name) => Some((place, name.into_owned(), IpAddr::is_ipv6)),
        _ => None,
    })
}

impl<T> Transport for Named<T>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = MapErr<T::ListenerUpgrade, fn(T::Error) -> io::Error>;
    type Dial = BoxFuture<'static, io::Result<T::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        lock(&self.inner).listen_on(id, address).map_err(|error| error.map(failed))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.inner).remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some((place, name, fits)) = name_in(&address) else {
            let dialling = lock(&self.inner).dial(address, options).map_err(|error| error.map(failed))?;
            return Ok(dialling.map_err(failed).boxed());
        };
        let (inner, names) = (self.inner.clone(), self.names.clone());
        let dialling = async move {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address that fits");
            let found = names.resolve(name).await?;
            for ip in found.into_iter().filter(fits).take(ADDRESSES_MAX) {
                let address = address.replace(place, |_| Some(ip.into())).expect("the place is of this address");
                let dialling = lock(&inner).dial(address, options);
                let dialled = match dialling {
                    Ok(dialling) => dialling.await.map_err(failed),
                    Err(error) => Err(io::Error::other(error.to_string())),
                };
                match dialled {
                    Ok(output) => return Ok(output),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        };
        Ok(dialling.boxed())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let mut inner = lock(&self.inner);
        Pin::new(&mut *inner).poll(cx).map(|event| {
            event.map_upgrade(|upgrade| upgrade.map_err(failed as fn(T::Error) -> io::Error)).map_err(failed)
        })
    }
}
