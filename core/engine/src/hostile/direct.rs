//! Entries for one device that no honest device makes.

use clave_crypto::{ContentKey, DeviceKey};
use prost::Message as _;

use super::entries::*;
use super::rig::*;
use crate::Refusal;
use crate::entry::{Body, Envelope, entry_id};
use crate::proto::entry as proto;

#[test]
fn what_is_for_one_device_is_carried_by_all_and_opened_by_it_alone() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    rig.disconnect(BOB, CAROL);
    rig.disconnect(ALICE, CAROL);
    let before = [rig.keys(ALICE, circle), rig.keys(CAROL, circle)];
    let entry = rig.seal_direct(BOB, CAROL, circle, bundle([9; 32], [7; 32]));
    let id = entry_id(&entry);
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert!(rig.entry_ids(ALICE, circle).contains(&id));
    assert_eq!((rig.keys(ALICE, circle), held(&rig, ALICE, circle)), (before[0], 0));
    rig.connect(ALICE, CAROL);
    rig.settle();
    assert!(rig.entry_ids(CAROL, circle).contains(&id));
    assert_eq!(rig.keys(CAROL, circle), before[1] + 1);
}

#[test]
fn what_is_for_a_device_that_nobody_knows_waits() {
    let mut rig = Rig::new(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    let entry = rig.seal_direct(BOB, CAROL, circle, bundle([9; 32], [7; 32]));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert_eq!(held(&rig, ALICE, circle), 1);
    rig.invite(ALICE, circle, CAROL);
    assert_eq!(held(&rig, ALICE, circle), 0);
    let key = ContentKey::from_bytes([7; 32].into());
    assert!(rig.devices[CAROL].engine.circles[&circle].content_key(&key.key_id()).is_some());
}

#[test]
fn what_takes_effect_cannot_be_said_to_one_device() {
    let (mut rig, circle) = Rig::pair();
    let operation = Body::Operation(rig.first_operation(BOB, circle));
    let changes = Body::Changes(proto::Changes { document: vec![1; 16], kind: 1, changes: Vec::new() });
    for body in [operation, changes, Body::Commit(proto::Commit::default())] {
        let entry = rig.seal_direct(BOB, ALICE, circle, body);
        rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    }
    rig.honest_exchange(circle);
}

#[test]
fn an_altered_direct_entry_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let entry = rig.seal_direct(BOB, ALICE, circle, bundle([9; 32], [7; 32]));
    let sound = proto::Envelope::decode(entry.as_slice()).expect("it was just made");
    let mut altered = Vec::new();
    for place in [0, 40, 100, sound.ciphertext.len() - 1] {
        let mut envelope = sound.clone();
        envelope.ciphertext[place] ^= 1;
        altered.push(envelope);
    }
    altered.push(proto::Envelope { hour: sound.hour + 1, ..sound.clone() });
    altered.push(proto::Envelope { salt: vec![1; 16], ..sound.clone() });
    altered.push(proto::Envelope { ciphertext: sound.ciphertext[..90].to_vec(), ..sound.clone() });
    let before = rig.keys(ALICE, circle);
    for envelope in altered {
        let bytes = envelope.encode_to_vec();
        rig.refuses(ALICE, Refusal::BadSeal, |rig| rig.give(BOB, ALICE, circle, vec![bytes]));
    }
    // What was for somebody else, under this device's tag.
    let foreign = rig.seal_direct(ALICE, BOB, circle, bundle([9; 32], [7; 32]));
    let foreign = proto::Envelope::decode(foreign.as_slice()).expect("it was just made");
    let bytes = proto::Envelope { tag: sound.tag, ..foreign }.encode_to_vec();
    rig.refuses(ALICE, Refusal::BadSeal, |rig| rig.give(BOB, ALICE, circle, vec![bytes]));
    assert_eq!(rig.keys(ALICE, circle), before);
    rig.honest_exchange(circle);
}

#[test]
fn a_direct_entry_in_anothers_name_is_refused() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let to = (rig.devices[ALICE].id, rig.devices[ALICE].key.noise_public());
    let author = rig.devices[CAROL].id.as_bytes().to_vec();
    let body = Some(bundle([9; 32], [7; 32]));
    let entry = proto::Entry { author, body }.encode_to_vec();
    let (now_ms, key) = (rig.now_ms, DeviceKey::from_seed(rig.devices[BOB].key.seed().clone()));
    let forged = Envelope::seal_direct_entry(circle, &key, (to.0, &to.1), entry, now_ms, &mut rig.entropy);
    let forged = forged.expect("it is small").bytes;
    rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![forged]));
    rig.honest_exchange(circle);
}
