//! What a member, or somebody who was one, can do by operations and commits that are in order.

use clave_crypto::{DeviceKey, GroupKeyAgreement, Mls, RosterChange, Suite};

use super::rig::*;
use crate::entry::Body;
use crate::membership::{Action, KeyPackages, Operation};
use crate::proto::entry as proto;
use crate::{CircleId, Event, Refusal};

fn head(rig: &Rig, who: usize, circle: CircleId) -> crate::crypto::EpochId {
    rig.devices[who].engine.status(circle).expect("a member").epoch
}

fn heads(rig: &Rig, who: usize, circle: CircleId) -> Vec<Vec<u8>> {
    let log = &rig.devices[who].engine.circles[&circle].log;
    log.heads().iter().map(|id| id.as_bytes().to_vec()).collect()
}

/// A commit by `who` on their head, as they say it is: the entry, and the commit to lie about.
pub(super) fn commit(rig: &mut Rig, who: usize, circle: CircleId, change: &RosterChange) -> proto::Commit {
    let operations = heads(rig, who, circle);
    let device = DeviceKey::from_seed(rig.devices[who].key.seed().clone());
    let parent = rig.devices[who].engine.circles[&circle].group.head();
    let output = Mls.commit(&device, parent, change, &mut rig.entropy).expect("a commit can be made");
    let device_of = |package: &Vec<u8>| Mls.inspect_key_package(package).expect("it is one").device.as_bytes().to_vec();
    let added = change.add.iter().map(device_of).collect();
    proto::Commit {
        parent: parent.epoch.as_bytes().to_vec(),
        epoch: output.checkpoint.epoch.as_bytes().to_vec(),
        message: output.message,
        operations,
        adds: added,
        removes: change.remove.iter().map(|id| id.as_bytes().to_vec()).collect(),
        ..Default::default()
    }
}

#[test]
fn a_commit_that_removes_whom_the_log_did_not_is_refused_by_all() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let change = RosterChange { add: Vec::new(), remove: vec![rig.devices[CAROL].id] };
    let commit = commit(&mut rig, BOB, circle, &change);
    let before = head(&rig, ALICE, circle);
    let entry = rig.seal(BOB, circle, Body::Commit(commit));
    for who in [ALICE, CAROL] {
        rig.refuses(who, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, who, circle, vec![entry.clone()]));
        assert_eq!(head(&rig, who, circle), before);
    }
    assert!(!rig.devices[CAROL].events.contains(&Event::Removed { circle }));
    rig.honest_exchange(circle);
}

#[test]
fn a_commit_that_adds_whom_the_log_did_not_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob"]);
    let stranger = DeviceKey::generate(&mut rig.entropy);
    let package = Mls.key_package(&stranger, Suite::default(), false, &mut rig.entropy).public;
    let commit = commit(&mut rig, BOB, circle, &RosterChange { add: vec![package], remove: Vec::new() });
    let entry = rig.seal(BOB, circle, Body::Commit(commit));
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}

#[test]
fn a_commit_that_lies_about_its_epoch_or_its_author_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let sound = commit(&mut rig, BOB, circle, &RosterChange::default());
    let lie = proto::Commit { epoch: vec![7; 32], ..sound.clone() };
    let entry = rig.seal(BOB, circle, Body::Commit(lie));
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    let entry = rig.seal(CAROL, circle, Body::Commit(sound));
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(CAROL, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}

#[test]
fn a_commit_that_adds_nobody_comes_alone_and_is_little_longer_than_its_message() {
    let (mut rig, circle) = Rig::mls_team(&["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"]);
    for who in 0..10 {
        rig.renew(who, circle);
        rig.settle();
    }
    let person = rig.devices[9].engine.identity().person().expect("they are somebody");
    let made = |rig: &mut Rig, work: &dyn Fn(&mut Rig)| -> Vec<(usize, Option<usize>)> {
        let before = rig.entry_ids(ALICE, circle);
        work(rig);
        rig.drain(ALICE);
        let new = rig.entry_ids(ALICE, circle).into_iter().filter(|id| !before.contains(id));
        let sizes = new.map(|id| {
            let bytes = rig.stored(ALICE, crate::Keyspace::Entries, circle, id.as_bytes());
            let envelope = crate::entry::Envelope::decode(bytes.clone()).expect("it is stored");
            let key = rig.devices[ALICE].engine.circles[&circle].content_key(&envelope.tag).expect("her own");
            let message = match envelope.open(circle, key).expect("her own").body {
                // As openmls has it.
                Body::Commit(commit) => Some(commit.message.len() + 45),
                _ => None,
            };
            (bytes.len(), message)
        });
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort_by_key(|(_, message)| *message);
        sizes
    };
    let rotation = made(&mut rig, &|rig| rig.renew(ALICE, circle));
    let removal = made(&mut rig, &|rig| rig.act(ALICE, circle, Action::revoke_person(person)));
    println!("entries of a rotation {rotation:?}, of a removal {removal:?}, each with its MLS message");
    let [(bytes, Some(message))] = rotation[..] else { panic!("{rotation:?}") };
    assert!(bytes <= message + 300, "{bytes} for {message}");
    let [(operation, None), (bytes, Some(message))] = removal[..] else { panic!("{removal:?}") };
    assert!(operation <= 300 && bytes <= message + 340, "{operation}, and {bytes} for {message}");
}

#[test]
fn a_commit_sealed_anew_leads_nowhere_else() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob"]);
    rig.renew(BOB, circle);
    rig.settle();
    let before = head(&rig, ALICE, circle);
    assert_eq!(before, head(&rig, BOB, circle));
    for id in rig.entry_ids(BOB, circle) {
        let entry = rig.stored(BOB, crate::Keyspace::Entries, circle, id.as_bytes());
        let again = rig.reseal(BOB, circle, &entry);
        rig.give(BOB, ALICE, circle, vec![again]);
        rig.settle();
        assert_eq!(head(&rig, ALICE, circle), before);
    }
    rig.honest_exchange(circle);
}

#[test]
fn a_welcome_to_a_key_package_that_is_gone_is_kept_by_all_alike() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let [alice, bob] = [ALICE, BOB].map(|who| DeviceKey::from_seed(rig.devices[who].key.seed().clone()));
    // As when two answer one plea: nothing is left of the key package when the second answer comes.
    let package = Mls.key_package(&alice, Suite::default(), false, &mut rig.entropy).public;
    let own = Mls.create(&bob, circle.as_bytes(), Suite::default(), &mut rig.entropy);
    let change = RosterChange { add: vec![package], remove: Vec::new() };
    let message = Mls.commit(&bob, &own, &change, &mut rig.entropy).expect("it can").welcome.expect("one was added");
    let welcome = Body::Welcome(proto::Welcome { message, operations: Vec::new() });
    let (before, refusals) = (head(&rig, ALICE, circle), rig.refusals(ALICE));
    let entry = rig.seal_direct(BOB, ALICE, circle, welcome);
    rig.give(BOB, CAROL, circle, vec![entry]);
    for _ in 0..12 {
        rig.settle();
    }
    assert_eq!((head(&rig, ALICE, circle), rig.refusals(ALICE)), (before, refusals));
    assert_eq!(rig.entry_ids(ALICE, circle), rig.entry_ids(CAROL, circle));
    rig.honest_exchange(circle);
}

#[test]
fn a_welcome_by_another_than_its_author_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    // Bob founds a group of the same name and adds Alice; Carol says it is hers.
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let own = Mls.create(&device, circle.as_bytes(), Suite::default(), &mut rig.entropy);
    let alice = rig.devices[ALICE].id;
    let devices = &rig.devices[BOB].engine.membership(circle).expect("a member").devices;
    let package = devices[&alice].key_packages.last_resort.clone().expect("there is always one");
    let change = RosterChange { add: vec![package], remove: Vec::new() };
    let message = Mls.commit(&device, &own, &change, &mut rig.entropy).expect("it can").welcome.expect("one was added");
    let welcome = Body::Welcome(proto::Welcome { message, operations: Vec::new() });
    let before = head(&rig, ALICE, circle);
    let entry = rig.seal_direct(CAROL, ALICE, circle, welcome.clone());
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(CAROL, ALICE, circle, vec![entry]));
    // Once Bob is out, nobody follows him anywhere, not even under a key that he had.
    let entry = rig.seal_direct(BOB, ALICE, circle, welcome);
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    let person = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    rig.act(ALICE, circle, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() });
    rig.settle();
    assert_ne!(head(&rig, ALICE, circle), before);
    let before = head(&rig, ALICE, circle);
    rig.give(CAROL, ALICE, circle, vec![entry]);
    assert_eq!(head(&rig, ALICE, circle), before);
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

#[test]
fn a_commit_that_comes_before_the_welcome_to_where_it_starts_from_is_followed() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    // Carol joins on Bob's branch, which loses; while she is away she is added to the other.
    rig.disconnect(ALICE, BOB);
    rig.invite(BOB, circle, CAROL);
    rig.renew(ALICE, circle);
    rig.renew(ALICE, circle);
    rig.disconnect(BOB, CAROL);
    rig.disconnect(ALICE, CAROL);
    rig.connect(ALICE, BOB);
    rig.settle();
    rig.renew(ALICE, circle);
    rig.settle();
    assert_ne!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
    let known = rig.entry_ids(CAROL, circle);
    let news = rig.entry_ids(ALICE, circle).into_iter().filter(|id| !known.contains(id)).collect::<Vec<_>>();
    let entries = news.into_iter().map(|id| rig.stored(ALICE, crate::Keyspace::Entries, circle, id.as_bytes()));
    let tag = crate::entry::direct_tag(circle, &rig.devices[CAROL].id);
    let is_welcome = |entry: &Vec<u8>| crate::entry::Envelope::decode(entry.clone()).is_ok_and(|it| it.tag == tag);
    let (welcomes, others): (Vec<_>, Vec<_>) = entries.partition(is_welcome);
    let keys = rig.devices[ALICE].engine.circles[&circle].history();
    let key = |(epoch, key): (crate::crypto::EpochId, &clave_crypto::ContentKey)| proto::ContentKey {
        epoch: epoch.as_bytes().to_vec(),
        key: key.as_bytes().to_vec(),
        lasting: key.is_lasting(),
    };
    let keys = Body::Keys(proto::KeyBundle {
        keys: keys.map(key).collect(),
        operations: Vec::new(),
        given: Vec::new(),
        log: Vec::new(),
    });
    let keys = rig.seal_direct(ALICE, CAROL, circle, keys);
    rig.listen(CAROL, ALICE);
    rig.give(ALICE, CAROL, circle, vec![keys]);
    rig.give(ALICE, CAROL, circle, others);
    // It outlives a restart that the commit was seen.
    rig.reopen(CAROL);
    assert!(!welcomes.is_empty());
    rig.listen(CAROL, ALICE);
    rig.give(ALICE, CAROL, circle, welcomes);
    assert_eq!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
}

#[test]
fn bad_key_packages_of_one_device_do_not_keep_the_roster_from_following_the_log() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol", "Mallory"]);
    let (circle, mallory) = (rig.create(ALICE), 3);
    rig.invite(ALICE, circle, BOB);
    rig.invite(ALICE, circle, CAROL);
    // Mallory joins on Bob's branch, which loses: Alice has to add him to hers by the key packages that he published.
    rig.disconnect(ALICE, BOB);
    rig.invite(BOB, circle, mallory);
    let stranger = DeviceKey::generate(&mut rig.entropy);
    let last_resort = Some(Mls.key_package(&stranger, Suite::default(), true, &mut rig.entropy).public);
    // One that is his, and of a suite that this circle is not.
    let device = DeviceKey::from_seed(rig.devices[mallory].key.seed().clone());
    let other_suite = Mls.key_package(&device, Suite::XWing, false, &mut rig.entropy).public;
    let key_packages = KeyPackages { single_use: vec![b"garbage".to_vec(), other_suite], last_resort, x_wing: None };
    rig.act(mallory, circle, Action::PublishKeyPackages { key_packages });
    rig.settle();
    for _ in 0..3 {
        rig.renew(ALICE, circle);
        rig.settle();
    }
    rig.connect(ALICE, BOB);
    rig.settle();
    let leaves = |rig: &Rig, who: usize| rig.devices[who].engine.circles[&circle].group.head().leaves.clone();
    let membership = rig.devices[ALICE].engine.membership(circle).expect("a member");
    assert!(membership.devices.contains_key(&rig.devices[mallory].id));
    assert_eq!(leaves(&rig, ALICE).len(), 3);
    let engine = &rig.devices[ALICE].engine;
    assert!(engine.circles[&circle].difference(&engine.desk).add.is_empty(), "none of his is of use");
    // He is no leaf, so he does not get the key of the head either: nobody would change it for his removal.
    rig.connect(ALICE, mallory);
    for _ in 0..20 {
        rig.settle();
    }
    assert!(!rig.key_names(mallory, circle).contains(&rig.tag(ALICE, circle)));
    // The roster goes on following the log, and nobody refuses the commits that it takes.
    let person = rig.devices[CAROL].engine.identity().person().expect("he is somebody");
    rig.disconnect(ALICE, CAROL);
    rig.act(ALICE, circle, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() });
    rig.settle();
    assert_eq!(leaves(&rig, ALICE).len(), 2);
    assert_eq!(leaves(&rig, BOB), leaves(&rig, ALICE));
    assert!(!rig.refusals(BOB).contains_key(&Refusal::UnjustifiedCommit));
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn a_circle_with_more_operations_than_may_wait_opens_again() {
    let (mut rig, circle) = Rig::pair();
    for n in 0..1_100 {
        rig.act(ALICE, circle, Action::Rename { name: format!("Team {n}") });
    }
    rig.settle();
    rig.reopen(ALICE);
    assert_eq!(rig.devices[ALICE].engine.membership(circle).expect("a member").name, "Team 1099");
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

#[test]
fn operations_whose_causes_never_come_do_not_keep_the_store_from_opening() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    // As many as may wait, and then some by another author, each of which makes room for itself.
    for (author, count) in [(BOB, 1_024), (CAROL, 40)] {
        let entries = (0..count)
            .map(|n: u32| {
                let parent = *blake3::hash(&n.to_be_bytes()).as_bytes();
                let parents = vec![crate::OperationId::from_bytes(parent)];
                let action = Action::Rename { name: n.to_string() };
                let operation = Operation::sign(&rig.devices[author].key, parents, 0, action);
                rig.seal(author, circle, Body::Operation(operation.encode()))
            })
            .collect();
        rig.give(author, ALICE, circle, entries);
        rig.drain(ALICE);
    }
    assert_eq!(rig.devices[ALICE].engine.circles[&circle].log.pending(), 1_024);
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

#[test]
fn an_operation_of_another_circle_or_by_a_stranger_is_refused() {
    let (mut rig, circle) = Rig::pair();
    let other = rig.create(BOB);
    let foreign = rig.devices[BOB].engine.circles[&other].log.operations().next().expect("a genesis").encode();
    let entry = rig.seal(BOB, circle, Body::Operation(foreign));
    rig.refuses(ALICE, Refusal::WrongCircle, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    let stranger = DeviceKey::generate(&mut rig.entropy);
    let parents = rig.devices[ALICE].engine.circles[&circle].log.heads();
    let operation = Operation::sign(&stranger, parents, 0, Action::Rename { name: "Mine".to_owned() });
    let entry = rig.seal(BOB, circle, Body::Operation(operation.encode()));
    rig.refuses(ALICE, Refusal::NotAllowed, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    let mut altered = operation.encode();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let entry = rig.seal(BOB, circle, Body::Operation(altered));
    rig.refuses(ALICE, Refusal::BadSignature, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    rig.honest_exchange(circle);
}

#[test]
fn who_was_removed_is_heard_no_more() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let person = rig.devices[CAROL].engine.identity().person().expect("he is somebody");
    let old = rig.head_key(CAROL, circle);
    rig.act(ALICE, circle, Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() });
    rig.settle();
    let entry = rig.seal_under(CAROL, circle, &old, Body::Operation(Vec::new()));
    rig.refuses(ALICE, Refusal::NotAMember, |rig| rig.give(CAROL, ALICE, circle, vec![entry]));
    assert!(rig.devices[CAROL].engine.circles[&circle].content_key(&rig.tag(ALICE, circle)).is_none());
    rig.honest_exchange_of(circle, &[ALICE, BOB]);
}

// Pleas.

/// How many entries for one device alone `who` has.
fn direct_to(rig: &Rig, who: usize, circle: CircleId, recipient: usize) -> usize {
    let tag = crate::entry::direct_tag(circle, &rig.devices[recipient].id);
    let ids = rig.entry_ids(who, circle).into_iter();
    let entries = ids.map(|id| rig.stored(who, crate::Keyspace::Entries, circle, id.as_bytes()));
    entries.filter(|entry| crate::entry::Envelope::decode(entry.clone()).is_ok_and(|it| it.tag == tag)).count()
}

fn plea(rig: &mut Rig, from: usize, tags: Vec<Vec<u8>>) -> proto::Plea {
    let key = DeviceKey::from_seed(rig.devices[from].key.seed().clone());
    let key_package = Mls.key_package(&key, Suite::default(), false, &mut rig.entropy).public;
    proto::Plea { epoch: vec![9; 32], depth: 0, tags, key_package, operations: Vec::new(), astray: false }
}

#[test]
fn a_device_that_cannot_follow_the_head_gets_a_new_leaf() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    // Carol joins on Bob's branch, which loses, and has lost what she needs to be added to the other.
    rig.disconnect(ALICE, BOB);
    rig.invite(BOB, circle, CAROL);
    rig.disconnect(BOB, CAROL);
    let mut batch = crate::Batch::default();
    for key in rig.store(CAROL).into_keys().filter(|key| key.keyspace == crate::Keyspace::KeyPackages) {
        batch.remove(key);
    }
    rig.devices[CAROL].store.write(&batch);
    rig.reopen(CAROL);
    rig.renew(ALICE, circle);
    rig.renew(ALICE, circle);
    rig.connect(ALICE, BOB);
    rig.settle();
    rig.connect(ALICE, CAROL);
    rig.connect(BOB, CAROL);
    rig.settle();
    assert_ne!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
    for _ in 0..6 {
        rig.settle();
    }
    assert_eq!(head(&rig, CAROL, circle), head(&rig, ALICE, circle));
    assert_eq!(rig.entry_ids(CAROL, circle), rig.entry_ids(ALICE, circle));
    rig.honest_exchange(circle);
}

#[test]
fn pleas_all_day_cost_a_bounded_answer() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let tag = rig.tag(ALICE, circle).as_bytes().to_vec();
    rig.disconnect(ALICE, BOB);
    rig.listen(ALICE, BOB);
    for _ in 0..40 {
        let plea = plea(&mut rig, BOB, vec![tag.clone()]);
        let entry = rig.seal_direct(BOB, ALICE, circle, Body::Plea(plea));
        rig.give(BOB, ALICE, circle, vec![entry]);
        rig.drain(ALICE);
    }
    // Keys and a Welcome for each plea that was answered.
    assert_eq!(direct_to(&rig, ALICE, circle, BOB), 2 * crate::PLEA_ANSWERS_MAX as usize);
    let plea = plea(&mut rig, BOB, vec![tag; crate::PLEA_KEYS_MAX + 1]);
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Plea(plea));
    rig.refuses(ALICE, Refusal::Oversized, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
}

#[test]
fn a_plea_of_who_was_removed_or_with_anothers_key_package_brings_nothing() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let before = head(&rig, ALICE, circle);
    let foreign =
        proto::Plea { key_package: plea(&mut rig, CAROL, Vec::new()).key_package, ..plea(&mut rig, BOB, Vec::new()) };
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Plea(foreign));
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!((head(&rig, ALICE, circle), direct_to(&rig, ALICE, circle, BOB)), (before, 0));
    let tag = rig.tag(ALICE, circle).as_bytes().to_vec();
    let person = rig.devices[BOB].engine.identity().person().expect("he is somebody");
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    let removal = Action::RevokePerson { person, keep_heads: Vec::new(), keep_changes: Vec::new() };
    rig.act(ALICE, circle, removal);
    rig.settle();
    let plea = plea(&mut rig, BOB, vec![tag]);
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Plea(plea));
    rig.give(CAROL, ALICE, circle, vec![entry]);
    // The plea is carried like any entry of somebody who may not know yet. Nothing answers it.
    assert_eq!(direct_to(&rig, ALICE, circle, BOB), 0);
    rig.honest_exchange_of(circle, &[ALICE, CAROL]);
}

#[test]
fn a_commit_that_lies_about_whom_it_renews_is_refused() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    let carol = rig.devices[CAROL].id;
    let sound = commit(&mut rig, BOB, circle, &RosterChange::default());
    let lie = proto::Commit { renews: vec![carol.as_bytes().to_vec()], ..sound };
    let entry = rig.seal(BOB, circle, Body::Commit(lie));
    rig.refuses(ALICE, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
    // Carol gets a new leaf without a word about it.
    let add = vec![plea(&mut rig, CAROL, Vec::new()).key_package];
    let silent = commit(&mut rig, BOB, circle, &RosterChange { add, remove: vec![carol] });
    assert!(silent.renews.is_empty());
    let entry = rig.seal(BOB, circle, Body::Commit(silent));
    for who in [ALICE, CAROL] {
        rig.refuses(who, Refusal::UnjustifiedCommit, |rig| rig.give(BOB, who, circle, vec![entry.clone()]));
    }
    rig.honest_exchange(circle);
}

#[test]
fn a_key_is_handed_on_only_once_all_is_known_that_its_giver_knew() {
    let (mut rig, circle) = Rig::team(&["Alice", "Bob", "Carol"]);
    let key = clave_crypto::ContentKey::from_bytes([7; 32].into());
    let of = |operations| {
        let keys = vec![proto::ContentKey { epoch: vec![1; 32], key: vec![7; 32], lasting: false }];
        Body::Keys(proto::KeyBundle { keys, operations, given: Vec::new(), log: Vec::new() })
    };
    let has = |rig: &Rig, who: usize| rig.devices[who].engine.circles[&circle].content_key(&key.key_id()).is_some();
    let entry = rig.seal_direct(BOB, ALICE, circle, of(vec![vec![8; 32]]));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert!(has(&rig, ALICE) && !has(&rig, CAROL));
    // It outlives a restart; and whoever gives it with nothing that is missing here lifts it.
    rig.reopen(ALICE);
    rig.connect(ALICE, BOB);
    rig.connect(ALICE, CAROL);
    rig.settle();
    assert!(!has(&rig, CAROL));
    let operations = heads(&rig, BOB, circle);
    let entry = rig.seal_direct(BOB, ALICE, circle, of(operations));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert!(has(&rig, CAROL));
}

#[test]
fn who_is_drawn_onto_a_private_group_is_not_lost_to_the_others() {
    let (mut rig, circle) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    // Bob founds a group of the same name with all who are in, far deeper than the true one, and lets only Alice know.
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let mut checkpoint = Mls.create(&device, circle.as_bytes(), Suite::default(), &mut rig.entropy);
    for _ in 0..20 {
        let renewed = Mls.commit(&device, &checkpoint, &RosterChange::default(), &mut rig.entropy);
        checkpoint = renewed.expect("it can").checkpoint;
    }
    let others = [ALICE, CAROL].map(|who| rig.devices[who].id);
    let devices = &rig.devices[BOB].engine.membership(circle).expect("a member").devices;
    let package = |device| devices[&device].key_packages.last_resort.clone().expect("there is always one");
    let change = RosterChange { add: others.into_iter().map(package).collect(), remove: Vec::new() };
    let output = Mls.commit(&device, &checkpoint, &change, &mut rig.entropy).expect("it can");
    let (message, operations) = (output.welcome.expect("some were added"), heads(&rig, BOB, circle));
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Welcome(proto::Welcome { message, operations }));
    rig.disconnect(ALICE, BOB);
    rig.disconnect(BOB, CAROL);
    rig.listen(ALICE, BOB);
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.drain(ALICE);
    assert_eq!(head(&rig, ALICE, circle), output.checkpoint.epoch);
    rig.post(ALICE, circle, "from nowhere");
    rig.connect(BOB, CAROL);
    for _ in 0..24 {
        rig.settle();
    }
    // They plead for the key of what she wrote, and are brought to where she is.
    for who in [ALICE, BOB, CAROL] {
        assert_eq!(head(&rig, who, circle), head(&rig, ALICE, circle), "{who}");
        assert_eq!(rig.messages(who, circle), ["from nowhere"], "{who}");
    }
    rig.connect(ALICE, BOB);
    rig.honest_exchange(circle);
}

/// Bob brings Carol in, not knowing that Alice forbade it, and gives her all keys. Alice hears of the operation only: the
/// commit stays with Bob.
#[test]
fn the_head_changes_for_somebody_who_never_was_in_rightly() {
    let mut rig = Rig::with_mls(&["Alice", "Bob", "Carol"]);
    let circle = rig.create(ALICE);
    rig.invite(ALICE, circle, BOB);
    rig.settle();
    rig.disconnect(ALICE, BOB);
    let (key, value) = (crate::membership::MEMBERS_MAY_INVITE.to_owned(), "false".to_owned());
    rig.act(ALICE, circle, Action::SetPolicy { key, value, keep_heads: Vec::new() });
    let before = head(&rig, ALICE, circle);
    rig.connect(BOB, CAROL);
    rig.invite(BOB, circle, CAROL);
    rig.settle();
    let carol = rig.devices[CAROL].id;
    assert!(rig.devices[BOB].engine.membership(circle).expect("a member").devices.contains_key(&carol));
    let log = &rig.devices[BOB].engine.circles[&circle].log;
    let operation = log
        .operations()
        .find(|operation| operation.action().introduces().1.iter().any(|entry| entry.device() == carol));
    let operation = operation.expect("Bob wrote it").encode();
    let key = rig.head_key(ALICE, circle);
    let entry = rig.seal_under(BOB, circle, &key, Body::Operation(operation));
    rig.listen(ALICE, BOB);
    rig.give(BOB, ALICE, circle, vec![entry]);
    assert_eq!(head(&rig, ALICE, circle), before);
    rig.post(ALICE, circle, "not for Carol");
    assert_ne!(head(&rig, ALICE, circle), before, "Carol may have the key of that");
    let now = head(&rig, ALICE, circle);
    rig.post(ALICE, circle, "nor this");
    assert_eq!(head(&rig, ALICE, circle), now, "once is enough");
}
