//! The changes of keys as an audit tells them, among honest devices and rogues.

use super::rig::{ALICE, BOB, CAROL, Rig};
use crate::entry::Body;
use crate::membership::{Action, Operation};
use crate::proto::entry as proto;
use crate::{CircleId, Evidence, KeyAudit, KeyStanding, Keyspace, Refusal, RivalActs, verify_key_chain};

fn audit(rig: &Rig, who: usize, circle: CircleId) -> KeyAudit {
    rig.devices[who].engine.key_audit(circle).expect("a member can be told")
}

fn evidence(rig: &mut Rig, who: usize, circle: CircleId) -> Vec<Evidence> {
    rig.devices[who].engine.evidence(circle).expect("a member can be told")
}

/// What is said, without what each device knows by itself.
fn said(audit: &KeyAudit) -> Vec<(u64, String, KeyStanding, [u8; 32])> {
    audit.changes.iter().map(|one| (one.sequence, one.sentence.clone(), one.standing, one.hash)).collect()
}

#[test]
fn all_who_hold_the_same_commits_tell_the_same_changes_of_keys() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    // Two rival commits on one epoch, one of which loses.
    for (one, other) in [(ALICE, BOB), (ALICE, CAROL), (BOB, CAROL)] {
        rig.disconnect(one, other);
    }
    rig.renew(ALICE, circle);
    rig.renew(BOB, circle);
    rig.connect(ALICE, BOB);
    rig.connect(BOB, CAROL);
    rig.settle();
    let carol = rig.devices[CAROL].engine.identity().person().expect("she is somebody");
    rig.devices[ALICE].engine.act(circle, Action::revoke_person(carol), rig.now_ms).expect("an owner may");
    rig.settle();

    let by_alice = audit(&rig, ALICE, circle);
    assert_eq!((by_alice.missing, by_alice.changes.iter().all(|change| change.checked)), (0, true));
    let lost: Vec<_> = by_alice.changes.iter().filter(|one| one.standing != KeyStanding::Stands).collect();
    assert_eq!(lost.len(), 1, "{by_alice:?}");
    let sentences: Vec<&str> = by_alice.changes.iter().map(|one| one.sentence.as_str()).collect();
    assert_eq!(sentences.first(), Some(&"Alice changed the keys: Bob (phone) is in"));
    assert!(sentences.contains(&"Bob renewed the keys") && sentences.contains(&"Alice renewed the keys"));
    assert_eq!(sentences.last(), Some(&"Alice changed the keys: Carol (phone) is out"), "{sentences:?}");
    assert_eq!(verify_key_chain(circle, 0, &by_alice.changes), Ok(by_alice.hash));

    // Bob was not there from the beginning, and reads of it what it says of itself: the same, and he says which.
    let by_bob = audit(&rig, BOB, circle);
    assert_eq!((said(&by_bob), by_bob.hash, by_bob.missing), (said(&by_alice), by_alice.hash, 0));
    assert!(!by_bob.changes[0].checked && by_bob.changes.last().is_some_and(|change| change.checked));
    // Carol was told to go: she knows of no head but the one before.
    let by_carol = audit(&rig, CAROL, circle);
    assert_eq!(said(&by_carol), said(&by_alice)[..by_alice.changes.len() - 1]);

    rig.reopen(ALICE);
    assert_eq!(audit(&rig, ALICE, circle), by_alice);
}

#[test]
fn who_came_later_and_may_not_read_back_says_how_many_are_missing() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    let now_ms = rig.now_ms;
    rig.devices[ALICE].engine.set_policy(circle, "history", "since_joining", now_ms).expect("an owner may");
    rig.invite(ALICE, circle, BOB);
    rig.renew(ALICE, circle);
    rig.invite(ALICE, circle, CAROL);
    rig.connect(BOB, CAROL);
    rig.renew(BOB, circle);
    rig.settle();
    let (by_alice, by_carol) = (audit(&rig, ALICE, circle), audit(&rig, CAROL, circle));
    assert_eq!(by_alice.missing, 0);
    assert!(by_carol.missing > 0 && !by_carol.changes.is_empty(), "{by_carol:?}");
    assert_eq!(by_carol.missing + by_carol.changes.len() as u64, by_alice.changes.len() as u64);
    assert_eq!(verify_key_chain(circle, by_carol.missing, &by_carol.changes), Ok(by_carol.hash));
    let newest = |audit: &KeyAudit| audit.changes.last().map(|one| (one.epoch, one.sentence.clone()));
    assert_eq!(newest(&by_carol), newest(&by_alice));
}

#[test]
fn a_commit_that_lies_about_whom_it_adds_or_removes_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let carol = rig.devices[CAROL].id.as_bytes().to_vec();
    let sound = super::members::commit(&mut rig, BOB, circle, &Default::default());
    for lie in [
        proto::Commit { adds: vec![carol.clone()], ..sound.clone() },
        proto::Commit { removes: vec![carol.clone()], ..sound.clone() },
    ] {
        let entry = rig.seal(BOB, circle, Body::Commit(lie));
        rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    }
    rig.honest_exchange(circle);
}

#[test]
fn what_is_said_of_an_epoch_that_was_seen_here_changes_no_audit() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let before = audit(&rig, ALICE, circle);
    let known = before.changes.last().expect("Carol was added");
    let lie = proto::Commit {
        parent: vec![9; 32],
        epoch: known.epoch.as_bytes().to_vec(),
        message: vec![1],
        ..Default::default()
    };
    let entry = rig.seal(BOB, circle, Body::Commit(lie));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert_eq!(audit(&rig, ALICE, circle), before);
    let noted = |rig: &Rig| {
        let store = rig.devices[ALICE].store.content();
        store.keys().filter(|key| key.keyspace == Keyspace::KeyChanges).count()
    };
    assert_eq!(noted(&rig), before.changes.len() + 1, "it is kept as evidence all the same");
}

#[test]
fn two_commits_of_one_device_on_one_epoch_are_kept_and_shown() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    assert_eq!(evidence(&mut rig, ALICE, circle), []);
    let parent = rig.devices[BOB].engine.circles[&circle].group.head().epoch;
    let (one, other) = (
        super::members::commit(&mut rig, BOB, circle, &Default::default()),
        super::members::commit(&mut rig, BOB, circle, &Default::default()),
    );
    let to = [&one, &other].map(|commit| crate::group::epoch_id(&commit.epoch).expect("it is one"));
    let key = rig.head_key(BOB, circle);
    // Alice hears of one, Carol of the other; then both of both.
    for (who, commit) in [(ALICE, one), (CAROL, other)] {
        let entry = rig.seal_under(BOB, circle, &key, Body::Commit(commit));
        rig.give(BOB, who, circle, vec![entry]);
        assert_eq!(evidence(&mut rig, who, circle), []);
    }
    rig.settle();
    let mut to = to;
    to.sort_unstable();
    let acts = RivalActs::KeyChanges { parent, to };
    for who in [ALICE, CAROL] {
        let found = evidence(&mut rig, who, circle);
        let [Evidence { device, person_name, is_in, acts: shown, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!((*device, person_name.as_str(), *is_in, shown), (rig.devices[BOB].id, "Bob", true, &acts));
    }
    assert_eq!(audit(&rig, ALICE, circle).hash, audit(&rig, CAROL, circle).hash);
    // It outlives a restart, and his removal.
    rig.reopen(ALICE);
    let bob = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    rig.devices[ALICE].engine.act(circle, Action::revoke_person(bob), rig.now_ms).expect("an owner may");
    let found = evidence(&mut rig, ALICE, circle);
    assert!(found.len() == 1 && found[0].acts == acts && !found[0].is_in, "{found:?}");
}

#[test]
fn two_operations_of_one_device_at_the_same_time_are_kept_and_shown() {
    let (mut rig, circle) = Rig::pair();
    let log = &rig.devices[BOB].engine.circles[&circle].log;
    let heads = log.heads();
    let bob = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    let named = |name: &str| Action::SetProfile { person: bob, name: name.into() };
    let operations = [named("Robert"), named("Bobby")]
        .map(|action| Operation::sign(&rig.devices[BOB].key, heads.clone(), rig.now_ms, action));
    for operation in &operations {
        let entry = rig.seal(BOB, circle, Body::Operation(operation.encode()));
        rig.give(BOB, ALICE, circle, vec![entry]);
    }
    rig.reopen(ALICE);
    let found = evidence(&mut rig, ALICE, circle);
    let [Evidence { acts: RivalActs::Operations(shown), .. }] = &found[..] else { panic!("{found:?}") };
    assert!(operations.iter().all(|operation| shown.contains(&operation.id())));
}
