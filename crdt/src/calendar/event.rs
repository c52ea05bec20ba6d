//! An event as people see and edit it.

use super::fields::{self, Fields};
use super::lines::{self, Rest};
use super::time::EventTime;
use crate::CrdtError;

/// An event, or one occurrence of it that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is known by everywhere.
    pub uid: String,
    /// Which occurrence this is, if it is one that differs.
    pub recurrence_id: Option<EventTime>,
    /// The title.
    pub summary: String,
    /// What it is about.
    pub description: String,
    /// Where.
    pub location: String,
    /// When it starts.
    pub start: Option<EventTime>,
    /// When it ends, if that is said (and not a duration).
    pub end: Option<EventTime>,
    /// How long it takes, if that is said (ISO 8601, as in `PT1H30M`).
    pub duration: Option<String>,
    /// The recurrence rule (RFC 5545, as in `FREQ=WEEKLY;BYDAY=MO`).
    pub rrule: Option<String>,
    /// `CONFIRMED`, `TENTATIVE`, `CANCELLED` or another; empty when nothing is said.
    pub status: String,
    /// The organizer's address.
    pub organizer: Option<String>,
    /// Who, by address.
    pub attendees: Vec<Attendee>,
    /// How often its organizer changed it in a way that matters to attendees.
    pub sequence: u32,
}

/// Somebody who was asked to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendee {
    /// The address, in lower case, without `mailto:`.
    pub address: String,
    /// The name; empty when none is given.
    pub name: String,
    /// `CHAIR`, `REQ-PARTICIPANT`, `OPT-PARTICIPANT` or another; empty means required.
    pub role: String,
    /// The answer (PARTSTAT): `NEEDS-ACTION`, `ACCEPTED`, `DECLINED`, `TENTATIVE` or another.
    pub partstat: String,
}

/// A new event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// What it shall be known by; unique in the world, so take 16 random bytes or more.
    pub uid: String,
    /// When it starts.
    pub start: EventTime,
    /// The rest.
    pub patch: EventPatch,
}

/// A change of an event: what is `None` stays, what is empty goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPatch {
    /// The title.
    pub summary: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Where.
    pub location: Option<String>,
    /// When it starts.
    pub start: Option<EventTime>,
    /// When it ends; not part of it.
    pub end: Option<EventTime>,
    /// The recurrence rule (RFC 5545).
    pub rrule: Option<String>,
    /// `CONFIRMED`, `TENTATIVE` or `CANCELLED`.
    pub status: Option<String>,
    /// The organizer's address.
    pub organizer: Option<String>,
    /// Attendees to add or to change, by address.
    pub invite: Vec<Attendee>,
    /// Attendees to remove, by address.
    pub uninvite: Vec<String>,
}

impl Event {
    pub(super) fn of(uid: &str, fields: &Fields) -> Self {
        let value = |name| fields::rest(fields, name).map(|rest| rest.value);
        Self {
            uid: uid.to_owned(),
            recurrence_id: fields::time(fields, "RECURRENCE-ID"),
            summary: fields::text(fields, "SUMMARY"),
            description: fields::text(fields, "DESCRIPTION"),
            location: fields::text(fields, "LOCATION"),
            start: fields::time(fields, "DTSTART"),
            end: fields::time(fields, "DTEND"),
            duration: value("DURATION"),
            rrule: value("RRULE"),
            status: fields::text(fields, "STATUS").to_ascii_uppercase(),
            organizer: value("ORGANIZER").map(|value| fields::address(&value)),
            attendees: attendees(fields),
            sequence: sequence(fields),
        }
    }
}

pub(super) fn sequence(fields: &Fields) -> u32 {
    fields::rest(fields, "SEQUENCE").and_then(|rest| rest.value.trim().parse().ok()).unwrap_or(0)
}

pub(super) fn attendees(fields: &Fields) -> Vec<Attendee> {
    let read = |rest: Rest| {
        let address = fields::address(&rest.value);
        let partstat = fields.get(&fields::partstat_field(&address)).cloned();
        Attendee {
            name: rest.param("CN").unwrap_or_default(),
            role: rest.param("ROLE").unwrap_or_default().to_ascii_uppercase(),
            partstat: partstat.unwrap_or_else(|| "NEEDS-ACTION".to_owned()),
            address,
        }
    };
    fields::all(fields, "ATTENDEE").map(|(_, rest)| read(rest)).collect()
}

impl EventPatch {
    /// The fields that this patch sets (`Some`) and takes away (`None`).
    pub(super) fn fields(&self, now: &Fields) -> Result<Vec<(String, Option<String>)>, CrdtError> {
        let mut changes: Vec<(String, Option<String>)> = Vec::new();
        let texts = [("SUMMARY", &self.summary), ("DESCRIPTION", &self.description), ("LOCATION", &self.location)];
        for (name, text) in texts {
            if let Some(text) = text {
                changes.push((name.to_owned(), set_value(now, name, &lines::escape(text))));
            }
        }
        if let Some(rule) = &self.rrule {
            if !rule.is_empty() && super::agenda::parse_rule(rule).is_none() {
                return Err(CrdtError::Invalid("this is not a recurrence rule; write it as in FREQ=WEEKLY;BYDAY=MO"));
            }
            changes.push(("RRULE".to_owned(), set_value(now, "RRULE", rule)));
        }
        if let Some(status) = &self.status {
            let status = status.to_ascii_uppercase();
            if !["", "CONFIRMED", "TENTATIVE", "CANCELLED"].contains(&status.as_str()) {
                return Err(CrdtError::Invalid("this is no status; use confirmed, tentative or cancelled"));
            }
            changes.push(("STATUS".to_owned(), set_value(now, "STATUS", &status)));
        }
        if let Some(organizer) = &self.organizer {
            let value = if organizer.is_empty() { String::new() } else { calendar_address(organizer)? };
            changes.push(("ORGANIZER".to_owned(), set_value(now, "ORGANIZER", &value)));
        }
        if let Some(start) = &self.start {
            changes.push(("DTSTART".to_owned(), Some(start.write().write())));
        }
        if let Some(end) = &self.end {
            changes.push(("DTEND".to_owned(), Some(end.write().write())));
            changes.push(("DURATION".to_owned(), None));
        }
        for attendee in &self.invite {
            changes.extend(attendee.fields(now)?);
        }
        for address in &self.uninvite {
            let address = fields::address(address);
            changes.push((fields::attendee_field(&address), None));
            changes.push((fields::partstat_field(&address), None));
        }
        changes.retain(|(field, value)| now.get(field) != value.as_ref());
        Ok(changes)
    }

    /// Whether attendees have to hear of it (RFC 5546, 2.1.4).
    pub(super) fn is_significant(changes: &[(String, Option<String>)]) -> bool {
        let names = ["DTSTART", "DTEND", "DURATION", "RRULE", "STATUS", "LOCATION"];
        changes.iter().any(|(field, _)| names.contains(&field.as_str()))
    }
}

impl Attendee {
    fn fields(&self, now: &Fields) -> Result<Vec<(String, Option<String>)>, CrdtError> {
        let value = calendar_address(&self.address)?;
        let address = fields::address(&value);
        let field = fields::attendee_field(&address);
        let mut rest = now.get(&field).and_then(|text| Rest::parse(text)).unwrap_or_else(|| Rest::plain(&value));
        for (name, text) in [("CN", &self.name), ("ROLE", &self.role)] {
            if !text.is_empty() {
                rest.params.retain(|(param, _)| param != name);
                rest.params.push((name.to_owned(), lines::encode_param(text)));
            }
        }
        let mut changes = vec![(field, Some(rest.write()))];
        let status = fields::partstat_field(&address);
        if !self.partstat.is_empty() {
            changes.push((status, Some(partstat(&self.partstat)?)));
        } else if !now.contains_key(&status) {
            changes.push((status, Some("NEEDS-ACTION".to_owned())));
        }
        Ok(changes)
    }
}

/// An answer as it is written.
pub(super) fn partstat(text: &str) -> Result<String, CrdtError> {
    let status = text.to_ascii_uppercase();
    if status.is_empty() || !status.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(CrdtError::Invalid("this is no answer; use accepted, declined or tentative"));
    }
    Ok(status)
}

/// An address as it is written.
fn calendar_address(address: &str) -> Result<String, CrdtError> {
    let address = address.trim();
    if address.is_empty() || address.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(CrdtError::Invalid("this is not an address; write it as in bob@example.org"));
    }
    Ok(if address.contains(':') { address.to_owned() } else { format!("mailto:{address}") })
}

/// The property with another value and the parameters it has; nothing for no value.
fn set_value(now: &Fields, name: &str, value: &str) -> Option<String> {
    if value.is_empty() {
        return None;
    }
    let mut rest = fields::rest(now, name).unwrap_or_else(|| Rest::plain(""));
    // A representation elsewhere, and another language, are of the old text.
    rest.params.retain(|(param, _)| param != "ALTREP" && param != "LANGUAGE");
    value.clone_into(&mut rest.value);
    Some(rest.write())
}
