//! Blocks of postings: terms in order, and which items have each how often, in as few bits as can be had cheaply.
//!
//! A block is a stream of bits: the number of its entries (16 bits), then each entry: how many bytes its term shares with the one
//! before, and the rest of it; how many items; whether all have it once; the first item in as many bits as the segment needs; then,
//! if there are more, a Rice parameter (5 bits) and the gaps. A term with too many items goes on in the next block.

use super::bits::{BitReader, BitWriter, gamma_bits, rice_bits, rice_parameter};

/// What a block takes at most, in bytes. With its key, its seal and the page around it, it fills two pages of 4 KiB in redb.
/// Tests have small ones, to have many.
pub(super) const BLOCK_BYTES_MAX: usize = if cfg!(test) { 300 } else { 8_000 };
/// How many times a term in one item counts at most.
pub(super) const TIMES_MAX: u32 = 255;
/// Below this, a list is not cut to fill a block.
const PIECE_MIN: usize = 64;

/// An item, counted from the first one of its segment, and how often it has the term.
pub(super) type Posting = (u32, u32);

/// Fills one block.
pub(super) struct BlockWriter {
    bits: BitWriter,
    entries: u16,
    pub(super) first: Vec<u8>,
    last: Vec<u8>,
    width: u32,
}

impl BlockWriter {
    /// For items below that one.
    pub(super) fn new(end: u32) -> Self {
        let (bits, width) = (BitWriter::default(), width_of(end));
        Self { bits, entries: 0, first: Vec::new(), last: Vec::new(), width }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds as many of a term's items as fit. How many those were: none if a new block is better.
    pub(super) fn push(&mut self, term: &[u8], postings: &[Posting]) -> usize {
        self.push_below(BLOCK_BYTES_MAX, term, postings)
    }

    /// Adds a term's items to what is left of a block that was not too long before: without some of its items it is no longer than
    /// it was, but for a few bits.
    pub(super) fn push_slack(&mut self, term: &[u8], postings: &[Posting]) -> usize {
        self.push_below(usize::MAX / 8, term, postings)
    }

    fn push_below(&mut self, bytes_max: usize, term: &[u8], postings: &[Posting]) -> usize {
        if self.entries == u16::MAX {
            return 0;
        }
        let shared = self.last.iter().zip(term).take_while(|(a, b)| a == b).count();
        let rest = &term[shared..];
        let (all_once, k) = (postings.iter().all(|(_, times)| *times == 1), parameter(postings));
        let head = gamma_bits(shared as u32 + 1)
            + gamma_bits(rest.len() as u32 + 1)
            + rest.len() * 8
            + gamma_bits(postings.len() as u32)
            + 1
            + self.width as usize
            + 5;
        let room = (bytes_max * 8).saturating_sub(16 + self.bits.len_bits() + head);
        let count = fitting(postings, k, all_once, room);
        if count < postings.len().min(PIECE_MIN) && !self.is_empty() {
            return 0;
        }
        let count = count.max(1);
        self.bits.gamma(shared as u32 + 1);
        self.bits.gamma(rest.len() as u32 + 1);
        self.bits.bytes(rest);
        self.items(&postings[..count], all_once, k);
        if self.is_empty() {
            self.first = term.to_vec();
        }
        self.last = term.to_vec();
        self.entries += 1;
        count
    }

    fn items(&mut self, postings: &[Posting], all_once: bool, k: u32) {
        self.bits.gamma(postings.len() as u32);
        self.bits.put(all_once.into(), 1);
        let mut before = None;
        for (item, times) in postings {
            match before {
                None => self.bits.put((*item).into(), self.width),
                Some(before) => self.bits.rice(u64::from(item - before - 1), k),
            }
            if !all_once {
                self.bits.gamma((*times).min(TIMES_MAX));
            }
            if before.is_none() && postings.len() > 1 {
                self.bits.put(k.into(), 5);
            }
            before = Some(*item);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut block = self.entries.to_le_bytes().to_vec();
        block.extend(self.bits.finish());
        block
    }
}

fn width_of(end: u32) -> u32 {
    end.max(2).saturating_sub(1).ilog2() + 1
}

fn parameter(postings: &[Posting]) -> u32 {
    let (Some((first, _)), Some((last, _))) = (postings.first(), postings.last()) else { return 0 };
    let gaps = postings.len() as u64 - 1;
    rice_parameter(u64::from(last - first).saturating_sub(gaps), gaps)
}

fn fitting(postings: &[Posting], k: u32, all_once: bool, room_bits: usize) -> usize {
    let mut taken = 0;
    for (place, (item, times)) in postings.iter().enumerate() {
        if place > 0 {
            taken += rice_bits(u64::from(item - postings[place - 1].0 - 1), k);
        }
        if !all_once {
            taken += gamma_bits((*times).min(TIMES_MAX));
        }
        if taken > room_bits {
            return place;
        }
    }
    postings.len()
}

/// Reads a block's entries in order.
pub(super) struct BlockReader<'a> {
    bits: BitReader<'a>,
    left: u16,
    pub(super) term: Vec<u8>,
    width: u32,
}

impl<'a> BlockReader<'a> {
    pub(super) fn new(block: &'a [u8], end: u32) -> Self {
        let (left, bits) = block.split_first_chunk().unwrap_or((&[0; 2], &[]));
        Self { bits: BitReader::new(bits), left: u16::from_le_bytes(*left), term: Vec::new(), width: width_of(end) }
    }

    /// Goes to the next entry, whose term is [`term`](Self::term) then. Whether there is one; none if the block is damaged.
    /// After it, [`items`](Self::items) has to be called.
    pub(super) fn next(&mut self) -> Option<bool> {
        if self.left == 0 {
            return Some(false);
        }
        self.left -= 1;
        let (shared, rest) = (self.bits.gamma()? as usize - 1, self.bits.gamma()? as usize - 1);
        if shared > self.term.len() {
            return None;
        }
        self.term.truncate(shared);
        self.bits.bytes(rest, &mut self.term)?;
        Some(true)
    }

    /// The entry's items, in order.
    pub(super) fn items(&mut self, mut each: impl FnMut(Posting)) -> Option<()> {
        let (count, all_once) = (self.bits.gamma()?, self.bits.take(1)? == 1);
        let mut item = self.bits.take(self.width)?;
        let mut times = if all_once { 1 } else { self.bits.gamma()? };
        each((item as u32, times));
        if count > 1 {
            let k = self.bits.take(5)? as u32;
            for _ in 1..count {
                item = item.checked_add(self.bits.rice(k)?)?.checked_add(1)?;
                if !all_once {
                    times = self.bits.gamma()?;
                }
                each((u32::try_from(item).ok()?, times));
            }
        }
        Some(())
    }
}

/// All entries of a block; none if it is damaged.
pub(super) fn entries(block: &[u8], end: u32) -> Option<Vec<(Vec<u8>, Vec<Posting>)>> {
    let (mut reader, mut entries) = (BlockReader::new(block, end), Vec::new());
    while reader.next()? {
        let mut postings = Vec::new();
        reader.items(|posting| postings.push(posting))?;
        entries.push((reader.term.clone(), postings));
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn lists() -> impl Strategy<Value = BTreeMap<Vec<u8>, BTreeMap<u32, u32>>> {
        let items = prop::collection::btree_map(0u32..100_000, 1u32..300, 1..40);
        prop::collection::btree_map(prop::collection::vec(97u8..100, 0..6), items, 0..60)
    }

    proptest! {
        #[test]
        fn blocks_hold_what_was_put_into_them(lists in lists(), many in 0u32..20_000) {
            let mut lists = lists;
            lists.insert(b"common".to_vec(), (0..many).map(|item| (item * 3, 1 + item % 2)).collect());
            lists.retain(|_, items| !items.is_empty());
            let (mut blocks, mut writer) = (Vec::new(), BlockWriter::new(100_000));
            for (term, items) in &lists {
                let items: Vec<Posting> = items.iter().map(|(item, times)| (*item, *times)).collect();
                let mut done = 0;
                while done < items.len() {
                    let count = writer.push(term, &items[done..]);
                    done += count;
                    if count == 0 || done < items.len() {
                        blocks.push(std::mem::replace(&mut writer, BlockWriter::new(100_000)).finish());
                    }
                }
            }
            blocks.push(writer.finish());
            prop_assert!(blocks.iter().all(|block| block.len() <= BLOCK_BYTES_MAX));
            let mut read = BTreeMap::<Vec<u8>, BTreeMap<u32, u32>>::new();
            for block in &blocks {
                for (term, items) in entries(block, 100_000).expect("it was written above") {
                    read.entry(term).or_default().extend(items);
                }
            }
            lists.values_mut().flat_map(BTreeMap::values_mut).for_each(|times| *times = (*times).min(TIMES_MAX));
            prop_assert_eq!(read, lists);
        }

        #[test]
        fn garbage_is_no_block(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries(&bytes, 1_000);
        }
    }
}
