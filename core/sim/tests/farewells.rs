//! Who is out is told so, by whoever knows it; and who is told wrongly says why.

use clave_engine::fuzzing::inside;
use clave_engine::membership::{Operation, Role};
use clave_engine::{CircleId, Event, OperationId};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn was_told(world: &World, who: Who, circle: CircleId) -> bool {
    world.device(who).events.contains(&Event::Removed { circle })
}

fn operations(world: &mut World, who: Who, circle: CircleId) -> Vec<OperationId> {
    let log = inside::log(world.engine(who), circle).expect("it knows the circle");
    log.operations().map(Operation::id).collect()
}

/// Alice and Bob remove each other. Dave was with Bob, who hears that he is out and falls silent; then Dave meets Alice
/// alone, whom he holds to be out.
#[test]
fn who_holds_another_to_be_out_hears_from_them_why_they_are_not() -> Result<(), Livelock> {
    for seed in 0..3 {
        let mut world = World::new(seed);
        let ([alice, bob, carol, dave], team) = world.team()?;
        world.set_role(alice, team, bob, Role::Owner).expect("an owner may");
        world.settle()?;
        world.partition(&[(alice, 1), (carol, 1), (bob, 2), (dave, 2)]);
        world.pass(5_000);
        world.remove(alice, team, bob).expect("an owner may");
        world.remove(bob, team, alice).expect("an owner may");
        world.pass(20_000);
        world.isolate(carol);
        world.isolate(dave);
        world.partition(&[(alice, 3), (bob, 3)]);
        world.settle()?;
        assert!(was_told(&world, bob, team) && !was_told(&world, alice, team), "seed {seed}");
        world.lose(bob);
        world.lose(carol);
        world.heal();
        world.settle()?;
        assert_eq!(world.people(dave, team), world.people(alice, team), "seed {seed}");
        world.post(dave, team, "so it was you");
        world.settle()?;
        assert_eq!(world.messages(alice, team), ["so it was you"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// Alice removes Bob and brings him back, and is gone before anybody else hears of either.
#[test]
fn what_put_somebody_out_reaches_others_by_them_once_they_are_back() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = world.team()?;
        let person = world.device(bob).person;
        world.isolate(carol);
        world.pass(5_000);
        world.remove(alice, team, bob).expect("an owner may");
        while !was_told(&world, bob, team) {
            world.step();
        }
        world.bring_back(alice, team, bob).expect("an owner may");
        while !world.people(bob, team).contains(&person) {
            world.step();
        }
        world.lose(alice);
        world.heal();
        world.settle()?;
        assert!(world.people(carol, team).contains(&person));
        assert_eq!(operations(&mut world, carol, team), operations(&mut world, bob, team), "seed {seed}");
        world.post(bob, team, "back again");
        world.settle()?;
        assert_eq!(world.messages(carol, team), ["back again"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}
