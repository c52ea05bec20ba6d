//! In which segment of a chat to write, by the history policy.
//!
//! A change builds on what its author has seen of the same document, so whoever is to read a change must be able to read
//! all of the document. With the policy *full* everybody can, and segments are numbered. With any other, a segment is
//! named by the leaves of the head under which it is written: whoever is among them may have the key of every change in
//! it, and who comes later begins with the segment that is named by them too. In a ratcheted circle a segment is also
//! named by its period, so that everything in it expires at the same time.
//!
//! Names need no agreement. Devices with different heads write into different segments, which are shown together.

use clave_crypto::{HashContext, hash};

use super::*;
use crate::membership::History;

impl Circle {
    /// The `number`th segment of the chat to write to now.
    pub(crate) fn segment(&self, number: u32, now_ms: u64) -> DocumentId {
        let leaves = &self.group.head().leaves;
        match self.log.membership().history() {
            History::Full => DocumentId::well_known(self.id, DocumentKind::Timeline, number),
            History::SinceJoining => DocumentId::from_bytes(name_of(self.id, leaves, None, number)),
            History::Ratcheted { .. } => {
                let start = self.period_start(crate::entry::hour_of(now_ms));
                DocumentId::of_period(self.id, leaves, start, number)
            }
        }
    }
}

impl DocumentId {
    /// A segment that everything in it began at or after that hour, which whoever knows the circle can tell from the id.
    fn of_period(circle: CircleId, leaves: &[DeviceId], start_hour: u32, number: u32) -> Self {
        let mut id = name_of(circle, leaves, Some(start_hour), number);
        let (name, period) = id.split_at_mut(8);
        let hidden = period_mask(circle, name);
        period[..4].copy_from_slice(&start_hour.to_be_bytes());
        period[4..].fill(0);
        period.iter_mut().zip(hidden).for_each(|(byte, mask)| *byte ^= mask);
        Self::from_bytes(id)
    }

    /// The hour with which the period of a segment began, if it has one.
    pub(super) fn period_start_hour(&self, circle: CircleId) -> Option<u32> {
        let (name, period) = self.as_bytes().split_at(8);
        let mask = period_mask(circle, name);
        let mut clear = [0; 8];
        clear.iter_mut().zip(period).zip(mask).for_each(|((clear, byte), mask)| *clear = byte ^ mask);
        let (hour, rest) = clear.split_first_chunk::<4>().expect("8 bytes");
        // Of the ids that were not made so, one in four thousand million passes for one.
        (rest == [0; 4]).then_some(u32::from_be_bytes(*hour))
    }
}

fn name_of(circle: CircleId, leaves: &[DeviceId], start_hour: Option<u32>, number: u32) -> [u8; 16] {
    let kind = [DocumentKind::Timeline.number()];
    let (period, number) = (u64::from(start_hour.unwrap_or(u32::MAX)).to_be_bytes(), number.to_be_bytes());
    let mut parts = vec![circle.as_bytes().as_slice(), &kind];
    parts.extend(leaves.iter().map(|leaf| leaf.as_bytes().as_slice()));
    parts.extend([period.as_slice(), &number]);
    *hash(HashContext::WellKnownDocument, &parts.concat()).first_chunk().expect("16 of 32 bytes")
}

/// What hides the period of a segment from whoever does not know the circle: ids stand on the disk in clear.
fn period_mask(circle: CircleId, name: &[u8]) -> [u8; 8] {
    let of = [circle.as_bytes().as_slice(), &[DocumentKind::Timeline.number()], name].concat();
    *hash(HashContext::WellKnownDocument, &of).first_chunk().expect("8 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_segment_is_told_from_its_id_by_who_knows_the_circle() {
        let (circle, other) = (CircleId::from_bytes([1; 32]), CircleId::from_bytes([2; 32]));
        let leaves = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let id = DocumentId::of_period(circle, &leaves, 500_000, 0);
        assert_eq!(id.period_start_hour(circle), Some(500_000));
        assert_eq!(id.period_start_hour(other), None);
        assert_eq!(DocumentId::well_known(circle, DocumentKind::Timeline, 0).period_start_hour(circle), None);
        let others = [
            DocumentId::of_period(circle, &leaves, 500_001, 0),
            DocumentId::of_period(circle, &leaves[..1], 500_000, 0),
            DocumentId::of_period(circle, &leaves, 500_000, 1),
        ];
        assert!(!others.contains(&id));
    }
}
