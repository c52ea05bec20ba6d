//! Real devices on one machine, over loopback.

#![allow(clippy::unwrap_used)] // A test may panic.

mod frames;
mod harness;
mod hostile;
mod names;
mod peers;
#[cfg(feature = "quic")]
mod quic;
mod reach;
mod relayed;
mod relays;
mod sockets;
