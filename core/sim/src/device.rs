//! One device: an engine, its disk, its clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use clave_engine::crdt::{ChangeHash, DocumentKind};
use clave_engine::crypto::{DeviceId, Entropy, PersonId, RecoveryPhrase};
use clave_engine::{Batch, CircleId, DocumentId, Engine, Event, Identity, IoId, RefusalCounts};

use crate::{Agreement, Disk};

/// Which device of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(pub(crate) usize);

/// Something that was written, in order to ask later whether it is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// In which circle.
    pub circle: CircleId,
    /// In which document.
    pub document: DocumentId,
    /// In a document of which kind.
    pub kind: DocumentKind,
    /// What.
    pub content: Content,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text that occurs nowhere else and that nobody takes away.
    Text(String),
    /// Something that others may write over: the change by its hash.
    Change(ChangeHash),
}

/// A device and all that surrounds its engine.
pub struct Device {
    /// What it is called.
    pub name: String,
    /// Its key's name.
    pub id: DeviceId,
    /// Whose it is.
    pub person: PersonId,
    /// What survives a crash.
    pub disk: Arc<Disk>,
    /// What its application was told, since the world began.
    pub events: Vec<Event>,
    /// What was reported durable.
    pub acknowledged: Vec<Written>,
    /// What it put on the wire, in bytes, since the world began.
    pub sent_bytes: u64,
    pub(crate) engine: Option<Engine>,
    /// Counts openings, so that what was meant for an engine that crashed does not reach the next.
    pub(crate) session: u64,
    pub(crate) skew_ms: i64,
    pub(crate) writing: VecDeque<(IoId, Batch)>,
    pub(crate) disk_free_at_ms: u64,
    pub(crate) disk_delay_ms: (u64, u64),
    pub(crate) failing_writes: u32,
    pub(crate) crash_at_write: Option<u64>,
    /// Writes that became durable, since the world began.
    pub(crate) writes: u64,
    /// How often it was started again.
    pub(crate) restarts: u64,
    pub(crate) unacknowledged: VecDeque<(IoId, Written)>,
    pub(crate) permitted: BTreeSet<DeviceId>,
    pub(crate) tick_at_ms: Option<u64>,
    pub(crate) past_refusals: RefusalCounts,
    /// What its person has on paper.
    pub(crate) phrase: RecoveryPhrase,
}

impl Device {
    pub(crate) fn new(name: &str, skew_ms: i64, entropy: &mut Entropy) -> Self {
        let phrase = RecoveryPhrase::generate(entropy);
        let identity = Identity::of_phrase(&phrase, name, &format!("{name}'s device"), entropy).expect("a plain name");
        Self::of(name, &identity, phrase, skew_ms)
    }

    /// A device that is about to be linked to `person`.
    pub(crate) fn provisional(name: &str, person: PersonId, entropy: &mut Entropy) -> Self {
        let identity = Identity::provisional(name, entropy).expect("a plain name");
        // It has no paper of its own: nobody looks at this one.
        Self::born(name, &identity, person, RecoveryPhrase::generate(entropy), 0)
    }

    /// A device of that identity, with an empty disk.
    pub(crate) fn of(name: &str, identity: &Identity, phrase: RecoveryPhrase, skew_ms: i64) -> Self {
        let person = identity.person().expect("it has one from the start");
        Self::born(name, identity, person, phrase, skew_ms)
    }

    fn born(name: &str, identity: &Identity, person: PersonId, phrase: RecoveryPhrase, skew_ms: i64) -> Self {
        let disk = Arc::new(Disk::default());
        disk.write(&identity.to_batch());
        Self {
            name: name.to_owned(),
            id: identity.device(),
            person,
            disk,
            events: Vec::new(),
            acknowledged: Vec::new(),
            sent_bytes: 0,
            engine: None,
            session: 0,
            skew_ms,
            writing: VecDeque::new(),
            disk_free_at_ms: 0,
            disk_delay_ms: (0, 5),
            failing_writes: 0,
            crash_at_write: None,
            writes: 0,
            restarts: 0,
            unacknowledged: VecDeque::new(),
            permitted: BTreeSet::new(),
            tick_at_ms: None,
            past_refusals: BTreeMap::new(),
            phrase,
        }
    }

    pub(crate) fn open(&mut self, agreement: Agreement, entropy: Entropy, now_ms: u64) {
        let identity = Identity::load(&*self.disk).expect("the record is whole").expect("it was written at birth");
        let clock = self.clock(now_ms);
        let engine = Engine::open(identity, agreement.build(), self.disk.clone(), entropy, clock);
        self.engine = Some(engine.expect("a store that lost un-durable writes opens"));
        self.restarts += u64::from(self.session > 0);
        self.session += 1;
        self.tick_at_ms = None;
        self.permitted.clear();
    }

    /// Drops the engine and what was not durable, but for the first `survive` writes.
    pub(crate) fn lose_engine(&mut self, survive: usize) {
        if let Some(engine) = self.engine.take() {
            for (reason, count) in engine.refusals() {
                *self.past_refusals.entry(*reason).or_default() += count;
            }
        }
        for (_, batch) in self.writing.drain(..).take(survive) {
            self.disk.write(&batch);
        }
        self.unacknowledged.clear();
        self.disk_free_at_ms = 0;
    }

    /// What this device takes the time to be.
    #[must_use]
    pub fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms)
    }

    /// What was refused since the world began.
    #[must_use]
    pub fn refusals(&self) -> RefusalCounts {
        let mut counts = self.past_refusals.clone();
        for (reason, count) in self.engine.iter().flat_map(|engine| engine.refusals()) {
            *counts.entry(*reason).or_default() += count;
        }
        counts
    }
}
