//! The sans-IO heart of Clave: membership, sealing, sync, documents.

#![forbid(unsafe_code)]

mod ids;
pub mod membership;
mod store;

pub use ids::{ChunkId, CircleId, DocumentId, EntryId, InvitationId, NotAnId, OperationId, SpaceId};
pub use store::{Batch, Key, Keyspace, ReadError, StoreRead};
