//! The engine of one device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use clave_crypto::{DeviceId, Entropy, EpochId, GroupKeyAgreement, PersonId, Sas};

use crate::circle::{Circle, DocumentInfo};
use crate::desk::{Desk, View};
use crate::identity::Identity;
use crate::{
    Batch, ChunkId, CircleId, DocumentId, EngineError, EntryId, InvitationId, Key, Keyspace, RefusalCounts, StoreRead,
};

mod circles;
pub(crate) mod collect;
mod commands;
mod export;
pub(crate) mod farewell;
pub(crate) mod fetch;
mod inviter;
pub(crate) mod join;
pub(crate) mod letters;
pub(crate) mod linking;
pub(crate) mod mailboxes;
mod marks;
mod newcomer;
mod output;
mod own_devices;
pub(crate) mod peers;
mod people;
pub(crate) mod pieces;
pub(crate) mod presence;
mod reach;
mod reads;
pub(crate) mod recover;
mod search;
pub(crate) mod serve;
mod settled;
pub(crate) mod sync;
mod taking;
pub(crate) mod verify;
mod views;
mod wants;

pub use circles::CircleInfo;
pub use collect::{CONDEMNED_MS, ChunkUsage, Collected};
pub use commands::CircleStatus;
pub use export::AccountExport;
pub use fetch::{CHUNKS_IN_FLIGHT_MAX, FetchId};
pub use inviter::{InvitationInfo, InvitationState};
pub use join::JoinError;
pub use letters::{PendingJoin, PendingJoinState};
pub use linking::LinkingError;
pub use mailboxes::{
    NotAToken, NotAnEndpoint, PushEndpoint, PushError, PushHealth, PushKeys, RELAYED_FILE_BYTES_MAX, RelayError,
    RelayInUse, RelayStatus, RelayToken,
};
pub use output::{Channel, Event, FRAME_BYTES_MAX, IoId, Output};
pub use own_devices::OwnDevice;
pub use people::{Access, DeviceAccess, PersonAccess, Reading};
pub use presence::{
    PLACES_MAX, PRESENCE_EVERY_MS, PRESENCE_EXPIRES_MS, PRESENCE_RENEW_MS, Present, Selection, TYPING_MS,
};
pub use reach::MessageState;
pub use verify::{VERIFICATION_MS_MAX, Verification, VerificationFailure, VerificationStep, VerifiedBy};

/// The state machine of one device: all its circles, over any store, network and clock.
///
/// It performs no I/O. Whoever drives it
/// - feeds **inputs**: [`handle_connected`](Self::handle_connected), [`handle_disconnected`](Self::handle_disconnected),
///   [`handle_frame`](Self::handle_frame), [`handle_sent`](Self::handle_sent), [`handle_written`](Self::handle_written),
///   [`handle_tick`](Self::handle_tick), [`handle_addresses`](Self::handle_addresses), each with the current time;
/// - gives **commands**: everything else that takes `now_ms`;
/// - then takes **outputs** until there are none: [`poll_output`](Self::poll_output); and calls `handle_tick` no later
///   than [`poll_timeout`](Self::poll_timeout) says.
///
/// What leaves the engine (frames, events) leaves only after everything written before it is durable: the outputs
/// behind a [`Output::Write`] appear once [`handle_written`](Self::handle_written) confirms it. So nothing is ever
/// shown or sent that a crash could take back.
pub struct Engine {
    identity: Identity,
    pub(crate) desk: Desk,
    pub(crate) circles: BTreeMap<CircleId, Circle>,
    peers: BTreeMap<DeviceId, peers::Peer>,
    /// Devices that are in some circle with this one, connected or not.
    permitted: BTreeSet<DeviceId>,
    /// The rosters that comes from.
    rosters: BTreeMap<CircleId, crate::circle::RosterVersion>,
    addresses: BTreeMap<DeviceId, Vec<String>>,
    joins: join::Joins,
    fetches: fetch::Fetches,
    chunk_counts: collect::ChunkCounts,
    wants: wants::Wants,
    verifications: verify::Verifications,
    presence: presence::Presence,
    reads: reads::Reads,
    reaches: reach::Reaches,
    mailboxes: mailboxes::Mailboxes,
    letters: letters::Letters,
    outbox: Outbox,
}

/// Outputs in order, each behind the writes it depends on.
#[derive(Default)]
struct Outbox {
    ready: VecDeque<Output>,
    /// What the input or command that is being handled brought forth: it goes behind the write that it makes.
    staged: Vec<Output>,
    next_io: u64,
    writes: VecDeque<PendingWrite>,
    failed: bool,
}

struct PendingWrite {
    io: IoId,
    keys: Vec<Key>,
    done: bool,
    then: Vec<Output>,
}

impl Outbox {
    fn write(&mut self, batch: Batch) {
        let io = IoId(self.next_io);
        self.next_io += 1;
        let keys = batch.writes.iter().map(|(key, _)| key.clone()).collect();
        self.ready.push_back(Output::Write { io, batch });
        self.writes.push_back(PendingWrite { io, keys, done: false, then: Vec::new() });
    }

    fn push(&mut self, output: Output) {
        self.staged.push(output);
    }

    /// Ends an input or command: first what it wrote, then everything else.
    fn close(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.write(batch);
        }
        let staged = std::mem::take(&mut self.staged);
        match self.writes.back_mut() {
            Some(write) => write.then.extend(staged),
            None => self.ready.extend(staged),
        }
    }
}

impl Engine {
    /// Opens the engine of `identity` over what is stored.
    ///
    /// # Errors
    /// If the store cannot be read or holds damaged records.
    pub fn open(
        identity: Identity,
        agreement: Box<dyn GroupKeyAgreement + Send>,
        store: Arc<dyn StoreRead + Send + Sync>,
        entropy: Entropy,
        now_ms: u64,
    ) -> Result<Self, EngineError> {
        let desk = Desk {
            device: identity.device_key(),
            incarnation: identity.incarnation(),
            agreement,
            entropy,
            now_ms,
            store: View::new(store),
            bundling: crate::Bundling::default(),
            pages: crate::index::Pages::default(),
            batch: Batch::default(),
            events: Vec::new(),
            published: Vec::new(),
            relayed: Vec::new(),
            introducing: Vec::new(),
            introduced: Vec::new(),
            marks: Vec::new(),
            reads: Vec::new(),
            person: identity.person(),
            memory_budget_bytes: crate::circle::MEMORY_BUDGET_BYTES,
            is_sparing: false,
            uses: 0,
            refusals: RefusalCounts::new(),
            renamed: None,
            freed_bytes: 0,
            damaged: std::collections::BTreeSet::new(),
            erased: false,
        };
        let mut engine = Self {
            identity,
            desk,
            circles: BTreeMap::new(),
            peers: BTreeMap::new(),
            permitted: BTreeSet::new(),
            rosters: BTreeMap::new(),
            addresses: BTreeMap::new(),
            joins: join::Joins::default(),
            fetches: fetch::Fetches::default(),
            chunk_counts: collect::ChunkCounts::default(),
            wants: wants::Wants::default(),
            verifications: verify::Verifications::default(),
            presence: presence::Presence::default(),
            reads: reads::Reads::default(),
            reaches: reach::Reaches::default(),
            mailboxes: mailboxes::Mailboxes::default(),
            letters: letters::Letters::default(),
            outbox: Outbox::default(),
        };
        for suffix in engine.desk.store.all(Keyspace::Circles, &[])?.into_keys() {
            let id = CircleId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            engine.circles.insert(id, Circle::open(id, &mut engine.desk)?);
        }
        engine.load_addresses()?;
        engine.load_answers()?;
        engine.load_links()?;
        engine.load_unsent()?;
        engine.load_muted()?;
        engine.load_reaches()?;
        engine.load_letters()?;
        engine.reads.stir(now_ms);
        crate::key_packages::prune(&mut engine.desk)?;
        engine.finish();
        Ok(engine)
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.ready.pop_front()
    }

    /// When [`handle_tick`](Self::handle_tick) is due, in Unix milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let sparing = self.desk.is_sparing;
        let wake = |circle: &Circle| match sparing {
            true => [circle.wake_sparing_at_ms(), None, None],
            false => [circle.wake_sparing_at_ms(), circle.bundle_at_ms(), circle.follow_at_ms()],
        };
        let repairs = self.circles.values().flat_map(wake).flatten();
        let others = [
            self.next_reconcile_ms(),
            self.next_retry_ms(),
            self.next_introduction_ms(),
            self.wants.next_deadline_ms(),
            self.fetches.next_deadline_ms(),
            self.verifications.next_deadline_ms(),
            self.presence.next_deadline_ms(),
            self.next_asking_ms(),
            self.reads.due_at_ms(),
            self.reaches.due_at_ms(),
            self.mailboxes.due_at_ms(|relay| self.peers.contains_key(relay)),
            self.letters.due_at_ms(),
        ];
        repairs.chain(others.into_iter().flatten()).min()
    }

    /// Input: a write became durable, or failed.
    ///
    /// After a failure the engine refuses every command with [`EngineError::WriteFailed`]: its memory is ahead of the
    /// disk. Drop it and open it again; what was not durable was shown to nobody.
    pub fn handle_written(&mut self, io: IoId, written: bool) {
        if !written {
            self.outbox.failed = true;
            self.outbox.ready.clear();
            self.outbox.staged.clear();
            self.outbox.writes.clear();
            return;
        }
        if let Some(write) = self.outbox.writes.iter_mut().find(|write| write.io == io) {
            write.done = true;
        }
        while self.outbox.writes.front().is_some_and(|write| write.done) {
            let write = self.outbox.writes.pop_front().expect("the loop condition saw it");
            self.desk.store.written(&write.keys);
            self.outbox.ready.extend(write.then);
        }
    }

    /// Input: time passed.
    pub fn handle_tick(&mut self, now_ms: u64) {
        self.desk.now_ms = now_ms;
        self.reconcile_when_due();
        self.retry_when_due();
        self.wants.expire(now_ms);
        self.fetches.expire(now_ms);
        self.expire_verifications();
        self.tend_relays();
        self.expire_asks();
        self.follow_when_due();
        self.tell_reads();
        self.tend_presence();
        self.finish();
    }

    /// Has entries be bundled at other times than by default.
    pub fn set_bundling(&mut self, bundling: crate::Bundling) {
        self.desk.bundling = bundling;
        self.circles.values_mut().for_each(Circle::stir_bundles);
    }

    /// Who this device is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The newest write that is not durable yet, if any: once it is, so is everything before it.
    #[must_use]
    pub fn last_write(&self) -> Option<IoId> {
        self.outbox.writes.back().map(|write| write.io)
    }

    /// How often what was refused, since the engine was opened.
    #[must_use]
    pub fn refusals(&self) -> &RefusalCounts {
        &self.desk.refusals
    }

    /// Whether a write failed: see [`handle_written`](Self::handle_written).
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.outbox.failed
    }

    /// Starts a command: refuses it if a write has failed.
    pub(crate) fn begin(&mut self, now_ms: u64) -> Result<(), EngineError> {
        self.desk.now_ms = now_ms;
        if self.outbox.failed { Err(EngineError::WriteFailed) } else { Ok(()) }
    }

    /// Ends an input or command: mends rosters, then turns what lies on the desk into outputs, writes first.
    pub(crate) fn finish(&mut self) {
        if self.outbox.failed {
            self.desk.batch = Batch::default();
            self.outbox.staged.clear();
            return;
        }
        self.desk.person = self.identity.person();
        self.take_introductions();
        self.take_marks();
        self.take_reads();
        self.follow_spaces();
        self.care_for_own_devices();
        self.care_for_recovery();
        self.follow_own_name();
        self.watch_grants();
        self.repair_rosters();
        self.introduce_anew();
        self.introduce();
        // Before anything else is said to who just came in: it would refuse that.
        self.pump_joins();
        self.update_permissions();
        self.say_farewells();
        self.present();
        self.ask_to_return();
        self.spread();
        self.pump();
        self.pump_wants();
        while self.resume_reconciling() {
            self.pump_wants();
        }
        self.pump_fetches();
        self.pump_chunks();
        self.pump_mailboxes();
        self.end_joins();
        self.mend_indexes();
        self.desk.file_pages();
        self.care_for_reads();
        self.care_for_reaches();
        self.follow_epochs();
        self.make_room(None);
        if std::mem::take(&mut self.desk.erased) {
            self.outbox.push(Output::Compact);
        }
        if let freed @ 1.. = std::mem::take(&mut self.desk.freed_bytes) {
            self.outbox.push(Output::Freed(freed));
        }
        for event in std::mem::take(&mut self.desk.events) {
            self.outbox.push(Output::Event(event));
        }
        self.outbox.close(std::mem::take(&mut self.desk.batch));
    }

    /// Makes the indexes anew that were found damaged.
    fn mend_indexes(&mut self) {
        for id in std::mem::take(&mut self.desk.damaged) {
            if let Some(Err(error)) = self.circles.get_mut(&id).map(|circle| circle.rebuild_index(&mut self.desk)) {
                tracing::error!(circle = %id.short(), %error, "the index of entries could not be made anew");
            }
        }
    }

    fn watch_grants(&mut self) {
        for circle in self.circles.values_mut() {
            circle.watch_grants(&mut self.desk);
        }
    }

    fn repair_rosters(&mut self) {
        let mut online: Vec<DeviceId> = self.peers.keys().copied().collect();
        online.push(self.desk.me());
        let relayed = self.relayed_circles();
        for circle in self.circles.values_mut() {
            circle.has_relay = relayed.contains(&circle.id);
            if let Err(error) = circle.tend(&online, &mut self.desk) {
                tracing::error!(circle = %circle.id.short(), %error, "the roster could not be mended");
            }
        }
    }

    pub(crate) fn circle_mut(&mut self, id: CircleId) -> Result<(&mut Circle, &mut Desk), EngineError> {
        let circle = self.circles.get_mut(&id).ok_or(EngineError::NoSuchCircle)?;
        Ok((circle, &mut self.desk))
    }
}
