//! `clave doctor`: looks through a data directory that may not open any more, and mends it.

use std::process::ExitCode;

use clave::{CircleReport, Error, Examination, StoreError};
use serde::Serialize;

use crate::args::Doctor;
use crate::failure::{Code, Failure};
use crate::place::Place;
use crate::progress::Count;
use crate::screen::{Screen, Tagged, bold};
use crate::text;

/// How many findings a circle shows; the rest are counted.
const FINDINGS_SHOWN: usize = 12;

/// Examines, and mends if asked to. The exit code is 0 if nothing is wrong (any more), else 1.
pub(crate) async fn doctor(place: Place, doctor: Doctor, screen: &Screen) -> Result<ExitCode, Failure> {
    let count = Count::new("records", screen.json);
    let progress = count.clone();
    let (examined, repair) = (place.clone(), doctor.repair);
    let work = move || examined.examine(repair, |records| progress.set(records));
    let examination = tokio::task::spawn_blocking(work).await.map_err(Failure::failed)?;
    drop(count);
    let examination = examination.map_err(|error| failed(error, &place))?;
    show(&examination, doctor.repair, screen)?;
    Ok(if examination.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed.exit()) })
}

fn failed(error: Error, place: &Place) -> Failure {
    match error {
        Error::Store(StoreError::Busy { .. }) => Failure::from(error)
            .hint("`clave stop` ends a running node; the directory is examined while nobody has it open"),
        Error::Store(StoreError::Damaged) => Failure::new(
            Code::Failed,
            format!(
                "{}: the database as such, its format file or the vault cannot be read, so there are no records to look at",
                place.directory.display()
            ),
        )
        .reason("damaged")
        .hint(
            "keep the directory as it is. `clave restore FILE` in another one (--dir) brings back your last backup; without \
             one, another device of yours links a new one (`clave device link`)",
        ),
        error => error.into(),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    sound: bool,
    records: u64,
    store_bytes: u64,
    identity: bool,
    /// Records that do not authenticate, by keyspace.
    damaged: Vec<Damaged>,
    /// Packs of chunks in which nothing is in use.
    unused_packs: Vec<UnusedPack>,
    circles: Vec<Circle<'a>>,
    /// Why the device does not open.
    unopened: Option<String>,
    repaired: Option<Repaired>,
}

#[derive(Serialize)]
struct Damaged {
    keyspace: String,
    records: u64,
}

#[derive(Serialize)]
struct UnusedPack {
    pack: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Circle<'a> {
    id: String,
    name: Option<&'a str>,
    entries: u64,
    sealed_entries: u64,
    operations: u64,
    waiting_operations: u64,
    checkpoints: u64,
    documents: u64,
    changes: u64,
    chunks: u64,
    findings: Vec<String>,
}

#[derive(Serialize)]
struct Repaired {
    removed: u64,
    restored: u64,
    copies: Option<String>,
}

fn report(examination: &Examination) -> Report<'_> {
    Report {
        sound: examination.is_sound(),
        records: examination.records,
        store_bytes: examination.store_bytes,
        identity: examination.identity,
        damaged: examination
            .damaged
            .iter()
            .map(|(keyspace, records)| Damaged { keyspace: format!("{keyspace:?}"), records: *records })
            .collect(),
        unused_packs: examination
            .unused_packs
            .iter()
            .map(|(pack, bytes)| UnusedPack { pack: *pack, bytes: *bytes })
            .collect(),
        circles: examination.circles.iter().map(|circle| row(circle.id.to_string(), &circle.report)).collect(),
        unopened: examination.unopened.as_ref().map(ToString::to_string),
        repaired: examination.repaired.as_ref().map(|repair| Repaired {
            removed: repair.removed,
            restored: repair.restored,
            copies: repair.copies.as_ref().map(|path| path.display().to_string()),
        }),
    }
}

fn row(id: String, report: &CircleReport) -> Circle<'_> {
    let finding = |finding: &clave::Finding| format!("{:?} {}", finding.key.keyspace, finding.fault);
    Circle {
        id,
        name: report.name.as_deref(),
        entries: report.entries,
        sealed_entries: report.sealed_entries,
        operations: report.operations,
        waiting_operations: report.waiting_operations,
        checkpoints: report.checkpoints,
        documents: report.documents,
        changes: report.changes,
        chunks: report.chunks,
        findings: report.findings.iter().map(finding).collect(),
    }
}

fn show(examination: &Examination, repair: bool, screen: &Screen) -> Result<(), Failure> {
    let report = report(examination);
    if screen.json {
        return screen.value(&Tagged { r#type: "doctor", value: report });
    }
    words(&report, repair).iter().try_for_each(|line| screen.say(line))
}

fn words(report: &Report<'_>, repair: bool) -> Vec<String> {
    let mut words = vec![format!("{} records, {} on disk", report.records, text::bytes(report.store_bytes))];
    for circle in &report.circles {
        let name =
            circle.name.map_or_else(|| format!("circle {}", circle.id), |name| format!("“{}”", text::line(name)));
        words.push(format!(
            "{name}: {} entries ({} sealed to others), {} operations, {} epochs, {} documents with {} changes, {} chunks of \
             files",
            circle.entries,
            circle.sealed_entries,
            circle.operations,
            circle.checkpoints,
            circle.documents,
            circle.changes,
            circle.chunks
        ));
        if circle.waiting_operations > 0 {
            words.push(format!("  {} operations wait for others to arrive", circle.waiting_operations));
        }
        words.extend(circle.findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("  {finding}")));
        if circle.findings.len() > FINDINGS_SHOWN {
            words.push(format!("  and {} more", circle.findings.len() - FINDINGS_SHOWN));
        }
    }
    for damaged in &report.damaged {
        words.push(format!(
            "{}: {} records are damaged: what is there was not written so",
            damaged.keyspace, damaged.records
        ));
    }
    words.extend(report.unused_packs.iter().map(|unused| {
        let (pack, bytes) = (unused.pack, text::bytes(unused.bytes));
        format!("chunks/{pack:08}.pack: nothing in it is in use; `clave file gc` gives its {bytes} back")
    }));
    if let Some(repaired) = &report.repaired {
        words.push(format!("Mended: {} records taken out, {} made again.", repaired.removed, repaired.restored));
        words.extend(repaired.copies.iter().map(|path| format!("What was taken out is copied to {path}.")));
        words.push("What other members have comes again from them: clave run".to_owned());
    }
    words.push(match (&report.unopened, report.sound, report.identity, repair) {
        (_, true, ..) => bold("Everything is as it should be."),
        (_, _, false, _) => "The identity of this device cannot be read: nothing here can be used without it, and nothing was \
                             changed. `clave restore FILE` in another directory (--dir) brings back your last backup; \
                             without one, link a new device from another one of yours."
            .to_owned(),
        (Some(why), _, _, true) => format!(
            "The device does not open all the same: {why}. `clave restore FILE` in another directory (--dir) brings back your \
             last backup; without one, link a new device from another one of yours."
        ),
        (None, _, _, true) => "The device opens; what is left above could not be mended.".to_owned(),
        (Some(why), ..) => format!("The device does not open: {why}. `clave doctor --repair` mends what can be mended."),
        (None, ..) => "The device opens. `clave doctor --repair` mends what can be mended.".to_owned(),
    });
    words
}
