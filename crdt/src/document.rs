//! One Automerge document: its changes in, its changes out, and what holds for every kind.

use std::collections::{BTreeMap, BTreeSet};

use automerge::iter::MapRange;
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{AutoCommit, Change, LoadOptions, ROOT, ReadDoc, SaveOptions, ScalarValue, ScalarValueRef, ValueRef};

use crate::change::{self, ChangeHash};
use crate::contained::contained;
use crate::kind::{self, SCHEMA_KEY, TEXT_ENCODING};
use crate::mutation::{SUCCESSOR, off};
use crate::{Actor, ChangeFault, ChangeInfo, CrdtError, DocumentKind};

pub use rivals::Equivocation;

mod admit;
mod past;
mod review;
mod rivals;
mod rules;
#[cfg(test)]
mod tests;

/// What a document takes in memory before anything is in it, and with each operation and each change, beside texts and
/// messages themselves: measured with automerge 0.12 (`docs/measurements.md`), in bytes. Text that was typed in one go takes less.
const RESIDENT_BYTES: usize = 32 * 1024;
const OPERATION_BYTES: usize = 24;
const CHANGE_BYTES: usize = 280;

/// A document of Clave.
///
/// - *Local edits* go through the view of its kind (`timeline()`, `note()`, `calendar()`, `drive()`) and gather until
///   [`commit`](Self::commit) makes one change of them.
/// - *Remote changes* enter by [`apply`](Self::apply), as many as there are in one call: a call is what costs.
///   A change whose dependencies are not there yet is held until they are.
/// - *Storage* is [`save`](Self::save) and [`load`](Self::load).
///
/// - *Who is no longer in standing* is said to [`review`](Self::review), which sets aside what they wrote.
///
/// What is in the document follows from the set of changes (and the last review) alone, never from the order in which they
/// came.
#[derive(Debug)]
pub struct Document {
    kind: DocumentKind,
    /// Whom this handle was opened for.
    owner: Actor,
    /// Who writes: the owner, or its successor while a change of its own has to wait.
    actor: Actor,
    doc: AutoCommit,
    /// The heads, local edits that were not committed left out.
    heads: Vec<ChangeHash>,
    /// The last change of each author.
    tips: BTreeMap<Actor, Tip>,
    /// Changes that wait for what they depend on.
    held: BTreeMap<ChangeHash, Change>,
    /// Changes that the last review left out, and that nobody vouched for since.
    set_aside: BTreeMap<ChangeHash, Change>,
    equivocations: Vec<Equivocation>,
    /// What is written in it, in bytes, and changes since it was loaded: an estimate.
    content_bytes: usize,
    /// A former state that was edited last.
    earlier: Option<Box<Document>>,
}

/// The last change of an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tip {
    seq: u64,
    hash: ChangeHash,
    last_operation: u64,
}

impl Tip {
    fn of(change: &Change) -> Self {
        Self { seq: change.seq(), hash: change.hash().0, last_operation: change.max_op() }
    }
}

/// What became of the changes given to [`Document::apply`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whether the document is another one now.
    pub changed: bool,
    /// How many changes that others depend on are not here. While it is not zero, changes are held back; the caller
    /// bounds how many it lets wait.
    pub missing: usize,
    /// The changes that were refused. Some may have been held since an earlier call.
    pub refused: Vec<(ChangeHash, ChangeFault)>,
}

impl Document {
    /// A new document that holds only its kind's genesis.
    #[must_use]
    pub fn new(kind: DocumentKind, actor: Actor) -> Self {
        Self::around(kind, actor, kind::genesis_document(kind))
    }

    /// A stored document: a snapshot, if there is one, and changes that may or may not be in it already.
    ///
    /// # Errors
    ///
    /// [`CrdtError::DamagedSnapshot`], [`CrdtError::WrongKind`], or the first fault among the changes: what is in the
    /// store has been checked before.
    pub fn load(
        kind: DocumentKind,
        actor: Actor,
        snapshot: Option<&[u8]>,
        changes: &[impl AsRef<[u8]>],
    ) -> Result<Self, CrdtError> {
        let mut document = match snapshot {
            None => Self::new(kind, actor),
            Some(bytes) => Self::from_snapshot(kind, actor, bytes)?,
        };
        match document.apply(changes)?.refused.first() {
            Some((_, fault)) => Err((*fault).into()),
            None => Ok(document),
        }
    }

    fn from_snapshot(kind: DocumentKind, actor: Actor, bytes: &[u8]) -> Result<Self, CrdtError> {
        contained(|| Self::read_snapshot(kind, actor, bytes)).unwrap_or(Err(CrdtError::DamagedSnapshot))
    }

    fn read_snapshot(kind: DocumentKind, actor: Actor, bytes: &[u8]) -> Result<Self, CrdtError> {
        let (body, held) = split_snapshot(bytes).ok_or(CrdtError::DamagedSnapshot)?;
        let mut doc = AutoCommit::load_with_options(body, LoadOptions::new().text_encoding(TEXT_ENCODING))
            .map_err(|_| CrdtError::DamagedSnapshot)?;
        let found = DocumentKind::ALL
            .into_iter()
            .find(|kind| doc.get_change_meta_by_hash(&kind::genesis_hash(*kind)).is_some());
        if found != Some(kind) {
            return Err(CrdtError::WrongKind { expected: kind, found });
        }
        let mut document = Self::around(kind, actor, doc);
        document.apply(&held)?;
        Ok(document)
    }

    fn around(kind: DocumentKind, actor: Actor, mut doc: AutoCommit) -> Self {
        doc.set_actor(actor.to_automerge());
        let mut tips = BTreeMap::new();
        for meta in doc.get_changes_meta(&[]) {
            if let Some(author) = Actor::from_automerge(&meta.actor) {
                let tip = Tip { seq: meta.seq, hash: meta.hash.0, last_operation: meta.max_op };
                let last = tips.entry(author).or_insert(tip);
                if tip.seq > last.seq {
                    *last = tip;
                }
            }
        }
        let mut document = Self::bare(kind, actor, doc);
        document.tips = tips;
        document.content_bytes = content_bytes(kind, &document.doc);
        document.refresh_heads();
        document
    }

    fn bare(kind: DocumentKind, actor: Actor, doc: AutoCommit) -> Self {
        Self {
            kind,
            owner: actor,
            actor,
            doc,
            heads: Vec::new(),
            tips: BTreeMap::new(),
            held: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            equivocations: Vec::new(),
            content_bytes: 0,
            earlier: None,
        }
    }

    /// What kind of document it is.
    #[must_use]
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// Whom this handle was opened for.
    #[must_use]
    pub fn owner(&self) -> Actor {
        self.owner
    }

    /// Who writes with this handle: whom it was opened for, or another incarnation of the same stay while a change of
    /// theirs has to wait. So nobody ever writes two changes in one place.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The newest schema version that anybody wrote to this document with. See [`SCHEMA`](crate::SCHEMA).
    #[must_use]
    pub fn schema(&self) -> u64 {
        let values = self.doc.get_all(ROOT, SCHEMA_KEY).unwrap_or_default();
        values.iter().filter_map(|(value, _)| value.as_u64()).max().unwrap_or(crate::SCHEMA)
    }

    /// The hashes of the newest changes, sorted. Two documents with equal heads are equal.
    #[must_use]
    pub fn heads(&self) -> Vec<ChangeHash> {
        self.heads.clone()
    }

    /// Whether the change is in the document (not merely held).
    #[must_use]
    pub fn contains(&self, hash: &ChangeHash) -> bool {
        ReadDoc::get_change_by_hash(&self.doc, &automerge::ChangeHash(*hash)).is_some()
    }

    /// About how much memory this document takes, in bytes: an estimate from how many operations and changes it has.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let stats = self.doc.stats();
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let waiting: usize =
            self.held.values().chain(self.set_aside.values()).map(|change| change.raw_bytes().len()).sum();
        RESIDENT_BYTES
            .saturating_add(number(stats.num_ops).saturating_mul(OPERATION_BYTES))
            .saturating_add(number(stats.num_changes).saturating_mul(CHANGE_BYTES))
            .saturating_add(waiting)
            .saturating_add(self.content_bytes)
            .saturating_add(self.earlier.as_ref().map_or(0, |earlier| earlier.resident_bytes()))
    }

    /// Whether there are local edits that were not committed.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.doc.pending_ops() > 0
    }

    /// Makes one change of the local edits since the last commit, stamped with the given time (Unix milliseconds; kept
    /// in whole seconds, as is Automerge's custom), and returns its bytes for others to [`apply`](Self::apply). `None`
    /// if nothing was edited.
    ///
    /// The bytes are not compressed: who seals them compresses runs of them better, and a receiver need never unpack
    /// what it has not yet authenticated.
    pub fn commit(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if !self.is_edited() {
            return None;
        }
        let hash = self.doc.commit_with(CommitOptions::default().with_time(time_s(now_ms)))?;
        let change = self.doc.get_change_by_hash(&hash)?;
        self.tips.insert(self.actor, Tip::of(&change));
        self.content_bytes += change.raw_bytes().len();
        self.refresh_heads();
        Some(change.raw_bytes().to_vec())
    }

    /// Drops the local edits since the last commit.
    pub fn discard(&mut self) {
        self.doc.rollback();
    }

    /// Takes in changes, all in one step. Those already here are passed over; those that are not sound are refused and
    /// leave no trace; the rest is applied, or held until what it depends on arrives.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits, or what [`inspect_change`](crate::inspect_change) finds in
    /// the first that does not pass it; then nothing was taken in.
    pub fn apply(&mut self, changes: &[impl AsRef<[u8]>]) -> Result<Applied, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        let changes = changes.iter().map(|bytes| change::parse(bytes.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let news = changes.into_iter().map(|change| (change.hash().0, change));
        self.held.extend(news.filter(|(hash, _)| !self.set_aside.contains_key(hash)));
        self.take_back();
        let mut refused = Vec::new();
        let changed = self.admit(&mut refused);
        Ok(Applied { changed, missing: self.missing().len(), refused })
    }

    /// The changes that held ones depend on and that are neither here nor held, sorted.
    #[must_use]
    pub fn missing(&self) -> Vec<ChangeHash> {
        let wanted: BTreeSet<_> = self.held.values().flat_map(|change| change.deps()).map(|hash| hash.0).collect();
        wanted.into_iter().filter(|hash| !self.held.contains_key(hash) && !self.contains(hash)).collect()
    }

    /// How many changes wait for what they depend on.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The document in one piece, compressed, with the changes that are held or set aside (which has to be said again to
    /// the document that is loaded from it: [`review`](Self::review)). Automerge's own format. A note is loaded
    /// again to see that it can be, so this takes its time; it is for now and then, not for every change.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits; [`CrdtError::NotStorable`] if a peer made that
    /// impossible: then go on storing changes.
    pub fn save(&mut self) -> Result<Vec<u8>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        // Whether a mark begins before it ends is only checked when a document is loaded.
        let doc = &mut self.doc;
        let saved = contained(|| match self.kind {
            DocumentKind::Note => doc.save_and_verify().map_err(|_| CrdtError::NotStorable),
            _ => Ok(doc.save_with_options(SaveOptions::default())),
        });
        let mut bytes = saved.unwrap_or(Err(CrdtError::NotStorable))?;
        for change in self.held.values().chain(self.set_aside.values()) {
            bytes.extend_from_slice(change.raw_bytes());
        }
        Ok(bytes)
    }

    /// The document as an Automerge file, for any program that reads those: what is shown, with its history. What is held or
    /// set aside is not in it.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn to_automerge(&mut self) -> Result<Vec<u8>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        contained(|| self.doc.save_with_options(SaveOptions::default())).ok_or(CrdtError::NotStorable)
    }

    /// Every change in the document but its genesis, each after those it depends on. What is held or set aside is left
    /// out.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits.
    pub fn changes(&mut self) -> Result<Vec<(ChangeInfo, Vec<u8>)>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        let changes = self.doc.get_changes(&[kind::genesis_hash(self.kind)]);
        Ok(changes.iter().map(|change| (change::info(change), change.raw_bytes().to_vec())).collect())
    }

    /// A copy for another author.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits.
    pub fn fork(&mut self, actor: Actor) -> Result<Self, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        let mut doc = self.doc.fork();
        doc.set_actor(actor.to_automerge());
        let mut fork = Self::bare(self.kind, actor, doc);
        (fork.heads, fork.tips, fork.held) = (self.heads.clone(), self.tips.clone(), self.held.clone());
        (fork.set_aside, fork.equivocations) = (self.set_aside.clone(), self.equivocations.clone());
        fork.choose_actor();
        Ok(fork)
    }

    /// Lets `edit` change the document as it was at some heads, makes one change of that and takes it in. The change is
    /// the one that a device would write which has nothing newer than these heads; so they have to include all that
    /// this author wrote. Returns its bytes, or `None` if nothing was edited.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits, [`CrdtError::NotFound`] if the heads are not in the document,
    /// [`CrdtError::Invalid`] if they leave out something that this author wrote; and those of `edit`.
    pub(crate) fn edit_at(
        &mut self,
        heads: &[ChangeHash],
        now_ms: u64,
        edit: impl FnOnce(&mut Self) -> Result<(), CrdtError>,
    ) -> Result<Option<Vec<u8>>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        if heads.is_empty() || !heads.iter().all(|hash| self.knows(hash)) {
            return Err(CrdtError::NotFound("earlier state of the document"));
        }
        let is_current = self.heads.iter().all(|head| heads.contains(head));
        if is_current {
            edit(self).inspect_err(|_| self.discard())?;
            return Ok(self.commit(now_ms));
        }
        let mut earlier = self.earlier(heads)?;
        if self.tips.get(&self.actor).is_some_and(|tip| !earlier.knows(&tip.hash)) {
            return Err(CrdtError::Invalid("this builds on less than this device wrote; name a later version"));
        }
        edit(&mut earlier)?;
        let change = earlier.commit(now_ms);
        if let Some(change) = &change
            && let Some((_, fault)) = self.apply(&[change])?.refused.first()
        {
            return Err((*fault).into());
        }
        self.earlier = Some(earlier);
        Ok(change)
    }

    /// The document as it was at some heads, which it has. Who edits a former version goes on from there, most likely:
    /// so the last one is kept, and brought further where that leads to these heads. To build one anew takes long.
    fn earlier(&mut self, heads: &[ChangeHash]) -> Result<Box<Self>, CrdtError> {
        let broken = |_| CrdtError::Internal("a former state could not be rebuilt");
        if let Some(mut earlier) = self.earlier.take() {
            let mut wanted: Vec<ChangeHash> = heads.to_vec();
            let mut missing = BTreeMap::new();
            while let Some(hash) = wanted.pop() {
                if missing.contains_key(&hash) || earlier.knows(&hash) {
                    continue;
                }
                if let Some(change) = self.doc.get_change_by_hash(&automerge::ChangeHash(hash)) {
                    wanted.extend(change.deps().iter().map(|dep| dep.0));
                    missing.insert(hash, change);
                }
            }
            earlier.doc.apply_changes(missing.into_values().collect::<Vec<_>>()).map_err(broken)?;
            earlier.refresh_heads();
            // Otherwise it has something that these heads do not include.
            if earlier.heads.iter().all(|head| heads.contains(head)) {
                return Ok(earlier);
            }
        }
        let at: Vec<_> = heads.iter().copied().map(automerge::ChangeHash).collect();
        let mut doc = self.doc.fork_at(&at).map_err(broken)?;
        doc.set_actor(self.actor.to_automerge());
        Ok(Box::new(Self::bare(self.kind, self.actor, doc)))
    }

    /// The keys of the root that changes since these heads have written to.
    pub(crate) fn root_keys_since(&mut self, heads: &[ChangeHash]) -> Result<BTreeSet<String>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        if !heads.iter().all(|hash| self.knows(hash)) {
            return Err(CrdtError::NotFound("earlier state of the document"));
        }
        let heads: Vec<_> = heads.iter().copied().map(automerge::ChangeHash).collect();
        Ok(self.doc.get_changes(&heads).iter().flat_map(rules::root_keys).collect())
    }

    /// The values at the root under keys with this prefix, which ends in a slash, in order of their keys.
    pub(crate) fn root_items(&self, prefix: &str) -> MapRange<'_> {
        let stem = prefix.strip_suffix('/').expect("prefixes end in a slash");
        // '0' is the character after '/'.
        self.doc.map_range(ROOT, prefix.to_owned()..format!("{stem}0"))
    }

    /// The bytes under keys of the root that start with a prefix, in changes that are not shown: set aside, or waiting.
    pub(crate) fn hidden_values(&self, prefix: &str) -> Vec<Vec<u8>> {
        let hidden = self.held.values().chain(self.set_aside.values());
        hidden.flat_map(|change| rules::root_values(change, prefix)).collect()
    }

    /// Writes a scalar at the root.
    pub(crate) fn put_root(&mut self, key: String, value: impl Into<ScalarValue>) -> Result<(), CrdtError> {
        self.automerge_mut().put(ROOT, key, value).map_err(|_| CrdtError::Internal("a value did not fit the root"))
    }

    /// The Automerge document, to read from.
    pub(crate) fn automerge(&self) -> &AutoCommit {
        &self.doc
    }

    /// The Automerge document, to edit. Nothing may commit through it, so call none of its methods that take `&mut
    /// self` and read: they commit. Through [`automerge`](Self::automerge) they do not.
    pub(crate) fn automerge_mut(&mut self) -> &mut AutoCommit {
        &mut self.doc
    }

    /// For views: that this document is of their kind.
    pub(crate) fn expect_kind(&self, expected: DocumentKind) -> Result<(), CrdtError> {
        if self.kind == expected { Ok(()) } else { Err(CrdtError::WrongKind { expected, found: Some(self.kind) }) }
    }

    /// As `contains`, and cheaper; but it closes Automerge's transaction, so not while there are local edits.
    fn knows(&mut self, hash: &ChangeHash) -> bool {
        self.doc.get_change_meta_by_hash(&automerge::ChangeHash(*hash)).is_some()
    }

    /// Whoever has a change that waits does not go on where the document ends: the next change would stand in its place.
    fn choose_actor(&mut self) {
        let mut actor = self.owner;
        for _ in 0..if off(SUCCESSOR) { 0 } else { self.held.len() } {
            let id = actor.to_automerge();
            let waiting = self.held.iter().filter(|(_, change)| *change.actor_id() == id);
            match waiting.min_by_key(|(hash, change)| (change.seq(), **hash)) {
                Some((hash, _)) => actor = actor.successor(hash),
                None => break,
            }
        }
        if actor != self.actor {
            self.actor = actor;
            self.doc.set_actor(actor.to_automerge());
            self.earlier = None;
        }
    }

    fn refresh_heads(&mut self) {
        self.heads = self.doc.get_heads().into_iter().map(|hash| hash.0).collect();
        self.heads.sort_unstable();
    }
}

/// How much is written in a document that keeps it in maps. (A text is counted by its operations.)
fn content_bytes(kind: DocumentKind, doc: &AutoCommit) -> usize {
    let bytes = |value: &ValueRef<'_>| match value {
        ValueRef::Scalar(ScalarValueRef::Bytes(bytes)) => bytes.len(),
        ValueRef::Scalar(ScalarValueRef::Str(text)) => text.len(),
        _ => 0,
    };
    let maps = [ROOT].into_iter().chain(kind::genesis_maps(kind));
    maps.map(|map| doc.map_range(map, ..).map(|item| item.key.len() + bytes(&item.value)).sum::<usize>()).sum()
}

/// As Automerge counts time.
fn time_s(now_ms: u64) -> i64 {
    i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX)
}

/// Splits a snapshot into Automerge's document and the changes that were held, saved behind it.
fn split_snapshot(bytes: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at_checked(chunk_bytes(rest)?)?;
        chunks.push(chunk);
        rest = after;
    }
    (!chunks.is_empty()).then(|| (chunks.remove(0), chunks))
}

/// The length of the chunk that these bytes start with: four bytes of magic, four of checksum, one of type, the length
/// of the body as ULEB128, the body.
fn chunk_bytes(bytes: &[u8]) -> Option<usize> {
    const LENGTH: usize = 9;
    let mut body: usize = 0;
    for (index, byte) in bytes.get(LENGTH..)?.iter().take(9).enumerate() {
        body |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return body.checked_add(LENGTH + index + 1);
        }
    }
    None
}
