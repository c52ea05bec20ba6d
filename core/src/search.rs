//! Searching what is written in a space.

use std::collections::BTreeSet;
use std::ops::Range;

use clave_engine::crdt::{Actor, DocumentKind, MessageId};
use clave_engine::crypto::PersonId;
use clave_engine::{CircleId, DocumentId, Engine, EngineError, SearchCursor, SearchQuery};

use crate::node::now_ms;
use crate::timeline::{Author, People};
use crate::{Error, Space};

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Words, all of which have to be there. In quotation marks, or without spaces between them, they have to stand together.
    pub text: String,
    /// Whether the last word may be the beginning of one, as while somebody is typing.
    pub typing: bool,
    /// By this person only.
    pub person: Option<PersonId>,
    /// In these documents only; in all, if none is named.
    pub documents: BTreeSet<DocumentId>,
    /// In these kinds of documents only; in all, if none is named.
    pub kinds: BTreeSet<DocumentKind>,
    /// Not before, in Unix milliseconds.
    pub from_ms: Option<u64>,
    /// Before, in Unix milliseconds.
    pub until_ms: Option<u64>,
    /// How many results at most.
    pub count: usize,
    /// For the page behind another: what that ended with. Everything else has to be as it was.
    pub after: Option<SearchCursor>,
}

impl Search {
    /// Twenty results, of whatever kind and time.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            typing: false,
            person: None,
            documents: BTreeSet::new(),
            kinds: BTreeSet::new(),
            from_ms: None,
            until_ms: None,
            count: 20,
            after: None,
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The circle it is in.
    pub circle: CircleId,
    /// The document it is in.
    pub document: DocumentId,
    /// What kind of document that is: messages are in timelines, events in calendars, files in drives.
    pub kind: DocumentKind,
    /// Its name in the document: of a message, the bytes of its id; of a file, those of its node's; of an event, its UID, a zero
    /// byte, and which occurrence it is.
    pub id: Vec<u8>,
    /// Who wrote it, if that is one person.
    pub author: Option<Author>,
    /// When, in Unix milliseconds; of an event, when it first begins.
    pub time_ms: u64,
    /// The text, or what stands around the first place where it fits.
    pub snippet: String,
    /// Where in the snippet the words are, in bytes; in order, apart.
    pub matches: Vec<Range<usize>>,
    /// Whether there is more text before the snippet, and behind it.
    pub cut: (bool, bool),
}

impl Found {
    /// The message, if it is one.
    #[must_use]
    pub fn message(&self) -> Option<MessageId> {
        let bytes = self.id.as_slice().try_into().ok()?;
        (self.kind == DocumentKind::Timeline).then(|| MessageId::from_bytes(bytes))
    }

    /// Its name in words, as a list shows it: of a message its id, of an event its UID, of a file the id of its node.
    #[must_use]
    pub fn name(&self) -> String {
        match self.message() {
            Some(message) => message.to_string(),
            None if self.kind == DocumentKind::Calendar => {
                let uid = self.id.split(|byte| *byte == 0).next().unwrap_or_default();
                String::from_utf8_lossy(uid).into_owned()
            }
            None => match self.id.as_slice().try_into() {
                Ok(node) => clave_engine::crdt::NodeId::from_bytes(node).to_string(),
                Err(_) => self.document.to_string(),
            },
        }
    }
}

/// Some of what was found, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchResults {
    /// At most as many as were asked for.
    pub found: Vec<Found>,
    /// For the next page, unless this was the last. It can be asked for although this one is not full.
    pub next: Option<SearchCursor>,
}

impl Space {
    /// Searches in all circles of the space that this device is in or was in, after reading what changed and was not read yet.
    /// That takes a while after a long absence: to show how far it is, call [`index_next`](Self::index_next) until it is done.
    ///
    /// # Errors
    /// If there is nothing to search for, or the store cannot be read or written.
    pub async fn search(&self, search: &Search) -> Result<SearchResults, Error> {
        let circles = self.search_circles().await?;
        while self.index_next(&circles).await? > 0 {}
        match self.search_in(&circles, search).await {
            Err(Error::Engine(EngineError::SearchIndexDamaged)) => {
                while self.index_next(&circles).await? > 0 {}
                self.search_in(&circles, search).await
            }
            found => found,
        }
    }

    /// Everybody, and the circles of this space that this device is in or was in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn search_circles(&self) -> Result<Vec<CircleId>, Error> {
        let circles = self.circles().await?.into_iter().map(|circle| circle.id);
        Ok(std::iter::once(self.id()).chain(circles).collect())
    }

    /// Reads one document that changed since it was last read, or does some other bounded work of some milliseconds. How many such
    /// documents are left; at 0 all that is here can be found. It comes to that by itself too, when nothing came for a second.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn index_next(&self, circles: &[CircleId]) -> Result<usize, Error> {
        let circles: BTreeSet<CircleId> = circles.iter().copied().collect();
        self.node().command(move |engine, now| engine.index_next(&circles, now)).await
    }

    /// Searches in circles, as far as they were read. Loads no document.
    ///
    /// # Errors
    /// If there is nothing to search for, this device is not in one of the circles, or the store cannot be read.
    pub async fn search_in(&self, circles: &[CircleId], search: &Search) -> Result<SearchResults, Error> {
        let (circles, search) = (circles.to_vec(), search.clone());
        self.node().read(move |engine| run(engine, &circles, search)).await
    }
}

fn run(engine: &mut Engine, circles: &[CircleId], search: Search) -> Result<SearchResults, EngineError> {
    let devices = match search.person {
        None => None,
        Some(person) => {
            let of = |circle: &CircleId| engine.devices_of(*circle, person);
            let all = circles.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            Some(all.into_iter().flatten().collect())
        }
    };
    let query = SearchQuery {
        typing: search.typing,
        documents: search.documents,
        kinds: search.kinds,
        devices,
        from_ms: search.from_ms,
        until_ms: search.until_ms,
        count: search.count,
        after: search.after,
        ..SearchQuery::new(search.text, circles.iter().copied())
    };
    let page = engine.search(&query, now_ms())?;
    let mut found = Vec::with_capacity(page.hits.len());
    let mut people = std::collections::BTreeMap::new();
    for hit in page.hits {
        if let std::collections::btree_map::Entry::Vacant(entry) = people.entry(hit.circle) {
            entry.insert(People::of(engine, hit.circle)?);
        }
        let author = (hit.author != Actor::GENESIS).then(|| people[&hit.circle].author(&hit.author));
        found.push(Found {
            circle: hit.circle,
            document: hit.document,
            kind: hit.kind,
            id: hit.id,
            author,
            time_ms: hit.time_ms,
            snippet: hit.snippet,
            matches: hit.matches,
            cut: hit.cut,
        });
    }
    Ok(SearchResults { found, next: page.next })
}
