//! The pages of a counted tree, and how they stand in the store.

use crate::{EngineError, EntryId};

/// The bytes of a page, at most. Sealed it still fits one page of redb (4,096 bytes) and one record of sled.
const PAGE_BYTES_MAX: usize = 3_600;
const HEADER_BYTES: usize = 1 + 8;
const PLACE_BYTES: usize = 4 + 32;
const CHILD_BYTES: usize = PLACE_BYTES + 8 + 8 + 32;
/// The most places of a leaf.
pub(super) const LEAF_PLACES_MAX: usize = (PAGE_BYTES_MAX - HEADER_BYTES) / PLACE_BYTES;
/// The most children of an inner page.
pub(super) const INNER_CHILDREN_MAX: usize = (PAGE_BYTES_MAX - HEADER_BYTES) / CHILD_BYTES;

/// Where an entry stands in the order of a circle: by hour, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) hour: u32,
    pub(super) id: EntryId,
}

/// A sum of ids modulo 2^256, each read as a little-endian number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    fn of(id: &[u8; 32]) -> Self {
        let (lanes, _) = id.as_chunks::<8>();
        Self(std::array::from_fn(|lane| u64::from_le_bytes(lanes[lane])))
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (lane, chunk) in self.0.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *chunk = lane.to_le_bytes();
        }
        bytes
    }

    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        Self(std::array::from_fn(|lane| {
            let (sum, over) = self.0[lane].overflowing_add(other.0[lane]);
            let (sum, over_too) = sum.overflowing_add(carry.into());
            carry = over | over_too;
            sum
        }))
    }

    fn minus(self, other: Self) -> Self {
        let mut borrow = false;
        Self(std::array::from_fn(|lane| {
            let (rest, under) = self.0[lane].overflowing_sub(other.0[lane]);
            let (rest, under_too) = rest.overflowing_sub(borrow.into());
            borrow = under | under_too;
            rest
        }))
    }
}

/// How many entries, and the sum of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) count: u64,
    pub(super) sum: Sum,
}

impl Total {
    pub(super) fn of(id: &EntryId) -> Self {
        Self { count: 1, sum: Sum::of(id.as_bytes()) }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum.plus(other.sum) }
    }

    /// Without a part of it.
    pub(super) fn minus(self, part: Self) -> Self {
        Self { count: self.count.saturating_sub(part.count), sum: self.sum.minus(part.sum) }
    }
}

impl std::iter::Sum for Total {
    fn sum<I: Iterator<Item = Self>>(totals: I) -> Self {
        totals.fold(Self::default(), Self::plus)
    }
}

/// A page below an inner one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// Nothing in it is before that, and nothing in the child before it is not.
    pub(super) first: Place,
    pub(super) number: u64,
    pub(super) total: Total,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Leaf(Vec<Place>),
    Inner(Vec<Child>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Of the root: the number that the next new page gets. Of others 0.
    pub(super) next: u64,
    pub(super) body: Body,
}

impl Page {
    pub(super) fn empty() -> Self {
        Self { next: 1, body: Body::Leaf(Vec::new()) }
    }

    pub(super) fn new(body: Body) -> Self {
        Self { next: 0, body }
    }

    pub(super) fn total(&self) -> Total {
        match &self.body {
            Body::Leaf(places) => places.iter().map(|place| Total::of(&place.id)).sum(),
            Body::Inner(children) => children.iter().map(|child| child.total).sum(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        match &self.body {
            Body::Leaf(places) => places.len() >= LEAF_PLACES_MAX,
            Body::Inner(children) => children.len() >= INNER_CHILDREN_MAX,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.body {
            Body::Leaf(places) => places.is_empty(),
            Body::Inner(children) => children.is_empty(),
        }
    }

    /// Takes away the upper part; with the page that was `last` of the tree, little: what comes next goes behind it.
    pub(super) fn split_off(&mut self, last: bool) -> Self {
        let at = |len: usize| if last { len - len / 8 } else { len / 2 };
        Self::new(match &mut self.body {
            Body::Leaf(places) => Body::Leaf(places.split_off(at(places.len()))),
            Body::Inner(children) => Body::Inner(children.split_off(at(children.len()))),
        })
    }

    /// What stands first in it; none if it is empty.
    pub(super) fn first(&self) -> Option<Place> {
        match &self.body {
            Body::Leaf(places) => places.first().copied(),
            Body::Inner(children) => children.first().map(|child| child.first),
        }
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let content = match &self.body {
            Body::Leaf(places) => places.capacity() * size_of::<Place>(),
            Body::Inner(children) => children.capacity() * size_of::<Child>(),
        };
        content + 256
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PAGE_BYTES_MAX);
        bytes.push(u8::from(matches!(self.body, Body::Inner(_))));
        bytes.extend(self.next.to_be_bytes());
        let put = |place: &Place, bytes: &mut Vec<u8>| {
            bytes.extend(place.hour.to_be_bytes());
            bytes.extend(place.id.as_bytes());
        };
        match &self.body {
            Body::Leaf(places) => places.iter().for_each(|place| put(place, &mut bytes)),
            Body::Inner(children) => {
                for child in children {
                    put(&child.first, &mut bytes);
                    bytes.extend(child.number.to_be_bytes());
                    bytes.extend(child.total.count.to_be_bytes());
                    bytes.extend(child.total.sum.to_bytes());
                }
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let damaged = || EngineError::IndexDamaged;
        let (kind, rest) = bytes.split_first().ok_or_else(damaged)?;
        let (next, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let body = match kind {
            0 => {
                let (records, left) = rest.as_chunks::<PLACE_BYTES>();
                left.is_empty().then(|| Body::Leaf(records.iter().map(|record| place(record)).collect()))
            }
            1 => {
                let (records, left) = rest.as_chunks::<CHILD_BYTES>();
                left.is_empty().then(|| Body::Inner(records.iter().map(child).collect()))
            }
            _ => None,
        };
        Ok(Self { next: u64::from_be_bytes(*next), body: body.ok_or_else(damaged)? })
    }
}

/// Some bytes of a record whose length is known.
fn part<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    *record[at..].first_chunk().expect("the offsets lie within the record")
}

fn place(record: &[u8]) -> Place {
    Place { hour: u32::from_be_bytes(part(record, 0)), id: EntryId::from_bytes(part(record, 4)) }
}

fn child(record: &[u8; CHILD_BYTES]) -> Child {
    let number = u64::from_be_bytes(part(record, PLACE_BYTES));
    let count = u64::from_be_bytes(part(record, PLACE_BYTES + 8));
    let sum = Sum::of(&part(record, PLACE_BYTES + 16));
    Child { first: place(record), number, total: Total { count, sum } }
}
