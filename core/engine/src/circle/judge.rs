//! What becomes of an entry that arrived: done, held until something else arrives, or refused.

use clave_crdt::{DocumentKind, inspect_change};
use clave_crypto::Processed;

use super::*;
use crate::OperationId;

/// The changes of a batch of entries, by document, so that each document takes them in one call.
type ChangesByDocument = BTreeMap<DocumentId, (DocumentKind, Vec<Vec<u8>>)>;

pub(super) enum Verdict {
    /// It took effect. `unlocks`: something that waited may be judged now.
    Done { unlocks: bool },
    /// It means nothing until something else has arrived.
    Wait,
}

impl Circle {
    /// Takes in envelopes from a peer, several in one go, and tells the desk which were news.
    pub(crate) fn accept(&mut self, envelopes: Vec<Vec<u8>>, desk: &mut Desk) -> Result<(), EngineError> {
        let mut queue = Vec::with_capacity(envelopes.len());
        for bytes in envelopes {
            match Envelope::decode(bytes) {
                Ok(envelope) if self.index.contains(envelope.hour, envelope.id) => {}
                Ok(envelope) => queue.push(envelope),
                Err(refusal) => desk.refuse(refusal),
            }
        }
        self.settle(queue, desk)
    }

    /// Judges what is new and whatever it unlocks, until nothing moves any more.
    pub(crate) fn settle(&mut self, mut queue: Vec<Envelope>, desk: &mut Desk) -> Result<(), EngineError> {
        let mut changes = ChangesByDocument::new();
        while !queue.is_empty() {
            let mut unlocked = false;
            let mut waiting = Vec::new();
            for envelope in queue {
                match self.judge(&envelope, &mut changes, desk) {
                    Ok(Verdict::Done { unlocks }) => {
                        unlocked |= unlocks;
                        self.release(&envelope, desk);
                    }
                    Ok(Verdict::Wait) => waiting.push(envelope),
                    Err(refusal) => self.drop_refused(&envelope, refusal, desk),
                }
            }
            for envelope in waiting {
                self.hold(&envelope, desk);
            }
            queue = if unlocked { self.openable(desk)? } else { Vec::new() };
        }
        self.apply(changes, desk);
        Ok(())
    }

    fn release(&mut self, envelope: &Envelope, desk: &mut Desk) {
        if self.held.remove(&envelope.id).is_some() {
            desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()));
        } else {
            self.keep(envelope, desk);
            desk.relayed.push((self.id, envelope.id));
        }
    }

    fn hold(&mut self, envelope: &Envelope, desk: &mut Desk) {
        if self.held.contains_key(&envelope.id) {
            return;
        }
        if self.held.len() >= HELD_ENTRIES_MAX {
            return desk.refuse(Refusal::TooManyHeld);
        }
        self.held.insert(envelope.id, envelope.tag);
        self.keep(envelope, desk);
        desk.put(
            Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()),
            envelope.tag.as_bytes().to_vec(),
        );
        desk.relayed.push((self.id, envelope.id));
    }

    fn drop_refused(&mut self, envelope: &Envelope, refusal: Refusal, desk: &mut Desk) {
        desk.refuse(refusal);
        if self.held.remove(&envelope.id).is_some() {
            // It stays in the index: an entry that was held was passed on, and would be offered again for ever.
            desk.remove(Key::new(Keyspace::Held, self.id.as_bytes(), envelope.id.as_bytes()));
        }
    }

    /// The held entries whose key is known by now.
    fn openable(&self, desk: &Desk) -> Result<Vec<Envelope>, EngineError> {
        let mut envelopes = Vec::new();
        for (id, _) in self.held.iter().filter(|(_, tag)| self.keys.get(tag).is_some()) {
            if let Some(bytes) = self.envelope(id, desk)? {
                envelopes.push(Envelope::decode(bytes).map_err(|_| EngineError::Damaged)?);
            }
        }
        Ok(envelopes)
    }

    fn judge(
        &mut self,
        envelope: &Envelope,
        changes: &mut ChangesByDocument,
        desk: &mut Desk,
    ) -> Result<Verdict, Refusal> {
        let Some(key) = self.keys.get(&envelope.tag) else { return Ok(Verdict::Wait) };
        let opened = match envelope.open(self.id, key) {
            // From a newer version: kept, passed on, and understood after an update.
            Err(Refusal::UnknownBody) => return Ok(Verdict::Wait),
            opened => opened?,
        };
        if self.log.membership().device_standing(opened.author) == DeviceStanding::Unknown {
            // The operation that added the author may be on its way.
            if !matches!(opened.body, Body::Operation(_)) {
                return Ok(Verdict::Wait);
            }
        }
        match opened.body {
            Body::Operation(bytes) => {
                let operation = Operation::decode(&bytes).map_err(|_| Refusal::Malformed)?;
                if !self.take_operation(operation, desk) {
                    return Err(Refusal::NotAllowed);
                }
                Ok(Verdict::Done { unlocks: true })
            }
            Body::Commit(commit) => self.judge_commit(opened.author, &commit, desk),
            Body::Keys(bundle) => self.judge_keys(&envelope.tag, &bundle, desk),
            Body::Changes(body) => self.judge_changes(opened.author, body, changes),
            Body::Welcome(welcome) => self.judge_welcome(opened.author, &welcome, desk),
        }
    }

    fn judge_commit(&mut self, author: DeviceId, commit: &proto::Commit, desk: &mut Desk) -> Result<Verdict, Refusal> {
        let parent = epoch_id(&commit.parent).ok_or(Refusal::Malformed)?;
        let epoch = epoch_id(&commit.epoch).ok_or(Refusal::Malformed)?;
        if self.group.get(&epoch).is_some() {
            self.hear_of(epoch, parent, desk);
            return Ok(Verdict::Done { unlocks: true });
        }
        let Some(checkpoint) = self.group.get(&parent) else {
            if !self.group.knows(&parent) && !self.group.knows(&epoch) {
                return Ok(Verdict::Wait);
            }
            // From before this device joined, or on a branch it is not in.
            self.hear_of(epoch, parent, desk);
            return Ok(Verdict::Done { unlocks: true });
        };
        let processed = match desk.agreement.process(&desk.device, checkpoint, &commit.message) {
            Ok(processed) => processed,
            Err(clave_crypto::CryptoError::Evicted) => {
                self.hear_of(epoch, parent, desk);
                return Ok(Verdict::Done { unlocks: true });
            }
            Err(_) => return Err(Refusal::UnjustifiedCommit),
        };
        if processed.committer != author || processed.checkpoint.epoch != epoch {
            return Err(Refusal::UnjustifiedCommit);
        }
        let mut heads = Vec::with_capacity(commit.operations.len());
        for id in &commit.operations {
            heads.push(OperationId::try_from(id.as_slice()).map_err(|_| Refusal::Malformed)?);
        }
        match self.is_justified(author, &processed, &heads) {
            // Without the operations it follows it never takes effect.
            None => return Ok(Verdict::Wait),
            Some(false) => return Err(Refusal::UnjustifiedCommit),
            Some(true) => {}
        }
        self.enter_epoch(Some(parent), processed.checkpoint, desk).map_err(|_| Refusal::UnjustifiedCommit)?;
        Ok(Verdict::Done { unlocks: true })
    }

    /// Whether a commit does what the log said at the point that it names; what came later, here or elsewhere, has no
    /// say in it, so that every device judges alike. `None`: some of that has not arrived.
    fn is_justified(&self, author: DeviceId, processed: &Processed, heads: &[OperationId]) -> Option<bool> {
        let at_point;
        let membership = if self.log.heads() == heads {
            self.log.membership()
        } else {
            at_point = self.log.membership_at(heads)?;
            &at_point
        };
        let is_in = |device: &DeviceId| membership.devices.contains_key(device);
        Some(is_in(&author) && processed.added.iter().all(is_in) && !processed.removed.iter().any(is_in))
    }

    fn judge_keys(&mut self, tag: &KeyId, bundle: &proto::KeyBundle, desk: &mut Desk) -> Result<Verdict, Refusal> {
        let under = self.keys.held(tag).map(|held| held.epoch).expect("the bundle was opened with it");
        let mut news = false;
        for key in &bundle.keys {
            let epoch = epoch_id(&key.epoch).ok_or(Refusal::Malformed)?;
            let key = <[u8; 32]>::try_from(key.key.as_slice()).map_err(|_| Refusal::Malformed)?;
            news |= self.learn_key(epoch, ContentKey::from_bytes(key.into()), under, desk);
        }
        Ok(Verdict::Done { unlocks: news })
    }

    fn judge_changes(
        &self,
        author: DeviceId,
        body: proto::Changes,
        changes: &mut ChangesByDocument,
    ) -> Result<Verdict, Refusal> {
        let document = DocumentId::try_from(body.document.as_slice()).map_err(|_| Refusal::Malformed)?;
        let kind = documents::kind_of(body.kind).ok_or(Refusal::UnknownBody)?;
        let known = self.documents.get(&document).map(|record| record.kind);
        let batched = changes.get(&document).map(|(kind, _)| u32::from(kind.number()));
        if known.or(batched).is_some_and(|known| known != body.kind) {
            return Err(Refusal::Malformed);
        }
        for change in &body.changes {
            let info = inspect_change(change).map_err(|_| Refusal::Malformed)?;
            if !info.actor.belongs_to(author.as_bytes()) {
                return Err(Refusal::ForeignActor);
            }
        }
        changes.entry(document).or_insert_with(|| (kind, Vec::new())).1.extend(body.changes);
        Ok(Verdict::Done { unlocks: false })
    }
}
