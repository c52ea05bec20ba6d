//! The chat of a circle.

use std::collections::BTreeMap;

use clave_engine::crdt::{Actor, Attachment, CrdtError, DocumentKind, Draft, Message as Stored, MessageId};
use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::membership::Membership;
use clave_engine::{Engine, EngineError, MessageState, Segment, SpaceId};

use crate::{Circle, Error};

mod updates;

pub use updates::{TimelinePages, TimelineUpdates};

/// The chat of a circle: any number of messages, kept in segments. Which there are, and who can read them, follows from the
/// history policy; they are shown as one list.
#[derive(Clone)]
pub struct Timeline {
    pub(crate) circle: Circle,
}

/// Who wrote something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The person, if they are still in the circle.
    pub person: Option<PersonId>,
    /// The device, if the membership log knows it (yet).
    pub device: Option<DeviceId>,
    /// What to show.
    pub name: String,
    /// Whether it is the person this device belongs to.
    pub is_me: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub id: MessageId,
    /// Who wrote it.
    pub author: Author,
    /// When, by its author's clock, in Unix milliseconds.
    pub sent_ms: u64,
    /// Plain text, with Markdown's conventions. Empty if it was withdrawn.
    pub body: String,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// Files of the circle's drive.
    pub attachments: Vec<Attachment>,
    /// People named in it.
    pub mentions: Vec<PersonId>,
    /// Whether its author changed it since.
    pub edited: bool,
    /// Whether its author took it back.
    pub withdrawn: bool,
    /// Somebody else overwrote it: what it says is theirs.
    pub altered_by: Option<Author>,
    /// Reactions, and who reacted so.
    pub reactions: Vec<(String, Vec<Author>)>,
    /// How far it has come, if this device sent it. An observed timeline gives a [`ListDiff::Set`](crate::ListDiff::Set) when it changes.
    pub state: Option<MessageState>,
}

impl Timeline {
    pub(crate) fn new(circle: Circle) -> Self {
        Self { circle }
    }

    /// Posts a message of plain text. Returns once it is durable here; it is sent to whoever is connected, and to the
    /// others when they are. Messages that wait at the same time travel in one entry.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn send(&self, body: impl Into<String>) -> Result<MessageId, Error> {
        self.post(Draft::text(body)).await
    }

    /// Posts a message with all that may belong to it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn post(&self, draft: Draft) -> Result<MessageId, Error> {
        self.circle.node.post(self.circle.id, draft).await
    }

    /// Changes a message of one's own.
    ///
    /// # Errors
    /// If it is somebody else's, or was withdrawn.
    pub async fn edit(&self, message: MessageId, body: impl Into<String>) -> Result<(), Error> {
        let (id, draft) = (self.circle.id, Draft::text(body));
        self.circle
            .node
            .command(move |engine, now| {
                in_segment_of(engine, id, message, now, |timeline| timeline.edit(&message, now, &draft))
            })
            .await
    }

    /// Takes a message of one's own back. That there was one stays visible.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub async fn withdraw(&self, message: MessageId) -> Result<(), Error> {
        let id = self.circle.id;
        self.circle
            .node
            .command(move |engine, now| in_segment_of(engine, id, message, now, |timeline| timeline.withdraw(&message)))
            .await
    }

    /// Adds a reaction, or takes it away.
    ///
    /// # Errors
    /// If there is no such message, or the reaction is none.
    pub async fn react(&self, message: MessageId, reaction: &str, present: bool) -> Result<(), Error> {
        let (id, reaction) = (self.circle.id, reaction.to_owned());
        self.circle
            .node
            .command(move |engine, now| {
                in_segment_of(engine, id, message, now, |timeline| timeline.react(&message, &reaction, present))
            })
            .await
    }

    /// The newest messages, oldest first; of those before `before`, if that is given.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn history(&self, count: usize, before: Option<MessageId>) -> Result<Vec<Message>, Error> {
        let id = self.circle.id;
        self.circle.node.read(move |engine| newest(engine, id, before, count)).await
    }

    /// The devices that are known to have a message that this device sent, further ones of this person among them.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn received_by(&self, message: MessageId) -> Result<Vec<DeviceId>, Error> {
        let id = self.circle.id;
        self.circle.node.read(move |engine| engine.message_holders(id, &message)).await
    }

    /// How many messages there are, withdrawn ones among them. Loads only what changed since it was last asked for.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn len(&self) -> Result<usize, Error> {
        let id = self.circle.id;
        self.circle.node.read(move |engine| engine.message_count(id)).await
    }

    /// Whether there is no message yet.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.history(1, None).await?.is_empty())
    }

    /// The newest messages and everything that happens to them and after them, as steps. The first step is
    /// [`ListDiff::Reset`](crate::ListDiff::Reset) with the `count` newest. [`TimelineUpdates::pages`] shows more.
    #[must_use]
    pub fn observe(&self, count: usize) -> TimelineUpdates {
        TimelineUpdates::new(self.clone(), count, None)
    }

    /// As [`observe`](Self::observe), beginning somewhere else: at `message`, or what comes behind it, with up to `count`
    /// messages before it and up to `count` from it on.
    #[must_use]
    pub fn observe_around(&self, message: MessageId, count: usize) -> TimelineUpdates {
        TimelineUpdates::new(self.clone(), count, Some(message))
    }
}

/// The segments that this device can read, by the last message that may be in them, newest first.
fn segments(engine: &Engine, id: SpaceId) -> Result<Vec<Segment>, EngineError> {
    let mut segments = engine.segments(id)?;
    segments.sort_by_key(|segment| std::cmp::Reverse((until_ms(segment), segment.id)));
    Ok(segments)
}

/// When the last message of a segment was sent at the latest, and one millisecond.
fn until_ms(segment: &Segment) -> u64 {
    segment.messages.map_or(segment.until_ms, |(_, last, _)| last.sent_ms() + 1)
}

/// Posts messages in one change: as many as the segment has room for, at least the first. If it fails, none is posted.
pub(crate) fn post(
    engine: &mut Engine,
    id: SpaceId,
    drafts: &[&Draft],
    now_ms: u64,
) -> Result<Vec<MessageId>, EngineError> {
    let mut number =
        last_number(|number| engine.has_document(id, engine.segment(id, number, now_ms)?, DocumentKind::Timeline))?;
    let mut former = None;
    loop {
        let segment = engine.segment(id, number, now_ms)?;
        let random: Vec<[u8; 6]> = drafts.iter().map(|_| engine.random()).collect();
        let posted = engine.post(id, segment, now_ms, |document| {
            let mut posted = Vec::with_capacity(drafts.len());
            for (draft, random) in drafts.iter().zip(random) {
                match document.timeline()?.post_behind(former, now_ms, random, draft) {
                    Err(CrdtError::SegmentFull) if !posted.is_empty() => break,
                    id => posted.push(id?),
                }
            }
            Ok(posted)
        });
        match posted {
            Err(EngineError::Document(CrdtError::SegmentFull)) => {
                let full = engine.document(id, segment, DocumentKind::Timeline)?.timeline()?;
                former = full.newest(1).first().map(|message| message.id);
                number += 1;
            }
            posted => return posted,
        }
    }
}

/// A number that is known, or 0, and is followed by one that is not. Looks at few, however many there are.
fn last_number(is_known: impl Fn(u32) -> Result<bool, EngineError>) -> Result<u32, EngineError> {
    let mut step = 1;
    while is_known(step)? {
        step = step.saturating_mul(2);
    }
    let (mut known, mut unknown) = (step / 2, step);
    while unknown - known > 1 {
        let middle = known + (unknown - known) / 2;
        if is_known(middle)? { known = middle } else { unknown = middle }
    }
    Ok(known)
}

/// Runs `edit` on the segment that holds a message.
fn in_segment_of(
    engine: &mut Engine,
    id: SpaceId,
    message: MessageId,
    now_ms: u64,
    edit: impl FnOnce(&mut clave_engine::crdt::Timeline<'_>) -> Result<(), CrdtError>,
) -> Result<(), EngineError> {
    let may_hold = |segment: &Segment| match segment.messages {
        Some((first, last, _)) => (first..=last).contains(&message),
        None => message.sent_ms() < segment.until_ms,
    };
    for Segment { id: segment, .. } in segments(engine, id)?.into_iter().filter(may_hold) {
        if engine.document(id, segment, DocumentKind::Timeline)?.timeline()?.message(&message).is_some() {
            let people = People::of(engine, id)?;
            return engine.edit(id, segment, DocumentKind::Timeline, now_ms, |document, _| {
                let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
                edit(&mut document.timeline()?.with_persons(&same_person))
            });
        }
    }
    Err(EngineError::Document(CrdtError::NotFound("message")))
}

fn newest(
    engine: &mut Engine,
    id: SpaceId,
    before: Option<MessageId>,
    count: usize,
) -> Result<Vec<Message>, EngineError> {
    let people = People::of(engine, id)?;
    let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
    let mut messages = Vec::new();
    let is_later = |segment: &Segment| match (segment.messages, before) {
        (Some((first, ..)), Some(before)) => first >= before,
        _ => false,
    };
    for segment in segments(engine, id)?.into_iter().filter(|segment| !is_later(segment)) {
        if messages.len() >= count && oldest(&messages).is_some_and(|oldest| oldest.sent_ms() >= until_ms(&segment)) {
            break;
        }
        let document = engine.document(id, segment.id, DocumentKind::Timeline)?;
        let timeline = document.timeline()?.with_persons(&same_person);
        messages.extend(match &before {
            None => timeline.newest(count),
            Some(before) => timeline.newest_before(before, count),
        });
        messages.sort_by_key(|message| message.id);
        messages.drain(..messages.len().saturating_sub(count));
    }
    with_states(engine, id, people.shown(messages))
}

fn since(engine: &mut Engine, id: SpaceId, first: MessageId) -> Result<Vec<Message>, EngineError> {
    let people = People::of(engine, id)?;
    let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
    let mut messages = Vec::new();
    for segment in segments(engine, id)? {
        if first.sent_ms() >= until_ms(&segment) {
            break;
        }
        let document = engine.document(id, segment.id, DocumentKind::Timeline)?;
        messages.extend(document.timeline()?.with_persons(&same_person).messages(first..));
    }
    with_states(engine, id, people.shown(messages))
}

fn with_states(engine: &Engine, id: SpaceId, mut messages: Vec<Message>) -> Result<Vec<Message>, EngineError> {
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    for (message, state) in messages.iter_mut().zip(engine.message_states(id, &ids)?) {
        message.state = state;
    }
    Ok(messages)
}

fn oldest(messages: &[Stored]) -> Option<MessageId> {
    messages.first().map(|message| message.id)
}

/// Names for actors.
pub(crate) struct People {
    membership: Membership,
    /// Whose the devices were that are out, and how those are called.
    former: BTreeMap<DeviceId, (PersonId, String)>,
    me: PersonId,
}

impl People {
    pub(crate) fn of(engine: &Engine, id: SpaceId) -> Result<Self, EngineError> {
        let membership = engine.membership(id)?.clone();
        let mut former = BTreeMap::new();
        for device in membership.former_devices.keys().chain(membership.devices_set_aside.keys()) {
            if let Some((person, Some(name))) = engine.person_behind(id, device)? {
                former.insert(*device, (person, name.to_owned()));
            }
        }
        Ok(Self { membership, former, me: engine.identity().person().ok_or(clave_engine::EngineError::NotLinked)? })
    }

    fn device(&self, actor: &Actor) -> Option<DeviceId> {
        let known = self.membership.devices.keys().chain(self.former.keys());
        known.copied().find(|device| actor.belongs_to(device.as_bytes()))
    }

    fn same_person(&self, a: &Actor, b: &Actor) -> bool {
        let person = |actor| self.person(self.device(actor)?);
        a.same_author(b) || person(a).is_some_and(|person_a| person(b) == Some(person_a))
    }

    fn person(&self, device: DeviceId) -> Option<PersonId> {
        self.membership.person_of(device).or_else(|| self.former.get(&device).map(|(person, _)| *person))
    }

    pub(crate) fn author(&self, actor: &Actor) -> Author {
        let device = self.device(actor);
        let person = device.and_then(|device| self.person(device));
        let (known, former) = (
            person.and_then(|person| self.membership.people.get(&person)),
            device.and_then(|device| self.former.get(&device)),
        );
        let name = match (known, former) {
            (Some(known), _) => known.name.clone(),
            (None, Some((_, name))) => name.clone(),
            (None, None) => "?".to_owned(),
        };
        Author { person: person.filter(|_| known.is_some()), device, name, is_me: person == Some(self.me) }
    }

    fn shown(&self, mut stored: Vec<Stored>) -> Vec<Message> {
        stored.sort_by_key(|message| message.id);
        stored.into_iter().map(|message| self.message(message)).collect()
    }

    fn message(&self, stored: Stored) -> Message {
        Message {
            id: stored.id,
            author: self.author(&stored.author),
            sent_ms: stored.sent_ms,
            body: stored.body,
            reply_to: stored.reply_to,
            attachments: stored.attachments,
            mentions: stored.mentions.into_iter().map(PersonId::from_bytes).collect(),
            edited: stored.edited_ms.is_some(),
            withdrawn: stored.withdrawn,
            altered_by: stored.altered_by.map(|actor| self.author(&actor)),
            reactions: stored
                .reactions
                .into_iter()
                .map(|reaction| (reaction.text, reaction.by.iter().map(|actor| self.author(actor)).collect()))
                .collect(),
            state: None,
        }
    }
}
