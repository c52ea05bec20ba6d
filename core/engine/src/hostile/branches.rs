//! What commits, Welcomes and keys of a member who keeps to no rule do to who follows which branch, and reads what.

use clave_crypto::{ContentKey, DeviceKey, GroupKeyAgreement, Mls, RosterChange, Suite};
use prost::Message as _;

use super::rig::*;
use crate::entry::Body;
use crate::membership::{Action, Operation, PersonEntry, Role};
use crate::proto::entry as proto;
use crate::{Batch, Channel, CircleId, EngineError, Refusal};

fn head(rig: &Rig, who: usize, circle: CircleId) -> crate::crypto::EpochId {
    rig.devices[who].engine.status(circle).expect("a member").epoch
}

fn heads(rig: &Rig, who: usize, circle: CircleId) -> Vec<Vec<u8>> {
    let log = &rig.devices[who].engine.circles[&circle].log;
    log.heads().iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// A commit by `who` on their head that changes nobody, and that they file nowhere.
fn commit(rig: &mut Rig, who: usize, circle: CircleId) -> proto::Commit {
    let operations = heads(rig, who, circle);
    let device = DeviceKey::from_seed(rig.devices[who].key.seed().clone());
    let parent = rig.devices[who].engine.circles[&circle].group.head();
    let output = Mls.commit(&device, parent, &RosterChange::default(), &mut rig.entropy).expect("a commit can be made");
    proto::Commit {
        parent: parent.epoch.as_bytes().to_vec(),
        epoch: output.checkpoint.epoch.as_bytes().to_vec(),
        message: output.message,
        operations,
        ..Default::default()
    }
}

/// The removal of somebody, and what brings them back.
pub(super) fn removal_and_return(rig: &Rig, of: usize, circle: CircleId) -> (Action, Action) {
    let person = rig.devices[of].engine.identity().person().expect("they are somebody");
    let newcomer: PersonEntry =
        rig.devices[ALICE].engine.circles[&circle].log.membership().person_entry(person).expect("they are in");
    (Action::revoke_person(person), Action::AddPerson { newcomer, role: Role::Member })
}

#[test]
fn a_commit_that_leaves_in_whom_the_operations_it_cites_removed_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let kept = commit(&mut rig, BOB, circle);
    let key = rig.head_key(BOB, circle);
    let (removal, _) = removal_and_return(&rig, CAROL, circle);
    rig.disconnect(BOB, CAROL);
    rig.disconnect(ALICE, CAROL);
    rig.act(ALICE, circle, removal);
    rig.settle();
    let operations = heads(&rig, ALICE, circle);
    let entry = rig.seal_under(BOB, circle, &key, Body::Commit(proto::Commit { operations, ..kept }));
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn a_commit_of_whoever_is_out_where_it_cites_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let kept = commit(&mut rig, BOB, circle);
    let key = rig.head_key(BOB, circle);
    let (removal, _) = removal_and_return(&rig, BOB, circle);
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.act(ALICE, circle, removal);
    rig.settle();
    // All others whom it leaves in are in, and Carol passes it on.
    let operations = heads(&rig, ALICE, circle);
    let entry = rig.seal_under(BOB, circle, &key, Body::Commit(proto::Commit { operations, ..kept }));
    let before = head(&rig, ALICE, circle);
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(CAROL, ALICE, circle, vec![entry]));
    assert_eq!(head(&rig, ALICE, circle), before);
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

#[test]
fn an_epoch_comes_last_until_what_its_welcome_cites_is_here() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let devices = &rig.devices[BOB].engine.membership(circle).expect("a member").devices;
    let package = devices[&rig.devices[ALICE].id].key_packages.last_resort.clone().expect("there is always one");
    let person = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    // Deeper than the real one, so that all rules but this prefer it.
    let mut checkpoint = Mls.create(&device, circle.as_bytes(), Suite::X25519, &mut rig.entropy);
    for _ in 0..20 {
        let renewed = Mls.commit(&device, &checkpoint, &RosterChange::default(), &mut rig.entropy);
        checkpoint = renewed.expect("it can").checkpoint;
    }
    let change = RosterChange { add: vec![package], remove: Vec::new() };
    let welcome = Mls.commit(&device, &checkpoint, &change, &mut rig.entropy).expect("it can");
    let parents = rig.devices[BOB].engine.circles[&circle].log.heads();
    let action = Action::SetProfile { person, name: "Bob as yet unheard of".to_owned() };
    let kept_back = Operation::sign(&device, parents, rig.now_ms, action);
    let operations = vec![kept_back.id().as_bytes().to_vec()];
    let message = welcome.welcome.expect("somebody was added");
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Welcome(proto::Welcome { message, operations }));
    let before = head(&rig, ALICE, circle);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(head(&rig, ALICE, circle), before);
    let entry = rig.seal(BOB, circle, Body::Operation(kept_back.encode()));
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(head(&rig, ALICE, circle), welcome.checkpoint.epoch);
}

#[test]
fn the_key_before_a_commit_is_handed_over_though_its_author_did_not() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let (removal, returns) = removal_and_return(&rig, CAROL, circle);
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    rig.act(ALICE, circle, removal);
    rig.post(ALICE, circle, "while she was out");
    // Bob's engine is not asked: nothing leads back from where this leads.
    let silent = commit(&mut rig, BOB, circle);
    let epoch = silent.epoch.clone();
    let entry = rig.seal(BOB, circle, Body::Commit(silent));
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(head(&rig, ALICE, circle).as_bytes().to_vec(), epoch);
    rig.settle();
    rig.act(ALICE, circle, returns);
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, CAROL);
    for _ in 0..3 {
        rig.settle();
    }
    assert_eq!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
    assert_eq!(rig.messages(CAROL, circle), ["while she was out"]);
}

#[test]
fn the_keys_before_an_admission_are_handed_over_though_its_author_did_not() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let (removal, returns) = removal_and_return(&rig, CAROL, circle);
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    rig.act(ALICE, circle, removal);
    rig.post(ALICE, circle, "while she was out");
    rig.renew(BOB, circle);
    rig.settle();
    let before = rig.entry_ids(ALICE, circle);
    rig.act(ALICE, circle, returns);
    rig.drain(ALICE);
    let operation = rig.entry_ids(ALICE, circle).into_iter().find(|id| !before.contains(id)).expect("it was published");
    let operation = rig.stored(ALICE, crate::Keyspace::Entries, circle, operation.as_bytes());
    rig.give(ALICE, BOB, circle, vec![operation]);
    // Bob's engine is not asked: he adds her, and nothing leads back from where that leads.
    let (carol, device) = (rig.devices[CAROL].id, DeviceKey::from_seed(rig.devices[BOB].key.seed().clone()));
    let inside = &rig.devices[BOB].engine.circles[&circle];
    let packages = inside.log.membership().devices[&carol].key_packages.clone();
    let change = RosterChange { add: vec![packages.last_resort.expect("there is always one")], remove: Vec::new() };
    let output = Mls.commit(&device, inside.group.head(), &change, &mut rig.entropy).expect("a commit can be made");
    let operations = heads(&rig, BOB, circle);
    let silent = proto::Commit {
        parent: head(&rig, BOB, circle).as_bytes().to_vec(),
        epoch: output.checkpoint.epoch.as_bytes().to_vec(),
        message: output.message,
        operations: operations.clone(),
        adds: vec![carol.as_bytes().to_vec()],
        ..Default::default()
    };
    let entry = rig.seal(BOB, circle, Body::Commit(silent));
    let welcome = proto::Welcome { message: output.welcome.expect("she was added"), operations };
    let welcome = rig.seal_direct(BOB, CAROL, circle, Body::Welcome(welcome));
    rig.give(BOB, ALICE, circle, vec![entry, welcome]);
    rig.disconnect(ALICE, BOB);
    rig.connect(ALICE, CAROL);
    for _ in 0..3 {
        rig.settle();
    }
    assert_eq!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
    assert_eq!(rig.devices[ALICE].engine.status(circle).expect("a member").leaves, 3);
    assert_eq!(rig.messages(CAROL, circle), ["while she was out"]);
    // She did not have to ask.
    let asked = crate::entry::direct_tag(circle, &rig.devices[ALICE].id);
    let entries = rig.entry_ids(ALICE, circle).into_iter();
    let entries: Vec<_> =
        entries.map(|id| rig.stored(ALICE, crate::Keyspace::Entries, circle, id.as_bytes())).collect();
    let tag = |entry: &Vec<u8>| crate::entry::Envelope::decode(entry.clone()).expect("it is stored").tag;
    assert!(!entries.iter().any(|entry| tag(entry) == asked));
}

#[test]
fn who_returns_follows_a_welcome_of_whoever_returned_meanwhile() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let (bob_goes, bob_returns) = removal_and_return(&rig, BOB, circle);
    let (carol_goes, carol_returns) = removal_and_return(&rig, CAROL, circle);
    rig.act(ALICE, circle, bob_goes);
    rig.settle();
    rig.act(ALICE, circle, carol_goes);
    rig.settle();
    // All that Carol knows of Bob is that he is out.
    rig.disconnect(ALICE, CAROL);
    rig.disconnect(BOB, CAROL);
    rig.act(ALICE, circle, bob_returns);
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.act(BOB, circle, carol_returns);
    rig.settle();
    // His Welcome comes by way of Alice.
    rig.connect(ALICE, BOB);
    rig.settle();
    rig.connect(ALICE, CAROL);
    rig.settle();
    assert!(rig.devices[CAROL].engine.circles[&circle].is_member(&rig.devices[CAROL].id));
    rig.connect(BOB, CAROL);
    rig.settle();
    rig.honest_exchange(circle);
}

#[test]
fn a_welcome_of_whoever_is_out_leads_nobody_anywhere_whatever_it_cites() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let (bob_goes, _) = removal_and_return(&rig, BOB, circle);
    let devices = &rig.devices[BOB].engine.membership(circle).expect("a member").devices;
    let package = devices[&rig.devices[ALICE].id].key_packages.last_resort.clone().expect("there is always one");
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.act(ALICE, circle, bob_goes);
    rig.settle();
    // Alone with her in a group of his own that has the circle's name, and deeper than the real one.
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let mut checkpoint = Mls.create(&device, circle.as_bytes(), Suite::default(), &mut rig.entropy);
    for _ in 0..20 {
        let renewed = Mls.commit(&device, &checkpoint, &RosterChange::default(), &mut rig.entropy);
        checkpoint = renewed.expect("it can").checkpoint;
    }
    let change = RosterChange { add: vec![package], remove: Vec::new() };
    let message = Mls.commit(&device, &checkpoint, &change, &mut rig.entropy).expect("it can").welcome;
    let before = head(&rig, ALICE, circle);
    for operations in [Vec::new(), vec![vec![7; 32]], heads(&rig, ALICE, circle)] {
        let welcome = proto::Welcome { message: message.clone().expect("somebody was added"), operations };
        let entry = rig.seal_direct(BOB, ALICE, circle, Body::Welcome(welcome));
        rig.give(CAROL, ALICE, circle, vec![entry]);
        rig.drain(ALICE);
        assert_eq!(head(&rig, ALICE, circle), before);
    }
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

#[test]
fn a_device_that_lost_where_its_own_commit_led_gets_a_new_leaf() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let before = rig.store(BOB);
    rig.renew(BOB, circle);
    rig.settle();
    assert_eq!(head(&rig, BOB, circle), head(&rig, ALICE, circle));
    // His disk is put back as it was, and nobody can process a commit of their own.
    let mut batch = Batch::default();
    rig.store(BOB).into_keys().filter(|key| !before.contains_key(key)).for_each(|key| batch.remove(key));
    before.into_iter().for_each(|(key, value)| batch.put(key, value));
    rig.reopen(BOB);
    rig.devices[BOB].store.write(&batch);
    rig.reopen(BOB);
    rig.post(ALICE, circle, "after that");
    rig.connect(ALICE, BOB);
    rig.connect(BOB, CAROL);
    rig.settle();
    assert_ne!(head(&rig, BOB, circle), head(&rig, ALICE, circle));
    for _ in 0..6 {
        rig.settle();
    }
    assert_eq!(head(&rig, BOB, circle), head(&rig, ALICE, circle));
    assert_eq!(rig.messages(BOB, circle), ["after that"]);
    let at_rest = head(&rig, ALICE, circle);
    for _ in 0..20 {
        rig.settle();
    }
    assert_eq!(head(&rig, ALICE, circle), at_rest, "they go on renewing");
    rig.honest_exchange(circle);
}

#[test]
fn whoever_feeds_keys_one_by_one_does_not_have_all_others_plead_without_end() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let keys: Vec<[u8; 32]> = (0..60).map(|_| rig.entropy.bytes()).collect();
    for key in &keys {
        let key = ContentKey::from_bytes((*key).into());
        let entry = rig.seal_under(BOB, circle, &key, Body::Operation(Vec::new()));
        rig.give(BOB, ALICE, circle, vec![entry]);
    }
    let before = direct_entries(&rig, ALICE, circle);
    for (number, key) in keys.iter().enumerate() {
        let epoch = [u8::try_from(number).expect("it is small"); 32].to_vec();
        let keys = vec![proto::ContentKey { epoch, key: key.to_vec(), lasting: false }];
        let bundle = proto::KeyBundle { keys, operations: Vec::new(), given: Vec::new(), log: Vec::new() };
        let entry = rig.seal(BOB, circle, Body::Keys(bundle));
        rig.give(BOB, ALICE, circle, vec![entry]);
        for _ in 0..4 {
            rig.settle();
        }
    }
    // Each of the two is asked once, again after each time that counts as help, and twice more as time goes by; and each
    // asks her for the same, and is answered so often. Each of the two lacks something else after that, too: once an hour that counts.
    let sent = direct_entries(&rig, ALICE, circle) - before;
    assert!(sent > 2 && sent <= 2 * (1 + 2 + 2 * crate::PLEA_ANSWERS_MAX as usize), "{sent}");
}

/// How many entries `who` has that are sealed to one device alone.
fn direct_entries(rig: &Rig, who: usize, circle: CircleId) -> usize {
    let tags: Vec<_> = rig.devices.iter().map(|device| crate::entry::direct_tag(circle, &device.id)).collect();
    let entries = rig.entry_ids(who, circle).into_iter();
    let entries = entries.map(|id| rig.stored(who, crate::Keyspace::Entries, circle, id.as_bytes()));
    let tag = |entry: Vec<u8>| crate::entry::Envelope::decode(entry).expect("it is stored").tag;
    entries.map(tag).filter(|tag| tags.contains(tag)).count()
}

#[test]
fn nobody_is_asked_for_keys_who_lacks_the_same() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol", "Dave"]);
    let (keys, before) = ([1, 2].map(|n| ContentKey::from_bytes([n; 32].into())), direct_entries(&rig, ALICE, circle));
    let said = || Body::Acknowledge(proto::Acknowledge { epoch: vec![7; 32] });
    let [nobodys, carols] = keys.each_ref().map(|key| rig.seal_under(BOB, circle, key, said()));
    rig.give(BOB, ALICE, circle, vec![nobodys]);
    let a_while = |rig: &mut Rig| (0..120).for_each(|_| rig.settle());
    a_while(&mut rig);
    assert!((0..4).all(|who| rig.devices[who].engine.status(circle).expect("it is in").held == 1));
    // Each asks one, at once. Then all have said that they lack the same: whom else would they ask?
    let pleas = direct_entries(&rig, ALICE, circle) - before;
    assert!(pleas <= 4, "{pleas}");
    // Of the next, Carol has the key, and all others ask until they have it.
    let bundle = |epoch: u8, key: &ContentKey| {
        let keys = vec![proto::ContentKey { epoch: vec![epoch; 32], key: key.as_bytes().to_vec(), lasting: false }];
        proto::KeyBundle { keys, operations: Vec::new(), given: Vec::new(), log: Vec::new() }
    };
    let entry = rig.seal_direct(BOB, CAROL, circle, Body::Keys(bundle(7, &keys[1])));
    rig.give(BOB, CAROL, circle, vec![entry, carols]);
    a_while(&mut rig);
    assert!((0..4).all(|who| rig.devices[who].engine.status(circle).expect("it is in").held == 1), "some lack it yet");
}

#[test]
fn a_stay_whose_date_has_passed_is_not_begun() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let (removal, returns) = removal_and_return(&rig, BOB, circle);
    let Action::AddPerson { newcomer: guest, .. } = returns else { unreachable!("it is one") };
    rig.act(ALICE, circle, removal);
    rig.settle();
    let (entries, now_ms) = (rig.entry_ids(ALICE, circle), rig.now_ms);
    let granted =
        rig.devices[ALICE].engine.act(circle, Action::Grant { guest: guest.clone(), expires_ms: now_ms }, now_ms);
    assert!(matches!(granted, Err(EngineError::DateHasPassed)), "{granted:?}");
    rig.settle();
    assert_eq!(rig.entry_ids(ALICE, circle), entries);
    rig.act(ALICE, circle, Action::Grant { guest, expires_ms: now_ms + 1_000_000 });
    rig.settle();
    rig.honest_exchange(circle);
}

/// Bob's own stay is over by his clock, and so is his writing: he would seal for somebody who he knows is out.
#[test]
fn a_guest_whose_date_has_passed_seals_nothing_for_who_was_removed() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let (removal, returns) = removal_and_return(&rig, BOB, circle);
    let Action::AddPerson { newcomer: guest, .. } = returns else { unreachable!("it is one") };
    rig.act(ALICE, circle, removal);
    rig.settle();
    rig.act(ALICE, circle, Action::Grant { guest, expires_ms: rig.now_ms + 60_000 });
    rig.now_ms += 30_000;
    rig.settle();
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    let (removal, _) = removal_and_return(&rig, CAROL, circle);
    rig.act(ALICE, circle, removal);
    // He hears of it from whoever is out, who hands on the operation and no commit.
    let log = &rig.devices[ALICE].engine.circles[&circle].log;
    let operations = log.operations().map(Operation::encode).collect();
    let farewell = crate::proto::invitation::Farewell { circle: circle.as_bytes().to_vec(), operations };
    let body = Some(crate::proto::invitation::join_frame::Body::Farewell(farewell));
    let frame = crate::proto::invitation::JoinFrame { invitation: vec![0; 16], attempt: 0, body }.encode_to_vec();
    rig.listen(BOB, CAROL);
    rig.now_ms += 60_000;
    rig.frame(CAROL, BOB, Channel::Join, &frame);
    rig.drain(BOB);
    let leaves = |rig: &Rig| crate::fuzzing::rogue::leaves(&rig.devices[BOB].engine, circle);
    assert!(leaves(&rig).contains(&rig.devices[CAROL].id), "no commit came, and it is no longer his turn to make one");
    let (entries, now_ms) = (rig.entry_ids(BOB, circle), rig.now_ms);
    let engine = &mut rig.devices[BOB].engine;
    let edit = engine.edit(circle, chat(circle), clave_crdt::DocumentKind::Timeline, now_ms, |_, _| Ok(()));
    assert!(edit.is_err(), "his stay is over");
    rig.settle();
    assert_eq!(rig.entry_ids(BOB, circle), entries);
}
