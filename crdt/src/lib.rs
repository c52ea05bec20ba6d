//! The documents of Clave: [`automerge`] underneath, typed schemas on top.
//!
//! This crate owns what a chat, a note, a calendar and a drive are made of, and how concurrent edits to them merge. It
//! does no I/O and no cryptography, keeps no clock and asks nobody for randomness. It does not know who may write: it
//! says who wrote ([`ChangeInfo::actor`]), the engine decides.

#![forbid(unsafe_code)]

mod actor;
mod change;
mod document;
mod drive;
mod error;
mod kind;
mod note;
#[cfg(test)]
mod testing;
mod timeline;

pub use actor::Actor;
pub use change::{CHANGE_BYTES_MAX, CHANGE_DEPENDENCIES_MAX, ChangeFault, ChangeHash, ChangeInfo, inspect_change};
pub use document::{Applied, Document};
pub use drive::{Drive, FileVersion, NAME_BYTES_MAX, Node, NodeId, Tree, VERSION_BYTES_MAX, Version, VersionId};
pub use error::CrdtError;
pub use kind::{DocumentKind, SCHEMA};
pub use note::{
    Block, BlockKind, Container, Cursor, HARD_BREAK, IMPORT_PIECE_BYTES, Image, Inline, Link, MARKDOWN_BYTES_MAX,
    MarkKind, Marks, NESTING_MAX, Note, SPLICE_BYTES_MAX, TITLE_BYTES_MAX,
};
pub use timeline::{
    Attachment, Draft, MESSAGE_BYTES_MAX, Message, MessageId, REACTION_BYTES_MAX, Reaction, SEGMENT_MESSAGES_MAX,
    Timeline,
};
