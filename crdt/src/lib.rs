//! The documents of Clave: [`automerge`] underneath, typed schemas on top.
//!
//! This crate owns what a chat, a note, a calendar and a drive are made of, and how concurrent edits to them merge. It
//! does no I/O and no cryptography, keeps no clock and asks nobody for randomness. It does not know who may write: it
//! says who wrote ([`ChangeInfo::actor`]), the engine decides.
//!
//! Edits gather in a [`Document`] until they are committed as one change; a change is applied elsewhere, and what
//! comes out depends on the set of changes alone:
//!
//! ```
//! use clave_crdt::{Actor, Document, DocumentKind, Draft};
//!
//! # fn main() -> Result<(), clave_crdt::CrdtError> {
//! let (alice, bob) = (Actor::new([1; 32], [0; 4], 0), Actor::new([2; 32], [0; 4], 0));
//! let mut here = Document::new(DocumentKind::Timeline, alice);
//! let mut there = Document::new(DocumentKind::Timeline, bob);
//!
//! let now_ms = 1_790_000_000_000;
//! here.timeline()?.post(now_ms, *b"random", &Draft::text("你好"))?;
//! let change = here.commit(now_ms).expect("something was edited");
//!
//! let applied = there.apply(&[change])?;
//! assert!(applied.changed && applied.refused.is_empty());
//! let newest = there.timeline()?.newest(1);
//! assert_eq!((newest[0].body.as_str(), newest[0].author), ("你好", alice));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actor;
mod bundle;
mod calendar;
mod change;
mod contained;
mod document;
mod drive;
mod error;
mod kind;
#[cfg(feature = "mutations")]
#[doc(hidden)]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;
mod note;
mod pieces;
#[cfg(test)]
mod testing;
mod timeline;

pub use actor::Actor;
pub use bundle::{BUNDLE_BYTES_MAX, BUNDLE_CHANGES_MAX, Bundle, Bundled};
pub use calendar::{
    Agenda, AgendaPage, Attendee, Calendar, EXPANSION_MAX, Event, EventDraft, EventPatch, EventTime, ICS_BYTES_MAX,
    ImportReport, Occurrence, PAGED_DAYS_MAX, Problem, agenda_of_pages,
};
pub use change::{CHANGE_BYTES_MAX, CHANGE_DEPENDENCIES_MAX, ChangeFault, ChangeHash, ChangeInfo, inspect_change};
pub use document::{Applied, Document, Equivocation};
pub use drive::{
    Drive, FileVersion, FolderPage, NAME_BYTES_MAX, Node, NodeId, Tree, VERSION_BYTES_MAX, Version, VersionId,
    folder_of_pages,
};
pub use error::CrdtError;
pub use kind::{DocumentKind, SCHEMA};
pub use note::{
    Block, BlockKind, Container, Cursor, HARD_BREAK, Image, Inline, Link, MARKDOWN_BYTES_MAX, MarkKind, Marks,
    NESTING_MAX, Note, SPLICE_BYTES_MAX, TITLE_BYTES_MAX,
};
pub use pieces::IMPORT_PIECE_BYTES;
pub use timeline::{
    Attachment, CLOCK_SKEW_MS_MAX, Draft, MESSAGE_BYTES_MAX, Message, MessageId, REACTION_BYTES_MAX, Reaction,
    SEGMENT_MESSAGES_MAX, Timeline,
};
