//! Mailboxes on the real program, by devices that speak the protocol by hand.

#![allow(clippy::unwrap_used)] // A test may panic.
#![allow(unreachable_pub, missing_docs)]

mod cluster;
mod harness;
mod hostile;
mod kill9;
#[path = "../support/nats.rs"]
#[allow(dead_code, reason = "shared with the tests of the store")]
mod nats;
mod operating;
mod push_server;
mod storing;
mod waking;
