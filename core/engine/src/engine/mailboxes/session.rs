//! One session with one relay: what was asked and not answered, which mailboxes are open, what is to be stored.

use clave_crypto::MailboxId;

use super::comparing::Comparison;
use super::outbox::{Item, Order};
use super::waking::Wake;
use super::*;
use crate::EntryId;
use crate::circle::mailboxes::FollowedVersion;
use crate::engine::letters::Posted;

/// The most mailboxes that this device has open at one relay, whatever that allows.
pub(super) const MAILBOXES_OPEN_MAX: usize = 4_096;
/// How long nothing is asked of a relay that cannot do it now, unless it says when, in milliseconds.
const PAUSE_MS: u64 = 30_000;
/// How long an answer to the greeting is waited for when the stream has ended already, in milliseconds.
const INTERRUPTED_MS_MAX: u64 = 2_000;
/// The bounds of what it may say, in milliseconds.
const PAUSE_MS_MIN: u64 = 1_000;
const PAUSE_MS_MAX: u64 = 600_000;

/// How far a session is.
pub(super) enum State {
    /// It was said hello.
    Greeting,
    /// It answered.
    Open { challenge: [u8; 32], blob_bytes_max: u64 },
}

/// What an answer is about.
pub(in crate::engine) enum Asked {
    Hello,
    Open(Vec<MailboxId>),
    Close,
    /// And how many bytes that is.
    Put(Vec<Item>, usize),
    Reconcile,
    /// Entries that a comparison found missing here.
    Need(Vec<EntryId>),
    Chunks(CircleId, Vec<ChunkId>),
    /// Which letters are in the mailbox of an invitation.
    AreLetters(InvitationId, Vec<EntryId>),
    /// To store one there.
    Letter(InvitationId, EntryId),
    /// To be woken, or no more.
    Wake(bool),
}

/// A mailbox that was asked to be open.
pub(in crate::engine) struct Opened {
    pub(super) of: Mailbox,
    /// Whether deliveries were asked for, and are taken.
    pub(super) follow: bool,
    /// Whether the relay said that it is open.
    pub(in crate::engine) confirmed: bool,
    /// Whether it is about to be compared, and followed after that.
    pub(super) to_compare: bool,
    /// Up to where it was read.
    pub(super) position: u64,
    /// The position of the newest entry there as it was first opened in this session: what this session stores itself has later
    /// ones, and is not delivered to it.
    pub(super) last: Option<u64>,
    /// Whether something was delivered that is to be looked at again: how far it was read is not remembered since.
    pub(super) again: bool,
}

pub(in crate::engine) struct Session {
    pub(super) state: State,
    number: u64,
    asked: VecDeque<(u64, Asked)>,
    pub(super) began_ms: u64,
    /// When the relay last said anything, or was first asked since.
    pub(super) heard_ms: u64,
    pub(in crate::engine) open: BTreeMap<MailboxId, Opened>,
    /// How many may be open.
    pub(super) limit: usize,
    /// How many are opened by one request: one at a time, once a request for several was refused.
    pub(super) opens_at_once: usize,
    /// How many blobs a Put has, likewise.
    pub(super) puts_at_once: usize,
    /// Mailboxes that the relay refuses.
    pub(super) shunned: BTreeSet<MailboxId>,
    /// What to follow, as last worked out.
    pub(super) followed: Vec<Mailbox>,
    pub(super) followed_of: Vec<(CircleId, FollowedVersion)>,
    pub(super) followed_at_ms: u64,
    /// Which mailboxes of invitations there were then.
    pub(super) followed_letters: u64,
    /// What is known of the letters that this device keeps.
    pub(in crate::engine) letters: BTreeMap<EntryId, Posted>,
    /// What is to be stored there.
    pub(super) queue: BTreeSet<(Order, Item)>,
    /// What is on its way, and the bytes of that.
    pub(super) putting: BTreeMap<Item, Order>,
    pub(super) putting_bytes: usize,
    pub(super) puts: usize,
    paused_until_ms: u64,
    /// What is here of each mailbox, if it is to be compared.
    pub(super) here: Option<BTreeMap<MailboxId, (Mailbox, BTreeSet<EntryId>)>>,
    /// The same of mailboxes that were opened for nothing but that.
    pub(super) here_open: BTreeMap<MailboxId, BTreeSet<EntryId>>,
    /// Since when, in Unix milliseconds, the relay has all that is here once that is done.
    pub(super) compared_since_ms: Option<u64>,
    /// Mailboxes that are open and wait for their comparison, and the position of the newest entry there.
    pub(super) to_compare: VecDeque<(MailboxId, u64, u64)>,
    pub(super) comparison: Option<Comparison>,
    pub(super) wake: Wake,
    /// When the stream with the relay ended before it answered the greeting: a refusal may be right behind that.
    interrupted_ms: Option<u64>,
}

impl Session {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            state: State::Greeting,
            number: 0,
            asked: VecDeque::new(),
            began_ms: now_ms,
            heard_ms: now_ms,
            open: BTreeMap::new(),
            limit: 0,
            opens_at_once: wire::OPEN_MAX,
            puts_at_once: wire::IDS_MAX,
            shunned: BTreeSet::new(),
            followed: Vec::new(),
            followed_of: Vec::new(),
            followed_at_ms: 0,
            followed_letters: 0,
            letters: BTreeMap::new(),
            queue: BTreeSet::new(),
            putting: BTreeMap::new(),
            putting_bytes: 0,
            puts: 0,
            paused_until_ms: 0,
            here: None,
            here_open: BTreeMap::new(),
            compared_since_ms: None,
            to_compare: VecDeque::new(),
            comparison: None,
            wake: Wake::default(),
            interrupted_ms: None,
        }
    }

    /// Makes a request, whose answer is about `asked`.
    pub(super) fn ask(&mut self, body: request::Body, asked: Asked, now_ms: u64) -> Request {
        if self.asked.is_empty() {
            self.heard_ms = now_ms;
        }
        self.number += 1;
        self.asked.push_back((self.number, asked));
        Request { number: self.number, body: Some(body) }
    }

    /// Makes a request that has no answer.
    pub(super) fn tell(&mut self, body: request::Body) -> Request {
        self.number += 1;
        Request { number: self.number, body: Some(body) }
    }

    /// What an answer is about: that to the request which was made first of those without one.
    pub(super) fn answered(&mut self, number: u64) -> Option<Asked> {
        self.asked.pop_front_if(|(asked, _)| *asked == number || off(Rule::RelayInTurn)).map(|(_, asked)| asked)
    }

    /// Whether an answer to such a request is still to come.
    pub(in crate::engine) fn awaits(&self, such: impl Fn(&Asked) -> bool) -> bool {
        self.asked.iter().any(|(_, asked)| such(asked))
    }

    pub(super) fn is_silent(&self, now_ms: u64, most_ms: u64) -> bool {
        !self.asked.is_empty() && now_ms >= self.heard_ms.saturating_add(most_ms)
    }

    /// The stream ended. Whether it may be waited for what came through it: to a greeting there is one answer only.
    pub(super) fn interrupt(&mut self, now_ms: u64) -> bool {
        let is_greeting = matches!(self.state, State::Greeting) && !self.asked.is_empty();
        self.interrupted_ms = is_greeting.then_some(now_ms).or(self.interrupted_ms);
        is_greeting
    }

    /// Whether the stream has ended.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted_ms.is_some()
    }

    /// Whether the stream has ended, and nothing came through it for so long.
    pub(super) fn is_broken(&self, now_ms: u64) -> bool {
        self.interrupted_ms.is_some_and(|at_ms| now_ms >= at_ms.saturating_add(INTERRUPTED_MS_MAX))
    }

    /// When something is to be done although nothing arrives.
    pub(super) fn due_at_ms(&self, silent_ms: u64) -> Option<u64> {
        let broken = self.interrupted_ms.map(|at_ms| at_ms.saturating_add(INTERRUPTED_MS_MAX));
        let silent = (!self.asked.is_empty()).then_some(self.heard_ms.saturating_add(silent_ms));
        let paused = (self.paused_until_ms > 0).then_some(self.paused_until_ms);
        silent.into_iter().chain(paused).chain(broken).chain(self.wake.due_at_ms()).min()
    }

    /// Asks for nothing that changes anything for a while.
    pub(super) fn pause(&mut self, retry_after_ms: Option<u64>, now_ms: u64) {
        let ms = retry_after_ms.filter(|ms| *ms > 0).unwrap_or(PAUSE_MS).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX);
        self.paused_until_ms = now_ms.saturating_add(ms);
    }

    /// Whether it takes anything now.
    pub(in crate::engine) fn is_paused(&mut self, now_ms: u64) -> bool {
        if self.paused_until_ms <= now_ms {
            self.paused_until_ms = 0;
        }
        self.paused_until_ms > 0
    }

    /// Whether something is about to be stored here.
    pub(super) fn is_about_to_store(&self, order: Order, item: &Item) -> bool {
        self.paused_until_ms == 0 && (self.putting.contains_key(item) || self.queue.contains(&(order, *item)))
    }

    /// Whether the relay has said all that there was when it was asked: its mailboxes are open, compared, and read to where each
    /// ended then.
    pub(super) fn is_read(&self) -> bool {
        let is_read = |opened: &Opened| {
            opened.confirmed && !opened.to_compare && opened.last.is_some_and(|last| opened.position >= last)
        };
        let asks = |asked: &Asked| matches!(asked, Asked::Open(_) | Asked::Reconcile | Asked::Need(_));
        matches!(self.state, State::Open { .. })
            && self.to_compare.is_empty()
            && self.comparison.is_none()
            && !self.awaits(asks)
            && self.open.values().filter(|opened| opened.follow || opened.to_compare).all(is_read)
    }

    /// A Put was answered.
    pub(super) fn put_done(&mut self, items: &[Item], bytes: usize) {
        self.puts -= 1;
        self.putting_bytes -= bytes;
        for item in items {
            self.putting.remove(item);
        }
    }

    /// The same, and all of it is to be stored still.
    pub(super) fn put_again(&mut self, items: &[Item], bytes: usize) {
        let again: Vec<_> = items.iter().filter_map(|item| Some((*self.putting.get(item)?, *item))).collect();
        self.queue.extend(again);
        self.put_done(items, bytes);
    }

    /// Mailboxes were not opened.
    pub(super) fn open_refused(&mut self, mailboxes: &[MailboxId], reason: Reason, passes: bool) {
        for mailbox in mailboxes {
            // What was to be compared is to be still.
            if let Some((opened, ids)) = self.open.remove(mailbox).zip(self.here_open.remove(mailbox))
                && let Some(here) = &mut self.here
            {
                here.insert(*mailbox, (opened.of, ids));
            }
        }
        match reason {
            _ if passes => {}
            Reason::Mailboxes => self.limit = self.open.len(),
            // Which of them it is about is not said.
            _ if mailboxes.len() > 1 => self.opens_at_once = 1,
            _ => self.shunned.extend(mailboxes),
        }
    }

    /// Goes without a comparison: the mailbox is followed from where it was.
    pub(super) fn drop_comparison(&mut self) {
        if let Some(comparison) = self.comparison.take()
            && let Some(opened) = self.open.get_mut(&comparison.mailbox)
        {
            opened.to_compare = false;
        }
    }
}
