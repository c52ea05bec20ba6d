//! Clave: whole engines over durable, sealed stores, and the wire between them.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clave::{SealedStore, StoreKind, open_store};
use clave_crypto::{Checkpoint, DeviceId, Entropy, Mls, VaultKey};
use clave_engine::membership::Log;
use clave_engine::{Batch, Channel, CircleId, Engine, Identity, Keyspace, Output, benching};
use tempfile::TempDir;

use super::cost::Cost;
use super::team::Person;

const ROOM: &str = "the disk has room and takes writes";

/// One device.
pub struct Device {
    pub id: DeviceId,
    pub engine: Engine,
    store: Arc<SealedStore>,
    /// What was done since this was last taken.
    pub cost: Cost,
    /// Bytes written since, by keyspace.
    pub written: BTreeMap<Keyspace, usize>,
    /// The entries among that, by size, in order.
    pub entries: Vec<usize>,
    /// The part of its cost that is writing: sealing, and the store's own work.
    write_cpu: Duration,
    seed: [u8; 32],
    folder: TempDir,
}

impl Device {
    /// A device that is in no circle.
    pub fn new(person: &Person, data: &Path, now_ms: u64) -> Self {
        let identity =
            Identity::generate(&person.name, "phone", &mut Entropy::from_seed(person.seed)).expect("a plain name");
        assert!(identity.device() == person.device.id(), "the keys are those of the roster");
        let folder = tempfile::tempdir_in(data).expect(ROOM);
        let store = open_sealed(&folder.path().join("store"), person.seed);
        store.write(vec![identity.to_batch()]).expect(ROOM);
        let engine = open(&store, person.seed, now_ms);
        let (cost, written, entries) = (Cost::default(), BTreeMap::new(), Vec::new());
        Self {
            id: identity.device(),
            engine,
            store,
            cost,
            written,
            entries,
            write_cpu: Duration::ZERO,
            seed: person.seed,
            folder,
        }
    }

    /// Puts it into a circle.
    pub fn enter(&mut self, log: Log, checkpoint: Checkpoint, now_ms: u64) {
        self.handle(now_ms, |engine| benching::enter(engine, log, checkpoint, now_ms).expect("it is its checkpoint"));
    }

    /// Does something with the engine and then all that it asks for. Returns the frames it sends.
    pub fn handle(&mut self, now_ms: u64, work: impl FnOnce(&mut Engine)) -> Vec<(DeviceId, Channel, Vec<u8>)> {
        let Self { engine, store, cost, written, entries, write_cpu, .. } = self;
        cost.add(|| {
            work(engine);
            let mut frames = Vec::new();
            loop {
                let (mut ios, mut batches) = (Vec::new(), Vec::new());
                while let Some(output) = engine.poll_output() {
                    match output {
                        Output::Write { io, batch } => {
                            count(&batch, written, entries);
                            ios.push(io);
                            batches.push(batch);
                        }
                        Output::Send { peer, channel, frame } => {
                            engine.handle_sent(peer, channel, now_ms);
                            frames.push((peer, channel, frame.concat()));
                        }
                        _ => {}
                    }
                }
                if ios.is_empty() {
                    return frames;
                }
                let ((), written) = super::cost::cost_of(|| store.write(batches).expect(ROOM));
                *write_cpu += written.cpu;
                ios.into_iter().for_each(|io| engine.handle_written(io, true));
            }
        })
    }

    /// Closes it and opens it again.
    pub fn reopen(&mut self, now_ms: u64) -> Cost {
        let mut cost = Cost::default();
        self.engine = cost.add(|| open(&self.store, self.seed, now_ms));
        self.handle(now_ms, |_| ());
        cost
    }

    /// Gives back what its store does not use.
    pub fn compact(&self) {
        self.store.store().compact().expect(ROOM);
    }

    /// Has somebody look at its store while it is closed: in which folder it is, and under which seed.
    pub fn while_closed<T>(&mut self, now_ms: u64, look: impl FnOnce(&Path, [u8; 32]) -> T) -> T {
        let spare = open_sealed(&self.folder.path().join("spare"), self.seed);
        let identity = Identity::load(&*self.store).expect(ROOM).expect("it was written");
        spare.write(vec![identity.to_batch()]).expect(ROOM);
        self.engine = open(&spare, self.seed, now_ms);
        self.store = spare;
        let place = self.folder.path().join("store");
        let result = look(&place, self.seed);
        self.store = open_sealed(&place, self.seed);
        self.engine = open(&self.store, self.seed, now_ms + 1);
        std::fs::remove_dir_all(self.folder.path().join("spare")).expect(ROOM);
        self.handle(now_ms, |_| ());
        result
    }

    /// Bytes of its store on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.store.store().size_bytes().expect(ROOM)
    }

    /// What it cost since this was last asked.
    pub fn take_cost(&mut self) -> Cost {
        let written = std::mem::take(&mut self.written);
        self.entries.clear();
        let write_cpu = std::mem::take(&mut self.write_cpu);
        Cost { stored_bytes: written.values().sum(), write_cpu, ..std::mem::take(&mut self.cost) }
    }
}

fn count(batch: &Batch, written: &mut BTreeMap<Keyspace, usize>, entries: &mut Vec<usize>) {
    for (key, value) in &batch.writes {
        if key.keyspace == Keyspace::Entries {
            entries.extend(value.as_ref().map(|value| value.len()));
        }
        *written.entry(key.keyspace).or_default() += value.as_ref().map_or(0, |value| value.len());
    }
}

/// The store that a device of that seed has in a folder.
pub fn open_sealed(folder: &Path, seed: [u8; 32]) -> Arc<SealedStore> {
    let store = open_store(folder, StoreKind::Redb).expect(ROOM);
    let vault = VaultKey::generate(&mut Entropy::from_seed(seed));
    Arc::new(SealedStore::new(store, vault, Entropy::from_seed(seed)))
}

/// The engine over it.
pub fn open(store: &Arc<SealedStore>, seed: [u8; 32], now_ms: u64) -> Engine {
    let identity = Identity::load(&**store).expect(ROOM).expect("it was written");
    // Another seed for each opening: nothing that was drawn before is drawn again.
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed).update(&now_ms.to_be_bytes());
    let entropy = Entropy::from_seed(*hasher.finalize().as_bytes());
    Engine::open(identity, Box::new(Mls), store.clone(), entropy, now_ms).expect("the store can be read")
}

/// Devices and the wire between them.
pub struct Network {
    pub devices: Vec<Device>,
    pub circle: CircleId,
    pub now_ms: u64,
    wire: VecDeque<(usize, usize, Channel, Vec<u8>)>,
    /// Frames on the sync channel since this was last taken, by the number of their kind, and their bytes.
    pub kinds: BTreeMap<u8, (usize, usize)>,
    /// Bytes from one to another since this was last taken.
    pub sent: BTreeMap<(usize, usize), usize>,
    /// The entries that each operation made when it was last done, by size.
    pub entries: BTreeMap<&'static str, Vec<usize>>,
}

impl Network {
    pub fn new(devices: Vec<Device>, circle: CircleId, now_ms: u64) -> Self {
        Self {
            devices,
            circle,
            now_ms,
            wire: VecDeque::new(),
            sent: BTreeMap::new(),
            kinds: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Cuts a connection, and what is on its way over it.
    pub fn disconnect(&mut self, one: usize, other: usize) {
        self.wire.retain(|(from, to, ..)| ![(one, other), (other, one)].contains(&(*from, *to)));
        for (at, peer) in [(one, other), (other, one)] {
            let id = self.devices[peer].id;
            self.handle(at, |engine, now_ms| engine.handle_disconnected(id, now_ms));
        }
    }

    pub fn connect(&mut self, one: usize, other: usize) {
        for (at, peer) in [(one, other), (other, one)] {
            let id = self.devices[peer].id;
            self.handle(at, |engine, now_ms| engine.handle_connected(id, now_ms));
        }
    }

    /// Does something with a device; its frames are on their way then.
    pub fn handle(&mut self, at: usize, work: impl FnOnce(&mut Engine, u64)) {
        let now_ms = self.now_ms;
        for (peer, channel, frame) in self.devices[at].handle(now_ms, |engine| work(engine, now_ms)) {
            if let Some(to) = self.devices.iter().position(|device| device.id == peer) {
                self.wire.push_back((at, to, channel, frame));
            }
        }
    }

    /// Delivers frames until none is on its way.
    pub fn settle(&mut self) {
        self.deliver(|_, _, _| true);
    }

    /// Delivers those frames that `may` pass, by who sends them to whom on which channel; the others stay on their way.
    pub fn deliver(&mut self, may: impl Fn(usize, usize, Channel) -> bool) {
        while let Some(next) = self.wire.iter().position(|(from, to, channel, _)| may(*from, *to, *channel)) {
            let (from, to, channel, frame) = self.wire.remove(next).expect("it was found");
            *self.sent.entry((from, to)).or_default() += frame.len();
            // The first byte of a frame is the tag of its only field.
            let kind = self.kinds.entry(frame.first().map_or(0, |tag| tag >> 3)).or_default();
            *kind = (kind.0 + 1, kind.1 + frame.len());
            let id = self.devices[from].id;
            self.handle(to, |engine, now_ms| engine.handle_frame(id, channel, frame, now_ms));
        }
    }

    /// Lets time pass until nothing is left to mend.
    pub fn rest(&mut self) {
        for _ in 0..4 {
            self.now_ms += 3_000;
            for at in 0..self.devices.len() {
                self.handle(at, |engine, now_ms| engine.handle_tick(now_ms));
            }
            self.settle();
        }
    }

    /// Keeps the sizes of the entries that a device made since they were last forgotten.
    pub fn note_entries(&mut self, operation: &'static str, of: usize) {
        self.entries.insert(operation, self.devices[of].entries.clone());
    }

    /// Forgets what was counted so far.
    pub fn reset(&mut self) {
        self.sent.clear();
        self.kinds.clear();
        for device in &mut self.devices {
            device.take_cost();
        }
    }

    /// What a device did, and what it sent to another.
    pub fn take_cost(&mut self, of: usize, to: usize) -> Cost {
        let wire_bytes = self.sent.get(&(of, to)).copied().unwrap_or_default();
        Cost { wire_bytes, ..self.devices[of].take_cost() }
    }
}
