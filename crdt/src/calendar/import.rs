//! Bringing iCalendar into a calendar.

use calcard::common::timezone::Tz;

use super::fields::{self, Fields};
use super::lines::{self, Component};
use super::store::{OTHERS, PROPERTIES, ZONES, changed};
use super::time::{EventTime, Zones};
use super::{Calendar, ImportReport, UID_BYTES_MAX, agenda, event};
use crate::CrdtError;
use crate::pieces::Pieces;

/// What an operation costs in a change besides the text in it, in bytes, roughly.
const OPERATION_BYTES: usize = 16;

enum Outcome {
    Added,
    Updated,
    Unchanged,
    Refused,
}

/// Takes in one VCALENDAR.
pub(super) fn calendar(
    pieces: &mut Pieces<'_>,
    component: &Component,
    report: &mut ImportReport,
) -> Result<(), CrdtError> {
    let method = component.line("METHOD").map(|rest| rest.value.trim().to_ascii_uppercase()).unwrap_or_default();
    let mut view = Calendar { document: pieces.document };
    properties(&mut view, component)?;
    for child in component.children.iter().filter(|child| child.name == "VTIMEZONE") {
        match child.line("TZID") {
            Some(name) => keep(&mut view, ZONES, name.value.trim(), child, report)?,
            None => lines::tell(&mut report.problems, child.at, &child.name, "this time zone has no TZID"),
        }
    }
    let zones = view.zones(Tz::UTC);
    for child in &component.children {
        let mut view = Calendar { document: pieces.document };
        match child.name.as_str() {
            "VTIMEZONE" => {}
            "VEVENT" => match import_event(&mut view, child, &method, &zones, report)? {
                Outcome::Added => report.added += 1,
                Outcome::Updated => report.updated += 1,
                Outcome::Unchanged => report.unchanged += 1,
                Outcome::Refused => {}
            },
            _ => {
                let part = |name| child.line(name).map(|rest| rest.value.trim().to_owned()).unwrap_or_default();
                let uid = part("UID");
                let uid = if uid.is_empty() { format!("{:016x}", fingerprint(&child.write())) } else { uid };
                keep(&mut view, OTHERS, &fields::key(&child.name, &uid, &part("RECURRENCE-ID")), child, report)?;
            }
        }
        let size: usize = child.lines.iter().map(|line| line.rest.value.len() + OPERATION_BYTES).sum();
        pieces.spent(size + child.children.len() * OPERATION_BYTES);
    }
    Ok(())
}

/// The calendar's own properties. It has a name already? Then it keeps it.
fn properties(view: &mut Calendar<'_>, component: &Component) -> Result<(), CrdtError> {
    const OURS: [&str; 4] = ["VERSION", "PRODID", "METHOD", "CALSCALE"];
    let now = view.strings(PROPERTIES);
    for line in component.lines.iter().filter(|line| !OURS.contains(&line.name.as_str())) {
        if !now.contains_key(&line.name) {
            view.put(PROPERTIES, &line.name, Some(&line.rest.write()))?;
        }
    }
    Ok(())
}

/// Keeps a component as it is.
fn keep(
    view: &mut Calendar<'_>,
    map: &str,
    key: &str,
    component: &Component,
    report: &mut ImportReport,
) -> Result<(), CrdtError> {
    let text = component.write();
    if view.strings(map).get(key) == Some(&text) {
        return Ok(());
    }
    match view.put(map, key, Some(&text)) {
        Err(CrdtError::TooLarge { .. }) => {
            lines::tell(&mut report.problems, component.at, &component.name, "this component is too large");
            Ok(())
        }
        other => other,
    }
}

fn import_event(
    view: &mut Calendar<'_>,
    component: &Component,
    method: &str,
    zones: &Zones,
    report: &mut ImportReport,
) -> Result<Outcome, CrdtError> {
    let uid = component.line("UID").map(|rest| rest.value.trim()).unwrap_or_default();
    let name = format!("VEVENT {uid}");
    let mut tell = |reason: &str| lines::tell(&mut report.problems, component.at, name.trim_end(), reason);
    if uid.is_empty() || uid.len() > UID_BYTES_MAX || uid.contains(char::is_control) {
        tell("this event has no UID, or one that cannot be; it was left out");
        return Ok(Outcome::Refused);
    }
    let which = component.line("RECURRENCE-ID").map(EventTime::read);
    if which == Some(None) {
        tell("this RECURRENCE-ID is not a time; it was left out");
        return Ok(Outcome::Refused);
    }
    let recurrence = which.flatten().map(|time| zones.key(&time)).unwrap_or_default();
    let now = view.components(uid).remove(&recurrence);
    let read = fields::of(component, zones);
    if let "REPLY" | "CANCEL" = method {
        return match now {
            None => {
                tell("this answers or cancels an event that is not here");
                Ok(Outcome::Refused)
            }
            Some(now) => message(view, uid, &recurrence, &now, &read, method),
        };
    }
    if let Some(reason) = fault(&read) {
        tell(reason);
        return Ok(Outcome::Refused);
    }
    if now.as_ref().is_some_and(|now| event::sequence(&read) < event::sequence(now)) {
        tell("this is older than the event that is here (SEQUENCE); it was left out");
        return Ok(Outcome::Unchanged);
    }
    for doubt in doubts(&read, zones) {
        tell(doubt);
    }
    let without_stamp = |fields: &Fields| {
        let mut fields = fields.clone();
        fields.remove("DTSTAMP");
        fields
    };
    let outcome = match &now {
        None => Outcome::Added,
        Some(now) if without_stamp(now) == without_stamp(&read) => return Ok(Outcome::Unchanged),
        Some(_) => Outcome::Updated,
    };
    match view.replace(uid, &recurrence, &read) {
        Err(CrdtError::TooLarge { .. }) => {
            tell("a field of this event is too large; the event may be incomplete");
            Ok(Outcome::Refused)
        }
        done => done.map(|()| outcome),
    }
}

/// An answer or a cancellation (RFC 5546): all it says of the event itself is taken from who organises it.
fn message(
    view: &mut Calendar<'_>,
    uid: &str,
    recurrence: &str,
    now: &Fields,
    read: &Fields,
    method: &str,
) -> Result<Outcome, CrdtError> {
    let changes: Vec<(String, Option<String>)> = if method == "CANCEL" {
        vec![("STATUS".to_owned(), Some(":CANCELLED".to_owned()))]
    } else {
        let answers = read.iter().filter(|(field, _)| {
            let address = field.strip_prefix("PARTSTAT").and_then(|rest| rest.strip_prefix(fields::SEPARATOR));
            address.is_some_and(|address| now.contains_key(&fields::attendee_field(address)))
        });
        answers.map(|(field, status)| (field.clone(), Some(status.clone()))).collect()
    };
    if changed(now, &changes) == *now {
        return Ok(Outcome::Unchanged);
    }
    changes.iter().try_for_each(|(field, value)| view.set(uid, recurrence, field, value.as_deref()))?;
    Ok(Outcome::Updated)
}

/// Why an event cannot be taken in.
fn fault(fields: &Fields) -> Option<&'static str> {
    if !fields.contains_key("DTSTART") {
        return Some("this event has no DTSTART; it was left out");
    }
    if fields::time(fields, "DTSTART").is_none() {
        return Some("this DTSTART is not a date or time; the event was left out");
    }
    None
}

/// What of an event is kept but not understood.
fn doubts(fields: &Fields, zones: &Zones) -> Vec<&'static str> {
    let mut doubts = Vec::new();
    let is_unknown =
        |name| matches!(fields::time(fields, name), Some(EventTime::Zoned { zone, .. }) if zones.find(&zone).is_none());
    if is_unknown("DTSTART") || is_unknown("DTEND") {
        doubts.push("its time zone is not known; its times are taken to be those of whoever looks");
    }
    if fields.contains_key("DTEND") && fields::time(fields, "DTEND").is_none() {
        doubts.push("its DTEND is not a date or time");
    }
    if fields::all(fields, "RRULE").any(|(_, rest)| agenda::parse_rule(&rest.value).is_none()) {
        doubts.push("its RRULE cannot be read; the event is shown once");
    }
    doubts
}

/// FNV-1a, to tell components without a UID apart; nothing relies on it.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
