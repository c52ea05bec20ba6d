//! What can be asked of a node, whether it runs in this process or in another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A question with the space it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// A space by name or by the beginning of its id; not needed if there is just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<String>,
    pub(crate) ask: Ask,
}

/// A text at a position: where, how many code points to delete, what to insert.
pub(crate) type Splice = (usize, usize, String);

/// Heads of a document as hexadecimal.
pub(crate) type Heads = Vec<String>;

/// The questions. Those that name a message, note, event or invitation take an id or the beginning of one; notes also a
/// title, files a path in the drive. Paths on this machine are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Whoami,
    Status,
    Stop,
    Wait(Condition),

    SpaceNew {
        name: String,
    },
    SpaceList,
    SpaceShow,
    Members,

    Invite {
        valid_ms: u64,
        wait: bool,
    },
    InviteList,
    InviteRevoke {
        invitation: String,
    },
    Join {
        link: String,
        timeout_ms: u64,
    },

    ChatSend {
        body: String,
        reply_to: Option<String>,
    },
    ChatHistory {
        count: usize,
        before: Option<String>,
    },
    ChatTail {
        count: usize,
    },
    ChatEdit {
        message: String,
        body: String,
    },
    ChatWithdraw {
        message: String,
    },
    ChatReact {
        message: String,
        reaction: String,
        present: bool,
    },

    NoteNew {
        title: String,
        markdown: String,
    },
    NoteList,
    NoteShow {
        note: String,
    },
    NoteMerge {
        note: String,
        heads: Heads,
        markdown: String,
    },
    NoteText {
        note: String,
    },
    /// Waits until the note holds these heads, then splices it as it was at them (or as it is now, if none are given).
    NoteSplice {
        note: String,
        at: Heads,
        splices: Vec<Splice>,
    },

    CalAdd {
        event: NewEvent,
    },
    CalAgenda {
        from_ms: i64,
        to_ms: i64,
        zone: String,
    },
    CalImport {
        ics: String,
    },
    CalExport,
    CalRemove {
        event: String,
    },

    FileAdd {
        source: PathBuf,
        folder: String,
        name: String,
    },
    FileList {
        path: String,
    },
    FileGet {
        path: String,
        destination: PathBuf,
    },
    FileMkdir {
        path: String,
    },
    FileMove {
        from: String,
        to: String,
    },
    FileRemove {
        path: String,
    },
}

/// An event to add. Times as [`clave::EventTime`] reads them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NewEvent {
    pub(crate) summary: String,
    pub(crate) start: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rrule: Option<String>,
    /// Addresses.
    #[serde(default)]
    pub(crate) attendees: Vec<String>,
}

/// Something to wait for. All parts that are given have to hold at the same time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// At least so many people in the space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<usize>,
    /// At least so many messages in the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<usize>,
    /// Something at this path in the drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// At least so many other devices connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) online: Option<usize>,
    /// At most so many other devices connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) online_max: Option<usize>,
    /// These documents hold these changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contains: Option<BTreeMap<String, Heads>>,
}

/// What a request needs of the network when no `clave run` is there to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// The store is enough.
    Offline,
    /// Others have to be reached.
    Online,
}

impl Ask {
    pub(crate) fn network(&self) -> Network {
        match self {
            Self::Invite { .. }
            | Self::Join { .. }
            | Self::ChatTail { .. }
            | Self::FileGet { .. }
            | Self::Wait(_)
            | Self::NoteSplice { .. } => Network::Online,
            _ => Network::Offline,
        }
    }
}
