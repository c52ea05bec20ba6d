//! A circle: an audience inside a space, and what it works on.

use std::sync::Arc;

use crate::convert::{count, parse, parse_if};
use crate::session::Session;
use crate::{Calendar, ClaveError, Drive, Note, Preview, Scope, Suite, Timeline};

/// A circle this device is in: everybody of a space, a private channel, a department, a chat of two.
#[derive(uniffi::Object)]
pub struct Circle {
    pub(crate) session: Arc<Session>,
    pub(crate) circle: clave::Circle,
}

/// A circle, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CircleInfo {
    /// Its id, the same on every device.
    pub id: String,
    /// The id of the space it belongs to; its own, if it is that of everybody.
    pub space: String,
    /// What it is called. Of a chat of two: the other's name.
    pub name: String,
    /// Who can be in it.
    pub scope: Scope,
    /// By what its keys are agreed on.
    pub suite: Suite,
    /// Whether it is a chat of two.
    pub direct: bool,
    /// How many people are in it.
    pub people: u32,
    /// Whether this device was removed from it: what it had stays readable, nothing more arrives.
    pub removed: bool,
}

/// A note, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NoteInfo {
    /// Its id, the same on every device.
    pub id: String,
    /// Its title; empty when nobody gave one.
    pub title: String,
}

/// Keys and entries of a circle, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CircleStatus {
    /// The id of the epoch under which entries are sealed now.
    pub epoch: String,
    /// By what its keys were agreed on.
    pub suite: Suite,
    /// How many commits led to the keys in use.
    pub depth: u64,
    /// Devices that hold them.
    pub leaves: u32,
    /// Entries that are here.
    pub entries: u32,
    /// Of these, entries that wait for a key or for another entry.
    pub held: u32,
    /// Changes that are not shown because of who wrote them.
    pub set_aside: u32,
    /// Changes that wait for another that they build on, or because their author wrote two in one place.
    pub waiting: u32,
    /// Whether this device was restored and has not been let in yet: it reads, and writes nothing.
    pub rejoining: bool,
}

impl Circle {
    pub(crate) fn new(session: Arc<Session>, circle: clave::Circle) -> Self {
        Self { session, circle }
    }

    /// Does something with the circle on the node's threads.
    pub(crate) async fn run<T: Send + 'static, F: Future<Output = Result<T, clave::Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(clave::Circle) -> F,
    ) -> Result<T, ClaveError> {
        self.session.run(work(self.circle.clone())).await
    }
}

#[uniffi::export]
impl Circle {
    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> String {
        self.circle.id().to_string()
    }

    /// The id of the space it belongs to: its own, if it is that of everybody.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn space(&self) -> Result<String, ClaveError> {
        Ok(self.run(|circle| async move { circle.space().await }).await?.to_string())
    }

    /// Its name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn name(&self) -> Result<String, ClaveError> {
        self.run(|circle| async move { circle.name().await }).await
    }

    /// The chat.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline::new(self.session.clone(), self.circle.timeline())
    }

    /// The files.
    #[must_use]
    pub fn drive(&self) -> Drive {
        Drive::new(self.session.clone(), self.circle.drive())
    }

    /// The calendar.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        Calendar::new(self.session.clone(), self.circle.calendar())
    }

    /// The notes, by title.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn notes(&self) -> Result<Vec<NoteInfo>, ClaveError> {
        let notes = self.run(|circle| async move { circle.notes().await }).await?;
        Ok(notes.into_iter().map(|note| NoteInfo { id: note.id.to_string(), title: note.title }).collect())
    }

    /// A new note.
    ///
    /// # Errors
    /// If the title is too long, or the disk refuses.
    pub async fn create_note(&self, title: String) -> Result<Note, ClaveError> {
        let note = self.run(|circle| async move { circle.create_note(&title).await }).await?;
        Ok(Note::new(self.session.clone(), note))
    }

    /// A note by its id.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`] if it is not here, or not here yet.
    pub async fn note(&self, id: String) -> Result<Note, ClaveError> {
        let id = parse(&id, "note")?;
        let note = self.run(|circle| async move { circle.note(id).await }).await?;
        Ok(Note::new(self.session.clone(), note))
    }

    /// What was said last here, and what is unread.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`], or what the disk has to say.
    pub async fn preview(&self) -> Result<Preview, ClaveError> {
        Ok(self.run(|circle| async move { circle.preview().await }).await?.into())
    }

    /// Notes that this person has read everything up to a message; everything there is, if none is named. Their other
    /// devices are told; nobody else is.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`], or if the disk refuses.
    #[uniffi::method(default(up_to = None))]
    pub async fn mark_read(&self, up_to: Option<String>) -> Result<(), ClaveError> {
        let up_to = parse_if(up_to.as_ref(), "message")?;
        self.run(|circle| async move { circle.mark_read(up_to).await }).await
    }

    /// Keys and entries, in numbers.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn status(&self) -> Result<CircleStatus, ClaveError> {
        let status = self.run(|circle| async move { circle.status().await }).await?;
        Ok(CircleStatus {
            epoch: status.epoch.to_string(),
            suite: Suite::of(status.suite),
            depth: status.depth,
            leaves: count(status.leaves),
            entries: count(status.entries),
            held: count(status.held),
            set_aside: count(status.set_aside),
            waiting: count(status.waiting),
            rejoining: status.rejoining,
        })
    }
}

impl From<clave::CircleInfo> for CircleInfo {
    fn from(circle: clave::CircleInfo) -> Self {
        Self {
            id: circle.id.to_string(),
            space: circle.space.to_string(),
            name: circle.name,
            scope: circle.scope.into(),
            suite: Suite::of(circle.suite),
            direct: circle.direct,
            people: count(circle.people),
            removed: circle.removed,
        }
    }
}
