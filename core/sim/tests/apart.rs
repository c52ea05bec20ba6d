//! Devices that are apart for a while, and what becomes of it.

use clave_engine::{Channel, Keyspace};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

/// Alice, Bob and so on, all in one space.
#[test]
fn what_both_wrote_offline_converges() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (people, team) = world.team::<2>()?;
    world.isolate(people[1]);
    for number in 0..5 {
        world.post(people[0], team, &format!("Alice {number}"));
        world.post(people[1], team, &format!("Bob {number}"));
        world.add_file(people[number % 2], team, &format!("file {number}"), b"content").expect("both may write");
        world.pass(1_000);
    }
    world.heal();
    world.settle()?;
    assert_eq!(world.messages(people[0], team).len(), 10);
    assert_eq!(world.files(people[1], team).len(), 5);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn two_who_are_apart_invite_at_the_same_time() -> Result<(), Livelock> {
    for seed in 0..8 {
        let mut world = World::new(seed);
        let (people, team) = world.team::<2>()?;
        let (carol, dave) = (world.carol(), world.dave());
        world.partition(&[(people[0], 1), (carol, 1), (people[1], 2), (dave, 2)]);
        world.pass(5_000);
        world.invite(people[0], team, carol);
        world.invite(people[1], team, dave);
        world.pass(10_000);
        for (place, who) in [people[0], people[1], carol, dave].into_iter().enumerate() {
            world.post(who, team, &format!("said apart {place}"));
        }
        world.pass(1_000);
        let heads = [people[0], people[1]].map(|who| world.engine(who).status(team).expect("a member").epoch);
        assert_ne!(heads[0], heads[1], "seed {seed}: the two did not fork");
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 4);
        for who in [people[0], people[1], carol, dave] {
            assert_eq!(world.messages(who, team).len(), 4, "seed {seed}");
        }
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

#[test]
fn who_was_removed_gets_nothing_more() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let (people, team) = world.team::<3>()?;
    let before = world.engine(people[0]).status(team).expect("a member");
    world.remove(people[0], team, people[2]).expect("an owner may");
    world.post(people[1], team, "said at the same time");
    world.settle()?;
    let after = world.engine(people[0]).status(team).expect("a member");
    assert_ne!(before.key, after.key);
    assert_eq!(after.leaves, 2);
    world.post(people[0], team, "between the two of us");
    world.settle()?;
    assert!(!world.messages(people[2], team).contains(&"between the two of us".to_owned()));
    let keys = world.device(people[2]).disk.suffixes(Keyspace::ContentKeys, team.as_bytes());
    assert!(!keys.contains(&after.key.as_bytes().to_vec()));
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn who_was_away_follows_a_member_who_came_and_went() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let (people, team) = world.team::<2>()?;
    let carol = world.carol();
    world.isolate(people[1]);
    world.invite(people[0], team, carol);
    world.pass(10_000);
    world.post(carol, team, "just passing");
    world.pass(10_000);
    world.remove(people[0], team, carol).expect("an owner may");
    world.pass(10_000);
    world.post(people[0], team, "she is gone");
    world.heal();
    world.settle()?;
    assert_eq!(world.messages(people[1], team), ["just passing", "she is gone"]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn a_failed_write_is_taken_back_and_work_goes_on() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let (people, team) = world.team::<2>()?;
    world.fail_next_write(people[0]);
    world.post(people[0], team, "never on disk");
    world.pass(5_000);
    world.post(people[0], team, "on disk");
    world.settle()?;
    for who in people {
        assert_eq!(world.messages(who, team), ["on disk"]);
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn a_file_comes_from_two_peers_of_whom_one_lacks_it_across_a_crash() -> Result<(), Livelock> {
    let mut world = World::new(6);
    let (people, team) = world.team::<3>()?;
    let mut content = vec![0; 3_000_000];
    clave_engine::crypto::Entropy::from_seed([6; 32]).fill(&mut content);
    let file = world.add_file(people[0], team, "a recording", &content).expect("an owner may write");
    world.settle()?;
    // Bob lacks every chunk, Alice none.
    world.fetch(people[2], team, &file).expect("a member");
    let chunks = |world: &World, who: Who| world.device(who).disk.suffixes(Keyspace::Chunks, team.as_bytes()).len();
    while chunks(&world, people[2]) < 3 {
        world.step();
    }
    world.crash_keeping(people[2], 0);
    world.restart(people[2]);
    assert_eq!(world.content(people[2], team, &file), None);
    let kept = chunks(&world, people[2]);
    assert!(kept >= 3);
    world.fetch(people[2], team, &file).expect("a member");
    world.settle()?;
    assert_eq!(world.content(people[2], team, &file), Some(content));
    assert_eq!(chunks(&world, people[1]), 0);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn a_chunk_that_was_lost_on_the_way_is_asked_for_again() -> Result<(), Livelock> {
    let mut world = World::new(7);
    let (people, team) = world.team::<2>()?;
    let mut content = vec![0; 3_000_000];
    clave_engine::crypto::Entropy::from_seed([7; 32]).fill(&mut content);
    let file = world.add_file(people[0], team, "a recording", &content).expect("an owner may write");
    world.settle()?;
    world.fetch(people[1], team, &file).expect("a member");
    let chunks = |world: &World| world.device(people[1]).disk.suffixes(Keyspace::Chunks, team.as_bytes()).len();
    while chunks(&world) < 2 {
        world.step();
    }
    world.interrupt(people[0], people[1], Channel::Bulk);
    assert_eq!(world.content(people[1], team, &file), None);
    world.settle()?;
    assert_eq!(world.content(people[1], team, &file), Some(content));
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn what_was_queued_for_somebody_who_was_removed_is_not_sent() -> Result<(), Livelock> {
    let mut world = World::new(8);
    let (people, team) = world.team::<2>()?;
    // They share another space, so the connection and its queue stay.
    let other = world.create_space(people[0], "Other");
    world.invite(people[0], other, people[1]);
    world.settle()?;
    for number in 0..10 {
        world.post(people[0], team, &format!("message {number}"));
    }
    world.remove(people[0], team, people[1]).expect("an owner may");
    world.post(people[0], other, "still here");
    world.settle()?;
    let read = world.messages(people[1], team);
    assert!(read.contains(&"message 0".to_owned()), "what was on its way arrives: {read:?}");
    assert!(!read.contains(&"message 9".to_owned()), "what was in the queue does not: {read:?}");
    assert_eq!(world.messages(people[1], other), ["still here"]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
