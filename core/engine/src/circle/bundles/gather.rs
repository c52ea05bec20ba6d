//! Gathering the entries of a document, a few at a time: to let go of those that a bundle covers, and to make a bundle.

use clave_crdt::{Bundled, inspect_change};
use clave_crypto::{HashContext, Signature, hash};

use super::choose::{Said, choose};
use super::*;

/// Entries that are looked at in one go: about a millisecond's work.
const STEP_ENTRIES: usize = 64;
/// The most changes that are gathered of one document.
const CHANGES_MAX: usize = clave_crdt::BUNDLE_CHANGES_MAX;
/// How long to wait after something could not be read or sealed, in milliseconds.
const AGAIN_MS: u64 = 60_000;
/// How long each further device in line waits for the one before it to make a bundle, in milliseconds.
const TURN_MS: u64 = 2_000;

/// What is being gathered, and when to look what else is due.
#[derive(Default)]
pub(super) struct Gathering {
    job: Option<Job>,
    /// When to look; at once when the circle is opened.
    next: Next,
    /// Documents of which no bundle could be made of so many entries.
    failed: BTreeMap<Name, u64>,
}

#[derive(Default)]
enum Next {
    #[default]
    Now,
    At(u64),
    Never,
}

/// The entries of one document, as far as they were found.
pub(super) struct Job {
    name: Name,
    /// Where to go on.
    from: (u32, EntryId),
    until_hour: u32,
    /// Whether a bundle is to be made of them.
    makes: bool,
    found: Vec<Found>,
    pub(super) changes: BTreeMap<ChangeHash, Bundled>,
}

/// An entry that brought changes.
pub(super) struct Found {
    envelope: EntryId,
    pub(super) said: Said,
    /// Whether the entry can be made again from what it said.
    proves: bool,
}

impl Job {
    pub(super) fn of(name: Name, record: &local::DocumentRecord, makes: bool) -> Self {
        let from = (record.oldest_hour, EntryId::from_bytes([0; 32]));
        let until_hour = record.newest_hour;
        Self { name, from, until_hour, makes, found: Vec::new(), changes: BTreeMap::new() }
    }
}

impl Gathering {
    /// Something changed on which it depends what is due.
    pub(super) fn stir(&mut self) {
        self.next = Next::Now;
    }

    pub(super) fn due_at_ms(&self) -> Option<u64> {
        match self.next {
            _ if self.job.is_some() => Some(0),
            Next::Now => Some(0),
            Next::At(at_ms) => Some(at_ms),
            Next::Never => None,
        }
    }
}

impl Circle {
    /// Notes that a document has further changes by an entry of its own, and whether it is new.
    pub(in crate::circle) fn note_loose(&mut self, name: &Name, is_new: bool, desk: &Desk) {
        let Some(record) = self.documents.get(name).filter(|_| name.1 == DocumentKind::Timeline) else { return };
        let again = !record.bundles.is_empty() && record.loose >= desk.bundling.changes_again;
        if is_new || again || !desk.bundling.closed_only {
            self.bundles.gathering.stir();
        }
    }

    /// Goes on gathering, or looks what is due.
    pub(in crate::circle) fn tend_bundles(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        if self.bundles.due_at_ms().is_none_or(|at_ms| at_ms > desk.now_ms) {
            return Ok(());
        }
        let done = self.gather_or_look(online, desk);
        if done.is_err() {
            self.bundles.gathering.next = Next::At(desk.now_ms + AGAIN_MS);
        }
        done
    }

    fn gather_or_look(&mut self, online: &[DeviceId], desk: &mut Desk) -> Result<(), EngineError> {
        match self.bundles.gathering.job.take() {
            Some(job) => self.gather(job, desk),
            None => {
                let (job, next) = self.look_for_work(online, desk);
                self.bundles.gathering.job = job;
                self.bundles.gathering.next = next.map_or(Next::Never, Next::At);
                Ok(())
            }
        }
    }

    /// A document whose entries are to be gathered now; else when to look again.
    fn look_for_work(&self, online: &[DeviceId], desk: &Desk) -> (Option<Job>, Option<u64>) {
        if let Some((name, record)) = self.documents.iter().find(|(_, record)| record.sweep) {
            return (Some(Job::of(*name, record, false)), None);
        }
        if !self.is_shared() || self.group.is_apart() || !self.is_member(&desk.me()) {
            return (None, None);
        }
        let mut next: Option<u64> = None;
        for number in 0.. {
            let name = (DocumentId::well_known(self.id, DocumentKind::Timeline, number), DocumentKind::Timeline);
            let Some(record) = self.documents.get(&name) else { break };
            let following = DocumentId::well_known(self.id, DocumentKind::Timeline, number + 1);
            let is_closed = self.documents.contains_key(&(following, DocumentKind::Timeline));
            if desk.bundling.closed_only && !is_closed || !self.is_worth_it(&name, record, desk) {
                continue;
            }
            let at_ms = self.settled_ms(&name, record, online, desk);
            if at_ms <= desk.now_ms {
                return (Some(Job::of(name, record, true)), None);
            }
            next = Some(next.map_or(at_ms, |next| next.min(at_ms)));
        }
        (None, next)
    }

    fn is_worth_it(&self, name: &Name, record: &local::DocumentRecord, desk: &Desk) -> bool {
        if self.bundles.gathering.failed.get(name) == Some(&record.loose) {
            return false;
        }
        // Before entries were bundled nobody counted.
        let uncounted = record.oldest_hour == 0;
        match record.bundles.is_empty() {
            true => uncounted || record.loose >= desk.bundling.changes_min,
            false => record.loose >= desk.bundling.changes_again,
        }
    }

    /// When it is this device's turn to bundle a document.
    fn settled_ms(&self, name: &Name, record: &local::DocumentRecord, online: &[DeviceId], desk: &Desk) -> u64 {
        let hour = record.newest_hour.saturating_add(desk.bundling.settled_hours);
        let settled_ms = u64::from(hour) * crate::entry::HOUR_MS;
        let order = |device: &DeviceId| {
            hash(HashContext::BundleOrder, &[name.0.as_bytes().as_slice(), device.as_bytes()].concat())
        };
        let own = order(&desk.me());
        let before = online.iter().filter(|device| self.is_member(device) && order(device) < own).count();
        settled_ms.saturating_add(TURN_MS.saturating_mul(before as u64))
    }

    /// Looks at the next entries.
    fn gather(&mut self, mut job: Job, desk: &mut Desk) -> Result<(), EngineError> {
        let page = self.index.page(job.from, job.until_hour, STEP_ENTRIES, desk)?;
        for (_, id) in &page {
            if let Some(found) = self.find(id, &mut job, desk)? {
                job.found.push(found);
            }
        }
        match page.last() {
            Some((hour, id)) if page.len() == STEP_ENTRIES && job.changes.len() < CHANGES_MAX => {
                job.from = (*hour, after(id));
                self.bundles.gathering.job = Some(job);
                Ok(())
            }
            _ => self.finish_gathering(job, desk),
        }
    }

    /// What an entry says of the document, if it is about it and says nothing else.
    pub(super) fn find(&self, id: &EntryId, job: &mut Job, desk: &Desk) -> Result<Option<Found>, EngineError> {
        if self.held.contains(id) || self.is_bundle(id) {
            return Ok(None);
        }
        let Some(bytes) = self.envelope(id, desk)? else { return Ok(None) };
        let envelope = Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?;
        let key = self.content_key(&envelope.tag).filter(|_| !envelope.tag.is_lasting());
        let Some(signed) = key.and_then(|key| envelope.reopen(self.id, key).ok()) else { return Ok(None) };
        let Ok(entry) = proto::Entry::decode(signed.entry.as_slice()) else { return Ok(None) };
        let Some(Body::Changes(body)) = entry.body else { return Ok(None) };
        let (document, kind) = job.name;
        if body.document != document.as_bytes() || body.kind != u32::from(kind.number()) {
            return Ok(None);
        }
        let read = |bytes: Vec<u8>| inspect_change(&bytes).map(|info| (info, bytes));
        let changes: Vec<Bundled> = body.changes.into_iter().map(read).collect::<Result<_, _>>()?;
        let signature = Signature::try_from(signed.signature.as_slice());
        let author = DeviceId::try_from(entry.author.as_slice());
        let (Ok(signature), Ok(author)) = (signature, author) else { return Ok(None) };
        if changes.is_empty() {
            return Ok(None);
        }
        // Somebody may have encoded it in another way than everybody does.
        let proves = proof::entry(job.name, &author, &changes.iter().collect::<Vec<_>>()) == signed.entry;
        let hashes = changes.iter().map(|(info, _)| info.hash).collect();
        job.changes.extend(changes.into_iter().map(|change| (change.0.hash, change)));
        let said = Said { author, signature, hour: envelope.hour, tag: envelope.tag, changes: hashes };
        Ok(Some(Found { envelope: *id, said, proves }))
    }

    fn finish_gathering(&mut self, mut job: Job, desk: &mut Desk) -> Result<(), EngineError> {
        self.bundles.gathering.stir();
        self.drop_covered(&mut job, desk)?;
        let loose = job.found.iter().map(|found| found.said.changes.len() as u64).sum();
        let name = job.name;
        let Some(record) = self.documents.get_mut(&name) else { return Ok(()) };
        (record.loose, record.sweep) = (loose, false);
        record.oldest_hour = record.oldest_hour.max(1);
        desk.put(documents::record_key(self.id, name.0, name.1), record.encode_to_vec());
        let threshold = if record.bundles.is_empty() { desk.bundling.changes_min } else { desk.bundling.changes_again };
        if job.makes && loose >= threshold.max(1) {
            // Unless it works out, it is tried again when there is more.
            self.bundles.gathering.failed.insert(name, loose);
            if self.make_bundle(job, desk)? {
                self.bundles.gathering.failed.remove(&name);
            }
        }
        Ok(())
    }

    /// Lets go of the entries that the document's bundles cover.
    fn drop_covered(&mut self, job: &mut Job, desk: &mut Desk) -> Result<(), EngineError> {
        let bundles = self.documents.get(&job.name).map(|record| record.bundles.clone()).unwrap_or_default();
        for id in bundles.into_iter().filter(|_| !off(Rule::BundleCovers)) {
            let id = EntryId::try_from(id.as_slice()).map_err(|_| EngineError::Damaged)?;
            let Some(hashes) = self.hashes_of(&id, desk)? else { continue };
            let is_in = |hash: &ChangeHash| hashes.binary_search(hash).is_ok();
            let covered = job.found.extract_if(.., |found| found.said.changes.iter().all(is_in));
            for found in covered.collect::<Vec<_>>() {
                self.drop_by_id(&found.envelope, desk)?;
            }
        }
        Ok(())
    }

    /// Makes a bundle of what was gathered and of the bundles that there are. Whether that gave one that includes more.
    fn make_bundle(&mut self, mut job: Job, desk: &mut Desk) -> Result<bool, EngineError> {
        let (name, mut before) = (job.name, 0);
        let mut said: Vec<Said> = Vec::new();
        for id in self.documents.get(&name).map(|record| record.bundles.clone()).unwrap_or_default() {
            let id = EntryId::try_from(id.as_slice()).map_err(|_| EngineError::Damaged)?;
            let Some((body, bundle)) = self.read_bundle(&id, desk)? else { continue };
            before = before.max(bundle.changes().len());
            let proofs = proof::read(&body).and_then(|proofs| proof::of_actors(proofs, &bundle));
            for proof in proofs.map_err(|_| EngineError::Damaged)? {
                let changes = proof.changes.iter().map(|place| bundle.changes()[*place].0.hash).collect();
                let proof::Proof { author, signature, hour, tag, .. } = proof;
                said.push(Said { author, signature, hour, tag, changes });
            }
            job.changes.extend(bundle.into_changes().into_iter().map(|change| (change.0.hash, change)));
        }
        said.extend(
            job.found
                .iter_mut()
                .filter(|found| found.proves)
                .map(|found| Said { changes: found.said.changes.clone(), ..found.said }),
        );
        let Some((bundle, proofs)) = choose(name.1, &job.changes, &said) else { return Ok(false) };
        if bundle.changes().len() <= before {
            return Ok(false);
        }
        let body = proof::body(name, bundle.pack()?, &proofs);
        let hours = || proofs.iter().map(|proof| proof.hour);
        let (hour, oldest_hour) = (hours().max().unwrap_or(0), hours().min().unwrap_or(0));
        self.before_publishing(desk)?;
        let Ok(envelope) = Envelope::seal_alike(self.id, self.head_key(), Body::Bundle(body), hour) else {
            // It is too large for an entry.
            return Ok(false);
        };
        if self.index.contains(&envelope, desk)? {
            return Ok(false);
        }
        self.keep(&envelope, desk)?;
        // Others may have made the same: they are asked whether they lack it.
        desk.relayed.push((self.id, envelope.id));
        let made = Arrived { id: envelope.id, hour, oldest_hour, bundle };
        // What came by entries of their own is filed; what came by bundles is, or still unread.
        self.file_bundle(name, &made, false, desk)?;
        self.drop_covered(&mut job, desk)?;
        if let Some(record) = self.documents.get_mut(&name) {
            record.loose = job.found.iter().map(|found| found.said.changes.len() as u64).sum();
            record.sweep = false;
            desk.put(documents::record_key(self.id, name.0, name.1), record.encode_to_vec());
        }
        Ok(true)
    }
}

/// The least id behind this one.
fn after(id: &EntryId) -> EntryId {
    let mut bytes = *id.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, carries) = byte.overflowing_add(1);
        *byte = next;
        if !carries {
            break;
        }
    }
    EntryId::from_bytes(bytes)
}
