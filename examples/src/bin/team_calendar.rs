//! A calendar that a team keeps together: one takes over what she had in another program, the other adds a weekly meeting
//! in his time zone; each reads the agenda in their own; and everything can be taken along again.

#![allow(clippy::print_stdout, reason = "a program for people")]

use clave::{Attendee, EventDraft, EventPatch};
use clave_examples::{Friends, Outcome, until};

/// What another program exported, with a property that Clave does not model.
const EXPORTED: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nBEGIN:VEVENT\r\nUID:launch@example.org\r\n\
    DTSTAMP:20260301T000000Z\r\nDTSTART:20260402T080000Z\r\nDTEND:20260402T090000Z\r\nSUMMARY:发布 Launch\r\n\
    X-ROOM-TOKEN:A-17\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
/// From Monday, March 23 to Friday, April 3, 2026, in Unix milliseconds.
const TWO_WEEKS_MS: (i64, i64) = (1_774_224_000_000, 1_775_174_400_000);
const HOUR_MS: i64 = 3_600_000;

#[tokio::main]
async fn main() -> Outcome {
    let friends = Friends::meet("Team").await?;
    let report = friends.hers.calendar().import_ics(EXPORTED).await?;
    println!("Alice imported {} event", report.added);
    assert_eq!((report.added, report.problems.len()), (1, 0));

    let asked = |address: &str| Attendee {
        address: address.to_owned(),
        name: String::new(),
        role: String::new(),
        partstat: "NEEDS-ACTION".to_owned(),
    };
    let weekly = EventDraft {
        uid: "weekly@example.org".to_owned(),
        start: "2026-03-23T09:00[Europe/Berlin]".parse()?,
        patch: EventPatch {
            summary: Some("周会".to_owned()),
            end: Some("2026-03-23T10:00[Europe/Berlin]".parse()?),
            rrule: Some("FREQ=WEEKLY".to_owned()),
            organizer: Some("bob@example.org".to_owned()),
            invite: vec![asked("alice@example.org")],
            ..EventPatch::default()
        },
    };
    friends.his.calendar().add(weekly).await?;

    // Both events reach both; Alice reads hers in Shanghai.
    let (from_ms, to_ms) = TWO_WEEKS_MS;
    let complete = async || {
        let agenda = friends.hers.calendar().agenda(from_ms, to_ms, "Asia/Shanghai").await?;
        Ok((agenda.occurrences.len() == 3).then_some(agenda))
    };
    let agenda = until(&friends.alice, complete).await?;
    for occurrence in &agenda.occurrences {
        let hours = (occurrence.start_ms - from_ms) / HOUR_MS;
        println!("day {:>2}, {:02}:00 UTC: {}", hours / 24, hours % 24, occurrence.summary);
    }
    // Nine o'clock in Berlin comes an hour earlier once its clocks have changed.
    let starts: Vec<_> = agenda.occurrences.iter().map(|event| (event.start_ms - from_ms) / HOUR_MS).collect();
    assert_eq!(starts, [8, 7 * 24 + 7, 10 * 24 + 8]);

    friends.hers.calendar().reply("weekly@example.org", "alice@example.org", "ACCEPTED").await?;
    let accepted = async || {
        let events = friends.his.calendar().events().await?;
        let answers = events.iter().flat_map(|event| &event.attendees).map(|attendee| attendee.partstat.as_str());
        Ok(answers.into_iter().any(|answer| answer == "ACCEPTED").then_some(()))
    };
    until(&friends.bob, accepted).await?;
    let exported = friends.his.calendar().export_ics().await?;
    assert!(exported.contains("X-ROOM-TOKEN:A-17"), "what Clave does not model is kept");
    println!("Bob exported {} bytes of iCalendar", exported.len());
    friends.part().await;
    Ok(())
}
