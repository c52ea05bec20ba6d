//! Handshakes that no honest device makes.

use std::cell::RefCell;

use clave_crypto::{
    Checkpoint, ContentKey, DeviceKey, Domain, Entropy, Export, GroupKeyAgreement, Handshake, PersonKey, RosterChange,
    SealedSecret, Session, Suite,
};
use proptest::prelude::*;
use prost::Message as _;

use super::rig::*;
use crate::engine::join::{HANDSHAKE_MS, HANDSHAKES_MAX, prologue};
use crate::membership::{Action, DeviceEntry, KeyPackages, Log, Operation, PersonEntry, Role, Scope};
use crate::proto::invitation as proto;
use crate::proto::invitation::answer::Body as Answer;
use crate::proto::invitation::join_frame::Body as Frame;
use crate::{Channel, CircleId, Event, InviteLink, JoinError, Keyspace, Refusal};

const HOUR_MS: u64 = 3_600_000;

fn invite(rig: &mut Rig, circle: CircleId) -> InviteLink {
    let now_ms = rig.now_ms;
    let link = rig.devices[ALICE].engine.invite(circle, HOUR_MS, now_ms).expect("an owner may");
    rig.drain(ALICE);
    link
}

fn frame(link: &InviteLink, attempt: u64, body: Frame) -> Vec<u8> {
    let invitation = link.invitation.as_bytes().to_vec();
    proto::JoinFrame { invitation, attempt, body: Some(body) }.encode_to_vec()
}

fn is_in(rig: &Rig, who: usize, circle: CircleId) -> bool {
    rig.devices[who].engine.circles().any(|id| id == circle)
}

fn failures(rig: &Rig, who: usize) -> Vec<JoinError> {
    let failed = |event: &Event| match event {
        Event::JoinFailed { error, .. } => Some(*error),
        _ => None,
    };
    rig.devices[who].events.iter().filter_map(failed).collect()
}

/// Alice with a space, and Bob who knows nobody; connected.
fn doorstep() -> (Rig, CircleId) {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.connect(ALICE, BOB);
    rig.settle();
    (rig, circle)
}

/// Speaks the join channel to Alice by hand, in Bob's name, up to the session.
fn knock(rig: &mut Rig, link: &InviteLink) -> (Session, u64) {
    let attempt = u64::from_be_bytes(rig.entropy.bytes());
    let greeting = prologue(link.invitation, link.circle, link.inviter);
    let mut handshake = Handshake::initiator(&link.secret, &greeting, &mut rig.entropy);
    let first = handshake.write(&[]).expect("the initiator begins");
    rig.frame(BOB, ALICE, Channel::Join, &frame(link, attempt, Frame::Handshake(first)));
    let Some(Frame::Handshake(second)) = answer(rig, ALICE) else { panic!("no second message") };
    handshake.read(&second).expect("it is honest");
    let third = handshake.write(&[]).expect("it is my turn");
    rig.frame(BOB, ALICE, Channel::Join, &frame(link, attempt, Frame::Finish(third)));
    (handshake.into_session().expect("it is finished"), attempt)
}

/// The one frame that an engine answers with.
fn answer(rig: &mut Rig, who: usize) -> Option<Frame> {
    let sent = rig.drain(who).into_iter().filter(|sent| sent.channel == Channel::Join).collect::<Vec<_>>();
    assert!(sent.len() <= 1, "more than one answer");
    proto::JoinFrame::decode(sent.first()?.frame.as_slice()).expect("its own frame").body
}

/// What fits one frame, as the one piece it goes in.
pub(super) fn whole(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    proto::Piece { index: 0, total_bytes: bytes.len() as u64, bytes }.encode_to_vec()
}

/// The message of a piece that is all of it.
pub(super) fn unwhole(piece: &[u8]) -> Vec<u8> {
    let piece = proto::Piece::decode(piece).expect("it is honest");
    assert_eq!((piece.index, piece.total_bytes), (0, piece.bytes.len() as u64), "it is short");
    piece.bytes
}

/// Asks to be let in, and returns the answer.
fn ask(rig: &mut Rig, link: &InviteLink, request: impl FnOnce(&mut Rig, &[u8; 32]) -> proto::Request) -> Answer {
    let (mut session, attempt) = knock(rig, link);
    let hash = *session.handshake_hash();
    let request = whole(&request(rig, &hash));
    let sealed = session.seal(&request).expect("it is small");
    rig.frame(BOB, ALICE, Channel::Join, &frame(link, attempt, Frame::Sealed(sealed)));
    let Some(Frame::Sealed(sealed)) = answer(rig, ALICE) else { panic!("no answer") };
    let answer = unwhole(&session.open(&sealed).expect("it is Alice's"));
    proto::Answer::decode(answer.as_slice()).expect("it is honest").body.expect("it says something")
}

pub(super) fn packages(device: &DeviceKey, entropy: &mut Entropy) -> KeyPackages {
    let single_use = vec![SealedSecret.key_package(device, Suite::default(), false, entropy).public];
    KeyPackages {
        single_use,
        last_resort: Some(SealedSecret.key_package(device, Suite::default(), true, entropy).public),
        x_wing: None,
    }
}

/// What Bob's device would ask, to be made worse.
fn newcomer(rig: &mut Rig) -> (PersonKey, PersonEntry) {
    let (person, device) = (PersonKey::generate(&mut rig.entropy), &rig.devices[BOB].key);
    let packages = packages(device, &mut rig.entropy);
    let entry = DeviceEntry::new(&person, device, "phone", packages);
    let name = "Bob".to_owned();
    let newcomer = PersonEntry { person: person.id(), name, devices: vec![entry], invitation: None, recovery: None };
    (person, newcomer)
}

fn signed(rig: &Rig, newcomer: &PersonEntry, hash: &[u8; 32]) -> proto::Request {
    let signature = rig.devices[BOB].key.sign(Domain::InvitationHandshake, hash).as_bytes().to_vec();
    proto::Request { newcomer: newcomer.encode(), signature }
}

fn honest_join(rig: &mut Rig, link: InviteLink, who: usize) {
    let (circle, now_ms) = (link.circle, rig.now_ms);
    rig.devices[who].engine.join(link, now_ms).expect("it is not in there");
    rig.connect(ALICE, who);
    rig.settle();
    assert!(is_in(rig, who, circle), "{:?}", failures(rig, who));
    rig.honest_exchange_of(circle, &[ALICE, who]);
}

#[test]
fn a_request_that_is_in_order_is_accepted() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let (_, entry) = newcomer(&mut rig);
    assert!(matches!(ask(&mut rig, &link, |rig, hash| signed(rig, &entry, hash)), Answer::Accepted(_)));
}

/// A request that is not in order is refused, the log and the roster stay as they are, and the invitation stays good.
fn is_refused(worse: impl Fn(&mut Rig, &[u8; 32]) -> proto::Request) {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let before = rig.store(ALICE);
    let answer = ask(&mut rig, &link, worse);
    assert!(matches!(answer, Answer::Refused(number) if number == JoinError::Protocol as u32));
    assert!(rig.store(ALICE) == before, "something was written");
    honest_join(&mut rig, link, BOB);
}

#[test]
fn a_request_for_another_device_is_refused() {
    is_refused(|rig, hash| {
        let (person, mut entry) = newcomer(rig);
        let other = DeviceKey::generate(&mut rig.entropy);
        let packages = packages(&other, &mut rig.entropy);
        entry.devices = vec![DeviceEntry::new(&person, &other, "phone", packages)];
        signed(rig, &entry, hash)
    });
}

#[test]
fn a_request_with_a_second_device_is_refused() {
    is_refused(|rig, hash| {
        let (person, mut entry) = newcomer(rig);
        let other = DeviceKey::generate(&mut rig.entropy);
        entry.devices.push(DeviceEntry::new(&person, &other, "phone", KeyPackages::default()));
        signed(rig, &entry, hash)
    });
}

#[test]
fn a_request_in_another_persons_name_is_refused() {
    is_refused(|rig, hash| {
        let (_, mut entry) = newcomer(rig);
        entry.person = rig.devices[ALICE].engine.identity().person().expect("she is somebody");
        signed(rig, &entry, hash)
    });
    is_refused(|rig, hash| {
        let (_, mut entry) = newcomer(rig);
        entry.person = rig.devices[ALICE].engine.identity().person().expect("she is somebody");
        entry.devices[0].certificate.person = entry.person;
        signed(rig, &entry, hash)
    });
}

#[test]
fn a_request_with_a_foreign_key_package_is_refused() {
    is_refused(|rig, hash| {
        let (_, mut entry) = newcomer(rig);
        let foreign = packages(&DeviceKey::generate(&mut rig.entropy), &mut rig.entropy);
        entry.devices[0].key_packages.single_use.extend(foreign.single_use);
        signed(rig, &entry, hash)
    });
    is_refused(|rig, hash| {
        let (_, mut entry) = newcomer(rig);
        entry.devices[0].key_packages.last_resort = Some(b"garbage".to_vec());
        signed(rig, &entry, hash)
    });
}

#[test]
fn a_request_without_a_key_package_is_refused() {
    is_refused(|rig, hash| {
        let (_, mut entry) = newcomer(rig);
        entry.devices[0].key_packages = KeyPackages::default();
        signed(rig, &entry, hash)
    });
}

#[test]
fn a_request_with_a_name_that_misleads_is_refused() {
    for name in ["", " ", "Bob\n", "\u{1b}[2J", "\u{202e}boB", " Bob", &"x".repeat(257)] {
        is_refused(|rig, hash| {
            let (_, mut entry) = newcomer(rig);
            entry.name = name.to_owned();
            signed(rig, &entry, hash)
        });
        is_refused(|rig, hash| {
            let (_, mut entry) = newcomer(rig);
            entry.devices[0].name = name.to_owned();
            signed(rig, &entry, hash)
        });
    }
}

#[test]
fn a_request_signed_for_another_handshake_or_by_another_device_is_refused() {
    is_refused(|rig, _| {
        let (_, entry) = newcomer(rig);
        signed(rig, &entry, &[0; 32])
    });
    is_refused(|rig, hash| {
        let (_, entry) = newcomer(rig);
        let signature = rig.devices[CAROL].key.sign(Domain::InvitationHandshake, hash).as_bytes().to_vec();
        proto::Request { newcomer: entry.encode(), signature }
    });
}

#[test]
fn a_request_of_garbage_is_refused() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let rig = RefCell::new(rig);
    cases((any::<Vec<u8>>(), any::<bool>()), |(garbage, sealed)| {
        let rig = &mut *rig.borrow_mut();
        let (mut session, attempt) = knock(rig, &link);
        let garbage = [&[0x07], garbage.as_slice()].concat();
        let (why, request) = match sealed {
            true => (Refusal::Malformed, session.seal(&garbage).expect("it is small")),
            false => (Refusal::BadSeal, garbage),
        };
        let request = frame(&link, attempt, Frame::Sealed(request));
        rig.refuses(ALICE, why, |rig| rig.frame(BOB, ALICE, Channel::Join, &request));
        // Once more: there is no session any more.
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.frame(BOB, ALICE, Channel::Join, &request));
    });
    honest_join(&mut rig.into_inner(), link, BOB);
}

#[test]
fn a_join_frame_out_of_turn_is_refused() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let rig = RefCell::new(rig);
    cases((any::<u64>(), any::<Vec<u8>>()), |(attempt, bytes)| {
        let rig = &mut *rig.borrow_mut();
        for body in [Frame::Sealed(bytes.clone()), Frame::Finish(bytes), Frame::Refused(2)] {
            let frame = frame(&link, attempt, body);
            rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.frame(BOB, ALICE, Channel::Join, &frame));
        }
        let none = proto::JoinFrame { invitation: vec![1; 16], attempt, body: None }.encode_to_vec();
        rig.refuses(ALICE, Refusal::UnknownBody, |rig| rig.frame(BOB, ALICE, Channel::Join, &none));
        let short =
            proto::JoinFrame { invitation: vec![1; 15], attempt, body: Some(Frame::Refused(1)) }.encode_to_vec();
        rig.refuses(ALICE, Refusal::Malformed, |rig| rig.frame(BOB, ALICE, Channel::Join, &short));
    });
    honest_join(&mut rig.into_inner(), link, BOB);
}

#[test]
fn who_does_not_hold_the_secret_gets_no_session_and_spoils_nothing() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let mut forged = link.clone();
    forged.secret = zeroize::Zeroizing::new([0; 32]);
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.join(forged, now_ms).expect("nothing shows yet");
    let before = rig.store(ALICE);
    rig.settle();
    assert_eq!(failures(&rig, BOB), [JoinError::Tampered]);
    assert!(rig.store(ALICE) == before, "something was written");
    honest_join(&mut rig, link, BOB);
}

/// What somebody on the wire, or a device that keeps to nothing, does to one frame of a join.
#[derive(Clone, Debug)]
enum Meddling {
    Drop,
    Twice,
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Garbage(Vec<u8>),
    Earlier,
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        Just(Meddling::Drop),
        Just(Meddling::Twice),
        Just(Meddling::Earlier),
        any::<(prop::sample::Index, u8)>().prop_map(|(at, bit)| Meddling::Flip(at, bit)),
        any::<prop::sample::Index>().prop_map(Meddling::Truncate),
        any::<Vec<u8>>().prop_map(Meddling::Garbage),
    ]
}

#[test]
fn meddling_with_any_frame_of_a_join_leaves_both_sides_whole() {
    cases((0..5_usize, meddling()), |(step, meddling)| {
        let (mut rig, circle) = doorstep();
        let link = invite(&mut rig, circle);
        // A join that was completed before, to take frames from.
        let earlier = invite(&mut rig, circle);
        honest_join(&mut rig, earlier, CAROL);
        let old: Vec<_> = rig.tape.iter().filter(|sent| sent.channel == Channel::Join).cloned().collect();
        let now_ms = rig.now_ms;
        rig.devices[BOB].engine.join(link.clone(), now_ms).expect("it is not in there");
        let mut seen = 0;
        rig.settle_through(|sent| {
            if sent.channel != Channel::Join {
                return vec![sent.frame.clone()];
            }
            seen += 1;
            let mut frame = sent.frame.clone();
            match &meddling {
                _ if seen != step + 1 => {}
                Meddling::Drop => return Vec::new(),
                Meddling::Twice => return vec![frame.clone(), frame],
                Meddling::Flip(at, bit) => {
                    let at = at.index(frame.len());
                    frame[at] ^= 1 << (bit % 8);
                }
                Meddling::Truncate(at) => frame.truncate(at.index(frame.len())),
                Meddling::Garbage(garbage) => frame.clone_from(garbage),
                Meddling::Earlier => frame.clone_from(&old[step].frame),
            }
            vec![frame]
        });
        // Either it worked out all the same, or it is told why not, or it goes on at the next connection.
        rig.disconnect(ALICE, BOB);
        rig.connect(ALICE, BOB);
        rig.settle();
        if !is_in(&rig, BOB, circle) {
            assert_eq!(failures(&rig, BOB).len(), 1);
            // If Alice let him in and he could not read it, the same link gives him the same answer.
            honest_join(&mut rig, link, BOB);
        }
        rig.honest_exchange_of(circle, &[ALICE, BOB]);
        rig.honest_exchange_of(circle, &[ALICE, CAROL]);
    });
}

#[test]
fn frames_of_a_join_that_is_over_open_no_door() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    honest_join(&mut rig, link, BOB);
    let tape: Vec<_> = rig.tape.iter().filter(|sent| sent.channel == Channel::Join).cloned().collect();
    assert_eq!(tape.len(), 5, "two messages, the third with the request behind it, the answer");
    rig.connect(ALICE, CAROL);
    rig.settle();
    let before = rig.store(ALICE);
    for sent in &tape {
        // By Bob himself, and by somebody who overheard.
        for from in [BOB, CAROL] {
            rig.frame(from, ALICE, Channel::Join, &sent.frame);
        }
        rig.frame(ALICE, BOB, Channel::Join, &sent.frame);
    }
    let answers = [rig.drain(ALICE), rig.drain(BOB)].concat();
    assert!(rig.store(ALICE) == before, "something was written");
    let refused = |sent: &Sent| {
        let body = proto::JoinFrame::decode(sent.frame.as_slice()).expect("its own frame").body;
        // To Bob, who used the invitation, Alice would give her answer once more; to nobody else anything.
        sent.to == BOB || matches!(body, Some(Frame::Refused(_)))
    };
    assert!(answers.iter().all(refused));
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn handshakes_that_lead_nowhere_make_room_after_a_while() {
    let (mut rig, circle) = doorstep();
    let links: Vec<_> = (0..=HANDSHAKES_MAX).map(|_| invite(&mut rig, circle)).collect();
    let begin = |rig: &mut Rig, link: &InviteLink, attempt| {
        let greeting = prologue(link.invitation, link.circle, link.inviter);
        let mut handshake = Handshake::initiator(&link.secret, &greeting, &mut rig.entropy);
        let first = handshake.write(&[]).expect("the initiator begins");
        rig.frame(BOB, ALICE, Channel::Join, &frame(link, attempt, Frame::Handshake(first)));
        answer(rig, ALICE).expect("an answer")
    };
    for link in &links[..HANDSHAKES_MAX] {
        assert!(matches!(begin(&mut rig, link, 1), Frame::Handshake(_)));
    }
    let last = &links[HANDSHAKES_MAX];
    assert_eq!(begin(&mut rig, last, 1), Frame::Refused(JoinError::Busy as u32));
    rig.now_ms += HANDSHAKE_MS;
    assert!(matches!(begin(&mut rig, last, 2), Frame::Handshake(_)));
    honest_join(&mut rig, last.clone(), CAROL);
}

// The newcomer's side: an inviter who lies.

/// An inviter's own circle, of which it answers what it likes.
struct Host {
    log: Log,
    group: Checkpoint,
    link: InviteLink,
}

impl Host {
    fn new(rig: &mut Rig) -> Self {
        let (person, device) = (PersonKey::generate(&mut rig.entropy), &rig.devices[ALICE].key);
        let entry = DeviceEntry::new(&person, device, "phone", KeyPackages::default());
        let founder = PersonEntry {
            person: person.id(),
            name: "Alice".to_owned(),
            devices: vec![entry],
            invitation: None,
            recovery: None,
        };
        let genesis = Action::Genesis {
            name: "Trap".to_owned(),
            nonce: rig.entropy.bytes(),
            founder,
            parent: None,
            scope: Scope::Nested,
            suite: Suite::default(),
        };
        let log = Log::found(device, genesis, 0).expect("anybody may");
        let circle = log.circle();
        let group = SealedSecret.create(device, circle.as_bytes(), Suite::default(), &mut rig.entropy);
        let link = InviteLink {
            invitation: crate::InvitationId::from_bytes(rig.entropy.bytes()),
            circle,
            inviter: device.id(),
            expires_ms: rig.now_ms + HOUR_MS,
            addresses: Vec::new(),
            space_name: "Trap".to_owned(),
            suite: Suite::default(),
            noise: None,
            relays: Vec::new(),
            secret: zeroize::Zeroizing::new(rig.entropy.bytes()),
        };
        Self { log, group, link }
    }

    /// Lets Bob's engine join, and answers its request.
    fn answer(&self, rig: &mut Rig, accepted: impl FnOnce(&mut Rig, &PersonEntry) -> proto::Accepted) {
        let (link, now_ms) = (&self.link, rig.now_ms);
        rig.devices[BOB].engine.join(link.clone(), now_ms).expect("it is not in there");
        let next =
            |rig: &mut Rig| rig.drain(BOB).into_iter().map(|sent| proto::JoinFrame::decode(sent.frame.as_slice()));
        let first = next(rig).next().expect("message 1").expect("its own frame");
        let attempt = first.attempt;
        let Some(Frame::Handshake(first)) = first.body else { panic!("another frame") };
        let greeting = prologue(link.invitation, link.circle, link.inviter);
        let mut handshake = Handshake::responder(&link.secret, &greeting, &mut rig.entropy);
        handshake.read(&first).expect("it is honest");
        let second = handshake.write(&[]).expect("it is my turn");
        rig.frame(ALICE, BOB, Channel::Join, &frame(link, attempt, Frame::Handshake(second)));
        let mut frames = next(rig).map(|frame| frame.expect("its own frame").body).collect::<Vec<_>>().into_iter();
        let Some(Some(Frame::Finish(third))) = frames.next() else { panic!("another frame") };
        handshake.read(&third).expect("it is honest");
        let mut session = handshake.into_session().expect("it is finished");
        let Some(Some(Frame::Sealed(request))) = frames.next() else { panic!("another frame") };
        let request = unwhole(&session.open(&request).expect("it is honest"));
        let request = proto::Request::decode(request.as_slice()).expect("it is honest");
        let newcomer = PersonEntry::decode(&request.newcomer).expect("it is honest");
        let accepted = accepted(rig, &newcomer);
        let hash = *session.handshake_hash();
        let signature = match accepted.signature.is_empty() {
            true => rig.devices[ALICE].key.sign(Domain::InvitationHandshake, &hash).as_bytes().to_vec(),
            false => accepted.signature,
        };
        let answer = Answer::Accepted(proto::Accepted { signature, ..accepted });
        let sealed = session.seal(&whole(&proto::Answer { body: Some(answer) })).expect("it is small");
        rig.frame(ALICE, BOB, Channel::Join, &frame(link, attempt, Frame::Sealed(sealed)));
        rig.drain(BOB);
    }

    /// What an honest inviter would answer.
    fn honest(&self, rig: &mut Rig, newcomer: &PersonEntry) -> proto::Accepted {
        let add = Action::AddPerson { newcomer: newcomer.clone(), role: Role::Member };
        let add = self.log.new_operation(&rig.devices[ALICE].key, add, 0).expect("an owner may");
        let operations = self.log.operations().map(Operation::encode).chain([add.encode()]).collect();
        proto::Accepted {
            signature: Vec::new(),
            operations,
            welcome: self.welcome(rig, ALICE, newcomer),
            keys: Vec::new(),
        }
    }

    fn welcome(&self, rig: &mut Rig, by: usize, newcomer: &PersonEntry) -> Vec<u8> {
        let package = newcomer.devices[0].key_packages.single_use[0].clone();
        let device = &rig.devices[by].key;
        let other;
        let group = if by == ALICE {
            &self.group
        } else {
            other = SealedSecret.create(device, &self.group.group, Suite::default(), &mut rig.entropy);
            &other
        };
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        SealedSecret.commit(device, group, &change, &mut rig.entropy).expect("it can").welcome.expect("one was added")
    }
}

#[test]
fn an_answer_that_is_in_order_is_taken() {
    let (mut rig, _) = doorstep();
    let host = Host::new(&mut rig);
    host.answer(&mut rig, |rig, newcomer| host.honest(rig, newcomer));
    assert!(is_in(&rig, BOB, host.log.circle()));
}

/// An answer that is not in order leads nowhere, now or after the next start, and Bob can still join elsewhere.
fn leads_nowhere(worse: impl Fn(&mut Rig, proto::Accepted, &Host, &PersonEntry) -> proto::Accepted) {
    let (mut rig, circle) = doorstep();
    let host = Host::new(&mut rig);
    host.answer(&mut rig, |rig, newcomer| {
        let honest = host.honest(rig, newcomer);
        worse(rig, honest, &host, newcomer)
    });
    assert_eq!(failures(&rig, BOB), [JoinError::Protocol]);
    assert_eq!(rig.devices[BOB].engine.circles().count(), 0);
    let kept: Vec<_> = rig.store(BOB).into_keys().map(|key| key.keyspace).collect();
    assert!(
        kept.iter().all(|keyspace| matches!(keyspace, Keyspace::Meta | Keyspace::KeyPackages | Keyspace::Requests)),
        "{kept:?}"
    );
    rig.reopen(BOB);
    assert_eq!(rig.devices[BOB].engine.circles().count(), 0);
    let link = invite(&mut rig, circle);
    honest_join(&mut rig, link, BOB);
}

#[test]
fn an_answer_that_the_inviter_did_not_sign_leads_nowhere() {
    leads_nowhere(|rig, honest, _, _| {
        let signature = rig.devices[CAROL].key.sign(Domain::InvitationHandshake, &[0; 32]).as_bytes().to_vec();
        proto::Accepted { signature, ..honest }
    });
}

#[test]
fn an_answer_without_an_operation_that_adds_the_newcomer_leads_nowhere() {
    leads_nowhere(|_, mut honest, _, _| {
        honest.operations.pop();
        honest
    });
}

#[test]
fn an_answer_about_another_circle_leads_nowhere() {
    leads_nowhere(|rig, honest, _, newcomer| {
        let other = Host::new(rig);
        proto::Accepted { operations: other.honest(rig, newcomer).operations, ..honest }
    });
    leads_nowhere(|rig, honest, _, newcomer| {
        let other = Host::new(rig);
        proto::Accepted { welcome: other.honest(rig, newcomer).welcome, ..honest }
    });
    leads_nowhere(|_, honest, _, _| proto::Accepted { operations: Vec::new(), ..honest });
}

#[test]
fn an_answer_with_a_welcome_by_another_than_the_inviter_leads_nowhere() {
    leads_nowhere(|rig, honest, host, newcomer| proto::Accepted {
        welcome: host.welcome(rig, CAROL, newcomer),
        ..honest
    });
}

#[test]
fn an_answer_of_garbage_leads_nowhere() {
    leads_nowhere(|_, honest, _, _| proto::Accepted { welcome: b"garbage".to_vec(), ..honest });
    leads_nowhere(|_, honest, _, _| proto::Accepted { operations: vec![b"garbage".to_vec()], ..honest });
    leads_nowhere(|_, honest, _, _| {
        let keys = vec![proto::EpochKey { epoch: vec![1; 32], key: vec![1; 31], lasting: false }];
        proto::Accepted { keys, ..honest }
    });
}

#[test]
fn keys_in_an_answer_redirect_nothing() {
    let (mut rig, _) = doorstep();
    let host = Host::new(&mut rig);
    let expected = RefCell::new(None);
    host.answer(&mut rig, |rig, newcomer| {
        let honest = host.honest(rig, newcomer);
        let package = newcomer.devices[0].key_packages.single_use[0].clone();
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let output = SealedSecret.commit(&rig.devices[ALICE].key, &host.group, &change, &mut rig.entropy);
        let output = output.expect("it can");
        let key = SealedSecret.export(&output.checkpoint, Export::ContentKey, host.log.circle().as_bytes());
        expected.replace(Some(ContentKey::from_bytes(key.expect("its own")).key_id()));
        let epoch = output.checkpoint.epoch.as_bytes().to_vec();
        let keys = vec![proto::EpochKey { epoch, key: vec![0x66; 32], lasting: false }];
        proto::Accepted { keys, welcome: output.welcome.expect("one was added"), ..honest }
    });
    assert_eq!(Some(rig.tag(BOB, host.log.circle())), expected.into_inner());
}

#[test]
fn a_second_answer_does_not_replace_a_circle_one_is_in() {
    let (mut rig, circle) = doorstep();
    // Bob asks with two links at once; Carol's answer is held back until he is in by Alice's.
    rig.invite(ALICE, circle, CAROL);
    let now_ms = rig.now_ms;
    let slow = rig.devices[CAROL].engine.invite(circle, HOUR_MS, now_ms).expect("a member may");
    let quick = invite(&mut rig, circle);
    rig.disconnect(ALICE, CAROL);
    rig.connect(BOB, CAROL);
    rig.devices[BOB].engine.join(slow, now_ms).expect("it is not in there");
    let mut late = Vec::new();
    rig.settle_through(|sent| {
        let answer = sent.from == CAROL && sent.to == BOB && sent.channel == Channel::Join;
        let is_sealed = answer
            && matches!(
                proto::JoinFrame::decode(sent.frame.as_slice()).expect("its own frame").body,
                Some(Frame::Sealed(_))
            );
        if is_sealed {
            late.push(sent.frame.clone());
            return Vec::new();
        }
        vec![sent.frame.clone()]
    });
    rig.devices[BOB].engine.join(quick, now_ms).expect("it is not in there yet");
    rig.settle_through(|sent| match sent.channel == Channel::Join && sent.from == CAROL {
        true => Vec::new(),
        false => vec![sent.frame.clone()],
    });
    assert!(is_in(&rig, BOB, circle), "{:?}", failures(&rig, BOB));
    rig.post(BOB, circle, "before");
    rig.frame(CAROL, BOB, Channel::Join, &late[0]);
    rig.settle();
    assert_eq!(rig.messages(BOB, circle), ["before"]);
    assert!(rig.devices[BOB].engine.status(circle).expect("a member").entries > 0);
    assert_eq!(failures(&rig, BOB), [JoinError::AlreadyMember]);
    rig.connect(ALICE, CAROL);
    rig.settle();
    rig.honest_exchange(circle);
}

#[test]
fn who_asks_again_with_other_key_packages_gets_a_new_leaf_so_often() {
    let (mut rig, circle) = doorstep();
    let link = invite(&mut rig, circle);
    let (person, first) = newcomer(&mut rig);
    let welcome = |rig: &mut Rig, newcomer: &PersonEntry| match ask(rig, &link, |rig, hash| signed(rig, newcomer, hash))
    {
        Answer::Accepted(accepted) => Ok(accepted.welcome),
        Answer::Refused(number) => Err(JoinError::from_number(number)),
    };
    let original = welcome(&mut rig, &first).expect("it is in order");
    let epoch = rig.tag(ALICE, circle);
    assert_eq!(welcome(&mut rig, &first), Ok(original.clone()), "the answer was lost");
    assert_eq!(rig.tag(ALICE, circle), epoch, "for which nobody commits anything");
    let mut last = original;
    for asked in 0..10 {
        let packages = packages(&rig.devices[BOB].key, &mut rig.entropy);
        let secret = DeviceEntry::new(&person, &rig.devices[BOB].key, "phone", packages);
        let again = PersonEntry { devices: vec![secret], ..first.clone() };
        match welcome(&mut rig, &again) {
            Ok(welcome) => {
                assert!(asked < 6 && welcome != last);
                last = welcome;
            }
            Err(error) => assert!(asked >= 6 && error == JoinError::Busy, "{asked}: {error}"),
        }
    }
    let leaves = crate::fuzzing::rogue::leaves(&rig.devices[ALICE].engine, circle);
    assert_eq!(leaves.iter().filter(|leaf| **leaf == rig.devices[BOB].id).count(), 1);
}

#[test]
fn who_was_removed_returns_by_a_link_to_what_they_had() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    rig.post(CAROL, circle, "before");
    let person = rig.devices[ALICE].engine.membership(circle).expect("a member").person_of(rig.devices[CAROL].id);
    rig.act(ALICE, circle, crate::membership::Action::revoke_person(person.expect("a member")));
    rig.settle();
    let former = rig.entry_ids(CAROL, circle);
    rig.invite(BOB, circle, CAROL);
    rig.now_ms += 10_000;
    rig.settle();
    assert!(former.iter().all(|id| rig.entry_ids(CAROL, circle).contains(id)), "what it had is there");
    assert!(rig.messages(CAROL, circle).contains(&"before".to_owned()));
    rig.honest_exchange(circle);
}
