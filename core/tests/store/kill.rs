//! SIGKILL at random moments: what was acknowledged is there, and no batch is half there.
//!
//! The test runs its own binary again as the process that is killed. That process writes numbered batches and prints
//! each number once the store says that it is durable.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use clave::{StoreKind, open_store};
use tempfile::TempDir;

use crate::workload::{check, commit_from, last_batch};

const ROUNDS: u64 = 50;
const DIRECTORY_VARIABLE: &str = "CLAVE_TEST_KILL_DIRECTORY";
const KIND_VARIABLE: &str = "CLAVE_TEST_KILL_KIND";

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
    let mut next = last_batch(&*store).unwrap() + 1;
    loop {
        let batches = commit_from(next);
        store.apply(&batches).unwrap();
        next += batches.len() as u64;
        let mut out = std::io::stdout();
        writeln!(out, "ACK {}", next - 1).unwrap();
        out.flush().unwrap();
    }
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
        if let Err(wrong) = check(&*open_store(directory.path(), kind).unwrap(), acknowledged) {
            panic!("round {round}: {wrong}");
        }
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
