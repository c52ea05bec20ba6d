//! Linking a further device of a person: the side of the new device.
//!
//! What has come is kept: the person's key with the first answer, and each circle, whole, when its last piece is here. So
//! after a crash or a lost connection the device has a person and some circles, and asks for the rest.

use clave_crypto::{Domain, Handshake, PersonKey, Sas, Signature, Suite};
use prost::Message as _;
use zeroize::Zeroizing;

use super::join::ANSWER_MS_MAX;
use super::linking::link_prologue;
use super::pieces::{ANSWER_BYTES_MAX, Piece, Talk};
use super::*;
use crate::identity::{check_name, read_certificate};
use crate::link_code::LinkCode;
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as FrameBody;
use crate::proto::invitation::{link_answer::Body as LinkAnswer, link_request::Body as LinkRequest};
use crate::proto::local;
use crate::{Key, Refusal, key_packages};

/// How long the person may think about it, in milliseconds.
const CONFIRM_MS_MAX: u64 = 600_000;
/// The most circles that a person's device is told of.
const CIRCLES_MAX: usize = 65_536;

/// A link that is being taken up.
pub(super) struct Linking {
    pub(super) code: LinkCode,
    /// With whom it is tried: with the device that the code names, or with everybody.
    pub(super) tries: BTreeMap<DeviceId, Try>,
    /// The circles to ask for yet and their suites, the next one last.
    wanted: Vec<(CircleId, Suite)>,
    /// How many there are in all.
    circles: usize,
    /// Whether there is nothing left but to say so.
    done: bool,
}

/// An attempt with one device.
pub(super) struct Try {
    pub(super) attempt: u64,
    step: Step,
    pub(super) retry_at_ms: Option<u64>,
}

enum Step {
    Lost,
    Handshake(Box<Handshake>),
    /// The circle that was asked for; before, the person.
    Session(Box<Talk>, Option<CircleId>),
}

impl Try {
    pub(super) fn lose(&mut self, retry_at_ms: Option<u64>) {
        (self.step, self.retry_at_ms) = (Step::Lost, retry_at_ms);
    }

    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        match &mut self.step {
            Step::Session(talk, _) => Some(talk),
            _ => None,
        }
    }
}

impl Linking {
    fn new(code: LinkCode) -> Self {
        Self { code, tries: BTreeMap::new(), wanted: Vec::new(), circles: 0, done: false }
    }

    /// Whether a frame of that device about that link belongs here.
    pub(super) fn asks(&self, peer: &DeviceId, id: &InvitationId) -> bool {
        self.tries.contains_key(peer) && self.code.id() == *id
    }
}

impl Engine {
    /// Command: takes up a code that another device of the same person shows. [`Event::Linked`], a
    /// [`Event::CircleLinked`] for each circle and [`Event::LinkFinished`] follow, or [`Event::LinkFailed`]. It is tried
    /// at each connection, also after the engine was opened again, until then.
    ///
    /// # Errors
    /// [`LinkingError::AlreadyLinked`], or [`LinkingError::Expired`] by this device's clock.
    pub fn take_link(&mut self, code: LinkCode, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        if self.identity.person().is_some() {
            return Err(LinkingError::AlreadyLinked.into());
        }
        if code.expires_ms.is_some_and(|at| at < now_ms) {
            return Err(LinkingError::Expired.into());
        }
        self.store_link(&code);
        self.begin_linking(code);
        self.finish();
        Ok(())
    }

    /// Command: gives up linking this device. What it has by now it keeps.
    pub fn cancel_link(&mut self, now_ms: u64) {
        self.desk.now_ms = now_ms;
        self.drop_linking();
        self.finish();
    }

    /// Whether this device is being linked, and has not all circles of its person.
    #[must_use]
    pub fn is_linking(&self) -> bool {
        self.joins.linking.is_some()
    }

    pub(super) fn load_links(&mut self) -> Result<(), EngineError> {
        if let Some(record) = self.desk.store.read(&taken_key())? {
            let record = local::TakenLink::decode(Zeroizing::new(record).as_slice())?;
            let device = match record.device.is_empty() {
                true => None,
                false => Some(DeviceId::try_from(record.device.as_slice()).map_err(|_| EngineError::Damaged)?),
            };
            self.begin_linking(LinkCode {
                secret: Zeroizing::new(record.secret.as_slice().try_into().map_err(|_| EngineError::Damaged)?),
                device,
                expires_ms: Some(record.expires_ms).filter(|at| *at > 0),
                addresses: record.addresses,
                person_name: String::new(),
            });
        }
        // Codes of one's own whose time is over, whether or not the last word of whoever used them came through.
        for (suffix, record) in self.desk.store.all(Keyspace::Invitations, &[])? {
            let record = local::Invitation::decode(record.as_slice())?;
            if record.link.is_some() && record.expires_ms < self.desk.now_ms {
                self.desk.remove(Key::new(Keyspace::Invitations, [], suffix));
            }
        }
        Ok(())
    }

    fn begin_linking(&mut self, code: LinkCode) {
        match code.device {
            Some(device) => self.outbox.push(Output::Addresses { device, addresses: code.addresses.clone() }),
            None => self.outbox.push(Output::Seek(true)),
        }
        self.joins.linking = Some(Linking::new(code));
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.link_on_connect(peer);
        }
    }

    fn store_link(&mut self, code: &LinkCode) {
        let record = local::TakenLink {
            secret: code.secret.to_vec(),
            device: code.device.map(|device| device.as_bytes().to_vec()).unwrap_or_default(),
            expires_ms: code.expires_ms.unwrap_or_default(),
            addresses: code.addresses.clone(),
        };
        self.desk.put(taken_key(), record.encode_to_vec());
    }

    fn drop_linking(&mut self) {
        if let Some(linking) = self.joins.linking.take() {
            self.desk.remove(taken_key());
            if linking.code.device.is_none() {
                self.outbox.push(Output::Seek(false));
            }
        }
    }

    /// Forgets a link once its last word has left.
    pub(super) fn end_linking(&mut self) {
        let Some(linking) = &mut self.joins.linking else { return };
        let is_sending = linking.tries.values_mut().any(|attempt| attempt.talk().is_some_and(|talk| talk.is_sending()));
        if linking.done && !is_sending {
            self.drop_linking();
            self.desk.events.push(Event::LinkFinished);
        }
    }

    /// Tries the link with a device, if it may be the one that answers.
    pub(super) fn link_on_connect(&mut self, peer: DeviceId) {
        let Some(linking) = &mut self.joins.linking else { return };
        if linking.code.device.is_some_and(|device| device != peer) || !self.peers.contains_key(&peer) {
            linking.tries.remove(&peer);
            return;
        }
        let (id, key) = (linking.code.id(), linking.code.key());
        let mut handshake = Handshake::initiator(&key, &link_prologue(id, peer), &mut self.desk.entropy);
        let message = handshake.write(&[]).expect("the initiator writes first");
        let attempt = u64::from_be_bytes(self.desk.entropy.bytes());
        let retry_at_ms = Some(self.desk.now_ms + ANSWER_MS_MAX);
        let step = Step::Handshake(Box::new(handshake));
        linking.tries.insert(peer, Try { attempt, step, retry_at_ms });
        self.send_join(peer, id, attempt, FrameBody::Handshake(message));
    }

    pub(super) fn take_link_answer(&mut self, peer: DeviceId, attempt: u64, body: FrameBody) -> Result<(), Refusal> {
        let linking = self.joins.linking.as_mut().expect("the caller looked it up");
        if linking.tries[&peer].attempt != attempt {
            return Err(Refusal::Unexpected);
        }
        let failed = match body {
            FrameBody::Refused(number) => Some(LinkingError::from_number(number)),
            body => self.proceed_linking(peer, body).err(),
        };
        let linking = self.joins.linking.as_mut();
        match (failed, linking) {
            // One of many who were asked: not the one, or somebody who plays tricks.
            (Some(_), Some(linking)) if linking.code.device.is_none() => {
                linking.tries.remove(&peer);
            }
            (Some(error), Some(_)) => {
                self.drop_linking();
                self.desk.events.push(Event::LinkFailed { error });
            }
            _ => {}
        }
        Ok(())
    }

    fn proceed_linking(&mut self, peer: DeviceId, body: FrameBody) -> Result<(), LinkingError> {
        let retry_at_ms = Some(self.desk.now_ms + ANSWER_MS_MAX);
        let linking = self.joins.linking.as_mut().expect("the caller looked it up");
        let id = linking.code.id();
        let this = linking.tries.get_mut(&peer).expect("the caller looked it up");
        let attempt = this.attempt;
        match (std::mem::replace(&mut this.step, Step::Lost), body) {
            (Step::Handshake(mut handshake), FrameBody::Handshake(message)) => {
                handshake.read(&message).map_err(|_| LinkingError::Tampered)?;
                let message = handshake.write(&[]).map_err(|_| LinkingError::Protocol)?;
                let session = handshake.into_session().map_err(|_| LinkingError::Protocol)?;
                let mut talk = Talk::new(session, ANSWER_BYTES_MAX);
                let signature = self.desk.device.sign(Domain::InvitationHandshake, &talk.handshake_hash());
                let device_name = self.identity.device_name().to_owned();
                let hello = proto::LinkHello { device_name, signature: signature.as_bytes().to_vec() };
                say(&mut talk, LinkRequest::Hello(hello));
                (this.step, this.retry_at_ms) = (Step::Session(Box::new(talk), None), retry_at_ms);
                self.send_join(peer, id, attempt, FrameBody::Finish(message));
                Ok(())
            }
            (Step::Session(mut talk, asked), FrameBody::Sealed(sealed)) => {
                let message = match talk.take(&sealed).map_err(|_| LinkingError::Protocol)? {
                    Piece::Partial(come) => {
                        (this.step, this.retry_at_ms) = (Step::Session(talk, asked), retry_at_ms);
                        self.desk.events.push(Event::LinkProgress {
                            done_circles: linking.circles - linking.wanted.len(),
                            total_circles: linking.circles,
                            done_bytes: come.done_bytes,
                            total_bytes: come.total_bytes,
                        });
                        return Ok(());
                    }
                    Piece::Whole(message) => message,
                };
                self.settle_on(peer);
                let answer = proto::LinkAnswer::decode(message.as_slice()).map_err(|_| LinkingError::Protocol)?;
                self.take_link_message(peer, talk, asked, answer.body.ok_or(LinkingError::Protocol)?)
            }
            (step, _) => {
                // Came twice.
                this.step = step;
                Ok(())
            }
        }
    }

    fn take_link_message(
        &mut self,
        peer: DeviceId,
        mut talk: Box<Talk>,
        asked: Option<CircleId>,
        answer: LinkAnswer,
    ) -> Result<(), LinkingError> {
        let (now_ms, mut wait_ms) = (self.desk.now_ms, ANSWER_MS_MAX);
        let next = match (asked, answer) {
            (_, LinkAnswer::Refused(number)) => return Err(LinkingError::from_number(number)),
            (None, LinkAnswer::Pending(pending)) => {
                let person_name = check_name(&pending.person_name).map_err(|_| LinkingError::Protocol)?.to_owned();
                let sas = Sas::of_handshake(&talk.handshake_hash());
                self.desk.events.push(Event::LinkPending { person_name, sas });
                wait_ms = CONFIRM_MS_MAX;
                None
            }
            (None, LinkAnswer::Granted(granted)) => {
                self.take_grant(peer, granted, &talk.handshake_hash()).ok_or(LinkingError::Protocol)?;
                self.ask_for_next(&mut talk)?
            }
            (Some(circle), LinkAnswer::Circle(answer)) if answer.circle == circle.as_bytes() => {
                let accepted = answer.accepted.ok_or(LinkingError::Protocol)?;
                self.enter_own(circle, peer, accepted).ok_or(LinkingError::Protocol)?;
                self.ask_for_next(&mut talk)?
            }
            (Some(circle), LinkAnswer::Skipped(skipped)) if skipped == circle.as_bytes() => {
                self.withdraw_own(circle);
                self.ask_for_next(&mut talk)?
            }
            _ => return Err(LinkingError::Protocol),
        };
        let linking = self.joins.linking.as_mut().expect("it goes on");
        let this = linking.tries.get_mut(&peer).expect("it goes on with this device");
        (this.step, this.retry_at_ms) = (Step::Session(talk, next), Some(now_ms + wait_ms));
        Ok(())
    }

    /// Becomes the person's device, or goes on as such.
    fn take_grant(&mut self, peer: DeviceId, granted: proto::LinkGranted, handshake_hash: &[u8; 32]) -> Option<()> {
        let seed = Zeroizing::new(granted.person_seed);
        let signature = Signature::try_from(granted.signature.as_slice()).ok()?;
        peer.verify(Domain::InvitationHandshake, handshake_hash, &signature).ok()?;
        let person = PersonKey::from_seed(Zeroizing::new(seed.as_slice().try_into().ok()?));
        let name = check_name(&granted.person_name).ok().filter(|name| *name == granted.person_name)?.to_owned();
        if granted.circles.len() > CIRCLES_MAX {
            return None;
        }
        if granted.suites.len() != granted.circles.len() {
            return None;
        }
        let circle =
            |(id, suite): (&Vec<u8>, &u8)| Some((CircleId::try_from(id.as_slice()).ok()?, Suite::from_number(*suite)?));
        let circles: Vec<(CircleId, Suite)> =
            granted.circles.iter().zip(&granted.suites).map(circle).collect::<Option<_>>()?;
        match self.identity.person() {
            Some(mine) => (mine == person.id()).then_some(())?,
            None => {
                let id = person.id();
                let recovery = match granted.recovery.is_empty() {
                    true => None,
                    false => Some(read_certificate(&granted.recovery).filter(|own| own.verify(id).is_ok())?),
                };
                self.identity.adopt(person, name, recovery);
                for (key, value) in self.identity.to_batch().writes {
                    self.desk.put(key, value.unwrap_or_default());
                }
                self.desk.events.push(Event::Linked { person: id });
            }
        }
        self.take_linked_marks(&granted.marks);
        self.take_linked_reads(&granted.reads);
        let linking = self.joins.linking.as_mut()?;
        linking.circles = circles.len();
        linking.wanted = circles.into_iter().rev().filter(|(circle, _)| !self.circles.contains_key(circle)).collect();
        Some(())
    }

    /// Whoever holds the secret of a typed code is the one who shows it: nobody else is tried any more.
    fn settle_on(&mut self, peer: DeviceId) {
        let Some(linking) = self.joins.linking.as_mut().filter(|linking| linking.code.device.is_none()) else { return };
        linking.code.device = Some(peer);
        linking.tries.retain(|device, _| *device == peer);
        let code = linking.code.clone();
        self.outbox.push(Output::Seek(false));
        self.store_link(&code);
    }

    /// Asks for the next circle, or says that there are all.
    fn ask_for_next(&mut self, talk: &mut Talk) -> Result<Option<CircleId>, LinkingError> {
        let linking = self.joins.linking.as_mut().expect("it goes on");
        let Some((circle, suite)) = linking.wanted.pop() else {
            linking.done = true;
            say(talk, LinkRequest::Done(proto::LinkDone {}));
            return Ok(None);
        };
        let id = linking.code.id();
        // The code may expire while circles come; what was made for them may not.
        let packages = key_packages::for_join(id, circle, suite, u64::MAX, &mut self.desk);
        let entry = packages.ok().and_then(|packages| self.identity.entry(packages)).ok_or(LinkingError::Busy)?;
        say(talk, LinkRequest::Want(proto::LinkWant { circle: circle.as_bytes().to_vec(), device: entry.encode() }));
        Ok(Some(circle))
    }

    /// Enters a circle of one's own person, handed over by another device of theirs.
    pub(super) fn enter_own(&mut self, id: CircleId, by: DeviceId, accepted: proto::Accepted) -> Option<()> {
        if self.circles.contains_key(&id) {
            return Some(());
        }
        let (me, person) = (self.desk.me(), self.identity.person()?);
        let circle = self.read_accepted(id, by, accepted, |membership| {
            let is_own = |device: &DeviceId| membership.devices.get(device).is_some_and(|known| known.person == person);
            is_own(&me) && is_own(&by)
        })?;
        let linking = self.joins.linking.as_ref().map(|linking| (linking.code.id(), linking.code.addresses.clone()));
        self.circles.insert(id, circle);
        self.greet_anew(id);
        if let Some((link, addresses)) = linking {
            key_packages::handed_over(link, id, &mut self.desk);
            self.learn_addresses(by, addresses);
        }
        self.desk.events.push(Event::CircleLinked { circle: id });
        Some(())
    }

    fn withdraw_own(&mut self, circle: CircleId) {
        let Some(link) = self.joins.linking.as_ref().map(|linking| linking.code.id()) else { return };
        if !self.circles.contains_key(&circle) {
            key_packages::withdraw(link, circle, &mut self.desk);
        }
    }
}

fn say(talk: &mut Talk, body: LinkRequest) {
    talk.send(proto::LinkRequest { body: Some(body) }.encode_to_vec());
}

fn taken_key() -> Key {
    Key::new(Keyspace::Meta, [], b"link")
}
