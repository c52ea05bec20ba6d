//! What is kept of a relay from one session to the next.

use clave_crypto::MailboxId;

use super::*;
use crate::ReadError;

/// A relay, as it was last met: its generation (16 bytes), and whether both sides are known to have had the same since (1 byte).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) generation: Option<[u8; 16]>,
    /// Whether nothing of this device's is missing there that the outbox does not name.
    pub(super) compared: bool,
}

impl Record {
    pub(super) fn load(relay: &DeviceId, desk: &Desk) -> Result<Self, ReadError> {
        let Some(bytes) = desk.store.read(&relay_key(relay))? else { return Ok(Self::default()) };
        let (compared, generation) = bytes.split_last().ok_or(ReadError::Damaged)?;
        let generation = generation.try_into().map_err(|_| ReadError::Damaged)?;
        Ok(Self { generation: Some(generation), compared: *compared == 1 })
    }

    fn file(&self, relay: &DeviceId, desk: &mut Desk) {
        if let Some(generation) = &self.generation {
            desk.put(relay_key(relay), [generation.as_slice(), &[u8::from(self.compared)]].concat());
        }
    }
}

impl Engine {
    /// A relay counts positions in this generation. If it is another than last time, what is remembered means nothing.
    pub(super) fn note_generation(&mut self, id: DeviceId, generation: [u8; 16]) {
        let Some(relay) = self.mailboxes.relays.get_mut(&id) else { return };
        if relay.record.generation != Some(generation)
            && !(off(Rule::RelayGeneration) && relay.record.generation.is_some())
        {
            relay.record = Record { generation: Some(generation), compared: false };
            relay.record.file(&id, &mut self.desk);
            forget_positions(&id, &mut self.desk);
        }
    }

    /// Whether a relay has all that it should, but for what the outbox names.
    pub(super) fn set_compared(&mut self, id: DeviceId, compared: bool) {
        let Some(relay) = self.mailboxes.relays.get_mut(&id) else { return };
        if relay.record.compared != compared {
            relay.record.compared = compared;
            relay.record.file(&id, &mut self.desk);
        }
    }

    /// How far a mailbox was read; none if it never was.
    pub(super) fn position(&self, relay: &DeviceId, mailbox: &MailboxId) -> Option<u64> {
        let record = self.desk.store.read(&position_key(relay, mailbox)).ok().flatten()?;
        Some(u64::from_be_bytes(record.as_slice().try_into().ok()?))
    }

    /// Remembers how far a mailbox was read, in the batch of what was read.
    pub(super) fn file_position(&mut self, relay: &DeviceId, mailbox: &MailboxId, position: u64) {
        self.desk.put(position_key(relay, mailbox), position.to_be_bytes().to_vec());
    }

    /// Forgets positions of mailboxes that are not followed any more.
    pub(super) fn prune_positions(&mut self, relay: &DeviceId, followed: &BTreeSet<MailboxId>) {
        for suffix in self.desk.store.suffixes(Keyspace::Positions, relay.as_bytes()).unwrap_or_default() {
            let known = <[u8; 32]>::try_from(suffix.as_slice()).map(MailboxId::from_bytes);
            if !known.is_ok_and(|mailbox| followed.contains(&mailbox)) {
                self.desk.remove(Key::new(Keyspace::Positions, relay.as_bytes(), suffix));
            }
        }
    }
}

/// Forgets a relay that no space names any more.
pub(super) fn forget(relay: &DeviceId, desk: &mut Desk) {
    if desk.store.contains(&relay_key(relay)).unwrap_or(true) {
        desk.remove(relay_key(relay));
    }
    forget_positions(relay, desk);
}

fn forget_positions(relay: &DeviceId, desk: &mut Desk) {
    for suffix in desk.store.suffixes(Keyspace::Positions, relay.as_bytes()).unwrap_or_default() {
        desk.remove(Key::new(Keyspace::Positions, relay.as_bytes(), suffix));
    }
}

fn relay_key(relay: &DeviceId) -> Key {
    Key::new(Keyspace::Relays, [], relay.as_bytes())
}

fn position_key(relay: &DeviceId, mailbox: &MailboxId) -> Key {
    Key::new(Keyspace::Positions, relay.as_bytes(), mailbox.as_bytes())
}
