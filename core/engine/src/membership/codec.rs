//! Actions to protobuf and back. What does not read back exactly is [`Action::Unknown`].

use clave_crypto::{DeviceCertificate, DeviceId, NoisePublicKey, PersonId, Signature, Suite};
use prost::Message;

use super::action::{Action, DeviceEntry, KeyPackages, PersonEntry, RecoveryCertificate, Scope};
use super::policy::Policy;
use super::rights::Role;
use crate::{CircleId, InvitationId, OperationId};

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/clave.membership.rs"));
}

/// The most bytes of a name, a policy's key or a policy's value.
pub const NAME_BYTES_MAX: usize = 256;
/// The most devices that one operation introduces.
pub const ENTRY_DEVICES_MAX: usize = 32;
/// The most single-use key packages of a device.
pub const KEY_PACKAGES_MAX: usize = 32;
/// The most operations that a `keep_heads` names.
pub const KEEP_HEADS_MAX: usize = 64;
/// The most changes that a `keep_changes` names.
pub const KEEP_CHANGES_MAX: usize = 4096;

impl Action {
    /// The kind and payload that stand for the action on the wire.
    pub(crate) fn encode(&self) -> (u32, Vec<u8>) {
        match self {
            Self::Genesis { name, nonce, founder, parent, scope, suite } => {
                let parent = parent.map(|circle| circle.as_bytes().to_vec());
                let founder = Some(founder.into());
                let (name, nonce, isolated) = (name.clone(), nonce.to_vec(), *scope == Scope::Isolated);
                let suite = suite.number().into();
                (1, proto::Genesis { name, nonce, founder, parent, isolated, suite }.encode_to_vec())
            }
            Self::AddPerson { newcomer, role } => {
                let role = role.number().into();
                (2, proto::AddPerson { newcomer: Some(newcomer.into()), role }.encode_to_vec())
            }
            Self::AddDevice { device } => (3, proto::AddDevice { device: Some(device.into()) }.encode_to_vec()),
            Self::RevokePerson { person, keep_heads, keep_changes } => {
                let (person, keep_heads) = (person.as_bytes().to_vec(), encode_heads(keep_heads));
                let keep_changes = encode_changes(keep_changes);
                (4, proto::RevokePerson { person, keep_heads, keep_changes }.encode_to_vec())
            }
            Self::RevokeDevice { device, keep_heads, keep_changes } => {
                let (device, keep_heads) = (device.as_bytes().to_vec(), encode_heads(keep_heads));
                let keep_changes = encode_changes(keep_changes);
                (5, proto::RevokeDevice { device, keep_heads, keep_changes }.encode_to_vec())
            }
            Self::SetRole { person, role, keep_heads } => {
                let (person, role) = (person.as_bytes().to_vec(), role.number().into());
                (6, proto::SetRole { person, role, keep_heads: encode_heads(keep_heads) }.encode_to_vec())
            }
            Self::Rename { name } => (7, proto::Rename { name: name.clone() }.encode_to_vec()),
            Self::SetProfile { person, name } => {
                (8, proto::SetProfile { person: person.as_bytes().to_vec(), name: name.clone() }.encode_to_vec())
            }
            Self::Grant { guest, expires_ms } => {
                (9, proto::Grant { guest: Some(guest.into()), expires_ms: *expires_ms }.encode_to_vec())
            }
            Self::EndGrant { person, keep_heads, keep_changes } => {
                let (person, keep_heads) = (person.as_bytes().to_vec(), encode_heads(keep_heads));
                let keep_changes = encode_changes(keep_changes);
                (10, proto::EndGrant { person, keep_heads, keep_changes }.encode_to_vec())
            }
            Self::PublishKeyPackages { key_packages } => {
                let key_packages = Some(key_packages.into());
                (11, proto::PublishKeyPackages { key_packages }.encode_to_vec())
            }
            Self::SetPolicy { key, value, keep_heads } => {
                let (key, value, keep_heads) = (key.clone(), value.clone(), encode_heads(keep_heads));
                (12, proto::SetPolicy { key, value, keep_heads }.encode_to_vec())
            }
            Self::RecoverDevice { device, recovery_signature } => {
                let (device, recovery_signature) = (Some(device.into()), recovery_signature.as_bytes().to_vec());
                (13, proto::RecoverDevice { device, recovery_signature }.encode_to_vec())
            }
            Self::RenameDevice { device, name } => {
                (14, proto::RenameDevice { device: device.as_bytes().to_vec(), name: name.clone() }.encode_to_vec())
            }
            Self::SetRecovery { person, recovery, former_signature } => {
                let (person, recovery) = (person.as_bytes().to_vec(), Some(recovery.into()));
                let former_signature = former_signature.as_bytes().to_vec();
                (16, proto::SetRecovery { person, recovery, former_signature }.encode_to_vec())
            }
            Self::Unknown { kind, payload } => (*kind, payload.clone()),
        }
    }

    /// Reads an action. Whatever is not exactly what [`encode`](Self::encode) writes has no meaning here.
    pub(crate) fn decode(kind: u32, payload: Vec<u8>) -> Self {
        match Self::read(kind, &payload) {
            Some(action) if action.encode() == (kind, payload.clone()) => action,
            _ => Self::Unknown { kind, payload },
        }
    }

    /// Whether it survives encoding and is within its bounds.
    pub(crate) fn is_well_formed(&self) -> bool {
        let (kind, payload) = self.encode();
        !matches!(self, Self::Unknown { .. }) && Self::decode(kind, payload) == *self
    }

    fn read(kind: u32, payload: &[u8]) -> Option<Self> {
        Some(match kind {
            1 => {
                let message = proto::Genesis::decode(payload).ok()?;
                Self::Genesis {
                    name: name(message.name)?,
                    nonce: message.nonce.as_slice().try_into().ok()?,
                    founder: person_entry(message.founder?, 1)?,
                    parent: match &message.parent {
                        Some(bytes) => Some(CircleId::try_from(bytes.as_slice()).ok()?),
                        None => None,
                    },
                    scope: match (message.isolated, message.parent.is_some()) {
                        (true, true) => Scope::Isolated,
                        (true, false) => return None,
                        (false, _) => Scope::Nested,
                    },
                    suite: Suite::from_number(message.suite)?,
                }
            }
            2 => {
                let message = proto::AddPerson::decode(payload).ok()?;
                Self::AddPerson {
                    newcomer: person_entry(message.newcomer?, 1)?,
                    role: Role::from_number(message.role)?,
                }
            }
            3 => Self::AddDevice { device: device_entry(proto::AddDevice::decode(payload).ok()?.device?)? },
            4 => {
                let message = proto::RevokePerson::decode(payload).ok()?;
                Self::RevokePerson {
                    person: person(&message.person)?,
                    keep_heads: heads(&message.keep_heads)?,
                    keep_changes: changes(&message.keep_changes)?,
                }
            }
            5 => {
                let message = proto::RevokeDevice::decode(payload).ok()?;
                Self::RevokeDevice {
                    device: device(&message.device)?,
                    keep_heads: heads(&message.keep_heads)?,
                    keep_changes: changes(&message.keep_changes)?,
                }
            }
            6 => {
                let message = proto::SetRole::decode(payload).ok()?;
                Self::SetRole {
                    person: person(&message.person)?,
                    role: Role::from_number(message.role)?,
                    keep_heads: heads(&message.keep_heads)?,
                }
            }
            7 => Self::Rename { name: name(proto::Rename::decode(payload).ok()?.name)? },
            8 => {
                let message = proto::SetProfile::decode(payload).ok()?;
                Self::SetProfile { person: person(&message.person)?, name: name(message.name)? }
            }
            9 => {
                let message = proto::Grant::decode(payload).ok()?;
                Self::Grant { guest: person_entry(message.guest?, 0)?, expires_ms: message.expires_ms }
            }
            10 => {
                let message = proto::EndGrant::decode(payload).ok()?;
                Self::EndGrant {
                    person: person(&message.person)?,
                    keep_heads: heads(&message.keep_heads)?,
                    keep_changes: changes(&message.keep_changes)?,
                }
            }
            11 => {
                let message = proto::PublishKeyPackages::decode(payload).ok()?;
                Self::PublishKeyPackages { key_packages: key_packages(message.key_packages?)? }
            }
            12 => {
                let message = proto::SetPolicy::decode(payload).ok()?;
                Policy::parse(&message.key, &message.value).ok()?;
                Self::SetPolicy {
                    key: name(message.key)?,
                    value: name(message.value)?,
                    keep_heads: heads(&message.keep_heads)?,
                }
            }
            13 => {
                let message = proto::RecoverDevice::decode(payload).ok()?;
                Self::RecoverDevice {
                    device: device_entry(message.device?)?,
                    recovery_signature: Signature::try_from(message.recovery_signature.as_slice()).ok()?,
                }
            }
            14 => {
                let message = proto::RenameDevice::decode(payload).ok()?;
                Self::RenameDevice { device: device(&message.device)?, name: name(message.name)? }
            }
            16 => {
                let message = proto::SetRecovery::decode(payload).ok()?;
                Self::SetRecovery {
                    person: person(&message.person)?,
                    recovery: recovery_certificate(&message.recovery?)?,
                    former_signature: Signature::try_from(message.former_signature.as_slice()).ok()?,
                }
            }
            _ => return None,
        })
    }
}

impl From<&PersonEntry> for proto::PersonEntry {
    fn from(entry: &PersonEntry) -> Self {
        Self {
            person: entry.person.as_bytes().to_vec(),
            name: entry.name.clone(),
            devices: entry.devices.iter().map(Into::into).collect(),
            invitation: entry.invitation.map(|id| id.as_bytes().to_vec()),
            recovery: entry.recovery.as_ref().map(Into::into),
        }
    }
}

impl From<&RecoveryCertificate> for proto::RecoveryCertificate {
    fn from(certificate: &RecoveryCertificate) -> Self {
        Self { key: certificate.key.to_vec(), signature: certificate.signature.as_bytes().to_vec() }
    }
}

impl From<&DeviceEntry> for proto::DeviceEntry {
    fn from(entry: &DeviceEntry) -> Self {
        Self {
            person: entry.certificate.person.as_bytes().to_vec(),
            device: entry.certificate.device.as_bytes().to_vec(),
            certificate: entry.certificate.signature.as_bytes().to_vec(),
            consent: entry.consent.as_bytes().to_vec(),
            name: entry.name.clone(),
            key_packages: Some((&entry.key_packages).into()),
            noise: entry.noise.as_bytes().to_vec(),
        }
    }
}

impl From<&KeyPackages> for proto::KeyPackages {
    fn from(packages: &KeyPackages) -> Self {
        Self {
            single_use: packages.single_use.clone(),
            last_resort: packages.last_resort.clone(),
            x_wing: packages.x_wing.clone(),
        }
    }
}

fn encode_heads(heads: &[OperationId]) -> Vec<Vec<u8>> {
    heads.iter().map(|id| id.as_bytes().to_vec()).collect()
}

fn encode_changes(changes: &[[u8; 32]]) -> Vec<Vec<u8>> {
    changes.iter().map(|hash| hash.to_vec()).collect()
}

fn person(bytes: &[u8]) -> Option<PersonId> {
    PersonId::try_from(bytes).ok()
}

fn device(bytes: &[u8]) -> Option<DeviceId> {
    DeviceId::try_from(bytes).ok()
}

fn name(text: String) -> Option<String> {
    (text.len() <= NAME_BYTES_MAX).then_some(text)
}

fn heads(ids: &[Vec<u8>]) -> Option<Vec<OperationId>> {
    if ids.len() > KEEP_HEADS_MAX {
        return None;
    }
    ids.iter().map(|id| OperationId::try_from(id.as_slice()).ok()).collect()
}

fn changes(hashes: &[Vec<u8>]) -> Option<Vec<[u8; 32]>> {
    if hashes.len() > KEEP_CHANGES_MAX {
        return None;
    }
    hashes.iter().map(|hash| hash.as_slice().try_into().ok()).collect()
}

fn key_packages(message: proto::KeyPackages) -> Option<KeyPackages> {
    let proto::KeyPackages { single_use, last_resort, x_wing } = message;
    (single_use.len() <= KEY_PACKAGES_MAX).then_some(KeyPackages { single_use, last_resort, x_wing })
}

fn device_entry(message: proto::DeviceEntry) -> Option<DeviceEntry> {
    Some(DeviceEntry {
        certificate: DeviceCertificate {
            person: person(&message.person)?,
            device: device(&message.device)?,
            signature: Signature::try_from(message.certificate.as_slice()).ok()?,
        },
        consent: Signature::try_from(message.consent.as_slice()).ok()?,
        noise: NoisePublicKey::try_from(message.noise.as_slice()).ok()?,
        name: name(message.name)?,
        key_packages: key_packages(message.key_packages?)?,
    })
}

impl PersonEntry {
    /// The encoding, as it travels in an invitation's handshake.
    pub(crate) fn encode(&self) -> Vec<u8> {
        proto::PersonEntry::from(self).encode_to_vec()
    }

    /// Reads a person with at least one device. Signatures are not checked here.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        person_entry(proto::PersonEntry::decode(bytes).ok()?, 1)
    }
}

fn recovery_certificate(message: &proto::RecoveryCertificate) -> Option<RecoveryCertificate> {
    Some(RecoveryCertificate {
        key: message.key.as_slice().try_into().ok()?,
        signature: Signature::try_from(message.signature.as_slice()).ok()?,
    })
}

fn person_entry(message: proto::PersonEntry, devices_min: usize) -> Option<PersonEntry> {
    if !(devices_min..=ENTRY_DEVICES_MAX).contains(&message.devices.len()) {
        return None;
    }
    let entry = PersonEntry {
        person: person(&message.person)?,
        name: name(message.name)?,
        devices: message.devices.into_iter().map(device_entry).collect::<Option<_>>()?,
        invitation: match message.invitation {
            Some(bytes) => Some(InvitationId::try_from(bytes.as_slice()).ok()?),
            None => None,
        },
        recovery: match message.recovery {
            Some(certificate) => Some(recovery_certificate(&certificate)?),
            None => None,
        },
    };
    let own = entry.devices.iter().all(|device| device.certificate.person == entry.person);
    own.then_some(entry)
}
