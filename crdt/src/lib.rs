//! The documents of Clave: [`automerge`] underneath, typed schemas on top.
//!
//! This crate owns what a chat, a note, a calendar and a drive are made of, and how concurrent edits to them merge. It
//! does no I/O and no cryptography, keeps no clock and asks nobody for randomness. It does not know who may write: it
//! says who wrote ([`ChangeInfo::actor`]), the engine decides.

#![forbid(unsafe_code)]

mod actor;
mod change;
mod document;
mod error;
mod kind;

pub use actor::Actor;
pub use change::{CHANGE_BYTES_MAX, CHANGE_DEPENDENCIES_MAX, ChangeFault, ChangeHash, ChangeInfo, inspect_change};
pub use document::{Applied, Document};
pub use error::CrdtError;
pub use kind::{DocumentKind, SCHEMA};
