//! Full-text search over what the documents of circles say.
//!
//! This room owns an index for each circle: which texts have which words, and what is told of a text (document, author, time).
//! It does not know what a document is: it is told the items of one, each a text under a name, and what changed of them.
//! It is pure, as all of the engine is: it reads through a [`View`](crate::desk::View) and hands out what is to be written, which goes
//! into one batch with the mark that a document was read: a crash leaves both or neither.
//!
//! - `words.rs` cuts texts into words and says under which terms they are found.
//! - `update.rs` takes in changes. New items wait in a *tail*, one record; a full tail becomes a block of texts, a part of
//!   a block of columns, and postings of a *segment*. Taking an item out rewrites the blocks that name it: nothing of it stays.
//! - `segment.rs`, `postings.rs`, `merge.rs`: segments, and how small ones become large ones step by step.
//! - `query.rs` finds, `rank.rs` orders, `snippet.rs` shows.
//!
//! Terms stand in sealed values only: keys have numbers and document ids. `docs/storage-format.md` says which.

use std::collections::BTreeSet;

use clave_crdt::{Actor, DocumentKind};

use crate::{CircleId, DocumentId};

mod bits;
mod columns;
mod merge;
mod postings;
mod query;
mod rank;
mod segment;
mod shelf;
mod snippet;
#[cfg(test)]
mod tests;
mod update;
mod words;

pub(crate) use query::run;
pub(crate) use shelf::{clear, has_documents};
#[cfg(test)]
pub(crate) use tests::golden_records;
pub(crate) use update::Index;

/// A text that can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its name in its document.
    pub(crate) id: Vec<u8>,
    /// Who wrote it; [`Actor::GENESIS`] if that is not one person.
    pub(crate) author: Actor,
    /// When, in Unix milliseconds.
    pub(crate) time_ms: u64,
    /// What it says.
    pub(crate) text: String,
}

/// What happened to an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new, or another than it was.
    Put(Item),
    /// It is gone.
    Remove(Vec<u8>),
}

impl Change {
    fn id(&self) -> &[u8] {
        match self {
            Self::Put(item) => &item.id,
            Self::Remove(id) => id,
        }
    }
}

/// The longest text that is searched for, in bytes.
pub const SEARCH_TEXT_BYTES_MAX: usize = 1_024;
/// The most words that are searched for; each character of a script without spaces is one.
pub const SEARCH_WORDS_MAX: usize = 64;
/// The most results of one page.
pub const SEARCH_PAGE_MAX: usize = 1_000;

/// What is searched for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// Words, all of which have to be there, in any order. Words in quotation marks, and those that no space sets apart, have to
    /// stand together in this order: so "发布会" is found where it stands, and not where its characters do.
    pub text: String,
    /// Whether the last word may be the beginning of one, as while somebody is typing; unless a space follows it.
    pub typing: bool,
    /// In these circles only.
    pub circles: BTreeSet<CircleId>,
    /// In these documents only; in all, if none is named.
    pub documents: BTreeSet<DocumentId>,
    /// In these kinds of documents only; in all, if none is named. Messages are in timelines, events in calendars, files in drives.
    pub kinds: BTreeSet<DocumentKind>,
    /// By these devices only (the first bytes of their ids); by anybody, if there is none.
    pub devices: Option<BTreeSet<[u8; 16]>>,
    /// Not before, in Unix milliseconds.
    pub from_ms: Option<u64>,
    /// Before, in Unix milliseconds.
    pub until_ms: Option<u64>,
    /// How many results at most, up to [`SEARCH_PAGE_MAX`].
    pub count: usize,
    /// What the page before this one ended with. Everything else has to be as it was for that.
    pub after: Option<SearchCursor>,
}

impl SearchQuery {
    /// Twenty results from everywhere in some circles.
    #[must_use]
    pub fn new(text: impl Into<String>, circles: impl IntoIterator<Item = CircleId>) -> Self {
        Self {
            text: text.into(),
            typing: false,
            circles: circles.into_iter().collect(),
            documents: BTreeSet::new(),
            kinds: BTreeSet::new(),
            devices: None,
            from_ms: None,
            until_ms: None,
            count: 20,
            after: None,
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// The circle it is in.
    pub circle: CircleId,
    /// The document it is in.
    pub document: DocumentId,
    /// What kind of document that is.
    pub kind: DocumentKind,
    /// Its name in the document: of a message, its id.
    pub id: Vec<u8>,
    /// Who wrote it; [`Actor::GENESIS`] if that is not one person.
    pub author: Actor,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// How well it fits, above 0; comes first what has more.
    pub score: f64,
    /// The text, or what stands around the first place where it fits.
    pub snippet: String,
    /// Where in the snippet the words are, in bytes; in order, apart.
    pub matches: Vec<std::ops::Range<usize>>,
    /// Whether there is more text before the snippet, and behind it.
    pub cut: (bool, bool),
}

/// Some of what was found, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPage {
    /// At most as many as were asked for; it can be fewer although there are more, where many texts had all the words, but not
    /// together.
    pub hits: Vec<SearchHit>,
    /// For the next page, unless this was the last.
    pub next: Option<SearchCursor>,
}

/// Where a page ended. What is found later and what changes meanwhile does not show in the pages that follow, and nothing comes
/// twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchCursor {
    stats: rank::Stats,
    last: rank::Rank,
}

/// Words that cannot be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There is no word in it.
    #[error("there is nothing to search for; give a word, a number or an emoji")]
    NoWords,
    /// It is too long.
    #[error("that is too long to search for; give fewer words")]
    TooLong,
}
