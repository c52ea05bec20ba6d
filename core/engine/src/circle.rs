//! One circle: its membership log, its epochs and keys, its entries and its documents.
//!
//! Owns what an entry means and in which order things must be known for it to mean something. Does not know who is
//! connected, nor how anything travels.

use std::collections::BTreeMap;

use clave_crdt::{Document, DocumentKind};
use clave_crypto::{Checkpoint, ContentKey, DeviceId, EpochId, Export, KeyId, RosterChange};
use prost::Message as _;

use crate::desk::Desk;
use crate::entry::{Body, Envelope};
use crate::group::{Group, Keyring, epoch_id};
use crate::index::EntryIndex;
use crate::membership::{Action, DeviceStanding, Insertion, Log, Operation};
use crate::proto::{entry as proto, local};
use crate::{CircleId, CircleStatus, DocumentId, EngineError, EntryId, Event, Key, Keyspace, Refusal};

mod documents;
mod held;
mod judge;
mod open;
mod roster;

use held::Held;

pub use documents::DocumentInfo;
pub use held::{HELD_BYTES_MAX, HELD_ENTRIES_MAX};

/// The most refused entries of one circle that are remembered.
const REFUSED_ENTRIES_MAX: usize = 16_384;
/// The most content keys of one circle that are taken from others.
pub const LEARNED_KEYS_MAX: usize = 16_384;

/// A circle as one of its members sees it.
pub(crate) struct Circle {
    pub(crate) id: CircleId,
    pub(crate) log: Log,
    pub(crate) group: Group,
    keys: Keyring,
    pub(crate) index: EntryIndex,
    /// Entries that could not be judged yet, and the tag each is under.
    held: Held,
    /// Entries that were refused since the circle was opened, so that they are not asked for again and again.
    refused: BTreeMap<EntryId, Refusal>,
    /// A document is named by its id *and* its kind: whoever writes to an id first must not settle for all what it is.
    documents: BTreeMap<(DocumentId, DocumentKind), local::DocumentRecord>,
    loaded: BTreeMap<(DocumentId, DocumentKind), Document>,
    /// When this device may mend the roster, if its head differs from the log.
    pub(crate) repair_at_ms: Option<u64>,
}

impl Circle {
    /// Founds a circle. The founder's operation is its genesis.
    pub(crate) fn create(genesis: Operation, desk: &mut Desk) -> Result<Self, EngineError> {
        let id = CircleId::from_bytes(*genesis.id().as_bytes());
        let checkpoint = desk.agreement.create(&desk.device, id.as_bytes(), &mut desk.entropy);
        let mut circle = Self::empty(id, checkpoint, desk)?;
        circle.publish_operation(genesis, desk)?;
        Ok(circle)
    }

    /// Takes up membership: what an inviter handed over.
    pub(crate) fn join(
        log: Log,
        checkpoint: Checkpoint,
        keys: Vec<(EpochId, ContentKey)>,
        desk: &mut Desk,
    ) -> Result<Self, EngineError> {
        let mut circle = Self::empty(log.circle(), checkpoint, desk)?;
        for operation in log.operations() {
            let key = Key::new(Keyspace::Operations, circle.id.as_bytes(), operation.id().as_bytes());
            desk.put(key, operation.encode());
        }
        circle.log = log;
        for (epoch, key) in keys {
            circle.learn_key(epoch, key, desk);
        }
        Ok(circle)
    }

    fn empty(id: CircleId, checkpoint: Checkpoint, desk: &mut Desk) -> Result<Self, EngineError> {
        let mut keys = Keyring::default();
        file_epoch(id, None, &checkpoint, &mut keys, desk)?;
        desk.put(Key::new(Keyspace::Circles, [], id.as_bytes()), Vec::new());
        Ok(Self {
            id,
            log: Log::new(id),
            group: Group::new(None, checkpoint),
            keys,
            index: EntryIndex::default(),
            held: Held::default(),
            refused: BTreeMap::new(),
            documents: BTreeMap::new(),
            loaded: BTreeMap::new(),
            repair_at_ms: None,
        })
    }

    /// Whether `device` may be spoken with about this circle.
    pub(crate) fn is_member(&self, device: &DeviceId) -> bool {
        self.log.membership().devices.contains_key(device)
    }

    /// Seals `body` under the head epoch, keeps it and has it sent.
    pub(crate) fn publish(&mut self, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        self.publish_under(self.group.head().epoch, body, desk)
    }

    fn publish_under(&mut self, epoch: EpochId, body: Body, desk: &mut Desk) -> Result<EntryId, EngineError> {
        let key = self.keys.of_epoch(&epoch).expect("every epoch this device was in has its key in the ring");
        let envelope = Envelope::seal(self.id, &desk.device, key, body, desk.now_ms, &mut desk.entropy)
            .map_err(|_| EngineError::TooLarge)?;
        self.keep(&envelope, desk);
        desk.published.push((self.id, envelope.id));
        Ok(envelope.id)
    }

    /// Writes an operation of one's own into the log and has it sent.
    pub(crate) fn act(&mut self, action: Action, desk: &mut Desk) -> Result<(), EngineError> {
        let operation = self.log.new_operation(&desk.device, action).map_err(EngineError::NotAllowed)?;
        self.publish_operation(operation, desk)
    }

    fn publish_operation(&mut self, operation: Operation, desk: &mut Desk) -> Result<(), EngineError> {
        let bytes = operation.encode();
        self.take_operation(operation, desk).map_err(|_| EngineError::Malformed)?;
        self.publish(Body::Operation(bytes), desk)?;
        Ok(())
    }

    /// The key that entries are sealed under now.
    #[cfg(test)]
    pub(crate) fn head_key(&self) -> &ContentKey {
        self.keys.of_epoch(&self.group.head().epoch).expect("every epoch this device was in has its key in the ring")
    }

    fn keep(&mut self, envelope: &Envelope, desk: &mut Desk) {
        self.index.insert(envelope.hour, envelope.id);
        desk.put(Key::new(Keyspace::Entries, self.id.as_bytes(), envelope.id.as_bytes()), envelope.bytes.clone());
    }

    /// The sealed bytes of an entry.
    pub(crate) fn envelope(&self, id: &EntryId, desk: &Desk) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(desk.store.read(&Key::new(Keyspace::Entries, self.id.as_bytes(), id.as_bytes()))?)
    }

    /// Files a checkpoint and its content key; the head may move.
    fn enter_epoch(
        &mut self,
        parent: Option<EpochId>,
        checkpoint: Checkpoint,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        file_epoch(self.id, parent, &checkpoint, &mut self.keys, desk)?;
        self.group.insert(parent, checkpoint);
        self.choose_head(desk)
    }

    /// Takes in a key that somebody says to be an epoch's. Whether it was news.
    fn learn_key(&mut self, epoch: EpochId, key: ContentKey, desk: &mut Desk) -> bool {
        let id = key.key_id();
        if self.keys.get(&id).is_some() || self.keys.learned() >= LEARNED_KEYS_MAX {
            return false;
        }
        let record = local::ContentKey { epoch: epoch.as_bytes().to_vec(), key: key.as_bytes().to_vec(), own: false };
        desk.put(Key::new(Keyspace::ContentKeys, self.id.as_bytes(), id.as_bytes()), record.encode_to_vec());
        self.keys.learn(epoch, key)
    }

    /// Whether an entry that somebody has should be asked for.
    pub(crate) fn wants(&self, id: &EntryId) -> bool {
        !self.refused.contains_key(id)
    }

    pub(crate) fn status(&self) -> CircleStatus {
        let head = self.group.head();
        CircleStatus {
            epoch: head.epoch,
            depth: head.depth,
            leaves: head.leaves.len(),
            entries: self.index.len(),
            held: self.held.len(),
        }
    }

    /// The content keys that a newcomer may have.
    pub(crate) fn history(&self) -> impl Iterator<Item = (EpochId, &ContentKey)> {
        self.keys.iter()
    }

    /// Has the log take the operation in, now or for when its parents arrive.
    fn take_operation(&mut self, operation: Operation, desk: &mut Desk) -> Result<(), Refusal> {
        let (id, bytes) = (operation.id(), operation.encode());
        match self.log.insert(operation) {
            Insertion::Refused(reason) => {
                tracing::warn!(operation = %id.short(), ?reason, "membership operation refused");
                Err(reason.into())
            }
            Insertion::Duplicate => Ok(()),
            Insertion::Inserted(_) | Insertion::MissingParents(_) => {
                desk.put(Key::new(Keyspace::Operations, self.id.as_bytes(), id.as_bytes()), bytes);
                desk.events.push(Event::MembershipChanged { circle: self.id });
                Ok(())
            }
        }
    }
}

fn file_epoch(
    circle: CircleId,
    parent: Option<EpochId>,
    checkpoint: &Checkpoint,
    keys: &mut Keyring,
    desk: &mut Desk,
) -> Result<(), EngineError> {
    let epoch = checkpoint.epoch;
    let key = ContentKey::from_bytes(desk.agreement.export(checkpoint, Export::ContentKey, circle.as_bytes())?);
    let record = local::Checkpoint {
        parent: parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        state: checkpoint.to_bytes().to_vec(),
    };
    desk.put(Key::new(Keyspace::Checkpoints, circle.as_bytes(), epoch.as_bytes()), record.encode_to_vec());
    let record = local::ContentKey { epoch: epoch.as_bytes().to_vec(), key: key.as_bytes().to_vec(), own: true };
    desk.put(Key::new(Keyspace::ContentKeys, circle.as_bytes(), key.key_id().as_bytes()), record.encode_to_vec());
    keys.insert_own(epoch, key);
    Ok(())
}
