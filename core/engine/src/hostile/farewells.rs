//! Being told that one is out, truly and falsely.

use prost::Message as _;

use super::rig::*;
use crate::engine::farewell::FAREWELL_OPERATIONS_MAX;
use crate::membership::{Action, Operation, Role};
use crate::proto::invitation as proto;
use crate::proto::invitation::join_frame::Body;
use crate::{Channel, CircleId, Event, Refusal};

fn farewell(circle: CircleId, operations: Vec<Vec<u8>>) -> Vec<u8> {
    let body = Body::Farewell(proto::Farewell { circle: circle.as_bytes().to_vec(), operations });
    proto::JoinFrame { invitation: vec![0; 16], attempt: 0, body: Some(body) }.encode_to_vec()
}

fn remove(rig: &mut Rig, by: usize, circle: CircleId, whom: usize) {
    let person = rig.devices[by].engine.membership(circle).expect("a member").person_of(rig.devices[whom].id);
    rig.act(by, circle, Action::revoke_person(person.expect("a member")));
}

fn was_told(rig: &Rig, who: usize, circle: CircleId) -> bool {
    rig.devices[who].events.contains(&Event::Removed { circle })
}

#[test]
fn who_is_removed_while_connected_is_told_at_once() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    remove(&mut rig, ALICE, circle, CAROL);
    rig.settle();
    assert!(was_told(&rig, CAROL, circle));
    assert!(!was_told(&rig, BOB, circle));
    rig.post(ALICE, circle, "among us");
    rig.settle();
    assert!(!rig.messages(CAROL, circle).contains(&"among us".to_owned()));
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn who_is_removed_while_away_is_told_by_whoever_they_meet() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    remove(&mut rig, ALICE, circle, CAROL);
    rig.settle();
    assert!(!was_told(&rig, CAROL, circle));
    rig.connect(BOB, CAROL);
    rig.settle();
    assert!(was_told(&rig, CAROL, circle));
    rig.reopen(CAROL);
    let membership = rig.devices[CAROL].engine.membership(circle).expect("it keeps what it had");
    assert!(!membership.devices.contains_key(&rig.devices[CAROL].id), "it knows for good");
}

/// Bob, who was removed, removes Carol at the same time and tells her. She hears from Alice that it is void.
#[test]
fn a_farewell_that_is_void_does_not_last() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let bob = membership.person_of(rig.devices[BOB].id).expect("a member");
    rig.act(ALICE, circle, Action::SetRole { person: bob, role: Role::Admin, keep_heads: Vec::new() });
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.disconnect(ALICE, CAROL);
    remove(&mut rig, ALICE, circle, BOB);
    remove(&mut rig, BOB, circle, CAROL);
    rig.settle();
    assert!(was_told(&rig, CAROL, circle));
    rig.connect(ALICE, CAROL);
    rig.settle();
    rig.now_ms += 10_000;
    rig.settle();
    let membership = rig.devices[CAROL].engine.membership(circle).expect("a member");
    assert!(membership.devices.contains_key(&rig.devices[CAROL].id));
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

/// Two owners remove each other, and Carol heard of the junior's removal only: she listens to Alice no more, but hears from
/// her why that is void.
#[test]
fn who_is_told_falsely_says_so_to_those_who_tell() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let bob = membership.person_of(rig.devices[BOB].id).expect("a member");
    rig.act(ALICE, circle, Action::SetRole { person: bob, role: Role::Owner, keep_heads: Vec::new() });
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.disconnect(ALICE, CAROL);
    remove(&mut rig, ALICE, circle, BOB);
    remove(&mut rig, BOB, circle, ALICE);
    rig.settle();
    let is_in = |rig: &Rig, sees: usize, who: usize| {
        rig.devices[sees].engine.membership(circle).expect("a member").devices.contains_key(&rig.devices[who].id)
    };
    assert!(!is_in(&rig, CAROL, ALICE) && is_in(&rig, CAROL, BOB));
    rig.connect(ALICE, CAROL);
    rig.settle();
    assert!(is_in(&rig, CAROL, ALICE) && !is_in(&rig, CAROL, BOB));
    assert!(!was_told(&rig, ALICE, circle));
    assert!(was_told(&rig, BOB, circle), "by Carol");
    rig.now_ms += 10_000;
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

#[test]
fn a_farewell_of_garbage_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let strange = CircleId::from_bytes([7; 32]);
    rig.refuses(CAROL, Refusal::NotAMember, |rig| {
        rig.frame(BOB, CAROL, Channel::Join, &farewell(strange, Vec::new()));
    });
    rig.refuses(CAROL, Refusal::Malformed, |rig| {
        rig.frame(BOB, CAROL, Channel::Join, &farewell(circle, vec![vec![1; 9]]));
    });
    rig.refuses(CAROL, Refusal::Oversized, |rig| {
        rig.frame(BOB, CAROL, Channel::Join, &farewell(circle, vec![Vec::new(); FAREWELL_OPERATIONS_MAX + 1]));
    });
    assert!(!was_told(&rig, CAROL, circle));
    rig.honest_exchange(circle);
}

#[test]
fn a_farewell_by_a_stranger_or_with_a_forged_removal_is_refused() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    rig.connect(BOB, CAROL);
    rig.settle();
    let engine = &rig.devices[BOB].engine;
    let person = engine.membership(circle).expect("a member").person_of(rig.devices[BOB].id).expect("a member");
    let parents = engine.circles[&circle].log.heads();
    let device = clave_crypto::DeviceKey::from_seed(rig.devices[CAROL].key.seed().clone());
    let forged = Operation::sign(&device, parents, rig.now_ms, Action::revoke_person(person)).encode();
    rig.refuses(BOB, Refusal::NotAMember, |rig| {
        rig.frame(CAROL, BOB, Channel::Join, &farewell(circle, vec![forged.clone()]));
    });
    // Passed on by somebody whom the log knows: the log refuses an author whom it does not.
    rig.refuses(BOB, Refusal::NotAllowed, |rig| {
        rig.frame(ALICE, BOB, Channel::Join, &farewell(circle, vec![forged]));
    });
    assert!(!was_told(&rig, BOB, circle));
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

/// Alice and Bob, both owners, remove each other while apart; Dave is with Bob. Bob hears from Alice that he is out and falls
/// silent, so that Dave can hear it from Alice only, whom he holds to be out.
#[test]
fn of_two_camps_each_hears_what_the_other_knows() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol", "Dave"]);
    let (dave, bob) = (3, rig.devices[BOB].id);
    let bob = rig.devices[ALICE].engine.membership(circle).expect("a member").person_of(bob).expect("a member");
    rig.act(ALICE, circle, Action::SetRole { person: bob, role: Role::Owner, keep_heads: Vec::new() });
    rig.settle();
    for (one, other) in [(ALICE, BOB), (ALICE, dave), (CAROL, BOB), (CAROL, dave)] {
        rig.disconnect(one, other);
    }
    remove(&mut rig, ALICE, circle, BOB);
    remove(&mut rig, BOB, circle, ALICE);
    rig.settle();
    rig.post(dave, circle, "from the other camp");
    rig.connect(ALICE, BOB);
    rig.settle();
    assert!(was_told(&rig, BOB, circle) && !was_told(&rig, ALICE, circle));
    rig.connect(ALICE, dave);
    rig.settle();
    assert!(!was_told(&rig, dave, circle));
    for who in [ALICE, CAROL, dave] {
        let membership = rig.devices[who].engine.membership(circle).expect("a member");
        let is_in = |who: usize| membership.devices.contains_key(&rig.devices[who].id);
        assert!(is_in(ALICE) && !is_in(BOB) && is_in(CAROL) && is_in(dave));
    }
    rig.connect(CAROL, dave);
    rig.now_ms += 30_000;
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, CAROL, dave]);
    assert!(rig.messages(CAROL, circle).contains(&"from the other camp".to_owned()));
}

/// Bob, who was removed, removes Carol at the same time. The answer says that he was, and not who came since.
#[test]
fn who_is_out_learns_from_an_answer_why_and_nothing_else() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol", "Dave"]);
    let bob = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let bob = bob.person_of(rig.devices[BOB].id).expect("a member");
    rig.act(ALICE, circle, Action::SetRole { person: bob, role: Role::Admin, keep_heads: Vec::new() });
    rig.settle();
    for other in [ALICE, CAROL, 3] {
        rig.disconnect(BOB, other);
    }
    remove(&mut rig, BOB, circle, CAROL);
    remove(&mut rig, ALICE, circle, BOB);
    rig.settle();
    rig.act(ALICE, circle, Action::Rename { name: "Without Bob".to_owned() });
    rig.settle();
    rig.connect(BOB, CAROL);
    rig.settle();
    assert!(was_told(&rig, BOB, circle) && !was_told(&rig, CAROL, circle));
    let membership = rig.devices[BOB].engine.membership(circle).expect("it keeps what it had");
    assert!(membership.devices.contains_key(&rig.devices[CAROL].id), "he hears that his removal of her is void");
    assert_ne!(membership.name, "Without Bob");
    rig.honest_exchange_of(circle, &[ALICE, CAROL, 3]);
}

/// Nobody but Carol ever hears of Bob's removal of her, from him, and what she does follows it.
#[test]
fn what_a_farewell_said_reaches_whoever_lacks_it() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let [bob, carol] = [BOB, CAROL].map(|who| membership.person_of(rig.devices[who].id).expect("a member"));
    rig.act(ALICE, circle, Action::SetRole { person: bob, role: Role::Admin, keep_heads: Vec::new() });
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.disconnect(ALICE, CAROL);
    remove(&mut rig, ALICE, circle, BOB);
    remove(&mut rig, BOB, circle, CAROL);
    rig.settle();
    rig.disconnect(BOB, CAROL);
    rig.reopen(CAROL);
    rig.connect(ALICE, CAROL);
    rig.settle();
    rig.act(CAROL, circle, Action::SetProfile { person: carol, name: "Caroline".to_owned() });
    rig.settle();
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    assert_eq!(membership.people[&carol].name, "Caroline");
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

/// Carol believes Bob, who tells her that she is out. Then she meets Dave, who brought her back before he heard that he is
/// out himself. Bob knows nothing of that and has said what he had to say; nobody else can tell her what came of it.
#[test]
fn who_is_brought_back_by_somebody_who_is_out_hears_so_on_the_connections_that_there_are() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol", "Dave"]);
    let dave = 3;
    for other in [ALICE, BOB, dave] {
        rig.disconnect(CAROL, other);
    }
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let person = membership.person_of(rig.devices[CAROL].id).expect("a member");
    let newcomer = membership.person_entry(person).expect("she is in");
    remove(&mut rig, ALICE, circle, CAROL);
    rig.settle();
    rig.disconnect(dave, ALICE);
    rig.disconnect(dave, BOB);
    rig.act(dave, circle, Action::AddPerson { newcomer, role: Role::Member });
    rig.now_ms += 30_000;
    rig.settle();
    remove(&mut rig, ALICE, circle, dave);
    rig.settle();
    let is_in = |rig: &Rig, who: usize| {
        let membership = rig.devices[who].engine.membership(circle).expect("it knows the circle");
        membership.devices.contains_key(&rig.devices[CAROL].id)
    };
    rig.connect(BOB, CAROL);
    rig.settle();
    assert!(was_told(&rig, CAROL, circle) && !is_in(&rig, CAROL));
    assert!(is_in(&rig, dave) && !is_in(&rig, BOB));
    rig.connect(CAROL, dave);
    rig.now_ms += 30_000;
    rig.settle();
    assert!(!is_in(&rig, CAROL), "Bob knows by now what Dave did, and she what became of him");
    let heads = |rig: &Rig, who: usize| rig.devices[who].engine.circles[&circle].log.heads();
    assert_eq!(heads(&rig, CAROL), heads(&rig, BOB));
    rig.now_ms += 30_000;
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

/// Whoever told Bob that he is out, and how he came back, is gone before anybody else heard of it.
#[test]
fn what_put_somebody_out_reaches_others_by_them_once_they_are_back() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    let person = membership.person_of(rig.devices[BOB].id).expect("a member");
    let newcomer = membership.person_entry(person).expect("he is in");
    let log = |rig: &Rig, who: usize| -> Vec<Vec<u8>> {
        rig.devices[who].engine.circles[&circle].log.operations().map(Operation::encode).collect()
    };
    for (one, other) in [(ALICE, BOB), (ALICE, CAROL), (BOB, CAROL)] {
        rig.disconnect(one, other);
    }
    let alice = rig.devices[ALICE].id;
    rig.listen(BOB, ALICE);
    remove(&mut rig, ALICE, circle, BOB);
    let told = farewell(circle, log(&rig, ALICE));
    rig.frame(ALICE, BOB, Channel::Join, &told);
    rig.drain(BOB);
    assert!(was_told(&rig, BOB, circle));
    rig.act(ALICE, circle, Action::AddPerson { newcomer, role: Role::Member });
    let told = farewell(circle, log(&rig, ALICE));
    rig.frame(ALICE, BOB, Channel::Join, &told);
    rig.drain(BOB);
    let now_ms = rig.now_ms;
    rig.devices[BOB].engine.handle_disconnected(alice, now_ms);
    rig.connect(BOB, CAROL);
    rig.settle();
    assert_eq!(log(&rig, BOB), log(&rig, ALICE));
    assert_eq!(log(&rig, CAROL), log(&rig, ALICE));
}
