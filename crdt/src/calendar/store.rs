//! Fields to and from Automerge.

use std::collections::{BTreeMap, BTreeSet};

use automerge::transaction::Transactable;
use automerge::{AutomergeError, ObjId, ReadDoc};
use calcard::common::timezone::Tz;
use chrono::DateTime;

use super::fields::{self, Fields, SEPARATOR};
use super::time::{EventTime, Zones};
use super::{Calendar, lines};
use crate::{CrdtError, DocumentKind, kind};

/// Where events are kept.
const EVENTS: &str = "events";
/// Where `VTIMEZONE` components are kept, by TZID.
pub(super) const ZONES: &str = "zones";
/// Where components that this schema does not know are kept (`VTODO` and so on).
pub(super) const OTHERS: &str = "others";
/// Where the properties of the calendar itself are kept.
pub(super) const PROPERTIES: &str = "properties";
/// The longest field of an event, in bytes: some programs put attached files into one.
const FIELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events by UID, then by recurrence id.
pub(super) type Events = BTreeMap<String, BTreeMap<String, Fields>>;

impl Calendar<'_> {
    /// Every event.
    pub(super) fn all(&self) -> Events {
        let mut events = Events::new();
        self.read(.., |uid, recurrence, field, value| {
            let components = events.entry(uid.to_owned()).or_default();
            components.entry(recurrence.to_owned()).or_default().insert(field.to_owned(), value.to_owned());
        });
        for components in events.values_mut() {
            components.retain(|_, fields| exists(fields));
        }
        events.retain(|_, components| !components.is_empty());
        events
    }

    /// The components of one UID by recurrence id.
    pub(super) fn components(&self, uid: &str) -> BTreeMap<String, Fields> {
        let mut components = self.remains(uid);
        components.retain(|_, fields| exists(fields));
        components
    }

    /// As `components`, with the fields of those that were removed while somebody changed them.
    fn remains(&self, uid: &str) -> BTreeMap<String, Fields> {
        let mut components: BTreeMap<String, Fields> = BTreeMap::new();
        self.read(format!("{uid}{SEPARATOR}")..format!("{uid} "), |_, recurrence, field, value| {
            components.entry(recurrence.to_owned()).or_default().insert(field.to_owned(), value.to_owned());
        });
        components
    }

    fn read(&self, range: impl std::ops::RangeBounds<String>, mut each: impl FnMut(&str, &str, &str, &str)) {
        for item in self.document.automerge().map_range(object(EVENTS), range) {
            let value = automerge::Value::from(item.value.clone());
            let (Some((uid, recurrence, field)), Some(value)) = (fields::split(&item.key), value.as_str()) else {
                continue;
            };
            // Others' documents may hold anything; a line break here would become one in a file.
            let is_sound = |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, SEPARATOR | '\t'));
            let is_child = field.len() > 1 && field.starts_with(fields::KIND);
            if is_sound(&item.key) && (is_child || is_sound(value)) {
                each(uid, recurrence, field, value);
            }
        }
    }

    /// One of the other maps.
    pub(super) fn strings(&self, map: &str) -> BTreeMap<String, String> {
        let items = self.document.automerge().map_range(object(map), ..);
        let text = |value| automerge::Value::from(value).as_str().map(str::to_owned);
        items.filter_map(|item| Some((item.key.to_string(), text(item.value.clone())?))).collect()
    }

    /// What the names of zones mean in this calendar.
    pub(super) fn zones(&self, here: Tz) -> Zones {
        let meaning = |text: &str| {
            let zone = lines::whole(text)?;
            let value = |name| zone.line(name).map(|rest| rest.value.trim().to_owned());
            let by_place = value("X-LIC-LOCATION").and_then(|place| place.parse().ok());
            by_place.or_else(|| Tz::from_ms_cdo_zone_id(&value("X-MICROSOFT-CDO-TZID")?))
        };
        let zones = self.strings(ZONES);
        Zones { named: zones.into_iter().filter_map(|(name, text)| Some((name, meaning(&text)?))).collect(), here }
    }

    /// Sets or removes a field.
    pub(super) fn set(
        &mut self,
        uid: &str,
        recurrence: &str,
        field: &str,
        value: Option<&str>,
    ) -> Result<(), CrdtError> {
        self.put(EVENTS, &fields::key(uid, recurrence, field), value)
    }

    /// Sets or removes an entry of one of the maps.
    pub(super) fn put(&mut self, map: &str, key: &str, value: Option<&str>) -> Result<(), CrdtError> {
        let doc = self.document.automerge_mut();
        match value {
            Some(value) if value.len() + key.len() > FIELD_BYTES_MAX => {
                Err(CrdtError::TooLarge { what: "a field", bytes: value.len() + key.len(), limit: FIELD_BYTES_MAX })
            }
            Some(value) => doc.put(object(map), key, value).map_err(broken),
            None => doc.delete(object(map), key).map_err(broken),
        }
    }

    /// Makes a component be of exactly these fields; of none to remove it. Whether anything changed.
    pub(super) fn replace(&mut self, uid: &str, recurrence: &str, wanted: &Fields) -> Result<(), CrdtError> {
        let now = self.remains(uid).remove(recurrence).unwrap_or_default();
        let gone: BTreeSet<&String> = now.keys().filter(|field| !wanted.contains_key(*field)).collect();
        for field in gone {
            self.set(uid, recurrence, field, None)?;
        }
        for (field, value) in wanted {
            if now.get(field) != Some(value) {
                self.set(uid, recurrence, field, Some(value))?;
            }
        }
        Ok(())
    }
}

fn object(map: &str) -> ObjId {
    kind::genesis_object(DocumentKind::Calendar, map)
}

fn broken(_: AutomergeError) -> CrdtError {
    CrdtError::Internal("the calendar could not be changed")
}

fn exists(fields: &Fields) -> bool {
    fields.get(fields::KIND).is_some_and(|kind| kind == "VEVENT")
}

/// A time stamp as a property is written.
pub(super) fn stamp(now_ms: u64) -> String {
    let time = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    EventTime::Utc(time.naive_utc()).write().write()
}

/// The fields after some changes.
pub(super) fn changed(now: &Fields, changes: &[(String, Option<String>)]) -> Fields {
    let mut fields = now.clone();
    for (field, value) in changes {
        match value {
            Some(value) => fields.insert(field.clone(), value.clone()),
            None => fields.remove(field),
        };
    }
    fields
}

/// Whether an event that somebody makes here has a start, ends after it and is in zones that are known.
pub(super) fn check_times(fields: &Fields, zones: &Zones) -> Result<(), CrdtError> {
    let Some(start) = fields::time(fields, "DTSTART") else {
        return Err(CrdtError::Invalid("an event needs a start"));
    };
    let end = fields::time(fields, "DTEND");
    let is_unknown = |time: &EventTime| matches!(time, EventTime::Zoned { zone, .. } if zones.find(zone).is_none());
    if is_unknown(&start) || end.as_ref().is_some_and(is_unknown) {
        return Err(CrdtError::Invalid("this time zone is not known; use an IANA name such as Europe/Berlin"));
    }
    match end {
        Some(end) if end.is_all_day() != start.is_all_day() => {
            Err(CrdtError::Invalid("an event of whole days starts and ends with a day, others with a time"))
        }
        Some(end) if zones.instant_ms(&end) < zones.instant_ms(&start) => {
            Err(CrdtError::Invalid("an event cannot end before it starts"))
        }
        _ => Ok(()),
    }
}
