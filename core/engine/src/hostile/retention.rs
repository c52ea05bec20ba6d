//! What is left of epochs that are past, and who is known to follow which.

use super::rig::*;
use crate::membership::Action;
use crate::proto::local;
use crate::{CircleId, Event, Keyspace, SILENT_EPOCHS_MAX};
use prost::Message as _;

/// The epochs whose secrets are in the store, and all that are.
fn checkpoints(rig: &Rig, who: usize, circle: CircleId) -> (usize, usize) {
    let of = |key: &crate::Key| key.keyspace == Keyspace::Checkpoints && key.scope == circle.as_bytes();
    let records: Vec<_> = rig.store(who).into_iter().filter(|(key, _)| of(key)).map(|(_, record)| record).collect();
    let kept = |record: &&Vec<u8>| {
        let record = local::Checkpoint::decode(record.as_slice()).expect("it was written as one");
        !record.state.is_empty()
    };
    (records.iter().filter(kept).count(), records.len())
}

fn depth(rig: &Rig, who: usize, circle: CircleId) -> u64 {
    rig.devices[who].engine.status(circle).expect("a member").depth
}

#[test]
fn the_secrets_of_an_epoch_go_once_everybody_is_past_it() {
    let (mut rig, circle) = Rig::pair();
    let deep = usize::try_from(crate::CHECKPOINTS_DEEP).expect("it is small");
    rig.disconnect(ALICE, BOB);
    for _ in 0..deep + 10 {
        rig.renew(ALICE, circle);
    }
    rig.settle();
    // Bob cannot have said that he followed.
    assert!(checkpoints(&rig, ALICE, circle).0 > deep + 10);
    rig.connect(ALICE, BOB);
    rig.settle();
    rig.honest_exchange(circle);
    for who in [ALICE, BOB] {
        let (kept, all) = checkpoints(&rig, who, circle);
        assert_eq!(kept, deep, "{who}");
        assert!(all > deep + 10);
    }
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.renew(BOB, circle);
    rig.settle();
    rig.honest_exchange(circle);
    assert_eq!(checkpoints(&rig, ALICE, circle).0, deep);
}

#[test]
fn a_device_that_stays_away_keeps_no_secrets_alive_for_more_than_two_weeks() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    for other in [ALICE, BOB] {
        rig.disconnect(CAROL, other);
    }
    for _ in 0..30 {
        rig.renew(ALICE, circle);
    }
    rig.settle();
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
    assert!(checkpoints(&rig, ALICE, circle).0 > 30);
    rig.now_ms += 15 * DAY_MS;
    rig.settle();
    assert_eq!(checkpoints(&rig, ALICE, circle).0, 1);
    // Carol finds her way by the commits that all have.
    for other in [ALICE, BOB] {
        rig.connect(CAROL, other);
    }
    rig.honest_exchange(circle);
}

#[test]
fn who_follows_in_silence_says_so_at_last() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let (bob, carol) = (rig.devices[BOB].id, rig.devices[CAROL].id);
    let confirmed = |rig: &Rig, who| rig.devices[ALICE].engine.confirmed(circle).expect("a member").get(&who).copied();
    let before = depth(&rig, ALICE, circle);
    for _ in 0..SILENT_EPOCHS_MAX {
        rig.renew(ALICE, circle);
    }
    rig.settle();
    rig.now_ms += 70_000;
    rig.settle();
    for who in [bob, carol] {
        assert_eq!(confirmed(&rig, who).map(|(_, depth)| depth), Some(before + SILENT_EPOCHS_MAX));
    }
    // A single rotation is confirmed within a day or so.
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    rig.renew(ALICE, circle);
    rig.settle();
    let rotated = rig.devices[ALICE].engine.status(circle).expect("a member").epoch;
    assert_ne!(confirmed(&rig, bob).map(|(epoch, _)| epoch), Some(rotated));
    rig.now_ms += DAY_MS + 70_000;
    rig.settle();
    assert_eq!(confirmed(&rig, bob).map(|(epoch, _)| epoch), Some(rotated));
    assert_eq!(confirmed(&rig, carol).map(|(_, depth)| depth), Some(before + SILENT_EPOCHS_MAX));
}

#[test]
fn who_follows_a_removal_says_so_at_once_and_once() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol", "Dora", "Erin"]);
    let entries = |rig: &Rig| rig.devices[ALICE].engine.status(circle).expect("a member").entries;
    let carol = rig.devices[CAROL].engine.identity().person().expect("she is somebody");
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.act(circle, Action::revoke_person(carol), now_ms).expect("an owner may");
    let before = entries(&rig);
    rig.settle();
    assert!(rig.now_ms - now_ms < 10_000);
    let head = rig.devices[ALICE].engine.status(circle).expect("a member").epoch;
    let confirmed = rig.devices[ALICE].engine.confirmed(circle).expect("a member");
    for who in [BOB, 3, 4] {
        assert_eq!(confirmed.get(&rig.devices[who].id).map(|(epoch, _)| *epoch), Some(head), "{who}");
    }
    // One word of each of the three, and no more, however long one waits.
    let said = entries(&rig) - before;
    assert_eq!(said, 3);
    let told = |who: &usize| {
        let confirmed = Event::KeysConfirmed { circle, device: rig.devices[*who].id };
        rig.devices[ALICE].events.contains(&confirmed)
    };
    assert!([BOB, 3, 4].iter().all(told));
    rig.now_ms += 600_000;
    rig.settle();
    assert_eq!(entries(&rig) - before, 3);
}
