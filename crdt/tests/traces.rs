//! Real editing sessions, replayed: each person on a document of their own, changes exchanged as they once were.
//!
//! `CLAVE_TRACES` names the folder with `friendsforever.json.gz` and `clownschool.json.gz` (josephg/editing-traces,
//! "concurrent"). Without it the real ones are left out, which the test says, and only the small trace of our own in
//! `fixtures/` is checked.
#![expect(clippy::disallowed_methods, reason = "real traces lie outside the repository, and are timed")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clave_crdt::{Actor, Document, DocumentKind};
use flate2::read::GzDecoder;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    agent: usize,
    parents: Vec<usize>,
    patches: Vec<(usize, usize, String)>,
}

impl Trace {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut json = String::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            GzDecoder::new(bytes.as_slice()).read_to_string(&mut json).unwrap();
        } else {
            json = String::from_utf8(bytes).unwrap();
        }
        serde_json::from_str(&json).unwrap()
    }

    /// The transactions that somebody else's transaction was written upon: a burst must end there.
    fn seen_by_others(&self) -> BTreeSet<usize> {
        let parents = self.txns.iter().flat_map(|txn| txn.parents.iter().map(move |parent| (*parent, txn.agent)));
        parents.filter(|(parent, agent)| self.txns[*parent].agent != *agent).map(|(parent, _)| parent).collect()
    }
}

/// One person's device.
struct Device {
    document: Document,
    /// Which bursts, by their places in the list of all, it has applied or written.
    has: BTreeSet<usize>,
}

struct Burst {
    change: Vec<u8>,
    /// The bursts that it was written upon, directly.
    parents: BTreeSet<usize>,
}

/// Replays a trace; how many changes it took. Panics unless everybody ends with what the trace says.
fn replay(trace: &Trace) -> usize {
    let ends = trace.seen_by_others();
    let mut bursts: Vec<Burst> = Vec::new();
    let mut burst_of: BTreeMap<usize, usize> = BTreeMap::new();
    let agents: BTreeSet<usize> = trace.txns.iter().map(|txn| txn.agent).collect();
    let mut devices: BTreeMap<usize, Device> = agents
        .into_iter()
        .map(|agent| {
            let actor = Actor::new([u8::try_from(agent + 1).unwrap(); 32], [0; 4], 0);
            (agent, Device { document: Document::new(DocumentKind::Note, actor), has: BTreeSet::new() })
        })
        .collect();
    // The transactions of each agent's burst that is not committed yet, and what it was written upon.
    let mut open: BTreeMap<usize, (Vec<usize>, BTreeSet<usize>)> = BTreeMap::new();
    for (index, txn) in trace.txns.iter().enumerate() {
        let device = devices.get_mut(&txn.agent).unwrap();
        let foreign: Vec<usize> = txn.parents.iter().copied().filter(|p| trace.txns[*p].agent != txn.agent).collect();
        let wanted: BTreeSet<usize> = foreign.iter().map(|parent| burst_of[parent]).collect();
        if !wanted.is_subset(&device.has) {
            commit(device, open.remove(&txn.agent), &mut bursts, &mut burst_of);
            fetch(device, &wanted, &bursts);
        }
        let (txns, _) = open.entry(txn.agent).or_insert_with(|| (Vec::new(), device.has.clone()));
        txns.push(index);
        let patches: Vec<_> = txn.patches.iter().map(|(at, del, ins)| (*at, *del, ins.as_str())).collect();
        device.document.note().unwrap().splice_many(&patches).unwrap();
        if ends.contains(&index) {
            commit(device, open.remove(&txn.agent), &mut bursts, &mut burst_of);
        }
    }
    for (agent, device) in &mut devices {
        commit(device, open.remove(agent), &mut bursts, &mut burst_of);
    }
    let all = (0..bursts.len()).collect();
    let mut heads = BTreeSet::new();
    for device in devices.values_mut() {
        fetch(device, &all, &bursts);
        // Not `assert_eq!`: two texts of 20,000 characters are no help in a log.
        assert!(device.document.note().unwrap().text().unwrap() == trace.end_content, "another text at the end");
        heads.insert(device.document.heads());
    }
    assert_eq!(heads.len(), 1, "everybody has the same heads");
    bursts.len()
}

fn commit(
    device: &mut Device,
    burst: Option<(Vec<usize>, BTreeSet<usize>)>,
    bursts: &mut Vec<Burst>,
    burst_of: &mut BTreeMap<usize, usize>,
) {
    let Some((txns, parents)) = burst else { return };
    let number = bursts.len();
    burst_of.extend(txns.into_iter().map(|txn| (txn, number)));
    // A burst whose edits came to nothing has no change, and nothing to wait for.
    let change = device.document.commit(0).unwrap_or_default();
    bursts.push(Burst { change, parents });
    device.has.insert(number);
}

/// Brings a device what it wants with all that it was written upon, in one call.
fn fetch(device: &mut Device, wanted: &BTreeSet<usize>, bursts: &[Burst]) {
    let mut missing = BTreeSet::new();
    let mut look: Vec<usize> = wanted.iter().copied().collect();
    while let Some(number) = look.pop() {
        if !device.has.contains(&number) && missing.insert(number) {
            look.extend(&bursts[number].parents);
        }
    }
    let changes: Vec<&[u8]> = missing.iter().map(|n| bursts[*n].change.as_slice()).filter(|c| !c.is_empty()).collect();
    let applied = device.document.apply(&changes).unwrap();
    assert_eq!((applied.missing, applied.refused), (0, vec![]));
    device.has.extend(missing);
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/three-writers.json")
}

#[test]
fn a_small_trace_ends_as_written() {
    assert!(replay(&Trace::read(&own())) > 5);
}

#[test]
fn recorded_sessions_end_as_recorded() {
    let Some(folder) = std::env::var_os("CLAVE_TRACES").map(PathBuf::from) else {
        eprintln!("CLAVE_TRACES is not set: friendsforever and clownschool are left out");
        assert!(replay(&Trace::read(&own())) > 5);
        return;
    };
    for name in ["friendsforever.json.gz", "clownschool.json.gz"] {
        let trace = Trace::read(&folder.join(name));
        let start = Instant::now();
        let changes = replay(&trace);
        eprintln!("{name}: {} transactions in {changes} changes, {:?}", trace.txns.len(), start.elapsed());
    }
}
