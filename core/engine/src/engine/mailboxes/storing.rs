//! Storing at relays what this device made.

use super::outbox::{Item, Kind, Order};
use super::*;
use crate::EntryId;
use crate::desk::{Published, Span, Stamp};
use crate::engine::fetch::chunk_key;
use crate::entry::Envelope;

/// Requests to store that may be on their way to one relay, and their bytes, besides one request.
const PUTS_MAX: usize = 4;
const PUT_BYTES_MAX: usize = 2 << 20;
/// How much of what waits is looked through for something that can be stored now.
const LOOKED_THROUGH_MAX: usize = 256;

/// What can be done with something that waits.
enum Ready {
    /// It goes into that mailbox.
    Blob(Mailbox, Vec<u8>),
    /// It is not on disk yet.
    Later,
    /// It is not here any more, or nobody may have it.
    Gone,
}

impl Engine {
    /// Notes entries that were made here, in their batch, if a relay is to have them.
    pub(in crate::engine) fn note_for_relays(&mut self, published: &[Published]) {
        for entry in published {
            let item = Item { circle: entry.circle, kind: Kind::Entry, id: *entry.id.as_bytes() };
            self.note_for_relay(item, Order::of_entry(entry.guides, self.desk.now_ms), entry.messages);
        }
    }

    pub(super) fn note_for_relay(&mut self, item: Item, order: Order, messages: Option<Span>) {
        let Some(space) = self.space_around(&item.circle) else { return };
        let is_served = self.mailboxes.serving(space).next().is_some() && !off(Rule::RelayNoted);
        if !is_served || !self.mailboxes.outbox.note(item, order, messages, &mut self.desk) {
            return;
        }
        if let Some((first, _)) = messages {
            self.reaches.note_noted(item.circle, &first);
        }
        for relay in self.mailboxes.relays.values_mut().filter(|relay| relay.spaces.contains(&space)) {
            if let Some(session) = relay.session.as_mut().filter(|session| matches!(session.state, State::Open { .. }))
            {
                session.queue.insert((order, item));
            }
        }
    }

    /// Queues all that a relay lacks, as a session begins.
    pub(super) fn fill_queue(&mut self, id: DeviceId, session: &mut Session) {
        for circle in self.circles_at(&id) {
            session.queue.extend(self.mailboxes.outbox.waiting_for(circle, id));
        }
    }

    /// Sends what waits, as far as the relay takes it.
    pub(super) fn store_what_waits(&mut self, id: DeviceId, session: &mut Session) {
        while session.puts < PUTS_MAX
            && session.putting_bytes < PUT_BYTES_MAX
            && !session.queue.is_empty()
            && !session.is_paused(self.desk.now_ms)
            && self.store_some(id, session)
        {}
    }

    /// Sends one request's worth of what waits. Whether it is worth another look.
    fn store_some(&mut self, id: DeviceId, session: &mut Session) -> bool {
        let State::Open { blob_bytes_max, .. } = session.state else { return false };
        let (mut of, mut items, mut blobs, mut bytes) = (None, Vec::new(), Vec::new(), 0);
        let mut any_gone = false;
        let waiting: Vec<(Order, Item)> = session.queue.iter().take(LOOKED_THROUGH_MAX).copied().collect();
        for (order, item) in waiting {
            if of.as_ref().is_some_and(|(_, circle, kind)| (*circle, *kind) != (item.circle, item.kind)) {
                continue;
            }
            let (mailbox, blob) = match self.look_up(&item) {
                Ready::Blob(mailbox, blob) => (mailbox, blob),
                Ready::Later => continue,
                Ready::Gone => {
                    session.queue.remove(&(order, item));
                    self.mailboxes.outbox.remove(&item, &mut self.desk);
                    any_gone = true;
                    continue;
                }
            };
            if blob.len() as u64 > blob_bytes_max || session.shunned.contains(&mailbox.id) {
                self.note_relay_error(id, Some(RelayError::TooLarge));
                session.queue.remove(&(order, item));
                continue;
            }
            if of.as_ref().is_some_and(|(known, ..)| *known != mailbox.id) {
                continue;
            }
            if !session.open.get(&mailbox.id).is_some_and(|opened| opened.confirmed) {
                self.open_to_write(id, session, mailbox);
                continue;
            }
            if bytes > 0 && bytes + blob.len() > wire::BLOBS_FRAME_BYTES || items.len() >= session.puts_at_once {
                break;
            }
            of = Some((mailbox.id, item.circle, item.kind));
            bytes += blob.len();
            session.queue.remove(&(order, item));
            session.putting.insert(item, order);
            items.push(item);
            blobs.push(wire::Bytes::from(blob));
        }
        let Some((mailbox, _, kind)) = of else { return any_gone };
        let kind = match kind {
            Kind::Entry => wire::Kind::Entry,
            Kind::Chunk => wire::Kind::Chunk,
        };
        session.puts += 1;
        session.putting_bytes += bytes;
        let put = wire::Put { mailbox: mailbox.as_bytes().to_vec().into(), kind: kind.into(), blobs };
        self.ask(id, session, request::Body::Put(put), Asked::Put(items, bytes));
        true
    }

    fn look_up(&mut self, item: &Item) -> Ready {
        // Also of a circle that this device is out of: others are to hear that it left.
        let Some(circle) = self.circles.get_mut(&item.circle) else { return Ready::Gone };
        match item.kind {
            Kind::Entry => {
                let envelope = circle.envelope(&EntryId::from_bytes(item.id), &self.desk).ok().flatten();
                let envelope = envelope.and_then(|bytes| Envelope::decode(bytes).ok());
                let of = envelope.and_then(|envelope| Some((circle.mailbox_of(&envelope.tag)?, envelope.bytes)));
                of.map_or(Ready::Gone, |(mailbox, bytes)| Ready::Blob(mailbox, bytes))
            }
            Kind::Chunk => {
                let key = chunk_key(item.circle, ChunkId::from_bytes(item.id));
                match (circle.mailbox_of_head(), self.desk.store.read(&key)) {
                    (Some(mailbox), Ok(Some(chunk))) => Ready::Blob(mailbox, chunk),
                    _ if self.desk.store.contains(&key).unwrap_or(true) => Ready::Later,
                    _ => Ready::Gone,
                }
            }
        }
    }

    /// A relay has these durably.
    pub(super) fn take_stored(&mut self, id: DeviceId, items: &[Item]) {
        // Something larger than it takes waits still.
        if self.mailboxes.relays.get(&id).is_some_and(|relay| relay.error != Some(RelayError::TooLarge)) {
            self.note_relay_error(id, None);
        }
        let mut circles = BTreeSet::new();
        for item in items {
            if self.mailboxes.outbox.stored(item, id) {
                if self.mailboxes.outbox.has_messages(item) {
                    self.reaches.changed(item.circle);
                }
                self.settle_item(item);
                circles.insert(item.circle);
            }
        }
        for circle in circles {
            if self.mailboxes.outbox.waiting(circle).next().is_none() {
                self.desk.events.push(Event::Stored { circle });
            }
        }
    }

    /// Forgets what a relay has, unless another is about to get it too. Those that are not lack it: they are compared with when
    /// they are met again.
    fn settle_item(&mut self, item: &Item) {
        let (Some(space), Some(order)) = (self.space_around(&item.circle), self.mailboxes.outbox.order(item)) else {
            return;
        };
        let about_to =
            |relay: &Relay| relay.session.as_ref().is_some_and(|session| session.is_about_to_store(order, item));
        if self.mailboxes.serving(space).any(|(_, relay)| about_to(relay)) {
            self.mailboxes.outbox.partly.insert(*item);
            return;
        }
        let at = self.mailboxes.outbox.remove(item, &mut self.desk);
        let lack: Vec<DeviceId> =
            self.mailboxes.serving(space).map(|(id, _)| *id).filter(|id| !at.contains(id)).collect();
        for id in lack {
            self.set_compared(id, false);
        }
    }

    /// A relay that was about to get something is not any more.
    pub(super) fn settle_partly(&mut self) {
        for item in std::mem::take(&mut self.mailboxes.outbox.partly) {
            self.settle_item(&item);
        }
    }

    /// Some of it may have been stored all the same; storing again is harmless.
    pub(super) fn take_put_refused(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        items: &[Item],
        bytes: usize,
        reason: Reason,
    ) {
        session.put_again(items, bytes);
        match reason {
            Reason::NotOpen => {
                // Which mailbox that was follows from any of them.
                if let Some(Ready::Blob(mailbox, _)) = items.first().map(|item| self.look_up(item)) {
                    session.open.remove(&mailbox.id);
                }
            }
            Reason::TooLarge | Reason::Blocked | Reason::Unsupported if items.len() > 1 => session.puts_at_once = 1,
            Reason::TooLarge | Reason::Blocked | Reason::Unsupported => {
                session.queue.retain(|(_, item)| !items.contains(item));
                tracing::warn!(relay = %id.short(), ?reason, "a relay does not take something of this device");
            }
            _ => {}
        }
    }

    /// How much this device made in a circle that no relay has, in entries, chunks and answers to who asks to come in. Nothing
    /// waits in a space without relays.
    #[must_use]
    pub fn waiting_for_relays(&self, circle: CircleId) -> usize {
        let space = self.space_around(&circle);
        let is_served = space.is_some_and(|space| self.mailboxes.serving(space).next().is_some());
        self.mailboxes.outbox.waiting(circle).count() + if is_served { self.letters_waiting(circle) } else { 0 }
    }

    /// Whether a message of this device waits for a relay; then also why no relay takes it, if none does.
    pub(in crate::engine) fn message_waits(&self, circle: CircleId, message: &Stamp) -> Option<Option<RelayError>> {
        let mut waiting = self.mailboxes.outbox.messages_waiting(circle);
        let (_, item) = waiting.find(|((first, last), _)| first <= message && message <= last)?;
        Some(self.refused_by_all(item))
    }

    /// What the first relay says, if each said that it does not take this.
    fn refused_by_all(&self, item: &Item) -> Option<RelayError> {
        let space = self.space_around(&item.circle)?;
        let order = self.mailboxes.outbox.order(item)?;
        let refusal = |relay: &Relay| {
            let error = relay.error.filter(|error| error.is_refusal())?;
            // Those two are about one thing, and others are stored all the same.
            let is_of_some = matches!(error, RelayError::TooLarge | RelayError::Blocked);
            let is_about_to = || relay.session.as_ref().is_some_and(|session| session.is_about_to_store(order, item));
            (!is_of_some || !is_about_to()).then_some(error)
        };
        let refusals: Option<Vec<RelayError>> =
            self.mailboxes.serving(space).map(|(_, relay)| refusal(relay)).collect();
        refusals?.first().copied()
    }

    /// Whether a relay keeps what is of a circle.
    pub(in crate::engine) fn is_served(&self, circle: &CircleId) -> bool {
        self.space_around(circle).is_some_and(|space| self.mailboxes.serving(space).next().is_some())
    }

    /// Whether an entry that this device made waits until a relay has it.
    #[must_use]
    pub fn waits_for_relay(&self, circle: CircleId, entry: EntryId) -> bool {
        let item = Item { circle, kind: Kind::Entry, id: *entry.as_bytes() };
        self.mailboxes.outbox.order(&item).is_some() && !self.mailboxes.outbox.is_somewhere(&item)
    }
}
