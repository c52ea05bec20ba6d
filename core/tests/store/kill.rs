//! SIGKILL at random moments: what was acknowledged is there, and no batch is half there.
//!
//! The test runs its own binary again as the process that is killed. That process writes numbered batches and prints
//! each number once the store says that it is durable.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use clave::{RawBatch, Store, StoreKind, open_store};
use tempfile::TempDir;

use crate::fixture::records;

const ROUNDS: u64 = 50;
const DIRECTORY_VARIABLE: &str = "CLAVE_TEST_KILL_DIRECTORY";
const KIND_VARIABLE: &str = "CLAVE_TEST_KILL_KIND";

/// The records of batch `n`, in a table of their own, beside the counter that every batch overwrites.
const BATCHES: u8 = 1;
const COUNTER: u8 = 2;
const RECORDS_A_BATCH: u8 = 12;
/// Each batch removes the records of the batch this much before it.
const KEPT: u64 = 100;

#[test]
fn redb_keeps_what_it_acknowledged() {
    survives_kills(StoreKind::Redb);
}

#[test]
fn sled_keeps_what_it_acknowledged() {
    survives_kills(StoreKind::Sled);
}

/// The process that is killed. Does nothing when run as a test.
#[test]
fn child() {
    let (Ok(directory), Ok(kind)) = (env::var(DIRECTORY_VARIABLE), env::var(KIND_VARIABLE)) else { return };
    let store = open_store(Path::new(&directory), kind.parse().unwrap()).unwrap();
    let mut next = last_batch(&*store) + 1;
    loop {
        // One to three batches a commit.
        let batches: Vec<RawBatch> = (next..=next + next % 3).map(numbered).collect();
        store.apply(&batches).unwrap();
        next += batches.len() as u64;
        let mut out = std::io::stdout();
        writeln!(out, "ACK {}", next - 1).unwrap();
        out.flush().unwrap();
    }
}

fn value(batch: u64, record: u8) -> Vec<u8> {
    // Small ones, and some that take several pages.
    let bytes = if (batch + u64::from(record)).is_multiple_of(7) { 20_000 } else { 300 };
    (0..bytes).map(|index| (batch as usize * 31 + usize::from(record) * 7 + index) as u8).collect()
}

fn record_key(batch: u64, record: u8) -> Vec<u8> {
    [&batch.to_be_bytes()[..], &[record]].concat()
}

fn numbered(batch: u64) -> RawBatch {
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

fn last_batch(store: &dyn Store) -> u64 {
    store.get(COUNTER, b"last").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

fn survives_kills(kind: StoreKind) {
    let directory = TempDir::new().unwrap();
    let mut random = 0x5eed_u64;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let acknowledgements = 1 + (random >> 33) as usize % 24;
        let seen = run_and_kill(directory.path(), kind, acknowledgements);
        assert!(seen > acknowledged, "round {round}: the child went on from {acknowledged} and reached {seen}");
        acknowledged = seen;
        check(&*open_store(directory.path(), kind).unwrap(), acknowledged, round);
    }
}

/// Starts the child, kills it after so many acknowledgements, and returns the last number it acknowledged.
fn run_and_kill(directory: &Path, kind: StoreKind, acknowledgements: usize) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY_VARIABLE, directory)
        .env(KIND_VARIABLE, kind.name())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The harness's own words stand before the first acknowledgement.
    let number = |line: String| line.split_once("ACK ").map(|(_, number)| number.parse::<u64>().unwrap());
    let mut last = 0;
    for _ in 0..acknowledgements {
        last = lines.by_ref().find_map(|line| number(line.unwrap())).expect("the child goes on until it is killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts, too.
    lines.filter_map(|line| number(line.unwrap())).last().unwrap_or(last)
}

fn check(store: &dyn Store, acknowledged: u64, round: u64) {
    let last = last_batch(store);
    assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, {last} is there");
    let first = last.saturating_sub(KEPT - 1).max(1);
    let mut expected = (first..=last).flat_map(|batch| (0..RECORDS_A_BATCH).map(move |record| (batch, record)));
    for (key, found) in records(store, BATCHES, b"", b"") {
        let (batch, record) = expected.next().expect("no record of a batch that was removed, or is half there");
        assert_eq!(key, record_key(batch, record), "round {round}");
        assert_eq!(found, value(batch, record), "round {round}, batch {batch}, record {record}");
    }
    assert_eq!(expected.next(), None, "round {round}: records are missing");
}
