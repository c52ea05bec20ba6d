//! Verifying people: two who are connected compare a short string, or read each other a number; and what comes of it.
//!
//! The exchange is `clave_crypto::SasExchange`: commitment, nonce, reveal, in frames between two devices that are in one
//! circle. Both then see the same seven pictures and three numbers, unless somebody sits between them. A person counts as
//! verified once its user and the other's have said that they see the same. Nothing of it is told to others: what becomes of
//! it among the person's own devices is in `marks.rs`.

use clave_crypto::{PersonId, Sas, SasContext, SasExchange, SasMessage, SasParty, safety_number};

use super::*;
use crate::Refusal;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::proto::frame::verify::Step;

/// How long a verification may take, in milliseconds.
pub const VERIFICATION_MS_MAX: u64 = 10 * 60_000;
/// The most verifications that are open at once; one with each device.
pub(crate) const VERIFICATIONS_MAX: usize = 16;

const SAME: u32 = 1;
const GIVEN_UP: u32 = 2;

/// Whether a person is who they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verification {
    /// It is the person this device belongs to.
    Own,
    /// Their key was compared on this device.
    Verified {
        /// When, in Unix milliseconds.
        at_ms: u64,
        /// How.
        by: VerifiedBy,
    },
    /// Their key was never compared here.
    Unverified,
    /// They have the name of somebody who was verified here, and another key. Either that person began anew, or somebody
    /// else took the name: compare again.
    Changed {
        /// Who was verified under that name.
        former: PersonId,
    },
}

/// How a key was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VerifiedBy {
    /// Pictures or numbers, while both were connected.
    ShortString = 1,
    /// The safety number.
    SafetyNumber = 2,
}

/// How far a verification is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationStep {
    /// The other side asks. [`Engine::accept_verification`] goes on.
    Requested,
    /// Waiting for the other side to agree.
    Asked,
    /// Both see something: is it the same? [`Engine::confirm_verification`] or [`Engine::cancel_verification`].
    Compare(Sas),
    /// This side said that it is the same; the other has not yet.
    Confirmed(Sas),
}

/// Why a verification came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationFailure {
    /// The other side gave up, or saw something else: somebody may sit between the two.
    GivenUp,
    /// What arrived does not fit what was committed to: somebody meddles, or the other side runs another version.
    Altered,
    /// It took too long, or the connection was lost.
    Lost,
}

/// Verifications that are open, one for each device.
#[derive(Default)]
pub(super) struct Verifications(BTreeMap<DeviceId, Open>);

struct Open {
    circle: CircleId,
    session: [u8; 16],
    exchange: SasExchange,
    /// What the initiator sent first, until this side agrees.
    request: Option<SasMessage>,
    sas: Option<Sas>,
    confirmed_here: bool,
    confirmed_there: bool,
    expires_ms: u64,
}

impl Verifications {
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.0.values().map(|open| open.expires_ms).min()
    }
}

impl Engine {
    /// Command: asks the user of another person's device to compare. [`Event::VerificationChanged`] follows.
    ///
    /// # Errors
    /// [`EngineError::NoSuchDevice`] if the device is not connected or not in the circle, or is one of this person's own.
    pub fn begin_verification(&mut self, circle: CircleId, device: DeviceId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let me = self.party(circle, self.desk.me()).ok_or(EngineError::NoSuchCircle)?;
        let them = self.party(circle, device).filter(|them| them.person != me.person);
        let them = them.filter(|_| self.ready_peers().contains(&device)).ok_or(EngineError::NoSuchDevice)?;
        let context = SasContext { initiator: me, responder: them, circle: circle.as_bytes() };
        let (exchange, commitment) = SasExchange::initiate(&context, &mut self.desk.entropy);
        let session = self.desk.entropy.bytes();
        self.open_verification(device, Open::new(circle, session, exchange, now_ms));
        self.send_verify(device, circle, session, Step::Message(commitment.to_bytes().to_vec()));
        self.tell_verification(device);
        self.finish();
        Ok(())
    }

    /// Command: agrees to compare with a device that asked.
    ///
    /// # Errors
    /// [`EngineError::NoVerification`] if it did not, or it is over.
    pub fn accept_verification(&mut self, device: DeviceId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let open = self.verifications.0.get_mut(&device).ok_or(EngineError::NoVerification)?;
        let request = open.request.take().ok_or(EngineError::NoVerification)?;
        self.advance_verification(device, request);
        self.finish();
        Ok(())
    }

    /// Command: says that both see the same. Once the other side says so too, their person is verified.
    ///
    /// # Errors
    /// [`EngineError::NoVerification`] if there is nothing to compare.
    pub fn confirm_verification(&mut self, device: DeviceId, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let open = self.verifications.0.get_mut(&device).filter(|open| open.sas.is_some());
        let open = open.ok_or(EngineError::NoVerification)?;
        open.confirmed_here = true;
        let (circle, session) = (open.circle, open.session);
        self.send_verify(device, circle, session, Step::Verdict(SAME));
        self.conclude_verification(device);
        self.finish();
        Ok(())
    }

    /// Command: gives a verification up, or says that what is shown differs.
    pub fn cancel_verification(&mut self, device: DeviceId, now_ms: u64) {
        self.desk.now_ms = now_ms;
        if let Some(open) = self.verifications.0.remove(&device) {
            self.send_verify(device, open.circle, open.session, Step::Verdict(GIVEN_UP));
        }
        self.finish();
    }

    /// How far the verification with a device is; nothing, if there is none.
    #[must_use]
    pub fn verification_step(&self, device: DeviceId) -> Option<VerificationStep> {
        let open = self.verifications.0.get(&device)?;
        Some(match &open.sas {
            _ if open.request.is_some() => VerificationStep::Requested,
            None => VerificationStep::Asked,
            Some(sas) if open.confirmed_here => VerificationStep::Confirmed(sas.clone()),
            Some(sas) => VerificationStep::Compare(sas.clone()),
        })
    }

    /// The devices with which a verification is open.
    #[must_use]
    pub fn verifications(&self) -> Vec<DeviceId> {
        self.verifications.0.keys().copied().collect()
    }

    /// Whether a person of a circle is who they are called.
    ///
    /// # Errors
    /// If this device is not in the circle or the store cannot be read.
    pub fn verification(&self, circle: CircleId, person: PersonId) -> Result<Verification, EngineError> {
        let membership = self.membership(circle)?;
        if self.identity.person() == Some(person) {
            return Ok(Verification::Own);
        }
        if let Some(mark) = self.mark(person)? {
            let by = if mark.by == VerifiedBy::SafetyNumber as u32 {
                VerifiedBy::SafetyNumber
            } else {
                VerifiedBy::ShortString
            };
            return Ok(Verification::Verified { at_ms: mark.at_ms, by });
        }
        let current = membership.people.get(&person).map(|known| &known.name);
        let Some(name) = current.or_else(|| membership.former_people.get(&person).map(|former| &former.name)) else {
            return Ok(Verification::Unverified);
        };
        let alike = |other: &str| other.trim().to_lowercase() == name.trim().to_lowercase();
        for (verified, _) in self.noted_marks()? {
            let Some(mark) = self.mark(verified)? else { continue };
            // As they were called then, or are called now.
            let called = membership.people.get(&verified).map(|known| known.name.as_str());
            if alike(&mark.name) || called.is_some_and(alike) {
                return Ok(Verification::Changed { former: verified });
            }
        }
        Ok(Verification::Unverified)
    }

    /// The number that two people read to each other: the same on both sides, 60 digits in groups of five.
    ///
    /// # Errors
    /// If this device has no person yet.
    pub fn safety_number(&self, person: PersonId) -> Result<String, EngineError> {
        Ok(safety_number(self.identity.person().ok_or(EngineError::NotLinked)?, person))
    }

    /// Command: notes that a person's key was compared by its safety number, or takes any such note back.
    ///
    /// # Errors
    /// If this device is not in the circle, or the person was never in it.
    pub fn mark_verified(
        &mut self,
        circle: CircleId,
        person: PersonId,
        verified: bool,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        let known = self.membership(circle)?.people.get(&person).map(|known| known.name.clone());
        if verified {
            let name = known.ok_or(EngineError::NotAllowed(crate::membership::Reason::NotThere))?;
            self.put_mark(person, name, Some(VerifiedBy::SafetyNumber))?;
        } else if let Some(mark) = self.mark(person)? {
            self.put_mark(person, mark.name, None)?;
        }
        self.desk.events.push(Event::MembershipChanged { circle });
        self.finish();
        Ok(())
    }

    /// A step from the other side. Whatever it holds, the worst it can do is end the verification.
    pub(super) fn take_verify(&mut self, peer: DeviceId, step: &proto::Verify) -> Result<(), Refusal> {
        let circle = self.shared(peer, &step.circle)?;
        let session: [u8; 16] = step.session.as_slice().try_into().map_err(|_| Refusal::Malformed)?;
        let current =
            self.verifications.0.get(&peer).is_some_and(|open| (open.circle, open.session) == (circle, session));
        match step.step.as_ref().ok_or(Refusal::UnknownBody)? {
            Step::Verdict(verdict) => {
                let open = self.verifications.0.get_mut(&peer).filter(|_| current).ok_or(Refusal::Unexpected)?;
                match *verdict {
                    SAME if open.sas.is_some() => {
                        open.confirmed_there = true;
                        self.conclude_verification(peer);
                    }
                    SAME => return Err(Refusal::Unexpected),
                    _ => self.fail_verification(peer, VerificationFailure::GivenUp),
                }
            }
            Step::Message(bytes) => {
                let message = SasMessage::from_bytes(bytes).map_err(|_| Refusal::Malformed)?;
                if let SasMessage::Commitment(_) = message {
                    return self.take_request(peer, circle, session, message);
                }
                let open = self.verifications.0.get(&peer).filter(|_| current).ok_or(Refusal::Unexpected)?;
                if open.request.is_some() {
                    return Err(Refusal::Unexpected);
                }
                self.advance_verification(peer, message);
            }
        }
        Ok(())
    }

    /// Drops what took too long.
    pub(super) fn expire_verifications(&mut self) {
        let now_ms = self.desk.now_ms;
        let over: Vec<DeviceId> = self
            .verifications
            .0
            .iter()
            .filter(|(device, open)| open.expires_ms <= now_ms || !self.peers.contains_key(device))
            .map(|(device, _)| *device)
            .collect();
        for device in over {
            self.fail_verification(device, VerificationFailure::Lost);
        }
    }

    fn take_request(
        &mut self,
        peer: DeviceId,
        circle: CircleId,
        session: [u8; 16],
        request: SasMessage,
    ) -> Result<(), Refusal> {
        let them = self.party(circle, peer).ok_or(Refusal::NotAMember)?;
        let me = self.party(circle, self.desk.me()).filter(|me| me.person != them.person).ok_or(Refusal::NotAllowed)?;
        // Both asked at once: the request of the lesser device counts. Whoever asks again begins anew.
        let mine = self.verifications.0.get(&peer).is_some_and(|open| open.request.is_none() && open.sas.is_none());
        if mine && self.desk.me() < peer {
            return Err(Refusal::Unexpected);
        }
        if self.verifications.0.len() >= VERIFICATIONS_MAX && !self.verifications.0.contains_key(&peer) {
            return Err(Refusal::TooManyHeld);
        }
        let context = SasContext { initiator: them, responder: me, circle: circle.as_bytes() };
        let exchange = SasExchange::respond(&context, &mut self.desk.entropy);
        let open = Open::new(circle, session, exchange, self.desk.now_ms);
        self.open_verification(peer, Open { request: Some(request), ..open });
        if mine {
            // It was asked for here as well, so nobody has to agree any more.
            let open = self.verifications.0.get_mut(&peer).expect("it was just put there");
            open.request = None;
            self.advance_verification(peer, request);
        } else {
            self.tell_verification(peer);
        }
        Ok(())
    }

    fn advance_verification(&mut self, device: DeviceId, message: SasMessage) {
        let Some(open) = self.verifications.0.get_mut(&device) else { return };
        let (circle, session) = (open.circle, open.session);
        match open.exchange.receive(message) {
            Ok(step) => {
                let shown = step.sas.is_some();
                open.sas = open.sas.take().or(step.sas);
                if let Some(message) = step.send {
                    self.send_verify(device, circle, session, Step::Message(message.to_bytes().to_vec()));
                }
                if shown {
                    self.tell_verification(device);
                }
            }
            Err(_) => {
                self.send_verify(device, circle, session, Step::Verdict(GIVEN_UP));
                self.fail_verification(device, VerificationFailure::Altered);
            }
        }
    }

    fn conclude_verification(&mut self, device: DeviceId) {
        let done = self.verifications.0.get(&device).is_some_and(|open| open.confirmed_here && open.confirmed_there);
        if !done {
            return self.tell_verification(device);
        }
        let open = self.verifications.0.remove(&device).expect("it was there above");
        let membership = self.circles.get(&open.circle).map(|circle| circle.log.membership());
        let person = membership.and_then(|membership| membership.person_of(device));
        let Some((person, name)) =
            person.and_then(|person| Some((person, membership?.people.get(&person)?.name.clone())))
        else {
            return self.desk.events.push(Event::VerificationFailed { device, why: VerificationFailure::Lost });
        };
        if let Err(error) = self.put_mark(person, name, Some(VerifiedBy::ShortString)) {
            tracing::error!(%error, "a mark could not be noted");
            return self.desk.events.push(Event::VerificationFailed { device, why: VerificationFailure::Lost });
        }
        self.desk.events.push(Event::PersonVerified { circle: open.circle, person });
    }

    fn fail_verification(&mut self, device: DeviceId, why: VerificationFailure) {
        self.verifications.0.remove(&device);
        self.desk.events.push(Event::VerificationFailed { device, why });
    }

    fn open_verification(&mut self, device: DeviceId, open: Open) {
        self.verifications.0.insert(device, open);
    }

    fn tell_verification(&mut self, device: DeviceId) {
        if let Some(step) = self.verification_step(device) {
            let circle = self.verifications.0[&device].circle;
            self.desk.events.push(Event::VerificationChanged { circle, device, step });
        }
    }

    fn send_verify(&mut self, to: DeviceId, circle: CircleId, session: [u8; 16], step: Step) {
        let verify = proto::Verify { circle: circle.as_bytes().to_vec(), session: session.to_vec(), step: Some(step) };
        self.send(to, Channel::Sync, Body::Verify(verify));
    }

    fn party(&self, circle: CircleId, device: DeviceId) -> Option<SasParty> {
        let circle = self.circles.get(&circle).filter(|circle| circle.is_member(&device))?;
        Some(SasParty { person: circle.log.membership().person_of(device)?, device })
    }
}

impl Open {
    fn new(circle: CircleId, session: [u8; 16], exchange: SasExchange, now_ms: u64) -> Self {
        Self {
            circle,
            session,
            exchange,
            request: None,
            sas: None,
            confirmed_here: false,
            confirmed_there: false,
            expires_ms: now_ms.saturating_add(VERIFICATION_MS_MAX),
        }
    }
}
