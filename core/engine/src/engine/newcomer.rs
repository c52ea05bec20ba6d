//! The side of an invitation that takes it up.

use clave_crypto::{Checkpoint, ContentKey, Domain, EpochId, Handshake, Signature, Suite};
use prost::Message as _;
use zeroize::Zeroizing;

use super::join::{ANSWER_MS_MAX, prologue};
use super::letters::LETTERS_MS;
use super::pieces::{ANSWER_BYTES_MAX, Piece, Talk};
use super::*;
use crate::group::epoch_id;
use crate::link::InviteLink;
use crate::membership::{Log, Membership, Operation};
use crate::proto::invitation as proto;
use crate::proto::invitation::{answer::Body as AnswerBody, join_frame::Body as FrameBody};
use crate::{Refusal, key_packages};

/// The most operations or keys taken from one answer.
const ANSWER_ITEMS_MAX: usize = 1_000_000;

/// An invitation that is being taken up.
pub(super) struct Asking {
    pub(super) link: InviteLink,
    step: Step,
    /// Tells the frames of one handshake from those of another.
    pub(super) attempt: u64,
    /// When to begin anew.
    pub(super) retry_at_ms: Option<u64>,
}

/// How far one attempt has come.
pub(super) enum Step {
    NotConnected,
    Handshake(Box<Handshake>),
    Session(Box<Talk>),
}

impl Asking {
    pub(super) fn new(link: InviteLink) -> Self {
        Self { link, step: Step::NotConnected, attempt: 0, retry_at_ms: None }
    }

    pub(super) fn lose(&mut self, retry_at_ms: Option<u64>) {
        (self.step, self.retry_at_ms) = (Step::NotConnected, retry_at_ms);
    }

    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        match &mut self.step {
            Step::Session(talk) => Some(talk),
            _ => None,
        }
    }
}

impl Engine {
    /// Command: takes up an invitation. [`Event::Joined`] or [`Event::JoinFailed`] follows once the inviter answered;
    /// until then it is tried again at each connection to it. If the link names relays, the request waits there as well, and
    /// [`Event::JoinAsked`] says when: then it goes on after a restart, until some time after the invitation's expiry.
    ///
    /// # Errors
    /// What can be told without asking: that it has expired by this device's clock, or that this device is in there.
    pub fn join(&mut self, link: InviteLink, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        if self.identity.person().is_none() {
            return Err(EngineError::NotLinked);
        }
        if self.is_in(&link.circle) {
            return Err(JoinError::AlreadyMember.into());
        }
        if link.expires_ms < now_ms {
            return Err(JoinError::Expired.into());
        }
        let (inviter, invitation) = (link.inviter, link.invitation);
        self.outbox.push(Output::Addresses { device: inviter, addresses: link.addresses.clone() });
        self.joins.asking.insert(invitation, Asking::new(link.clone()));
        self.ask_by_letter(&link)?;
        if self.peers.contains_key(&inviter) {
            self.join_on_connect(inviter);
        }
        self.finish();
        Ok(())
    }

    /// Command: gives up taking an invitation up. The same link can be taken up again.
    ///
    /// A request that a relay keeps stays there; whatever is answered to it is not read any more.
    ///
    /// # Errors
    /// If a write has failed.
    pub fn cancel_join(&mut self, invitation: InvitationId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.end_ask(&invitation);
        self.joins.asking.remove(&invitation);
        self.finish();
        Ok(())
    }

    pub(super) fn next_join_ms(&self) -> Option<u64> {
        let linking = self.joins.linking.iter().flat_map(|linking| linking.tries.values());
        let retries = linking.filter_map(|attempt| attempt.retry_at_ms);
        self.joins.asking.values().filter_map(|asking| asking.retry_at_ms).chain(retries).min()
    }

    pub(super) fn retry_joins(&mut self) {
        let now_ms = self.desk.now_ms;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
        let joins =
            self.joins.asking.values().filter(|asking| due(asking.retry_at_ms)).map(|asking| asking.link.inviter);
        let links = self.joins.linking.iter().flat_map(|linking| &linking.tries);
        let links = links.filter(|(_, attempt)| due(attempt.retry_at_ms)).map(|(peer, _)| *peer);
        let (joins, links): (BTreeSet<DeviceId>, Vec<DeviceId>) = (joins.collect(), links.collect());
        for inviter in joins {
            if self.peers.contains_key(&inviter) {
                self.join_on_connect(inviter);
            } else {
                self.joins.forget(&inviter);
            }
        }
        for peer in links {
            self.link_on_connect(peer);
        }
    }

    pub(super) fn join_on_connect(&mut self, peer: DeviceId) {
        let mut frames = Vec::new();
        let retry_at_ms = self.desk.now_ms + ANSWER_MS_MAX;
        for (id, asking) in self.joins.asking.iter_mut().filter(|(_, asking)| asking.link.inviter == peer) {
            let prologue = prologue(*id, asking.link.circle, asking.link.inviter);
            let mut handshake = Handshake::initiator(&asking.link.secret, &prologue, &mut self.desk.entropy);
            let message = handshake.write(&[]).expect("the initiator writes first");
            asking.step = Step::Handshake(Box::new(handshake));
            asking.attempt = u64::from_be_bytes(self.desk.entropy.bytes());
            asking.retry_at_ms = Some(retry_at_ms);
            frames.push((*id, asking.attempt, FrameBody::Handshake(message)));
        }
        for (id, attempt, body) in frames {
            self.send_join(peer, id, attempt, body);
        }
    }

    pub(super) fn take_answer(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        attempt: u64,
        body: FrameBody,
    ) -> Result<(), Refusal> {
        if self.joins.asking[&id].attempt != attempt {
            return Err(Refusal::Unexpected);
        }
        let failed = match body {
            FrameBody::Refused(number) => Some(JoinError::from_number(number)),
            body => self.proceed_asking(peer, id, body).err(),
        };
        if let Some(error) = failed {
            self.fail_join(id, error);
        }
        Ok(())
    }

    /// An invitation leads nowhere, or this attempt to take it up.
    pub(super) fn fail_join(&mut self, id: InvitationId, error: JoinError) {
        self.end_ask(&id);
        if let Some(asking) = self.joins.asking.remove(&id) {
            let circle = asking.link.circle;
            // Whatever the reason is: another invitation to it was quicker.
            let error = if self.is_in(&circle) { JoinError::AlreadyMember } else { error };
            match error {
                // Another answer was quicker; this one may still have brought them into the log.
                JoinError::AlreadyMember => key_packages::handed_over(id, circle, &mut self.desk),
                // The same link may be tried again, and be answered as the first time. Who was removed is brought back with
                // the key packages that the log has.
                JoinError::Busy | JoinError::Protocol | JoinError::Removed => {}
                _ => key_packages::withdraw(id, circle, &mut self.desk),
            }
            self.desk.events.push(Event::JoinFailed { invitation: id, error });
        }
    }

    fn proceed_asking(&mut self, peer: DeviceId, id: InvitationId, body: FrameBody) -> Result<(), JoinError> {
        let retry_at_ms = Some(self.desk.now_ms + ANSWER_MS_MAX);
        let asking = self.joins.asking.get_mut(&id).expect("the caller looked it up");
        let (attempt, link) = (asking.attempt, asking.link.clone());
        match (std::mem::replace(&mut asking.step, Step::NotConnected), body) {
            (Step::Handshake(mut handshake), FrameBody::Handshake(message)) => {
                // The inviter's link names another circle or inviter than this one.
                handshake.read(&message).map_err(|_| JoinError::Tampered)?;
                let message = handshake.write(&[]).map_err(|_| JoinError::Protocol)?;
                let session = handshake.into_session().map_err(|_| JoinError::Protocol)?;
                let mut talk = Talk::new(session, ANSWER_BYTES_MAX);
                let request = self.join_request(&link, &talk.handshake_hash()).map_err(|_| JoinError::Protocol)?;
                talk.send(request.encode_to_vec());
                let asking = self.joins.asking.get_mut(&id).expect("it was there above");
                (asking.step, asking.retry_at_ms) = (Step::Session(Box::new(talk)), retry_at_ms);
                self.send_join(peer, id, attempt, FrameBody::Finish(message));
                Ok(())
            }
            (Step::Session(mut talk), FrameBody::Sealed(sealed)) => match talk.take(&sealed) {
                Ok(Piece::Partial(come)) => {
                    let asking = self.joins.asking.get_mut(&id).expect("it was there above");
                    (asking.step, asking.retry_at_ms) = (Step::Session(talk), retry_at_ms);
                    let (done_bytes, total_bytes) = (come.done_bytes, come.total_bytes);
                    self.desk.events.push(Event::JoinProgress { invitation: id, done_bytes, total_bytes });
                    Ok(())
                }
                Ok(Piece::Whole(answer)) => self.take_whole_answer(id, &link, &answer, &talk.handshake_hash()),
                Err(_) => Err(JoinError::Protocol),
            },
            (step, _) => {
                // Came twice.
                self.joins.asking.get_mut(&id).expect("the caller looked it up").step = step;
                Ok(())
            }
        }
    }

    /// Does as the inviter answered, in whichever way it came.
    pub(super) fn take_whole_answer(
        &mut self,
        id: InvitationId,
        link: &InviteLink,
        answer: &[u8],
        handshake_hash: &[u8; 32],
    ) -> Result<(), JoinError> {
        let answer = proto::Answer::decode(answer).map_err(|_| JoinError::Protocol)?;
        match answer.body.ok_or(JoinError::Protocol)? {
            AnswerBody::Refused(number) => Err(JoinError::from_number(number)),
            AnswerBody::Accepted(accepted) => self.enter(id, link, accepted, handshake_hash),
        }
    }

    pub(super) fn join_request(
        &mut self,
        link: &InviteLink,
        handshake_hash: &[u8; 32],
    ) -> Result<proto::Request, EngineError> {
        // An answer that waits at a relay may be read later.
        let until_ms = link.expires_ms.saturating_add(if link.relays.is_empty() { 0 } else { LETTERS_MS });
        let packages = key_packages::for_join(link.invitation, link.circle, link.suite, until_ms, &mut self.desk)?;
        Ok(proto::Request {
            newcomer: self.identity.entry(packages).ok_or(EngineError::NotLinked)?.encode(),
            signature: self.desk.device.sign(Domain::InvitationHandshake, handshake_hash).as_bytes().to_vec(),
        })
    }

    /// Checks what the inviter answered against the link, and enters the circle.
    fn enter(
        &mut self,
        id: InvitationId,
        link: &InviteLink,
        accepted: proto::Accepted,
        handshake_hash: &[u8; 32],
    ) -> Result<(), JoinError> {
        if self.is_in(&link.circle) {
            // Another invitation to it was quicker.
            return Err(JoinError::AlreadyMember);
        }
        let signature = Signature::try_from(accepted.signature.as_slice()).map_err(|_| JoinError::Protocol)?;
        let signed = link.inviter.verify(Domain::InvitationHandshake, handshake_hash, &signature);
        signed.map_err(|_| JoinError::Protocol)?;
        if self.circles.contains_key(&link.circle) {
            self.return_to(link, accepted).ok_or(JoinError::Protocol)?;
        } else {
            let circle = self.read_accepted(link.circle, link.inviter, accepted, |_| true);
            self.circles.insert(link.circle, circle.ok_or(JoinError::Protocol)?);
        }
        self.greet_anew(link.circle);
        key_packages::handed_over(id, link.circle, &mut self.desk);
        self.end_ask(&id);
        self.joins.asking.remove(&id);
        self.learn_addresses(link.inviter, link.addresses.clone());
        self.desk.events.push(Event::Joined { circle: link.circle, invitation: id });
        Ok(())
    }

    /// Whether this device is in a circle, as far as it knows: one that it was removed from it still has.
    fn is_in(&self, circle: &CircleId) -> bool {
        self.circles.get(circle).is_some_and(|circle| circle.is_member(&self.desk.me()))
    }

    /// Returns to a circle that this device was removed from. What it had stays, and counts as before.
    fn return_to(&mut self, link: &InviteLink, accepted: proto::Accepted) -> Option<()> {
        let (operations, keys) = read_items(&accepted)?;
        // Nothing is written for an answer that leads nowhere. Each operation counts by itself, as it does in an entry.
        let (_, suite) = self.open_welcome(link.circle, link.inviter, &accepted.welcome)?;
        let circle = self.circles.get_mut(&link.circle).filter(|circle| circle.suite() == suite)?;
        circle.welcome_back(link.inviter, operations, &accepted.welcome, keys, &mut self.desk)?;
        circle.is_member(&self.desk.me()).then_some(())
    }

    /// A circle as `by`, who added this device, hands it over. All of it is checked before any of it is written.
    pub(super) fn read_accepted(
        &mut self,
        id: CircleId,
        by: DeviceId,
        accepted: proto::Accepted,
        is_right: impl FnOnce(&Membership) -> bool,
    ) -> Option<Circle> {
        let (operations, keys) = read_items(&accepted)?;
        // A circle is named by its genesis, so nobody can lead a newcomer elsewhere.
        if operations.first()?.id().as_bytes() != id.as_bytes() {
            return None;
        }
        let (checkpoint, suite) = self.open_welcome(id, by, &accepted.welcome)?;
        let mut log = Log::new(id);
        for operation in operations {
            // One that is refused means nothing to anybody.
            let _ = log.insert(operation);
        }
        let in_log = |device: &DeviceId| log.membership().devices.contains_key(device);
        if !in_log(&self.desk.me()) || !in_log(&by) || !is_right(log.membership()) || log.membership().suite != suite {
            return None;
        }
        Circle::join(log, checkpoint, keys, &mut self.desk).ok()
    }

    /// The epoch of a circle's group that a Welcome by that device leads to, and the suite of that group.
    fn open_welcome(&self, id: CircleId, by: DeviceId, welcome: &[u8]) -> Option<(Checkpoint, Suite)> {
        let secrets = key_packages::secrets(&self.desk).ok()?;
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let joined = self.desk.agreement.join(&self.desk.device, welcome, &secrets).ok()?;
        (joined.checkpoint.group == id.as_bytes() && joined.committer == by)
            .then_some((joined.checkpoint, joined.suite))
    }
}

/// Content keys, and the epochs that they are said to belong to.
type EpochKeys = Vec<(EpochId, ContentKey)>;

/// The operations and keys of an answer.
fn read_items(accepted: &proto::Accepted) -> Option<(Vec<Operation>, EpochKeys)> {
    if accepted.operations.len() > ANSWER_ITEMS_MAX || accepted.keys.len() > ANSWER_ITEMS_MAX {
        return None;
    }
    let operations = accepted.operations.iter().map(|bytes| Operation::decode(bytes).ok()).collect::<Option<_>>()?;
    let mut keys = Vec::with_capacity(accepted.keys.len());
    for key in &accepted.keys {
        let epoch = epoch_id(&key.epoch)?;
        keys.push((epoch, ContentKey::of_class(Zeroizing::new(key.key.as_slice().try_into().ok()?), key.lasting)));
    }
    Some((operations, keys))
}
