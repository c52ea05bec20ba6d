//! What it costs to catch up.

use clave_engine::{CircleId, Keyspace, StoreRead};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

/// The bytes of all entries of a circle that a device has.
fn entry_bytes(world: &World, who: Who, circle: CircleId) -> u64 {
    let mut bytes = 0;
    let sum = &mut |_: &[u8], entry: Vec<u8>| {
        bytes += entry.len() as u64;
        true
    };
    world.device(who).disk.scan(Keyspace::Entries, circle.as_bytes(), &[], sum).expect("memory can be read");
    bytes
}

/// What all devices put on the wire, in bytes.
fn sent_bytes(world: &World) -> u64 {
    world.everyone().map(|who| world.device(who).sent_bytes).sum()
}

#[test]
fn a_newcomer_is_sent_every_entry_once() -> Result<(), Livelock> {
    for (seed, members) in [(1, 1), (2, 2), (3, 2), (4, 4)] {
        let mut world = World::new(seed);
        let alice = world.alice();
        let team = world.create_space(alice, "Team");
        for number in 1..members {
            let guest = world.named(&format!("Member {number}"));
            world.invite(alice, team, guest);
            world.settle()?;
        }
        for number in 0..2_000 {
            world.post(alice, team, &format!("message {number}"));
        }
        world.settle()?;
        let carol = world.carol();
        world.invite(alice, team, carol);
        let start = sent_bytes(&world);
        world.settle()?;
        let (sent, needed) = (sent_bytes(&world) - start, entry_bytes(&world, carol, team));
        // Beyond the entries: every member's list of ids, and the offer of what came from another.
        let ids = members * 2_000 * 2 * 32;
        assert!(sent <= needed + needed / 10 + ids, "seed {seed}: {members} sent {sent} bytes for {needed}");
        assert!(members > 1 || sent * 10 <= needed * 13, "seed {seed}: sent {sent} bytes for {needed}");
        assert_eq!(world.messages(carol, team).len(), 2_000);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}
