//! From the format of an earlier version to this one's, a function for each step.
//!
//! A step reads and writes records through the sealed store, and may be begun anew at any point: what it wrote before a crash it
//! writes again. The version record is rewritten behind each step, so that one that is done is not done again. No step takes
//! away what the version before it would miss before the record says that this version was here.

use super::{SealedStore, StoreError};

/// Brings the records of one format to the next.
pub(super) type Step = fn(&SealedStore) -> Result<(), StoreError>;

/// The steps: the first leads from format 1 to format 2, and so on. A new format adds one here, a chapter to
/// `docs/storage-format.md`, and a fixture database of the format before it to `core/tests/fixtures`.
pub(super) const STEPS: &[Step] = &[derived_records];

/// Format 2 has records that follow from others (the index of entries, views, the search index) and files' chunks beside the
/// database. Opening makes what is missing; this only keeps versions away that would leave them behind.
fn derived_records(_: &SealedStore) -> Result<(), StoreError> {
    Ok(())
}

/// Takes every step from the format `found` on; `record` is told each format that is reached.
pub(super) fn migrate(
    store: &SealedStore,
    found: u32,
    steps: &[Step],
    mut record: impl FnMut(u32) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (format, step) in (1..).zip(steps) {
        if format >= found {
            step(store)?;
            record(format + 1)?;
            tracing::info!(format = format + 1, "the store was brought to another format");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clave_engine::crypto::{Entropy, VaultKey};
    use clave_engine::{Batch, Key, Keyspace, StoreRead as _};

    use super::*;
    use crate::{FailingStore, Fault, MemoryStore};

    fn key() -> Key {
        Key::new(Keyspace::Meta, "", "steps")
    }

    fn note(store: &SealedStore, step: u8) -> Result<(), StoreError> {
        let mut steps = store.read(&key()).unwrap().unwrap_or_default();
        steps.push(step);
        let mut batch = Batch::default();
        batch.put(key(), steps);
        store.write(vec![batch])
    }

    #[test]
    fn steps_are_taken_in_order_once_and_after_a_failure_from_there() {
        let steps: [Step; 3] = [|store| note(store, 1), |store| note(store, 2), |store| note(store, 3)];
        let failing = Arc::new(FailingStore::new(Arc::new(MemoryStore::new())));
        let mut entropy = Entropy::from_seed([1; 32]);
        let vault = VaultKey::generate(&mut entropy);
        let store = SealedStore::new(failing.clone(), vault, entropy);
        let mut format = 2;
        failing.fail_after(1, Fault::OutOfSpace);
        let migrated = migrate(&store, format, &steps, |reached| {
            format = reached;
            Ok(())
        });
        assert_eq!((migrated, format), (Err(StoreError::OutOfSpace), 3));
        failing.mend();
        let from = format;
        migrate(&store, from, &steps, |reached| {
            format = reached;
            Ok(())
        })
        .unwrap();
        assert_eq!((format, store.read(&key()).unwrap().unwrap()), (4, vec![2, 3]));
        migrate(&store, format, &steps, |_| panic!("there is nothing to do")).unwrap();
    }
}
