//! What an application asks of a circle's people: removing, roles, policies, who can read what, the audit.

use clave_crypto::PersonId;

use super::*;
use crate::membership::{Action, AuditRecord, History, Operation, Role};
use crate::{Evidence, KeyAudit, OperationId};

/// Where somebody stands in a circle, with respect to reading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Reads what is written now.
    Now,
    /// Reads what is written until a date, in Unix milliseconds.
    Until(u64),
    /// Is in the log, and the keys have not reached the device yet.
    Soon,
    /// Was removed, and still has the keys that are in use: nothing is sealed with them any more, new ones come first.
    Stopping,
    /// Keeps what it had, and gets nothing more.
    Ended,
}

/// One device and what it can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Which.
    pub device: DeviceId,
    /// What its person calls it.
    pub name: String,
    /// What it can read.
    pub reading: Reading,
    /// Whether it was seen to use the keys in use now (or later ones).
    pub confirmed: bool,
}

/// One person and what they can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonAccess {
    /// Who.
    pub person: PersonId,
    /// How they are called, or were when they left.
    pub name: String,
    /// What they are; nothing, if they are out.
    pub role: Option<Role>,
    /// If they are out: by which operation, as a sentence.
    pub removed: Option<String>,
    /// Their devices.
    pub devices: Vec<DeviceAccess>,
}

/// Who can read what is written in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The epoch under which is sealed now.
    pub epoch: EpochId,
    /// How many commits led to it.
    pub depth: u64,
    /// Whether no device that was removed has the keys in use.
    pub rotated: bool,
    /// What newcomers can read of what was written before.
    pub history: History,
    /// Those who are in, by name; then those who are out.
    pub people: Vec<PersonAccess>,
}

impl Engine {
    /// Command: removes somebody from a circle, with all devices, and changes its keys. Removal from a space removes from
    /// all circles of it. Removing oneself is leaving.
    ///
    /// # Errors
    /// If this device is not in the circle or may not.
    pub fn remove_person(&mut self, circle: CircleId, person: PersonId, now_ms: u64) -> Result<(), EngineError> {
        self.act(circle, Action::revoke_person(person), now_ms)
    }

    /// Command: gives somebody a role.
    ///
    /// # Errors
    /// If this device is not in the circle or may not.
    pub fn set_role(&mut self, circle: CircleId, person: PersonId, role: Role, now_ms: u64) -> Result<(), EngineError> {
        self.act(circle, Action::SetRole { person, role, keep_heads: Vec::new() }, now_ms)
    }

    /// Command: sets a policy of a circle. The keys and values are those of [`crate::membership::Policy`].
    ///
    /// # Errors
    /// If this device is not in the circle or may not, or the value is none.
    pub fn set_policy(&mut self, circle: CircleId, key: &str, value: &str, now_ms: u64) -> Result<(), EngineError> {
        let action = Action::SetPolicy { key: key.to_owned(), value: value.to_owned(), keep_heads: Vec::new() };
        self.act(circle, action, now_ms)
    }

    /// Every operation of a circle's log, in one order everywhere, chained by hashes.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn audit(&self, circle: CircleId) -> Result<Vec<AuditRecord>, EngineError> {
        Ok(self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.log.audit())
    }

    /// The changes of a circle's keys that are here, chained by hashes: the same for all who hold the same commits.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn key_audit(&self, circle: CircleId) -> Result<KeyAudit, EngineError> {
        self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.key_audit(&self.desk)
    }

    /// Devices that did what no device in order does, with the two acts that prove it. Their key is in two hands, they were
    /// restored from an old copy of their disk, or they lie.
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn evidence(&mut self, circle: CircleId) -> Result<Vec<Evidence>, EngineError> {
        let (circle, desk) = self.circle_mut(circle)?;
        circle.evidence(desk)
    }

    /// Whose a device is or was, though it may be out or never have been rightly in, and how they are called, as far as
    /// that is known.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn person_behind(
        &self,
        circle: CircleId,
        device: &DeviceId,
    ) -> Result<Option<(PersonId, Option<&str>)>, EngineError> {
        let log = &self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.log;
        let membership = log.membership();
        Ok(log.person_of(*device).map(|person| {
            let known = membership.people.get(&person).map(|known| known.name.as_str());
            let former = || membership.former_people.get(&person).map(|former| former.name.as_str());
            let introduced = || {
                let entries = log.operations().filter_map(|operation| operation.action().introduces().0);
                entries.into_iter().find(|entry| entry.person == person).map(|entry| entry.name.as_str())
            };
            (person, known.or_else(former).or_else(introduced))
        }))
    }

    /// An operation of a circle's log.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn operation(&self, circle: CircleId, id: &OperationId) -> Result<Option<&Operation>, EngineError> {
        Ok(self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.log.operation(id))
    }

    /// What was set aside in a circle's log, each with its reason as a sentence.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn set_aside_operations(&self, circle: CircleId) -> Result<Vec<String>, EngineError> {
        let log = &self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.log;
        Ok(log.membership().set_aside.iter().map(|set_aside| log.explain(set_aside)).collect())
    }

    /// Who can read what is written in a circle, as far as this device knows.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn access(&self, circle: CircleId) -> Result<Access, EngineError> {
        let circle = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?;
        Ok(circle.access(self.desk.me(), self.desk.now_ms))
    }
}
