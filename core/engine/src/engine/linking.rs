//! Linking a further device of a person: the side that is there already.
//!
//! The handshake is that of invitations, with a key from the code that this device shows. In the session the new device
//! says what it is called, the person may be asked, and then it is given the person's key; from there on it asks for one
//! circle after the other, and is added to each as it asks.

use clave_crypto::{Domain, Sas, Signature};
use prost::Message as _;

use super::inviter::check_entry;
use super::join::{Answering, Door};
use super::pieces::Talk;
use super::*;
use crate::identity::{check_name, write_certificate};
use crate::link_code::LinkCode;
use crate::membership::Action;
use crate::proto::invitation as proto;
use crate::proto::invitation::{link_answer::Body as LinkAnswer, link_request::Body as LinkRequest};
use crate::proto::local;
use crate::{Key, Refusal};

/// Why a device could not be linked, and what to do. The numbers travel, and mean the same as those of [`JoinError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[repr(u32)]
pub enum LinkingError {
    /// The other device does not know the code.
    #[error("the other device does not know this code: have it show a new one")]
    Unknown = 1,
    /// It was taken up before, or this device was revoked.
    #[error("this code was used already: have the other device show a new one")]
    Used = 2,
    /// Its time is over.
    #[error("this code has expired: have the other device show a new one")]
    Expired = 3,
    /// The person said no, or took it back.
    #[error("linking was declined on the other device: if that was a mistake, have it show a new code")]
    Declined = 4,
    /// The secret is not the right one.
    #[error("this code was altered: have the other device show it again")]
    Tampered = 5,
    /// The other side does not keep to the protocol.
    #[error("the other device runs another version, or is not the one that showed the code: update both and try again")]
    Protocol = 7,
    /// This device belongs to somebody already.
    #[error("this device belongs to a person already: link a new one, in a data directory of its own")]
    AlreadyLinked = 8,
    /// The other device failed at its side.
    #[error("the other device could not complete linking: try again in a while")]
    Busy = 9,
}

impl LinkingError {
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Used,
        Self::Expired,
        Self::Declined,
        Self::Tampered,
        Self::Protocol,
        Self::AlreadyLinked,
        Self::Busy,
    ];

    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|error| *error as u32 == number).unwrap_or(Self::Protocol)
    }
}

/// How far a session with a device that is to be linked has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkStage {
    /// It is to say what it is called.
    Hello,
    /// The person is to say whether they want it.
    Asked,
    /// It is given what it asks for.
    Serving,
}

impl Engine {
    /// Command: makes a code by which one further device of this person can be linked, until `valid_ms` from now. With
    /// `confirm`, [`Event::LinkRequested`] comes first and [`confirm_link`](Self::confirm_link) decides. Take it back with
    /// [`revoke_invitation`](Self::revoke_invitation).
    ///
    /// # Errors
    /// [`EngineError::NotLinked`].
    pub fn link_device(&mut self, valid_ms: u64, confirm: bool, now_ms: u64) -> Result<LinkCode, EngineError> {
        self.begin(now_ms)?;
        if self.identity.person().is_none() {
            return Err(EngineError::NotLinked);
        }
        let me = self.desk.me();
        let addresses = self.addresses.get(&me).cloned().unwrap_or_default();
        let expires_ms = now_ms.saturating_add(valid_ms);
        let code = LinkCode::new(me, expires_ms, addresses, self.identity.person_name(), &mut self.desk.entropy);
        let record = local::Invitation {
            secret: code.key().to_vec(),
            expires_ms,
            link: Some(local::DeviceLink { confirm, confirmed: Vec::new() }),
            ..Default::default()
        };
        self.store_invitation(code.id(), &record);
        self.finish();
        Ok(code)
    }

    /// Command: lets a device in that asked to be linked, or turns it away; then the code is worth nothing any more.
    ///
    /// # Errors
    /// If this device made no such code.
    pub fn confirm_link(
        &mut self,
        link: InvitationId,
        device: DeviceId,
        accept: bool,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let mut record = self.load_invitation(link)?.ok_or(EngineError::NoSuchInvitation)?;
        let how = record.link.as_mut().ok_or(EngineError::NoSuchInvitation)?;
        match accept {
            true => how.confirmed = device.as_bytes().to_vec(),
            false => record.revoked = true,
        }
        self.store_invitation(link, &record);
        // Whoever is not connected just now hears of it when it asks again.
        if let Some((attempt, Answering::Session(mut talk, Door::Link(LinkStage::Asked)))) =
            self.joins.answering.remove(&(device, link))
        {
            let door = self.grant(device, link, &mut talk);
            self.joins.answering.insert((device, link), (attempt, Answering::Session(talk, door)));
        }
        self.finish();
        Ok(())
    }

    pub(super) fn answer_link(
        &mut self,
        peer: DeviceId,
        id: InvitationId,
        talk: &mut Talk,
        message: &[u8],
        stage: LinkStage,
    ) -> Result<Door, Refusal> {
        let request = proto::LinkRequest::decode(message).map_err(|_| Refusal::Malformed)?;
        match (stage, request.body.ok_or(Refusal::UnknownBody)?) {
            (LinkStage::Hello, LinkRequest::Hello(hello)) => Ok(self.answer_hello(peer, id, talk, &hello)),
            (LinkStage::Serving, LinkRequest::Want(want)) => Ok(self.answer_want(peer, talk, &want)),
            (LinkStage::Serving, LinkRequest::Done(_)) => {
                // Its secret has served its purpose.
                self.desk.remove(Key::new(Keyspace::Invitations, [], id.as_bytes()));
                self.desk.events.push(Event::DeviceLinked { link: id, device: peer });
                Ok(Door::Over)
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    fn answer_hello(&mut self, peer: DeviceId, id: InvitationId, talk: &mut Talk, hello: &proto::LinkHello) -> Door {
        let hash = talk.handshake_hash();
        let signed = Signature::try_from(hello.signature.as_slice())
            .is_ok_and(|signature| peer.verify(Domain::InvitationHandshake, &hash, &signature).is_ok());
        let is_name = check_name(&hello.device_name).is_ok_and(|name| name == hello.device_name);
        if !signed || !is_name {
            return refuse(talk, LinkingError::Protocol);
        }
        let record = self.load_invitation(id).ok().flatten();
        let how = record.and_then(|record| record.link).unwrap_or_default();
        if how.confirm && how.confirmed != peer.as_bytes() && self.usable_invitation(peer, id).is_ok() {
            let device_name = hello.device_name.clone();
            let sas = Sas::of_handshake(&hash);
            self.desk.events.push(Event::LinkRequested { link: id, device: peer, device_name, sas });
            let person_name = self.identity.person_name().to_owned();
            say(talk, LinkAnswer::Pending(proto::LinkPending { person_name }));
            return Door::Link(LinkStage::Asked);
        }
        self.grant(peer, id, talk)
    }

    /// Gives a device the person's key, if the code still stands.
    fn grant(&mut self, peer: DeviceId, id: InvitationId, talk: &mut Talk) -> Door {
        let mut record = match self.usable_invitation(peer, id) {
            Ok(record) => record,
            Err(error) => return refuse(talk, LinkingError::from_number(error as u32)),
        };
        if self.was_revoked(&peer) {
            return refuse(talk, LinkingError::Used);
        }
        let Some(seed) = self.identity.person_seed() else { return refuse(talk, LinkingError::Busy) };
        let person_seed = seed.to_vec();
        if record.used_by.is_empty() {
            record.used_by = peer.as_bytes().to_vec();
            self.store_invitation(id, &record);
        }
        let me = self.desk.me();
        let mut circles: Vec<&Circle> = self.circles.values().filter(|circle| circle.is_member(&me)).collect();
        // A space before what is nested in it.
        circles.sort_by_key(|circle| (circle.log.membership().parent.is_some(), circle.id));
        let signature = self.desk.device.sign(Domain::InvitationHandshake, &talk.handshake_hash());
        let granted = proto::LinkGranted {
            signature: signature.as_bytes().to_vec(),
            person_seed,
            person_name: self.identity.person_name().to_owned(),
            suites: circles.iter().map(|circle| circle.suite().number()).collect(),
            circles: circles.into_iter().map(|circle| circle.id.as_bytes().to_vec()).collect(),
            recovery: self.identity.recovery().map(write_certificate).unwrap_or_default(),
            marks: self.marks_to_tell(),
            reads: self.reads_to_tell(),
        };
        say(talk, LinkAnswer::Granted(granted));
        Door::Link(LinkStage::Serving)
    }

    /// A device that was being linked is gone. If it was given all, its last word may be what got lost.
    pub(super) fn note_linked(&mut self, peer: DeviceId) {
        let me = self.desk.me();
        let served = |step: &Answering| matches!(step, Answering::Session(talk, Door::Link(LinkStage::Serving)) if !talk.is_sending());
        let links = self.joins.answering.iter().filter(|((device, _), (_, step))| *device == peer && served(step));
        let links: Vec<InvitationId> = links.map(|((_, id), _)| *id).collect();
        let mut mine = self.circles.values().filter(|circle| circle.is_member(&me));
        if !links.is_empty() && mine.all(|circle| circle.is_member(&peer)) {
            // The code stays that device's: should it lack something after all, it asks again.
            self.desk.events.extend(links.into_iter().map(|link| Event::DeviceLinked { link, device: peer }));
        }
    }

    fn answer_want(&mut self, peer: DeviceId, talk: &mut Talk, want: &proto::LinkWant) -> Door {
        let serving = Door::Link(LinkStage::Serving);
        let Ok(id) = CircleId::try_from(want.circle.as_slice()) else { return refuse(talk, LinkingError::Protocol) };
        let Some(circle) = self.circles.get(&id) else {
            say(talk, LinkAnswer::Skipped(id.as_bytes().to_vec()));
            return serving;
        };
        let entry = check_entry(peer, &want.device, circle.suite(), &self.desk);
        let Some(entry) = entry.filter(|entry| Some(entry.person) == self.identity.person()) else {
            return refuse(talk, LinkingError::Protocol);
        };
        match self.add_own_device(id, peer, entry) {
            Ok(accepted) => {
                let circle = id.as_bytes().to_vec();
                say(talk, LinkAnswer::Circle(proto::LinkCircle { circle, accepted: Some(accepted) }));
            }
            Err(JoinError::Busy) => return refuse(talk, LinkingError::Busy),
            // This device is out, or the other is in already.
            Err(_) => say(talk, LinkAnswer::Skipped(id.as_bytes().to_vec())),
        }
        serving
    }

    /// Whether a device was removed from anywhere. A link that broke off must not be the way back for one that was revoked
    /// since.
    fn was_revoked(&self, device: &DeviceId) -> bool {
        self.circles.values().any(|circle| circle.log.membership().former_devices.contains_key(device))
    }

    /// Adds a device of one's own to a circle, and says what it needs there.
    pub(super) fn add_own_device(
        &mut self,
        id: CircleId,
        peer: DeviceId,
        entry: crate::membership::PersonEntry,
    ) -> Result<proto::Accepted, JoinError> {
        if self.was_revoked(&peer) {
            return Err(JoinError::Used);
        }
        let circle = self.circles.get_mut(&id).ok_or(JoinError::Unknown)?;
        let device = entry.devices.into_iter().next().ok_or(JoinError::Protocol)?;
        let offered = device.key_packages.clone();
        if !circle.is_member(&peer) {
            circle.act(Action::AddDevice { device }, &mut self.desk).map_err(|_| JoinError::NotAllowed)?;
        }
        self.hand_over_circle(id, peer, &offered)
    }
}

fn say(talk: &mut Talk, body: LinkAnswer) {
    talk.send(proto::LinkAnswer { body: Some(body) }.encode_to_vec());
}

fn refuse(talk: &mut Talk, error: LinkingError) -> Door {
    say(talk, LinkAnswer::Refused(error as u32));
    Door::Over
}

/// What a handshake of a link is about. The new device need not know more beforehand than whom it is connected with.
pub(crate) fn link_prologue(link: InvitationId, device: DeviceId) -> Vec<u8> {
    [b"link".as_slice(), link.as_bytes(), device.as_bytes()].concat()
}
