//! Devices that exchange bytes: connections, frames, discovery, relays.
//!
//! This crate owns the network: a libp2p swarm (TCP, WebSocket or QUIC; Noise, Yamux) in a tokio task of its own,
//! streams of frames between devices, mDNS on local networks, places at relays and circuits through them, the attempt
//! to replace these by direct connections, and the question whether this device can be reached ([`Reachability`]). It
//! knows devices by their Ed25519 keys ([`PeerKey`]) and what they send as bytes. It does not know what a frame means,
//! whom to dial, when to dial a device again, or who belongs to a team: its owner tells it.
//!
//! # How to drive it
//!
//! [`Transport::start`] gives a handle, for commands, and [`Events`], which one task takes. A pair of devices has
//! four [`Channel`]s. What is sent on one arrives in order, and no channel waits for another.
//!
//! ```
//! use clave_transport::{Channel, Config, Event, Events, Transport};
//!
//! /// Skips events until one fits.
//! async fn until<T>(events: &mut Events, fits: impl Fn(Event) -> Option<T>) -> T {
//!     loop {
//!         if let Some(found) = fits(events.next().await.expect("it runs")) {
//!             return found;
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut here = Config::new([1; 32]);
//! here.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
//! let (alice, mut alice_hears) = Transport::start(here)?;
//! let (bob, mut bob_hears) = Transport::start(Config { listen: vec![], ..Config::new([2; 32]) })?;
//!
//! let address = until(&mut alice_hears, |event| match event {
//!     Event::Listening { address } => Some(address),
//!     _ => None,
//! });
//! let address = address.await;
//! bob.connect(Some(alice.key()), vec![address]).await?;
//! bob.send(alice.key(), Channel::Join, b"may I come in?".to_vec()).await?;
//!
//! let (peer, said) = until(&mut alice_hears, |event| match event {
//!     Event::Frame { peer, bytes, .. } => Some((peer, bytes)),
//!     _ => None,
//! })
//! .await;
//! assert_eq!((peer, said), (bob.key(), b"may I come in?".to_vec()));
//! alice.permit(peer); // From now on Sync and Bulk, too.
//! bob.shutdown().await;
//! until(&mut alice_hears, |event| (event == Event::Disconnected { peer }).then_some(())).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What may be relied on
//!
//! - Who is at the other end of a connection has proved to hold the key. Dialling somebody never ends at another.
//! - Frames of a peer on a channel come in order, each once. A gap is possible only around `Disconnected`, or where
//!   the sender is told `Interrupted`. A change from a relayed to a direct connection loses nothing.
//! - Nobody who was not permitted is heard on another channel than [`Channel::Join`].
//! - Memory is bounded: frames wait in rooms of a stated size on both sides ([`Limits`]), and who reads slowly holds
//!   up whoever sends. One reservation: for each connection, Yamux may hold what its receive window allows. It grows
//!   from 256 KiB only on streams that are read fast.
//!
//! # On the wire
//!
//! A channel is a libp2p protocol ([`Channel::protocol`]). Each direction has a stream of its own, opened by the
//! writer: a frame is its length (four bytes, big-endian, at most [`FRAME_BYTES_MAX`]), then its bytes. When a writer
//! closes its side, the reader answers with one byte `0x06` after it has handed over the last frame, and closes too.
//! Of several streams on a channel the newest counts.
//!
//! The server side of relays is [`RelayServer`]. It stands here so that a relay links this crate and nothing that
//! could decrypt.

#![forbid(unsafe_code)]

mod address;
mod backoff;
mod channel;
mod config;
mod connections;
mod dial;
mod dial_back;
mod driver;
mod error;
mod event;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod names;
mod net;
mod probe;
mod registry;
mod relay_server;
mod relays;
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
pub use names::{Names, ResolveNames};
pub use registry::{Addresses, ConnectionInfo, ListenAddress, PeerInfo, Reachability, Refusals, RelayInfo, Stats, Way};
pub use relay_server::{
    Caller, FrameReader, FrameWriter, RelayConfig, RelayEvent, RelayLimits, RelayServer, StreamError,
};
pub use transport::Transport;
