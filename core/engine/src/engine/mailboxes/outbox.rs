//! What this device made and no relay has yet: in the store from the batch that made it, until one relay has it durably.

use super::*;
use crate::ReadError;
use crate::desk::Span;

/// What is stored at relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Kind {
    Entry,
    Chunk,
}

/// An entry or chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Item {
    pub(super) circle: CircleId,
    pub(super) kind: Kind,
    pub(super) id: [u8; 32],
}

/// What goes first: a class, and in it by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order(u8, u64);

impl Order {
    /// What others mean nothing without, the oldest first: each follows from the ones before it.
    const GUIDE: u8 = 0;
    /// Other entries, the newest first.
    const ENTRY: u8 = 1;
    const CHUNK: u8 = 2;
    const BYTES: usize = 9;
    /// What a relay was found to lack.
    pub(super) const LACKED: Self = Self(3, 0);

    pub(super) fn of_entry(guides: bool, now_ms: u64) -> Self {
        if guides { Self(Self::GUIDE, now_ms) } else { Self(Self::ENTRY, u64::MAX - now_ms) }
    }

    pub(super) fn of_chunk(now_ms: u64) -> Self {
        Self(Self::CHUNK, now_ms)
    }

    fn to_bytes(self) -> Vec<u8> {
        [&[self.0], self.1.to_be_bytes().as_slice()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (class, time) = bytes.split_first()?;
        Some(Self(*class, u64::from_be_bytes(time.try_into().ok()?)))
    }
}

/// What waits, and at which relays it is although others lack it still.
#[derive(Default)]
pub(super) struct Outbox {
    items: BTreeMap<Item, Noted>,
    /// What some relay has and another is about to get.
    pub(super) partly: BTreeSet<Item>,
}

/// What is known of an item.
struct Noted {
    order: Order,
    /// The messages of this device that it brings.
    messages: Option<Span>,
    /// The relays that have it.
    at: BTreeSet<DeviceId>,
}

impl Noted {
    fn to_bytes(&self) -> Vec<u8> {
        let messages = self.messages.map(|(first, last)| [first, last].concat());
        [self.order.to_bytes(), messages.unwrap_or_default()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (order, messages) = bytes.split_at_checked(Order::BYTES)?;
        let messages = match messages.as_chunks::<12>() {
            ([], []) => None,
            ([first, last], []) => Some((*first, *last)),
            _ => return None,
        };
        Some(Self { order: Order::from_bytes(order)?, messages, at: BTreeSet::new() })
    }
}

impl Outbox {
    /// What is first, of what waits for some relay.
    pub(super) fn order(&self, item: &Item) -> Option<Order> {
        self.items.get(item).map(|noted| noted.order)
    }

    /// Whether some relay has it.
    pub(super) fn is_somewhere(&self, item: &Item) -> bool {
        self.items.get(item).is_some_and(|noted| !noted.at.is_empty())
    }

    /// Takes up what is stored of a circle.
    pub(super) fn load(&mut self, circle: CircleId, desk: &Desk) -> Result<(), ReadError> {
        for (suffix, record) in desk.store.all(Keyspace::Unsent, circle.as_bytes())? {
            let kind = match suffix.first() {
                Some(0) => Kind::Entry,
                Some(1) => Kind::Chunk,
                _ => return Err(ReadError::Damaged),
            };
            let id = suffix[1..].try_into().map_err(|_| ReadError::Damaged)?;
            let noted = Noted::from_bytes(&record).ok_or(ReadError::Damaged)?;
            self.items.insert(Item { circle, kind, id }, noted);
        }
        Ok(())
    }

    /// Notes something in the batch that makes it. Whether it was not noted before.
    pub(super) fn note(&mut self, item: Item, order: Order, messages: Option<Span>, desk: &mut Desk) -> bool {
        if self.items.contains_key(&item) {
            return false;
        }
        let noted = Noted { order, messages, at: BTreeSet::new() };
        desk.put(key_of(&item), noted.to_bytes());
        self.items.insert(item, noted);
        true
    }

    /// Notes that a relay has it. `false` if nobody waits for that.
    pub(super) fn stored(&mut self, item: &Item, relay: DeviceId) -> bool {
        self.items.get_mut(item).is_some_and(|noted| {
            noted.at.insert(relay);
            true
        })
    }

    /// Forgets what is where it should be, or cannot be sent any more; gives which relays have it.
    pub(super) fn remove(&mut self, item: &Item, desk: &mut Desk) -> BTreeSet<DeviceId> {
        self.partly.remove(item);
        let Some(noted) = self.items.remove(item) else { return BTreeSet::new() };
        desk.remove(key_of(item));
        noted.at
    }

    /// What waits of a circle that a relay does not have.
    pub(super) fn waiting_for(&self, circle: CircleId, relay: DeviceId) -> impl Iterator<Item = (Order, Item)> {
        self.of_circle(circle)
            .filter(move |(_, noted)| !noted.at.contains(&relay))
            .map(|(item, noted)| (noted.order, *item))
    }

    /// What waits of a circle and no relay has.
    pub(super) fn waiting(&self, circle: CircleId) -> impl Iterator<Item = &Item> {
        self.of_circle(circle).filter(|(_, noted)| noted.at.is_empty()).map(|(item, _)| item)
    }

    /// Which messages of this device in a circle wait for a relay, and in what.
    pub(super) fn messages_waiting(&self, circle: CircleId) -> impl Iterator<Item = (Span, &Item)> {
        let waiting = self.of_circle(circle).filter(|(_, noted)| noted.at.is_empty());
        waiting.filter_map(|(item, noted)| Some((noted.messages?, item)))
    }

    /// Whether an item brings messages of this device.
    pub(super) fn has_messages(&self, item: &Item) -> bool {
        self.items.get(item).is_some_and(|noted| noted.messages.is_some())
    }

    /// All that is noted of a circle.
    pub(super) fn all(&self, circle: CircleId) -> Vec<Item> {
        self.of_circle(circle).map(|(item, _)| *item).collect()
    }

    /// The circles of which anything is noted.
    pub(super) fn circles(&self) -> BTreeSet<CircleId> {
        self.items.keys().map(|item| item.circle).collect()
    }

    fn of_circle(&self, circle: CircleId) -> impl Iterator<Item = (&Item, &Noted)> {
        let first = Item { circle, kind: Kind::Entry, id: [0; 32] };
        self.items.range(first..).take_while(move |(item, _)| item.circle == circle)
    }
}

fn key_of(item: &Item) -> Key {
    Key::new(Keyspace::Unsent, item.circle.as_bytes(), [&[item.kind as u8], item.id.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guides_go_first_and_of_the_rest_the_newest() {
        let [early, late] = [1_000, 2_000];
        let order = [
            Order::of_entry(true, early),
            Order::of_entry(true, late),
            Order::of_entry(false, late),
            Order::of_entry(false, early),
            Order::of_chunk(early),
            Order::LACKED,
        ];
        assert!(order.is_sorted());
        for order in order {
            assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
            for messages in [None, Some(([1; 12], [2; 12]))] {
                let bytes = Noted { order, messages, at: BTreeSet::new() }.to_bytes();
                let read = Noted::from_bytes(&bytes).expect("it was written so");
                assert_eq!((read.order, read.messages), (order, messages));
                assert!(Noted::from_bytes(&bytes[1..]).is_none());
            }
        }
    }
}
