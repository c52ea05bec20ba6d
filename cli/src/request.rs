//! What can be asked of a node, whether it runs in this process or in another one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// A question with what it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) ask: Ask,
}

/// The space and circle that a question is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// A space by name or by the beginning of its id; not needed if there is just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<String>,
    /// A circle by name or by the beginning of its id; everybody in the space, if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) circle: Option<String>,
}

impl Request {
    /// A question about the only space, or about none.
    pub(crate) fn new(ask: Ask) -> Self {
        Self { about: About::default(), ask }
    }
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
        #[serde(default)]
        post_quantum: bool,
    },
    SpaceList,
    Inbox,
    SpaceShow,

    CircleNew {
        name: String,
        with: Vec<String>,
        isolated: bool,
        #[serde(default)]
        post_quantum: bool,
    },
    CircleList,
    /// This person leaves the circle (or the space) that the question is about.
    Leave,
    /// Shows the chat of two with somebody; with a text, sends that.
    Dm {
        person: String,
        body: Option<String>,
        count: usize,
    },

    Members,
    MembersAdd {
        person: String,
        role: String,
    },
    /// Waits so long until the keys have changed.
    MembersRemove {
        person: String,
        wait_ms: u64,
    },
    MembersRole {
        person: String,
        role: String,
    },
    MembersGrant {
        person: String,
        until_ms: u64,
    },
    Access,
    SetAside,
    /// Takes over what is set aside in a document, or in all.
    Keep {
        document: Option<String>,
    },
    DeviceList,
    /// Answers when a device was linked; or, with `confirm`, when one asks to be.
    DeviceLink {
        valid_ms: u64,
        confirm: bool,
    },
    /// Answers when that device is linked, if it is let in.
    DeviceLinkConfirm {
        link: String,
        device: String,
        accept: bool,
        valid_ms: u64,
    },
    DeviceRename {
        device: String,
        name: String,
    },
    DeviceRevoke {
        device: String,
        wait_ms: u64,
    },
    /// Asks somebody to compare, or agrees to; answers when there is something to compare.
    VerifyCompare {
        person: String,
    },
    VerifyConfirm {
        device: String,
    },
    VerifyCancel {
        device: String,
    },
    SafetyNumber {
        person: String,
    },
    MarkVerified {
        person: String,
        verified: bool,
    },
    /// Writes the person's account into a file that only the phrase opens.
    AccountExport {
        file: PathBuf,
        phrase: Secret,
        with_files: bool,
    },
    /// The same as a backup, which keeps the older ones.
    Backup {
        file: PathBuf,
        phrase: Secret,
        with_files: bool,
        keep: u32,
    },
    /// Writes everything that can be read in open formats.
    OpenExport {
        directory: PathBuf,
        wait_ms: u64,
    },
    /// Whether this is the person's recovery phrase.
    PhraseCheck {
        phrase: Secret,
    },
    /// Takes another recovery phrase in place of the former.
    PhraseChange {
        former: Secret,
        next: Secret,
    },
    /// Makes a circle its only person's own again, after a restore.
    BeginAnew,
    Policies,
    PolicySet {
        key: String,
        value: String,
    },
    /// The relays of the space.
    Relays,
    RelayAdd {
        address: String,
        token: Option<Secret>,
    },
    /// Without a token: shows none any more.
    RelayToken {
        relay: String,
        token: Option<Secret>,
    },
    RelayRemove {
        relay: String,
    },
    PushSet {
        url: String,
        /// `p256dh` and `auth`.
        keys: Option<(String, Secret)>,
        relay: Option<String>,
    },
    PushClear,
    PushStatus,
    Mute {
        muted: bool,
    },
    Audit,

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
    /// Gives up requests that wait at relays: one, or all.
    JoinCancel {
        link: Option<String>,
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
    ChatRead {
        message: Option<String>,
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

    Search(Search),

    NoteNew {
        title: String,
        markdown: String,
    },
    NoteList,
    NoteShow {
        note: String,
    },
    /// Who else is in it, until the client has had enough; meanwhile this person is in it as well.
    NoteWatch {
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
    FileVersions {
        path: String,
    },
    /// 1 is the newest.
    FileRestore {
        path: String,
        version: usize,
    },
    FileUsage,
    FileQuota {
        bytes: Option<u64>,
    },
    FileCollect {
        versions: Option<usize>,
    },
}

/// The words of a recovery phrase on their way to the running node. They are wiped when dropped, and in no log.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(words: &str) -> Self {
        Self(words.to_owned())
    }

    pub(crate) fn words(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
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
    /// At most so many people in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members_max: Option<usize>,
    /// No device that is out has the keys in use.
    #[serde(default)]
    pub(crate) rotated: bool,
    /// All that was written there is stored at a relay of the space.
    #[serde(default)]
    pub(crate) stored: bool,
    /// This device is out.
    #[serde(default)]
    pub(crate) removed: bool,
    /// This device, which was restored, was let in everywhere.
    #[serde(default)]
    pub(crate) rejoined: bool,
    /// No request to join waits at a relay.
    #[serde(default)]
    pub(crate) joined: bool,
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

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Search {
    pub(crate) text: String,
    pub(crate) from: Option<String>,
    /// `message`, `note`, `event`, `file`; all, if there is none.
    pub(crate) kinds: Vec<String>,
    pub(crate) since_ms: Option<u64>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) count: usize,
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
            | Self::VerifyCompare { .. }
            | Self::DeviceLink { .. }
            | Self::DeviceLinkConfirm { .. }
            | Self::DeviceRevoke { .. }
            | Self::NoteWatch { .. }
            | Self::NoteSplice { .. } => Network::Online,
            // Others are to hear of it at once.
            Self::MembersRemove { wait_ms, .. } if *wait_ms > 0 => Network::Online,
            Self::OpenExport { wait_ms, .. } if *wait_ms > 0 => Network::Online,
            _ => Network::Offline,
        }
    }

    /// Whether only somebody who is in can ask for it.
    pub(crate) fn needs_membership(&self) -> bool {
        !matches!(
            self,
            Self::Wait(_)
                | Self::SpaceShow
                | Self::CircleList
                | Self::Members
                | Self::Access
                | Self::SetAside
                | Self::Policies
                | Self::Relays
                | Self::SafetyNumber { .. }
                | Self::DeviceList
                | Self::Audit
                | Self::Dm { body: None, .. }
                | Self::InviteList
                | Self::ChatHistory { .. }
                | Self::ChatTail { .. }
                | Self::Search(_)
                | Self::ChatRead { .. }
                | Self::NoteList
                | Self::NoteShow { .. }
                | Self::NoteText { .. }
                | Self::CalAgenda { .. }
                | Self::CalExport
                | Self::FileList { .. }
                | Self::FileGet { .. }
                | Self::FileVersions { .. }
                | Self::FileUsage
                | Self::FileQuota { .. }
                | Self::FileCollect { .. }
        )
    }
}
