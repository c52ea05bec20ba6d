//! Which keys a newcomer gets, by the history policy.

use super::rig::*;
use crate::CircleId;
use crate::entry::Body;
use crate::membership::Action;
use crate::proto::entry as proto;

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
