//! Time, as this machine's clock and zone have it.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in the local zone: only the time for today, the date too for other days.
pub(crate) fn moment(ms: u64) -> String {
    moment_in(ms, now_ms(), &TimeZone::system())
}

/// The day and the wall clock of an instant in a zone.
pub(crate) fn day_and_clock(ms: i64, zone: &str) -> (String, String) {
    let at = Timestamp::from_millisecond(ms).and_then(|instant| instant.in_tz(zone));
    at.map_or_else(
        |_| ("?".to_owned(), "?".to_owned()),
        |at| (at.strftime("%a %Y-%m-%d").to_string(), at.strftime("%H:%M").to_string()),
    )
}

fn moment_in(ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let at = |ms: u64| Some(Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?.to_zoned(zone.clone()));
    let (Some(moment), Some(now)) = (at(ms), at(now_ms)) else { return "?".to_owned() };
    let format = if moment.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_needs_no_date() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let ms = 1_790_000_000_000;
        assert_eq!(moment_in(ms, ms + 60_000, &zone), "16:13");
        assert_eq!(moment_in(ms, ms + 86_400_000, &zone), "2026-09-21 16:13");
        assert_eq!(moment_in(u64::MAX, ms, &zone), "?");
    }
}
