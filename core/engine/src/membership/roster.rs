//! Who is in, as a value: what the evaluation comes to.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::{DeviceCertificate, DeviceId, NoisePublicKey, PersonId, Signature, Suite};

use super::action::{DeviceEntry, KeyPackages, PersonEntry, RecoveryCertificate, Scope};
use super::codec::ENTRY_DEVICES_MAX;
use super::policy::{HISTORY, History, MEMBERS_MAY_INVITE, POST_QUANTUM_CIRCLES, Policy};
use super::reason::SetAside;
use super::relay::RelayAddress;
use super::rights::{Right, Role};
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
    /// The key by which they can bring a device in when all others are lost: that of the last of their admissions, in
    /// topological order, that names one.
    pub recovery: Option<RecoveryCertificate>,
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
    /// The person's word that it is theirs.
    pub certificate: DeviceCertificate,
    /// The device's word that it is that person's.
    pub consent: Signature,
    /// How to add it to the key agreement.
    pub key_packages: KeyPackages,
    /// The key to which entries for it alone are sealed.
    pub noise: NoisePublicKey,
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

/// Where a stay of a device stands: what one operation began by bringing the device in.
///
/// A device that was removed and brought in again has two, and so has one that two people brought in at the same
/// time. What it wrote belongs to the stay that its Automerge actor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// The admission stands, and no removal that stands ended it.
    InStanding,
    /// A removal of the device or its person ended it: one that stands and is not before the admission.
    Ended,
    /// The admission is set aside.
    SetAside,
    /// No admission of that device in the log is so named.
    Unknown,
}

/// Who is in a circle, in which role, with which devices, under which policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The name of the circle. Empty before the genesis arrived.
    pub name: String,
    /// The space that this circle says to belong to. None: it is a space itself.
    pub parent: Option<CircleId>,
    /// What belonging there means for who is in.
    pub scope: Scope,
    /// By what the circle agrees on its keys.
    pub suite: Suite,
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
    /// Every stay of every device that any operation brings in, by that operation. Never [`Stay::Unknown`].
    pub stays: BTreeMap<DeviceId, BTreeMap<OperationId, Stay>>,
    /// How many of these are not in standing.
    pub(crate) stays_not_in_standing: usize,
    pub(crate) kept_changes: BTreeSet<[u8; 32]>,
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

    /// Where the stay of a device stands that began with the operation whose id starts with `admission_prefix`.
    #[must_use]
    pub fn stay(&self, device: DeviceId, admission_prefix: [u8; 4]) -> Stay {
        self.stays.get(&device).map_or(Stay::Unknown, |stays| named(stays, admission_prefix))
    }

    /// Where the stay stands that an Automerge actor names: by the first bytes of the device and of the operation that
    /// brought it in.
    ///
    /// Should several stays begin with these bytes, the one that is in standing counts: ids can be ground, and
    /// whoever grinds one without effect must not take anybody's writing out of a document.
    #[must_use]
    pub fn stay_of_actor(&self, device_prefix: &[u8; 16], admission_prefix: &[u8; 4]) -> Stay {
        let bound = |rest: u8| {
            let mut bytes = [rest; 32];
            bytes[..16].copy_from_slice(device_prefix);
            DeviceId::from_bytes(bytes)
        };
        let devices = self.stays.range(bound(0)..=bound(u8::MAX));
        devices.map(|(_, stays)| named(stays, *admission_prefix)).min().unwrap_or(Stay::Unknown)
    }

    /// Whether any stay is not in standing: ended, or begun by an operation that is set aside. If not, every change by
    /// an actor that the log knows is to be shown.
    #[must_use]
    pub fn has_ended_stays(&self) -> bool {
        self.stays_not_in_standing > 0
    }

    /// The Automerge changes that the removals that stand keep: they, and what they build on, are shown whoever wrote
    /// them.
    #[must_use]
    pub fn kept_changes(&self) -> &BTreeSet<[u8; 32]> {
        &self.kept_changes
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

    /// Somebody who is in, as another circle's log can introduce them: with their current devices, the first
    /// [`ENTRY_DEVICES_MAX`] of them. What they signed themselves holds anywhere.
    #[must_use]
    pub fn person_entry(&self, person: PersonId) -> Option<PersonEntry> {
        let somebody = self.people.get(&person)?;
        let devices = somebody.devices.iter().filter_map(|device| self.devices.get(device)).take(ENTRY_DEVICES_MAX);
        let devices = devices.map(|device| DeviceEntry {
            certificate: device.certificate,
            consent: device.consent,
            noise: device.noise,
            name: device.name.clone(),
            key_packages: device.key_packages.clone(),
        });
        let (name, devices, recovery) = (somebody.name.clone(), devices.collect(), somebody.recovery);
        Some(PersonEntry { person, name, devices, invitation: None, recovery })
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

    /// The relays that a space names, by their numbers.
    #[must_use]
    pub fn relays(&self) -> BTreeMap<u8, RelayAddress> {
        let read = |key: &String, value: &String| match Policy::parse(key, value) {
            Ok(Some(Policy::Relay { number, address: Some(address) })) => Some((number, address)),
            _ => None,
        };
        self.policies.iter().filter_map(|(key, value)| read(key, value)).collect()
    }

    /// The policy [`POST_QUANTUM_CIRCLES`].
    #[must_use]
    pub fn post_quantum_circles(&self) -> bool {
        self.policies.get(POST_QUANTUM_CIRCLES).is_some_and(|value| value == "true")
    }

    /// The policy [`HISTORY`].
    #[must_use]
    pub fn history(&self) -> History {
        let value = self.policies.get(HISTORY);
        value.map_or(History::default(), |value| value.parse().expect("a malformed value is never set"))
    }
}

/// The best of the stays that begin with an operation whose id starts so.
fn named(stays: &BTreeMap<OperationId, Stay>, prefix: [u8; 4]) -> Stay {
    let bound = |rest: u8| {
        let mut bytes = [rest; 32];
        bytes[..4].copy_from_slice(&prefix);
        OperationId::from_bytes(bytes)
    };
    stays.range(bound(0)..=bound(u8::MAX)).map(|(_, stay)| *stay).min().unwrap_or(Stay::Unknown)
}
