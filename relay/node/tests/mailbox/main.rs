//! Mailboxes on the real program, by devices that speak the protocol by hand.

#![allow(clippy::unwrap_used)] // A test may panic.
#![allow(unreachable_pub, missing_docs)]

mod harness;
mod hostile;
mod kill9;
mod operating;
mod push_server;
mod storing;
mod waking;
