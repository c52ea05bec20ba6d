//! The documents of Clave: [`automerge`] underneath, typed schemas on top.
//!
//! This crate owns what a chat, a note, a calendar and a drive are made of, and how concurrent edits to them merge. It
//! does no I/O and no cryptography, keeps no clock and asks nobody for randomness. It does not know who may write: it
//! says who wrote ([`ChangeInfo::actor`]), the engine decides.

#![forbid(unsafe_code)]

mod actor;
mod calendar;
mod change;
mod document;
mod error;
mod kind;
mod note;
mod pieces;

pub use actor::Actor;
pub use calendar::{
    Agenda, Attendee, Calendar, EXPANSION_MAX, Event, EventDraft, EventPatch, EventTime, ICS_BYTES_MAX, ImportReport,
    Occurrence, Problem,
};
pub use change::{CHANGE_BYTES_MAX, CHANGE_DEPENDENCIES_MAX, ChangeFault, ChangeHash, ChangeInfo, inspect_change};
pub use document::{Applied, Document};
pub use error::CrdtError;
pub use kind::{DocumentKind, SCHEMA};
pub use note::{
    Block, BlockKind, Container, Cursor, HARD_BREAK, Image, Inline, Link, MARKDOWN_BYTES_MAX, MarkKind, Marks,
    NESTING_MAX, Note, SPLICE_BYTES_MAX, TITLE_BYTES_MAX,
};
pub use pieces::IMPORT_PIECE_BYTES;
