//! Finding.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;

use clave_crdt::Actor;

use super::columns::{BLOCK_NUMBERS, Column, Columns};
use super::rank::{Rank, Scorer, Stats};
use super::segment::Lookup;
use super::shelf::{Place, Shelf, place_of};
use super::snippet::snippet;
use super::words::{Word, term, terms, words};
use super::{
    SEARCH_PAGE_MAX, SEARCH_TEXT_BYTES_MAX, SEARCH_WORDS_MAX, SearchCursor, SearchError, SearchHit, SearchPage,
    SearchQuery,
};
use crate::desk::View;
use crate::proto::local::{SearchManifest, SearchTables, SearchTailItem};
use crate::{CircleId, EngineError, ReadError};

/// How many texts are looked into for one page, where words have to stand together.
const TEXTS_MAX: usize = 512;

/// How many blocks of columns of one circle are kept in memory, each of about 32 kB, while one page is made.
const COLUMN_BLOCKS_MAX: usize = 64;

/// Words that have to stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    words: Vec<Word>,
    /// Whether the last may go on.
    prefix: bool,
}

impl Phrase {
    /// Where it stands in a text, as places of words.
    pub(super) fn places<'a>(&'a self, words: &'a [Word]) -> impl Iterator<Item = Range<usize>> + 'a {
        let last = self.words.len() - 1;
        let is = |own: &Word, other: &Word, prefix: bool| {
            if prefix { other.text.starts_with(&own.text) } else { own.text == other.text }
        };
        let fits = move |window: &[Word]| {
            let mut pairs = self.words.iter().zip(window).enumerate();
            pairs.all(|(place, (own, other))| is(own, other, self.prefix && place == last))
        };
        let windows = words.windows(self.words.len()).enumerate();
        windows.filter(move |(_, window)| fits(window)).map(|(at, _)| at..at + self.words.len())
    }

    fn lookups(&self) -> impl Iterator<Item = Lookup> {
        self.words.iter().enumerate().map(|(place, word)| {
            let next = self.words.get(place + 1);
            match next {
                // What follows is not known, or only how it begins: of a dense script, the first character is all of it.
                None if word.dense => Lookup { term: word.text.clone().into_bytes(), prefix: true },
                _ => Lookup { term: term(word, next), prefix: next.is_none() && self.prefix },
            }
        })
    }
}

/// What a text asks for.
pub(super) fn phrases(text: &str, typing: bool) -> Result<Vec<Phrase>, SearchError> {
    if text.len() > SEARCH_TEXT_BYTES_MAX {
        return Err(SearchError::TooLong);
    }
    let mut phrases: Vec<Phrase> = Vec::new();
    for (place, part) in text.split(['"', '“', '”', '„', '«', '»']).enumerate() {
        let quoted = place % 2 == 1;
        let chunks: Vec<&str> = if quoted { vec![part] } else { part.split_whitespace().collect() };
        let begun = chunks.into_iter().map(words).filter(|words| !words.is_empty());
        phrases.extend(begun.map(|words| Phrase { words, prefix: false }));
    }
    let ends_open = text.chars().next_back().is_some_and(char::is_alphanumeric);
    if let Some(last) = phrases.last_mut() {
        last.prefix = typing && ends_open && last.words.last().is_some_and(|word| !word.dense);
    }
    match phrases.iter().map(|phrase| phrase.words.len()).sum() {
        0 => Err(SearchError::NoWords),
        1..=SEARCH_WORDS_MAX => Ok(phrases),
        _ => Err(SearchError::TooLong),
    }
}

/// What to look up, each once.
pub(super) fn lookups(phrases: &[Phrase]) -> Vec<Lookup> {
    let lookups: BTreeSet<Lookup> = phrases.iter().flat_map(Phrase::lookups).collect();
    lookups.into_iter().collect()
}

/// Answers a query from the indexes of its circles.
pub(crate) fn run(query: &SearchQuery, now_ms: u64, view: &View) -> Result<SearchPage, EngineError> {
    let phrases = phrases(&query.text, query.typing)?;
    let lookups = lookups(&phrases);
    let (mut sources, mut stats) = (Vec::new(), Stats { now_ms, found: vec![0; lookups.len()], ..Stats::default() });
    let until = |circle: &CircleId| {
        let cursor = query.after.as_ref()?;
        Some(cursor.stats.circles.iter().find(|(own, _)| own == circle).map_or(0, |(_, until)| *until))
    };
    let circles: Vec<CircleId> = match &query.after {
        Some(cursor) => cursor.stats.circles.iter().map(|(circle, _)| *circle).collect(),
        None => query.circles.iter().copied().collect(),
    };
    for circle in circles {
        let source = Source::read(Shelf::new(circle, view), &lookups, until(&circle), query, &mut stats)?;
        stats.circles.push((circle, source.until));
        sources.push(source);
    }
    let (stats, after) = match &query.after {
        Some(cursor) => (cursor.stats.clone(), Some(cursor.last)),
        None => (stats, None),
    };
    let mut pages = Pages { scorer: Scorer::new(&stats), sources, phrases, query, texts_left: TEXTS_MAX };
    let (hits, last) = pages.page(after)?;
    Ok(SearchPage { hits, next: last.map(|last| SearchCursor { stats, last }) })
}

/// Items that have all the terms: their numbers, and how often each has each term.
#[derive(Default)]
struct Candidates {
    numbers: Vec<u32>,
    times: Vec<u8>,
}

/// The index of a circle, and what a query found in it.
struct Source<'a> {
    shelf: Shelf<'a>,
    until: u32,
    manifest: SearchManifest,
    tables: SearchTables,
    tail: Vec<SearchTailItem>,
    /// Which actors, and which documents, the query is about.
    wanted: (Vec<bool>, Vec<bool>),
    candidates: Candidates,
    /// The same among the items of the tail, by their places in it.
    in_tail: Vec<(usize, Vec<u8>, Column)>,
    columns: BTreeMap<u32, Columns>,
    names: BTreeMap<u32, Vec<Vec<u8>>>,
    texts: BTreeMap<u32, Vec<(u32, String)>>,
}

impl<'a> Source<'a> {
    fn read(
        shelf: Shelf<'a>,
        lookups: &[Lookup],
        until: Option<u32>,
        query: &SearchQuery,
        stats: &mut Stats,
    ) -> Result<Self, ReadError> {
        let (manifest, tables, tail) = (shelf.manifest()?, shelf.tables()?, shelf.tail()?);
        let wanted = (
            tables.actors.iter().map(|actor| is_wanted_actor(query, actor)).collect(),
            tables.documents.iter().map(|document| is_wanted_document(query, document)).collect(),
        );
        let mut source = Self {
            shelf,
            until: until.unwrap_or(tail.next_item),
            manifest,
            tables,
            tail: tail.items,
            wanted,
            candidates: Candidates::default(),
            in_tail: Vec::new(),
            columns: BTreeMap::new(),
            names: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        stats.items += source.manifest.items + source.tail.len() as u64;
        stats.words += source.manifest.words;
        source.find(lookups, stats)?;
        source.find_in_tail(lookups, query, stats);
        Ok(source)
    }

    fn find(&mut self, lookups: &[Lookup], stats: &mut Stats) -> Result<(), ReadError> {
        for segment in &self.manifest.segments {
            let mut lists = Vec::with_capacity(lookups.len());
            for (lookup, found) in lookups.iter().zip(&mut stats.found) {
                let list = self.shelf.find(segment, lookup)?;
                *found += list.len() as u64;
                lists.push(list);
            }
            let Some(shortest) = lists.iter().min_by_key(|list| list.len()) else { continue };
            let mut at = vec![0; lists.len()];
            'items: for (item, _) in shortest {
                let begun = self.candidates.times.len();
                for (list, at) in lists.iter().zip(&mut at) {
                    *at += gallop(&list[*at..], *item);
                    match list.get(*at) {
                        Some((found, times)) if found == item => self.candidates.times.push(*times as u8),
                        _ => {
                            self.candidates.times.truncate(begun);
                            continue 'items;
                        }
                    }
                }
                self.candidates.numbers.push(segment.first + item);
            }
        }
        Ok(())
    }

    fn find_in_tail(&mut self, lookups: &[Lookup], query: &SearchQuery, stats: &mut Stats) {
        for (place, item) in self.tail.iter().enumerate() {
            let words = words(&item.text);
            stats.words += words.len() as u64;
            let terms = terms(&words);
            let times = |lookup: &Lookup| {
                let met = terms.range(lookup.term.clone()..).take_while(|(term, _)| lookup.is_met_by(term));
                met.map(|(_, times)| *times).sum::<u32>().min(super::postings::TIMES_MAX) as u8
            };
            let times: Vec<u8> = lookups.iter().map(times).collect();
            times.iter().zip(&mut stats.found).for_each(|(times, found)| *found += u64::from(*times > 0));
            let is_wanted = is_wanted_actor(query, &item.actor) && is_wanted_document(query, &item.document);
            if is_wanted && times.iter().all(|times| *times > 0) {
                let column = Column { time_ms: item.time_ms, actor: 0, document: 0, words: words.len() as u32 };
                self.in_tail.push((place, times, column));
            }
        }
    }

    fn columns(&mut self, block: u32) -> Result<&Columns, ReadError> {
        if !self.columns.contains_key(&block) {
            let columns = self.shelf.columns(block)?;
            if self.columns.len() == COLUMN_BLOCKS_MAX {
                self.columns.pop_first();
            }
            self.columns.insert(block, columns);
        }
        Ok(&self.columns[&block])
    }

    /// The text of an item, and what it is.
    fn item(&mut self, number: u32) -> Result<Found, ReadError> {
        if let Some(item) = self.tail.iter().find(|item| item.number == number) {
            let place = place_of(&item.document).ok_or(ReadError::Damaged)?;
            let (id, text) = (item.id.clone(), item.text.clone());
            return Ok(Found { place, id, author: actor_of(&item.actor)?, time_ms: item.time_ms, text });
        }
        let block = number / BLOCK_NUMBERS;
        let columns = self.columns(block)?.clone();
        if !self.names.contains_key(&block) {
            let names = self.shelf.names(block, &columns, &self.tables)?;
            self.names.insert(block, names);
        }
        let at = columns.binary_search_by_key(&(number % BLOCK_NUMBERS), |(offset, _)| *offset);
        let at = at.map_err(|_| ReadError::Damaged)?;
        let column = columns[at].1;
        let document = self.tables.documents.get(column.document as usize).ok_or(ReadError::Damaged)?;
        let place = place_of(document).ok_or(ReadError::Damaged)?;
        let author = actor_of(self.tables.actors.get(column.actor as usize).ok_or(ReadError::Damaged)?)?;
        let id = self.names[&block].get(at).ok_or(ReadError::Damaged)?.clone();
        Ok(Found { place, id, author, time_ms: column.time_ms, text: self.text(number)? })
    }

    fn text(&mut self, number: u32) -> Result<String, ReadError> {
        let of = |texts: &[(u32, String)]| texts.iter().find(|(at, _)| *at == number).map(|(_, text)| text.clone());
        let known = self.texts.range(number..).next().and_then(|(_, texts)| of(texts));
        if let Some(text) = known {
            return Ok(text);
        }
        let (last, texts) = self.shelf.texts(number)?.ok_or(ReadError::Damaged)?;
        let text = of(&texts).ok_or(ReadError::Damaged)?;
        self.texts.insert(last, texts);
        Ok(text)
    }

    /// Ranks what comes behind `after` and puts the best into `best`, the newest blocks first: once enough are found, most of the
    /// old ones cannot come up to them and are not read.
    fn rank(
        &mut self,
        circle: u32,
        scorer: &Scorer,
        query: &SearchQuery,
        after: Option<Rank>,
        best: &mut Best,
    ) -> Result<(), ReadError> {
        let in_time = |time_ms: u64| {
            query.from_ms.is_none_or(|from_ms| time_ms >= from_ms) && query.until_ms.is_none_or(|until| time_ms < until)
        };
        for (place, times, column) in &self.in_tail {
            let number = self.tail[*place].number;
            if number < self.until && in_time(column.time_ms) {
                best.offer(Rank::new(scorer.score(times, column), circle, number), after);
            }
        }
        let candidates = std::mem::take(&mut self.candidates);
        let stride = candidates.times.len() / candidates.numbers.len().max(1);
        let mut end = candidates.numbers.partition_point(|number| *number < self.until);
        while end > 0 {
            let block = candidates.numbers[end - 1] / BLOCK_NUMBERS;
            let start = candidates.numbers[..end].partition_point(|number| *number < block * BLOCK_NUMBERS);
            let newest_s = self.manifest.newest_s.get(block as usize).copied().unwrap_or(u64::MAX);
            let newest_ms = newest_s.saturating_mul(1_000);
            let times = |at: usize| &candidates.times[at * stride..(at + 1) * stride];
            let may_enter =
                |at: usize| best.has_room_for(Rank::new(scorer.bound(times(at), newest_ms), circle, u32::MAX));
            if query.from_ms.is_none_or(|from_ms| newest_ms >= from_ms) && (start..end).any(may_enter) {
                self.columns(block)?;
                let (columns, mut column_at) = (&self.columns[&block], 0);
                for at in start..end {
                    let offset = candidates.numbers[at] % BLOCK_NUMBERS;
                    column_at += columns[column_at..].partition_point(|(own, _)| *own < offset);
                    let Some((_, column)) = columns.get(column_at).filter(|(own, _)| *own == offset) else {
                        return Err(ReadError::Damaged);
                    };
                    let wants = |list: &[bool], at: u32| list.get(at as usize).copied().unwrap_or_default();
                    if wants(&self.wanted.0, column.actor)
                        && wants(&self.wanted.1, column.document)
                        && in_time(column.time_ms)
                    {
                        let score = scorer.score(times(at), column);
                        best.offer(Rank::new(score, circle, candidates.numbers[at]), after);
                    }
                }
            }
            end = start;
        }
        self.candidates = candidates;
        Ok(())
    }
}

struct Found {
    place: Place,
    id: Vec<u8>,
    author: Actor,
    time_ms: u64,
    text: String,
}

fn actor_of(bytes: &[u8]) -> Result<Actor, ReadError> {
    Ok(Actor::from_bytes(bytes.try_into().map_err(|_| ReadError::Damaged)?))
}

fn is_wanted_actor(query: &SearchQuery, actor: &[u8]) -> bool {
    query
        .devices
        .as_ref()
        .is_none_or(|devices| actor.first_chunk().is_some_and(|device: &[u8; 16]| devices.contains(device)))
}

fn is_wanted_document(query: &SearchQuery, document: &[u8]) -> bool {
    place_of(document).is_some_and(|(id, kind)| {
        (query.documents.is_empty() || query.documents.contains(&id))
            && (query.kinds.is_empty() || query.kinds.contains(&kind))
    })
}

/// How many items stand before one, in steps that double: most are near.
fn gallop(list: &[(u32, u32)], item: u32) -> usize {
    let mut step = 1;
    while step < list.len() && list[step].0 < item {
        step *= 2;
    }
    let (from, to) = (step / 2, (step + 1).min(list.len()));
    from + list[from..to].partition_point(|(own, _)| *own < item)
}

/// The best so far, as many as are wanted.
struct Best {
    ranks: BinaryHeap<Reverse<Rank>>,
    count: usize,
}

impl Best {
    fn has_room_for(&self, rank: Rank) -> bool {
        self.ranks.len() < self.count || self.ranks.peek().is_some_and(|Reverse(least)| rank > *least)
    }

    fn offer(&mut self, rank: Rank, after: Option<Rank>) {
        if after.is_none_or(|after| rank < after) && self.has_room_for(rank) {
            self.ranks.push(Reverse(rank));
            if self.ranks.len() > self.count {
                self.ranks.pop();
            }
        }
    }
}

/// What a page is made from.
struct Pages<'a> {
    scorer: Scorer,
    sources: Vec<Source<'a>>,
    phrases: Vec<Phrase>,
    query: &'a SearchQuery,
    texts_left: usize,
}

impl Pages<'_> {
    /// The results behind `after`, and where the next page begins, if there may be one.
    fn page(&mut self, mut after: Option<Rank>) -> Result<(Vec<SearchHit>, Option<Rank>), ReadError> {
        let (mut hits, count) = (Vec::new(), self.query.count.clamp(1, SEARCH_PAGE_MAX));
        loop {
            // Where words have to stand together, some will turn out not to.
            let slack = if self.phrases.iter().any(|phrase| phrase.words.len() > 1) { 3 } else { 1 };
            let wanted = (count - hits.len()) * slack + 1;
            let mut best = Best { ranks: BinaryHeap::new(), count: wanted };
            for (circle, source) in self.sources.iter_mut().enumerate() {
                source.rank(circle as u32, &self.scorer, self.query, after, &mut best)?;
            }
            let ranks = best.ranks.into_sorted_vec();
            let exhausted = ranks.len() < wanted;
            for Reverse(rank) in ranks {
                if hits.len() == count || self.texts_left == 0 && after.is_some() {
                    return Ok((hits, after));
                }
                self.texts_left = self.texts_left.saturating_sub(usize::from(slack > 1));
                hits.extend(self.hit(rank)?);
                after = Some(rank);
            }
            if exhausted {
                return Ok((hits, None));
            }
        }
    }

    /// The result at a rank, if its words stand together as they should.
    fn hit(&mut self, rank: Rank) -> Result<Option<SearchHit>, ReadError> {
        let source = &mut self.sources[rank.circle as usize];
        let found = source.item(rank.number)?;
        let words = words(&found.text);
        let mut matches: Vec<Range<usize>> = Vec::new();
        for phrase in &self.phrases {
            let mut places = phrase.places(&words).peekable();
            if places.peek().is_none() {
                return Ok(None);
            }
            matches.extend(places.map(|place| words[place.start].range.start..words[place.end - 1].range.end));
        }
        matches.sort_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in matches {
            match apart.last_mut().filter(|last| last.end >= range.start) {
                Some(last) => last.end = last.end.max(range.end),
                None => apart.push(range),
            }
        }
        let (snippet, matches, cut) = snippet(&found.text, &apart);
        Ok(Some(SearchHit {
            circle: source.shelf.circle(),
            document: found.place.0,
            kind: found.place.1,
            id: found.id,
            author: found.author,
            time_ms: found.time_ms,
            score: rank.score(),
            snippet,
            matches,
            cut,
        }))
    }
}
