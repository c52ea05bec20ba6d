//! Who this device is: the person it belongs to, its own key, their names.

use clave_crypto::{DeviceId, DeviceKey, Domain, Entropy, PersonId, PersonKey, RecoveryPhrase, Signature};
use prost::Message as _;
use zeroize::Zeroizing;

use crate::membership::{DeviceEntry, KeyPackages, PersonEntry, RecoveryCertificate, recovery_change_message};
use crate::proto::local;
use crate::{Batch, EngineError, Key, Keyspace, StoreRead};

pub use crate::membership::NAME_BYTES_MAX;

/// The identity of a device and of the person it belongs to, if it belongs to one yet.
pub struct Identity {
    person: Option<PersonKey>,
    device: DeviceKey,
    person_name: String,
    device_name: String,
    incarnation: u32,
    /// The person's word on their recovery key, for every circle that they come into.
    recovery: Option<RecoveryCertificate>,
    /// If it is not the first: what the one before signed, and when that was, in Unix milliseconds.
    recovery_change: Option<(Signature, u64)>,
}

/// A name that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing but white space.
    #[error("a name cannot be empty")]
    Empty,
    /// Too long.
    #[error("a name cannot be longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Holds control characters, which could mislead whoever reads it in a terminal.
    #[error("a name cannot hold line breaks or other control characters")]
    Control,
}

/// Trims a name and checks that people can read it.
///
/// # Errors
/// If it is empty, too long, or holds control characters.
pub fn check_name(name: &str) -> Result<&str, NameError> {
    let name = name.trim();
    // Bidirectional overrides can make one name look like another.
    let misleading = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > NAME_BYTES_MAX {
        Err(NameError::TooLong)
    } else if name.chars().any(misleading) {
        Err(NameError::Control)
    } else {
        Ok(name)
    }
}

impl Identity {
    /// A new person with a first device, and nobody to whom the recovery phrase is shown.
    ///
    /// # Errors
    /// If a name cannot be used.
    pub fn generate(person_name: &str, device_name: &str, entropy: &mut Entropy) -> Result<Self, NameError> {
        Self::of_phrase(&RecoveryPhrase::generate(entropy), person_name, device_name, entropy)
    }

    /// The person of a recovery phrase, with a new device: their first, or one that takes the place of those that are
    /// lost. Of the phrase it keeps the person's key and the public half of the recovery key.
    ///
    /// # Errors
    /// If a name cannot be used.
    pub fn of_phrase(
        phrase: &RecoveryPhrase,
        person_name: &str,
        device_name: &str,
        entropy: &mut Entropy,
    ) -> Result<Self, NameError> {
        Self::of_person(phrase.person_key(), phrase, person_name, device_name, entropy)
    }

    /// A person whose recovery phrase this is now, with a new device: the person's key comes from an export.
    pub(crate) fn of_person(
        person: PersonKey,
        phrase: &RecoveryPhrase,
        person_name: &str,
        device_name: &str,
        entropy: &mut Entropy,
    ) -> Result<Self, NameError> {
        let (person_name, device_name) = (check_name(person_name)?.to_owned(), check_name(device_name)?.to_owned());
        let device = DeviceKey::generate(entropy);
        let recovery = Some(RecoveryCertificate::new(&person, *phrase.recovery_key().public().as_bytes()));
        let (person, incarnation, recovery_change) = (Some(person), 0, None);
        Ok(Self { person, device, person_name, device_name, incarnation, recovery, recovery_change })
    }

    /// A new device that belongs to nobody yet: it is to be [linked](crate::Engine::take_link).
    ///
    /// # Errors
    /// If the name cannot be used.
    pub fn provisional(device_name: &str, entropy: &mut Entropy) -> Result<Self, NameError> {
        let device_name = check_name(device_name)?.to_owned();
        let device = DeviceKey::generate(entropy);
        let person_name = String::new();
        Ok(Self {
            person: None,
            device,
            person_name,
            device_name,
            incarnation: 0,
            recovery: None,
            recovery_change: None,
        })
    }

    /// From now on the device belongs to this person.
    pub(crate) fn adopt(&mut self, person: PersonKey, name: String, recovery: Option<RecoveryCertificate>) {
        (self.person, self.person_name, self.recovery) = (Some(person), name, recovery);
    }

    /// From now on the device is called so.
    pub(crate) fn rename_device(&mut self, name: String) {
        self.device_name = name;
    }

    /// Reads the identity of a store; none if it has none yet.
    ///
    /// # Errors
    /// If the store cannot be read or the record is damaged.
    pub fn load(store: &(impl StoreRead + ?Sized)) -> Result<Option<Self>, EngineError> {
        let Some(record) = store.read(&key())? else { return Ok(None) };
        let record = Zeroizing::new(record);
        let record = local::Identity::decode(record.as_slice())?;
        let seed = |bytes: Vec<u8>| -> Result<Zeroizing<[u8; 32]>, EngineError> {
            let bytes = Zeroizing::new(bytes);
            Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| EngineError::Damaged)?))
        };
        let person = match record.person_seed.is_empty() {
            true => None,
            false => Some(PersonKey::from_seed(seed(record.person_seed)?)),
        };
        let device = DeviceKey::from_seed(seed(record.device_seed)?);
        let (person_name, device_name) = (record.person_name, record.device_name);
        let recovery = match record.recovery.is_empty() {
            true => None,
            false => Some(read_certificate(&record.recovery).ok_or(EngineError::Damaged)?),
        };
        let recovery_change = match record.former_signature.is_empty() {
            true => None,
            false => {
                let signature = Signature::try_from(record.former_signature.as_slice());
                Some((signature.map_err(|_| EngineError::Damaged)?, record.recovery_changed_ms))
            }
        };
        let incarnation = record.incarnation;
        Ok(Some(Self { person, device, person_name, device_name, incarnation, recovery, recovery_change }))
    }

    /// What to write so that [`load`](Self::load) finds it.
    #[must_use]
    pub fn to_batch(&self) -> Batch {
        let record = local::Identity {
            person_seed: self.person.as_ref().map(|person| person.seed().to_vec()).unwrap_or_default(),
            device_seed: self.device.seed().to_vec(),
            person_name: self.person_name.clone(),
            device_name: self.device_name.clone(),
            incarnation: self.incarnation,
            recovery: self.recovery.as_ref().map(write_certificate).unwrap_or_default(),
            former_signature: self.recovery_change.map(|(by, _)| by.as_bytes().to_vec()).unwrap_or_default(),
            recovery_changed_ms: self.recovery_change.map_or(0, |(_, at_ms)| at_ms),
        };
        let mut batch = Batch::default();
        batch.put(key(), record.encode_to_vec());
        batch
    }

    /// The person; none for a device that is still to be linked.
    #[must_use]
    pub fn person(&self) -> Option<PersonId> {
        self.person.as_ref().map(PersonKey::id)
    }

    /// The person's seed, for another device of theirs.
    pub(crate) fn person_seed(&self) -> Option<&Zeroizing<[u8; 32]>> {
        self.person.as_ref().map(PersonKey::seed)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device.id()
    }

    /// The person's name; empty for a device that is still to be linked.
    #[must_use]
    pub fn person_name(&self) -> &str {
        &self.person_name
    }

    /// The device's name.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// How a membership log introduces this person, with this device. None as long as there is no person.
    pub(crate) fn entry(&self, key_packages: KeyPackages) -> Option<PersonEntry> {
        let (person, name) = (self.person()?, self.person_name.clone());
        let devices = vec![self.device_entry(key_packages)?];
        Some(PersonEntry { person, name, devices, invitation: None, recovery: self.recovery })
    }

    /// How a membership log introduces this device. None as long as there is no person.
    pub(crate) fn device_entry(&self, key_packages: KeyPackages) -> Option<DeviceEntry> {
        Some(DeviceEntry::new(self.person.as_ref()?, &self.device, self.device_name.clone(), key_packages))
    }

    /// The person's word on their recovery key, if they have one.
    #[must_use]
    pub fn recovery(&self) -> Option<&RecoveryCertificate> {
        self.recovery.as_ref()
    }

    /// What vouches for the recovery key, if it is not the first, and since when it is, in Unix milliseconds.
    pub(crate) fn recovery_change(&self) -> Option<(Signature, u64)> {
        self.recovery_change
    }

    /// From now on the recovery key is another.
    pub(crate) fn take_recovery(&mut self, recovery: RecoveryCertificate, former_signature: Signature, at_ms: u64) {
        (self.recovery, self.recovery_change) = (Some(recovery), Some((former_signature, at_ms)));
    }

    /// Names another recovery key than the one of `former`.
    pub(crate) fn change_recovery(
        &mut self,
        former: &RecoveryPhrase,
        next: &RecoveryPhrase,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.check_phrase(former)?;
        let person = self.person.as_ref().ok_or(EngineError::NotLinked)?;
        let recovery = RecoveryCertificate::new(person, *next.recovery_key().public().as_bytes());
        let message = recovery_change_message(person.id(), &recovery.key);
        self.take_recovery(recovery, former.recovery_key().sign(Domain::RecoveryChange, &message), now_ms);
        Ok(())
    }

    /// Whether this is the recovery phrase of the person: not one that they had before, as far as this device has heard.
    ///
    /// # Errors
    /// [`EngineError::OtherPhrase`] if it is not; [`EngineError::NotLinked`] if there is no person.
    pub fn check_phrase(&self, phrase: &RecoveryPhrase) -> Result<(), EngineError> {
        let person = self.person().ok_or(EngineError::NotLinked)?;
        let is_theirs = match &self.recovery {
            Some(recovery) => recovery.key == *phrase.recovery_key().public().as_bytes(),
            None => phrase.person_key().id() == person,
        };
        if is_theirs { Ok(()) } else { Err(EngineError::OtherPhrase) }
    }

    /// A second handle on the device's key, for the transport and the engine.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        DeviceKey::from_seed(self.device.seed().clone())
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }
}

/// How a recovery certificate is written where it stands for itself.
pub(crate) fn write_certificate(certificate: &RecoveryCertificate) -> Vec<u8> {
    [certificate.key.as_slice(), certificate.signature.as_bytes()].concat()
}

pub(crate) fn read_certificate(bytes: &[u8]) -> Option<RecoveryCertificate> {
    let (key, signature) = bytes.split_first_chunk::<32>()?;
    Some(RecoveryCertificate { key: *key, signature: Signature::try_from(signature).ok()? })
}

fn key() -> Key {
    Key::new(Keyspace::Meta, [], b"identity")
}
