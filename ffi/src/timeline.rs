//! The chat of a space, and how to watch it.

use std::sync::{Arc, Mutex, PoisonError};

use clave::{ListDiff, TimelineUpdates};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use crate::ClaveError;
use crate::session::Session;

/// The chat of a space.
#[derive(uniffi::Object)]
pub struct Timeline {
    session: Arc<Session>,
    timeline: clave::Timeline,
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

/// A listener at work. Keep it: when it is let go of, the listener is not called any more.
#[derive(uniffi::Object)]
pub struct Subscription {
    /// Dropping it is what cancels.
    running: Mutex<Option<oneshot::Sender<()>>>,
    finished: watch::Receiver<Option<Result<(), ClaveError>>>,
    _session: Arc<Session>,
}

impl Timeline {
    pub(crate) fn new(session: Arc<Session>, timeline: clave::Timeline) -> Self {
        Self { session, timeline }
    }
}

#[uniffi::export]
impl Timeline {
    /// Posts a message of plain text and returns its id, once it is durable here; it is sent to whoever is connected,
    /// and to the others when they are.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn send(&self, body: String) -> Result<String, ClaveError> {
        let timeline = self.timeline.clone();
        Ok(self.session.run(async move { timeline.send(body).await }).await?.to_string())
    }

    /// The newest messages, oldest first; of those before the message `before`, if that is given.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `before` is no id, [`ClaveError::Stopped`].
    #[uniffi::method(default(before = None))]
    pub async fn history(&self, count: u32, before: Option<String>) -> Result<Vec<Message>, ClaveError> {
        let before = before.map(|id| id.parse().map_err(|_| ClaveError::not_an_id("message"))).transpose()?;
        let (timeline, count) = (self.timeline.clone(), usize::try_from(count).unwrap_or(usize::MAX));
        let messages = self.session.run(async move { timeline.history(count, before).await }).await?;
        Ok(messages.into_iter().map(Message::from).collect())
    }

    /// Tells `listener` the `count` newest messages, and then everything that happens to them and after them, until the
    /// subscription is cancelled or the node is shut down.
    #[must_use]
    pub fn observe(&self, count: u32, listener: Arc<dyn TimelineListener>) -> Subscription {
        let updates = self.timeline.observe(usize::try_from(count).unwrap_or(usize::MAX));
        let (running, cancelled) = oneshot::channel();
        let (ended, finished) = watch::channel(None);
        self.session.handle().spawn(async move {
            let result = tell(updates, listener, cancelled).await;
            ended.send_replace(Some(result));
        });
        Subscription { running: Mutex::new(Some(running)), finished, _session: self.session.clone() }
    }
}

#[uniffi::export]
impl Subscription {
    /// Ends it. A call to the listener that is under way comes to its end; [`finished`](Self::finished) says when.
    pub fn cancel(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns when the listener is not called any more: it was cancelled, or the node was shut down.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if it ended because the listener threw something, or what the disk had to say.
    pub async fn finished(&self) -> Result<(), ClaveError> {
        let mut finished = self.finished.clone();
        // It is closed without a word if the node's threads ended first.
        finished.wait_for(Option::is_some).await.map_or(Ok(()), |end| end.clone().unwrap_or(Ok(())))
    }
}

/// Calls the listener until it is over. Nothing is locked while it is called, and no worker waits for it.
async fn tell(
    mut updates: TimelineUpdates,
    listener: Arc<dyn TimelineListener>,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<(), ClaveError> {
    loop {
        let steps = tokio::select! {
            biased;
            _ = &mut cancelled => return Ok(()),
            steps = updates.next() => match steps {
                Err(clave::Error::Stopped) => return Ok(()),
                steps => steps?,
            },
        };
        let diffs = steps.into_iter().map(TimelineDiff::from).collect();
        let listener = listener.clone();
        let heard = spawn_blocking(move || listener.on_update(diffs)).await;
        heard.unwrap_or_else(|panic| Err(ClaveError::listener_failed(&panic.to_string())))?;
    }
}

impl From<ListDiff<clave::Message>> for TimelineDiff {
    fn from(step: ListDiff<clave::Message>) -> Self {
        let messages = |items: Vec<clave::Message>| items.into_iter().map(Message::from).collect();
        let place = |index| u32::try_from(index).expect("nobody shows four thousand million messages");
        match step {
            ListDiff::Reset(items) => Self::Reset { items: messages(items) },
            ListDiff::Append(items) => Self::Append { items: messages(items) },
            ListDiff::Insert { index, item } => Self::Insert { index: place(index), item: item.into() },
            ListDiff::Set { index, item } => Self::Set { index: place(index), item: item.into() },
            ListDiff::Remove { index } => Self::Remove { index: place(index) },
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
