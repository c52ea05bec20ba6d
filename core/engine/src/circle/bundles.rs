//! Bundles: the entries of a segment of the chat in one piece, each author's signature with it.
//!
//! A bundle is an entry like any other and travels like any other. It holds the changes of many entries of one document, packed
//! ([`clave_crdt::Bundle`]), and of each actor what it takes to make the entry again that brought its last change: its
//! signature, and what that was bound to ([`proof`]). A change names the one before it of the same actor, so this
//! signature covers them all. Who made the bundle counts for nothing, and whoever has the same entries makes the same bundle.
//!
//! Once a bundle is here, entries that it covers go ([`gather`]): those that say nothing but changes that are in it. One that
//! comes later is known by that, and not kept. Of two bundles of one document one of which includes the other, that
//! one stays; of equal ones that with the lesser id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use clave_crdt::{Bundle, ChangeHash, ChangeInfo};

use super::*;
use crate::circle::judge::Verdict;

mod choose;
mod gather;
mod proof;
mod rogue;

pub use rogue::FalseBundle;

/// The most entries that a bundle covers and that are remembered, so that they are not asked for again and again.
const COVERED_ENTRIES_MAX: usize = 16_384;
/// The most hashes of changes in bundles that are kept in memory.
const HASHES_MAX: usize = 65_536;

/// A document, by id and kind.
pub(crate) type Name = (DocumentId, DocumentKind);
/// The changes of a bundle, sorted.
type Hashes = Arc<Vec<ChangeHash>>;

/// When entries are bundled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundling {
    /// For how many hours nothing was said in a segment of the chat before it is bundled.
    pub settled_hours: u32,
    /// Whether only segments are bundled that another follows.
    pub closed_only: bool,
    /// How many changes make a first bundle worth it.
    pub changes_min: u64,
    /// How many further ones make another bundle worth it.
    pub changes_again: u64,
    /// How many entries are asked of a peer, or offered to it, before it is seen whether a bundle on its way covers them.
    pub at_once_max: usize,
}

impl Default for Bundling {
    fn default() -> Self {
        Self { settled_hours: 6, closed_only: true, changes_min: 64, changes_again: 256, at_once_max: 64 }
    }
}

/// What a circle remembers of bundles, beside the records of documents.
#[derive(Default)]
pub(super) struct Bundles {
    /// Those that are here.
    ids: BTreeMap<EntryId, Name>,
    /// What some of them hold, those looked at last at the end.
    hashes: VecDeque<(EntryId, Hashes)>,
    /// Entries that bundles cover, and that are not here.
    covered: BTreeSet<EntryId>,
    gathering: gather::Gathering,
}

/// A bundle that was found to be sound.
pub(super) struct Arrived {
    id: EntryId,
    hour: u32,
    /// The hour of the oldest entry that proves it.
    oldest_hour: u32,
    bundle: Bundle,
}

/// What a bundle claims that others wrote.
pub(crate) struct Claimed {
    pub(crate) name: Name,
    proofs: Vec<proof::Proof>,
    pub(crate) bundle: Bundle,
}

impl Claimed {
    /// Reads a bundle; none, if it is of a kind of document of which there are none as yet.
    pub(crate) fn read(body: &proto::Bundle) -> Result<Option<Self>, Refusal> {
        let document = DocumentId::try_from(body.document.as_slice()).map_err(|_| Refusal::Malformed)?;
        let kind = documents::kind_of(body.kind).filter(|kind| *kind == DocumentKind::Timeline);
        let Some(kind) = kind else { return Ok(None) };
        let proofs = proof::read(body)?;
        let bundle = Bundle::unpack(kind, &body.changes).map_err(|error| match error {
            clave_crdt::CrdtError::TooLarge { .. } => Refusal::Oversized,
            _ => Refusal::Malformed,
        })?;
        let proofs = proof::of_actors(proofs, &bundle)?;
        Ok(Some(Self { name: (document, kind), proofs, bundle }))
    }

    /// Checks that all of its authors said so, and the hour of its envelope.
    pub(crate) fn check(&self, circle: CircleId, hour: u32) -> Result<(), Refusal> {
        if !off(Rule::BundleProven) {
            proof::check(circle, self.name, &self.proofs, &self.bundle)?;
        }
        let newest = self.proofs.iter().map(|proof| proof.hour).max();
        if newest == Some(hour) { Ok(()) } else { Err(Refusal::Unproven) }
    }
}

impl Bundles {
    fn note_covered(&mut self, id: EntryId) {
        if self.covered.len() >= COVERED_ENTRIES_MAX {
            self.covered.pop_first();
        }
        self.covered.insert(id);
    }

    fn remember(&mut self, id: EntryId, hashes: Hashes) {
        self.hashes.retain(|(other, _)| *other != id);
        self.hashes.push_back((id, hashes));
        let held = |all: &VecDeque<(EntryId, Hashes)>| all.iter().map(|(_, hashes)| hashes.len()).sum::<usize>();
        while self.hashes.len() > 1 && held(&self.hashes) > HASHES_MAX {
            self.hashes.pop_front();
        }
    }

    /// When the next is due, if any.
    pub(super) fn due_at_ms(&self) -> Option<u64> {
        self.gathering.due_at_ms()
    }
}

impl Circle {
    /// Whether that is a bundle that is here.
    pub(crate) fn is_bundle(&self, id: &EntryId) -> bool {
        self.bundles.ids.contains_key(id)
    }

    /// Whether what that entry says is in a bundle that is here.
    pub(crate) fn is_covered(&self, id: &EntryId) -> bool {
        self.bundles.covered.contains(id)
    }

    /// Has it be looked what is to be bundled.
    pub(crate) fn stir_bundles(&mut self) {
        self.bundles.gathering.stir();
    }

    /// Reads which bundles there are from the records of documents.
    pub(super) fn open_bundles(&mut self) -> Result<(), EngineError> {
        for (name, record) in &self.documents {
            for id in &record.bundles {
                let id = EntryId::try_from(id.as_slice()).map_err(|_| EngineError::Damaged)?;
                self.bundles.ids.insert(id, *name);
            }
        }
        Ok(())
    }

    pub(super) fn judge_bundle(
        &self,
        envelope: &Envelope,
        body: &proto::Bundle,
        changes: &mut judge::ChangesByDocument,
    ) -> Result<Verdict, Refusal> {
        let Some(claimed) = Claimed::read(body)? else { return Ok(Verdict::Wait(Awaits::Opening)) };
        let known = |author: &DeviceId| self.log.membership().device_standing(*author) != DeviceStanding::Unknown;
        if let Some(stranger) = claimed.proofs.iter().map(|proof| proof.author).find(|author| !known(author)) {
            return Ok(Verdict::Wait(Awaits::Author(stranger)));
        }
        claimed.check(self.id, envelope.hour)?;
        let Claimed { name, proofs, bundle } = claimed;
        let oldest_hour = proofs.iter().map(|proof| proof.hour).min().unwrap_or(envelope.hour);
        let arrived = Arrived { id: envelope.id, hour: envelope.hour, oldest_hour, bundle };
        changes.entry(name).or_default().bundles.push(arrived);
        Ok(Verdict::Done)
    }

    /// Whether changes are all in one of the document's bundles. If that cannot be read, they are not.
    pub(super) fn covers(&mut self, name: &Name, changes: &[(ChangeInfo, Vec<u8>)], desk: &Desk) -> bool {
        let bundles = self.documents.get(name).map(|record| record.bundles.clone()).unwrap_or_default();
        // Who wrote what is in a bundle was noted, up to the last change. So most that comes late need not be looked up.
        let mut all = changes.iter();
        !bundles.is_empty()
            && !off(Rule::BundleCovers)
            && !changes.is_empty()
            && !all.any(|(info, _)| self.is_later(name, info, desk))
            && bundles.iter().filter_map(|id| EntryId::try_from(id.as_slice()).ok()).any(|id| {
                let hashes = self.hashes_of(&id, desk).ok().flatten();
                hashes.is_some_and(|hashes| changes.iter().all(|(info, _)| hashes.binary_search(&info.hash).is_ok()))
            })
    }

    /// Lets go of an entry that a bundle covers, as though the bundle had come first.
    pub(super) fn pass_over(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        if self.held.remove(&envelope.id) {
            desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()));
            self.drop_entry(envelope, desk)?;
        }
        self.bundles.note_covered(envelope.id);
        Ok(())
    }

    fn drop_entry(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        self.index.remove(envelope, desk)?;
        self.forget_expiry(envelope);
        desk.remove(Key::new(Keyspace::Entries, self.id.as_bytes(), envelope.id.as_bytes()));
        desk.relayed.retain(|(_, id)| *id != envelope.id);
        desk.freed_bytes += envelope.bytes.len() as u64;
        self.bundles.ids.remove(&envelope.id);
        self.bundles.note_covered(envelope.id);
        Ok(())
    }

    fn drop_by_id(&mut self, id: &EntryId, desk: &mut Desk) -> Result<(), EngineError> {
        let bytes = self.envelope(id, desk)?;
        if let Some(envelope) = bytes.and_then(|bytes| Envelope::decode(bytes).ok()) {
            self.drop_entry(&envelope, desk)?;
        }
        Ok(())
    }

    /// What a bundle that is here says; none if it is not, or not any more.
    fn read_bundle(&self, id: &EntryId, desk: &Desk) -> Result<Option<(proto::Bundle, Bundle)>, EngineError> {
        let Some(bytes) = self.envelope(id, desk)? else { return Ok(None) };
        let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
        let Some(key) = self.content_key(&envelope.tag) else { return Ok(None) };
        let signed = envelope.reopen(self.id, key).map_err(|_| EngineError::Damaged)?;
        let entry = proto::Entry::decode(signed.entry.as_slice())?;
        let Some(Body::Bundle(body)) = entry.body else { return Err(EngineError::Damaged) };
        let kind = documents::kind_of(body.kind).ok_or(EngineError::Damaged)?;
        let bundle = Bundle::unpack(kind, &body.changes)?;
        Ok(Some((body, bundle)))
    }

    fn hashes_of(&mut self, id: &EntryId, desk: &Desk) -> Result<Option<Hashes>, EngineError> {
        if let Some((_, hashes)) = self.bundles.hashes.iter().find(|(of, _)| of == id) {
            return Ok(Some(hashes.clone()));
        }
        let Some((_, bundle)) = self.read_bundle(id, desk)? else { return Ok(None) };
        let hashes: Hashes = Arc::new(bundle.hashes().into_iter().collect());
        self.bundles.remember(*id, hashes.clone());
        Ok(Some(hashes))
    }

    /// The changes of a document that stand in bundles only.
    pub(crate) fn unread_changes(&self, name: &Name, desk: &Desk) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut changes = Vec::new();
        for id in self.documents.get(name).iter().flat_map(|record| &record.unread) {
            let id = EntryId::try_from(id.as_slice()).map_err(|_| EngineError::Damaged)?;
            let read = self.read_bundle(&id, desk)?;
            changes.extend(read.into_iter().flat_map(|(_, bundle)| bundle.into_changes()).map(|(_, bytes)| bytes));
        }
        Ok(changes)
    }

    /// Notes that what is in a document's bundles is in its snapshot by now.
    pub(super) fn note_read(&mut self, name: &Name, desk: &mut Desk) {
        if let Some(record) = self.documents.get_mut(name).filter(|record| !record.unread.is_empty()) {
            record.unread.clear();
            desk.put(documents::record_key(self.id, name.0, name.1), record.encode_to_vec());
        }
    }

    /// Takes up a bundle that is sound and stored: it takes the place of those that it includes. Returns what is to be applied to
    /// the document if that is loaded.
    pub(super) fn adopt(
        &mut self,
        name: Name,
        arrived: Arrived,
        desk: &mut Desk,
    ) -> Result<Vec<(ChangeInfo, Vec<u8>)>, EngineError> {
        // Whether all of it is here already is not known: of an author's changes the last may have come without those before.
        let bundle = self.file_bundle(name, &arrived, true, desk)?.then_some(arrived.bundle);
        Ok(bundle.map(Bundle::into_changes).unwrap_or_default())
    }

    /// Whether it stays.
    fn file_bundle(
        &mut self,
        name: Name,
        arrived: &Arrived,
        mut is_unread: bool,
        desk: &mut Desk,
    ) -> Result<bool, EngineError> {
        let Arrived { id, hour, oldest_hour, ref bundle } = *arrived;
        let hashes: Hashes = Arc::new(bundle.hashes().into_iter().collect());
        let known = self.documents.get(&name);
        // Before entries were bundled nobody noted how old the oldest is, or how many there are.
        let (is_new, uncounted) = (known.is_none(), known.is_some_and(|record| record.oldest_hour == 0));
        let mut record = known.cloned().unwrap_or_default();
        let mut stay = Vec::new();
        for before in std::mem::take(&mut record.bundles) {
            let other = EntryId::try_from(before.as_slice()).map_err(|_| EngineError::Damaged)?;
            if other == id {
                return Ok(false);
            }
            // One that is not here any more expired.
            let Some(theirs) = self.hashes_of(&other, desk)? else { continue };
            if includes(&theirs, &hashes) && (theirs.len() > hashes.len() || other < id || off(Rule::BundleChoice)) {
                self.drop_by_id(&id, desk)?;
                return Ok(false);
            }
            if includes(&hashes, &theirs) {
                is_unread |= record.unread.contains(&before);
                record.unread.retain(|unread| *unread != before);
                self.drop_by_id(&other, desk)?;
            } else {
                stay.push(before);
            }
        }
        stay.push(id.as_bytes().to_vec());
        record.bundles = stay;
        if is_unread {
            record.unread.push(id.as_bytes().to_vec());
        }
        record.newest_hour = record.newest_hour.max(hour);
        record.oldest_hour = if is_new { oldest_hour } else { record.oldest_hour.min(oldest_hour) };
        record.sweep |= record.loose > 0 || uncounted;
        desk.put(documents::record_key(self.id, name.0, name.1), record.encode_to_vec());
        self.documents.insert(name, record);
        self.bundles.ids.insert(id, name);
        self.bundles.remember(id, hashes);
        self.bundles.gathering.stir();
        Ok(true)
    }

    /// Has entries be looked for that a bundle covers: they came together with it.
    pub(super) fn sweep_if(&mut self, name: &Name, is_bundled: bool, desk: &mut Desk) {
        if let Some(record) = self.documents.get_mut(name).filter(|_| is_bundled) {
            record.sweep = true;
            desk.put(documents::record_key(self.id, name.0, name.1), record.encode_to_vec());
            self.bundles.gathering.stir();
        }
    }
}

/// Whether `all` has every one of `some`. Both are sorted.
fn includes(all: &[ChangeHash], some: &[ChangeHash]) -> bool {
    all.len() >= some.len() && some.iter().all(|hash| all.binary_search(hash).is_ok())
}
