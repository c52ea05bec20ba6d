//! Where the index of a circle stands in the store.

use clave_crdt::DocumentKind;
use prost::Message;

use crate::desk::View;
use crate::proto::local::{SearchDirectory, SearchDocument, SearchManifest, SearchTables, SearchTail, SearchTexts};
use crate::{Batch, CircleId, DocumentId, Key, Keyspace, ReadError};

use super::columns::{self, Columns};

/// A document, as the index names it.
pub(super) type Place = (DocumentId, DocumentKind);

/// Reads a circle's records.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) circle: CircleId,
    pub(super) view: &'a View,
}

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

/// A document that changed since it was last read.
pub(super) fn dirty_key(circle: CircleId, place: &Place) -> Key {
    key(circle, b'q', place_bytes(place))
}

pub(super) fn place_bytes((id, kind): &Place) -> Vec<u8> {
    [id.as_bytes().as_slice(), &[kind.number()]].concat()
}

pub(super) fn place_of(bytes: &[u8]) -> Option<Place> {
    let (id, kind) = bytes.split_at_checked(16)?;
    Some((DocumentId::try_from(id).ok()?, DocumentKind::from_number(*kind.first()?)?))
}

impl Shelf<'_> {
    pub(super) fn message<M: Message + Default>(&self, key: &Key) -> Result<M, ReadError> {
        match self.view.read(key)? {
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
        let bytes = self.view.read(&document_key(self.circle, place))?;
        bytes.map(|bytes| SearchDocument::decode(bytes.as_slice()).map_err(|_| ReadError::Damaged)).transpose()
    }

    pub(super) fn directory(&self, segment: u32) -> Result<Vec<Vec<u8>>, ReadError> {
        Ok(self.message::<SearchDirectory>(&directory_key(self.circle, segment))?.first_terms)
    }

    /// A block of postings; none if nothing is left in it.
    pub(super) fn block(&self, segment: u32, block: u32) -> Result<Option<Vec<u8>>, ReadError> {
        self.view.read(&block_key(self.circle, segment, block))
    }

    pub(super) fn columns(&self, block: u32) -> Result<Columns, ReadError> {
        match self.view.read(&columns_key(self.circle, block))? {
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
        let bytes = self.view.read(&names_key(self.circle, block))?.unwrap_or_default();
        let actor = |actor: u32| tables.actors.get(actor as usize).map_or(&[][..], Vec::as_slice);
        let items = columns.iter().map(|(_, column)| (column.time_ms, actor(column.actor)));
        columns::decode_names(&bytes, items).ok_or(ReadError::Damaged)
    }

    /// The block of texts that an item is in, with the last number that it is filed under.
    pub(super) fn texts(&self, number: u32) -> Result<Option<(u32, Vec<(u32, String)>)>, ReadError> {
        let (scope, mut from) = (scope(self.circle, b'x', &[]), Some(number.to_be_bytes().to_vec()));
        while let Some(start) = from {
            let (records, next) = self.view.page(Keyspace::SearchTexts, &scope, &start, 1)?;
            if let Some((suffix, value)) = records.first_key_value() {
                let last = u32::from_be_bytes(suffix.as_slice().try_into().map_err(|_| ReadError::Damaged)?);
                return Ok(Some((last, read_texts(value).ok_or(ReadError::Damaged)?)));
            }
            from = next;
        }
        Ok(None)
    }
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

/// Writes a circle's records, into the batch that everything else of this input goes into.
pub(crate) struct Pen<'a> {
    pub(crate) view: &'a mut View,
    pub(crate) batch: &'a mut Batch,
}

impl Pen<'_> {
    pub(super) fn put(&mut self, key: Key, value: Vec<u8>) {
        self.view.overlay(key.clone(), Some(value.clone()));
        self.batch.put(key, value);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.view.overlay(key.clone(), None);
        self.batch.remove(key);
    }
}
