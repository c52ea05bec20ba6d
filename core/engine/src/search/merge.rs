//! Merging of segments: many small ones become few large ones, in bounded steps.
//!
//! Segments that stand side by side and are of one size, each size [`FAN_IN`] times the one before, are written anew as one. A step
//! writes so many blocks and files where it stopped, in the batch that the blocks are in. What was merged is searched until the
//! last step puts the new segment in its place, and what is taken out meanwhile is taken out of both.

use std::collections::VecDeque;

use super::postings::{Posting, entries};
use super::segment::{self, SegmentWriter};
use super::shelf::Pen;
use crate::proto::local::{SearchManifest, SearchMerge, SearchSegment};
use crate::{CircleId, ReadError};

/// How many segments of one size become one of the next.
const FAN_IN: usize = 8;
/// What a segment of the least size has, in items.
const SMALL_ITEMS: u32 = 64;
/// The most items of a segment.
const SEGMENT_ITEMS_MAX: u32 = 1 << 18;
/// How many blocks a step writes, but for a term that needs more. In tests, few, so that it takes many.
const STEP_BLOCKS: usize = if cfg!(test) { 2 } else { 32 };

/// Which size a segment is of; none if it is large enough.
fn size_of(segment: &SearchSegment) -> Option<u32> {
    let small = (segment.items / SMALL_ITEMS).max(1);
    (segment.items < SEGMENT_ITEMS_MAX / 2).then(|| small.ilog2() / FAN_IN.ilog2())
}

/// The segments to merge next, if any: the newest ones up to some size, once there are enough of them.
fn due(segments: &[SearchSegment]) -> Option<&[SearchSegment]> {
    (0..=SEGMENT_ITEMS_MAX.ilog2()).find_map(|size| {
        let is_small = |segment: &&SearchSegment| size_of(segment).is_some_and(|own| own <= size);
        let count = segments.iter().rev().take_while(is_small).count();
        let run = &segments[segments.len() - count..];
        let mut items = 0;
        let fits = |segment: &&SearchSegment| {
            items += segment.items;
            items <= SEGMENT_ITEMS_MAX
        };
        let taken = run.iter().take_while(fits).count();
        (count >= FAN_IN && taken >= 2).then(|| &run[..taken])
    })
}

/// Whether there is anything to merge.
pub(super) fn is_due(manifest: &SearchManifest) -> bool {
    manifest.merge.is_some() || due(&manifest.segments).is_some()
}

/// Goes a step further.
pub(super) fn step(circle: CircleId, manifest: &mut SearchManifest, pen: &mut Pen<'_>) -> Result<(), ReadError> {
    let (mut merge, resumed) = match manifest.merge.take() {
        Some(merge) => (merge, true),
        None => match due(&manifest.segments) {
            Some(due) => (begin(due, &mut manifest.next_segment), false),
            None => return Ok(()),
        },
    };
    let output = merge.output.take().ok_or(ReadError::Damaged)?;
    let directory = if resumed { pen.shelf(circle).directory(output.id)? } else { Vec::new() };
    let find = |id: &u32| manifest.segments.iter().find(|segment| segment.id == *id).cloned();
    let inputs: Vec<SearchSegment> = merge.inputs.iter().map(find).collect::<Option<_>>().ok_or(ReadError::Damaged)?;
    let after = resumed.then_some(merge.last_term.as_slice());
    let mut readers = Vec::new();
    for input in &inputs {
        readers.push(Input::open(circle, input, &output, after, pen)?);
    }
    let mut writer = SegmentWriter::new(circle, &output, directory);
    let until = writer.blocks() + STEP_BLOCKS;
    while writer.blocks() < until {
        let Some(term) = readers.iter().filter_map(Input::term).min().map(<[u8]>::to_vec) else {
            writer.finish(pen);
            return end(circle, manifest, &inputs, output, pen);
        };
        let mut postings = Vec::new();
        for reader in &mut readers {
            reader.take(&term, &mut postings, pen)?;
        }
        writer.push(&term, &postings, pen);
        merge.last_term = term;
    }
    writer.finish(pen);
    manifest.merge = Some(SearchMerge { output: Some(output), ..merge });
    Ok(())
}

fn begin(inputs: &[SearchSegment], next_segment: &mut u32) -> SearchMerge {
    let id = std::mem::replace(next_segment, *next_segment + 1);
    let (first, end) = (inputs.first().map_or(0, |first| first.first), inputs.last().map_or(0, |last| last.end));
    SearchMerge {
        inputs: inputs.iter().map(|input| input.id).collect(),
        output: Some(SearchSegment { id, first, end, items: 0 }),
        last_term: Vec::new(),
    }
}

/// Puts the output in the place of the inputs.
fn end(
    circle: CircleId,
    manifest: &mut SearchManifest,
    inputs: &[SearchSegment],
    mut output: SearchSegment,
    pen: &mut Pen<'_>,
) -> Result<(), ReadError> {
    output.items = inputs.iter().map(|input| input.items).sum();
    let place = manifest.segments.iter().position(|segment| segment.id == inputs[0].id).unwrap_or_default();
    manifest.segments.retain(|segment| inputs.iter().all(|input| input.id != segment.id));
    manifest.segments.insert(place, output);
    inputs.iter().try_for_each(|input| segment::remove(circle, input.id, pen))
}

/// A segment that is being merged, read term by term.
struct Input {
    circle: CircleId,
    segment: u32,
    span: u32,
    /// What its item numbers grow by in the output.
    shift: u32,
    blocks: u32,
    next: u32,
    entries: VecDeque<(Vec<u8>, Vec<Posting>)>,
}

impl Input {
    fn open(
        circle: CircleId,
        input: &SearchSegment,
        output: &SearchSegment,
        after: Option<&[u8]>,
        pen: &Pen<'_>,
    ) -> Result<Self, ReadError> {
        let directory = pen.shelf(circle).directory(input.id)?;
        let next = after.map_or(0, |after| directory.partition_point(|first| first.as_slice() <= after));
        let mut this = Self {
            circle,
            segment: input.id,
            span: input.end - input.first,
            shift: input.first - output.first,
            blocks: directory.len() as u32,
            next: next.saturating_sub(1) as u32,
            entries: VecDeque::new(),
        };
        this.fill(pen)?;
        while after.is_some() && this.term().is_some_and(|term| Some(term) <= after) {
            this.entries.pop_front();
            this.fill(pen)?;
        }
        Ok(this)
    }

    fn fill(&mut self, pen: &Pen<'_>) -> Result<(), ReadError> {
        while self.entries.is_empty() && self.next < self.blocks {
            let block = pen.shelf(self.circle).block(self.segment, self.next)?;
            self.next += 1;
            if let Some(block) = block {
                self.entries = entries(&block, self.span).ok_or(ReadError::Damaged)?.into();
            }
        }
        Ok(())
    }

    fn term(&self) -> Option<&[u8]> {
        self.entries.front().map(|(term, _)| term.as_slice())
    }

    /// Moves the items of a term, if that is the next one.
    fn take(&mut self, term: &[u8], into: &mut Vec<Posting>, pen: &Pen<'_>) -> Result<(), ReadError> {
        while self.term() == Some(term) {
            let (_, postings) = self.entries.pop_front().unwrap_or_default();
            into.extend(postings.into_iter().map(|(item, times)| (item + self.shift, times)));
            self.fill(pen)?;
        }
        Ok(())
    }
}
