//! What somebody wrote while others removed them: shown the same everywhere, and nobody else's work lost by it.

use clave_engine::crdt::DocumentKind;
use clave_engine::{CircleId, DocumentId};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn chat(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Timeline, 0)
}

/// Alice, Bob, Carol and Dave, all in one space; Bob has said something that all have read.
/// Bob has written something.
fn team(world: &mut World) -> Result<([Who; 4], CircleId), Livelock> {
    let (people, team) = world.team()?;
    world.post(people[1], team, "Bob before");
    world.settle()?;
    Ok((people, team))
}

/// How much of the chat is set aside, as somebody sees it.
fn set_aside(world: &mut World, who: Who, circle: CircleId) -> usize {
    let set_aside = world.engine(who).set_aside(circle, chat(circle), DocumentKind::Timeline).expect("a member");
    let all = world.engine(who).all_set_aside(circle).expect("a member");
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), set_aside.len());
    assert_eq!(world.engine(who).status(circle).expect("a member").set_aside, set_aside.len());
    set_aside.len()
}

/// All of them read exactly this, in whatever order.
fn all_read(world: &mut World, who: &[Who], circle: CircleId, texts: &[&str]) {
    let mut texts: Vec<&str> = texts.to_vec();
    texts.sort_unstable();
    for one in who {
        let mut read = world.messages(*one, circle);
        read.sort_unstable();
        assert_eq!(read, texts, "{}", world.device(*one).name);
    }
}

/// Alice removes Bob while he writes on, apart from her with Carol if she is with him; then they meet again.
fn removed_while_apart(world: &mut World, carol_is_with_him: bool) -> Result<([Who; 4], CircleId), Livelock> {
    let (people, team) = team(world)?;
    let [alice, bob, carol, dave] = people;
    world.partition(&[(alice, 1), (dave, 1), (bob, 2), (carol, if carol_is_with_him { 2 } else { 1 })]);
    world.remove(alice, team, bob).expect("an owner may remove");
    world.post(bob, team, "Bob during");
    world.pass(5_000);
    world.post(alice, team, "Alice during");
    world.pass(2_000);
    Ok((people, team))
}

#[test]
fn what_was_written_at_the_same_time_as_a_removal_is_set_aside_by_all() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let ([alice, bob, carol, dave], team) = removed_while_apart(&mut world, true)?;
        // Carol reads it, and answers nothing. What she writes into another document is hers.
        all_read(&mut world, &[carol], team, &["Bob before", "Bob during"]);
        world.splice(carol, team, 0, 0, "Carol's note").expect("a member may write");
        world.post(bob, team, "Bob again");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave], team, &["Bob before", "Alice during"]);
        for who in [alice, carol, dave] {
            assert_eq!(set_aside(&mut world, who, team), 2);
            assert_eq!(world.open_note(who, team).markdown, "Carol's note\n");
        }
        // Everybody writes on.
        world.post(carol, team, "Carol after");
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave], team, &["Bob before", "Alice during", "Carol after"]);
        // Somebody who joins later sees the same, and so does who starts again.
        let erin = world.named("Erin");
        world.invite(dave, team, erin);
        world.settle()?;
        world.crash(alice);
        world.restart(alice);
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave, erin], team, &["Bob before", "Alice during", "Carol after"]);
        assert_eq!(set_aside(&mut world, erin, team), 2);
        assert_eq!(set_aside(&mut world, alice, team), 2);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn an_answer_keeps_what_it_answers() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let ([alice, bob, carol, dave], team) = removed_while_apart(&mut world, true)?;
        world.post(carol, team, "Carol answers");
        world.pass(5_000);
        // She reads this too, and says nothing to it.
        world.post(bob, team, "Bob unanswered");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        let read = ["Bob before", "Bob during", "Alice during", "Carol answers"];
        all_read(&mut world, &[alice, carol, dave], team, &read);
        for who in [alice, carol, dave] {
            assert_eq!(set_aside(&mut world, who, team), 1);
        }
        // The removal was too strict: Dave takes over what is left, and all see it.
        let vouched = world.vouch(dave, team, chat(team), DocumentKind::Timeline);
        assert_eq!(vouched.expect("a member may"), 1);
        world.settle()?;
        let read = ["Bob before", "Bob during", "Alice during", "Carol answers", "Bob unanswered"];
        all_read(&mut world, &[alice, carol, dave], team, &read);
        assert_eq!(set_aside(&mut world, alice, team), 0);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn what_the_remover_had_seen_stays_though_nobody_built_on_it() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (people, team) = team(&mut world)?;
        let [alice, bob, carol, dave] = people;
        // Dave has not heard it when Bob is removed; nobody looked at the document.
        world.isolate(dave);
        world.post(bob, team, "Bob last");
        world.pass(5_000);
        world.remove(alice, team, bob).expect("an owner may remove");
        world.crash(carol);
        world.pass(1_000);
        world.restart(carol);
        world.heal();
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave], team, &["Bob before", "Bob last"]);
        assert_eq!(set_aside(&mut world, dave, team), 0);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn a_look_in_the_middle_and_a_crash_at_every_write_change_nothing() -> Result<(), Livelock> {
    for writes in 1..12 {
        let mut world = World::new(writes);
        let ([alice, _, carol, dave], team) = removed_while_apart(&mut world, true)?;
        // Dave has the document open while all of it arrives, and is killed at one of his writes.
        all_read(&mut world, &[dave], team, &["Bob before", "Alice during"]);
        world.crash_at_write(dave, writes);
        world.heal();
        for _ in 0..20 {
            world.pass(200);
            if world.is_up(dave) {
                let _ = world.messages(dave, team);
            }
        }
        if !world.is_up(dave) {
            world.restart(dave);
        }
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave], team, &["Bob before", "Alice during"]);
        assert_eq!(set_aside(&mut world, dave, team), 1);
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}
