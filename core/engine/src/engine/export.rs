//! What goes into the export of an account, read piece by piece while the engine goes on with its work.
//!
//! Between two pieces anything may happen, so the order matters: entries come first, then what they led to, so that all
//! effects of such an entry are in the export. Entries that came meanwhile are last, as such that still wait to be judged: so no
//! change is in a document whose entry is nowhere, as it would be if this device alone had it, and none is without effect.

use zeroize::Zeroizing;

use super::*;
use crate::account::{AccountHead, AccountRecord};
use crate::entry::Envelope;

/// Bytes of one piece, as far as whole records allow.
const PIECE_BYTES: usize = 1024 * 1024;

/// An export that is under way.
pub struct AccountExport {
    steps: VecDeque<Step>,
    /// The entries of the circle at hand that are in.
    entries: BTreeSet<Vec<u8>>,
    /// The person's: a recovery phrase that is not their first does not lead to it.
    pub(crate) person_seed: Zeroizing<[u8; 32]>,
}

#[cfg(test)]
impl AccountExport {
    /// One with nothing in it, of a person.
    pub(crate) fn empty(person: &clave_crypto::PersonKey) -> Self {
        Self { steps: VecDeque::new(), entries: BTreeSet::new(), person_seed: person.seed().clone() }
    }
}

enum Step {
    /// That this device is in a circle.
    Circle(CircleId),
    /// The records of a scope, from a suffix on.
    Records(Keyspace, Vec<u8>, Vec<u8>),
    /// Where a circle stands.
    Standing(CircleId),
    /// Looks up which documents there are.
    Documents(CircleId),
    /// One document, with all that belongs together.
    Document(CircleId, Vec<u8>),
    /// Looks up who may have written.
    Authors(CircleId),
    /// What came while all that was read.
    LateEntries(CircleId),
}

impl Engine {
    /// Begins an export of this device's account; `with_files` with the chunks of files that are here.
    ///
    /// # Errors
    /// If the device belongs to nobody yet.
    pub fn begin_export(&self, with_files: bool, now_ms: u64) -> Result<(AccountHead, AccountExport), EngineError> {
        let head = AccountHead {
            person: self.identity.person().ok_or(EngineError::NotLinked)?,
            person_name: self.identity.person_name().to_owned(),
            device: self.identity.device(),
            device_name: self.identity.device_name().to_owned(),
            made_ms: now_ms,
            with_files,
        };
        let person_seed = self.identity.person_seed().ok_or(EngineError::NotLinked)?.clone();
        let mut steps = VecDeque::new();
        for id in self.circles.keys() {
            let all = |keyspace| Step::Records(keyspace, id.as_bytes().to_vec(), Vec::new());
            steps.extend([
                Step::Circle(*id),
                all(Keyspace::Entries),
                all(Keyspace::Held),
                all(Keyspace::Carried),
                all(Keyspace::ContentKeys),
                all(Keyspace::Operations),
                all(Keyspace::KeyChanges),
                Step::Standing(*id),
                Step::Documents(*id),
                Step::Authors(*id),
            ]);
            if with_files {
                steps.push_back(all(Keyspace::Chunks));
            }
            steps.push_back(Step::LateEntries(*id));
        }
        steps.extend(
            [Keyspace::Addresses, Keyspace::Marks, Keyspace::Reads]
                .map(|keyspace| Step::Records(keyspace, vec![], vec![])),
        );
        Ok((head, AccountExport { steps, entries: BTreeSet::new(), person_seed }))
    }

    /// The next piece of an export; none when that was all.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn export_more(&self, export: &mut AccountExport) -> Result<Option<Vec<AccountRecord>>, EngineError> {
        while let Some(step) = export.steps.pop_front() {
            let records = self.export_step(step, export)?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
        Ok(None)
    }

    fn export_step(&self, step: Step, export: &mut AccountExport) -> Result<Vec<AccountRecord>, EngineError> {
        let store = &self.desk.store;
        let records = match step {
            Step::LateEntries(id) => self.late_entries(id, &std::mem::take(&mut export.entries))?,
            Step::Circle(id) => vec![(Key::new(Keyspace::Circles, [], id.as_bytes()), Vec::new())],
            Step::Records(keyspace, scope, from) => {
                let (records, next) = store.page(keyspace, &scope, &from, PIECE_BYTES)?;
                if keyspace == Keyspace::Entries {
                    export.entries.extend(records.keys().cloned());
                }
                let named = |(suffix, value)| (Key::new(keyspace, &scope, suffix), value);
                let records = records.into_iter().map(named).collect();
                if let Some(next) = next {
                    export.steps.push_front(Step::Records(keyspace, scope, next));
                }
                records
            }
            Step::Standing(id) => match self.circles.get(&id) {
                Some(circle) => circle.stand_for_export(&self.desk)?,
                None => Vec::new(),
            },
            Step::Documents(id) => {
                for suffix in store.all(Keyspace::Documents, id.as_bytes())?.into_keys().rev() {
                    export.steps.push_front(Step::Document(id, suffix));
                }
                Vec::new()
            }
            Step::Document(id, suffix) => {
                let scope = [id.as_bytes().as_slice(), &suffix].concat();
                let mut records = Vec::new();
                for key in
                    [Key::new(Keyspace::Documents, id.as_bytes(), suffix), Key::new(Keyspace::Snapshots, &scope, [])]
                {
                    let value = store.read(&key)?;
                    records.extend(value.map(|value| (key, value)));
                }
                let changes = store.all(Keyspace::Changes, &scope)?;
                records.extend(
                    changes.into_iter().map(|(suffix, value)| (Key::new(Keyspace::Changes, &scope, suffix), value)),
                );
                records
            }
            Step::Authors(id) => {
                let devices = self.circles.get(&id).into_iter().flat_map(|circle| circle.log.membership().stays.keys());
                for device in devices {
                    let scope = [id.as_bytes().as_slice(), &device.as_bytes()[..16]].concat();
                    export.steps.push_front(Step::Records(Keyspace::Authors, scope, Vec::new()));
                }
                Vec::new()
            }
        };
        Ok(records)
    }

    /// The entries that are not among `known`, each as one that waits, with its key.
    fn late_entries(&self, id: CircleId, known: &BTreeSet<Vec<u8>>) -> Result<Vec<AccountRecord>, EngineError> {
        let (store, scope) = (&self.desk.store, id.as_bytes());
        let mut records = Vec::new();
        for suffix in store.suffixes(Keyspace::Entries, scope)? {
            let key = Key::new(Keyspace::Entries, scope, &suffix);
            if known.contains(&suffix) {
                continue;
            }
            let Some(bytes) = store.read(&key)? else { continue };
            let tag = Envelope::decode(bytes.clone()).map_err(|_| EngineError::Damaged)?.tag;
            let sealed_with = Key::new(Keyspace::ContentKeys, scope, tag.as_bytes());
            records.extend(store.read(&sealed_with)?.map(|record| (sealed_with, record)));
            records.push((key, bytes));
            records.push((Key::new(Keyspace::Held, scope, &suffix), tag.as_bytes().to_vec()));
        }
        Ok(records)
    }
}
