//! Commits made apart: one branch wins, and whoever is on the other comes along.

use clave_engine::crypto::{Entropy, EpochId};
use clave_engine::fuzzing::inside::{self, What};
use clave_engine::fuzzing::rogue::{Rogue, Said, Sealed};
use clave_engine::membership::{Action, KeyPackages};
use clave_engine::{CircleId, EntryId, Key, Keyspace, StoreRead};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

fn head(world: &mut World, who: Who, circle: CircleId) -> EpochId {
    world.engine(who).status(circle).expect("a member").epoch
}

/// The commits that a device has.
fn commits(world: &mut World, who: Who, circle: CircleId) -> Vec<Sealed> {
    let disk = world.device(who).disk.clone();
    let mut commits = Vec::new();
    for suffix in disk.suffixes(Keyspace::Entries, circle.as_bytes()) {
        let id = EntryId::try_from(suffix.as_slice()).expect("entries are filed by their ids");
        let key = Key::new(Keyspace::Entries, circle.as_bytes(), suffix);
        let bytes = disk.read(&key).expect("memory can be read").expect("it is there");
        match inside::open(world.engine(who), circle, &bytes) {
            Some(entry) if matches!(entry.what, What::Commit { .. }) => {
                commits.push(Sealed { id, tag: entry.tag, bytes });
            }
            _ => {}
        }
    }
    commits
}

/// Dave comes in on a branch that loses. While he is away he is added to the other, which goes on; of that he hears the
/// commits, and has the keys to read them, before the Welcome to where they start from.
#[test]
fn who_hears_of_commits_before_their_welcome_follows_them_and_nobody_commits_for_them() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let ([alice, bob, carol], team) = world.team()?;
    let [dave, frank, grace] = ["Dave", "Frank", "Grace"].map(|name| world.named(name));
    world.partition(&[(alice, 1), (carol, 1), (frank, 1), (grace, 1), (bob, 2), (dave, 2)]);
    world.pass(1_000);
    world.invite(bob, team, dave);
    for guest in [frank, grace] {
        world.invite(alice, team, guest);
        world.pass(20_000);
    }
    world.isolate(dave);
    world.partition(&[(bob, 1)]);
    world.settle()?;
    world.remove(alice, team, frank).expect("an owner may");
    world.settle()?;
    let ahead = head(&mut world, alice, team);
    assert_ne!(head(&mut world, dave, team), ahead);
    // Carol keeps to no rule, and is in a hurry.
    world.turn_rogue(carol);
    let carols = Rogue::of(world.engine(carol), team).expect("a member");
    let keys = carols.epochs().into_iter().map(|epoch| (epoch, **carols.key(&epoch).expect("it is hers").as_bytes()));
    let said = Said::Keys { keys: keys.collect(), operations: Vec::new() };
    let (device, now_ms) = (world.device(dave).id, world.wall_clock_ms());
    let noise = world.engine(alice).membership(team).expect("a member").devices[&device].noise;
    let keys = carols.seal_direct((device, &noise), said, now_ms, &mut Entropy::from_seed([3; 32]));
    let early = [keys.expect("it is small")].into_iter().chain(commits(&mut world, carol, team));
    world.partition(&[(dave, 3), (carol, 3)]);
    while !world.are_connected(carol, dave) {
        world.step();
    }
    early.for_each(|entry| world.give(carol, dave, team, entry));
    world.settle()?;
    world.heal();
    world.settle()?;
    for who in [alice, bob, dave] {
        assert_eq!(head(&mut world, who, team), ahead, "{}", world.device(who).name);
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

/// Dave and Erin come in on a branch that loses: they are to be added to the other by the key packages that the log has, of
/// which Erin made hers useless before she was gone.
#[test]
fn key_packages_of_no_use_keep_nobody_else_out() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let ([alice, bob, carol], team) = world.team()?;
    let [dave, erin, frank, grace, heidi] = ["Dave", "Erin", "Frank", "Grace", "Heidi"].map(|name| world.named(name));
    let with_alice = [alice, carol, frank, grace, heidi].map(|who| (who, 1));
    world.partition(&[&with_alice[..], &[(bob, 2), (dave, 2), (erin, 2)]].concat());
    world.pass(1_000);
    for (by, guest) in [(bob, dave), (bob, erin), (alice, frank), (alice, grace), (alice, heidi)] {
        world.invite(by, team, guest);
        world.pass(20_000);
    }
    let key_packages = KeyPackages { single_use: vec![vec![7; 100]], last_resort: Some(vec![9; 100]), x_wing: None };
    world.act(erin, team, Action::PublishKeyPackages { key_packages }).expect("they are hers");
    world.pass(20_000);
    world.lose(erin);
    world.heal();
    world.settle()?;
    world.post(dave, team, "here at last");
    world.settle()?;
    for who in [alice, bob, carol, dave, frank, grace, heidi] {
        assert_eq!(world.messages(who, team), ["here at last"], "{}", world.device(who).name);
        assert_eq!(world.engine(who).status(team).expect("a member").leaves, 7, "all but Erin");
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
