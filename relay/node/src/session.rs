//! What one device and the relay say to each other: a state machine without I/O.
//!
//! **Inputs**: [`handle_frame`](Session::handle_frame) (the device sent one), [`handle_done`](Session::handle_done) (the store did a
//! [`Task`]), [`handle_arrival`](Session::handle_arrival) and [`handle_lagged`](Session::handle_lagged) (something was stored in a mailbox
//! that is followed), [`handle_drain`](Session::handle_drain), [`handle_tick`](Session::handle_tick) (the
//! [`deadline`](Session::deadline) has come). **Output**: [`poll_output`](Session::poll_output), after each input until there is none.
//! **Asked**: [`wants_frames`](Session::wants_frames), before a frame is read.
//!
//! Requests are answered in the order in which they came. Puts are stored side by side; what has a long answer begins once everything
//! before it is answered, so that there is at most one such answer, and it sees what was put before it.

mod deliveries;
mod requests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use clave_mailbox::{BlobId, Bytes, Delivery, Item, Kind, Notice, Reason, Refused, Reply, Request, reply};
use clave_transport::PeerKey;

use self::deliveries::{Deliveries, Reading};
use crate::{
    access::{Access, Blocks},
    frames,
    sources::Ticket,
    store::{Batch, MailboxId, MailboxState, Page, Placed, StoreError},
    wake::{Health, Subscription, SubscriptionId, Wakes},
};

/// Requests of one session that wait for their answer. Beyond, no further one is read.
pub(crate) const REQUESTS_IN_FLIGHT_MAX: usize = 512;

/// Bytes of puts of one session that wait to be stored. Beyond, no further request is read.
pub(crate) const PUT_BYTES_IN_FLIGHT_MAX: usize = 512 << 10;

/// The longest frame of who has not said hello.
pub(crate) const HELLO_BYTES_MAX: usize = 1 << 10;

/// Who has said nothing for so long since it came is cut off.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// Entries of one page that is delivered.
const PAGE_ENTRIES_MAX: usize = 4_096;

/// What the relay offers. The same for all sessions that begin now.
pub(crate) struct Terms {
    /// The relay's key, for which proofs are made.
    pub(crate) relay: [u8; 32],
    pub(crate) generation: [u8; 16],
    pub(crate) kept_seconds: u64,
    pub(crate) blob_bytes_max: u64,
    pub(crate) mailboxes_max: u32,
    pub(crate) access: Access,
    pub(crate) blocks: Arc<Blocks>,
    /// `None`: nobody is woken.
    pub(crate) wakes: Option<Arc<Wakes>>,
}

/// Which task an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// Something that the store is to do, or `Wakes`.
#[derive(Debug)]
pub(crate) enum Task {
    Put(Batch),
    States(Vec<MailboxId>),
    Get {
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
    },
    Which {
        mailboxes: Vec<MailboxId>,
        kind: Kind,
        ids: Vec<BlobId>,
    },
    Reconcile {
        mailbox: MailboxId,
        message: Bytes,
    },
    Read {
        mailbox: MailboxId,
        after: u64,
        bytes: usize,
        entries: usize,
    },
    /// `None`: no more.
    Wake {
        id: SubscriptionId,
        wanted: Option<Subscription>,
        now_seconds: u64,
    },
}

/// What came of a task, in the same order.
#[derive(Debug)]
pub(crate) enum Done {
    Put(Result<Placed, StoreError>),
    States(Result<Vec<MailboxState>, StoreError>),
    Get(Result<Vec<Option<Bytes>>, StoreError>),
    Which(Result<Vec<bool>, StoreError>),
    /// `None`: that was no message of a reconciliation.
    Reconcile(Result<Option<Vec<u8>>, StoreError>),
    Read(Result<Page, StoreError>),
    Wake(Result<Health, StoreError>),
}

/// Something that was stored in a mailbox, for everyone who follows it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) mailbox: MailboxId,
    pub(crate) position: u64,
    pub(crate) id: BlobId,
    /// Of the entry.
    pub(crate) bytes: usize,
    /// The whole frame of its delivery, length and all: made once, shared by all.
    pub(crate) frame: Bytes,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Write this, which is a frame with its length.
    Send(Bytes),
    /// Have this done.
    Task(TaskId, Task),
    /// Tell of what is stored in this mailbox from now on.
    Follow(MailboxId),
    /// No longer.
    Unfollow(MailboxId),
    /// Close, having written what was to be sent.
    End(Ended),
}

/// Why a session ended, by who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The device closed, or went away.
    Closed,
    /// The device sent something that is no request, or none that is due.
    Malformed,
    /// The device said nothing at first.
    Silent,
    /// The device does not speak a version that we do.
    Version,
    /// The device is not among those that the relay is for, or is blocked.
    Refused,
    /// The device acknowledged nothing.
    Unacknowledged,
    /// The device does not read.
    Slow,
    /// Another session took the place of this one.
    Replaced,
    /// The relay stops.
    Drained,
    /// The store failed.
    Failed,
}

/// A request that was not answered yet.
struct Slot {
    number: u64,
    state: Pending,
}

enum Pending {
    /// Begins once everything before it is answered. The second: what the answer needs to know of the request.
    Queued(Task, About),
    Running(TaskId, About),
    Answered(reply::Body),
}

/// What an answer needs to know of its request.
#[derive(Debug)]
enum About {
    /// Ids of entries only, and bytes of all.
    Put {
        mailbox: MailboxId,
        ids: Vec<BlobId>,
        bytes: usize,
    },
    /// The mailboxes, and after which position each is to be followed.
    Open(Vec<(MailboxId, Option<u64>)>),
    Get,
    Reconcile(MailboxId),
    Wake,
}

/// What a session counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// Blobs that were put and were news.
    pub(crate) put: u64,
    /// Entries that were sent because a mailbox is followed.
    pub(crate) delivered: u64,
    /// Why requests were refused.
    pub(crate) refused: Vec<Reason>,
}

/// One device's session. See the module.
pub(crate) struct Session {
    terms: Arc<Terms>,
    peer: PeerKey,
    ticket: Ticket,
    challenge: [u8; 32],
    began: Instant,
    greeted: bool,
    draining: bool,
    slots: VecDeque<Slot>,
    /// The page that is being read, if one is.
    reading: Option<(TaskId, Reading)>,
    tasks: u64,
    open: BTreeSet<MailboxId>,
    /// What is being put now, and by how many requests: it is not delivered.
    putting: BTreeMap<(MailboxId, BlobId), usize>,
    /// Of the puts that wait to be stored.
    put_bytes: usize,
    deliveries: Deliveries,
    outputs: VecDeque<Output>,
    tally: Tally,
    /// It ends once everything is answered.
    ending: Option<Ended>,
    ended: bool,
}

impl Session {
    /// A device has come. The challenge is 32 random bytes.
    pub(crate) fn new(terms: Arc<Terms>, peer: PeerKey, ticket: Ticket, challenge: [u8; 32], now: Instant) -> Self {
        Self {
            terms,
            peer,
            ticket,
            challenge,
            began: now,
            greeted: false,
            draining: false,
            slots: VecDeque::new(),
            reading: None,
            tasks: 0,
            open: BTreeSet::new(),
            putting: BTreeMap::new(),
            put_bytes: 0,
            deliveries: Deliveries::default(),
            outputs: VecDeque::new(),
            tally: Tally::default(),
            ending: None,
            ended: false,
        }
    }

    /// Whether a further frame may be read; if only later, how long until then.
    pub(crate) fn wants_frames(&self, now: Instant) -> Result<(), Option<Duration>> {
        let is_full = self.slots.len() >= REQUESTS_IN_FLIGHT_MAX || self.put_bytes >= PUT_BYTES_IN_FLIGHT_MAX;
        if self.ending.is_some() || is_full {
            return Err(None);
        }
        match self.ticket.owes_requests(now) {
            Duration::ZERO => Ok(()),
            wait => Err(Some(wait)),
        }
    }

    /// How long the next frame may be, in bytes.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        if self.greeted { clave_mailbox::FRAME_BYTES_MAX } else { HELLO_BYTES_MAX }
    }

    /// The device sent a frame. `now_seconds` is the same moment, since 1970.
    pub(crate) fn handle_frame(&mut self, frame: &[u8], now: Instant, now_seconds: u64) {
        if self.ending.is_some() {
            return;
        }
        let Ok(Request { number, body: Some(body) }) = clave_mailbox::decode::<Request>(frame) else {
            return self.refuse_and_end(0, Reason::Malformed, Ended::Malformed);
        };
        self.tally.requests += 1;
        self.ticket.count_request(requests::weight(&body), now);
        self.request(number, body, now, now_seconds);
        self.advance();
    }

    /// The store did a task.
    pub(crate) fn handle_done(&mut self, task: TaskId, done: Done, now: Instant) {
        if let Some((reading, of)) = self.reading
            && reading == task
        {
            self.reading = None;
            match done {
                Done::Read(Ok(page)) => self.deliver(of, page, now),
                // What was not read must not be passed over: the device comes back.
                _ => self.end(Ended::Failed),
            }
            return self.advance();
        }
        let at =
            self.slots.iter().position(|slot| matches!(&slot.state, Pending::Running(running, _) if *running == task));
        let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) else { return };
        let state = std::mem::replace(&mut slot.state, Pending::Answered(refused(Reason::Internal, Duration::ZERO)));
        let number = slot.number;
        if let Pending::Running(_, about) = state {
            let answer = self.answer(number, about, done);
            if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
                slot.state = Pending::Answered(answer);
            }
        }
        self.advance();
    }

    /// Something was stored in a mailbox that is followed.
    pub(crate) fn handle_arrival(&mut self, arrival: &Arrival, now: Instant) {
        let Arrival { mailbox, position, id, bytes, frame } = arrival;
        let own = self.putting.contains_key(&(*mailbox, *id));
        if self.deliveries.arrived(*mailbox, *position, *bytes, own, now) {
            self.tally.delivered += 1;
            self.outputs.push_back(Output::Send(frame.clone()));
        }
        self.advance();
    }

    /// More was stored in a mailbox that is followed than could be told.
    pub(crate) fn handle_lagged(&mut self, mailbox: MailboxId) {
        self.deliveries.lagged(mailbox);
        self.advance();
    }

    /// The relay is about to stop: takes no more puts from now on.
    pub(crate) fn handle_drain(&mut self) {
        if !self.draining {
            self.draining = true;
            self.send(0, reply::Body::Notice(Notice { draining: true }));
        }
    }

    /// Ends it once everything is answered, for a reason of the owner's.
    pub(crate) fn handle_end(&mut self, why: Ended) {
        self.end(why);
        self.advance();
    }

    /// Time has passed.
    pub(crate) fn handle_tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.end(if self.greeted { Ended::Unacknowledged } else { Ended::Silent });
            self.advance();
        }
    }

    /// When to call [`handle_tick`](Self::handle_tick).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.ending.is_some() {
            return None;
        }
        if self.greeted { self.deliveries.deadline() } else { Some(self.began + HELLO_TIMEOUT) }
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        // A page is read once everything before it was written: who does not read has no more than one in our memory.
        if output.is_none() && self.ending.is_none() {
            return self.next_reading();
        }
        output
    }

    /// Mailboxes of which the device may not have been told everything, or has not said that it has it; up to which position it has all, and which it has
    /// beyond.
    pub(crate) fn undelivered(&self) -> Vec<(MailboxId, u64, BTreeSet<u64>)> {
        self.deliveries.undelivered().collect()
    }

    /// Whether a put waits or is under way.
    pub(crate) fn is_putting(&self) -> bool {
        !self.putting.is_empty()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Requests that wait, and bytes: of puts that wait, and that are on their way to the device.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        (self.slots.len(), self.put_bytes, self.deliveries.on_way_bytes())
    }

    /// What was counted since this was asked last.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn next_reading(&mut self) -> Option<Output> {
        let reading = self.deliveries.next_reading()?;
        let task = self.next_task();
        self.reading = Some((task, reading));
        let Reading { mailbox, after, bytes, .. } = reading;
        let bytes = bytes.min(clave_mailbox::BLOBS_FRAME_BYTES);
        Some(Output::Task(task, Task::Read { mailbox, after, bytes, entries: PAGE_ENTRIES_MAX }))
    }

    fn deliver(&mut self, reading: Reading, page: Page, now: Instant) {
        let putting = &self.putting;
        let is_own = |id: &BlobId| putting.contains_key(&(reading.mailbox, *id));
        let entries = self.deliveries.take_page(reading, page.entries, page.more, is_own, now);
        if !entries.is_empty() {
            self.tally.delivered += entries.len() as u64;
            let item = |entry: crate::store::StoredEntry| Item { position: entry.position, bytes: entry.bytes };
            let mailbox = Bytes::copy_from_slice(&reading.mailbox.0);
            let delivery = Delivery { mailbox, entries: entries.into_iter().map(item).collect() };
            self.send(0, reply::Body::Delivery(delivery));
        }
    }

    fn next_task(&mut self) -> TaskId {
        self.tasks += 1;
        TaskId(self.tasks)
    }

    fn send(&mut self, number: u64, body: reply::Body) {
        if let reply::Body::Refused(refused) = &body {
            self.tally.refused.push(refused.reason());
        }
        self.outputs.push_back(Output::Send(frames::framed(&Reply { number, body: Some(body) })));
    }

    /// Sends the answers that are due, and begins what waited for them.
    fn advance(&mut self) {
        while let Some(slot) = self.slots.front_mut() {
            match std::mem::replace(&mut slot.state, Pending::Answered(refused(Reason::Internal, Duration::ZERO))) {
                Pending::Answered(body) => {
                    let number = slot.number;
                    self.slots.pop_front();
                    self.send(number, body);
                }
                Pending::Running(task, about) => {
                    slot.state = Pending::Running(task, about);
                    break;
                }
                Pending::Queued(task, about) => {
                    self.tasks += 1;
                    let id = TaskId(self.tasks);
                    slot.state = Pending::Running(id, about);
                    self.outputs.push_back(Output::Task(id, task));
                    break;
                }
            }
        }
        if let Some(why) = self.ending
            && self.slots.is_empty()
            && !self.ended
        {
            self.ended = true;
            self.outputs.push_back(Output::End(why));
        }
    }

    fn end(&mut self, why: Ended) {
        self.ending.get_or_insert(why);
    }

    fn answered(&mut self, number: u64, body: reply::Body) {
        self.slots.push_back(Slot { number, state: Pending::Answered(body) });
    }

    fn refuse(&mut self, number: u64, reason: Reason) {
        self.answered(number, refused(reason, Duration::ZERO));
    }

    fn refuse_and_end(&mut self, number: u64, reason: Reason, why: Ended) {
        self.refuse(number, reason);
        self.end(why);
        self.advance();
    }
}

fn refused(reason: Reason, retry_after: Duration) -> reply::Body {
    // Rounded up: whoever comes back then is not too early.
    let retry_after_ms = u64::try_from(retry_after.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    reply::Body::Refused(Refused { reason: reason.into(), retry_after_ms })
}
