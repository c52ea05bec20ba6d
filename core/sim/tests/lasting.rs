//! Circles that do not keep all of their history: notes, calendars and drives are there as they are, for whoever is in.

use clave_engine::membership::Action;
use clave_engine::{CircleId, Keyspace, StoreRead};
use clave_sim::{Livelock, Who, World};

const HOUR_MS: u64 = 3_600_000;
const NO_FAULTS: [&str; 0] = [];

fn circle(seed: u64, policy: &str) -> Result<(World, [Who; 3], CircleId), Livelock> {
    let mut world = World::new(seed);
    let people = ["Alice", "Bob", "Carol"].map(|name| world.named(name));
    let team = world.create_space(people[0], "Team");
    let (key, value) = ("history".to_owned(), policy.to_owned());
    world.act(people[0], team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    for guest in &people[1..] {
        world.invite(people[0], team, *guest);
        world.settle()?;
    }
    Ok((world, people, team))
}

fn append(world: &mut World, who: Who, circle: CircleId, text: &str) {
    let length = world.note_len(who, circle);
    world.splice(who, circle, length, 0, text).expect("a member may write");
}

fn note(world: &mut World, who: Who, circle: CircleId) -> String {
    world.open_note(who, circle).markdown.trim_end().to_owned()
}

fn events(world: &mut World, who: Who, circle: CircleId) -> Vec<String> {
    world.events(who, circle).into_iter().map(|event| event.uid).collect()
}

/// What does not hold, but for what a policy means to be lost.
fn faults(world: &mut World, circle: CircleId) -> Vec<String> {
    let meant =
        |fault: &String| fault.starts_with("nothing is lost") || fault.contains("expired by the history policy");
    let mut faults = world.faults(circle);
    faults.retain(|fault| !meant(fault));
    faults
}

#[test]
fn a_newcomer_has_the_note_the_calendar_and_the_files_and_not_the_chat_from_before() -> Result<(), Livelock> {
    for seed in 0..3 {
        let (mut world, [alice, bob, carol], team) = circle(seed, "since_joining")?;
        let content: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        append(&mut world, alice, team, "agenda");
        world.post(alice, team, "before");
        world.settle()?;
        // Two epochs apart, each with something that lasts.
        world.partition(&[(alice, 1), (bob, 2), (carol, 2)]);
        for (who, uid) in [(alice, "a@example.org"), (bob, "b@example.org")] {
            let change = Action::SetPolicy { key: "invite".to_owned(), value: "member".to_owned(), keep_heads: vec![] };
            let _ = world.act(who, team, change);
            world.add_event(who, team, uid, "Standup").expect("a member may write");
            world.post(who, team, "while apart");
        }
        let file = world.add_file(bob, team, "plan.pdf", &content).expect("a member may write");
        world.pass(20_000);
        world.heal();
        world.settle()?;
        let dave = world.named("Dave");
        world.invite(carol, team, dave);
        world.settle()?;
        world.post(carol, team, "since");
        append(&mut world, dave, team, ", amended");
        world.settle()?;
        for who in [alice, bob, carol, dave] {
            assert_eq!(note(&mut world, who, team), "agenda, amended");
            assert_eq!(events(&mut world, who, team), ["a@example.org", "b@example.org"]);
            assert_eq!(world.files(who, team), ["plan.pdf"]);
        }
        assert_eq!(world.messages(dave, team), ["since"]);
        assert_eq!(world.messages(alice, team).len(), 4);
        world.fetch(dave, team, &file).expect("it is in the drive");
        world.settle()?;
        assert_eq!(world.content(dave, team, &file).as_deref(), Some(content.as_slice()));
        world.restart(dave);
        world.settle()?;
        assert_eq!(note(&mut world, dave, team), "agenda, amended");
        // Of the chat he carries what he cannot read.
        let mut faults = faults(&mut world, team);
        faults.retain(|fault| !fault.contains("Dave: "));
        assert_eq!(faults, NO_FAULTS);
    }
    Ok(())
}

#[test]
fn when_the_chat_has_expired_the_rest_is_there_for_whoever_is_in_comes_or_was_away() -> Result<(), Livelock> {
    for seed in 10..12 {
        let (mut world, [alice, bob, carol], team) = circle(seed, "ratcheted:14400")?;
        append(&mut world, alice, team, "one ");
        let file = world.add_file(alice, team, "plan.pdf", &[7; 100_000]).expect("an owner may write");
        world.post(bob, team, "old");
        world.settle()?;
        world.isolate(carol);
        append(&mut world, carol, team, "away ");
        world.post(carol, team, "said to nobody");
        for step in 0..48 {
            world.post(if step % 2 == 0 { alice } else { bob }, team, "later");
            world.pass(HOUR_MS / 2);
            if step == 8 {
                append(&mut world, bob, team, "two ");
            }
        }
        world.restart(bob);
        world.settle()?;
        let expected = ["one", "two"];
        for who in [alice, bob] {
            assert!(!world.messages(who, team).iter().any(|text| text == "old"));
            let note = note(&mut world, who, team);
            assert!(expected.iter().all(|word| note.contains(word)), "{note}");
        }
        // Erin comes when everything that the chat was sealed with is gone.
        let erin = world.named("Erin");
        world.isolate(carol);
        world.invite(bob, team, erin);
        world.settle()?;
        let seen = note(&mut world, erin, team);
        assert!(expected.iter().all(|word| seen.contains(word)), "{seen}");
        assert_eq!(world.messages(erin, team), [""; 0]);
        world.fetch(erin, team, &file).expect("it is in the drive");
        world.settle()?;
        assert_eq!(world.content(erin, team, &file), Some(vec![7; 100_000]));

        // What Carol wrote into the note is older than anything of the chat, and counts all the same.
        world.heal();
        world.pass(HOUR_MS / 4);
        world.settle()?;
        append(&mut world, carol, team, "back");
        world.settle()?;
        let notes = [alice, bob, carol, erin].map(|who| note(&mut world, who, team));
        assert!(["one", "two", "away", "back"].iter().all(|word| notes[0].contains(word)), "{notes:?}");
        assert!(notes.iter().all(|note| *note == notes[0]), "{notes:?}");

        // In silence all of the chat goes, from every disk, and nothing else does.
        world.pass(24 * HOUR_MS);
        world.settle()?;
        for who in [alice, bob, carol, erin] {
            world.restart(who);
        }
        world.settle()?;
        for who in [alice, bob, carol, erin] {
            assert_eq!(world.messages(who, team), [""; 0]);
            assert_eq!(note(&mut world, who, team), notes[0]);
            assert_eq!(world.files(who, team), ["plan.pdf"]);
            let disk = &world.device(who).disk;
            let read = &mut |name: &[u8], _: Vec<u8>| {
                assert!(name.last() != Some(&1), "a segment of the chat is left");
                true
            };
            disk.scan(Keyspace::Documents, team.as_bytes(), &[], read).expect("memory can be read");
        }
        assert_eq!(faults(&mut world, team), NO_FAULTS);
    }
    Ok(())
}

#[test]
fn a_device_that_was_linked_later_reads_what_its_person_may_and_a_newcomer_does_not() -> Result<(), Livelock> {
    for (seed, policy) in [(20, "since_joining"), (21, "ratcheted:86400"), (22, "since_joining")] {
        let (mut world, [alice, bob, carol], team) = circle(seed, policy)?;
        world.post(alice, team, "together");
        world.settle()?;
        let dave = world.named("Dave");
        world.partition(&[(alice, 1), (carol, 1), (dave, 1), (bob, 2)]);
        // On either side somebody comes: for Bob's person nobody new.
        world.invite(alice, team, dave);
        world.pass(20_000);
        world.post(alice, team, "there");
        let phone = world.link(bob, "phone");
        world.pass(20_000);
        world.post(bob, team, "here");
        world.settle()?;
        assert!(!world.messages(phone, team).contains(&"there".to_owned()));
        world.heal();
        world.pass(120_000);
        world.settle()?;
        for who in [alice, bob, carol, phone] {
            let mut read = world.messages(who, team);
            read.sort();
            assert_eq!(read, ["here", "there", "together"], "{}", world.device(who).name);
        }
        assert_eq!(world.messages(dave, team), ["there"]);
        let stranger = |fault: &String| fault.contains("Dave: ");
        let mut faults = faults(&mut world, team);
        faults.retain(|fault| !stranger(fault));
        assert_eq!(faults, NO_FAULTS);
    }
    Ok(())
}

/// Alice's act is sealed under an epoch that Dave, who is let in by the other half, may not read.
#[test]
fn a_newcomer_hears_of_what_was_done_on_another_branch_before_it_came() -> Result<(), Livelock> {
    for seed in 0..3 {
        let (mut world, [alice, bob, carol], team) = circle(seed, "since_joining")?;
        let dave = world.named("Dave");
        world.partition(&[(alice, 1), (bob, 2), (carol, 2), (dave, 2)]);
        world.act(alice, team, Action::Rename { name: "小组".to_owned() }).expect("an owner may");
        world.invite(carol, team, dave);
        world.pass(20_000);
        world.heal();
        world.settle()?;
        for who in [alice, bob, carol, dave] {
            assert_eq!(world.engine(who).membership(team).expect("a member").name, "小组", "seed {seed}");
        }
        let mut faults = faults(&mut world, team);
        faults.retain(|fault| !fault.contains("Dave: "));
        assert_eq!(faults, NO_FAULTS);
    }
    Ok(())
}

#[test]
fn what_was_kept_from_a_newcomer_is_read_once_the_policy_is_full() -> Result<(), Livelock> {
    for seed in 40..43 {
        let (mut world, [alice, bob, carol], team) = circle(seed, "since_joining")?;
        world.post(bob, team, "before");
        world.settle()?;
        // Beyond what clocks may differ by.
        world.pass(48 * HOUR_MS);
        let dave = world.named("Dave");
        world.invite(alice, team, dave);
        world.settle()?;
        world.post(carol, team, "since");
        world.settle()?;
        assert_eq!(world.messages(dave, team), ["since"]);
        let (key, value) = ("history".to_owned(), "full".to_owned());
        world.act(alice, team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
        world.restart(dave);
        world.settle()?;
        for who in [alice, bob, carol, dave] {
            assert_eq!(world.messages(who, team), ["before", "since"]);
        }
        assert_eq!(world.faults(team), NO_FAULTS);
    }
    Ok(())
}
