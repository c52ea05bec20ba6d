//! Entries that no honest device makes.

use super::rig::*;
use crate::Refusal;
use crate::entry::Body;
use crate::proto::entry as proto;
use clave_crypto::ContentKey;

fn bundle(epoch: [u8; 32], key: [u8; 32]) -> Body {
    Body::Keys(proto::KeyBundle { keys: vec![proto::ContentKey { epoch: epoch.to_vec(), key: key.to_vec() }] })
}

fn head(rig: &Rig, who: usize, circle: crate::CircleId) -> [u8; 32] {
    *rig.devices[who].engine.status(circle).expect("a member").epoch.as_bytes()
}

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
    assert_eq!(rig.devices[ALICE].engine.status(circle).expect("a member").held, 0);
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
        proto::ContentKey { epoch: vec![1; 32], key: vec![2; 32] },
        proto::ContentKey { epoch: vec![1; 32], key: vec![2; 31] },
    ];
    let entry = rig.seal(BOB, circle, Body::Keys(proto::KeyBundle { keys }));
    rig.refuses(ALICE, Refusal::Malformed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}
