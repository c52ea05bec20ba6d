//! People come in by invitation.

use clave_sim::{Livelock, World};

#[test]
fn two_devices_join_by_link_and_chat_both_ways() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle()?;
    world.post(alice, team, "Good morning");
    world.post(bob, team, "Hello Alice");
    world.settle()?;
    for who in [alice, bob] {
        let mut messages = world.messages(who, team);
        messages.sort();
        assert_eq!(messages, ["Good morning", "Hello Alice"]);
    }
    assert_eq!(world.faults(team), [] as [&str; 0]);
    Ok(())
}
