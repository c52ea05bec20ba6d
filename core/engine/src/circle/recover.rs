//! A circle that was restored from an export: read at once, written to once somebody has let the device in.
//!
//! An export holds no checkpoints, so a restored device is in no epoch: it *stands apart*. It has the content keys of what
//! was said before, asks a member to be let in by a recovery (M33) that is sealed under the newest of them, and enters the
//! first epoch to which it is welcomed and whose operations it has. Until then it seals nothing but that, and commits nothing.

use clave_crypto::DeviceId;

use super::*;
use crate::membership::recovery_message;

/// What asking to be let in led to.
pub(crate) enum Return {
    /// The device is in, or was before.
    LetIn,
    /// Its person was removed, by this operation.
    Removed(OperationId),
}

impl Circle {
    /// Whether this device was restored and has not been let in yet.
    pub(crate) fn is_apart(&self) -> bool {
        self.group.is_apart()
    }

    /// Refuses whatever is to be sealed or committed while this device stands apart.
    pub(crate) fn refuse_apart(&self) -> Result<(), EngineError> {
        if self.group.is_apart() && !off(Rule::RestoredWaits) { Err(EngineError::Rejoining) } else { Ok(()) }
    }

    /// Whether this device stands apart and has not written its recovery yet.
    pub(crate) fn lacks_recovery(&self) -> bool {
        self.group.is_apart() && self.recovery.is_none()
    }

    /// Writes the recovery of this device into the log. It takes effect for others once one of them has let it in.
    pub(crate) fn recover(&mut self, action: Action, desk: &mut Desk) -> Result<(), EngineError> {
        let operation = self.log.new_operation(&desk.device, action, desk.now_ms).map_err(EngineError::NotAllowed)?;
        let id = self.publish_operation(operation, desk)?;
        self.recovery = Some(id);
        let head = self.group.head();
        let record = apart_record(head.depth, Some(&id));
        desk.put(Key::new(Keyspace::Checkpoints, self.id.as_bytes(), head.epoch.as_bytes()), record);
        Ok(())
    }

    /// Judges what an export left waiting that nothing is missing for.
    pub(crate) fn judge_waiting(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let queue = self.unlocked(desk)?;
        self.settle(desk.me(), queue, desk)
    }

    /// Founds the group once more, with this device alone, and revokes the person's other devices.
    pub(crate) fn begin_anew(&mut self, desk: &mut Desk) -> Result<(), EngineError> {
        let me = desk.me();
        if !self.group.is_apart() {
            return Ok(());
        }
        let membership = self.log.membership();
        let person = membership.devices.get(&me).ok_or(EngineError::NoSuchCircle)?.person;
        if membership.people.len() > 1 {
            return Err(EngineError::NotAlone);
        }
        let others: Vec<DeviceId> = membership.people[&person].devices.iter().copied().filter(|id| *id != me).collect();
        let suite = membership.suite;
        let checkpoint = desk.agreement.create(&desk.device, self.id.as_bytes(), suite, &mut desk.entropy);
        let cites = self.log.heads();
        self.enter_epoch(Entered { parent: None, checkpoint, after: Vec::new(), cites, adds: true }, desk)?;
        for device in others {
            self.act(Action::revoke_device(device), desk)?;
        }
        Ok(())
    }

    /// The entry by which this device asks to be let in, as long as it is to ask. Nobody who is here may have the newest key
    /// of the export, if nobody followed the lost device there: who was asked in vain is asked under an earlier one.
    pub(crate) fn recovery_envelope(&self, times: u32, desk: &mut Desk) -> Result<Option<Vec<u8>>, EngineError> {
        let me = desk.me();
        let Some(id) = self.recovery.as_ref().filter(|_| self.group.is_apart() && self.is_member(&me)) else {
            return Ok(None);
        };
        let is_own = |one: &&Operation| one.author() == me && matches!(one.action(), Action::RecoverDevice { .. });
        match (self.earlier_key(times), self.log.operations().find(is_own)) {
            (Some(key), Some(operation)) => {
                let body = Body::Operation(operation.encode());
                let sealed = Envelope::seal(self.id, &desk.device, key, body, desk.now_ms, &mut desk.entropy);
                Ok(Some(sealed.map_err(|_| EngineError::TooLarge)?.bytes))
            }
            _ => self.envelope(id, desk),
        }
    }

    /// The key for asking so many times in vain: the one before the newest, the one in the middle, the oldest.
    fn earlier_key(&self, times: u32) -> Option<&ContentKey> {
        let head = self.group.head().epoch;
        let mut held: Vec<_> = self.keys.all().filter(|(_, held)| held.epoch != head).collect();
        held.sort_by_key(|(id, held)| (std::cmp::Reverse(held.filed_ms), **id));
        let place = match times {
            0 => return None,
            1 => 0,
            2 => held.len() / 2,
            _ => held.len().saturating_sub(1),
        };
        held.get(place).map(|(_, held)| &held.key)
    }

    /// Forgets that this device stood apart, where the export left off.
    pub(super) fn note_returned(&mut self, former: EpochId, desk: &mut Desk) {
        self.recovery = None;
        if !self.group.knows(&former) {
            desk.remove(Key::new(Keyspace::Checkpoints, self.id.as_bytes(), former.as_bytes()));
        }
        desk.events.push(Event::Rejoined { circle: self.id });
    }

    /// What an export says of where this circle stands: the head as a place without secret, and its keys.
    pub(crate) fn stand_for_export(&self, desk: &Desk) -> Result<Vec<(Key, Vec<u8>)>, EngineError> {
        let head = self.group.head();
        let scope = self.id.as_bytes();
        let place = Key::new(Keyspace::Checkpoints, scope, head.epoch.as_bytes());
        let mut records = vec![(place, apart_record(head.depth, None))];
        for id in [self.head_key().key_id(), self.head_key().lasting().key_id()] {
            let key = Key::new(Keyspace::ContentKeys, scope, id.as_bytes());
            let record = desk.store.read(&key)?.ok_or(EngineError::Damaged)?;
            records.push((key, record));
        }
        Ok(records)
    }

    /// Takes in the recovery of a device that is connected: an entry like any other, from a stranger. Whoever made it has a
    /// key of this circle and the recovery phrase of somebody who is in.
    pub(crate) fn let_back_in(
        &mut self,
        peer: DeviceId,
        envelope: Vec<u8>,
        before: Vec<Operation>,
        desk: &mut Desk,
    ) -> Result<Return, Refusal> {
        let envelope = Envelope::decode(envelope)?;
        let key = self.keys.get(&envelope.tag).ok_or(Refusal::BadSeal)?;
        let opened = envelope.open(self.id, key)?;
        let Body::Operation(bytes) = &opened.body else { return Err(Refusal::NotAllowed) };
        let operation = Operation::decode(bytes).map_err(|_| Refusal::Malformed)?;
        let Action::RecoverDevice { device, recovery_signature } = operation.action() else {
            return Err(Refusal::NotAllowed);
        };
        if operation.author() != peer || device.device() != peer {
            return Err(Refusal::NotAllowed);
        }
        let id = operation.id();
        let standing = self.log.membership().device_standing(peer);
        if self.log.operation(&id).is_some() || standing == DeviceStanding::Current {
            return Ok(Return::LetIn);
        }
        let person = device.certificate.person;
        let membership = self.log.membership();
        let Some(recovery) = membership.people.get(&person).and_then(|known| known.recovery) else {
            let former = membership.former_people.get(&person).ok_or(Refusal::NotAllowed)?;
            return Ok(Return::Removed(former.by));
        };
        let message = recovery_message(self.id, peer, person);
        // The type of the key is of no matter to Ed25519; the domain keeps its signatures apart.
        let by_phrase =
            DeviceId::from_bytes(recovery.key).verify(clave_crypto::Domain::Recovery, &message, recovery_signature);
        if by_phrase.is_err() || standing != DeviceStanding::Unknown {
            return Err(Refusal::NotAllowed);
        }
        let mut news = Vec::new();
        for earlier in before {
            let (id, bytes) = (earlier.id(), earlier.encode());
            // One that is refused means nothing to anybody; nor does one that is known already.
            if self.log.operation(&id).is_none() && self.take_operation(earlier, desk).is_ok() {
                news.push(bytes);
            }
        }
        let sealed_now = envelope.tag == self.head_key().key_id();
        if !sealed_now {
            news.push(bytes.clone());
        }
        self.settle(peer, vec![envelope], desk).map_err(|_| Refusal::Unexpected)?;
        // Not everybody has the key that it was sealed with: who came later may not have it under every history policy.
        for bytes in news {
            if let Err(error) = self.publish(Body::Operation(bytes), desk) {
                tracing::error!(circle = %self.id.short(), %error, "a recovery could not be passed on under the head");
            }
        }
        Ok(Return::LetIn)
    }
}

fn apart_record(depth: u64, recovery: Option<&EntryId>) -> Vec<u8> {
    let recovery = recovery.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    local::Checkpoint { depth, apart: true, recovery, ..Default::default() }.encode_to_vec()
}
