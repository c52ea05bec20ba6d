//! How far messages of this device have come: on this disk, at a relay, at other devices.
//!
//! No record is kept of a message and a device. Messages of a device rise, so one bound says of another device that it has
//! everything up to there: since both compared what they have and found this device to lack nothing of it. What is behind
//! the bound and was said to have arrived (`have`) is kept in memory, of the newest messages only. Whatever is not known so is said not to be known:
//! a message that came further than this says is found at the next comparison.
//!
//! What waits for a relay is in the outbox; all else from a time on that is noted here is at one.
//!
//! Records (`Keyspace::Reach`, scope: circle): a device's id, and its bound (12 bytes); or the empty suffix, and since when (8 bytes). They
//! are written beside other things, or after a while: losing one says less than is known, and nothing wrong.

use clave_crdt::{Document, DocumentKind, MessageId};

use super::*;
use crate::desk::Stamp;

mod bounds;

pub(super) use bounds::{Comparing, Reaches};
use bounds::{Has, Reach, sent_ms};

/// How long bounds may be ahead of what is stored, in milliseconds.
const FILE_AFTER_MS: u64 = 30_000;

/// How far a message of this device has come, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageState {
    /// It is stored here, and nobody else is known to have it.
    Queued,
    /// A relay of the space has it on its disk: others get it, whoever is online when.
    Relayed,
    /// Other devices have it.
    Delivered {
        /// How many people besides this one have it on some device.
        people: usize,
        /// How many devices, further ones of this person among them.
        devices: usize,
        /// Whether all other people in the circle have it.
        everybody: bool,
    },
    /// No relay of the space takes it, and nobody else has it. It is still here, and goes to whoever is online together with this device.
    Failed {
        /// What the first of them says, and what to do.
        error: RelayError,
        /// Whether it goes on by itself.
        retryable: bool,
    },
}

impl Engine {
    /// Command: posts messages of this device in a segment of a chat, in one change. How far they come is followed from then on.
    ///
    /// # Errors
    /// Those of [`edit`](Self::edit).
    pub fn post(
        &mut self,
        circle: CircleId,
        segment: DocumentId,
        now_ms: u64,
        post: impl FnOnce(&mut Document) -> Result<Vec<MessageId>, clave_crdt::CrdtError>,
    ) -> Result<Vec<MessageId>, EngineError> {
        self.begin(now_ms)?;
        let before = self.desk.published.len();
        let (known, desk) = self.circle_mut(circle)?;
        let posted = known.edit(segment, DocumentKind::Timeline, desk, |document, _| post(document));
        if let Ok(posted) = &posted
            && let (Some(first), Some(last)) = (posted.iter().min(), posted.iter().max())
        {
            let span = (stamp(first), stamp(last));
            let reach = self.reaches.circles.entry(circle).or_default();
            for entry in self.desk.published.iter_mut().skip(before).filter(|entry| !entry.guides) {
                entry.messages = Some(span);
                reach.note_made(entry.id, span);
            }
        }
        self.finish();
        posted
    }

    /// How far messages have come, one for each that is asked about: `None` for those that are not of this device. Costs nothing for
    /// messages that were not asked about.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn message_states(
        &self,
        circle: CircleId,
        messages: &[MessageId],
    ) -> Result<Vec<Option<MessageState>>, EngineError> {
        let known = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?;
        let me = self.desk.me();
        let others: Vec<(DeviceId, Option<PersonId>)> = known
            .members()
            .filter(|device| *device != me)
            .map(|device| (device, known.log.membership().person_of(device)))
            .collect();
        let is_mine = |message: &&MessageId| message.author().belongs_to(me.as_bytes());
        let state = |message: &MessageId| {
            Some(message).filter(is_mine).map(|message| self.state_of(circle, &others, &stamp(message)))
        };
        Ok(messages.iter().map(state).collect())
    }

    /// The devices that are known to have a message of this device.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn message_holders(&self, circle: CircleId, message: &MessageId) -> Result<Vec<DeviceId>, EngineError> {
        let known = self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?;
        let me = self.desk.me();
        if !message.author().belongs_to(me.as_bytes()) {
            return Ok(Vec::new());
        }
        let Some(reach) = self.reaches.circles.get(&circle) else { return Ok(Vec::new()) };
        let stamp = stamp(message);
        Ok(known.members().filter(|device| *device != me && reach.has(device, &stamp)).collect())
    }

    fn state_of(&self, circle: CircleId, others: &[(DeviceId, Option<PersonId>)], message: &Stamp) -> MessageState {
        let me = self.identity.person();
        if let Some(reach) = self.reaches.circles.get(&circle) {
            let holders: Vec<_> = others.iter().filter(|(device, _)| reach.has(device, message)).collect();
            if !holders.is_empty() {
                let people = |of: &mut dyn Iterator<Item = &(DeviceId, Option<PersonId>)>| {
                    of.filter_map(|(_, person)| *person).filter(|person| Some(*person) != me).collect::<BTreeSet<_>>()
                };
                let (all, having) = (people(&mut others.iter()), people(&mut holders.iter().copied()));
                return MessageState::Delivered {
                    people: having.len(),
                    devices: holders.len(),
                    everybody: having.len() == all.len(),
                };
            }
        }
        let since_ms = self.reaches.circles.get(&circle).and_then(|reach| reach.relayed_since_ms);
        match self.message_waits(circle, message) {
            Some(Some(error)) => MessageState::Failed { error, retryable: error.is_retryable() },
            Some(None) => MessageState::Queued,
            None if since_ms.is_some_and(|since_ms| since_ms <= sent_ms(message)) => MessageState::Relayed,
            None => MessageState::Queued,
        }
    }

    /// A comparison with a device begins: what it is about.
    pub(super) fn comparing(&self, circle: CircleId) -> Comparing {
        let newest = self.reaches.circles.get(&circle).and_then(|reach| Some(reach.recent.back()?.1.1));
        // Others date theirs ahead of this clock at times, and messages of this device go behind them.
        let now = stamp_at(self.desk.now_ms);
        Comparing { up_to: newest.map_or(now, |newest| newest.max(now)), lacks: false }
    }

    /// A comparison found a device to lack nothing of what was here as it began.
    pub(super) fn note_has_all(&mut self, device: DeviceId, circle: CircleId, comparing: Comparing) {
        if self.reaches.circles.entry(circle).or_default().note_has_all(device, comparing.up_to) {
            self.reaches.changed(circle);
        }
    }

    /// A device says that it has entries: of itself it is believed.
    pub(super) fn note_has(&mut self, device: DeviceId, circle: CircleId, entries: &[EntryId]) {
        if self.reaches.circles.get_mut(&circle).is_some_and(|reach| reach.note_has(device, entries)) {
            self.reaches.changed(circle);
        }
    }

    pub(super) fn load_reaches(&mut self) -> Result<(), EngineError> {
        for (id, circle) in &self.circles {
            let mut reach = Reach::since(stamp_at(self.desk.now_ms));
            for (suffix, record) in self.desk.store.all(Keyspace::Reach, id.as_bytes())? {
                if suffix.is_empty() {
                    let since_ms = record.as_slice().try_into().map_err(|_| EngineError::Damaged)?;
                    reach.relayed_since_ms = Some(u64::from_be_bytes(since_ms));
                    continue;
                }
                let device = DeviceId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
                let up_to = record.as_slice().try_into().map_err(|_| EngineError::Damaged)?;
                if circle.is_member(&device) {
                    reach.devices.insert(device, Has { up_to, also: BTreeSet::new() });
                } else {
                    self.desk.remove(Key::new(Keyspace::Reach, id.as_bytes(), suffix));
                }
            }
            self.reaches.circles.insert(*id, reach);
        }
        Ok(())
    }

    /// Says what changed, and stores it: beside something else, or after a while.
    pub(super) fn care_for_reaches(&mut self) {
        for circle in std::mem::take(&mut self.reaches.changed) {
            self.desk.events.push(Event::ReachChanged { circle });
        }
        let is_unfiled = |reach: &Reach| !reach.unfiled.0.is_empty() || reach.unfiled.1;
        if !self.reaches.circles.values().any(is_unfiled) {
            return;
        }
        let now_ms = self.desk.now_ms;
        let at_ms = *self.reaches.file_at_ms.get_or_insert(now_ms.saturating_add(FILE_AFTER_MS));
        if self.desk.batch.is_empty() && now_ms < at_ms {
            return;
        }
        self.reaches.file_at_ms = None;
        for (circle, reach) in &mut self.reaches.circles {
            let (devices, rest) = std::mem::take(&mut reach.unfiled);
            for device in devices {
                let key = Key::new(Keyspace::Reach, circle.as_bytes(), device.as_bytes());
                let has = reach.devices.get(&device);
                has.into_iter().for_each(|has| self.desk.put(key.clone(), has.up_to.to_vec()));
            }
            let key = Key::new(Keyspace::Reach, circle.as_bytes(), []);
            match reach.relayed_since_ms {
                _ if !rest => {}
                Some(since_ms) => self.desk.put(key, since_ms.to_be_bytes().to_vec()),
                None => self.desk.remove(key),
            }
        }
    }
}

fn stamp(message: &MessageId) -> Stamp {
    *message.as_bytes().first_chunk().expect("a message id is longer")
}

/// Behind all messages that are dated so.
fn stamp_at(ms: u64) -> Stamp {
    let mut stamp = [0xff; 12];
    stamp[..6].copy_from_slice(&ms.min((1 << 48) - 1).to_be_bytes()[2..]);
    stamp
}
