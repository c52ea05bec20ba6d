//! Calendar files from other programs.

use clave_crdt::{Document, DocumentKind};

use super::document_change::reader;

const NOW_MS: u64 = 1_790_000_000_000;

fn import(text: &str) -> (Document, String) {
    let mut document = Document::new(DocumentKind::Calendar, reader());
    let mut calendar = document.calendar().expect("it is a calendar");
    calendar.import_ics(text, NOW_MS).expect("it is not too large");
    let exported = calendar.export_ics();
    document.commit(NOW_MS);
    (document, exported)
}

/// Imports the bytes; what is exported then is imported and exported the same.
pub fn run(data: &[u8]) {
    let (mut document, exported) = import(&String::from_utf8_lossy(data));
    let saved = document.save().expect("nothing is uncommitted");
    Document::load(DocumentKind::Calendar, reader(), Some(&saved), &[] as &[&[u8]]).expect("what was saved loads");
    let (_, again) = import(&exported);
    assert_eq!(again, exported, "an export that is not imported as it was");
}

/// Events with what calendars put into them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let event = |lines: &str| {
        let lines = lines.replace('\n', "\r\n");
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{lines}\r\nEND:VCALENDAR\r\n").into_bytes()
    };
    vec![
        event(
            "BEGIN:VEVENT\nUID:1\nDTSTAMP:20260101T000000Z\nDTSTART:20260101T100000Z\nDURATION:PT1H\nSUMMARY:A\\, b\nEND:VEVENT",
        ),
        event(
            "BEGIN:VEVENT\nUID:2\nDTSTART;TZID=Europe/Berlin:20260301T100000\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=9\nEXDATE;TZID=Europe/Berlin:20260302T100000\nATTENDEE;CN=\"B, C\";PARTSTAT=ACCEPTED:mailto:b@example.org\nBEGIN:VALARM\nTRIGGER:-PT15M\nACTION:DISPLAY\nEND:VALARM\nEND:VEVENT\nBEGIN:VEVENT\nUID:2\nRECURRENCE-ID;TZID=Europe/Berlin:20260304T100000\nDTSTART;TZID=Europe/Berlin:20260304T110000\nSEQUENCE:1\nEND:VEVENT",
        ),
        event(
            "METHOD:CANCEL\nBEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:19701025T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:3\nDTSTART;VALUE=DATE:20260101\nSTATUS:CANCELLED\nX-FOO;A=B:folded\n  line\nEND:VEVENT",
        ),
    ]
}
