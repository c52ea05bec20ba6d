use calcard::icalendar::{ICalendar, ICalendarComponentType, ICalendarProperty};
use proptest::prelude::*;

use super::*;
use crate::Actor;

const NOW_MS: u64 = 1_790_000_000_000;
const OUTLOOK: &str = include_str!("../../tests/fixtures/ics/outlook.ics");
const GOOGLE: &str = include_str!("../../tests/fixtures/ics/google.ics");
const APPLE: &str = include_str!("../../tests/fixtures/ics/apple-zh.ics");
const GARBAGE: &str = include_str!("../../tests/fixtures/ics/garbage.ics");

fn calendar(author: u8) -> Document {
    Document::new(DocumentKind::Calendar, Actor::new([author; 32], [0; 4], 0))
}

fn calendar_of(ics: &str) -> Document {
    let mut document = calendar(1);
    let report = import(&mut document, ics);
    assert_eq!(report.problems, vec![]);
    document
}

fn import(document: &mut Document, ics: &str) -> ImportReport {
    document.calendar().unwrap().import_ics(ics, NOW_MS).unwrap()
}

fn copy(document: &mut Document, author: u8) -> Document {
    document.fork(Actor::new([author; 32], [0; 4], 0)).unwrap()
}

fn sync(a: &mut Document, b: &mut Document) {
    let changes = |document: &mut Document| -> Vec<Vec<u8>> {
        document.commit(NOW_MS);
        document.changes().unwrap().into_iter().map(|(_, bytes)| bytes).collect()
    };
    let (from_a, from_b) = (changes(a), changes(b));
    assert_eq!(a.apply(&from_b).unwrap().refused, vec![]);
    assert_eq!(b.apply(&from_a).unwrap().refused, vec![]);
    assert_eq!(a.heads(), b.heads());
}

fn time(text: &str) -> EventTime {
    text.parse().unwrap()
}

fn ms(utc: &str) -> i64 {
    let EventTime::Utc(utc) = time(utc) else { panic!("{utc} is not in UTC") };
    utc.and_utc().timestamp_millis()
}

fn event(uid: &str, start: &str, end: &str, rrule: &str) -> EventDraft {
    let patch = EventPatch {
        summary: Some(uid.to_owned()),
        end: Some(time(end)),
        rrule: Some(rrule.to_owned()),
        ..EventPatch::default()
    };
    EventDraft { uid: uid.to_owned(), start: time(start), patch }
}

/// The starts of what is in a span, in UTC.
fn starts(document: &mut Document, from: &str, to: &str, zone: &str) -> Vec<String> {
    let agenda = document.calendar().unwrap().agenda(ms(from), ms(to), zone).unwrap();
    let start =
        |o: &Occurrence| EventTime::Utc(chrono::DateTime::from_timestamp_millis(o.start_ms).unwrap().naive_utc());
    agenda.occurrences.iter().map(|occurrence| start(occurrence).to_string()).collect()
}

/// What calcard, which none of our code reads files with, finds in a text: components with their entries, sorted,
/// parameters too, without what an exporter says of itself.
fn semantics(ics: &str) -> Vec<String> {
    let calendar = ICalendar::parse(ics).unwrap();
    let exporters = [ICalendarProperty::Prodid, ICalendarProperty::Method, ICalendarProperty::Calscale];
    let address = |value: String| value.replace("MAILTO:", "mailto:");
    let describe = |index: usize| {
        let component = &calendar.components[index];
        let mut entries = Vec::new();
        for entry in component.entries.iter().filter(|entry| !exporters.contains(&entry.name)) {
            let mut params: Vec<_> = entry.params.iter().map(|param| format!("{param:?}")).collect();
            params.sort();
            let values = entry.values.iter();
            match entry.name {
                ICalendarProperty::Exdate | ICalendarProperty::Rdate => {
                    entries.extend(values.map(|value| format!("{:?} {params:?} {value:?}", entry.name)));
                }
                _ => entries.push(format!("{:?} {params:?} {:?}", entry.name, values.collect::<Vec<_>>())),
            }
        }
        entries.sort();
        address(format!("{:?} {entries:?}", component.component_type))
    };
    fn tree(calendar: &ICalendar, index: usize, describe: &dyn Fn(usize) -> String) -> String {
        let children = calendar.components[index].component_ids.iter();
        let mut children: Vec<_> = children.map(|id| tree(calendar, *id as usize, describe)).collect();
        children.sort();
        format!("{} {children:?}", describe(index))
    }
    assert_eq!(calendar.components[0].component_type, ICalendarComponentType::VCalendar);
    let mut all: Vec<_> =
        calendar.components[0].component_ids.iter().map(|id| tree(&calendar, *id as usize, &describe)).collect();
    all.sort();
    all.push(describe(0));
    all
}

#[test]
fn what_goes_in_comes_out() {
    for ics in [OUTLOOK, GOOGLE, APPLE] {
        let out = calendar_of(ics).calendar().unwrap().export_ics();
        assert_eq!(semantics(ics), semantics(&out));
        assert!(out.split("\r\n").all(|line| line.len() <= 75 && !line.contains('\n')), "{out}");
        // And again.
        assert_eq!(calendar_of(&out).calendar().unwrap().export_ics(), out);
    }
}

#[test]
fn fields_are_read_as_people_see_them() {
    let mut document = calendar_of(OUTLOOK);
    let event = document.calendar().unwrap().events().remove(0);
    assert_eq!(event.summary, "Wochenbesprechung");
    assert_eq!(event.description, "Please bring:\n- numbers, all of them\n- a \\ backslash");
    assert_eq!(event.location, "Raum 4, Erdgeschoss");
    assert_eq!(event.start.unwrap().to_string(), "2026-03-23T09:00:00[W. Europe Standard Time]");
    assert_eq!((event.organizer.as_deref(), event.sequence), (Some("alice@example.org"), 2));
    let attendees: Vec<_> =
        event.attendees.iter().map(|a| (a.address.as_str(), a.name.as_str(), a.partstat.as_str())).collect();
    assert_eq!(
        attendees,
        [("bob@example.org", "Bob; the Builder", "NEEDS-ACTION"), ("carol@example.org", "Carol", "TENTATIVE")]
    );
    let mut document = calendar_of(APPLE);
    let event = document.calendar().unwrap().event("8B1F7C1E-0000-4000-8000-ABCDEF012345").unwrap();
    assert!(event.summary.ends_with("（请提前五分钟进入会议室）"), "{}", event.summary);
    assert_eq!(event.location, "上海市浦东新区世纪大道 100 号\n环球金融中心");
}

#[test]
fn windows_zones_and_clock_changes_in_europe() {
    let mut document = calendar_of(OUTLOOK);
    let found = starts(&mut document, "2026-03-01T00:00Z", "2026-05-01T00:00Z", "Asia/Shanghai");
    let expected = ["2026-03-23T08:00:00Z", "2026-03-30T07:00:00Z", "2026-04-06T07:00:00Z", "2026-04-13T07:00:00Z"];
    assert_eq!(found, expected);
    let agenda =
        document.calendar().unwrap().agenda(ms(expected[1]), ms("2026-03-30T09:00Z"), "Asia/Shanghai").unwrap();
    let [only] = agenda.occurrences.as_slice() else { panic!("{agenda:?}") };
    assert_eq!((only.zone.as_deref(), only.end_ms - only.start_ms), (Some("Europe/Berlin"), 3_600_000));
    assert_eq!(only.recurrence_id.as_ref().unwrap().to_string(), "2026-03-30T09:00:00[W. Europe Standard Time]");
}

#[test]
fn exceptions_overrides_and_clock_changes_in_america() {
    let mut document = calendar_of(GOOGLE);
    let agenda =
        document.calendar().unwrap().agenda(ms("2026-02-01T00:00Z"), ms("2026-06-01T00:00Z"), "Europe/Berlin").unwrap();
    let found: Vec<_> = agenda.occurrences.iter().map(|o| (o.summary.as_str(), o.start_ms, o.is_override)).collect();
    let expected = [
        ("Weekly sync", ms("2026-02-26T19:00Z"), false),
        // 5 March is excepted. The offsite is of whole days, in the zone of who asks.
        ("Offsite", ms("2026-03-07T23:00Z"), false),
        ("Weekly sync (moved, short)", ms("2026-03-12T20:00Z"), true),
        ("Weekly sync", ms("2026-03-19T18:00Z"), false),
        ("Weekly sync", ms("2026-03-26T18:00Z"), false),
    ];
    assert_eq!(found, expected);
    assert_eq!(agenda.occurrences[1].end_ms, ms("2026-03-09T23:00Z"));
    assert!(agenda.occurrences[1].all_day && agenda.occurrences[1].zone.is_none());
    // An override is found where it was moved to, not where it was.
    assert_eq!(starts(&mut document, "2026-03-12T17:00Z", "2026-03-12T19:30Z", "UTC"), Vec::<String>::new());
}

#[test]
fn shanghai_leap_days_and_floating_times() {
    let mut document = calendar_of(APPLE);
    let found = starts(&mut document, "2026-07-01T00:00Z", "2026-07-08T00:00Z", "Asia/Shanghai");
    let expected = ["2026-07-01T01:30:00Z", "2026-07-02T04:00:00Z", "2026-07-04T12:00:00Z", "2026-07-07T01:30:00Z"];
    assert_eq!(found, expected);
    // The floating lunch is at noon wherever one is.
    assert!(
        starts(&mut document, "2026-07-02T09:00Z", "2026-07-02T11:00Z", "Europe/Berlin")
            .contains(&"2026-07-02T10:00:00Z".to_owned())
    );
    let birthdays = starts(&mut document, "2027-01-01T00:00Z", "2033-01-01T00:00Z", "UTC");
    let birthdays: Vec<_> = birthdays.into_iter().filter(|start| start.ends_with("T00:00:00Z")).collect();
    assert_eq!(birthdays, ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
}

#[test]
fn hours_that_do_not_exist_or_come_twice() {
    let mut document = calendar(1);
    let mut view = document.calendar().unwrap();
    let draft =
        event("daily", "2026-03-28T02:30[Europe/Berlin]", "2026-03-28T03:30[Europe/Berlin]", "FREQ=DAILY;COUNT=3");
    view.add(&draft, NOW_MS).unwrap();
    let draft = event("twice", "2026-11-01T01:30[America/New_York]", "2026-11-01T03:00[America/New_York]", "");
    view.add(&draft, NOW_MS).unwrap();
    let draft =
        event("night", "2026-10-24T22:00[Europe/Berlin]", "2026-10-25T06:00[Europe/Berlin]", "FREQ=DAILY;COUNT=2");
    view.add(&draft, NOW_MS).unwrap();
    let found = starts(&mut document, "2026-03-01T00:00Z", "2026-05-01T00:00Z", "UTC");
    // 2:30 on 29 March is skipped: the offset before it makes it 3:30 of summer time.
    assert_eq!(found, ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
    let agenda = document.calendar().unwrap().agenda(ms("2026-10-01T00:00Z"), ms("2026-12-01T00:00Z"), "UTC").unwrap();
    let found: Vec<_> =
        agenda.occurrences.iter().map(|o| (o.uid.as_str(), o.start_ms, (o.end_ms - o.start_ms) / 60_000)).collect();
    // Nine hours by the stopwatch, so that is what every night takes.
    let night = |start| ("night", ms(start), 540);
    assert_eq!(
        found,
        [night("2026-10-24T20:00Z"), night("2026-10-25T21:00Z"), ("twice", ms("2026-11-01T05:30Z"), 150)]
    );
}

#[test]
fn garbage_is_named_and_the_rest_taken_in() {
    let mut document = calendar(1);
    let report = import(&mut document, GARBAGE);
    assert_eq!((report.added, report.updated, report.unchanged), (2, 0, 0));
    let problems: Vec<_> = report.problems.iter().map(|p| (p.line, p.component.as_str(), p.reason.as_str())).collect();
    assert_eq!(
        problems,
        [
            (1, "LINE", "this is not a line of iCalendar"),
            (21, "LINE", "this is not a line of iCalendar"),
            (28, "VALARM", "this ends what was not begun"),
            (34, "VEVENT", "this component is not ended"),
            (2, "VCALENDAR", "this component is not ended"),
            (4, "VEVENT", "this event has no UID, or one that cannot be; it was left out"),
            (8, "VEVENT no-start", "this event has no DTSTART; it was left out"),
            (12, "VEVENT bad-start", "this DTSTART is not a date or time; the event was left out"),
            (16, "VEVENT bad-rule", "its RRULE cannot be read; the event is shown once"),
            (23, "VEVENT bad-zone", "its time zone is not known; its times are taken to be those of whoever looks"),
            (29, "VEVENT bad-override", "this RECURRENCE-ID is not a time; it was left out"),
        ]
    );
    let found = starts(&mut document, "2026-01-01T00:00Z", "2026-02-01T00:00Z", "Asia/Shanghai");
    assert_eq!(found, ["2026-01-05T10:00:00Z", "2026-01-06T02:00:00Z"]);
    assert!(document.calendar().unwrap().export_ics().contains("RRULE:FREQ=SOMETIMES\r\n"));
    let report = import(&mut document, "");
    assert_eq!(report.problems[0].reason, "there are no events in this");
}

#[test]
fn importing_again_adds_nothing() {
    let mut document = calendar(1);
    let report = import(&mut document, GOOGLE);
    assert_eq!((report.added, report.updated, report.unchanged, report.changes.len()), (3, 0, 0, 1));
    let again = import(&mut document, &GOOGLE.replace("DTSTAMP:20260220T101112Z", "DTSTAMP:20260221T000000Z"));
    assert_eq!((again.added, again.updated, again.unchanged, again.changes.len()), (0, 0, 3, 0));
    let moved = import(&mut document, &GOOGLE.replace("SUMMARY:Offsite", "SUMMARY:Onsite"));
    assert_eq!((moved.added, moved.updated, moved.unchanged), (0, 1, 2));
    let newer = GOOGLE.replace("SEQUENCE:0", "SEQUENCE:5").replace("LOCATION:\r\n", "");
    assert_eq!(import(&mut document, &newer).updated, 2);
    let older = import(&mut document, GOOGLE);
    assert_eq!((older.updated, older.problems[0].component.as_str()), (0, "VEVENT weekly@google.com"));
    assert_eq!(document.calendar().unwrap().event("weekly@google.com").unwrap().sequence, 5);
}

#[test]
fn a_place_and_a_time_changed_at_once_both_hold() {
    let mut alice = calendar(1);
    alice
        .calendar()
        .unwrap()
        .add(&event("e", "2026-05-04T09:00[Europe/Berlin]", "2026-05-04T10:00[Europe/Berlin]", ""), NOW_MS)
        .unwrap();
    alice.commit(NOW_MS);
    let mut bob = copy(&mut alice, 2);
    let place = EventPatch { location: Some("Room, 4".to_owned()), ..EventPatch::default() };
    alice.calendar().unwrap().update("e", &place, NOW_MS).unwrap();
    let moved = EventPatch {
        start: Some(time("2026-05-04T11:00[Europe/Berlin]")),
        end: Some(time("2026-05-04T12:00[Europe/Berlin]")),
        ..EventPatch::default()
    };
    bob.calendar().unwrap().update("e", &moved, NOW_MS).unwrap();
    sync(&mut alice, &mut bob);
    let event = alice.calendar().unwrap().event("e").unwrap();
    assert_eq!(
        (event.location.as_str(), event.start, event.end, event.sequence),
        ("Room, 4", moved.start, moved.end, 1)
    );
}

#[test]
fn an_invitation_that_two_people_imported_takes_both_answers() {
    let (mut bob, mut carol) = (calendar_of(OUTLOOK), calendar(2));
    import(&mut carol, OUTLOOK);
    let uid = bob.calendar().unwrap().events()[0].uid.clone();
    bob.calendar().unwrap().reply(&uid, "mailto:BOB@example.org", "accepted").unwrap();
    carol.calendar().unwrap().reply(&uid, "carol@example.org", "DECLINED").unwrap();
    sync(&mut bob, &mut carol);
    let answers = |document: &mut Document| -> Vec<String> {
        document.calendar().unwrap().events()[0].attendees.iter().map(|attendee| attendee.partstat.clone()).collect()
    };
    assert_eq!(
        (answers(&mut bob), answers(&mut carol)),
        (vec!["ACCEPTED".into(), "DECLINED".into()], vec!["ACCEPTED".into(), "DECLINED".into()])
    );
    let out = bob.calendar().unwrap().export_ics().replace("\r\n ", "");
    assert!(out.contains("PARTSTAT=ACCEPTED:mailto:Bob@Example.org\r\n"), "{out}");
    // By mail: only the answer counts, whatever else the reply says.
    let reply = format!(
        "BEGIN:VCALENDAR\nMETHOD:REPLY\nBEGIN:VEVENT\nUID:{uid}\nDTSTART:19990101T000000Z\nATTENDEE;PARTSTAT=TENTATIVE:mailto:bob@example.org\nATTENDEE;PARTSTAT=ACCEPTED:mailto:eve@example.org\nEND:VEVENT\nEND:VCALENDAR"
    );
    assert_eq!(import(&mut bob, &reply).updated, 1);
    assert_eq!(answers(&mut bob), ["TENTATIVE", "DECLINED"]);
    assert_eq!(
        bob.calendar().unwrap().reply(&uid, "eve@example.org", "ACCEPTED"),
        Err(CrdtError::NotFound("attendee"))
    );
    assert_eq!(import(&mut bob, &reply.replace("REPLY", "CANCEL")).updated, 1);
    assert_eq!(bob.calendar().unwrap().event(&uid).unwrap().status, "CANCELLED");
}

#[test]
fn occurrences_are_dropped_and_moved_one_by_one() {
    let mut alice = calendar(1);
    alice
        .calendar()
        .unwrap()
        .add(
            &event("e", "2026-03-23T09:00[Europe/Berlin]", "2026-03-23T10:00[Europe/Berlin]", "FREQ=WEEKLY;COUNT=4"),
            NOW_MS,
        )
        .unwrap();
    alice.commit(NOW_MS);
    let mut bob = copy(&mut alice, 2);
    // Two people drop one each, and one is named in UTC.
    alice.calendar().unwrap().exclude("e", &time("2026-03-30T09:00[Europe/Berlin]"), NOW_MS).unwrap();
    bob.calendar().unwrap().exclude("e", &time("2026-04-06T07:00Z"), NOW_MS).unwrap();
    let moved = EventPatch {
        start: Some(time("2026-04-14T09:00[Europe/Berlin]")),
        summary: Some("later".to_owned()),
        ..EventPatch::default()
    };
    bob.calendar().unwrap().update_occurrence("e", &time("2026-04-13T09:00[Europe/Berlin]"), &moved, NOW_MS).unwrap();
    sync(&mut alice, &mut bob);
    let found = starts(&mut alice, "2026-03-01T00:00Z", "2026-06-01T00:00Z", "UTC");
    assert_eq!(found, ["2026-03-23T08:00:00Z", "2026-04-14T07:00:00Z"]);
    let agenda = alice.calendar().unwrap().agenda(ms("2026-04-01T00:00Z"), ms("2026-06-01T00:00Z"), "UTC").unwrap();
    let [only] = agenda.occurrences.as_slice() else { panic!("{agenda:?}") };
    assert_eq!((only.summary.as_str(), only.end_ms - only.start_ms, only.is_override), ("later", 3_600_000, true));
    alice.calendar().unwrap().remove("e").unwrap();
    assert_eq!(alice.calendar().unwrap().remove("e"), Err(CrdtError::NotFound("event")));
    assert!(alice.calendar().unwrap().events().is_empty());
}

#[test]
fn an_event_removed_while_it_was_changed_is_gone() {
    let mut alice = calendar_of(GOOGLE);
    let mut bob = copy(&mut alice, 2);
    alice.calendar().unwrap().remove("offsite@google.com").unwrap();
    let place = EventPatch { location: Some("Lake".to_owned()), ..EventPatch::default() };
    bob.calendar().unwrap().update("offsite@google.com", &place, NOW_MS).unwrap();
    sync(&mut alice, &mut bob);
    assert_eq!(alice.calendar().unwrap().event("offsite@google.com"), None);
    // Added again, it is as it was added, with nothing of what was changed then.
    import(&mut alice, GOOGLE);
    assert_eq!(alice.calendar().unwrap().event("offsite@google.com").unwrap().location, "");
}

#[test]
fn what_cannot_be_is_refused_with_advice() {
    let mut document = calendar(1);
    let mut view = document.calendar().unwrap();
    let add = |view: &mut Calendar<'_>, draft: &EventDraft| view.add(draft, NOW_MS).unwrap_err().to_string();
    let good = event("e", "2026-05-04", "2026-05-05", "FREQ=YEARLY");
    assert!(add(&mut view, &EventDraft { uid: "a\nb".to_owned(), ..good.clone() }).starts_with("an event needs a UID"));
    let ends_early = event("e", "2026-05-04T10:00Z", "2026-05-04T09:00Z", "");
    assert_eq!(add(&mut view, &ends_early), "an event cannot end before it starts");
    let mixed = event("e", "2026-05-04", "2026-05-04T09:00Z", "");
    assert_eq!(add(&mut view, &mixed), "an event of whole days starts and ends with a day, others with a time");
    let rule = event("e", "2026-05-04", "2026-05-05", "every day\r\nX:1");
    assert!(add(&mut view, &rule).starts_with("this is not a recurrence rule"));
    view.add(&good, NOW_MS).unwrap();
    assert!(add(&mut view, &good).starts_with("there is an event of this UID"));
    let invite = |address: &str| EventPatch {
        invite: vec![Attendee { address: address.to_owned(), ..Attendee::default() }],
        ..EventPatch::default()
    };
    assert!(view.update("e", &invite("bob\nX:1"), NOW_MS).is_err());
    assert_eq!(view.update("x", &invite("bob@b.org"), NOW_MS), Err(CrdtError::NotFound("event")));
    assert!(view.agenda(0, 1, "Mars/Olympus").is_err());
    assert!("2026-05-04T09:00[Mars/Olympus]".parse::<EventTime>().is_err() && "tomorrow".parse::<EventTime>().is_err());
    let huge = "x".repeat(ICS_BYTES_MAX + 1);
    assert!(matches!(view.import_ics(&huge, NOW_MS), Err(CrdtError::TooLarge { .. })));
}

#[test]
fn a_rule_without_end_is_bounded() {
    let mut document = calendar_of("BEGIN:VEVENT\nUID:s\nDTSTART:20200101T000000Z\nRRULE:FREQ=SECONDLY\nEND:VEVENT\n");
    let view = document.calendar().unwrap();
    let minute = view.agenda(ms("2026-01-01T00:00Z"), ms("2026-01-01T00:01Z"), "UTC").unwrap();
    assert_eq!((minute.truncated, minute.occurrences.len()), (false, 60));
    let days = view.agenda(ms("2026-01-01T00:00Z"), ms("2026-01-04T00:00Z"), "UTC").unwrap();
    assert!(days.truncated && days.occurrences.len() <= EXPANSION_MAX);
}

/// What a rule gives in a span does not depend on how the past is skipped: a rule that counts is gone through whole.
#[test]
fn skipping_the_past_changes_nothing() {
    let rules = [
        "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,TH;WKST=SU",
        "FREQ=DAILY;INTERVAL=5",
        "FREQ=DAILY;BYMONTH=3,10;BYHOUR=2,9",
        "FREQ=WEEKLY;BYDAY=TU,SA,SU;BYSETPOS=-1",
        "FREQ=HOURLY;INTERVAL=7;BYDAY=SU",
        "FREQ=MONTHLY;BYDAY=-1SU",
        "FREQ=MINUTELY;INTERVAL=97",
    ];
    for rule in rules {
        let ics = |rule: &str| {
            format!("BEGIN:VEVENT\nUID:r\nDTSTART;TZID=America/New_York:20260107T023000\nRRULE:{rule}\nEND:VEVENT\n")
        };
        let found = |rule: &str| starts(&mut calendar_of(&ics(rule)), "2026-10-20T00:00Z", "2026-11-20T00:00Z", "UTC");
        let all = found(rule);
        assert!(!all.is_empty());
        assert_eq!(all, found(&format!("{rule};COUNT=60000")), "{rule}");
    }
}

#[test]
fn a_large_import_is_cut_into_pieces() {
    let event = |n: usize| {
        format!("BEGIN:VEVENT\nUID:{n}\nDTSTART:20260101T000000Z\nDESCRIPTION:{}\nEND:VEVENT\n", "很长".repeat(500))
    };
    let ics = format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", (0..300).map(event).collect::<String>());
    let mut alice = calendar(1);
    let report = import(&mut alice, &ics);
    assert!(report.added == 300 && report.changes.len() > 3, "{}", report.changes.len());
    let mut bob = calendar(2);
    bob.apply(&report.changes).unwrap();
    assert_eq!(bob.calendar().unwrap().export_ics(), alice.calendar().unwrap().export_ics());
}

#[test]
fn nobody_can_smuggle_lines_into_a_file() {
    let mut document = calendar_of(GOOGLE);
    let mut view = document.calendar().unwrap();
    view.set("offsite@google.com", "", "X-A", Some(":1\nEND:VEVENT\nBEGIN:VEVENT")).unwrap();
    view.set("offsite@google.com", "", ".VALARM", Some("BEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nBEGIN:VEVENT\nUID:evil"))
        .unwrap();
    view.put(store::OTHERS, "x", Some("BEGIN:VEVENT\nUID:evil\nDTSTART:20260101T000000Z\nEND:VEVENT")).unwrap();
    view.put(store::PROPERTIES, "X-B", Some(":1\nEND:VCALENDAR")).unwrap();
    let out = view.export_ics();
    assert!(
        !out.contains("evil") && out.matches("BEGIN:VEVENT").count() == 3 && out.matches("END:VCALENDAR").count() == 1,
        "{out}"
    );
    assert_eq!(semantics(&out).len(), 5);
}

fn ics_soup() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => prop::sample::select(vec!["BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VALARM", "END:VALARM", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "UID:a", "UID:b", "METHOD:REPLY", "METHOD:CANCEL"]).prop_map(str::to_owned),
        3 => ("(DTSTART|DTEND|RECURRENCE-ID|EXDATE|RDATE|DURATION|TRIGGER)", "(;TZID=Europe/Berlin|;VALUE=DATE|;VALUE=PERIOD|;TZID=\"x|)", "[0-9TPZHMSD,/-]{0,20}|20260[1-9]0[1-9]T[01]20000Z?|00000000|99991231T235959Z").prop_map(|(n, p, v)| format!("{n}{p}:{v}")),
        2 => rrule().prop_map(|rule| format!("RRULE:{rule}")),
        1 => "\\PC{0,20}",
        1 => "[A-Z;:=\", \\^]{0,16}",
    ];
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

fn rrule() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "(INTERVAL|COUNT)=[0-9]{1,5}",
        "BY(SETPOS|MONTHDAY|YEARDAY|WEEKNO|MONTH|HOUR|MINUTE|SECOND)=-?[0-9]{1,3}(,-?[0-9]{1,2})?",
        "BYDAY=-?[0-5]?(MO|TU|SU)(,-?[0-9]{0,2}WE)?",
        "UNTIL=(20[0-9]{6}|20260[1-9]0[1-9]T000000Z?|0|99999999T999999Z)",
        "WKST=(MO|SU|XX)",
        "RSCALE=CHINESE",
        "SKIP=FORWARD",
        "[A-Z]{1,6}=[A-Z0-9]{0,4}",
    ];
    let freq = "FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY|SECONDLY|NEVER)";
    (freq, prop::collection::vec(part, 0..4)).prop_map(|(freq, parts)| format!("{freq};{}", parts.join(";")))
}

#[derive(Clone, Debug)]
enum Edit {
    Add(u8),
    Patch(u8, EventPatch),
    Exclude(u8, u32),
    Occurrence(u8, u32, EventPatch),
    Reply(u8, u8, String),
    Remove(u8),
    Import(usize),
    Sync(usize, usize),
}

fn patch() -> impl Strategy<Value = EventPatch> {
    let text = || prop::option::of("[a-z世,;\\\\\n]{0,4}");
    (text(), text(), prop::option::of(1..28u32), prop::option::of(0..3u8), prop::option::of(0..3u8)).prop_map(
        |(summary, location, day, invite, uninvite)| EventPatch {
            summary,
            location,
            start: day.map(|day| time(&format!("2026-02-{day:02}T09:00[Europe/Berlin]"))),
            invite: invite
                .map(|n| Attendee { address: format!("p{n}@x.org"), ..Attendee::default() })
                .into_iter()
                .collect(),
            uninvite: uninvite.map(|n| format!("p{n}@x.org")).into_iter().collect(),
            ..EventPatch::default()
        },
    )
}

fn edit() -> impl Strategy<Value = (usize, Edit)> {
    let uid = || 0..3u8;
    let edit = prop_oneof![
        2 => uid().prop_map(Edit::Add),
        4 => (uid(), patch()).prop_map(|(uid, patch)| Edit::Patch(uid, patch)),
        1 => (uid(), 1..28u32).prop_map(|(uid, day)| Edit::Exclude(uid, day)),
        1 => (uid(), 1..28u32, patch()).prop_map(|(uid, day, patch)| Edit::Occurrence(uid, day, patch)),
        2 => (uid(), 0..3u8, "(ACCEPTED|DECLINED)").prop_map(|(uid, who, status)| Edit::Reply(uid, who, status)),
        1 => uid().prop_map(Edit::Remove),
        1 => (0..3usize).prop_map(Edit::Import),
        2 => (0..3usize, 0..3usize).prop_map(|(a, b)| Edit::Sync(a, b)),
    ];
    (0..3usize, edit)
}

fn perform(document: &mut Document, edit: &Edit) -> Result<(), CrdtError> {
    let day = |day: &u32| time(&format!("2026-02-{day:02}T09:00[Europe/Berlin]"));
    let mut view = document.calendar().unwrap();
    match edit {
        Edit::Add(uid) => {
            let rule = ["", "FREQ=DAILY", "FREQ=WEEKLY;COUNT=5"][usize::from(*uid)];
            view.add(
                &event(&uid.to_string(), "2026-02-02T09:00[Europe/Berlin]", "2026-02-28T10:00[Europe/Berlin]", rule),
                NOW_MS,
            )
        }
        Edit::Patch(uid, patch) => view.update(&uid.to_string(), patch, NOW_MS),
        Edit::Exclude(uid, at) => view.exclude(&uid.to_string(), &day(at), NOW_MS),
        Edit::Occurrence(uid, at, patch) => view.update_occurrence(&uid.to_string(), &day(at), patch, NOW_MS),
        Edit::Reply(uid, who, status) => view.reply(&uid.to_string(), &format!("p{who}@x.org"), status),
        Edit::Remove(uid) => view.remove(&uid.to_string()),
        Edit::Import(which) => view.import_ics([OUTLOOK, GOOGLE, APPLE][*which], NOW_MS).map(|_| ()),
        Edit::Sync(..) => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_imported_panics(soup in ics_soup()) {
        let mut document = calendar(1);
        import(&mut document, &soup);
        let view = document.calendar().unwrap();
        view.agenda(ms("2026-01-01T00:00Z"), ms("2026-03-01T00:00Z"), "Europe/Berlin").unwrap();
        let out = view.export_ics();
        let events = view.events();
        // What came in comes out, and in again.
        let mut again = calendar(2);
        let report = import(&mut again, &out);
        prop_assert_eq!(report.added, events.len());
        prop_assert_eq!(again.calendar().unwrap().export_ics(), out);
    }

    #[test]
    fn no_rule_panics(rule in rrule(), start in "20(00|26)0[1-9][0-2][1-8]T[01][0-9]3000") {
        let mut document = calendar(1);
        import(&mut document, &format!("BEGIN:VEVENT\nUID:r\nDTSTART;TZID=America/New_York:{start}\nRRULE:{rule}\nEND:VEVENT\n"));
        let agenda = document.calendar().unwrap().agenda(ms("2026-01-01T00:00Z"), ms("2026-02-01T00:00Z"), "UTC").unwrap();
        let starts: Vec<_> = agenda.occurrences.iter().map(|occurrence| occurrence.start_ms).collect();
        prop_assert!(starts.is_sorted() && starts.len() <= EXPANSION_MAX + 1);
    }

    #[test]
    fn replicas_converge(edits in prop::collection::vec(edit(), 1..40)) {
        let mut first = calendar(1);
        perform(&mut first, &Edit::Add(1)).unwrap();
        first.commit(NOW_MS);
        let (second, third) = (copy(&mut first, 2), copy(&mut first, 3));
        let mut replicas = [first, second, third];
        for (who, edit) in &edits {
            match edit {
                Edit::Sync(a, b) if a != b => {
                    let [a, b] = replicas.get_disjoint_mut([*a, *b]).unwrap();
                    sync(a, b);
                }
                // An event that is not there, or is there already, or would end before it starts: refused, whole.
                edit => drop(perform(&mut replicas[*who], edit)),
            }
        }
        let [a, b, c] = &mut replicas;
        sync(a, b);
        sync(b, c);
        sync(a, c);
        let view = |document: &mut Document| {
            let view = document.calendar().unwrap();
            let agenda = view.agenda(ms("2026-01-01T00:00Z"), ms("2026-05-01T00:00Z"), "Asia/Shanghai").unwrap();
            (view.events(), agenda, view.export_ics())
        };
        prop_assert_eq!(view(a), view(b));
        prop_assert_eq!(view(b), view(c));
    }
}
