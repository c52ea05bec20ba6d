//! That each check can fail: a sound world, and one hand that tampers with it.

use clave_engine::crdt::DocumentKind;
use clave_engine::crypto::{DeviceKey, Entropy, PersonKey};
use clave_engine::fuzzing::rogue::{Rogue, Said};
use clave_engine::membership::{Action, DeviceEntry, KeyPackages, Operation, PersonEntry, Role, Scope};
use clave_engine::{Batch, Channel, CircleId, Key, Keyspace, StoreRead as _, inspect_circle};

use super::*;
use crate::world::people::chat;
use crate::{Agreement, Livelock, Network, Written};

mod held;
mod lies;

/// Alice, Bob and Carol, who wrote something each, and of whom none sits on another epoch than the others.
fn team() -> (World, [Who; 3], CircleId) {
    let mut world = World::with(1, Agreement::SealedSecret, Network::default());
    let people = [world.alice(), world.bob(), world.carol()];
    let team = world.create_space(people[0], "Team");
    for guest in &people[1..] {
        world.invite(people[0], team, *guest);
        world.settle().expect("nobody is busy");
    }
    for who in people {
        let text = world.fresh_text(who);
        world.post(who, team, &text);
    }
    world.settle().expect("nobody is busy");
    assert_eq!(world.faults(team), Vec::<String>::new());
    (world, people, team)
}

/// The checks that fail.
fn failing(world: &mut World, circle: CircleId) -> BTreeSet<Check> {
    let faults = world.faults(circle);
    let check = |fault: &String| {
        let named = |check: &&Check| fault.starts_with(&format!("{check}: "));
        *Check::ALL.iter().find(named).expect("every fault begins with the name of a check")
    };
    faults.iter().map(check).collect()
}

/// What is on a disk, by keyspace.
fn records(world: &World, who: Who, keyspace: Keyspace, scope: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    let read = &mut |suffix: &[u8], value: Vec<u8>| {
        records.push((suffix.to_vec(), value));
        true
    };
    world.device(who).disk.scan(keyspace, scope, &[], read).expect("memory can be read");
    records
}

fn write(world: &World, who: Who, key: Key, value: Option<Vec<u8>>) {
    world.device(who).disk.write(&[(key, value)].into_iter().collect());
}

fn reopen(world: &mut World, who: Who) {
    world.crash_keeping(who, 0);
    world.restart(who);
}

#[test]
fn a_world_in_which_somebody_still_writes_is_not_at_rest() {
    let (mut world, [alice, ..], team) = team();
    world.post(alice, team, "busy");
    let Err(Livelock { busy }) = world.settle_within(100) else { panic!("two have it to write still") };
    assert!(!busy.is_empty());
    assert_eq!(world.settle(), Ok(()));
}

#[test]
fn what_waits_for_a_relay_that_is_there_is_found() {
    let (mut world, [alice, ..], team) = team();
    let relay = world.add_relay();
    world.use_relays(alice, team, &[relay]);
    world.settle().expect("nobody is busy");
    world.post(alice, team, "wird verwahrt");
    world.settle().expect("nobody is busy");
    assert_eq!(world.faults(team), Vec::<String>::new());
    world.relay_mut(relay).refuses_puts = Some(clave_mailbox::Reason::Internal);
    world.post(alice, team, "wartet");
    world.settle().expect("nobody is busy");
    // Nobody asks that of a relay that does not serve.
    assert_eq!(world.faults(team), Vec::<String>::new());
    world.relay_mut(relay).refuses_puts = None;
    assert_eq!(failing(&mut world, team), [Check::Stored].into());
}

#[test]
fn two_who_did_not_meet_have_two_rosters_and_two_heads() {
    let (mut world, [alice, bob, _], team) = team();
    world.isolate(bob);
    let dave = world.dave();
    world.invite(alice, team, dave);
    world.pass(10_000);
    let failing = failing(&mut world, team);
    for check in [Check::OneRoster, Check::OneHead, Check::SameEntries] {
        assert!(failing.contains(&check), "{failing:?}");
    }
}

#[test]
fn one_head_with_two_secrets_is_found() {
    let (mut world, [_, bob, _], team) = team();
    let head = world.engine(bob).status(team).expect("a member");
    for (suffix, mut record) in records(&world, bob, Keyspace::ContentKeys, team.as_bytes()) {
        if suffix == head.key.as_bytes() {
            // The key is a field of 32 bytes behind that of the epoch.
            record[2 + 32 + 2] ^= 1;
            write(&world, bob, Key::new(Keyspace::ContentKeys, team.as_bytes(), suffix), Some(record));
        }
    }
    reopen(&mut world, bob);
    let failing = failing(&mut world, team);
    assert!(failing.contains(&Check::OneSecret), "{failing:?}");
}

#[test]
fn who_lost_the_circle_is_missed() {
    let (mut world, [_, bob, _], team) = team();
    write(&world, bob, Key::new(Keyspace::Circles, [], team.as_bytes()), None);
    reopen(&mut world, bob);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::EverybodyIn]));
}

#[test]
fn who_is_in_the_log_and_in_no_epoch_is_found() {
    let (mut world, [alice, ..], team) = team();
    // Dave exists, and was never asked: nobody has a key package of his that works.
    let dave = world.dave();
    let mut entropy = Entropy::from_seed([1; 32]);
    let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let entry = DeviceEntry::new(&person, &device, "phone", KeyPackages::default());
    let newcomer = PersonEntry {
        person: person.id(),
        name: "Dave".to_owned(),
        devices: vec![entry],
        invitation: None,
        recovery: None,
    };
    world.rename_device(dave, device.id());
    world.act(alice, team, Action::AddPerson { newcomer, role: Role::Member }).expect("an owner may");
    world.settle().expect("nobody is busy");
    // He refuses to hear of a circle that he knows nothing of.
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::EverybodyIn, Check::Leaves, Check::NoRefusal]));
}

#[test]
fn an_entry_that_is_gone_is_missed() {
    let (mut world, [_, bob, _], team) = team();
    let (suffix, _) = records(&world, bob, Keyspace::Entries, team.as_bytes()).pop().expect("there are some");
    write(&world, bob, Key::new(Keyspace::Entries, team.as_bytes(), suffix), None);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SameEntries, Check::Sound]));
}

#[test]
fn a_record_that_does_not_name_the_bundles_that_are_here_is_found_and_mended() {
    let mut world = World::new(3).with_bundles();
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    for number in 0..12 {
        world.post(if number % 2 == 0 { alice } else { bob }, team, &format!("你好 {number}"));
        world.pass(3_000);
    }
    world.settle().expect("nobody is busy");
    assert_eq!(world.faults(team), Vec::<String>::new());
    let name = [chat(team).as_bytes().as_slice(), &[DocumentKind::Timeline.number()]].concat();
    let record = Key::new(Keyspace::Documents, team.as_bytes(), name);
    let scope = [team.as_bytes().as_slice(), chat(team).as_bytes(), &[DocumentKind::Timeline.number()]].concat();
    // Neither the record, nor the snapshot, nor changes: all there is is the bundle.
    write(&world, bob, record, None);
    write(&world, bob, Key::new(Keyspace::Snapshots, &*scope, []), None);
    for (suffix, _) in records(&world, bob, Keyspace::Changes, &scope) {
        write(&world, bob, Key::new(Keyspace::Changes, &*scope, suffix), None);
    }
    assert!(failing(&mut world, team).contains(&Check::Sound));
    let disk = world.device(bob).disk.clone();
    let report = inspect_circle(&*disk, team, &mut |_| {}).expect("memory can be read");
    disk.write(&report.repair);
    reopen(&mut world, bob);
    world.settle().expect("nobody is busy");
    assert_eq!(world.faults(team), Vec::<String>::new());
    assert_eq!(world.messages(bob, team).len(), 12);
}

#[test]
fn a_document_that_lacks_a_change_is_found() {
    let (mut world, [_, bob, _], team) = team();
    let scope = [team.as_bytes().as_slice(), chat(team).as_bytes(), &[DocumentKind::Timeline.number()]].concat();
    let (suffix, _) = records(&world, bob, Keyspace::Changes, &scope).pop().expect("three posted");
    write(&world, bob, Key::new(Keyspace::Changes, &*scope, suffix), None);
    reopen(&mut world, bob);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SameDocuments, Check::Views, Check::Sound]));
}

#[test]
fn a_view_that_does_not_follow_from_its_document_is_found() {
    let (mut world, [_, bob, _], team) = team();
    let (suffix, _) = records(&world, bob, Keyspace::Views, team.as_bytes()).pop().expect("three posted");
    write(&world, bob, Key::new(Keyspace::Views, team.as_bytes(), suffix), Some(Vec::new()));
    reopen(&mut world, bob);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Views]));
}

#[test]
fn an_entry_that_waits_for_a_key_that_another_has_is_found() {
    let (mut world, [_, bob, _], team) = team();
    let (suffix, bytes) = records(&world, bob, Keyspace::Entries, team.as_bytes()).pop().expect("there are some");
    let tag = inside::tag(&bytes).expect("an entry").as_bytes().to_vec();
    write(&world, bob, Key::new(Keyspace::Held, team.as_bytes(), suffix), Some(tag));
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Readable, Check::SameEntries]));
}

#[test]
fn what_was_acknowledged_and_is_not_there_is_missed() {
    let (mut world, [_, bob, _], circle) = team();
    let content = Content::Text("never said".to_owned());
    let written = Written { circle, document: chat(circle), kind: DocumentKind::Timeline, content };
    world.acknowledge(bob, written);
    assert_eq!(failing(&mut world, circle), BTreeSet::from([Check::NothingLost]));
}

#[test]
fn who_changes_nothing_is_not_asked_for_what_others_wrote() {
    let (mut world, [alice, bob, carol], team) = team();
    world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
    world.remove(alice, team, carol).expect("an owner may");
    world.splice(carol, team, 0, 0, "Carol was here").expect("she knows of nothing");
    world.pass(10_000);
    world.splice(bob, team, 0, 0, "").expect("a member may");
    world.heal();
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
}

/// Bob brings Carol back before he hears that he is out himself. Nobody who is in ever learns of it.
#[test]
fn whom_somebody_brought_back_before_they_heard_of_their_own_removal_may_have_what_they_had() {
    let (mut world, [alice, bob, carol], team) = team();
    world.isolate(carol);
    world.remove(alice, team, carol).expect("an owner may");
    world.pass(5_000);
    world.partition(&[(alice, 1), (bob, 2), (carol, 3)]);
    world.pass(5_000);
    world.bring_back(bob, team, carol).expect("a member may");
    world.remove(alice, team, bob).expect("an owner may");
    world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
    world.pass(30_000);
    assert!(world.members(team).contains(&carol));
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // What comes after Bob's own removal is not his to give.
    let head = world.engine(alice).status(team).expect("a member").key;
    let (suffix, record) = records(&world, alice, Keyspace::ContentKeys, team.as_bytes())
        .into_iter()
        .find(|(suffix, _)| suffix == head.as_bytes())
        .expect("it is kept");
    let key = Key::new(Keyspace::ContentKeys, team.as_bytes(), suffix);
    write(&world, carol, key.clone(), Some(record));
    let faults = world.faults(team);
    assert!(faults.iter().any(|fault| fault.contains("though the commit by Alice cites the removal")), "{faults:?}");
    write(&world, carol, key, None);
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Had nobody brought her back, the others would be found as well.
    let operations = records(&world, bob, Keyspace::Operations, team.as_bytes());
    for (suffix, bytes) in operations {
        let operation = Operation::decode(&bytes).expect("it was filed");
        if operation.author() == world.device(bob).id && matches!(operation.action(), Action::AddPerson { .. }) {
            for who in [bob, carol] {
                write(&world, who, Key::new(Keyspace::Operations, team.as_bytes(), suffix.clone()), None);
            }
        }
    }
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::LaterKeys]));
}

/// Carol brings Dave back, and Bob removes Carol at the same time. Alice has removed Bob, which nobody of them knows.
fn removed_by_who_was_removed() -> (World, [Who; 5], CircleId) {
    let (mut world, [alice, bob, carol], team) = team();
    let [dave, erin] = [world.dave(), world.add("Erin")];
    for newcomer in [dave, erin] {
        world.invite(alice, team, newcomer);
        world.settle().expect("nobody is busy");
    }
    world.set_role(alice, team, bob, Role::Owner).expect("an owner may");
    world.settle().expect("nobody is busy");
    world.remove(alice, team, dave).expect("an owner may");
    world.settle().expect("nobody is busy");
    world.partition(&[(alice, 1), (bob, 2), (carol, 3), (erin, 3), (dave, 4)]);
    world.pass(5_000);
    world.remove(alice, team, bob).expect("an owner may");
    world.bring_back(carol, team, dave).expect("a member may");
    world.remove(bob, team, carol).expect("he knows of nothing");
    world.pass(5_000);
    world.partition(&[(alice, 1), (bob, 2), (carol, 3), (erin, 2), (dave, 4)]);
    world.pass(30_000);
    (world, [alice, bob, carol, dave, erin], team)
}

/// Bob's commits cite both what brought Dave back and what set that aside. What counts is what came of it once Bob's removal
/// of Carol was void itself.
#[test]
fn who_was_brought_back_by_what_counts_again_may_have_what_others_had() {
    let (mut world, [alice, bob, _, dave, erin], team) = removed_by_who_was_removed();
    let device = world.device(dave).id;
    let log = inside::log(world.engine(erin), team).expect("a member");
    let admission = |operation: &&Operation| rights::admits(operation).contains(&device);
    assert_eq!(log.operations().filter(admission).count(), 2);
    assert!(!log.membership().devices.contains_key(&device));
    let head = world.engine(erin).status(team).expect("a member").key;
    world.partition(&[(alice, 1), (bob, 2), (dave, 1), (erin, 1)]);
    world.pass(60_000);
    world.heal();
    world.settle().expect("nobody is busy");
    assert!(world.members(team).contains(&dave));
    let keys = records(&world, dave, Keyspace::ContentKeys, team.as_bytes());
    assert!(keys.iter().any(|(suffix, _)| suffix == head.as_bytes()));
    assert_eq!(failing(&mut world, team), BTreeSet::new());
}

#[test]
fn who_is_out_is_told_without_what_came_later() {
    let (mut world, [_, bob, carol, dave, erin], team) = removed_by_who_was_removed();
    let [by, person] = [world.device(bob).id, world.device(dave).id];
    let of = world.device(carol).person;
    let log = inside::log(world.engine(erin), team).expect("a member");
    let removes = |operation: &&Operation| {
        operation.author() == by && matches!(operation.action(), Action::RevokePerson { person, .. } if *person == of)
    };
    let removal = log.operations().find(removes).expect("she heard of it").id();
    // What removed Dave is older; that it counts again is new.
    assert!(watch::is_out(log, person, &BTreeSet::new()));
    assert!(!watch::is_out(log, person, &BTreeSet::from([removal])));
}

#[test]
fn a_later_key_with_somebody_removed_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.remove(alice, team, carol).expect("an owner may");
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Not the key of the head only: a commit comes after.
    let [before, after] = [false, true].map(|later| {
        if later {
            world.remove(alice, team, bob).expect("an owner may");
            world.settle().expect("nobody is busy");
        }
        world.engine(alice).status(team).expect("a member").key
    });
    assert_ne!(before, after);
    for (suffix, record) in records(&world, alice, Keyspace::ContentKeys, team.as_bytes()) {
        if suffix == before.as_bytes() {
            write(&world, carol, Key::new(Keyspace::ContentKeys, team.as_bytes(), suffix), Some(record));
        }
    }
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::LaterKeys]));
}

#[test]
fn something_sealed_for_who_was_removed_is_found() {
    let (mut world, [alice, _, carol], team) = team();
    let rogue = Rogue::of(world.engine(alice), team).expect("a member");
    world.remove(alice, team, carol).expect("an owner may");
    world.settle().expect("nobody is busy");
    let key = rogue.key(&rogue.head).expect("the head of that time");
    let change = Said::Changes { document: chat(team), kind: 1, changes: Vec::new() };
    let mut entropy = Entropy::from_seed([1; 32]);
    let now_ms = world.wall_clock_ms();
    let sealed = rogue.seal(&key, rogue.id(), change, now_ms, &mut entropy).expect("it is small");
    world.look_at_entry(alice, team, &sealed.bytes, &std::collections::BTreeSet::new());
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SendGate]));
}

#[test]
fn a_rogue_that_did_what_only_an_owner_may_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.set_role(alice, team, carol, Role::Owner).expect("an owner may");
    world.set_role(alice, team, bob, Role::Admin).expect("an owner may");
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    world.turn_rogue(alice);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::NoRightGained]));
}

#[test]
fn what_a_rogue_did_beside_its_removal_is_found_if_it_stands() {
    let (mut world, [alice, bob, carol], team) = team();
    let heads = inside::log(world.engine(alice), team).expect("a member").heads();
    world.remove(alice, team, carol).expect("an owner may");
    world.settle().expect("nobody is busy");
    world.turn_rogue(carol);
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Something at the same time: the evaluation sets it aside. If it did not, the check would tell.
    let (device, person) = (world.device(carol).id, world.device(carol).person);
    let rogue = Rogue::of(world.engine(carol), team).expect("it was a member");
    let action = Action::SetProfile { person, name: "Still here".to_owned() };
    let operation = Operation::sign(rogue.device(), heads, 0, action);
    let said = Said::Operation(operation.encode());
    let (key, mut entropy) = (rogue.key(&rogue.head).expect("its head"), Entropy::from_seed([1; 32]));
    let sealed = rogue.seal(&key, device, said, world.wall_clock_ms(), &mut entropy).expect("it is small");
    world.turn_rogue(bob);
    let peer = world.device(alice).id;
    world.send(bob, peer, Channel::Sync, rogue::entries_frame(team, vec![sealed.bytes]));
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let log = inside::log(world.engine(alice), team).expect("a member");
    let aside = |log: &clave_engine::membership::Log| {
        log.membership().set_aside.iter().map(|aside| aside.operation).collect::<BTreeSet<_>>()
    };
    assert_eq!(aside(log), BTreeSet::from([operation.id()]));
    assert_eq!(rights::beside_a_removal(log, &aside(log), device, person), []);
    assert_eq!(rights::beside_a_removal(log, &BTreeSet::new(), device, person), [operation.id()]);
}

#[test]
fn a_refusal_among_the_honest_is_found() {
    let (mut world, [alice, bob, _], team) = team();
    let peer = world.device(alice).id;
    world.send(bob, peer, Channel::Sync, vec![255; 10]);
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::NoRefusal]));
}

#[test]
fn a_membership_that_the_rules_do_not_give_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.set_role(alice, team, bob, Role::Admin).expect("an owner may");
    world.settle().expect("nobody is busy");
    world.remove(bob, team, carol).expect("an admin may");
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let log = inside::log(world.engine(alice), team).expect("a member");
    let operations: Vec<Operation> = log.operations().cloned().collect();
    let sound = log.membership().clone();
    let whole = crate::oracle::evaluate(&operations);
    assert_eq!(verdicts::differs(&whole, &sound), None);
    // The evaluator cannot be made to err from outside: so what it found is altered, each part at a time.
    let (person, device) = (world.device(bob).person, world.device(bob).id);
    let altered: [&dyn Fn(&mut clave_engine::membership::Membership); 4] = [
        &|membership| membership.people.get_mut(&person).expect("Bob is in").role = Role::Owner,
        &|membership| _ = membership.devices.remove(&device),
        &|membership| membership.stays.clear(),
        &|membership| {
            let (operation, author) = (operations[1].id(), operations[1].author());
            let reason = clave_engine::membership::Reason::AuthorUnknown;
            membership.set_aside.push(clave_engine::membership::SetAside { operation, author, reason });
        },
    ];
    for alter in altered {
        let mut membership = sound.clone();
        alter(&mut membership);
        assert!(verdicts::differs(&whole, &membership).is_some());
    }
    // Or it is asked about less than there is: Carol's removal stands, and here it never was.
    let removal = |operation: &Operation| matches!(operation.action(), Action::RevokePerson { .. });
    let removal = operations.iter().position(removal).expect("Bob removed her");
    let before = crate::oracle::evaluate(&operations[..removal]);
    assert!(verdicts::differs(&before, &sound).is_some());
}

#[test]
fn what_is_shown_and_is_of_nobody_in_standing_is_found() {
    let (mut world, [alice, bob, _], team) = team();
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let log = inside::log(world.engine(alice), team).expect("a member");
    let operations: Vec<Operation> = log.operations().cloned().collect();
    let mut verdicts = crate::oracle::evaluate(&operations);
    assert_eq!(world.misshown(team, alice, &verdicts), Vec::<String>::new());
    // Were Bob's stay not in standing, what he said last would be shown without right.
    verdicts.stays.remove(&world.device(bob).id);
    let faults = world.misshown(team, alice, &verdicts);
    assert!(faults.iter().any(|fault| fault.starts_with("documents by the rules: Timeline: 1 ")), "{faults:?}");
}

#[test]
fn a_trace_of_a_circle_with_somebody_outside_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    let person = world.device(bob).person;
    let circle =
        world.input(alice, |engine, now| engine.create_circle(team, "Nightshift", Scope::Nested, &[person], now));
    let circle = circle.expect("a member may found one");
    world.settle().expect("nobody is busy");
    assert_eq!(world.faults(circle), Vec::<String>::new());
    let entry = records(&world, bob, Keyspace::Entries, circle.as_bytes()).into_iter().next().expect("it has some");
    let place = Key::new(Keyspace::Entries, team.as_bytes(), entry.0);
    let traces = [
        (Key::new(Keyspace::Meta, [], b"somewhere"), b"...Nightshift...".to_vec()),
        (Key::new(Keyspace::Meta, [], b"somewhere"), circle.as_bytes().to_vec()),
        (place, entry.1),
    ];
    for (key, value) in traces {
        write(&world, carol, key.clone(), Some(value));
        assert_eq!(failing(&mut world, circle), BTreeSet::from([Check::Private]), "{key:?}");
        write(&world, carol, key, None);
        assert_eq!(world.faults(circle), Vec::<String>::new());
    }
}
