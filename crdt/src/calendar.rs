//! Calendars: events by UID, with iCalendar in and out.
//!
//! What an event is made of are separate values in Automerge, so that one person can change the place while another
//! changes the time; answers of attendees are kept by address, exceptions by the moment they except. Everything else
//! that an .ics file holds is kept as it was written and comes out again.

use calcard::common::timezone::Tz;

use crate::pieces::Pieces;
use crate::{CrdtError, Document, DocumentKind};

mod agenda;
mod event;
mod fields;
mod import;
mod lines;
mod pages;
mod store;
#[cfg(test)]
mod tests;
mod time;

use agenda::Query;
pub use agenda::{Agenda, EXPANSION_MAX, Occurrence};
pub use event::{Attendee, Event, EventDraft, EventPatch};
use fields::{Fields, SEPARATOR};
use lines::{Component, Rest};
pub use pages::{AgendaPage, PAGED_DAYS_MAX, agenda_of_pages};
use store::{OTHERS, PROPERTIES, ZONES};
pub use time::EventTime;

/// The longest iCalendar text that is taken in, in bytes.
pub const ICS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest UID, in bytes.
const UID_BYTES_MAX: usize = 1_024;
/// Who wrote the files that are exported.
const PRODUCT: &str = "-//Clave//Clave//EN";

/// A calendar, to read and to edit.
///
/// Edits gather until [`Document::commit`], but for [`import_ics`](Self::import_ics), which may be large: it commits as it
/// goes and returns the changes.
///
/// ```
/// use clave_crdt::{Actor, Document, DocumentKind, EventDraft, EventPatch};
///
/// # fn main() -> Result<(), clave_crdt::CrdtError> {
/// let mut document = Document::new(DocumentKind::Calendar, Actor::new([1; 32], [0; 4], 0));
/// let mut calendar = document.calendar()?;
/// let patch = EventPatch {
///     summary: Some("周会".to_owned()),
///     rrule: Some("FREQ=WEEKLY".to_owned()),
///     end: Some("2026-03-23T10:00[Europe/Berlin]".parse()?),
///     ..EventPatch::default()
/// };
/// let start = "2026-03-23T09:00[Europe/Berlin]".parse()?;
/// calendar.add(&EventDraft { uid: "1@example.org".to_owned(), start, patch }, 0)?;
///
/// // Clocks change in the night to March 29: nine o'clock is then an hour earlier.
/// let agenda = calendar.agenda(1_774_224_000_000, 1_775_000_000_000, "Europe/Berlin")?;
/// let starts: Vec<_> = agenda.occurrences.iter().map(|occurrence| occurrence.start_ms).collect();
/// assert_eq!(starts, [1_774_252_800_000, 1_774_854_000_000]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Calendar<'a> {
    document: &'a mut Document,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// How many events (and occurrences that differ) are new.
    pub added: usize,
    /// How many are other than before.
    pub updated: usize,
    /// How many are as before, but perhaps for their time stamp.
    pub unchanged: usize,
    /// What was wrong. What is named here and cannot be read was left out.
    pub problems: Vec<Problem>,
    /// The changes, committed, for others to [`Document::apply`].
    pub changes: Vec<Vec<u8>>,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line where the component or property begins, from 1.
    pub line: usize,
    /// What it is of: a component and, if known, its UID.
    pub component: String,
    /// What is wrong.
    pub reason: String,
}

impl Document {
    /// This document as a calendar.
    ///
    /// # Errors
    ///
    /// [`CrdtError::WrongKind`].
    pub fn calendar(&mut self) -> Result<Calendar<'_>, CrdtError> {
        self.expect_kind(DocumentKind::Calendar)?;
        Ok(Calendar { document: self })
    }
}

impl Calendar<'_> {
    /// Every event, and every occurrence that differs from its event, in order of UID.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let events = self.all();
        events.iter().flat_map(|(uid, of)| of.values().map(move |fields| Event::of(uid, fields))).collect()
    }

    /// An event.
    #[must_use]
    pub fn event(&self, uid: &str) -> Option<Event> {
        self.components(uid).get("").map(|fields| Event::of(uid, fields))
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] if there is one of this UID or a field is not what it should be.
    pub fn add(&mut self, draft: &EventDraft, now_ms: u64) -> Result<(), CrdtError> {
        if draft.uid.is_empty() || draft.uid.len() > UID_BYTES_MAX || draft.uid.contains(char::is_control) {
            return Err(CrdtError::Invalid("an event needs a UID of at most 1024 bytes without control characters"));
        }
        let now = self.components(&draft.uid);
        if now.contains_key("") {
            return Err(CrdtError::Invalid("there is an event of this UID; update it or take another UID"));
        }
        let patch = EventPatch { start: Some(draft.start.clone()), ..draft.patch.clone() };
        let mut wanted = Fields::from([(fields::KIND.to_owned(), "VEVENT".to_owned())]);
        wanted.insert("DTSTAMP".to_owned(), store::stamp(now_ms));
        wanted.insert("SEQUENCE".to_owned(), ":0".to_owned());
        wanted.extend(patch.fields(&Fields::new())?.into_iter().filter_map(|(field, value)| Some((field, value?))));
        store::check_times(&wanted, &self.zones(Tz::UTC))?;
        self.replace(&draft.uid, "", &wanted)
    }

    /// Changes an event. Whoever changes other fields at the same time does not get in the way.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::Invalid`] if a field is not what it should be.
    pub fn update(&mut self, uid: &str, patch: &EventPatch, now_ms: u64) -> Result<(), CrdtError> {
        let now = self.components(uid).remove("").ok_or(CrdtError::NotFound("event"))?;
        self.patch(uid, "", &now, patch, now_ms)
    }

    /// Changes one occurrence of a recurring event (see [`Occurrence::recurrence_id`]).
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn update_occurrence(
        &mut self,
        uid: &str,
        which: &EventTime,
        patch: &EventPatch,
        now_ms: u64,
    ) -> Result<(), CrdtError> {
        let zones = self.zones(Tz::UTC);
        let recurrence = zones.key(which);
        let mut components = self.components(uid);
        if let Some(now) = components.remove(&recurrence) {
            return self.patch(uid, &recurrence, &now, patch, now_ms);
        }
        let event = components.remove("").ok_or(CrdtError::NotFound("event"))?;
        let mut now = event.clone();
        let of_all = ["RRULE", "RDATE", "EXDATE", "DTEND", "DURATION"];
        now.retain(|field, _| {
            !of_all.iter().any(|name| field == name || field.starts_with(&format!("{name}{SEPARATOR}")))
        });
        now.insert("RECURRENCE-ID".to_owned(), which.write().write());
        now.insert("DTSTART".to_owned(), which.write().write());
        if let Some(start) = fields::time(&event, "DTSTART") {
            let length = agenda::length(&event, &start, &zones);
            now.insert("DURATION".to_owned(), format!(":P{}DT{}S", length.days, length.ms / 1_000));
        }
        let changes = patch.fields(&now)?;
        store::check_times(&store::changed(&now, &changes), &zones)?;
        self.replace(uid, &recurrence, &now)?;
        self.patch(uid, &recurrence, &now, patch, now_ms)
    }

    /// Drops one occurrence of a recurring event (see [`Occurrence::recurrence_id`]).
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn exclude(&mut self, uid: &str, which: &EventTime, now_ms: u64) -> Result<(), CrdtError> {
        let zones = self.zones(Tz::UTC);
        let components = self.components(uid);
        let now = components.get("").ok_or(CrdtError::NotFound("event"))?;
        let mut wanted = now.clone();
        wanted.insert(fields::exdate_field(&zones, which), which.write().write());
        wanted.insert("SEQUENCE".to_owned(), format!(":{}", event::sequence(now).saturating_add(1)));
        wanted.insert("DTSTAMP".to_owned(), store::stamp(now_ms));
        self.replace(uid, "", &wanted)?;
        self.replace(uid, &zones.key(which), &Fields::new())
    }

    /// Notes an attendee's answer: `ACCEPTED`, `DECLINED` or `TENTATIVE`.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if there is no such event or nobody of this address was asked.
    pub fn reply(&mut self, uid: &str, address: &str, partstat: &str) -> Result<(), CrdtError> {
        let now = self.components(uid).remove("").ok_or(CrdtError::NotFound("event"))?;
        let address = fields::address(address);
        if !now.contains_key(&fields::attendee_field(&address)) {
            return Err(CrdtError::NotFound("attendee"));
        }
        self.set(uid, "", &fields::partstat_field(&address), Some(&event::partstat(partstat)?))
    }

    /// Removes an event with all its occurrences.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn remove(&mut self, uid: &str) -> Result<(), CrdtError> {
        let components = self.components(uid);
        if components.is_empty() {
            return Err(CrdtError::NotFound("event"));
        }
        components.keys().try_for_each(|recurrence| self.replace(uid, recurrence, &Fields::new()))
    }

    /// What happens between two instants (Unix milliseconds; the second is not part of it), for somebody in a zone (IANA
    /// name): whole days and floating times are theirs.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] if the zone is not known.
    pub fn agenda(&self, from_ms: i64, to_ms: i64, zone: &str) -> Result<Agenda, CrdtError> {
        let zones = self.zones(time::tz(zone)?);
        let mut query = Query { from_ms, to_ms, zones: &zones, budget: EXPANSION_MAX, agenda: Agenda::default() };
        for (uid, components) in self.all() {
            query.event(&uid, &components);
        }
        Ok(query.agenda.sorted())
    }

    /// Takes in iCalendar text. Events that are here are brought to what the text says, unless that is older (SEQUENCE);
    /// an answer (`METHOD:REPLY`) changes only its attendee's status, a cancellation only the event's.
    ///
    /// Nothing in the text makes this fail or panic; see [`ImportReport::problems`].
    ///
    /// # Errors
    ///
    /// [`CrdtError::TooLarge`] beyond [`ICS_BYTES_MAX`].
    pub fn import_ics(&mut self, text: &str, now_ms: u64) -> Result<ImportReport, CrdtError> {
        if text.len() > ICS_BYTES_MAX {
            return Err(CrdtError::TooLarge { what: "the calendar file", bytes: text.len(), limit: ICS_BYTES_MAX });
        }
        let mut report = ImportReport::default();
        let mut pieces = Pieces::new(self.document, now_ms);
        for component in lines::read(text, &mut report.problems) {
            if component.name == "VCALENDAR" {
                import::calendar(&mut pieces, &component, &mut report)?;
            } else {
                import::calendar(
                    &mut pieces,
                    &Component { children: vec![component], ..Component::default() },
                    &mut report,
                )?;
            }
        }
        if report.added + report.updated + report.unchanged == 0 && report.problems.is_empty() {
            lines::tell(&mut report.problems, 1, "VCALENDAR", "there are no events in this");
        }
        report.changes = pieces.finish();
        Ok(report)
    }

    /// The calendar as iCalendar text (RFC 5545: folded lines, CRLF), with time zones as they were imported; others are
    /// named by their IANA names.
    #[must_use]
    pub fn export_ics(&self) -> String {
        let mut out = String::new();
        lines::fold(&format!("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:{PRODUCT}"), &mut out);
        for (name, value) in self.strings(PROPERTIES) {
            if lines::is_name(&name) && !value.contains(char::is_control) && Rest::parse(&value).is_some() {
                lines::fold(&format!("{name}{value}"), &mut out);
            }
        }
        for text in self.strings(ZONES).into_values().chain(self.strings(OTHERS).into_values()) {
            if let Some(component) = lines::whole(&text).filter(|component| component.name != "VEVENT") {
                lines::fold(&component.write(), &mut out);
            }
        }
        for (uid, components) in self.all() {
            for fields in components.values() {
                lines::fold(&fields::write(&uid, fields), &mut out);
            }
        }
        lines::fold("END:VCALENDAR", &mut out);
        out
    }

    fn patch(
        &mut self,
        uid: &str,
        recurrence: &str,
        now: &Fields,
        patch: &EventPatch,
        now_ms: u64,
    ) -> Result<(), CrdtError> {
        let mut changes = patch.fields(now)?;
        if changes.is_empty() {
            return Ok(());
        }
        store::check_times(&store::changed(now, &changes), &self.zones(Tz::UTC))?;
        if EventPatch::is_significant(&changes) {
            let sequence = event::sequence(now).saturating_add(1);
            changes.push(("SEQUENCE".to_owned(), Some(format!(":{sequence}"))));
        }
        changes.push(("DTSTAMP".to_owned(), Some(store::stamp(now_ms))));
        changes.iter().try_for_each(|(field, value)| self.set(uid, recurrence, field, value.as_deref()))
    }
}
