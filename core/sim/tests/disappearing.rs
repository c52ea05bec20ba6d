//! Ratcheted circles: what has expired is nowhere, what is young is everywhere, whoever was apart, away, or came late.

use std::collections::BTreeSet;

use clave_engine::crypto::KeyId;
use clave_engine::fuzzing::inside;
use clave_engine::membership::Action;
use clave_engine::{CircleId, Keyspace, StoreRead};
use clave_sim::{Livelock, Who, World};

const HOUR_MS: u64 = 3_600_000;
/// The stated time, and a quarter of it.
const RATCHET_MS: u64 = 4 * HOUR_MS;
const PERIOD_MS: u64 = HOUR_MS;
/// How often somebody says something while people talk.
const STEP_MS: u64 = 10 * 60_000;

fn ratcheted(seed: u64) -> Result<(World, [Who; 4], CircleId), Livelock> {
    let mut world = World::new(seed);
    let people = [("Alice", 0), ("Bob", 90_000), ("Carol", -120_000), ("Dave", 30_000)]
        .map(|(name, skew_ms)| world.add_with_clock(name, skew_ms));
    let team = world.create_space(people[0], "Team");
    for guest in &people[1..] {
        world.invite(people[0], team, *guest);
        world.settle()?;
    }
    let (key, value) = ("history".to_owned(), format!("ratcheted:{}", RATCHET_MS / 1_000));
    world.act(people[0], team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    world.settle()?;
    Ok((world, people, team))
}

/// Whether this is the name of a lasting key: those are not of the chat, and stay.
fn is_lasting(name: &[u8]) -> bool {
    KeyId::try_from(name).expect("keys are filed by their names").is_lasting()
}

/// The entries on a disk that are to expire.
fn fleeting(world: &World, who: Who, circle: CircleId) -> BTreeSet<Vec<u8>> {
    let mut entries = BTreeSet::new();
    let read = &mut |id: &[u8], envelope: Vec<u8>| {
        if !inside::tag(&envelope).expect("it was stored as one").is_lasting() {
            entries.insert(id.to_vec());
        }
        true
    };
    world.device(who).disk.scan(Keyspace::Entries, circle.as_bytes(), &[], read).expect("memory can be read");
    entries
}

/// The names of all content keys on the disk of anybody, but for those that are sealed under now.
fn keys(world: &mut World, circle: CircleId) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    let mut heads = BTreeSet::new();
    for who in world.everyone() {
        keys.extend(world.device(who).disk.suffixes(Keyspace::ContentKeys, circle.as_bytes()));
        if let Ok(status) = world.engine(who).status(circle) {
            heads.insert(status.key.as_bytes().to_vec());
        }
    }
    keys.retain(|name| !is_lasting(name));
    keys.difference(&heads).cloned().collect()
}

fn all_read(world: &mut World, who: &[Who], circle: CircleId, texts: &[&str]) {
    let texts: BTreeSet<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    for one in who {
        let read: BTreeSet<String> = world.messages(*one, circle).into_iter().collect();
        assert_eq!(read, texts, "{}", world.device(*one).name);
    }
}

/// What does not hold, but for what is meant to be lost and for what came too late and was refused.
fn faults(world: &mut World, circle: CircleId) -> Vec<String> {
    let meant =
        |fault: &String| fault.starts_with("nothing is lost") || fault.contains("expired by the history policy");
    let mut faults = world.faults(circle);
    faults.retain(|fault| !meant(fault));
    faults
}

/// Everybody talks now and then.
fn chatter(world: &mut World, who: &[Who], circle: CircleId, steps: u64, about: &str) {
    for step in 0..steps {
        let one = who[usize::try_from(step).expect("few") % who.len()];
        world.post(one, circle, &format!("{about} {step}"));
        world.pass(STEP_MS);
    }
}

#[test]
fn what_expired_is_nowhere_and_what_is_young_is_everywhere() -> Result<(), Livelock> {
    for seed in 0..2 {
        let (mut world, [alice, bob, carol, dave], team) = ratcheted(seed)?;
        chatter(&mut world, &[alice, bob, carol, dave], team, 8, "together");
        world.settle()?;

        // Carol is away for longer than anything lasts. The others fall apart in two for half of it.
        world.isolate(carol);
        chatter(&mut world, &[alice, bob, dave], team, 8, "without Carol");
        world.partition(&[(alice, 1), (bob, 2), (dave, 2), (carol, 3)]);
        world.post(alice, team, "Alice alone");
        chatter(&mut world, &[bob, dave], team, 8, "Bob and Dave");
        let erin = world.named("Erin");
        world.partition(&[(alice, 1), (bob, 1), (dave, 1), (erin, 1), (carol, 3)]);
        world.settle()?;
        all_read_among(&mut world, &[alice, bob, dave], team, "Alice alone");
        all_read_among(&mut world, &[alice, bob, dave], team, "Bob and Dave 7");

        // Erin comes while Carol is away; of that no entry will be left.
        world.invite(bob, team, erin);
        world.settle()?;
        let old = keys(&mut world, team);
        assert!(old.len() > 2);
        chatter(&mut world, &[alice, bob, dave, erin], team, (RATCHET_MS + 3 * PERIOD_MS) / STEP_MS, "later");
        world.post(carol, team, "Carol writes where nobody is");
        world.pass(STEP_MS);
        world.post(erin, team, "just now");
        world.settle()?;

        world.heal();
        world.pass(3 * STEP_MS);
        world.settle()?;
        let everyone = [alice, bob, carol, dave, erin];
        all_read_among(&mut world, &everyone, team, "just now");
        // What Carol wrote is for those of whom she knew. Erin came later than that.
        all_read_among(&mut world, &[alice, bob, carol, dave], team, "Carol writes where nobody is");
        assert!(!world.messages(erin, team).iter().any(|text| text.starts_with("Carol")));
        for who in [alice, bob, dave, erin] {
            // As far back as was stated: some time passed since.
            for step in (4 * PERIOD_MS / STEP_MS)..((RATCHET_MS + 3 * PERIOD_MS) / STEP_MS) {
                assert!(world.messages(who, team).contains(&format!("later {step}")), "{step}");
            }
        }
        for who in everyone {
            assert!(!world.messages(who, team).iter().any(|text| text.starts_with("together")));
        }
        let left: BTreeSet<_> = keys(&mut world, team).intersection(&old).cloned().collect();
        assert_eq!(left, BTreeSet::new(), "keys that had to go are on somebody's disk");

        // All expires in silence, and everybody is at one.
        world.pass(RATCHET_MS + 3 * PERIOD_MS);
        world.settle()?;
        all_read(&mut world, &everyone, team, &[]);
        assert_eq!(keys(&mut world, team), BTreeSet::new());
        world.post(carol, team, "anew");
        world.post(alice, team, "and again");
        world.settle()?;
        all_read(&mut world, &everyone, team, &["anew", "and again"]);
        assert_eq!(faults(&mut world, team), [""; 0]);
    }
    Ok(())
}

/// All of them read this, among other things.
fn all_read_among(world: &mut World, who: &[Who], circle: CircleId, text: &str) {
    for one in who {
        let read = world.messages(*one, circle);
        assert!(read.iter().any(|read| read == text), "{} does not read {text:?}", world.device(*one).name);
    }
}

#[test]
fn who_comes_back_after_everything_expired_learns_who_is_in_before_they_write() -> Result<(), Livelock> {
    for seed in 10..12 {
        let (mut world, [alice, bob, carol, dave], team) = ratcheted(seed)?;
        world.post(bob, team, "before");
        world.settle()?;
        world.isolate(carol);
        world.remove(alice, team, bob).expect("an owner may");
        world.post(dave, team, "after");
        world.settle()?;
        world.pass(4 * RATCHET_MS);
        // Nobody has an entry that says so.
        assert!(fleeting(&world, alice, team).is_empty());
        world.heal();
        world.pass(60_000);
        let engine = world.engine(carol);
        assert_eq!(engine.membership(team).expect("a member").devices.len(), 3);
        assert_eq!(
            world.engine(carol).status(team).expect("a member").key,
            world.engine(alice).status(team).expect("a member").key
        );
        world.post(carol, team, "not for Bob");
        world.settle()?;
        all_read(&mut world, &[alice, carol, dave], team, &["not for Bob"]);
        assert_eq!(faults(&mut world, team), [""; 0]);
    }
    Ok(())
}

#[test]
fn a_crash_during_an_expiry_leaves_nothing_behind() -> Result<(), Livelock> {
    for writes in 0..2 {
        let (mut world, [alice, bob, carol, dave], team) = ratcheted(writes)?;
        chatter(&mut world, &[alice, bob, carol, dave], team, 6, "soon gone");
        world.settle()?;
        let entries = |world: &World| fleeting(world, alice, team);
        let (before, keys_before) = (entries(&world), keys(&mut world, team));
        world.pass(RATCHET_MS - PERIOD_MS / 2);
        world.crash_at_write(alice, writes);
        world.pass(3 * PERIOD_MS);
        assert!(!world.is_up(alice), "it never came to that write");
        world.restart(alice);
        world.settle()?;
        assert!(entries(&world).is_disjoint(&before));
        assert!(keys(&mut world, team).is_disjoint(&keys_before));
        for keyspace in [Keyspace::Held, Keyspace::Documents] {
            assert!(world.device(alice).disk.suffixes(keyspace, team.as_bytes()).is_empty(), "{keyspace:?}");
        }
        world.post(bob, team, "and on");
        world.settle()?;
        all_read(&mut world, &[alice, bob, carol, dave], team, &["and on"]);
        assert_eq!(faults(&mut world, team), [""; 0]);
    }
    Ok(())
}
