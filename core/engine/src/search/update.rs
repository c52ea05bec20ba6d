//! Keeping the index of a circle like its documents.

use std::collections::{BTreeMap, BTreeSet};

use clave_crdt::Actor;
use prost::Message as _;

use super::columns::{BLOCK_NUMBERS, Column, Columns, clamp_ms, encode, encode_names};
use super::segment::{self, Building, Gone};
use super::shelf::{self, Pen, Place, Shelf, Staged, place_bytes, place_of};
use super::words::{terms, words};
use super::{Change, Item, merge};
use crate::desk::View;
use crate::proto::local::{SearchDocument, SearchManifest, SearchSegment, SearchTables, SearchTail, SearchTailItem};
use crate::{CircleId, ReadError};

/// How many items, and how many bytes of text, wait before they are put into a segment and a block of texts.
/// Deflated and sealed, the texts should fill two pages of 4 KiB.
const TAIL_MAX: (usize, usize) = (192, 11 * 1024);

/// A circle's index, open for writing. What is done to it is handed out at [`finish`](Self::finish): all of
/// it, or nothing if anything could not be read.
pub(crate) struct Index<'a> {
    circle: CircleId,
    pen: Pen<'a>,
    manifest: SearchManifest,
    tail: SearchTail,
    /// What of these two is stored: a message mostly changes the tail alone.
    stored: (SearchManifest, SearchTail),
    tables: Tables,
    /// Blocks of columns, with the names of their items, that were looked at; and which of them changed.
    columns: BTreeMap<u32, (Columns, Vec<Vec<u8>>)>,
    changed_columns: BTreeSet<u32>,
    documents: BTreeMap<Place, Option<SearchDocument>>,
    building: Building,
}

/// What columns refer to by number.
struct Tables {
    stored: SearchTables,
    actors: BTreeMap<Vec<u8>, u32>,
    documents: BTreeMap<Vec<u8>, u32>,
    changed: bool,
}

impl Tables {
    fn new(stored: SearchTables) -> Self {
        let numbered = |list: &[Vec<u8>]| list.iter().cloned().zip(0..).collect();
        Self { actors: numbered(&stored.actors), documents: numbered(&stored.documents), stored, changed: false }
    }

    fn actor(&mut self, actor: &[u8]) -> u32 {
        if let Some(number) = self.actors.get(actor) {
            return *number;
        }
        let number = self.stored.actors.len() as u32;
        self.stored.actors.push(actor.to_vec());
        self.actors.insert(actor.to_vec(), number);
        self.changed = true;
        number
    }

    fn document(&mut self, place: &Place) -> u32 {
        let name = place_bytes(place);
        if let Some(number) = self.documents.get(&name) {
            return *number;
        }
        let free = self.stored.documents.iter().position(Vec::is_empty);
        let number = free.unwrap_or(self.stored.documents.len());
        if free.is_none() {
            self.stored.documents.push(Vec::new());
        }
        self.stored.documents[number].clone_from(&name);
        self.documents.insert(name, number as u32);
        self.changed = true;
        number as u32
    }

    fn forget(&mut self, place: &Place) {
        if let Some(number) = self.documents.remove(&place_bytes(place)) {
            self.stored.documents[number as usize].clear();
            self.changed = true;
        }
    }
}

impl<'a> Index<'a> {
    pub(crate) fn open(circle: CircleId, view: &'a View) -> Result<Self, ReadError> {
        let (pen, shelf) = (Pen::new(view), Shelf::new(circle, view));
        let (manifest, tail, tables) = (shelf.manifest()?, shelf.tail()?, Tables::new(shelf.tables()?));
        Ok(Self {
            circle,
            pen,
            stored: (manifest.clone(), tail.clone()),
            manifest,
            tail,
            tables,
            columns: BTreeMap::new(),
            changed_columns: BTreeSet::new(),
            documents: BTreeMap::new(),
            building: Building::default(),
        })
    }

    /// Takes in what changed in a document. Of several changes to one item the last counts.
    pub(crate) fn update(&mut self, place: Place, changes: Vec<Change>) -> Result<(), ReadError> {
        let changes: BTreeMap<Vec<u8>, Change> =
            changes.into_iter().map(|change| (change.id().to_vec(), change)).collect();
        let newest_ms = self.document(&place)?.map(|document| document.newest_ms);
        // The id of a message has its time, so what is newer than all is new.
        let is_new = |change: &Change| match change {
            Change::Put(item) => newest_ms.is_none_or(|newest_ms| item.is_message() && item.time_ms > newest_ms),
            Change::Remove(_) => false,
        };
        let known = if changes.values().all(is_new) { BTreeMap::new() } else { self.known(&place)? };
        let (mut gone, mut new) = (BTreeSet::new(), Vec::new());
        for (id, change) in changes {
            let number = known.get(&id).copied();
            match change {
                Change::Remove(_) => gone.extend(number),
                Change::Put(item) => {
                    if let Some(number) = number {
                        if self.stands(number, &item)? {
                            continue;
                        }
                        gone.insert(number);
                    }
                    new.push(item);
                }
            }
        }
        self.take_out(&place, gone)?;
        new.sort_by(|a, b| (a.time_ms, &a.id).cmp(&(b.time_ms, &b.id)));
        new.into_iter().try_for_each(|item| self.add(place, item))
    }

    /// Makes the index of a document like these items, which are all that it has.
    pub(crate) fn replace(&mut self, place: Place, items: Vec<Item>) -> Result<(), ReadError> {
        let kept: BTreeSet<&[u8]> = items.iter().map(|item| item.id.as_slice()).collect();
        if self.document(&place)?.is_none() {
            self.documents.insert(place, Some(SearchDocument::default()));
        }
        let mut gone: Vec<Vec<u8>> = self.known(&place)?.into_keys().collect();
        gone.retain(|id| !kept.contains(id.as_slice()));
        let changes = gone.into_iter().map(Change::Remove).chain(items.into_iter().map(Change::Put));
        self.update(place, changes.collect())
    }

    /// Whether these items are in the index as they are, and nothing else of the document.
    pub(crate) fn is_like(&mut self, place: Place, items: &[Item]) -> Result<bool, ReadError> {
        let mut known = self.known(&place)?;
        for item in items.iter().filter(|item| !item.text.trim().is_empty()) {
            let Some(number) = known.remove(&item.id) else { return Ok(false) };
            if !self.stands(number, item)? {
                return Ok(false);
            }
        }
        Ok(known.is_empty())
    }

    /// Takes out all of a document that is no more.
    pub(crate) fn forget(&mut self, place: Place) -> Result<(), ReadError> {
        let gone = self.known(&place)?.into_values().collect();
        self.take_out(&place, gone)?;
        self.documents.insert(place, None);
        self.pen.remove_if_there(shelf::document_key(self.circle, &place))?;
        self.tables.forget(&place);
        Ok(())
    }

    /// Merges segments, as far as one step goes. Whether there is more to do.
    pub(crate) fn step(&mut self) -> Result<bool, ReadError> {
        merge::step(self.circle, &mut self.manifest, &mut self.pen)?;
        Ok(merge::is_due(&self.manifest))
    }

    /// Everything that is to be written, in one batch; and whether there is anything to merge then.
    pub(crate) fn finish(mut self) -> Result<(Staged, bool), ReadError> {
        let circle = self.circle;
        let building = std::mem::take(&mut self.building);
        if building.items > 0 {
            let id = self.manifest.next_segment;
            self.manifest.next_segment += 1;
            let (first, end, items) = (building.first, building.last + 1, building.items);
            let segment = SearchSegment { id, first, end, items };
            building.write(circle, &segment, &mut self.pen);
            self.manifest.segments.push(segment);
        }
        if self.tail != self.stored.1 {
            self.pen.put(shelf::tail_key(circle), self.tail.encode_to_vec());
        }
        for block in self.changed_columns {
            let Some((columns, names)) = self.columns.get(&block) else { continue };
            if columns.is_empty() {
                self.pen.remove_if_there(shelf::columns_key(circle, block))?;
                self.pen.remove_if_there(shelf::names_key(circle, block))?;
                continue;
            }
            let actor = |column: &Column| self.tables.stored.actors[column.actor as usize].as_slice();
            let named = columns.iter().zip(names);
            let named = named.map(|((_, column), id)| (id.as_slice(), column.time_ms, actor(column)));
            self.pen.put(shelf::names_key(circle, block), encode_names(named));
            self.pen.put(shelf::columns_key(circle, block), encode(columns));
        }
        for (place, document) in self.documents {
            if let Some(document) = document {
                self.pen.put(shelf::document_key(circle, &place), document.encode_to_vec());
            }
        }
        if self.tables.changed {
            self.pen.put(shelf::tables_key(circle), self.tables.stored.encode_to_vec());
        }
        if self.manifest != self.stored.0 {
            self.pen.put(shelf::manifest_key(circle), self.manifest.encode_to_vec());
        }
        Ok((self.pen.finish(), merge::is_due(&self.manifest)))
    }

    fn shelf(&self) -> Shelf<'_> {
        self.pen.shelf(self.circle)
    }

    fn document(&mut self, place: &Place) -> Result<Option<&mut SearchDocument>, ReadError> {
        if !self.documents.contains_key(place) {
            let document = self.shelf().document(place)?;
            self.documents.insert(*place, document);
        }
        Ok(self.documents.get_mut(place).and_then(Option::as_mut))
    }

    /// The items of a document that are in the index, with their numbers.
    fn known(&mut self, place: &Place) -> Result<BTreeMap<Vec<u8>, u32>, ReadError> {
        let runs = self.document(place)?.map_or_else(Vec::new, |document| document.runs.clone());
        let name = place_bytes(place);
        let of_tail = self.tail.items.iter().filter(|item| item.document == name);
        let mut known: BTreeMap<Vec<u8>, u32> = of_tail.map(|item| (item.id.clone(), item.number)).collect();
        let runs: Vec<(u32, u32)> = runs.chunks_exact(2).map(|run| (run[0], run[0].saturating_add(run[1]))).collect();
        let blocks: BTreeSet<u32> = runs
            .iter()
            .flat_map(|(first, end)| first / BLOCK_NUMBERS..end.saturating_sub(1) / BLOCK_NUMBERS + 1)
            .collect();
        for block in blocks {
            let (columns, names) = self.block(block)?;
            for ((offset, _), id) in columns.iter().zip(names) {
                let number = block * BLOCK_NUMBERS + offset;
                let before = runs.partition_point(|(first, _)| *first <= number);
                if before > 0 && number < runs[before - 1].1 {
                    known.insert(id.clone(), number);
                }
            }
        }
        Ok(known)
    }

    fn block(&mut self, block: u32) -> Result<&mut (Columns, Vec<Vec<u8>>), ReadError> {
        if !self.columns.contains_key(&block) {
            let columns = self.shelf().columns(block)?;
            let names = self.shelf().names(block, &columns, &self.tables.stored)?;
            self.columns.insert(block, (columns, names));
        }
        Ok(self.columns.entry(block).or_default())
    }

    /// Whether an item is in the index as it is now.
    fn stands(&mut self, number: u32, item: &Item) -> Result<bool, ReadError> {
        if let Some(old) = self.tail.items.iter().find(|old| old.number == number) {
            return Ok(old.text == item.text
                && old.time_ms == clamp_ms(item.time_ms)
                && old.actor == item.author.as_bytes());
        }
        let actor = self.tables.actors.get(item.author.as_bytes().as_slice()).copied();
        let (columns, _) = self.block(number / BLOCK_NUMBERS)?;
        let column = columns.iter().find(|(offset, _)| *offset == number % BLOCK_NUMBERS);
        let same =
            column.is_some_and(|(_, column)| column.time_ms == clamp_ms(item.time_ms) && Some(column.actor) == actor);
        let texts = self.shelf().texts(number)?.unwrap_or_default().1;
        Ok(same && texts.iter().any(|(at, text)| *at == number && *text == item.text))
    }

    fn add(&mut self, place: Place, item: Item) -> Result<(), ReadError> {
        if item.text.trim().is_empty() {
            return Ok(());
        }
        let number = self.tail.next_item;
        // Four thousand million messages and edits in one circle: then nothing new is found any more.
        let Some(next) = number.checked_add(1) else { return Ok(()) };
        self.tail.next_item = next;
        if self.document(&place)?.is_none() {
            self.documents.insert(place, Some(SearchDocument::default()));
        }
        if let Some(document) = self.document(&place)? {
            document.newest_ms = document.newest_ms.max(item.time_ms);
            extend_runs(&mut document.runs, number);
        }
        self.tail.items.push(SearchTailItem {
            number,
            document: place_bytes(&place),
            time_ms: clamp_ms(item.time_ms),
            actor: item.author.as_bytes().to_vec(),
            id: item.id,
            text: item.text,
        });
        let bytes: usize = self.tail.items.iter().map(|item| item.text.len()).sum();
        if self.tail.items.len() >= TAIL_MAX.0 || bytes >= TAIL_MAX.1 { self.flush() } else { Ok(()) }
    }

    /// Moves the tail into a block of texts, columns, and the segment that is being built.
    fn flush(&mut self) -> Result<(), ReadError> {
        let (mut texts, tail) = (Vec::new(), std::mem::take(&mut self.tail.items));
        let last = tail.last().map_or(0, |item| item.number);
        for item in tail {
            let place = place_of(&item.document).ok_or(ReadError::Damaged)?;
            let words = words(&item.text);
            let column = Column {
                time_ms: item.time_ms,
                actor: self.tables.actor(&item.actor),
                document: self.tables.document(&place),
                words: words.len() as u32,
            };
            let block = item.number / BLOCK_NUMBERS;
            let (columns, names) = self.block(block)?;
            columns.push((item.number % BLOCK_NUMBERS, column));
            names.push(item.id);
            self.changed_columns.insert(block);
            let newest_s = &mut self.manifest.newest_s;
            newest_s.resize(newest_s.len().max(block as usize + 1), 0);
            newest_s[block as usize] = newest_s[block as usize].max(item.time_ms.div_ceil(1_000));
            self.manifest.items += 1;
            self.manifest.words += words.len() as u64;
            self.building.add(item.number, terms(&words));
            texts.push((item.number, item.text));
        }
        self.pen.put(shelf::texts_key(self.circle, last), shelf::write_texts(&texts));
        Ok(())
    }

    /// Takes items of a document out of everything.
    fn take_out(&mut self, place: &Place, mut gone: BTreeSet<u32>) -> Result<(), ReadError> {
        if let Some(document) = self.document(place)? {
            gone.iter().for_each(|number| cut_runs(&mut document.runs, *number));
        }
        self.tail.items.retain(|item| !gone.remove(&item.number));
        let mut of_segments: BTreeMap<u32, Gone> = BTreeMap::new();
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        let merging = self.manifest.merge.as_ref().and_then(|merge| merge.output);
        let segments: Vec<SearchSegment> = self.manifest.segments.iter().cloned().chain(merging).collect();
        while let Some(number) = gone.first().copied() {
            let (last, mut texts) = self.shelf().texts(number)?.ok_or(ReadError::Damaged)?;
            let here: BTreeSet<u32> = texts.iter().map(|(at, _)| *at).filter(|at| gone.contains(at)).collect();
            if !here.contains(&number) {
                return Err(ReadError::Damaged);
            }
            for (number, text) in texts.extract_if(.., |(at, _)| here.contains(at)) {
                let words = words(&text);
                self.forget_column(number)?;
                self.manifest.items = self.manifest.items.saturating_sub(1);
                self.manifest.words = self.manifest.words.saturating_sub(words.len() as u64);
                let terms = terms(&words);
                if self.building.has(number) {
                    self.building.take_out(number, terms);
                    continue;
                }
                for segment in segments.iter().filter(|segment| (segment.first..segment.end).contains(&number)) {
                    *counts.entry(segment.id).or_default() += 1;
                    let gone = of_segments.entry(segment.id).or_default();
                    for term in terms.keys() {
                        gone.entry(term.clone()).or_default().insert(number - segment.first);
                    }
                }
            }
            gone.retain(|number| !here.contains(number));
            let key = shelf::texts_key(self.circle, last);
            if texts.is_empty() { self.pen.remove(key) } else { self.pen.put(key, shelf::write_texts(&texts)) }
        }
        for segment in &segments {
            let Some(gone) = of_segments.get(&segment.id) else { continue };
            segment::take_out(self.circle, segment, gone, &mut self.pen)?;
            let count = counts.get(&segment.id).copied().unwrap_or_default();
            if let Some(own) = self.manifest.segments.iter_mut().find(|own| own.id == segment.id) {
                own.items = own.items.saturating_sub(count);
            }
        }
        self.drop_empty()
    }

    /// Drops segments without items, but for those that are being merged.
    fn drop_empty(&mut self) -> Result<(), ReadError> {
        let inputs = self.manifest.merge.as_ref().map_or_else(Vec::new, |merge| merge.inputs.clone());
        let is_empty = |segment: &SearchSegment| segment.items == 0 && !inputs.contains(&segment.id);
        let empty: Vec<u32> = self.manifest.segments.iter().filter(|s| is_empty(s)).map(|s| s.id).collect();
        self.manifest.segments.retain(|segment| !empty.contains(&segment.id));
        empty.into_iter().try_for_each(|id| segment::remove(self.circle, id, &mut self.pen))
    }

    fn forget_column(&mut self, number: u32) -> Result<(), ReadError> {
        let block = number / BLOCK_NUMBERS;
        let (columns, names) = self.block(block)?;
        if let Some(at) = columns.iter().position(|(offset, _)| *offset == number % BLOCK_NUMBERS) {
            columns.remove(at);
            names.remove(at);
        }
        self.changed_columns.insert(block);
        Ok(())
    }
}

/// Adds a number that is behind all others.
fn extend_runs(runs: &mut Vec<u32>, number: u32) {
    match runs.as_mut_slice() {
        [.., first, count] if *first + *count == number => *count += 1,
        _ => runs.extend([number, 1]),
    }
}

fn cut_runs(runs: &mut Vec<u32>, number: u32) {
    let cut = |run: &[u32]| {
        let (first, end) = (run[0], run[0] + run[1]);
        let before = (first, number.clamp(first, end) - first);
        let after = (number.saturating_add(1).clamp(first, end), end - number.saturating_add(1).clamp(first, end));
        [before, after].into_iter().filter(|(_, count)| *count > 0).flat_map(|(first, count)| [first, count])
    };
    *runs = runs.chunks_exact(2).flat_map(cut).collect();
}

impl Item {
    /// Whether its id begins with its time and ends with its author, as ids of messages do.
    fn is_message(&self) -> bool {
        self.id.len() == 12 + Actor::BYTES
            && self.id.starts_with(&clamp_ms(self.time_ms).to_be_bytes()[2..])
            && self.id.ends_with(self.author.as_bytes())
    }
}
