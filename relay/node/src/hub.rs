//! Who is told when something is stored: the sessions that follow a mailbox.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::{
    frames,
    session::Arrival,
    store::{MailboxId, News, StoredEntry},
    wake::SubscriptionId,
};

/// Arrivals that wait for one session, and their bytes (which all sessions share). A session that is told more reads it from the store.
const ARRIVALS_MAX: usize = 64;
const ARRIVAL_BYTES_MAX: usize = 256 << 10;

/// Sessions by the mailboxes that they follow.
#[derive(Default)]
pub(crate) struct Hub {
    followers: Mutex<HashMap<MailboxId, Vec<Arc<Inbox>>>>,
}

impl Hub {
    /// Whether it was not followed by this session before.
    pub(crate) fn follow(&self, mailbox: MailboxId, inbox: &Arc<Inbox>) -> bool {
        let followers = &mut *self.followers();
        let of_mailbox = followers.entry(mailbox).or_default();
        let is_new = !of_mailbox.iter().any(|known| Arc::ptr_eq(known, inbox));
        if is_new {
            of_mailbox.push(inbox.clone());
        }
        is_new
    }

    pub(crate) fn unfollow(&self, mailbox: MailboxId, inbox: &Arc<Inbox>) {
        let followers = &mut *self.followers();
        if let Some(of_mailbox) = followers.get_mut(&mailbox) {
            of_mailbox.retain(|known| !Arc::ptr_eq(known, inbox));
            if of_mailbox.is_empty() {
                followers.remove(&mailbox);
            }
        }
    }

    /// The subscriptions whose sessions follow the mailbox.
    pub(crate) fn told(&self, mailbox: MailboxId) -> HashSet<SubscriptionId> {
        let followers = self.followers();
        followers.get(&mailbox).into_iter().flatten().filter_map(|inbox| inbox.subscription()).collect()
    }

    /// Mailboxes that somebody follows.
    pub(crate) fn followed(&self) -> usize {
        self.followers().len()
    }

    fn followers(&self) -> MutexGuard<'_, HashMap<MailboxId, Vec<Arc<Inbox>>>> {
        self.followers.lock().expect("nothing panics while it holds this lock")
    }
}

impl News for Hub {
    fn stored(&self, mailbox: MailboxId, entry: &StoredEntry) {
        let followers = self.followers();
        let Some(of_mailbox) = followers.get(&mailbox) else { return };
        let arrival = Arrival {
            mailbox,
            position: entry.position,
            id: entry.id,
            bytes: entry.bytes.len(),
            frame: frames::delivery(mailbox, entry),
        };
        of_mailbox.iter().for_each(|inbox| inbox.offer(&arrival));
    }

    fn lagged(&self, mailbox: MailboxId) {
        self.followers().get(&mailbox).into_iter().flatten().for_each(|inbox| inbox.lag(mailbox));
    }
}

/// What one session has not looked at yet.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    /// What wakes the device when it is not there.
    subscription: Mutex<Option<SubscriptionId>>,
}

#[derive(Default)]
struct Waiting {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
    /// Mailboxes of which there was more than fits: as many as the session follows at most.
    lagged: BTreeSet<MailboxId>,
}

impl Inbox {
    pub(crate) fn subscription(&self) -> Option<SubscriptionId> {
        *self.subscription.lock().expect("nothing panics while it holds this lock")
    }

    pub(crate) fn set_subscription(&self, subscription: Option<SubscriptionId>) {
        *self.subscription.lock().expect("nothing panics while it holds this lock") = subscription;
    }

    fn offer(&self, arrival: &Arrival) {
        let waiting = &mut *self.waiting.lock().expect("nothing panics while it holds this lock");
        let fits = waiting.arrivals.len() < ARRIVALS_MAX && waiting.bytes < ARRIVAL_BYTES_MAX;
        // In order: behind what was left out, everything is read from the store.
        if fits && !waiting.lagged.contains(&arrival.mailbox) {
            waiting.bytes += arrival.frame.len();
            waiting.arrivals.push_back(arrival.clone());
        } else {
            waiting.lagged.insert(arrival.mailbox);
        }
        self.changed.notify_one();
    }

    fn lag(&self, mailbox: MailboxId) {
        self.waiting.lock().expect("nothing panics while it holds this lock").lagged.insert(mailbox);
        self.changed.notify_one();
    }

    /// Waits until there is something. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What there is: arrivals in order, and then those mailboxes that are to be read.
    pub(crate) fn take(&self) -> (VecDeque<Arrival>, BTreeSet<MailboxId>) {
        let waiting = &mut *self.waiting.lock().expect("nothing panics while it holds this lock");
        waiting.bytes = 0;
        (std::mem::take(&mut waiting.arrivals), std::mem::take(&mut waiting.lagged))
    }
}

#[cfg(test)]
mod tests {
    use clave_mailbox::{BlobId, Bytes, Kind};

    use super::*;

    fn entry(position: u64, bytes: usize) -> StoredEntry {
        let bytes = Bytes::from(vec![7; bytes]);
        StoredEntry { position, id: BlobId::of(Kind::Entry, &bytes), bytes }
    }

    #[tokio::test]
    async fn followers_share_the_bytes_of_what_they_are_told() {
        let hub = Hub::default();
        let inboxes = [Arc::new(Inbox::default()), Arc::new(Inbox::default())];
        assert!(inboxes.iter().all(|inbox| hub.follow(MailboxId([1; 32]), inbox)));
        assert!(!hub.follow(MailboxId([1; 32]), &inboxes[0]), "twice is once");
        hub.stored(MailboxId([1; 32]), &entry(5, 1_000));
        hub.stored(MailboxId([2; 32]), &entry(6, 1_000));
        let frames = inboxes.each_ref().map(|inbox| {
            let (mut arrivals, lagged) = inbox.take();
            assert!(arrivals.len() == 1 && lagged.is_empty());
            arrivals.pop_front().unwrap().frame
        });
        assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
        inboxes[0].changed().await;
        hub.unfollow(MailboxId([1; 32]), &inboxes[0]);
        hub.stored(MailboxId([1; 32]), &entry(7, 10));
        assert!(inboxes[0].take().0.is_empty() && inboxes[1].take().0.len() == 1);
        hub.unfollow(MailboxId([1; 32]), &inboxes[1]);
        assert_eq!(hub.followed(), 0);
    }

    #[test]
    fn who_does_not_look_is_told_where_to_read() {
        let (hub, inbox) = (Hub::default(), Arc::new(Inbox::default()));
        let mailboxes = [1, 2].map(|mailbox| MailboxId([mailbox; 32]));
        assert!(mailboxes.iter().all(|mailbox| hub.follow(*mailbox, &inbox)));
        for position in 0..200 {
            hub.stored(mailboxes[0], &entry(position, 10));
        }
        hub.stored(mailboxes[1], &entry(200, 10));
        let (arrivals, lagged) = inbox.take();
        assert_eq!((arrivals.len(), lagged), (ARRIVALS_MAX, mailboxes.into()));
        // By bytes, too: at most one more than fits.
        for position in 0..10 {
            hub.stored(mailboxes[0], &entry(position, 100_000));
        }
        let (arrivals, lagged) = inbox.take();
        assert_eq!((arrivals.len(), lagged.len()), (3, 1));
    }
}
