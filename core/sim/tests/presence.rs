//! Presence over networks that part, devices that crash, and people who are removed.

use clave_engine::crdt::DocumentKind;
use clave_engine::{CircleId, DocumentId, PRESENCE_EXPIRES_MS, PRESENCE_RENEW_MS};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn appear(world: &mut World, who: Who, team: CircleId) {
    let place = (team, DocumentId::well_known(team, DocumentKind::Note, 0), DocumentKind::Note);
    world.input(who, |engine, now| engine.appear(place, None, now)).expect("a member");
}

/// Whom a device sees in the note; nobody may be among them who is out by its own log.
fn seen(world: &mut World, who: Who, team: CircleId) -> Vec<String> {
    let note = DocumentId::well_known(team, DocumentKind::Note, 0);
    let engine = world.engine(who);
    let present = engine.who_is_in(team, note, DocumentKind::Note).expect("it was in");
    let membership = engine.membership(team).expect("it was in");
    for there in &present {
        assert!(membership.devices.contains_key(&there.device), "{} is out, and seen", there.name);
    }
    present.into_iter().map(|there| there.name).collect()
}

#[test]
fn no_presence_outlives_a_removal_a_crash_or_a_parting() -> Result<(), Livelock> {
    for seed in 0..12 {
        let mut world = World::new(seed);
        let (people, team) = world.team::<4>()?;
        let [alice, bob, carol, dave] = people;
        people.iter().for_each(|who| appear(&mut world, *who, team));
        // What was said under a head that somebody had not heard of yet is said again.
        world.pass(PRESENCE_RENEW_MS + 2_000);
        for who in people {
            assert_eq!(seen(&mut world, who, team).len(), 3, "seed {seed}");
        }
        // Alice and Bob go on together, Carol and Dave apart from them.
        world.partition(&[(alice, 1), (bob, 1), (carol, 2), (dave, 2)]);
        world.pass(PRESENCE_EXPIRES_MS + 1_000);
        assert_eq!((seen(&mut world, alice, team).len(), seen(&mut world, carol, team).len()), (1, 1), "seed {seed}");
        world.remove(alice, team, bob).expect("an owner may");
        assert!(seen(&mut world, alice, team).is_empty(), "seed {seed}");
        world.remove(alice, team, dave).expect("an owner may");
        // Who has not heard of it sees Dave still; step by step, until they have.
        assert_eq!(seen(&mut world, carol, team).len(), 1, "seed {seed}");
        world.heal();
        for _ in 0..60 {
            world.pass(250);
            people.iter().for_each(|who| drop(seen(&mut world, *who, team)));
        }
        world.pass(PRESENCE_RENEW_MS + 5_000);
        let name = |world: &World, who: Who| world.device(who).name.clone();
        assert_eq!(seen(&mut world, alice, team), [name(&world, carol)], "seed {seed}");
        assert_eq!(seen(&mut world, carol, team), [name(&world, alice)], "seed {seed}");
        assert!(seen(&mut world, bob, team).is_empty() && seen(&mut world, dave, team).is_empty(), "seed {seed}");
        world.crash(carol);
        world.pass(PRESENCE_EXPIRES_MS + 1_000);
        assert!(seen(&mut world, alice, team).is_empty(), "seed {seed}");
        world.restart(carol);
        world.settle()?;
        assert!(seen(&mut world, alice, team).is_empty(), "seed {seed}: who starts again is nowhere until they say so");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}
