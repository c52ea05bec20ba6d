//! Several devices of one person: linked, cut off half way, brought into circles, lost.

use clave_engine::membership::Scope;
use clave_engine::{CircleId, Event};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn team(world: &mut World) -> Result<(Who, Who, CircleId), Livelock> {
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.post(alice, team, "before anybody came");
    world.invite(alice, team, bob);
    world.settle()?;
    Ok((alice, bob, team))
}

fn is_linked(world: &World, who: Who) -> bool {
    world.device(who).events.contains(&Event::LinkFinished)
}

#[test]
fn a_linked_device_reads_all_and_writes() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob, team) = team(&mut world)?;
    let other = world.create_space(alice, "Alone");
    let phone = world.link(alice, "Alice's phone");
    world.settle()?;
    assert!(is_linked(&world, phone));
    let mut circles = world.circles(phone);
    circles.sort();
    let mut expected = [team, other];
    expected.sort();
    assert_eq!(circles, expected);
    world.post(phone, team, "from the phone");
    world.settle()?;
    assert_eq!(world.messages(bob, team), ["before anybody came", "from the phone"]);
    assert_eq!(world.messages(phone, team), ["before anybody came", "from the phone"]);
    for circle in [team, other] {
        assert_eq!(world.faults(circle), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn either_side_may_crash_at_any_write_of_a_link() -> Result<(), Livelock> {
    for writes in 0..8 {
        for new_one in [false, true] {
            let mut world = World::new(100 + writes);
            let (alice, bob, team) = team(&mut world)?;
            let other = world.create_space(alice, "Alone");
            world.settle()?;
            let phone = world.link(alice, "Alice's phone");
            world.crash_at_write(if new_one { phone } else { alice }, writes);
            world.pass(5_000);
            world.heal();
            world.settle()?;
            let case = format!("after {writes} writes, the new one: {new_one}");
            assert_eq!(world.circles(phone).len(), 2, "{case}");
            world.post(phone, team, "from the phone");
            world.settle()?;
            assert_eq!(world.messages(bob, team), ["before anybody came", "from the phone"], "{case}");
            for circle in [team, other] {
                assert_eq!(world.faults(circle), NO_FAULTS, "{case}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_link_goes_on_when_the_connection_comes_back() -> Result<(), Livelock> {
    for cut_ms in [100, 300, 600, 1_000, 2_000] {
        let mut world = World::new(200 + cut_ms);
        let (alice, _, team) = team(&mut world)?;
        let spaces: Vec<_> = (0..5).map(|n| world.create_space(alice, &format!("Space {n}"))).collect();
        world.settle()?;
        let phone = world.link(alice, "Alice's phone");
        world.pass(cut_ms);
        world.isolate(phone);
        world.pass(10_000);
        world.heal();
        world.settle()?;
        assert!(is_linked(&world, phone), "cut after {cut_ms} ms");
        assert_eq!(world.circles(phone).len(), spaces.len() + 1);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn a_device_is_brought_into_circles_that_were_founded_while_it_was_linked() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let (alice, bob, team) = team(&mut world)?;
    let person = world.device(bob).person;
    let before = world.input(alice, |engine, now| engine.create_circle(team, "Board", Scope::Nested, &[person], now));
    let before = before.expect("an owner may");
    world.settle()?;
    world.post(alice, before, "between us");
    // Bob's tablet is linked while his phone, which is in the circle, is all that he has.
    let tablet = world.link(bob, "Bob's tablet");
    world.settle()?;
    assert_eq!(world.messages(tablet, before), ["between us"]);
    // And one that Alice founds later she founds with all his devices; one that only his phone knows of is his to share.
    world.isolate(tablet);
    world.pass(5_000);
    let direct = world.input(bob, |engine, now| engine.create_circle(team, "Notes", Scope::Nested, &[], now));
    let direct = direct.expect("a member may found one");
    world.post(bob, direct, "for myself");
    world.settle()?;
    world.heal();
    world.settle()?;
    assert_eq!(world.messages(tablet, direct), ["for myself"]);
    assert_eq!(world.faults(direct), NO_FAULTS);
    assert_eq!(world.faults(before), NO_FAULTS);
    Ok(())
}

#[test]
fn a_lost_device_is_out_everywhere_at_once() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let (alice, bob, team) = team(&mut world)?;
    let phone = world.link(alice, "Alice's phone");
    world.settle()?;
    let circle = world.input(alice, |engine, now| engine.create_circle(team, "Board", Scope::Nested, &[], now));
    let circle = circle.expect("an owner may");
    world.settle()?;
    assert!(world.circles(phone).contains(&circle), "it was not brought in");
    world.isolate(phone);
    world.pass(5_000);
    let (device, before) = (world.device(phone).id, world.engine(alice).status(team).expect("she is in").key);
    world.input(alice, |engine, now| engine.revoke_own_device(device, now)).expect("it is hers");
    assert_ne!(world.engine(alice).status(team).expect("she is in").key, before, "the key did not change at once");
    world.post(alice, team, "without the phone");
    world.settle()?;
    world.heal();
    world.settle()?;
    assert_eq!(world.messages(bob, team), ["before anybody came", "without the phone"]);
    assert_eq!(world.messages(phone, team), ["before anybody came"]);
    for circle in [team, circle] {
        assert!(world.device(phone).events.contains(&Event::Removed { circle }), "it was not told");
    }
    Ok(())
}

#[test]
fn who_leaves_with_one_device_leaves_with_all_though_nobody_else_is_there() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let (alice, bob, team) = team(&mut world)?;
    let phone = world.link(alice, "Alice's phone");
    world.settle()?;
    let person = world.device(alice).person;
    let circle = world.input(bob, |engine, now| engine.create_circle(team, "Board", Scope::Nested, &[person], now));
    let circle = circle.expect("a member may found one");
    world.settle()?;
    assert!([alice, phone].iter().all(|who| world.circles(*who).contains(&circle)), "they were not brought in");
    world.isolate(bob);
    world.pass(5_000);
    world.remove(phone, circle, alice).expect("anybody may leave");
    world.settle()?;
    for who in [alice, phone] {
        assert!(world.device(who).events.contains(&Event::Removed { circle }), "it was not told");
    }
    world.heal();
    world.settle()?;
    assert_eq!(world.faults(circle), NO_FAULTS);
    Ok(())
}

#[test]
fn a_device_whose_link_broke_off_is_introduced_by_others() -> Result<(), Livelock> {
    let mut reached = 0;
    for seed in 300..320 {
        let mut world = World::new(seed);
        let (alice, bob, team) = team(&mut world)?;
        let person = world.device(alice).person;
        let circle = world.input(bob, |engine, now| engine.create_circle(team, "Board", Scope::Nested, &[person], now));
        let circle = circle.expect("a member may found one");
        world.post(bob, circle, "你好");
        world.settle()?;
        let tablet = world.link(bob, "Bob's tablet");
        let device = world.device(tablet).id;
        // Bob's phone is gone as soon as anybody knows that it brought his tablet in.
        while !world.engine(alice).membership(circle).expect("she is in").devices.contains_key(&device) {
            world.pass(1);
        }
        world.lose(bob);
        if world.circles(tablet).contains(&circle) || !world.circles(tablet).contains(&team) {
            continue;
        }
        reached += 1;
        world.settle()?;
        assert_eq!(world.messages(tablet, circle), ["你好"], "seed {seed}");
        assert_eq!(world.faults(circle), NO_FAULTS, "seed {seed}");
    }
    assert!(reached > 0, "no link broke off where it was to");
    Ok(())
}
