//! Answers about circles, access, policies, what was set aside, and the audit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hex;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Circle {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) space: String,
    /// `nested` or `isolated`.
    pub(crate) scope: String,
    /// Whether its keys are agreed on by X-Wing.
    pub(crate) post_quantum: bool,
    /// A chat of two.
    pub(crate) direct: bool,
    pub(crate) members: usize,
    /// How this device came to be out, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The id of the circle.
    pub(crate) circle: String,
    pub(crate) name: String,
    pub(crate) epoch: String,
    pub(crate) commits: u64,
    /// Whether no device that is out has the keys in use.
    pub(crate) rotated: bool,
    pub(crate) history: String,
    /// How this device came to be out, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<String>,
    pub(crate) people: Vec<PersonAccess>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PersonAccess {
    pub(crate) person: String,
    pub(crate) name: String,
    pub(crate) me: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// If they are out: by which act, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<String>,
    pub(crate) devices: Vec<DeviceAccess>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceAccess {
    pub(crate) device: String,
    pub(crate) name: String,
    /// `now`, `until`, `soon`, `stopping` or `ended`.
    pub(crate) reading: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<u64>,
    /// Whether it was seen to use the keys in use.
    pub(crate) confirmed: bool,
}

impl DeviceAccess {
    fn new(access: clave::DeviceAccess) -> Self {
        let (reading, until_ms) = match access.reading {
            clave::Reading::Now => ("now", None),
            clave::Reading::Until(at) => ("until", Some(at)),
            clave::Reading::Soon => ("soon", None),
            clave::Reading::Stopping => ("stopping", None),
            _ => ("ended", None),
        };
        let device = access.device.to_string();
        Self { device, name: access.name, reading: reading.to_owned(), until_ms, confirmed: access.confirmed }
    }
}

impl PersonAccess {
    pub(crate) fn new(access: clave::PersonAccess, me: clave::PersonId) -> Self {
        Self {
            person: access.person.to_string(),
            name: access.name,
            me: access.person == me,
            role: access.role.map(|role| role.to_string()),
            removed: access.removed,
            devices: access.devices.into_iter().map(DeviceAccess::new).collect(),
        }
    }
}

/// Somebody was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub(crate) name: String,
    /// From which circle or space.
    pub(crate) from: String,
    /// Circles of the space from which they go as well, as far as this device is in them.
    pub(crate) circles: Vec<String>,
    /// Their devices, which keep what they had.
    pub(crate) keeps: Vec<String>,
    /// Devices that read on.
    pub(crate) reads: Vec<String>,
    /// Whether nobody waits for the keys.
    pub(crate) no_wait: bool,
}

/// How far the change of keys is that a removal brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    /// After how long they had changed, if they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotated_ms: Option<u64>,
    pub(crate) waited_ms: u64,
    /// Devices that were seen to use the new keys.
    pub(crate) confirmed: Vec<String>,
    /// Devices that are in and were not.
    pub(crate) unconfirmed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SetAside {
    pub(crate) name: String,
    /// Acts without effect, each with its reason as a sentence.
    pub(crate) acts: Vec<String>,
    pub(crate) documents: Vec<SetAsideDocument>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SetAsideDocument {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) authors: Vec<String>,
    pub(crate) changes: usize,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) reasons: Vec<String>,
}

impl From<clave::SetAsideDocument> for SetAsideDocument {
    fn from(document: clave::SetAsideDocument) -> Self {
        Self {
            id: document.id.to_string(),
            kind: super::kind_name(document.kind).to_owned(),
            title: document.title,
            authors: document.authors,
            changes: document.changes,
            first_ms: document.first_ms,
            last_ms: document.last_ms,
            reasons: document.reasons,
        }
    }
}

/// What makes a device a further one of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkCode {
    /// For a QR code, or to paste.
    pub(crate) code: String,
    /// To type.
    pub(crate) typed: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) expires_ms: u64,
}

/// A device that asks to be a person's, and what both show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkAsked {
    pub(crate) link: String,
    pub(crate) device: String,
    pub(crate) device_name: String,
    /// Pictures, each with the word for it.
    pub(crate) emoji: Vec<(String, String)>,
    pub(crate) digits: Vec<u16>,
}

/// What is shown on both sides: pictures with their words, and numbers.
pub(crate) fn pictures(sas: &clave::Sas) -> (Vec<(String, String)>, Vec<u16>) {
    let emoji = sas.emoji().iter().map(|(sign, word)| ((*sign).to_owned(), (*word).to_owned())).collect();
    (emoji, sas.digits().to_vec())
}

/// What two people compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compare {
    pub(crate) name: String,
    /// Theirs.
    pub(crate) device: String,
    /// Pictures, each with the word for it.
    pub(crate) emoji: Vec<(String, String)>,
    pub(crate) digits: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policies {
    pub(crate) name: String,
    pub(crate) policies: BTreeMap<String, String>,
}

/// Everything that ever changed who is in a circle. Its lines are those of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Audit {
    /// The id of the circle.
    pub(crate) circle: String,
    pub(crate) records: Vec<Record>,
    /// That of the last record.
    pub(crate) hash: String,
    pub(crate) keys: Keys,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) evidence: Vec<Evidence>,
}

/// Two acts of one device that no device in order makes both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) device: String,
    pub(crate) device_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    pub(crate) person_name: String,
    /// Whether it is still in.
    pub(crate) is_in: bool,
    /// `operations`, `key_changes` or `changes`.
    pub(crate) of: String,
    /// The ids of the two operations or epochs; of changes, that of the document.
    pub(crate) ids: Vec<String>,
}

impl From<clave::Evidence> for Evidence {
    fn from(evidence: clave::Evidence) -> Self {
        let (of, ids) = match evidence.acts {
            clave::RivalActs::Operations(ids) => ("operations", ids.iter().map(ToString::to_string).collect()),
            clave::RivalActs::KeyChanges { to, .. } => ("key_changes", to.iter().map(ToString::to_string).collect()),
            clave::RivalActs::Changes { document, .. } => ("changes", vec![document.to_string()]),
            _ => ("unknown", Vec::new()),
        };
        Self {
            device: evidence.device.to_string(),
            device_name: evidence.device_name,
            person: evidence.person.map(|person| person.to_string()),
            person_name: evidence.person_name,
            is_in: evidence.is_in,
            of: of.to_owned(),
            ids,
        }
    }
}

/// The changes of a circle's keys, as far as they are here: a chain of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keys {
    /// How many came before the oldest one here.
    pub(crate) missing: u64,
    pub(crate) changes: Vec<KeyChange>,
    /// That of the last change.
    pub(crate) hash: String,
}

/// One change of keys. All of it but `checked` is hashed, so each field stands for one of [`clave::KeyChange`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyChange {
    pub(crate) sequence: u64,
    pub(crate) parent: String,
    pub(crate) epoch: String,
    /// By the clock of who made it.
    pub(crate) time_ms: u64,
    pub(crate) by: Party,
    pub(crate) operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<Party>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<Party>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) renewed: Vec<Party>,
    pub(crate) sentence: String,
    /// `stands`, `lost`, `beyond` or `unconnected`.
    pub(crate) standing: String,
    /// Of one that lost: the epoch that the winner led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost_to: Option<String>,
    /// Whether this device saw by itself that it does what it says. Not exported: it differs among devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checked: Option<bool>,
    pub(crate) previous: String,
    pub(crate) hash: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Party {
    pub(crate) device: String,
    pub(crate) device_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    pub(crate) person_name: String,
}

impl From<clave::Party> for Party {
    fn from(party: clave::Party) -> Self {
        let (device, person) = (party.device.to_string(), party.person.map(|person| person.to_string()));
        Self { device, device_name: party.device_name, person, person_name: party.person_name }
    }
}

impl From<clave::KeyAudit> for Keys {
    fn from(audit: clave::KeyAudit) -> Self {
        let changes = audit.changes.into_iter().map(KeyChange::from).collect();
        Self { missing: audit.missing, changes, hash: hex(audit.hash) }
    }
}

impl From<clave::KeyChange> for KeyChange {
    fn from(change: clave::KeyChange) -> Self {
        let (standing, lost_to) = match change.standing {
            clave::KeyStanding::Stands => ("stands", None),
            clave::KeyStanding::Lost { to } => ("lost", Some(to.to_string())),
            clave::KeyStanding::Beyond => ("beyond", None),
            clave::KeyStanding::Unconnected => ("unconnected", None),
        };
        let parties = |parties: Vec<clave::Party>| parties.into_iter().map(Party::from).collect();
        Self {
            sequence: change.sequence,
            parent: change.parent.to_string(),
            epoch: change.epoch.to_string(),
            time_ms: change.time_ms,
            by: change.by.into(),
            operations: change.operations.iter().map(ToString::to_string).collect(),
            added: parties(change.added),
            removed: parties(change.removed),
            renewed: parties(change.renewed),
            sentence: change.sentence,
            standing: standing.to_owned(),
            lost_to,
            checked: Some(change.checked),
            previous: hex(change.previous),
            hash: hex(change.hash),
        }
    }
}

/// One act. All of it but `type` is hashed, so each field stands for one of [`clave::AuditRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) operation: String,
    pub(crate) parents: Vec<String>,
    /// By the clock of who did it.
    pub(crate) time_ms: u64,
    pub(crate) device: String,
    pub(crate) device_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
    pub(crate) person_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    pub(crate) sentence: String,
    /// On whose authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warrant: Option<Warrant>,
    /// Why it has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) set_aside: Option<Because>,
    pub(crate) previous: String,
    pub(crate) hash: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Warrant {
    pub(crate) admission: String,
    pub(crate) role_given: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_by: Option<String>,
    pub(crate) given_by_name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    /// The operation that the reason names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    pub(crate) why: String,
}

impl From<clave::AuditRecord> for Record {
    fn from(record: clave::AuditRecord) -> Self {
        let warrant = |warrant: clave::Warrant| Warrant {
            admission: warrant.admission.to_string(),
            role_given: warrant.role_given.to_string(),
            given_by: warrant.given_by.map(|person| person.to_string()),
            given_by_name: warrant.given_by_name,
        };
        let because =
            |(reason, why): (clave::Reason, String)| Because { by: reason.by().map(|by| by.to_string()), why };
        Self {
            sequence: record.sequence,
            operation: record.operation.to_string(),
            parents: record.parents.iter().map(ToString::to_string).collect(),
            time_ms: record.time_ms,
            device: record.device.to_string(),
            device_name: record.device_name,
            person: record.person.map(|person| person.to_string()),
            person_name: record.person_name,
            role: record.role.map(|role| role.to_string()),
            sentence: record.sentence,
            warrant: record.warrant.map(warrant),
            set_aside: record.set_aside.map(because),
            previous: hex(record.previous),
            hash: hex(record.hash),
        }
    }
}

/// What the check of an export came to, when nothing was altered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checked {
    pub(crate) circle: String,
    pub(crate) records: usize,
    pub(crate) hash: String,
    /// Changes of keys.
    pub(crate) key_changes: usize,
    pub(crate) keys_hash: String,
    /// Whether the last hash was compared: with one that was given, or with what this device has seen.
    pub(crate) compared: bool,
    /// How many acts this device has seen that are not in the file, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newer_here: Option<usize>,
}
