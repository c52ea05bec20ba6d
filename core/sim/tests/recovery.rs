//! A phone that is lost for ever, and what its person gets back with a phrase and an export.

use clave_engine::crypto::{DeviceId, Entropy, RecoveryPhrase};
use clave_engine::membership::{Action, Scope};
use clave_engine::{CircleId, EngineError, Event};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

/// Bob has written something.
fn team(world: &mut World) -> Result<([Who; 3], CircleId), Livelock> {
    let (people, team) = world.team()?;
    world.post(people[1], team, "Bob before");
    world.settle()?;
    Ok((people, team))
}

fn sorted(world: &mut World, who: Who, circle: CircleId) -> Vec<String> {
    let mut messages = world.messages(who, circle);
    messages.sort_unstable();
    messages
}

/// Who reads what was said, whatever is said next, and is one of the group like any other.
fn is_back(world: &mut World, circle: CircleId, everybody: &[Who], texts: &[&str]) -> Result<(), Livelock> {
    let mut texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
    for who in everybody {
        let text = format!("{} says it works", world.device(*who).name);
        world.post(*who, circle, &text);
        texts.push(text);
        world.settle()?;
    }
    texts.sort_unstable();
    for who in everybody {
        assert_eq!(sorted(world, *who, circle), texts, "{}", world.device(*who).name);
        assert_eq!(world.engine(*who).status(circle).expect("in it").leaves, everybody.len());
    }
    Ok(())
}

#[test]
fn a_lost_phone_comes_back_with_its_history_and_writes_once_it_is_let_in() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = team(&mut world)?;
        let board = {
            let people = [world.device(bob).person];
            let found =
                world.input(alice, |engine, now| engine.create_circle(team, "Board", Scope::Nested, &people, now));
            world.settle()?;
            found.expect("a member may found a circle")
        };
        world.post(bob, board, "Bob on the board");
        world.settle()?;
        // What nobody but the phone has: its operation too is lost unless the export hands it on.
        world.isolate(bob);
        let person = world.device(bob).person;
        world.act(bob, team, Action::SetProfile { person, name: "Bobby".to_owned() }).expect("his own name");
        let (phrase, lost) = (world.phrase(bob), world.device(bob).id);
        let mut said = 0;
        let export = world.export(bob, |world| {
            said += 1;
            if said <= 3 {
                world.post(bob, team, &format!("Bob during {said}"));
                world.pass(3);
            }
        });
        world.lose(bob);

        // The others go on, new people and new keys included.
        world.post(alice, team, "Alice meanwhile");
        let dave = world.dave();
        world.invite(alice, team, dave);
        world.settle()?;
        world.post(dave, team, "Dave is new");
        world.settle()?;

        let tablet = world.restore("tablet", &export, &phrase);
        assert_ne!(world.device(tablet).id, lost);
        let read = sorted(&mut world, tablet, team);
        assert_eq!(read[0], "Bob before");
        assert_eq!(sorted(&mut world, tablet, board), ["Bob on the board"]);
        for circle in [team, board] {
            let early = world.try_post(tablet, circle, "too early");
            assert!(matches!(early, Err(EngineError::Rejoining)), "{early:?}");
            assert!(world.engine(tablet).status(circle).expect("in it").rejoining);
        }
        assert!(matches!(world.invitation(tablet, team), Err(EngineError::Rejoining)));
        // A crash in between changes nothing.
        world.pass(20);
        world.crash(tablet);
        world.restart(tablet);
        world.post(carol, team, "Carol at the same time");
        world.settle()?;

        assert!(!world.is_rejoining(tablet), "seed {seed}");
        for circle in [team, board] {
            assert!(world.device(tablet).events.contains(&Event::Rejoined { circle }), "seed {seed}");
        }
        assert_eq!(world.engine(carol).membership(team).expect("in it").people[&person].name, "Bobby");
        world.remove_device(tablet, team, bob).expect("a person's own device");
        world.settle()?;
        for who in [alice, carol, dave, tablet] {
            assert!(!world.has_device(who, team, lost), "{} has the lost phone in", world.device(who).name);
        }
        let known = sorted(&mut world, alice, team);
        let texts: Vec<&str> = known.iter().map(String::as_str).collect();
        // What the phone alone had when it was lost, all have now; what came too late for the export is lost.
        let during = read.iter().filter(|text| text.starts_with("Bob during")).count();
        assert!(during >= 1 && read.iter().all(|text| known.contains(text)), "{during} of 3");
        assert_eq!(known.len(), during + 4);
        is_back(&mut world, team, &[alice, carol, dave, tablet], &texts)?;
        is_back(&mut world, board, &[alice, tablet], &["Bob on the board"])?;
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
        assert_eq!(world.faults(board), NO_FAULTS, "seed {seed}");
        // And it is a device like any other when it starts again.
        world.crash(tablet);
        world.restart(tablet);
        world.settle()?;
        world.post(tablet, team, "still here");
        world.settle()?;
        assert!(world.messages(alice, team).contains(&"still here".to_owned()));
    }
    Ok(())
}

#[test]
fn who_is_alone_in_a_space_begins_anew_in_it() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let (alice, bob) = (world.alice(), world.bob());
    let diary = world.create_space(alice, "Diary");
    world.post(alice, diary, "dear diary");
    world.settle()?;
    let (export, phrase, lost) = (world.export(alice, |_| {}), world.phrase(alice), world.device(alice).id);
    world.crash(alice);
    let tablet = world.restore("tablet", &export, &phrase);
    // Nobody is there who could let it in.
    world.pass(600_000);
    assert_eq!(world.messages(tablet, diary), ["dear diary"]);
    assert!(world.is_rejoining(tablet));
    world.input(tablet, |engine, now| engine.begin_anew(diary, now)).expect("Alice is alone there");
    world.post(tablet, diary, "a new page");
    world.invite(tablet, diary, bob);
    world.settle()?;
    assert_eq!(sorted(&mut world, bob, diary), ["a new page", "dear diary"]);
    // What was thought to be lost gets nothing more, and spoils nothing.
    world.restart(alice);
    world.post(alice, diary, "from the old phone");
    world.settle()?;
    for who in [tablet, bob] {
        assert!(!world.has_device(who, diary, lost));
        assert_eq!(sorted(&mut world, who, diary), ["a new page", "dear diary"]);
    }
    assert!(!world.messages(alice, diary).contains(&"a new page".to_owned()));
    Ok(())
}

#[test]
fn nobody_begins_anew_where_others_are() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let ([_, bob, _], team) = team(&mut world)?;
    let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
    world.lose(bob);
    let tablet = world.restore("tablet", &export, &phrase);
    let refused = world.input(tablet, |engine, now| engine.begin_anew(team, now));
    assert!(matches!(refused, Err(EngineError::NotAlone)), "{refused:?}");
    world.settle()?;
    assert!(!world.is_rejoining(tablet));
    Ok(())
}

#[test]
fn a_thief_with_the_disk_and_without_the_phrase_brings_no_device_in() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let ([alice, bob, carol], team) = team(&mut world)?;
    let (person, phone) = (world.device(bob).person, world.device(bob).id);
    let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
    world.lose(bob);
    // Bob restores, and revokes what was stolen.
    let tablet = world.restore("tablet", &export, &phrase);
    world.settle()?;
    world.remove_device(tablet, team, bob).expect("a person's own device");
    world.settle()?;
    // The thief has all that was on the phone, with the person's key among it, and opens it again.
    let stolen = clave_engine::Identity::load(&*world.device(bob).disk).expect("readable").expect("it is there");
    let mut guess = clave_engine::crypto::Entropy::from_seed([9; 32]);
    assert!(matches!(stolen.check_phrase(&RecoveryPhrase::generate(&mut guess)), Err(EngineError::OtherPhrase)));
    let thief = world.restore_disk("thief", bob, &stolen);
    let refused = world.input(thief, |engine, now| engine.recover(&RecoveryPhrase::generate(&mut guess), now));
    assert!(matches!(refused, Err(EngineError::OtherPhrase)));
    world.post(alice, team, "not for thieves");
    world.settle()?;
    assert!(!world.messages(thief, team).contains(&"not for thieves".to_owned()));
    for who in [alice, carol, tablet] {
        assert!(!world.has_device(who, team, phone));
        let devices = &world.engine(who).membership(team).expect("in it").people[&person].devices;
        let devices: Vec<DeviceId> = devices.iter().copied().collect();
        assert_eq!(devices, [world.device(tablet).id]);
    }
    Ok(())
}

#[test]
fn who_was_removed_meanwhile_is_not_let_in_and_told_so() -> Result<(), Livelock> {
    for seed in 0..3 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = team(&mut world)?;
        let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
        world.lose(bob);
        world.remove(alice, team, bob).expect("an owner may");
        world.settle()?;
        let tablet = world.restore("tablet", &export, &phrase);
        world.settle()?;
        world.post(alice, team, "without Bob");
        world.settle()?;
        let device = world.device(tablet).id;
        for who in [alice, carol] {
            assert!(!world.has_device(who, team, device));
        }
        assert_eq!(world.messages(tablet, team), ["Bob before"]);
        assert!(world.device(tablet).events.contains(&Event::Removed { circle: team }), "seed {seed}");
        assert!(world.try_post(tablet, team, "hello?").is_err());
    }
    Ok(())
}

/// Dave came after the export, where newcomers get no earlier keys: he could not read what it is sealed with.
#[test]
fn who_has_no_key_of_the_export_hears_of_the_restored_device_all_the_same() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let ([alice, bob, carol], team) = team(&mut world)?;
    let policy =
        |value: &str| Action::SetPolicy { key: "history".to_owned(), value: value.to_owned(), keep_heads: Vec::new() };
    world.act(alice, team, policy("since_joining")).expect("an owner may");
    world.settle()?;
    let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
    world.lose(bob);
    let dave = world.dave();
    world.invite(alice, team, dave);
    world.settle()?;
    let tablet = world.restore("tablet", &export, &phrase);
    assert_eq!(world.messages(tablet, team), ["Bob before"]);
    world.settle()?;
    assert!(!world.is_rejoining(tablet));
    let device = world.device(tablet).id;
    for who in [alice, carol, dave, tablet] {
        assert!(world.has_device(who, team, device), "{}", world.device(who).name);
        let status = world.engine(who).status(team).expect("in it");
        // The lost phone is one of them still.
        assert_eq!(status.leaves, 5, "{}", world.device(who).name);
    }
    world.splice(tablet, team, 0, 0, "a new note").expect("it is in");
    world.settle()?;
    assert_eq!(world.open_note(dave, team).markdown, "a new note\n");
    Ok(())
}

/// The machine is turned off at each write of its way back, with and without that write on its disk.
#[test]
fn a_return_that_is_interrupted_anywhere_goes_on() -> Result<(), Livelock> {
    let mut interrupted = 0;
    for write in 0..4 {
        for reaches_disk in [false, true] {
            let mut world = World::new(7);
            let ([alice, bob, carol], team) = team(&mut world)?;
            let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
            world.lose(bob);
            world.post(alice, team, "Alice meanwhile");
            let tablet = world.restore("tablet", &export, &phrase);
            if reaches_disk {
                world.crash_at_write(tablet, write);
                world.pass(30_000);
            } else {
                let written = world.writes(tablet);
                while world.writes(tablet) < written + write && world.is_rejoining(tablet) {
                    world.step();
                }
                world.crash_keeping(tablet, 0);
            }
            interrupted += u32::from(!world.is_up(tablet));
            world.crash_at_write(tablet, u64::MAX);
            world.restart(tablet);
            // What `Node::restore_account` does last may be missing.
            world.input(tablet, |engine, now| engine.recover(&phrase, now)).expect("it is their phrase");
            world.settle()?;
            assert!(!world.is_rejoining(tablet), "write {write}");
            world.remove_device(alice, team, bob).expect("an owner may");
            world.settle()?;
            is_back(&mut world, team, &[alice, carol, tablet], &["Bob before", "Alice meanwhile"])?;
            assert_eq!(world.faults(team), NO_FAULTS, "write {write}");
        }
    }
    assert!(interrupted >= 7, "{interrupted} of 8");
    Ok(())
}

#[test]
fn two_devices_restored_from_one_export_are_two_devices() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let ([alice, bob, carol], team) = team(&mut world)?;
    let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
    world.lose(bob);
    let (one, two) = (world.restore("one", &export, &phrase), world.restore("two", &export, &phrase));
    world.settle()?;
    assert!(!world.is_rejoining(one) && !world.is_rejoining(two));
    world.remove_device(one, team, bob).expect("a person's own device");
    world.settle()?;
    is_back(&mut world, team, &[alice, carol, one, two], &["Bob before"])?;
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

/// Bob changed the keys where nobody followed him, made the export there, and lost his phone.
#[test]
fn who_has_an_export_under_a_key_that_nobody_else_has_is_let_in_all_the_same() -> Result<(), Livelock> {
    let mut world = World::new(6);
    let ([alice, bob, carol], team) = team(&mut world)?;
    let tablet = world.link(bob, "Bob's tablet");
    world.settle()?;
    world.partition(&[(bob, 1), (tablet, 1)]);
    world.revoke_own_device(bob, tablet).expect("it is his");
    world.pass(1_000);
    let (export, phrase) = (world.export(bob, |_| {}), world.phrase(bob));
    world.lose(bob);
    world.lose(tablet);
    world.heal();
    let phone = world.restore("phone", &export, &phrase);
    world.settle()?;
    assert!(!world.is_rejoining(phone));
    world.remove_device(phone, team, bob).expect("a person's own device");
    world.settle()?;
    is_back(&mut world, team, &[alice, carol, phone], &["Bob before"])?;
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

#[test]
fn after_a_change_of_the_phrase_only_the_new_one_brings_anybody_in() -> Result<(), Livelock> {
    for seed in 70..73 {
        let mut world = World::new(seed);
        let [alice, bob] = ["Alice", "Bob"].map(|name| world.named(name));
        let team = world.create_space(alice, "Team");
        world.invite(alice, team, bob);
        world.settle()?;
        let laptop = world.link(bob, "laptop");
        world.settle()?;
        // A space that the laptop alone is in: it says there what it hears.
        let other = world.create_space(alice, "Other");
        world.invite(alice, other, laptop);
        world.settle()?;
        world.post(bob, team, "before");
        world.settle()?;
        let (former, old) = (world.phrase(bob), world.export(bob, |_| {}));
        let wrong = RecoveryPhrase::generate(&mut Entropy::from_seed([9; 32]));
        let refused = world.input(bob, |engine, now| engine.change_phrase(&wrong, &wrong, now));
        assert!(matches!(refused, Err(EngineError::OtherPhrase)));
        world.change_phrase(bob).expect("it is his phrase");
        world.post(bob, team, "after");
        world.settle()?;
        let next = world.phrase(bob);
        for (who, circle) in [(alice, team), (alice, other)] {
            let person = world.device(bob).person;
            let key =
                world.engine(who).membership(circle).expect("in it").people[&person].recovery.map(|named| named.key);
            assert_eq!(key, Some(*next.recovery_key().public().as_bytes()), "seed {seed}");
        }
        let check = |world: &mut World, phrase: &RecoveryPhrase| world.engine(laptop).identity().check_phrase(phrase);
        assert!(check(&mut world, &former).is_err() && check(&mut world, &next).is_ok());
        let new = world.export(bob, |_| {});
        world.lose(bob);

        // Whoever has the former phrase and an old export reads what is in it, and comes no further.
        let thief = world.restore("thief", &old, &former);
        world.settle()?;
        world.pass(600_000);
        assert!(world.is_rejoining(thief));
        assert_eq!(sorted(&mut world, thief, team), ["before"]);
        let id = world.device(thief).id;
        assert!(!world.has_device(alice, team, id));
        assert!(clave_engine::AccountReader::open(new.as_slice(), &former).is_err());
        world.lose(thief);

        let phone = world.restore("phone", &new, &next);
        world.settle()?;
        assert!(!world.is_rejoining(phone));
        assert_eq!(world.device(phone).person, world.device(bob).person);
        world.post(phone, team, "back");
        world.settle()?;
        assert_eq!(sorted(&mut world, alice, team), ["after", "back", "before"]);
    }
    Ok(())
}

/// Nobody but Bob knows yet that his phrase is another one.
#[test]
fn who_comes_in_by_the_former_phrase_while_it_is_changed_is_out_again() -> Result<(), Livelock> {
    for seed in 80..82 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = team(&mut world)?;
        let (former, old) = (world.phrase(bob), world.export(bob, |_| {}));
        world.isolate(bob);
        world.change_phrase(bob).expect("it is his phrase");
        let thief = world.restore("thief", &old, &former);
        world.settle()?;
        let device = world.device(thief).id;
        assert!(world.has_device(alice, team, device), "seed {seed}: they cannot know");
        world.heal();
        world.settle()?;
        for who in [alice, bob, carol] {
            assert!(!world.has_device(who, team, device), "seed {seed}: {}", world.device(who).name);
        }
        world.post(bob, team, "not for thieves");
        world.settle()?;
        assert!(!world.messages(thief, team).contains(&"not for thieves".to_owned()), "seed {seed}");
        assert_eq!(sorted(&mut world, carol, team), ["Bob before", "not for thieves"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}
