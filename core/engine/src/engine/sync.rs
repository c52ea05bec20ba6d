//! Entries between members: live ones at once, everything else by set reconciliation.

use std::ops::Bound::{Excluded, Unbounded};

use super::peers::Peer;
use super::*;
use crate::Refusal;
use crate::entry::entry_id;
use crate::index::{Cut, Difference, RECONCILE_BYTES_MAX};
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;

/// Bytes of entries per frame, as far as whole entries allow.
const ENTRIES_FRAME_BYTES: usize = 256 * 1024;
/// Frames that may be on their way to one peer before no more entries are read for it.
const FRAMES_IN_FLIGHT_MAX: usize = 4;
/// Ids or entries per frame.
pub(crate) const IDS_MAX: usize = 8_192;
/// Entries that may be queued for one peer. Beyond it the next reconciliation finds what is left.
const QUEUED_ENTRIES_MAX: usize = 65_536;
/// Bytes of reconciliation messages of one peer that may wait until what is known to be missing has come.
const POSTPONED_BYTES_MAX: usize = 1024 * 1024;
/// How often two connected devices compare what they have, as a net under the live path, in milliseconds.
const RECONCILE_EVERY_MS: u64 = 60_000;

/// Entries of one frame whose arrival is confirmed one by one.
const CONFIRMED_MAX: usize = 64;
/// How long two devices wait before they compare again because a bundle is on its way, in milliseconds.
pub(super) const PUT_OFF_MS: u64 = 1_000;
/// How often they do so in a row.
const PUT_OFF_MAX: u32 = 3;

impl Engine {
    /// Begins to reconcile one circle with one peer. Of two devices the one with the lesser id does; for the other
    /// this only notes that it is being done.
    pub(super) fn begin_reconcile(&mut self, device: DeviceId, circle: CircleId) {
        let now_ms = self.desk.now_ms;
        let peer = self.peers.get_mut(&device).expect("only connected peers are reconciled with");
        peer.begun.insert(circle);
        peer.next_reconcile_ms = now_ms + RECONCILE_EVERY_MS;
        if self.desk.me() < device {
            let comparing = self.comparing(circle);
            self.peers.get_mut(&device).expect("it is connected").comparing.insert(circle, comparing);
            let known = self.circles.get_mut(&circle).expect("only what is shared is reconciled");
            match known.index.begin(&mut self.desk) {
                Ok(message) => self.send_reconcile(device, circle, true, message),
                Err(error) => known.note_damage(&error, &mut self.desk),
            }
        }
    }

    pub(super) fn take_reconcile(&mut self, peer: DeviceId, step: proto::Reconcile) -> Result<(), Refusal> {
        let circle = self.shared(peer, &step.circle)?;
        self.seen_in(circle, peer);
        let known = self.circles.get_mut(&circle).expect("shared() found it");
        known.compare_heads(peer, &step.operations)?;
        known.note_lacks(peer, step.lacks.clone(), self.desk.now_ms)?;
        if step.message.len() > RECONCILE_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        if !step.initiator && peer < self.desk.me() {
            return Err(Refusal::Unexpected);
        }
        if self.wants.has_much_to_ask(&peer) {
            self.postpone(peer, circle, step);
            return Ok(());
        }
        self.step(peer, circle, &step)
    }

    /// Keeps a step for when less is left to ask of that peer. What is too much is dropped: the next comparison finds it.
    fn postpone(&mut self, peer: DeviceId, circle: CircleId, step: proto::Reconcile) {
        let Some(link) = self.peers.get_mut(&peer) else { return };
        link.postponed.remove(&circle);
        let waiting: usize = link.postponed.values().map(|step| step.message.len()).sum();
        if waiting + step.message.len() <= POSTPONED_BYTES_MAX {
            link.postponed.insert(circle, step);
        }
    }

    /// Goes on with what was postponed, and says whether there was anything to go on with.
    pub(super) fn resume_reconciling(&mut self) -> bool {
        let mut any = false;
        for peer in self.ready_peers_that(|peer| !peer.postponed.is_empty()) {
            while !self.wants.has_much_to_ask(&peer)
                && let Some((circle, step)) = self.peers.get_mut(&peer).and_then(|link| link.postponed.pop_first())
            {
                any = true;
                // Who has left meanwhile is told nothing more.
                if self.speaks_of(&peer, &circle)
                    && let Err(refusal) = self.step(peer, circle, &step)
                {
                    self.desk.refuse(refusal);
                }
            }
        }
        any
    }

    fn step(&mut self, peer: DeviceId, circle: CircleId, step: &proto::Reconcile) -> Result<(), Refusal> {
        let Some(known) = self.circles.get_mut(&circle) else { return Ok(()) };
        if step.initiator {
            let answer = known.index.answer(&step.message, &mut self.desk);
            if let Some(answer) = known.unless_damaged(answer, &mut self.desk)? {
                if !answer.lacks {
                    let comparing = self.comparing(circle);
                    self.note_has_all(peer, circle, comparing);
                }
                self.guide(peer, circle, answer.much_since);
                self.send_reconcile(peer, circle, false, answer.message);
                self.note_answered(peer, circle, answer.differs);
            }
            return Ok(());
        }
        let difference = known.index.proceed(&step.message, &mut self.desk);
        let Some(mut difference) = known.unless_damaged(difference, &mut self.desk)? else { return Ok(()) };
        self.guide(peer, circle, std::mem::take(&mut difference.much_since));
        let lacks = !difference.have.is_empty();
        let is_put_off = self.bundles_first(peer, circle, &mut difference);
        let comparing = self.peers.get_mut(&peer).and_then(|peer| peer.comparing.get_mut(&circle));
        let comparing = comparing.map(|comparing| {
            comparing.lacks |= lacks || is_put_off;
            *comparing
        });
        for ids in difference.have.chunks(IDS_MAX) {
            // Others may offer it the same: it asks one of them.
            self.send(peer, Channel::Sync, Body::Have(join_ids(circle, ids)));
        }
        self.wants.offer(peer, circle, difference.need);
        match difference.reply {
            Some(message) => self.send_reconcile(peer, circle, true, message),
            None if is_put_off => {}
            None => {
                if let Some(comparing) = comparing.filter(|comparing| !comparing.lacks) {
                    self.note_has_all(peer, circle, comparing);
                }
                self.note_compared(peer, circle);
                self.desk.events.push(Event::Reconciled { device: peer, circle });
            }
        }
        Ok(())
    }

    /// Of a difference the other side says more; not all at once, if bundles are to come first.
    fn note_answered(&mut self, peer: DeviceId, circle: CircleId, differs: bool) {
        let now_ms = self.desk.now_ms;
        if !differs {
            self.note_compared(peer, circle);
        } else if let Some(peer) = self.peers.get_mut(&peer) {
            peer.compared.remove(&circle);
            peer.answered.insert(circle, (now_ms, false));
        }
    }

    fn note_compared(&mut self, peer: DeviceId, circle: CircleId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.answered.remove(&circle);
            peer.compared.insert(circle);
        }
    }

    /// Entries are offered or asked for: that is what comes of a comparison.
    fn note_heard(&mut self, peer: DeviceId, circle: CircleId) {
        if let Some((_, heard)) = self.peers.get_mut(&peer).and_then(|peer| peer.answered.get_mut(&circle)) {
            *heard = true;
        }
    }

    /// Puts off what may be covered by a bundle that is on its way one way or the other: the two compare again once it is there.
    /// Whether anything was put off.
    fn bundles_first(&mut self, peer: DeviceId, circle: CircleId, difference: &mut Difference) -> bool {
        let (known, most) = (&self.circles[&circle], self.desk.bundling.at_once_max);
        let (mut have, rest): (Vec<_>, Vec<_>) = difference.have.iter().partition(|id| known.is_bundle(id));
        let gives_bundles = !have.is_empty();
        have.extend(rest);
        difference.have = have;
        let peer = self.peers.get_mut(&peer).expect("it is being reconciled with");
        let (times, is_put_off) = peer.put_off.entry(circle).or_default();
        let asks_later = gives_bundles && difference.need.len() > most;
        // What is missing here may be a bundle. Which it is shows when it is there.
        let offers_later = !gives_bundles && !difference.need.is_empty() && difference.have.len() > most;
        if *times < PUT_OFF_MAX && (asks_later || offers_later) {
            *is_put_off = true;
            peer.next_reconcile_ms = self.desk.now_ms + PUT_OFF_MS;
            if asks_later {
                difference.need.clear();
            } else {
                difference.have.clear();
            }
        }
        if difference.reply.is_none() {
            *times = if *is_put_off { *times + 1 } else { 0 };
            return std::mem::take(is_put_off);
        }
        false
    }

    /// Offers a peer that lacks much what the rest means nothing without, ahead of it: the newest come first otherwise, and
    /// would have to wait for it.
    fn guide(&mut self, peer: DeviceId, circle: CircleId, since: Option<Cut>) {
        let now_ms = self.desk.now_ms;
        let (Some(since), Some(link)) = (since, self.peers.get_mut(&peer)) else { return };
        let guided = link.guided.entry(circle).or_default();
        if *guided > now_ms {
            return;
        }
        *guided = now_ms + RECONCILE_EVERY_MS;
        let Some(known) = self.circles.get_mut(&circle) else { return };
        match known.index.guides_since(&since, &mut self.desk) {
            Ok(ids) if ids.is_empty() => {}
            Ok(ids) => self.send(peer, Channel::Sync, Body::Have(join_ids(circle, &ids))),
            Err(error) => known.note_damage(&error, &mut self.desk),
        }
    }

    fn send_reconcile(&mut self, peer: DeviceId, circle: CircleId, initiator: bool, message: Vec<u8>) {
        let now_ms = self.desk.now_ms;
        let known = self.circles.get_mut(&circle).expect("it is being reconciled");
        let (operations, lacks) = (known.heads_to_compare(), known.what_it_lacks(now_ms));
        let step = proto::Reconcile { circle: circle.as_bytes().to_vec(), initiator, message, operations, lacks };
        self.send(peer, Channel::Sync, Body::Reconcile(step));
    }

    pub(super) fn take_entries(&mut self, peer: DeviceId, entries: proto::Entries) -> Result<(), Refusal> {
        let circle = self.shared(peer, &entries.circle)?;
        if entries.envelopes.len() > IDS_MAX {
            return Err(Refusal::Oversized);
        }
        for envelope in &entries.envelopes {
            self.wants.arrived(&entry_id(envelope));
        }
        let circle = self.circles.get_mut(&circle).expect("shared() found it");
        if let Err(error) = circle.accept(peer, entries.envelopes, &mut self.desk) {
            tracing::error!(%error, "entries could not be taken in");
        }
        let news = std::mem::take(&mut self.desk.relayed);
        self.offer(peer, &news);
        // It hears that they arrived, unless it gives so many that the next comparison says so for less.
        for (circle, ids) in by_circle(news.into_iter().take(CONFIRMED_MAX + 1)) {
            if ids.len() <= CONFIRMED_MAX {
                self.send(peer, Channel::Sync, Body::Have(join_ids(circle, &ids)));
            }
        }
        Ok(())
    }

    /// Tells every member but the source that there are entries it may lack.
    fn offer(&mut self, source: DeviceId, news: &[(CircleId, EntryId)]) {
        for (circle, ids) in by_circle(news.iter().copied()) {
            for peer in self.ready_peers().into_iter().filter(|peer| *peer != source) {
                if self.speaks_of(&peer, &circle) {
                    for ids in ids.chunks(IDS_MAX) {
                        self.send(peer, Channel::Sync, Body::Have(join_ids(circle, ids)));
                    }
                }
            }
        }
    }

    pub(super) fn take_have(&mut self, peer: DeviceId, ids: &proto::EntryIds) -> Result<(), Refusal> {
        let circle = self.shared(peer, &ids.circle)?;
        let ids = split_ids(&ids.ids)?;
        self.note_has(peer, circle, &ids);
        self.wants.offer(peer, circle, ids);
        self.note_heard(peer, circle);
        Ok(())
    }

    pub(super) fn take_want(&mut self, peer: DeviceId, ids: &proto::EntryIds) -> Result<(), Refusal> {
        let circle = self.shared(peer, &ids.circle)?;
        self.enqueue(peer, circle, split_ids(&ids.ids)?);
        self.note_heard(peer, circle);
        Ok(())
    }

    fn enqueue(&mut self, peer: DeviceId, circle: CircleId, ids: Vec<EntryId>) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            let room = QUEUED_ENTRIES_MAX.saturating_sub(peer.queue.len());
            peer.queue.extend(ids.into_iter().take(room).map(|id| (circle, id)));
        }
    }

    /// Queues what was made here for the members that are connected, and offers what else is news.
    pub(super) fn spread(&mut self) {
        if self.desk.published.is_empty() && self.desk.relayed.is_empty() {
            return;
        }
        let published = std::mem::take(&mut self.desk.published);
        let relayed = std::mem::take(&mut self.desk.relayed);
        self.note_for_relays(&published);
        self.offer(self.desk.me(), &relayed);
        for (circle, ids) in by_circle(published.iter().map(|entry| (entry.circle, entry.id))) {
            for peer in self.ready_peers() {
                if self.speaks_of(&peer, &circle) {
                    self.enqueue(peer, circle, ids.clone());
                }
            }
        }
    }

    /// Sends queued entries as far as each peer takes them.
    pub(super) fn pump(&mut self) {
        for device in self.ready_peers_that(|peer| !peer.queue.is_empty()) {
            while let Some((circle, envelopes)) = self.next_entries(device) {
                let entries = proto::Entries { circle: circle.as_bytes().to_vec(), envelopes };
                self.send(device, Channel::Sync, Body::Entries(entries));
            }
        }
    }

    fn next_entries(&mut self, device: DeviceId) -> Option<(CircleId, Vec<Vec<u8>>)> {
        let Peer { queue, in_flight, .. } = self.peers.get_mut(&device)?;
        if *in_flight >= FRAMES_IN_FLIGHT_MAX {
            return None;
        }
        let (mut of, mut envelopes, mut bytes) = (None, Vec::new(), 0);
        while let Some((circle, id)) = queue.front() {
            if of.is_some_and(|of| of != *circle) {
                break;
            }
            // Who was removed since it was queued gets nothing more.
            let circle = self.circles.get(circle).filter(|circle| circle.is_member(&device));
            if let Some((circle, envelope)) =
                circle.and_then(|circle| Some((circle.id, circle.envelope(id, &self.desk).ok()??)))
            {
                if envelopes.len() == IDS_MAX || bytes > 0 && bytes + envelope.len() > ENTRIES_FRAME_BYTES {
                    break;
                }
                of = Some(circle);
                bytes += envelope.len();
                envelopes.push(envelope);
            }
            queue.pop_front();
        }
        Some((of?, envelopes))
    }

    /// When the next comparison with a connected device is due.
    pub(super) fn next_reconcile_ms(&self) -> Option<u64> {
        let me = self.desk.me();
        let begins = self.peers.range((Excluded(me), Unbounded)).filter(|(_, peer)| peer.ready);
        begins.map(|(_, peer)| peer.next_reconcile_ms).min()
    }

    /// Compares anew with those whose turn it is.
    pub(super) fn reconcile_when_due(&mut self) {
        let now_ms = self.desk.now_ms;
        for device in self.ready_peers_that(|peer| peer.next_reconcile_ms <= now_ms) {
            for circle in self.peers[&device].begun.clone() {
                self.begin_reconcile(device, circle);
            }
        }
    }
}

fn by_circle(entries: impl IntoIterator<Item = (CircleId, EntryId)>) -> BTreeMap<CircleId, Vec<EntryId>> {
    let mut sorted: BTreeMap<CircleId, Vec<EntryId>> = BTreeMap::new();
    for (circle, id) in entries {
        sorted.entry(circle).or_default().push(id);
    }
    sorted
}

pub(super) fn join_ids(circle: CircleId, ids: &[EntryId]) -> proto::EntryIds {
    let ids = ids.iter().flat_map(|id| id.as_bytes().iter().copied()).collect();
    proto::EntryIds { circle: circle.as_bytes().to_vec(), ids }
}

fn split_ids(bytes: &[u8]) -> Result<Vec<EntryId>, Refusal> {
    let (ids, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Refusal::Malformed);
    }
    if ids.len() > IDS_MAX {
        return Err(Refusal::Oversized);
    }
    Ok(ids.iter().map(|id| EntryId::from_bytes(*id)).collect())
}
