//! Views: what follows from documents and is shown without loading them.
//!
//! Whatever may make a document look different marks it *stale*, in the batch that does so; a later step loads it, derives
//! what follows and writes that in one batch with the removal of the mark. So what is stale is known, after a crash as well, and
//! a document that takes in a thousand changes is derived once. What is derived is a function of the document as it is shown
//! (what is set aside left out), of whose the devices are, and of how far this person has read.
//!
//! The search index follows by the same mark, in the same batch (`searching.rs`).

use clave_crdt::{Actor, ChangeHash, FolderPage, MessageId};
use clave_crypto::{HashContext, PersonId, hash};

use super::documents::{record_key, scope};
use super::*;
use crate::search;

mod chat;
mod reading;

pub(super) use chat::Tally;
pub use chat::{PREVIEW_CHARS_MAX, PreviewMessage};
pub use reading::{Preview, Segment};
pub(crate) use reading::{id_of, read_key};

/// How long nothing has to come before stale documents are derived unasked, in milliseconds.
const FOLLOW_QUIET_MS: u64 = 1_000;
/// How long they are left alone at most, in milliseconds.
const FOLLOW_MS_MAX: u64 = 10_000;
/// After how long one that could not be read is tried again, in milliseconds.
const FOLLOW_RETRY_MS: u64 = 60_000;

pub(super) type Name = (DocumentId, DocumentKind);

/// What follows from a circle's documents.
#[derive(Default)]
pub(super) struct Views {
    of: BTreeMap<Name, local::View>,
    /// The documents from which something else may follow by now; and whether all of it has to be derived anew.
    stale: BTreeMap<Name, bool>,
    /// Since when there are some, and when the next is due, in Unix milliseconds.
    since_ms: Option<u64>,
    due_at_ms: Option<u64>,
    /// Whether the search index has segments to merge, as far as that was looked at since the circle was opened.
    pub(super) merging: bool,
    /// How far this person has read.
    read: Option<MessageId>,
}

/// What of a document is to be derived anew.
pub(crate) enum Touched {
    /// Forget what followed from it: all of it.
    All,
    /// Of a segment of the chat: the messages that were added, changed or withdrawn. One that is not there any more was
    /// there before.
    Messages(Vec<MessageId>),
}

/// The parts of a view, by their names.
type Pages = BTreeMap<Vec<u8>, Vec<u8>>;

/// A document from which something is derived, as it is shown.
pub(crate) struct Followed<'a> {
    pub(crate) name: Name,
    pub(crate) document: &'a mut Document,
    pub(crate) touched: Touched,
    pub(crate) people: People<'a>,
    /// When it was written to last, in hours since 1970.
    pub(crate) newest_hour: u32,
}

/// Whose devices are, as the log has it.
#[derive(Clone, Copy)]
pub(crate) struct People<'a> {
    log: &'a Log,
    me: Option<PersonId>,
}

impl People<'_> {
    /// Whose an actor is.
    pub(crate) fn person(&self, actor: &Actor) -> Option<PersonId> {
        let bound = |rest: u8| {
            let mut bytes = [rest; 32];
            bytes[..16].copy_from_slice(&actor.device_prefix());
            DeviceId::from_bytes(bytes)
        };
        let (device, _) = self.log.membership().stays.range(bound(0)..=bound(u8::MAX)).next()?;
        self.log.person_of(*device)
    }

    /// Whether two actors may speak for each other.
    pub(crate) fn same_person(&self, a: &Actor, b: &Actor) -> bool {
        a.same_author(b) || self.person(a).is_some_and(|person| self.person(b) == Some(person))
    }
}

impl Circle {
    /// Notes that something else may follow from a document; from all of it, if `whole`.
    pub(super) fn make_stale(&mut self, name: Name, whole: bool, desk: &mut Desk) {
        let views = &mut self.views;
        let since_ms = *views.since_ms.get_or_insert(desk.now_ms);
        views.due_at_ms = Some((desk.now_ms + FOLLOW_QUIET_MS).min(since_ms.saturating_add(FOLLOW_MS_MAX)));
        if views.stale.get(&name).is_some_and(|was_whole| *was_whole || !whole) {
            return;
        }
        views.stale.insert(name, whole);
        desk.put(stale_key(self.id, name), if whole { vec![1] } else { Vec::new() });
    }

    /// When it cannot be told which documents look different now.
    pub(super) fn make_all_stale(&mut self, desk: &mut Desk) {
        for name in self.documents.keys().copied().collect::<Vec<_>>() {
            self.make_stale(name, true, desk);
        }
    }

    /// When stale documents are due, in Unix milliseconds.
    pub(crate) fn follow_at_ms(&self) -> Option<u64> {
        self.views.due_at_ms
    }

    /// Goes one step, if it is time.
    pub(crate) fn follow_when_due(&mut self, desk: &mut Desk) {
        if self.views.due_at_ms.is_none_or(|due_at_ms| desk.now_ms < due_at_ms) {
            return;
        }
        match self.follow_step(desk) {
            Ok(true) => {}
            Ok(false) => (self.views.since_ms, self.views.due_at_ms) = (None, None),
            Err(error) => {
                tracing::error!(circle = %self.id.short(), %error, "a view was not derived");
                self.views.due_at_ms = Some(desk.now_ms + FOLLOW_RETRY_MS);
            }
        }
    }

    /// Goes one step, if there are stale documents. How many there are then.
    pub(crate) fn follow_next(&mut self, desk: &mut Desk) -> Result<usize, EngineError> {
        if !self.views.stale.is_empty() {
            self.follow_step(desk)?;
        }
        Ok(self.views.stale.len())
    }

    /// Merges segments of the search index, so that a catch-up does not leave hundreds of them; or else derives from the stale
    /// document that was written to last. Whether there was anything to do.
    fn follow_step(&mut self, desk: &mut Desk) -> Result<bool, EngineError> {
        if self.views.merging {
            self.merge_index(desk)?;
        } else if let Some(name) = self.next_stale(|_| true) {
            self.follow(name, desk)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Derives from stale documents of these kinds, at most so many, those that were written to last first. Whether all are
    /// up to date then.
    pub(crate) fn follow_up(
        &mut self,
        is_wanted: impl Fn(DocumentKind) -> bool,
        count_max: usize,
        desk: &mut Desk,
    ) -> Result<bool, EngineError> {
        for _ in 0..count_max {
            let Some(name) = self.next_stale(|name| is_wanted(name.1)) else { return Ok(true) };
            self.follow(name, desk)?;
        }
        Ok(!self.views.stale.keys().any(|name| is_wanted(name.1)))
    }

    fn next_stale(&self, is_wanted: impl Fn(&Name) -> bool) -> Option<Name> {
        let newest_hour = |name: &Name| self.documents.get(name).map(|record| record.newest_hour);
        let stale = self.views.stale.keys().filter(|name| is_wanted(name));
        stale.max_by_key(|name| (newest_hour(name), std::cmp::Reverse(**name))).copied()
    }

    /// Derives what follows from a document, and takes its mark away in the same batch.
    fn follow(&mut self, name: Name, desk: &mut Desk) -> Result<(), EngineError> {
        let whole = self.views.stale.get(&name).copied().unwrap_or_default();
        self.document(name.0, name.1, desk)?;
        let before = self.views.of.get(&name).filter(|_| !whole);
        let loaded = self.loaded.get_mut(&name).expect("it was loaded above");
        let touched = match before.map(heads_of) {
            Some(heads) if name.1 == DocumentKind::Timeline => {
                // Where a removal took something away again, these heads are not there any more.
                loaded.document.timeline()?.changed_since(&heads).map_or(Touched::All, Touched::Messages)
            }
            _ => Touched::All,
        };
        let people = People { log: &self.log, me: desk.person };
        let newest_hour = self.documents.get(&name).map_or(0, |record| record.newest_hour);
        let mut followed = Followed { name, document: &mut loaded.document, touched, people, newest_hour };
        let tally = loaded.tally.get_or_insert_default();
        let (view, pages) = derived(self.id, &mut followed, tally, self.views.read)?;
        let searched = searching::searched(&mut followed)?;
        if !self.write_index(desk, |index| searched.take_in(name, index))? {
            // Everything is stale now, this one too.
            return Ok(());
        }
        self.put_pages(name, pages, desk)?;
        desk.put(view_key(self.id, name), view.encode_to_vec());
        desk.remove(stale_key(self.id, name));
        self.views.of.insert(name, view);
        self.views.stale.remove(&name);
        Ok(())
    }

    /// Writes the parts of a view, as far as they differ.
    fn put_pages(&self, name: Name, mut pages: Pages, desk: &mut Desk) -> Result<(), EngineError> {
        if !matches!(name.1, DocumentKind::Calendar | DocumentKind::Drive) {
            return Ok(());
        }
        let scope = scope(self.id, name.0, name.1);
        for (suffix, before) in desk.store.all(Keyspace::Pages, &scope)? {
            match pages.remove(&suffix) {
                Some(page) if page == before => {}
                Some(page) => desk.put(Key::new(Keyspace::Pages, &scope, suffix), page),
                None => desk.remove(Key::new(Keyspace::Pages, &scope, suffix)),
            }
        }
        for (suffix, page) in pages {
            desk.put(Key::new(Keyspace::Pages, &scope, suffix), page);
        }
        Ok(())
    }

    /// For checks: the documents of which something else is stored than follows from them. None, if all have been followed.
    pub(crate) fn misderived(&mut self, desk: &mut Desk) -> Result<Vec<Name>, EngineError> {
        let mut wrong = Vec::new();
        for name in self.documents.keys().copied().collect::<Vec<_>>() {
            self.document(name.0, name.1, desk)?;
            let people = People { log: &self.log, me: desk.person };
            let document = &mut self.loaded.get_mut(&name).expect("it was loaded above").document;
            let newest_hour = self.documents.get(&name).map_or(0, |record| record.newest_hour);
            let mut followed = Followed { name, document, touched: Touched::All, people, newest_hour };
            let (view, pages) = derived(self.id, &mut followed, &mut Tally::default(), self.views.read)?;
            let is_searched = searching::searched(&mut followed)?.is_in(name, self.id, desk)?;
            let stored = desk.store.read(&view_key(self.id, name))?;
            let is_stored = stored == Some(view.encode_to_vec()) && self.views.of.get(&name) == Some(&view);
            let is_marked = desk.store.read(&stale_key(self.id, name))?.is_some();
            let stored = desk.store.all(Keyspace::Pages, &scope(self.id, name.0, name.1))?;
            if !is_stored || !is_searched || is_marked || stored != pages {
                wrong.push(name);
            }
        }
        let known = |name: &Name| self.documents.contains_key(name);
        wrong.extend(self.views.of.keys().chain(self.views.stale.keys()).filter(|name| !known(name)));
        Ok(wrong)
    }

    /// Forgets what followed from a document that is gone.
    pub(super) fn forget_view(&mut self, name: Name, desk: &mut Desk) -> Result<(), EngineError> {
        if self.views.of.remove(&name).is_some() {
            desk.remove(view_key(self.id, name));
        }
        if self.views.stale.remove(&name).is_some() {
            desk.remove(stale_key(self.id, name));
        }
        self.forget_searched(name, desk)?;
        self.put_pages(name, BTreeMap::new(), desk)
    }

    /// Reads the views back. A document that has none yet is stale: it is from an import, or an older version's.
    pub(super) fn open_views(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        for (suffix, record) in desk.store.all(Keyspace::Views, self.id.as_bytes())? {
            self.views.of.insert(name_of(&suffix)?, local::View::decode(record.as_slice())?);
        }
        for (suffix, whole) in desk.store.all(Keyspace::Stale, self.id.as_bytes())? {
            self.views.stale.insert(name_of(&suffix)?, !whole.is_empty());
        }
        for name in self.documents.keys() {
            // Older builds made no pages of drives.
            if !self.views.of.contains_key(name)
                || (name.1 == DocumentKind::Drive && !self.has_root_page(*name, desk)?)
            {
                self.views.stale.insert(*name, true);
            }
        }
        if !self.views.stale.is_empty() {
            (self.views.since_ms, self.views.due_at_ms) = (Some(desk.now_ms), Some(desk.now_ms + FOLLOW_QUIET_MS));
        }
        if !self.views.of.is_empty() && !search::has_documents(self.id, &desk.store)? {
            self.make_all_stale(desk);
        }
        self.views.read = self.stored_read(desk)?;
        Ok(())
    }
}

/// What follows from a document. The tally is of it, as it was before what was touched.
fn derived(
    circle: CircleId,
    followed: &mut Followed<'_>,
    tally: &mut Tally,
    read: Option<MessageId>,
) -> Result<(local::View, Pages), EngineError> {
    let mut view = local::View::default();
    let mut pages = Pages::new();
    match followed.name.1 {
        DocumentKind::Timeline => {
            tally.follow(followed)?;
            view.chat = Some(tally.view(followed.document, &followed.people, read)?);
        }
        DocumentKind::Note => view.title = followed.document.note()?.title(),
        DocumentKind::Calendar => {
            let now = followed.document.calendar()?.pages();
            pages = now.into_iter().map(|(page, bytes)| (day_page(circle, followed.name, page), bytes)).collect();
        }
        DocumentKind::Drive => {
            let now = followed.document.drive()?.pages();
            pages = now.into_iter().map(|(page, bytes)| (folder_page(circle, followed.name, page), bytes)).collect();
        }
        _ => {}
    }
    view.heads = followed.document.heads().iter().map(|head| head.to_vec()).collect();
    Ok((view, pages))
}

fn heads_of(view: &local::View) -> Vec<ChangeHash> {
    view.heads.iter().filter_map(|head| head.as_slice().try_into().ok()).collect()
}

fn name_of(suffix: &[u8]) -> Result<Name, EngineError> {
    let (kind, id) = suffix.split_last().ok_or(EngineError::Damaged)?;
    let id = DocumentId::try_from(id).map_err(|_| EngineError::Damaged)?;
    Ok((id, DocumentKind::from_number(*kind).ok_or(EngineError::Damaged)?))
}

fn stale_key(circle: CircleId, name: Name) -> Key {
    Key { keyspace: Keyspace::Stale, ..record_key(circle, name.0, name.1) }
}

fn view_key(circle: CircleId, name: Name) -> Key {
    Key { keyspace: Keyspace::Views, ..record_key(circle, name.0, name.1) }
}

fn day_page(circle: CircleId, name: Name, page: clave_crdt::AgendaPage) -> Vec<u8> {
    match page {
        clave_crdt::AgendaPage::Standing => page_name(circle, name, &[]),
        clave_crdt::AgendaPage::Day(day) => page_name(circle, name, &day.to_be_bytes()),
    }
}

fn folder_page(circle: CircleId, name: Name, page: FolderPage) -> Vec<u8> {
    page_name(circle, name, &[page.folder.as_bytes().as_slice(), &page.number.to_be_bytes()].concat())
}

/// Names stand on the disk in clear: on which days something happens, and how many folders there are, is told by none to who
/// does not know the circle.
fn page_name(circle: CircleId, name: Name, page: &[u8]) -> Vec<u8> {
    let scope = scope(circle, name.0, name.1);
    hash(HashContext::ViewPage, &[scope.as_slice(), page].concat())[..16].to_vec()
}
