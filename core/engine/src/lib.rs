//! The sans-IO heart of Clave: membership, sealing, sync, documents.
//!
//! This crate owns what devices of a team say to each other, what they believe of it, and what they keep. It does no
//! I/O, has no clock and no source of randomness of its own: see [`Engine`] for how to drive it. It does not know
//! tokio, libp2p or any database.

#![forbid(unsafe_code)]

mod account;
#[doc(hidden)]
pub mod benching;
mod circle;
mod desk;
mod engine;
mod entry;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod group;
#[cfg(test)]
mod hostile;
mod identity;
mod ids;
mod index;
mod inspect;
mod key_audit;
mod key_packages;
mod link;
mod link_code;
pub mod membership;
#[cfg(feature = "mutations")]
#[doc(hidden)]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
mod mutation;
mod proto;
mod refusal;
mod search;
mod store;

pub use account::{
    ACCOUNT_MAGIC, ACCOUNT_VERSION, AccountError, AccountHead, AccountReader, AccountRecord, AccountWriter, ExportError,
};
pub use circle::{
    Bundling, CHECKPOINT_MS_MAX, CHECKPOINTS_DEEP, DocumentInfo, Evidence, HELD_BYTES_MAX, HELD_ENTRIES_MAX,
    LEARNED_KEYS_MAX, MEMORY_BUDGET_BYTES, PLEA_ANSWERS_MAX, PLEA_KEYS_MAX, PREVIEW_CHARS_MAX, Preview, PreviewMessage,
    REMIND_BEFORE_MS, RivalActs, SILENT_EPOCHS_MAX, Segment, SetAsideChange, WELCOME_LEAD_MAX,
};
pub use clave_crdt as crdt;
pub use clave_crypto as crypto;
pub use engine::{
    Access, AccountExport, CHUNKS_IN_FLIGHT_MAX, CONDEMNED_MS, Channel, ChunkUsage, CircleInfo, CircleStatus,
    Collected, DeviceAccess, Engine, Event, FRAME_BYTES_MAX, FetchId, InvitationInfo, InvitationState, IoId, JoinError,
    LinkingError, MessageState, NotAToken, NotAnEndpoint, Output, OwnDevice, PLACES_MAX, PRESENCE_EVERY_MS,
    PRESENCE_EXPIRES_MS, PRESENCE_RENEW_MS, PendingJoin, PendingJoinState, PersonAccess, Present, PushEndpoint,
    PushError, PushHealth, PushKeys, RELAYED_FILE_BYTES_MAX, Reading, RelayError, RelayInUse, RelayStatus, RelayToken,
    Selection, TYPING_MS, VERIFICATION_MS_MAX, Verification, VerificationFailure, VerificationStep, VerifiedBy,
};
pub use entry::{ENTRY_BYTES_MAX, ENVELOPE_VERSION};
pub use error::EngineError;
pub use files::{
    CHUNK_BYTES, ChunkRef, Cutter, FileContent, Manifest, ManifestWriter, SEALED_CHUNK_BYTES_MAX,
    SMALL_CONTENT_BYTES_MAX, SealError, SealedChunk, seal_content, seal_piece,
};
pub use identity::{Identity, NAME_BYTES_MAX, NameError, check_name};
pub use ids::{ChunkId, CircleId, DocumentId, EntryId, InvitationId, NotAnId, OperationId, SpaceId};
pub use inspect::{CircleReport, Fault, Finding, inspect_circle};
pub use key_audit::{KeyAudit, KeyChange, KeyStanding, Party, verify_key_chain};
pub use link::{InviteLink, LINK_CHARS_MAX, LinkError};
pub use link_code::LinkCode;
pub use refusal::{Refusal, RefusalCounts};
pub use search::{
    SEARCH_PAGE_MAX, SEARCH_TEXT_BYTES_MAX, SEARCH_WORDS_MAX, SearchCursor, SearchError, SearchHit, SearchPage,
    SearchQuery,
};
pub use store::{Batch, Key, Keyspace, ReadError, StoreRead};
