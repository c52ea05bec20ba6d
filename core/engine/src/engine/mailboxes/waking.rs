//! Having relays wake this device (ADR 27, ADR 31): where it is pushed to, for which circles, and how that went.
//!
//! The host gives an endpoint; each relay with a session is told of it, under an id made for that relay alone, with the mailboxes that
//! this device follows there, but for those of muted circles. It is told anew in each session, as these change, and twice a day.
//! A relay is believed what it says of its pushes: that is shown, and decides nothing.
//!
//! Records, all in `Keyspace::Wakes`: `endpoint` and a relay's key (empty: for all) hold where to; `relay` and its key what was asked of it;
//! `woken` when a push last arrived.

use clave_crypto::MailboxId;
use prost::Message as _;

use super::session::Opened;
use super::*;
use crate::ReadError;
use crate::proto::local;

mod endpoint;

pub use endpoint::{NotAnEndpoint, PushEndpoint, PushError, PushHealth, PushKeys};

/// How often a relay is told again although nothing changed, in milliseconds: it forgets who does not come for long.
const WAKE_AGAIN_MS: u64 = 12 * 3_600_000;
/// When to ask again if a relay did not take it, in milliseconds, unless it says when.
const WAKE_RETRY_MS: u64 = 3_600_000;
/// What is asked of relays about waking.
#[derive(Default)]
pub(super) struct Pushing {
    muted: BTreeSet<CircleId>,
}

/// What was asked of one relay, in one session.
pub(in crate::engine) struct Wake {
    /// Whether it may be time to ask.
    is_stirred: bool,
    again_at_ms: Option<u64>,
    /// What the relay was last told: where to, and for which mailboxes.
    said: Option<(Option<PushEndpoint>, Vec<MailboxId>)>,
    /// For how many mailboxes the relay said that it wakes this device.
    confirmed: usize,
    /// For how many mailboxes it may be asked.
    most: usize,
}

impl Default for Wake {
    fn default() -> Self {
        Self { is_stirred: false, again_at_ms: None, said: None, confirmed: 0, most: wire::OPEN_MAX }
    }
}

impl Wake {
    /// Has it looked at what is to be asked.
    pub(super) fn stir(&mut self) {
        self.is_stirred = true;
    }

    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.again_at_ms
    }

    /// Whether it is time to look, once.
    fn take_due(&mut self, now_ms: u64) -> bool {
        if self.again_at_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            (self.is_stirred, self.said) = (true, None);
        }
        self.is_stirred
    }
}

impl Engine {
    /// Command: has this device be pushed to there from now on, or nowhere; by one relay, or by all that are given no endpoint of
    /// their own. Relays are told as soon as there is a session with them.
    ///
    /// # Errors
    /// If a write has failed, or the store cannot be read.
    pub fn set_push_endpoint(
        &mut self,
        relay: Option<DeviceId>,
        endpoint: Option<PushEndpoint>,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let key = endpoint_key(relay.as_ref());
        match endpoint {
            Some(endpoint) => self.desk.put(key, endpoint.to_record().encode_to_vec()),
            None => self.desk.remove_if_there(key)?,
        }
        self.stir_wakes();
        self.finish();
        Ok(())
    }

    /// Command: has no relay push to this device any more.
    ///
    /// # Errors
    /// If a write has failed, or the store cannot be read.
    pub fn clear_push_endpoints(&mut self, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        for suffix in self.desk.store.suffixes(Keyspace::Wakes, ENDPOINT)? {
            self.desk.remove(Key::new(Keyspace::Wakes, ENDPOINT, suffix));
        }
        self.stir_wakes();
        self.finish();
        Ok(())
    }

    /// Command: has this device not be woken for what is written in a circle, or be woken again. What is written there arrives all the same
    /// while the device is on.
    ///
    /// # Errors
    /// If this device is not in the circle, or a write has failed.
    pub fn mute(&mut self, circle: CircleId, muted: bool, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        let key = Key::new(Keyspace::Muted, [], circle.as_bytes());
        let is_news = if muted {
            self.mailboxes.pushing.muted.insert(circle)
        } else {
            self.mailboxes.pushing.muted.remove(&circle)
        };
        match (is_news, muted) {
            (true, true) => self.desk.put(key, Vec::new()),
            (true, false) => self.desk.remove(key),
            (false, _) => {}
        }
        if is_news {
            self.stir_wakes();
            self.desk.events.push(Event::MuteChanged { circle });
        }
        self.finish();
        Ok(())
    }

    /// The circles for which this device is not woken.
    #[must_use]
    pub fn muted(&self) -> &BTreeSet<CircleId> {
        &self.mailboxes.pushing.muted
    }

    /// Command: notes that a push arrived: the host was woken.
    ///
    /// # Errors
    /// If a write has failed.
    pub fn note_woken(&mut self, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.desk.put(Key::new(Keyspace::Wakes, WOKEN, []), now_ms.to_be_bytes().to_vec());
        self.finish();
        Ok(())
    }

    /// When a push last arrived, in Unix milliseconds.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn last_woken_ms(&self) -> Result<Option<u64>, EngineError> {
        let record = self.desk.store.read(&Key::new(Keyspace::Wakes, WOKEN, []))?;
        record
            .map(|record| record.as_slice().try_into().map(u64::from_be_bytes))
            .transpose()
            .map_err(|_| EngineError::Damaged)
    }

    /// Whether there is an endpoint at all.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_push_endpoint(&self) -> Result<bool, EngineError> {
        Ok(self.desk.store.has_any(Keyspace::Wakes, ENDPOINT)?)
    }

    /// How each relay of this device's spaces gets on with waking it, in order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn push_health(&self) -> Result<Vec<PushHealth>, EngineError> {
        let mut all = Vec::new();
        for (id, relay) in self.mailboxes.relays.iter().filter(|(_, relay)| !relay.spaces.is_empty()) {
            let record = self.wake_record(id)?.unwrap_or_default();
            let at_ms = |seconds: u64| (seconds > 0).then(|| seconds.saturating_mul(1_000));
            all.push(PushHealth {
                address: relay.address.clone(),
                server_key: Some(relay.wake_key.clone()).filter(|key| !key.is_empty()),
                registered: record.registered && record.refused == 0,
                mailboxes: relay.session.as_ref().map_or(0, |session| session.wake.confirmed),
                accepted_ms: at_ms(record.accepted_seconds),
                refused_ms: at_ms(record.refused_seconds),
                status: Some(record.status).filter(|status| *status > 0),
                error: PushError::of(&record),
            });
        }
        Ok(all)
    }

    /// Takes up what is stored, as the engine opens.
    pub(in crate::engine) fn load_muted(&mut self) -> Result<(), EngineError> {
        for suffix in self.desk.store.suffixes(Keyspace::Muted, &[])? {
            let circle = CircleId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            self.mailboxes.pushing.muted.insert(circle);
        }
        Ok(())
    }

    fn stir_wakes(&mut self) {
        for session in self.mailboxes.relays.values_mut().filter_map(|relay| relay.session.as_mut()) {
            session.wake.stir();
        }
    }

    /// Tells a relay for what to wake this device, and where, if it was not told so in this session.
    pub(super) fn ask_to_be_woken(&mut self, id: DeviceId, session: &mut Session) {
        let is_due = session.wake.take_due(self.desk.now_ms);
        let is_asked = session.awaits(|asked| matches!(asked, Asked::Open(_) | Asked::Wake(_)));
        if !is_due || is_asked || session.is_paused(self.desk.now_ms) {
            return;
        }
        session.wake.is_stirred = false;
        let (Ok(endpoint), Ok(record)) = (self.push_endpoint(&id), self.wake_record(&id)) else { return };
        let wakes = self.mailboxes.relays.get(&id).is_some_and(|relay| !relay.wake_key.is_empty());
        let record = match record {
            // It does not know this device, and has nothing to forget.
            Some(_) if endpoint.is_none() && !wakes => return self.forget_wake(id),
            None if endpoint.is_none() => return,
            Some(record) => record,
            None => local::Wake { id: self.desk.entropy.bytes::<16>().to_vec(), ..local::Wake::default() },
        };
        if !wakes {
            return self.note_wake(id, record, Reason::Unsupported as u32 + 1);
        }
        let mailboxes = match endpoint {
            Some(_) => self.mailboxes_that_wake(session),
            None => Vec::new(),
        };
        if session.wake.said.as_ref().is_some_and(|said| said.0 == endpoint && said.1 == mailboxes) {
            return;
        }
        if !self.desk.store.contains(&state_key(&id)).unwrap_or(true) {
            self.desk.put(state_key(&id), record.encode_to_vec());
        }
        let is_on = endpoint.is_some();
        let wake = wake_of(record.id, endpoint.as_ref(), &mailboxes);
        session.wake.said = Some((endpoint, mailboxes));
        session.wake.again_at_ms = is_on.then_some(self.desk.now_ms.saturating_add(WAKE_AGAIN_MS));
        self.ask(id, session, request::Body::Wake(wake), Asked::Wake(is_on));
    }

    /// The open mailboxes that are followed, those that matter most first, but for those of muted circles.
    fn mailboxes_that_wake(&self, session: &Session) -> Vec<MailboxId> {
        let is_open = |opened: &Opened| opened.confirmed && opened.follow;
        let wakes = |mailbox: &&Mailbox| {
            !self.mailboxes.pushing.muted.contains(&mailbox.circle)
                && session.open.get(&mailbox.id).is_some_and(is_open)
        };
        session.followed.iter().filter(wakes).take(session.wake.most).map(|mailbox| mailbox.id).collect()
    }

    pub(super) fn take_woken(&mut self, id: DeviceId, session: &mut Session, registered: bool, woken: &wire::Woken) {
        // One is on its way at a time, so this is the answer to what was said last.
        let said = session.wake.said.as_ref().filter(|_| registered);
        let confirmed = said.map_or(0, |(_, mailboxes)| mailboxes.len());
        let before = std::mem::replace(&mut session.wake.confirmed, confirmed);
        let Ok(Some(record)) = self.wake_record(&id) else { return };
        if !registered {
            self.forget_wake(id);
            // It may be wanted again by now.
            session.wake.stir();
            return;
        }
        let now = local::Wake {
            id: record.id.clone(),
            accepted_seconds: woken.accepted_seconds,
            refused_seconds: woken.refused_seconds,
            status: woken.status,
            gone: woken.gone,
            refused: 0,
            registered: true,
        };
        if now != record {
            self.desk.put(state_key(&id), now.encode_to_vec());
        }
        if now != record || confirmed != before {
            self.desk.events.push(Event::PushChanged { relay: id });
        }
    }

    /// A relay does not wake this device: that is shown, and is no reason to store nothing there.
    pub(super) fn take_wake_refused(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        reason: Reason,
        retry_after_ms: u64,
    ) {
        let now_ms = self.desk.now_ms;
        if reason == Reason::Mailboxes && session.wake.most > 1 {
            (session.wake.most, session.wake.said) = (session.wake.most / 2, None);
            return session.wake.stir();
        }
        let wait_ms = retry_after_ms.clamp(WAKE_RETRY_MS, WAKE_AGAIN_MS);
        session.wake.again_at_ms = Some(now_ms.saturating_add(wait_ms));
        if let Ok(Some(record)) = self.wake_record(&id) {
            self.note_wake(id, record, reason as u32 + 1);
        }
    }

    fn note_wake(&mut self, id: DeviceId, record: local::Wake, refused: u32) {
        if record.refused != refused {
            self.desk.put(state_key(&id), local::Wake { refused, ..record }.encode_to_vec());
            self.desk.events.push(Event::PushChanged { relay: id });
        }
    }

    fn forget_wake(&mut self, id: DeviceId) {
        self.desk.remove(state_key(&id));
        self.desk.events.push(Event::PushChanged { relay: id });
    }

    /// A relay is not wanted any more: it is told to wake this device no more, if there is a session, and forgotten.
    pub(super) fn take_leave(&mut self, id: DeviceId) {
        let Ok(Some(record)) = self.wake_record(&id) else { return };
        self.desk.remove(state_key(&id));
        let Some(relay) = self.mailboxes.relays.get_mut(&id) else { return };
        if let Some(session) = relay.session.as_mut().filter(|session| matches!(session.state, State::Open { .. })) {
            // Nobody waits for the answer.
            let wake = session.tell(request::Body::Wake(wake_of(record.id, None, &[])));
            self.say(id, &wake);
        }
    }

    fn push_endpoint(&self, relay: &DeviceId) -> Result<Option<PushEndpoint>, ReadError> {
        let read = |key| self.desk.store.read(&key);
        let Some(record) =
            read(endpoint_key(Some(relay)))?.map_or_else(|| read(endpoint_key(None)), |own| Ok(Some(own)))?
        else {
            return Ok(None);
        };
        let record = local::PushEndpoint::decode(record.as_slice()).map_err(|_| ReadError::Damaged)?;
        PushEndpoint::from_record(record).map(Some).ok_or(ReadError::Damaged)
    }

    fn wake_record(&self, relay: &DeviceId) -> Result<Option<local::Wake>, ReadError> {
        let record = self.desk.store.read(&state_key(relay))?;
        record.map(|record| local::Wake::decode(record.as_slice())).transpose().map_err(|_| ReadError::Damaged)
    }
}

const ENDPOINT: &[u8] = b"endpoint";
const STATE: &[u8] = b"relay";
const WOKEN: &[u8] = b"woken";

fn endpoint_key(relay: Option<&DeviceId>) -> Key {
    Key::new(Keyspace::Wakes, ENDPOINT, relay.map_or(&[][..], |relay| relay.as_bytes()))
}

fn state_key(relay: &DeviceId) -> Key {
    Key::new(Keyspace::Wakes, STATE, relay.as_bytes())
}

fn wake_of(id: Vec<u8>, endpoint: Option<&PushEndpoint>, mailboxes: &[MailboxId]) -> wire::Wake {
    let record = endpoint.map(PushEndpoint::to_record).unwrap_or_default();
    wire::Wake {
        id: id.into(),
        endpoint: record.url,
        p256dh: record.p256dh.into(),
        auth: record.auth.into(),
        mailboxes: mailboxes.iter().flat_map(|mailbox| *mailbox.as_bytes()).collect::<Vec<u8>>().into(),
    }
}
