//! How the keys of a circle changed: who changed them, whom that let in and kept out.

use crate::convert::hex;
use crate::{Circle, ClaveError};

/// By what a circle agrees on its keys. It holds for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Suite {
    /// X25519.
    X25519,
    /// X-Wing, which is ML-KEM-768 and X25519 together: against a quantum computer too.
    XWing,
}

/// The changes of a circle's keys, as far as this device has them.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct KeyAudit {
    /// How many changes led to the oldest one here that are not here: this device came later, or they have expired.
    pub missing: u64,
    /// What is here, each after the one that it starts from.
    pub changes: Vec<KeyChange>,
    /// The hash of the last, in hexadecimal digits; of an empty list, what the first would build on.
    pub hash: String,
}

/// One change of keys. Each is chained to the one before by its hash.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct KeyChange {
    /// Its place in the list, from 0. Changes that arrive later can move it.
    pub sequence: u64,
    /// The id of the epoch whose keys it replaces.
    pub parent: String,
    /// The id of the epoch that it leads to.
    pub epoch: String,
    /// When its author says that it was made, in Unix milliseconds. Clocks lie.
    pub time_ms: u64,
    /// The device that made it.
    pub by: Party,
    /// The ids of the newest acts that its author had seen: on their authority it adds and removes.
    pub operations: Vec<String>,
    /// Devices that it gives the new keys to and that were not in.
    pub added: Vec<Party>,
    /// Devices that it keeps the new keys from.
    pub removed: Vec<Party>,
    /// Devices that were in and could not follow: they begin anew.
    pub renewed: Vec<Party>,
    /// What was done: "Alice changed the keys: Bob (phone) is out".
    pub sentence: String,
    /// What became of it.
    pub standing: KeyStanding,
    /// Whether this device made it, or saw by itself that it does what it says. Else that is its author's word.
    pub checked: bool,
    /// The hash of the change before it, in hexadecimal digits.
    pub previous: String,
    /// The hash of this change and the one before it, in hexadecimal digits.
    pub hash: String,
}

/// A device, and whose it is, as both were called when the change was made.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Party {
    /// The id of the device.
    pub device: String,
    /// How it was called.
    pub device_name: String,
    /// The id of the person whose it is, if that is known.
    pub person: Option<String>,
    /// How they were called.
    pub person_name: String,
}

/// What became of a change of keys.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum KeyStanding {
    /// It is followed.
    Stands,
    /// Another change of the same keys was chosen, or one of those that came before it lost so.
    Lost {
        /// The id of the epoch that the winner led to.
        to: String,
    },
    /// It follows the keys in use here, and this device cannot follow: it is out.
    Beyond,
    /// What it starts from is not here.
    Unconnected,
}

#[uniffi::export]
impl Circle {
    /// Every change of the keys that is here: who made it, when, whom it let in, kept out or had begin anew, on which acts it
    /// rests, and whether it stands or lost to another. The same on every device that holds the same changes.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn key_audit(&self) -> Result<KeyAudit, ClaveError> {
        let audit = self.run(|circle| async move { circle.key_audit().await }).await?;
        Ok(KeyAudit {
            missing: audit.missing,
            changes: audit.changes.into_iter().map(KeyChange::from).collect(),
            hash: hex(&audit.hash),
        })
    }
}

impl From<clave::KeyChange> for KeyChange {
    fn from(change: clave::KeyChange) -> Self {
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
            standing: change.standing.into(),
            checked: change.checked,
            previous: hex(&change.previous),
            hash: hex(&change.hash),
        }
    }
}

impl From<clave::Party> for Party {
    fn from(party: clave::Party) -> Self {
        Self {
            device: party.device.to_string(),
            device_name: party.device_name,
            person: party.person.map(|person| person.to_string()),
            person_name: party.person_name,
        }
    }
}

impl From<clave::KeyStanding> for KeyStanding {
    fn from(standing: clave::KeyStanding) -> Self {
        match standing {
            clave::KeyStanding::Stands => Self::Stands,
            clave::KeyStanding::Lost { to } => Self::Lost { to: to.to_string() },
            clave::KeyStanding::Beyond => Self::Beyond,
            clave::KeyStanding::Unconnected => Self::Unconnected,
        }
    }
}

impl From<Suite> for clave::Suite {
    fn from(suite: Suite) -> Self {
        match suite {
            Suite::X25519 => Self::X25519,
            Suite::XWing => Self::XWing,
        }
    }
}

impl Suite {
    /// Whether it holds against a quantum computer decides for one that this version of the bindings has no name for.
    pub(crate) fn of(suite: clave::Suite) -> Self {
        if suite.is_post_quantum() { Self::XWing } else { Self::X25519 }
    }
}
