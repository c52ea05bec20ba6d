//! A working day of an organisation, faster than it is: what it takes of a relay.
//!
//! The model and what it assumes stand in `docs/measurements.md`, "A day of an organisation", and as constants in `model.rs`. Devices speak the protocol as the engine does: they
//! open the mailboxes of each circle's epochs with proofs, acknowledge what is delivered, follow a commit into the next epoch's mailbox, store chunks before what names them,
//! and compare now and then. Nothing is sealed: the relay could not tell.
//!
//! **The rule.** At the end, some devices come once more, and must have every entry of their circles. Every put must have been acknowledged.

mod device;
mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clave_mailbox::RECONCILE_BYTES_MAX;
use clave_transport::Address;
use ed25519_dalek::SigningKey;
use futures::{StreamExt, stream};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use sha2::{Digest, Sha256};

use self::{
    device::Device,
    model::{Organisation, Plan},
};
use crate::{harness::Relay, process::Sample, random::Random};

/// The relay as it comes, but for a data directory of its own.
const CONFIG: &str = "";

/// How many devices are asked at the end whether they have everything, and how many at a time.
const ASKED: usize = 400;
const ASKED_AT_ONCE: usize = 8;

/// A device that panics ends the measurement.
const WHOLE: &str = "no device panicked while it held the lock";

/// One side of a comparison.
pub fn comparison(ids: impl Iterator<Item = [u8; 32]>) -> Negentropy<'static, NegentropyStorageVector> {
    let mut storage = NegentropyStorageVector::new();
    ids.for_each(|id| storage.insert(0, Id::from_byte_array(id)).expect("it is not sealed"));
    storage.seal().expect("it is not sealed");
    Negentropy::owned(storage, RECONCILE_BYTES_MAX as u64).expect("a limit that is allowed")
}

/// What was put into a circle.
#[derive(Default)]
pub struct Said {
    /// The numbers of entries that the relay has acknowledged, and their ids by epoch.
    numbers: Vec<u64>,
    ids: BTreeMap<u32, Vec<[u8; 32]>>,
    /// The newest epoch.
    epoch: u32,
    /// Keys of mailboxes that were computed, by epoch.
    keys: BTreeMap<u32, Arc<SigningKey>>,
}

#[derive(Default)]
pub struct Counted {
    pub online: AtomicI64,
    pub sessions: AtomicU64,
    pub lost: AtomicU64,
    pub openings: AtomicU64,
    pub puts: AtomicU64,
    pub put_bytes: AtomicU64,
    pub chunks_fetched: AtomicU64,
    pub epochs: AtomicU64,
    pub comparisons: AtomicU64,
    pub deliveries: AtomicU64,
    pub refused: AtomicU64,
}

/// What all devices share.
pub struct Day {
    pub address: Address,
    pub organisation: Organisation,
    pub said: Vec<Mutex<Said>>,
    pub counted: Counted,
    pub entries: AtomicU64,
    /// From a put to its delivery to a device that followed the mailbox already, and to its own answer, in milliseconds.
    pub delivery_ms: Mutex<Vec<f32>>,
    pub put_ms: Mutex<Vec<f32>>,
    began: Instant,
    speed: f64,
    from_hour: f64,
}

impl Day {
    /// The moment of an hour of the day.
    pub fn at(&self, hour: f64) -> Instant {
        self.began + Duration::from_secs_f64((hour - self.from_hour).max(0.0) * 3_600.0 / self.speed)
    }

    /// What was said in a circle so far.
    pub fn said(&self, circle: usize) -> MutexGuard<'_, Said> {
        self.said[circle].lock().expect(WHOLE)
    }

    /// Nanoseconds since it began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// The mailbox of a circle's epoch.
    pub fn key(&self, circle: usize, epoch: u32) -> Arc<SigningKey> {
        let derive = || Arc::new(derived(b"epoch", circle, epoch as usize));
        self.said(circle).keys.entry(epoch).or_insert_with(derive).clone()
    }
}

/// A key that follows from two numbers.
pub fn derived(of: &[u8], a: usize, b: usize) -> SigningKey {
    let numbers = [a.to_be_bytes(), b.to_be_bytes()].concat();
    SigningKey::from_bytes(&Sha256::new().chain_update(of).chain_update(numbers).finalize().into())
}

/// Whether all that was said reached everybody who was asked.
pub async fn run(speed: f64, hours: f64, people: usize) -> bool {
    let mut random = Random::new(4_000);
    let organisation = Organisation::new(people, &mut random);
    // A part of a day is that around its busiest hours.
    let from_hour = ((24.0 - hours) / 2.0).min(9.0);
    let plans = model::plans(&organisation, from_hour, from_hour + hours, &mut random);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written");
    let relay = Relay::start_logging(folder.path(), CONFIG, 0, "info").await;
    let process = relay.process.id().expect("the relay was just started");
    organisation.describe();
    println!("hours {from_hour} to {}, {speed} times as fast: {:.0} s", from_hour + hours, hours * 3_600.0 / speed);
    let circles = organisation.circles.len();
    let day = Arc::new(Day {
        address: relay.address.clone(),
        organisation,
        said: (0..circles).map(|_| Mutex::new(Said { epoch: model::PAST_EPOCHS, ..Said::default() })).collect(),
        counted: Counted::default(),
        entries: AtomicU64::new(0),
        delivery_ms: Mutex::default(),
        put_ms: Mutex::default(),
        began: Instant::now(),
        speed,
        from_hour,
    });
    let live = |(number, plan): (usize, Plan)| {
        let day = day.clone();
        tokio::spawn(async move {
            let mut device = Device::new(number, &day);
            for session in plan.sessions {
                device.live(&day, session).await;
            }
            device
        })
    };
    let living: Vec<_> = plans.into_iter().enumerate().map(live).collect();
    let before = Sample::of(process, &relay.data);
    watch(&day, process, &relay, from_hour, hours).await;
    let mut devices = Vec::new();
    for device in living {
        devices.push(device.await.expect("no device panics"));
    }
    let after = Sample::of(process, &relay.data);
    print(&day, &before, &after, day.began.elapsed());
    let good = complete(&day, devices, &mut random).await;
    relay.stop().await;
    good
}

/// A row for each hour.
async fn watch(day: &Day, process: u32, relay: &Relay, from: f64, hours: f64) {
    println!(
        "{:>5} {:>8} {:>9} {:>9} {:>11} {:>8} {:>11} {:>9}",
        "until", "online", "sessions", "puts", "deliveries", "CPU s", "memory MiB", "disk MiB"
    );
    let (mut hour, mut last) = (from, [0_u64; 3]);
    while hour < from + hours {
        hour = (hour + 1.0).min(from + hours);
        tokio::time::sleep_until(day.at(hour).into()).await;
        let sample = Sample::of(process, &relay.data);
        let counted = &day.counted;
        let now = [&counted.sessions, &counted.puts, &counted.deliveries].map(|count| count.load(Relaxed));
        let [sessions, puts, deliveries] = std::array::from_fn(|at| now[at] - last[at]);
        let Sample { cpu_seconds, resident_mib, disk_mib, .. } = sample;
        let online = counted.online.load(Relaxed);
        println!(
            "{hour:>5.1} {online:>8} {sessions:>9} {puts:>9} {deliveries:>11} {cpu_seconds:>8.1} {resident_mib:>11.1} {disk_mib:>9.1}"
        );
        last = now;
    }
}

fn print(day: &Day, before: &Sample, after: &Sample, took: Duration) {
    let counted = &day.counted;
    let of = |count: &AtomicU64| count.load(Relaxed);
    let cpu = after.cpu_seconds - before.cpu_seconds;
    println!(
        "sessions {}, lost {}; mailboxes opened {}",
        of(&counted.sessions),
        of(&counted.lost),
        of(&counted.openings)
    );
    println!(
        "puts {} of {:.0} MB, refused {}; deliveries {}; chunks fetched {}; epochs begun {}; comparisons {}",
        of(&counted.puts),
        of(&counted.put_bytes) as f64 / 1e6,
        of(&counted.refused),
        of(&counted.deliveries),
        of(&counted.chunks_fetched),
        of(&counted.epochs),
        of(&counted.comparisons)
    );
    println!(
        "the relay: {cpu:.1} s of CPU in {:.0} s ({:.0} % of a core; at the speed of life {:.2} %), peak memory {:.1} MiB, disk {:.1} MiB",
        took.as_secs_f64(),
        cpu / took.as_secs_f64() * 100.0,
        cpu / took.as_secs_f64() * 100.0 / day.speed,
        after.resident_peak_mib,
        after.disk_mib
    );
    for (what, waits) in [("put to delivery", &day.delivery_ms), ("put to its answer", &day.put_ms)] {
        let mut waits = std::mem::take(&mut *waits.lock().expect(WHOLE));
        waits.sort_by(f32::total_cmp);
        let at = |part: f64| waits.get(((waits.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(f32::NAN);
        println!(
            "{what}: {} measured, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            waits.len(),
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    println!("machine at the end: {}", crate::process::machine());
}

/// Some come once more, until nothing more comes: whether they have all.
async fn complete(day: &Arc<Day>, mut devices: Vec<Device>, random: &mut Random) -> bool {
    while devices.len() > ASKED {
        let at = random.below(devices.len());
        devices.swap_remove(at);
    }
    let asked = devices.len();
    let lacking = stream::iter(devices).map(|mut device| {
        let day = day.clone();
        async move {
            device.catch_up(&day).await.expect("nothing else goes on");
            let numbers = |circle: &usize| day.said(*circle).numbers.clone();
            let all: BTreeSet<u64> = device.circles(&day).iter().flat_map(numbers).collect();
            (all.len(), all.difference(&device.seen).count())
        }
    });
    let found: Vec<(usize, usize)> = lacking.buffer_unordered(ASKED_AT_ONCE).collect().await;
    let (all, lacking) = found.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{asked} devices came once more: of {all} entries of their circles they lack {lacking}");
    let refused = day.counted.refused.load(Relaxed);
    if lacking == 0 && refused == 0 && all > 0 {
        println!("every put was acknowledged, and everybody who was asked has everything: good");
        return true;
    }
    println!("MISSED: {lacking} entries are lacking, {refused} puts were refused");
    false
}
