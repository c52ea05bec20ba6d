//! Notes: text that several people write at once.

use std::sync::Arc;

use clave::{Cursor, NoteUpdates};

use crate::convert::{count, hashes, hex, parse_all, size};
use crate::observer::{Observers, Source};
use crate::session::Session;
use crate::{ClaveError, Subscription};

/// A note of a circle.
#[derive(uniffi::Object)]
pub struct Note {
    pub(crate) session: Arc<Session>,
    pub(crate) note: clave::Note,
}

/// A note as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NoteSnapshot {
    /// Its title.
    pub title: String,
    /// What it says, as Markdown.
    pub markdown: String,
    /// The bare text that positions count in, in Unicode code points; U+FFFC where a block begins.
    pub text: String,
    /// Which moment: what an edit says that it was made on.
    pub version: Vec<String>,
}

/// One edit: at a position, in code points, so many are deleted and a text is inserted.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Splice {
    /// Where, from 0.
    pub position: u32,
    /// How many code points go.
    pub delete: u32,
    /// What comes in their place.
    pub insert: String,
}

/// Hears how a note changes.
#[uniffi::export(foreign)]
pub trait NoteListener: Send + Sync {
    /// The note as it is now; the first call comes at once. Calls come one at a time, on a thread of the node's; who is slow
    /// misses states, never the last.
    ///
    /// # Errors
    /// Whatever it throws ends its subscription, and nothing else; [`Subscription::finished`] tells.
    fn on_note(&self, note: NoteSnapshot) -> Result<(), ClaveError>;
}

impl Source for NoteUpdates {
    type Batch = clave::NoteSnapshot;

    async fn next(&mut self) -> Result<Self::Batch, clave::Error> {
        NoteUpdates::next(self).await
    }
}

impl Note {
    pub(crate) fn new(session: Arc<Session>, note: clave::Note) -> Self {
        Self { session, note }
    }

    pub(crate) async fn run<T: Send + 'static, F: Future<Output = Result<T, clave::Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(clave::Note) -> F,
    ) -> Result<T, ClaveError> {
        self.session.run(work(self.note.clone())).await
    }
}

#[uniffi::export]
impl Note {
    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> String {
        self.note.id().to_string()
    }

    /// The note as it is now.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn snapshot(&self) -> Result<NoteSnapshot, ClaveError> {
        Ok(self.run(|note| async move { note.snapshot().await }).await?.into())
    }

    /// Gives it another title.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn set_title(&self, title: String) -> Result<(), ClaveError> {
        self.run(|note| async move { note.set_title(&title).await }).await
    }

    /// Puts Markdown behind what is there.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn append_markdown(&self, markdown: String) -> Result<(), ClaveError> {
        self.run(|note| async move { note.append_markdown(markdown).await }).await
    }

    /// Merges a text that was edited elsewhere since `version` of a snapshot: what was changed there is changed here, what
    /// others changed meanwhile stays.
    ///
    /// # Errors
    /// If it is too long, `version` is not of this note, or the disk refuses.
    pub async fn edit_markdown(&self, version: Vec<String>, markdown: String) -> Result<(), ClaveError> {
        let version = hashes(&version)?;
        self.run(|note| async move { note.edit_markdown(&version, markdown).await }).await
    }

    /// Does edits, one after the other, as one change, on the text as it was at `version` of a snapshot or of an earlier
    /// edit: what an editor does whose view lags behind. Returns the version that this makes, without what came since.
    ///
    /// # Errors
    /// If `version` is not of this note or leaves out what this device wrote, a position is beyond the end of that
    /// version's text, or the disk refuses; then nothing changed.
    pub async fn edit(&self, version: Vec<String>, splices: Vec<Splice>) -> Result<Vec<String>, ClaveError> {
        let version = hashes(&version)?;
        let splices = splices.into_iter().map(|splice| (size(splice.position), size(splice.delete), splice.insert));
        let splices = splices.collect();
        let made = self.run(|note| async move { note.splice_at(version, splices).await }).await?;
        Ok(made.iter().map(|hash| hex(hash)).collect())
    }

    /// Cursors at positions of the text. Each stays with the character that it stands before, whatever others write; one at
    /// the end stays at the end.
    ///
    /// # Errors
    /// If a position is beyond the end.
    pub async fn cursors(&self, positions: Vec<u32>) -> Result<Vec<String>, ClaveError> {
        let positions = positions.into_iter().map(size).collect();
        let cursors = self.run(|note| async move { note.cursors(positions).await }).await?;
        Ok(cursors.iter().map(ToString::to_string).collect())
    }

    /// Where cursors are now. One whose character was deleted is at what came next.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if one is no cursor, or not of this note.
    pub async fn positions(&self, cursors: Vec<String>) -> Result<Vec<u32>, ClaveError> {
        let cursors: Vec<Cursor> = parse_all(&cursors, "cursor")?;
        let positions = self.run(|note| async move { note.positions(cursors).await }).await?;
        Ok(positions.into_iter().map(count).collect())
    }

    /// Tells `listener` the note, and again each time it changed, whoever did it, until the subscription is cancelled or the
    /// node is shut down.
    #[must_use]
    pub fn observe(&self, listener: Arc<dyn NoteListener>) -> Subscription {
        let tell = move |note: clave::NoteSnapshot| listener.on_note(note.into());
        Observers::begin(&self.session, self.note.observe(), tell)
    }
}

impl From<clave::NoteSnapshot> for NoteSnapshot {
    fn from(note: clave::NoteSnapshot) -> Self {
        let version = note.heads.iter().map(|hash| hex(hash)).collect();
        Self { title: note.title, markdown: note.markdown, text: note.text, version }
    }
}
