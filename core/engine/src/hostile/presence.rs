//! Who is in a document just now: what is said of it in passing, and by whom it is believed.

use clave_crdt::{Cursor, DocumentKind};
use clave_crypto::{ContentKey, DeviceId};
use prost::Message as _;

use super::branches::removal_and_return;
use super::rig::*;
use crate::engine::presence::{
    BURST_MAX, CIPHERTEXT_BYTES_MAX, PLACES_HEARD_MAX, PLACES_MAX, PRESENCE_EVERY_MS, PRESENCE_EXPIRES_MS, TYPING_MS,
    seal,
};
use crate::membership::Action;
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Channel, CircleId, DocumentId, Present, Refusal, Selection};

fn note(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Note, 0)
}

/// A selection in the circle's note, as `who` has it.
fn select(rig: &mut Rig, who: usize, circle: CircleId, anchor: usize, focus: usize) -> Selection {
    let document = rig.devices[who].engine.document(circle, note(circle), DocumentKind::Note).expect("a member");
    let note = document.note().expect("it is a note");
    let cursor = |position| -> Cursor { note.cursor(position).expect("it is in the text") };
    Selection { anchor: cursor(anchor), focus: cursor(focus) }
}

fn appear(rig: &mut Rig, who: usize, circle: CircleId, selection: Option<Selection>) {
    let now_ms = rig.now_ms;
    let place = (circle, note(circle), DocumentKind::Note);
    rig.devices[who].engine.appear(place, selection, now_ms).expect("a member");
}

fn present_in(rig: &Rig, who: usize, circle: CircleId, kind: DocumentKind) -> Vec<Present> {
    rig.devices[who].engine.who_is_in(circle, DocumentId::well_known(circle, kind, 0), kind).expect("a member")
}

fn present(rig: &Rig, who: usize, circle: CircleId) -> Vec<Present> {
    present_in(rig, who, circle, DocumentKind::Note)
}

fn names(present: &[Present]) -> Vec<&str> {
    present.iter().map(|present| present.name.as_str()).collect()
}

fn here(circle: CircleId) -> proto::Here {
    proto::Here { document: note(circle).as_bytes().to_vec(), kind: 2, ..proto::Here::default() }
}

/// What `from` says, sealed as that device would under its head, with whatever is in it.
fn sealed(rig: &mut Rig, from: usize, circle: CircleId, here: &proto::Here) -> Body {
    let (key, device) = (rig.head_key(from, circle), rig.devices[from].id);
    sealed_by(rig, circle, device, &key, here)
}

fn sealed_by(rig: &mut Rig, circle: CircleId, device: DeviceId, key: &ContentKey, here: &proto::Here) -> Body {
    Body::Presence(seal(circle, device, key, &here.encode_to_vec(), &mut rig.entropy))
}

fn say(rig: &mut Rig, from: usize, to: usize, body: Body) {
    rig.say(from, to, Channel::Sync, body);
}

/// The frames about presence that were sent since the tape had so many.
fn frames_since(rig: &Rig, from: usize) -> Vec<&Sent> {
    let is_presence = |sent: &&Sent| {
        let frame = proto::Frame::decode(sent.frame.as_slice());
        sent.channel == Channel::Sync && matches!(frame, Ok(proto::Frame { body: Some(Body::Presence(_)) }))
    };
    rig.tape[from..].iter().filter(is_presence).collect()
}

#[test]
fn who_is_in_a_note_is_seen_there_until_they_leave_and_nothing_of_it_is_kept() {
    let (mut rig, circle) = Rig::team(&["Alice", "小明", "Carol"]);
    rig.write_note(ALICE, circle, "四月的计划");
    let before: Vec<_> = (0..3).map(|who| (rig.store(who), rig.refusals(who))).collect();
    let selection = select(&mut rig, BOB, circle, 2, 4);
    appear(&mut rig, BOB, circle, Some(selection.clone()));
    rig.settle();
    for who in [ALICE, CAROL] {
        let there = present(&rig, who, circle);
        assert_eq!(names(&there), ["小明"]);
        assert_eq!((there[0].device, &there[0].selection), (rig.devices[BOB].id, &Some(selection.clone())));
    }
    assert!(present(&rig, BOB, circle).is_empty(), "one's own device is no other");
    // It is as it was for as long as it goes on.
    for _ in 0..2 * PRESENCE_EXPIRES_MS / 6_000 {
        rig.settle();
        assert_eq!(present(&rig, ALICE, circle).len(), 1);
    }
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.disappear(circle, note(circle), DocumentKind::Note, now_ms);
    rig.settle();
    assert!(present(&rig, ALICE, circle).is_empty() && present(&rig, CAROL, circle).is_empty());
    for (who, before) in before.into_iter().enumerate() {
        assert!((rig.store(who), rig.refusals(who)) == before, "something was stored or refused by {who}");
    }
}

#[test]
fn a_selection_stays_where_it_is_while_others_write() {
    let (mut rig, circle) = Rig::pair();
    rig.write_note(ALICE, circle, "四月的计划");
    let selection = select(&mut rig, BOB, circle, 3, 5);
    appear(&mut rig, BOB, circle, Some(selection));
    rig.settle();
    let now_ms = rig.now_ms;
    let edit = rig.devices[ALICE]
        .engine
        .edit(circle, note(circle), DocumentKind::Note, now_ms, |document, _| document.note()?.splice(0, 0, "关于"));
    edit.expect("a member may write");
    rig.settle();
    let there = present(&rig, ALICE, circle);
    let Selection { anchor, focus } = there[0].selection.as_ref().expect("there is one");
    let document = rig.devices[ALICE].engine.document(circle, note(circle), DocumentKind::Note).expect("a member");
    let note = document.note().expect("it is a note");
    assert_eq!((note.position(anchor).expect("it is here"), note.position(focus).expect("it is here")), (5, 7));
}

#[test]
fn whoever_writes_in_a_chat_counts_so_for_a_while_after_the_last_key() {
    let (mut rig, circle) = Rig::pair();
    let (place, now_ms) = ((circle, chat(circle), DocumentKind::Timeline), rig.now_ms);
    rig.devices[BOB].engine.appear(place, None, now_ms).expect("a member");
    let typed_ms = now_ms;
    let mut seen = 0;
    for _ in 0..5 {
        for who in 0..2 {
            for sent in rig.drain(who) {
                rig.frame(sent.from, sent.to, sent.channel, &sent.frame);
            }
            let now_ms = rig.now_ms;
            rig.devices[who].engine.handle_tick(now_ms);
        }
        let writes = !present_in(&rig, ALICE, circle, DocumentKind::Timeline).is_empty();
        assert!(!writes || rig.now_ms <= typed_ms + TYPING_MS, "{} ms later", rig.now_ms - typed_ms);
        seen += usize::from(writes);
        rig.now_ms += TYPING_MS / 3;
    }
    assert!((1..5).contains(&seen), "{seen}");
}

#[test]
fn what_happens_within_a_quarter_of_a_second_is_said_as_one() {
    let (mut rig, circle) = Rig::pair();
    rig.write_note(ALICE, circle, &"字".repeat(400));
    rig.settle();
    rig.drain(BOB);
    let (start_ms, mut frames) = (rig.now_ms, 0);
    // A key every 10 milliseconds, for two seconds.
    for key in 0..200 {
        let selection = select(&mut rig, BOB, circle, key, key + 1);
        appear(&mut rig, BOB, circle, Some(selection));
        rig.now_ms += 10;
        let now_ms = rig.now_ms;
        rig.devices[BOB].engine.handle_tick(now_ms);
        frames += rig.drain(BOB).len() as u64;
    }
    let most = (rig.now_ms - start_ms) / PRESENCE_EVERY_MS + 1;
    assert!((most / 2..=most).contains(&frames), "{frames} frames, at most {most}");
}

#[test]
fn who_comes_later_is_told_and_who_does_not_listen_is_not() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.disconnect(BOB, CAROL);
    appear(&mut rig, BOB, circle, None);
    rig.settle();
    assert!(present(&rig, CAROL, circle).is_empty(), "what is said in passing is not passed on");
    rig.connect(BOB, CAROL);
    rig.settle();
    assert_eq!(names(&present(&rig, CAROL, circle)), ["Bob"]);
    // A version that knows of no presence is sent none.
    let circles = circle.as_bytes().to_vec();
    let hello = proto::Hello { version: 1, circles, reply: true, ..proto::Hello::default() };
    say(&mut rig, ALICE, BOB, Body::Hello(hello));
    let from = rig.tape.len();
    appear(&mut rig, BOB, circle, None);
    for _ in 0..4 {
        rig.settle();
    }
    let (told, is_to) =
        (frames_since(&rig, from), |who: usize| move |sent: &&&Sent| (sent.from, sent.to) == (BOB, who));
    assert!(told.iter().any(|sent| is_to(CAROL)(&sent)) && !told.iter().any(|sent| is_to(ALICE)(&sent)));
}

#[test]
fn presence_ends_with_the_connection_or_when_it_is_not_said_again() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    appear(&mut rig, BOB, circle, None);
    rig.settle();
    rig.disconnect(ALICE, BOB);
    assert!(present(&rig, ALICE, circle).is_empty(), "who disconnects is gone at once");
    assert_eq!(present(&rig, CAROL, circle).len(), 1);
    // Bob's frames no longer arrive, and nobody notices that he is gone.
    let (last_ms, mut ticks) = (rig.now_ms, 0);
    while !present(&rig, CAROL, circle).is_empty() {
        rig.now_ms += 1_000;
        ticks += 1;
        let now_ms = rig.now_ms;
        rig.devices[CAROL].engine.handle_tick(now_ms);
        assert!(ticks <= 60, "it does not end");
    }
    assert!(rig.now_ms - last_ms <= PRESENCE_EXPIRES_MS);
    assert!(rig.devices[CAROL].engine.poll_timeout().is_some());
}

#[test]
fn the_presence_of_who_was_removed_ends_and_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    for who in [ALICE, BOB, CAROL] {
        appear(&mut rig, who, circle, None);
    }
    rig.settle();
    assert_eq!(names(&present(&rig, ALICE, circle)), ["Bob", "Carol"]);
    let body = sealed(&mut rig, BOB, circle, &here(circle));
    let (removal, _) = removal_and_return(&rig, BOB, circle);
    rig.act(ALICE, circle, removal);
    assert_eq!(names(&present(&rig, ALICE, circle)), ["Carol"]);
    let from = rig.tape.len();
    rig.settle();
    rig.refuses(ALICE, Refusal::NotAMember, |rig| say(rig, BOB, ALICE, body));
    for _ in 0..6 {
        rig.settle();
    }
    assert_eq!(names(&present(&rig, ALICE, circle)), ["Carol"], "those who are in go on under the new keys");
    assert_eq!(names(&present(&rig, CAROL, circle)), ["Alice"]);
    assert!(frames_since(&rig, from).iter().all(|sent| sent.to != BOB), "who is out was told something");
    assert!(present(&rig, BOB, circle).is_empty(), "and sees nobody, once he heard");
}

#[test]
fn the_presence_of_a_guest_ends_with_their_date() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let (removal, returns) = removal_and_return(&rig, BOB, circle);
    let Action::AddPerson { newcomer: guest, .. } = returns else { unreachable!("it is one") };
    rig.act(ALICE, circle, removal);
    rig.settle();
    let expires_ms = rig.now_ms + 60_000;
    rig.act(ALICE, circle, Action::Grant { guest, expires_ms });
    for _ in 0..3 {
        rig.settle();
    }
    appear(&mut rig, BOB, circle, None);
    rig.settle();
    assert_eq!(names(&present(&rig, ALICE, circle)), ["Bob"]);
    let body = sealed(&mut rig, BOB, circle, &here(circle));
    rig.now_ms = expires_ms + 1;
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.handle_tick(now_ms);
    assert!(present(&rig, ALICE, circle).is_empty());
    rig.refuses(ALICE, Refusal::NotAMember, |rig| say(rig, BOB, ALICE, body));
}

#[test]
fn nothing_is_said_under_keys_that_somebody_removed_has() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    appear(&mut rig, CAROL, circle, None);
    rig.settle();
    let (removal, _) = removal_and_return(&rig, BOB, circle);
    rig.act(ALICE, circle, removal);
    // Carol hears of the operation and not yet of the commit.
    let log = &rig.devices[ALICE].engine.circles[&circle].log;
    let operations = log.operations().map(crate::membership::Operation::encode).collect();
    let farewell = crate::proto::invitation::Farewell { circle: circle.as_bytes().to_vec(), operations };
    let body = Some(crate::proto::invitation::join_frame::Body::Farewell(farewell));
    let frame = crate::proto::invitation::JoinFrame { invitation: vec![0; 16], attempt: 0, body }.encode_to_vec();
    rig.frame(ALICE, CAROL, Channel::Join, &frame);
    let leaves = |rig: &Rig| crate::fuzzing::rogue::leaves(&rig.devices[CAROL].engine, circle);
    assert!(leaves(&rig).contains(&rig.devices[BOB].id), "the commit is here already");
    let selection = select(&mut rig, CAROL, circle, 0, 0);
    rig.now_ms += PRESENCE_EVERY_MS;
    appear(&mut rig, CAROL, circle, Some(selection));
    let said = rig.drain(CAROL);
    rig.tape.clear();
    rig.tape.extend(said);
    assert!(frames_since(&rig, 0).is_empty());
    // Then it is.
    for _ in 0..3 {
        rig.settle();
    }
    assert!(present(&rig, ALICE, circle)[0].selection.is_some());
}

#[test]
fn nobody_says_where_another_is_nor_in_another_circle() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let second = rig.create(ALICE);
    rig.invite(ALICE, second, BOB);
    let carols = sealed(&mut rig, CAROL, circle, &here(circle));
    rig.refuses(ALICE, Refusal::BadSeal, |rig| say(rig, BOB, ALICE, carols));
    let Body::Presence(of_first) = sealed(&mut rig, BOB, circle, &here(circle)) else { unreachable!("it is one") };
    // Under the tag of the head there.
    let tag = rig.tag(ALICE, second).as_bytes().to_vec();
    let moved = proto::Presence { circle: second.as_bytes().to_vec(), tag, ..of_first.clone() };
    rig.refuses(ALICE, Refusal::BadSeal, |rig| say(rig, BOB, ALICE, Body::Presence(moved)));
    let mut bent = of_first.clone();
    bent.ciphertext[0] ^= 1;
    rig.refuses(ALICE, Refusal::BadSeal, |rig| say(rig, BOB, ALICE, Body::Presence(bent)));
    // Under a key that is not that of the head it is passed over, whoever has it: it may be one of before.
    let (before, device) = (rig.refusals(ALICE), rig.devices[BOB].id);
    let (old, lasting) = (rig.head_key(BOB, circle), rig.head_key(BOB, circle).lasting());
    rig.renew(ALICE, circle);
    rig.settle();
    for key in [old, lasting] {
        let body = sealed_by(&mut rig, circle, device, &key, &here(circle));
        say(&mut rig, BOB, ALICE, body);
    }
    assert_eq!(rig.refusals(ALICE), before);
    assert!(present(&rig, ALICE, circle).is_empty());
    rig.honest_exchange_of(circle, &[ALICE, BOB, CAROL]);
}

#[test]
fn presence_has_its_form_and_its_bounds() {
    let (mut rig, circle) = Rig::pair();
    let honest = here(circle);
    let great = format!("4294967296@{}", data_encoding::HEXLOWER.encode(&[7; 24]));
    let (long, none) = ("1@".to_owned() + &"00".repeat(64), String::new());
    for (why, wrong) in [
        (Refusal::Malformed, proto::Here { document: vec![1; 15], ..honest.clone() }),
        (Refusal::UnknownBody, proto::Here { kind: 3, ..honest.clone() }),
        (Refusal::UnknownBody, proto::Here { kind: 300, ..honest.clone() }),
        (Refusal::Malformed, proto::Here { anchor: "s".to_owned(), focus: none, ..honest.clone() }),
        (Refusal::Malformed, proto::Here { anchor: great.clone(), focus: great, ..honest.clone() }),
        (Refusal::Malformed, proto::Here { anchor: "早".to_owned(), focus: "e".to_owned(), ..honest.clone() }),
        (Refusal::Oversized, proto::Here { anchor: long.clone(), focus: long, ..honest.clone() }),
        (Refusal::Malformed, proto::Here { anchor: "s".to_owned(), focus: "e".to_owned(), kind: 1, ..honest.clone() }),
        (
            Refusal::Malformed,
            proto::Here { anchor: "s".to_owned(), focus: "e".to_owned(), left: true, ..honest.clone() },
        ),
    ] {
        let body = sealed(&mut rig, BOB, circle, &wrong);
        rig.refuses(ALICE, why, |rig| say(rig, BOB, ALICE, body));
    }
    let Body::Presence(sound) = sealed(&mut rig, BOB, circle, &honest) else { unreachable!("it is one") };
    for (why, wrong) in [
        (Refusal::Malformed, proto::Presence { tag: vec![1; 15], ..sound.clone() }),
        (Refusal::Malformed, proto::Presence { salt: vec![1; 17], ..sound.clone() }),
        (Refusal::Oversized, proto::Presence { ciphertext: vec![0; CIPHERTEXT_BYTES_MAX + 1], ..sound.clone() }),
    ] {
        rig.refuses(ALICE, why, |rig| say(rig, BOB, ALICE, Body::Presence(wrong)));
    }
    let (key, device) = (rig.head_key(BOB, circle), rig.devices[BOB].id);
    let garbage = Body::Presence(seal(circle, device, &key, b"\x07", &mut rig.entropy));
    rig.refuses(ALICE, Refusal::Malformed, |rig| say(rig, BOB, ALICE, garbage));
    assert!(present(&rig, ALICE, circle).is_empty());
    say(&mut rig, BOB, ALICE, Body::Presence(sound));
    assert_eq!(present(&rig, ALICE, circle).len(), 1);
}

#[test]
fn a_device_is_in_few_places_and_says_so_seldom() {
    let (mut rig, circle) = Rig::pair();
    let place = |n: u8| proto::Here { document: vec![n; 16], ..here(circle) };
    for n in 0..u8::try_from(PLACES_HEARD_MAX).expect("few") {
        let body = sealed(&mut rig, BOB, circle, &place(n));
        say(&mut rig, BOB, ALICE, body);
    }
    let body = sealed(&mut rig, BOB, circle, &place(99));
    rig.refuses(ALICE, Refusal::TooManyHeld, |rig| say(rig, BOB, ALICE, body));
    // Who says more than a person can is heard again later.
    let body =
        || -> Body { Body::Presence(proto::Presence { circle: circle.as_bytes().to_vec(), ..Default::default() }) };
    for _ in PLACES_HEARD_MAX as u64 + 1..BURST_MAX {
        rig.refuses(ALICE, Refusal::Malformed, |rig| say(rig, BOB, ALICE, body()));
    }
    for _ in 0..3 {
        rig.refuses(ALICE, Refusal::TooOften, |rig| say(rig, BOB, ALICE, body()));
    }
    rig.now_ms += 1_000;
    rig.refuses(ALICE, Refusal::Malformed, |rig| say(rig, BOB, ALICE, body()));
    // One's own program leaves where it was longest ago.
    rig.settle();
    for n in 0..20 {
        let (document, now_ms) = (DocumentId::from_bytes([n; 16]), rig.now_ms);
        let appeared = rig.devices[ALICE].engine.appear((circle, document, DocumentKind::Note), None, now_ms);
        appeared.expect("a member");
        rig.settle();
    }
    let engine = &rig.devices[BOB].engine;
    let is_seen = |n: &u8| {
        let document = DocumentId::from_bytes([*n; 16]);
        !engine.who_is_in(circle, document, DocumentKind::Note).expect("a member").is_empty()
    };
    let seen: Vec<u8> = (0..20).filter(is_seen).collect();
    assert!(seen.len() <= PLACES_MAX && seen.contains(&19), "{seen:?}");
}
