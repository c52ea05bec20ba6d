//! Notes and calendars that several people write at the same time.

use clave_engine::CircleId;
use clave_engine::crdt::EventPatch;
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn pair(world: &mut World) -> Result<([Who; 2], CircleId), Livelock> {
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Team");
    world.invite(alice, team, bob);
    world.settle()?;
    Ok(([alice, bob], team))
}

#[test]
fn two_write_one_note_in_a_partition() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let ([alice, bob], team) = pair(&mut world)?;
    let empty = world.open_note(alice, team);
    world.save_note(alice, team, &empty, "# Agenda\n\nfirst\n\nlast\n").expect("an owner may write");
    world.settle()?;
    let [mine, his] = [alice, bob].map(|who| world.open_note(who, team));
    assert_eq!(mine, his);

    world.partition(&[(alice, 1), (bob, 2)]);
    world.pass(5_000);
    world.save_note(alice, team, &mine, "# Agenda for Monday\n\nfirst\n\nlast\n").expect("an owner may write");
    // Bob has the note open while he also types into it elsewhere.
    let len = world.note_len(bob, team);
    world.splice(bob, team, len, 0, ", then lunch").expect("a member may write");
    world.save_note(bob, team, &his, "# Agenda\n\n- [ ] first\n\nlast\n").expect("a member may write");
    world.pass(5_000);
    assert_ne!(world.open_note(alice, team), world.open_note(bob, team));

    world.heal();
    world.settle()?;
    let text = "# Agenda for Monday\n\n- [ ] first\n\nlast, then lunch\n";
    assert_eq!([alice, bob].map(|who| world.open_note(who, team).markdown), [text; 2]);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn two_change_different_fields_of_one_event() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let ([alice, bob], team) = pair(&mut world)?;
    world.add_event(alice, team, "standup@example.org", "Standup").expect("an owner may write");
    world.settle()?;

    world.partition(&[(alice, 1), (bob, 2)]);
    world.pass(5_000);
    let summary = EventPatch { summary: Some("Morning standup".to_owned()), ..EventPatch::default() };
    let location = EventPatch { location: Some("Kitchen".to_owned()), ..EventPatch::default() };
    world.update_event(alice, team, "standup@example.org", &summary).expect("an owner may write");
    world.update_event(bob, team, "standup@example.org", &location).expect("a member may write");

    world.heal();
    world.settle()?;
    for who in [alice, bob] {
        let events = world.events(who, team);
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].summary.as_str(), events[0].location.as_str()), ("Morning standup", "Kitchen"));
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn two_who_are_apart_import_the_same_file_once() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let ([alice, bob], team) = pair(&mut world)?;
    let event = "BEGIN:VEVENT\r\nUID:one@example.org\r\nDTSTAMP:20270101T000000Z\r\nDTSTART:20270401T090000Z\r\n\
                 SUMMARY:imported\r\nEND:VEVENT\r\n";
    let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n{event}END:VCALENDAR\r\n");
    world.partition(&[(alice, 1), (bob, 2)]);
    world.import_events(alice, team, &text).expect("an owner may write");
    world.import_events(bob, team, &text).expect("a member may write");
    world.heal();
    world.settle()?;
    for who in [alice, bob] {
        assert_eq!(
            world.events(who, team).iter().map(|event| event.summary.as_str()).collect::<Vec<_>>(),
            ["imported"]
        );
    }
    world.remove_event(bob, team, "one@example.org").expect("a member may write");
    world.settle()?;
    assert_eq!(world.events(alice, team), []);
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
