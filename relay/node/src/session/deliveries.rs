//! Which entries go to a session, and when: flow control over all mailboxes that it follows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use clave_mailbox::{BlobId, DELIVERED_BYTES_MAX};

use crate::store::{MailboxId, StoredEntry};

/// What even the shortest entry is counted as on its way, in bytes, so that their number is bounded too.
const ENTRY_COST_MIN: usize = 512;

/// Positions of a session's own puts that are remembered for one mailbox. Beyond, it may be delivered what it has put.
const OWN_MAX: usize = 4_096;

/// A session that acknowledges nothing for so long although something is on its way is cut off.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// What entries are on their way, and which mailboxes are to be read.
#[derive(Default)]
pub(super) struct Deliveries {
    following: BTreeMap<MailboxId, Following>,
    /// Mailboxes that have entries after their cursor in the store, each once, in the order in which they are read.
    behind: VecDeque<MailboxId>,
    /// The mailbox that is being read, and for which of its turns.
    reading: Option<(MailboxId, u64)>,
    on_way_bytes: usize,
    /// Since when something is on its way and nothing was acknowledged.
    waiting_since: Option<Instant>,
    turns: u64,
}

struct Following {
    /// Everything up to here was delivered, or need not be.
    cursor: u64,
    /// Whether it stands in `behind` or is being read; else all there is was delivered.
    behind: bool,
    /// Something came while it was being read.
    missed: bool,
    /// Which following of this mailbox it is: a page that was read for an earlier one is of no use.
    turn: u64,
    /// Positions and costs of what was delivered and not acknowledged.
    on_way: VecDeque<(u64, usize)>,
    /// After the cursor.
    own: BTreeSet<u64>,
}

/// A page that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) mailbox: MailboxId,
    pub(super) turn: u64,
    pub(super) after: u64,
    pub(super) bytes: usize,
}

impl Deliveries {
    /// Begins, or begins anew, to follow a mailbox.
    pub(super) fn follow(&mut self, mailbox: MailboxId, after: u64) {
        self.unfollow(mailbox);
        self.turns += 1;
        let following = Following {
            cursor: after,
            behind: true,
            missed: false,
            turn: self.turns,
            on_way: VecDeque::new(),
            own: BTreeSet::new(),
        };
        self.following.insert(mailbox, following);
        self.behind.push_back(mailbox);
    }

    /// Whether it was followed.
    pub(super) fn unfollow(&mut self, mailbox: MailboxId) -> bool {
        let Some(following) = self.following.remove(&mailbox) else { return false };
        self.on_way_bytes -= following.on_way.iter().map(|(_, cost)| cost).sum::<usize>();
        if self.on_way_bytes == 0 {
            self.waiting_since = None;
        }
        self.behind.retain(|other| *other != mailbox);
        true
    }

    /// Mailboxes of which something is on its way, or may have to be read; up to which position the device has all, and which it has beyond.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = (MailboxId, u64, BTreeSet<u64>)> {
        self.following.iter().filter_map(|(mailbox, of)| match of.on_way.front() {
            Some((position, _)) => Some((*mailbox, position - 1, BTreeSet::new())),
            None => of.behind.then(|| (*mailbox, of.cursor, of.own.clone())),
        })
    }

    /// The page to be read next, if there is room for one and none is being read.
    pub(super) fn next_reading(&mut self) -> Option<Reading> {
        if self.reading.is_some() || self.room() == 0 {
            return None;
        }
        let mailbox = self.behind.pop_front()?;
        let following = self.following.get_mut(&mailbox).expect("what is behind is followed");
        following.missed = false;
        let reading = Reading { mailbox, turn: following.turn, after: following.cursor, bytes: 0 };
        self.reading = Some((mailbox, following.turn));
        Some(Reading { bytes: self.room(), ..reading })
    }

    fn room(&self) -> usize {
        DELIVERED_BYTES_MAX.saturating_sub(self.on_way_bytes)
    }

    /// A page was read: those of its entries that are to be sent now. `skip` tells what the session is about to put itself.
    pub(super) fn take_page(
        &mut self,
        reading: Reading,
        mut entries: Vec<StoredEntry>,
        more: bool,
        skip: impl Fn(&BlobId) -> bool,
        now: Instant,
    ) -> Vec<StoredEntry> {
        self.reading = None;
        let Some(following) = self.following.get_mut(&reading.mailbox) else { return Vec::new() };
        if following.turn != reading.turn {
            return Vec::new();
        }
        if more || following.missed {
            self.behind.push_back(reading.mailbox);
        } else {
            following.behind = false;
        }
        if let Some(last) = entries.last() {
            following.cursor = following.cursor.max(last.position);
        }
        entries.retain(|entry| !following.own.contains(&entry.position) && !skip(&entry.id));
        following.own = following.own.split_off(&following.cursor.saturating_add(1));
        for entry in &entries {
            let cost = entry.bytes.len().max(ENTRY_COST_MIN);
            following.on_way.push_back((entry.position, cost));
            self.on_way_bytes += cost;
        }
        if !entries.is_empty() {
            self.waiting_since.get_or_insert(now);
        }
        entries
    }

    /// Something was stored just now: whether to send it as it is. If not, it is read when its turn comes.
    pub(super) fn arrived(&mut self, mailbox: MailboxId, position: u64, bytes: usize, own: bool, now: Instant) -> bool {
        let room = self.room();
        let Some(following) = self.following.get_mut(&mailbox) else { return false };
        if position <= following.cursor {
            return false;
        }
        if following.behind {
            following.missed = true;
            return false;
        }
        if own || following.own.remove(&position) {
            following.cursor = position;
            return false;
        }
        if room == 0 {
            following.behind = true;
            self.behind.push_back(mailbox);
            return false;
        }
        let cost = bytes.max(ENTRY_COST_MIN);
        following.cursor = position;
        following.on_way.push_back((position, cost));
        self.on_way_bytes += cost;
        self.waiting_since.get_or_insert(now);
        true
    }

    /// Something was stored and could not be told: it has to be read.
    pub(super) fn lagged(&mut self, mailbox: MailboxId) {
        let Some(following) = self.following.get_mut(&mailbox) else { return };
        following.missed = true;
        if !following.behind {
            following.behind = true;
            self.behind.push_back(mailbox);
        }
    }

    /// The session has put this itself.
    pub(super) fn put(&mut self, mailbox: MailboxId, position: u64) {
        if let Some(following) = self.following.get_mut(&mailbox)
            && position > following.cursor
            && following.own.len() < OWN_MAX
        {
            following.own.insert(position);
        }
    }

    /// The device has everything of the mailbox up to this position.
    pub(super) fn acknowledged(&mut self, mailbox: MailboxId, position: u64, now: Instant) {
        let Some(following) = self.following.get_mut(&mailbox) else { return };
        let mut moved = false;
        while let Some((delivered, cost)) = following.on_way.front().copied()
            && delivered <= position
        {
            following.on_way.pop_front();
            self.on_way_bytes -= cost;
            moved = true;
        }
        if moved {
            self.waiting_since = (self.on_way_bytes > 0).then_some(now);
        }
    }

    /// When it has waited too long for an acknowledgement.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + ACKNOWLEDGE_TIMEOUT)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn on_way_bytes(&self) -> usize {
        self.on_way_bytes
    }
}

#[cfg(test)]
mod tests {
    use clave_mailbox::{Bytes, Kind};

    use super::*;

    const MAILBOX: MailboxId = MailboxId([1; 32]);

    fn entry(position: u64, bytes: usize) -> StoredEntry {
        let bytes = Bytes::from(vec![u8::try_from(position).unwrap(); bytes]);
        StoredEntry { position, id: BlobId::of(Kind::Entry, &bytes), bytes }
    }

    fn positions(entries: &[StoredEntry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.position).collect()
    }

    fn nothing(_: &BlobId) -> bool {
        false
    }

    #[test]
    fn no_more_is_on_its_way_than_the_bound_and_one_blob() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        deliveries.follow(MAILBOX, 0);
        let reading = deliveries.next_reading().unwrap();
        assert_eq!((reading.after, reading.bytes), (0, DELIVERED_BYTES_MAX));
        assert_eq!(deliveries.next_reading(), None, "one at a time");
        deliveries.take_page(reading, vec![entry(3, DELIVERED_BYTES_MAX - 1_000)], true, nothing, now);
        let reading = deliveries.next_reading().unwrap();
        assert_eq!((reading.after, reading.bytes), (3, 1_000));
        deliveries.take_page(reading, vec![entry(4, 2_000_000)], true, nothing, now);
        assert_eq!(deliveries.next_reading(), None);
        deliveries.acknowledged(MAILBOX, 2, now);
        assert_eq!(deliveries.next_reading(), None, "nothing of what is on its way");
        deliveries.acknowledged(MAILBOX, 3, now);
        assert_eq!(deliveries.on_way_bytes(), 2_000_000);
        assert_eq!(deliveries.next_reading().unwrap().after, 4);
        // Many that are short are bounded in number.
        let mut short = Deliveries::default();
        short.follow(MAILBOX, 0);
        let mut sent = 0u64;
        while let Some(reading) = short.next_reading() {
            sent += 100;
            let page = (sent - 99..=sent).map(|position| StoredEntry { position, ..entry(1, 1) }).collect();
            short.take_page(reading, page, true, nothing, now);
        }
        assert_eq!(sent, (DELIVERED_BYTES_MAX / ENTRY_COST_MIN) as u64 / 100 * 100 + 100);
    }

    #[test]
    fn what_comes_while_reading_is_read_too() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        deliveries.follow(MAILBOX, 5);
        assert!(!deliveries.arrived(MAILBOX, 6, 10, false, now));
        let reading = deliveries.next_reading().unwrap();
        assert!(!deliveries.arrived(MAILBOX, 7, 10, false, now));
        let sent = deliveries.take_page(reading, vec![entry(6, 10)], false, nothing, now);
        assert_eq!(positions(&sent), [6]);
        let reading = deliveries.next_reading().expect("7 was missed");
        assert_eq!(reading.after, 6);
        deliveries.take_page(reading, vec![entry(7, 10)], false, nothing, now);
        assert_eq!(deliveries.next_reading(), None);
        // From then on what comes is sent as it is, once and in order.
        assert!(deliveries.arrived(MAILBOX, 9, 10, false, now));
        assert!(!deliveries.arrived(MAILBOX, 9, 10, false, now));
        assert!(!deliveries.arrived(MAILBOX, 8, 10, false, now));
        deliveries.lagged(MAILBOX);
        assert!(!deliveries.arrived(MAILBOX, 10, 10, false, now));
        assert_eq!(deliveries.next_reading().unwrap().after, 9);
    }

    #[test]
    fn a_live_mailbox_without_room_is_read_later() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        deliveries.follow(MAILBOX, 0);
        let reading = deliveries.next_reading().unwrap();
        deliveries.take_page(reading, vec![entry(1, DELIVERED_BYTES_MAX)], false, nothing, now);
        assert!(!deliveries.arrived(MAILBOX, 2, 10, false, now));
        assert_eq!(deliveries.next_reading(), None);
        deliveries.acknowledged(MAILBOX, 1, now);
        assert_eq!(deliveries.next_reading().unwrap().after, 1);
    }

    #[test]
    fn own_entries_are_left_out() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        deliveries.follow(MAILBOX, 0);
        deliveries.put(MAILBOX, 2);
        deliveries.put(MAILBOX, 9);
        let reading = deliveries.next_reading().unwrap();
        let underway = entry(3, 10).id;
        let page = vec![entry(1, 10), entry(2, 10), entry(3, 10), entry(4, 10)];
        let sent = deliveries.take_page(reading, page, false, |id| *id == underway, now);
        assert_eq!(positions(&sent), [1, 4]);
        assert!(!deliveries.arrived(MAILBOX, 9, 10, false, now));
        assert!(!deliveries.arrived(MAILBOX, 10, 10, true, now));
        assert!(deliveries.arrived(MAILBOX, 11, 10, false, now));
    }

    #[test]
    fn who_acknowledges_nothing_has_a_deadline() {
        let (mut deliveries, start) = (Deliveries::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        deliveries.follow(MAILBOX, 0);
        assert_eq!(deliveries.deadline(), None);
        let reading = deliveries.next_reading().unwrap();
        deliveries.take_page(reading, vec![entry(1, 10), entry(2, 10)], false, nothing, at(0));
        assert!(deliveries.arrived(MAILBOX, 3, 10, false, at(5)));
        assert_eq!(deliveries.deadline(), Some(at(60)));
        deliveries.acknowledged(MAILBOX, 0, at(10));
        assert_eq!(deliveries.deadline(), Some(at(60)), "that acknowledges nothing");
        deliveries.acknowledged(MAILBOX, 2, at(20));
        assert_eq!(deliveries.deadline(), Some(at(80)));
        deliveries.acknowledged(MAILBOX, u64::MAX, at(30));
        assert_eq!((deliveries.deadline(), deliveries.on_way_bytes()), (None, 0));
    }

    #[test]
    fn what_was_read_for_an_earlier_following_is_of_no_use() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        deliveries.follow(MAILBOX, 0);
        let reading = deliveries.next_reading().unwrap();
        deliveries.follow(MAILBOX, 7);
        assert!(deliveries.take_page(reading, vec![entry(1, 10)], false, nothing, now).is_empty());
        let reading = deliveries.next_reading().unwrap();
        assert_eq!(reading.after, 7);
        deliveries.take_page(reading, vec![entry(8, 10)], false, nothing, now);
        assert!(deliveries.unfollow(MAILBOX) && !deliveries.unfollow(MAILBOX));
        assert_eq!((deliveries.on_way_bytes(), deliveries.deadline()), (0, None));
    }
}
