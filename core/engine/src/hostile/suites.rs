//! What a member can do who wants a post-quantum circle to be less than that.

use clave_crypto::{DeviceKey, GroupKeyAgreement, Mls, RosterChange, Suite};

use super::rig::*;
use crate::entry::{Body, Envelope};
use crate::membership::{Action, Insertion, Log, Operation, Policy, Role, Scope};
use crate::proto::entry as proto;
use crate::{CircleId, Keyspace, Refusal};

/// A space of the default suite, and in it a post-quantum circle with everybody.
fn team() -> (Rig, CircleId, CircleId) {
    let (mut rig, space) = Rig::mls_team(&["Alice", "Bob", "Carol"]);
    rig.act(ALICE, space, Policy::PostQuantumCircles(true).into_action(Vec::new()));
    rig.settle();
    let people = [BOB, CAROL].map(|who| rig.devices[who].engine.identity().person().expect("they are somebody"));
    let now_ms = rig.now_ms;
    let engine = &mut rig.devices[ALICE].engine;
    let circle = engine.create_circle_of(space, "Board", Scope::Nested, Suite::XWing, &people, now_ms);
    let circle = circle.expect("all have published");
    rig.settle();
    rig.honest_exchange(circle);
    (rig, space, circle)
}

/// Bob founds a group under the circle's id in which keys are agreed on by X25519, far deeper than the true one, and draws
/// Alice into it by what her device published in the space.
#[test]
fn a_welcome_into_a_weaker_group_under_the_circles_id_is_refused() {
    let (mut rig, space, circle) = team();
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let alice = rig.devices[ALICE].id;
    let package = |circle| {
        let devices = &rig.devices[BOB].engine.membership(circle).expect("a member").devices;
        devices[&alice].key_packages.last_resort.clone().expect("there is always one")
    };
    for (suite, package, follows) in [(Suite::X25519, package(space), false), (Suite::XWing, package(circle), true)] {
        let mut checkpoint = Mls.create(&device, circle.as_bytes(), suite, &mut rig.entropy);
        for _ in 0..20 {
            let renewed = Mls.commit(&device, &checkpoint, &RosterChange::default(), &mut rig.entropy);
            checkpoint = renewed.expect("it can").checkpoint;
        }
        let change = RosterChange { add: vec![package], remove: Vec::new() };
        let output = Mls.commit(&device, &checkpoint, &change, &mut rig.entropy).expect("it can");
        let log = &rig.devices[BOB].engine.circles[&circle].log;
        let operations = log.heads().iter().map(|id| id.as_bytes().to_vec()).collect();
        let welcome = proto::Welcome { message: output.welcome.expect("one was added"), operations };
        let entry = rig.seal_direct(BOB, ALICE, circle, Body::Welcome(welcome));
        if follows {
            rig.give(BOB, ALICE, circle, vec![entry]);
        } else {
            rig.refuses(ALICE, Refusal::Unexpected, |rig| rig.give(BOB, ALICE, circle, vec![entry]));
        }
        // Of the right suite it is what E33 is about.
        assert_eq!(rig.devices[ALICE].engine.circles[&circle].group.knows(&output.checkpoint.epoch), follows);
    }
}

/// Bob founds a circle that says to be post-quantum, and introduces Alice to a group of X25519.
#[test]
fn an_introduction_to_a_weaker_group_is_refused() {
    let (mut rig, space, circle) = team();
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let alice = rig.devices[ALICE].id;
    let package = rig.devices[BOB].engine.membership(space).expect("a member").devices[&alice].key_packages.clone();
    let entry = |who: usize| {
        let person = rig.devices[who].engine.identity().person().expect("they are somebody");
        let known = rig.devices[BOB].engine.membership(circle).expect("a member");
        known.person_entry(person).expect("they are in")
    };
    let (newcomer, founder) = (entry(ALICE), entry(BOB));
    let genesis = Action::Genesis {
        name: "Trap".to_owned(),
        nonce: [3; 16],
        founder,
        parent: Some(space),
        scope: Scope::Nested,
        suite: Suite::XWing,
    };
    let mut log = Log::found(&device, genesis, START_MS).expect("it is in order");
    let add = Action::AddPerson { newcomer, role: Role::Member };
    let add = log.new_operation(&device, add, START_MS).expect("he may");
    assert!(matches!(log.insert(add), Insertion::Inserted(_)));
    let trap = log.circle();
    for (suite, package, follows) in
        [(Suite::X25519, package.last_resort.clone(), false), (Suite::XWing, package.x_wing.clone(), true)]
    {
        let created = Mls.create(&device, trap.as_bytes(), suite, &mut rig.entropy);
        let change = RosterChange { add: vec![package.expect("she published one")], remove: Vec::new() };
        let output = Mls.commit(&device, &created, &change, &mut rig.entropy).expect("it can");
        let introduction = proto::Introduction {
            operations: log.operations().map(Operation::encode).collect(),
            welcome: output.welcome.expect("one was added"),
            keys: Vec::new(),
        };
        let entry = rig.seal_direct(BOB, ALICE, space, Body::Introduction(introduction));
        // The entry is kept and passed on like any other.
        rig.give(BOB, ALICE, space, vec![entry]);
        assert_eq!(rig.refusals(ALICE).get(&Refusal::BadIntroduction), Some(&1));
        assert_eq!(rig.devices[ALICE].engine.circles.contains_key(&trap), follows);
    }
}

/// What is sealed to one device is sealed by X25519 alone. Whoever breaks that one day must not find keys of the circle in
/// it: neither in introductions nor in answers to pleas.
#[test]
fn what_is_sealed_to_a_device_holds_no_key_of_a_post_quantum_circle() {
    let (mut rig, space, circle) = team();
    let old = rig.tag(ALICE, circle).as_bytes().to_vec();
    rig.renew(ALICE, circle);
    rig.settle();
    // Bob, who is somewhere else by his own word, pleads for a key that he could well have.
    let device = DeviceKey::from_seed(rig.devices[BOB].key.seed().clone());
    let key_package = Mls.key_package(&device, Suite::XWing, false, &mut rig.entropy).public;
    let plea = proto::Plea {
        epoch: vec![9; 32],
        depth: 0,
        tags: vec![old],
        key_package,
        operations: Vec::new(),
        astray: false,
    };
    let before = rig.devices[ALICE].engine.status(circle).expect("a member").epoch;
    let entry = rig.seal_direct(BOB, ALICE, circle, Body::Plea(plea));
    rig.give(BOB, ALICE, circle, vec![entry]);
    rig.settle();
    assert_ne!(
        rig.devices[ALICE].engine.status(circle).expect("a member").epoch,
        before,
        "it is answered by a new leaf"
    );

    let mut introductions = 0;
    for of in [space, circle] {
        for id in rig.entry_ids(ALICE, of) {
            let envelope = rig.stored(ALICE, Keyspace::Entries, of, id.as_bytes());
            let envelope = Envelope::decode(envelope).expect("it was stored");
            let Some(opened) = rig.devices.iter().find_map(|device| envelope.open_direct(of, &device.key).ok()) else {
                continue;
            };
            match opened.body {
                Body::Keys(bundle) => assert!(bundle.keys.is_empty()),
                Body::Introduction(introduction) => {
                    introductions += 1;
                    assert!(introduction.keys.is_empty());
                }
                _ => {}
            }
        }
    }
    assert_eq!(introductions, 3, "of Bob and Carol, and with the new leaf once more of Bob");
    rig.post(ALICE, circle, "to all");
    rig.settle();
    // Bob's leaf is of a key package whose private half his device does not have.
    assert_eq!(rig.messages(CAROL, circle).last().map(String::as_str), Some("to all"));
}
