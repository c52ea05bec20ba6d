//! Numbered batches whose records follow from their number, so that a reader can tell what is missing from what is half
//! there: what `kill.rs` and `examples/power_cut.rs` write.

use clave::{RawBatch, Store};

/// The records of batch `n`, in a table of their own, beside the counter that every batch overwrites.
pub(crate) const BATCHES: u8 = 1;
const COUNTER: u8 = 2;
const RECORDS_A_BATCH: u8 = 12;
/// Each batch removes the records of the batch this much before it.
const KEPT: u64 = 100;

fn value(batch: u64, record: u8) -> Vec<u8> {
    // Small ones, and some that take several pages.
    let bytes = if (batch + u64::from(record)).is_multiple_of(7) { 20_000 } else { 300 };
    (0..bytes).map(|index| (batch as usize * 31 + usize::from(record) * 7 + index) as u8).collect()
}

fn record_key(batch: u64, record: u8) -> Vec<u8> {
    [&batch.to_be_bytes()[..], &[record]].concat()
}

/// The batch of a number, from 1.
pub(crate) fn numbered(batch: u64) -> RawBatch {
    let mut raw = RawBatch::default();
    raw.put(COUNTER, *b"last", batch.to_be_bytes());
    for record in 0..RECORDS_A_BATCH {
        raw.put(BATCHES, record_key(batch, record), value(batch, record));
        if let Some(old) = batch.checked_sub(KEPT) {
            raw.remove(BATCHES, record_key(old, record));
        }
    }
    raw
}

/// The batches of the commit that begins with `first`: one to three.
pub(crate) fn commit_from(first: u64) -> Vec<RawBatch> {
    (first..=first + first % 3).map(numbered).collect()
}

/// The number of the last batch that a store has; 0 if none.
///
/// # Errors
/// What is wrong with the store.
pub(crate) fn last_batch(store: &dyn Store) -> Result<u64, String> {
    match store.get(COUNTER, b"last").map_err(|error| error.to_string())? {
        None => Ok(0),
        Some(bytes) => Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| "the counter is damaged".to_owned())?)),
    }
}

/// Whether a store has all batches up to `acknowledged` at least, and each one whole. The number of the last.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(store: &dyn Store, acknowledged: u64) -> Result<u64, String> {
    let last = last_batch(store)?;
    if last < acknowledged {
        return Err(format!("{acknowledged} was acknowledged, {last} is there"));
    }
    let first = last.saturating_sub(KEPT - 1).max(1);
    let mut expected = (first..=last).flat_map(|batch| (0..RECORDS_A_BATCH).map(move |record| (batch, record)));
    let mut wrong = None;
    let scanned = store.scan(BATCHES, b"", b"", &mut |key, found| {
        wrong = match expected.next() {
            Some((batch, record)) if key == record_key(batch, record) && found == value(batch, record) => None,
            Some((batch, record)) => Some(format!("batch {batch}, record {record} is not there as it was written")),
            None => Some("a batch that was removed, or is half there".to_owned()),
        };
        wrong.is_none()
    });
    scanned.map_err(|error| error.to_string())?;
    match (wrong, expected.next()) {
        (Some(wrong), _) => Err(wrong),
        (None, Some((batch, record))) => Err(format!("batch {batch} is not whole: record {record} is missing")),
        (None, None) => Ok(last),
    }
}
