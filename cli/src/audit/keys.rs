//! The changes of keys in an exported audit.

use clave::{OperationId, PersonId};

use super::{altered, bytes, refused};
use crate::failure::Failure;
use crate::reply::{Audit, KeyChange, Party};

/// Whether what the file tells of changes of keys is what this device has seen. One that came later has not seen the oldest.
pub(super) fn compare(file: &Audit, here: &Audit) -> Result<(), Failure> {
    for (number, change) in (2 + file.records.len()..).zip(&file.keys.changes) {
        let same_epoch = |known: &&KeyChange| known.epoch == change.epoch && known.by.device == change.by.device;
        let known: Vec<&KeyChange> = here.keys.changes.iter().filter(same_epoch).collect();
        if known.is_empty() && here.keys.missing == 0 {
            return Err(refused(format!(
                "line {number} tells of a change of keys that this device has not seen: {}",
                change.sentence
            ))
            .hint("it may not have arrived yet: compare again when this device has been online"));
        }
        // Whether it stands, and after what it comes, may change with what is seen later.
        let as_made = |change: &KeyChange| {
            let parties = (change.added.clone(), change.removed.clone(), change.renewed.clone());
            (change.parent.clone(), change.time_ms, change.by.clone(), change.operations.clone(), parties)
        };
        if !known.is_empty() && !known.iter().any(|known| as_made(known) == as_made(change)) {
            return Err(altered(number, "is not what this device has seen"));
        }
    }
    Ok(())
}

/// The change that a line stands for.
pub(super) fn rebuild(line: &KeyChange) -> Option<clave::KeyChange> {
    let standing = match (line.standing.as_str(), &line.lost_to) {
        ("stands", None) => clave::KeyStanding::Stands,
        ("lost", Some(to)) => clave::KeyStanding::Lost { to: to.parse().ok()? },
        ("beyond", None) => clave::KeyStanding::Beyond,
        ("unconnected", None) => clave::KeyStanding::Unconnected,
        _ => return None,
    };
    let parties = |parties: &[Party]| parties.iter().map(party).collect::<Option<Vec<_>>>();
    Some(clave::KeyChange {
        sequence: line.sequence,
        parent: line.parent.parse().ok()?,
        epoch: line.epoch.parse().ok()?,
        time_ms: line.time_ms,
        by: party(&line.by)?,
        operations: line.operations.iter().map(|id| id.parse::<OperationId>().ok()).collect::<Option<_>>()?,
        added: parties(&line.added)?,
        removed: parties(&line.removed)?,
        renewed: parties(&line.renewed)?,
        sentence: line.sentence.clone(),
        standing,
        checked: false,
        previous: bytes(&line.previous)?,
        hash: bytes(&line.hash)?,
    })
}

fn party(line: &Party) -> Option<clave::Party> {
    let person = match &line.person {
        None => None,
        Some(person) => Some(person.parse::<PersonId>().ok()?),
    };
    let (device_name, person_name) = (line.device_name.clone(), line.person_name.clone());
    Some(clave::Party { device: line.device.parse().ok()?, device_name, person, person_name })
}
