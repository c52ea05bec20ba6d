//! A device that writes is killed (SIGKILL) at random moments, again and again: what it had acknowledged is there when
//! it starts again, and in the end another device has all of it.
//!
//! `KILL9_ROUNDS` and `KILL9_SEED` choose how often and which moments; `scripts/kill9.sh` does a hundred rounds.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod harness;

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use harness::{Device, Running, two};

/// The longest that a device lives once it writes.
const LIFE_MAX: Duration = Duration::from_millis(250);
/// Every so manieth time, it is killed while it starts.
const KILLED_AT_START: u64 = 5;
/// The longest that it lives then.
const BIRTH_MAX: Duration = Duration::from_millis(40);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.next() % u64::try_from(longest.as_micros()).unwrap())
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Writes numbered messages until it is killed after `life`; those that were acknowledged.
fn write_until_killed(device: &Device, running: &mut Running, round: u64, life: Duration) -> Vec<String> {
    let (kill, killed) = mpsc::sync_channel::<()>(0);
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let body = format!("round {round} message {number}");
                // Acknowledged is what the command said; and it said so, or the message may be lost.
                let output = device.output(&["chat", "send", &body]);
                if output.status.success() {
                    acknowledged.push(body);
                }
                if !matches!(killed.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)) {
                    return acknowledged;
                }
            }
            acknowledged
        });
        // Not to wait for anything: this is the random moment.
        thread::sleep(life);
        running.kill();
        drop(kill);
        writer.join().unwrap()
    })
}

fn bodies(device: &Device) -> BTreeSet<String> {
    let history = device.json(&["chat", "history", "-n", "1000000"]);
    let messages = history["messages"].as_array().unwrap().iter();
    messages.map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "the summary is what one runs a hundred rounds for")]
fn what_was_acknowledged_survives_sigkill() {
    let (rounds, seed) = (setting("KILL9_ROUNDS", 6), setting("KILL9_SEED", 1));
    let mut random = Random(seed);
    let (zoe, zoe_runs, bob, _bob_runs) = two();
    drop(zoe_runs);
    let mut acknowledged = BTreeSet::new();
    let (mut slowest_start, mut at_start) = (Duration::ZERO, 0);
    let start = Instant::now();
    for round in 0..rounds {
        if random.next().is_multiple_of(KILLED_AT_START) {
            let mut child = zoe
                .command(&["--json", "run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(random.up_to(BIRTH_MAX));
            child.kill().unwrap();
            child.wait().unwrap();
            at_start += 1;
        }
        let starting = Instant::now();
        let mut running = zoe.run();
        slowest_start = slowest_start.max(starting.elapsed());
        acknowledged.extend(write_until_killed(&zoe, &mut running, round, random.up_to(LIFE_MAX)));
        let kept = bodies(&zoe);
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "seed {seed}, round {round}: acknowledged and lost: {lost:?}");
    }
    let _running = zoe.run();
    let kept = bodies(&zoe);
    bob.ok(&["wait", "--messages", &kept.len().to_string()]);
    zoe.ok(&["wait", "--messages", &kept.len().to_string()]);
    assert_eq!(bodies(&bob), kept, "the other device has exactly the same");
    let heads = |device: &Device| device.json(&["space", "show"])["documents"].clone();
    assert_eq!(heads(&zoe), heads(&bob));
    assert!(!acknowledged.is_empty(), "nothing was tested");
    println!(
        "seed {seed}: killed {rounds} times while writing and {at_start} times while starting, in {:.1} s; {} messages \
         acknowledged, none lost; {} were stored though nobody was told; the slowest start took {} ms; the other device \
         has all {}",
        start.elapsed().as_secs_f64(),
        acknowledged.len(),
        kept.len() - acknowledged.len(),
        slowest_start.as_millis(),
        kept.len()
    );
}
