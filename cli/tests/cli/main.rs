//! The real `clave` binary, as people and scripts use it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod audit;
mod canary;
mod chat;
mod circles;
mod demo;
mod devices;
mod errors;
mod files;
mod harness;
mod inbox;
mod invitations;
mod json;
mod keeping;
mod policies;
mod post_quantum;
mod push;
mod recovery;
mod relays;
mod removal;
mod search;
mod verify;
mod work;
