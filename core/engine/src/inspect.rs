//! Looks through what a device stored, without an engine over it: whether each record is what its name says, and whether
//! what belongs together is there. What can be mended from the rest is handed back as a batch.
//!
//! Owns the rules of that. Does not know how records are sealed: it reads through a [`StoreRead`] that leaves out what does not
//! authenticate, and whoever owns the store has dealt with that before. Entries are the source: what follows from an entry
//! (an operation, a change of a document) is made again from it; an entry that is damaged itself is removed, and comes again
//! from any member that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clave_crdt::{Actor, ChangeHash, Document, DocumentKind, inspect_change};
use clave_crypto::{Checkpoint, ContentKey, DeviceId, KeyId};
use prost::Message as _;

use crate::circle::{Claimed, Name, carried_id, documents};
use crate::entry::{Body, Envelope};
use crate::files::chunk_id;
use crate::membership::{Insertion, Log, Operation, Refusal as LogRefusal};
use crate::proto::local;
use crate::{Batch, CircleId, DocumentId, EngineError, EntryId, Key, Keyspace, OperationId, ReadError, StoreRead};

/// What is wrong with a record, or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be read.
    Malformed,
    /// It is filed under a name that is not its own: its bytes are others.
    OtherName,
    /// The log does not take it in.
    NotInLog,
    /// It names an entry that is not here.
    NoEntry,
    /// An entry says it, and it is not here.
    Missing,
    /// It has other entries than are here.
    OtherEntries,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "cannot be read",
            Self::OtherName => "has bytes that do not belong to its name",
            Self::NotInLog => "does not fit into the log",
            Self::NoEntry => "names an entry that is not here",
            Self::Missing => "is missing, though an entry has it",
            Self::OtherEntries => "has other entries than are here",
        })
    }
}

/// A record that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub key: Key,
    /// What is wrong with it.
    pub fault: Fault,
}

/// A circle, looked through.
#[derive(Debug, Default)]
pub struct CircleReport {
    /// Its name, if the log is there.
    pub name: Option<String>,
    /// Entries that are whole.
    pub entries: u64,
    /// Those of them that this device has no key to (yet).
    pub sealed_entries: u64,
    /// Operations in the log.
    pub operations: u64,
    /// Operations that wait for others.
    pub waiting_operations: u64,
    /// Epochs.
    pub checkpoints: u64,
    /// Documents that load.
    pub documents: u64,
    /// Changes in them.
    pub changes: u64,
    /// Chunks of files that are whole.
    pub chunks: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What mends it.
    pub repair: Batch,
}

/// Looks through one circle. `progress` is called now and then, with the number of records seen.
///
/// # Errors
/// If the store cannot be read.
pub fn inspect_circle(
    store: &dyn StoreRead,
    circle: CircleId,
    progress: &mut dyn FnMut(u64),
) -> Result<CircleReport, EngineError> {
    let mut inspector = Inspector { store, circle, report: CircleReport::default(), progress, seen: 0 };
    let keys = inspector.content_keys()?;
    let told = inspector.entries(&keys)?;
    inspector.followers(&told.ids)?;
    inspector.index(&told.ids)?;
    inspector.operations(&told.operations)?;
    inspector.checkpoints()?;
    inspector.documents(&keys, &told)?;
    inspector.chunks()?;
    Ok(inspector.report)
}

/// What the entries of a circle say.
#[derive(Default)]
struct Told {
    ids: BTreeSet<EntryId>,
    operations: BTreeMap<OperationId, Vec<u8>>,
    /// The changes of each document, and which entry each is in.
    changes: BTreeMap<Name, Vec<(ChangeHash, EntryId)>>,
    /// Which entries are bundles of a document.
    bundles: BTreeMap<Name, BTreeSet<EntryId>>,
}

type Keys = BTreeMap<KeyId, ContentKey>;

struct Inspector<'a> {
    store: &'a dyn StoreRead,
    circle: CircleId,
    report: CircleReport,
    progress: &'a mut dyn FnMut(u64),
    seen: u64,
}

impl Inspector<'_> {
    fn key(&self, keyspace: Keyspace, suffix: &[u8]) -> Key {
        Key::new(keyspace, self.circle.as_bytes(), suffix)
    }

    /// Notes what is wrong, and that the record is to go.
    fn drop_record(&mut self, key: Key, fault: Fault) {
        self.report.repair.remove(key.clone());
        self.report.findings.push(Finding { key, fault });
    }

    /// Notes what is missing, and what it is.
    fn put_record(&mut self, key: Key, value: Vec<u8>) {
        self.report.findings.push(Finding { key: key.clone(), fault: Fault::Missing });
        self.report.repair.put(key, value);
    }

    /// Visits each record of a keyspace; what `look` finds wrong is noted, and goes.
    fn each(
        &mut self,
        keyspace: Keyspace,
        mut look: impl FnMut(&mut CircleReport, &[u8], Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), ReadError> {
        let Self { store, circle, report, progress, seen } = self;
        let mut wrong = Vec::new();
        store.scan(keyspace, circle.as_bytes(), &[], &mut |suffix, value| {
            *seen += 1;
            if seen.is_multiple_of(1_024) {
                progress(*seen);
            }
            if let Err(fault) = look(report, suffix, value) {
                wrong.push((suffix.to_vec(), fault));
            }
            true
        })?;
        for (suffix, fault) in wrong {
            self.drop_record(self.key(keyspace, &suffix), fault);
        }
        Ok(())
    }

    fn content_keys(&mut self) -> Result<Keys, ReadError> {
        let mut keys = Keys::new();
        self.each(Keyspace::ContentKeys, |_, suffix, value| {
            let record = local::ContentKey::decode(value.as_slice()).map_err(|_| Fault::Malformed)?;
            let bytes = <[u8; 32]>::try_from(record.key.as_slice()).map_err(|_| Fault::Malformed)?;
            let key = ContentKey::of_class(bytes.into(), record.lasting);
            let id = key.key_id();
            if id.as_bytes() != suffix {
                return Err(Fault::OtherName);
            }
            keys.insert(id, key);
            Ok(())
        })?;
        Ok(keys)
    }

    fn entries(&mut self, keys: &Keys) -> Result<Told, ReadError> {
        // What waits has had no effect yet, and what is carried has none.
        let mut idle = BTreeSet::new();
        self.store.scan_suffixes(Keyspace::Held, self.circle.as_bytes(), &[], &mut |suffix| {
            idle.insert(suffix.to_vec());
            true
        })?;
        self.store.scan_suffixes(Keyspace::Carried, self.circle.as_bytes(), &[], &mut |suffix| {
            idle.extend(carried_id(suffix).map(|id| id.as_bytes().to_vec()));
            true
        })?;
        let (circle, mut told) = (self.circle, Told::default());
        self.each(Keyspace::Entries, |report, suffix, value| {
            let envelope = Envelope::decode(value).map_err(|_| Fault::Malformed)?;
            if envelope.id.as_bytes() != suffix {
                return Err(Fault::OtherName);
            }
            report.entries += 1;
            told.ids.insert(envelope.id);
            match keys.get(&envelope.tag) {
                Some(_) if idle.contains(suffix) => {}
                Some(key) => told.read(&envelope, circle, key),
                None => report.sealed_entries += 1,
            }
            Ok(())
        })?;
        Ok(told)
    }

    /// What names entries.
    fn followers(&mut self, entries: &BTreeSet<EntryId>) -> Result<(), ReadError> {
        for keyspace in [Keyspace::Held, Keyspace::Carried, Keyspace::Commits, Keyspace::KeyChanges] {
            self.each(keyspace, |_, suffix, _| {
                let id = match keyspace {
                    Keyspace::Carried => carried_id(suffix).ok(),
                    _ => EntryId::try_from(suffix).ok(),
                };
                match id {
                    Some(id) if entries.contains(&id) => Ok(()),
                    Some(_) => Err(Fault::NoEntry),
                    None => Err(Fault::Malformed),
                }
            })?;
        }
        Ok(())
    }

    /// The index of entries. One that is not there is made when the device is opened; one that names what is not here keeps
    /// others from sending it.
    fn index(&mut self, entries: &BTreeSet<EntryId>) -> Result<(), ReadError> {
        let (indexed, records) = crate::index::stored(self.store, self.circle)?;
        if let Some(first) = records.first().filter(|_| indexed.as_ref() != Some(entries)) {
            self.report.findings.push(Finding { key: first.clone(), fault: Fault::OtherEntries });
            records.into_iter().for_each(|key| self.report.repair.remove(key));
        }
        Ok(())
    }

    fn operations(&mut self, told: &BTreeMap<OperationId, Vec<u8>>) -> Result<(), ReadError> {
        let mut waiting = BTreeMap::new();
        self.each(Keyspace::Operations, |_, suffix, value| {
            let operation = Operation::decode(&value).map_err(|_| Fault::Malformed)?;
            operation.verify().map_err(|_| Fault::Malformed)?;
            if operation.id().as_bytes() != suffix {
                return Err(Fault::OtherName);
            }
            waiting.insert(operation.id(), operation);
            Ok(())
        })?;
        for (id, bytes) in told {
            if !waiting.contains_key(id)
                && let Ok(operation) = Operation::decode(bytes)
            {
                self.put_record(self.key(Keyspace::Operations, id.as_bytes()), bytes.clone());
                waiting.insert(*id, operation);
            }
        }
        let mut log = Log::new(self.circle);
        for operation in crate::circle::causes_first(waiting) {
            let id = operation.id();
            match log.insert_verified(operation) {
                Insertion::Refused(LogRefusal::TooManyPending) => self.report.waiting_operations += 1,
                Insertion::Refused(_) => {
                    self.drop_record(self.key(Keyspace::Operations, id.as_bytes()), Fault::NotInLog);
                }
                _ => {}
            }
        }
        self.report.operations = log.len() as u64;
        self.report.waiting_operations += log.pending() as u64;
        self.report.name = (!log.is_empty()).then(|| log.membership().name.clone());
        Ok(())
    }

    fn checkpoints(&mut self) -> Result<(), ReadError> {
        let mut blobs = BTreeMap::new();
        self.each(Keyspace::Trees, |_, suffix, value| {
            blobs.insert(suffix.to_vec(), value);
            Ok(())
        })?;
        self.each(Keyspace::Checkpoints, |report, _, value| {
            let record = local::Checkpoint::decode(value.as_slice()).map_err(|_| Fault::Malformed)?;
            if !record.apart && !record.state.is_empty() {
                Checkpoint::from_parts(&record.state, |id| blobs.get(id.as_bytes().as_slice()).cloned())
                    .map_err(|_| Fault::Malformed)?;
            }
            report.checkpoints += 1;
            Ok(())
        })
    }

    fn chunks(&mut self) -> Result<(), ReadError> {
        self.each(Keyspace::Chunks, |report, suffix, value| {
            if chunk_id(&value).as_bytes() != suffix {
                return Err(Fault::OtherName);
            }
            report.chunks += 1;
            Ok(())
        })
    }

    fn documents(&mut self, keys: &Keys, told: &Told) -> Result<(), EngineError> {
        let mut names: BTreeMap<Name, Option<local::DocumentRecord>> =
            told.changes.keys().map(|name| (*name, None)).collect();
        self.each(Keyspace::Documents, |_, suffix, value| {
            let (kind, id) = suffix.split_last().ok_or(Fault::Malformed)?;
            let id = DocumentId::try_from(id).map_err(|_| Fault::Malformed)?;
            let kind = DocumentKind::from_number(*kind).ok_or(Fault::Malformed)?;
            let record = local::DocumentRecord::decode(value.as_slice()).map_err(|_| Fault::Malformed)?;
            names.insert((id, kind), Some(record));
            Ok(())
        })?;
        for (name, record) in names {
            self.document(name, record, keys, told)?;
        }
        Ok(())
    }

    /// One document: it loads, has every change that an entry has, and its record names the bundles that are here.
    fn document(
        &mut self,
        name: Name,
        record: Option<local::DocumentRecord>,
        keys: &Keys,
        told: &Told,
    ) -> Result<(), EngineError> {
        let (id, kind) = name;
        let scope = documents::scope(self.circle, id, kind);
        let snapshot = self.store.read(&documents::snapshot_key(self.circle, id, kind))?;
        let mut stored = Vec::new();
        self.store.scan(Keyspace::Changes, &scope, &[], &mut |suffix, value| {
            stored.push((suffix.to_vec(), value));
            true
        })?;
        // Who looks on is of no account.
        let actor = Actor::new([0; 32], [0; 4], 0);
        let none: &[Vec<u8>] = &[];
        let mut document = match Document::load(kind, actor, snapshot.as_deref(), none) {
            Ok(document) => document,
            Err(_) => {
                self.drop_record(documents::snapshot_key(self.circle, id, kind), Fault::Malformed);
                Document::new(kind, actor)
            }
        };
        for (suffix, change) in &stored {
            if inspect_change(change).is_err() {
                self.drop_record(Key::new(Keyspace::Changes, &scope, suffix), Fault::Malformed);
            }
        }
        let before = record.clone();
        let mut record = record.unwrap_or_default();
        name_bundles(&mut record, told.bundles.get(&name), &told.ids);
        let unread = record.unread.iter().filter_map(|id| EntryId::try_from(id.as_slice()).ok()).collect();
        document.apply(&self.changes_in(name, &unread, keys)?)?;
        let changes: Vec<&[u8]> = stored.iter().map(|(_, change)| change.as_slice()).collect();
        document.apply(&changes)?;
        let told_here = told.changes.get(&name).map_or(&[][..], Vec::as_slice);
        let lacking: BTreeSet<EntryId> =
            told_here.iter().filter(|(hash, _)| !document.contains(hash)).map(|(_, entry)| *entry).collect();
        let is_bundle = |entry: &EntryId| told.bundles.get(&name).is_some_and(|bundles| bundles.contains(entry));
        let (bundles, loose): (BTreeSet<_>, BTreeSet<_>) = lacking.into_iter().partition(is_bundle);
        // What a bundle has need not be filed again: it is read from there.
        if document.apply(&self.changes_in(name, &bundles, keys)?)?.changed {
            record.unread.extend(bundles.iter().map(|id| id.as_bytes().to_vec()));
        }
        let last = stored.last().and_then(|(suffix, _)| suffix.as_slice().try_into().ok());
        record.next_change = record.next_change.max(last.map_or(0, |suffix| u64::from_be_bytes(suffix) + 1));
        let found = self.changes_in(name, &loose, keys)?;
        // They may be here, and wait for others that nobody has.
        if !found.is_empty() && document.apply(&found)?.changed {
            for change in found {
                let key = Key::new(Keyspace::Changes, &scope, record.next_change.to_be_bytes());
                record.next_change += 1;
                self.put_record(key, change);
            }
        }
        let fault = if before.is_none() { Fault::Missing } else { Fault::OtherEntries };
        if before.unwrap_or_default() != record {
            let key = documents::record_key(self.circle, id, kind);
            self.report.findings.push(Finding { key: key.clone(), fault });
            self.report.repair.put(key, record.encode_to_vec());
        }
        self.report.documents += 1;
        self.report.changes += document.changes()?.len() as u64;
        self.seen += 1;
        (self.progress)(self.seen);
        Ok(())
    }

    /// The changes of one document that these entries hold, each once.
    fn changes_in(&self, name: Name, entries: &BTreeSet<EntryId>, keys: &Keys) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut found = BTreeMap::new();
        for entry in entries {
            let Some(bytes) = self.store.read(&self.key(Keyspace::Entries, entry.as_bytes()))? else { continue };
            let Ok(envelope) = Envelope::decode(bytes) else { continue };
            let opened = keys.get(&envelope.tag).and_then(|key| envelope.open(self.circle, key).ok());
            let said = opened.map(|opened| (opened.body, opened.author));
            if let Some((of, changes, _)) = said.and_then(|said| changes_of(said, self.circle, envelope.hour))
                && of == name
            {
                found.extend(changes);
            }
        }
        Ok(found.into_values().collect())
    }
}

/// Has the record of a document name the bundles of it that are here, and no others. One that it did not name may not be in its snapshot.
fn name_bundles(record: &mut local::DocumentRecord, bundles: Option<&BTreeSet<EntryId>>, entries: &BTreeSet<EntryId>) {
    let is_here = |id: &Vec<u8>| EntryId::try_from(id.as_slice()).is_ok_and(|id| entries.contains(&id));
    record.bundles.retain(is_here);
    record.unread.retain(is_here);
    for id in bundles.into_iter().flatten().map(|id| id.as_bytes().to_vec()) {
        if !record.bundles.contains(&id) {
            record.bundles.push(id.clone());
            record.unread.push(id);
        }
    }
}

impl Told {
    /// Notes what an entry says.
    fn read(&mut self, envelope: &Envelope, circle: CircleId, key: &ContentKey) {
        let Ok(opened) = envelope.open(circle, key) else { return };
        match (opened.body, opened.author) {
            (Body::Operation(bytes), _) => {
                if let Ok(operation) = Operation::decode(&bytes)
                    && operation.verify().is_ok()
                {
                    self.operations.insert(operation.id(), bytes);
                }
            }
            said => {
                let Some((name, changes, is_bundle)) = changes_of(said, circle, envelope.hour) else { return };
                self.changes.entry(name).or_default().extend(changes.keys().map(|hash| (*hash, envelope.id)));
                if is_bundle {
                    self.bundles.entry(name).or_default().insert(envelope.id);
                }
            }
        }
    }
}

/// The changes that an entry holds, of which document, and whether it is a bundle of it. Of a bundle that was refused once it did
/// not wait any more, the entry is still there.
fn changes_of(
    said: (Body, Option<DeviceId>),
    circle: CircleId,
    hour: u32,
) -> Option<(Name, BTreeMap<ChangeHash, Vec<u8>>, bool)> {
    match said {
        (Body::Changes(body), Some(author)) => {
            let named = body.changes.into_iter().filter_map(|bytes| Some((inspect_change(&bytes).ok()?, bytes)));
            let own = named.filter(|(change, _)| change.actor.belongs_to(author.as_bytes()));
            let changes = own.map(|(change, bytes)| (change.hash, bytes)).collect();
            let document = DocumentId::try_from(body.document.as_slice()).ok();
            Some((document.zip(documents::kind_of(body.kind))?, changes, false))
        }
        (Body::Bundle(body), _) => {
            let claimed = Claimed::read(&body).ok()??;
            claimed.check(circle, hour).ok()?;
            let changes = claimed.bundle.into_changes().into_iter().map(|(change, bytes)| (change.hash, bytes));
            Some((claimed.name, changes.collect(), true))
        }
        _ => None,
    }
}
