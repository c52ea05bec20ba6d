//! What the app does in the library's place: keep the key of the vault, resolve names, tell the addresses of interfaces, take
//! what is logged, find devices nearby.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::convert::parse;
use crate::{ClaveError, Node};

/// Why the system did not wrap a key or make it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum KeyWrappingError {
    /// Not now: the device was not unlocked since it started, say. Whatever else is thrown counts as this.
    #[error("the system's key store cannot be used now")]
    Unavailable,
    /// The user was asked, and did not say yes.
    #[error("cancelled by the user")]
    Cancelled,
    /// It has no such key any more: the screen lock was taken off, or the data came from another device.
    #[error("the system's key store no longer has the key")]
    KeyGone,
}

/// Keeps the key of a vault where the system keeps keys: the Android Keystore, the iOS Keychain. Called on a thread of the
/// node's, which may block for as long as the system asks its user.
#[uniffi::export(foreign)]
pub trait KeyWrapping: Send + Sync {
    /// Makes something of the key (32 bytes) from which nobody else makes the key again: at most 4,096 bytes, which are stored
    /// beside the data. Called once, when the vault is made.
    ///
    /// # Errors
    /// Why not: the vault is not made.
    fn wrap(&self, key: Vec<u8>) -> Result<Vec<u8>, KeyWrappingError>;

    /// Makes the key again. Called each time the vault is opened, before anything is locked; not when a node resumes.
    ///
    /// # Errors
    /// Why not: the vault stays closed, and nothing in it changes.
    fn unwrap(&self, wrapped: Vec<u8>) -> Result<Vec<u8>, KeyWrappingError>;
}

/// Resolves names in addresses, in place of any name server.
#[uniffi::export(foreign)]
pub trait NameResolver: Send + Sync {
    /// The IP addresses of a host name, those to try first in front. Called on a thread of the node's that may block; what takes
    /// longer than ten seconds is not waited for.
    ///
    /// # Errors
    /// Whatever it throws: the dial fails, and is tried again as any that fails.
    fn resolve(&self, name: String) -> Result<Vec<String>, ClaveError>;
}

/// Tells the addresses of this machine, where the system lets no library list its interfaces.
#[uniffi::export(foreign)]
pub trait InterfaceLister: Send + Sync {
    /// The IP addresses that others can reach. Asked when the node starts, resumes, and is told that the network changed.
    ///
    /// # Errors
    /// Whatever it throws counts as none: then the library looks for itself.
    fn addresses(&self) -> Result<Vec<String>, ClaveError>;
}

/// What the app does in the library's place.
#[derive(uniffi::Object)]
pub struct Host {
    key_wrapping: Option<Arc<dyn KeyWrapping>>,
    names: Option<Arc<dyn NameResolver>>,
    interfaces: Option<Arc<dyn InterfaceLister>>,
}

#[uniffi::export]
impl Host {
    /// Each of them is left to the library if it is nothing. With `key_wrapping`, a vault that is made needs no passphrase.
    #[uniffi::constructor(default(key_wrapping = None, names = None, interfaces = None))]
    #[must_use]
    pub fn new(
        key_wrapping: Option<Arc<dyn KeyWrapping>>,
        names: Option<Arc<dyn NameResolver>>,
        interfaces: Option<Arc<dyn InterfaceLister>>,
    ) -> Arc<Self> {
        Arc::new(Self { key_wrapping, names, interfaces })
    }
}

impl Host {
    pub(crate) fn unlock(&self) -> Option<clave::Unlock> {
        self.key_wrapping.clone().map(|wrapping| clave::Unlock::Host(Arc::new(Wrapping(wrapping))))
    }

    pub(crate) fn of_network(&self) -> clave::Host {
        clave::Host {
            names: self.names.clone().map(|names| Arc::new(Names(names)) as _),
            interfaces: self.interfaces.clone().map(|interfaces| Arc::new(Interfaces(interfaces)) as _),
        }
    }
}

/// How much a line that is logged matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// A mistake of this library.
    Error,
    /// A peer, the network or the disk went wrong.
    Warn,
    /// Something worth knowing.
    Info,
    /// What goes well.
    Debug,
    /// Everything.
    Trace,
}

/// Takes what is logged.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// A line: from where in the library, and what. It never holds a secret, a name or what somebody wrote; it may hold
    /// addresses and short ids. Called by one thread at a time, which is there only while there are lines. One that blocks
    /// holds up nobody: lines are dropped then.
    ///
    /// # Errors
    /// Whatever it throws loses that line.
    fn log(&self, level: LogLevel, target: String, message: String) -> Result<(), ClaveError>;
}

/// Has `sink` take what this library logs, up to a level, for as long as the process lives. Once, before any node.
///
/// # Errors
/// [`ClaveError::Argument`] (`argument.log_sink`) if there is one already.
#[uniffi::export]
pub fn set_log_sink(sink: Arc<dyn LogSink>, level: LogLevel) -> Result<(), ClaveError> {
    clave::set_log_sink(Arc::new(Sink(sink)), level.into()).map_err(|error| ClaveError::unusable("log_sink", &error))
}

#[uniffi::export]
impl Node {
    /// The app found a device nearby (by NSD, Bonjour, Bluetooth), at these multiaddrs: it is dialled if it is a member's, or
    /// if a code is being looked for that anybody may answer. Nobody is taken for a device who cannot prove its key. At most
    /// 16 addresses.
    ///
    /// To be found, the app tells others the device of [`profile`](Self::profile) and what [`listening`](Self::listening) gives.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `device` is no id, [`ClaveError::Network`] if an address is none; [`ClaveError::Paused`],
    /// [`ClaveError::Stopped`].
    pub async fn peer_found(&self, device: String, addresses: Vec<String>) -> Result<(), ClaveError> {
        let device = parse(&device, "device")?;
        let node = self.session.node().clone();
        self.session.run(async move { node.peer_found(device, addresses).await }).await
    }
}

struct Wrapping(Arc<dyn KeyWrapping>);

impl clave::KeyWrapping for Wrapping {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, clave::KeyWrappingError> {
        Ok(self.0.wrap(key.to_vec())?)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Vec<u8>, clave::KeyWrappingError> {
        Ok(self.0.unwrap(wrapped.to_vec())?)
    }
}

struct Names(Arc<dyn NameResolver>);

impl clave::ResolveNames for Names {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = self.0.resolve(name.to_owned()).map_err(io::Error::other)?;
        let parsed: Result<_, _> = addresses.iter().map(|text| text.parse()).collect();
        parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

struct Interfaces(Arc<dyn InterfaceLister>);

impl clave::Interfaces for Interfaces {
    fn addresses(&self) -> Vec<IpAddr> {
        let told = self.0.addresses().unwrap_or_default();
        // Those with a zone (`fe80::1%wlan0`) are of no use to others.
        told.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

struct Sink(Arc<dyn LogSink>);

impl clave::LogSink for Sink {
    fn log(&self, level: clave::LogLevel, target: &str, message: &str) {
        // There is nowhere to say that it failed.
        let _ = self.0.log(level.into(), target.to_owned(), message.to_owned());
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for KeyWrappingError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unavailable
    }
}

impl From<KeyWrappingError> for clave::KeyWrappingError {
    fn from(error: KeyWrappingError) -> Self {
        match error {
            KeyWrappingError::Unavailable => Self::Unavailable,
            KeyWrappingError::Cancelled => Self::Cancelled,
            KeyWrappingError::KeyGone => Self::KeyGone,
        }
    }
}

impl From<LogLevel> for clave::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

impl From<clave::LogLevel> for LogLevel {
    fn from(level: clave::LogLevel) -> Self {
        match level {
            clave::LogLevel::Error => Self::Error,
            clave::LogLevel::Warn => Self::Warn,
            clave::LogLevel::Info => Self::Info,
            clave::LogLevel::Debug => Self::Debug,
            clave::LogLevel::Trace => Self::Trace,
        }
    }
}
