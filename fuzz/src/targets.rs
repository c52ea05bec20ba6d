//! The targets, one module each: `run` and the `seeds` to start from.

pub mod document_change;
pub mod document_snapshot;
pub mod noise;
pub mod sealed;
pub mod vault_record;
