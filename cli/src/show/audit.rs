//! The audit, in words.

use super::{Show, quoted, short};
use crate::reply::{self, Evidence, KeyChange};
use crate::screen::{bold, dim};
use crate::text::line;
use crate::time::moment;

pub(super) fn audit(audit: &reply::Audit, how: &Show) -> Vec<String> {
    let hash = format!("Last hash: {}", audit.hash);
    let keys_hash = format!("Last hash of the keys: {}", audit.keys.hash);
    let same = "Whoever has seen the same acts gets the same hash: compare it with another member.".to_owned();
    if let Some(path) = &how.written {
        let check = format!("`clave audit check {}` says whether it was altered.", path.display());
        let (acts, changes) = (audit.records.len(), audit.keys.changes.len());
        let mut words = vec![format!("{acts} acts and {} are in {}.", changes_of_keys(changes), path.display())];
        words.extend(missing(audit.keys.missing));
        words.extend([hash, same, keys_hash, check]);
        return words;
    }
    let mut words: Vec<String> = audit.records.iter().flat_map(act).collect();
    words.extend([hash, same, String::new(), bold("Changes of the keys:")]);
    words.extend(missing(audit.keys.missing));
    if audit.keys.changes.is_empty() && audit.keys.missing == 0 {
        words.push("None: the keys are those that the circle began with.".to_owned());
    }
    words.extend(audit.keys.changes.iter().flat_map(change));
    words.push(keys_hash);
    words.push("Whoever holds the same changes, from the first one on, gets the same hash.".to_owned());
    words.extend(evidence(&audit.evidence));
    words
}

fn act(record: &reply::Record) -> Vec<String> {
    let authority = match (&record.role, &record.warrant) {
        (Some(role), Some(warrant)) if !warrant.given_by_name.is_empty() => {
            format!("as {role}, which {} gave", line(&warrant.given_by_name))
        }
        (Some(role), _) => format!("as {role}"),
        (None, _) => "not in".to_owned(),
    };
    let number = format!("{:>4}", record.sequence);
    let device = line(&record.device_name);
    let mut words = vec![format!(
        "{}  {}  {} {}",
        dim(&number),
        moment(record.time_ms),
        line(&record.sentence),
        dim(&format!("({authority}; {device})"))
    )];
    if let Some(because) = &record.set_aside {
        words.push(format!("      without effect: {}", line(&because.why)));
    }
    words
}

fn change(change: &KeyChange) -> Vec<String> {
    let number = format!("{:>4}", change.sequence);
    let epochs = format!("({} → {}; {})", short(&change.parent), short(&change.epoch), line(&change.by.device_name));
    let (number, epochs, when) = (dim(&number), dim(&epochs), moment(change.time_ms));
    let mut words = vec![format!("{number}  {when}  {} {epochs}", line(&change.sentence))];
    let became = match (change.standing.as_str(), &change.lost_to) {
        ("lost", Some(to)) => {
            format!("lost to another change, which led to {}: nothing is written with its keys", short(to))
        }
        ("beyond", _) => "leads to keys that this device was not given".to_owned(),
        ("unconnected", _) => "starts from keys of which nothing is known here".to_owned(),
        _ => String::new(),
    };
    if !became.is_empty() {
        words.push(format!("      {became}"));
    }
    if change.checked == Some(false) {
        words.push("      that is what its author says: this device was not there to check it".to_owned());
    }
    words
}

/// What devices did that no device in order does, and what to do about it.
pub(super) fn evidence(evidence: &[Evidence]) -> Vec<String> {
    let mut words = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for one in evidence {
        let (person, device) = (line(&one.person_name), line(&one.device_name));
        let ids: Vec<String> = one.ids.iter().map(|id| short(id)).collect();
        let did = match one.of.as_str() {
            "operations" => format!("wrote two acts that know nothing of each other ({})", ids.join(", ")),
            "key_changes" => format!("changed the same keys twice (to {})", ids.join(" and to ")),
            _ => format!("wrote twice in one place of a document ({})", ids.join(", ")),
        };
        words.push(bold(&format!("“{device}” of {person} {did}: no device in order does that.")));
        if one.is_in && !told.contains(&one.device.as_str()) {
            told.push(&one.device);
            words.push(format!(
                "  It runs from an old copy of its data, somebody else has its key, or it lies. Ask {person}; if they cannot \
                 explain it: clave members remove {}",
                quoted(&one.person_name)
            ));
            words.push("  If it is yours: clave device revoke NAME, on another device of yours.".to_owned());
        }
    }
    words
}

fn missing(missing: u64) -> Option<String> {
    match missing {
        0 => None,
        1 => {
            Some("One change came before these and is not here: this device came later, or it has expired.".to_owned())
        }
        many => Some(format!(
            "{many} changes came before these and are not here: this device came later, or they have expired."
        )),
    }
}

fn changes_of_keys(count: usize) -> String {
    if count == 1 { "1 change of keys".to_owned() } else { format!("{count} changes of keys") }
}

pub(super) fn checked(checked: &reply::Checked) -> Vec<String> {
    let keys = changes_of_keys(checked.key_changes);
    let mut words = vec![format!(
        "The file is as it was exported: {} acts and {keys}, each chained to the one before.",
        checked.records
    )];
    words.push(match (checked.compared, checked.newer_here) {
        (false, _) => {
            "Whoever writes all of it anew can make a list that fits in itself: compare the last hash with another \
                       member's (--hash), or with what this device has seen (--here)."
                .to_owned()
        }
        (true, None) => "Its last hash is the one you gave.".to_owned(),
        (true, Some(0)) => "This device has seen the same, and nothing more.".to_owned(),
        (true, Some(newer)) => format!("This device has seen the same, and {newer} more since."),
    });
    words.push(format!("Last hash: {}", checked.hash));
    words.push(format!("Last hash of the keys: {}", checked.keys_hash));
    words
}
