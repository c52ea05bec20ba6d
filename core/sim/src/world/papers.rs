//! What people write in notes and calendars, where they get into each other's way.

use clave_engine::crdt::{ChangeHash, CrdtError, Document, DocumentKind, Event, EventDraft, EventPatch};
use clave_engine::{CircleId, DocumentId, EngineError};

use super::World;
use crate::{Content, Who, Written};

/// The one note of a circle.
fn note(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Note, 0)
}

/// The one calendar of a circle.
fn calendar(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Calendar, 0)
}

/// A note as somebody opened it in an editor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenNote {
    heads: Vec<ChangeHash>,
    /// The text as Markdown.
    pub markdown: String,
}

impl World {
    /// Deletes some characters of the note at a position and inserts others.
    ///
    /// # Errors
    /// Those of [`Engine::edit`](clave_engine::Engine::edit), as of everything here that writes.
    pub fn splice(
        &mut self,
        who: Who,
        circle: CircleId,
        position: usize,
        delete: usize,
        insert: &str,
    ) -> Result<(), EngineError> {
        self.edit(who, circle, DocumentKind::Note, |document, _, _| document.note()?.splice(position, delete, insert))
    }

    /// Opens the note in an editor.
    pub fn open_note(&mut self, who: Who, circle: CircleId) -> OpenNote {
        let document = self.paper(who, circle, DocumentKind::Note);
        let heads = document.heads();
        OpenNote { heads, markdown: document.note().and_then(|note| note.markdown()).expect("it is a note") }
    }

    /// Saves what an editor made of an open note.
    ///
    /// # Errors
    /// As [`splice`](Self::splice).
    pub fn save_note(
        &mut self,
        who: Who,
        circle: CircleId,
        open: &OpenNote,
        markdown: &str,
    ) -> Result<(), EngineError> {
        self.edit(who, circle, DocumentKind::Note, |document, pieces, now_ms| {
            pieces.extend(document.note()?.edit_markdown(&open.heads, markdown, now_ms)?);
            Ok(())
        })
    }

    /// How long the note is, in characters.
    pub fn note_len(&mut self, who: Who, circle: CircleId) -> usize {
        self.paper(who, circle, DocumentKind::Note).note().expect("it is a note").len()
    }

    /// Adds an event to the calendar.
    ///
    /// # Errors
    /// As [`splice`](Self::splice).
    pub fn add_event(&mut self, who: Who, circle: CircleId, uid: &str, summary: &str) -> Result<(), EngineError> {
        let start = "2027-03-29T09:00:00Z".parse().expect("it is a time");
        let patch = EventPatch { summary: Some(summary.to_owned()), ..EventPatch::default() };
        let draft = EventDraft { uid: uid.to_owned(), start, patch };
        self.edit(who, circle, DocumentKind::Calendar, |document, _, now_ms| document.calendar()?.add(&draft, now_ms))
    }

    /// Changes fields of an event.
    ///
    /// # Errors
    /// As [`splice`](Self::splice).
    pub fn update_event(
        &mut self,
        who: Who,
        circle: CircleId,
        uid: &str,
        patch: &EventPatch,
    ) -> Result<(), EngineError> {
        self.edit(who, circle, DocumentKind::Calendar, |document, _, now_ms| {
            document.calendar()?.update(uid, patch, now_ms)
        })
    }

    /// Removes an event.
    ///
    /// # Errors
    /// As [`splice`](Self::splice).
    pub fn remove_event(&mut self, who: Who, circle: CircleId, uid: &str) -> Result<(), EngineError> {
        self.edit(who, circle, DocumentKind::Calendar, |document, _, _| document.calendar()?.remove(uid))
    }

    /// Imports iCalendar text.
    ///
    /// # Errors
    /// As [`splice`](Self::splice).
    pub fn import_events(&mut self, who: Who, circle: CircleId, text: &str) -> Result<(), EngineError> {
        self.edit(who, circle, DocumentKind::Calendar, |document, pieces, now_ms| {
            pieces.extend(document.calendar()?.import_ics(text, now_ms)?.changes);
            Ok(())
        })
    }

    /// The events of the calendar.
    pub fn events(&mut self, who: Who, circle: CircleId) -> Vec<Event> {
        self.paper(who, circle, DocumentKind::Calendar).calendar().expect("it is a calendar").events()
    }

    /// Takes over what is set aside in a document; how many changes that were.
    ///
    /// # Errors
    /// Those of [`Engine::vouch`](clave_engine::Engine::vouch).
    pub fn vouch(
        &mut self,
        who: Who,
        circle: CircleId,
        document: DocumentId,
        kind: DocumentKind,
    ) -> Result<usize, EngineError> {
        self.input(who, |engine, now| engine.vouch(circle, document, kind, now))
    }

    fn paper(&mut self, who: Who, circle: CircleId, kind: DocumentKind) -> &mut Document {
        let id = if kind == DocumentKind::Note { note(circle) } else { calendar(circle) };
        self.engine(who).document(circle, id, kind).expect("it is in there")
    }

    fn edit(
        &mut self,
        who: Who,
        circle: CircleId,
        kind: DocumentKind,
        edit: impl FnOnce(&mut Document, &mut Vec<Vec<u8>>, u64) -> Result<(), CrdtError>,
    ) -> Result<(), EngineError> {
        let document = if kind == DocumentKind::Note { note(circle) } else { calendar(circle) };
        self.command(who, |engine, now| {
            let before = engine.document(circle, document, kind)?.heads();
            engine.edit(circle, document, kind, now, |document, pieces| edit(document, pieces, now))?;
            // Whoever has just written stands before nothing else; who changed nothing wrote nothing, and what others wrote
            // is not theirs.
            let after = engine.document(circle, document, kind)?.heads();
            let change = after.first().copied().filter(|_| after != before);
            let written = |change| Written { circle, document, kind, content: Content::Change(change) };
            Ok(((), change.map(written)))
        })
    }
}
