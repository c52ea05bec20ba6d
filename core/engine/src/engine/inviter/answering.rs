//! Answering who takes an invitation up: the handshake, what is asked for in it, and the Welcome.

use clave_crypto::{ContentKey, Domain, Handshake, Signature, Suite};
use prost::Message as _;

use super::*;
use crate::engine::join::{Answering, Door, HANDSHAKES_MAX, prologue};
use crate::engine::linking::{LinkStage, link_prologue};
use crate::engine::pieces::{Piece, REQUEST_BYTES_MAX, Talk};
use crate::identity::check_name;
use crate::membership::{Action, KeyPackages, Operation, PersonEntry, Reason, Role};
use crate::proto::invitation as proto;
use crate::proto::invitation::answer::Body as AnswerBody;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::proto::local;
use crate::{Key, Refusal};

impl Engine {
    /// Message 1, perhaps anew after a lost connection.
    pub(in crate::engine) fn answer_handshake(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        attempt: u64,
        message: &[u8],
    ) -> Result<(), Refusal> {
        if self.joins.answering.get(&(peer, id)).is_some_and(|(current, _)| *current == attempt) {
            return Err(Refusal::Unexpected);
        }
        let record = match self.usable_invitation(peer, id) {
            Ok(record) => record,
            Err(error) => {
                self.refuse_join(peer, id, attempt, error);
                return Ok(());
            }
        };
        self.joins.answering.remove(&(peer, id));
        self.joins.make_room(self.desk.now_ms);
        if self.joins.answering.len() >= HANDSHAKES_MAX {
            self.refuse_join(peer, id, attempt, JoinError::Busy);
            return Ok(());
        }
        let secret: [u8; 32] = record.secret.as_slice().try_into().map_err(|_| Refusal::Malformed)?;
        let prologue = match &record.link {
            Some(_) => link_prologue(id, self.desk.me()),
            None => {
                let circle = CircleId::try_from(record.circle.as_slice()).map_err(|_| Refusal::Malformed)?;
                prologue(id, circle, self.desk.me())
            }
        };
        let mut handshake = Handshake::responder(&secret, &prologue, &mut self.desk.entropy);
        if handshake.read(message).is_err() {
            // The joiner's link names another circle.
            self.refuse_join(peer, id, attempt, JoinError::Tampered);
            return Ok(());
        }
        let reply = handshake.write(&[]).map_err(|_| Refusal::Malformed)?;
        self.joins.answering.insert((peer, id), (attempt, Answering::Handshake(Box::new(handshake))));
        self.joins.began_ms.insert((peer, id), self.desk.now_ms);
        self.send_join(peer, id, attempt, FrameBody::Handshake(reply));
        Ok(())
    }

    /// Message 3: the first that shows whether the other side holds the secret.
    pub(in crate::engine) fn finish_handshake(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        attempt: u64,
        message: &[u8],
    ) -> Result<(), Refusal> {
        let mut handshake = match self.joins.answering.remove(&(peer, id)) {
            Some((current, Answering::Handshake(handshake))) if current == attempt => handshake,
            // Of an attempt that was given up, or twice.
            other => {
                self.joins.answering.extend(other.map(|other| ((peer, id), other)));
                return Err(Refusal::Unexpected);
            }
        };
        if handshake.read(message).is_err() {
            self.refuse_join(peer, id, attempt, JoinError::Tampered);
            return Ok(());
        }
        let talk = Talk::new(handshake.into_session().map_err(|_| Refusal::Malformed)?, REQUEST_BYTES_MAX);
        let is_link = self.load_invitation(id).ok().flatten().is_some_and(|record| record.link.is_some());
        let door = if is_link { Door::Link(LinkStage::Hello) } else { Door::Invitation };
        self.joins.answering.insert((peer, id), (attempt, Answering::Session(Box::new(talk), door)));
        Ok(())
    }

    /// What comes in a session.
    pub(in crate::engine) fn answer_sealed(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        attempt: u64,
        sealed: &[u8],
    ) -> Result<(), Refusal> {
        let (mut talk, door) = match self.joins.answering.remove(&(peer, id)) {
            // Who asks again before the answer has left does not keep to the protocol.
            Some((current, Answering::Session(talk, door))) if current == attempt && !talk.is_sending() => (talk, door),
            other => {
                self.joins.answering.extend(other.map(|other| ((peer, id), other)));
                return Err(Refusal::Unexpected);
            }
        };
        let door = match talk.take(sealed)? {
            Piece::Partial(_) => door,
            Piece::Whole(message) => match door {
                Door::Invitation => {
                    self.answer_request(peer, id, &mut talk, &message)?;
                    Door::Over
                }
                Door::Link(stage) => self.answer_link(peer, id, &mut talk, &message, stage)?,
                Door::Over => return Err(Refusal::Unexpected),
            },
        };
        self.joins.answering.insert((peer, id), (attempt, Answering::Session(talk, door)));
        Ok(())
    }

    fn answer_request(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        talk: &mut Talk,
        message: &[u8],
    ) -> Result<(), Refusal> {
        let request = proto::Request::decode(message).map_err(|_| Refusal::Malformed)?;
        let body = match self.admit(peer, id, &request, &talk.handshake_hash()) {
            Ok(accepted) => AnswerBody::Accepted(accepted),
            Err(error) => AnswerBody::Refused(error as u32),
        };
        talk.send(proto::Answer { body: Some(body) }.encode_to_vec());
        Ok(())
    }

    /// Lets in who asks, if the invitation and their papers are in order. Who asks need not be connected.
    pub(in crate::engine) fn admit(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        request: &proto::Request,
        handshake_hash: &[u8; 32],
    ) -> Result<proto::Accepted, JoinError> {
        let mut record = self.usable_invitation(peer, id)?;
        let circle_id = CircleId::try_from(record.circle.as_slice()).map_err(|_| JoinError::Unknown)?;
        let suite = self.circles.get(&circle_id).ok_or(JoinError::Unknown)?.suite();
        let newcomer = check_request(peer, request, handshake_hash, suite, &self.desk).ok_or(JoinError::Protocol)?;
        let offered = newcomer.devices.first().ok_or(JoinError::Protocol)?.key_packages.clone();
        // Or else: the same device once more, whose answer was lost on the way.
        if record.used_by.is_empty() {
            let circle = self.circles.get_mut(&circle_id).ok_or(JoinError::Unknown)?;
            let newcomer = PersonEntry { invitation: Some(id), ..newcomer };
            let is_known = circle.log.membership().devices.contains_key(&peer);
            let action = Action::AddPerson { newcomer, role: Role::Member };
            circle.act(action, &mut self.desk).map_err(|error| match error {
                EngineError::NotAllowed(Reason::AlreadyThere) if is_known => JoinError::AlreadyMember,
                EngineError::NotAllowed(Reason::AlreadyThere) => JoinError::PersonThere,
                EngineError::Rejoining => JoinError::Busy,
                _ => JoinError::NotAllowed,
            })?;
            record.used_by = peer.as_bytes().to_vec();
            self.store_invitation(id, &record);
        }
        let accepted = self.hand_over_circle(circle_id, peer, &offered)?;
        let signature = self.desk.device.sign(Domain::InvitationHandshake, handshake_hash).as_bytes().to_vec();
        Ok(proto::Accepted { signature, ..accepted })
    }

    /// What a device that the log has needs to enter a circle: everything as it is now, and the Welcome of a commit that
    /// gives it a leaf from what it offers.
    pub(in crate::engine) fn hand_over_circle(
        &mut self,
        id: CircleId,
        device: DeviceId,
        offered: &KeyPackages,
    ) -> Result<proto::Accepted, JoinError> {
        let welcome = self.welcome_for(id, device, offered)?;
        let circle = self.circles.get_mut(&id).ok_or(JoinError::Unknown)?;
        let key = |(epoch, key): (EpochId, &ContentKey)| proto::EpochKey {
            epoch: epoch.as_bytes().to_vec(),
            key: key.as_bytes().to_vec(),
            lasting: key.is_lasting(),
        };
        let person = circle.log.membership().devices.get(&device).map(|device| device.person);
        let is_own = person.is_some() && person == self.identity.person();
        Ok(proto::Accepted {
            signature: Vec::new(),
            operations: circle.log.operations().map(Operation::encode).collect(),
            welcome,
            keys: if is_own { circle.own_history().map(key).collect() } else { circle.history().map(key).collect() },
        })
    }

    /// The Welcome of the commit that added a device. It is made, unless it was made before and the device was not seen
    /// since. If it comes with other key packages by now, or was removed and brought back, that Welcome leads it nowhere:
    /// it gave up what was to open it, or the epoch is one from before its removal. Then it gets a new leaf.
    fn welcome_for(&mut self, id: CircleId, device: DeviceId, offered: &KeyPackages) -> Result<Vec<u8>, JoinError> {
        let circle = self.circles.get_mut(&id).ok_or(JoinError::Unknown)?;
        let stay = circle.log.membership().devices.get(&device).map(|known| known.since.as_bytes().to_vec());
        let stay = stay.filter(|_| circle.is_member(&device)).ok_or(JoinError::Removed)?;
        let key = Key::new(Keyspace::Answers, id.as_bytes(), device.as_bytes());
        let stored = self.desk.store.read(&key).map_err(|_| JoinError::Busy)?;
        let stored = stored.map(|record| local::Answer::decode(record.as_slice())).transpose();
        let stored = stored.map_err(|_| JoinError::Busy)?;
        let was_used = |package: &&Vec<u8>| stored.as_ref().is_some_and(|answer| answer.key_package == **package);
        let offered = || offered.single_use.iter().chain(&offered.last_resort);
        let fresh = offered().find(|package| !was_used(package));
        let package = fresh.or_else(|| offered().next()).ok_or(JoinError::Protocol)?;
        match &stored {
            Some(answer) if answer.stay == stay && offered().any(|package| was_used(&package)) => {
                return Ok(answer.welcome.clone());
            }
            Some(_) if !circle.may_renew(device, self.desk.now_ms) => return Err(JoinError::Busy),
            // It was seen in the circle.
            None if circle.group.head().contains(&device) => return Err(JoinError::Used),
            _ => {}
        }
        let change = circle.difference_with(device, package, &self.desk);
        let welcome = circle.commit(change, Some(device), &mut self.desk).map_err(|_| JoinError::Busy)?;
        let welcome = welcome.ok_or(JoinError::Busy)?;
        let answer = local::Answer { welcome: welcome.clone(), stay, key_package: package.clone() };
        self.desk.put(key, answer.encode_to_vec());
        self.joins.unseen.insert((id, device));
        Ok(welcome)
    }

    /// A device spoke of a circle: it is in, and needs its Welcome no more.
    pub(in crate::engine) fn seen_in(&mut self, circle: CircleId, device: DeviceId) {
        if self.joins.unseen.remove(&(circle, device)) {
            self.desk.remove(Key::new(Keyspace::Answers, circle.as_bytes(), device.as_bytes()));
        }
    }

    pub(in crate::engine) fn load_answers(&mut self) -> Result<(), EngineError> {
        for circle in self.circles.keys() {
            for suffix in self.desk.store.all(Keyspace::Answers, circle.as_bytes())?.into_keys() {
                let device = DeviceId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
                self.joins.unseen.insert((*circle, device));
            }
        }
        Ok(())
    }
}

/// Reads who asks, if their papers are in order: one device, the one that asks, which signed this handshake.
fn check_request(
    peer: DeviceId,
    request: &proto::Request,
    handshake_hash: &[u8; 32],
    suite: Suite,
    desk: &Desk,
) -> Option<PersonEntry> {
    let signature = Signature::try_from(request.signature.as_slice()).ok()?;
    peer.verify(Domain::InvitationHandshake, handshake_hash, &signature).ok()?;
    check_entry(peer, &request.newcomer, suite, desk)
}

/// Reads how a person introduces the one device that is connected to a circle of that suite.
pub(in crate::engine) fn check_entry(peer: DeviceId, entry: &[u8], suite: Suite, desk: &Desk) -> Option<PersonEntry> {
    let newcomer = PersonEntry::decode(entry)?;
    let [device] = newcomer.devices.as_slice() else { return None };
    let packages: Vec<_> = device.key_packages.single_use.iter().chain(&device.key_packages.last_resort).collect();
    let names = [&newcomer.name, &device.name];
    let own = |package: &Vec<u8>| {
        let info = desk.agreement.inspect_key_package(package);
        info.is_ok_and(|info| info.device == peer && info.suite == suite)
    };
    let in_order = device.device() == peer
        && device.certificate.person == newcomer.person
        && device.verify().is_ok()
        && names.iter().all(|name| check_name(name).is_ok_and(|checked| checked == name.as_str()))
        // Without one they would be in the log, and no commit could follow it.
        && !packages.is_empty()
        && device.key_packages.x_wing.is_none()
        && packages.into_iter().all(own);
    in_order.then_some(newcomer)
}
