//! Finding out what a relay lacks and what it has that is missing here: when it was never met, when it lost what it had, or when
//! something of this device's went to another relay only.
//!
//! Range-based set reconciliation (Negentropy version 1) over the ids of the entries in each mailbox, one after the other. What is
//! followed is read on from where the relay was when the comparison began.

use clave_crypto::MailboxId;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::outbox::{Item, Kind, Order};
use super::*;
use crate::EntryId;
use crate::circle::mailboxes::MAILBOX_MS_MAX;
use crate::entry::HOUR_MS;

/// The most entries of all circles together that are compared with a relay: the newest.
const COMPARED_ENTRIES_MAX: usize = 65_536;
/// How many steps one comparison may take. Two honest sides with so many entries need a fraction of it.
const STEPS_MAX: u32 = 64;
/// Entries that are asked for at a time.
const NEED_AT_ONCE: usize = 512;
/// Mailboxes that are only written to and that wait, open, to be compared, at a time.
const OPEN_AT_ONCE: usize = 32;

/// Of one mailbox.
pub(super) struct Comparison {
    pub(super) mailbox: MailboxId,
    of: (CircleId, Option<EpochId>),
    /// The position of the newest entry there as it began.
    last: u64,
    side: Negentropy<'static, NegentropyStorageVector>,
    steps: u32,
    /// What is to be asked for.
    need: VecDeque<EntryId>,
    is_followed: bool,
}

impl Engine {
    /// Gathers what is here of each mailbox, if it has to be compared.
    pub(super) fn prepare_comparison(&mut self, id: DeviceId, session: &mut Session, kept_seconds: u64) {
        if self.mailboxes.relays.get(&id).is_none_or(|relay| relay.record.compared) || off(Rule::RelayCompared) {
            return;
        }
        let age_ms = kept_seconds.saturating_mul(1_000).min(MAILBOX_MS_MAX);
        let since_hour = u32::try_from(self.desk.now_ms.saturating_sub(age_ms) / HOUR_MS).unwrap_or(u32::MAX);
        let (mut here, mut room) = (BTreeMap::new(), COMPARED_ENTRIES_MAX);
        let me = self.desk.me();
        for circle in self.circles_at(&id) {
            let Some(known) = self.circles.get_mut(&circle).filter(|known| known.is_member(&me)) else { continue };
            match known.by_mailbox(since_hour, room, &mut self.desk) {
                Ok(found) => {
                    room -= found.values().map(|(_, ids)| ids.len()).sum::<usize>().min(room);
                    here.extend(found);
                }
                Err(error) => tracing::error!(circle = %circle.short(), %error, "entries could not be compared"),
            }
        }
        session.here = Some(here);
        // With no room left, there may be older ones that were not compared.
        session.compared_since_ms = (room > 0).then_some(self.desk.now_ms.saturating_sub(age_ms));
    }

    /// Does the next thing there is to be done for comparing.
    pub(super) fn go_on_comparing(&mut self, id: DeviceId, session: &mut Session) {
        if session.here.is_none() || session.is_paused(self.desk.now_ms) {
            return;
        }
        let is_asking = |asked: &Asked| matches!(asked, Asked::Reconcile | Asked::Need(_));
        while !session.awaits(is_asking) {
            if let Some(comparison) = &mut session.comparison {
                let ids: Vec<EntryId> = comparison.need.drain(..comparison.need.len().min(NEED_AT_ONCE)).collect();
                if ids.is_empty() {
                    self.end_comparison(id, session);
                    continue;
                }
                let get = wire::Get {
                    mailboxes: comparison.mailbox.as_bytes().to_vec().into(),
                    kind: wire::Kind::Entry.into(),
                    ids: ids.iter().flat_map(|id| id.as_bytes().iter().copied()).collect::<Vec<_>>().into(),
                    only_whether: false,
                };
                return self.ask(id, session, request::Body::Get(get), Asked::Need(ids));
            }
            let Some((mailbox, last, entries)) = session.to_compare.pop_front() else { break };
            self.begin_comparison(id, session, mailbox, last, entries);
        }
        if session.comparison.is_none() && !session.awaits(|asked| matches!(asked, Asked::Open(_))) {
            self.compare_the_rest(id, session);
        }
    }

    /// Goes on with mailboxes that are not followed, and ends once there are none left and all that was lacking is stored.
    fn compare_the_rest(&mut self, id: DeviceId, session: &mut Session) {
        let Some(here) = &mut session.here else { return };
        let mut openings = Vec::new();
        while openings.len() < OPEN_AT_ONCE
            && let Some((mailbox, (of, ids))) = here.pop_first()
        {
            if session.shunned.contains(&mailbox) || session.open.len() + openings.len() >= session.limit {
                continue;
            }
            openings.push((of.clone(), 0, false, true));
            session.here_open.insert(mailbox, ids);
        }
        if !openings.is_empty() {
            return self.ask_to_open(id, session, openings);
        }
        let lacked = |order: &Order| *order == Order::LACKED;
        if !session.queue.last().is_some_and(|(order, _)| lacked(order)) && !session.putting.values().any(lacked) {
            tracing::debug!(relay = %id.short(), "compared with a relay");
            session.here = None;
            self.set_compared(id, true);
            if let Some(since_ms) = session.compared_since_ms.take() {
                for circle in self.circles_at(&id) {
                    self.reaches.note_compared_with_relay(circle, since_ms);
                }
            }
        }
    }

    fn begin_comparison(&mut self, id: DeviceId, session: &mut Session, mailbox: MailboxId, last: u64, entries: u64) {
        let Some(opened) = session.open.get(&mailbox) else { return };
        let is_followed = session.followed.iter().any(|followed| followed.id == mailbox);
        let of = (opened.of.circle, opened.of.epoch);
        let known = session.here.as_mut().and_then(|here| here.remove(&mailbox)).map(|(_, ids)| ids);
        let ids = known.or_else(|| session.here_open.remove(&mailbox)).unwrap_or_default();
        let mut storage = NegentropyStorageVector::with_capacity(ids.len());
        for id in &ids {
            // A vector that is not sealed takes everything.
            let _ = storage.insert(0, Id::from_byte_array(*id.as_bytes()));
        }
        let side = storage.seal().and_then(|()| Negentropy::owned(storage, wire::RECONCILE_BYTES_MAX as u64));
        let Ok(side) = side else { return session.drop_comparison() };
        let mut comparison = Comparison { mailbox, of, last, side, steps: 0, need: VecDeque::new(), is_followed };
        if entries == 0 {
            self.queue_lacked(session, of.0, ids);
        } else if let Ok(message) = comparison.side.initiate() {
            let step = wire::Reconcile { mailbox: mailbox.as_bytes().to_vec().into(), message: message.into() };
            self.ask(id, session, request::Body::Reconcile(step), Asked::Reconcile);
        }
        session.comparison = Some(comparison);
    }

    /// Takes the relay's step.
    pub(super) fn take_comparison(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        step: &wire::Reconcile,
    ) -> Result<(), Failed> {
        let Some(comparison) = &mut session.comparison else { return Ok(()) };
        if step.mailbox.as_ref() != comparison.mailbox.as_bytes() {
            return Err(Failed::NONSENSE);
        }
        comparison.steps += 1;
        if step.message.is_empty() || comparison.steps > STEPS_MAX {
            return Ok(());
        }
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = comparison.side.reconcile_with_ids(&step.message, &mut have, &mut need);
        let next = next.map_err(|_| Failed::NONSENSE)?;
        let circle = comparison.of.0;
        if comparison.is_followed
            && let Some(known) = self.circles.get(&circle)
        {
            let room = COMPARED_ENTRIES_MAX.saturating_sub(comparison.need.len());
            let need = need.into_iter().map(|id| EntryId::from_bytes(*id.as_bytes())).filter(|id| known.wants(id));
            comparison.need.extend(need.take(room));
        }
        if let Some(message) = next {
            let step = wire::Reconcile { mailbox: step.mailbox.clone(), message: message.into() };
            self.ask(id, session, request::Body::Reconcile(step), Asked::Reconcile);
        }
        self.queue_lacked(session, circle, have.into_iter().map(|id| EntryId::from_bytes(*id.as_bytes())));
        Ok(())
    }

    fn queue_lacked(&mut self, session: &mut Session, circle: CircleId, ids: impl IntoIterator<Item = EntryId>) {
        for id in ids {
            let item = Item { circle, kind: Kind::Entry, id: *id.as_bytes() };
            // What waits anyway is in the queue already.
            if self.mailboxes.outbox.order(&item).is_none() {
                session.queue.insert((Order::LACKED, item));
            }
        }
    }

    /// Takes in entries that were missing here.
    pub(super) fn take_needed(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        asked: Vec<EntryId>,
        blobs: wire::Blobs,
    ) -> Result<(), Failed> {
        let Some(comparison) = &mut session.comparison else { return Ok(()) };
        if blobs.blobs.is_empty() || blobs.blobs.len() > asked.len() {
            return Err(Failed::NONSENSE);
        }
        for left in asked[blobs.blobs.len()..].iter().rev() {
            comparison.need.push_front(*left);
        }
        let (mailbox, of) = (comparison.mailbox, comparison.of);
        let found = blobs.blobs.into_iter().filter(|blob| blob.found);
        self.accept_relayed(id, mailbox, of, found.map(|blob| blob.bytes.to_vec()).collect());
        Ok(())
    }

    /// Follows a mailbox from where it was when its comparison began, or was read before.
    fn end_comparison(&mut self, id: DeviceId, session: &mut Session) {
        let Some(comparison) = session.comparison.take() else { return };
        let Some(opened) = session.open.get_mut(&comparison.mailbox) else { return };
        opened.to_compare = false;
        if comparison.is_followed {
            let known = self.position(&id, &comparison.mailbox);
            if known.is_none() {
                self.file_position(&id, &comparison.mailbox, comparison.last);
            }
            let opening = (opened.of.clone(), known.unwrap_or(comparison.last), true, false);
            self.ask_to_open(id, session, vec![opening]);
        }
    }
}
