//! People who remove each other, leave and are brought in while they are apart.

use clave_engine::crypto::{DeviceKey, Entropy, GroupKeyAgreement, Mls, PersonKey, Suite};
use clave_engine::fuzzing::inside;
use clave_engine::membership::{
    Action, DeviceEntry, DeviceStanding, KeyPackages, MEMBERS_MAY_INVITE, PersonEntry, Role,
};
use clave_sim::{Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];

/// All in one space, Alice and Bob its owners.
fn team<const SIZE: usize>(world: &mut World) -> Result<([Who; SIZE], clave_engine::CircleId), Livelock> {
    let (people, team) = world.team()?;
    world.set_role(people[0], team, people[1], Role::Owner).expect("an owner may");
    world.settle()?;
    Ok((people, team))
}

#[test]
fn two_camps_whose_owners_removed_each_other_become_one() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<6>(&mut world)?;
        let islands = [(people[0], 1), (people[2], 1), (people[4], 1), (people[1], 2), (people[3], 2), (people[5], 2)];
        world.partition(&islands);
        world.pass(5_000);
        world.remove(people[0], team, people[1]).expect("an owner may");
        world.remove(people[1], team, people[0]).expect("an owner may");
        world.pass(20_000);
        world.post(people[2], team, "with Alice");
        world.post(people[3], team, "with Bob");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 5, "seed {seed}: Bob, the junior, is out");
        for who in [people[0], people[2], people[3], people[4], people[5]] {
            assert_eq!(world.messages(who, team).len(), 2, "seed {seed}");
        }
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// The others hear of it on the join channel, and those who were not there then have to be able to follow them.
#[test]
fn who_leaves_while_nobody_hears_it_is_out_for_all() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<4>(&mut world)?;
        let guest = world.named("Erin");
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 2), (people[3], 3), (guest, 1)]);
        world.remove(people[2], team, people[2]).expect("everybody may leave");
        world.pass(5_000);
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 1), (people[3], 3), (guest, 1)]);
        world.pass(5_000);
        world.partition(&[(people[0], 1), (people[1], 1), (people[2], 2), (people[3], 1), (guest, 1)]);
        world.invite(people[1], team, guest);
        world.pass(60_000);
        assert_eq!(world.people(people[3], team).len(), 4, "seed {seed}: Dave never met Carol again");
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 4, "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

#[test]
fn who_was_brought_in_against_a_policy_keeps_no_key_that_is_used() -> Result<(), Livelock> {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let (people, team) = team::<3>(&mut world)?;
        world.set_role(people[0], team, people[1], Role::Member).expect("an owner may");
        world.settle()?;
        let guest = world.dave();
        world.partition(&[(people[0], 1), (people[1], 2), (people[2], 3), (guest, 2)]);
        world.pass(1_000);
        let (key, value) = (MEMBERS_MAY_INVITE.to_owned(), "false".to_owned());
        let action = Action::SetPolicy { key, value, keep_heads: Vec::new() };
        world.act(people[0], team, action).expect("an owner may");
        world.invite(people[1], team, guest);
        world.pass(10_000);
        world.post(people[1], team, "welcome");
        world.heal();
        world.settle()?;
        assert_eq!(world.members(team).len(), 3, "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// Each leaves others behind by what they know, and all of it together would leave nobody (rule M19).
#[test]
fn an_heir_whose_promotion_is_set_aside_leaves_an_owner_in() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (people, team) = team::<4>(&mut world)?;
        let [alice, bob, carol, dave] = people;
        world.set_role(alice, team, carol, Role::Owner).expect("an owner may");
        world.settle()?;
        for who in people {
            world.isolate(who);
        }
        world.pass(5_000);
        // Bob makes Dave an owner and leaves; Alice lowers Bob at the same time, then leaves to Bob and Carol; Carol leaves.
        world.set_role(bob, team, dave, Role::Owner).expect("an owner may");
        world.remove(bob, team, bob).expect("there are others");
        world.set_role(alice, team, bob, Role::Admin).expect("an owner may");
        world.remove(alice, team, alice).expect("there are others");
        world.remove(carol, team, carol).expect("there are others");
        world.pass(5_000);
        world.heal();
        world.settle()?;
        let mut members = world.members(team);
        members.sort_unstable();
        assert_eq!(members, [carol, dave], "seed {seed}");
        world.set_role(carol, team, dave, Role::Admin).expect("she is an owner still");
        world.settle()?;
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// What Bob did for Dave is known by what Dave shows: the commit by which he came in, and with it what he may read, went with
/// Bob.
#[test]
fn nothing_is_sealed_for_somebody_who_was_brought_in_beside_the_head_by_one_who_is_gone() -> Result<(), Livelock> {
    for seed in 0..3 {
        let mut world = World::new(seed);
        let ([alice, bob, carol], team) = world.team()?;
        let dave = world.dave();
        world.partition(&[(alice, 1), (carol, 1), (bob, 2), (dave, 2)]);
        world.pass(1_000);
        let (key, value) = (MEMBERS_MAY_INVITE.to_owned(), "false".to_owned());
        let action = Action::SetPolicy { key, value, keep_heads: Vec::new() };
        world.act(alice, team, action).expect("an owner may");
        world.invite(bob, team, dave);
        world.pass(10_000);
        let before = world.engine(alice).status(team).expect("a member").key;
        let has = |world: &World, key| {
            let keys = inside::content_keys(&*world.device(dave).disk, team);
            keys.into_iter().any(|(id, ..)| id == key)
        };
        assert!(has(&world, before), "seed {seed}: Bob gave it to him");
        world.lose(bob);
        world.heal();
        world.settle()?;
        let device = world.device(dave).id;
        let standing = world.engine(alice).membership(team).expect("a member").device_standing(device);
        assert!(matches!(standing, DeviceStanding::SetAside { .. }), "seed {seed}: {standing:?}");
        world.post(alice, team, "not for Dave");
        let key = world.engine(alice).status(team).expect("a member").key;
        assert!(!has(&world, key), "seed {seed}");
        world.settle()?;
        assert_eq!(world.messages(carol, team), ["not for Dave"], "seed {seed}");
        assert_eq!(world.faults(team), NO_FAULTS, "seed {seed}");
    }
    Ok(())
}

/// Somebody with two devices, neither of which is ever turned on: how they come with either.
fn paul() -> [PersonEntry; 2] {
    let mut entropy = Entropy::from_seed([7; 32]);
    let person = PersonKey::generate(&mut entropy);
    ["phone", "tablet"].map(|name| {
        let device = DeviceKey::generate(&mut entropy);
        let last_resort = Some(Mls.key_package(&device, Suite::default(), true, &mut entropy).public);
        let key_packages = KeyPackages { single_use: Vec::new(), last_resort, x_wing: None };
        let devices = vec![DeviceEntry::new(&person, &device, name, key_packages)];
        PersonEntry { person: person.id(), name: "Paul".to_owned(), devices, invitation: None, recovery: None }
    })
}

/// Carol removes Paul and brings him in again with his tablet, while Alice makes him an owner: so the removal is void, and the
/// admission with it. Bob, who knows of neither, revokes Paul's phone and leaves, and so does Alice: each by itself left somebody.
#[test]
fn a_readmission_that_comes_to_nothing_takes_no_last_owner_with_it() -> Result<(), Livelock> {
    let mut world = World::new(7);
    let ([alice, bob, carol], team) = team(&mut world)?;
    world.set_role(alice, team, carol, Role::Admin).expect("an owner may");
    let [phone, tablet] = paul();
    let (person, device) = (phone.person, phone.devices[0].device());
    world.act(alice, team, Action::AddPerson { newcomer: phone, role: Role::Member }).expect("an owner may");
    world.settle()?;
    world.isolate(carol);
    world.pass(5_000);
    world.act(carol, team, Action::revoke_person(person)).expect("an admin may");
    world.act(carol, team, Action::AddPerson { newcomer: tablet, role: Role::Member }).expect("an admin may");
    let promotion = Action::SetRole { person, role: Role::Owner, keep_heads: Vec::new() };
    world.act(alice, team, promotion).expect("an owner may");
    world.pass(20_000);
    world.isolate(alice);
    world.isolate(bob);
    world.pass(5_000);
    world.act(bob, team, Action::revoke_device(device)).expect("an owner may");
    world.remove(bob, team, bob).expect("there are others");
    world.remove(alice, team, alice).expect("there are others");
    world.pass(5_000);
    world.heal();
    world.settle()?;
    let membership = world.engine(carol).membership(team).expect("a member");
    let is_owner = |person| membership.people.get(&person).is_some_and(|person| person.role == Role::Owner);
    assert!(membership.devices.values().any(|device| is_owner(device.person)), "nobody is left who runs the circle");
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
