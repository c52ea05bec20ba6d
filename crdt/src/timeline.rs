//! A segment of a chat.
//!
//! A chat is a row of segments of about [`SEGMENT_MESSAGES_MAX`] messages, each a document, so that a phone loads the
//! newest only. A message is *one* scalar at the root of its document (that is what makes posting cheap), its key is
//! its [`MessageId`]; a reaction is another, under a key of its own.
//!
//! **Who said it.** The author of a message stands in its id; whoever wrote the value is known from the operation that
//! wrote it, which its entry's signature covers. Where the two differ, the message says so ([`Message::altered_by`]):
//! nobody's words are ever shown as another's. In a timeline nothing is deleted, only withdrawn, so that also what
//! somebody else "deletes" leaves its trace; a change that deletes is refused
//! ([`ChangeFault::Operations`](crate::ChangeFault::Operations)).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, RangeBounds};

use automerge::iter::MapRangeItem;
use automerge::{ObjId, ROOT, ReadDoc, ScalarValue, ScalarValueRef, Value, ValueRef};

use self::message::{Wire, unknown_fields};
use crate::{Actor, ChangeHash, CrdtError, Document, DocumentKind};

mod message;
#[cfg(test)]
mod tests;

pub use message::{Attachment, Draft, MESSAGE_BYTES_MAX, MessageId};

/// How many messages a segment takes. Devices that post at the same time may overfill it a little.
pub const SEGMENT_MESSAGES_MAX: usize = 2_000;
/// How far ahead of its author's clock a message is dated, at most, to come behind what the author has seen; in
/// milliseconds. Beyond it somebody's clock is plainly wrong, and is not followed.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1_000;
/// The longest reaction, in bytes: room for any emoji.
pub const REACTION_BYTES_MAX: usize = 64;

/// Prefix of the keys of messages.
const MESSAGE_PREFIX: &str = "m/";
/// Prefix of the keys of reactions: then the message, the person reacting, the reaction.
const REACTION_PREFIX: &str = "r/";
/// Prefixes of keys that are never deleted.
pub(crate) const PREFIXES: &[&str] = &[MESSAGE_PREFIX, REACTION_PREFIX];

/// A message as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Who wrote it.
    pub author: Actor,
    /// When, by the author's clock, in Unix milliseconds.
    pub sent_ms: u64,
    /// Plain text, with Markdown's conventions. Empty if it was withdrawn.
    pub body: String,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// Files of the circle's drive.
    pub attachments: Vec<Attachment>,
    /// The ids of people who are named in it.
    pub mentions: Vec<[u8; 32]>,
    /// When it was last edited, in Unix milliseconds, if it was.
    pub edited_ms: Option<u64>,
    /// Whether it was withdrawn. Those who had it may still have it.
    pub withdrawn: bool,
    /// Somebody else overwrote it: what is shown here is *theirs*, not the author's.
    pub altered_by: Option<Actor>,
    /// It was written by a newer version, or by a broken one: there is something here that cannot be shown.
    pub unreadable: bool,
    /// Reactions, sorted.
    pub reactions: Vec<Reaction>,
}

/// A reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// An emoji, most likely.
    pub text: String,
    /// Who reacted so, sorted.
    pub by: Vec<Actor>,
}

/// Whether two actors may speak for each other.
type SamePerson<'a> = &'a dyn Fn(&Actor, &Actor) -> bool;

/// A view of a timeline document.
pub struct Timeline<'a> {
    document: &'a mut Document,
    same_person: SamePerson<'a>,
}

impl Document {
    /// This document as a timeline.
    ///
    /// # Errors
    ///
    /// [`CrdtError::WrongKind`].
    pub fn timeline(&mut self) -> Result<Timeline<'_>, CrdtError> {
        self.expect_kind(DocumentKind::Timeline)?;
        Ok(Timeline { document: self, same_person: &Actor::same_author })
    }
}

impl<'a> Timeline<'a> {
    /// Lets the devices of one person speak for each other. Without it, each device stands alone: a message that its
    /// author edits on another device shows as altered.
    #[must_use]
    pub fn with_persons(self, same_person: SamePerson<'a>) -> Self {
        Self { same_person, ..self }
    }

    /// Adds a message. It goes behind everything that its author has seen here, even within one millisecond, and even if
    /// their clock is behind that of others by up to [`CLOCK_SKEW_MS_MAX`].
    ///
    /// # Errors
    ///
    /// [`CrdtError::SegmentFull`], or [`CrdtError::TooLarge`] past [`MESSAGE_BYTES_MAX`].
    pub fn post(&mut self, now_ms: u64, random: [u8; 6], draft: &Draft) -> Result<MessageId, CrdtError> {
        self.post_behind(None, now_ms, random, draft)
    }

    /// The same, and also behind a message of another segment.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub fn post_behind(
        &mut self,
        other: Option<MessageId>,
        now_ms: u64,
        random: [u8; 6],
        draft: &Draft,
    ) -> Result<MessageId, CrdtError> {
        if self.is_full() {
            return Err(CrdtError::SegmentFull);
        }
        let author = self.document.actor();
        let other = other.filter(|other| other.sent_ms() < now_ms.saturating_add(CLOCK_SKEW_MS_MAX));
        let id = match self.last_seen(now_ms).max(other) {
            Some(last) if last.sent_ms() >= now_ms => last.successor(random, author),
            _ => MessageId::new(now_ms, random, author),
        };
        self.put(message_key(&id), Wire::from_draft(draft).encode_with(&[])?)?;
        Ok(id)
    }

    /// The last message that is dated now, or a little ahead of this clock.
    fn last_seen(&self, now_ms: u64) -> Option<MessageId> {
        let at = |ms| message_key(&MessageId::new(ms, [0; 6], Actor::GENESIS));
        let ahead = self.automerge().map_range(ROOT, at(now_ms)..at(now_ms.saturating_add(CLOCK_SKEW_MS_MAX)));
        ahead.last().and_then(|item| message_id(&item.key))
    }

    /// Replaces what one's own message says.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::NotAuthor`], [`CrdtError::TooLarge`]; [`CrdtError::Invalid`] if it was
    /// withdrawn.
    pub fn edit(&mut self, id: &MessageId, now_ms: u64, draft: &Draft) -> Result<(), CrdtError> {
        let standing = self.own(id)?;
        if standing.withdrawn() {
            return Err(CrdtError::Invalid("the message was withdrawn; send a new one"));
        }
        let mut wire = Wire::from_draft(draft);
        wire.edited_ms = now_ms.max(1);
        self.put(message_key(id), wire.encode_with(&unknown_fields(&standing.bytes))?)
    }

    /// Withdraws one's own message: its place stays, its content goes. Devices that had it may have kept it, and the
    /// document's history has it until the segment is gone.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] or [`CrdtError::NotAuthor`].
    pub fn withdraw(&mut self, id: &MessageId) -> Result<(), CrdtError> {
        if self.own(id)?.withdrawn() {
            return Ok(());
        }
        self.put(message_key(id), Wire { withdrawn: true, ..Wire::default() }.encode_with(&[])?)
    }

    /// Adds or takes back a reaction of this document's actor.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`]; [`CrdtError::TooLarge`] past [`REACTION_BYTES_MAX`]; [`CrdtError::Invalid`] if it is
    /// empty or holds control characters.
    pub fn react(&mut self, id: &MessageId, text: &str, present: bool) -> Result<(), CrdtError> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(CrdtError::Invalid("a reaction is an emoji or a short word"));
        }
        if text.len() > REACTION_BYTES_MAX {
            return Err(CrdtError::TooLarge { what: "the reaction", bytes: text.len(), limit: REACTION_BYTES_MAX });
        }
        self.standing(id).ok_or(CrdtError::NotFound("message"))?;
        let key = format!("{REACTION_PREFIX}{id}/{}/{text}", self.document.actor());
        let stands =
            matches!(self.automerge().get(ROOT, key.as_str()), Ok(Some((value, _))) if value.as_bool() == Some(true));
        if stands == present { Ok(()) } else { self.put(key, present) }
    }

    /// How many messages there are, withdrawn ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items(MESSAGE_PREFIX).count()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items(MESSAGE_PREFIX).next().is_none()
    }

    /// Whether it is time for a new segment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // There are at least as many operations as messages, and those need not be counted.
        let operations = usize::try_from(self.automerge().stats().num_ops).unwrap_or(usize::MAX);
        operations >= SEGMENT_MESSAGES_MAX && self.len() >= SEGMENT_MESSAGES_MAX
    }

    /// The message with this id.
    #[must_use]
    pub fn message(&self, id: &MessageId) -> Option<Message> {
        let standing = self.standing(id)?;
        Some(self.with_reactions([(*id, standing)]).remove(0))
    }

    /// The messages in this range of ids, in order of (time, id).
    #[must_use]
    pub fn messages(&self, range: impl RangeBounds<MessageId>) -> Vec<Message> {
        let items = self.items(MESSAGE_PREFIX).filter_map(|item| Some((message_id(&item.key)?, item)));
        let chosen: Vec<_> = items.filter(|(id, _)| range.contains(id)).collect();
        self.read(chosen)
    }

    /// The newest messages, at most this many, oldest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Message> {
        self.newest_in(.., count)
    }

    /// The newest messages before this one, at most this many, oldest first: for scrolling back.
    #[must_use]
    pub fn newest_before(&self, id: &MessageId, count: usize) -> Vec<Message> {
        self.newest_in(..*id, count)
    }

    /// The messages that changes since these heads have touched (added, edited, withdrawn, reacted to), in order.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits; [`CrdtError::NotFound`] if the heads are not known.
    pub fn changed_since(&mut self, heads: &[ChangeHash]) -> Result<Vec<MessageId>, CrdtError> {
        let keys = self.document.root_keys_since(heads)?;
        Ok(keys.iter().filter_map(|key| message_id(key)).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn automerge(&self) -> &automerge::AutoCommit {
        self.document.automerge()
    }

    fn put(&mut self, key: String, value: impl Into<ScalarValue>) -> Result<(), CrdtError> {
        self.document.put_root(key, value)
    }

    /// The values under keys that start so, in order of their keys.
    fn items(&self, prefix: &str) -> impl Iterator<Item = MapRangeItem<'_>> {
        self.document.root_items(prefix)
    }

    fn newest_in(&self, range: impl RangeBounds<MessageId>, count: usize) -> Vec<Message> {
        let mut newest = VecDeque::new();
        for item in self.items(MESSAGE_PREFIX) {
            let Some(id) = message_id(&item.key).filter(|id| range.contains(id)) else { continue };
            if newest.len() == count {
                newest.pop_front();
            }
            if count > 0 {
                newest.push_back((id, item));
            }
        }
        self.read(newest)
    }

    fn read<'b>(&self, items: impl IntoIterator<Item = (MessageId, MapRangeItem<'b>)>) -> Vec<Message> {
        let standing = items.into_iter().filter_map(|(id, item)| {
            let standing = if item.conflict { self.standing(&id)? } else { Standing::of_item(&item) };
            Some((id, standing))
        });
        self.with_reactions(standing)
    }

    /// The value that stands for a message: its author's, if one is there. Of several, one that withdraws it, else the
    /// last.
    fn standing(&self, id: &MessageId) -> Option<Standing> {
        let author = id.author();
        let values = self.automerge().get_all(ROOT, message_key(id)).ok()?;
        let values = values.iter().map(|(value, operation)| Standing::of_value(value, operation));
        values
            .enumerate()
            .max_by_key(|(place, value)| ((self.same_person)(&author, &value.writer), value.withdrawn(), *place))
            .map(|(_, value)| value)
    }

    /// As `standing`, for a message that this document's actor may change.
    fn own(&self, id: &MessageId) -> Result<Standing, CrdtError> {
        let standing = self.standing(id).ok_or(CrdtError::NotFound("message"))?;
        if (self.same_person)(&id.author(), &self.document.actor()) { Ok(standing) } else { Err(CrdtError::NotAuthor) }
    }

    fn with_reactions(&self, messages: impl IntoIterator<Item = (MessageId, Standing)>) -> Vec<Message> {
        let mut messages: Vec<_> = messages.into_iter().map(|(id, standing)| self.compose(id, standing)).collect();
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return messages };
        let range = (
            Bound::Included(format!("{REACTION_PREFIX}{}/", first.id)),
            Bound::Excluded(format!("{REACTION_PREFIX}{}0", last.id)),
        );
        let mut reactions = BTreeMap::<MessageId, BTreeMap<String, BTreeSet<Actor>>>::new();
        for item in self.automerge().map_range(ROOT, range) {
            if let Some((id, actor, text)) = self.reaction(&item) {
                reactions.entry(id).or_default().entry(text).or_default().insert(actor);
            }
        }
        for message in &mut messages {
            let found = reactions.remove(&message.id).unwrap_or_default();
            message.reactions =
                found.into_iter().map(|(text, by)| Reaction { text, by: by.into_iter().collect() }).collect();
        }
        messages
    }

    /// A reaction that stands: its value is `true` and was written by whom the key names.
    fn reaction(&self, item: &MapRangeItem<'_>) -> Option<(MessageId, Actor, String)> {
        let mut parts = item.key.strip_prefix(REACTION_PREFIX)?.splitn(3, '/');
        let (id, actor, text) = (parts.next()?.parse().ok()?, Actor::from_hex(parts.next()?)?, parts.next()?);
        let stands =
            |value: bool, operation: &ObjId| value && (self.same_person)(&actor, &Actor::of_operation(operation));
        let is_there = if item.conflict {
            let values = self.automerge().get_all(ROOT, item.key.as_ref()).ok()?;
            values.iter().any(|(value, operation)| stands(value.as_bool() == Some(true), operation))
        } else {
            stands(item.value == ValueRef::Scalar(ScalarValueRef::Boolean(true)), &item.id())
        };
        (is_there && !text.is_empty() && text.len() <= REACTION_BYTES_MAX).then(|| (id, actor, text.to_owned()))
    }

    fn compose(&self, id: MessageId, standing: Standing) -> Message {
        let author = id.author();
        let altered_by = (!(self.same_person)(&author, &standing.writer)).then_some(standing.writer);
        let unreadable = standing.wire.is_none();
        let wire = standing.wire.unwrap_or_default();
        let (withdrawn, edited_ms) = (wire.withdrawn, (wire.edited_ms > 0).then_some(wire.edited_ms));
        let draft = if withdrawn { Draft::default() } else { wire.into_draft() };
        Message {
            id,
            author,
            sent_ms: id.sent_ms(),
            body: draft.body,
            reply_to: draft.reply_to,
            attachments: draft.attachments,
            mentions: draft.mentions,
            edited_ms,
            withdrawn,
            altered_by,
            unreadable,
            reactions: Vec::new(),
        }
    }
}

/// A value under a message's key.
struct Standing {
    writer: Actor,
    bytes: Vec<u8>,
    /// `None` if it is not a message.
    wire: Option<Wire>,
}

impl Standing {
    fn of_item(item: &MapRangeItem<'_>) -> Self {
        let bytes = match &item.value {
            ValueRef::Scalar(ScalarValueRef::Bytes(bytes)) => Some(bytes.to_vec()),
            _ => None,
        };
        Self::new(bytes, &item.id())
    }

    fn of_value(value: &Value<'_>, operation: &ObjId) -> Self {
        Self::new(value.as_bytes().map(<[u8]>::to_vec), operation)
    }

    fn new(bytes: Option<Vec<u8>>, operation: &ObjId) -> Self {
        let wire = bytes.as_deref().and_then(Wire::read);
        Self { writer: Actor::of_operation(operation), bytes: bytes.unwrap_or_default(), wire }
    }

    fn withdrawn(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.withdrawn)
    }
}

fn message_key(id: &MessageId) -> String {
    format!("{MESSAGE_PREFIX}{id}")
}

/// The message that a key is about: its own or that of a reaction to it.
fn message_id(key: &str) -> Option<MessageId> {
    let key = key.strip_prefix(MESSAGE_PREFIX).or_else(|| key.strip_prefix(REACTION_PREFIX)?.split('/').next())?;
    key.parse().ok()
}
