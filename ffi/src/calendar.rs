//! The calendar of a circle.

use std::sync::Arc;

use crate::ClaveError;
use crate::convert::count;
use crate::session::Session;

/// The calendar of a circle. Times are text: `2026-03-29` (a whole day), `2026-03-29T09:00` (wherever one is),
/// `2026-03-29T09:00Z`, or `2026-03-29T09:00[Europe/Berlin]`.
#[derive(uniffi::Object)]
pub struct Calendar {
    session: Arc<Session>,
    calendar: clave::Calendar,
}

/// An event, or one occurrence of it that differs.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CalendarEvent {
    /// Its UID, the same on every device and in every other calendar.
    pub uid: String,
    /// Which occurrence, if it is one that differs.
    pub recurrence_id: Option<String>,
    /// What it is called.
    pub summary: String,
    /// What there is to say about it.
    pub description: String,
    /// Where.
    pub location: String,
    /// When it begins.
    pub start: Option<String>,
    /// When it ends.
    pub end: Option<String>,
    /// How long it takes, if that is said in place of its end, as iCalendar has it: `PT1H30M`.
    pub duration: Option<String>,
    /// How often it was changed, by iCalendar's count.
    pub sequence: u32,
    /// How it is repeated: an RRULE of iCalendar.
    pub rrule: Option<String>,
    /// `CONFIRMED`, `TENTATIVE`, `CANCELLED`, or empty.
    pub status: String,
    /// The address of who invites.
    pub organizer: Option<String>,
    /// Who is asked to come.
    pub attendees: Vec<Attendee>,
}

/// Somebody who is asked to come.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Attendee {
    /// Mostly `mailto:…`.
    pub address: String,
    /// How they are called.
    #[uniffi(default = "")]
    pub name: String,
    /// `REQ-PARTICIPANT` and the like, or empty.
    #[uniffi(default = "")]
    pub role: String,
    /// `ACCEPTED`, `DECLINED`, `TENTATIVE`, `NEEDS-ACTION`, or empty.
    #[uniffi(default = "")]
    pub partstat: String,
}

/// What is to change of an event; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct EventPatch {
    /// What it is called.
    #[uniffi(default = None)]
    pub summary: Option<String>,
    /// What there is to say about it.
    #[uniffi(default = None)]
    pub description: Option<String>,
    /// Where.
    #[uniffi(default = None)]
    pub location: Option<String>,
    /// When it begins.
    #[uniffi(default = None)]
    pub start: Option<String>,
    /// When it ends.
    #[uniffi(default = None)]
    pub end: Option<String>,
    /// How it is repeated: an RRULE of iCalendar; empty: no longer.
    #[uniffi(default = None)]
    pub rrule: Option<String>,
    /// `CONFIRMED`, `TENTATIVE`, `CANCELLED`.
    #[uniffi(default = None)]
    pub status: Option<String>,
    /// The address of who invites.
    #[uniffi(default = None)]
    pub organizer: Option<String>,
    /// Who is asked to come, too.
    #[uniffi(default = [])]
    pub invite: Vec<Attendee>,
    /// The addresses of those who are not any more.
    #[uniffi(default = [])]
    pub uninvite: Vec<String>,
}

/// What happens between two instants.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Agenda {
    /// In order of their beginning.
    pub occurrences: Vec<Occurrence>,
    /// Whether there are too many to name all.
    pub truncated: bool,
}

/// An event, once.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Occurrence {
    /// The UID of the event.
    pub uid: String,
    /// Which occurrence, if it is repeated.
    pub recurrence_id: Option<String>,
    /// What it is called.
    pub summary: String,
    /// When it begins, in Unix milliseconds.
    pub start_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub end_ms: i64,
    /// Whether it takes whole days.
    pub all_day: bool,
    /// The time zone that it is planned in, if it is in one.
    pub zone: Option<String>,
    /// Where.
    pub location: String,
    /// `CONFIRMED`, `TENTATIVE`, `CANCELLED`, or empty.
    pub status: String,
    /// Who is asked to come.
    pub attendees: Vec<Attendee>,
    /// Whether this occurrence differs from what repeats.
    pub is_override: bool,
}

/// What came of iCalendar text.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ImportReport {
    /// How many events are new.
    pub added: u32,
    /// How many are other than before.
    pub updated: u32,
    /// How many are as before.
    pub unchanged: u32,
    /// What could not be read and was left out, each as a sentence with its line.
    pub problems: Vec<String>,
}

impl Calendar {
    pub(crate) fn new(session: Arc<Session>, calendar: clave::Calendar) -> Self {
        Self { session, calendar }
    }

    async fn run<T: Send + 'static, F: Future<Output = Result<T, clave::Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(clave::Calendar) -> F,
    ) -> Result<T, ClaveError> {
        self.session.run(work(self.calendar.clone())).await
    }
}

#[uniffi::export]
impl Calendar {
    /// Every event, in order of UID.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn events(&self) -> Result<Vec<CalendarEvent>, ClaveError> {
        let events = self.run(|calendar| async move { calendar.events().await }).await?;
        Ok(events.into_iter().map(CalendarEvent::from).collect())
    }

    /// What happens between two instants (Unix milliseconds; the second excluded), for somebody in a zone (an IANA name).
    ///
    /// # Errors
    /// If the zone is not known.
    pub async fn agenda(&self, from_ms: i64, to_ms: i64, zone: String) -> Result<Agenda, ClaveError> {
        let agenda = self.run(|calendar| async move { calendar.agenda(from_ms, to_ms, &zone).await }).await?;
        let occurrences = agenda.occurrences.into_iter().map(Occurrence::from).collect();
        Ok(Agenda { occurrences, truncated: agenda.truncated })
    }

    /// Adds an event. Choose a UID that nobody else will, a random one.
    ///
    /// # Errors
    /// If its UID is taken or a field is not what it should be.
    pub async fn add(&self, uid: String, start: String, patch: EventPatch) -> Result<(), ClaveError> {
        let draft = clave::EventDraft { uid, start: time(&start)?, patch: patch.known()? };
        self.run(|calendar| async move { calendar.add(draft).await }).await
    }

    /// Changes an event.
    ///
    /// # Errors
    /// If there is no such event or a field is not what it should be.
    pub async fn update(&self, uid: String, patch: EventPatch) -> Result<(), ClaveError> {
        let patch = patch.known()?;
        self.run(|calendar| async move { calendar.update(&uid, patch).await }).await
    }

    /// Notes an attendee's answer: `ACCEPTED`, `DECLINED` or `TENTATIVE`.
    ///
    /// # Errors
    /// If there is no such event or nobody of this address was asked.
    pub async fn reply(&self, uid: String, address: String, partstat: String) -> Result<(), ClaveError> {
        self.run(|calendar| async move { calendar.reply(&uid, &address, &partstat).await }).await
    }

    /// Removes an event with all its occurrences.
    ///
    /// # Errors
    /// If there is no such event.
    pub async fn remove(&self, uid: String) -> Result<(), ClaveError> {
        self.run(|calendar| async move { calendar.remove(&uid).await }).await
    }

    /// Takes in iCalendar text. What cannot be read is named in the report and left out; nothing else fails for it.
    ///
    /// # Errors
    /// If it is too large, or the disk refuses.
    pub async fn import_ics(&self, text: String) -> Result<ImportReport, ClaveError> {
        let report = self.run(|calendar| async move { calendar.import_ics(text).await }).await?;
        let problem =
            |problem: &clave::Problem| format!("line {}, {}: {}", problem.line, problem.component, problem.reason);
        Ok(ImportReport {
            added: count(report.added),
            updated: count(report.updated),
            unchanged: count(report.unchanged),
            problems: report.problems.iter().map(problem).collect(),
        })
    }

    /// The calendar as iCalendar text, with everything that was imported.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn export_ics(&self) -> Result<String, ClaveError> {
        self.run(|calendar| async move { calendar.export_ics().await }).await
    }
}

fn time(text: &str) -> Result<clave::EventTime, ClaveError> {
    text.parse().map_err(|error: clave::CrdtError| clave::Error::from(clave::EngineError::from(error)).into())
}

impl EventPatch {
    fn known(self) -> Result<clave::EventPatch, ClaveError> {
        Ok(clave::EventPatch {
            summary: self.summary,
            description: self.description,
            location: self.location,
            start: self.start.as_deref().map(time).transpose()?,
            end: self.end.as_deref().map(time).transpose()?,
            rrule: self.rrule,
            status: self.status,
            organizer: self.organizer,
            invite: self.invite.into_iter().map(clave::Attendee::from).collect(),
            uninvite: self.uninvite,
        })
    }
}

impl From<Attendee> for clave::Attendee {
    fn from(attendee: Attendee) -> Self {
        let Attendee { address, name, role, partstat } = attendee;
        Self { address, name, role, partstat }
    }
}

impl From<clave::Attendee> for Attendee {
    fn from(attendee: clave::Attendee) -> Self {
        let clave::Attendee { address, name, role, partstat } = attendee;
        Self { address, name, role, partstat }
    }
}

impl From<clave::CalendarEvent> for CalendarEvent {
    fn from(event: clave::CalendarEvent) -> Self {
        let text = |time: Option<clave::EventTime>| time.map(|time| time.to_string());
        Self {
            uid: event.uid,
            recurrence_id: text(event.recurrence_id),
            summary: event.summary,
            description: event.description,
            location: event.location,
            start: text(event.start),
            end: text(event.end),
            duration: event.duration,
            sequence: event.sequence,
            rrule: event.rrule,
            status: event.status,
            organizer: event.organizer,
            attendees: event.attendees.into_iter().map(Attendee::from).collect(),
        }
    }
}

impl From<clave::Occurrence> for Occurrence {
    fn from(occurrence: clave::Occurrence) -> Self {
        Self {
            uid: occurrence.uid,
            recurrence_id: occurrence.recurrence_id.map(|time| time.to_string()),
            summary: occurrence.summary,
            start_ms: occurrence.start_ms,
            end_ms: occurrence.end_ms,
            all_day: occurrence.all_day,
            zone: occurrence.zone,
            location: occurrence.location,
            status: occurrence.status,
            attendees: occurrence.attendees.into_iter().map(Attendee::from).collect(),
            is_override: occurrence.is_override,
        }
    }
}
