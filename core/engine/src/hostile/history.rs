//! Which keys a newcomer gets, by the history policy.

use super::rig::*;
use crate::entry::Body;
use crate::membership::Action;
use crate::proto::entry as proto;
use crate::{CircleId, Keyspace};

const DAVE: usize = 3;

fn since_joining(names: &[&str], members: &[usize]) -> (Rig, CircleId) {
    let mut rig = Rig::with_mls(names);
    let circle = rig.create(ALICE);
    for member in members {
        rig.invite(ALICE, circle, *member);
    }
    let (key, value) = ("history".to_owned(), "since_joining".to_owned());
    rig.act(ALICE, circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    rig.settle();
    (rig, circle)
}

fn has(rig: &Rig, who: usize, circle: CircleId, tag: &clave_crypto::KeyId) -> bool {
    rig.devices[who].engine.circles[&circle].content_key(tag).is_some()
}

#[test]
fn a_newcomer_gets_no_key_from_before_it_came() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob", "Carol"], &[BOB]);
    rig.post(ALICE, circle, "before");
    let before = rig.tag(ALICE, circle);
    rig.invite(BOB, circle, CAROL);
    rig.connect(ALICE, CAROL);
    for _ in 0..8 {
        rig.settle();
    }
    // It asks for the key of what it cannot read, and is told nothing.
    assert!(!has(&rig, CAROL, circle, &before));
    assert!(has(&rig, BOB, circle, &before) && has(&rig, ALICE, circle, &before));
    rig.renew(ALICE, circle);
    rig.settle();
    for who in [ALICE, BOB, CAROL] {
        assert_eq!(rig.tag(who, circle), rig.tag(ALICE, circle));
        assert!(!has(&rig, CAROL, circle, &before));
    }
}

#[test]
fn a_newcomer_sees_the_note_as_it_is_and_not_the_chat_from_before() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob", "Carol", "Dave"], &[BOB]);
    rig.write_note(ALICE, circle, "one ");
    rig.post(ALICE, circle, "before");
    rig.renew(ALICE, circle);
    rig.write_note(BOB, circle, "two ");
    rig.renew(BOB, circle);
    rig.settle();
    rig.invite(BOB, circle, CAROL);
    rig.settle();
    assert_eq!(rig.note(CAROL, circle), "one two ");
    assert_eq!(rig.messages(CAROL, circle), [""; 0]);
    // Who brought her in is not needed for the next, nor is who wrote.
    rig.write_note(CAROL, circle, "three");
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.invite(CAROL, circle, DAVE);
    rig.settle();
    assert_eq!(rig.note(DAVE, circle), "one two three");
    assert_eq!(rig.messages(DAVE, circle), [""; 0]);
}

#[test]
fn nothing_is_taken_under_a_key_of_the_wrong_kind() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob"], &[BOB]);
    let content = rig.head_key(BOB, circle);
    let lasting = content.lasting();
    let changes = |kind: clave_crdt::DocumentKind| {
        let (document, kind) = (crate::DocumentId::well_known(circle, kind, 0), kind.number().into());
        Body::Changes(proto::Changes { document: document.as_bytes().to_vec(), kind, changes: Vec::new() })
    };
    let keys = |key: &clave_crypto::ContentKey| {
        let keys =
            vec![proto::ContentKey { epoch: vec![1; 32], key: key.as_bytes().to_vec(), lasting: key.is_lasting() }];
        Body::Keys(proto::KeyBundle { keys, ..proto::KeyBundle::default() })
    };
    let acknowledge = Body::Acknowledge(proto::Acknowledge { epoch: vec![1; 32] });
    let wrong = [
        (&content, changes(clave_crdt::DocumentKind::Note)),
        (&content, keys(&lasting)),
        (&lasting, changes(clave_crdt::DocumentKind::Timeline)),
        (&lasting, keys(&content)),
        (&lasting, acknowledge.clone()),
    ];
    for (key, body) in wrong {
        let entry = rig.seal_under(BOB, circle, key, body);
        rig.refuses(ALICE, crate::Refusal::WrongKey, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    }
    let right = [
        (&content, changes(clave_crdt::DocumentKind::Timeline)),
        (&lasting, changes(clave_crdt::DocumentKind::Drive)),
        (&lasting, keys(&lasting)),
        (&content, acknowledge),
    ];
    for (key, body) in right {
        let (before, entry) = (rig.refusals(ALICE), rig.seal_under(BOB, circle, key, body));
        rig.give(BOB, ALICE, circle, vec![entry]);
        assert_eq!(rig.refusals(ALICE), before);
    }
}

#[test]
fn who_comes_after_the_policy_changed_sees_what_was_written_under_every_one() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol", "Dave"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    let policy = |rig: &mut Rig, value: &str| {
        let (key, value) = ("history".to_owned(), value.to_owned());
        rig.act(ALICE, circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
        rig.settle();
    };
    rig.write_note(ALICE, circle, "full ");
    rig.renew(ALICE, circle);
    policy(&mut rig, "ratcheted:3600");
    rig.write_note(BOB, circle, "ratcheted ");
    // All that the chat was sealed with goes.
    for _ in 0..16 {
        rig.now_ms += 1_800_000;
        rig.settle();
    }
    rig.invite(BOB, circle, CAROL);
    rig.settle();
    assert_eq!(rig.note(CAROL, circle), "full ratcheted ");
    policy(&mut rig, "full");
    rig.write_note(CAROL, circle, "full again");
    rig.renew(CAROL, circle);
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.invite(CAROL, circle, DAVE);
    rig.settle();
    assert_eq!(rig.note(DAVE, circle), "full ratcheted full again");
}

#[test]
fn keys_of_a_branch_that_lost_go_to_those_who_were_in_and_to_nobody_else() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob", "Carol", "Dave"], &[BOB, CAROL]);
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.renew(BOB, circle);
    rig.post(BOB, circle, "on a branch that loses");
    let lost = rig.tag(BOB, circle);
    rig.renew(ALICE, circle);
    rig.invite(ALICE, circle, DAVE);
    rig.settle();
    rig.connect(ALICE, BOB);
    rig.connect(CAROL, DAVE);
    for _ in 0..8 {
        rig.settle();
    }
    for who in [ALICE, BOB, CAROL] {
        assert!(has(&rig, who, circle, &lost), "{who}");
        assert_eq!(rig.messages(who, circle), ["on a branch that loses"], "{who}");
    }
    assert!(!has(&rig, DAVE, circle, &lost));
    assert_eq!(rig.tag(DAVE, circle), rig.tag(BOB, circle));
}

#[test]
fn no_plea_gets_what_the_policy_keeps_from_a_newcomer() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob", "Carol"], &[BOB]);
    let before = rig.tag(ALICE, circle);
    rig.invite(ALICE, circle, CAROL);
    rig.settle();
    let known = rig.keys(CAROL, circle);
    let epoch = rig.devices[CAROL].engine.status(circle).expect("a member").epoch.as_bytes().to_vec();
    let tags = vec![before.as_bytes().to_vec(), rig.tag(ALICE, circle).as_bytes().to_vec()];
    let plea = proto::Plea { epoch, depth: 9, tags, key_package: Vec::new(), operations: Vec::new(), astray: false };
    let entry = rig.seal_direct(CAROL, ALICE, circle, Body::Plea(plea));
    rig.give(CAROL, ALICE, circle, vec![entry]);
    rig.settle();
    assert_eq!(rig.keys(CAROL, circle), known);
    assert!(!has(&rig, CAROL, circle, &before));
}

#[test]
fn what_a_wrong_clock_dates_from_before_one_came_is_read_once_its_key_is_here() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob"], &[BOB]);
    rig.disconnect(ALICE, BOB);
    rig.renew(ALICE, circle);
    rig.settle();
    let (known, now_ms) = (rig.entry_ids(ALICE, circle), rig.now_ms);
    rig.now_ms -= 30 * DAY_MS;
    rig.post(ALICE, circle, "我的表慢了");
    rig.now_ms = now_ms;
    let posted: Vec<_> = rig.entry_ids(ALICE, circle).into_iter().filter(|id| !known.contains(id)).collect();
    let posted = posted.into_iter().map(|id| rig.stored(ALICE, Keyspace::Entries, circle, id.as_bytes())).collect();
    // It comes before the commit whose key it is sealed with. Nothing waits for that: who is to say when that epoch was?
    rig.listen(BOB, ALICE);
    rig.give(ALICE, BOB, circle, posted);
    rig.drain(BOB);
    assert_eq!(rig.devices[BOB].engine.status(circle).expect("a member").held, 0);
    let carried = |rig: &Rig| rig.store(BOB).keys().filter(|key| key.keyspace == Keyspace::Carried).count();
    assert_eq!(carried(&rig), 1);
    rig.reopen(BOB);
    rig.connect(ALICE, BOB);
    rig.settle();
    assert_eq!(rig.messages(BOB, circle), ["我的表慢了"]);
    assert_eq!(carried(&rig), 0);
}

#[test]
fn what_was_kept_from_newcomers_is_read_once_the_policy_is_full() {
    let (mut rig, circle) = since_joining(&["Alice", "Bob", "Carol"], &[BOB]);
    rig.post(ALICE, circle, "before");
    rig.now_ms += 2 * DAY_MS;
    rig.invite(BOB, circle, CAROL);
    rig.connect(ALICE, CAROL);
    rig.settle();
    assert_eq!(rig.messages(CAROL, circle), [""; 0]);
    let (key, value) = ("history".to_owned(), "full".to_owned());
    rig.act(ALICE, circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    for _ in 0..8 {
        rig.settle();
    }
    assert_eq!(rig.messages(CAROL, circle), ["before"]);
}
