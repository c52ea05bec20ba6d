//! Which documents are to be read for the search index, and what of them can be found.
//!
//! Whatever may make a document look different marks it, in the batch that does so. A later step reads one of those that are
//! marked and brings the index to what it says, in one batch with the removal of the mark. So it is known what is to be read, after a
//! crash too, and a document that takes in a thousand changes is read once.

use clave_crdt::{Actor, CrdtError, Event as CalendarEvent};

use super::*;
use crate::entry::HOUR_MS;
use crate::search::{self, Index, Item, Staged};

type Name = (DocumentId, DocumentKind);

/// Where blocks of a note begin, and where images are.
const OBJECT: char = '\u{fffc}';

impl Circle {
    /// Notes that a document may say something else.
    pub(super) fn mark_unsearched(&self, name: Name, desk: &mut Desk) {
        desk.put(search::dirty_key(self.id, &name), Vec::new());
    }

    /// When it cannot be told which documents say something else.
    pub(super) fn mark_all_unsearched(&self, desk: &mut Desk) {
        self.documents.keys().for_each(|name| self.mark_unsearched(*name, desk));
    }

    /// Marks documents that were never read: they are from an import, or from before there was an index.
    pub(super) fn open_searching(&self, desk: &mut Desk) -> Result<(), EngineError> {
        let [known, marked] = search::documents(self.id, &desk.store)?;
        for name in self.documents.keys().filter(|name| !known.contains(name) && !marked.contains(name)) {
            self.mark_unsearched(*name, desk);
        }
        Ok(())
    }

    /// Takes a document that is gone out of the index.
    pub(super) fn forget_searched(&self, name: Name, desk: &mut Desk) -> Result<(), EngineError> {
        self.write_index(desk, |index| {
            index.forget(name)?;
            index.unmark(&name)
        })
    }

    /// Reads a marked document, or merges what was read before. How much there is left to do: documents, and one more if there
    /// is something to merge.
    pub(crate) fn index_next(&mut self, desk: &mut Desk) -> Result<usize, EngineError> {
        let [_, marked] = search::documents(self.id, &desk.store)?;
        let Some(name) = marked.first().copied() else {
            let mut more = false;
            self.write_index(desk, |index| {
                more = index.step()?;
                Ok(())
            })?;
            // If it was damaged, everything is to be read again.
            let [_, marked] = search::documents(self.id, &desk.store)?;
            return Ok(usize::from(more).max(marked.len()));
        };
        if !self.documents.contains_key(&name) {
            self.forget_searched(name, desk)?;
            return Ok(marked.len());
        }
        let items = self.items(name, desk)?;
        self.write_index(desk, |index| {
            index.replace(name, items)?;
            index.unmark(&name)?;
            index.step().map(drop)
        })?;
        Ok(marked.len())
    }

    /// Changes the index. If it is damaged, begins it anew.
    fn write_index(
        &self,
        desk: &mut Desk,
        change: impl FnOnce(&mut Index<'_>) -> Result<(), crate::ReadError>,
    ) -> Result<(), EngineError> {
        let staged = Index::open(self.id, &desk.store).and_then(|mut index| {
            change(&mut index)?;
            index.finish()
        });
        match staged {
            Ok(staged) => write(staged, desk),
            Err(crate::ReadError::Damaged) => {
                tracing::error!(circle = %self.id.short(), "the search index is damaged; it is made anew");
                write(search::clear(self.id, &desk.store)?, desk);
                self.mark_all_unsearched(desk);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What can be found of a document.
    fn items(&mut self, name: Name, desk: &mut Desk) -> Result<Vec<Item>, EngineError> {
        let (id, kind) = name;
        let time_ms = self.documents.get(&name).map_or(0, |record| u64::from(record.newest_hour) * HOUR_MS);
        self.document(id, kind, desk)?;
        let Self { loaded, log, .. } = self;
        let Some(loaded) = loaded.get_mut(&name) else { return Ok(Vec::new()) };
        let document = loaded.document_mut();
        match kind {
            DocumentKind::Timeline => messages(document, log),
            DocumentKind::Note => {
                let note = document.note()?;
                let text = format!("{}\n{}", note.title(), note.text()?.replace(OBJECT, "\n"));
                Ok(vec![Item { id: Vec::new(), author: Actor::GENESIS, time_ms, text: text.trim().to_owned() }])
            }
            DocumentKind::Calendar => Ok(document.calendar()?.events().into_iter().map(event).collect()),
            DocumentKind::Drive => Ok(files(document)?),
            _ => Ok(Vec::new()),
        }
    }
}

fn write(staged: Staged, desk: &mut Desk) {
    for (key, value) in staged {
        match value {
            Some(value) => desk.put(key, value),
            None => desk.remove(key),
        }
    }
}

/// Messages that were not withdrawn, with the names of files that are attached to them.
fn messages(document: &mut Document, log: &Log) -> Result<Vec<Item>, EngineError> {
    let person = |actor: &Actor| {
        let bound = |rest: u8| {
            let mut bytes = [rest; 32];
            bytes[..16].copy_from_slice(&actor.device_prefix());
            DeviceId::from_bytes(bytes)
        };
        let (device, _) = log.membership().stays.range(bound(0)..=bound(u8::MAX)).next()?;
        log.person_of(*device)
    };
    let same_person = |a: &Actor, b: &Actor| a.same_author(b) || person(a).is_some_and(|own| person(b) == Some(own));
    let messages = document.timeline()?.with_persons(&same_person).messages(..);
    let item = |message: clave_crdt::Message| {
        let names = message.attachments.iter().map(|file| file.name.as_str());
        let text = std::iter::once(message.body.as_str()).chain(names).collect::<Vec<_>>().join("\n");
        // Whoever altered it has said it.
        let author = message.altered_by.unwrap_or(message.author);
        Item { id: message.id.as_bytes().to_vec(), author, time_ms: message.sent_ms, text: text.trim().to_owned() }
    };
    Ok(messages.into_iter().map(item).collect())
}

/// An event with all that is said of it, at the time when it first begins.
fn event(event: CalendarEvent) -> Item {
    let which = event.recurrence_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let people = event.attendees.iter().flat_map(|attendee| [attendee.name.as_str(), attendee.address.as_str()]);
    let parts = [event.summary.as_str(), &event.location, &event.description].into_iter().chain(people);
    let start_ms = event.start.as_ref().map_or(0, clave_crdt::EventTime::about_ms);
    Item {
        id: format!("{}\0{which}", event.uid).into_bytes(),
        author: Actor::GENESIS,
        time_ms: u64::try_from(start_ms).unwrap_or_default(),
        text: parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"),
    }
}

/// The files that are not in the trash, by their names, at the time of their newest version.
fn files(document: &mut Document) -> Result<Vec<Item>, CrdtError> {
    let file = |node: clave_crdt::Node| Item {
        id: node.id.as_bytes().to_vec(),
        author: node.author,
        time_ms: node.current.as_ref().map_or(0, |version| version.file.modified_ms),
        text: node.name,
    };
    Ok(document.drive()?.files().into_iter().map(file).collect())
}
