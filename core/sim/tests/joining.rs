//! People come in by invitation, or are told why not.

use clave_engine::membership::{Action, PersonEntry};
use clave_engine::{EngineError, JoinError};
use clave_sim::{Livelock, World};

const NO_FAULTS: [&str; 0] = [];

#[test]
fn two_devices_join_by_link_and_chat_both_ways() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle()?;
    world.post(alice, team, "Good morning");
    world.settle()?;
    world.post(bob, team, "Hello Alice");
    world.settle()?;
    for who in [alice, bob] {
        assert_eq!(world.messages(who, team), ["Good morning", "Hello Alice"]);
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn who_joins_late_reads_everything() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
    let team = world.create_space(alice, "Team");
    world.post(alice, team, "before anybody came");
    world.invite(alice, team, bob);
    world.settle()?;
    world.post(bob, team, "between the two");
    world.settle()?;
    // Invited by somebody who was not there at the beginning.
    world.invite(bob, team, carol);
    world.settle()?;
    assert_eq!(world.messages(carol, team), ["before anybody came", "between the two"]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn a_used_invitation_is_refused() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
    let team = world.create_space(alice, "Team");
    let link = world.invitation(alice, team).expect("an owner may invite");
    world.join(bob, &link).expect("not in yet");
    world.settle()?;
    world.join(carol, &link).expect("she cannot know");
    world.settle()?;
    assert_eq!(world.join_errors(carol), [JoinError::Used]);
    assert!(world.circles(carol).is_empty());
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn an_expired_invitation_is_refused_by_the_inviters_clock() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let alice = world.alice();
    let bob = world.add_with_clock("Bob", -3_600_000);
    let team = world.create_space(alice, "Team");
    let link = world.invitation_for(alice, team, 60_000).expect("an owner may invite");
    world.pass(120_000);
    world.join(bob, &link).expect("by Bob's clock there is time left");
    world.settle()?;
    assert_eq!(world.join_errors(bob), [JoinError::Expired]);
    Ok(())
}

#[test]
fn a_revoked_invitation_is_refused() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    let link = world.invitation(alice, team).expect("an owner may invite");
    world.revoke(alice, link.invitation);
    world.join(bob, &link).expect("he cannot know");
    world.settle()?;
    assert_eq!(world.join_errors(bob), [JoinError::Revoked]);
    Ok(())
}

#[test]
fn a_tampered_invitation_is_refused() -> Result<(), Livelock> {
    let mut world = World::new(6);
    let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
    let team = world.create_space(alice, "Team");
    let other = world.create_space(alice, "Other");
    let (link, wrong) = (world.invitation(alice, team), world.invitation(alice, other));
    let (link, wrong) = (link.expect("an owner may invite"), wrong.expect("an owner may invite"));
    // The secret of another invitation, then another circle.
    let mut secret = wrong.clone();
    (secret.invitation, secret.circle) = (link.invitation, link.circle);
    world.join(bob, &secret).expect("he cannot know");
    let mut circle = link.clone();
    circle.circle = wrong.circle;
    world.join(carol, &circle).expect("she cannot know");
    world.settle()?;
    assert_eq!(world.join_errors(bob), [JoinError::Tampered]);
    assert_eq!(world.join_errors(carol), [JoinError::Tampered]);
    Ok(())
}

#[test]
fn a_lost_answer_is_given_once_more() -> Result<(), Livelock> {
    let mut world = World::new(7);
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.pass(1_000);
    world.invite(alice, team, bob);
    // The request is answered when there are two in the log; then the answer is on its way.
    while world.people(alice, team).len() < 2 {
        world.step();
    }
    world.isolate(bob);
    world.pass(10_000);
    assert!(world.circles(bob).is_empty());
    world.heal();
    world.settle()?;
    assert_eq!(world.circles(bob), [team]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn the_inviter_may_crash_at_any_write_of_a_join() -> Result<(), Livelock> {
    for writes in 0..6 {
        let mut world = World::new(100 + writes);
        let (alice, bob) = (world.alice(), world.bob());
        let team = world.create_space(alice, "Team");
        let link = world.invitation(alice, team).expect("an owner may invite");
        world.pass(1_000);
        world.crash_at_write(alice, writes);
        world.join(bob, &link).expect("not in yet");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        assert_eq!(world.circles(bob), [team], "after {writes} writes");
        assert_eq!(world.faults(team), NO_FAULTS, "after {writes} writes");
    }
    Ok(())
}

#[test]
fn who_was_removed_comes_back_by_an_invitation() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(200 + seed);
        let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
        let team = world.create_space(alice, "Team");
        world.invite(alice, team, bob);
        world.settle()?;
        world.invite(alice, team, carol);
        world.settle()?;
        world.remove(alice, team, carol).expect("an owner may");
        world.settle()?;
        world.post(bob, team, "while she was out");
        let link = world.invitation(bob, team).expect("a member may invite");
        world.join(carol, &link).expect("she is out, and knows it");
        world.settle()?;
        assert_eq!(world.people(carol, team).len(), 3, "seed {seed}");
        world.post(carol, team, "back again");
        world.settle()?;
        for who in [alice, bob, carol] {
            assert_eq!(world.messages(who, team), ["while she was out", "back again"], "seed {seed}");
        }
        assert!(world.join(carol, &link).is_err(), "she is in again");
        world.remove(alice, team, carol).expect("an owner may");
        world.settle()?;
        world.post(alice, team, "not for Carol");
        world.settle()?;
        assert_eq!(world.messages(carol, team).len(), 2, "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

#[test]
fn whose_inviter_is_lost_before_anybody_heard_of_it_is_let_in_by_the_others() -> Result<(), Livelock> {
    for seed in 30..34 {
        let mut world = World::new(seed);
        let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
        let team = world.create_space(alice, "Team");
        world.invite(alice, team, bob);
        world.settle()?;
        world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
        world.pass(5_000);
        world.invite(bob, team, carol);
        world.settle()?;
        world.post(carol, team, "Bob let me in");
        world.pass(5_000);
        world.lose(bob);
        world.heal();
        world.settle()?;
        assert_eq!(world.messages(alice, team), ["Bob let me in"], "seed {seed}");
        world.post(alice, team, "Welcome");
        world.settle()?;
        assert_eq!(world.messages(carol, team), ["Bob let me in", "Welcome"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// Bob was removed before he heard that he was in. Whoever brings him back has the key packages only that the log has.
#[test]
fn who_was_removed_before_they_had_an_answer_gets_in_once_they_were_brought_back() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (alice, bob, carol) = (world.alice(), world.bob(), world.carol());
        let team = world.create_space(alice, "Team");
        world.invite(alice, team, carol);
        world.settle()?;
        let link = world.invitation(alice, team).expect("an owner may invite");
        world.join(bob, &link).expect("not in yet");
        while world.people(alice, team).len() < 3 {
            world.step();
        }
        world.isolate(bob);
        world.pass(10_000);
        world.remove(alice, team, bob).expect("an owner may");
        world.heal();
        world.settle()?;
        assert_eq!(world.join_errors(bob), [JoinError::Removed], "seed {seed}");
        world.bring_back(carol, team, bob).expect("a member may");
        world.settle()?;
        world.join(bob, &link).expect("not in, as far as he knows");
        world.settle()?;
        assert_eq!(world.join_errors(bob), [JoinError::Removed], "seed {seed}: that of before");
        world.post(bob, team, "here at last");
        world.settle()?;
        assert_eq!(world.messages(carol, team), ["here at last"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// Carol was removed, and may come back until a date that by Alice's clock has passed: she gets no key in between.
#[test]
fn nobody_is_let_in_until_a_date_that_has_passed() -> Result<(), Livelock> {
    let mut world = World::new(8);
    let alice = world.add_with_clock("Alice", 3_600_000);
    let (bob, carol) = (world.bob(), world.carol());
    let team = world.create_space(alice, "Team");
    for guest in [bob, carol] {
        world.invite(alice, team, guest);
        world.settle()?;
    }
    let person = world.device(carol).person;
    let guest = world.engine(alice).membership(team).expect("a member").person_entry(person).expect("she is in");
    world.remove(alice, team, carol).expect("an owner may");
    world.settle()?;
    let until = |guest: &PersonEntry, expires_ms| Action::Grant { guest: guest.clone(), expires_ms };
    let in_half_an_hour = world.wall_clock_ms() + 1_800_000;
    let before = world.device(carol).events.len();
    let late = world.act(alice, team, until(&guest, in_half_an_hour));
    assert!(matches!(late, Err(EngineError::DateHasPassed)), "{late:?}");
    world.settle()?;
    assert_eq!(world.device(carol).events.len(), before, "she heard of it");
    world.act(alice, team, until(&guest, in_half_an_hour + 3_600_000)).expect("an owner may");
    world.settle()?;
    world.post(carol, team, "for an hour");
    world.settle()?;
    assert_eq!(world.messages(bob, team), ["for an hour"]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
