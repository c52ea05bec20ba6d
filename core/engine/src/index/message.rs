//! The messages of set reconciliation: version 1 of the Negentropy protocol (<https://github.com/hoytech/negentropy>).
//!
//! A message cuts the order of entries into ranges, and says of each that it is not of interest, what its fingerprint is, or
//! which ids are in it.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::page::{Place, Total};
use super::tree::Cut;
use crate::{EntryId, Refusal};

/// The ranges of a message that are looked at. What lies before them is answered as one.
pub(super) const RANGES_MAX: usize = 4_096;
const VERSION: u8 = 0x61;
const FINGERPRINT_BYTES: usize = 16;
const ID_BYTES: usize = 32;
/// The bytes of a number, at most.
const NUMBER_BYTES_MAX: usize = 10;

pub(super) type Fingerprint = [u8; FINGERPRINT_BYTES];

/// The end of a range, as it is written: a prefix of an id is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) cut: Cut,
    id_bytes: usize,
}

impl Bound {
    pub(super) const START: Self = Self { cut: Cut::START, id_bytes: 0 };
    pub(super) const END: Self = Self { cut: Cut::END, id_bytes: 0 };

    /// The shortest that lies between two neighbours.
    pub(super) fn between(before: &Place, place: &Place) -> Self {
        if before.hour != place.hour {
            return Self { cut: Cut { hour: place.hour.into(), id: [0; ID_BYTES] }, id_bytes: 0 };
        }
        let (before, id) = (before.id.as_bytes(), place.id.as_bytes());
        let equal = before.iter().zip(id).take_while(|(before, own)| before == own).count();
        let mut cut = Cut { hour: place.hour.into(), id: [0; ID_BYTES] };
        let id_bytes = (equal + 1).min(ID_BYTES);
        cut.id[..id_bytes].copy_from_slice(&id[..id_bytes]);
        Self { cut, id_bytes }
    }

    pub(super) fn before(place: &Place) -> Self {
        Self { cut: Cut::before(place), id_bytes: ID_BYTES }
    }

    /// What it takes in a message, at most, in bytes.
    fn bytes_max(&self) -> usize {
        let hour = if self.cut.hour == u64::MAX { 1 } else { number_bytes(self.cut.hour.saturating_add(1)) };
        hour + 1 + self.id_bytes
    }
}

/// What a message says of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim<'a> {
    Skip,
    Fingerprint(Fingerprint),
    /// In no order that could be relied on.
    Ids(&'a [[u8; ID_BYTES]]),
}

/// A range of a message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range<'a> {
    pub(super) from: Bound,
    pub(super) to: Bound,
    pub(super) claim: Claim<'a>,
}

/// Reads a message: its last ranges. None if it is of another version.
pub(super) fn read(message: &[u8]) -> Result<Option<VecDeque<Range<'_>>>, Refusal> {
    let (version, mut rest) = message.split_first().ok_or(Refusal::Malformed)?;
    match *version {
        VERSION => {}
        0x60..=0x6f => return Ok(None),
        _ => return Err(Refusal::Malformed),
    }
    let (mut ranges, mut from, mut hour) = (VecDeque::new(), Bound::START, 0);
    while !rest.is_empty() {
        let to = read_bound(&mut rest, &mut hour)?;
        if to.cut < from.cut {
            return Err(Refusal::Malformed);
        }
        let claim = match read_number(&mut rest)? {
            0 => Claim::Skip,
            1 => Claim::Fingerprint(*take(&mut rest)?),
            2 => {
                let count = usize::try_from(read_number(&mut rest)?).map_err(|_| Refusal::Malformed)?;
                let bytes = count.checked_mul(ID_BYTES).filter(|bytes| *bytes <= rest.len());
                let (ids, left) = rest.split_at(bytes.ok_or(Refusal::Malformed)?);
                rest = left;
                Claim::Ids(ids.as_chunks().0)
            }
            _ => return Err(Refusal::Malformed),
        };
        if ranges.len() == RANGES_MAX {
            ranges.pop_front();
        }
        ranges.push_back(Range { from, to, claim });
        from = to;
    }
    Ok(Some(ranges))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Refusal> {
    let (taken, left) = rest.split_first_chunk().ok_or(Refusal::Malformed)?;
    *rest = left;
    Ok(taken)
}

/// Base 128, the highest digit first.
fn read_number(rest: &mut &[u8]) -> Result<u64, Refusal> {
    let mut number = 0_u64;
    for _ in 0..NUMBER_BYTES_MAX {
        let [byte] = *take(rest)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Refusal::Malformed)
}

/// Hours are written as the difference to the one before, plus 1; 0 is the end of all.
fn read_bound(rest: &mut &[u8], before: &mut u64) -> Result<Bound, Refusal> {
    let hour = match read_number(rest)? {
        0 => u64::MAX,
        more => before.saturating_add(more - 1),
    };
    *before = hour;
    let id_bytes = usize::try_from(read_number(rest)?).map_err(|_| Refusal::Malformed)?;
    if id_bytes > ID_BYTES || id_bytes > rest.len() {
        return Err(Refusal::Malformed);
    }
    let (prefix, left) = rest.split_at(id_bytes);
    *rest = left;
    let mut id = [0; ID_BYTES];
    id[..id_bytes].copy_from_slice(prefix);
    Ok(Bound { cut: Cut { hour, id }, id_bytes })
}

fn number_bytes(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(7).max(1)
}

fn put_number(number: u64, bytes: &mut Vec<u8>) {
    for digit in (0..number_bytes(number)).rev() {
        let more = if digit > 0 { 0x80 } else { 0 };
        bytes.push((number >> (7 * digit)) as u8 & 0x7f | more);
    }
}

/// What the entries of a range amount to.
pub(super) fn fingerprint(total: &Total) -> Fingerprint {
    let mut count = Vec::with_capacity(NUMBER_BYTES_MAX);
    put_number(total.count, &mut count);
    let hash = Sha256::new().chain_update(total.sum.to_bytes()).chain_update(count).finalize();
    *hash.first_chunk().expect("a hash of 32 bytes has 16")
}

/// A message that is being made, its last range first.
#[derive(Default)]
pub(super) struct Draft {
    ranges: Vec<(Bound, Saying)>,
    bytes: usize,
}

enum Saying {
    Skip,
    Fingerprint(Fingerprint),
    /// The last one first.
    Ids(Vec<EntryId>),
}

impl Draft {
    /// What it will take, at most, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_room(&self, bytes_max: usize) -> bool {
        self.bytes < bytes_max && self.ranges.len() < RANGES_MAX
    }

    pub(super) fn skip(&mut self, to: Bound) {
        // One that is skipped already, behind it, reaches over this one too.
        if !matches!(self.ranges.last(), Some((_, Saying::Skip))) {
            self.push(to, Saying::Skip, 1);
        }
    }

    pub(super) fn fingerprint(&mut self, to: Bound, of: &Total) {
        self.push(to, Saying::Fingerprint(fingerprint(of)), 1 + FINGERPRINT_BYTES);
    }

    /// The ids of the range, the last one first.
    pub(super) fn ids(&mut self, to: Bound, ids: Vec<EntryId>) {
        let bytes = 1 + number_bytes(ids.len() as u64) + ids.len() * ID_BYTES;
        self.push(to, Saying::Ids(ids), bytes);
    }

    fn push(&mut self, to: Bound, saying: Saying, bytes: usize) {
        self.bytes += to.bytes_max() + bytes;
        self.ranges.push((to, saying));
    }

    /// The message, and whether it says anything.
    pub(super) fn finish(self) -> (Vec<u8>, bool) {
        let (mut message, mut hour, mut skipped) = (vec![VERSION], 0, None);
        for (to, saying) in self.ranges.into_iter().rev() {
            if matches!(saying, Saying::Skip) {
                skipped = Some(to);
                continue;
            }
            if let Some(to) = skipped.take() {
                put_bound(&to, &mut hour, &mut message);
                message.push(0);
            }
            put_bound(&to, &mut hour, &mut message);
            match saying {
                Saying::Skip => {}
                Saying::Fingerprint(fingerprint) => {
                    message.push(1);
                    message.extend(fingerprint);
                }
                Saying::Ids(ids) => {
                    message.push(2);
                    put_number(ids.len() as u64, &mut message);
                    ids.iter().rev().for_each(|id| message.extend(id.as_bytes()));
                }
            }
        }
        let says_something = message.len() > 1;
        (message, says_something)
    }
}

fn put_bound(bound: &Bound, before: &mut u64, message: &mut Vec<u8>) {
    if bound.cut.hour == u64::MAX {
        put_number(0, message);
    } else {
        put_number(bound.cut.hour.saturating_sub(*before).saturating_add(1), message);
    }
    *before = bound.cut.hour;
    put_number(bound.id_bytes as u64, message);
    message.extend(&bound.cut.id[..bound.id_bytes]);
}
