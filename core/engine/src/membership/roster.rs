//! Who is in, as a value: what the evaluation comes to.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceId, NoisePublicKey, PersonId};

use super::action::KeyPackages;
use super::reason::SetAside;
use super::rights::{MEMBERS_MAY_INVITE, Right, Role};
use crate::{CircleId, OperationId};

/// How long somebody has had their role: who got it nearer to the genesis is senior, and compares as less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority {
    /// The longest way from the genesis to the operation that gave the role, in operations.
    pub depth: u64,
    /// That operation.
    pub operation: OperationId,
}

/// Somebody who is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// How they want to be called.
    pub name: String,
    /// What they are.
    pub role: Role,
    /// Since which operation they have that role; decides between equals.
    pub seniority: Seniority,
    /// The operation that brought them in.
    pub since: OperationId,
    /// When a guest's stay ends, in Unix milliseconds. For the caller's clock to respect.
    pub expires_ms: Option<u64>,
    /// Their current devices.
    pub devices: BTreeSet<DeviceId>,
}

/// A device that is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whose it is.
    pub person: PersonId,
    /// What its person calls it.
    pub name: String,
    /// The operation that brought it in.
    pub since: OperationId,
    /// How to add it to the key agreement.
    pub key_packages: KeyPackages,
    /// The key to which entries for it alone are sealed.
    pub noise: NoisePublicKey,
    /// The epoch that it last said to follow.
    pub acknowledged: Option<[u8; 32]>,
}

/// Somebody, or a device of theirs, that was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The last name.
    pub name: String,
    /// The operation that removed them.
    pub by: OperationId,
}

/// Where a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStanding {
    /// In.
    Current,
    /// Was in.
    Removed {
        /// The operation that removed it, or its person.
        by: OperationId,
    },
    /// Brought in by an operation that is set aside: never was in, though some may have thought so.
    SetAside {
        /// The operation.
        admission: OperationId,
    },
    /// Never heard of.
    Unknown,
}

/// Who is in a circle, in which role, with which devices, under which policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The name of the circle. Empty before the genesis arrived.
    pub name: String,
    /// The circle that this one says to belong to.
    pub parent: Option<CircleId>,
    /// Everybody who is in.
    pub people: BTreeMap<PersonId, Person>,
    /// Every device that is in.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Everybody who was in and is not.
    pub former_people: BTreeMap<PersonId, Former>,
    /// Every device that was in and is not.
    pub former_devices: BTreeMap<DeviceId, Former>,
    /// Every device that only operations without effect brought in, with one of those.
    pub devices_set_aside: BTreeMap<DeviceId, OperationId>,
    /// Policies that were set.
    pub policies: BTreeMap<String, String>,
    /// The operations without effect, in topological order.
    pub set_aside: Vec<SetAside>,
}

impl Membership {
    /// Where a device stands.
    #[must_use]
    pub fn device_standing(&self, device: DeviceId) -> DeviceStanding {
        if self.devices.contains_key(&device) {
            DeviceStanding::Current
        } else if let Some(former) = self.former_devices.get(&device) {
            DeviceStanding::Removed { by: former.by }
        } else if let Some(admission) = self.devices_set_aside.get(&device) {
            DeviceStanding::SetAside { admission: *admission }
        } else {
            DeviceStanding::Unknown
        }
    }

    /// The person whose current device this is.
    #[must_use]
    pub fn person_of(&self, device: DeviceId) -> Option<PersonId> {
        self.devices.get(&device).map(|device| device.person)
    }

    /// The role in which a device acts.
    #[must_use]
    pub fn role_of(&self, device: DeviceId) -> Option<Role> {
        self.people.get(&self.person_of(device)?).map(|person| person.role)
    }

    /// Whether a device may, by its person's role and the policies.
    #[must_use]
    pub fn may(&self, device: DeviceId, right: Right) -> bool {
        self.role_of(device).is_some_and(|role| {
            role.has(right) && (right != Right::Invite || role != Role::Member || self.members_may_invite())
        })
    }

    /// The policy [`MEMBERS_MAY_INVITE`].
    #[must_use]
    pub fn members_may_invite(&self) -> bool {
        self.policies.get(MEMBERS_MAY_INVITE).is_none_or(|value| value != "false")
    }
}
