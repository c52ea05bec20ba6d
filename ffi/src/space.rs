//! A space: a team and what it works on.

use std::sync::Arc;
use std::time::Duration;

use crate::session::Session;
use crate::{ClaveError, Timeline};

/// A space this device is in.
#[derive(uniffi::Object)]
pub struct Space {
    session: Arc<Session>,
    space: clave::Space,
}

/// What somebody is in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Role {
    /// Answers to other owners only.
    Owner,
    /// Runs the space day by day: people below admins, names, policies.
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

/// Somebody in a space.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Member {
    /// The id of the person.
    pub person: String,
    /// How they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Their devices.
    pub devices: Vec<MemberDevice>,
    /// Whether it is the person this device belongs to.
    pub is_me: bool,
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

impl Space {
    pub(crate) fn new(session: Arc<Session>, space: clave::Space) -> Self {
        Self { session, space }
    }
}

#[uniffi::export]
impl Space {
    /// Its id, the same on every device.
    #[must_use]
    pub fn id(&self) -> String {
        self.space.id().to_string()
    }

    /// Its name.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn name(&self) -> Result<String, ClaveError> {
        let space = self.space.clone();
        self.session.run(async move { space.name().await }).await
    }

    /// Who is in it, owners first, then by name.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, ClaveError> {
        let space = self.space.clone();
        let members = self.session.run(async move { space.members().await }).await?;
        Ok(members.into_iter().map(Member::from).collect())
    }

    /// Makes an invitation that works once, within `valid`, and returns its link. Whoever takes it up has to reach this
    /// device.
    ///
    /// # Errors
    /// [`ClaveError::NotAllowed`] if this person may not invite.
    pub async fn invite(&self, valid: Duration) -> Result<String, ClaveError> {
        let space = self.space.clone();
        Ok(self.session.run(async move { space.invite(valid).await }).await?.to_string())
    }

    /// The chat.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline::new(self.session.clone(), self.space.timeline())
    }
}

impl From<clave::Member> for Member {
    fn from(member: clave::Member) -> Self {
        Self {
            person: member.person.to_string(),
            name: member.name,
            role: member.role.into(),
            devices: member.devices.into_iter().map(MemberDevice::from).collect(),
            is_me: member.is_me,
        }
    }
}

impl From<clave::MemberDevice> for MemberDevice {
    fn from(device: clave::MemberDevice) -> Self {
        Self { device: device.device.to_string(), name: device.name, online: device.online }
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
