//! Entries are bundled while people write, come, go and crash; everybody ends with the same.

use clave_engine::fuzzing::inside::{self, What};
use clave_engine::{Bundling, CircleId, Key, Keyspace, StoreRead};
use clave_sim::{Attack, Mix, Plan, Who, World, run};

fn ends_well(plan: Plan) {
    let outcome = run(plan);
    assert!(outcome.faults.is_empty(), "{:#?}\nreplay: {plan}", outcome.faults);
}

fn small(seed: u64, devices: usize, mix: Mix) -> Plan {
    Plan { devices, steps: 25, bundles: true, ..Plan::of_seed(seed) }.with_mix(mix)
}

#[test]
fn everybody_ends_with_the_same_whatever_is_bundled_meanwhile() {
    for seed in 0..3 {
        for mix in [Mix::Calm, Mix::Admins, Mix::Life] {
            ends_well(small(seed, 6, mix));
        }
    }
}

#[test]
fn nobody_is_harmed_by_bundles_of_those_who_keep_to_no_rule() {
    for seed in 0..8 {
        let plan = Plan { attack: Some(Attack::FalseBundle), rogues: 2, ..small(seed, 6, Mix::Hostile) };
        assert!(run(plan).seen.attacks > 0);
        ends_well(plan);
    }
}

#[test]
fn a_device_may_crash_at_any_of_its_writes_while_entries_are_bundled() {
    let plan = Plan { papers: false, steps: 14, ..small(1, 3, Mix::Calm) };
    for (device, writes) in run(plan).writes.into_iter().enumerate() {
        for write in (0..writes).step_by(3) {
            ends_well(Plan { crash_at: Some((device, write)), ..plan });
        }
    }
}

/// How many bundles a device has, and how many entries with changes.
fn count(world: &mut World, who: Who, circle: CircleId) -> (usize, usize) {
    let disk = world.device(who).disk.clone();
    let (mut bundles, mut loose) = (0, 0);
    for id in disk.suffixes(Keyspace::Entries, circle.as_bytes()) {
        let key = Key::new(Keyspace::Entries, circle.as_bytes(), id);
        let bytes = disk.read(&key).expect("memory can be read").expect("it is there");
        match inside::open(world.engine(who), circle, &bytes).map(|entry| entry.what) {
            Some(What::Bundle) => bundles += 1,
            Some(What::Changes) => loose += 1,
            _ => {}
        }
    }
    (bundles, loose)
}

#[test]
fn what_was_said_is_in_bundles_and_who_comes_reads_it() {
    let mut world = World::new(3).with_bundles();
    let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    for number in 0..12 {
        let who = if number % 2 == 0 { alice } else { bob };
        world.post(who, team, &format!("你好 {number}"));
        world.pass(3_000);
    }
    world.settle().expect("it comes to rest");
    assert_eq!(count(&mut world, alice, team).0, 1);
    assert!(count(&mut world, alice, team).1 < 6, "{:?}", count(&mut world, alice, team));
    assert_eq!(count(&mut world, alice, team), count(&mut world, bob, team));
    world.invite(alice, team, carol);
    world.settle().expect("it comes to rest");
    assert_eq!(world.messages(carol, team).len(), 12);
    assert_eq!(count(&mut world, carol, team), count(&mut world, bob, team));
    assert_eq!(world.faults(team), Vec::<String>::new());
}

/// Under one key the same is one entry. These are under two: each of the two lets somebody in first.
#[test]
fn of_the_same_that_two_bundled_apart_one_bundle_stays() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = world.team().expect("it comes to rest");
        let (dave, erin) = (world.dave(), world.named("Erin"));
        for number in 0..6 {
            world.post(alice, team, &format!("你好 {number}"));
        }
        world.settle().expect("it comes to rest");
        world.partition(&[(alice, 1), (dave, 1), (bob, 2), (erin, 2), (carol, 3)]);
        world.pass(5_000);
        for (who, guest) in [(alice, dave), (bob, erin)] {
            world.invite(who, team, guest);
            world.pass(20_000);
            let early =
                Bundling { settled_hours: 0, closed_only: false, changes_min: 4, changes_again: 6, at_once_max: 2 };
            world.engine(who).set_bundling(early);
        }
        world.pass(600_000);
        for who in [alice, bob] {
            assert_eq!(count(&mut world, who, team), (1, 0), "seed {seed}");
        }
        world.heal();
        world.settle().expect("it comes to rest");
        for who in [alice, bob, carol, dave, erin] {
            assert_eq!(count(&mut world, who, team), (1, 0), "seed {seed}");
            assert_eq!(world.messages(who, team).len(), 6, "seed {seed}");
        }
        assert_eq!(world.faults(team), Vec::<String>::new(), "seed {seed}");
    }
}
