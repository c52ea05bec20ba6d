//! What a store and a member's entries hold, for the simulator to check.

use std::collections::BTreeSet;

use clave_crdt::DocumentKind;
use clave_crypto::{ContentKey, DeviceId, EpochId, KeyId};
use prost::Message as _;

use crate::entry::{Body, Envelope};
use crate::group::epoch_id;
use crate::membership::{Log, Operation};
use crate::proto::{entry, local};
use crate::{CircleId, DocumentId, Engine, EntryId, Keyspace, OperationId, StoreRead};

/// An entry that a member can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its id.
    pub id: EntryId,
    /// Names the key that it is sealed with.
    pub tag: KeyId,
    /// Who signed it, or the operation in it.
    pub author: DeviceId,
    /// What it says.
    pub what: What,
    /// Whether it is sealed to the device that opened it.
    pub is_direct: bool,
}

/// What an entry says, as far as a check wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A membership operation.
    Operation(OperationId),
    /// A commit.
    Commit {
        /// The epoch it starts from.
        parent: EpochId,
        /// The epoch it leads to.
        epoch: EpochId,
        /// The operations that it cites.
        operations: Vec<OperationId>,
    },
    /// Keys and the lasting keys that follow from them, each with the epoch that it is said to belong to.
    Keys(Vec<(EpochId, KeyId)>),
    /// Changes to a document.
    Changes,
    /// A bundle.
    Bundle,
    /// A Welcome.
    Welcome,
    /// A plea of a device in that epoch for so many keys.
    Plea(EpochId, usize),
    /// Anything else.
    Other,
}

/// Names the key that an entry is sealed with; none if it is no entry.
#[must_use]
pub fn tag(envelope: &[u8]) -> Option<KeyId> {
    Envelope::decode(envelope.to_vec()).ok().map(|envelope| envelope.tag)
}

/// Opens an entry with the keys of a member, or its own; none if they do not fit.
#[must_use]
pub fn open(engine: &Engine, circle: CircleId, envelope: &[u8]) -> Option<Inside> {
    let envelope = Envelope::decode(envelope.to_vec()).ok()?;
    let key = engine.circles.get(&circle)?.content_key(&envelope.tag);
    let is_direct = key.is_none();
    let opened = match key {
        Some(key) => envelope.open(circle, key).ok()?,
        None => envelope.open_direct(circle, &engine.identity().device_key()).ok()?,
    };
    let mut author = opened.author;
    let what = match opened.body {
        Body::Operation(bytes) => {
            let operation = Operation::decode(&bytes).ok()?;
            author = Some(operation.author());
            What::Operation(operation.id())
        }
        Body::Commit(commit) => What::Commit {
            parent: epoch_id(&commit.parent)?,
            epoch: epoch_id(&commit.epoch)?,
            operations: commit.operations.iter().filter_map(|id| OperationId::try_from(id.as_slice()).ok()).collect(),
        },
        Body::Keys(bundle) => What::Keys(bundle.keys.iter().filter_map(named).flatten().collect()),
        Body::Changes(_) => What::Changes,
        Body::Bundle(_) => {
            // It names nobody: whoever has it could have made it.
            author = Some(engine.identity().device());
            What::Bundle
        }
        Body::Welcome(_) => What::Welcome,
        Body::Plea(plea) => What::Plea(epoch_id(&plea.epoch)?, plea.tags.len()),
        _ => What::Other,
    };
    Some(Inside { id: envelope.id, tag: envelope.tag, author: author?, what, is_direct })
}

/// A key, and the lasting key that follows from it.
fn named(key: &entry::ContentKey) -> Option<BTreeSet<(EpochId, KeyId)>> {
    let bytes = <[u8; 32]>::try_from(key.key.as_slice()).ok()?;
    let (epoch, key) = (epoch_id(&key.epoch)?, ContentKey::of_class(bytes.into(), key.lasting));
    Some([key.key_id(), key.lasting().key_id()].map(|id| (epoch, id)).into())
}

/// The operations that whoever gave a member a key had and the member has not: before they are here, it may not hand the key
/// on. None if the key is not here.
#[must_use]
pub fn unknown_of_giver(engine: &Engine, circle: CircleId, tag: &KeyId) -> Option<Vec<OperationId>> {
    engine.circles.get(&circle)?.unknown_of_giver(tag)
}

/// The devices of the epoch that a key belongs to, if the member is in it.
#[must_use]
pub fn leaves_under(engine: &Engine, circle: CircleId, tag: &KeyId) -> Option<Vec<DeviceId>> {
    let circle = engine.circles.get(&circle)?;
    let epoch = circle.epoch_of(tag)?;
    circle.group.get(&epoch).map(|checkpoint| checkpoint.leaves.clone())
}

/// The devices of each epoch whose secrets the member has.
#[must_use]
pub fn rosters(engine: &Engine, circle: CircleId) -> Vec<(EpochId, Vec<DeviceId>)> {
    let kept = engine.circles.get(&circle).into_iter().flat_map(|circle| circle.group.kept());
    kept.map(|(checkpoint, _)| (checkpoint.epoch, checkpoint.leaves.clone())).collect()
}

/// Whether a key was derived by the member, and not handed to it. None if it is not here.
#[must_use]
pub fn is_derived(engine: &Engine, circle: CircleId, tag: &KeyId) -> Option<bool> {
    engine.circles.get(&circle)?.is_derived(tag)
}

/// Whether the member is in an epoch, and has its secrets.
#[must_use]
pub fn is_in(engine: &Engine, circle: CircleId, epoch: &EpochId) -> bool {
    engine.circles.get(&circle).is_some_and(|circle| circle.group.get(epoch).is_some())
}

/// The epoch that a key belongs to, as far as the member knows.
#[must_use]
pub fn epoch_under(engine: &Engine, circle: CircleId, tag: &KeyId) -> Option<EpochId> {
    engine.circles.get(&circle)?.epoch_of(tag)
}

/// Whether the member was welcomed into an epoch by somebody who knew operations that are not here.
#[must_use]
pub fn is_early(engine: &Engine, circle: CircleId, epoch: &EpochId) -> bool {
    engine.circles.get(&circle).is_some_and(|circle| {
        let node = circle.group.node(epoch);
        node.is_some_and(|node| node.after.iter().any(|id| circle.log.operation(id).is_none()))
    })
}

/// Names the key of what is sealed to a device alone.
#[must_use]
pub fn direct_tag(circle: CircleId, device: &DeviceId) -> KeyId {
    crate::entry::direct_tag(circle, device)
}

/// The changes of a document that are stored in bundles only.
#[must_use]
pub fn bundled(engine: &Engine, circle: CircleId, document: DocumentId, kind: DocumentKind) -> Vec<Vec<u8>> {
    let changes = engine.circles.get(&circle).map(|circle| circle.unread_changes(&(document, kind), &engine.desk));
    changes.and_then(Result::ok).unwrap_or_default()
}

/// The membership log of a circle.
#[must_use]
pub fn log(engine: &Engine, circle: CircleId) -> Option<&Log> {
    engine.circles.get(&circle).map(|circle| &circle.log)
}

/// The content keys in a store, each with the epoch that it is said to belong to and whether the device derived it.
#[must_use]
pub fn content_keys(store: &dyn StoreRead, circle: CircleId) -> Vec<(KeyId, EpochId, bool)> {
    let mut keys = Vec::new();
    let read = &mut |suffix: &[u8], record: Vec<u8>| {
        let key = KeyId::try_from(suffix).ok();
        let record = local::ContentKey::decode(record.as_slice()).ok();
        let of = |record: local::ContentKey| Some((epoch_id(&record.epoch)?, record.derived));
        keys.extend(key.zip(record.and_then(of)).map(|(key, (epoch, derived))| (key, epoch, derived)));
        true
    };
    // A store that cannot be read holds nothing that could be said of it.
    let _ = store.scan(Keyspace::ContentKeys, circle.as_bytes(), &[], read);
    keys
}

/// The epochs in a store, each with the one that it follows, and whether the device was in it.
#[must_use]
pub fn epochs(store: &dyn StoreRead, circle: CircleId) -> Vec<(EpochId, Option<EpochId>, bool)> {
    let mut epochs = Vec::new();
    let read = &mut |suffix: &[u8], record: Vec<u8>| {
        let record = local::Checkpoint::decode(record.as_slice()).ok();
        let of = epoch_id(suffix).zip(record);
        epochs.extend(of.map(|(epoch, record)| (epoch, epoch_id(&record.parent), !record.state.is_empty())));
        true
    };
    let _ = store.scan(Keyspace::Checkpoints, circle.as_bytes(), &[], read);
    epochs
}

/// The documents of a circle of which something else is stored than follows from them.
///
/// # Errors
/// If this device is not in the circle, or the store cannot be read.
pub fn misderived(
    engine: &mut Engine,
    circle: CircleId,
) -> Result<Vec<(DocumentId, DocumentKind)>, crate::EngineError> {
    let (circle, desk) = engine.circle_mut(circle)?;
    circle.misderived(desk)
}
