//! Key bundles that no honest device makes.

use clave_crypto::ContentKey;

use super::entries::*;
use super::rig::*;
use crate::entry::Body;
use crate::proto::entry as proto;
use crate::{Keyspace, Refusal};

#[test]
fn a_key_bundle_never_redirects_what_an_honest_member_seals_under() {
    let (mut rig, circle) = Rig::pair();
    let (epoch, tag) = (head(&rig, ALICE, circle), rig.tag(ALICE, circle));
    let evil = ContentKey::from_bytes([0x66; 32].into());
    let entry = rig.seal(BOB, circle, bundle(epoch, [0x66; 32]));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert_eq!(rig.tag(ALICE, circle), tag);
    // It opens what is sealed under it, and nothing else.
    let said = rig.seal_under(BOB, circle, &evil, bundle([1; 32], [2; 32]));
    rig.give(BOB, ALICE, circle, vec![said]);
    assert_eq!(held(&rig, ALICE, circle), 0);
    rig.honest_exchange(circle);
    rig.reopen(ALICE);
    assert_eq!(rig.tag(ALICE, circle), tag);
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn a_key_that_came_under_a_false_epoch_is_still_found_when_its_epoch_is_entered() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    // Bob commits, and lets Alice have the key of the new epoch before the commit, said to be of another epoch.
    rig.disconnect(ALICE, BOB);
    rig.disconnect(ALICE, CAROL);
    let before = rig.head_key(BOB, circle);
    rig.renew(BOB, circle);
    rig.settle();
    let after = rig.head_key(BOB, circle);
    assert_ne!(before.key_id(), after.key_id());
    let entry = rig.seal_under(BOB, circle, &before, bundle([9; 32], **after.as_bytes()));
    rig.listen(ALICE, BOB);
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.drain(ALICE);
    for other in [BOB, CAROL] {
        rig.connect(ALICE, other);
    }
    rig.settle();
    rig.honest_exchange(circle);
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn a_bundle_with_one_bad_key_teaches_none() {
    let (mut rig, circle) = Rig::pair();
    let keys = vec![
        proto::ContentKey { epoch: vec![1; 32], key: vec![2; 32], lasting: false },
        proto::ContentKey { epoch: vec![1; 32], key: vec![2; 31], lasting: false },
    ];
    let entry = rig.seal(BOB, circle, bundle_of(keys));
    rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}

#[test]
fn a_flood_of_keys_neither_grows_the_keyring_for_ever_nor_keeps_anybody_from_joining() {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    let known = rig.keys(ALICE, circle);
    for round in 0..2_u32 {
        let keys = (0..12_000_u32).map(|n| {
            let key = *blake3::hash(&[round.to_be_bytes(), n.to_be_bytes()].concat()).as_bytes();
            proto::ContentKey { epoch: key.to_vec(), key: key.to_vec(), lasting: false }
        });
        let entry = rig.seal(BOB, circle, bundle_of(keys.collect()));
        rig.give(BOB, ALICE, circle, vec![entry]);
        rig.settle();
    }
    assert!(rig.keys(ALICE, circle) <= known + crate::LEARNED_KEYS_MAX);
    rig.invite(ALICE, circle, CAROL);
    rig.honest_exchange(circle);
}

#[test]
fn a_key_is_not_hidden_by_what_is_said_of_its_epoch() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let key = ContentKey::from_bytes([7; 32].into());
    // Only Alice has it, as one of the epoch that all are in.
    let entry = rig.seal_direct(BOB, ALICE, circle, bundle(head(&rig, ALICE, circle), [7; 32]));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert!(rig.devices[CAROL].engine.circles[&circle].content_key(&key.key_id()).is_some());
    rig.honest_exchange(circle);
}

#[test]
fn the_key_of_what_waits_is_taken_however_many_false_ones_there_are() {
    let (mut rig, circle) = Rig::pair();
    let said = rig.seal_under(BOB, circle, &ContentKey::from_bytes([7; 32].into()), bundle([1; 32], [2; 32]));
    rig.give(BOB, ALICE, circle, vec![said]);
    assert_eq!(held(&rig, ALICE, circle), 1);
    let keys = (0..17_000_u32).map(|n| {
        let key = *blake3::hash(&n.to_be_bytes()).as_bytes();
        proto::ContentKey { epoch: key.to_vec(), key: key.to_vec(), lasting: false }
    });
    let flood = rig.seal(BOB, circle, bundle_of(keys.collect()));
    let entry = rig.seal(BOB, circle, bundle([3; 32], [7; 32]));
    rig.give(BOB, ALICE, circle, vec![flood]);
    assert_eq!(held(&rig, ALICE, circle), 1);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(held(&rig, ALICE, circle), 0);
}

#[test]
fn what_is_sealed_with_a_key_that_is_not_to_be_handed_on_waits() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.disconnect(ALICE, BOB);
    rig.disconnect(ALICE, CAROL);
    rig.renew(BOB, circle);
    let before = rig.entry_ids(BOB, circle);
    rig.post(BOB, circle, "你好");
    let posted = rig.entry_ids(BOB, circle).into_iter().find(|id| !before.contains(id)).expect("he said something");
    let posted = rig.stored(BOB, Keyspace::Entries, circle, posted.as_bytes());
    let key = rig.head_key(BOB, circle);
    let of = |operations| {
        let keys = vec![proto::ContentKey { epoch: vec![1; 32], key: key.as_bytes().to_vec(), lasting: false }];
        Body::Keys(proto::KeyBundle { keys, operations, given: Vec::new(), log: Vec::new() })
    };
    let waits = |rig: &Rig| rig.devices[ALICE].engine.status(circle).expect("a member").held;
    // Whoever gave her the key knew of something that is not here: others may never have that key.
    let entry = rig.seal_direct(BOB, ALICE, circle, of(vec![vec![8; 32]]));
    rig.listen(ALICE, BOB);
    rig.give(BOB, ALICE, circle, vec![posted, entry]);
    rig.drain(ALICE);
    assert_eq!((rig.messages(ALICE, circle), waits(&rig)), (Vec::new(), 1));
    rig.reopen(ALICE);
    assert_eq!((rig.messages(ALICE, circle), waits(&rig)), (Vec::new(), 1));
    // She asks for it as for any that is not here.
    let known = rig.entry_ids(ALICE, circle).len();
    rig.listen(ALICE, CAROL);
    for _ in 0..9 {
        rig.settle();
    }
    assert!(rig.entry_ids(ALICE, circle).len() > known);
    let operations = rig.devices[BOB].engine.circles[&circle].log.heads();
    let operations = operations.iter().map(|id| id.as_bytes().to_vec()).collect();
    let entry = rig.seal_direct(BOB, ALICE, circle, of(operations));
    rig.listen(ALICE, BOB);
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.drain(ALICE);
    assert_eq!((rig.messages(ALICE, circle), waits(&rig)), (vec!["你好".to_owned()], 0));
}
