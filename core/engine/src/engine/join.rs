//! The join channel: handshakes with those who are to come in, as people (`inviter.rs`, `newcomer.rs`) or as further
//! devices of a person (`linking.rs`, `taking.rs`).
//!
//! The handshake is Noise XXpsk3 with the secret of a link or code, over the join channel of an authenticated connection.
//! In the session the newcomer says who they are and brings key packages; the other side writes the operation that adds
//! them, commits, and answers with the log, a Welcome and the keys of what was said before. What does not fit a frame goes
//! in pieces (`pieces.rs`).

use clave_crypto::Handshake;
use prost::Message as _;

use super::linking::LinkStage;
use super::newcomer::Asking;
use super::pieces::{Broken, Talk};
use super::taking::Linking;
use super::*;
use crate::Refusal;
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;

/// The most handshakes that an inviter has open at once.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// How long a handshake keeps its place when others want it, in milliseconds.
pub(crate) const HANDSHAKE_MS: u64 = 30_000;
/// How long a joiner waits for an answer before it begins anew, in milliseconds.
pub(super) const ANSWER_MS_MAX: u64 = 15_000;
/// The same after frames were lost.
pub(super) const ATTEMPT_LOST_MS: u64 = 500;

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
    /// The person is in that space, with other devices than the one that asks.
    #[error(
        "you are in that space already, with another device: link this one from there. If that device is lost, restore \
         from an export of your account, or have an admin remove you first"
    )]
    PersonThere = 10,
    /// This device was let in by this invitation, and removed before it heard so.
    #[error(
        "you were removed from that space: ask whoever invited you, and if they bring you back, use this link again"
    )]
    Removed = 11,
}

impl JoinError {
    const ALL: [Self; 11] = [
        Self::Unknown,
        Self::Used,
        Self::Expired,
        Self::Revoked,
        Self::Tampered,
        Self::NotAllowed,
        Self::Protocol,
        Self::AlreadyMember,
        Self::Busy,
        Self::PersonThere,
        Self::Removed,
    ];

    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|error| *error as u32 == number).unwrap_or(Self::Protocol)
    }
}

/// Pieces of messages that are on their way to one peer.
const PIECES_IN_FLIGHT_MAX: usize = 4;

/// Handshakes on their way, in both directions.
#[derive(Default)]
pub(super) struct Joins {
    /// By whom, for what, and in which attempt.
    pub(super) answering: BTreeMap<(DeviceId, InvitationId), (u64, Answering)>,
    /// When each of those began, or last came further.
    pub(super) began_ms: BTreeMap<(DeviceId, InvitationId), u64>,
    pub(super) asking: BTreeMap<InvitationId, Asking>,
    /// The link that this device takes up, if it belongs to nobody yet or lacks circles still.
    pub(super) linking: Option<Linking>,
    /// Devices that were added here and not seen in the circle since: their Welcomes are kept.
    pub(super) unseen: BTreeSet<(CircleId, DeviceId)>,
    /// Join frames that have not left, by peer.
    in_flight: BTreeMap<DeviceId, usize>,
}

pub(super) enum Answering {
    Handshake(Box<Handshake>),
    Session(Box<Talk>, Door),
}

/// What an answered session is for.
#[derive(Clone)]
pub(super) enum Door {
    /// An invitation: one question, one answer.
    Invitation,
    /// A device that is to be linked.
    Link(LinkStage),
    /// Nothing more comes of it once what is being sent has left.
    Over,
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
        self.drop_sessions(peer);
        for asking in self.asking.values_mut().filter(|asking| asking.link.inviter == *peer) {
            asking.lose(None);
        }
        if let Some(linking) = &mut self.linking {
            linking.tries.remove(peer);
        }
    }

    /// Frames to a peer were lost: the attempt is over, the next follows soon.
    pub(super) fn lose_attempt(&mut self, peer: &DeviceId, now_ms: u64) {
        self.drop_sessions(peer);
        let retry_at_ms = Some(now_ms + ATTEMPT_LOST_MS);
        for asking in self.asking.values_mut().filter(|asking| asking.link.inviter == *peer) {
            asking.lose(retry_at_ms);
        }
        if let Some(attempt) = self.linking.as_mut().and_then(|linking| linking.tries.get_mut(peer)) {
            attempt.lose(retry_at_ms);
        }
    }

    /// What is answered to a peer: it begins anew.
    fn drop_sessions(&mut self, peer: &DeviceId) {
        self.answering.retain(|(device, _), _| device != peer);
        self.in_flight.remove(peer);
    }

    /// A frame left.
    pub(super) fn sent(&mut self, peer: &DeviceId) {
        if let Some(frames) = self.in_flight.get_mut(peer) {
            *frames = frames.saturating_sub(1);
        }
    }

    /// Every session in which a message is being sent.
    fn sending(&mut self) -> impl Iterator<Item = (DeviceId, InvitationId, u64, &mut Talk)> {
        let answering = self.answering.iter_mut().filter_map(|((peer, id), (attempt, step))| match step {
            Answering::Session(talk, _) => Some((*peer, *id, *attempt, &mut **talk)),
            Answering::Handshake(_) => None,
        });
        let asking = self
            .asking
            .iter_mut()
            .filter_map(|(id, asking)| Some((asking.link.inviter, *id, asking.attempt, asking.talk()?)));
        let linking = self.linking.iter_mut().flat_map(|linking| {
            let id = linking.code.id();
            linking.tries.iter_mut().filter_map(move |(peer, step)| Some((*peer, id, step.attempt, step.talk()?)))
        });
        answering.chain(asking).chain(linking).filter(|(_, _, _, talk)| talk.is_sending())
    }
}

impl Engine {
    pub(super) fn take_join_frame(&mut self, peer: DeviceId, frame: &[u8]) -> Result<(), Refusal> {
        let frame = proto::JoinFrame::decode(frame).map_err(|_| Refusal::Malformed)?;
        let id = InvitationId::try_from(frame.invitation.as_slice()).map_err(|_| Refusal::Malformed)?;
        let attempt = frame.attempt;
        let body = frame.body.ok_or(Refusal::UnknownBody)?;
        if let FrameBody::Farewell(farewell) = &body {
            return self.take_farewell(peer, farewell);
        }
        if let FrameBody::Recovery(recovery) = body {
            return self.take_recovery(peer, recovery);
        }
        if self.joins.asking.get(&id).is_some_and(|asking| asking.link.inviter == peer) {
            return self.take_answer(peer, id, attempt, body);
        }
        if self.joins.linking.as_ref().is_some_and(|linking| linking.asks(&peer, &id)) {
            return self.take_link_answer(peer, attempt, body);
        }
        match body {
            FrameBody::Handshake(message) => self.answer_handshake(peer, id, attempt, &message),
            FrameBody::Finish(message) => self.finish_handshake(peer, id, attempt, &message),
            FrameBody::Sealed(sealed) => self.answer_sealed(peer, id, attempt, &sealed),
            FrameBody::Refused(_) | FrameBody::Farewell(_) | FrameBody::Recovery(_) => Err(Refusal::Unexpected),
        }
    }

    pub(super) fn send_join(&mut self, peer: DeviceId, id: InvitationId, attempt: u64, body: FrameBody) {
        let frame = proto::JoinFrame { invitation: id.as_bytes().to_vec(), attempt, body: Some(body) }.encode_to_vec();
        *self.joins.in_flight.entry(peer).or_default() += 1;
        self.outbox.push(Output::Send { peer, channel: Channel::Join, frame: vec![frame.into()] });
    }

    /// Sends pieces of what is to be sent, as far as each peer takes them.
    pub(super) fn pump_joins(&mut self) {
        let mut frames = Vec::new();
        let mut in_flight = self.joins.in_flight.clone();
        for (peer, id, attempt, talk) in self.joins.sending() {
            let on_their_way = in_flight.entry(peer).or_default();
            while *on_their_way < PIECES_IN_FLIGHT_MAX
                && let Some(sealed) = talk.next_sealed()
            {
                *on_their_way += 1;
                frames.push((peer, id, attempt, sealed));
            }
        }
        for (peer, id, attempt, sealed) in frames {
            if let Some(began_ms) = self.joins.began_ms.get_mut(&(peer, id)) {
                *began_ms = self.desk.now_ms;
            }
            self.send_join(peer, id, attempt, FrameBody::Sealed(sealed));
        }
    }

    /// Forgets sessions that have come to their end.
    pub(super) fn end_joins(&mut self) {
        let over = |step: &Answering| matches!(step, Answering::Session(talk, Door::Over) if !talk.is_sending());
        self.joins.answering.retain(|_, (_, step)| !over(step));
        self.end_linking();
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Seal => Self::BadSeal,
            Broken::Piece => Self::Malformed,
            Broken::TooLong => Self::Oversized,
        }
    }
}

pub(crate) fn prologue(invitation: InvitationId, circle: CircleId, inviter: DeviceId) -> Vec<u8> {
    [invitation.as_bytes().as_slice(), circle.as_bytes(), inviter.as_bytes()].concat()
}
