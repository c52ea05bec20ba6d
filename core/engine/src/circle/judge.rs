//! What becomes of an entry that arrived: done, held until something else arrives, or refused.

use clave_crdt::{ChangeInfo, DocumentKind, inspect_change};

use super::*;
use crate::desk::Introduced;
use crate::entry::Opened;

/// The changes of a batch of entries, by document, so that each document takes them in one call.
pub(super) type ChangesByDocument = BTreeMap<(DocumentId, DocumentKind), Arriving>;

/// Changes of one document, and the hour of the newest entry that brought them.
#[derive(Default)]
pub(super) struct Arriving {
    pub(super) changes: Vec<(ChangeInfo, Vec<u8>)>,
    pub(super) newest_hour: u32,
    pub(super) oldest_hour: u32,
    pub(super) bundles: Vec<bundles::Arrived>,
}

/// The most operations that a commit may name as what it follows.
const COMMIT_OPERATIONS_MAX: usize = 4_096;

pub(super) enum Verdict {
    /// It took effect.
    Done,
    /// What it says is in a bundle that is here.
    Covered,
    /// It means nothing until something else has arrived.
    Wait(Awaits),
}

impl Circle {
    /// Takes in envelopes from a peer, several in one go, and tells the desk which were news.
    pub(crate) fn accept(
        &mut self,
        peer: DeviceId,
        envelopes: Vec<Vec<u8>>,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        let mut queue = Vec::with_capacity(envelopes.len());
        for bytes in envelopes {
            match Envelope::decode(bytes) {
                Ok(envelope) if self.is_here(&envelope, desk)? => {}
                Ok(envelope) if !envelope.tag.is_lasting() && self.has_expired_by(envelope.hour, desk.now_ms) => {
                    self.refuse_expired(envelope.id, desk)
                }
                Ok(envelope) if self.refused.contains_key(&envelope.id) => desk.refuse(self.refused[&envelope.id]),
                Ok(envelope) if self.is_covered(&envelope.id) => {}
                Ok(envelope) => queue.push(envelope),
                Err(refusal) => desk.refuse(refusal),
            }
        }
        self.settle(peer, queue, desk)
    }

    /// Judges what is new and whatever it unlocks, until nothing moves any more.
    pub(super) fn settle(
        &mut self,
        peer: DeviceId,
        mut queue: Vec<Envelope>,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        let mut changes = ChangesByDocument::new();
        let mut result = Ok(());
        while !queue.is_empty() {
            let mut waiting = Vec::new();
            for envelope in queue {
                match self.judge(&envelope, &mut changes, desk) {
                    Ok(Verdict::Done) => result = result.and(self.release(&envelope, desk)),
                    Ok(Verdict::Covered) => result = result.and(self.pass_over(&envelope, desk)),
                    Ok(Verdict::Wait(awaits)) => waiting.push((envelope, awaits)),
                    Err(refusal) => self.drop_refused(&envelope, refusal, desk),
                }
            }
            for (envelope, awaits) in waiting {
                result = result.and(self.hold(&envelope, awaits, peer, desk));
            }
            queue = match self.unlocked(desk) {
                Ok(unlocked) => unlocked,
                // What was judged so far is filed as done: it has to take effect all the same.
                Err(error) => {
                    result = Err(error);
                    Vec::new()
                }
            };
        }
        let applied = self.apply(changes, desk);
        result.and(applied)
    }

    fn is_here(&self, envelope: &Envelope, desk: &mut Desk) -> Result<bool, EngineError> {
        self.index.contains(envelope, desk).inspect_err(|error| self.note_damage(error, desk))
    }

    fn release(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<(), EngineError> {
        if self.held.remove(&envelope.id) {
            desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()));
        } else if !self.is_here(envelope, desk).unwrap_or(false) {
            desk.relayed.push((self.id, envelope.id));
            return self.keep(envelope, desk);
        }
        Ok(())
    }

    fn hold(
        &mut self,
        envelope: &Envelope,
        awaits: Awaits,
        peer: DeviceId,
        desk: &mut Desk,
    ) -> Result<(), EngineError> {
        if self.held.contains(&envelope.id) {
            self.held.insert(envelope.id, awaits, envelope.bytes.len(), Some(peer));
            return Ok(());
        }
        while !self.held.has_room_for(envelope.bytes.len()) {
            match self.held.makes_room_for(Some(peer)) {
                Some(id) => self.let_go(id, desk)?,
                None => {
                    desk.refuse(Refusal::TooManyHeld);
                    return Ok(());
                }
            }
        }
        self.held.insert(envelope.id, awaits, envelope.bytes.len(), Some(peer));
        desk.put(
            Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()),
            envelope.tag.as_bytes().to_vec(),
        );
        desk.relayed.push((self.id, envelope.id));
        self.keep(envelope, desk)
    }

    /// Forgets an entry that waits, as though it had never come: it may come again.
    fn let_go(&mut self, id: EntryId, desk: &mut Desk) -> Result<(), EngineError> {
        self.held.remove(&id);
        desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), id.as_bytes()));
        let envelope = self.envelope(&id, desk).ok().flatten().and_then(|bytes| Envelope::decode(bytes).ok());
        desk.remove(Key::new(Keyspace::Entries, self.id.as_bytes(), id.as_bytes()));
        let Some(envelope) = envelope else { return Ok(()) };
        self.forget_expiry(&envelope);
        self.index.remove(&envelope, desk).inspect_err(|error| self.note_damage(error, desk))
    }

    fn drop_refused(&mut self, envelope: &Envelope, refusal: Refusal, desk: &mut Desk) {
        desk.refuse(refusal);
        if self.held.remove(&envelope.id) {
            // It stays in the index: an entry that was held was passed on, and would be offered again for ever.
            desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()));
            self.carry(envelope, desk);
        } else if refusal != Refusal::TooManyHeld {
            self.remember_refused(envelope.id, refusal);
        }
    }

    /// Others may have held it, and offer it for ever. When there is no room, whoever has the least id goes.
    pub(super) fn remember_refused(&mut self, id: EntryId, refusal: Refusal) {
        if self.refused.len() >= REFUSED_ENTRIES_MAX {
            self.refused.pop_first();
        }
        self.refused.insert(id, refusal);
    }

    /// The held entries for which there is by now what they waited for. Each is judged once for each thing that it waits
    /// for, however much else arrives.
    pub(super) fn unlocked(&mut self, desk: &mut Desk) -> Result<Vec<Envelope>, EngineError> {
        self.hold_carried(desk)?;
        let mut ready = self.held.ready(|awaits| match awaits {
            Awaits::Key(tag) => self.content_key(tag).is_some() || self.direct.contains_key(tag),
            Awaits::FreeKey(tag) => self.is_free(tag),
            Awaits::Author(device) => self.log.membership().device_standing(*device) != DeviceStanding::Unknown,
            Awaits::Operation(id) => self.log.operation(id).is_some(),
            Awaits::Space(commit) => self.is_space_known(commit),
            Awaits::Opening => false,
        });
        ready.extend(std::mem::take(&mut self.released));
        let mut envelopes = Vec::with_capacity(ready.len());
        for id in ready {
            if let Some(bytes) = self.envelope(&id, desk)? {
                envelopes.push(Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?);
            }
        }
        Ok(envelopes)
    }

    /// Notes that an entry has no effect here, and is kept for others only.
    fn carry(&self, envelope: &Envelope, desk: &mut Desk) {
        let suffix = [envelope.tag.as_bytes().as_slice(), envelope.id.as_bytes()].concat();
        desk.put(Key::new(Keyspace::Carried, self.id.as_bytes(), suffix), Vec::new());
    }

    /// What was carried under keys that came since waits like any other from now on, for nothing more.
    fn hold_carried(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        while let Some(tag) = self.came.last().copied() {
            let carried = desk.store.suffixes_with(Keyspace::Carried, self.id.as_bytes(), tag.as_bytes())?;
            for suffix in carried.into_iter().filter(|_| !off(Rule::CarriedRead)) {
                let id = carried_id(&suffix)?;
                desk.remove(Key::new(Keyspace::Carried, self.id.as_bytes(), suffix));
                if let Some(bytes) = self.envelope(&id, desk)? {
                    self.held.insert(id, Awaits::Key(tag), bytes.len(), None);
                    desk.put(Key::new(Keyspace::Held, self.id.as_bytes(), id.as_bytes()), tag.as_bytes().to_vec());
                }
            }
            self.came.pop();
        }
        Ok(())
    }

    fn judge(
        &mut self,
        envelope: &Envelope,
        changes: &mut ChangesByDocument,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        if let Some(recipient) = self.direct.get(&envelope.tag) {
            // What is for another device is kept and passed on until that device has it.
            return if *recipient == desk.me() { self.judge_direct(envelope, desk) } else { Ok(Verdict::Done) };
        }
        let Some(key) = self.content_key(&envelope.tag) else {
            if self.is_from_before(envelope, desk) {
                // It is carried for others, and takes nobody's place. Its hour may be wrong, or others hand the key over all the same.
                self.carry(envelope, desk);
                return Ok(Verdict::Done);
            }
            return Ok(Verdict::Wait(Awaits::Key(envelope.tag)));
        };
        let opened = match envelope.open(self.id, key) {
            // From a newer version: kept, passed on, and understood after an update.
            Err(Refusal::UnknownBody) => return Ok(Verdict::Wait(Awaits::Opening)),
            opened => opened?,
        };
        // The operation that added the author may be on its way, or can be read only with keys that others hand over: so
        // keys, like operations, are heard from whoever has the key that they are sealed with.
        let author = opened.author;
        if let Some(author) = author.filter(|_| !matches!(opened.body, Body::Keys(_)))
            && self.log.membership().device_standing(author) == DeviceStanding::Unknown
            && !off(Rule::AuthorKnown)
        {
            return Ok(Verdict::Wait(Awaits::Author(author)));
        }
        let guides = is_guide(&opened.body);
        let verdict = self.take(envelope, opened, changes, desk)?;
        if guides && matches!(verdict, Verdict::Done) {
            self.note_guide(envelope, desk);
        }
        let is_done = matches!(verdict, Verdict::Done | Verdict::Covered);
        if let Some(author) = author.filter(|author| is_done && self.is_member(author)) {
            self.note_seen(author, &envelope.tag, desk);
        }
        Ok(verdict)
    }

    fn take(
        &mut self,
        envelope: &Envelope,
        opened: Opened,
        changes: &mut ChangesByDocument,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        let lasting = envelope.tag.is_lasting();
        let may_last = matches!(opened.body, Body::Changes(_) | Body::Keys(_));
        if lasting && !may_last && !off(Rule::LastingKeys) {
            return Err(Refusal::WrongKey);
        }
        match (opened.body, opened.author) {
            (Body::Operation(bytes), _) => {
                let operation = Operation::decode(&bytes).map_err(|_| Refusal::Malformed)?;
                self.take_operation(operation, desk)?;
                Ok(Verdict::Done)
            }
            (Body::Commit(commit), Some(author)) => {
                let was_known = epoch_id(&commit.epoch).is_some_and(|epoch| self.group.knows(&epoch));
                let verdict = self.judge_commit(author, envelope.id, &commit, desk)?;
                if matches!(verdict, Verdict::Done) {
                    let entered = epoch_id(&commit.epoch).is_some_and(|epoch| self.group.knows(&epoch));
                    self.note_key_change(envelope.id, entered && !was_known, desk);
                }
                Ok(verdict)
            }
            (Body::Keys(bundle), _) => self.judge_keys(Source::Under(envelope.tag), &bundle, desk),
            // Others may never have that key: whoever builds on what they cannot read is not read either.
            (Body::Changes(_), Some(_)) if !self.is_free(&envelope.tag) && !off(Rule::FreeKey) => {
                Ok(Verdict::Wait(Awaits::FreeKey(envelope.tag)))
            }
            (Body::Changes(body), Some(author)) => self.judge_changes(author, envelope, body, changes, desk),
            (Body::Bundle(body), _) => self.judge_bundle(envelope, &body, changes),
            // That its author wrote it under this key is all that it says.
            (Body::Acknowledge(_), _) => Ok(Verdict::Done),
            // It says nothing to anybody but the device that it is for.
            _ => Err(Refusal::Unexpected),
        }
    }

    /// Judges what is sealed to this device alone. Its author may be somebody whom the log does not know yet: this device
    /// may have been left where the operation that added them cannot be read, and this be the way out.
    fn judge_direct(&mut self, envelope: &Envelope, desk: &mut Desk) -> Result<Verdict, Refusal> {
        let opened = match envelope.open_direct(self.id, &desk.device) {
            Err(Refusal::UnknownBody) => return Ok(Verdict::Wait(Awaits::Opening)),
            opened => opened?,
        };
        // What is to take effect must be the same for all, so all must be able to read it: no operations, no commits.
        let author = opened.author.ok_or(Refusal::Unexpected)?;
        match opened.body {
            Body::Keys(bundle) => self.judge_keys(Source::Direct, &bundle, desk),
            Body::Welcome(welcome) => self.judge_welcome(author, &welcome, desk),
            Body::Introduction(introduction) => {
                desk.introduced.push(Introduced { space: self.id, author, introduction });
                Ok(Verdict::Done)
            }
            Body::Plea(plea) => self.judge_plea(author, &plea, desk),
            Body::Marks(_) | Body::Reads(_) => {
                let membership = self.log.membership();
                if membership.device_standing(author) == DeviceStanding::Unknown {
                    return Ok(Verdict::Wait(Awaits::Author(author)));
                }
                if desk.person.is_none() || self.log.person_of(author) != desk.person {
                    return Err(Refusal::NotAllowed);
                }
                // It was said while both were in, perhaps: whoever hears it later files it, too, and it has no effect.
                let is_in = |device: &DeviceId| {
                    membership.devices.get(device).is_some_and(|known| Some(known.person) == desk.person)
                };
                if !is_in(&author) || !is_in(&desk.me()) {
                    return Ok(Verdict::Done);
                }
                match opened.body {
                    Body::Marks(marks) => desk.marks.push((self.id, marks)),
                    Body::Reads(reads) => desk.reads.push(reads),
                    _ => {}
                }
                Ok(Verdict::Done)
            }
            Body::Operation(_) | Body::Commit(_) | Body::Changes(_) | Body::Bundle(_) | Body::Acknowledge(_) => {
                Err(Refusal::Unexpected)
            }
        }
    }

    fn judge_commit(
        &mut self,
        author: DeviceId,
        id: EntryId,
        commit: &proto::Commit,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        let parent = epoch_id(&commit.parent).ok_or(Refusal::Malformed)?;
        let epoch = epoch_id(&commit.epoch).ok_or(Refusal::Malformed)?;
        if self.group.knows(&epoch) {
            return Ok(Verdict::Done);
        }
        let Some(checkpoint) = self.group.get(&parent) else {
            // From an epoch whose secrets are erased nobody is expected to start any more: if they do, a plea leads back.
            if !self.group.knows(&parent) {
                self.note_unfollowed(parent, id, desk);
            }
            return Ok(Verdict::Done);
        };
        if author == desk.me() {
            // Nobody can process a commit of their own. Where it led to was written down before anybody heard of it, so this
            // device lost that: it went back to an older state of its disk.
            self.pleas.went_astray(parent);
            return Ok(Verdict::Done);
        }
        let heads = cited(&commit.operations)?;
        if let Some(missing) = heads.iter().find(|id| self.log.operation(id).is_none() && !off(Rule::CommitWaits)) {
            // Without the operations it follows it never takes effect. Asked first: it may be asked often.
            return Ok(Verdict::Wait(Awaits::Operation(*missing)));
        }
        let processed = match desk.agreement.process(&desk.device, checkpoint, &commit.message) {
            Ok(processed) => processed,
            // It says to give this device a new leaf. What becomes of that shows by the Welcome.
            Err(clave_crypto::CryptoError::Evicted) if commit.renews.iter().any(|id| id == desk.me().as_bytes()) => {
                return Ok(Verdict::Done);
            }
            Err(clave_crypto::CryptoError::Evicted) => {
                let Some(gone) = self.justified(&heads, &[author], [&desk.me()]) else {
                    return if off(Rule::EvictedJudges) { Ok(Verdict::Done) } else { Err(Refusal::UnjustifiedCommit) };
                };
                return match self.had_left_space(id, cited(&commit.space)?, &gone) {
                    None => Ok(Verdict::Wait(Awaits::Space(id))),
                    Some(false) if !off(Rule::EvictedJudges) => Err(Refusal::UnjustifiedCommit),
                    Some(_) => Ok(Verdict::Done),
                };
            }
            Err(_) => return Err(Refusal::UnjustifiedCommit),
        };
        if (processed.committer != author || processed.checkpoint.epoch != epoch) && !off(Rule::CommitTrue) {
            return Err(Refusal::UnjustifiedCommit);
        }
        // Its author is one of the leaves, and so is whoever it adds. Nobody else may be left in either: what cites a removal
        // carries it out.
        let is_checked = |device: &&DeviceId| {
            !(off(Rule::CommitAdds) && processed.added.contains(device) || off(Rule::CommitterIn) && **device == author)
        };
        let present: Vec<DeviceId> = processed.checkpoint.leaves.iter().filter(is_checked).copied().collect();
        // Who gets a new leaf has to be in, as has whoever is added. They were told that they do, and nobody else was.
        let (renewed, absent): (BTreeSet<DeviceId>, BTreeSet<DeviceId>) =
            processed.removed.iter().copied().partition(|device| processed.added.contains(device));
        let told = Told::read(commit)?;
        let removed = absent.iter().filter(|_| !off(Rule::CommitRemoves));
        let gone = self.justified(&heads, &present, removed).ok_or(Refusal::UnjustifiedCommit)?;
        let added: BTreeSet<DeviceId> = processed.added.iter().copied().filter(|id| !renewed.contains(id)).collect();
        let is_told = told.renews == renewed && told.adds == added && told.removes == absent;
        if !is_told && !off(Rule::RenewsTold) {
            return Err(Refusal::UnjustifiedCommit);
        }
        match self.had_left_space(id, cited(&commit.space)?, &gone) {
            None => return Ok(Verdict::Wait(Awaits::Space(id))),
            Some(false) => return Err(Refusal::UnjustifiedCommit),
            Some(true) => {}
        }
        for device in renewed.iter().copied() {
            self.pleas.renewed(device, desk.now_ms);
        }
        let checkpoint = processed.checkpoint;
        if !absent.is_empty() {
            self.seen.removed(epoch);
        }
        let (parent, adds) = (Some(parent), !processed.added.is_empty());
        self.enter_epoch(Entered { parent, checkpoint, after: Vec::new(), cites: heads, adds }, desk)
            .map_err(|_| Refusal::UnjustifiedCommit)?;
        Ok(Verdict::Done)
    }

    /// Whether a commit does what the log said at the point that it names: who is to be in was in, who is to be out was
    /// out. What came later, here or elsewhere, has no say in it, so that every device judges alike. Those who are to be out and
    /// were in are left for the space to answer for.
    fn justified<'a>(
        &self,
        heads: &[OperationId],
        present: &[DeviceId],
        absent: impl IntoIterator<Item = &'a DeviceId>,
    ) -> Option<Vec<DeviceId>> {
        let at_point;
        let membership = if self.log.heads() == heads {
            self.log.membership()
        } else {
            at_point = self.log.membership_at(heads)?;
            &at_point
        };
        let is_in = |device: &DeviceId| membership.devices.contains_key(device);
        present.iter().all(is_in).then(|| absent.into_iter().filter(|device| is_in(device)).copied().collect())
    }

    fn judge_keys(&mut self, source: Source, bundle: &proto::KeyBundle, desk: &mut Desk) -> Result<Verdict, Refusal> {
        let read = |key: &proto::ContentKey| {
            let bytes = <[u8; 32]>::try_from(key.key.as_slice()).ok()?;
            Some((epoch_id(&key.epoch)?, ContentKey::of_class(bytes.into(), key.lasting)))
        };
        let keys = bundle.keys.iter().map(read).collect::<Option<Vec<_>>>().ok_or(Refusal::Malformed)?;
        let given = bundle.given.iter().map(|id| KeyId::try_from(id.as_slice()).map_err(|_| Refusal::Malformed));
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let after = self.not_here(cited(&bundle.operations)?);
        let log = bundle.log.iter().map(|bytes| Operation::decode(bytes).map_err(|_| Refusal::Malformed));
        let log: Vec<Operation> = log.collect::<Result<_, _>>()?;
        if matches!(source, Source::Under(_)) && !log.is_empty() {
            return Err(Refusal::Unexpected);
        }
        if let Source::Under(under) = source {
            if keys.iter().any(|(_, key)| key.is_lasting() != under.is_lasting()) {
                return Err(Refusal::WrongKey);
            }
            // Should it be a lie, a plea brings them.
            for id in given {
                self.note_handed_over(&id, under, desk);
            }
        }
        for (epoch, key) in keys {
            self.learn_key(epoch, key, source, after.clone(), desk);
        }
        self.take_log(log, desk)?;
        Ok(Verdict::Done)
    }

    /// The operations that have not arrived.
    pub(super) fn not_here(&self, mut operations: Vec<OperationId>) -> Vec<OperationId> {
        operations.retain(|id| self.log.operation(id).is_none());
        operations
    }

    fn judge_changes(
        &mut self,
        author: DeviceId,
        envelope: &Envelope,
        body: proto::Changes,
        changes: &mut ChangesByDocument,
        desk: &Desk,
    ) -> Result<Verdict, Refusal> {
        let document = DocumentId::try_from(body.document.as_slice()).map_err(|_| Refusal::Malformed)?;
        let Some(kind) = documents::kind_of(body.kind) else { return Ok(Verdict::Wait(Awaits::Opening)) };
        if documents::lasts(kind) != envelope.tag.is_lasting() && !off(Rule::LastingKeys) {
            return Err(Refusal::WrongKey);
        }
        let mut read = Vec::with_capacity(body.changes.len());
        for change in body.changes {
            let info = inspect_change(&change).map_err(|_| Refusal::Malformed)?;
            if !info.actor.belongs_to(author.as_bytes()) && !off(Rule::OwnActor) {
                return Err(Refusal::ForeignActor);
            }
            read.push((info, change));
        }
        if self.covers(&(document, kind), &read, desk) {
            return Ok(Verdict::Covered);
        }
        let arriving = changes.entry((document, kind)).or_default();
        arriving.oldest_hour =
            if arriving.changes.is_empty() { envelope.hour } else { arriving.oldest_hour.min(envelope.hour) };
        arriving.newest_hour = arriving.newest_hour.max(envelope.hour);
        arriving.changes.extend(read);
        Ok(Verdict::Done)
    }
}

/// Whom a commit says that it renews, adds and removes.
pub(super) struct Told {
    pub(super) renews: BTreeSet<DeviceId>,
    pub(super) adds: BTreeSet<DeviceId>,
    pub(super) removes: BTreeSet<DeviceId>,
}

impl Told {
    pub(super) fn read(commit: &proto::Commit) -> Result<Self, Refusal> {
        let read = |ids: &[Vec<u8>]| -> Result<BTreeSet<DeviceId>, Refusal> {
            ids.iter().map(|id| DeviceId::try_from(id.as_slice()).map_err(|_| Refusal::Malformed)).collect()
        };
        Ok(Self { renews: read(&commit.renews)?, adds: read(&commit.adds)?, removes: read(&commit.removes)? })
    }
}

/// Reads the operations that an entry cites.
pub(super) fn cited(ids: &[Vec<u8>]) -> Result<Vec<OperationId>, Refusal> {
    if ids.len() > COMMIT_OPERATIONS_MAX {
        return Err(Refusal::Oversized);
    }
    ids.iter().map(|id| OperationId::try_from(id.as_slice()).map_err(|_| Refusal::Malformed)).collect()
}

/// Which entry a record of [`Keyspace::Carried`] names, behind the key that it is under.
pub(crate) fn carried_id(suffix: &[u8]) -> Result<EntryId, EngineError> {
    let id = suffix.get(16..).unwrap_or_default();
    EntryId::try_from(id).map_err(|_| EngineError::Damaged)
}
