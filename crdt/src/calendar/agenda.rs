//! What happens in a span of time: recurrences expanded, exceptions and overrides honoured.
//!
//! Recurrence rules are expanded by calcard on the wall clock, without a zone; each result is then brought to its
//! instant here. So an event at nine stays at nine when clocks change.

use std::collections::{BTreeMap, BTreeSet};

use calcard::common::PartialDateTime;
use calcard::common::timezone::Tz;
use calcard::icalendar::{ICalendar, ICalendarFrequency, ICalendarProperty, ICalendarRecurrenceRule, ICalendarValue};
use chrono::{Datelike, Duration, NaiveDateTime, Timelike};

use super::event::{Attendee, attendees};
use super::fields::{self, Fields, SEPARATOR};
use super::time::{EventTime, Length, Zones, local_of};

/// How many recurrences one query looks at. Of rules that count (COUNT, months, years) it looks at those before the span
/// as well.
pub const EXPANSION_MAX: usize = 100_000;

/// How far wall clocks jump, at most.
const CLOCK_CHANGE: Duration = Duration::hours(2);

/// In which years recurrences are expanded; an event of other years happens once.
const YEARS: std::ops::RangeInclusive<i32> = 1800..=2300;

/// What happens in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// In order of their starts.
    pub occurrences: Vec<Occurrence>,
    /// Whether there was more than [`EXPANSION_MAX`] lets one query look at.
    pub truncated: bool,
}

/// An event as it happens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The event.
    pub uid: String,
    /// Which of its occurrences this is, for those of a recurring event; [`Calendar::update_occurrence`] and
    /// [`Calendar::exclude`] take it.
    ///
    /// [`Calendar::update_occurrence`]: super::Calendar::update_occurrence
    /// [`Calendar::exclude`]: super::Calendar::exclude
    pub recurrence_id: Option<EventTime>,
    /// Its title.
    pub summary: String,
    /// When it starts, in Unix milliseconds. A whole day starts at midnight in the zone of the query.
    pub start_ms: i64,
    /// When it ends, in Unix milliseconds; not part of it.
    pub end_ms: i64,
    /// Whether it is of whole days.
    pub all_day: bool,
    /// The zone it is kept in (IANA name where there is one); none for whole days and floating times.
    pub zone: Option<String>,
    /// Where.
    pub location: String,
    /// `CONFIRMED`, `TENTATIVE`, `CANCELLED` or another; empty when nothing is said.
    pub status: String,
    /// Who.
    pub attendees: Vec<Attendee>,
    /// Whether this occurrence differs from the others of its event.
    pub is_override: bool,
}

/// A span to look at.
pub(super) struct Query<'a> {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) zones: &'a Zones,
    /// How many more recurrences may be looked at.
    pub(super) budget: usize,
    pub(super) agenda: Agenda,
}

impl Query<'_> {
    /// Looks at one event: its components by recurrence id, the one without being the event itself.
    pub(super) fn event(&mut self, uid: &str, components: &BTreeMap<String, Fields>) {
        let mut overridden = BTreeSet::new();
        for (recurrence, fields) in components.iter().filter(|(recurrence, _)| !recurrence.is_empty()) {
            overridden.insert(recurrence.clone());
            let which = fields::time(fields, "RECURRENCE-ID");
            if let Some(start) = fields::time(fields, "DTSTART").or_else(|| which.clone()) {
                let length = length(fields, &start, self.zones);
                self.add(uid, fields, &start, length, which, true);
            }
        }
        let Some(fields) = components.get("") else { return };
        let Some(start) = fields::time(fields, "DTSTART") else { return };
        let length = length(fields, &start, self.zones);
        let recurs = fields::all(fields, "RRULE").next().is_some() || fields::all(fields, "RDATE").next().is_some();
        if !recurs {
            self.add(uid, fields, &start, length, None, false);
            return;
        }
        for time in self.starts(fields, &start, length) {
            if !overridden.contains(&self.zones.key(&time)) {
                self.add(uid, fields, &time, length, Some(time.clone()), false);
            }
        }
    }

    fn add(
        &mut self,
        uid: &str,
        fields: &Fields,
        start: &EventTime,
        length: Length,
        recurrence_id: Option<EventTime>,
        is_override: bool,
    ) {
        let start_ms = self.zones.instant_ms(start);
        let end_ms = length.end_ms(self.zones, start).max(start_ms);
        let is_inside = start_ms < self.to_ms && (end_ms > self.from_ms || start_ms >= self.from_ms);
        if !is_inside {
            return;
        }
        self.agenda.occurrences.push(Occurrence {
            uid: uid.to_owned(),
            recurrence_id,
            summary: fields::text(fields, "SUMMARY"),
            start_ms,
            end_ms,
            all_day: start.is_all_day(),
            zone: self.zones.name(start),
            location: fields::text(fields, "LOCATION"),
            status: fields::text(fields, "STATUS").to_ascii_uppercase(),
            attendees: attendees(fields),
            is_override,
        });
    }

    /// When a recurring event starts, exceptions left out; those long before the span may be missing.
    fn starts(&mut self, fields: &Fields, start: &EventTime, length: Length) -> Vec<EventTime> {
        let mut times: BTreeMap<String, EventTime> = BTreeMap::from([(self.zones.key(start), start.clone())]);
        for (_, rule) in fields::all(fields, "RRULE") {
            for local in self.expand(&rule.value, start, length) {
                let time = start.with_local(local);
                times.insert(self.zones.key(&time), time);
            }
        }
        for (_, rest) in fields::all(fields, "RDATE") {
            // Of a period its start.
            let value = rest.value.split('/').next().unwrap_or_default();
            if let Some(time) = EventTime::read_value(value, rest.param("TZID").as_deref())
                && time.is_all_day() == start.is_all_day()
            {
                times.insert(self.zones.key(&time), time);
            }
        }
        let mut days = BTreeSet::new();
        for (_, rest) in fields::all(fields, "EXDATE") {
            match EventTime::read(&rest) {
                // Many programs except a day where they mean what happens on it.
                Some(EventTime::Date(day)) if !start.is_all_day() => {
                    days.insert(day);
                }
                Some(time) => {
                    times.remove(&self.zones.key(&time));
                }
                None => {}
            }
        }
        times.into_values().filter(|time| !days.contains(&time.local().date())).collect()
    }

    fn expand(&mut self, rule: &str, start: &EventTime, length: Length) -> Vec<NaiveDateTime> {
        let (tz, first) = (self.zones.of(start), start.local());
        let last = local_of(&tz, self.to_ms).checked_add_signed(CLOCK_CHANGE).unwrap_or(first);
        let Some(mut rule) = parse_rule(rule).filter(|_| YEARS.contains(&first.year()) && first <= last) else {
            return Vec::new();
        };
        let until = rule.until.as_ref().map(|until| until_local(until, &tz));
        let span = CLOCK_CHANGE
            + Duration::milliseconds(length.ms.clamp(0, 1 << 40))
            + Duration::days(length.days.min(36_600) as i64);
        let is_over = until
            .is_some_and(|until| until.checked_add_signed(span).is_some_and(|end| end < local_of(&tz, self.from_ms)));
        if is_over || until.is_some_and(|until| until < first) {
            return Vec::new();
        }
        // No rule is expanded beyond the span, so that one without an end has one.
        rule.until = Some(partial(until.map_or(last, |until| until.min(last))));
        let since = local_of(&tz, self.from_ms).checked_sub_signed(span).unwrap_or(first);
        let starts = run(&rule, skip(&rule, first, since), self.budget);
        self.agenda.truncated |= starts.len() >= self.budget;
        self.budget -= starts.len().min(self.budget);
        starts
    }
}

impl Agenda {
    pub(super) fn sorted(mut self) -> Self {
        self.occurrences.sort_by(|a, b| {
            let key = |o: &Occurrence| (o.start_ms, !o.all_day, o.end_ms);
            key(a).cmp(&key(b)).then_with(|| (&a.summary, &a.uid).cmp(&(&b.summary, &b.uid)))
        });
        self
    }
}

/// How long it takes: by its end, exactly; by its duration, nominally (RFC 5545, 3.8.5.3); else a day or no time.
pub(super) fn length(fields: &Fields, start: &EventTime, zones: &Zones) -> Length {
    let nothing = Length { days: 0, ms: 0 };
    if let Some(end) = fields::time(fields, "DTEND") {
        if start.is_all_day() {
            let days = (end.local().date() - start.local().date()).num_days();
            return Length { days: u64::try_from(days).unwrap_or(0).max(1), ms: 0 };
        }
        return Length { days: 0, ms: (zones.instant_ms(&end) - zones.instant_ms(start)).max(0) };
    }
    match fields::rest(fields, "DURATION").and_then(|rest| Length::read(&rest.value)) {
        Some(length) => length,
        None if start.is_all_day() => Length { days: 1, ms: 0 },
        None => nothing,
    }
}

/// Reads a recurrence rule, if it is one.
pub(super) fn parse_rule(rule: &str) -> Option<ICalendarRecurrenceRule> {
    if rule.contains(|c: char| c.is_control() || c == SEPARATOR) {
        return None;
    }
    let calendar = ICalendar::parse(format!("BEGIN:VEVENT\r\nRRULE:{rule}\r\nEND:VEVENT\r\n")).ok()?;
    let mut entries = calendar.components.into_iter().flat_map(|component| component.entries);
    let entry = entries.find(|entry| entry.name == ICalendarProperty::Rrule)?;
    match entry.values.into_iter().next() {
        Some(ICalendarValue::RecurrenceRule(rule)) => Some(*rule),
        _ => None,
    }
}

/// When a rule ends, on the wall clock of its event.
fn until_local(until: &PartialDateTime, tz: &Tz) -> NaiveDateTime {
    let Some(time) = until.to_date_time() else { return NaiveDateTime::MAX };
    match (until.has_time(), time.offset) {
        (false, _) => time.date_time.date().and_hms_opt(23, 59, 59).unwrap_or(time.date_time),
        (true, Some(offset)) => {
            let utc_ms = time.date_time.and_utc().timestamp_millis() - i64::from(offset.local_minus_utc()) * 1_000;
            local_of(tz, utc_ms)
        }
        (true, None) => time.date_time,
    }
}

fn partial(local: NaiveDateTime) -> PartialDateTime {
    let small = |number: u32| u8::try_from(number).ok();
    PartialDateTime {
        year: u16::try_from(local.year()).ok(),
        month: small(local.month()),
        day: small(local.day()),
        hour: small(local.hour()),
        minute: small(local.minute()),
        second: small(local.second()),
        ..PartialDateTime::default()
    }
}

/// A later start that the rule goes on from as it would from its first, so that years past are not gone through.
fn skip(rule: &ICalendarRecurrenceRule, first: NaiveDateTime, since: NaiveDateTime) -> NaiveDateTime {
    let unit_s: i64 = match rule.freq {
        // Months and years are not of one length, and few.
        ICalendarFrequency::Yearly | ICalendarFrequency::Monthly => return first,
        ICalendarFrequency::Weekly => 604_800,
        ICalendarFrequency::Daily => 86_400,
        ICalendarFrequency::Hourly => 3_600,
        ICalendarFrequency::Minutely => 60,
        ICalendarFrequency::Secondly => 1,
    };
    let period_s = unit_s * i64::from(rule.interval.unwrap_or(1).max(1));
    let periods = (since - first).num_seconds() / period_s - 1;
    if rule.count.is_some() || periods <= 0 {
        return first;
    }
    first.checked_add_signed(Duration::seconds(periods * period_s)).unwrap_or(first)
}

fn run(rule: &ICalendarRecurrenceRule, first: NaiveDateTime, limit: usize) -> Vec<NaiveDateTime> {
    let start = EventTime::Floating(first).basic();
    let Ok(mut calendar) =
        ICalendar::parse(format!("BEGIN:VEVENT\r\nDTSTART:{start}\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\n"))
    else {
        return Vec::new();
    };
    for entry in calendar.components.iter_mut().flat_map(|component| &mut component.entries) {
        if entry.name == ICalendarProperty::Rrule {
            entry.values = vec![ICalendarValue::RecurrenceRule(Box::new(rule.clone()))];
        }
    }
    calendar.expand_dates(Tz::Floating, limit).events.into_iter().map(|event| event.start.naive_local()).collect()
}
