//! What is shown without loading a document: previews, unread counts, titles, agendas.

use clave_engine::crdt::{DocumentKind, Draft, EventPatch, MessageId};
use clave_engine::{CircleId, Event, Keyspace, Preview};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn team(world: &mut World) -> Result<(Who, Who, CircleId), Livelock> {
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "小组");
    world.invite(alice, team, bob);
    world.settle()?;
    Ok((alice, bob, team))
}

fn say(world: &mut World, who: Who, circle: CircleId, draft: &Draft) -> MessageId {
    let posted = world.input(who, |engine, now| {
        let (segment, random) = (engine.segment(circle, 0, now)?, engine.random());
        engine.edit(circle, segment, DocumentKind::Timeline, now, |document, _| {
            document.timeline()?.post(now, random, draft)
        })
    });
    posted.expect("there is room")
}

fn preview(world: &mut World, who: Who, circle: CircleId) -> Preview {
    world.engine(who).preview(circle).expect("a member")
}

fn read(world: &mut World, who: Who, circle: CircleId, up_to: Option<MessageId>) {
    world.input(who, |engine, now| engine.mark_read(circle, up_to, now)).expect("a member");
}

fn stale(world: &World, who: Who, circle: CircleId) -> usize {
    world.device(who).disk.suffixes(Keyspace::Stale, circle.as_bytes()).len()
}

#[test]
fn others_messages_are_unread_until_they_are_read() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob, team) = team(&mut world)?;
    let person = *world.device(bob).person.as_bytes();
    let first = say(&mut world, alice, team, &Draft::text("你好"));
    say(&mut world, alice, team, &Draft { mentions: vec![person], ..Draft::text("鲍勃,\n看看这个") });
    let last = say(&mut world, alice, team, &Draft::text("  three\twords here "));
    world.settle()?;
    let mine = preview(&mut world, alice, team);
    assert_eq!((mine.messages, mine.unread, mine.mentions), (3, 0, 0), "one's own are not unread");
    let shown = preview(&mut world, bob, team);
    assert_eq!((shown.messages, shown.unread, shown.mentions, shown.current), (3, 3, 1, true));
    let newest = shown.newest.expect("three were sent");
    assert_eq!((newest.id, newest.name.as_str(), newest.text.as_str()), (last, "Alice", "three words here"));
    read(&mut world, bob, team, Some(first));
    let shown = preview(&mut world, bob, team);
    assert_eq!((shown.unread, shown.mentions, shown.read), (2, 1, Some(first)));
    read(&mut world, bob, team, None);
    let shown = preview(&mut world, bob, team);
    assert_eq!((shown.unread, shown.mentions, shown.read), (0, 0, Some(last)));
    // It never goes back.
    read(&mut world, bob, team, Some(first));
    assert_eq!(preview(&mut world, bob, team).read, Some(last));
    world.settle()?;
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn what_is_withdrawn_is_neither_shown_nor_unread() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let (alice, bob, team) = team(&mut world)?;
    say(&mut world, alice, team, &Draft::text("stays"));
    let gone = say(&mut world, alice, team, &Draft::text("goes"));
    world.settle()?;
    assert_eq!(preview(&mut world, bob, team).unread, 2);
    let withdrawn = world.input(alice, |engine, now| {
        let segment = engine.segment(team, 0, now)?;
        engine.edit(team, segment, DocumentKind::Timeline, now, |document, _| document.timeline()?.withdraw(&gone))
    });
    withdrawn.expect("it is her own");
    world.settle()?;
    let shown = preview(&mut world, bob, team);
    assert_eq!((shown.messages, shown.unread), (2, 1));
    assert_eq!(shown.newest.expect("one stays").text, "stays");
    Ok(())
}

#[test]
fn a_message_from_the_future_does_not_have_all_others_pass_as_read() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let (alice, bob, team) = team(&mut world)?;
    let year_ms = 365 * 86_400_000;
    let posted = world.input(alice, |engine, now| {
        let (segment, random) = (engine.segment(team, 0, now)?, engine.random());
        engine.edit(team, segment, DocumentKind::Timeline, now, |document, _| {
            document.timeline()?.post(now + year_ms, random, &Draft::text("from next year"))
        })
    });
    posted.expect("nobody checks the time of a message");
    world.settle()?;
    read(&mut world, bob, team, None);
    say(&mut world, alice, team, &Draft::text("after that"));
    world.pass(600_000);
    say(&mut world, alice, team, &Draft::text("and ten minutes later"));
    world.settle()?;
    assert!(preview(&mut world, bob, team).unread >= 2, "the one from next year, and the last");
    Ok(())
}

#[test]
fn ones_own_devices_agree_on_what_is_read_and_nobody_else_is_told() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let (alice, bob, team) = team(&mut world)?;
    say(&mut world, bob, team, &Draft::text("before the phone"));
    world.settle()?;
    read(&mut world, alice, team, None);
    let phone = world.link(alice, "Alice's phone");
    world.settle()?;
    assert_eq!(preview(&mut world, phone, team).unread, 0, "it came with the link");
    say(&mut world, bob, team, &Draft::text("二"));
    world.settle()?;
    for who in [alice, phone] {
        assert_eq!(preview(&mut world, who, team).unread, 1);
    }
    read(&mut world, phone, team, None);
    world.pass(700_000);
    world.settle()?;
    let marks = [alice, phone].map(|who| preview(&mut world, who, team).read);
    assert_eq!(marks[0], marks[1]);
    assert_eq!(preview(&mut world, alice, team).unread, 0);
    assert!(world.device(alice).events.contains(&Event::ReadChanged { circle: team }));
    assert!(!world.device(bob).events.iter().any(|event| matches!(event, Event::ReadChanged { .. })));
    // Reading on says so once in a while, and not each time: everybody carries these entries.
    let before = world.device(bob).disk.suffixes(Keyspace::Entries, team.as_bytes()).len();
    for n in 0..20 {
        say(&mut world, bob, team, &Draft::text(format!("{n}")));
        world.pass(10_000);
        read(&mut world, alice, team, None);
    }
    world.pass(1_300_000);
    world.settle()?;
    let after = world.device(bob).disk.suffixes(Keyspace::Entries, team.as_bytes()).len();
    assert!(after - before <= 20 + 2, "{} entries beside the messages", after - before - 20);
    assert_eq!(preview(&mut world, phone, team).unread, 0);
    Ok(())
}

#[test]
fn an_hour_of_silence_writes_nothing() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let (alice, bob, team) = team(&mut world)?;
    say(&mut world, alice, team, &Draft::text("one"));
    read(&mut world, bob, team, None);
    world.pass(3_600_000);
    let before = [alice, bob].map(|who| world.device(who).disk.content());
    world.pass(3_600_000);
    assert!([alice, bob].map(|who| world.device(who).disk.content()) == before);
    Ok(())
}

#[test]
fn a_crash_at_any_write_leaves_nothing_stale_unnoticed() -> Result<(), Livelock> {
    for writes in 0..12 {
        let mut world = World::new(600 + writes);
        let (alice, bob, team) = team(&mut world)?;
        world.crash_at_write(bob, writes);
        for n in 0..6 {
            say(&mut world, alice, team, &Draft::text(format!("message {n}")));
            world.pass(900);
            if world.is_up(bob) {
                read(&mut world, bob, team, None);
            }
        }
        world
            .input(alice, |engine, now| {
                let note = clave_engine::DocumentId::from_bytes(engine.random());
                engine.edit(team, note, DocumentKind::Note, now, |document, _| document.note()?.set_title("会议记录"))
            })
            .expect("she may");
        let patch = EventPatch { summary: Some("moved".to_owned()), ..EventPatch::default() };
        world.add_event(alice, team, "1@example.org", "周会").expect("she may");
        world.update_event(alice, team, "1@example.org", &patch).expect("she may");
        world.pass(5_000);
        if !world.is_up(bob) {
            world.restart(bob);
        }
        world.settle()?;
        assert_eq!(stale(&world, bob, team), 0, "{writes}");
        assert_eq!(world.faults(team), NO_FAULTS, "{writes}");
    }
    Ok(())
}

#[test]
fn documents_stay_within_the_budget_and_lose_nothing() -> Result<(), Livelock> {
    let mut world = World::new(7);
    let (alice, _, team) = team(&mut world)?;
    world.engine(alice).set_memory_budget(300_000);
    let mut notes = Vec::new();
    for n in 0..20 {
        let note = world.input(alice, |engine, now| {
            let note = clave_engine::DocumentId::from_bytes(engine.random());
            engine.edit(team, note, DocumentKind::Note, now, |document, _| {
                document.note()?.set_title(&format!("note {n}"))?;
                document.note()?.splice_many(&[(0, 0, "words ".repeat(100).as_str())])
            })?;
            Ok::<_, clave_engine::EngineError>(note)
        });
        notes.push(note.expect("she may"));
        assert!(world.engine(alice).resident_bytes() <= 300_000 + 200_000);
    }
    for (n, note) in notes.iter().enumerate() {
        let document = world.engine(alice).document(team, *note, DocumentKind::Note).expect("it is there");
        assert_eq!(document.note().expect("a note").title(), format!("note {n}"));
    }
    let titles = world.engine(alice).titles(team).expect("a member");
    assert_eq!(titles.len(), 20);
    assert!(world.engine(alice).resident_bytes() <= 300_000);
    Ok(())
}
