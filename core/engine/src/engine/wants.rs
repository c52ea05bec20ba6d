//! Entries that are missing here: who has them, and of whom they were asked.
//!
//! Several members may offer the same entries at the same time, as they all do to a newcomer. Each entry is asked of one
//! of them, a window's worth at a time, so that it comes once and from whoever is quick; if it does not come, another is
//! asked.

use super::*;
use crate::Key;
use crate::proto::frame::frame::Body;

/// Entries that are asked of one peer at a time.
const ASKED_ENTRIES_MAX: usize = 1_024;
/// Entries that one peer may offer. Beyond it the next reconciliation finds what is left.
const OFFERED_ENTRIES_MAX: usize = 65_536;
/// With more offers of a peer than that, nothing further is compared with it.
const MUCH_TO_ASK: usize = 4_096;
/// How long an entry is waited for before another peer is asked for it, in milliseconds.
const ASKED_MS_MAX: u64 = 60_000;

#[derive(Default)]
pub(super) struct Wants {
    /// Entries on their way, and who was asked.
    asked: BTreeMap<EntryId, DeviceId>,
    peers: BTreeMap<DeviceId, Source>,
    /// Peers that there may be something to ask of, since they were last looked at.
    news: BTreeSet<DeviceId>,
}

/// A peer that has what is missing here.
#[derive(Default)]
struct Source {
    offered: VecDeque<(CircleId, EntryId)>,
    /// What it was asked for and until when it may take, in that order; some of it may have arrived.
    deadlines: VecDeque<(u64, EntryId)>,
    on_their_way: usize,
}

impl Wants {
    /// Notes that a peer has entries that are missing here.
    pub(super) fn offer(&mut self, peer: DeviceId, circle: CircleId, ids: impl IntoIterator<Item = EntryId>) {
        self.news.insert(peer);
        let offered = &mut self.peers.entry(peer).or_default().offered;
        let room = OFFERED_ENTRIES_MAX.saturating_sub(offered.len());
        offered.extend(ids.into_iter().take(room).map(|id| (circle, id)));
    }

    /// Whether a peer has offered so much that there is no hurry to hear of more.
    pub(super) fn has_much_to_ask(&self, peer: &DeviceId) -> bool {
        self.peers.get(peer).is_some_and(|source| source.offered.len() > MUCH_TO_ASK)
    }

    /// Whether something is on its way from a peer. What it offered besides was asked of another, or has come from there.
    pub(super) fn awaits(&self, peer: &DeviceId) -> bool {
        self.peers.get(peer).is_some_and(|source| source.on_their_way > 0)
    }

    /// Notes that an entry came, from whomever.
    pub(super) fn arrived(&mut self, id: &EntryId) {
        if let Some(peer) = self.asked.remove(id)
            && let Some(source) = self.peers.get_mut(&peer)
        {
            source.on_their_way -= 1;
            self.news.insert(peer);
        }
    }

    /// What was asked of a peer may not come, and what it has is no longer known.
    pub(super) fn lose_peer(&mut self, peer: &DeviceId) {
        if self.peers.remove(peer).is_some_and(|source| source.on_their_way > 0) {
            self.asked.retain(|_, of| of != peer);
            // What it was asked for others may have.
            self.news.extend(self.peers.keys());
        }
    }

    /// When to stop waiting for something.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.peers.values().filter_map(|source| Some(source.deadlines.front()?.0)).min()
    }

    /// Stops waiting for what was asked too long ago.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let mut any = false;
        for (peer, source) in &mut self.peers {
            while let Some((deadline, id)) = source.deadlines.front() {
                if self.asked.get(id) == Some(peer) {
                    if now_ms < *deadline {
                        break;
                    }
                    self.asked.remove(id);
                    source.on_their_way -= 1;
                    any = true;
                }
                source.deadlines.pop_front();
            }
        }
        if any {
            self.news.extend(self.peers.keys());
        }
    }

    /// What to ask of a peer now: the first of what it offered that is still missing and was not asked of another.
    fn next(
        &mut self,
        peer: DeviceId,
        now_ms: u64,
        is_missing: impl Fn(CircleId, &EntryId) -> bool,
    ) -> BTreeMap<CircleId, Vec<EntryId>> {
        let mut next: BTreeMap<CircleId, Vec<EntryId>> = BTreeMap::new();
        let Some(source) = self.peers.get_mut(&peer) else { return next };
        if source.on_their_way > ASKED_ENTRIES_MAX / 2 {
            return next;
        }
        // What others were asked for stays offered, in case they do not send it.
        let mut elsewhere = Vec::new();
        while source.on_their_way < ASKED_ENTRIES_MAX
            && let Some((circle, id)) = source.offered.pop_front()
        {
            if !is_missing(circle, &id) || self.asked.get(&id) == Some(&peer) {
                continue;
            }
            if self.asked.contains_key(&id) {
                elsewhere.push((circle, id));
                continue;
            }
            self.asked.insert(id, peer);
            source.deadlines.push_back((now_ms + ASKED_MS_MAX, id));
            source.on_their_way += 1;
            next.entry(circle).or_default().push(id);
        }
        for offer in elsewhere.into_iter().rev() {
            source.offered.push_front(offer);
        }
        next
    }
}

impl Engine {
    /// Asks those who have what is missing for it.
    pub(super) fn pump_wants(&mut self) {
        // Who does not listen yet is looked at when it does.
        let listens = |peer: &DeviceId| self.peers.get(peer).is_some_and(|peer| peer.ready);
        let news: Vec<DeviceId> = self.wants.news.iter().copied().filter(listens).collect();
        for peer in news {
            self.wants.news.remove(&peer);
            let (circles, store) = (&self.circles, &self.desk.store);
            let is_missing = |circle: CircleId, id: &EntryId| {
                let key = Key::new(Keyspace::Entries, circle.as_bytes(), id.as_bytes());
                circles.get(&circle).is_some_and(|circle| circle.is_member(&peer) && circle.wants(id))
                    && store.read(&key).is_ok_and(|found| found.is_none())
            };
            for (circle, ids) in self.wants.next(peer, self.desk.now_ms, is_missing) {
                self.send(peer, Channel::Sync, Body::Want(sync::join_ids(circle, &ids)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIRCLE: CircleId = CircleId::from_bytes([9; 32]);

    fn ids(range: std::ops::Range<u32>) -> Vec<EntryId> {
        range.map(|n| EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())).collect()
    }

    fn peers() -> [DeviceId; 2] {
        [1, 2].map(|n| clave_crypto::DeviceKey::from_seed([n; 32].into()).id())
    }

    fn ask(wants: &mut Wants, peer: DeviceId, now_ms: u64) -> Vec<EntryId> {
        wants.next(peer, now_ms, |_, _| true).into_values().flatten().collect()
    }

    #[test]
    fn what_two_offer_is_asked_of_one() {
        let ([one, other], mut wants) = (peers(), Wants::default());
        wants.offer(one, CIRCLE, ids(0..1_500));
        wants.offer(other, CIRCLE, ids(0..1_500));
        assert_eq!(ask(&mut wants, one, 0), ids(0..1_024));
        assert_eq!(ask(&mut wants, other, 0), ids(1_024..1_500));
        ids(0..1_500).iter().for_each(|id| wants.arrived(id));
        assert_eq!(wants.next(one, 0, |_, _| false), BTreeMap::new());
        assert!(wants.asked.is_empty());
    }

    #[test]
    fn what_one_does_not_send_is_asked_of_the_other() {
        let ([one, other], mut wants) = (peers(), Wants::default());
        wants.offer(one, CIRCLE, ids(0..10));
        wants.offer(other, CIRCLE, ids(0..10));
        assert_eq!(ask(&mut wants, one, 0), ids(0..10));
        assert_eq!(ask(&mut wants, other, 0), []);
        wants.arrived(&ids(0..1)[0]);
        let is_missing = |_, id: &EntryId| *id != ids(0..1)[0];
        wants.expire(ASKED_MS_MAX - 1);
        assert_eq!(wants.next(other, 0, is_missing), BTreeMap::new());
        wants.expire(wants.next_deadline_ms().expect("something is waited for"));
        assert_eq!(wants.next(other, ASKED_MS_MAX, is_missing)[&CIRCLE], ids(1..10));

        // The other is lost, and the one says again what it has.
        wants.lose_peer(&other);
        wants.offer(one, CIRCLE, ids(1..10));
        assert_eq!(ask(&mut wants, one, ASKED_MS_MAX), ids(1..10));
    }

    #[test]
    fn what_one_may_offer_is_bounded() {
        let ([one, _], mut wants) = (peers(), Wants::default());
        wants.offer(one, CIRCLE, std::iter::repeat_n(ids(0..1)[0], OFFERED_ENTRIES_MAX + 1));
        assert_eq!(wants.peers[&one].offered.len(), OFFERED_ENTRIES_MAX);
    }
}
