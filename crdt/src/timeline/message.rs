//! What one message is: its id, its content, and how both are written down.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32HEX_NOPAD;
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::{Actor, CrdtError, NodeId};

/// The largest encoded message, in bytes: text, references and all.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The name of a message: when its author's clock says it was sent (48 bits of Unix milliseconds), 48 random bits, and
/// its author. So ids sort by time, no two authors can make the same one, and nobody can make one in another's name.
///
/// A device whose clock is wrong gives its messages a wrong place, but a stable one: the place is part of the name, the
/// same on every device, and no later message moves it. A message "from the future" stays last until that time comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; MessageId::BYTES]);

impl MessageId {
    /// Length in bytes.
    pub const BYTES: usize = 12 + Actor::BYTES;

    /// A new id. Times past the year 10,889 are written as the last that fits.
    #[must_use]
    pub fn new(sent_ms: u64, random: [u8; 6], author: Actor) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[..6].copy_from_slice(&sent_ms.min((1 << 48) - 1).to_be_bytes()[2..]);
        bytes[6..12].copy_from_slice(&random);
        bytes[12..].copy_from_slice(author.as_bytes());
        Self(bytes)
    }

    /// An id behind this one, dated the same: however many messages come in one millisecond, their dates stay true.
    pub(super) fn successor(&self, random: [u8; 6], author: Actor) -> Self {
        let within = u64::from_be_bytes([[0; 2].as_slice(), &self.0[6..12]].concat().try_into().expect("8 bytes"));
        // Room for sixteen million and more.
        let step = 1 + u64::from(u32::from_be_bytes([0, random[0], random[1], random[2]]));
        let next = within + step;
        match next.to_be_bytes() {
            [0, 0, rest @ ..] => Self::new(self.sent_ms(), rest, author),
            // From the beginning of the next.
            _ => Self::new(self.sent_ms() + 1, [0, 0, random[2], random[3], random[4], random[5]], author),
        }
    }

    /// Wraps raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// When it was sent, in Unix milliseconds, by its author's clock.
    #[must_use]
    pub fn sent_ms(&self) -> u64 {
        self.0[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
    }

    /// Who wrote it.
    #[must_use]
    pub fn author(&self) -> Actor {
        let mut actor = [0; Actor::BYTES];
        actor.copy_from_slice(&self.0[12..]);
        Actor::from_bytes(actor)
    }
}

/// 58 characters of base32 whose order is that of the bytes.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32HEX_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({:.20}…)", self.to_string())
    }
}

impl FromStr for MessageId {
    type Err = CrdtError;

    fn from_str(text: &str) -> Result<Self, CrdtError> {
        const WRONG: CrdtError = CrdtError::Invalid("this is not a message id; copy it whole");
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(WRONG);
        }
        let bytes = BASE32HEX_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| WRONG)?;
        Ok(Self(bytes.try_into().map_err(|_| WRONG)?))
    }
}

/// What somebody wants to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Plain text, with Markdown's conventions.
    pub body: String,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// Files of the circle's drive.
    pub attachments: Vec<Attachment>,
    /// The ids of people who are named in it.
    pub mentions: Vec<[u8; 32]>,
}

impl Draft {
    /// A draft that is nothing but text.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// A file of the circle's drive, named in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The file.
    pub node: NodeId,
    /// Its name when it was attached.
    pub name: String,
    /// Its size when it was attached, in bytes.
    pub bytes: u64,
}

/// The stored form of a message. Its author and time are not in it: the operation and the key say those.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wire {
    #[prost(string, tag = "1")]
    pub(super) body: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) reply_to: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    pub(super) attachments: Vec<WireAttachment>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) mentions: Vec<Vec<u8>>,
    #[prost(uint64, tag = "5")]
    pub(super) edited_ms: u64,
    #[prost(bool, tag = "6")]
    pub(super) withdrawn: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireAttachment {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    bytes: u64,
}

impl Wire {
    /// The highest tag that this build knows.
    const TAG_MAX: u32 = 6;

    pub(super) fn from_draft(draft: &Draft) -> Self {
        let attachments = draft.attachments.iter().map(|file| WireAttachment {
            node: file.node.as_bytes().to_vec(),
            name: file.name.clone(),
            bytes: file.bytes,
        });
        Self {
            body: draft.body.clone(),
            reply_to: draft.reply_to.map(|id| id.0.to_vec()).unwrap_or_default(),
            attachments: attachments.collect(),
            mentions: draft.mentions.iter().map(|person| person.to_vec()).collect(),
            edited_ms: 0,
            withdrawn: false,
        }
    }

    /// Encodes it, followed by fields of a newer schema that were in the value it replaces.
    pub(super) fn encode_with(&self, unknown: &[u8]) -> Result<Vec<u8>, CrdtError> {
        let mut bytes = self.encode_to_vec();
        bytes.extend_from_slice(unknown);
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(CrdtError::TooLarge { what: "the message", bytes: bytes.len(), limit: MESSAGE_BYTES_MAX });
        }
        Ok(bytes)
    }

    /// Decodes a value, if it is a message.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MESSAGE_BYTES_MAX { None } else { Self::decode(bytes).ok() }
    }

    /// The draft in it. References that are not well formed are left out.
    pub(super) fn into_draft(self) -> Draft {
        let attachment = |file: WireAttachment| {
            let node = NodeId::from_bytes(file.node.try_into().ok()?);
            Some(Attachment { node, name: file.name, bytes: file.bytes })
        };
        Draft {
            body: self.body,
            reply_to: self.reply_to.try_into().ok().map(MessageId),
            attachments: self.attachments.into_iter().filter_map(attachment).collect(),
            mentions: self.mentions.into_iter().filter_map(|person| person.try_into().ok()).collect(),
        }
    }
}

/// The fields of an encoded message that this build does not know, verbatim.
pub(super) fn unknown_fields(bytes: &[u8]) -> Vec<u8> {
    let mut unknown = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let field = rest;
        let Ok((tag, wire_type)) = decode_key(&mut rest) else { break };
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        if tag > Wire::TAG_MAX {
            unknown.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    unknown
}
