//! The device's side of mailboxes at relays (ADR 15, `docs/relay-protocol.md`).
//!
//! Owns what is said to each relay of this device's spaces, what waits to be stored there (`outbox.rs`), and how far each mailbox
//! was read. Does not know what entries mean: what a relay delivers is judged as though a peer had sent it. A relay
//! is believed nothing but that it has stored what it says it has.
//!
//! # How it is driven
//!
//! A relay is a peer that is connected and that a policy of a space names. From [`Engine::handle_connected`] on there is a
//! [`Session`] with it: `Hello`, then, once it answered,
//! - `following.rs` opens the mailboxes of each circle, and takes in what is delivered;
//! - `comparing.rs` finds out what either side lacks, if positions mean nothing or the relay missed something;
//! - `storing.rs` stores what this device made;
//! - `chunks.rs` asks for chunks that no member has;
//! - `waking.rs` asks for a push when something is stored and this device is away.
//!
//! Each input ends with [`Engine::pump_mailboxes`], which asks for whatever is due. Requests are answered in their order, so a
//! queue of what was asked says what an answer is about. Whatever does not fit, or does not come, ends the session: the connection is
//! given up, and a new one begins after a while.

use clave_mailbox::{self as wire, Reason, Request, reply, request};

use super::*;
use crate::circle::mailboxes::Mailbox;
use crate::membership::RelayAddress;
use crate::mutation::{Rule, off};
use crate::{Key, Refusal};

mod chunks;
mod comparing;
mod following;
mod outbox;
mod records;
mod relays;
mod session;
mod storing;
mod tokens;
mod waking;

pub use chunks::RELAYED_FILE_BYTES_MAX;
use outbox::Outbox;
use records::Record;
pub use relays::{RelayError, RelayInUse, RelayStatus};
use session::State;
pub(super) use session::{Asked, Session};
pub use tokens::{NotAToken, RelayToken};
use waking::Pushing;
pub use waking::{NotAnEndpoint, PushEndpoint, PushError, PushHealth, PushKeys};

/// How long a relay may be silent that was asked something, in milliseconds.
const ANSWER_MS_MAX: u64 = 120_000;
/// How long to wait after a session failed, at first and in the long run, in milliseconds.
const RETRY_MS: u64 = 2_000;
const RETRY_MS_MAX: u64 = 600_000;

/// All relays, and what waits for them.
#[derive(Default)]
pub(super) struct Mailboxes {
    relays: BTreeMap<DeviceId, Relay>,
    outbox: Outbox,
    pushing: Pushing,
}

/// A relay that a space names.
struct Relay {
    address: RelayAddress,
    /// The spaces that name it.
    spaces: BTreeSet<CircleId>,
    /// Whether this device is in one of them, and so can be reached through it.
    circuits: bool,
    record: Record,
    session: Option<Session>,
    /// The key that push servers know it by (RFC 8292), as it said last; empty if it wakes nobody, or was not met yet.
    wake_key: Vec<u8>,
    error: Option<RelayError>,
    /// When the next session may begin.
    retry_at_ms: u64,
    retries: u32,
}

impl Mailboxes {
    /// The relays that keep what is of a space.
    fn serving(&self, space: CircleId) -> impl Iterator<Item = (&DeviceId, &Relay)> {
        self.relays.iter().filter(move |(_, relay)| relay.spaces.contains(&space))
    }

    /// See [`Engine::relays_read`].
    pub(super) fn read_and_reading(&self) -> (usize, usize) {
        let sessions = || self.relays.values().filter_map(|relay| relay.session.as_ref());
        let read = sessions().filter(|session| session.is_read()).count();
        (read, sessions().count() - read)
    }

    /// When a tick is due.
    pub(super) fn due_at_ms(&self, is_connected: impl Fn(&DeviceId) -> bool) -> Option<u64> {
        let due = self.relays.iter().filter_map(|(id, relay)| match &relay.session {
            Some(session) => session.due_at_ms(ANSWER_MS_MAX),
            None => is_connected(id).then_some(relay.retry_at_ms),
        });
        due.min()
    }
}

impl Engine {
    /// Begins to speak with relays that are connected, and gives up those that are silent.
    pub(super) fn tend_relays(&mut self) {
        let now_ms = self.desk.now_ms;
        let fault = |relay: &Relay| {
            let session = relay.session.as_ref()?;
            match session.is_silent(now_ms, ANSWER_MS_MAX) {
                _ if session.is_broken(now_ms) => Some(RelayError::Interrupted),
                is_silent => (is_silent && !off(Rule::RelaySilent)).then_some(RelayError::Silent),
            }
        };
        let all: Vec<_> = self.mailboxes.relays.iter().map(|(id, relay)| (*id, fault(relay))).collect();
        for (id, fault) in all {
            if let Some(fault) = fault {
                self.give_up(id, fault);
            }
            self.greet_relay(id);
        }
    }

    /// Begins a session, if there is none and it is time.
    pub(super) fn greet_relay(&mut self, id: DeviceId) {
        let now_ms = self.desk.now_ms;
        if !self.peers.contains_key(&id) {
            return;
        }
        let token = self.relay_token(&id);
        let Some(relay) = self.mailboxes.relays.get_mut(&id) else { return };
        if relay.session.is_some() || relay.retry_at_ms > now_ms {
            return;
        }
        let mut session = Session::new(now_ms);
        let hello = wire::Hello { version: wire::VERSION, token: token.into() };
        let hello = session.ask(request::Body::Hello(hello), Asked::Hello, now_ms);
        relay.session = Some(session);
        self.say(id, &hello);
    }

    /// The connection is gone.
    pub(super) fn lose_relay(&mut self, id: &DeviceId) {
        if self.mailboxes.relays.get_mut(id).is_some_and(|relay| relay.session.take().is_some()) {
            self.fetches.lose_peer(id);
            self.settle_partly();
        }
    }

    /// Ends a session for good or for now, and says why.
    fn give_up(&mut self, id: DeviceId, error: RelayError) {
        let now_ms = self.desk.now_ms;
        let Some(relay) = self.mailboxes.relays.get_mut(&id) else { return };
        tracing::warn!(relay = %id.short(), %error, "a session with a relay was given up");
        if relay.session.take().is_some_and(|session| session.began_ms + RETRY_MS_MAX <= now_ms) {
            relay.retries = 0;
        }
        relay.retry_at_ms = now_ms + (RETRY_MS << relay.retries.min(16)).min(RETRY_MS_MAX);
        relay.retries += 1;
        self.note_relay_error(id, Some(error));
        self.outbox.push(Output::HangUp(id));
        self.fetches.lose_peer(&id);
        self.settle_partly();
    }

    /// What was sent to a relay may not have arrived: what it answers next would be taken for the answer to something else.
    pub(super) fn relay_interrupted(&mut self, id: DeviceId) {
        let now_ms = self.desk.now_ms;
        let session = self.mailboxes.relays.get_mut(&id).and_then(|relay| relay.session.as_mut());
        if session.is_some_and(|session| !session.interrupt(now_ms)) {
            self.give_up(id, RelayError::Interrupted);
        }
    }

    /// Takes a frame of a relay.
    pub(super) fn take_mailbox_frame(&mut self, id: DeviceId, frame: &[u8]) -> Result<(), Refusal> {
        let Some(mut session) = self.mailboxes.relays.get_mut(&id).and_then(|relay| relay.session.take()) else {
            return Err(Refusal::Unexpected);
        };
        session.heard_ms = self.desk.now_ms;
        let taken = match wire::decode::<wire::Reply>(frame) {
            Ok(reply) => self.take_reply(id, &mut session, reply),
            Err(wire::Malformed) => Err(Failed(RelayError::Nonsense, Refusal::Malformed)),
        };
        // It stays with the relay even if it has failed: what is in it says what the relay lacks.
        if let Some(relay) = self.mailboxes.relays.get_mut(&id) {
            relay.session = Some(session);
        }
        match taken {
            Ok(()) => Ok(()),
            Err(Failed(error, refusal)) => {
                self.give_up(id, error);
                Err(refusal)
            }
        }
    }

    fn take_reply(&mut self, id: DeviceId, session: &mut Session, reply: wire::Reply) -> Result<(), Failed> {
        let Some(body) = reply.body else { return Ok(()) };
        if reply.number == 0 {
            return match body {
                reply::Body::Delivery(delivery) => self.take_delivery(id, session, delivery),
                reply::Body::Notice(notice) => {
                    if notice.draining {
                        session.pause(None, self.desk.now_ms);
                        self.note_relay_error(id, Some(RelayError::Draining));
                        self.settle_partly();
                    }
                    Ok(())
                }
                _ => Err(Failed::NONSENSE),
            };
        }
        let asked = session.answered(reply.number).ok_or(Failed::NONSENSE)?;
        match (asked, body) {
            (Asked::Hello, reply::Body::Welcome(welcome)) => self.take_welcome(id, session, &welcome),
            (Asked::Open(mailboxes), reply::Body::Opened(opened)) => self.take_opened(id, session, &mailboxes, &opened),
            (Asked::Close, reply::Body::Opened(_)) => Ok(()),
            (Asked::Put(items, bytes), reply::Body::Stored(_)) => {
                session.put_done(&items, bytes);
                self.take_stored(id, &items);
                Ok(())
            }
            (Asked::Need(ids), reply::Body::Blobs(blobs)) => self.take_needed(id, session, ids, blobs),
            (Asked::Chunks(circle, ids), reply::Body::Blobs(blobs)) => {
                self.take_relayed_chunks(id, session, circle, ids, blobs)
            }
            (Asked::AreLetters(of, letters), reply::Body::Blobs(blobs)) => {
                self.take_letters_there(session, of, &letters, &blobs)
            }
            (Asked::Letter(of, letter), reply::Body::Stored(_)) => {
                self.take_letter_stored(session, of, letter);
                Ok(())
            }
            (Asked::Wake(registered), reply::Body::Woken(woken)) => {
                self.take_woken(id, session, registered, &woken);
                Ok(())
            }
            (Asked::Reconcile, reply::Body::Reconcile(step)) => self.take_comparison(id, session, &step),
            (asked, reply::Body::Refused(refused)) => {
                let reason = Reason::try_from(refused.reason).unwrap_or(Reason::Internal);
                self.take_refused(id, session, asked, reason, refused.retry_after_ms)
            }
            _ => Err(Failed::NONSENSE),
        }
    }

    fn take_welcome(&mut self, id: DeviceId, session: &mut Session, welcome: &wire::Welcome) -> Result<(), Failed> {
        let nonsense = |_| Failed::NONSENSE;
        let challenge = welcome.challenge.as_ref().try_into().map_err(nonsense)?;
        let generation = welcome.generation.as_ref().try_into().map_err(nonsense)?;
        if session.is_interrupted() {
            return Err(Failed(RelayError::Interrupted, Refusal::Unexpected));
        }
        if welcome.version != wire::VERSION {
            return Err(Failed(RelayError::Version, Refusal::UnknownVersion));
        }
        session.state = State::Open { challenge, blob_bytes_max: welcome.blob_bytes_max };
        session.limit = usize::try_from(welcome.mailboxes_max).unwrap_or(usize::MAX).min(session::MAILBOXES_OPEN_MAX);
        session.wake.stir();
        self.note_generation(id, generation);
        self.note_relay_error(id, None);
        if let Some(relay) = self.mailboxes.relays.get_mut(&id) {
            relay.wake_key = welcome.wake_key.to_vec();
        }
        self.fill_queue(id, session);
        self.prepare_comparison(id, session, welcome.kept_seconds);
        Ok(())
    }

    /// A request had no effect. Which requests that was decides what becomes of it.
    fn take_refused(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        asked: Asked,
        reason: Reason,
        retry_after_ms: u64,
    ) -> Result<(), Failed> {
        let error = match reason {
            Reason::Access => self.not_let_in(&id),
            reason => RelayError::of(reason),
        };
        if matches!(reason, Reason::Malformed | Reason::Proof) || matches!(asked, Asked::Hello) {
            return Err(Failed(error, Refusal::Unexpected));
        }
        if matches!(asked, Asked::Wake(_)) {
            self.take_wake_refused(id, session, reason, retry_after_ms);
            return Ok(());
        }
        self.note_relay_error(id, Some(error));
        let passes = !matches!(
            reason,
            Reason::TooLarge | Reason::NotOpen | Reason::Mailboxes | Reason::Blocked | Reason::Unsupported
        );
        if passes {
            session.pause(Some(retry_after_ms), self.desk.now_ms);
        }
        match asked {
            Asked::Open(mailboxes) => session.open_refused(&mailboxes, reason, passes),
            Asked::Put(items, bytes) => self.take_put_refused(id, session, &items, bytes, reason),
            Asked::Chunks(circle, ids) => self.relay_lacks(id, circle, &ids),
            Asked::AreLetters(of, letters) => self.take_letters_refused(session, of, &letters, reason),
            Asked::Letter(of, letter) => self.take_letters_refused(session, of, &[letter], reason),
            Asked::Need(_) | Asked::Reconcile => session.drop_comparison(),
            Asked::Hello | Asked::Close | Asked::Wake(_) => {}
        }
        if passes {
            self.settle_partly();
        }
        Ok(())
    }

    /// Asks every relay for what is due.
    pub(super) fn pump_mailboxes(&mut self) {
        let all: Vec<DeviceId> = self.mailboxes.relays.keys().copied().collect();
        for id in all {
            let Some(mut session) = self.mailboxes.relays.get_mut(&id).and_then(|relay| relay.session.take()) else {
                continue;
            };
            if matches!(session.state, State::Open { .. }) {
                self.open_mailboxes(id, &mut session);
                self.go_on_comparing(id, &mut session);
                self.store_what_waits(id, &mut session);
                self.post_letters(id, &mut session);
                self.ask_to_be_woken(id, &mut session);
            }
            if let Some(relay) = self.mailboxes.relays.get_mut(&id) {
                relay.session = Some(session);
            }
        }
    }

    /// Sends a request: once what was written before it is durable, like every frame.
    fn say(&mut self, relay: DeviceId, request: &Request) {
        let frame = wire::encode(request);
        self.outbox.push(Output::Send { peer: relay, channel: Channel::Mailbox, frame: vec![frame.into()] });
    }

    /// Asks something of a relay.
    pub(super) fn ask(&mut self, relay: DeviceId, session: &mut Session, body: request::Body, asked: Asked) {
        let request = session.ask(body, asked, self.desk.now_ms);
        self.say(relay, &request);
    }

    /// The space that a circle belongs to: itself, if it is a root.
    pub(super) fn space_around(&self, circle: &CircleId) -> Option<CircleId> {
        Some(self.circles.get(circle)?.log.membership().parent.unwrap_or(*circle))
    }

    /// Whether a relay keeps what is of a circle.
    pub(super) fn serves(&self, relay: &DeviceId, circle: &CircleId) -> bool {
        let space = self.space_around(circle);
        self.mailboxes.relays.get(relay).zip(space).is_some_and(|(relay, space)| relay.spaces.contains(&space))
    }

    /// The circles that some relay keeps entries of with which this device speaks now.
    pub(super) fn relayed_circles(&self) -> BTreeSet<CircleId> {
        let speaks =
            |relay: &Relay| relay.session.as_ref().is_some_and(|session| matches!(session.state, State::Open { .. }));
        let relays: Vec<&DeviceId> =
            self.mailboxes.relays.iter().filter(|(_, relay)| speaks(relay)).map(|(id, _)| id).collect();
        if relays.is_empty() {
            return BTreeSet::new();
        }
        self.circles.keys().filter(|circle| relays.iter().any(|relay| self.serves(relay, circle))).copied().collect()
    }

    /// The circles whose entries a relay keeps and that this device is in.
    fn circles_at(&self, relay: &DeviceId) -> Vec<CircleId> {
        self.circles.keys().filter(|circle| self.serves(relay, circle)).copied().collect()
    }
}

/// Why a session cannot go on, and what the frame that shows it is counted as.
pub(super) struct Failed(RelayError, Refusal);

impl Failed {
    pub(super) const NONSENSE: Self = Self(RelayError::Nonsense, Refusal::Unexpected);
}
