//! Clave for Kotlin, Swift and Python: [UniFFI](https://mozilla.github.io/uniffi-rs/) objects over the `clave` library.
//!
//! Owns how things cross the language boundary, and nothing else: live handles are objects ([`Node`], [`Space`], [`Circle`],
//! [`Timeline`], [`Note`], [`Calendar`], [`Drive`], [`Transfer`], [`Subscription`]), snapshots are records, ids are strings, lists are
//! observed as batches of steps ([`TimelineDiff`], [`InboxDiff`]) of which the first ever is `Reset`, everything else as one
//! stream of [`Change`]s, errors are a [`ClaveError`] with a stable code. What any of it means is `clave`'s business; a method
//! here converts, calls, converts back.
//!
//! **Threads.** Each node brings its own (a tokio runtime of two workers, and what `clave` starts). An async function
//! does its work there, never on the thread that awaits it, so an app may call it from its user interface's thread.
//! [`Node::pause`] and [`Node::shutdown`] return when the data directory is free and those threads have ended.
//!
//! **Calling out.** Listeners are called from a thread of the node's that holds no lock and that nothing else waits
//! for: a listener may block, and may call back in.
//!
//! **Panics** stay inside: UniFFI turns one in a call into an internal exception of the language.
//!
//! From Rust it reads as it does from elsewhere:
//!
//! ```
//! use clave_ffi::{Node, NodeOptions};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! let options = NodeOptions::new(directory.path().display().to_string());
//! let node = Node::create(options, "Alice".into(), "laptop".into()).await?;
//! let timeline = node.create_space("Team".into()).await?.timeline();
//! timeline.send("你好".into()).await?;
//! assert_eq!(timeline.history(10, None).await?[0].body, "你好");
//! node.shutdown().await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod about;
mod audit;
mod calendar;
mod circle;
mod convert;
mod departure;
mod devices;
mod drive;
mod error;
mod host;
mod inbox;
mod joining;
mod keys;
mod lifecycle;
mod node;
mod note;
mod observer;
mod people;
mod presence;
mod push;
mod recovery;
mod relays;
mod search;
mod session;
mod space;
mod timeline;
mod transfer;
mod verification;

pub use about::{BuildInfo, Examination, build_info, examine, version};
pub use audit::{AuditRecord, Evidence, SetAsideDocument, Warrant};
pub use calendar::{Agenda, Attendee, Calendar, CalendarEvent, EventPatch, ImportReport, Occurrence};
pub use circle::{Circle, CircleInfo, CircleStatus, NoteInfo};
pub use departure::Departure;
pub use devices::{LinkCode, LinkListener, LinkProgress, OwnDevice};
pub use drive::{Collected, Drive, DriveUsage, FileEntry, FileVersion, NewFile, WantedFile};
pub use error::{ClaveError, ErrorDetail};
pub use host::{Host, InterfaceLister, KeyWrapping, KeyWrappingError, LogLevel, LogSink, NameResolver, set_log_sink};
pub use inbox::{Change, ChangeListener, InboxDiff, InboxItem, InboxListener, Preview, PreviewMessage};
pub use joining::{PendingJoin, PendingJoinState};
pub use keys::{KeyAudit, KeyChange, KeyStanding, Party, Suite};
pub use lifecycle::CaughtUp;
pub use node::{
    NetworkOptions, Node, NodeOptions, NodeStatus, PeerStatus, Profile, Reachability, RelayUse, Way, node_exists,
};
pub use note::{Note, NoteListener, NoteSnapshot, Splice};
pub use observer::Subscription;
pub use people::{
    Access, DeviceAccess, History, Invitation, InvitationState, Member, MemberDevice, PersonAccess, Reading, Role,
};
pub use presence::{PresenceListener, Present, Selected};
pub use push::{Push, PushEndpoint, PushHealth, PushStatus};
pub use recovery::draw_phrase;
pub use relays::RelayStatus;
pub use search::{DocumentKind, Found, Match, Search, SearchCursor, SearchResults};
pub use space::{Scope, Space};
pub use timeline::{
    Attachment, Author, Draft, Message, MessageState, ObservedTimeline, Reaction, Timeline, TimelineDiff,
    TimelineListener,
};
pub use transfer::{Progress, Transfer};
pub use verification::{OpenVerification, Verification, VerificationStep};

uniffi::setup_scaffolding!("clave");
