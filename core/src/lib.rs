//! End-to-end encrypted teamwork without a server: chat, files, calendars and notes.

#![forbid(unsafe_code)]

mod calendar;
mod diff;
mod drive;
mod error;
mod node;
mod note;
mod space;
mod store;
mod timeline;

pub use calendar::Calendar;
pub use clave_engine::{
    CircleStatus, DocumentId, EngineError, Event, InvitationId, InvitationInfo, InvitationState, InviteLink, JoinError,
    LinkError, Refusal, RefusalCounts, SpaceId, check_name,
    crdt::{
        Agenda, Attachment, Attendee, ChangeHash, CrdtError, DocumentKind, Draft, Event as CalendarEvent, EventDraft,
        EventPatch, EventTime, FileVersion, ImportReport, MessageId, Node as DriveNode, NodeId, Occurrence, Problem,
        Tree,
    },
    crypto::{CryptoError, DeviceId, PersonId},
    membership::Role,
};
pub use diff::ListDiff;
pub use drive::{Drive, Progress};
pub use error::Error;
pub use node::{NetworkConfig, Node, NodeConfig, NodeStatus, PeerStatus, Profile, Unlock};
pub use note::{Note, NoteSnapshot};
pub use space::{DocumentHeads, Member, MemberDevice, NoteInfo, Space};
pub use timeline::{Author, Message, Timeline, TimelineUpdates};

pub use store::{
    DirectoryLock, FailingStore, Fault, KEY_BYTES_MAX, MemoryStore, RawBatch, RawWrite, RedbStore, STORE_FORMAT,
    SealedStore, SledStore, Store, StoreError, StoreKind, UnknownStoreKind, VALUE_BYTES_MAX, WRITER_BATCHES_MAX,
    WRITER_COMMIT_BYTES_MAX, Writer, open_store,
};
