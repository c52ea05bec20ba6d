//! Circles that agree on their keys by X-Wing: spaces that are so as a whole, and circles in spaces that are not.

use clave_engine::crypto::Suite;
use clave_engine::membership::{Policy, Scope};
use clave_engine::{CircleId, EngineError, JoinError};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn suite(world: &mut World, who: Who, circle: CircleId) -> Suite {
    world.engine(who).membership(circle).expect("in it").suite
}

fn found(world: &mut World, who: Who, space: CircleId, suite: Suite, with: &[Who]) -> Result<CircleId, EngineError> {
    let people: Vec<_> = with.iter().map(|who| world.device(*who).person).collect();
    world.input(who, |engine, now| {
        engine.create_circle_of(space, &format!("{suite:?} board"), Scope::Nested, suite, &people, now)
    })
}

/// How many devices have published an X-Wing key package beside those of the circle's suite.
fn published(world: &mut World, who: Who, circle: CircleId) -> usize {
    let membership = world.engine(who).membership(circle).expect("in it");
    membership.devices.values().filter(|device| device.key_packages.x_wing.is_some()).count()
}

#[test]
fn a_post_quantum_space_lives_like_any_other() -> Result<(), Livelock> {
    let mut world = World::new(1).of_suite(Suite::XWing);
    let ([alice, bob, carol], team) = world.team()?;
    for who in [alice, bob, carol] {
        assert_eq!(suite(&mut world, who, team), Suite::XWing);
        // Encapsulated keys of 1,120 bytes: by X25519 a device of three takes a tenth of that.
        assert_eq!(world.engine(who).status(team).expect("in it").leaves, 3);
    }
    let largest = world.engine(bob).membership(team).expect("in it").devices.values();
    assert!(largest.map(|device| device.key_packages.last_resort.as_ref().map_or(0, Vec::len)).min() > Some(2_400));
    world.post(bob, team, "from Bob");
    let phone = world.link(bob, "Bob's phone");
    world.settle()?;
    world.post(phone, team, "from Bob's phone");
    world.settle()?;
    assert_eq!(world.messages(carol, team), ["from Bob", "from Bob's phone"]);

    let board = found(&mut world, alice, team, Suite::X25519, &[bob]).expect("Bob can be added");
    world.settle()?;
    assert_eq!(suite(&mut world, phone, board), Suite::XWing, "nothing in a space is weaker than the space");

    world.remove(alice, team, carol).expect("an owner may");
    world.settle()?;
    world.post(phone, team, "Carol is out");
    world.settle()?;
    assert_eq!(world.messages(alice, team).len(), 3);
    assert_eq!(world.messages(carol, team).len(), 2);
    for circle in [team, board] {
        assert_eq!(world.faults(circle), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn a_post_quantum_circle_takes_those_who_have_said_how() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let ([alice, bob, carol], team) = world.team()?;
    let bobs = world.device(bob).id;
    let refused = found(&mut world, alice, team, Suite::XWing, &[bob]);
    assert!(matches!(refused, Err(EngineError::NoKeyPackage(device)) if device == bobs));
    world.settle()?;
    assert_eq!(world.engine(alice).circles_of(team).expect("in it"), [], "nobody was left out silently");

    // Carol is not there when the others publish.
    world.isolate(carol);
    world.act(alice, team, Policy::PostQuantumCircles(true).into_action(Vec::new())).expect("an owner may");
    world.settle()?;
    assert_eq!(published(&mut world, alice, team), 2);
    let board = found(&mut world, alice, team, Suite::XWing, &[bob]).expect("Bob has published by now");
    world.post(alice, board, "before Carol");
    world.settle()?;
    let (carols, carols_person) = (world.device(carol).id, world.device(carol).person);
    let role = clave_engine::membership::Role::Member;
    let added = world.input(alice, |engine, now| engine.add_person(board, carols_person, role, now));
    assert!(matches!(added, Err(EngineError::NoKeyPackage(device)) if device == carols));
    world.heal();
    world.settle()?;
    world.input(alice, |engine, now| engine.add_person(board, carols_person, role, now)).expect("she was online");
    world.settle()?;

    // Their X-Wing key packages go where they are of use, and each device publishes one, once.
    let plain = found(&mut world, alice, team, Suite::X25519, &[bob]).expect("as ever");
    world.settle()?;
    for (circle, of, beside) in [(team, Suite::X25519, 3), (board, Suite::XWing, 0), (plain, Suite::X25519, 0)] {
        assert_eq!((suite(&mut world, bob, circle), published(&mut world, bob, circle)), (of, beside));
        assert_eq!(world.faults(circle), NO_FAULTS);
    }

    // A further device, and what a removed one cannot read.
    let phone = world.link(bob, "Bob's phone");
    world.settle()?;
    world.post(phone, board, "all of us");
    world.settle()?;
    assert_eq!(world.messages(carol, board), ["before Carol", "all of us"]);
    world.remove(alice, board, carol).expect("she founded it");
    world.settle()?;
    world.post(bob, board, "without Carol");
    world.settle()?;
    assert_eq!(world.messages(phone, board), ["before Carol", "all of us", "without Carol"]);
    assert_eq!(world.messages(carol, board), ["before Carol", "all of us"]);
    assert_eq!(world.faults(board), NO_FAULTS);
    assert_eq!(published(&mut world, alice, team), 4, "the phone published too");
    Ok(())
}

#[test]
fn a_space_that_does_not_ask_carries_no_x_wing_key() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let ([alice, ..], team) = world.team::<3>()?;
    assert_eq!(published(&mut world, alice, team), 0);
    let membership = world.engine(alice).membership(team).expect("in it");
    let packages = membership.devices.values().flat_map(|device| &device.key_packages.last_resort);
    assert!(packages.map(Vec::len).max() < Some(400));
    Ok(())
}

#[test]
fn a_device_comes_back_into_a_post_quantum_circle_by_its_phrase() -> Result<(), Livelock> {
    let mut world = World::new(4).of_suite(Suite::XWing);
    let ([alice, bob, carol], team) = world.team()?;
    world.post(carol, team, "before");
    world.settle()?;
    let (phrase, export) = (world.phrase(bob), world.export(bob, |_| {}));
    world.lose(bob);
    world.post(alice, team, "meanwhile");
    world.settle()?;
    let again = world.restore("Bob again", &export, &phrase);
    world.input(again, |engine, now| engine.recover(&phrase, now)).expect("his phrase");
    world.settle()?;
    assert!(!world.is_rejoining(again));
    world.post(again, team, "back");
    world.settle()?;
    for who in [alice, again, carol] {
        assert_eq!(world.messages(who, team), ["before", "meanwhile", "back"]);
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

/// A link that says another suite than the circle's: key packages of that suite could never be used.
#[test]
fn who_brings_key_packages_of_the_other_suite_is_turned_away() -> Result<(), Livelock> {
    for (of, said) in [(Suite::X25519, Suite::XWing), (Suite::XWing, Suite::X25519)] {
        let mut world = World::new(5).of_suite(of);
        let (alice, bob) = (world.alice(), world.bob());
        let team = world.create_space(alice, "Team");
        let mut link = world.invitation(alice, team).expect("an owner may invite");
        assert_eq!(link.suite, of);
        link.suite = said;
        world.join(bob, &link).expect("not a member yet");
        world.settle()?;
        assert_eq!(world.join_errors(bob), [JoinError::Protocol]);
        assert_eq!(world.engine(alice).membership(team).expect("in it").people.len(), 1);
    }
    Ok(())
}
