//! The audit as a file: JSON lines, the first naming the circle, then the acts and then the changes of keys, each chained to
//! the one of its kind before it by its hash.

use clave::{AuditRecord, CircleId, DeviceId, OperationId, PersonId, Reason, Role, verify_chain, verify_key_chain};
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};
use crate::reply::{Audit, Because, KeyChange, Keys, Record, Warrant};

mod keys;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    r#type: String,
    circle: String,
    records: usize,
    /// That of the last record.
    hash: String,
    key_changes: usize,
    /// Changes of keys from before those that are here.
    keys_missing: u64,
    /// That of the last change of keys.
    keys_hash: String,
}

const TYPE: &str = "clave-audit";

/// Writes a list as a file.
pub(crate) fn export(audit: &Audit) -> Result<String, Failure> {
    let head = Head {
        r#type: TYPE.to_owned(),
        circle: audit.circle.clone(),
        records: audit.records.len(),
        hash: audit.hash.clone(),
        key_changes: audit.keys.changes.len(),
        keys_missing: audit.keys.missing,
        keys_hash: audit.keys.hash.clone(),
    };
    let mut lines = vec![serde_json::to_string(&head)?];
    for record in &audit.records {
        lines.push(crate::text::json(&serde_json::to_string(record)?));
    }
    for change in &audit.keys.changes {
        let change = KeyChange { checked: None, ..change.clone() };
        lines.push(crate::text::json(&serde_json::to_string(&change)?));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// Reads a file, and checks that it fits in itself.
///
/// # Errors
/// [`Code::Refused`] with the line, if it does not.
pub(crate) fn check(text: &str) -> Result<Audit, Failure> {
    let mut lines = text.lines();
    let head: Option<Head> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    let Some(head) = head.filter(|head| head.r#type == TYPE) else {
        return Err(Failure::usage("this is not an exported audit: its first line does not say so")
            .hint("`clave audit --export FILE` makes one"));
    };
    let circle: CircleId = head.circle.parse().map_err(|_| altered(1, "names no circle"))?;
    let (mut records, mut lines_read) = (Vec::new(), Vec::new());
    let (mut changes, mut changes_read) = (Vec::new(), Vec::new());
    for (line, number) in lines.zip(2..) {
        if let Ok(change) = serde_json::from_str::<KeyChange>(line) {
            changes.push(keys::rebuild(&change).ok_or_else(|| altered(number, "was altered"))?);
            changes_read.push(change);
            continue;
        }
        let record: Record = serde_json::from_str(line).map_err(|_| altered(number, "is no record of an audit"))?;
        if !changes.is_empty() {
            return Err(altered(number, "was moved"));
        }
        records.push(rebuild(&record).ok_or_else(|| altered(number, "was altered"))?);
        lines_read.push(record);
    }
    let at = |sequence: u64, before: usize| {
        let line = usize::try_from(sequence).unwrap_or(usize::MAX).saturating_add(before);
        altered(line, "was altered or moved, or follows one that was left out")
    };
    let last = verify_chain(circle, &records).map_err(|broken| at(broken.sequence, 2))?;
    let last = crate::reply::hex(last);
    if lines_read.len() != head.records || last != head.hash {
        return Err(cut_short(lines_read.len() + 1, head.records, "records", lines_read.len()));
    }
    let last_change = verify_key_chain(circle, head.keys_missing, &changes)
        .map_err(|broken| at(broken.sequence, 2 + lines_read.len()))?;
    let last_change = crate::reply::hex(last_change);
    if changes.len() != head.key_changes || last_change != head.keys_hash {
        let here = lines_read.len() + changes.len() + 1;
        return Err(cut_short(here, head.key_changes, "changes of keys", changes.len()));
    }
    let keys = Keys { missing: head.keys_missing, changes: changes_read, hash: last_change };
    Ok(Audit { circle: head.circle, records: lines_read, hash: last, keys, evidence: Vec::new() })
}

fn cut_short(line: usize, said: usize, of: &str, here: usize) -> Failure {
    refused(format!(
        "line {line} was the end of the list or the first line was altered: that speaks of {said} {of}, and {here} are here"
    ))
}

/// Where a file and what this device has seen part ways; else how many acts were seen here that are not in the file.
pub(crate) fn compare(file: &Audit, here: &Audit) -> Result<usize, Failure> {
    for (number, record) in (2..).zip(&file.records) {
        let Some(known) = here.records.iter().find(|known| known.operation == record.operation) else {
            return Err(refused(format!(
                "line {number} tells of an act that this device has not seen: {}",
                record.sentence
            ))
            .hint("it may not have arrived yet: compare again when this device has been online"));
        };
        // What others did at the same time and was seen later may move a record, or set it aside.
        let as_written = |record: &Record| {
            (
                record.parents.clone(),
                record.time_ms,
                record.device.clone(),
                record.person.clone(),
                record.sentence.clone(),
            )
        };
        if as_written(known) != as_written(record) {
            return Err(altered(number, "is not what this device has seen"));
        }
    }
    keys::compare(file, here)?;
    Ok(here.records.len().saturating_sub(file.records.len()))
}

fn altered(line: usize, how: &str) -> Failure {
    refused(format!("the file is not as it was exported: line {line} {how}"))
}

fn refused(words: String) -> Failure {
    Failure::new(Code::Refused, words)
        .reason("altered")
        .hint("ask for the file again, or export it from a device you trust: clave audit --export FILE")
}

/// The record that a line stands for.
fn rebuild(line: &Record) -> Option<AuditRecord> {
    fn person(id: &Option<String>) -> Option<Option<PersonId>> {
        id.as_ref().map(|id| id.parse().ok()).map_or(Some(None), |id| id.map(Some))
    }
    let role = match &line.role {
        None => None,
        Some(role) => Some(Role::ALL.into_iter().find(|known| known.to_string() == *role)?),
    };
    let warrant = match &line.warrant {
        None => None,
        Some(Warrant { admission, role_given, given_by, given_by_name }) => Some(clave::Warrant {
            admission: admission.parse().ok()?,
            role_given: role_given.parse().ok()?,
            given_by: person(given_by)?,
            given_by_name: given_by_name.clone(),
        }),
    };
    let set_aside = match &line.set_aside {
        None => None,
        // Of a reason, the operation that it names is hashed, and the sentence: any that names it will do.
        Some(Because { by: None, why }) => Some((Reason::NoChange, why.clone())),
        Some(Because { by: Some(by), why }) => Some((Reason::AuthorRemoved { by: by.parse().ok()? }, why.clone())),
    };
    Some(AuditRecord {
        sequence: line.sequence,
        operation: line.operation.parse().ok()?,
        parents: line.parents.iter().map(|parent| parent.parse::<OperationId>().ok()).collect::<Option<_>>()?,
        time_ms: line.time_ms,
        device: line.device.parse::<DeviceId>().ok()?,
        device_name: line.device_name.clone(),
        person: person(&line.person)?,
        person_name: line.person_name.clone(),
        role,
        sentence: line.sentence.clone(),
        warrant,
        set_aside,
        previous: bytes(&line.previous)?,
        hash: bytes(&line.hash)?,
    })
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}
