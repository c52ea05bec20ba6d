//! Reading a circle back from the store.

use super::*;
use crate::OperationId;

impl Circle {
    /// Loads what the circle needs to work: its log, epochs, keys and the ids of its entries; no documents.
    pub(crate) fn open(id: CircleId, desk: &mut Desk) -> Result<Self, EngineError> {
        let scope = id.as_bytes();
        let mut keys = Keyring::default();
        for record in desk.store.all(Keyspace::ContentKeys, scope)?.into_values() {
            let record = local::ContentKey::decode(record.as_slice())?;
            let key = <[u8; 32]>::try_from(record.key.as_slice()).map_err(|_| EngineError::Damaged)?;
            let (epoch, key) = (epoch(&record.epoch)?, ContentKey::from_bytes(key.into()));
            if record.own {
                keys.insert_own(epoch, key);
            } else {
                keys.learn(epoch, key);
            }
        }
        let mut circle = Self {
            id,
            log: open_log(id, desk)?,
            group: open_group(scope, desk)?,
            keys,
            index: open_index(scope, desk)?,
            held: Held::default(),
            refused: BTreeMap::new(),
            documents: BTreeMap::new(),
            loaded: BTreeMap::new(),
            repair_at_ms: None,
        };
        for (suffix, tag) in desk.store.all(Keyspace::Held, scope)? {
            let tag = KeyId::try_from(tag.as_slice()).map_err(|_| EngineError::Damaged)?;
            let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            let bytes = circle.envelope(&id, desk)?.map_or(0, |envelope| envelope.len());
            circle.held.insert(id, tag, bytes);
        }
        for (suffix, record) in desk.store.all(Keyspace::Documents, scope)? {
            let (kind, id) = suffix.split_last().ok_or(EngineError::Damaged)?;
            let id = DocumentId::try_from(id).map_err(|_| EngineError::Damaged)?;
            let kind = DocumentKind::from_number(*kind).ok_or(EngineError::Damaged)?;
            circle.documents.insert((id, kind), local::DocumentRecord::decode(record.as_slice())?);
        }
        circle.choose_head(desk)?;
        Ok(circle)
    }
}

/// Puts the stored operations into a log, parents first: a log holds only so many back for parents that are missing.
fn open_log(id: CircleId, desk: &Desk) -> Result<Log, EngineError> {
    let mut waiting = BTreeMap::new();
    for record in desk.store.all(Keyspace::Operations, id.as_bytes())?.into_values() {
        let operation = Operation::decode(&record).map_err(|_| EngineError::Damaged)?;
        waiting.insert(operation.id(), operation);
    }
    let mut children: BTreeMap<OperationId, Vec<OperationId>> = BTreeMap::new();
    let mut missing: BTreeMap<OperationId, usize> = BTreeMap::new();
    for operation in waiting.values() {
        missing.insert(operation.id(), operation.parents().len());
        for parent in operation.parents() {
            children.entry(*parent).or_default().push(operation.id());
        }
    }
    let mut log = Log::new(id);
    let mut ready: Vec<OperationId> = missing.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    while let Some(next) = ready.pop() {
        let operation = waiting.remove(&next).expect("it has become ready once");
        if let Insertion::Refused(_) = log.insert_verified(operation) {
            return Err(EngineError::Damaged);
        }
        for child in children.remove(&next).unwrap_or_default() {
            let count = missing.get_mut(&child).expect("every operation was counted");
            *count -= 1;
            if *count == 0 {
                ready.push(child);
            }
        }
    }
    for operation in waiting.into_values() {
        // More may be stored than a log holds: each made room for another once.
        let _ = log.insert_verified(operation);
    }
    Ok(log)
}

fn open_group(scope: &[u8], desk: &Desk) -> Result<Group, EngineError> {
    let mut group: Option<Group> = None;
    for record in desk.store.all(Keyspace::Checkpoints, scope)?.into_values() {
        let record = local::Checkpoint::decode(record.as_slice())?;
        let checkpoint = Checkpoint::from_bytes(&record.state)?;
        let parent = if record.parent.is_empty() { None } else { Some(epoch(&record.parent)?) };
        match &mut group {
            None => group = Some(Group::new(parent, checkpoint)),
            Some(group) => group.insert(parent, checkpoint),
        }
    }
    group.ok_or(EngineError::Damaged)
}

fn open_index(scope: &[u8], desk: &Desk) -> Result<EntryIndex, EngineError> {
    let mut entries = Vec::new();
    for (suffix, bytes) in desk.store.all(Keyspace::Entries, scope)? {
        let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
        let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
        entries.push((envelope.hour, id));
    }
    Ok(EntryIndex::from_unsorted(entries))
}

fn epoch(bytes: &[u8]) -> Result<EpochId, EngineError> {
    epoch_id(bytes).ok_or(EngineError::Damaged)
}
