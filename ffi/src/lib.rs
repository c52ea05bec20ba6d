//! Clave for Kotlin, Swift and Python: [UniFFI](https://mozilla.github.io/uniffi-rs/) objects over the `clave` library.
//!
//! Owns how things cross the language boundary, and nothing else: live handles are objects ([`Node`], [`Space`],
//! [`Timeline`], [`Subscription`]), snapshots are records, ids are strings, lists are observed as batches of
//! [`TimelineDiff`]s of which the first is always `Reset`, errors are a [`ClaveError`] with a stable code. What any of
//! it means is `clave`'s business; a method here converts, calls, converts back.
//!
//! **Threads.** Each node brings its own (a tokio runtime of two workers, and what `clave` starts). An async function
//! does its work there, never on the thread that awaits it, so an app may call it from its user interface's thread.
//! [`Node::shutdown`] returns when the data directory is free; those threads have then ended or do so at once.
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

mod error;
mod node;
mod session;
mod space;
mod timeline;

pub use error::{ClaveError, ErrorDetail};
pub use node::{
    NetworkOptions, Node, NodeOptions, NodeStatus, PeerStatus, Profile, Reachability, RelayReservation, Way,
    node_exists,
};
pub use space::{Member, MemberDevice, Role, Space};
pub use timeline::{Author, Message, Reaction, Subscription, Timeline, TimelineDiff, TimelineListener};

uniffi::setup_scaffolding!("clave");

/// The version of this library.
#[uniffi::export]
#[must_use]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
