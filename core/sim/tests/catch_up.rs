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

#[test]
fn five_thousand_entries_come_behind_the_commit_that_their_key_needs() -> Result<(), Livelock> {
    // Under a seed where Bob's id is the greatest: then the others tell him what there is.
    let (mut world, alice, bob, carol) = (0..)
        .map(|seed| {
            let mut world = World::new(seed);
            let (alice, bob) = (world.alice(), world.bob());
            let carol = world.add_with_clock("Carol", -2 * 3_600_000);
            (world, alice, bob, carol)
        })
        .find(|(world, alice, bob, carol)| {
            let [alice, bob, carol] = [alice, bob, carol].map(|who| world.device(*who).id);
            alice < bob && carol < bob
        })
        .expect("one in three seeds");
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle()?;
    world.isolate(bob);
    world.invite(alice, team, carol);
    world.pass(10_000);
    // By her clock, all of it was said before the commit that Bob needs to read it.
    for _ in 0..5_000 {
        world.splice(carol, team, 0, 0, "x").expect("a member may write");
    }
    world.settle()?;
    let before = world.device(bob).disk.entry_reads();
    world.heal();
    let mut held = 0;
    let mut entries = 0;
    while entries < 5_000 {
        world.step();
        let status = world.engine(bob).status(team).expect("a member");
        (held, entries) = (held.max(status.held), status.entries);
    }
    world.settle()?;
    let reads = world.device(bob).disk.entry_reads() - before;
    assert!(held <= 50, "{held} entries waited for their key");
    assert!(reads <= 4 * 5_000, "{reads} reads");
    assert_eq!(world.note_len(bob, team), 5_000);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
