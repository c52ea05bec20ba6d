//! The chat of a circle, and how to watch it.

use std::sync::Arc;

use clave::{ListDiff, TimelineUpdates};

use crate::convert::{count, parse, parse_all, parse_if, size};
use crate::observer::{Observers, Source};
use crate::session::Session;
use crate::{ClaveError, Subscription};

/// The chat of a circle.
#[derive(uniffi::Object)]
pub struct Timeline {
    pub(crate) session: Arc<Session>,
    pub(crate) timeline: clave::Timeline,
}

/// Who wrote something.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Author {
    /// The id of the person, if they are still in the space.
    pub person: Option<String>,
    /// The id of the device, if the membership log knows it (yet).
    pub device: Option<String>,
    /// What to show.
    pub name: String,
    /// Whether it is the person this device belongs to.
    pub is_me: bool,
}

/// A reaction, and who reacted so.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Reaction {
    /// An emoji, mostly.
    pub text: String,
    /// Who.
    pub by: Vec<Author>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// Its id, the same on every device.
    pub id: String,
    /// Who wrote it.
    pub author: Author,
    /// When, by its author's clock, in Unix milliseconds.
    pub sent_ms: u64,
    /// Plain text, with Markdown's conventions. Empty if it was withdrawn.
    pub body: String,
    /// The id of the message it answers.
    pub reply_to: Option<String>,
    /// The ids of people named in it.
    pub mentions: Vec<String>,
    /// Whether its author changed it since.
    pub edited: bool,
    /// Whether its author took it back.
    pub withdrawn: bool,
    /// Somebody else overwrote it: what it says is theirs.
    pub altered_by: Option<Author>,
    /// Reactions.
    pub reactions: Vec<Reaction>,
    /// Files of the circle's drive.
    pub attachments: Vec<Attachment>,
    /// How far it has come, if this device sent it. A listener gets a `Set` when it changes.
    pub state: Option<MessageState>,
}

/// How far a message that this device sent has come, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum MessageState {
    /// It is stored here, and nobody else is known to have it.
    Queued,
    /// A relay of the space has it on its disk: others get it, whoever is online when.
    Relayed,
    /// Other devices have it.
    Delivered {
        /// How many people besides this one have it on some device.
        people: u32,
        /// How many devices, further ones of this person among them.
        devices: u32,
        /// Whether all other people in the circle have it.
        everybody: bool,
    },
    /// No relay of the space takes it, and nobody else has it. It is still here, and goes to whoever is online together with this
    /// device.
    Failed {
        /// What the relay says, and what to do.
        error: String,
        /// Whether it goes on by itself.
        retryable: bool,
    },
}

/// A file that belongs to a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Attachment {
    /// The id of the file in the drive.
    pub file: String,
    /// Its name when it was attached.
    pub name: String,
    /// Its size when it was attached, in bytes.
    pub bytes: u64,
}

/// A message that is to be posted.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Draft {
    /// Plain text, with Markdown's conventions.
    pub body: String,
    /// The id of the message it answers.
    #[uniffi(default = None)]
    pub reply_to: Option<String>,
    /// The ids of people named in it.
    #[uniffi(default = [])]
    pub mentions: Vec<String>,
    /// Files of the circle's drive.
    #[uniffi(default = [])]
    pub attachments: Vec<Attachment>,
}

/// One step from the former state of an observed list of messages to the next.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TimelineDiff {
    /// Forget what you have: this is the list.
    Reset {
        /// All messages, oldest first.
        items: Vec<Message>,
    },
    /// Put these behind the last.
    Append {
        /// What, oldest first.
        items: Vec<Message>,
    },
    /// Put this before what stands at the index.
    Insert {
        /// Where, from 0.
        index: u32,
        /// What.
        item: Message,
    },
    /// Replace what stands at the index.
    Set {
        /// Where, from 0.
        index: u32,
        /// By what.
        item: Message,
    },
    /// Take out what stands at the index.
    Remove {
        /// Where, from 0.
        index: u32,
    },
}

/// Hears how a timeline changes.
#[uniffi::export(foreign)]
pub trait TimelineListener: Send + Sync {
    /// Steps to do one after the other, all that were due, never none. The first step ever is `Reset`. Calls come one
    /// at a time, on a thread of the node's; the next call waits until this one returns, and then brings all that
    /// happened meanwhile.
    ///
    /// # Errors
    /// Whatever it throws ends its subscription, and nothing else; [`Subscription::finished`] tells.
    fn on_update(&self, diffs: Vec<TimelineDiff>) -> Result<(), ClaveError>;
}

/// Has an observed timeline show more.
#[derive(uniffi::Object)]
pub struct ObservedTimeline {
    subscription: Arc<Subscription>,
    session: Arc<Session>,
    pages: clave::TimelinePages,
}

impl Source for TimelineUpdates {
    type Batch = Vec<ListDiff<clave::Message>>;

    async fn next(&mut self) -> Result<Self::Batch, clave::Error> {
        TimelineUpdates::next(self).await
    }
}

impl Timeline {
    pub(crate) fn new(session: Arc<Session>, timeline: clave::Timeline) -> Self {
        Self { session, timeline }
    }

    fn watch(&self, updates: TimelineUpdates, listener: Arc<dyn TimelineListener>) -> ObservedTimeline {
        let pages = updates.pages();
        let tell = move |steps: Vec<ListDiff<clave::Message>>| {
            listener.on_update(steps.into_iter().map(TimelineDiff::from).collect())
        };
        let subscription = Arc::new(Observers::begin(&self.session, updates, tell));
        ObservedTimeline { subscription, session: self.session.clone(), pages }
    }
}

#[uniffi::export]
impl Timeline {
    /// Posts a message of plain text and returns its id, once it is durable here; it is sent to whoever is connected,
    /// and to the others when they are. Observers are told at that moment.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn send(&self, body: String) -> Result<String, ClaveError> {
        let timeline = self.timeline.clone();
        Ok(self.session.run(async move { timeline.send(body).await }).await?.to_string())
    }

    /// Posts a message with all that may belong to it.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ClaveError::Argument`] if an id is none.
    pub async fn post(&self, draft: Draft) -> Result<String, ClaveError> {
        let (timeline, draft) = (self.timeline.clone(), draft.known()?);
        Ok(self.session.run(async move { timeline.post(draft).await }).await?.to_string())
    }

    /// The ids of the devices that are known to have a message that this device sent, further ones of this person among them.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `message` is no id.
    pub async fn received_by(&self, message: String) -> Result<Vec<String>, ClaveError> {
        let (timeline, message) = (self.timeline.clone(), parse(&message, "message")?);
        let devices = self.session.run(async move { timeline.received_by(message).await }).await?;
        Ok(devices.iter().map(ToString::to_string).collect())
    }

    /// Changes a message of one's own.
    ///
    /// # Errors
    /// If it is somebody else's, or was withdrawn.
    pub async fn edit(&self, message: String, body: String) -> Result<(), ClaveError> {
        let (timeline, message) = (self.timeline.clone(), parse(&message, "message")?);
        self.session.run(async move { timeline.edit(message, body).await }).await
    }

    /// Takes a message of one's own back. That there was one stays visible.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub async fn withdraw(&self, message: String) -> Result<(), ClaveError> {
        let (timeline, message) = (self.timeline.clone(), parse(&message, "message")?);
        self.session.run(async move { timeline.withdraw(message).await }).await
    }

    /// Adds a reaction, or takes it away.
    ///
    /// # Errors
    /// If there is no such message, or the reaction is none.
    pub async fn react(&self, message: String, reaction: String, present: bool) -> Result<(), ClaveError> {
        let (timeline, message) = (self.timeline.clone(), parse(&message, "message")?);
        self.session.run(async move { timeline.react(message, &reaction, present).await }).await
    }

    /// The newest messages, oldest first; of those before the message `before`, if that is given.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `before` is no id, [`ClaveError::Paused`], [`ClaveError::Stopped`].
    #[uniffi::method(default(before = None))]
    pub async fn history(&self, count: u32, before: Option<String>) -> Result<Vec<Message>, ClaveError> {
        let (timeline, before) = (self.timeline.clone(), parse_if(before.as_ref(), "message")?);
        let messages = self.session.run(async move { timeline.history(size(count), before).await }).await?;
        Ok(messages.into_iter().map(Message::from).collect())
    }

    /// How many messages there are, withdrawn ones among them.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn message_count(&self) -> Result<u32, ClaveError> {
        let timeline = self.timeline.clone();
        Ok(count(self.session.run(async move { timeline.len().await }).await?))
    }

    /// Tells `listener` the `count` newest messages, and then everything that happens to them and after them, until the
    /// subscription is cancelled or the node is shut down.
    #[must_use]
    pub fn observe(&self, count: u32, listener: Arc<dyn TimelineListener>) -> ObservedTimeline {
        self.watch(self.timeline.observe(size(count)), listener)
    }

    /// The same, beginning around a message, as when a result of a search is shown: up to `count` messages before it and up to
    /// `count` from it on.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `message` is no id.
    pub fn observe_around(
        &self,
        message: String,
        count: u32,
        listener: Arc<dyn TimelineListener>,
    ) -> Result<ObservedTimeline, ClaveError> {
        Ok(self.watch(self.timeline.observe_around(parse(&message, "message")?, size(count)), listener))
    }
}

#[uniffi::export]
impl ObservedTimeline {
    /// Shows up to `count` messages more at the beginning, and says whether there may be more still. The listener is told
    /// of them like of everything else. Not to be waited for in the listener.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`] if the subscription ended, [`ClaveError::Paused`].
    pub async fn earlier(&self, count: u32) -> Result<bool, ClaveError> {
        let pages = self.pages.clone();
        self.session.run(async move { pages.earlier(size(count)).await }).await
    }

    /// The same at the end. Once the end of the chat is shown, what is new there is shown by itself.
    ///
    /// # Errors
    /// As [`earlier`](Self::earlier).
    pub async fn later(&self, count: u32) -> Result<bool, ClaveError> {
        let pages = self.pages.clone();
        self.session.run(async move { pages.later(size(count)).await }).await
    }

    /// Ends it. A call to the listener that is under way comes to its end; [`finished`](Self::finished) says when.
    pub fn cancel(&self) {
        self.subscription.cancel();
    }

    /// Returns when the listener is not called any more: it was cancelled, or the node was shut down.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if it ended because the listener threw something, or what the disk had to say.
    pub async fn finished(&self) -> Result<(), ClaveError> {
        self.subscription.finished().await
    }
}

impl Draft {
    fn known(self) -> Result<clave::Draft, ClaveError> {
        let attachment = |attachment: &Attachment| {
            let node = parse(&attachment.file, "file")?;
            Ok(clave::Attachment { node, name: attachment.name.clone(), bytes: attachment.bytes })
        };
        let mentions: Vec<clave::PersonId> = parse_all(&self.mentions, "person")?;
        Ok(clave::Draft {
            reply_to: parse_if(self.reply_to.as_ref(), "message")?,
            mentions: mentions.iter().map(|person| *person.as_bytes()).collect(),
            attachments: self.attachments.iter().map(attachment).collect::<Result<_, ClaveError>>()?,
            body: self.body,
        })
    }
}

impl From<clave::Attachment> for Attachment {
    fn from(attachment: clave::Attachment) -> Self {
        Self { file: attachment.node.to_string(), name: attachment.name, bytes: attachment.bytes }
    }
}

impl From<ListDiff<clave::Message>> for TimelineDiff {
    fn from(step: ListDiff<clave::Message>) -> Self {
        let messages = |items: Vec<clave::Message>| items.into_iter().map(Message::from).collect();
        match step {
            ListDiff::Reset(items) => Self::Reset { items: messages(items) },
            ListDiff::Append(items) => Self::Append { items: messages(items) },
            ListDiff::Insert { index, item } => Self::Insert { index: count(index), item: item.into() },
            ListDiff::Set { index, item } => Self::Set { index: count(index), item: item.into() },
            ListDiff::Remove { index } => Self::Remove { index: count(index) },
        }
    }
}

impl From<clave::Message> for Message {
    fn from(message: clave::Message) -> Self {
        let reaction = |(text, by): (String, Vec<clave::Author>)| Reaction {
            text,
            by: by.into_iter().map(Author::from).collect(),
        };
        Self {
            id: message.id.to_string(),
            author: message.author.into(),
            sent_ms: message.sent_ms,
            body: message.body,
            reply_to: message.reply_to.map(|id| id.to_string()),
            mentions: message.mentions.iter().map(ToString::to_string).collect(),
            edited: message.edited,
            withdrawn: message.withdrawn,
            altered_by: message.altered_by.map(Author::from),
            reactions: message.reactions.into_iter().map(reaction).collect(),
            attachments: message.attachments.into_iter().map(Attachment::from).collect(),
            state: message.state.map(MessageState::from),
        }
    }
}

impl From<clave::MessageState> for MessageState {
    fn from(state: clave::MessageState) -> Self {
        match state {
            clave::MessageState::Relayed => Self::Relayed,
            clave::MessageState::Delivered { people, devices, everybody } => {
                Self::Delivered { people: count(people), devices: count(devices), everybody }
            }
            clave::MessageState::Failed { error, retryable } => Self::Failed { error: error.to_string(), retryable },
            // What a later version tells apart.
            _ => Self::Queued,
        }
    }
}

impl From<clave::Author> for Author {
    fn from(author: clave::Author) -> Self {
        Self {
            person: author.person.map(|person| person.to_string()),
            device: author.device.map(|device| device.to_string()),
            name: author.name,
            is_me: author.is_me,
        }
    }
}
