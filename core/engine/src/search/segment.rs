//! Segments: the postings of a range of items, in blocks in order of terms. Written once, merged later, and never changed but to
//! take items out.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::postings::{BlockReader, BlockWriter, Posting, TIMES_MAX, entries};
use super::shelf::{Pen, Shelf, block_key, directory_key};
use crate::proto::local::{SearchDirectory, SearchSegment};
use crate::{CircleId, ReadError};

/// What is looked up: a term, or everything that begins so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lookup {
    pub(super) term: Vec<u8>,
    pub(super) prefix: bool,
}

impl Lookup {
    pub(super) fn is_met_by(&self, term: &[u8]) -> bool {
        if self.prefix { term.starts_with(&self.term) } else { term == self.term }
    }
}

/// The blocks that may hold what lies between two terms.
fn blocks_of(directory: &[Vec<u8>], lookup: &Lookup) -> std::ops::Range<usize> {
    let begin = directory.partition_point(|first| *first < lookup.term).saturating_sub(1);
    let beyond = |first: &Vec<u8>| *first <= lookup.term || lookup.is_met_by(first);
    begin..directory.partition_point(beyond).max(begin)
}

impl Shelf<'_> {
    /// The items that a lookup finds in a segment, in order.
    pub(super) fn find(&self, segment: &SearchSegment, lookup: &Lookup) -> Result<Vec<Posting>, ReadError> {
        let directory = self.directory(segment.id)?;
        let span = segment.end - segment.first;
        // Many terms may begin so, and an item may have several of them.
        let mut times_of = if lookup.prefix { vec![0u8; span as usize] } else { Vec::new() };
        let mut found = Vec::new();
        for number in blocks_of(&directory, lookup) {
            let Some(block) = self.block(segment.id, number as u32)? else { continue };
            let mut reader = BlockReader::new(&block, span);
            while reader.next().ok_or(ReadError::Damaged)? {
                let done = if !lookup.is_met_by(&reader.term) {
                    if reader.term > lookup.term {
                        break;
                    }
                    reader.items(|_| ())
                } else if lookup.prefix {
                    reader.items(|(item, times)| {
                        if let Some(sum) = times_of.get_mut(item as usize) {
                            *sum = sum.saturating_add(times as u8);
                        }
                    })
                } else {
                    reader.items(|posting| found.push(posting))
                };
                done.ok_or(ReadError::Damaged)?;
            }
        }
        if lookup.prefix {
            let has = |(item, times): (usize, u8)| (times > 0).then_some((item as u32, times.into()));
            found.extend(times_of.into_iter().enumerate().filter_map(has));
        }
        Ok(found)
    }
}

/// Writes a segment, term after term.
pub(super) struct SegmentWriter {
    circle: CircleId,
    id: u32,
    span: u32,
    block: BlockWriter,
    directory: Vec<Vec<u8>>,
}

impl SegmentWriter {
    /// For a segment whose first blocks may be there already.
    pub(super) fn new(circle: CircleId, segment: &SearchSegment, directory: Vec<Vec<u8>>) -> Self {
        let span = segment.end - segment.first;
        Self { circle, id: segment.id, span, block: BlockWriter::new(span), directory }
    }

    pub(super) fn blocks(&self) -> usize {
        self.directory.len()
    }

    pub(super) fn push(&mut self, term: &[u8], mut postings: &[Posting], pen: &mut Pen<'_>) {
        while !postings.is_empty() {
            postings = &postings[self.block.push(term, postings)..];
            if !postings.is_empty() {
                self.close(pen);
            }
        }
    }

    fn close(&mut self, pen: &mut Pen<'_>) {
        let mut block = std::mem::replace(&mut self.block, BlockWriter::new(self.span));
        let key = block_key(self.circle, self.id, self.directory.len() as u32);
        self.directory.push(std::mem::take(&mut block.first));
        pen.put(key, block.finish());
    }

    /// Writes what is left and the directory.
    pub(super) fn finish(mut self, pen: &mut Pen<'_>) {
        if !self.block.is_empty() {
            self.close(pen);
        }
        put_directory(self.circle, self.id, self.directory, pen);
    }
}

fn put_directory(circle: CircleId, segment: u32, first_terms: Vec<Vec<u8>>, pen: &mut Pen<'_>) {
    pen.put(directory_key(circle, segment), SearchDirectory { first_terms }.encode_to_vec());
}

/// Items to be taken out of a segment, counted from its first one, by their terms.
pub(super) type Gone = BTreeMap<Vec<u8>, BTreeSet<u32>>;

/// Takes items out of a segment. Nothing of them is left in it, not even in its directory.
pub(super) fn take_out(
    circle: CircleId,
    segment: &SearchSegment,
    gone: &Gone,
    pen: &mut Pen<'_>,
) -> Result<(), ReadError> {
    let mut directory = pen.shelf(circle).directory(segment.id)?;
    let (before, span) = (directory.clone(), segment.end - segment.first);
    let lookup = |term: &Vec<u8>| Lookup { term: term.clone(), prefix: false };
    let touched: BTreeSet<usize> = gone.keys().flat_map(|term| blocks_of(&directory, &lookup(term))).collect();
    for number in touched.into_iter().rev() {
        let Some(block) = pen.shelf(circle).block(segment.id, number as u32)? else { continue };
        let (mut changed, mut writer) = (false, BlockWriter::new(span));
        for (term, mut postings) in entries(&block, span).ok_or(ReadError::Damaged)? {
            if let Some(items) = gone.get(&term) {
                let count = postings.len();
                postings.retain(|(item, _)| !items.contains(item));
                changed |= postings.len() != count;
            }
            let mut rest = postings.as_slice();
            while !rest.is_empty() {
                rest = &rest[writer.push_slack(&term, rest)..];
            }
        }
        if !changed {
            continue;
        }
        let key = block_key(circle, segment.id, number as u32);
        if writer.is_empty() {
            // In the directory it takes the name of its neighbour, so that the order holds.
            directory[number] = directory.get(number + 1).cloned().unwrap_or_default();
            pen.remove(key);
        } else {
            directory[number] = std::mem::take(&mut writer.first);
            pen.put(key, writer.finish());
        }
    }
    while directory.last().is_some_and(Vec::is_empty) {
        directory.pop();
    }
    if directory != before {
        put_directory(circle, segment.id, directory, pen);
    }
    Ok(())
}

/// Removes all of a segment.
pub(super) fn remove(circle: CircleId, segment: u32, pen: &mut Pen<'_>) -> Result<(), ReadError> {
    let blocks = pen.shelf(circle).directory(segment)?.len();
    (0..blocks).for_each(|block| pen.remove(block_key(circle, segment, block as u32)));
    pen.remove(directory_key(circle, segment));
    Ok(())
}

/// The postings of items that were just read.
#[derive(Default)]
pub(super) struct Building {
    terms: BTreeMap<Vec<u8>, Vec<(u32, u32)>>,
    /// The first item number, how many there are, and the last number.
    pub(super) first: u32,
    pub(super) items: u32,
    pub(super) last: u32,
}

impl Building {
    pub(super) fn add(&mut self, item: u32, terms: BTreeMap<Vec<u8>, u32>) {
        if self.items == 0 {
            self.first = item;
        }
        (self.last, self.items) = (item, self.items + 1);
        for (term, times) in terms {
            self.terms.entry(term).or_default().push((item, times.min(TIMES_MAX)));
        }
    }

    pub(super) fn has(&self, item: u32) -> bool {
        self.items > 0 && (self.first..=self.last).contains(&item)
    }

    pub(super) fn take_out(&mut self, item: u32, terms: BTreeMap<Vec<u8>, u32>) {
        for term in terms.keys() {
            if let Some(postings) = self.terms.get_mut(term) {
                postings.retain(|(posted, _)| *posted != item);
            }
        }
        self.items -= 1;
    }

    pub(super) fn write(self, circle: CircleId, segment: &SearchSegment, pen: &mut Pen<'_>) {
        let mut writer = SegmentWriter::new(circle, segment, Vec::new());
        for (term, postings) in self.terms {
            let postings: Vec<Posting> = postings.iter().map(|(item, times)| (item - segment.first, *times)).collect();
            writer.push(&term, &postings, pen);
        }
        writer.finish(pen);
    }
}
