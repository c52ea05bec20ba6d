//! Reading a circle back from the store.

use super::*;
use crate::group::Node;

impl Circle {
    /// Loads what the circle needs to work: its log, epochs, keys and the ids of its entries; no documents.
    pub(crate) fn open(id: CircleId, desk: &mut Desk) -> Result<Self, EngineError> {
        let scope = id.as_bytes();
        let (mut keys, mut lasting) = (Keyring::default(), Keyring::default());
        for record in desk.store.all(Keyspace::ContentKeys, scope)?.into_values() {
            let record = local::ContentKey::decode(record.as_slice())?;
            let key = <[u8; 32]>::try_from(record.key.as_slice()).map_err(|_| EngineError::Damaged)?;
            let of = epoch(&record.epoch)?;
            let after = operations(&record.operations)?;
            let inserted = || ContentKey::of_class(key.into(), record.lasting);
            let ring = if record.lasting { &mut lasting } else { &mut keys };
            ring.insert(of, inserted(), record.derived, None, after.clone());
            ring.stamp(&inserted().key_id(), record.filed_ms);
            for under in &record.under {
                let under = KeyId::try_from(under.as_slice()).map_err(|_| EngineError::Damaged)?;
                ring.insert(of, inserted(), false, Some(under), after.clone());
            }
        }
        let mut log = Log::new(id);
        for operation in open_operations(scope, desk)? {
            match log.insert_verified(operation) {
                // More may be stored than a log lets wait: each made room for another once.
                Insertion::Refused(crate::membership::Refusal::TooManyPending) => {}
                Insertion::Refused(_) => return Err(EngineError::Damaged),
                _ => {}
            }
        }
        let (group, trees, recovery) = open_group(id, desk)?;
        let index = EntryIndex::open(id, desk)?;
        let mut circle = Self {
            id,
            log,
            group,
            keys,
            lasting,
            direct: BTreeMap::from([(direct_tag(id, &desk.me()), desk.me())]),
            index,
            held: Held::default(),
            unfollowed: BTreeMap::new(),
            came: Vec::new(),
            released: Vec::new(),
            refused: BTreeMap::new(),
            documents: BTreeMap::new(),
            loaded: BTreeMap::new(),
            arrived: BTreeMap::new(),
            views: views::Views::default(),
            standings: standing::Standings::default(),
            repair_at_ms: None,
            trees,
            surroundings: outer::Surroundings::default(),
            grants: grants::Grants::default(),
            repair_of: None,
            pleas: plea::Pleas::default(),
            seen: retention::Seen::default(),
            ratchet: expiry::Ratchet::default(),
            mending: roster::Mending::Unknown,
            bundles: bundles::Bundles::default(),
            recovery,
            mailboxes: super::mailboxes::Keys::default(),
            has_relay: false,
        };
        circle.learn_direct_tags(None);
        for (suffix, tag) in desk.store.all(Keyspace::Held, scope)? {
            let tag = KeyId::try_from(tag.as_slice()).map_err(|_| EngineError::Damaged)?;
            let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            // An export made while entries came in may name one that came too late for it: it comes again.
            let Some(bytes) = circle.envelope(&id, desk)?.map(|envelope| envelope.len()) else { continue };
            circle.held.insert(id, Awaits::Key(tag), bytes, None);
        }
        for (suffix, parent) in desk.store.all(Keyspace::Commits, scope)? {
            let id = EntryId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            circle.unfollowed.entry(epoch(&parent)?).or_default().insert(id);
        }
        for (suffix, of) in desk.store.all(Keyspace::Seen, scope)? {
            let device = DeviceId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            circle.seen.restore(device, epoch(&of)?);
        }
        for (suffix, record) in desk.store.all(Keyspace::Documents, scope)? {
            let (kind, id) = suffix.split_last().ok_or(EngineError::Damaged)?;
            let id = DocumentId::try_from(id).map_err(|_| EngineError::Damaged)?;
            let kind = DocumentKind::from_number(*kind).ok_or(EngineError::Damaged)?;
            circle.documents.insert((id, kind), local::DocumentRecord::decode(record.as_slice())?);
        }
        circle.open_bundles()?;
        circle.open_views(desk)?;
        circle.begin_standings();
        circle.choose_head(desk);
        Ok(circle)
    }
}

/// The operations of a circle, causes before effects: the log lets only so many wait for their causes.
fn open_operations(scope: &[u8], desk: &Desk) -> Result<Vec<Operation>, EngineError> {
    let mut operations = BTreeMap::new();
    for record in desk.store.all(Keyspace::Operations, scope)?.into_values() {
        let operation = Operation::decode(&record).map_err(|_| EngineError::Damaged)?;
        operations.insert(operation.id(), operation);
    }
    Ok(causes_first(operations))
}

/// Sorts operations so that each stands behind those of them that it names.
pub(crate) fn causes_first(mut waiting: BTreeMap<OperationId, Operation>) -> Vec<Operation> {
    let mut sorted = Vec::with_capacity(waiting.len());
    while let Some((id, _)) = waiting.first_key_value() {
        let mut path = vec![*id];
        while let Some(id) = path.last() {
            let unmet = waiting.get(id).and_then(|next| next.parents().iter().find(|id| waiting.contains_key(*id)));
            match unmet {
                Some(parent) => path.push(*parent),
                None => {
                    sorted.extend(waiting.remove(id));
                    path.pop();
                }
            }
        }
    }
    sorted
}

/// The epochs; and, if this device stands apart, the entry by which it asks to be let in.
fn open_group(circle: CircleId, desk: &Desk) -> Result<(Group, trees::Trees, Option<EntryId>), EngineError> {
    let blobs = desk.store.all(Keyspace::Trees, circle.as_bytes())?;
    let (mut nodes, mut trees, mut standing) = (BTreeMap::new(), trees::Trees::default(), (None, None));
    for (suffix, record) in desk.store.all(Keyspace::Checkpoints, circle.as_bytes())? {
        let local::Checkpoint {
            parent,
            state,
            operations: after,
            depth,
            entered_ms,
            left_ms,
            apart,
            recovery,
            cites,
            adds,
        } = local::Checkpoint::decode(record.as_slice())?;
        if apart {
            let checkpoint = Checkpoint::without_secret(epoch(&suffix)?, depth, circle.as_bytes());
            standing = (Some(checkpoint), EntryId::try_from(recovery.as_slice()).ok());
            continue;
        }
        let parent = if parent.is_empty() { None } else { Some(epoch(&parent)?) };
        let id = epoch(&suffix)?;
        let checkpoint = if state.is_empty() {
            None
        } else {
            trees.add(id, Checkpoint::blob_ids(&state)?);
            Some(Checkpoint::from_parts(&state, |id| blobs.get(id.as_bytes().as_slice()).cloned())?)
        };
        let (after, cites) = (operations(&after)?, operations(&cites)?);
        nodes.insert(id, Node { parent, depth, entered_ms, left_ms, checkpoint, after, cites, adds });
    }
    let (apart, recovery) = standing;
    Ok((Group::restore(nodes, apart).ok_or(EngineError::Damaged)?, trees, recovery))
}

fn operations(ids: &[Vec<u8>]) -> Result<Vec<OperationId>, EngineError> {
    ids.iter().map(|id| OperationId::try_from(id.as_slice()).map_err(|_| EngineError::Damaged)).collect()
}

fn epoch(bytes: &[u8]) -> Result<EpochId, EngineError> {
    epoch_id(bytes).ok_or(EngineError::Damaged)
}
