//! The engine of one device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
mod own_devices;
pub(crate) mod peers;
mod people;
pub(crate) mod pieces;
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
pub use mailboxes::{RELAYED_FILE_BYTES_MAX, RelayError, RelayStatus};
pub use own_devices::OwnDevice;
pub use people::{Access, DeviceAccess, PersonAccess, Reading};
pub use verify::{VERIFICATION_MS_MAX, Verification, VerificationFailure, VerificationStep, VerifiedBy};

/// Numbers a write until it is reported durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IoId(pub u64);

/// What a frame is about: each has a stream of its own, so that a file does not hold up a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Entries and reconciliation, between members.
    Sync,
    /// Taking up an invitation; the only channel for somebody who is not a member.
    Join,
    /// Chunks of files, between members.
    Bulk,
    /// Mailboxes, with relays.
    Mailbox,
}

/// What the engine wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Write this durably, then say so with [`Engine::handle_written`].
    Write {
        /// To be handed back.
        io: IoId,
        /// All of it or nothing.
        batch: Batch,
    },
    /// Send a frame, then say so with [`Engine::handle_sent`]. To a peer that is gone by now: drop it.
    Send {
        /// To whom.
        peer: DeviceId,
        /// On which stream.
        channel: Channel,
        /// At most [`FRAME_BYTES_MAX`] bytes.
        frame: Vec<u8>,
    },
    /// From now on, accept sync and bulk frames from this peer.
    Permit(DeviceId),
    /// From now on, do not.
    Forbid(DeviceId),
    /// This device can probably be reached there.
    Addresses {
        /// Which device.
        device: DeviceId,
        /// Multiaddrs.
        addresses: Vec<String>,
    },
    /// From now on, be connected with this relay: it is wanted at this address. Frames of [`Channel::Mailbox`] are to be accepted from
    /// it.
    WantRelay {
        /// Its key.
        relay: DeviceId,
        /// A multiaddr with its `/p2p/`.
        address: String,
    },
    /// No longer.
    DropRelay(DeviceId),
    /// End the connection with this relay: what was said on it leads nowhere. It is wanted still.
    HangUp(DeviceId),
    /// From now on, or no longer, dial whoever is discovered nearby: the device that answers a typed code may be anyone.
    Seek(bool),
    /// Something was erased because of the history policy of its circle: have the store overwrite or give back what it
    /// left behind ([`Store::compact`] in `clave`). May take its time, and need not be done each time at once.
    ///
    /// [`Store::compact`]: https://docs.rs/clave
    Compact,
    /// So many bytes are not needed any more, because a bundle holds what they said: the store may be compacted when they come
    /// to much of it. Nothing has to be overwritten.
    Freed(u64),
    /// Tell the application.
    Event(Event),
}

/// What the application is told. Everything it speaks of is durable by then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This device is now in a circle.
    Joined {
        /// Which circle.
        circle: CircleId,
        /// By which invitation.
        invitation: InvitationId,
    },
    /// A relay keeps the request to come in by an invitation: the inviter's device answers once it is online, whether this one
    /// is or not. Said once after each opening, for each invitation.
    JoinAsked {
        /// Which invitation.
        invitation: InvitationId,
    },
    /// The answer to an invitation is coming in.
    JoinProgress {
        /// Which invitation.
        invitation: InvitationId,
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// A device asks to be linked to this device's person, who wanted to be asked: answer with
    /// [`Engine::confirm_link`].
    LinkRequested {
        /// By which code.
        link: InvitationId,
        /// The device that asks.
        device: DeviceId,
        /// What it is called, by its own account.
        device_name: String,
        /// What it shows as well, unless somebody is between the two.
        sas: Sas,
    },
    /// A device that was let in has everything.
    DeviceLinked {
        /// By which code.
        link: InvitationId,
        /// The device.
        device: DeviceId,
    },
    /// This device asked to be linked, and waits for the person to confirm it on the other one.
    LinkPending {
        /// Whose device it would become, by the other's account.
        person_name: String,
        /// What the other shows as well, unless somebody is between the two.
        sas: Sas,
    },
    /// This device belongs to a person now. Their circles follow.
    Linked {
        /// The person.
        person: PersonId,
    },
    /// A circle of the person is coming in.
    LinkProgress {
        /// Circles that are here.
        done_circles: usize,
        /// Circles in all.
        total_circles: usize,
        /// Bytes of the one that is coming.
        done_bytes: u64,
        /// Bytes that it has in all.
        total_bytes: u64,
    },
    /// This device was added to a circle that its person is in.
    CircleLinked {
        /// Which circle.
        circle: CircleId,
    },
    /// This device has all circles of its person.
    LinkFinished,
    /// This device could not be linked.
    LinkFailed {
        /// Why, and what to do.
        error: LinkingError,
    },
    /// An invitation was refused.
    JoinFailed {
        /// Which invitation.
        invitation: InvitationId,
        /// Why, and what to do.
        error: JoinError,
    },
    /// This device, which was restored, was let in again and writes from now on.
    Rejoined {
        /// To which circle.
        circle: CircleId,
    },
    /// This device was removed from a circle. It keeps what it has and gets nothing more.
    Removed {
        /// Which circle.
        circle: CircleId,
    },
    /// A verification began or came further.
    VerificationChanged {
        /// The circle in which the two met.
        circle: CircleId,
        /// The other device.
        device: DeviceId,
        /// How far it is.
        step: verify::VerificationStep,
    },
    /// This person read on, here or on another device of theirs.
    ReadChanged {
        /// In which circle.
        circle: CircleId,
    },
    /// Both sides said that they see the same: this person is verified here from now on.
    PersonVerified {
        /// The circle in which the two met.
        circle: CircleId,
        /// Who.
        person: clave_crypto::PersonId,
    },
    /// A verification came to nothing.
    VerificationFailed {
        /// The other device.
        device: DeviceId,
        /// Why.
        why: verify::VerificationFailure,
    },
    /// All that this device made in a circle is at a relay by now: others get it, whoever is online when.
    Stored {
        /// Which circle.
        circle: CircleId,
    },
    /// Somebody brought this device into a circle of a space.
    CircleJoined {
        /// The space.
        space: CircleId,
        /// Which circle.
        circle: CircleId,
    },
    /// A guest's stay ends soon: a day before, and an hour before.
    GrantEnds {
        /// In which circle.
        circle: CircleId,
        /// Whose.
        person: clave_crypto::PersonId,
        /// When, in Unix milliseconds.
        expires_ms: u64,
    },
    /// This device is called something else from now on: its person renamed it, here or on another device of theirs.
    Renamed {
        /// How.
        name: String,
    },
    /// Something about people, devices, roles or policies changed.
    MembershipChanged {
        /// Which circle.
        circle: CircleId,
    },
    /// Entries are sealed under another epoch from now on.
    EpochChanged {
        /// Which circle.
        circle: CircleId,
        /// The new head.
        epoch: EpochId,
    },
    /// A device was seen to use the keys in use for the first time.
    KeysConfirmed {
        /// In which circle.
        circle: CircleId,
        /// Which device.
        device: DeviceId,
    },
    /// A document changed, here or elsewhere.
    DocumentChanged {
        /// In which circle.
        circle: CircleId,
        /// Which document.
        document: DocumentId,
        /// Of which kind.
        kind: clave_crdt::DocumentKind,
    },
    /// A member's device connected or left.
    Presence {
        /// Which device.
        device: DeviceId,
        /// Whether it is connected now.
        online: bool,
    },
    /// Reconciliation with a peer found no difference that is not on its way.
    Reconciled {
        /// With whom.
        device: DeviceId,
        /// About which circle.
        circle: CircleId,
    },
    /// A fetch came further.
    FetchProgress {
        /// Which fetch.
        fetch: FetchId,
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// What could be fetched is here, but the manifest of a file is not what its drive says: that one cannot be fetched
    /// from anybody.
    FetchFailed {
        /// Which fetch.
        fetch: FetchId,
    },
    /// Every chunk of the files is here.
    Fetched {
        /// Which fetch.
        fetch: FetchId,
    },
}

/// The greatest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

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
    reads: reads::Reads,
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
            reads: reads::Reads::default(),
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
        let repairs = self.circles.values().flat_map(|circle| [circle.wake_at_ms(), circle.follow_at_ms()]).flatten();
        let others = [
            self.next_reconcile_ms(),
            self.next_retry_ms(),
            self.next_introduction_ms(),
            self.wants.next_deadline_ms(),
            self.fetches.next_deadline_ms(),
            self.verifications.next_deadline_ms(),
            self.next_asking_ms(),
            self.reads.due_at_ms(),
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
