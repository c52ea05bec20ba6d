//! People who are never online together: what they say goes through relays.

use std::collections::BTreeSet;

use clave_engine::membership::{Role, Scope};
use clave_engine::{Batch, Event};
use clave_sim::{Livelock, Who, World};

use away::{all_read, alone, check, met_once, sorted};

#[allow(dead_code, unreachable_pub, reason = "shared by tests")]
#[path = "support/away.rs"]
mod away;

#[test]
fn two_who_never_meet_talk() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, carol], team, _) = met_once(seed, 1)?;
        alone(&mut world, alice, |world| world.post(alice, team, "1 你好"));
        alone(&mut world, bob, |world| {
            assert_eq!(world.messages(bob, team), ["1 你好"]);
            world.post(bob, team, "2 Guten Tag");
        });
        assert!(world.device(bob).events.contains(&Event::Stored { circle: team }));
        alone(&mut world, alice, |world| {
            assert_eq!(world.messages(alice, team), ["1 你好", "2 Guten Tag"]);
        });
        all_read(&mut world, &[alice, bob, carol], team, &["1 你好", "2 Guten Tag"]);
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn a_removal_and_new_keys_reach_who_was_away_and_the_removed_follows_nothing() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, carol], team, relays) = met_once(seed, 1)?;
        alone(&mut world, carol, |world| world.post(carol, team, "1 Carol before"));
        let before: BTreeSet<[u8; 32]> = world.relay(relays[0]).mailboxes().collect();
        alone(&mut world, alice, |world| world.remove(alice, team, carol).expect("an owner may remove"));
        alone(&mut world, alice, |world| world.post(alice, team, "2 Alice after"));
        // Bob follows the commit that he finds where he left off.
        alone(&mut world, bob, |world| {
            assert_eq!(world.messages(bob, team), ["1 Carol before", "2 Alice after"]);
            world.post(bob, team, "3 Bob after");
        });
        // What the removed device can open at the relay is nothing that came after.
        world.restart(carol);
        world.pass(120_000);
        let opened = world.relay(relays[0]).opened_by(carol);
        let after: BTreeSet<[u8; 32]> = world.relay(relays[0]).mailboxes().collect();
        let new: Vec<_> = after.difference(&before).collect();
        assert!(!new.is_empty(), "seed {seed}");
        assert!(new.iter().all(|mailbox| !opened.contains(*mailbox)), "seed {seed}");
        assert_eq!(world.messages(carol, team), ["1 Carol before"]);
        world.crash(carol);
        all_read(&mut world, &[alice, bob], team, &["1 Carol before", "2 Alice after", "3 Bob after"]);
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn a_device_that_was_away_for_many_epochs_walks_them_one_by_one() -> Result<(), Livelock> {
    for seed in 0..2 {
        let mut world = World::new(seed);
        let (people, team) = world.team::<12>()?;
        let [alice, bob, guests @ ..] = people;
        let relay = world.add_relay();
        world.use_relays(alice, team, &[relay]);
        world.settle()?;
        for who in people {
            world.isolate(who);
        }
        world.settle()?;
        for who in people {
            world.crash(who);
        }
        // He wrote something while he reached no relay, under keys that are old when it goes out.
        world.cut_from_relays(bob);
        alone(&mut world, bob, |world| world.post(bob, team, "0 Bob long ago"));
        let depth = |world: &mut World| world.engine(alice).status(team).expect("a member").depth;
        let (mut start, mut end) = (0, 0);
        for guest in &guests {
            alone(&mut world, alice, |world| {
                start = if start == 0 { depth(world) } else { start };
                world.remove(alice, team, *guest).expect("an owner may remove");
            });
        }
        alone(&mut world, alice, |world| {
            end = depth(world);
            world.post(alice, team, "1 Alice much later");
        });
        assert_eq!(end, start + 10, "seed {seed}");
        world.let_to_relays(bob);
        alone(&mut world, bob, |world| {
            assert_eq!(sorted(world.messages(bob, team)), ["0 Bob long ago", "1 Alice much later"]);
            assert_eq!(world.engine(bob).status(team).expect("a member").depth, end);
        });
        all_read(&mut world, &[alice, bob], team, &["0 Bob long ago", "1 Alice much later"]);
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn a_fork_is_merged_though_the_two_never_meet() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (people, team) = world.team::<5>()?;
        let [alice, bob, carol, dave, erin] = people;
        world.set_role(alice, team, bob, Role::Owner).expect("an owner may");
        let relay = world.add_relay();
        world.use_relays(alice, team, &[relay]);
        world.settle()?;
        for who in people {
            world.isolate(who);
            world.cut_from_relays(who);
        }
        world.settle()?;
        // Each removes somebody, and says something under keys that the other does not have.
        for (who, whom, text) in [(alice, dave, "1 Alice apart"), (bob, erin, "2 Bob apart")] {
            world.remove(who, team, whom).expect("an owner may remove");
            world.pass(60_000);
            world.post(who, team, text);
            world.pass(10_000);
        }
        for who in people {
            world.crash(who);
        }
        for who in people {
            world.let_to_relays(who);
        }
        all_read(&mut world, &[alice, bob, carol], team, &["1 Alice apart", "2 Bob apart"]);
        let mut heads = BTreeSet::new();
        for who in [alice, bob, carol] {
            alone(&mut world, who, |world| {
                heads.insert(world.engine(who).status(team).expect("a member").epoch);
            });
        }
        assert_eq!(heads.len(), 1, "seed {seed}");
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn a_relay_that_lost_its_data_gets_again_what_it_lost() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, carol], team, relays) = met_once(seed, 1)?;
        alone(&mut world, alice, |world| world.post(alice, team, "1 before"));
        assert!(world.relay(relays[0]).blobs().count() > 0);
        world.wipe_relay(relays[0]);
        assert_eq!(world.relay(relays[0]).blobs().count(), 0);
        // She has nothing new to say: what the relay lacks is found by comparing.
        alone(&mut world, alice, |_| {});
        alone(&mut world, bob, |world| {
            assert_eq!(world.messages(bob, team), ["1 before"]);
            world.post(bob, team, "2 after");
        });
        all_read(&mut world, &[alice, bob, carol], team, &["1 before", "2 after"]);
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn of_two_relays_one_is_down() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, carol], team, relays) = met_once(seed, 2)?;
        world.stop_relay(relays[0]);
        alone(&mut world, alice, |world| world.post(alice, team, "1 over the second"));
        alone(&mut world, bob, |world| assert_eq!(world.messages(bob, team), ["1 over the second"]));
        // Now the other one is down. Alice finds what the first lacks when she meets it.
        world.start_relay(relays[0]);
        alone(&mut world, alice, |_| {});
        world.stop_relay(relays[1]);
        alone(&mut world, carol, |world| {
            assert_eq!(world.messages(carol, team), ["1 over the second"]);
            world.post(carol, team, "2 over the first");
        });
        world.start_relay(relays[1]);
        all_read(&mut world, &[alice, bob, carol], team, &["1 over the second", "2 over the first"]);
        check(&mut world, team)?;
    }
    Ok(())
}

/// A device is on for a while and dies at that write of its, if it comes so far; then it starts again.
fn alone_with_a_crash(world: &mut World, who: Who, at_write: u64, mut what: impl FnMut(&mut World)) -> bool {
    world.crash_at_write(who, at_write);
    world.restart(who);
    for _ in 0..6 {
        world.pass(10_000);
        if world.is_up(who) {
            what(world);
        }
    }
    let crashed = !world.is_up(who);
    world.crash_at_write(who, u64::MAX);
    alone(world, who, what);
    crashed
}

#[test]
fn a_crash_at_every_write_loses_nothing() -> Result<(), Livelock> {
    let mut crashes = [0, 0];
    for at_write in 0..16 {
        let (mut world, [alice, bob, carol], team, _) = met_once(at_write, 1)?;
        let mut said = 0;
        crashes[0] += u32::from(alone_with_a_crash(&mut world, alice, at_write, |world| {
            said += 1;
            world.post(alice, team, &format!("{said}"));
        }));
        let durable = world.device(alice).acknowledged.len();
        crashes[1] += u32::from(alone_with_a_crash(&mut world, bob, at_write, |_| {}));
        world.restart(bob);
        world.pass(10_000);
        let read = sorted(world.messages(bob, team));
        assert!(durable > 0 && read.len() >= durable, "at write {at_write}: {read:?} of {durable}");
        world.crash(bob);
        let texts: Vec<&str> = read.iter().map(String::as_str).collect();
        all_read(&mut world, &[alice, bob, carol], team, &texts);
        check(&mut world, team)?;
    }
    assert!(crashes[0] >= 12 && crashes[1] >= 3, "{crashes:?}");
    Ok(())
}

#[test]
fn a_relay_that_is_full_is_tried_again() -> Result<(), Livelock> {
    let (mut world, [alice, bob, carol], team, relays) = met_once(1, 1)?;
    world.relay_mut(relays[0]).refuses_puts = Some(clave_sim::Reason::Full);
    alone(&mut world, alice, |world| {
        world.post(alice, team, "1 Alice");
        world.pass(60_000);
        let status = world.engine(alice).relays(team).expect("a member").remove(0);
        assert_eq!((status.connected, status.error), (true, Some(clave_engine::RelayError::Full)));
        assert_eq!((status.waiting, world.engine(alice).waiting_for_relays(team)), (1, 1));
    });
    world.relay_mut(relays[0]).refuses_puts = None;
    all_read(&mut world, &[alice, bob, carol], team, &["1 Alice"]);
    check(&mut world, team)
}

#[test]
fn a_file_is_fetched_from_a_relay_when_nobody_is_there() -> Result<(), Livelock> {
    let (mut world, [alice, bob, _], team, _) = met_once(1, 1)?;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    let mut file = None;
    alone(&mut world, alice, |world| {
        let added = world.add_file(alice, team, "报告.bin", &content).expect("there is room");
        let contents = [added.clone()];
        world.pass(1_000);
        world.input(alice, |engine, now| engine.relay_files(team, &contents, now)).expect("a member");
        file = Some(added);
    });
    let file = file.expect("it was added");
    alone(&mut world, bob, |world| {
        world.fetch(bob, team, &file).expect("a member may");
        world.pass(60_000);
        assert_eq!(world.content(bob, team, &file), Some(content));
    });
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_run() -> Result<(), Livelock> {
    let run = |seed| -> Result<_, Livelock> {
        let (mut world, [alice, bob, carol], team, relays) = met_once(seed, 2)?;
        alone(&mut world, alice, |world| world.post(alice, team, "1"));
        world.wipe_relay(relays[0]);
        all_read(&mut world, &[alice, bob, carol], team, &["1"]);
        Ok(world.trace().hash())
    };
    assert_eq!(run(1)?, run(1)?);
    assert_ne!(run(1)?, run(2)?);
    Ok(())
}

#[test]
fn a_circle_of_a_space_is_founded_with_somebody_who_is_away() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, carol], team, _) = met_once(seed, 1)?;
        let his = world.device(bob).person;
        let mut circle = None;
        alone(&mut world, alice, |world| {
            let found = world.input(alice, |engine, now| {
                engine.create_circle(team, "预算", Scope::Nested, &[his], now).expect("an owner may")
            });
            world.pass(5_000);
            world.post(alice, found, "1 for Bob alone");
            circle = Some(found);
        });
        let circle = circle.expect("it was founded");
        alone(&mut world, carol, |world| assert_eq!(world.circles(carol), [team]));
        alone(&mut world, bob, |world| {
            assert_eq!(world.messages(bob, circle), ["1 for Bob alone"]);
            world.post(bob, circle, "2 from Bob");
        });
        alone(&mut world, alice, |world| {
            assert_eq!(sorted(world.messages(alice, circle)), ["1 for Bob alone", "2 from Bob"]);
        });
        check(&mut world, circle)?;
    }
    Ok(())
}

#[test]
fn who_lost_a_commit_of_their_own_pleads_through_a_relay() -> Result<(), Livelock> {
    for seed in 0..8 {
        let (mut world, [alice, bob, carol], team, _) = met_once(seed, 1)?;
        let before = world.device(bob).disk.content();
        alone(&mut world, alice, |world| world.set_role(alice, team, bob, Role::Owner).expect("an owner may"));
        alone(&mut world, bob, |world| {
            world.remove(bob, team, carol).expect("an owner may remove");
            world.post(bob, team, "1 Bob");
        });
        // His disk goes back to what it was before: he cannot follow his own commit.
        let disk = world.device(bob).disk.clone();
        let mut back = Batch::default();
        disk.content().into_keys().for_each(|key| back.remove(key));
        before.clone().into_iter().for_each(|(key, value)| back.put(key, value));
        disk.write(&back);
        assert!(disk.content() == before);
        alone(&mut world, alice, |world| world.post(alice, team, "2 Alice"));
        for _ in 0..3 {
            alone(&mut world, bob, |world| world.pass(120_000));
            alone(&mut world, alice, |_| {});
        }
        world.restart(bob);
        world.pass(10_000);
        assert_eq!(sorted(world.messages(bob, team)), ["1 Bob", "2 Alice"], "seed {seed}");
    }
    Ok(())
}

#[test]
fn who_reach_nothing_but_the_relay_work_together_live() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (people, team) = world.team::<6>()?;
        let relay = world.add_relay();
        world.use_relays(people[0], team, &[relay]);
        world.settle()?;
        for who in people {
            world.isolate(who);
        }
        world.pass(10_000);
        for (number, who) in people.iter().enumerate() {
            world.post(*who, team, &format!("{number}"));
            world.pass(1_000);
        }
        for who in people {
            assert_eq!(sorted(world.messages(who, team)), ["0", "1", "2", "3", "4", "5"]);
        }
        let depth = world.engine(people[0]).status(team).expect("a member").depth;
        world.remove(people[0], team, people[5]).expect("an owner may remove");
        world.pass(60_000);
        let heads = people[..5].iter().map(|who| world.engine(*who).status(team).expect("a member"));
        let heads: BTreeSet<_> = heads.map(|status| (status.epoch, status.depth)).collect();
        // One commit, though five could have made it.
        assert_eq!(heads.into_iter().map(|(_, depth)| depth).collect::<Vec<_>>(), [depth + 1], "seed {seed}");
        check(&mut world, team)?;
    }
    Ok(())
}
