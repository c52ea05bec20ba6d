//! Two people compare their keys.

use clave_engine::{CircleId, Event, Verification, VerificationFailure, VerificationStep, VerifiedBy};
use clave_sim::{Livelock, Who, World};

fn pair(world: &mut World) -> Result<(Who, Who, CircleId), Livelock> {
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle()?;
    Ok((alice, bob, team))
}

fn begin(world: &mut World, who: Who, team: CircleId, whom: Who) {
    let device = world.device(whom).id;
    world.input(who, |engine, now| engine.begin_verification(team, device, now)).expect("both are connected");
}

fn step(world: &mut World, who: Who, with: Who) -> Option<VerificationStep> {
    let device = world.device(with).id;
    world.engine(who).verification_step(device)
}

fn verification(world: &mut World, who: Who, team: CircleId, whom: Who) -> Verification {
    let person = world.device(whom).person;
    world.engine(who).verification(team, person).expect("they are in")
}

fn failures(world: &World, who: Who) -> Vec<VerificationFailure> {
    let failure = |event: &Event| match event {
        Event::VerificationFailed { why, .. } => Some(*why),
        _ => None,
    };
    world.device(who).events.iter().filter_map(failure).collect()
}

#[test]
fn two_who_see_the_same_are_verified_and_stay_so() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob, team) = pair(&mut world)?;
    assert_eq!(verification(&mut world, alice, team, alice), Verification::Own);
    assert_eq!(verification(&mut world, alice, team, bob), Verification::Unverified);
    begin(&mut world, alice, team, bob);
    world.pass(1_000);
    assert_eq!(step(&mut world, alice, bob), Some(VerificationStep::Asked));
    assert_eq!(step(&mut world, bob, alice), Some(VerificationStep::Requested));
    let (a, b) = (world.device(alice).id, world.device(bob).id);
    world.input(bob, |engine, now| engine.accept_verification(a, now)).expect("Alice asked");
    world.pass(1_000);
    let (Some(VerificationStep::Compare(hers)), Some(VerificationStep::Compare(his))) =
        (step(&mut world, alice, bob), step(&mut world, bob, alice))
    else {
        panic!("both see something to compare")
    };
    assert_eq!(hers, his);
    world.input(alice, |engine, now| engine.confirm_verification(b, now)).expect("there is something to compare");
    world.pass(1_000);
    assert_eq!(verification(&mut world, alice, team, bob), Verification::Unverified, "one side is not enough");
    world.input(bob, |engine, now| engine.confirm_verification(a, now)).expect("there is something to compare");
    world.settle()?;
    for (who, whom) in [(alice, bob), (bob, alice)] {
        let mark = verification(&mut world, who, team, whom);
        assert!(matches!(mark, Verification::Verified { by: VerifiedBy::ShortString, .. }), "{mark:?}");
        let person = world.device(whom).person;
        assert!(world.device(who).events.contains(&Event::PersonVerified { circle: team, person }));
        assert_eq!(step(&mut world, who, whom), None);
    }
    world.crash(alice);
    world.restart(alice);
    assert!(matches!(verification(&mut world, alice, team, bob), Verification::Verified { .. }));
    Ok(())
}

#[test]
fn who_sees_something_else_says_so_and_nobody_is_verified() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let (alice, bob, team) = pair(&mut world)?;
    let (a, b) = (world.device(alice).id, world.device(bob).id);
    begin(&mut world, alice, team, bob);
    world.pass(1_000);
    world.input(bob, |engine, now| engine.accept_verification(a, now)).expect("Alice asked");
    world.pass(1_000);
    world.input(alice, |engine, now| engine.confirm_verification(b, now)).expect("there is something to compare");
    world.input(bob, |engine, now| engine.cancel_verification(a, now));
    world.settle()?;
    assert_eq!(failures(&world, alice), [VerificationFailure::GivenUp]);
    for (who, whom) in [(alice, bob), (bob, alice)] {
        assert_eq!(verification(&mut world, who, team, whom), Verification::Unverified);
        assert_eq!(step(&mut world, who, whom), None);
    }
    Ok(())
}

#[test]
fn both_may_begin_at_the_same_time() -> Result<(), Livelock> {
    for seed in 3..9 {
        let mut world = World::new(seed);
        let (alice, bob, team) = pair(&mut world)?;
        begin(&mut world, alice, team, bob);
        begin(&mut world, bob, team, alice);
        world.pass(2_000);
        let (hers, his) = (step(&mut world, alice, bob), step(&mut world, bob, alice));
        assert!(matches!(hers, Some(VerificationStep::Compare(_))), "seed {seed}: {hers:?}");
        assert_eq!(hers, his, "seed {seed}");
    }
    Ok(())
}

#[test]
fn a_verification_ends_with_the_connection_or_with_its_time() -> Result<(), Livelock> {
    let mut world = World::new(10);
    let (alice, bob, team) = pair(&mut world)?;
    begin(&mut world, alice, team, bob);
    world.isolate(bob);
    world.pass(60_000);
    assert_eq!(failures(&world, alice), [VerificationFailure::Lost]);
    let device = world.device(bob).id;
    let begun = world.input(alice, |engine, now| engine.begin_verification(team, device, now));
    assert!(begun.is_err(), "Bob is not there");
    world.heal();
    world.settle()?;
    begin(&mut world, alice, team, bob);
    world.pass(11 * 60_000);
    assert_eq!(failures(&world, alice), [VerificationFailure::Lost, VerificationFailure::Lost]);
    assert_eq!(step(&mut world, bob, alice), None);
    Ok(())
}

#[test]
fn who_takes_the_name_of_somebody_verified_is_seen() -> Result<(), Livelock> {
    let mut world = World::new(11);
    let (alice, bob, team) = pair(&mut world)?;
    let person = world.device(bob).person;
    world.input(alice, |engine, now| engine.mark_verified(team, person, true, now)).expect("Bob is in");
    assert!(matches!(
        verification(&mut world, alice, team, bob),
        Verification::Verified { by: VerifiedBy::SafetyNumber, .. }
    ));
    world.remove(alice, team, bob).expect("an owner may");
    let other = world.add("bob");
    world.invite(alice, team, other);
    world.settle()?;
    assert_eq!(verification(&mut world, alice, team, other), Verification::Changed { former: person });
    world.input(alice, |engine, now| engine.mark_verified(team, person, false, now)).expect("Alice is in");
    assert_eq!(verification(&mut world, alice, team, other), Verification::Unverified);
    let (mine, theirs) = (world.device(alice).person, world.device(other).person);
    let numbers = [(alice, theirs), (other, mine)].map(|(who, whom)| world.engine(who).safety_number(whom));
    let [here, there] = numbers.map(|number| number.expect("they are people"));
    assert_eq!((here.len(), &here), (71, &there), "twelve groups of five digits");
    Ok(())
}
