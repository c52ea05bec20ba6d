//! Searching what is written in a space.

use std::sync::Arc;

use crate::convert::{count, parse_all, parse_if, size};
use crate::{Author, ClaveError, Space};

/// What kind of document something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum DocumentKind {
    /// A chat.
    Timeline,
    /// A note.
    Note,
    /// A calendar.
    Calendar,
    /// Files.
    Drive,
    /// A kind that this version does not know.
    Unknown,
}

/// What to search for.
#[derive(Clone, uniffi::Record)]
pub struct Search {
    /// Words, all of which have to be there. In quotation marks, or without spaces between them, they have to stand together.
    pub text: String,
    /// Whether the last word may be the beginning of one, as while somebody is typing.
    #[uniffi(default = false)]
    pub typing: bool,
    /// By the person of this id only.
    #[uniffi(default = None)]
    pub person: Option<String>,
    /// In the documents of these ids only; in all, if none is named.
    #[uniffi(default = [])]
    pub documents: Vec<String>,
    /// In these kinds of documents only; in all, if none is named.
    #[uniffi(default = [])]
    pub kinds: Vec<DocumentKind>,
    /// Not before, in Unix milliseconds.
    #[uniffi(default = None)]
    pub from_ms: Option<u64>,
    /// Before, in Unix milliseconds.
    #[uniffi(default = None)]
    pub until_ms: Option<u64>,
    /// How many results at most.
    #[uniffi(default = 20)]
    pub count: u32,
    /// For the page behind another: what that ended with. Everything else has to be as it was.
    #[uniffi(default = None)]
    pub after: Option<Arc<SearchCursor>>,
}

/// Where the next page begins.
#[derive(uniffi::Object)]
pub struct SearchCursor(clave::SearchCursor);

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Found {
    /// The id of the circle it is in.
    pub circle: String,
    /// The id of the document it is in: of a note, its id.
    pub document: String,
    /// What kind of document that is.
    pub kind: DocumentKind,
    /// What it is in the document: of a message its id, of an event its UID, of a file its id.
    pub id: String,
    /// Who wrote it, if that is one person.
    pub author: Option<Author>,
    /// When, in Unix milliseconds; of an event, when it first begins.
    pub time_ms: u64,
    /// The text, or what stands around the first place where it fits.
    pub snippet: String,
    /// Where in the snippet the words are, in Unicode code points; in order, apart.
    pub matches: Vec<Match>,
    /// Whether there is more text before the snippet.
    pub cut_before: bool,
    /// Whether there is more text behind it.
    pub cut_behind: bool,
}

/// Where a word is, in Unicode code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Match {
    /// The first.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
}

/// Some of what was found, best first.
#[derive(Clone, uniffi::Record)]
pub struct SearchResults {
    /// At most as many as were asked for.
    pub found: Vec<Found>,
    /// For the next page, unless this was the last.
    pub next: Option<Arc<SearchCursor>>,
}

#[uniffi::export]
impl Space {
    /// Searches in all circles of the space that this device is in or was in, after reading what changed and was not read
    /// yet. That takes a while after a long absence.
    ///
    /// # Errors
    /// If there is nothing to search for, or the store cannot be read or written.
    pub async fn search(&self, search: Search) -> Result<SearchResults, ClaveError> {
        let (space, search) = (self.space.clone(), search.known()?);
        let results = self.session.run(async move { space.search(&search).await }).await?;
        Ok(SearchResults {
            found: results.found.into_iter().map(Found::from).collect(),
            next: results.next.map(|next| Arc::new(SearchCursor(next))),
        })
    }
}

impl Search {
    fn known(self) -> Result<clave::Search, ClaveError> {
        Ok(clave::Search {
            typing: self.typing,
            person: parse_if(self.person.as_ref(), "person")?,
            documents: parse_all(&self.documents, "document")?.into_iter().collect(),
            kinds: self.kinds.into_iter().map(DocumentKind::known).collect::<Result<_, _>>()?,
            from_ms: self.from_ms,
            until_ms: self.until_ms,
            count: size(self.count),
            after: self.after.map(|after| after.0.clone()),
            ..clave::Search::new(self.text)
        })
    }
}

impl DocumentKind {
    pub(crate) fn known(self) -> Result<clave::DocumentKind, ClaveError> {
        Ok(match self {
            Self::Timeline => clave::DocumentKind::Timeline,
            Self::Note => clave::DocumentKind::Note,
            Self::Calendar => clave::DocumentKind::Calendar,
            Self::Drive => clave::DocumentKind::Drive,
            Self::Unknown => return Err(ClaveError::not_an_id("kind of document")),
        })
    }
}

impl From<clave::DocumentKind> for DocumentKind {
    fn from(kind: clave::DocumentKind) -> Self {
        match kind {
            clave::DocumentKind::Timeline => Self::Timeline,
            clave::DocumentKind::Note => Self::Note,
            clave::DocumentKind::Calendar => Self::Calendar,
            clave::DocumentKind::Drive => Self::Drive,
            _ => Self::Unknown,
        }
    }
}

impl From<clave::Found> for Found {
    fn from(found: clave::Found) -> Self {
        let points = |bytes: usize| count(found.snippet[..bytes].chars().count());
        let matches = found.matches.iter().map(|range| Match { start: points(range.start), end: points(range.end) });
        Self {
            matches: matches.collect(),
            circle: found.circle.to_string(),
            document: found.document.to_string(),
            kind: found.kind.into(),
            id: found.name(),
            author: found.author.map(Author::from),
            time_ms: found.time_ms,
            snippet: found.snippet,
            cut_before: found.cut.0,
            cut_behind: found.cut.1,
        }
    }
}
