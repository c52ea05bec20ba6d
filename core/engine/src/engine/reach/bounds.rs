//! What each device is known to have, and since when messages are noted for relays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clave_crypto::DeviceId;

use crate::desk::{Span, Stamp};
use crate::{CircleId, EntryId};

/// Entries with messages of one circle that devices may say to have, one by one: the newest.
const RECENT_MAX: usize = 256;

/// Of all circles.
#[derive(Default)]
pub(in crate::engine) struct Reaches {
    pub(super) circles: BTreeMap<CircleId, Reach>,
    /// Circles in which something changed since the application was told.
    pub(super) changed: BTreeSet<CircleId>,
    pub(super) file_at_ms: Option<u64>,
}

#[derive(Default)]
pub(super) struct Reach {
    /// Messages since then are at a relay, or wait for one in the outbox; in Unix milliseconds.
    pub(super) relayed_since_ms: Option<u64>,
    pub(super) devices: BTreeMap<DeviceId, Has>,
    /// The newest entries with messages that were made since the engine was opened, in order.
    pub(super) recent: VecDeque<(EntryId, Span)>,
    /// All messages behind this one are in there; none before the first.
    recent_behind: Option<Stamp>,
    /// When the engine was opened: all other messages are dated before that, or not much later. Zero for a circle that came since: there
    /// are no others.
    opened: Stamp,
    /// What is to be stored: devices, and whether the rest is.
    pub(super) unfiled: (BTreeSet<DeviceId>, bool),
}

/// What one device is known to have.
#[derive(Default)]
pub(super) struct Has {
    /// Everything up to this.
    pub(super) up_to: Stamp,
    /// And these of the recent ones.
    pub(super) also: BTreeSet<EntryId>,
}

/// What a comparison with one device is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Comparing {
    /// The newest message as it began.
    pub(super) up_to: Stamp,
    /// Whether the other was found to lack something.
    pub(in crate::engine) lacks: bool,
}

impl Reaches {
    /// Something changed that the application is shown.
    pub(in crate::engine) fn changed(&mut self, circle: CircleId) {
        self.changed.insert(circle);
    }

    /// A message was noted for relays.
    pub(in crate::engine) fn note_noted(&mut self, circle: CircleId, message: &Stamp) {
        self.relayed_since(circle, sent_ms(message), false);
    }

    /// A relay has all that was here of a circle since some time.
    pub(in crate::engine) fn note_compared_with_relay(&mut self, circle: CircleId, since_ms: u64) {
        self.relayed_since(circle, since_ms, true);
    }

    fn relayed_since(&mut self, circle: CircleId, since_ms: u64, or_earlier: bool) {
        let reach = self.circles.entry(circle).or_default();
        if reach.relayed_since_ms.is_none_or(|known| or_earlier && since_ms < known) {
            (reach.relayed_since_ms, reach.unfiled.1) = (Some(since_ms), true);
            self.changed.insert(circle);
        }
    }

    /// Circles are not kept by any relay any more.
    pub(in crate::engine) fn forget_unserved(&mut self, served: &BTreeSet<CircleId>) {
        for (circle, reach) in self.circles.iter_mut().filter(|(circle, _)| !served.contains(circle)) {
            if reach.relayed_since_ms.take().is_some() {
                reach.unfiled.1 = true;
                self.changed.insert(*circle);
            }
        }
    }

    pub(in crate::engine) fn due_at_ms(&self) -> Option<u64> {
        self.file_at_ms
    }
}

impl Reach {
    /// Of a circle that was there as the engine was opened.
    pub(super) fn since(opened: Stamp) -> Self {
        Self { opened, ..Self::default() }
    }

    /// Notes an entry with messages that this device made.
    pub(super) fn note_made(&mut self, entry: EntryId, span: Span) {
        // The clock was set back: nobody has this one, whatever they have.
        for (device, has) in self.devices.iter_mut().filter(|(_, has)| has.up_to >= span.0) {
            has.up_to = before(span.0);
            self.unfiled.0.insert(*device);
        }
        self.recent_behind.get_or_insert(if self.opened == Stamp::default() { self.opened } else { before(span.0) });
        self.recent.push_back((entry, span));
        if self.recent.len() > RECENT_MAX
            && let Some((gone, (_, last))) = self.recent.pop_front()
        {
            self.recent_behind = self.recent_behind.max(Some(last));
            self.devices.values_mut().for_each(|has| has.also.retain(|known| *known != gone));
        }
    }

    /// A device says that it has entries. Whether any of it is news.
    pub(super) fn note_has(&mut self, device: DeviceId, entries: &[EntryId]) -> bool {
        let known: Vec<(EntryId, Span)> = self.recent.iter().filter(|(id, _)| entries.contains(id)).copied().collect();
        if known.is_empty() {
            return false;
        }
        let has = self.devices.entry(device).or_default();
        let mut news = false;
        for (entry, (_, last)) in known {
            news |= has.up_to < last && has.also.insert(entry);
        }
        // Without a gap between the bound and the first of those that are known one by one, the bound moves over them.
        if news && self.recent_behind.is_some_and(|behind| behind <= has.up_to) {
            for (entry, (_, last)) in &self.recent {
                if has.up_to >= *last || has.also.remove(entry) {
                    has.up_to = has.up_to.max(*last);
                    self.unfiled.0.insert(device);
                } else {
                    break;
                }
            }
        }
        news
    }

    /// A device was found to have everything up to some message. Whether that is news.
    pub(super) fn note_has_all(&mut self, device: DeviceId, up_to: Stamp) -> bool {
        let newest = self.recent.back().map_or(self.opened, |(_, (_, last))| *last);
        let has = self.devices.entry(device).or_default();
        // Nothing was made since that it could lack: what does not change is not written either.
        if up_to <= has.up_to || newest <= has.up_to {
            return false;
        }
        has.up_to = up_to;
        let covered = self.recent.iter().filter(|(_, (_, last))| *last <= up_to);
        let covered: BTreeSet<EntryId> = covered.map(|(id, _)| *id).collect();
        has.also.retain(|known| !covered.contains(known));
        self.unfiled.0.insert(device);
        true
    }

    pub(super) fn has(&self, device: &DeviceId, message: &Stamp) -> bool {
        self.devices.get(device).is_some_and(|has| {
            let is_in =
                |(id, (first, last)): &(EntryId, Span)| first <= message && message <= last && has.also.contains(id);
            has.up_to >= *message || !has.also.is_empty() && self.recent.iter().any(is_in)
        })
    }
}

pub(super) fn sent_ms(stamp: &Stamp) -> u64 {
    stamp[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
}

/// The one right before.
fn before(mut stamp: Stamp) -> Stamp {
    for byte in stamp.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            break;
        }
    }
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u16) -> EntryId {
        EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    fn at(n: u16) -> Stamp {
        let mut stamp = [0; 12];
        stamp[4..6].copy_from_slice(&n.to_be_bytes());
        stamp
    }

    fn reach(entries: std::ops::Range<u16>) -> (Reach, DeviceId) {
        let mut reach = Reach { opened: at(1), ..Reach::default() };
        entries.for_each(|n| reach.note_made(entry(n), (at(n), at(n))));
        (reach, DeviceId::from_bytes([7; 32]))
    }

    #[test]
    fn what_is_said_one_by_one_moves_the_bound_where_there_is_no_gap() {
        let (mut reach, bob) = reach(10..20);
        assert!(reach.note_has(bob, &[entry(10), entry(12)]));
        assert!(reach.has(&bob, &at(10)) && !reach.has(&bob, &at(11)) && reach.has(&bob, &at(12)));
        assert!(!reach.has(&bob, &at(9)), "what came before is not known");
        assert_eq!(reach.devices[&bob].up_to, [0; 12]);
        assert!(!reach.note_has(bob, &[entry(10), entry(99)]), "that is no news");

        assert!(reach.note_has_all(bob, before(at(10))));
        assert!(reach.note_has(bob, &[entry(11)]));
        assert_eq!(reach.devices[&bob].up_to, at(12));
        assert!(reach.devices[&bob].also.is_empty());
    }

    #[test]
    fn what_is_known_one_by_one_is_bounded() {
        let (mut reach, bob) = reach(1..2);
        for n in 2..2_000 {
            reach.note_has(bob, &[entry(n - 1)]);
            reach.note_made(entry(n), (at(n), at(n)));
        }
        assert_eq!(reach.recent.len(), RECENT_MAX);
        assert!(reach.devices[&bob].also.len() <= RECENT_MAX);
        assert!(reach.has(&bob, &at(1_998)) && !reach.has(&bob, &at(1_999)));
        assert!(!reach.has(&bob, &at(1)), "it was never compared, and that is too long ago");
    }

    #[test]
    fn a_clock_that_is_set_back_delivers_nothing() {
        let (mut reach, bob) = reach(10..20);
        assert!(reach.note_has_all(bob, at(19)));
        reach.note_made(entry(5), (at(5), at(5)));
        assert!(!reach.has(&bob, &at(5)) && reach.has(&bob, &at(4)));
    }
}
