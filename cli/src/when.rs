//! Dates and times as people type them for events.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, ToSpan as _, Zoned};

use crate::failure::Failure;

/// How long an event takes when nobody says so.
const USUAL: Duration = Duration::from_secs(3_600);

/// The name of the local zone.
pub(crate) fn zone_name() -> String {
    TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// Start and end of an event as the calendar reads them. A date alone means the whole day.
pub(crate) fn span(at: &str, takes: Option<Duration>) -> Result<(String, Option<String>), Failure> {
    span_in(at, takes, &zone_name())
}

fn span_in(at: &str, takes: Option<Duration>, zone: &str) -> Result<(String, Option<String>), Failure> {
    let wrong = || {
        Failure::usage(format!("“{at}” is not a date or a time"))
            .hint("write 2026-11-23, \"2026-11-23 14:00\" or 2026-11-23T14:00[Asia/Tokyo]")
    };
    if let Ok(date) = at.parse::<Date>()
        && !at.contains([':', 'T', ' '])
    {
        let Some(takes) = takes else { return Ok((date.to_string(), None)) };
        let days = i64::try_from(takes.as_secs().div_ceil(86_400)).map_err(|_| wrong())?;
        let end = date.checked_add(days.days()).map_err(|_| wrong())?;
        return Ok((date.to_string(), Some(end.to_string())));
    }
    let start: Zoned = if at.contains('[') {
        at.parse().map_err(|_| wrong())?
    } else {
        let local: DateTime = at.parse().map_err(|_| wrong())?;
        local.in_tz(zone).map_err(|_| wrong())?
    };
    let takes = SignedDuration::try_from(takes.unwrap_or(USUAL)).map_err(|_| wrong())?;
    let end = start.checked_add(takes).map_err(|_| wrong())?;
    let name = start.time_zone().iana_name().unwrap_or("UTC").to_owned();
    let write = |time: &Zoned| format!("{}[{name}]", time.datetime().strftime("%Y-%m-%dT%H:%M:%S"));
    Ok((write(&start), Some(write(&end))))
}

/// From the beginning of a day (today, if none is given), in Unix milliseconds, so many days.
pub(crate) fn days(from: Option<&str>, count: u16) -> Result<(i64, i64), Failure> {
    let first = match from {
        None => Zoned::now().date(),
        Some(text) => text.parse().map_err(|_| Failure::usage(format!("“{text}” is not a date like 2026-11-23")))?,
    };
    let at = |date: Date| date.to_zoned(TimeZone::system()).map(|midnight| midnight.timestamp().as_millisecond());
    let last = first.checked_add(Span::new().days(i64::from(count)));
    let both = last.and_then(|last| Ok((at(first)?, at(last)?)));
    both.map_err(|_| Failure::usage("this is too far away"))
}

/// The end of somebody's stay, in Unix milliseconds: that of a day (their last), or a moment.
pub(crate) fn until(text: &str) -> Result<u64, Failure> {
    until_in(text, &zone_name(), crate::time::now_ms())
}

fn until_in(text: &str, zone: &str, now_ms: u64) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!("“{text}” is not a date or a time"))
            .hint("write 2026-11-27 (to the end of that day), \"2026-11-27 18:00\" or 2026-11-27T18:00[Asia/Tokyo]")
    };
    let end = if let Ok(date) = text.parse::<Date>()
        && !text.contains([':', 'T', ' '])
    {
        date.tomorrow().and_then(|next| next.in_tz(zone))
    } else if text.contains('[') {
        text.parse()
    } else {
        text.parse::<DateTime>().and_then(|local| local.in_tz(zone))
    };
    let end_ms = u64::try_from(end.map_err(|_| wrong())?.timestamp().as_millisecond()).map_err(|_| wrong())?;
    if end_ms <= now_ms {
        return Err(Failure::usage(format!("“{text}” has passed")).hint("name a date to come"));
    }
    Ok(end_ms)
}

/// A day or a moment, in Unix milliseconds: the beginning of a day, or its end.
pub(crate) fn bound(text: &str, is_end: bool) -> Result<u64, Failure> {
    bound_in(text, is_end, &zone_name())
}

fn bound_in(text: &str, is_end: bool, zone: &str) -> Result<u64, Failure> {
    let time = if let Ok(date) = text.parse::<Date>()
        && !text.contains([':', 'T', ' '])
    {
        let day = if is_end { date.tomorrow() } else { Ok(date) };
        day.and_then(|day| day.in_tz(zone))
    } else if text.contains('[') {
        text.parse()
    } else {
        text.parse::<DateTime>().and_then(|local| local.in_tz(zone))
    };
    let time_ms = time.ok().and_then(|time| u64::try_from(time.timestamp().as_millisecond()).ok());
    time_ms.ok_or_else(|| {
        Failure::usage(format!("“{text}” is not a date or a time"))
            .hint("write 2026-11-23, \"2026-11-23 14:00\" or 2026-11-23T14:00[Asia/Tokyo]")
    })
}

/// A recurrence rule, or the word for one.
pub(crate) fn rule(text: &str) -> String {
    match text {
        "daily" | "weekly" | "monthly" | "yearly" => format!("FREQ={}", text.to_ascii_uppercase()),
        rule => rule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stay_ends_with_its_last_day() {
        let until = |text: &str| until_in(text, "Europe/Berlin", 1_790_000_000_000);
        // Midnight in Berlin is 23:00 in winter.
        assert_eq!(until("2026-11-27").unwrap(), 1_795_820_400_000);
        assert_eq!(until("2026-11-28 00:00").unwrap(), 1_795_820_400_000);
        assert_eq!(until("2026-11-28T08:00[Asia/Tokyo]").unwrap(), 1_795_820_400_000);
        assert!(until("2020-01-01").unwrap_err().message.contains("has passed"));
        assert!(until("Friday").unwrap_err().hint.unwrap().contains("to the end of that day"));
    }

    #[test]
    fn a_search_ends_with_a_day_or_at_a_moment() {
        let bound = |text: &str, is_end| bound_in(text, is_end, "Europe/Berlin");
        assert_eq!(bound("2026-11-28", false).unwrap(), 1_795_820_400_000);
        assert_eq!(bound("2026-11-27", true).unwrap(), 1_795_820_400_000);
        assert_eq!(bound("2026-11-28 00:00", true).unwrap(), 1_795_820_400_000);
        assert_eq!(bound("2026-11-28T08:00[Asia/Tokyo]", false).unwrap(), 1_795_820_400_000);
        assert!(bound("yesterday", false).unwrap_err().hint.unwrap().contains("2026-11-23"));
    }

    #[test]
    fn times_of_events_are_read() {
        let span = |at: &str, takes: Option<u64>| {
            let (start, end) = span_in(at, takes.map(Duration::from_secs), "Europe/Berlin").unwrap();
            (start, end.unwrap_or_default())
        };
        let berlin = |text: &str| format!("{text}[Europe/Berlin]");
        assert_eq!(span("2026-11-23", None), ("2026-11-23".into(), String::new()));
        assert_eq!(span("2026-11-23", Some(2 * 86_400)), ("2026-11-23".into(), "2026-11-25".into()));
        assert_eq!(span("2026-11-23 14:00", None), (berlin("2026-11-23T14:00:00"), berlin("2026-11-23T15:00:00")));
        // The clocks go forward in between.
        assert_eq!(span("2026-03-29T01:30", None), (berlin("2026-03-29T01:30:00"), berlin("2026-03-29T03:30:00")));
        let tokyo = |text: &str| format!("{text}[Asia/Tokyo]");
        assert_eq!(
            span("2026-11-23T14:00[Asia/Tokyo]", Some(60)),
            (tokyo("2026-11-23T14:00:00"), tokyo("2026-11-23T14:01:00"))
        );
        assert!(span_in("tomorrow", None, "UTC").is_err());
        assert_eq!(rule("weekly"), "FREQ=WEEKLY");
        assert_eq!(rule("FREQ=WEEKLY;COUNT=2"), "FREQ=WEEKLY;COUNT=2");
    }
}
