//! Files between two devices on loopback: whole nodes, libp2p, redb, everything durable where it arrives; beside what
//! libp2p alone can do.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use clave::Node;
use clave_engine::crypto::Entropy;
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::Spread;

pub mod child;
mod iroh;
mod raw;
mod syncthing;

use child::Serving;

const ROOM: &str = "the disk has room and takes writes";

/// What one transfer took, in seconds, and how much memory over idle, in bytes.
struct Transfer {
    /// Sealing and naming it where it comes from.
    add: f64,
    /// Until it was durable where it goes to.
    fetch: f64,
    /// Writing it out there, on another device of the same kind, while it is fetched.
    whole: f64,
    /// Of both processes, while it was fetched.
    processor: f64,
    source_bytes: u64,
    sink_bytes: u64,
}

/// A file of a gibibyte, beside one stream of libp2p.
pub fn large(scale: Scale, data: &Path) -> Vec<Value> {
    let bytes = u64::from(scale.of(1024, 16)) << 20;
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect(ROOM);
    write_random(&source.join("file"), bytes, 1);
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
    let (mut raw, mut raw_processor, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds.min(5) {
        let mut serving = Serving::start(&["raw", &bytes.to_string()]);
        let address = serving.line();
        let before = processor_seconds(serving.id());
        raw.push(runtime.block_on(raw::fetch(&address, bytes)).as_secs_f64());
        raw_processor.push(processor_seconds(serving.id()) - before);
        drop(serving);
        ours.push(runtime.block_on(transfer(folder.path(), &source)));
    }
    let rows = [
        ("libp2p, one stream, from memory", raw),
        ("fetched and durable", ours.iter().map(|t| t.fetch).collect()),
        ("written out as a file meanwhile", ours.iter().map(|t| t.whole).collect()),
        ("added at the source", ours.iter().map(|t| t.add).collect()),
    ];
    let name = format!("a file of {} MiB", bytes >> 20);
    let results = print_rates(&name, bytes as f64 / 1e6, "MB", &rows);
    let rows =
        [("libp2p, one stream", raw_processor), ("fetched and durable", ours.iter().map(|t| t.processor).collect())];
    let processor = print_rates("  the same, by the processor time of both sides", bytes as f64 / 1e6, "MB", &rows);
    let memory = |of: fn(&Transfer) -> u64| Spread::of(ours.iter().map(|t| of(t) as f64).collect());
    let (source, sink) = (memory(|t| t.source_bytes), memory(|t| t.sink_bytes));
    let mib = f64::from(1 << 20);
    println!(
        "  memory over idle: {:.0} MiB where it comes from, {:.0} MiB where it goes to",
        source.high / mib,
        sink.high / mib
    );
    vec![json!({
        "name": name, "results": results, "processor": processor,
        "source_memory_bytes": source.json(), "sink_memory_bytes": sink.json(),
    })]
}

/// A file of 256 MiB, beside syncthing and iroh-blobs.
pub fn middle(scale: Scale, data: &Path) -> Vec<Value> {
    let bytes = u64::from(scale.of(256, 8)) << 20;
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect(ROOM);
    write_random(&source.join("file"), bytes, 2);
    beside_others(&format!("a file of {} MiB", bytes >> 20), bytes as f64 / 1e6, "MB", scale, folder.path())
}

/// 5,000 files of 4 kB, beside syncthing and iroh-blobs.
pub fn small(scale: Scale, data: &Path) -> Vec<Value> {
    let files = scale.of(5_000, 200);
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect(ROOM);
    let mut entropy = Entropy::from_seed([3; 32]);
    let mut content = vec![0; 4_000];
    for number in 0..files {
        entropy.fill(&mut content);
        std::fs::write(source.join(format!("文件 {number}.md")), &content).expect(ROOM);
    }
    beside_others(&format!("{files} files of 4 kB"), f64::from(files), "files", scale, folder.path())
}

/// What lies in `source` in that folder, from a device that has it to one that has nothing, until it is written out there.
fn beside_others(name: &str, amount: f64, unit: &str, scale: Scale, folder: &Path) -> Vec<Value> {
    let source = folder.join("source");
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
    let version = syncthing::version();
    if version.is_none() {
        println!("SKIPPED: {name}: syncthing, which is not installed (scripts/install-syncthing.sh does)");
    }
    let (mut theirs, mut iroh, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds.min(5) {
        let place = tempfile::tempdir_in(folder).expect(ROOM);
        iroh.push(runtime.block_on(iroh::transfer(&source, place.path())));
        drop(place);
        if version.is_some() {
            let place = tempfile::tempdir_in(folder).expect(ROOM);
            theirs.push(syncthing::transfer(&source, place.path()).as_secs_f64());
        }
        ours.push(runtime.block_on(transfer(folder, &source)));
    }
    let mut rows = vec![
        ("clave, written out", ours.iter().map(|t| t.whole).collect()),
        ("clave, fetched and durable", ours.iter().map(|t| t.fetch).collect()),
        ("clave, added at the source", ours.iter().map(|t| t.add).collect()),
        ("iroh-blobs, fetched, not flushed", iroh.iter().map(|(fetched, _)| fetched.as_secs_f64()).collect()),
        ("iroh-blobs, written out", iroh.iter().map(|(_, whole)| whole.as_secs_f64()).collect()),
    ];
    if version.is_some() {
        rows.insert(0, ("syncthing, written out", theirs));
    }
    let results = print_rates(name, amount, unit, &rows);
    vec![json!({ "name": name, "syncthing": version, "results": results })]
}

/// Prints how much a second, and the ratio of each rate to the first, round by round.
fn print_rates(name: &str, amount: f64, unit: &str, rows: &[(&str, Vec<f64>)]) -> Vec<Value> {
    println!("\n{name}");
    rows.iter()
        .map(|(row, seconds)| {
            let rates = Spread::of(seconds.iter().map(|s| amount / s).collect());
            let ratio = Spread::of(seconds.iter().zip(&rows[0].1).map(|(own, first)| first / own).collect());
            println!(
                "  {row:34} {:>7.0} {unit}/s  ({:.0} to {:.0})   ×{:.2} ({:.2} to {:.2})",
                rates.median, rates.low, rates.high, ratio.median, ratio.low, ratio.high
            );
            json!({ "contestant": row, "unit": unit, "a_second": rates.json(), "ratio_to_first": ratio.json() })
        })
        .collect()
}

/// From one device that has a folder in its drive to another that has nothing; then to a third.
async fn transfer(folder: &Path, source: &Path) -> Transfer {
    let place = tempfile::tempdir_in(folder).expect(ROOM);
    let at = |name: &str| place.path().join(name);
    let files = count_files(source);
    let mut serving = Serving::start(&["node", at("alice").to_str().expect("UTF-8"), source.to_str().expect("UTF-8")]);
    let add = serving.line().parse().expect("seconds");
    let (node, space) = joined(&serving.line(), &at("bob"), files).await;
    let nodes = space.drive().tree().await.expect("it runs").files().map(|file| file.id).collect();
    let (own, other) = (Memory::start(std::process::id()), Memory::start(serving.id()));
    let (before, started) = (processor_seconds(serving.id()), Instant::now());
    space.drive().fetch(nodes, |_| {}).await.expect("Alice has it");
    let fetch = started.elapsed().as_secs_f64();
    let processor = processor_seconds(serving.id()) - before;
    let (sink_bytes, source_bytes) = (own.grown_bytes(), other.grown_bytes());
    node.shutdown().await;

    let (node, space) = joined(&serving.line(), &at("carol"), files).await;
    let top = space.drive().tree().await.expect("it runs").resolve("/folder").expect("it is there");
    let started = Instant::now();
    let written = space.drive().get_folder(top, &at("copy"), |_| {}).await.expect("Alice has it");
    let whole = started.elapsed().as_secs_f64();
    assert_eq!(written, files);
    node.shutdown().await;
    Transfer { add, fetch, whole, processor, source_bytes, sink_bytes }
}

/// Files of a folder, without what syncthing puts there for itself, which is a folder.
fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_file())).count()
}

/// A device that came in by a link and knows of so many files.
async fn joined(link: &str, directory: &Path, files: usize) -> (Node, clave::Space) {
    let node = Node::create(child::config(directory), "小波", "phone").await.expect("an empty directory");
    let mut events = node.events();
    let link = link.parse().expect("a link");
    let space = node.join(&link, std::time::Duration::from_secs(60)).await.expect("the link is good");
    while space.drive().tree().await.expect("it runs").files().count() < files {
        let _ = events.recv().await;
    }
    (node, space)
}

/// Processor time of this process and of another, in seconds.
fn processor_seconds(other: u32) -> f64 {
    let ticks = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime, in hundredths of a second.
        fields.get(11..13).map_or(0.0, |times| times.iter().filter_map(|time| time.parse::<f64>().ok()).sum())
    };
    (ticks(std::process::id()) + ticks(other)) / 100.0
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
