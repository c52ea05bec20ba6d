//! Who else is in a note just now, and who is writing in a chat.

use std::sync::Arc;

use clave::PresenceUpdates;

use crate::convert::{count, size};
use crate::observer::{Observers, Source};
use crate::{ClaveError, Note, Subscription, Timeline};

/// Where somebody is in a note, in Unicode code points of its text. Both are the same if nothing is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Selected {
    /// Where the selection was begun.
    pub anchor: u32,
    /// Where the cursor is.
    pub focus: u32,
}

/// A device of somebody who is in a note, or writes in a chat, just now.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Present {
    /// The id of the person.
    pub person: String,
    /// What to show.
    pub name: String,
    /// The id of the device.
    pub device: String,
    /// Whether it is the person this device belongs to, by another one.
    pub is_me: bool,
    /// A number from 0 to 11, the same for a person wherever they are shown: which of an app's colours is theirs.
    pub colour: u8,
    /// Where in the note; nothing if they only look at it, or are where something was written that has not arrived here.
    pub selection: Option<Selected>,
}

/// Hears who is there.
#[uniffi::export(foreign)]
pub trait PresenceListener: Send + Sync {
    /// Everybody who is there now; the first call comes at once. Calls come one at a time, on a thread of the node's; who is
    /// slow misses states, never the last.
    ///
    /// # Errors
    /// Whatever it throws ends its subscription, and nothing else; [`Subscription::finished`] tells.
    fn on_presence(&self, present: Vec<Present>) -> Result<(), ClaveError>;
}

impl Source for PresenceUpdates {
    type Batch = Vec<clave::Present>;

    async fn next(&mut self) -> Result<Self::Batch, clave::Error> {
        PresenceUpdates::next(self).await
    }
}

#[uniffi::export]
impl Note {
    /// Shows others who are connected that this person is in the note: with what they selected in the text as it is here now,
    /// or only looking at it. Call it as often as something changes: others are told at most four times a second. It holds
    /// until [`leave`](Self::leave), or until the node pauses; nothing of it is stored, and no relay sees it.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if a position is beyond the end; [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn set_selection(&self, selection: Option<Selected>) -> Result<(), ClaveError> {
        let selection = selection.map(|at| clave::Selected { anchor: size(at.anchor), focus: size(at.focus) });
        self.run(|note| async move { note.set_selection(selection).await }).await
    }

    /// Shows others that this person is no longer in the note. Harmless if they were not.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn leave(&self) -> Result<(), ClaveError> {
        self.run(|note| async move { note.leave().await }).await
    }

    /// Who else is in the note just now, by name: devices of members who are connected.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn present(&self) -> Result<Vec<Present>, ClaveError> {
        Ok(all(self.run(|note| async move { note.present().await }).await?))
    }

    /// Tells `listener` who else is in the note, and again each time somebody comes, goes or moves, or what is written moves
    /// them.
    #[must_use]
    pub fn observe_presence(&self, listener: Arc<dyn PresenceListener>) -> Subscription {
        let tell = move |present| listener.on_presence(all(present));
        Observers::begin(&self.session, self.note.presence(), tell)
    }
}

#[uniffi::export]
impl Timeline {
    /// Shows others who are connected that this person is writing, or stopped. Call it at each key: it ends by itself six
    /// seconds after the last call, and when a message is posted. Nothing of it is stored, and no relay sees it.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn set_typing(&self, typing: bool) -> Result<(), ClaveError> {
        let timeline = self.timeline.clone();
        self.session.run(async move { timeline.set_typing(typing).await }).await
    }

    /// Who else is writing just now, by name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn typing(&self) -> Result<Vec<Present>, ClaveError> {
        let timeline = self.timeline.clone();
        Ok(all(self.session.run(async move { timeline.typing().await }).await?))
    }

    /// Tells `listener` who else is writing, and again each time somebody begins or stops.
    #[must_use]
    pub fn observe_typing(&self, listener: Arc<dyn PresenceListener>) -> Subscription {
        let tell = move |present| listener.on_presence(all(present));
        Observers::begin(&self.session, self.timeline.observe_typing(), tell)
    }
}

fn all(present: Vec<clave::Present>) -> Vec<Present> {
    present.into_iter().map(Present::from).collect()
}

impl From<clave::Present> for Present {
    fn from(present: clave::Present) -> Self {
        let selection = present.selection.map(|at| Selected { anchor: count(at.anchor), focus: count(at.focus) });
        Self {
            person: present.person.to_string(),
            name: present.name,
            device: present.device.to_string(),
            is_me: present.is_me,
            colour: present.colour,
            selection,
        }
    }
}
