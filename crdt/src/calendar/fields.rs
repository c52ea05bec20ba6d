//! Components as fields: what of an event is a value of its own in Automerge.
//!
//! The map `events` is flat: a key is UID, recurrence id and field, with U+001F between, and its value is the rest of the
//! content line as it was written. So two devices that import one file write the same keys, and what is changed on each
//! afterwards merges, where nested objects would be two of which one is lost.

use std::collections::BTreeMap;

use super::lines::{Component, Line, Rest};
use super::time::{EventTime, Zones};

/// Between the parts of a key: sorts before whatever a UID may hold.
pub(super) const SEPARATOR: char = '\u{1f}';
/// The field that says that the component exists, and what it is.
pub(super) const KIND: &str = ".";
/// Before the names of subcomponents.
const CHILD: char = '.';

/// The fields of a component.
pub(super) type Fields = BTreeMap<String, String>;

pub(super) fn key(uid: &str, recurrence: &str, field: &str) -> String {
    format!("{uid}{SEPARATOR}{recurrence}{SEPARATOR}{field}")
}

pub(super) fn split(key: &str) -> Option<(&str, &str, &str)> {
    let mut parts = key.splitn(3, SEPARATOR);
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// An address as attendees are told apart by.
pub(super) fn address(value: &str) -> String {
    let value = value.trim();
    let bare = match value.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => &value[7..],
        _ => value,
    };
    bare.chars().filter(|c| !c.is_control()).collect::<String>().to_lowercase()
}

pub(super) fn attendee_field(address: &str) -> String {
    format!("ATTENDEE{SEPARATOR}{address}")
}

pub(super) fn partstat_field(address: &str) -> String {
    format!("PARTSTAT{SEPARATOR}{address}")
}

pub(super) fn exdate_field(zones: &Zones, time: &EventTime) -> String {
    format!("EXDATE{SEPARATOR}{}", zones.key(time))
}

/// The fields of a component that was read.
pub(super) fn of(component: &Component, zones: &Zones) -> Fields {
    let mut fields = Fields::new();
    fields.insert(KIND.to_owned(), component.name.clone());
    for Line { name, rest } in &component.lines {
        match name.as_str() {
            "UID" => {}
            "ATTENDEE" => {
                let address = address(&rest.value);
                let mut rest = rest.clone();
                if let Some(status) = rest.param("PARTSTAT") {
                    rest.params.retain(|(name, _)| name != "PARTSTAT");
                    fields.insert(partstat_field(&address), status.to_ascii_uppercase());
                }
                add(&mut fields, &attendee_field(&address), rest.write());
            }
            // Several in a line are one by one, so that two people can each cancel one.
            "EXDATE" | "RDATE" => {
                for value in rest.value.split(',') {
                    let one = Rest { params: rest.params.clone(), value: value.trim().to_owned() };
                    let moment = EventTime::read(&one).map_or_else(|| one.value.clone(), |time| zones.key(&time));
                    fields.insert(format!("{name}{SEPARATOR}{moment}"), one.write());
                }
            }
            _ => add(&mut fields, name, rest.write()),
        }
    }
    for child in &component.children {
        add(&mut fields, &format!("{CHILD}{}", child.name), child.write());
    }
    fields
}

/// Properties that come several times are numbered from the second on.
fn add(fields: &mut Fields, name: &str, value: String) {
    let mut field = name.to_owned();
    for number in 2.. {
        if !fields.contains_key(&field) {
            break;
        }
        field = format!("{name}#{number}");
    }
    fields.insert(field, value);
}

/// The component again, as unfolded lines.
pub(super) fn write(uid: &str, fields: &Fields) -> String {
    let kind = fields.get(KIND).map_or("VEVENT", String::as_str);
    let mut out = format!("BEGIN:{kind}\nUID:{uid}\n");
    let mut children = String::new();
    for (field, value) in fields {
        if field == KIND || field.starts_with("PARTSTAT\u{1f}") {
            continue;
        }
        if field.starts_with(CHILD) {
            if let Some(child) = super::lines::whole(value) {
                children.push_str(&child.write());
                children.push('\n');
            }
            continue;
        }
        let end = field.find([SEPARATOR, '#']).unwrap_or(field.len());
        let (name, discriminator) = field.split_at(end);
        let status = (name == "ATTENDEE")
            .then(|| discriminator.strip_prefix(SEPARATOR)?.split('#').next())
            .flatten()
            .and_then(|address| fields.get(&partstat_field(address)));
        match (status, Rest::parse(value)) {
            (Some(status), Some(mut rest)) => {
                rest.params.push(("PARTSTAT".to_owned(), super::lines::encode_param(status)));
                out.push_str(&format!("{name}{}\n", rest.write()));
            }
            _ => out.push_str(&format!("{name}{value}\n")),
        }
    }
    format!("{out}{children}END:{kind}")
}

pub(super) fn rest(fields: &Fields, name: &str) -> Option<Rest> {
    Rest::parse(fields.get(name)?)
}

pub(super) fn text(fields: &Fields, name: &str) -> String {
    rest(fields, name).map(|rest| super::lines::unescape(&rest.value)).unwrap_or_default()
}

pub(super) fn time(fields: &Fields, name: &str) -> Option<EventTime> {
    EventTime::read(&rest(fields, name)?)
}

/// All properties of a name, with what tells them apart.
pub(super) fn all<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = (&'a str, Rest)> {
    let from = fields.range(name.to_owned()..).take_while(move |(field, _)| field.starts_with(name));
    from.filter_map(move |(field, value)| {
        let rest = &field[name.len()..];
        (rest.is_empty() || rest.starts_with([SEPARATOR, '#'])).then_some(())?;
        Some((rest.trim_start_matches([SEPARATOR, '#']), Rest::parse(value)?))
    })
}
