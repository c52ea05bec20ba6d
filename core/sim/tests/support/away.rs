//! People who are never online together.

use clave_engine::CircleId;
use clave_sim::{Livelock, RelayNumber, Who, World};

pub const NO_FAULTS: [&str; 0] = [];

/// Alice, Bob and Carol met once; from then on no device meets another, and all are off.
pub fn met_once(seed: u64, relays: usize) -> Result<(World, [Who; 3], CircleId, Vec<RelayNumber>), Livelock> {
    let mut world = World::new(seed);
    let people = [world.alice(), world.bob(), world.carol()];
    let team = world.create_space(people[0], "Team");
    let relays: Vec<RelayNumber> = (0..relays).map(|_| world.add_relay()).collect();
    world.use_relays(people[0], team, &relays);
    for guest in &people[1..] {
        world.invite(people[0], team, *guest);
        world.settle()?;
    }
    for who in people {
        world.isolate(who);
    }
    world.settle()?;
    for who in people {
        world.crash(who);
    }
    Ok((world, people, team, relays))
}

/// A device is on for a while, alone.
pub fn alone(world: &mut World, who: Who, what: impl FnOnce(&mut World)) {
    world.restart(who);
    world.pass(60_000);
    what(world);
    world.pass(60_000);
    world.crash(who);
}

pub fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// Each is on once more, so that all that is to arrive has; then all read the same.
pub fn all_read(world: &mut World, people: &[Who], team: CircleId, texts: &[&str]) {
    for who in people.iter().chain(people) {
        alone(world, *who, |_| {});
    }
    for who in people {
        world.restart(*who);
        world.pass(5_000);
        assert_eq!(sorted(world.messages(*who, team)), texts, "{}", world.device(*who).name);
        assert_eq!(world.engine(*who).waiting_for_relays(team), 0, "{}", world.device(*who).name);
        world.crash(*who);
    }
}

/// Brings all together, to ask the oracle whether they agree.
pub fn check(world: &mut World, team: CircleId) -> Result<(), Livelock> {
    world.heal();
    world.settle()?;
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
