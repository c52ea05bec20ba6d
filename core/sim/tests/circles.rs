//! Circles inside a space: who learns of them, and how they follow the space.

use clave_engine::membership::{Role, Scope};
use clave_engine::{CircleId, EngineError, Event, Keyspace, StoreRead};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn found(world: &mut World, who: Who, space: CircleId, name: &str, with: &[Who]) -> CircleId {
    let people: Vec<_> = with.iter().map(|who| world.device(*who).person).collect();
    world
        .input(who, |engine, now| engine.create_circle(space, name, Scope::Nested, &people, now))
        .expect("a member may found a circle")
}

fn is_in(world: &mut World, who: Who, circle: CircleId) -> bool {
    let device = world.device(who).id;
    world.engine(who).membership(circle).is_ok_and(|membership| membership.devices.contains_key(&device))
}

#[test]
fn a_circle_is_known_inside_it_only() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (people, space) = world.team::<3>()?;
    let [alice, bob, carol] = people[..] else { unreachable!("a team of three") };
    let circle = found(&mut world, alice, space, "董事会", &[bob]);
    world.settle()?;
    assert!(world.device(bob).events.contains(&Event::CircleJoined { space, circle }));
    let infos = world.engine(bob).circles_of(space).expect("Bob is in the space");
    assert_eq!(infos.len(), 1);
    assert_eq!((infos[0].name.as_str(), infos[0].people, infos[0].direct), ("董事会", 2, false));
    world.post(alice, circle, "between us");
    world.settle()?;
    assert_eq!(world.messages(bob, circle), ["between us"]);
    assert_eq!(world.faults(circle), NO_FAULTS);
    assert_eq!(world.faults(space), NO_FAULTS);
    // Carol carries the introduction like any entry, and nothing more.
    assert_eq!(world.engine(carol).circles_of(space).expect("Carol is in the space"), []);
    let disk = world.device(carol).disk.clone();
    for keyspace in Keyspace::ALL {
        for scope in [circle.as_bytes().as_slice(), &[]] {
            disk.scan(keyspace, scope, &[], &mut |suffix, value| {
                let names = |bytes: &[u8]| bytes.windows(32).any(|window| window == circle.as_bytes());
                assert!(!names(suffix) && !names(&value), "Carol's device holds the circle's id in {keyspace:?}");
                true
            })
            .expect("the disk can be read");
        }
    }
    Ok(())
}

#[test]
fn an_introduction_waits_for_who_is_away() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let (people, space) = world.team::<3>()?;
    let [alice, bob, carol] = people[..] else { unreachable!("a team of three") };
    world.isolate(bob);
    let circle = found(&mut world, alice, space, "Board", &[bob]);
    world.post(alice, circle, "read this when you are back");
    world.settle()?;
    // Alice and Bob never meet; Carol hands the introduction on without knowing what it is.
    world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
    world.settle()?;
    assert!(is_in(&mut world, bob, circle));
    world.heal();
    world.settle()?;
    assert_eq!(world.messages(bob, circle), ["read this when you are back"]);
    assert_eq!(world.faults(circle), NO_FAULTS);
    Ok(())
}

#[test]
fn who_is_removed_from_the_space_is_out_of_its_circles() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let (people, space) = world.team::<4>()?;
    let [alice, bob, carol, dave] = people[..] else { unreachable!("a team of four") };
    // Bob's own circle: nobody but Bob has a right to remove anybody there.
    let circle = found(&mut world, bob, space, "Bob's", &[carol, dave]);
    world.settle()?;
    world.post(bob, circle, "hello");
    world.settle()?;
    world.remove(alice, space, bob).expect("an owner may");
    world.settle()?;
    world.post(carol, circle, "he is gone");
    world.settle()?;
    assert_eq!(world.messages(dave, circle), ["hello", "he is gone"]);
    assert_eq!(world.messages(bob, circle), ["hello"]);
    let leaves = world.engine(carol).status(circle).expect("Carol is in").leaves;
    assert_eq!(leaves, 2, "Bob's device still has the keys");
    Ok(())
}

#[test]
fn an_owner_of_the_circle_writes_down_who_has_left_the_space() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let (people, space) = world.team::<4>()?;
    let [alice, bob, carol, dave] = people[..] else { unreachable!("a team of four") };
    let circle = found(&mut world, carol, space, "Carol's", &[bob, dave]);
    world.settle()?;
    // Dave's half hears of it later, and has a commit on the circle to judge before that.
    world.partition(&[(alice, 1), (carol, 1), (bob, 1), (dave, 2)]);
    world.remove(alice, space, bob).expect("an owner may");
    world.settle()?;
    world.heal();
    world.settle()?;
    let person = world.device(bob).person;
    for who in [carol, dave] {
        assert!(!world.engine(who).membership(circle).expect("they are in").people.contains_key(&person));
    }
    world.post(dave, circle, "without Bob");
    world.settle()?;
    assert_eq!(world.messages(carol, circle), ["without Bob"]);
    assert_eq!(world.messages(bob, circle), [""; 0]);
    assert_eq!(world.faults(space), NO_FAULTS);
    Ok(())
}

#[test]
fn two_who_begin_to_talk_at_the_same_time_end_in_one_chat() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let (people, space) = world.team::<3>()?;
    let [alice, bob, _] = people[..] else { unreachable!("a team of three") };
    world.isolate(bob);
    for (who, other) in [(alice, bob), (bob, alice)] {
        let person = world.device(other).person;
        assert_eq!(world.engine(who).direct_circle(space, person).expect("they are in"), None);
        let made = world.input(who, |engine, now| engine.create_direct_circle(space, person, now));
        made.expect("they are in the space");
    }
    world.heal();
    world.settle()?;
    let (to_bob, to_alice) = (world.device(bob).person, world.device(alice).person);
    let chat = world.engine(alice).direct_circle(space, to_bob).expect("Alice is in").expect("there are two");
    assert_eq!(world.engine(bob).direct_circle(space, to_alice).expect("Bob is in"), Some(chat));
    let name = |world: &mut World, who: Who| {
        let infos = world.engine(who).circles_of(space).expect("they are in");
        infos.into_iter().find(|info| info.id == chat).expect("it is there").name
    };
    assert_eq!((name(&mut world, alice), name(&mut world, bob)), ("Bob".to_owned(), "Alice".to_owned()));
    world.post(bob, chat, "你好");
    world.settle()?;
    assert_eq!(world.messages(alice, chat), ["你好"]);
    assert_eq!(world.faults(chat), NO_FAULTS);
    Ok(())
}

#[test]
fn both_sides_of_a_partition_bring_the_same_person_in() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, space) = world.team::<4>()?;
        let [alice, bob, carol, dave] = people[..] else { unreachable!("a team of four") };
        let circle = found(&mut world, alice, space, "Board", &[bob]);
        world.settle()?;
        let side = 1 + u8::from(seed % 2 == 0);
        world.partition(&[(alice, 1), (bob, 2), (carol, side), (dave, 1)]);
        world.pass(5_000);
        let person = world.device(carol).person;
        for who in [alice, bob] {
            world
                .input(who, |engine, now| engine.add_person(circle, person, Role::Member, now))
                .expect("members may bring people in");
        }
        world.pass(20_000);
        world.post(alice, circle, "said here");
        world.post(bob, circle, "said there");
        world.heal();
        world.settle()?;
        assert!(is_in(&mut world, carol, circle), "seed {seed}");
        let mut read = world.messages(carol, circle);
        read.sort();
        assert_eq!(read, ["said here", "said there"], "seed {seed}");
        assert_eq!(world.faults(circle), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

#[test]
fn a_guest_stays_until_the_date_and_everybody_is_reminded() -> Result<(), Livelock> {
    const HOUR_MS: u64 = 3_600_000;
    let mut world = World::new(7);
    let (people, space) = world.team::<3>()?;
    let [alice, bob, carol] = people[..] else { unreachable!("a team of three") };
    let circle = found(&mut world, alice, space, "The report", &[bob]);
    world.settle()?;
    let (person, start) = (world.device(carol).person, world.input(alice, |_, now| now));
    let ends = start + 3 * HOUR_MS;
    world.input(alice, |engine, now| engine.grant_until(circle, person, ends, now)).expect("an owner may");
    world.settle()?;
    world.post(alice, circle, "while it lasts");
    world.settle()?;
    assert_eq!(world.messages(carol, circle), ["while it lasts"]);
    let reminder = Event::GrantEnds { circle, person, expires_ms: ends };
    let reminded =
        |world: &World, who: Who| world.device(who).events.iter().filter(|event| **event == reminder).count();
    assert_eq!(reminded(&world, bob), 1, "it ends within a day");
    world.pass(2 * HOUR_MS + 60_000);
    assert_eq!((reminded(&world, bob), reminded(&world, carol)), (2, 2), "it ends within an hour");
    assert!(is_in(&mut world, carol, circle));
    world.pass(HOUR_MS);
    world.settle()?;
    world.post(bob, circle, "after it");
    world.settle()?;
    assert_eq!(world.messages(alice, circle), ["while it lasts", "after it"]);
    assert_eq!(world.messages(carol, circle), ["while it lasts"]);
    assert!(!world.engine(alice).membership(circle).expect("Alice is in").people.contains_key(&person));
    assert_eq!(world.engine(alice).status(circle).expect("Alice is in").leaves, 2);
    Ok(())
}

#[test]
fn only_people_of_the_space_are_brought_into_its_circles() -> Result<(), Livelock> {
    let mut world = World::new(8);
    let (people, space) = world.team::<2>()?;
    let stranger = world.named("Eve");
    let circle = found(&mut world, people[0], space, "Board", &[]);
    let person = world.device(stranger).person;
    let added = world.input(people[0], |engine, now| engine.add_person(circle, person, Role::Member, now));
    assert!(matches!(added, Err(EngineError::NotAllowed(_))), "{added:?}");
    Ok(())
}

#[test]
fn a_commit_that_the_space_justified_is_judged_alike_by_all_though_the_removal_is_void() -> Result<(), Livelock> {
    let mut world = World::new(9);
    let (people, space) = world.team::<4>()?;
    let [alice, bob, carol, dave] = people[..] else { unreachable!("a team of four") };
    world.set_role(alice, space, bob, Role::Owner).expect("an owner may");
    let circle = found(&mut world, carol, space, "Nightshift", &[alice, dave]);
    world.settle()?;
    world.partition(&[(alice, 1), (dave, 1), (bob, 2), (carol, 2)]);
    world.remove(bob, space, alice).expect("an owner may");
    world.pass(2_000);
    // Carol changes the keys before the owners' quarrel is decided, and writes nothing about it into the circle's log.
    world.post(carol, circle, "without Alice");
    world.remove(alice, space, bob).expect("an owner may");
    world.post(dave, circle, "with Alice");
    world.heal();
    world.settle()?;
    // Of the two Alice is senior: she never was out. But who judged while she was, and who does now, come to the same.
    for who in [alice, carol, dave] {
        assert!(is_in(&mut world, who, space), "{}", world.device(who).name);
        assert_eq!(world.engine(who).status(circle).expect("in the circle").held, 0, "{}", world.device(who).name);
    }
    assert_eq!(world.faults(circle), NO_FAULTS);
    Ok(())
}

#[test]
fn a_circle_that_cannot_be_founded_leaves_nothing_behind() -> Result<(), Livelock> {
    let mut world = World::new(10);
    let (people, space) = world.team::<2>()?;
    let [alice, bob] = people[..] else { unreachable!("a team of two") };
    world.remove_device(alice, space, bob).expect("an owner may");
    world.settle()?;
    let person = world.device(bob).person;
    for name in ["Board", ""] {
        let founded = world.input(alice, |engine, now| match name {
            "" => engine.create_direct_circle(space, person, now),
            name => engine.create_circle(space, name, Scope::Nested, &[person, person], now),
        });
        assert!(matches!(founded, Err(EngineError::NotAllowed(_))), "{founded:?}");
    }
    world.settle()?;
    world.crash(alice);
    world.restart(alice);
    assert_eq!(world.circles(alice), [space]);
    // Somebody named twice is in it once.
    let (mine, circle) = (world.device(alice).person, found(&mut world, alice, space, "Mine", &[alice, alice]));
    assert_eq!(world.people(alice, circle), [mine]);
    Ok(())
}

#[test]
fn who_is_out_of_the_space_writes_nothing_in_its_circles() -> Result<(), Livelock> {
    let mut world = World::new(11);
    let (people, space) = world.team::<3>()?;
    let [alice, bob, carol] = people[..] else { unreachable!("a team of three") };
    let circle = found(&mut world, carol, space, "Carol's", &[bob]);
    world.settle()?;
    world.remove(alice, space, bob).expect("an owner may");
    world.settle()?;
    let written = world.try_post(bob, circle, "for whoever has the old keys");
    assert!(matches!(written, Err(EngineError::NotAllowed(_))), "{written:?}");
    Ok(())
}

/// Bob brought Carol in, then fell apart from her, brought Dave in, and is gone: neither of the two has heard of the other.
#[test]
fn who_was_brought_in_by_somebody_who_is_gone_is_heard_of() -> Result<(), Livelock> {
    for seed in 20..24 {
        let mut world = World::new(seed);
        let (people, space) = world.team::<4>()?;
        let [alice, bob, carol, dave] = people[..] else { unreachable!("a team of four") };
        let circle = found(&mut world, bob, space, "Nightshift", &[carol]);
        world.settle()?;
        world.partition(&[(alice, 1), (carol, 1), (bob, 2), (dave, 2)]);
        world.pass(5_000);
        let person = world.device(dave).person;
        world.input(bob, |engine, now| engine.add_person(circle, person, Role::Member, now)).expect("an owner may");
        world.pass(10_000);
        assert!(is_in(&mut world, dave, circle));
        world.lose(bob);
        world.heal();
        world.post(dave, circle, "I am new here");
        world.settle()?;
        assert_eq!(world.messages(carol, circle), ["I am new here"], "seed {seed}");
        assert_eq!(world.faults(circle), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}
