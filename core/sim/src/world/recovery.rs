//! Exports, and devices that are restored from them.

use clave_engine::crypto::{DeviceId, Entropy, RecoveryPhrase};
use clave_engine::{AccountReader, AccountWriter, Engine, EngineError, Identity};

use super::World;
use crate::{Device, Who};

impl World {
    /// What the person of a device has on paper.
    #[must_use]
    pub fn phrase(&self, who: Who) -> RecoveryPhrase {
        let first = self.first_of(self.device(who).person).unwrap_or(who);
        RecoveryPhrase::parse(&self.device(first).phrase.words()).expect("these are the words of a phrase")
    }

    /// Takes another recovery phrase, and writes that down.
    ///
    /// # Errors
    /// Those of [`Engine::change_phrase`].
    pub fn change_phrase(&mut self, who: Who) -> Result<(), EngineError> {
        let (former, mut entropy) = (self.phrase(who), Entropy::from_seed(self.random.seed()));
        let next = RecoveryPhrase::generate(&mut entropy);
        self.input(who, |engine, now| engine.change_phrase(&former, &next, now))?;
        self.devices[who.0].phrase = next;
        Ok(())
    }

    /// Makes an export of a device's account; `between` is what happens between two pieces of it.
    pub fn export(&mut self, who: Who, mut between: impl FnMut(&mut Self)) -> Vec<u8> {
        let phrase = self.phrase(who);
        let entropy = Entropy::from_seed(self.random.seed());
        let (head, mut export) =
            self.input(who, |engine, now| engine.begin_export(true, now)).expect("the device has a person");
        let mut writer = AccountWriter::new(Vec::new(), &phrase, (&head, &export), entropy).expect("memory takes it");
        while let Some(records) = self.engine(who).export_more(&mut export).expect("the disk can be read") {
            records.into_iter().for_each(|record| writer.add(record).expect("memory takes it"));
            between(self);
        }
        writer.finish().expect("memory takes it").1
    }

    /// A new device of whoever has that phrase, restored from an export. Nobody else knows of it yet.
    ///
    /// # Panics
    /// If the export is not of this phrase or is damaged.
    pub fn restore(&mut self, name: &str, export: &[u8], phrase: &RecoveryPhrase) -> Who {
        self.was_anybody_restored = true;
        let mut entropy = Entropy::from_seed(self.random.seed());
        let mut reader = AccountReader::open(export, phrase).expect("it is of this phrase");
        let identity = reader.identity(phrase, name, &mut entropy).expect("plain names");
        let words = RecoveryPhrase::parse(&phrase.words()).expect("these are the words of a phrase");
        let device = Device::of(name, &identity, words, 0);
        while let Some(records) = reader.next_records().expect("it is whole") {
            device.disk.write(&records.into_iter().map(|(key, value)| (key, Some(value))).collect());
        }
        let who = self.take_in(device);
        self.input(who, |engine, now| engine.recover(phrase, now)).expect("it is their phrase");
        who
    }

    /// Turns on a device that somebody made of another's disk and of whatever identity they could.
    pub fn restore_disk(&mut self, name: &str, of: Who, identity: &Identity) -> Who {
        let phrase = RecoveryPhrase::generate(&mut Entropy::from_seed(self.random.seed()));
        let device = Device::of(name, identity, phrase, 0);
        device.disk.copy_from(&self.device(of).disk);
        device.disk.write(&identity.to_batch());
        self.take_in(device)
    }

    /// How many writes of a device became durable.
    #[must_use]
    pub fn writes(&self, who: Who) -> u64 {
        self.device(who).writes
    }

    /// Whether a device waits to be let in anywhere.
    pub fn is_rejoining(&mut self, who: Who) -> bool {
        let engine: &mut Engine = self.engine(who);
        engine.rejoining().next().is_some()
    }

    /// Whether a circle's log, as somebody has it, has a device in.
    pub fn has_device(&mut self, who: Who, circle: clave_engine::CircleId, device: DeviceId) -> bool {
        self.engine(who).membership(circle).is_ok_and(|membership| membership.devices.contains_key(&device))
    }
}
