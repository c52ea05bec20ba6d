//! Invitations: handing them out, answering those who take them up, taking them up.
//!
//! The handshake is Noise XXpsk3 with the link's secret, over the join channel of an authenticated connection. In
//! the session the newcomer says who they are and brings key packages; the inviter writes the operation that adds
//! them, commits, and answers with the log, a Welcome and the keys of what was said before.

use clave_crypto::{ContentKey, Domain, Handshake, Session, Signature};
use prost::Message as _;
use zeroize::Zeroizing;

use super::*;
use crate::group::epoch_id;
use crate::identity::check_name;
use crate::link::InviteLink;
use crate::membership::{Action, Log, Operation, PersonEntry, Reason, Right, Role};
use crate::proto::invitation as proto;
use crate::proto::invitation::{answer::Body as AnswerBody, join_frame::Body as FrameBody};
use crate::proto::local;
use crate::{Key, Refusal, key_packages};

/// The most handshakes that an inviter has open at once.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// How long a handshake keeps its place when others want it, in milliseconds.
pub(crate) const HANDSHAKE_MS: u64 = 30_000;
/// How long a joiner waits for an answer before it begins anew, in milliseconds.
const ANSWER_MS_MAX: u64 = 15_000;
/// The same after frames were lost.
const ATTEMPT_LOST_MS: u64 = 500;
/// The most operations or keys taken from one answer.
const ANSWER_ITEMS_MAX: usize = 1_000_000;

/// Why an invitation was refused, and what to do. The numbers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[repr(u32)]
pub enum JoinError {
    /// The inviter does not know it.
    #[error("the inviter does not know this invitation: ask for a new one")]
    Unknown = 1,
    /// It was taken up before, by another device.
    #[error("this invitation was already used by someone else: every invitation works once, ask for one of your own")]
    Used = 2,
    /// Its time is over.
    #[error("this invitation has expired: ask for a new one")]
    Expired = 3,
    /// It was taken back.
    #[error("this invitation was revoked: ask whoever invited you for a new one")]
    Revoked = 4,
    /// The secret in the link is not the right one.
    #[error("this invitation link was altered: ask for it to be sent again, by another way")]
    Tampered = 5,
    /// The inviter may not invite any more.
    #[error("whoever invited you may no longer invite to this space: ask somebody else of the team")]
    NotAllowed = 6,
    /// The other side does not keep to the protocol, or is not who the link says.
    #[error("the device that answered is not the one that made the invitation, or runs another version: update both")]
    Protocol = 7,
    /// This device is in that space already.
    #[error("this device is already in that space")]
    AlreadyMember = 8,
    /// The inviter failed at its side, for example because its disk is full.
    #[error("the inviter's device could not complete the invitation: try again in a while")]
    Busy = 9,
}

impl JoinError {
    const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Used,
        Self::Expired,
        Self::Revoked,
        Self::Tampered,
        Self::NotAllowed,
        Self::Protocol,
        Self::AlreadyMember,
        Self::Busy,
    ];

    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|error| *error as u32 == number).unwrap_or(Self::Protocol)
    }
}

/// An invitation as its maker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationInfo {
    /// Which.
    pub id: InvitationId,
    /// Unix milliseconds.
    pub expires_ms: u64,
    /// What has become of it.
    pub state: InvitationState,
}

/// What has become of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvitationState {
    /// Not taken up.
    Open,
    /// Taken up by this device.
    Used(DeviceId),
    /// Taken back.
    Revoked,
    /// Over.
    Expired,
}

/// Handshakes on their way, in both directions.
#[derive(Default)]
pub(super) struct Joins {
    /// By whom, for what, and in which attempt.
    answering: BTreeMap<(DeviceId, InvitationId), (u64, Answering)>,
    /// When each of those began.
    began_ms: BTreeMap<(DeviceId, InvitationId), u64>,
    asking: BTreeMap<InvitationId, Asking>,
}

enum Answering {
    Handshake(Box<Handshake>),
    Session(Box<Session>),
}

struct Asking {
    link: InviteLink,
    step: AskingStep,
    /// Tells the frames of one handshake from those of another.
    attempt: u64,
    /// When to begin anew.
    retry_at_ms: Option<u64>,
}

enum AskingStep {
    NotConnected,
    Handshake(Box<Handshake>),
    Session(Box<Session>),
}

impl Joins {
    /// Forgets handshakes that are over, and, if there are too many, those that take too long.
    fn make_room(&mut self, now_ms: u64) {
        self.began_ms.retain(|key, _| self.answering.contains_key(key));
        if self.answering.len() >= HANDSHAKES_MAX {
            self.began_ms.retain(|_, began_ms| now_ms < began_ms.saturating_add(HANDSHAKE_MS));
            self.answering.retain(|key, _| self.began_ms.contains_key(key));
        }
    }

    pub(super) fn forget(&mut self, peer: &DeviceId) {
        self.answering.retain(|(device, _), _| device != peer);
        for asking in self.asking.values_mut().filter(|asking| asking.link.inviter == *peer) {
            asking.step = AskingStep::NotConnected;
            asking.retry_at_ms = None;
        }
    }

    /// Frames to a peer were lost: the attempt is over, the next follows soon.
    pub(super) fn lose_attempt(&mut self, peer: &DeviceId, now_ms: u64) {
        for asking in self.asking.values_mut().filter(|asking| asking.link.inviter == *peer) {
            asking.step = AskingStep::NotConnected;
            asking.retry_at_ms = Some(now_ms + ATTEMPT_LOST_MS);
        }
    }
}

impl Engine {
    /// Command: makes an invitation to a circle that works once, until `valid_ms` from now.
    ///
    /// # Errors
    /// If this device is not in the circle or may not invite.
    pub fn invite(&mut self, circle: CircleId, valid_ms: u64, now_ms: u64) -> Result<InviteLink, EngineError> {
        self.begin(now_ms)?;
        let me = self.desk.me();
        let (space, _) = self.circle_mut(circle)?;
        if !space.log.membership().may(me, Right::Invite) {
            return Err(EngineError::MayNotInvite);
        }
        let space_name = space.log.membership().name.clone();
        // A newcomer's terminal shows it before there is a circle that says who named it so.
        let space_name = check_name(&space_name).unwrap_or_default().to_owned();
        let link = InviteLink {
            invitation: InvitationId::from_bytes(self.desk.entropy.bytes()),
            circle,
            inviter: me,
            expires_ms: now_ms.saturating_add(valid_ms),
            addresses: self.addresses.get(&me).cloned().unwrap_or_default(),
            space_name,
            secret: Zeroizing::new(self.desk.entropy.bytes()),
        };
        let record = local::Invitation {
            circle: circle.as_bytes().to_vec(),
            secret: link.secret.to_vec(),
            expires_ms: link.expires_ms,
            ..Default::default()
        };
        self.store_invitation(link.invitation, &record);
        self.finish();
        Ok(link)
    }

    /// Command: takes an invitation back. One that was used stays used: remove the person instead.
    ///
    /// # Errors
    /// If this device made no such invitation.
    pub fn revoke_invitation(&mut self, id: InvitationId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let mut record = self.load_invitation(id)?.ok_or(EngineError::NoSuchInvitation)?;
        record.revoked = true;
        self.store_invitation(id, &record);
        self.finish();
        Ok(())
    }

    /// The invitations to a circle that this device made, as they stand at a time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn invitations(&self, circle: CircleId, now_ms: u64) -> Result<Vec<InvitationInfo>, EngineError> {
        let mut invitations = Vec::new();
        for (suffix, record) in self.desk.store.all(Keyspace::Invitations, &[])? {
            let record = local::Invitation::decode(record.as_slice())?;
            if record.circle == circle.as_bytes() {
                let id = InvitationId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
                let state = state_of(&record, now_ms);
                invitations.push(InvitationInfo { id, expires_ms: record.expires_ms, state });
            }
        }
        Ok(invitations)
    }

    /// Command: takes up an invitation. [`Event::Joined`] or [`Event::JoinFailed`] follows once the inviter answered;
    /// until then it is tried again at each connection to it.
    ///
    /// # Errors
    /// What can be told without asking: that it has expired by this device's clock, or that this device is in there.
    pub fn join(&mut self, link: InviteLink, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        if self.circles.contains_key(&link.circle) {
            return Err(JoinError::AlreadyMember.into());
        }
        if link.expires_ms < now_ms {
            return Err(JoinError::Expired.into());
        }
        let (inviter, invitation) = (link.inviter, link.invitation);
        self.outbox.push(Output::Addresses { device: inviter, addresses: link.addresses.clone() });
        let asking = Asking { link, step: AskingStep::NotConnected, attempt: 0, retry_at_ms: None };
        self.joins.asking.insert(invitation, asking);
        if self.peers.contains_key(&inviter) {
            self.join_on_connect(inviter);
        }
        self.finish();
        Ok(())
    }

    /// Command: gives up taking an invitation up.
    pub fn cancel_join(&mut self, invitation: InvitationId) {
        self.joins.asking.remove(&invitation);
    }

    pub(super) fn next_join_ms(&self) -> Option<u64> {
        self.joins.asking.values().filter_map(|asking| asking.retry_at_ms).min()
    }

    pub(super) fn retry_joins(&mut self) {
        let now_ms = self.desk.now_ms;
        let due = |asking: &&Asking| asking.retry_at_ms.is_some_and(|at| at <= now_ms);
        let inviters: BTreeSet<DeviceId> =
            self.joins.asking.values().filter(due).map(|asking| asking.link.inviter).collect();
        for inviter in inviters {
            if self.peers.contains_key(&inviter) {
                self.join_on_connect(inviter);
            } else {
                self.joins.forget(&inviter);
            }
        }
    }

    pub(super) fn join_on_connect(&mut self, peer: DeviceId) {
        let mut frames = Vec::new();
        let retry_at_ms = self.desk.now_ms + ANSWER_MS_MAX;
        for (id, asking) in self.joins.asking.iter_mut().filter(|(_, asking)| asking.link.inviter == peer) {
            let prologue = prologue(*id, asking.link.circle, asking.link.inviter);
            let mut handshake = Handshake::initiator(&asking.link.secret, &prologue, &mut self.desk.entropy);
            let message = handshake.write(&[]).expect("the initiator writes first");
            asking.step = AskingStep::Handshake(Box::new(handshake));
            asking.attempt = u64::from_be_bytes(self.desk.entropy.bytes());
            asking.retry_at_ms = Some(retry_at_ms);
            frames.push((*id, asking.attempt, FrameBody::Handshake(message)));
        }
        for (id, attempt, body) in frames {
            self.send_join(peer, id, attempt, body);
        }
    }

    pub(super) fn take_join_frame(&mut self, peer: DeviceId, frame: &[u8]) -> Result<(), Refusal> {
        let frame = proto::JoinFrame::decode(frame).map_err(|_| Refusal::Malformed)?;
        let id = InvitationId::try_from(frame.invitation.as_slice()).map_err(|_| Refusal::Malformed)?;
        let attempt = frame.attempt;
        let body = frame.body.ok_or(Refusal::UnknownBody)?;
        if let Some(asking) = self.joins.asking.get(&id).filter(|asking| asking.link.inviter == peer) {
            if asking.attempt != attempt {
                return Err(Refusal::Unexpected);
            }
            let failed = match body {
                FrameBody::Refused(number) => Some(JoinError::from_number(number)),
                body => self.proceed_asking(peer, id, body).err(),
            };
            if let Some(error) = failed {
                self.joins.asking.remove(&id);
                self.desk.events.push(Event::JoinFailed { invitation: id, error });
            }
            return Ok(());
        }
        match body {
            FrameBody::Handshake(message) => self.answer_handshake(peer, id, attempt, &message),
            FrameBody::Finish(message) => self.finish_handshake(peer, id, attempt, &message),
            FrameBody::Sealed(sealed) => self.answer_request(peer, id, attempt, &sealed),
            FrameBody::Refused(_) => Err(Refusal::Unexpected),
        }
    }

    // The inviter's side.

    /// Message 1, perhaps anew after a lost connection.
    fn answer_handshake(
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
        let circle = CircleId::try_from(record.circle.as_slice()).map_err(|_| Refusal::Malformed)?;
        let prologue = prologue(id, circle, self.desk.me());
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
    fn finish_handshake(
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
        let session = handshake.into_session().map_err(|_| Refusal::Malformed)?;
        self.joins.answering.insert((peer, id), (attempt, Answering::Session(Box::new(session))));
        Ok(())
    }

    fn answer_request(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, sealed: &[u8]) -> Result<(), Refusal> {
        let mut session = match self.joins.answering.remove(&(peer, id)) {
            Some((current, Answering::Session(session))) if current == attempt => session,
            Some(other) => {
                self.joins.answering.insert((peer, id), other);
                return Err(Refusal::Unexpected);
            }
            None => return Err(Refusal::Unexpected),
        };
        let request = session.open(sealed).map_err(|_| Refusal::BadSeal)?;
        let request = proto::Request::decode(request.as_slice()).map_err(|_| Refusal::Malformed)?;
        let handshake_hash = *session.handshake_hash();
        let body = match self.admit(peer, id, &request, &handshake_hash) {
            Ok(accepted) => AnswerBody::Accepted(accepted),
            Err(error) => AnswerBody::Refused(error as u32),
        };
        let answer = proto::Answer { body: Some(body) }.encode_to_vec();
        let sealed = session.seal(&answer).map_err(|_| Refusal::Oversized)?;
        self.send_join(peer, id, attempt, FrameBody::Sealed(sealed));
        Ok(())
    }

    fn admit(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        request: &proto::Request,
        handshake_hash: &[u8; 32],
    ) -> Result<proto::Accepted, JoinError> {
        let mut record = self.usable_invitation(peer, id)?;
        let sign = |desk: &Desk| desk.device.sign(Domain::InvitationHandshake, handshake_hash).as_bytes().to_vec();
        if !record.used_by.is_empty() {
            // The same device once more: its answer was lost on the way.
            let answer = proto::Accepted::decode(record.answer.as_slice()).map_err(|_| JoinError::Busy)?;
            return Ok(proto::Accepted { signature: sign(&self.desk), ..answer });
        }
        let circle_id = CircleId::try_from(record.circle.as_slice()).map_err(|_| JoinError::Unknown)?;
        let newcomer = check_request(peer, request, handshake_hash, &self.desk).ok_or(JoinError::Protocol)?;
        let circle = self.circles.get_mut(&circle_id).ok_or(JoinError::Unknown)?;
        let accepted = add_newcomer(circle, id, newcomer, &mut self.desk)?;
        record.used_by = peer.as_bytes().to_vec();
        record.answer = accepted.encode_to_vec();
        self.store_invitation(id, &record);
        Ok(proto::Accepted { signature: sign(&self.desk), ..accepted })
    }

    fn usable_invitation(&self, peer: DeviceId, id: InvitationId) -> Result<local::Invitation, JoinError> {
        let record = self.load_invitation(id).ok().flatten().ok_or(JoinError::Unknown)?;
        match state_of(&record, self.desk.now_ms) {
            InvitationState::Used(device) if device != peer => Err(JoinError::Used),
            InvitationState::Used(_) | InvitationState::Open => Ok(record),
            InvitationState::Revoked => Err(JoinError::Revoked),
            InvitationState::Expired => Err(JoinError::Expired),
        }
    }

    fn load_invitation(&self, id: InvitationId) -> Result<Option<local::Invitation>, EngineError> {
        let record = self.desk.store.read(&Key::new(Keyspace::Invitations, [], id.as_bytes()))?;
        Ok(record.map(|record| local::Invitation::decode(record.as_slice())).transpose()?)
    }

    fn store_invitation(&mut self, id: InvitationId, record: &local::Invitation) {
        self.desk.put(Key::new(Keyspace::Invitations, [], id.as_bytes()), record.encode_to_vec());
    }

    fn refuse_join(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, error: JoinError) {
        self.send_join(peer, id, attempt, FrameBody::Refused(error as u32));
    }

    fn send_join(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, body: FrameBody) {
        let frame = proto::JoinFrame { invitation: id.as_bytes().to_vec(), attempt, body: Some(body) }.encode_to_vec();
        self.outbox.push(Output::Send { peer, channel: Channel::Join, frame });
    }

    // The newcomer's side.

    fn proceed_asking(&mut self, peer: DeviceId, id: InvitationId, body: FrameBody) -> Result<(), JoinError> {
        let asking = self.joins.asking.get_mut(&id).expect("the caller looked it up");
        let attempt = asking.attempt;
        match (std::mem::replace(&mut asking.step, AskingStep::NotConnected), body) {
            (AskingStep::Handshake(mut handshake), FrameBody::Handshake(message)) => {
                // The inviter's link names another circle or inviter than this one.
                handshake.read(&message).map_err(|_| JoinError::Tampered)?;
                let message = handshake.write(&[]).map_err(|_| JoinError::Protocol)?;
                let mut session = handshake.into_session().map_err(|_| JoinError::Protocol)?;
                let request = self.join_request(session.handshake_hash()).map_err(|_| JoinError::Protocol)?;
                let sealed = session.seal(&request.encode_to_vec()).map_err(|_| JoinError::Protocol)?;
                let asking = self.joins.asking.get_mut(&id).expect("it was there above");
                asking.step = AskingStep::Session(Box::new(session));
                self.send_join(peer, id, attempt, FrameBody::Finish(message));
                self.send_join(peer, id, attempt, FrameBody::Sealed(sealed));
                Ok(())
            }
            (AskingStep::Session(mut session), FrameBody::Sealed(sealed)) => {
                let answer = session.open(&sealed).map_err(|_| JoinError::Protocol)?;
                let answer = proto::Answer::decode(answer.as_slice()).map_err(|_| JoinError::Protocol)?;
                match answer.body.ok_or(JoinError::Protocol)? {
                    AnswerBody::Refused(number) => Err(JoinError::from_number(number)),
                    AnswerBody::Accepted(accepted) => self.enter(id, accepted, session.handshake_hash()),
                }
            }
            (step, _) => {
                // Came twice.
                self.joins.asking.get_mut(&id).expect("the caller looked it up").step = step;
                Ok(())
            }
        }
    }

    fn join_request(&mut self, handshake_hash: &[u8; 32]) -> Result<proto::Request, EngineError> {
        Ok(proto::Request {
            newcomer: self.identity.entry(key_packages::make(&mut self.desk)).encode(),
            signature: self.desk.device.sign(Domain::InvitationHandshake, handshake_hash).as_bytes().to_vec(),
        })
    }

    /// Checks what the inviter answered against the link, and enters the circle.
    fn enter(
        &mut self,
        id: InvitationId,
        accepted: proto::Accepted,
        handshake_hash: &[u8; 32],
    ) -> Result<(), JoinError> {
        let link = self.joins.asking[&id].link.clone();
        if self.circles.contains_key(&link.circle) {
            // Another invitation to it was quicker.
            return Err(JoinError::AlreadyMember);
        }
        let circle = self.read_answer(&link, accepted, handshake_hash).ok_or(JoinError::Protocol)?;
        self.circles.insert(link.circle, circle);
        self.joins.asking.remove(&id);
        self.learn_addresses(link.inviter, link.addresses);
        self.desk.events.push(Event::Joined { circle: link.circle, invitation: id });
        Ok(())
    }

    fn read_answer(
        &mut self,
        link: &InviteLink,
        accepted: proto::Accepted,
        handshake_hash: &[u8; 32],
    ) -> Option<Circle> {
        if accepted.operations.len() > ANSWER_ITEMS_MAX || accepted.keys.len() > ANSWER_ITEMS_MAX {
            return None;
        }
        let signature = Signature::try_from(accepted.signature.as_slice()).ok()?;
        link.inviter.verify(Domain::InvitationHandshake, handshake_hash, &signature).ok()?;
        let operations: Vec<Operation> =
            accepted.operations.iter().map(|bytes| Operation::decode(bytes).ok()).collect::<Option<_>>()?;
        // The link names the circle by its genesis, so nobody can lead a newcomer elsewhere.
        if operations.first()?.id().as_bytes() != link.circle.as_bytes() {
            return None;
        }
        let mut keys = Vec::new();
        for key in &accepted.keys {
            let epoch = epoch_id(&key.epoch)?;
            keys.push((epoch, ContentKey::from_bytes(Zeroizing::new(key.key.as_slice().try_into().ok()?))));
        }
        let secrets = key_packages::secrets(&self.desk).ok()?;
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let joined = self.desk.agreement.join(&self.desk.device, &accepted.welcome, &secrets).ok()?;
        if joined.checkpoint.group != link.circle.as_bytes() || joined.committer != link.inviter {
            return None;
        }
        let mut log = Log::new(link.circle);
        for operation in operations {
            // One that is refused means nothing to anybody.
            let _ = log.insert(operation);
        }
        let in_log = |device: &DeviceId| log.membership().devices.contains_key(device);
        if !in_log(&self.desk.me()) || !in_log(&link.inviter) {
            return None;
        }
        Circle::join(log, joined.checkpoint, keys, &mut self.desk).ok()
    }
}

/// Reads who asks, if their papers are in order: one device, the one that is connected, which signed this handshake.
fn check_request(
    peer: DeviceId,
    request: &proto::Request,
    handshake_hash: &[u8; 32],
    desk: &Desk,
) -> Option<PersonEntry> {
    let newcomer = PersonEntry::decode(&request.newcomer)?;
    let signature = Signature::try_from(request.signature.as_slice()).ok()?;
    peer.verify(Domain::InvitationHandshake, handshake_hash, &signature).ok()?;
    let [device] = newcomer.devices.as_slice() else { return None };
    let packages: Vec<_> = device.key_packages.single_use.iter().chain(&device.key_packages.last_resort).collect();
    let names = [&newcomer.name, &device.name];
    let own = |package: &Vec<u8>| desk.agreement.inspect_key_package(package).is_ok_and(|info| info.device == peer);
    let in_order = device.device() == peer
        && device.certificate.person == newcomer.person
        && device.verify().is_ok()
        && names.iter().all(|name| check_name(name).is_ok_and(|checked| checked == name.as_str()))
        // Without one they would be in the log, and no commit could follow it.
        && !packages.is_empty()
        && packages.into_iter().all(own);
    in_order.then_some(newcomer)
}

/// Writes the newcomer into the log and adds their device to the group.
fn add_newcomer(
    circle: &mut Circle,
    invitation: InvitationId,
    newcomer: PersonEntry,
    desk: &mut Desk,
) -> Result<proto::Accepted, JoinError> {
    let device = newcomer.devices[0].device();
    let newcomer = PersonEntry { invitation: Some(invitation), ..newcomer };
    circle.act(Action::AddPerson { newcomer, role: Role::Member }, desk).map_err(|error| match error {
        EngineError::NotAllowed(Reason::AlreadyThere) => JoinError::AlreadyMember,
        _ => JoinError::NotAllowed,
    })?;
    let change = circle.difference(Some(device), desk);
    let welcome = circle.commit(change, Some(device), desk).map_err(|_| JoinError::Busy)?.ok_or(JoinError::Busy)?;
    Ok(proto::Accepted {
        signature: Vec::new(),
        operations: circle.log.operations().map(Operation::encode).collect(),
        welcome,
        keys: circle
            .history()
            .map(|(epoch, key)| proto::EpochKey { epoch: epoch.as_bytes().to_vec(), key: key.as_bytes().to_vec() })
            .collect(),
    })
}

pub(crate) fn prologue(invitation: InvitationId, circle: CircleId, inviter: DeviceId) -> Vec<u8> {
    [invitation.as_bytes().as_slice(), circle.as_bytes(), inviter.as_bytes()].concat()
}

fn state_of(record: &local::Invitation, now_ms: u64) -> InvitationState {
    match DeviceId::try_from(record.used_by.as_slice()) {
        Ok(device) => InvitationState::Used(device),
        Err(_) if record.revoked => InvitationState::Revoked,
        Err(_) if record.expires_ms < now_ms => InvitationState::Expired,
        Err(_) => InvitationState::Open,
    }
}
