//! Entries are bundled while people write, come, go and crash; everybody ends with the same.

use clave_engine::Keyspace;
use clave_engine::fuzzing::inside::{self, What};
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
    let count = |world: &mut World, who: Who| {
        let disk = world.device(who).disk.clone();
        let (mut bundles, mut loose) = (0, 0);
        for id in disk.suffixes(Keyspace::Entries, team.as_bytes()) {
            let key = clave_engine::Key::new(Keyspace::Entries, team.as_bytes(), id);
            let bytes = clave_engine::StoreRead::read(&*disk, &key).expect("memory can be read").expect("it is there");
            match inside::open(world.engine(who), team, &bytes).map(|entry| entry.what) {
                Some(What::Bundle) => bundles += 1,
                Some(What::Changes) => loose += 1,
                _ => {}
            }
        }
        (bundles, loose)
    };
    assert_eq!(count(&mut world, alice).0, 1);
    assert!(count(&mut world, alice).1 < 6, "{:?}", count(&mut world, alice));
    assert_eq!(count(&mut world, alice), count(&mut world, bob));
    world.invite(alice, team, carol);
    world.settle().expect("it comes to rest");
    assert_eq!(world.messages(carol, team).len(), 12);
    assert_eq!(count(&mut world, carol), count(&mut world, bob));
    assert_eq!(world.faults(team), Vec::<String>::new());
}
