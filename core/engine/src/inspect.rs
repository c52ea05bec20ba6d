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
use clave_crypto::{Checkpoint, ContentKey, KeyId};
use prost::Message as _;

use crate::circle::documents;
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
    inspector.documents(&keys, &told.changes)?;
    inspector.chunks()?;
    Ok(inspector.report)
}

/// What the entries of a circle say.
#[derive(Default)]
struct Told {
    ids: BTreeSet<EntryId>,
    operations: BTreeMap<OperationId, Vec<u8>>,
    /// The changes of each document, and which entry each is in.
    changes: BTreeMap<(DocumentId, DocumentKind), Vec<(ChangeHash, EntryId)>>,
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
        // What waits has had no effect yet.
        let mut held = BTreeSet::new();
        self.store.scan_suffixes(Keyspace::Held, self.circle.as_bytes(), &[], &mut |suffix| {
            held.insert(suffix.to_vec());
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
                Some(_) if held.contains(suffix) => {}
                Some(key) => told.read(&envelope, circle, key),
                None => report.sealed_entries += 1,
            }
            Ok(())
        })?;
        Ok(told)
    }

    /// What names entries.
    fn followers(&mut self, entries: &BTreeSet<EntryId>) -> Result<(), ReadError> {
        for keyspace in [Keyspace::Held, Keyspace::Commits, Keyspace::KeyChanges] {
            self.each(keyspace, |_, suffix, _| match EntryId::try_from(suffix) {
                Ok(id) if entries.contains(&id) => Ok(()),
                Ok(_) => Err(Fault::NoEntry),
                Err(_) => Err(Fault::Malformed),
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

    fn documents(
        &mut self,
        keys: &Keys,
        told: &BTreeMap<(DocumentId, DocumentKind), Vec<(ChangeHash, EntryId)>>,
    ) -> Result<(), EngineError> {
        let mut names: BTreeMap<(DocumentId, DocumentKind), Option<local::DocumentRecord>> =
            told.keys().map(|name| (*name, None)).collect();
        self.each(Keyspace::Documents, |_, suffix, value| {
            let (kind, id) = suffix.split_last().ok_or(Fault::Malformed)?;
            let id = DocumentId::try_from(id).map_err(|_| Fault::Malformed)?;
            let kind = DocumentKind::from_number(*kind).ok_or(Fault::Malformed)?;
            let record = local::DocumentRecord::decode(value.as_slice()).map_err(|_| Fault::Malformed)?;
            names.insert((id, kind), Some(record));
            Ok(())
        })?;
        for ((id, kind), record) in names {
            let told = told.get(&(id, kind)).map_or(&[][..], Vec::as_slice);
            self.document(id, kind, record, keys, told)?;
        }
        Ok(())
    }

    /// One document: it loads, and has every change that an entry has.
    fn document(
        &mut self,
        id: DocumentId,
        kind: DocumentKind,
        record: Option<local::DocumentRecord>,
        keys: &Keys,
        told: &[(ChangeHash, EntryId)],
    ) -> Result<(), EngineError> {
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
        let changes: Vec<&[u8]> = stored.iter().map(|(_, change)| change.as_slice()).collect();
        document.apply(&changes)?;
        let lacking: BTreeSet<EntryId> =
            told.iter().filter(|(hash, _)| !document.contains(hash)).map(|(_, entry)| *entry).collect();
        let mut found = BTreeMap::new();
        for entry in lacking {
            let Some(bytes) = self.store.read(&self.key(Keyspace::Entries, entry.as_bytes()))? else { continue };
            let Ok(envelope) = Envelope::decode(bytes) else { continue };
            found.extend(changes_of((id, kind), &envelope, self.circle, keys));
        }
        let found: Vec<Vec<u8>> = found.into_values().collect();
        // They may be here, and wait for others that nobody has.
        if !found.is_empty() && document.apply(&found)?.changed {
            let last = stored.last().and_then(|(suffix, _)| suffix.as_slice().try_into().ok());
            let last = last.map_or(0, |suffix| u64::from_be_bytes(suffix) + 1);
            let mut record = record.unwrap_or_default();
            record.next_change = record.next_change.max(last);
            for change in found {
                let key = Key::new(Keyspace::Changes, &scope, record.next_change.to_be_bytes());
                record.next_change += 1;
                self.put_record(key, change);
            }
            self.report.repair.put(documents::record_key(self.circle, id, kind), record.encode_to_vec());
        } else if record.is_none() && !stored.is_empty() {
            let last = stored.last().and_then(|(suffix, _)| suffix.as_slice().try_into().ok());
            let next_change = last.map_or(0, |suffix| u64::from_be_bytes(suffix) + 1);
            let record = local::DocumentRecord { next_change, ..Default::default() };
            self.put_record(documents::record_key(self.circle, id, kind), record.encode_to_vec());
        }
        self.report.documents += 1;
        self.report.changes += document.changes()?.len() as u64;
        self.seen += 1;
        (self.progress)(self.seen);
        Ok(())
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
            (Body::Changes(body), Some(author)) => {
                let document = DocumentId::try_from(body.document.as_slice()).ok();
                let Some(name) = document.zip(documents::kind_of(body.kind)) else { return };
                let hashes = self.changes.entry(name).or_default();
                for change in body.changes.iter().filter_map(|change| inspect_change(change).ok()) {
                    if change.actor.belongs_to(author.as_bytes()) {
                        hashes.push((change.hash, envelope.id));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The changes of one document that an entry holds.
fn changes_of(
    document: (DocumentId, DocumentKind),
    envelope: &Envelope,
    circle: CircleId,
    keys: &Keys,
) -> BTreeMap<ChangeHash, Vec<u8>> {
    let opened = keys.get(&envelope.tag).and_then(|key| envelope.open(circle, key).ok());
    let Some((Body::Changes(body), Some(author))) = opened.map(|opened| (opened.body, opened.author)) else {
        return BTreeMap::new();
    };
    if DocumentId::try_from(body.document.as_slice()).ok().zip(documents::kind_of(body.kind)) != Some(document) {
        return BTreeMap::new();
    }
    let named = body.changes.into_iter().filter_map(|bytes| Some((inspect_change(&bytes).ok()?, bytes)));
    let own = named.filter(|(change, _)| change.actor.belongs_to(author.as_bytes()));
    own.map(|(change, bytes)| (change.hash, bytes)).collect()
}
