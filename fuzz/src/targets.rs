//! The targets, one module each: `run` and the `seeds` to start from.

pub mod document_change;
pub mod document_snapshot;
pub mod engine_frames;
pub mod entry;
pub mod ics;
pub mod link;
pub mod mailbox_frames;
pub mod mailbox_session;
pub mod markdown;
pub mod noise;
pub mod operation;
pub mod sealed;
pub mod transport_frames;
pub mod vault_record;
