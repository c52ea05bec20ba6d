//! What a node answers. The JSON of these types is what `--json` prints, and stays as it is.

use clave::{Author, DocumentHeads, DocumentKind, InvitationInfo, InvitationState, Member, Message};
use serde::{Deserialize, Serialize};

mod inbox;
mod people;
mod push;
mod reach;

pub(crate) use inbox::Conversation;
pub(crate) use people::{
    Access, Audit, Because, Checked, Circle, Compare, DeviceAccess, Evidence, KeyChange, Keys, LinkAsked, LinkCode,
    Party, PersonAccess, Policies, Record, Removal, Rotation, SetAside, SetAsideDocument, Warrant, pictures,
};
pub(crate) use push::{Muted, Push, PushRelay, State};
pub(crate) use reach::{Reachability, Reservation, Way};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It was done, and there is nothing more to say.
    Done,
    Profile(Profile),
    Status(Status),
    Spaces {
        spaces: Vec<Space>,
    },
    /// All circles, those first in which something was said last.
    Inbox {
        items: Vec<Conversation>,
    },
    Space(SpaceDetail),
    Circles {
        circles: Vec<Circle>,
    },
    Members {
        members: Vec<Person>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<Evidence>,
    },
    Removal(Removal),
    Rotation(Rotation),
    Access(Access),
    SetAside(SetAside),
    /// What was set aside and is taken over: how many changes, of how many documents.
    Kept {
        changes: usize,
        documents: usize,
    },
    LinkCode(LinkCode),
    /// A device asks to be let in.
    LinkAsked(LinkAsked),
    Linked {
        device: String,
        name: String,
    },
    Revoked {
        name: String,
        /// Out of how many circles, spaces included.
        circles: usize,
        rotation: Rotation,
    },
    Compare(Compare),
    /// Where somebody stands now: `verified`, `unverified` or `changed`.
    Verified {
        name: String,
        verification: String,
    },
    SafetyNumber {
        name: String,
        number: String,
        verification: String,
    },
    Policies(Policies),
    Relays(Relays),
    Push(Push),
    Audit(Audit),
    Checked(Checked),
    Invitation(Link),
    Invitations {
        invitations: Vec<Invitation>,
    },
    /// Nobody answered so far; a relay keeps the request.
    Asked(PendingJoin),
    Joined {
        space: Space,
        members: usize,
    },
    Sent {
        id: String,
        online: usize,
    },
    Messages {
        messages: Vec<Chat>,
    },
    /// Of `chat tail`: a message that is new or changed, or the id of one that is gone.
    Message(Chat),
    Gone {
        id: String,
    },
    Found {
        found: Vec<Found>,
        /// Whether there is more.
        more: bool,
    },
    Note(Note),
    Notes {
        notes: Vec<NoteTitle>,
    },
    /// Of `note watch`: who else is in the note now.
    Present {
        present: Vec<Present>,
    },
    Text {
        text: String,
        heads: Vec<String>,
    },
    Heads {
        heads: Vec<String>,
    },
    Added {
        uid: String,
    },
    Agenda(Agenda),
    Imported(Imported),
    Calendar {
        ics: String,
    },
    File(File),
    Files {
        path: String,
        files: Vec<File>,
    },
    /// The newest first.
    FileVersions {
        versions: Vec<FileVersion>,
    },
    FileUsage {
        chunks: u64,
        bytes: u64,
        quota_bytes: Option<u64>,
    },
    FileCollected {
        removed_chunks: u64,
        removed_bytes: u64,
        condemned_chunks: u64,
        condemned_bytes: u64,
    },
    Running(Running),
    Exported {
        file: String,
        bytes: u64,
        records: u64,
        with_files: bool,
    },
    OpenExported(OpenExported),
    Restored(Restored),
}

/// What an export in open formats wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenExported {
    pub(crate) directory: String,
    pub(crate) circles: u64,
    pub(crate) messages: u64,
    pub(crate) notes: u64,
    pub(crate) events: u64,
    pub(crate) files: u64,
    pub(crate) documents: u64,
    pub(crate) missing: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) person: String,
    pub(crate) person_name: String,
    pub(crate) device: String,
    pub(crate) device_name: String,
}

impl From<clave::Profile> for Profile {
    fn from(profile: clave::Profile) -> Self {
        Self {
            person: profile.person.to_string(),
            person_name: profile.person_name,
            device: profile.device.to_string(),
            device_name: profile.device_name,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Space {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) members: usize,
    /// Whether its keys are agreed on by X-Wing.
    pub(crate) post_quantum: bool,
    /// How this device came to be out, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpaceDetail {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) members: Vec<Person>,
    pub(crate) messages: usize,
    pub(crate) epoch: String,
    pub(crate) commits: u64,
    /// Whether they are agreed on by X-Wing.
    pub(crate) post_quantum: bool,
    pub(crate) devices: usize,
    pub(crate) entries: usize,
    pub(crate) held: usize,
    pub(crate) documents: Vec<Document>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) heads: Vec<String>,
}

impl From<DocumentHeads> for Document {
    fn from(document: DocumentHeads) -> Self {
        Self {
            id: document.id.to_string(),
            kind: kind_name(document.kind).to_owned(),
            heads: document.heads.iter().map(hex).collect(),
        }
    }
}

fn kind_name(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Timeline => "chat",
        DocumentKind::Note => "note",
        DocumentKind::Calendar => "calendar",
        DocumentKind::Drive => "drive",
        _ => "unknown",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) person: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) me: bool,
    /// When a guest's stay ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_ms: Option<u64>,
    /// `own`, `verified`, `unverified` or `changed`.
    #[serde(default)]
    pub(crate) verification: String,
    pub(crate) devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) online: bool,
}

impl From<Member> for Person {
    fn from(member: Member) -> Self {
        let device = |device: clave::MemberDevice| Device {
            device: device.device.to_string(),
            name: device.name,
            online: device.online,
        };
        Self {
            person: member.person.to_string(),
            name: member.name,
            role: member.role.to_string(),
            me: member.is_me,
            expires_ms: member.expires_ms,
            verification: String::new(),
            devices: member.devices.into_iter().map(device).collect(),
        }
    }
}

/// An invitation that waits for its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingJoin {
    pub(crate) id: String,
    pub(crate) space: String,
    pub(crate) expires_ms: u64,
    /// Whether a relay is known to keep the request, since this process runs.
    pub(crate) at_relay: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) id: String,
    pub(crate) link: String,
    pub(crate) space: String,
    pub(crate) expires_ms: u64,
    pub(crate) addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    pub(crate) id: String,
    /// `open`, `used`, `revoked` or `expired`.
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_by: Option<String>,
    pub(crate) expires_ms: u64,
}

impl Invitation {
    pub(crate) fn new(info: &InvitationInfo, used_by: Option<String>) -> Self {
        let state = match info.state {
            InvitationState::Open => "open",
            InvitationState::Used(_) => "used",
            InvitationState::Revoked => "revoked",
            _ => "expired",
        };
        Self { id: info.id.to_string(), state: state.to_owned(), used_by, expires_ms: info.expires_ms }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) author: Writer,
    pub(crate) sent_ms: u64,
    pub(crate) body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<String>,
    pub(crate) edited: bool,
    pub(crate) withdrawn: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) altered_by: Option<Writer>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) attachments: Vec<Attachment>,
    /// How far it has come, if this device sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    pub(crate) me: bool,
}

impl From<Author> for Writer {
    fn from(author: Author) -> Self {
        Self { name: author.name, person: author.person.map(|person| person.to_string()), me: author.is_me }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reaction {
    pub(crate) text: String,
    pub(crate) by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl From<Message> for Chat {
    fn from(message: Message) -> Self {
        let reaction = |(text, by): (String, Vec<Author>)| Reaction {
            text,
            by: by.into_iter().map(|author| author.name).collect(),
        };
        let attachment =
            |file: clave::Attachment| Attachment { file: file.node.to_string(), name: file.name, bytes: file.bytes };
        Self {
            id: message.id.to_string(),
            author: message.author.into(),
            sent_ms: message.sent_ms,
            body: message.body,
            reply_to: message.reply_to.map(|id| id.to_string()),
            edited: message.edited,
            withdrawn: message.withdrawn,
            altered_by: message.altered_by.map(Writer::from),
            reactions: message.reactions.into_iter().map(reaction).collect(),
            attachments: message.attachments.into_iter().map(attachment).collect(),
            state: message.state.map(State::from),
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// `message`, `note`, `event` or `file`.
    pub(crate) kind: String,
    /// Of a message or a file, its own; of a note, the note's; of an event, its UID.
    pub(crate) id: String,
    /// The circle's name, if it is not everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) circle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<Writer>,
    pub(crate) time_ms: u64,
    pub(crate) snippet: String,
    /// Where in the snippet the words are: first byte, and the one behind the last.
    pub(crate) matches: Vec<(usize, usize)>,
    pub(crate) cut_before: bool,
    pub(crate) cut_behind: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) markdown: String,
    pub(crate) heads: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoteTitle {
    pub(crate) id: String,
    pub(crate) title: String,
}

/// A device of somebody who is in a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Present {
    pub(crate) person: String,
    pub(crate) name: String,
    pub(crate) device: String,
    /// Another device of the person that this one belongs to.
    pub(crate) me: bool,
    /// Where a selection was begun and where the cursor is, in code points of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) selection: Option<(usize, usize)>,
}

impl From<clave::Present> for Present {
    fn from(present: clave::Present) -> Self {
        Self {
            person: present.person.to_string(),
            name: present.name,
            device: present.device.to_string(),
            me: present.is_me,
            selection: present.selection.map(|selected| (selected.anchor, selected.focus)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agenda {
    pub(crate) zone: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) occurrences: Vec<Occurrence>,
    /// Whether there was more than could be looked at.
    pub(crate) truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    pub(crate) uid: String,
    pub(crate) summary: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) all_day: bool,
    pub(crate) location: String,
    pub(crate) status: String,
    pub(crate) attendees: Vec<String>,
}

impl From<clave::Occurrence> for Occurrence {
    fn from(occurrence: clave::Occurrence) -> Self {
        let attendee = |attendee: clave::Attendee| {
            if attendee.name.is_empty() { attendee.address } else { attendee.name }
        };
        Self {
            uid: occurrence.uid,
            summary: occurrence.summary,
            start_ms: occurrence.start_ms,
            end_ms: occurrence.end_ms,
            all_day: occurrence.all_day,
            location: occurrence.location,
            status: occurrence.status,
            attendees: occurrence.attendees.into_iter().map(attendee).collect(),
        }
    }
}

/// What an import of a calendar did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Imported {
    pub(crate) added: usize,
    pub(crate) updated: usize,
    pub(crate) unchanged: usize,
    pub(crate) problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) component: String,
    pub(crate) reason: String,
}

impl From<clave::ImportReport> for Imported {
    fn from(report: clave::ImportReport) -> Self {
        let problem = |p: clave::Problem| Problem { line: p.line, component: p.component, reason: p.reason };
        Self {
            added: report.added,
            updated: report.updated,
            unchanged: report.unchanged,
            problems: report.problems.into_iter().map(problem).collect(),
        }
    }
}

/// One content of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileVersion {
    pub(crate) bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_ms: Option<u64>,
    /// BLAKE3 of the content, hexadecimal.
    pub(crate) blake3: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) folder: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_ms: Option<u64>,
    /// BLAKE3 of the content, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blake3: Option<String>,
    /// Versions that were written at the same time as the one shown.
    #[serde(default)]
    pub(crate) conflicts: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) profile: Profile,
    /// Whether `clave run` holds the data directory.
    pub(crate) running: bool,
    pub(crate) pid: u32,
    pub(crate) directory: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) reachability: Reachability,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) store_bytes: u64,
    pub(crate) refusals: Vec<Refused>,
    /// Who asks to be verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked_by: Vec<String>,
    pub(crate) spaces: Vec<Space>,
    /// Where this restored device has not been let in yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejoining: Vec<Rejoining>,
    /// Invitations that were taken up through relays and not answered yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) joining: Vec<PendingJoin>,
    /// The relays of the spaces that have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) relays: Vec<Relays>,
}

/// The relays of a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relays {
    pub(crate) space: String,
    pub(crate) relays: Vec<Relay>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relay {
    pub(crate) number: u8,
    pub(crate) address: String,
    /// Whether it answers.
    pub(crate) connected: bool,
    /// What this device made and waits to be stored there: entries and chunks of files.
    pub(crate) waiting: usize,
    /// What went wrong last, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether what went wrong is that it wants a token, or another one.
    #[serde(default)]
    pub(crate) needs_token: bool,
}

/// A space or circle that a restored device can read, and not write in yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rejoining {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The space, if it is a circle of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<String>,
    /// Nobody else is in it who could let it in.
    pub(crate) alone: bool,
}

/// Who came back with the recovery phrase, and what came along.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restored {
    #[serde(flatten)]
    pub(crate) profile: Profile,
    pub(crate) directory: String,
    /// Whether there was an export.
    pub(crate) exported: bool,
    pub(crate) spaces: Vec<Space>,
    pub(crate) rejoining: Vec<Rejoining>,
    /// Names of the person's other devices, as far as spaces know them.
    pub(crate) devices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) address: String,
    #[serde(flatten)]
    pub(crate) way: Way,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round_trip_ms: Option<f64>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// What `clave run` says once it is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) directory: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) profile: Profile,
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::HEXLOWER.encode(bytes.as_ref())
}
