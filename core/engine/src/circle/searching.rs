//! What of a document can be found, and keeping the search index like the documents, behind the mark of views.

use clave_crdt::{Actor, CrdtError, Event as CalendarEvent};

use super::views::{Followed, Name, People, Touched};
use super::*;
use crate::ReadError;
use crate::entry::HOUR_MS;
use crate::search::{self, Change, Index, Item};

/// Where blocks of a note begin, and where images are.
const OBJECT: char = '\u{fffc}';

/// What of a document can be found now.
pub(super) enum Searched {
    /// All of it.
    All(Vec<Item>),
    /// What was touched.
    Touched(Vec<Change>),
}

impl Searched {
    /// Takes it into the index.
    pub(super) fn take_in(self, name: Name, index: &mut Index<'_>) -> Result<(), ReadError> {
        match self {
            Self::All(items) => index.replace(name, items),
            Self::Touched(changes) => index.update(name, changes),
        }
    }

    /// For checks: whether the index has all of it, and nothing else of the document.
    pub(super) fn is_in(&self, name: Name, circle: CircleId, desk: &Desk) -> Result<bool, EngineError> {
        let Self::All(items) = self else { return Ok(false) };
        Ok(Index::open(circle, &desk.store)?.is_like(name, items)?)
    }
}

impl Circle {
    /// Takes a document that is gone out of the index.
    pub(super) fn forget_searched(&mut self, name: Name, desk: &mut Desk) -> Result<(), EngineError> {
        self.write_index(desk, |index| index.forget(name)).map(drop)
    }

    /// Merges segments, one step.
    pub(super) fn merge_index(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        self.write_index(desk, |index| index.step().map(drop)).map(drop)
    }

    /// Changes the index. Whether it could; if it is damaged, it is begun anew.
    pub(super) fn write_index(
        &mut self,
        desk: &mut Desk,
        change: impl FnOnce(&mut Index<'_>) -> Result<(), ReadError>,
    ) -> Result<bool, EngineError> {
        let written = Index::open(self.id, &desk.store).and_then(|mut index| {
            change(&mut index)?;
            index.finish()
        });
        match written {
            Ok((staged, more)) => {
                self.views.merging = more;
                desk.put_all(staged);
                Ok(true)
            }
            Err(ReadError::Damaged) => self.begin_index_anew(desk).map(|()| false),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops a damaged index. It is made anew as the documents are derived from.
    pub(crate) fn begin_index_anew(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        tracing::error!(circle = %self.id.short(), "the search index is damaged; it is made anew");
        desk.put_all(search::clear(self.id, &desk.store)?);
        self.views.merging = false;
        self.make_all_stale(desk);
        Ok(())
    }
}

/// What of a document can be found, as far as it is to be derived anew.
pub(super) fn searched(followed: &mut Followed<'_>) -> Result<Searched, EngineError> {
    let Followed { name, document, touched, people, newest_hour } = followed;
    Ok(Searched::All(match (name.1, touched) {
        (DocumentKind::Timeline, touched) => return messages(document, touched, *people),
        (DocumentKind::Note, _) => {
            let note = document.note()?;
            let text = format!("{}\n{}", note.title(), note.text()?.replace(OBJECT, "\n"));
            let time_ms = u64::from(*newest_hour) * HOUR_MS;
            vec![Item { id: Vec::new(), author: Actor::GENESIS, time_ms, text: text.trim().to_owned() }]
        }
        (DocumentKind::Calendar, _) => document.calendar()?.events().into_iter().map(event).collect(),
        (DocumentKind::Drive, _) => files(document)?,
        _ => Vec::new(),
    }))
}

/// Messages with the names of files that are attached to them. Of withdrawn ones there is no text left, and so nothing to find.
fn messages(document: &mut Document, touched: &Touched, people: People<'_>) -> Result<Searched, EngineError> {
    let same_person = |a: &Actor, b: &Actor| people.same_person(a, b);
    let timeline = document.timeline()?.with_persons(&same_person);
    let item = |message: clave_crdt::Message| {
        let names = message.attachments.iter().map(|file| file.name.as_str());
        let text = std::iter::once(message.body.as_str()).chain(names).collect::<Vec<_>>().join("\n");
        // Whoever altered it has said it.
        let author = message.altered_by.unwrap_or(message.author);
        Item { id: message.id.as_bytes().to_vec(), author, time_ms: message.sent_ms, text: text.trim().to_owned() }
    };
    Ok(match touched {
        Touched::All => Searched::All(timeline.messages(..).into_iter().map(item).collect()),
        Touched::Messages(ids) => {
            let change = |id: &clave_crdt::MessageId| match timeline.message(id) {
                Some(message) => Change::Put(item(message)),
                None => Change::Remove(id.as_bytes().to_vec()),
            };
            Searched::Touched(ids.iter().map(change).collect())
        }
    })
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
