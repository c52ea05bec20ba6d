//! Real devices on the real program: how far messages come, who is let in, who is woken, what catching up waits for.

#![allow(clippy::unwrap_used)] // A test may panic.
#![allow(unreachable_pub, missing_docs)]

mod catching;
#[path = "../mailbox/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of mailboxes")]
mod harness;
mod people;
#[path = "../mailbox/push_server.rs"]
#[allow(dead_code, reason = "shared with the tests of mailboxes")]
mod push_server;
mod reach;
mod waking;
