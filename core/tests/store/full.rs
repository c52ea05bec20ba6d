//! A disk that really refuses: a limit on the size of files, set in a process of its own, then lifted.
//!
//! What a full disk does inside the backends (their file grows, or a commit fails half-way) no wrapper can imitate.

use std::env;
use std::path::Path;
use std::process::Command;

use clave::{RawBatch, Store, StoreError, StoreKind, open_store};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

use crate::fixture::records;

const DIRECTORY_VARIABLE: &str = "CLAVE_TEST_FULL_DIRECTORY";
const KIND_VARIABLE: &str = "CLAVE_TEST_FULL_KIND";
const FILE_BYTES_MAX: u64 = 6 << 20;
const RECORDS_A_BATCH: u8 = 20;

#[test]
fn redb_survives_a_full_disk() {
    survives_a_full_disk(StoreKind::Redb);
}

#[test]
fn sled_survives_a_full_disk() {
    survives_a_full_disk(StoreKind::Sled);
}

fn survives_a_full_disk(kind: StoreKind) {
    let directory = TempDir::new().unwrap();
    // The limit comes with a signal that kills, unless it is ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "full::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY_VARIABLE, directory.path())
        .env(KIND_VARIABLE, kind.name())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(open_store(directory.path(), kind).unwrap().get(2, b"the child").unwrap().unwrap(), b"came to its end");
}

/// The process with the limit. Does nothing when run as a test.
#[test]
fn child() {
    let (Ok(directory), Ok(kind)) = (env::var(DIRECTORY_VARIABLE), env::var(KIND_VARIABLE)) else { return };
    let store = open_store(Path::new(&directory), kind.parse().unwrap()).unwrap();
    limit_files(Some(FILE_BYTES_MAX));
    let mut applied = 0;
    let error = loop {
        match store.apply(&[numbered(applied)]) {
            Ok(()) => applied += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::OutOfSpace);
    assert!(applied > 10, "{applied} batches fitted");
    // Opened again by now, it may have found a little room, but none for this.
    let mut too_much = RawBatch::default();
    too_much.put(1, *b"too much", vec![7; FILE_BYTES_MAX as usize]);
    assert_eq!(store.apply(&[numbered(applied), too_much]), Err(StoreError::OutOfSpace));

    limit_files(None);
    check(&*store, applied);
    store.apply(&[numbered(applied)]).unwrap();
    check(&*store, applied + 1);
    let mut end = RawBatch::default();
    end.put(2, *b"the child", *b"came to its end");
    store.apply(&[end]).unwrap();
    drop(store);
    check(&*open_store(Path::new(&directory), kind.parse().unwrap()).unwrap(), applied + 1);
}

fn limit_files(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

fn numbered(batch: u64) -> RawBatch {
    let mut raw = RawBatch::default();
    for record in 0..RECORDS_A_BATCH {
        raw.put(1, [&batch.to_be_bytes()[..], &[record]].concat(), vec![batch as u8 ^ record; 3000]);
    }
    raw
}

/// All of the first `applied` batches are there, and nothing else.
fn check(store: &dyn Store, applied: u64) {
    let expected = (0..applied).flat_map(|batch| numbered(batch).writes);
    let found = records(store, 1, b"", b"");
    assert_eq!(found.len() as u64, applied * u64::from(RECORDS_A_BATCH));
    for ((key, value), write) in found.into_iter().zip(expected) {
        assert_eq!((key, Some(value)), (write.key, write.value));
    }
}
