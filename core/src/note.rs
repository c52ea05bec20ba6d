//! A note: rich text that several people write at once.

use clave_engine::crdt::{ChangeHash, Cursor, DocumentKind};
use clave_engine::{DocumentId, Event};

use crate::{Circle, Error, Happenings};

/// A note of a circle. Cheap to clone.
#[derive(Clone)]
pub struct Note {
    pub(crate) circle: Circle,
    pub(crate) id: DocumentId,
}

/// A note as it was at one moment, to be edited elsewhere and handed back to [`Note::edit_markdown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSnapshot {
    /// Its title.
    pub title: String,
    /// What it says, as Markdown.
    pub markdown: String,
    /// The bare text that positions count in, in code points; U+FFFC where a block begins.
    pub text: String,
    /// Which moment.
    pub heads: Vec<ChangeHash>,
}

impl Note {
    pub(crate) fn new(circle: Circle, id: DocumentId) -> Self {
        Self { circle, id }
    }

    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> DocumentId {
        self.id
    }

    /// The note as it is now.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn snapshot(&self) -> Result<NoteSnapshot, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .read(move |engine| {
                let document = engine.document(circle, id, DocumentKind::Note)?;
                let heads = document.heads();
                let note = document.note()?;
                Ok(NoteSnapshot { title: note.title(), markdown: note.markdown()?, text: note.text()?, heads })
            })
            .await
    }

    /// The bare text, with U+FFFC where blocks begin.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn text(&self) -> Result<String, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle.node.read(move |engine| Ok(engine.document(circle, id, DocumentKind::Note)?.note()?.text()?)).await
    }

    /// Gives it another title.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn set_title(&self, title: &str) -> Result<(), Error> {
        let (circle, id, title) = (self.circle.id, self.id, title.to_owned());
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, id, DocumentKind::Note, now, |document, _| document.note()?.set_title(&title))
            })
            .await
    }

    /// Merges a text that was edited elsewhere, since `opened_at`: what was changed there is changed here, what others
    /// changed meanwhile stays.
    ///
    /// # Errors
    /// If it is too long, `opened_at` is not of this note, or the disk refuses.
    pub async fn edit_markdown(&self, opened_at: &[ChangeHash], markdown: impl Into<String>) -> Result<(), Error> {
        let (circle, id, opened_at, markdown) = (self.circle.id, self.id, opened_at.to_vec(), markdown.into());
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, id, DocumentKind::Note, now, |document, done| {
                    done.extend(document.note()?.edit_markdown(&opened_at, &markdown, now)?);
                    Ok(())
                })
            })
            .await
    }

    /// Puts Markdown behind what is there.
    ///
    /// # Errors
    /// If it is too long, or the disk refuses.
    pub async fn append_markdown(&self, markdown: impl Into<String>) -> Result<(), Error> {
        let (circle, id, markdown) = (self.circle.id, self.id, markdown.into());
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, id, DocumentKind::Note, now, |document, done| {
                    done.extend(document.note()?.import_markdown(&markdown, now)?);
                    Ok(())
                })
            })
            .await
    }

    /// Deletes and inserts at positions in code points, one after the other, as one change. Returns the note's heads
    /// after it.
    ///
    /// # Errors
    /// If a position is beyond the end; then nothing changed.
    pub async fn splice(&self, splices: Vec<(usize, usize, String)>) -> Result<Vec<ChangeHash>, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, id, DocumentKind::Note, now, |document, _| {
                    let splices: Vec<(usize, usize, &str)> =
                        splices.iter().map(|(at, delete, insert)| (*at, *delete, insert.as_str())).collect();
                    document.note()?.splice_many(&splices)
                })?;
                Ok(engine.document(circle, id, DocumentKind::Note)?.heads())
            })
            .await
    }

    /// As [`splice`](Self::splice), on the text as it was at some heads: what an editor does whose view lags behind. The
    /// heads have to include all that this device wrote before. Returns the heads of the version that this makes, without
    /// what came since.
    ///
    /// # Errors
    /// If the heads are not in the note or leave out what this device wrote, a position is beyond the end of that
    /// version's text, or the disk refuses; then nothing changed.
    pub async fn splice_at(
        &self,
        heads: Vec<ChangeHash>,
        splices: Vec<(usize, usize, String)>,
    ) -> Result<Vec<ChangeHash>, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, id, DocumentKind::Note, now, |document, done| {
                    let splices: Vec<(usize, usize, &str)> =
                        splices.iter().map(|(at, delete, insert)| (*at, *delete, insert.as_str())).collect();
                    let (change, made) = document.note()?.splice_at(&heads, &splices, now)?;
                    done.extend(change);
                    Ok(made)
                })
            })
            .await
    }

    /// Cursors at positions of the text. Each stays with the character that it stands before, whatever others write; one at the end stays
    /// at the end.
    ///
    /// # Errors
    /// If a position is beyond the end.
    pub async fn cursors(&self, positions: Vec<usize>) -> Result<Vec<Cursor>, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .read(move |engine| {
                let note = engine.document(circle, id, DocumentKind::Note)?.note()?;
                Ok(positions.into_iter().map(|position| note.cursor(position)).collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Where cursors are now. One whose character was deleted is at what came next.
    ///
    /// # Errors
    /// If one is not of this note.
    pub async fn positions(&self, cursors: Vec<Cursor>) -> Result<Vec<usize>, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .read(move |engine| {
                let note = engine.document(circle, id, DocumentKind::Note)?.note()?;
                Ok(cursors.iter().map(|cursor| note.position(cursor)).collect::<Result<_, _>>()?)
            })
            .await
    }

    /// The note as it is, and again each time it changed, whoever did it.
    #[must_use]
    pub fn observe(&self) -> NoteUpdates {
        NoteUpdates { note: self.clone(), happenings: self.circle.node.happenings(), shown: None }
    }

    /// Whether the note contains all of these changes.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn contains(&self, heads: Vec<ChangeHash>) -> Result<bool, Error> {
        let (circle, id) = (self.circle.id, self.id);
        self.circle
            .node
            .read(move |engine| {
                let document = engine.document(circle, id, DocumentKind::Note)?;
                Ok(heads.iter().all(|hash| document.contains(hash)))
            })
            .await
    }
}

/// States of an observed note; see [`Note::observe`].
pub struct NoteUpdates {
    note: Note,
    happenings: Happenings,
    shown: Option<Vec<ChangeHash>>,
}

impl NoteUpdates {
    /// The next state; one at the beginning, then one each time the note has changed. Who is slow misses states, never the
    /// last. Waits while the node is paused. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the node was shut down, or what the disk has to say.
    pub async fn next(&mut self) -> Result<NoteSnapshot, Error> {
        let (circle, id) = (self.note.circle.id, self.note.id);
        let concerns = |event: &Event| match event {
            Event::DocumentChanged { circle: of, document, .. } => (*of, *document) == (circle, id),
            // What somebody wrote may count no longer.
            Event::MembershipChanged { circle: of } => *of == circle,
            _ => false,
        };
        loop {
            if self.shown.is_some() {
                self.happenings.any(concerns).await?;
            }
            let note = self.note.clone();
            let now = self.happenings.read(|| note.snapshot()).await?;
            if self.shown.as_ref() != Some(&now.heads) {
                self.shown = Some(now.heads.clone());
                return Ok(now);
            }
        }
    }
}
