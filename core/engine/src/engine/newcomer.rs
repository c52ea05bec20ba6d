//! The side of an invitation that takes it up.

use clave_crypto::{ContentKey, Domain, Handshake, Signature};
use prost::Message as _;
use zeroize::Zeroizing;

use super::join::{ANSWER_MS_MAX, Asking, AskingStep, prologue};
use super::*;
use crate::group::epoch_id;
use crate::key_packages;
use crate::link::InviteLink;
use crate::membership::{Log, Operation};
use crate::proto::invitation as proto;
use crate::proto::invitation::{answer::Body as AnswerBody, join_frame::Body as FrameBody};

/// The most operations or keys taken from one answer.
const ANSWER_ITEMS_MAX: usize = 1_000_000;

impl Engine {
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

    pub(super) fn proceed_asking(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        body: FrameBody,
    ) -> Result<(), JoinError> {
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
