//! Devices that exchange bytes: connections, frames, discovery, relays.

#![forbid(unsafe_code)]

mod address;
mod backoff;
mod channel;
mod config;
mod dial;
mod driver;
mod error;
mod event;
mod frame;
mod key;
mod net;
mod registry;
mod relay_server;
mod room;
mod session;
mod streams;
mod transport;

pub use address::Address;
pub use backoff::Backoff;
pub use channel::{Channel, FRAME_BYTES_MAX};
pub use config::{Config, Limits};
pub use error::{AddressError, DialError, ListenError, SendError, TransportError};
pub use event::{Event, Events};
pub use key::{PeerKey, fresh_seed};
pub use registry::{Addresses, ConnectionInfo, ListenAddress, PeerInfo, Refusals, Stats};
pub use relay_server::{RelayConfig, RelayEvent, RelayLimits, RelayServer};
pub use transport::Transport;
