//! The sans-IO heart of Clave: membership, sealing, sync, documents.

#![forbid(unsafe_code)]

mod ids;
mod store;

pub use clave_crypto as crypto;
pub use ids::{ChunkId, CircleId, DocumentId, EntryId, InvitationId, NotAnId, OperationId, SpaceId};
pub use store::{Batch, Key, Keyspace, ReadError, StoreRead};
