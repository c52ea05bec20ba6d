//! A relay among devices that come and go, and some that mean it ill: whether anything of it grows.
//!
//! **The rule.** Of each of memory, files, threads and disk, a line is laid through the samples of the second half (least squares). What it rises by over that half
//! must be at most 5 % of the mean, or a small number where 5 % is less than one. When all have left, the relay must have as few files open as
//! before they came. And whoever behaves well must have lost no session to those who do not.

mod actors;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clave_transport::Address;
use ed25519_dalek::SigningKey;

use self::actors::Habit;
use crate::{harness::Relay, process::Sample, random::Random};

/// Between two looks at the relay.
const SAMPLE: Duration = Duration::from_secs(5);

/// Rows of the table that is printed.
const ROWS: usize = 15;

/// How long the relay may take to let go of those who left: longer than any of its timeouts.
const SETTLING: Duration = Duration::from_secs(150);

/// Files that a relay may have open at one moment and not at another: what it reads the disk's room with, a lookup, a push.
const FILES_SLACK: f64 = 4.0;

/// Small, so that it is full soon and what is dropped is part of it.
const CONFIG: &str = "[mailboxes]\nstore_mib = 96\nmailbox_mib = 8\nmailbox_entries = 400\ncache_mib = 32\n\
                      [sources]\nput_kib_per_second = 128\nput_burst_kib = 4096\n[wake]\ndevice_subscriptions_per_day = 0\nprivate_addresses = true\n";

/// What all actors share.
pub struct Stage {
    pub address: Address,
    /// Those that members follow.
    pub mailboxes: Vec<SigningKey>,
    pub ends: Instant,
    /// By habit: how often somebody came.
    pub visits: [AtomicU64; Habit::ALL.len()],
    /// Members whose session ended before they left.
    pub members_lost: AtomicU64,
    pub delivered: AtomicU64,
    /// From a member's put to its answer, in milliseconds.
    pub put_ms: Mutex<Vec<f64>>,
}

/// One thing that is watched.
struct Watched {
    name: &'static str,
    of: fn(&Sample) -> f64,
    /// It may rise by so much in any case.
    slack: f64,
}

const WATCHED: [Watched; 4] = [
    Watched { name: "memory, MiB", of: |sample| sample.resident_mib, slack: 4.0 },
    Watched { name: "files", of: |sample| sample.files, slack: 8.0 },
    Watched { name: "threads", of: |sample| sample.threads, slack: 2.0 },
    Watched { name: "disk, MiB", of: |sample| sample.disk_mib, slack: 8.0 },
];

/// Whether all stayed flat.
pub async fn run(minutes: f64) -> bool {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let relay = Relay::start_logging(folder.path(), CONFIG, 0, "info").await;
    let process = relay.process.id().unwrap();
    let before = Sample::of(process, &relay.data);
    let began = Instant::now();
    let stage = Arc::new(Stage {
        address: relay.address.clone(),
        mailboxes: (1..=40).map(|number| SigningKey::from_bytes(&[number; 32])).collect(),
        ends: began + Duration::from_secs_f64(minutes * 60.0),
        visits: [const { AtomicU64::new(0) }; Habit::ALL.len()],
        members_lost: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        put_ms: Mutex::new(Vec::new()),
    });
    let mut random = Random::new(5);
    let actors: Vec<_> = Habit::ALL
        .iter()
        .flat_map(|habit| std::iter::repeat_n(*habit, habit.actors()))
        .map(|habit| tokio::spawn(actors::live(stage.clone(), habit, Random::new(random.next()))))
        .collect();
    println!("soak: {} actors for {minutes} minutes", actors.len());
    println!(
        "{:>8} {:>12} {:>7} {:>8} {:>10} {:>9} {:>10}",
        "minute", "memory MiB", "files", "threads", "disk MiB", "CPU s", "visits"
    );
    let mut samples = Vec::new();
    let rows = (minutes * 60.0 / SAMPLE.as_secs_f64() / ROWS as f64).max(1.0) as usize;
    while Instant::now() < stage.ends {
        tokio::time::sleep(SAMPLE).await;
        let sample = Sample::of(process, &relay.data);
        samples.push((began.elapsed().as_secs_f64(), sample));
        if samples.len() % rows == 0 {
            row(began.elapsed(), &sample, stage.visits.iter().map(|count| count.load(Relaxed)).sum());
        }
    }
    for actor in actors {
        actor.await.expect("no actor panics");
    }
    let after = let_go(process, &relay, before.files + FILES_SLACK).await;
    let good = judge(&samples, &before, &after, &stage);
    let log = std::fs::metadata(folder.path().join("log")).unwrap().len();
    println!("its log at `info`: {:.1} kB", log as f64 / 1000.0);
    relay.stop().await;
    good
}

fn row(at: Duration, sample: &Sample, visits: u64) {
    let Sample { cpu_seconds, resident_mib, threads, files, disk_mib, .. } = sample;
    let minute = at.as_secs_f64() / 60.0;
    println!(
        "{minute:>8.1} {resident_mib:>12.1} {files:>7} {threads:>8} {disk_mib:>10.1} {cpu_seconds:>9.1} {visits:>10}"
    );
}

/// All have left: until the relay has noticed, or should have.
async fn let_go(process: u32, relay: &Relay, files: f64) -> Sample {
    let began = Instant::now();
    loop {
        let sample = Sample::of(process, &relay.data);
        if sample.files <= files || began.elapsed() > SETTLING {
            return sample;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn judge(samples: &[(f64, Sample)], before: &Sample, after: &Sample, stage: &Stage) -> bool {
    let mut good = true;
    let mut say = |what: String, is_good: bool| {
        good &= is_good;
        println!("{what}: {}", if is_good { "good" } else { "MISSED" });
    };
    let half = &samples[samples.len() / 2..];
    for Watched { name, of, slack } in WATCHED {
        let line: Vec<_> = half.iter().map(|(at, sample)| (*at, of(sample))).collect();
        let (mean, rise) = trend(&line);
        let most = (mean * 0.05).max(slack);
        say(format!("{name}: mean {mean:.1}, rises by {rise:+.2} in the second half, at most {most:.1}"), rise <= most);
    }
    let files = format!("files when all have left: {}, before they came {}", after.files, before.files);
    say(files, after.files <= before.files + FILES_SLACK);
    println!("memory when all have left: {:.1} MiB, before they came {:.1}", after.resident_mib, before.resident_mib);
    let lost = stage.members_lost.load(Relaxed);
    let of = |habit: Habit| stage.visits[habit as usize].load(Relaxed);
    say(format!("members who lost their session: {lost} of {}", of(Habit::Member)), lost == 0);
    let mut waits = std::mem::take(&mut *stage.put_ms.lock().unwrap());
    waits.sort_by(f64::total_cmp);
    if let (Some(half), Some(most)) = (waits.get(waits.len() / 2), waits.get(waits.len() * 99 / 100)) {
        let count = waits.len();
        println!(
            "members' puts: {count}, answered p50 {half:.1} ms, p99 {most:.1} ms; entries delivered {}",
            stage.delivered.load(Relaxed)
        );
    }
    for habit in Habit::ALL {
        println!("  {:>8} visits: {}", of(habit), habit.words());
    }
    good
}

/// The mean, and what the line of least squares rises by from the first to the last.
fn trend(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - at) * (point.1 - value)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - at).powi(2)).sum();
    let span = points.last().map_or(0.0, |last| last.0 - points[0].0);
    (value, if below > 0.0 { above / below * span } else { 0.0 })
}
