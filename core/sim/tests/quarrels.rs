//! People who remove each other, leave and are brought in while they are apart.

use clave_engine::membership::{Action, MEMBERS_MAY_INVITE, Role};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

/// All in one space, Alice and Bob its owners.
fn team<const SIZE: usize>(world: &mut World) -> Result<([Who; SIZE], clave_engine::CircleId), Livelock> {
    let (people, team) = world.team()?;
    world.set_role(people[0], team, people[1], Role::Owner).expect("an owner may");
    world.settle()?;
    Ok((people, team))
}

#[test]
fn two_camps_whose_owners_removed_each_other_become_one() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<6>(&mut world)?;
        let islands = [(people[0], 1), (people[2], 1), (people[4], 1), (people[1], 2), (people[3], 2), (people[5], 2)];
        world.partition(&islands);
        world.pass(5_000);
        world.remove(people[0], team, people[1]).expect("an owner may");
        world.remove(people[1], team, people[0]).expect("an owner may");
        world.pass(20_000);
        world.post(people[2], team, "with Alice");
        world.post(people[3], team, "with Bob");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 5, "seed {seed}: Bob, the junior, is out");
        for who in [people[0], people[2], people[3], people[4], people[5]] {
            assert_eq!(world.messages(who, team).len(), 2, "seed {seed}");
        }
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// The others hear of it on the join channel, and those who were not there then have to be able to follow them.
#[test]
fn who_leaves_while_nobody_hears_it_is_out_for_all() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<4>(&mut world)?;
        let guest = world.named("Erin");
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 2), (people[3], 3), (guest, 1)]);
        world.remove(people[2], team, people[2]).expect("everybody may leave");
        world.pass(5_000);
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 1), (people[3], 3), (guest, 1)]);
        world.pass(5_000);
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 2), (people[3], 1), (guest, 1)]);
        world.invite(people[1], team, guest);
        world.pass(60_000);
        assert_eq!(world.people(people[3], team).len(), 4, "seed {seed}: Dave never met Carol again");
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 4, "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

#[test]
fn who_was_brought_in_against_a_policy_keeps_no_key_that_is_used() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<3>(&mut world)?;
        world.set_role(people[0], team, people[1], Role::Member).expect("an owner may");
        world.settle()?;
        let guest = world.dave();
        world.partition(&[(people[0], 1), (people[1], 2), (people[2], 3), (guest, 2)]);
        world.pass(1_000);
        let (key, value) = (MEMBERS_MAY_INVITE.to_owned(), "false".to_owned());
        let action = Action::SetPolicy { key, value, keep_heads: Vec::new() };
        world.act(people[0], team, action).expect("an owner may");
        world.invite(people[1], team, guest);
        world.pass(10_000);
        world.post(people[1], team, "welcome");
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 3, "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}
