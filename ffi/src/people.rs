//! Who is in a circle: members, roles, invitations, who can read what.

use std::collections::HashMap;
use std::time::Duration;

use crate::convert::parse;
use crate::{Circle, ClaveError, Verification};

/// What somebody is in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Role {
    /// Answers to other owners only.
    Owner,
    /// Runs the circle day by day: people below admins, names, policies.
    Admin,
    /// Takes part and, unless the policy says otherwise, invites.
    Member,
    /// A program: a bridge to another system.
    Bot,
    /// Takes part for a while, invites nobody.
    Guest,
    /// A role that this version does not know.
    Unknown,
}

/// Somebody in a circle.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Member {
    /// The id of the person.
    pub person: String,
    /// How they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When a guest's stay ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Their devices.
    pub devices: Vec<MemberDevice>,
    /// Whether it is the person this device belongs to.
    pub is_me: bool,
    /// Whether their key was compared on this device.
    pub verification: Verification,
}

/// A device of a member.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct MemberDevice {
    /// The id of the device.
    pub device: String,
    /// What its person calls it.
    pub name: String,
    /// Whether it is connected now (or is this one).
    pub online: bool,
}

/// An invitation that this device made.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// Until when it is good, in Unix milliseconds.
    pub expires_ms: u64,
    /// What has become of it.
    pub state: InvitationState,
}

/// What has become of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum InvitationState {
    /// Not taken up.
    Open,
    /// Taken up.
    Used {
        /// By which device.
        device: String,
    },
    /// Taken back.
    Revoked,
    /// Over.
    Expired,
}

/// Who can read what is written in a circle now.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Access {
    /// The id of the epoch under which entries are sealed now.
    pub epoch: String,
    /// How many commits led to it.
    pub depth: u64,
    /// Whether no device that was removed has the keys in use.
    pub rotated: bool,
    /// What newcomers can read of what was written before, as the policy `history` says it.
    pub history: String,
    /// Those who are in, by name; then those who are out.
    pub people: Vec<PersonAccess>,
}

/// What somebody can read.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PersonAccess {
    /// The id of the person.
    pub person: String,
    /// How they are called, or were when they left.
    pub name: String,
    /// What they are; nothing, if they are out.
    pub role: Option<Role>,
    /// If they are out: by which act, as a sentence.
    pub removed: Option<String>,
    /// Their devices.
    pub devices: Vec<DeviceAccess>,
}

/// What a device can read.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DeviceAccess {
    /// The id of the device.
    pub device: String,
    /// What its person calls it.
    pub name: String,
    /// What it can read.
    pub reading: Reading,
    /// Whether it was seen to use the keys in use now (or later ones).
    pub confirmed: bool,
}

/// Until when something can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Reading {
    /// Reads what is written now.
    Now,
    /// Reads what is written until a date.
    Until {
        /// Unix milliseconds.
        time_ms: u64,
    },
    /// Is in, and the keys have not reached the device yet.
    Soon,
    /// Was removed, and still has the keys that are in use: nothing is sealed with them any more, new ones come first.
    Stopping,
    /// Keeps what it had, and gets nothing more.
    Ended,
}

/// What of a circle's past its members can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum History {
    /// All of it, whenever they came.
    Full,
    /// What was written since they came.
    SinceJoining,
    /// What was written since they came and not longer ago than this: keys are erased then.
    Ratcheted {
        /// How long, in seconds; an hour at least.
        seconds: u64,
    },
}

#[uniffi::export]
impl Circle {
    /// Who is in it, owners first, then by name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, ClaveError> {
        let members = self.run(|circle| async move { circle.members().await }).await?;
        Ok(members.into_iter().map(Member::from).collect())
    }

    /// Makes an invitation that works once, within `valid`, and returns its link. Whoever takes it up has to reach this
    /// device.
    ///
    /// # Errors
    /// [`ClaveError::NotAllowed`] if this person may not invite.
    pub async fn invite(&self, valid: Duration) -> Result<String, ClaveError> {
        Ok(self.run(|circle| async move { circle.invite(valid).await }).await?.to_string())
    }

    /// The invitations that this device made.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn invitations(&self) -> Result<Vec<Invitation>, ClaveError> {
        let invitations = self.run(|circle| async move { circle.invitations().await }).await?;
        Ok(invitations.into_iter().map(Invitation::from).collect())
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// If this device made no such invitation.
    pub async fn revoke_invitation(&self, invitation: String) -> Result<(), ClaveError> {
        let invitation = parse(&invitation, "invitation")?;
        self.run(|circle| async move { circle.revoke_invitation(invitation).await }).await
    }

    /// Brings somebody of the space into this circle.
    ///
    /// # Errors
    /// If they are not in the space, are here already, or this person may not.
    pub async fn add(&self, person: String, role: Role) -> Result<(), ClaveError> {
        let (person, role) = (parse(&person, "person")?, role.known()?);
        self.run(|circle| async move { circle.add(person, role).await }).await
    }

    /// Lets somebody of the space in as a guest until a date, in Unix milliseconds; or moves the date of a guest.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub async fn grant(&self, person: String, expires_ms: u64) -> Result<(), ClaveError> {
        let person = parse(&person, "person")?;
        self.run(|circle| async move { circle.grant(person, expires_ms).await }).await
    }

    /// Gives somebody a role.
    ///
    /// # Errors
    /// If they are not here, or this person may not.
    pub async fn set_role(&self, person: String, role: Role) -> Result<(), ClaveError> {
        let (person, role) = (parse(&person, "person")?, role.known()?);
        self.run(|circle| async move { circle.set_role(person, role).await }).await
    }

    /// Removes somebody with all their devices, and changes the keys. From a space, that removes from all its circles. They
    /// keep what they had.
    ///
    /// # Errors
    /// If they are not here, or this person may not.
    pub async fn remove(&self, person: String) -> Result<(), ClaveError> {
        let person = parse(&person, "person")?;
        self.run(|circle| async move { circle.remove(person).await }).await
    }

    /// Removes one device of somebody, and changes the keys. It keeps what it had.
    ///
    /// # Errors
    /// If it is not here, or this person may not.
    pub async fn revoke_device(&self, device: String) -> Result<(), ClaveError> {
        let device = parse(&device, "device")?;
        self.run(|circle| async move { circle.revoke_device(device).await }).await
    }

    /// Leaves. What is here stays readable on this device, nothing more arrives.
    ///
    /// # Errors
    /// If no owner would be left: make somebody else one first.
    pub async fn leave(&self) -> Result<(), ClaveError> {
        self.run(|circle| async move { circle.leave().await }).await
    }

    /// The policies in force, by name.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn policies(&self) -> Result<HashMap<String, String>, ClaveError> {
        Ok(self.run(|circle| async move { circle.policies().await }).await?.into_iter().collect())
    }

    /// Says what newcomers can read of what was written before they came, or after how long everything is erased.
    ///
    /// # Errors
    /// [`ClaveError::NotAllowed`] if this person may not set policies, or the time is too short.
    pub async fn set_history(&self, history: History) -> Result<(), ClaveError> {
        self.run(|circle| async move { circle.set_history(history.into()).await }).await
    }

    /// Sets a policy.
    ///
    /// # Errors
    /// If this person may not, or the value is none that the policy can have.
    pub async fn set_policy(&self, key: String, value: String) -> Result<(), ClaveError> {
        self.run(|circle| async move { circle.set_policy(&key, &value).await }).await
    }

    /// Who can read what is written here now, whose keys ended, and which devices have confirmed the newest keys.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn access(&self) -> Result<Access, ClaveError> {
        let access = self.run(|circle| async move { circle.access().await }).await?;
        Ok(Access {
            epoch: access.epoch.to_string(),
            depth: access.depth,
            rotated: access.rotated,
            history: access.history.to_string(),
            people: access.people.into_iter().map(PersonAccess::from).collect(),
        })
    }
}

impl Role {
    fn known(self) -> Result<clave::Role, ClaveError> {
        Ok(match self {
            Self::Owner => clave::Role::Owner,
            Self::Admin => clave::Role::Admin,
            Self::Member => clave::Role::Member,
            Self::Bot => clave::Role::Bot,
            Self::Guest => clave::Role::Guest,
            Self::Unknown => return Err(ClaveError::not_an_id("role")),
        })
    }
}

impl From<clave::Role> for Role {
    fn from(role: clave::Role) -> Self {
        match role {
            clave::Role::Owner => Self::Owner,
            clave::Role::Admin => Self::Admin,
            clave::Role::Member => Self::Member,
            clave::Role::Bot => Self::Bot,
            clave::Role::Guest => Self::Guest,
            _ => Self::Unknown,
        }
    }
}

impl From<clave::Member> for Member {
    fn from(member: clave::Member) -> Self {
        Self {
            person: member.person.to_string(),
            name: member.name,
            role: member.role.into(),
            expires_ms: member.expires_ms,
            devices: member.devices.into_iter().map(MemberDevice::from).collect(),
            is_me: member.is_me,
            verification: member.verification.into(),
        }
    }
}

impl From<clave::MemberDevice> for MemberDevice {
    fn from(device: clave::MemberDevice) -> Self {
        Self { device: device.device.to_string(), name: device.name, online: device.online }
    }
}

impl From<clave::InvitationInfo> for Invitation {
    fn from(invitation: clave::InvitationInfo) -> Self {
        let state = match invitation.state {
            clave::InvitationState::Open => InvitationState::Open,
            clave::InvitationState::Used(device) => InvitationState::Used { device: device.to_string() },
            clave::InvitationState::Revoked => InvitationState::Revoked,
            _ => InvitationState::Expired,
        };
        Self { id: invitation.id.to_string(), expires_ms: invitation.expires_ms, state }
    }
}

impl From<clave::PersonAccess> for PersonAccess {
    fn from(person: clave::PersonAccess) -> Self {
        Self {
            person: person.person.to_string(),
            name: person.name,
            role: person.role.map(Role::from),
            removed: person.removed,
            devices: person.devices.into_iter().map(DeviceAccess::from).collect(),
        }
    }
}

impl From<clave::DeviceAccess> for DeviceAccess {
    fn from(device: clave::DeviceAccess) -> Self {
        let reading = match device.reading {
            clave::Reading::Now => Reading::Now,
            clave::Reading::Until(time_ms) => Reading::Until { time_ms },
            clave::Reading::Stopping => Reading::Stopping,
            clave::Reading::Ended => Reading::Ended,
            // Nothing later can be less sure.
            _ => Reading::Soon,
        };
        Self { device: device.device.to_string(), name: device.name, reading, confirmed: device.confirmed }
    }
}

impl From<History> for clave::History {
    fn from(history: History) -> Self {
        match history {
            History::Full => Self::Full,
            History::SinceJoining => Self::SinceJoining,
            History::Ratcheted { seconds } => Self::Ratcheted { seconds },
        }
    }
}
