//! Search over the encrypted history: what a page costs, what the index takes, what a message costs to take in.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clave::{RawBatch, SealedStore, StoreKind, open_store};
use clave_crdt::{Actor, MessageId};
use clave_crypto::{Entropy, VaultKey};
use clave_engine::benching::Search;
use clave_engine::{Batch, CircleId, DocumentId, Keyspace, SearchQuery};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::human;

mod corpus;

use corpus::{Corpus, Random, Script};

const ROOM: &str = "the disk has room and takes writes";
/// When the newest message was sent, in Unix milliseconds, and how far apart they are at a million: three years in all.
const NOW_MS: u64 = 1_795_000_000_000;
const SPAN_MS: u64 = 3 * 365 * 24 * 3_600_000;
/// What a segment of a chat holds.
const DOCUMENT_MESSAGES: u32 = 2_000;
const AUTHORS: u64 = 50;
const QUERIES: u32 = 1_000;
const LIVE_MESSAGES: u32 = 1_000;

pub fn groups(scale: Scale, data: &Path) -> Vec<Value> {
    println!("\nsearch, sealed, on redb");
    let sizes: &[u32] = if scale.quick { &[1_000, 3_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let mut results: Vec<Value> = sizes.iter().map(|size| measure(*size, Script::Both, scale, data)).collect();
    // How far each script is from the other.
    let each = scale.of(100_000, 1_000);
    results.extend([Script::Latin, Script::Chinese].map(|script| measure(each, script, scale, data)));
    results
}

struct Rig {
    store: Arc<SealedStore>,
    search: Search,
    circle: CircleId,
    /// Bytes of values that were written in all.
    written_bytes: u64,
}

impl Rig {
    fn open(folder: &Path) -> Self {
        let vault = VaultKey::from_bytes([7; 32].into());
        let store = open_store(folder, StoreKind::Redb).expect(ROOM);
        let store = Arc::new(SealedStore::new(store, vault, Entropy::from_seed([8; 32])));
        let search = Search::new(store.clone());
        Self { store, search, circle: CircleId::from_bytes([1; 32]), written_bytes: 0 }
    }

    fn write(&mut self, batch: Batch) {
        let written = batch.writes.iter().filter_map(|(_, value)| value.as_ref());
        self.written_bytes += written.map(|value| value.len() as u64).sum::<u64>();
        self.store.write(vec![batch]).expect(ROOM);
    }

    fn step(&mut self) -> (bool, Duration) {
        let started = Instant::now();
        let (more, batch) = self.search.step(self.circle).expect(ROOM);
        let took = started.elapsed();
        self.write(batch);
        (more, took)
    }
}

fn message(number: u32, count: u32, random: &mut Random) -> MessageId {
    let author = Actor::new([random.below(AUTHORS) as u8 + 1; 32], [1; 4], 0);
    let sent_ms = NOW_MS - SPAN_MS / u64::from(count) * u64::from(count - number.min(count)) - random.below(20_000);
    MessageId::new(sent_ms, random.next().to_be_bytes()[..6].try_into().expect("six bytes"), author)
}

fn document(number: u32) -> DocumentId {
    DocumentId::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes().first_chunk().expect("16 of 32 bytes"))
}

fn measure(count: u32, script: Script, scale: Scale, data: &Path) -> Value {
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let (mut corpus, mut random) = (Corpus::new(script), Random(9));
    let mut rig = Rig::open(folder.path());
    let (mut plain_bytes, mut samples) = (0, Vec::new());
    let (mut indexing, mut step_max) = (Duration::ZERO, Duration::ZERO);
    for first in (0..count).step_by(DOCUMENT_MESSAGES as usize) {
        let mut messages = Vec::new();
        for number in first..(first + DOCUMENT_MESSAGES).min(count) {
            let text = corpus.message();
            plain_bytes += text.len();
            if random.below(u64::from(count)) < u64::from(QUERIES) * 2 {
                samples.push(text.clone());
            }
            messages.push((message(number, count, &mut random), Some(text)));
        }
        let started = Instant::now();
        let batch = rig.search.update(rig.circle, document(first), messages).expect(ROOM);
        indexing += started.elapsed();
        rig.write(batch);
        loop {
            let (more, took) = rig.step();
            (indexing, step_max) = (indexing + took, step_max.max(took));
            if !more {
                break;
            }
        }
    }
    let stored = [Keyspace::Search, Keyspace::SearchTexts].map(|keyspace| stored_bytes(&rig, keyspace));
    let sizes = [Keyspace::Search, Keyspace::SearchTexts].map(|keyspace| size_on_disk(&rig, keyspace, data));
    let file_bytes = rig.store.store().size_bytes().expect(ROOM);
    let pages = pages(&rig, &samples, scale.of(QUERIES, 50), &mut random);
    let live = live(&mut rig, count, scale.of(LIVE_MESSAGES, 100), &mut corpus, &mut random);
    let of_plain = |bytes: u64| bytes as f64 / plain_bytes as f64;
    println!(
        "  {count:>9} messages, {script:?}: {:.1} MB of text; index {:.3} of it ({:.3} on disk), texts {:.3} ({:.3}), both before \
         compaction {:.2}",
        plain_bytes as f64 / 1e6,
        of_plain(stored[0]),
        of_plain(sizes[0]),
        of_plain(stored[1]),
        of_plain(sizes[1]),
        of_plain(file_bytes)
    );
    println!(
        "            first page: median {} (processor {}), 9 of 10 {}, 99 of 100 {}, longest {}; found nothing: {}",
        human(pages.at(0.5)),
        human(pages.cpu),
        human(pages.at(0.9)),
        human(pages.at(0.99)),
        human(pages.at(1.0)),
        pages.nothing
    );
    println!(
        "            taken in: {} a message at once (merging included), longest step {}; live {} a message (processor {}), longest {}, {} B written",
        human(indexing.as_secs_f64() / f64::from(count)),
        human(step_max.as_secs_f64()),
        human(live.at(0.5)),
        human(live.cpu),
        human(live.at(1.0)),
        live.written_bytes
    );
    json!({
        "name": format!("search, {count} messages, {script:?}"),
        "plain_bytes": plain_bytes,
        "index_records_to_plain": of_plain(stored[0]),
        "index_file_to_plain": of_plain(sizes[0]),
        "texts_records_to_plain": of_plain(stored[1]),
        "texts_file_to_plain": of_plain(sizes[1]),
        "file_to_plain": of_plain(file_bytes),
        "page_cpu_seconds": pages.cpu,
        "live_cpu_seconds": live.cpu,
        "page_seconds": { "median": pages.at(0.5), "p90": pages.at(0.9), "p99": pages.at(0.99), "max": pages.at(1.0) },
        "bulk_seconds_a_message": indexing.as_secs_f64() / f64::from(count),
        "step_seconds_max": step_max.as_secs_f64(),
        "live_seconds": { "median": live.at(0.5), "max": live.at(1.0) },
        "live_bytes_a_message": live.written_bytes,
    })
}

/// The keys and sealed values of a keyspace.
fn stored_bytes(rig: &Rig, keyspace: Keyspace) -> u64 {
    let mut bytes = 0;
    let mut visit = |key: &[u8], value: &[u8]| {
        bytes += (key.len() + value.len()) as u64;
        true
    };
    rig.store.store().scan(keyspace as u8, &[], &[], &mut visit).expect(ROOM);
    bytes
}

/// What the records of a keyspace take in a file of their own.
fn size_on_disk(rig: &Rig, keyspace: Keyspace, data: &Path) -> u64 {
    let folder = tempfile::tempdir_in(data).expect(ROOM);
    let copy = open_store(folder.path(), StoreKind::Redb).expect(ROOM);
    let empty = copy.size_bytes().expect(ROOM);
    let (mut batches, mut bytes) = (vec![RawBatch::default()], 0);
    let table = keyspace as u8;
    let mut visit = |key: &[u8], value: &[u8]| {
        bytes += value.len();
        if bytes > 8 << 20 {
            batches.push(RawBatch::default());
            bytes = 0;
        }
        batches.last_mut().expect("there is one").put(table, key, value);
        true
    };
    rig.store.store().scan(table, &[], &[], &mut visit).expect(ROOM);
    batches.into_iter().for_each(|batch| copy.apply(&[batch]).expect(ROOM));
    copy.compact().expect(ROOM);
    copy.size_bytes().expect(ROOM).saturating_sub(empty)
}

/// Time that this thread used on a processor, in seconds: what others do on the machine does not count.
fn cpu_now() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

struct Times {
    sorted: Vec<f64>,
    /// The median of the time on a processor.
    cpu: f64,
    nothing: usize,
    written_bytes: u64,
}

impl Times {
    fn of((mut seconds, mut cpu): (Vec<f64>, Vec<f64>)) -> Self {
        seconds.sort_by(f64::total_cmp);
        cpu.sort_by(f64::total_cmp);
        Self { cpu: cpu[(cpu.len() - 1) / 2], sorted: seconds, nothing: 0, written_bytes: 0 }
    }

    fn at(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share) as usize]
    }
}

/// First pages of queries of one to three words from messages.
fn pages(rig: &Rig, samples: &[String], queries: u32, random: &mut Random) -> Times {
    let (mut seconds, mut cpu, mut nothing) = (Vec::new(), Vec::new(), 0);
    for _ in 0..queries {
        let text = corpus::query(&samples[random.below(samples.len() as u64) as usize], random);
        let query = SearchQuery::new(text, [rig.circle]);
        let (started, cpu_started) = (Instant::now(), cpu_now());
        let page = rig.search.search(&query, NOW_MS).expect(ROOM);
        seconds.push(started.elapsed().as_secs_f64());
        cpu.push(cpu_now() - cpu_started);
        nothing += usize::from(page.hits.is_empty());
    }
    Times { nothing, ..Times::of((seconds, cpu)) }
}

/// Messages that come one by one, each in a batch of its own, merging included.
fn live(rig: &mut Rig, count: u32, messages: u32, corpus: &mut Corpus, random: &mut Random) -> Times {
    let (mut seconds, mut cpu, before) = (Vec::new(), Vec::new(), rig.written_bytes);
    for number in 0..messages {
        let message = vec![(message(count + number, count, random), Some(corpus.message()))];
        let (started, cpu_started) = (Instant::now(), cpu_now());
        let batch = rig.search.update(rig.circle, document(u32::MAX), message).expect(ROOM);
        seconds.push(started.elapsed().as_secs_f64());
        cpu.push(cpu_now() - cpu_started);
        rig.write(batch);
    }
    Times { written_bytes: (rig.written_bytes - before) / u64::from(messages), ..Times::of((seconds, cpu)) }
}
