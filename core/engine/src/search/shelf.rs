//! Where the index of a circle stands in the store.

use std::collections::BTreeMap;

use clave_crdt::DocumentKind;
use prost::Message;

use crate::desk::View;
use crate::proto::local::{SearchDirectory, SearchDocument, SearchManifest, SearchTables, SearchTail, SearchTexts};
use crate::{CircleId, DocumentId, Key, Keyspace, ReadError};

use super::columns::{self, Columns};

/// A document, as the index names it.
pub(crate) type Place = (DocumentId, DocumentKind);

/// Texts by the numbers of their items, in order.
pub(super) type Texts = Vec<(u32, String)>;

/// A block of texts as it is stored, by the last number in it; none if it is to be removed.
type Stored = (u32, Option<Vec<u8>>);

/// Reads a circle's records.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    circle: CircleId,
    view: &'a View,
    /// What is to be written, and is read as if it were.
    staged: Option<&'a Staged>,
}

/// Writes that nobody has seen yet: a value puts, none removes.
pub(crate) type Staged = BTreeMap<Key, Option<Vec<u8>>>;

fn scope(circle: CircleId, what: u8, of: &[u8]) -> Vec<u8> {
    [circle.as_bytes().as_slice(), &[what], of].concat()
}

fn key(circle: CircleId, what: u8, suffix: impl AsRef<[u8]>) -> Key {
    Key::new(Keyspace::Search, scope(circle, what, &[]), suffix)
}

pub(super) fn manifest_key(circle: CircleId) -> Key {
    key(circle, b'm', [])
}

pub(super) fn tables_key(circle: CircleId) -> Key {
    key(circle, b'a', [])
}

pub(super) fn columns_key(circle: CircleId, block: u32) -> Key {
    key(circle, b'c', block.to_be_bytes())
}

pub(super) fn names_key(circle: CircleId, block: u32) -> Key {
    key(circle, b'n', block.to_be_bytes())
}

pub(super) fn document_key(circle: CircleId, place: &Place) -> Key {
    key(circle, b'd', place_bytes(place))
}

pub(super) fn directory_key(circle: CircleId, segment: u32) -> Key {
    key(circle, b'i', segment.to_be_bytes())
}

pub(super) fn block_key(circle: CircleId, segment: u32, block: u32) -> Key {
    Key::new(Keyspace::Search, scope(circle, b's', &segment.to_be_bytes()), block.to_be_bytes())
}

pub(super) fn tail_key(circle: CircleId) -> Key {
    Key::new(Keyspace::SearchTexts, scope(circle, b't', &[]), [])
}

pub(super) fn texts_key(circle: CircleId, last: u32) -> Key {
    Key::new(Keyspace::SearchTexts, scope(circle, b'x', &[]), last.to_be_bytes())
}

pub(super) fn place_bytes((id, kind): &Place) -> Vec<u8> {
    [id.as_bytes().as_slice(), &[kind.number()]].concat()
}

pub(super) fn place_of(bytes: &[u8]) -> Option<Place> {
    let (id, kind) = bytes.split_at_checked(16)?;
    Some((DocumentId::try_from(id).ok()?, DocumentKind::from_number(*kind.first()?)?))
}

impl<'a> Shelf<'a> {
    pub(super) fn new(circle: CircleId, view: &'a View) -> Self {
        Self { circle, view, staged: None }
    }

    pub(super) fn circle(&self) -> CircleId {
        self.circle
    }

    pub(super) fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        match self.staged.and_then(|staged| staged.get(key)) {
            Some(value) => Ok(value.clone()),
            None => self.view.read(key),
        }
    }

    pub(super) fn message<M: Message + Default>(&self, key: &Key) -> Result<M, ReadError> {
        match self.read(key)? {
            Some(bytes) => M::decode(bytes.as_slice()).map_err(|_| ReadError::Damaged),
            None => Ok(M::default()),
        }
    }

    pub(super) fn manifest(&self) -> Result<SearchManifest, ReadError> {
        self.message(&manifest_key(self.circle))
    }

    pub(super) fn tables(&self) -> Result<SearchTables, ReadError> {
        self.message(&tables_key(self.circle))
    }

    pub(super) fn tail(&self) -> Result<SearchTail, ReadError> {
        self.message(&tail_key(self.circle))
    }

    pub(super) fn document(&self, place: &Place) -> Result<Option<SearchDocument>, ReadError> {
        let bytes = self.read(&document_key(self.circle, place))?;
        bytes.map(|bytes| SearchDocument::decode(bytes.as_slice()).map_err(|_| ReadError::Damaged)).transpose()
    }

    pub(super) fn directory(&self, segment: u32) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(self.message::<SearchDirectory>(&directory_key(self.circle, segment))?.first_terms)
    }

    /// A block of postings; none if nothing is left in it.
    pub(super) fn block(&self, segment: u32, block: u32) -> Result<Option<Vec<u8>>, ReadError> {
        self.read(&block_key(self.circle, segment, block))
    }

    pub(super) fn columns(&self, block: u32) -> Result<Columns, ReadError> {
        match self.read(&columns_key(self.circle, block))? {
            Some(bytes) => columns::decode(&bytes).ok_or(ReadError::Damaged),
            None => Ok(Columns::new()),
        }
    }

    /// The ids of the items of a block of columns.
    pub(super) fn names(
        &self,
        block: u32,
        columns: &Columns,
        tables: &SearchTables,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let bytes = self.read(&names_key(self.circle, block))?.unwrap_or_default();
        let actor = |actor: u32| tables.actors.get(actor as usize).map_or(&[][..], Vec::as_slice);
        let items = columns.iter().map(|(_, column)| (column.time_ms, actor(column.actor)));
        columns::decode_names(&bytes, items).ok_or(ReadError::Damaged)
    }

    /// The block of texts that an item is in, with the last number that it is filed under.
    pub(super) fn texts(&self, number: u32) -> Result<Option<(u32, Texts)>, ReadError> {
        let mut from = number;
        loop {
            let stored = self.next_stored_texts(from)?;
            let (first, last) = (texts_key(self.circle, from), texts_key(self.circle, u32::MAX));
            let staged = self.staged.and_then(|staged| staged.range(first..=last).next());
            let staged = staged.map(|(key, value)| Ok((number_of(&key.suffix)?, value.clone()))).transpose()?;
            let next = match (staged, stored) {
                (Some(staged), Some(stored)) if stored.0 < staged.0 => Some(stored),
                (None, stored) => stored,
                (staged, _) => staged,
            };
            match next {
                None => return Ok(None),
                Some((last, Some(block))) => {
                    return Ok(Some((last, read_texts(&block).ok_or(ReadError::Damaged)?)));
                }
                // It is to be removed.
                Some((last, None)) if last < u32::MAX => from = last + 1,
                Some(_) => return Ok(None),
            }
        }
    }

    fn next_stored_texts(&self, from: u32) -> Result<Option<Stored>, ReadError> {
        let (scope, mut from) = (scope(self.circle, b'x', &[]), Some(from.to_be_bytes().to_vec()));
        while let Some(start) = from {
            let (mut records, next) = self.view.page(Keyspace::SearchTexts, &scope, &start, 1)?;
            if let Some((suffix, value)) = records.pop_first() {
                return Ok(Some((number_of(&suffix)?, Some(value))));
            }
            from = next;
        }
        Ok(None)
    }
}

fn number_of(suffix: &[u8]) -> Result<u32, ReadError> {
    Ok(u32::from_be_bytes(suffix.try_into().map_err(|_| ReadError::Damaged)?))
}

/// Whether any document was taken into the index.
pub(crate) fn has_documents(circle: CircleId, view: &View) -> Result<bool, ReadError> {
    view.has_any(Keyspace::Search, &scope(circle, b'd', &[]))
}

/// Removes all of a circle's index, whatever state it is in.
pub(crate) fn clear(circle: CircleId, view: &View) -> Result<Staged, ReadError> {
    let mut staged = Staged::new();
    let segments = view.suffixes(Keyspace::Search, &scope(circle, b'i', &[]))?;
    let blocks = segments.iter().map(|segment| (Keyspace::Search, scope(circle, b's', segment)));
    let rest = b"macndi".iter().map(|what| (Keyspace::Search, scope(circle, *what, &[])));
    let texts = b"tx".iter().map(|what| (Keyspace::SearchTexts, scope(circle, *what, &[])));
    for (keyspace, scope) in blocks.chain(rest).chain(texts) {
        for suffix in view.suffixes(keyspace, &scope)? {
            staged.insert(Key::new(keyspace, &scope, suffix), None);
        }
    }
    Ok(staged)
}

/// As many texts as a block may have when it is read, in bytes: more than any document has.
const TEXTS_BYTES_MAX: u64 = 1 << 30;

pub(super) fn write_texts(texts: &[(u32, String)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    for (_, text) in texts {
        deflated.write_all(text.as_bytes()).expect("a vector takes everything");
    }
    let mut before = 0;
    let mut step = |number: u32| number - std::mem::replace(&mut before, number);
    SearchTexts {
        numbers: texts.iter().map(|(number, _)| step(*number)).collect(),
        lengths: texts.iter().map(|(_, text)| text.len() as u32).collect(),
        texts: deflated.finish().expect("a vector takes everything"),
    }
    .encode_to_vec()
}

fn read_texts(bytes: &[u8]) -> Option<Vec<(u32, String)>> {
    use std::io::Read as _;
    let block = SearchTexts::decode(bytes).ok()?;
    let total: u64 = block.lengths.iter().map(|length| u64::from(*length)).sum();
    let mut all = Vec::new();
    let deflated = flate2::read::DeflateDecoder::new(block.texts.as_slice());
    deflated.take(total.min(TEXTS_BYTES_MAX)).read_to_end(&mut all).ok()?;
    let (mut rest, mut number) = (all.as_slice(), 0u32);
    let mut text = |(step, length): (u32, u32)| {
        let (text, behind) = rest.split_at_checked(length as usize)?;
        (rest, number) = (behind, number.checked_add(step)?);
        Some((number, String::from_utf8(text.to_vec()).ok()?))
    };
    block.numbers.into_iter().zip(block.lengths).map(&mut text).collect()
}

/// Gathers what is to be written, to be handed out as a whole or not at all.
pub(super) struct Pen<'a> {
    view: &'a View,
    staged: Staged,
}

impl<'a> Pen<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        Self { view, staged: Staged::new() }
    }

    pub(super) fn shelf(&self, circle: CircleId) -> Shelf<'_> {
        Shelf { circle, view: self.view, staged: Some(&self.staged) }
    }

    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.staged.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.staged.insert(key, None);
    }

    /// The same for what may not be there.
    pub(super) fn remove_if_there(&mut self, key: Key) -> Result<(), ReadError> {
        if self.view.read(&key)?.is_some() {
            self.remove(key);
        } else {
            self.staged.remove(&key);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Staged {
        self.staged
    }
}
