//! A calendar cut into pages, so that what happens on a day can be told without the document.
//!
//! What happens once and is short stands on the pages of its days, in UTC; all else (what recurs, has occurrences that
//! differ, or is long) on the *standing* page, which every question reads. So an answer costs what happens on its days and what
//! recurs, however many years a calendar has behind it.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use calcard::common::timezone::Tz;
use prost::Message as _;

use super::agenda::{self, Query};
use super::fields::{self, Fields, SEPARATOR};
use super::store::Events;
use super::time::{self, Zones};
use super::{Agenda, Calendar, EXPANSION_MAX};
use crate::CrdtError;

/// The longest event that stands on the pages of its days, in days.
const SHORT_DAYS_MAX: i64 = 8;
/// The longest span that is answered from pages, in days.
pub const PAGED_DAYS_MAX: i64 = 400;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// What an agenda shows, and what it follows from.
const SHOWN: [&str; 11] = [
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    "SUMMARY",
    "LOCATION",
    "STATUS",
    "ATTENDEE",
];
/// The status of an attendee, which is a field of its own.
const PARTSTAT: &str = "PARTSTAT";

/// Names a page of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgendaPage {
    /// What any day may have, and what the names of zones mean.
    Standing,
    /// What happens on a day, in days since 1970 in UTC.
    Day(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePage {
    #[prost(message, repeated, tag = "1")]
    events: Vec<WireEvent>,
    #[prost(btree_map = "string, string", tag = "2")]
    zones: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireEvent {
    #[prost(string, tag = "1")]
    uid: String,
    #[prost(message, repeated, tag = "2")]
    components: Vec<WireComponent>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireComponent {
    #[prost(string, tag = "1")]
    recurrence: String,
    #[prost(btree_map = "string, string", tag = "2")]
    fields: BTreeMap<String, String>,
}

impl Calendar<'_> {
    /// The pages that [`agenda_of_pages`] answers from.
    #[must_use]
    pub fn pages(&self) -> BTreeMap<AgendaPage, Vec<u8>> {
        let zones = self.zones(Tz::UTC);
        let named = zones.named.iter().filter_map(|(name, tz)| Some((name.clone(), tz.name()?.into_owned())));
        let mut pages = BTreeMap::from([(AgendaPage::Standing, WirePage { events: vec![], zones: named.collect() })]);
        for (uid, components) in self.all() {
            let days = days_of(&components, &zones);
            let event = written(uid, components);
            match days {
                Some(days) => days.for_each(|day| {
                    pages.entry(AgendaPage::Day(day)).or_default().events.push(event.clone());
                }),
                None => pages.entry(AgendaPage::Standing).or_default().events.push(event),
            }
        }
        pages.into_iter().map(|(name, page)| (name, page.encode_to_vec())).collect()
    }
}

/// As [`Calendar::agenda`], from a calendar's pages; `None` if the span is longer than [`PAGED_DAYS_MAX`].
///
/// # Errors
///
/// [`CrdtError::Invalid`] if the zone is not known, [`CrdtError::DamagedSnapshot`] if a page is none, and those of `page`,
/// which finds a page if there is one.
pub fn agenda_of_pages<E: From<CrdtError>>(
    from_ms: i64,
    to_ms: i64,
    zone: &str,
    mut page: impl FnMut(AgendaPage) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<Agenda>, E> {
    let here = time::tz(zone)?;
    // A whole day here may begin a day earlier or end a day later than there.
    let days = from_ms.div_euclid(DAY_MS).saturating_sub(1)..=to_ms.div_euclid(DAY_MS).saturating_add(1);
    if days.end().saturating_sub(*days.start()) > PAGED_DAYS_MAX {
        return Ok(None);
    }
    let mut zones = Zones { named: BTreeMap::new(), here };
    let mut events = Events::new();
    for name in std::iter::once(AgendaPage::Standing).chain(days.map(AgendaPage::Day)) {
        let Some(bytes) = page(name)? else { continue };
        let read = WirePage::decode(bytes.as_slice()).map_err(|_| CrdtError::DamagedSnapshot)?;
        zones.named.extend(read.zones.into_iter().filter_map(|(name, tz)| Some((name, Tz::from_str(&tz).ok()?))));
        for event in read.events {
            let components = event.components.into_iter().map(|component| (component.recurrence, component.fields));
            events.insert(event.uid, components.collect());
        }
    }
    let mut query = Query { from_ms, to_ms, zones: &zones, budget: EXPANSION_MAX, agenda: Agenda::default() };
    for (uid, components) in &events {
        query.event(uid, components);
    }
    Ok(Some(query.agenda.sorted()))
}

/// The days of an event that happens once; `None` if it may be on any day.
fn days_of(components: &BTreeMap<String, Fields>, zones: &Zones) -> Option<std::ops::RangeInclusive<i64>> {
    let (recurrence, fields) = components.first_key_value()?;
    let recurs = ["RRULE", "RDATE"].into_iter().any(|name| fields::all(fields, name).next().is_some());
    if components.len() > 1 || !recurrence.is_empty() || recurs {
        return None;
    }
    let start = fields::time(fields, "DTSTART")?;
    let start_ms = zones.instant_ms(&start);
    let end_ms = agenda::length(fields, &start, zones).end_ms(zones, &start).max(start_ms);
    let days = start_ms.div_euclid(DAY_MS)..=end_ms.div_euclid(DAY_MS);
    (days.end() - days.start() <= SHORT_DAYS_MAX).then_some(days)
}

fn written(uid: String, components: BTreeMap<String, Fields>) -> WireEvent {
    let is_shown = |field: &str| {
        let name = field.split([SEPARATOR, '#']).next().unwrap_or_default();
        name == PARTSTAT || SHOWN.contains(&name)
    };
    let component = |(recurrence, mut fields): (String, Fields)| {
        fields.retain(|field, _| is_shown(field));
        WireComponent { recurrence, fields }
    };
    WireEvent { uid, components: components.into_iter().map(component).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Document, DocumentKind, EventDraft, EventPatch};

    const NOW_MS: u64 = 1_790_000_000_000;

    fn check(document: &mut Document, from_ms: i64, to_ms: i64) -> usize {
        let calendar = document.calendar().unwrap();
        let pages = calendar.pages();
        let page = |name: AgendaPage| Ok::<_, CrdtError>(pages.get(&name).cloned());
        let mut found = 0;
        for zone in ["UTC", "Asia/Shanghai", "Pacific/Kiritimati", "Pacific/Niue", "Europe/Berlin"] {
            let whole = calendar.agenda(from_ms, to_ms, zone).unwrap();
            let paged = agenda_of_pages(from_ms, to_ms, zone, page).unwrap();
            assert_eq!(paged, Some(whole.clone()), "{zone} {from_ms}");
            found += whole.occurrences.len();
        }
        found
    }

    #[test]
    fn pages_of_imported_calendars_say_what_the_calendars_say() {
        for ics in [
            include_str!("../../tests/fixtures/ics/outlook.ics"),
            include_str!("../../tests/fixtures/ics/google.ics"),
            include_str!("../../tests/fixtures/ics/apple-zh.ics"),
            include_str!("../../tests/fixtures/ics/garbage.ics"),
        ] {
            let mut document = Document::new(DocumentKind::Calendar, Actor::new([1; 32], [0; 4], 0));
            document.calendar().unwrap().import_ics(ics, NOW_MS).unwrap();
            let mut found = 0;
            for week in 0..120 {
                let from_ms = 1_735_700_000_000 + week * 7 * DAY_MS;
                found += check(&mut document, from_ms, from_ms + 7 * DAY_MS);
            }
            assert!(found > 0);
        }
    }

    #[test]
    fn what_happened_once_long_ago_is_on_no_page_of_today() {
        let mut document = Document::new(DocumentKind::Calendar, Actor::new([1; 32], [0; 4], 0));
        for n in 0..1_000 {
            let patch = EventPatch { summary: Some(format!("会议 {n}")), ..EventPatch::default() };
            let start = format!("2020-01-{:02}T09:00[Asia/Shanghai]", n % 28 + 1).parse().unwrap();
            document.calendar().unwrap().add(&EventDraft { uid: format!("{n}"), start, patch }, NOW_MS).unwrap();
        }
        let pages = document.calendar().unwrap().pages();
        assert_eq!(pages.len(), 1 + 28);
        assert!(pages[&AgendaPage::Standing].is_empty());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn pages_say_what_the_calendar_says(
            events in proptest::collection::vec((0..60_i64, 0..1_440_i64, 0..20_000_i64, 0..6_usize, 0..4_usize), 1..12),
            from in 0..60_i64,
            days in 1..40_i64,
        ) {
            let mut document = Document::new(DocumentKind::Calendar, Actor::new([1; 32], [0; 4], 0));
            for (n, (day, minute, minutes, zone, rule)) in events.iter().enumerate() {
                let local = chrono::DateTime::from_timestamp_millis(1_773_000_000_000 + day * DAY_MS + minute * 60_000);
                let start = local.unwrap().naive_utc();
                let end = start + chrono::Duration::minutes(*minutes);
                let written = |time: chrono::NaiveDateTime| match zone {
                    0 => time.format("%Y-%m-%d").to_string(),
                    1 => time.format("%Y-%m-%dT%H:%M").to_string(),
                    2 => time.format("%Y-%m-%dT%H:%MZ").to_string(),
                    3 => time.format("%Y-%m-%dT%H:%M[Asia/Tokyo]").to_string(),
                    4 => time.format("%Y-%m-%dT%H:%M[America/New_York]").to_string(),
                    _ => time.format("%Y-%m-%dT%H:%M[Europe/Berlin]").to_string(),
                };
                let rule = ["", "", "FREQ=WEEKLY", "FREQ=DAILY;COUNT=5"][*rule];
                let patch = EventPatch {
                    summary: Some(format!("{n}")),
                    end: Some(written(end).parse().unwrap()),
                    rrule: (!rule.is_empty()).then(|| rule.to_owned()),
                    ..EventPatch::default()
                };
                let draft = EventDraft { uid: format!("{n}"), start: written(start).parse().unwrap(), patch };
                // A whole day ends on a day behind it.
                let _ = document.calendar().unwrap().add(&draft, NOW_MS);
            }
            let from_ms = 1_773_000_000_000 + from * DAY_MS;
            check(&mut document, from_ms, from_ms + days * DAY_MS);
        }
    }
}
