//! The calendar of a circle.

use clave_engine::DocumentId;
use clave_engine::crdt::{
    Agenda, Calendar as View, CrdtError, DocumentKind, Event as CalendarEvent, EventDraft, EventPatch, ImportReport,
};

use crate::{Circle, Error};

/// The calendar of a circle.
#[derive(Clone)]
pub struct Calendar {
    circle: Circle,
}

impl Calendar {
    pub(crate) fn new(circle: Circle) -> Self {
        Self { circle }
    }

    fn document(&self) -> DocumentId {
        DocumentId::well_known(self.circle.id, DocumentKind::Calendar, 0)
    }

    async fn view<T: Send + 'static>(
        &self,
        view: impl FnOnce(View<'_>) -> Result<T, CrdtError> + Send + 'static,
    ) -> Result<T, Error> {
        let (circle, calendar) = (self.circle.id, self.document());
        self.circle
            .node
            .read(move |engine| Ok(view(engine.document(circle, calendar, DocumentKind::Calendar)?.calendar()?)?))
            .await
    }

    /// Runs `edit` on the calendar, with the time in Unix milliseconds; what it changes becomes one entry.
    ///
    /// # Errors
    /// Those of `edit`, or what the disk has to say.
    pub async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut View<'_>, u64) -> Result<T, CrdtError> + Send + 'static,
    ) -> Result<T, Error> {
        let (circle, calendar) = (self.circle.id, self.document());
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, calendar, DocumentKind::Calendar, now, |document, _| {
                    edit(&mut document.calendar()?, now)
                })
            })
            .await
    }

    /// Every event, in order of UID.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn events(&self) -> Result<Vec<CalendarEvent>, Error> {
        self.view(|calendar| Ok(calendar.events())).await
    }

    /// What happens between two instants (Unix milliseconds; the second excluded), for somebody in a zone (IANA name). Up to
    /// [`PAGED_DAYS_MAX`](crate::PAGED_DAYS_MAX) days are told without loading the calendar.
    ///
    /// # Errors
    /// If the zone is not known.
    pub async fn agenda(&self, from_ms: i64, to_ms: i64, zone: &str) -> Result<Agenda, Error> {
        let (circle, calendar, zone) = (self.circle.id, self.document(), zone.to_owned());
        self.circle.node.read(move |engine| engine.agenda(circle, calendar, (from_ms, to_ms), &zone)).await
    }

    /// Adds an event.
    ///
    /// # Errors
    /// If its UID is taken or a field is not what it should be.
    pub async fn add(&self, draft: EventDraft) -> Result<(), Error> {
        self.edit(move |calendar, now| calendar.add(&draft, now)).await
    }

    /// Changes an event; what the patch does not name stays.
    ///
    /// # Errors
    /// If there is no such event or a field is not what it should be.
    pub async fn update(&self, uid: &str, patch: EventPatch) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.edit(move |calendar, now| calendar.update(&uid, &patch, now)).await
    }

    /// Notes an attendee's answer: `ACCEPTED`, `DECLINED` or `TENTATIVE`.
    ///
    /// # Errors
    /// If there is no such event or nobody of this address was asked.
    pub async fn reply(&self, uid: &str, address: &str, partstat: &str) -> Result<(), Error> {
        let (uid, address, partstat) = (uid.to_owned(), address.to_owned(), partstat.to_owned());
        self.edit(move |calendar, _| calendar.reply(&uid, &address, &partstat)).await
    }

    /// Removes an event with all its occurrences.
    ///
    /// # Errors
    /// If there is no such event.
    pub async fn remove(&self, uid: &str) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.edit(move |calendar, _| calendar.remove(&uid)).await
    }

    /// Takes in iCalendar text. What cannot be read is named in the report and left out; nothing else fails for it.
    ///
    /// # Errors
    /// If it is too large, or the disk refuses.
    pub async fn import_ics(&self, text: impl Into<String>) -> Result<ImportReport, Error> {
        let (circle, calendar, text) = (self.circle.id, self.document(), text.into());
        self.circle
            .node
            .command(move |engine, now| {
                engine.edit(circle, calendar, DocumentKind::Calendar, now, |document, done| {
                    let mut report = document.calendar()?.import_ics(&text, now)?;
                    done.append(&mut report.changes);
                    Ok(report)
                })
            })
            .await
    }

    /// The calendar as iCalendar text, with everything that was imported, whether Clave understands it or not.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn export_ics(&self) -> Result<String, Error> {
        self.view(|calendar| Ok(calendar.export_ics())).await
    }
}
