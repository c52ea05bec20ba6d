//! What an operation does, and who it speaks of.

use clave_crypto::{
    CryptoError, DeviceCertificate, DeviceId, DeviceKey, Domain, NoisePublicKey, PersonId, PersonKey, Signature, Suite,
};

use super::rights::Role;
use crate::{CircleId, InvitationId, OperationId};

/// One step in the life of a circle's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The first operation, without parents. Its hash names the circle.
    Genesis {
        /// The name of the circle.
        name: String,
        /// Random: two circles by the same founder with the same name differ.
        nonce: [u8; 16],
        /// The first owner. The operation is signed by one of the devices named here.
        founder: PersonEntry,
        /// The space that this circle belongs to, by reference only. None: it is a space itself.
        parent: Option<CircleId>,
        /// What belonging there means for who is in. A space is never [`Scope::Isolated`].
        scope: Scope,
        /// By what it agrees on its keys. Nothing changes it.
        suite: Suite,
    },
    /// Brings somebody in, or back in. Their devices of an earlier stay do not return unless named again.
    AddPerson {
        /// Who.
        newcomer: PersonEntry,
        /// As what.
        role: Role,
    },
    /// A person adds a device of their own.
    AddDevice {
        /// The device.
        device: DeviceEntry,
    },
    /// A person who holds their recovery phrase brings a new device in. The only operation that introduces its own
    /// author: it is written by the device itself, for when no other is left, or none can be trusted.
    RecoverDevice {
        /// The device, which was named by no operation before.
        device: DeviceEntry,
        /// Over [`recovery_message`], in [`Domain::Recovery`], by the recovery key that the person's admission names.
        recovery_signature: Signature,
    },
    /// A person takes another recovery key in place of the one they have: what was recovered with that at the same time is
    /// set aside.
    SetRecovery {
        /// The author's person.
        person: PersonId,
        /// The new key, and the person's word on it.
        recovery: RecoveryCertificate,
        /// Over [`recovery_change_message`], in [`Domain::RecoveryChange`], by the key that it takes the place of: a device
        /// alone, which may be stolen, changes nothing.
        former_signature: Signature,
    },
    /// Removes somebody with all their devices; removing oneself is leaving.
    RevokePerson {
        /// Who.
        person: PersonId,
        /// Of what they did at the same time: this, and what came before it, is to stand.
        keep_heads: Vec<OperationId>,
        /// Of what they wrote: these Automerge changes, and what they build on, are to stay in their documents.
        keep_changes: Vec<[u8; 32]>,
    },
    /// Removes one device.
    RevokeDevice {
        /// Which.
        device: DeviceId,
        /// Of what it did at the same time: this, and what came before it, is to stand.
        keep_heads: Vec<OperationId>,
        /// Of what it wrote: these Automerge changes, and what they build on, are to stay in their documents.
        keep_changes: Vec<[u8; 32]>,
    },
    /// Gives somebody another role. A lower one also sets aside what they did at the same time by the higher one.
    SetRole {
        /// Who.
        person: PersonId,
        /// The new role.
        role: Role,
        /// Of what they did at the same time: this, and what came before it, is to stand.
        keep_heads: Vec<OperationId>,
    },
    /// Names the circle.
    Rename {
        /// The new name.
        name: String,
    },
    /// A person says how they want to be called.
    SetProfile {
        /// The author's person.
        person: PersonId,
        /// Their name.
        name: String,
    },
    /// A person says how one of their devices is called.
    RenameDevice {
        /// Which.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// Brings somebody in as a guest until a date; or, without devices, moves the date of a guest who is in.
    Grant {
        /// Who.
        guest: PersonEntry,
        /// When it ends, in Unix milliseconds. Never read by the evaluation: each device refuses by its own clock.
        expires_ms: u64,
    },
    /// Ends a grant for everybody. Written by any member's device once its own clock has passed the date.
    EndGrant {
        /// The guest.
        person: PersonId,
        /// Of what they did at the same time: this, and what came before it, is to stand.
        keep_heads: Vec<OperationId>,
        /// Of what they wrote: these Automerge changes, and what they build on, are to stay in their documents.
        keep_changes: Vec<[u8; 32]>,
    },
    /// States the key packages by which the author's device can be added to the key agreement, replacing earlier ones.
    PublishKeyPackages {
        /// All that are to be used from now on.
        key_packages: KeyPackages,
    },
    /// Sets a policy.
    SetPolicy {
        /// Which.
        key: String,
        /// Its value, as text.
        value: String,
        /// When the policy takes a right away: what was done by it at the same time and is to stand.
        keep_heads: Vec<OperationId>,
    },
    /// From a newer version, or malformed: kept and passed on, without effect.
    Unknown {
        /// Its kind.
        kind: u32,
        /// What could not be read.
        payload: Vec<u8>,
    },
}

/// Who of a circle's own roster is in it in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Whoever is also in the space.
    #[default]
    Nested,
    /// Everybody: for people from outside the space.
    Isolated,
}

/// Key packages of one device (RFC 9420, section 10), encoded. Of the circle's suite, but for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPackages {
    /// To be used once each.
    pub single_use: Vec<Vec<u8>>,
    /// For when those are used up.
    pub last_resort: Option<Vec<u8>>,
    /// In the log of a space of [`Suite::X25519`]: one of [`Suite::XWing`], for circles of the space that are of that suite.
    /// A last resort too, since nobody outside of such a circle is to learn that it was used.
    pub x_wing: Option<Vec<u8>>,
}

impl KeyPackages {
    /// What of a space's log is of use in a circle of the space. They travel no further than where they are of use.
    #[must_use]
    pub fn for_circle(self, space: Suite, circle: Suite) -> Self {
        if space == circle {
            return Self { x_wing: None, ..self };
        }
        let last_resort = self.x_wing.filter(|_| circle == Suite::XWing);
        Self { single_use: Vec::new(), last_resort, x_wing: None }
    }
}

/// A device, as an operation introduces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    /// The person's word that it is theirs.
    pub certificate: DeviceCertificate,
    /// The device's word that it is that person's, and has that Noise key.
    pub consent: Signature,
    /// The key to which entries for this device alone are sealed.
    pub noise: NoisePublicKey,
    /// What the person calls it.
    pub name: String,
    /// How to add it to the key agreement.
    pub key_packages: KeyPackages,
}

impl DeviceEntry {
    /// Introduces a device whose key and whose person's key are both at hand.
    #[must_use]
    pub fn new(person: &PersonKey, device: &DeviceKey, name: impl Into<String>, key_packages: KeyPackages) -> Self {
        Self {
            certificate: person.certify(device.id()),
            consent: Self::consent(device, person.id()),
            noise: device.noise_public(),
            name: name.into(),
            key_packages,
        }
    }

    /// The device's word that it is `person`'s and has the Noise key that follows from its own, for when the two keys are
    /// on different machines.
    #[must_use]
    pub fn consent(device: &DeviceKey, person: PersonId) -> Signature {
        device.sign(Domain::DeviceConsent, &Self::consented(person, &device.noise_public()))
    }

    fn consented(person: PersonId, noise: &NoisePublicKey) -> Vec<u8> {
        [person.as_bytes().as_slice(), noise.as_bytes()].concat()
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.certificate.device
    }

    /// Checks both words.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`] if one of the two was not given.
    pub fn verify(&self) -> Result<(), CryptoError> {
        self.certificate.verify()?;
        let consented = Self::consented(self.certificate.person, &self.noise);
        self.certificate.device.verify(Domain::DeviceConsent, &consented, &self.consent)
    }
}

/// A person, as an operation introduces them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonEntry {
    /// Who.
    pub person: PersonId,
    /// How they are called until they say otherwise.
    pub name: String,
    /// Their devices.
    pub devices: Vec<DeviceEntry>,
    /// The invitation that they took.
    pub invitation: Option<InvitationId>,
    /// The key by which they can bring a device in when all others are lost.
    pub recovery: Option<RecoveryCertificate>,
}

/// A person's word on who may bring in devices in their name: whoever has this key, which derives from their recovery
/// phrase and is on none of their devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryCertificate {
    /// The public half (Ed25519).
    pub key: [u8; 32],
    /// The person's signature over it.
    pub signature: Signature,
}

impl RecoveryCertificate {
    /// Names a recovery key by its public half.
    #[must_use]
    pub fn new(person: &PersonKey, key: [u8; 32]) -> Self {
        Self { key, signature: person.certify_recovery(&key) }
    }

    /// Checks that `person` made this statement.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`] if not.
    pub fn verify(&self, person: PersonId) -> Result<(), CryptoError> {
        person.verify(Domain::RecoveryCertificate, &self.key, &self.signature)
    }
}

/// What a recovery key signs, in [`Domain::Recovery`], to bring a device into a circle.
#[must_use]
pub fn recovery_message(circle: CircleId, device: DeviceId, person: PersonId) -> Vec<u8> {
    [circle.as_bytes().as_slice(), device.as_bytes(), person.as_bytes()].concat()
}

/// What a recovery key signs, in [`Domain::RecoveryChange`], to have another take its place. It names no circle: the other
/// devices of the person say the same in circles that the first is not in.
#[must_use]
pub fn recovery_change_message(person: PersonId, key: &[u8; 32]) -> Vec<u8> {
    [person.as_bytes().as_slice(), key].concat()
}

impl Action {
    /// The people and devices that it introduces.
    pub(crate) fn introduces(&self) -> (Option<&PersonEntry>, &[DeviceEntry]) {
        match self {
            Self::Genesis { founder: entry, .. }
            | Self::AddPerson { newcomer: entry, .. }
            | Self::Grant { guest: entry, .. } => (Some(entry), &entry.devices),
            Self::AddDevice { device } | Self::RecoverDevice { device, .. } => (None, std::slice::from_ref(device)),
            _ => (None, &[]),
        }
    }

    /// Removes somebody; nothing they did or wrote at the same time is kept.
    #[must_use]
    pub fn revoke_person(person: PersonId) -> Self {
        Self::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() }
    }

    /// Removes a device; nothing it did or wrote at the same time is kept.
    #[must_use]
    pub fn revoke_device(device: DeviceId) -> Self {
        Self::RevokeDevice { device, keep_heads: Vec::new(), keep_changes: Vec::new() }
    }

    /// Ends a guest's stay; nothing they did or wrote at the same time is kept.
    #[must_use]
    pub fn end_grant(person: PersonId) -> Self {
        Self::EndGrant { person, keep_heads: Vec::new(), keep_changes: Vec::new() }
    }

    /// What the operation would let stand of what its target did at the same time.
    pub(crate) fn keep_heads(&self) -> &[OperationId] {
        match self {
            Self::RevokePerson { keep_heads, .. }
            | Self::RevokeDevice { keep_heads, .. }
            | Self::EndGrant { keep_heads, .. }
            | Self::SetRole { keep_heads, .. }
            | Self::SetPolicy { keep_heads, .. } => keep_heads,
            _ => &[],
        }
    }

    /// The changes that the operation would keep of whom it removes.
    pub(crate) fn keep_changes(&self) -> &[[u8; 32]] {
        match self {
            Self::RevokePerson { keep_changes, .. }
            | Self::RevokeDevice { keep_changes, .. }
            | Self::EndGrant { keep_changes, .. } => keep_changes,
            _ => &[],
        }
    }
}
