//! Dates and times of events, and the instants they stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use calcard::common::timezone::Tz;
use chrono::{DateTime, Days, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

use super::lines::Rest;
use crate::CrdtError;

/// When an event starts or ends.
///
/// Its text form, for [`FromStr`] and [`Display`](fmt::Display): `2026-03-29` (all day), `2026-03-29T09:00:00` (floating: the
/// same wall clock wherever one is), `2026-03-29T07:00:00Z` (UTC), `2026-03-29T09:00:00[Europe/Berlin]` (RFC 9557).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// A whole day.
    Date(NaiveDate),
    /// A wall clock time wherever one is.
    Floating(NaiveDateTime),
    /// A time in UTC.
    Utc(NaiveDateTime),
    /// A wall clock time in a zone.
    Zoned {
        /// The wall clock.
        local: NaiveDateTime,
        /// The zone as the calendar names it: an IANA name, or one that a `VTIMEZONE` or a Windows machine uses.
        zone: String,
    },
}

impl FromStr for EventTime {
    type Err = CrdtError;

    fn from_str(text: &str) -> Result<Self, CrdtError> {
        const INVALID: CrdtError = CrdtError::Invalid(
            "this is not a date or time; write 2026-03-29, 2026-03-29T09:00, 2026-03-29T09:00Z or 2026-03-29T09:00[Europe/Berlin]",
        );
        let clock = |text: &str| {
            let text = text.replacen(' ', "T", 1);
            ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
        };
        let time = if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Some(Self::Date(date))
        } else if let Some(utc) = text.strip_suffix('Z') {
            clock(utc).map(Self::Utc)
        } else if let Some((local, zone)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            tz(zone)?;
            clock(local).map(|local| Self::Zoned { local, zone: zone.to_owned() })
        } else {
            clock(text).map(Self::Floating)
        };
        time.ok_or(INVALID)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CLOCK: &str = "%Y-%m-%dT%H:%M:%S";
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Floating(local) => local.format(CLOCK).fmt(f),
            Self::Utc(time) => write!(f, "{}Z", time.format(CLOCK)),
            Self::Zoned { local, zone } => write!(f, "{}[{zone}]", local.format(CLOCK)),
        }
    }
}

impl EventTime {
    /// Reads a date or time property.
    pub(super) fn read(rest: &Rest) -> Option<Self> {
        Self::read_value(&rest.value, rest.param("TZID").as_deref())
    }

    /// Reads one value of a property that has this zone.
    pub(super) fn read_value(value: &str, zone: Option<&str>) -> Option<Self> {
        let value = value.trim();
        if value.len() == 8 {
            return ics_date(value).map(Self::Date);
        }
        let (clock, is_utc) = match value.strip_suffix(['Z', 'z']) {
            Some(clock) => (clock, true),
            None => (value, false),
        };
        let (date, time) = clock.split_once(['T', 't'])?;
        let local = ics_date(date)?.and_time(ics_time(time)?);
        Some(match zone {
            _ if is_utc => Self::Utc(local),
            Some(zone) if !zone.is_empty() => Self::Zoned { local, zone: zone.to_owned() },
            _ => Self::Floating(local),
        })
    }

    /// As a property is written.
    pub(super) fn write(&self) -> Rest {
        let param = |name: &str, value: &str| vec![(name.to_owned(), super::lines::encode_param(value))];
        match self {
            Self::Date(_) => Rest { params: param("VALUE", "DATE"), value: self.basic() },
            Self::Zoned { zone, .. } => Rest { params: param("TZID", zone), value: self.basic() },
            _ => Rest::plain(&self.basic()),
        }
    }

    /// The value alone.
    pub(super) fn basic(&self) -> String {
        match self {
            Self::Date(date) => date.format("%Y%m%d").to_string(),
            Self::Floating(local) | Self::Zoned { local, .. } => local.format("%Y%m%dT%H%M%S").to_string(),
            Self::Utc(time) => time.format("%Y%m%dT%H%M%SZ").to_string(),
        }
    }

    /// Is it a whole day?
    #[must_use]
    pub fn is_all_day(&self) -> bool {
        matches!(self, Self::Date(_))
    }

    /// About when that is, in Unix milliseconds: in UTC, if it does not say in which zone, or in none that is known.
    #[must_use]
    pub fn about_ms(&self) -> i64 {
        Zones { named: BTreeMap::new(), here: Tz::UTC }.instant_ms(self)
    }

    /// The wall clock.
    pub(super) fn local(&self) -> NaiveDateTime {
        match self {
            Self::Date(date) => date.and_time(NaiveTime::MIN),
            Self::Floating(local) | Self::Utc(local) | Self::Zoned { local, .. } => *local,
        }
    }

    /// The same kind of time at another wall clock.
    pub(super) fn with_local(&self, local: NaiveDateTime) -> Self {
        match self {
            Self::Date(_) => Self::Date(local.date()),
            Self::Floating(_) => Self::Floating(local),
            Self::Utc(_) => Self::Utc(local),
            Self::Zoned { zone, .. } => Self::Zoned { local, zone: zone.clone() },
        }
    }
}

fn ics_date(text: &str) -> Option<NaiveDate> {
    let is_digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let year = i32::try_from(number(0..4).filter(|_| is_digits)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(4..6)?, number(6..8)?)
}

fn ics_time(text: &str) -> Option<NaiveTime> {
    let is_digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    // A leap second is the last of its minute.
    NaiveTime::from_hms_opt(number(0..2).filter(|_| is_digits)?, number(2..4)?, number(4..6)?.min(59))
}

/// A zone by its IANA or Windows name.
pub(super) fn tz(name: &str) -> Result<Tz, CrdtError> {
    Tz::from_str(name)
        .map_err(|()| CrdtError::Invalid("this time zone is not known; use an IANA name such as Europe/Berlin"))
}

/// What zones a calendar's names mean.
#[derive(Debug)]
pub(super) struct Zones {
    /// Names that a `VTIMEZONE` explains.
    pub(super) named: BTreeMap<String, Tz>,
    /// Where whoever asks is: the zone of floating times and whole days, and of names that nobody knows.
    pub(super) here: Tz,
}

impl Zones {
    pub(super) fn find(&self, name: &str) -> Option<Tz> {
        Tz::from_str(name).ok().or_else(|| self.named.get(name).copied())
    }

    pub(super) fn of(&self, time: &EventTime) -> Tz {
        match time {
            EventTime::Date(_) | EventTime::Floating(_) => self.here,
            EventTime::Utc(_) => Tz::UTC,
            EventTime::Zoned { zone, .. } => self.find(zone).unwrap_or(self.here),
        }
    }

    /// The instant in Unix milliseconds.
    pub(super) fn instant_ms(&self, time: &EventTime) -> i64 {
        instant_ms(&self.of(time), time.local())
    }

    /// The zone's IANA name, for those that have one.
    pub(super) fn name(&self, time: &EventTime) -> Option<String> {
        match time {
            EventTime::Date(_) | EventTime::Floating(_) => None,
            EventTime::Utc(_) => Some("UTC".to_owned()),
            EventTime::Zoned { zone, .. } => {
                Some(self.find(zone).and_then(|tz| tz.name()).map_or_else(|| zone.clone(), |name| name.into_owned()))
            }
        }
    }

    /// A name for a moment that is the same however the moment is written, to tell occurrences by.
    pub(super) fn key(&self, time: &EventTime) -> String {
        match time {
            EventTime::Zoned { zone, .. } if self.find(zone).is_some() => {
                let utc = DateTime::from_timestamp_millis(self.instant_ms(time)).map(|time| time.naive_utc());
                utc.map_or_else(|| time.basic(), |utc| EventTime::Utc(utc).basic())
            }
            _ => time.basic(),
        }
    }
}

/// When a wall clock shows this. What it shows twice is the first time; what it skips is counted with the offset before
/// (RFC 5545, 3.3.5).
fn instant_ms(tz: &Tz, local: NaiveDateTime) -> i64 {
    match tz.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.timestamp_millis(),
        LocalResult::None => {
            let before = local.checked_sub_signed(Duration::hours(24)).unwrap_or(local);
            match tz.from_local_datetime(&before) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => {
                    time.timestamp_millis() + (local - before).num_milliseconds()
                }
                LocalResult::None => local.and_utc().timestamp_millis(),
            }
        }
    }
}

/// The wall clock of an instant.
pub(super) fn local_of(tz: &Tz, instant_ms: i64) -> NaiveDateTime {
    let utc = DateTime::from_timestamp_millis(instant_ms).unwrap_or_default();
    utc.with_timezone(tz).naive_local()
}

/// How long an event takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Whole days by the calendar, which clock changes do not lengthen.
    pub(super) days: u64,
    /// And so many milliseconds by the stopwatch.
    pub(super) ms: i64,
}

impl Length {
    /// Reads a DURATION (RFC 5545, 3.3.6). A negative one is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim().strip_prefix('+').unwrap_or(text.trim());
        let rest = text.strip_prefix(['P', 'p'])?;
        let (mut days, mut seconds, mut number) = (0_u64, 0_i64, String::new());
        for c in rest.chars() {
            let amount = || number.parse::<u32>().ok();
            match c.to_ascii_uppercase() {
                '0'..='9' => {
                    number.push(c);
                    continue;
                }
                'T' => continue,
                'W' => days += u64::from(amount()?) * 7,
                'D' => days += u64::from(amount()?),
                'H' => seconds += i64::from(amount()?) * 3_600,
                'M' => seconds += i64::from(amount()?) * 60,
                'S' => seconds += i64::from(amount()?),
                _ => return None,
            }
            number.clear();
        }
        number.is_empty().then_some(Self { days, ms: seconds * 1_000 })
    }

    /// The end of what starts then.
    pub(super) fn end_ms(self, zones: &Zones, start: &EventTime) -> i64 {
        let later = start.local().checked_add_days(Days::new(self.days));
        let day = later.map_or_else(|| zones.instant_ms(start), |local| zones.instant_ms(&start.with_local(local)));
        day.saturating_add(self.ms)
    }
}
