//! Durable writes, beside the least that durability costs: appending to a file, then `fdatasync`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clave::{RawBatch, Store, StoreKind, open_store};
use serde_json::Value;

use crate::Scale;
use crate::harness::{Group, timed};

const RECORD_BYTES: usize = 300;
const ROOM: &str = "the disk has room and takes writes";

/// Keys that fall anywhere in the table, as hidden names do.
fn key(counter: &mut u64) -> [u8; 16] {
    *counter += 1;
    let half = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    [half, counter.to_be_bytes()].concat().try_into().expect("twice eight bytes")
}

fn write(store: &Arc<dyn Store>, records: u32, counter: &mut u64) {
    let mut batch = RawBatch::default();
    for _ in 0..records {
        batch.put(1, key(counter), vec![7; RECORD_BYTES]);
    }
    store.apply(&[batch]).expect(ROOM);
}

pub fn groups(scale: Scale, data: &Path) -> Vec<Value> {
    [1, 100].map(|records| durable_writes(records, scale, data)).into()
}

fn durable_writes(records: u32, scale: Scale, data: &Path) -> Value {
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let open = |kind: StoreKind| open_store(&folder.path().join(kind.name()), kind).expect(ROOM);
    let (redb, sled) = (open(StoreKind::Redb), open(StoreKind::Sled));
    let mut log = File::create(folder.path().join("log")).expect(ROOM);
    let (mut redb_counter, mut sled_counter) = (0, 0);
    let append = || {
        for _ in 0..records {
            log.write_all(&[7; RECORD_BYTES + 16]).expect(ROOM);
        }
        log.sync_data().expect(ROOM);
    };
    Group::new(format!("durable write of {records} × {RECORD_BYTES} bytes"), 1, "write")
        .with("append and fdatasync", timed(append))
        .with("redb", timed(|| write(&redb, records, &mut redb_counter)))
        .with("sled, flushed and fsynced", timed(|| write(&sled, records, &mut sled_counter)))
        .measure(scale.rounds)
}
