//! End-to-end encrypted teamwork without a server: chat, files, calendars and notes.
//!
//! This is the crate an application uses. It owns the running device: its data directory, the thread that drives the
//! engine, the network. It does not know what an entry is or who may write one (`clave-engine` does), nor how bytes find
//! their way (`clave-transport` does).
//!
//! Begin with a [`Node`]: create one, or open the one that is there; found a [`Space`] or join one by an [`InviteLink`];
//! then work with its [`Timeline`], [`Note`]s, [`Calendar`] and [`Drive`]. What changes something returns once it is
//! durable here; it reaches the others whenever they are connected. Everything works offline.
//!
//! ```
//! use clave::{Node, NodeConfig};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), clave::Error> {
//! # let directory = tempfile::tempdir().expect("a temporary directory");
//! let alice = Node::create(NodeConfig::new(directory.path()), "Alice", "laptop").await?;
//! let space = alice.create_space("Café Kollektiv").await?;
//! space.timeline().send("你好").await?;
//!
//! let note = space.create_note("Agenda").await?;
//! note.append_markdown("- budget **2027**\n").await?;
//!
//! let messages = space.timeline().history(50, None).await?;
//! assert_eq!((messages[0].author.name.as_str(), messages[0].body.as_str()), ("Alice", "你好"));
//! alice.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! To be reachable, give the configuration a [`NetworkConfig`]. Lists are observed as batches of [`ListDiff`] whose first
//! is a reset ([`Timeline::observe`]), so there is no moment between reading and listening. An [`Error`] says what to do,
//! and whether trying again may help.

#![forbid(unsafe_code)]

/// The program in README.md compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[doc(hidden)]
pub mod benching;
mod calendar;
mod circle;
mod debugging;
mod device;
mod diff;
mod doctor;
mod drive;
mod error;
mod host;
mod inbox;
mod node;
mod note;
mod open_export;
mod presence;
mod push;
mod recovery;
mod search;
mod space;
mod store;
mod timeline;
mod unfinished;
mod verification;

pub use calendar::Calendar;
pub use circle::{Circle, Departure, DocumentHeads, Member, MemberDevice, NoteInfo, SetAsideDocument};
pub use clave_engine::{
    Access, AccountError, AccountHead, CONDEMNED_MS, ChunkUsage, CircleId, CircleInfo, CircleReport, CircleStatus,
    Collected, DeviceAccess, DocumentId, EngineError, Event, Evidence, Fault as RecordFault, Finding, InvitationId,
    InvitationInfo, InvitationState, InviteLink, JoinError, KeyAudit, KeyChange, KeyStanding, LinkCode, LinkError,
    LinkingError, MEMORY_BUDGET_BYTES, MessageState, NotAToken, NotAnEndpoint, OperationId, OwnDevice,
    PREVIEW_CHARS_MAX, Party, PendingJoin, PendingJoinState, PersonAccess, Preview, PreviewMessage, PushEndpoint,
    PushError, PushHealth, PushKeys, Reading, Refusal, RefusalCounts, RelayError, RelayStatus, RelayToken, RivalActs,
    SearchCursor, SearchError, SpaceId, Verification, VerificationFailure, VerificationStep, VerifiedBy, check_name,
    crdt::{
        Agenda, Attachment, Attendee, ChangeHash, CrdtError, Cursor, DocumentKind, Draft, Event as CalendarEvent,
        EventDraft, EventPatch, EventTime, FileVersion, ImportReport, MessageId, Node as DriveNode, NodeId, Occurrence,
        PAGED_DAYS_MAX, Problem, Tree, Version, VersionId,
    },
    crypto::{CryptoError, DeviceId, EpochId, PersonId, PhraseError, RecoveryPhrase, Sas, Suite},
    membership::{
        AuditRecord, BadPolicy, BrokenChain, History, POST_QUANTUM_CIRCLES, Policy, RELAYS_MAX, Reason, RelayAddress,
        Role, Scope, Warrant, verify_chain,
    },
    verify_key_chain,
};
pub use clave_transport::ResolveNames;
pub use diff::ListDiff;
pub use doctor::{Examination, ExaminedCircle, Repair, examine};
pub use drive::{Drive, NewFile, Progress};
pub use error::Error;
pub use host::{
    Host, Interfaces, KeyWrapping, KeyWrappingError, LOG_LINES_WAITING_MAX, LogLevel, LogSink, LogSinkSet, set_log_sink,
};
pub use inbox::{InboxItem, InboxUpdates};
pub use node::{
    CaughtUp, Happenings, LINK_VALID, LinkProgress, NetworkConfig, Node, NodeConfig, NodeStatus, PeerStatus, Profile,
    Purpose, Reachability, RelayUse, Unlock, Way,
};
pub use note::{Note, NoteSnapshot, NoteUpdates};
pub use open_export::OpenExported;
pub use presence::{COLOURS, PresenceUpdates, Present, Selected};
pub use push::{Push, PushStatus};
pub use recovery::{AccountExported, BackupPlan};
pub use search::{Found, Search, SearchResults};
pub use space::Space;
pub use timeline::{Author, Message, Timeline, TimelinePages, TimelineUpdates};

#[cfg(feature = "sled")]
pub use store::SledStore;
pub use store::{
    DirectoryLock, FailingStore, Fault, KEY_BYTES_MAX, MemoryStore, RawBatch, RawWrite, RedbStore, STORE_FORMAT,
    SealedStore, Store, StoreError, StoreKind, UnknownStoreKind, VALUE_BYTES_MAX, WRITER_BATCHES_MAX,
    WRITER_COMMIT_BYTES_MAX, Writer, open_store,
};
