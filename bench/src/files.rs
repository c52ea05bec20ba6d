//! Files between two devices on loopback: whole nodes, libp2p, redb, everything durable where it arrives; beside what
//! libp2p alone can do.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use clave::{Event, Node};
use clave_engine::crypto::Entropy;
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::Spread;

pub mod child;
mod raw;

use child::Serving;

const ROOM: &str = "the disk has room and takes writes";

/// What one transfer took, in seconds, and how much memory over idle, in bytes.
struct Transfer {
    add: f64,
    fetch: f64,
    whole: f64,
    source_bytes: u64,
    sink_bytes: u64,
}

/// A file of a gibibyte, beside one stream of libp2p.
pub fn large(scale: Scale, data: &Path) -> Vec<Value> {
    one_file("a file of 1 GiB", u64::from(scale.of(1024, 16)) << 20, scale, data)
}

fn one_file(name: &str, bytes: u64, scale: Scale, data: &Path) -> Vec<Value> {
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let source = folder.path().join("source");
    write_random(&source, bytes, 1);
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds.min(5) {
        let mut serving = Serving::start(&["raw", &bytes.to_string()]);
        let address = serving.line();
        raw.push(runtime.block_on(raw::fetch(&address, bytes)).as_secs_f64());
        drop(serving);
        ours.push(runtime.block_on(transfer(folder.path(), &source)));
    }
    let rows = [
        ("libp2p, one stream, from memory", raw.clone()),
        ("fetched and durable", ours.iter().map(|t| t.fetch).collect()),
        ("and written out as a file", ours.iter().map(|t| t.whole).collect()),
        ("added at the source", ours.iter().map(|t| t.add).collect()),
    ];
    let results = print_rates(name, bytes, &rows);
    let memory = |of: fn(&Transfer) -> u64| Spread::of(ours.iter().map(|t| of(t) as f64).collect());
    let (source, sink) = (memory(|t| t.source_bytes), memory(|t| t.sink_bytes));
    let mib = f64::from(1 << 20);
    println!("  memory over idle: {:.0} MiB where it comes from, {:.0} MiB where it goes to", source.median / mib, sink.median / mib);
    vec![json!({ "name": name, "results": results, "source_memory_bytes": source.json(), "sink_memory_bytes": sink.json() })]
}

/// Prints bytes a second, and the ratio of each rate to the first, round by round.
fn print_rates(name: &str, bytes: u64, rows: &[(&str, Vec<f64>)]) -> Vec<Value> {
    println!("\n{name}");
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    rows.iter()
        .map(|(row, seconds)| {
            let rates = Spread::of(seconds.iter().map(|s| rate(*s)).collect());
            let ratio = Spread::of(seconds.iter().zip(&rows[0].1).map(|(own, first)| first / own).collect());
            println!(
                "  {row:34} {:>7.0} MB/s  ({:.0} to {:.0})   ×{:.2} ({:.2} to {:.2})",
                rates.median, rates.low, rates.high, ratio.median, ratio.low, ratio.high
            );
            json!({ "contestant": row, "megabytes_a_second": rates.json(), "ratio_to_first": ratio.json() })
        })
        .collect()
}

async fn transfer(folder: &Path, source: &Path) -> Transfer {
    let place = tempfile::tempdir_in(folder).expect(ROOM);
    let at = |name: &str| place.path().join(name);
    let mut serving = Serving::start(&["node", at("alice").to_str().expect("UTF-8"), source.to_str().expect("UTF-8")]);
    let add = serving.line().parse().expect("seconds");
    let link = serving.line().parse().expect("a link");
    let node = Node::create(child::config(&at("bob")), "小波", "phone").await.expect("an empty directory");
    let space = node.join(&link, std::time::Duration::from_secs(60)).await.expect("the link is good");
    let drive = space.drive();
    let mut events = node.events();
    let file = loop {
        if let Some(file) = drive.tree().await.expect("it runs").files().next().map(|file| file.id) {
            break file;
        }
        let _ = events.recv().await;
    };
    let (own, other) = (Memory::start(std::process::id()), Memory::start(serving.id()));
    let mut events = node.events();
    let started = Instant::now();
    let fetched = tokio::spawn(async move {
        loop {
            if let Ok(Event::Fetched { .. }) = events.recv().await {
                return started.elapsed().as_secs_f64();
            }
        }
    });
    drive.get(file, &at("copy"), |_| {}).await.expect("Alice has it");
    let whole = started.elapsed().as_secs_f64();
    let fetch = fetched.await.expect("it ended");
    let (sink_bytes, source_bytes) = (own.grown_bytes(), other.grown_bytes());
    node.shutdown().await;
    Transfer { add, fetch, whole, source_bytes, sink_bytes }
}

/// How the resident memory of a process grows.
struct Memory {
    process: u32,
    idle_bytes: u64,
}

impl Memory {
    fn start(process: u32) -> Self {
        // Forgets the highest so far; where that may not be done, what is printed is too high.
        let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
        Self { process, idle_bytes: status_bytes(process, "VmRSS:") }
    }

    fn grown_bytes(&self) -> u64 {
        status_bytes(self.process, "VmHWM:").saturating_sub(self.idle_bytes)
    }
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

fn write_random(path: &Path, bytes: u64, seed: u8) {
    let mut file = File::create(path).expect(ROOM);
    let mut entropy = Entropy::from_seed([seed; 32]);
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        entropy.fill(&mut buffer);
        let now = left.min(buffer.len() as u64);
        file.write_all(&buffer[..now as usize]).expect(ROOM);
        left -= now;
    }
    file.sync_all().expect(ROOM);
}
