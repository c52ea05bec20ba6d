//! All circles at a glance, and everything else that happens, in one place.

use std::sync::Arc;

use clave::{Event, Happenings, InboxUpdates, ListDiff};

use crate::convert::count;
use crate::observer::{Observers, Source};
use crate::{CircleInfo, ClaveError, DocumentKind, Node, Subscription};

/// A circle, as a list of conversations shows it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct InboxItem {
    /// The circle. That of everybody in a space has the space's name.
    pub circle: CircleInfo,
    /// What was said last in it, and what is unread.
    pub preview: Preview,
}

/// What was said last in a circle, and what is unread.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Preview {
    /// The last message that is not withdrawn.
    pub newest: Option<PreviewMessage>,
    /// Messages of others that this person has not read.
    pub unread: u32,
    /// Of these, those that name this person.
    pub mentions: u32,
    /// Messages in all.
    pub messages: u32,
    /// The id of the last message that this person has read, if they have read any.
    pub read: Option<String>,
    /// Whether all that is here is counted. If not, the rest follows within seconds.
    pub current: bool,
}

/// The beginning of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PreviewMessage {
    /// The id of the message.
    pub id: String,
    /// The id of the person who wrote it, if that is known.
    pub author: Option<String>,
    /// How its author is called.
    pub name: String,
    /// The beginning of what it says, in one line.
    pub text: String,
}

/// One step from the former state of the inbox to the next.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum InboxDiff {
    /// Forget what you have: this is the list.
    Reset {
        /// All, those first in which something was said last.
        items: Vec<InboxItem>,
    },
    /// Put these behind the last.
    Append {
        /// What.
        items: Vec<InboxItem>,
    },
    /// Put this before what stands at the index.
    Insert {
        /// Where, from 0.
        index: u32,
        /// What.
        item: InboxItem,
    },
    /// Replace what stands at the index.
    Set {
        /// Where, from 0.
        index: u32,
        /// By what.
        item: InboxItem,
    },
    /// Take out what stands at the index.
    Remove {
        /// Where, from 0.
        index: u32,
    },
}

/// Hears how the inbox changes.
#[uniffi::export(foreign)]
pub trait InboxListener: Send + Sync {
    /// Steps to do one after the other, never none; the first ever is `Reset`. Calls come one at a time, on a thread of the
    /// node's.
    ///
    /// # Errors
    /// Whatever it throws ends its subscription, and nothing else; [`Subscription::finished`] tells.
    fn on_inbox(&self, diffs: Vec<InboxDiff>) -> Result<(), ClaveError>;
}

/// Something that happened. Ask again for what is shown of it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Change {
    /// Anything may have, as while the node was paused.
    Everything,
    /// A document changed, here or elsewhere.
    Document {
        /// The id of its circle.
        circle: String,
        /// The id of the document: of a note, its id.
        document: String,
        /// Of which kind.
        kind: DocumentKind,
    },
    /// People, devices, roles, policies or keys of a circle changed, or this device came into it or is out of it.
    Circle {
        /// The id of the circle.
        circle: String,
    },
    /// A member's device connected or left.
    Presence {
        /// The id of the device.
        device: String,
        /// Whether it is connected now.
        online: bool,
    },
    /// A verification began, came further, succeeded or came to nothing: ask for [`Node::verifications`].
    Verification {
        /// The id of the other device; of a success, nothing.
        device: Option<String>,
        /// The id of the person who is verified now.
        person: Option<String>,
    },
    /// A device asks to be linked to this device's person: answer with [`Node::confirm_link`].
    LinkRequested {
        /// By which code.
        link: String,
        /// The id of the device that asks.
        device: String,
        /// What it is called, by its own account.
        device_name: String,
        /// What it shows as well, unless somebody is between the two.
        pictures: Vec<String>,
    },
    /// An invitation that this device takes up came further, or was refused: ask for [`Node::pending_joins`]. Once this device is
    /// in, [`Change::Circle`] says so.
    Join {
        /// The id of the invitation.
        invitation: String,
        /// Why it was refused and what to do, as a sentence.
        refused: Option<String>,
    },
    /// A relay of this device's spaces has become wrong somehow, or is well again.
    Relay {
        /// The relay's key.
        relay: String,
        /// What is wrong and what to do, as a sentence; none if nothing is.
        error: Option<String>,
    },
    /// Being woken goes otherwise, or a circle was muted or is not any more: ask for [`Push::status`](crate::Push::status).
    Push,
    /// A guest's stay ends soon.
    GrantEnds {
        /// The id of the circle.
        circle: String,
        /// The id of the person.
        person: String,
        /// When, in Unix milliseconds.
        expires_ms: u64,
    },
}

/// Hears of everything that happens to a node.
#[uniffi::export(foreign)]
pub trait ChangeListener: Send + Sync {
    /// Calls come one at a time, on a thread of the node's. Who is slow is told [`Change::Everything`] instead of what was
    /// missed.
    ///
    /// # Errors
    /// Whatever it throws ends its subscription, and nothing else; [`Subscription::finished`] tells.
    fn on_change(&self, change: Change) -> Result<(), ClaveError>;
}

impl Source for InboxUpdates {
    type Batch = Vec<ListDiff<clave::InboxItem>>;

    async fn next(&mut self) -> Result<Self::Batch, clave::Error> {
        InboxUpdates::next(self).await
    }
}

impl Source for Happenings {
    type Batch = Change;

    async fn next(&mut self) -> Result<Change, clave::Error> {
        loop {
            match Happenings::next(self).await? {
                None => return Ok(Change::Everything),
                Some(event) => {
                    if let Some(change) = Change::of(event) {
                        return Ok(change);
                    }
                }
            }
        }
    }
}

#[uniffi::export]
impl Node {
    /// Every circle this device is in, those first in which something was said last.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`], or what the disk has to say.
    pub async fn inbox(&self) -> Result<Vec<InboxItem>, ClaveError> {
        let node = self.session.node().clone();
        let inbox = self.session.run(async move { node.inbox().await }).await?;
        Ok(inbox.into_iter().map(InboxItem::from).collect())
    }

    /// Tells `listener` the inbox, and then everything that happens to it.
    #[must_use]
    pub fn observe_inbox(&self, listener: Arc<dyn InboxListener>) -> Subscription {
        let tell = move |steps: Vec<ListDiff<clave::InboxItem>>| {
            listener.on_inbox(steps.into_iter().map(InboxDiff::from).collect())
        };
        Observers::begin(&self.session, self.session.node().observe_inbox(), tell)
    }

    /// Tells `listener` everything that happens from now on.
    #[must_use]
    pub fn observe(&self, listener: Arc<dyn ChangeListener>) -> Subscription {
        let tell = move |change| listener.on_change(change);
        Observers::begin(&self.session, self.session.node().happenings(), tell)
    }
}

impl Change {
    fn of(event: Event) -> Option<Self> {
        let in_circle = |circle: clave::CircleId| Self::Circle { circle: circle.to_string() };
        Some(match event {
            Event::DocumentChanged { circle, document, kind } => {
                let (circle, document) = (circle.to_string(), document.to_string());
                Self::Document { circle, document, kind: kind.into() }
            }
            Event::MembershipChanged { circle }
            | Event::ReadChanged { circle }
            | Event::EpochChanged { circle, .. }
            | Event::KeysConfirmed { circle, .. }
            | Event::Joined { circle, .. }
            | Event::CircleLinked { circle }
            | Event::CircleJoined { circle, .. }
            | Event::Rejoined { circle }
            | Event::Removed { circle } => in_circle(circle),
            Event::Presence { device, online } => Self::Presence { device: device.to_string(), online },
            Event::VerificationChanged { device, .. } | Event::VerificationFailed { device, .. } => {
                Self::Verification { device: Some(device.to_string()), person: None }
            }
            Event::PersonVerified { person, .. } => {
                Self::Verification { device: None, person: Some(person.to_string()) }
            }
            Event::LinkRequested { link, device, device_name, sas } => Self::LinkRequested {
                link: link.to_string(),
                device: device.to_string(),
                device_name,
                pictures: crate::verification::pictures(&sas),
            },
            Event::JoinAsked { invitation } | Event::JoinProgress { invitation, .. } => {
                Self::Join { invitation: invitation.to_string(), refused: None }
            }
            Event::JoinFailed { invitation, error } => {
                Self::Join { invitation: invitation.to_string(), refused: Some(error.to_string()) }
            }
            Event::RelayChanged { relay, error } => {
                Self::Relay { relay: relay.to_string(), error: error.map(|error| error.to_string()) }
            }
            Event::PushChanged { .. } | Event::MuteChanged { .. } => Self::Push,
            Event::GrantEnds { circle, person, expires_ms } => {
                Self::GrantEnds { circle: circle.to_string(), person: person.to_string(), expires_ms }
            }
            _ => return None,
        })
    }
}

impl From<ListDiff<clave::InboxItem>> for InboxDiff {
    fn from(step: ListDiff<clave::InboxItem>) -> Self {
        let all = |items: Vec<clave::InboxItem>| items.into_iter().map(InboxItem::from).collect();
        match step {
            ListDiff::Reset(items) => Self::Reset { items: all(items) },
            ListDiff::Append(items) => Self::Append { items: all(items) },
            ListDiff::Insert { index, item } => Self::Insert { index: count(index), item: item.into() },
            ListDiff::Set { index, item } => Self::Set { index: count(index), item: item.into() },
            ListDiff::Remove { index } => Self::Remove { index: count(index) },
        }
    }
}

impl From<clave::InboxItem> for InboxItem {
    fn from(item: clave::InboxItem) -> Self {
        Self { circle: item.circle.into(), preview: item.preview.into() }
    }
}

impl From<clave::Preview> for Preview {
    fn from(preview: clave::Preview) -> Self {
        Self {
            newest: preview.newest.map(PreviewMessage::from),
            read: preview.read.map(|message| message.to_string()),
            unread: count(preview.unread),
            mentions: count(preview.mentions),
            messages: count(preview.messages),
            current: preview.current,
        }
    }
}

impl From<clave::PreviewMessage> for PreviewMessage {
    fn from(message: clave::PreviewMessage) -> Self {
        Self {
            id: message.id.to_string(),
            author: message.author.map(|person| person.to_string()),
            name: message.name,
            text: message.text,
        }
    }
}
