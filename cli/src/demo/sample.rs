//! Something to share, for those who bring nothing.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// How large the file is, in bytes.
const FILE_BYTES: usize = 3 * 1024 * 1024;

/// Makes a file of a few megabytes that does not compress.
pub(super) fn file(directory: &Path) -> Result<PathBuf, Failure> {
    let path = directory.join("photo of the café.bin");
    let failed = |error: std::io::Error| Failure::file(&path, &error);
    let mut writer = BufWriter::new(File::create(&path).map_err(failed)?);
    let mut block = *blake3::hash(b"clave demo").as_bytes();
    for _ in 0..FILE_BYTES / block.len() {
        block = *blake3::hash(&block).as_bytes();
        writer.write_all(&block).map_err(failed)?;
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    Ok(path)
}

/// A calendar with what makes calendars hard: a zone of its own, a rule with an exception, an occurrence that differs,
/// whole days, answers, and a property that nobody knows.
pub(super) fn calendar() -> String {
    let lines = "BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Clave//Demo//EN
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:weekly@demo.clave
DTSTAMP:20261101T080000Z
DTSTART;TZID=Europe/Berlin:20261102T090000
DTEND;TZID=Europe/Berlin:20261102T093000
RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=20
EXDATE;TZID=Europe/Berlin:20261221T090000
SUMMARY:周会 Weekly meeting
LOCATION:Café
ORGANIZER;CN=Zoë:mailto:zoe@example.org
ATTENDEE;CN=王小明;PARTSTAT=ACCEPTED:mailto:wang@example.org
ATTENDEE;CN=Amara;PARTSTAT=NEEDS-ACTION:mailto:amara@example.org
X-DEMO-UNKNOWN;PARAM=1:kept as it is
END:VEVENT
BEGIN:VEVENT
UID:weekly@demo.clave
RECURRENCE-ID;TZID=Europe/Berlin:20261130T090000
DTSTAMP:20261101T080000Z
DTSTART;TZID=Europe/Berlin:20261130T110000
DTEND;TZID=Europe/Berlin:20261130T113000
SUMMARY:周会 Weekly meeting (later)
END:VEVENT
BEGIN:VEVENT
UID:closed@demo.clave
DTSTAMP:20261101T080000Z
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Closed
END:VEVENT
END:VCALENDAR
";
    lines.replace('\n', "\r\n")
}
