//! What is looked at while it happens: lies that are filed, and what is sealed for whom.

use clave_engine::crypto::RosterChange;
use clave_engine::fuzzing::rogue::Sealed;

use super::*;
use crate::Attack;

const NOBODY: BTreeSet<clave_engine::OperationId> = BTreeSet::new();

/// Carol becomes a guest with a date, ten seconds from now.
fn make_guest(world: &mut World, circle: CircleId, [alice, _, carol]: [Who; 3]) {
    world.set_role(alice, circle, carol, Role::Guest).expect("an owner may");
    let person = world.device(carol).person;
    let guest = PersonEntry { person, name: String::new(), devices: Vec::new(), invitation: None, recovery: None };
    let expires_ms = world.wall_clock_ms() + 10_000;
    world.act(alice, circle, Action::Grant { guest, expires_ms }).expect("an owner may");
}

/// What Alice would seal with the key of an epoch, were she asked.
fn sealed_by(world: &mut World, who: Who, circle: CircleId, epoch: Option<clave_engine::crypto::EpochId>) -> Sealed {
    let rogue = Rogue::of(world.engine(who), circle).expect("a member");
    let key = rogue.key(&epoch.unwrap_or(rogue.head)).expect("she was there");
    let change = Said::Changes { document: chat(circle), kind: 1, changes: Vec::new() };
    let now_ms = world.wall_clock_ms();
    rogue.seal(&key, rogue.id(), change, now_ms, &mut Entropy::from_seed([1; 32])).expect("it is small")
}

#[test]
fn a_commit_that_lies_and_is_filed_is_found() {
    let (mut world, [alice, bob, _], team) = team();
    world.turn_rogue(bob);
    for lie in [Attack::FalseEpoch, Attack::FalseRoster, Attack::UnjustifiedRemoval] {
        world.attack(bob, team, lie);
    }
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Nobody has a reason to refuse this one: were it a lie, all would have believed it.
    let mut entropy = Entropy::from_seed([1; 32]);
    let change = RosterChange::default();
    let committed = rogue::commit(world.engine(bob), team, None, &change, 1, &mut entropy).expect("he is a member");
    let rogue = Rogue::of(world.engine(bob), team).expect("he is a member");
    let operations = inside::log(world.engine(bob), team).expect("he is a member").heads();
    let (parent, epoch, renews) = (rogue.head, committed.checkpoint.epoch, Vec::new());
    let (adds, removes) = (Vec::new(), Vec::new());
    let said = Said::Commit { parent, epoch, message: committed.message, operations, renews, adds, removes };
    let key = rogue.key(&parent).expect("it is his head");
    let sealed = rogue.seal(&key, rogue.id(), said, world.wall_clock_ms(), &mut entropy).expect("it is small");
    world.rogues.add_lie(sealed.id, parent);
    let peer = world.device(alice).id;
    world.send(bob, peer, Channel::Sync, rogue::entries_frame(team, vec![sealed.bytes]));
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Lies]));
}

#[test]
fn who_follows_somebody_who_is_out_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.turn_rogue(bob);
    world.turn_rogue(carol);
    world.remove(alice, team, bob).expect("an owner may");
    world.settle().expect("nobody is busy");
    // Carol passes on what Bob says.
    for _ in 0..3 {
        world.attack(carol, team, Attack::Outcast);
    }
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let (head, author) = (world.engine(alice).status(team).expect("a member").epoch, world.device(bob).id);
    world.rogues.add_lure(head, author, Vec::new());
    let key = Key::new(Keyspace::Checkpoints, team.as_bytes(), head.as_bytes());
    world.look_for_lies(alice, &Batch::default(), &key);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Lies]));
}

#[test]
fn something_sealed_for_a_guest_whose_date_has_passed_is_found() {
    let (mut world, people @ [alice, ..], team) = team();
    make_guest(&mut world, team, people);
    world.pass(9_000);
    let before = sealed_by(&mut world, alice, team, None);
    world.look_at_entry(alice, team, &before.bytes, &NOBODY);
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    world.pass(1_001);
    let after = sealed_by(&mut world, alice, team, None);
    world.look_at_entry(alice, team, &after.bytes, &NOBODY);
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SendGate]));
}

#[test]
fn keys_sealed_to_who_was_removed_are_found() {
    let (mut world, [alice, bob, carol], team) = team();
    let ids = [bob, carol].map(|who| world.device(who).id);
    let devices = &world.engine(alice).membership(team).expect("a member").devices;
    let noise = ids.map(|id| devices[&id].noise);
    world.remove(alice, team, carol).expect("an owner may");
    world.settle().expect("nobody is busy");
    let rogue = Rogue::of(world.engine(alice), team).expect("a member");
    let keys = vec![(rogue.head, **rogue.key(&rogue.head).expect("it is her head").as_bytes())];
    let mut entropy = Entropy::from_seed([1; 32]);
    for ((to, noise), found) in ids.into_iter().zip(&noise).zip([None, Some(Check::SendGate)]) {
        let said = Said::Keys { keys: keys.clone(), operations: Vec::new() };
        let sealed = rogue.seal_direct((to, noise), said, world.wall_clock_ms(), &mut entropy);
        world.look_at_entry(alice, team, &sealed.expect("it is small").bytes, &NOBODY);
        assert_eq!(failing(&mut world, team), found.into_iter().collect());
    }
}

#[test]
fn something_sealed_under_a_key_that_was_told_is_found() {
    let (mut world, [alice, bob, _], team) = team();
    world.turn_rogue(bob);
    world.attack(bob, team, Attack::PoisonedKeys);
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let keys = inside::content_keys(&*world.device(alice).disk, team);
    let mut is_derived = |id| inside::is_derived(world.engine(alice), team, id) == Some(true);
    let derived: BTreeSet<_> = keys.iter().filter(|(id, ..)| is_derived(id)).map(|(_, epoch, _)| *epoch).collect();
    let (_, epoch, _) = keys.iter().find(|(_, epoch, _)| !derived.contains(epoch)).expect("one is of no epoch");
    let sealed = sealed_by(&mut world, alice, team, Some(*epoch));
    world.look_at_entry(alice, team, &sealed.bytes, &NOBODY);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SendGate]));
}

#[test]
fn a_key_that_was_told_and_is_given_to_somebody_who_may_not_have_been_there_is_found() {
    let mut world = World::with(1, Agreement::SealedSecret, Network::default());
    let [alice, bob, carol] = [world.alice(), world.bob(), world.carol()];
    let team = world.create_space(alice, "Team");
    let (key, value) = ("history".to_owned(), "since_joining".to_owned());
    world.act(alice, team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    for guest in [bob, carol] {
        world.invite(alice, team, guest);
        world.settle().expect("nobody is busy");
    }
    world.turn_rogue(bob);
    let rogues = [bob, alice].map(|who| Rogue::of(world.engine(who), team).expect("a member"));
    let mut entropy = Entropy::from_seed([1; 32]);
    let mut told = |world: &mut World, rogue: &Rogue, to: Who| {
        let (device, now_ms) = (world.device(to).id, world.wall_clock_ms());
        let noise = world.engine(to).membership(team).expect("a member").devices[&device].noise;
        let said = Said::Keys { keys: vec![(rogue.head, [7; 32])], operations: Vec::new() };
        rogue.seal_direct((device, &noise), said, now_ms, &mut entropy).expect("it is small")
    };
    let to_alice = told(&mut world, &rogues[0], alice);
    world.give(bob, alice, team, to_alice);
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let to_carol = told(&mut world, &rogues[1], carol);
    world.look_at_entry(alice, team, &to_carol.bytes, &NOBODY);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::History]));
}

#[test]
fn something_sealed_before_it_is_known_who_is_in_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.turn_rogue(bob);
    world.turn_rogue(carol);
    // Each time for somebody.
    let early = loop {
        world.attack(bob, team, Attack::EarlyLure);
        world.settle().expect("nobody is busy");
        let engine = world.engine(alice);
        let epochs: Vec<_> = inside::rosters(engine, team).into_iter().map(|(epoch, _)| epoch).collect();
        if let Some(early) = epochs.into_iter().find(|epoch| inside::is_early(engine, team, epoch)) {
            break early;
        }
    };
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    let sealed = sealed_by(&mut world, alice, team, Some(early));
    world.look_at_entry(alice, team, &sealed.bytes, &NOBODY);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SendGate]));
}

#[test]
fn a_key_from_before_somebody_came_is_found() {
    let mut world = World::with(1, Agreement::SealedSecret, Network::default());
    let [alice, bob] = [world.alice(), world.bob()];
    let team = world.create_space(alice, "Team");
    let (key, value) = ("history".to_owned(), "since_joining".to_owned());
    world.act(alice, team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    let before = world.engine(alice).status(team).expect("a member").key;
    world.invite(alice, team, bob);
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    for (suffix, mut record) in records(&world, alice, Keyspace::ContentKeys, team.as_bytes()) {
        if suffix == before.as_bytes() {
            // Behind the epoch and the key, each a field of 32 bytes, it says that she derived it. He did not.
            record.drain(2 * (2 + 32)..2 * (2 + 32) + 2);
            write(&world, bob, Key::new(Keyspace::ContentKeys, team.as_bytes(), suffix), Some(record));
        }
    }
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::History]));
}

#[test]
fn what_is_filed_in_the_name_of_somebody_who_never_wrote_it_is_found() {
    let (mut world, [alice, bob, _], team) = team();
    let log = inside::log(world.engine(bob), team).expect("a member");
    let (id, bytes) = log.operations().last().map(|last| (last.id(), last.encode())).expect("he was invited");
    world.look_at_operation(bob, id, &bytes);
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Alice wrote it. Were that not known, it could be anybody's.
    world.watch.forget_operations();
    world.look_at_operation(bob, id, &bytes);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Authors]));
    assert!(world.watch.slips[0].contains(&world.device(alice).name));
}

#[test]
fn keys_that_are_handed_on_too_early_are_found() {
    let (mut world, [_, bob, _], team) = team();
    let status = world.engine(bob).status(team).expect("a member");
    let what = inside::What::Keys(vec![(status.epoch, status.key)]);
    let id = clave_engine::EntryId::from_bytes([1; 32]);
    let entry = inside::Inside { id, tag: status.key, author: world.device(bob).id, what, is_direct: false };
    world.look_at_keys(bob, team, &entry);
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    held::make_early(&mut world, bob, team, status.key.as_bytes());
    world.look_at_keys(bob, team, &entry);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::SendGate]));
}

#[test]
fn a_removal_that_takes_out_what_was_read_is_found() {
    let (mut world, [alice, bob, carol], team) = team();
    world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
    world.pass(5_000);
    world.post(bob, team, "at the same time");
    world.pass(5_000);
    world.remove(alice, team, bob).expect("an owner may");
    world.pass(60_000);
    world.heal();
    world.settle().expect("nobody is busy");
    assert_eq!(failing(&mut world, team), BTreeSet::new());
    // Carol has it set aside. Had she read it before, that would be a fault.
    world.look_at_removal(carol, team, &BTreeSet::new());
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Kept]));
}
