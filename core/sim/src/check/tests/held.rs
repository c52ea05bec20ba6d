//! What waits, and is nobody's fault.

use clave_engine::OperationId;
use clave_engine::crypto::RosterChange;

use super::*;

/// An operation that nobody has.
const UNKNOWN: [u8; 32] = [8; 32];
/// The field of the record of a key that says which operations its giver had.
const OPERATIONS_FIELD: u8 = 5;

/// Has a device take whoever gave it a key to have known what it does not.
pub(super) fn make_early(world: &mut World, who: Who, circle: CircleId, tag: &[u8]) {
    for (suffix, mut record) in records(world, who, Keyspace::ContentKeys, circle.as_bytes()) {
        if suffix == tag {
            record.extend([&[OPERATIONS_FIELD << 3 | 2, 32][..], &UNKNOWN].concat());
            write(world, who, Key::new(Keyspace::ContentKeys, circle.as_bytes(), suffix), Some(record));
        }
    }
    reopen(world, who);
}

fn send(world: &mut World, circle: CircleId, from: Who, to: Who, envelope: Vec<u8>) {
    let peer = world.device(to).id;
    world.send(from, peer, Channel::Sync, rogue::entries_frame(circle, vec![envelope]));
    world.settle().expect("nobody is busy");
}

#[test]
fn a_key_that_may_not_be_handed_on_is_missed_by_nobody() {
    let (mut world, [alice, bob, carol], team) = team();
    let entries = records(&world, bob, Keyspace::Entries, team.as_bytes());
    let engine = world.engine(bob);
    let opened = |bytes: &[u8]| inside::open(engine, team, bytes).map(|entry| entry.what);
    let written = |(_, bytes): &(Vec<u8>, Vec<u8>)| opened(bytes) == Some(inside::What::Changes);
    let (suffix, bytes) = entries.into_iter().find(written).expect("all wrote something");
    let tag = inside::tag(&bytes).expect("an entry").as_bytes().to_vec();
    write(&world, bob, Key::new(Keyspace::Held, team.as_bytes(), suffix), Some(tag.clone()));
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Readable, Check::SameEntries]));
    // Whoever gave the others that key had an operation that is with nobody who is in.
    for who in [alice, bob, carol] {
        make_early(&mut world, who, team, &tag);
    }
    let findings = world.examine(team);
    assert_eq!((findings.faults, findings.unreadable), (Vec::new(), 1));
}

#[test]
fn a_commit_that_cites_what_only_those_know_who_are_out_is_missed_by_nobody() {
    let (mut world, [alice, bob, _], team) = team();
    let mut entropy = Entropy::from_seed([1; 32]);
    let committed = rogue::commit(world.engine(bob), team, None, &RosterChange::default(), 1, &mut entropy);
    let committed = committed.expect("he is a member");
    let rogue = Rogue::of(world.engine(bob), team).expect("he is a member");
    let (parent, epoch, renews) = (rogue.head, committed.checkpoint.epoch, Vec::new());
    let (operations, adds, removes) = (vec![OperationId::from_bytes(UNKNOWN)], Vec::new(), Vec::new());
    let said = Said::Commit { parent, epoch, message: committed.message, operations, renews, adds, removes };
    let key = rogue.key(&parent).expect("it is his head");
    let sealed = rogue.seal(&key, rogue.id(), said, world.wall_clock_ms(), &mut entropy).expect("it is small");
    send(&mut world, team, bob, alice, sealed.bytes);
    // Whoever is in has what they cite.
    assert!(failing(&mut world, team).contains(&Check::Readable));
    world.remove(alice, team, bob).expect("an owner may");
    world.settle().expect("nobody is busy");
    assert_eq!(world.examine(team).unreadable, 1);
    // It was not his engine that made it, and that is seen.
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Authors]));
}

#[test]
fn what_is_for_a_device_that_only_those_know_who_are_out_is_missed_by_nobody() {
    let (mut world, [alice, bob, _], team) = team();
    let mut entropy = Entropy::from_seed([1; 32]);
    let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let entry = DeviceEntry::new(&person, &device, "phone", KeyPackages::default());
    let rogue = Rogue::of(world.engine(bob), team).expect("he is a member");
    let (to, now_ms) = ((entry.device(), &entry.noise), world.wall_clock_ms());
    let none = Said::Keys { keys: Vec::new(), operations: Vec::new() };
    let sealed = rogue.seal_direct(to, none, now_ms, &mut entropy).expect("it is small");
    send(&mut world, team, bob, alice, sealed.bytes);
    assert_eq!(failing(&mut world, team), BTreeSet::from([Check::Readable]));
    let name = "Dave".to_owned();
    let newcomer = PersonEntry { person: person.id(), name, devices: vec![entry], invitation: None, recovery: None };
    let action = Action::AddPerson { newcomer, role: Role::Member };
    let heads = inside::log(world.engine(bob), team).expect("he is a member").heads();
    let operation = Operation::sign(rogue.device(), heads, now_ms, action);
    let dave = world.dave();
    let key = Key::new(Keyspace::Operations, team.as_bytes(), operation.id().as_bytes());
    write(&world, dave, key, Some(operation.encode()));
    let findings = world.examine(team);
    assert_eq!((findings.faults, findings.unreadable), (Vec::new(), 1));
}
