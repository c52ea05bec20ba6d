//! A circle with years of chat: opening it, taking in what comes, and comparing it with somebody who lacks little.
//!
//! Two whole engines over redb grow a circle of ten devices from 1,000 entries to 1,000,000. The entries are fillers (272 bytes
//! of ciphertext that nobody can open, 38 an hour): they are filed, indexed and written as others are, and neither sealed, signed
//! nor judged, which would take hours. What the two reconcile is real: messages that one of them wrote while it was offline.
//! An engine that is opened is a process of its own, so that its memory is nobody else's.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use clave_crypto::Entropy;
use clave_engine::benching;
use clave_engine::crdt::{Document, DocumentKind, Draft};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::{Spread, human};
use crate::membership::cost::cost_of;
use crate::membership::ours::{Device, Network, open, open_sealed};
use crate::membership::team::{Team, Tree};

/// Opens a store once and says what that took: see [`open_once`].
pub const ONCE: &str = "--open-once";
const NOW_MS: u64 = 1_790_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const ENTRIES_PER_HOUR: u64 = 38;
/// Entries that come in one batch while catching up.
const BATCH_ENTRIES: u64 = 5_000;
const MISSED: usize = 10;
const ALICE: usize = 0;
const BOB: usize = 1;
const RECONCILE: u8 = 2;

/// Grows the circle and measures at each size.
pub fn groups(scale: Scale, data: &Path, opens: bool, reconciles: bool) -> Vec<Value> {
    let sizes: &[u64] = if scale.quick { &[200, 1_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let mut network = pair(data);
    let (mut results, mut number, mut entries) = (Vec::new(), 0, 0);
    for size in sizes {
        for who in [ALICE, BOB] {
            let from = number;
            grow(&mut network, who, from..from + size - entries, *size);
        }
        number += size - entries;
        entries = *size;
        println!("\n{size} entries");
        let mut result = json!({ "entries": size });
        if opens {
            result["append"] = appending(&mut network, number, scale);
            number += u64::from(scale.of(100, 10)) + BATCH_ENTRIES.min(*size);
            entries = number;
            let disk = network.devices[ALICE].disk_bytes();
            println!("  disk: {} bytes an entry", disk / entries);
            result["disk_bytes_per_entry"] = json!(disk / entries);
            result["open"] = opening(&mut network.devices[ALICE], scale);
            // Bob takes in the same, so that both still have the same.
            grow(&mut network, BOB, number - (entries - size)..number, *size);
        }
        if reconciles {
            result["reconcile"] = reconnecting(&mut network, scale);
        }
        results.push(result);
    }
    vec![json!({ "name": "years of chat", "sizes": results })]
}

fn pair(data: &Path) -> Network {
    let team = Team::new(10, Tree::Cold, &mut Entropy::from_seed([3; 32]));
    let circle = team.circle();
    let mut devices: Vec<Device> = team.people[..2].iter().map(|person| Device::new(person, data, NOW_MS)).collect();
    for ((device, log), checkpoint) in devices.iter_mut().zip(team.logs).zip(team.ours) {
        device.enter(log, checkpoint, NOW_MS);
    }
    let mut network = Network::new(devices, circle, NOW_MS);
    network.connect(ALICE, BOB);
    network.settle();
    network.rest();
    network.disconnect(ALICE, BOB);
    network
}

fn hour_of(number: u64) -> u32 {
    // Three years before now at the least.
    (NOW_MS / HOUR_MS - 30_000 + number / ENTRIES_PER_HOUR) as u32
}

fn fill(network: &mut Network, who: usize, numbers: std::ops::Range<u64>) {
    let circle = network.circle;
    let entries = numbers.map(|number| (hour_of(number), number));
    network.handle(who, |engine, now_ms| benching::fill(engine, circle, entries, now_ms).expect("it is in the circle"));
}

fn grow(network: &mut Network, who: usize, numbers: std::ops::Range<u64>, size: u64) {
    let started = Instant::now();
    for start in numbers.clone().step_by(BATCH_ENTRIES as usize) {
        fill(network, who, start..numbers.end.min(start + BATCH_ENTRIES));
    }
    if size >= 100_000 {
        eprintln!("  ({} of {size} filled in {:.0?})", numbers.end - numbers.start, started.elapsed());
    }
}

/// What one entry costs that comes alone, and one of many that come together.
fn appending(network: &mut Network, from: u64, scale: Scale) -> Value {
    let alone = u64::from(scale.of(100, 10));
    let (mut cpu, mut unwritten, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for number in from..from + alone {
        network.reset();
        fill(network, ALICE, number..number + 1);
        let cost = network.take_cost(ALICE, BOB);
        cpu.push(cost.cpu.as_secs_f64());
        unwritten.push(cost.cpu.saturating_sub(cost.write_cpu).as_secs_f64());
        bytes.push(cost.stored_bytes as f64);
    }
    let size = BATCH_ENTRIES.min(from);
    network.reset();
    fill(network, ALICE, from + alone..from + alone + size);
    let together = network.take_cost(ALICE, BOB);
    let [cpu, unwritten, bytes] = [cpu, unwritten, bytes].map(Spread::of);
    let each = |cost: std::time::Duration| cost.as_secs_f64() / size as f64;
    println!(
        "  append alone: {} CPU ({} to {}), {} without writing, {} bytes written; one of {size} together: {}, {} \
         without writing, {} bytes",
        human(cpu.median),
        human(cpu.low),
        human(cpu.high),
        human(unwritten.median),
        bytes.median,
        human(each(together.cpu)),
        human(each(together.cpu.saturating_sub(together.write_cpu))),
        together.stored_bytes / size as usize
    );
    json!({
        "alone": { "cpu": cpu.json(), "cpu_unwritten": unwritten.json(), "bytes": bytes.json() },
        "together": {
            "entries": size,
            "cpu": each(together.cpu),
            "cpu_unwritten": each(together.cpu.saturating_sub(together.write_cpu)),
            "bytes": together.stored_bytes / size as usize,
        },
    })
}

/// Opens it in other processes, one after the other.
fn opening(device: &mut Device, scale: Scale) -> Value {
    let rounds = scale.rounds.min(11);
    let taken: Vec<[f64; 3]> =
        device.while_closed(NOW_MS, |folder, seed| (0..rounds).map(|_| opened(folder, seed)).collect());
    let of = |which: usize| Spread::of(taken.iter().map(|sample| sample[which]).collect());
    let (store, engine, memory) = (of(0), of(1), of(2));
    println!(
        "  open: store {}, engine {} ({} to {}), {:.1} MB resident",
        human(store.median),
        human(engine.median),
        human(engine.low),
        human(engine.high),
        memory.median / 1e6
    );
    json!({ "store": store.json(), "engine": engine.json(), "resident_bytes": memory.json() })
}

fn opened(folder: &Path, seed: [u8; 32]) -> [f64; 3] {
    let seed: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let own = std::env::current_exe().expect("this program is somewhere");
    let output = Command::new(own).arg(ONCE).arg(folder).arg(seed).output().expect("it was started before");
    let said = String::from_utf8(output.stdout).expect("it prints numbers");
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)))
}

/// Opens the store in a folder and the engine over it; prints the seconds of each, and the bytes of memory in use then.
pub fn open_once(folder: &Path, seed: &str) {
    let byte = |at: usize| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).expect("a seed in hexadecimal");
    let seed = std::array::from_fn(byte);
    let (store, opened) = cost_of(|| open_sealed(folder, seed));
    let (mut engine, started) = cost_of(|| open(&store, seed, NOW_MS));
    while let Some(output) = engine.poll_output() {
        drop(output);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    println!("{} {} {}", opened.wall.as_secs_f64(), started.wall.as_secs_f64(), kilobytes * 1024);
}

/// Somebody comes back who lacks a few messages.
fn reconnecting(network: &mut Network, scale: Scale) -> Value {
    let (mut cpu, mut unwritten, mut bytes, mut trips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round finds everything cold, and is not counted.
    for round in 0..=scale.rounds.min(11) {
        network.now_ms += HOUR_MS;
        network.reset();
        for number in 0..MISSED {
            write(network, ALICE, &format!("你好 {round} {number}"));
        }
        let messages: usize = network.devices[ALICE].entries.iter().sum();
        network.reset();
        network.connect(ALICE, BOB);
        network.settle();
        let frames = std::mem::take(&mut network.kinds);
        let sent: usize = network.sent.values().sum();
        let costs = [network.take_cost(ALICE, BOB), network.take_cost(BOB, ALICE)];
        let statuses = [ALICE, BOB].map(|who| network.devices[who].engine.status(network.circle).expect("it is in"));
        assert_eq!((statuses[0].entries, statuses[0].held), (statuses[1].entries, statuses[1].held), "both have all");
        network.disconnect(ALICE, BOB);
        if round > 0 {
            cpu.push(costs.iter().map(|cost| cost.cpu.as_secs_f64()).sum());
            unwritten.push(costs.iter().map(|cost| cost.cpu.saturating_sub(cost.write_cpu).as_secs_f64()).sum());
            bytes.push((sent - messages) as f64);
            trips.push(frames.get(&RECONCILE).map_or(0, |(frames, _)| *frames) as f64 / 2.0);
        }
    }
    let [cpu, unwritten, bytes, trips] = [cpu, unwritten, bytes, trips].map(Spread::of);
    println!(
        "  reconnect, {MISSED} messages missed: {} bytes beside them ({} to {}), {} round trips of reconciliation, {} CPU of both \
         ({} to {}), {} without writing",
        bytes.median,
        bytes.low,
        bytes.high,
        trips.median,
        human(cpu.median),
        human(cpu.low),
        human(cpu.high),
        human(unwritten.median)
    );
    json!({ "cpu": cpu.json(), "cpu_unwritten": unwritten.json(), "bytes": bytes.json(), "round_trips": trips.json() })
}

fn write(network: &mut Network, who: usize, text: &str) {
    let circle = network.circle;
    network.handle(who, |engine, now_ms| {
        let segment = engine.segment(circle, 0, now_ms).expect("it is in the circle");
        let random = engine.random();
        let post = |document: &mut Document, _: &mut Vec<Vec<u8>>| {
            document.timeline()?.post(now_ms, random, &Draft::text(text))
        };
        engine.edit(circle, segment, DocumentKind::Timeline, now_ms, post).expect("a member may write");
    });
}
