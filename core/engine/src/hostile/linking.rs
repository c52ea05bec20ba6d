//! Devices that want to be somebody's, and devices that would give them another's.

use std::cell::RefCell;

use clave_crypto::{DeviceKey, Domain, Handshake, PersonId, PersonKey, Session};
use proptest::prelude::*;
use prost::Message as _;

use super::joins::{packages, unwhole, whole};
use super::rig::*;
use crate::engine::linking::link_prologue;
use crate::engine::pieces::REQUEST_BYTES_MAX;
use crate::entry::Body;
use crate::membership::{Action, DeviceEntry, KeyPackages, PersonEntry};
use crate::proto::entry as entry_proto;
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body as Frame;
use crate::proto::invitation::link_answer::Body as Answer;
use crate::proto::invitation::link_request::Body as Request;
use crate::{
    Channel, CircleId, EngineError, Event, Keyspace, LinkCode, LinkError, LinkingError, Refusal, Verification,
};

const HOUR_MS: u64 = 3_600_000;
const PHONE: usize = 2;

/// Alice with a space that Bob is in, and a phone that belongs to nobody; all connected.
fn shop() -> (Rig, CircleId) {
    let (mut rig, circle) = Rig::pair();
    rig.post(ALICE, circle, "before the phone");
    assert_eq!(rig.add_provisional("her phone"), PHONE);
    rig.connect(ALICE, PHONE);
    rig.settle();
    (rig, circle)
}

fn code(rig: &mut Rig, confirm: bool) -> LinkCode {
    let now_ms = rig.now_ms;
    let code = rig.devices[ALICE].engine.link_device(HOUR_MS, confirm, now_ms).expect("she is somebody");
    rig.drain(ALICE);
    code
}

fn take(rig: &mut Rig, who: usize, code: &LinkCode) {
    let now_ms = rig.now_ms;
    rig.devices[who].engine.take_link(code.clone(), now_ms).expect("it belongs to nobody");
}

fn person(rig: &Rig, who: usize) -> Option<PersonId> {
    rig.devices[who].engine.identity().person()
}

fn failures(rig: &Rig, who: usize) -> Vec<LinkingError> {
    let failed = |event: &Event| match event {
        Event::LinkFailed { error } => Some(*error),
        _ => None,
    };
    rig.devices[who].events.iter().filter_map(failed).collect()
}

fn is_linked(rig: &mut Rig, who: usize, circle: CircleId) {
    assert!(!rig.devices[who].engine.is_linking());
    assert_eq!(person(rig, who), person(rig, ALICE));
    assert!(rig.devices[who].engine.circles().any(|id| id == circle), "{:?}", rig.devices[who].events);
    assert!(rig.messages(who, circle).contains(&"before the phone".to_owned()));
    rig.connect(who, BOB);
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, BOB, who]);
}

fn honest_link(rig: &mut Rig, circle: CircleId, code: &LinkCode) {
    take(rig, PHONE, code);
    rig.settle();
    is_linked(rig, PHONE, circle);
}

fn frame(code: &LinkCode, attempt: u64, body: Frame) -> Vec<u8> {
    let invitation = code.id().as_bytes().to_vec();
    proto::JoinFrame { invitation, attempt, body: Some(body) }.encode_to_vec()
}

fn answer(rig: &mut Rig, who: usize) -> Option<Frame> {
    let joins = rig.drain(who).into_iter().filter(|sent| sent.channel == Channel::Join);
    let bodies = joins.map(|sent| proto::JoinFrame::decode(sent.frame.as_slice()).expect("its own frame").body);
    // What is said to a device that was removed belongs to no handshake.
    bodies.flatten().find(|body| !matches!(body, Frame::Farewell(_)))
}

/// A phone that is played by hand.
struct Stranger {
    code: LinkCode,
    session: Session,
    attempt: u64,
}

impl Stranger {
    fn knock(rig: &mut Rig, code: &LinkCode) -> Self {
        let attempt = u64::from_be_bytes(rig.entropy.bytes());
        let greeting = link_prologue(code.id(), rig.devices[ALICE].id);
        let mut handshake = Handshake::initiator(&code.key(), &greeting, &mut rig.entropy);
        let first = handshake.write(&[]).expect("the initiator begins");
        rig.frame(PHONE, ALICE, Channel::Join, &frame(code, attempt, Frame::Handshake(first)));
        let Some(Frame::Handshake(second)) = answer(rig, ALICE) else { panic!("no second message") };
        handshake.read(&second).expect("it is honest");
        let third = handshake.write(&[]).expect("it is my turn");
        rig.frame(PHONE, ALICE, Channel::Join, &frame(code, attempt, Frame::Finish(third)));
        Self { code: code.clone(), session: handshake.into_session().expect("it is finished"), attempt }
    }

    fn say(&mut self, rig: &mut Rig, request: Request) {
        let sealed = self.session.seal(&whole(&proto::LinkRequest { body: Some(request) })).expect("it is small");
        rig.frame(PHONE, ALICE, Channel::Join, &frame(&self.code, self.attempt, Frame::Sealed(sealed)));
    }

    fn ask(&mut self, rig: &mut Rig, request: Request) -> Answer {
        self.say(rig, request);
        let Some(Frame::Sealed(sealed)) = answer(rig, ALICE) else { panic!("no answer") };
        let answer = unwhole(&self.session.open(&sealed).expect("it is Alice's"));
        proto::LinkAnswer::decode(answer.as_slice()).expect("it is honest").body.expect("it says something")
    }

    fn hello(&self, rig: &Rig, by: usize) -> proto::LinkHello {
        let signature = rig.devices[by].key.sign(Domain::InvitationHandshake, self.session.handshake_hash());
        proto::LinkHello { device_name: "phone".to_owned(), signature: signature.as_bytes().to_vec() }
    }
}

/// What the phone would ask for a circle with, having the person's key.
fn want(rig: &mut Rig, circle: CircleId, seed: &[u8]) -> (PersonKey, proto::LinkWant) {
    let person = PersonKey::from_seed(zeroize::Zeroizing::new(seed.try_into().expect("32 bytes")));
    let device = &rig.devices[PHONE].key;
    let packages = packages(device, &mut rig.entropy);
    let entry = entry(&person, device, packages);
    (person, proto::LinkWant { circle: circle.as_bytes().to_vec(), device: entry.encode() })
}

fn entry(person: &PersonKey, device: &DeviceKey, packages: KeyPackages) -> PersonEntry {
    let devices = vec![DeviceEntry::new(person, device, "phone", packages)];
    PersonEntry { person: person.id(), name: "Alice".to_owned(), devices, invitation: None, recovery: None }
}

#[test]
fn a_code_is_read_back_in_both_forms_as_people_write_them() {
    let (mut rig, _) = shop();
    let code = code(&mut rig, false);
    assert_eq!(format!(" {code}\n").parse(), Ok(code.clone()));
    let typed = code.typed();
    assert_eq!(typed.len(), 29, "six groups of four");
    for written in [typed.clone(), typed.to_uppercase(), typed.replace('-', " "), typed.replace('o', "0")] {
        let read: LinkCode = written.parse().expect("as people type it");
        assert_eq!((read.id(), read.key(), read.device), (code.id(), code.key(), None));
        assert_eq!(read.to_string(), typed);
    }
    assert!(!format!("{code:?}").contains(&typed[..9]));
}

#[test]
fn a_code_with_any_character_changed_is_refused() {
    let (mut rig, _) = shop();
    let code = code(&mut rig, false);
    for at in 0..code.typed().len() {
        let mut typed = code.typed().into_bytes();
        if typed[at] != b'-' {
            typed[at] = if typed[at] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).expect("it is ASCII");
            assert_eq!(typed.parse::<LinkCode>(), Err(LinkError::MistypedCode), "{typed}");
        }
    }
    for text in ["", "abcd", "clave://join/abcd", "https://example.org", &"a".repeat(10_000), "äöü"] {
        assert_eq!(text.parse::<LinkCode>(), Err(LinkError::NotALinkCode), "{text}");
    }
    let link = code.to_string();
    assert_eq!(link[..link.len() - 1].parse::<LinkCode>(), Err(LinkError::Damaged));
}

#[test]
fn a_device_that_is_in_order_is_given_the_person_and_the_circles() {
    let (mut rig, circle) = shop();
    let code = code(&mut rig, false);
    let mut phone = Stranger::knock(&mut rig, &code);
    let hello = phone.hello(&rig, PHONE);
    let Answer::Granted(granted) = phone.ask(&mut rig, Request::Hello(hello)) else { panic!("not granted") };
    let (_, want) = want(&mut rig, circle, &granted.person_seed);
    assert!(matches!(phone.ask(&mut rig, Request::Want(want)), Answer::Circle(_)));
    phone.say(&mut rig, Request::Done(proto::LinkDone {}));
    let kept = |rig: &Rig| {
        rig.store(ALICE)
            .into_keys()
            .any(|key| key.keyspace == Keyspace::Invitations && key.suffix == code.id().as_bytes())
    };
    rig.settle();
    assert!(!kept(&rig), "the secret of a code that was used stays");
}

#[test]
fn a_link_brings_history_and_a_device_that_takes_part() {
    let (mut rig, circle) = shop();
    let second = rig.create(ALICE);
    let code = code(&mut rig, false);
    honest_link(&mut rig, circle, &code);
    assert!(rig.devices[PHONE].engine.circles().any(|id| id == second));
    let left =
        |rig: &Rig, who: usize, keyspace| rig.store(who).into_keys().filter(|key| key.keyspace == keyspace).count();
    assert_eq!((left(&rig, ALICE, Keyspace::Answers), left(&rig, PHONE, Keyspace::Requests)), (0, 0));
}

#[test]
fn who_does_not_hold_the_secret_is_given_nothing() {
    let (mut rig, circle) = shop();
    let good = code(&mut rig, false);
    let other = code(&mut rig, false);
    let attempt = 7;
    let greeting = link_prologue(good.id(), rig.devices[ALICE].id);
    let mut handshake = Handshake::initiator(&other.key(), &greeting, &mut rig.entropy);
    let first = handshake.write(&[]).expect("the initiator begins");
    rig.frame(PHONE, ALICE, Channel::Join, &frame(&good, attempt, Frame::Handshake(first)));
    let Some(Frame::Handshake(second)) = answer(&mut rig, ALICE) else { panic!("no second message") };
    handshake.read(&second).expect("it shows no secret");
    let third = handshake.write(&[]).expect("it is my turn");
    rig.frame(PHONE, ALICE, Channel::Join, &frame(&good, attempt, Frame::Finish(third)));
    assert_eq!(answer(&mut rig, ALICE), Some(Frame::Refused(LinkingError::Tampered as u32)));
    honest_link(&mut rig, circle, &good);
}

#[test]
fn a_hello_that_the_device_did_not_sign_is_given_nothing() {
    for forge in [
        |rig: &Rig, phone: &Stranger| phone.hello(rig, BOB),
        |rig: &Rig, phone: &Stranger| {
            let signature = rig.devices[PHONE].key.sign(Domain::InvitationHandshake, &[0; 32]);
            proto::LinkHello { signature: signature.as_bytes().to_vec(), ..phone.hello(rig, PHONE) }
        },
        |rig: &Rig, phone: &Stranger| proto::LinkHello {
            device_name: "\u{202e}enohp".to_owned(),
            ..phone.hello(rig, PHONE)
        },
    ] {
        let (mut rig, circle) = shop();
        let code = code(&mut rig, false);
        let mut phone = Stranger::knock(&mut rig, &code);
        let hello = forge(&rig, &phone);
        let before = rig.store(ALICE);
        let answer = phone.ask(&mut rig, Request::Hello(hello));
        assert_eq!(answer, Answer::Refused(LinkingError::Protocol as u32));
        assert!(rig.store(ALICE) == before, "something was written");
        honest_link(&mut rig, circle, &code);
    }
}

#[test]
fn requests_out_of_turn_or_of_garbage_are_refused() {
    let (mut rig, circle) = shop();
    let code = code(&mut rig, false);
    for request in [
        Request::Done(proto::LinkDone {}),
        Request::Want(proto::LinkWant { circle: circle.as_bytes().to_vec(), device: Vec::new() }),
    ] {
        let mut phone = Stranger::knock(&mut rig, &code);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| phone.say(rig, request));
    }
    let rig = RefCell::new(rig);
    cases(any::<Vec<u8>>(), |garbage| {
        let rig = &mut *rig.borrow_mut();
        let mut phone = Stranger::knock(rig, &code);
        let garbage = [&[0x07], garbage.as_slice()].concat();
        let piece = proto::Piece { index: 0, total_bytes: garbage.len() as u64, bytes: garbage }.encode_to_vec();
        let sealed = phone.session.seal(&piece).expect("it is small");
        let sealed = frame(&code, phone.attempt, Frame::Sealed(sealed));
        rig.refuses(ALICE, Refusal::Malformed, |rig| rig.frame(PHONE, ALICE, Channel::Join, &sealed));
    });
    honest_link(&mut rig.into_inner(), circle, &code);
}

#[test]
fn pieces_out_of_order_or_without_end_are_refused() {
    let (mut rig, circle) = shop();
    let code = code(&mut rig, false);
    let piece = |index, total_bytes| proto::Piece { index, total_bytes, bytes: vec![0; 8] };
    for (pieces, why) in [
        (vec![piece(1, 64)], Refusal::Malformed),
        (vec![piece(0, 64), piece(2, 64)], Refusal::Malformed),
        (vec![piece(0, 64), piece(1, 65)], Refusal::Malformed),
        (vec![piece(0, 4)], Refusal::Malformed),
        (vec![proto::Piece { index: 0, total_bytes: 8, bytes: Vec::new() }], Refusal::Malformed),
        (vec![piece(0, REQUEST_BYTES_MAX + 1)], Refusal::Oversized),
    ] {
        let mut phone = Stranger::knock(&mut rig, &code);
        let sealed: Vec<_> = pieces
            .iter()
            .map(|piece| phone.session.seal(&piece.encode_to_vec()).expect("it is small"))
            .map(|sealed| frame(&code, phone.attempt, Frame::Sealed(sealed)))
            .collect();
        let (last, first) = sealed.split_last().expect("there is one");
        first.iter().for_each(|sealed| rig.frame(PHONE, ALICE, Channel::Join, sealed));
        rig.refuses(ALICE, why, |rig| rig.frame(PHONE, ALICE, Channel::Join, last));
    }
    honest_link(&mut rig, circle, &code);
}

#[test]
fn a_request_for_another_device_or_person_adds_nobody() {
    for forge in [
        // Another device of hers.
        |rig: &mut Rig, person: PersonKey| {
            let other = DeviceKey::generate(&mut rig.entropy);
            let packages = packages(&other, &mut rig.entropy);
            entry(&person, &other, packages)
        },
        // Somebody else's.
        |rig: &mut Rig, _| {
            let other = PersonKey::generate(&mut rig.entropy);
            let packages = packages(&rig.devices[PHONE].key, &mut rig.entropy);
            entry(&other, &rig.devices[PHONE].key, packages)
        },
        // With another's key packages, and with none.
        |rig: &mut Rig, person: PersonKey| {
            let packages = packages(&DeviceKey::generate(&mut rig.entropy), &mut rig.entropy);
            entry(&person, &rig.devices[PHONE].key, packages)
        },
        |rig: &mut Rig, person: PersonKey| entry(&person, &rig.devices[PHONE].key, KeyPackages::default()),
    ] {
        let (mut rig, circle) = shop();
        let code = code(&mut rig, false);
        let mut phone = Stranger::knock(&mut rig, &code);
        let hello = phone.hello(&rig, PHONE);
        let Answer::Granted(granted) = phone.ask(&mut rig, Request::Hello(hello)) else { panic!("not granted") };
        let (person, want) = want(&mut rig, circle, &granted.person_seed);
        let device = forge(&mut rig, person).encode();
        let before = rig.store(ALICE);
        let answer = phone.ask(&mut rig, Request::Want(proto::LinkWant { device, ..want }));
        assert_eq!(answer, Answer::Refused(LinkingError::Protocol as u32));
        assert!(rig.store(ALICE) == before, "something was written");
        honest_link(&mut rig, circle, &code);
    }
}

#[test]
fn a_code_works_for_one_device() {
    let (mut rig, circle) = shop();
    let code = code(&mut rig, false);
    // One that was given the person's key, and no circle yet.
    let mut phone = Stranger::knock(&mut rig, &code);
    let hello = phone.hello(&rig, PHONE);
    assert!(matches!(phone.ask(&mut rig, Request::Hello(hello)), Answer::Granted(_)));
    let tablet = rig.add_provisional("another");
    take(&mut rig, tablet, &code);
    rig.connect(ALICE, tablet);
    rig.settle();
    assert_eq!((failures(&rig, tablet), person(&rig, tablet)), (vec![LinkingError::Used], None));
    honest_link(&mut rig, circle, &code);
}

#[test]
fn a_code_that_expired_or_was_taken_back_is_given_nothing() {
    let (mut rig, _) = shop();
    let (expired, revoked) = (code(&mut rig, false), code(&mut rig, false));
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.revoke_invitation(revoked.id(), now_ms).expect("its own code");
    take(&mut rig, PHONE, &revoked);
    rig.settle();
    take(&mut rig, PHONE, &expired);
    rig.disconnect(ALICE, PHONE);
    rig.settle();
    rig.now_ms += HOUR_MS;
    rig.connect(ALICE, PHONE);
    rig.settle();
    assert_eq!(failures(&rig, PHONE), [LinkingError::Declined, LinkingError::Expired]);
    assert_eq!(person(&rig, PHONE), None);
    let again = rig.devices[PHONE].engine.take_link(expired, rig.now_ms);
    assert!(matches!(again, Err(EngineError::Linking(LinkingError::Expired))));
}

#[test]
fn nothing_is_given_before_the_person_said_yes() {
    for accept in [true, false] {
        let (mut rig, circle) = shop();
        let code = code(&mut rig, true);
        take(&mut rig, PHONE, &code);
        rig.settle();
        assert_eq!(person(&rig, PHONE), None);
        let shown = rig.devices[PHONE].events.iter().find_map(|event| match event {
            Event::LinkPending { person_name, sas } => Some((person_name.clone(), sas.clone())),
            _ => None,
        });
        let (person_name, sas) = shown.expect("it waits");
        assert_eq!(person_name, "Alice");
        let (link, device) = (code.id(), rig.devices[PHONE].id);
        // Both show the same.
        let asked = Event::LinkRequested { link, device, device_name: "her phone".to_owned(), sas };
        assert!(rig.devices[ALICE].events.contains(&asked));
        // To say yes to one is not to say yes to another.
        let (other, now_ms) = (rig.devices[BOB].id, rig.now_ms);
        rig.devices[ALICE].engine.confirm_link(link, other, true, now_ms).expect("its own code");
        rig.settle();
        assert_eq!(person(&rig, PHONE), None);
        let now_ms = rig.now_ms;
        rig.devices[ALICE].engine.confirm_link(link, device, accept, now_ms).expect("its own code");
        rig.settle();
        match accept {
            true => is_linked(&mut rig, PHONE, circle),
            false => assert_eq!((failures(&rig, PHONE), person(&rig, PHONE)), (vec![LinkingError::Declined], None)),
        }
    }
}

#[test]
fn a_link_that_broke_off_is_no_way_back_for_a_revoked_device() {
    let (mut rig, circle) = shop();
    let second = rig.create(ALICE);
    let code = code(&mut rig, false);
    let mut phone = Stranger::knock(&mut rig, &code);
    let hello = phone.hello(&rig, PHONE);
    let Answer::Granted(granted) = phone.ask(&mut rig, Request::Hello(hello)) else { panic!("not granted") };
    let (_, ask) = want(&mut rig, circle, &granted.person_seed);
    assert!(matches!(phone.ask(&mut rig, Request::Want(ask)), Answer::Circle(_)));
    let device = rig.devices[PHONE].id;
    rig.act(ALICE, circle, Action::RevokeDevice { device, keep_heads: Vec::new(), keep_changes: Vec::new() });
    // In the session that is open, and in the next.
    let (_, ask) = want(&mut rig, circle, &granted.person_seed);
    assert_eq!(phone.ask(&mut rig, Request::Want(ask)), Answer::Skipped(circle.as_bytes().to_vec()));
    let (_, ask) = want(&mut rig, second, &granted.person_seed);
    assert_eq!(phone.ask(&mut rig, Request::Want(ask)), Answer::Skipped(second.as_bytes().to_vec()));
    let mut phone = Stranger::knock(&mut rig, &code);
    let hello = phone.hello(&rig, PHONE);
    assert_eq!(phone.ask(&mut rig, Request::Hello(hello)), Answer::Refused(LinkingError::Used as u32));
    // What Alice said to Bob meanwhile fell to the floor.
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, BOB);
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn a_device_that_belongs_to_nobody_founds_and_joins_nothing() {
    let (mut rig, circle) = shop();
    let now_ms = rig.now_ms;
    let link = rig.devices[ALICE].engine.invite(circle, HOUR_MS, now_ms).expect("she may");
    let phone = &mut rig.devices[PHONE].engine;
    assert!(matches!(phone.create_space("Mine", now_ms), Err(EngineError::NotLinked)));
    assert!(matches!(phone.join(link, now_ms), Err(EngineError::NotLinked)));
    assert!(matches!(phone.link_device(HOUR_MS, false, now_ms), Err(EngineError::NotLinked)));
    let code = code(&mut rig, false);
    let taken = rig.devices[BOB].engine.take_link(code.clone(), now_ms);
    assert!(matches!(taken, Err(EngineError::Linking(LinkingError::AlreadyLinked))));
    honest_link(&mut rig, circle, &code);
}

/// A person's device that lies, played by hand from Alice's place: the session after the phone's hello.
fn lie(rig: &mut Rig, code: &LinkCode, granted: impl FnOnce(&Rig, &[u8; 32]) -> proto::LinkGranted) -> (Session, u64) {
    take(rig, PHONE, code);
    let next = |rig: &mut Rig| rig.drain(PHONE).into_iter().map(|sent| proto::JoinFrame::decode(sent.frame.as_slice()));
    let first = next(rig).next().expect("message 1").expect("its own frame");
    let attempt = first.attempt;
    let Some(Frame::Handshake(first)) = first.body else { panic!("another frame") };
    let greeting = link_prologue(code.id(), rig.devices[ALICE].id);
    let mut handshake = Handshake::responder(&code.key(), &greeting, &mut rig.entropy);
    handshake.read(&first).expect("it is honest");
    let second = handshake.write(&[]).expect("it is my turn");
    rig.frame(ALICE, PHONE, Channel::Join, &frame(code, attempt, Frame::Handshake(second)));
    let frames: Vec<_> = next(rig).map(|frame| frame.expect("its own frame").body).collect();
    let [Some(Frame::Finish(third)), Some(Frame::Sealed(hello))] = frames.as_slice() else { panic!("other frames") };
    handshake.read(third).expect("it is honest");
    let mut session = handshake.into_session().expect("it is finished");
    session.open(hello).expect("it is honest");
    let granted = granted(rig, session.handshake_hash());
    let answer = proto::LinkAnswer { body: Some(Answer::Granted(granted)) };
    let sealed = session.seal(&whole(&answer)).expect("it is small");
    rig.frame(ALICE, PHONE, Channel::Join, &frame(code, attempt, Frame::Sealed(sealed)));
    (session, attempt)
}

fn honest_grant(rig: &Rig, hash: &[u8; 32], circles: Vec<Vec<u8>>) -> proto::LinkGranted {
    let signature = rig.devices[ALICE].key.sign(Domain::InvitationHandshake, hash).as_bytes().to_vec();
    let seed = rig.devices[ALICE].engine.identity().person_seed().expect("she is somebody").to_vec();
    let suites = vec![0; circles.len()];
    let person_name = "Alice".to_owned();
    proto::LinkGranted { signature, person_seed: seed, person_name, circles, suites, ..Default::default() }
}

#[test]
fn a_grant_that_is_not_in_order_makes_the_device_nobodys() {
    let (mut rig, _) = shop();
    let good = code(&mut rig, false);
    lie(&mut rig, &good, |rig, hash| honest_grant(rig, hash, Vec::new()));
    assert_eq!(person(&rig, PHONE), person(&rig, ALICE));
    for forge in [
        |rig: &Rig, hash: &[u8; 32]| {
            let signature = rig.devices[BOB].key.sign(Domain::InvitationHandshake, hash).as_bytes().to_vec();
            proto::LinkGranted { signature, ..honest_grant(rig, hash, Vec::new()) }
        },
        |rig: &Rig, hash: &[u8; 32]| proto::LinkGranted { person_seed: vec![1; 31], ..honest_grant(rig, hash, vec![]) },
        |rig: &Rig, hash: &[u8; 32]| proto::LinkGranted {
            person_name: "A\nlice".to_owned(),
            ..honest_grant(rig, hash, vec![])
        },
        |rig: &Rig, hash: &[u8; 32]| honest_grant(rig, hash, vec![vec![1; 31]]),
    ] {
        let (mut rig, circle) = shop();
        let bad = code(&mut rig, false);
        lie(&mut rig, &bad, forge);
        rig.settle();
        assert_eq!((failures(&rig, PHONE), person(&rig, PHONE)), (vec![LinkingError::Protocol], None));
        rig.reopen(PHONE);
        assert_eq!(person(&rig, PHONE), None);
        rig.connect(ALICE, PHONE);
        let good = code(&mut rig, false);
        honest_link(&mut rig, circle, &good);
    }
}

#[test]
fn a_circle_in_which_the_device_is_not_the_persons_is_not_entered() {
    let (mut rig, circle) = shop();
    // Alice's place is taken by somebody who hands over a circle of hers as Bob would be let in: not as her device.
    let bad = code(&mut rig, false);
    let circles = vec![circle.as_bytes().to_vec()];
    let (mut session, attempt) = lie(&mut rig, &bad, |rig, hash| honest_grant(rig, hash, circles));
    let Some(Frame::Sealed(want)) = answer(&mut rig, PHONE) else { panic!("it asks") };
    let want = unwhole(&session.open(&want).expect("it is honest"));
    let Some(Request::Want(want)) = proto::LinkRequest::decode(want.as_slice()).expect("it is honest").body else {
        panic!("it asks for a circle")
    };
    let hers = PersonEntry::decode(&want.device).expect("it is honest");
    let stranger = PersonKey::generate(&mut rig.entropy);
    let packages = hers.devices[0].key_packages.clone();
    let package = packages.single_use[0].clone();
    let forged = entry(&stranger, &rig.devices[PHONE].key, packages);
    let engine = &mut rig.devices[ALICE].engine;
    let (space, desk) = engine.circle_mut(circle).expect("she is in");
    let action = Action::AddPerson { newcomer: forged, role: crate::membership::Role::Member };
    space.act(action, desk).expect("an owner may");
    let device = hers.devices[0].device();
    let change = space.difference_with(device, &package, desk);
    let welcome = space.commit(change, Some(device), desk).expect("she can").expect("one was added");
    let operations = space.log.operations().map(crate::membership::Operation::encode).collect();
    let accepted = proto::Accepted { signature: Vec::new(), operations, welcome, keys: Vec::new() };
    let answer = Answer::Circle(proto::LinkCircle { circle: circle.as_bytes().to_vec(), accepted: Some(accepted) });
    let sealed = session.seal(&whole(&proto::LinkAnswer { body: Some(answer) })).expect("it is small");
    rig.frame(ALICE, PHONE, Channel::Join, &frame(&bad, attempt, Frame::Sealed(sealed)));
    rig.drain(PHONE);
    assert_eq!(failures(&rig, PHONE), [LinkingError::Protocol]);
    assert_eq!(rig.devices[PHONE].engine.circles().count(), 0);
    rig.reopen(PHONE);
    assert_eq!(rig.devices[PHONE].engine.circles().count(), 0);
}

#[test]
fn a_link_goes_on_where_it_was_whichever_frame_is_lost() {
    for lost in 0..12 {
        let (mut rig, circle) = shop();
        let second = rig.create(ALICE);
        let code = code(&mut rig, false);
        take(&mut rig, PHONE, &code);
        let mut seen = 0;
        rig.settle_through(|sent| {
            seen += usize::from(sent.channel == Channel::Join);
            // From there on the wire is dead.
            if seen > lost { Vec::new() } else { vec![sent.frame.clone()] }
        });
        assert!(seen > lost || lost > 9, "fewer frames than expected: {seen}");
        rig.reopen(PHONE);
        if lost % 2 == 0 {
            rig.reopen(ALICE);
            rig.connect(ALICE, BOB);
        }
        rig.connect(ALICE, PHONE);
        rig.settle();
        is_linked(&mut rig, PHONE, circle);
        assert!(rig.devices[PHONE].engine.circles().any(|id| id == second));
    }
}

fn verification(rig: &Rig, who: usize, circle: CircleId, of: usize) -> Verification {
    let person = rig.devices[of].engine.identity().person().expect("they are somebody");
    rig.devices[who].engine.verification(circle, person).expect("a member")
}

fn mark(rig: &mut Rig, who: usize, circle: CircleId, of: usize, verified: bool) {
    let person = rig.devices[of].engine.identity().person().expect("they are somebody");
    let now_ms = rig.now_ms;
    rig.devices[who].engine.mark_verified(circle, person, verified, now_ms).expect("they are in");
    rig.settle();
}

#[test]
fn marks_are_handed_over_and_kept_alike_among_ones_own_devices() {
    let (mut rig, circle) = shop();
    mark(&mut rig, ALICE, circle, BOB, true);
    let code = code(&mut rig, false);
    take(&mut rig, PHONE, &code);
    rig.settle();
    is_linked(&mut rig, PHONE, circle);
    assert!(matches!(verification(&rig, PHONE, circle, BOB), Verification::Verified { .. }), "it came with the link");
    // Taken back on one, marked anew on the other, whatever their clocks say.
    mark(&mut rig, PHONE, circle, BOB, false);
    assert_eq!(verification(&rig, ALICE, circle, BOB), Verification::Unverified);
    rig.now_ms -= 3_600_000;
    mark(&mut rig, ALICE, circle, BOB, true);
    rig.now_ms += 3_600_000;
    for who in [ALICE, PHONE] {
        assert!(matches!(verification(&rig, who, circle, BOB), Verification::Verified { .. }), "{who}");
    }
    rig.reopen(PHONE);
    assert!(matches!(verification(&rig, PHONE, circle, BOB), Verification::Verified { .. }));
    assert_eq!(verification(&rig, BOB, circle, ALICE), Verification::Unverified, "nobody else is told");
}

#[test]
fn nobody_else_sets_a_mark() {
    let (mut rig, circle) = shop();
    let bob = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    let marked =
        entry_proto::Marked { person: bob.as_bytes().to_vec(), at_ms: u64::MAX, by: 2, name: "Bob".to_owned() };
    let marks = entry_proto::Marks { marks: vec![marked] };
    let direct = rig.seal_direct(BOB, ALICE, circle, Body::Marks(marks.clone()));
    rig.refuses(ALICE, Refusal::NotAllowed, |rig| rig.give(BOB, ALICE, circle, vec![direct]));
    let open = rig.seal(BOB, circle, Body::Marks(marks));
    rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![open]));
    assert_eq!(verification(&rig, ALICE, circle, BOB), Verification::Unverified);
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}
