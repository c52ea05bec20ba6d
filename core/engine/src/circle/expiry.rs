//! Ratcheted circles: keys that are replaced while time passes, and what is erased when it is too old.
//!
//! The policy states a time. Time is cut into *periods* of a quarter of it (at least an hour: entries say only in which
//! hour they were made). Everything that was made within a period expires together, the stated time after the period
//! ended: the entries, the segments of the chat that belong to it, the keys that were left by then and the secrets they
//! came from. So nothing ever builds on something that went before it. Each device does this by its own clock and asks
//! nobody. The operations of the membership log stay.
//!
//! Whoever was away for longer finds neither the commits nor the operations that it missed: those whose logs differ say
//! so when they reconcile, and a plea brings both.

use clave_crypto::{HashContext, hash};

use super::documents::{record_key, scope, snapshot_key};
use super::*;
use crate::entry::{HOUR_MS, hour_of};
use crate::membership::History;

/// In how many periods the stated time is cut.
const PERIODS: u64 = 4;
/// How long the first device in line waits before it replaces the key, in milliseconds.
const ROTATE_QUIET_MS: u64 = 1_000;
/// How long each further device in line waits for the one before it, in milliseconds.
const ROTATE_STEP_MS: u64 = 10_000;

/// What is due in a ratcheted circle.
#[derive(Default)]
pub(super) struct Ratchet {
    /// When something expires next; none if that is to be found out.
    expire_at_ms: Option<u64>,
    /// The entries that expire, by their hours.
    fleeting: BTreeSet<(u32, EntryId)>,
    /// When this device may replace the key.
    rotate_at_ms: Option<u64>,
    /// Under which policy that was found out.
    of: Option<u64>,
}

impl Ratchet {
    pub(super) fn due_at_ms(&self) -> [Option<u64>; 2] {
        // Without a policy nothing is due, whatever was.
        [self.expire_at_ms, self.rotate_at_ms].map(|at_ms| at_ms.filter(|at_ms| self.of.is_some() && *at_ms < u64::MAX))
    }

    /// Something came that may expire before everything else.
    pub(super) fn stir(&mut self) {
        self.expire_at_ms = None;
    }
}

impl Circle {
    /// The time that the policy states, in milliseconds, if the circle is ratcheted.
    pub(super) fn ratchet_ms(&self) -> Option<u64> {
        match self.log.membership().history() {
            History::Ratcheted { seconds } => Some(seconds * 1_000),
            _ => None,
        }
    }

    /// The hours of a period.
    fn period_hours(&self) -> Option<u32> {
        let hours = self.ratchet_ms()? / PERIODS / HOUR_MS;
        Some(u32::try_from(hours).unwrap_or(u32::MAX).max(1))
    }

    /// The first hour of the period that an hour belongs to.
    pub(super) fn period_start(&self, hour: u32) -> u32 {
        self.period_hours().map_or(hour, |hours| hour - hour % hours)
    }

    /// When what was made in an hour expires.
    fn expires_ms(&self, hour: u32) -> Option<u64> {
        let end = u64::from(self.period_start(hour)) + u64::from(self.period_hours()?);
        Some(end.saturating_mul(HOUR_MS).saturating_add(self.ratchet_ms()?))
    }

    /// Notes that an entry came.
    pub(super) fn note_expiry(&mut self, envelope: &Envelope) {
        if envelope.tag.is_lasting() || self.ratchet.of.is_none() {
            return;
        }
        let hour = envelope.hour;
        self.ratchet.fleeting.insert((hour, envelope.id));
        let (at_ms, next_ms) = (self.expires_ms(hour), &mut self.ratchet.expire_at_ms);
        *next_ms = next_ms.map(|next_ms| at_ms.map_or(next_ms, |at_ms| at_ms.min(next_ms)));
    }

    /// Notes that an entry went for another reason.
    pub(super) fn forget_expiry(&mut self, envelope: &Envelope) {
        self.ratchet.fleeting.remove(&(envelope.hour, envelope.id));
    }

    /// Whether what was made in that hour has expired.
    pub(super) fn has_expired_by(&self, hour: u32, now_ms: u64) -> bool {
        self.expires_ms(hour).is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Whether the key of an epoch that is known has expired.
    pub(super) fn is_over(&self, epoch: &EpochId, now_ms: u64) -> bool {
        self.group.superseded_ms(epoch).is_some_and(|left_ms| self.has_expired_by(hour_of(left_ms), now_ms))
    }

    /// Whether a document is a segment whose period has expired.
    pub(super) fn is_over_segment(&self, (id, kind): &(DocumentId, DocumentKind), now_ms: u64) -> bool {
        *kind == DocumentKind::Timeline
            && self.ratchet_ms().is_some()
            && id.period_start_hour(self.id).is_some_and(|hour| self.has_expired_by(hour, now_ms))
    }

    /// Refuses an entry that came too late, and does not ask for it again.
    pub(super) fn refuse_expired(&mut self, id: EntryId, desk: &mut Desk) {
        desk.refuse(Refusal::Expired);
        self.remember_refused(id, Refusal::Expired);
    }

    /// Whether somebody wrote since the head was entered, as far as the hours of entries tell.
    fn is_head_used(&self, entered_ms: u64) -> bool {
        let chats = self.documents.iter().filter(|((_, kind), _)| !documents::lasts(*kind));
        chats.into_iter().any(|(_, record)| record.newest_hour >= hour_of(entered_ms))
    }

    /// Replaces the key of the head by a commit that changes nobody, when it was used and is a period old, and it is this
    /// device's turn: in an order that the head decides, each further one a step later.
    pub(super) fn rotate(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        self.ratchet.rotate_at_ms = None;
        let Some(ratchet_ms) = self.ratchet_ms() else { return Ok(()) };
        let head = self.group.head();
        let entered_ms = self.group.entered_ms(&head.epoch).unwrap_or(desk.now_ms);
        if !self.is_member(&desk.me()) || !head.contains(&desk.me()) || !self.is_head_used(entered_ms) {
            return Ok(());
        }
        let place = |device: &DeviceId| {
            hash(HashContext::RepairOrder, &[head.epoch.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let rank = self.rank(online, &desk.me(), place);
        let due_ms = entered_ms + ratchet_ms / PERIODS + ROTATE_QUIET_MS + rank as u64 * ROTATE_STEP_MS;
        if desk.now_ms < due_ms {
            self.ratchet.rotate_at_ms = Some(due_ms);
            return Ok(());
        }
        let change = self.difference(desk);
        self.commit(change, None, desk).map(drop)
    }

    /// Erases what has expired, and finds out when something does next.
    pub(super) fn expire(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let policy = self.ratchet_ms();
        if self.ratchet.of != policy {
            let known = policy.is_some() && self.ratchet.of.is_some();
            (self.ratchet.of, self.ratchet.expire_at_ms) = (policy, None);
            if !known {
                self.ratchet.fleeting = if policy.is_some() { self.find_fleeting(desk)? } else { BTreeSet::new() };
            }
        }
        if policy.is_none() || self.ratchet.expire_at_ms.is_some_and(|at_ms| desk.now_ms < at_ms) {
            return Ok(());
        }
        let mut erased = self.expire_entries(desk)?;
        erased += self.expire_documents(desk)?;
        erased += self.expire_keys(desk)?;
        if erased > 0 {
            tracing::info!(circle = %self.id.short(), erased, "what expired was erased");
            desk.erased = true;
        }
        self.ratchet.expire_at_ms = self.next_expiry_ms();
        Ok(())
    }

    /// The entries that expire, among all that are stored.
    fn find_fleeting(&self, desk: &Desk) -> Result<BTreeSet<(u32, EntryId)>, EngineError> {
        let mut fleeting = BTreeSet::new();
        for bytes in desk.store.all(Keyspace::Entries, self.id.as_bytes())?.into_values() {
            let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
            if !envelope.tag.is_lasting() {
                fleeting.insert((envelope.hour, envelope.id));
            }
        }
        Ok(fleeting)
    }

    fn next_expiry_ms(&self) -> Option<u64> {
        let entries = self.ratchet.fleeting.first().map(|(hour, _)| *hour);
        let documents = self.documents.iter().filter(|((_, kind), _)| !documents::lasts(*kind));
        let documents = documents.map(|((id, _), record)| {
            id.period_start_hour(self.id).unwrap_or(record.newest_hour).min(record.newest_hour)
        });
        let left = self.group.kept().filter_map(|(checkpoint, _)| self.group.superseded_ms(&checkpoint.epoch));
        let keys = self.keys.all().filter_map(|(_, held)| self.left_ms(held));
        let hours = entries.into_iter().chain(documents).chain(left.chain(keys).map(hour_of));
        // That nothing will expire is an answer too.
        let next = hours.min().and_then(|hour| self.expires_ms(hour));
        Some(next.unwrap_or(u64::MAX))
    }

    /// Since when nothing is sealed under a key any more: since it came, if its epoch is not known.
    fn left_ms(&self, held: &crate::group::Held) -> Option<u64> {
        if held.epoch == self.group.head().epoch {
            return None;
        }
        Some(self.group.superseded_ms(&held.epoch).unwrap_or(held.filed_ms))
    }

    fn expire_entries(&mut self, desk: &mut Desk) -> Result<usize, EngineError> {
        let mut gone = Vec::new();
        let now_ms = desk.now_ms;
        let over = |circle: &Self, hour| circle.has_expired_by(hour, now_ms);
        while let Some((hour, id)) = self.ratchet.fleeting.first().copied().filter(|(hour, _)| over(self, *hour)) {
            self.ratchet.fleeting.remove(&(hour, id));
            if let Err(error) = self.index.remove_fleeting(hour, id, desk) {
                self.note_damage(&error, desk);
            }
            gone.push(id);
        }
        for id in &gone {
            for keyspace in [Keyspace::Entries, Keyspace::Held, Keyspace::Commits, Keyspace::KeyChanges] {
                desk.remove_if_there(Key::new(keyspace, self.id.as_bytes(), id.as_bytes()))?;
            }
            self.held.remove(id);
            // Devices whose clocks are behind offer it for a while.
            self.remember_refused(*id, Refusal::Expired);
        }
        if !gone.is_empty() {
            let gone: BTreeSet<EntryId> = gone.iter().copied().collect();
            for suffix in desk.store.suffixes(Keyspace::Carried, self.id.as_bytes())? {
                if gone.contains(&judge::carried_id(&suffix)?) {
                    desk.remove(Key::new(Keyspace::Carried, self.id.as_bytes(), suffix));
                }
            }
            self.released.retain(|id| !gone.contains(id));
            self.unfollowed.retain(|_, rivals| {
                rivals.retain(|id| !gone.contains(id));
                !rivals.is_empty()
            });
        }
        Ok(gone.len())
    }

    fn expire_documents(&mut self, desk: &mut Desk) -> Result<usize, EngineError> {
        let is_over = |name: &(DocumentId, DocumentKind), record: &local::DocumentRecord| {
            !documents::lasts(name.1)
                && (self.is_over_segment(name, desk.now_ms) || self.has_expired_by(record.newest_hour, desk.now_ms))
        };
        let gone = self.documents.iter().filter(|(name, record)| is_over(name, record));
        let gone: BTreeSet<(DocumentId, DocumentKind)> = gone.map(|(name, _)| *name).collect();
        for name in &gone {
            let (id, kind) = *name;
            self.unload(name);
            self.documents.remove(name);
            self.forget_view(*name, desk)?;
            desk.remove(record_key(self.id, id, kind));
            desk.remove_if_there(snapshot_key(self.id, id, kind))?;
            for suffix in desk.store.all(Keyspace::Changes, &scope(self.id, id, kind))?.into_keys() {
                desk.remove(Key::new(Keyspace::Changes, scope(self.id, id, kind), suffix));
            }
            desk.events.push(Event::DocumentChanged { circle: self.id, document: id, kind });
        }
        if !gone.is_empty() {
            self.forget_authors(&gone, desk)?;
        }
        Ok(gone.len())
    }

    /// Forgets who wrote where, of documents that are gone.
    fn forget_authors(&self, gone: &BTreeSet<(DocumentId, DocumentKind)>, desk: &mut Desk) -> Result<(), EngineError> {
        let devices: Vec<DeviceId> = self.log.membership().stays.keys().copied().collect();
        for device in devices.into_iter().chain([desk.me()]) {
            let prefix = device.as_bytes().first_chunk::<16>().expect("an id is longer");
            let scope = standing::author_scope(self.id, prefix);
            for suffix in desk.store.all(Keyspace::Authors, &scope)?.into_keys() {
                let is_gone = gone
                    .iter()
                    .any(|(id, kind)| suffix.ends_with(&[id.as_bytes().as_slice(), &[kind.number()]].concat()));
                if is_gone {
                    desk.remove(Key::new(Keyspace::Authors, &scope, suffix));
                }
            }
        }
        Ok(())
    }

    fn expire_keys(&mut self, desk: &mut Desk) -> Result<usize, EngineError> {
        let kept = self.group.kept().map(|(checkpoint, _)| checkpoint.epoch);
        let epochs: Vec<EpochId> = kept.filter(|epoch| self.is_over(epoch, desk.now_ms)).collect();
        for epoch in &epochs {
            self.group.erase(epoch);
            self.file_epoch(epoch, desk)?;
        }
        let is_over = |held: &crate::group::Held| {
            self.left_ms(held).is_some_and(|left_ms| self.has_expired_by(hour_of(left_ms), desk.now_ms))
        };
        let keys: Vec<KeyId> = self.keys.all().filter(|(_, held)| is_over(held)).map(|(id, _)| *id).collect();
        for id in &keys {
            desk.remove(Key::new(Keyspace::ContentKeys, self.id.as_bytes(), id.as_bytes()));
        }
        if !keys.is_empty() {
            self.keys.erase(&keys);
        }
        Ok(epochs.len() + keys.len())
    }

    /// Whether logs are compared beside entries: the entries that brought an operation may have expired, or be sealed on a
    /// branch from before somebody came, who may not read them.
    pub(super) fn compares_logs(&self) -> bool {
        !self.is_shared()
    }

    /// The heads of the log, for those with whom this circle is reconciled, if logs are compared.
    pub(crate) fn heads_to_compare(&self) -> Vec<Vec<u8>> {
        if self.compares_logs() { self.cites() } else { Vec::new() }
    }

    /// Takes in the heads of a peer's log. What is not here comes with entries, or with the answer to a plea.
    pub(crate) fn compare_heads(&mut self, peer: DeviceId, heads: &[Vec<u8>]) -> Result<(), Refusal> {
        let heads = judge::cited(heads)?;
        if self.compares_logs() || !heads.is_empty() {
            let missing = self.not_here(heads);
            self.pleas.note_ahead(peer, missing);
        }
        Ok(())
    }

    /// Whether whoever is in that epoch cannot follow the commits that led on from there, because they expired.
    pub(super) fn is_left_behind(&self, epoch: &EpochId, now_ms: u64) -> bool {
        // The commit has the hour of the epoch that it leads to, or the next.
        self.ratchet_ms().is_some() && self.is_over(epoch, now_ms.saturating_add(HOUR_MS))
    }

    /// The operations of this log that do not lead to those heads, as they are signed. Without a head that is known here,
    /// all of them.
    pub(super) fn operations_beyond(&self, heads: &[OperationId]) -> Vec<Vec<u8>> {
        let known: Vec<OperationId> = heads.iter().copied().filter(|id| self.log.operation(id).is_some()).collect();
        let past = self.log.ancestors(&known).unwrap_or_default();
        let beyond = |operation: &&Operation| !past.contains(&operation.id()) && !known.contains(&operation.id());
        self.log.operations().filter(beyond).map(Operation::encode).collect()
    }

    /// Takes in operations whose entries cannot be had. Each counts by itself, as it does in an entry.
    pub(super) fn take_log(&mut self, log: Vec<Operation>, desk: &mut Desk) -> Result<(), Refusal> {
        let mut news = Vec::new();
        for operation in log {
            let (id, bytes) = (operation.id(), operation.encode());
            if self.log.operation(&id).is_none() {
                self.take_operation(operation, desk)?;
                news.push(bytes);
            }
        }
        if !self.compares_logs() {
            // Here nobody compares logs, so what somebody told this device alone has to be told to all.
            for bytes in news {
                let told = self.publish_under(self.group.head().epoch, Body::Operation(bytes), desk);
                told.map_err(|_| Refusal::Oversized)?;
            }
        }
        Ok(())
    }
}
