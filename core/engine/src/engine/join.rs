//! Invitations: handing them out, answering those who take them up, taking them up.
//!
//! The handshake is Noise XXpsk3 with the link's secret, over the join channel of an authenticated connection. In
//! the session the newcomer says who they are and brings key packages; the inviter writes the operation that adds
//! them, commits, and answers with the log, a Welcome and the keys of what was said before.

use clave_crypto::{Handshake, Session};
use prost::Message as _;

use super::*;
use crate::Refusal;
use crate::link::InviteLink;
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;

/// The most handshakes that an inviter has open at once.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// How long a handshake keeps its place when others want it, in milliseconds.
pub(crate) const HANDSHAKE_MS: u64 = 30_000;
/// How long a joiner waits for an answer before it begins anew, in milliseconds.
pub(super) const ANSWER_MS_MAX: u64 = 15_000;
/// The same after frames were lost.
const ATTEMPT_LOST_MS: u64 = 500;

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

/// Handshakes on their way, in both directions.
#[derive(Default)]
pub(super) struct Joins {
    /// By whom, for what, and in which attempt.
    pub(super) answering: BTreeMap<(DeviceId, InvitationId), (u64, Answering)>,
    /// When each of those began.
    pub(super) began_ms: BTreeMap<(DeviceId, InvitationId), u64>,
    pub(super) asking: BTreeMap<InvitationId, Asking>,
}

pub(super) enum Answering {
    Handshake(Box<Handshake>),
    Session(Box<Session>),
}

pub(super) struct Asking {
    pub(super) link: InviteLink,
    pub(super) step: AskingStep,
    /// Tells the frames of one handshake from those of another.
    pub(super) attempt: u64,
    /// When to begin anew.
    pub(super) retry_at_ms: Option<u64>,
}

pub(super) enum AskingStep {
    NotConnected,
    Handshake(Box<Handshake>),
    Session(Box<Session>),
}

impl Joins {
    /// Forgets handshakes that are over, and, if there are too many, those that take too long.
    pub(super) fn make_room(&mut self, now_ms: u64) {
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

    pub(super) fn send_join(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, body: FrameBody) {
        let frame = proto::JoinFrame { invitation: id.as_bytes().to_vec(), attempt, body: Some(body) }.encode_to_vec();
        self.outbox.push(Output::Send { peer, channel: Channel::Join, frame });
    }
}

pub(crate) fn prologue(invitation: InvitationId, circle: CircleId, inviter: DeviceId) -> Vec<u8> {
    [invitation.as_bytes().as_slice(), circle.as_bytes(), inviter.as_bytes()].concat()
}
