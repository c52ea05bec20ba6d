//! Several owners: what becomes of a circle whose owners turn on each other, or all leave.

use clave_engine::membership::{Action, Reason, Role};

use crate::harness::{Circle, Peer, add, alice, meet, remove, set_role};

/// Alice, then Bob, then Carol, by seniority: all of them owners.
fn owners() -> (Circle, [Peer; 3]) {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    let mut carol = circle.joins("Carol", Role::Owner, &mut alice);
    meet(&mut [&mut alice, &mut bob, &mut carol]);
    (circle, [alice, bob, carol])
}

fn all_meet(owners: &mut [Peer; 3]) {
    let [alice, bob, carol] = owners;
    meet(&mut [alice, bob, carol]);
}

/// Whoever is left can still run the circle.
fn is_governable(circle: &mut Circle, by: &mut Peer) {
    let mut heir = circle.joins("Dan", Role::Member, by);
    by.does(set_role(&heir, Role::Owner));
    by.does(remove(by));
    heir.hears(by);
    heir.does(Action::Rename { name: "Dan's".into() });
    assert_eq!((heir.role(&heir), heir.role(by)), (Some(Role::Owner), None));
}

#[test]
fn of_three_owners_who_remove_each_other_in_a_ring_one_stands() {
    let (mut circle, mut owners) = owners();
    let [of_bob, of_carol, of_alice] = [(0, 1), (1, 2), (2, 0)].map(|(by, whom): (usize, usize)| {
        let removal = remove(&owners[whom]);
        owners[by].does(removal)
    });
    all_meet(&mut owners);
    let [alice, _, carol] = &owners;
    // Alice, the senior, is first: Bob is out, and his removal of Carol with him. So nothing stops Carol's of Alice.
    assert_eq!(alice.reason(of_bob), None);
    assert_eq!(alice.reason(of_carol), Some(Reason::RemovedMeanwhile { by: of_bob }));
    assert_eq!(alice.reason(of_alice), None);
    assert_eq!(owners.each_ref().map(|owner| carol.role(owner)), [None, None, Some(Role::Owner)]);
    let said = [of_bob, of_carol, of_alice].map(|id| carol.log.describe(&id).expect("it is in the log"));
    assert_eq!(said, ["Alice removed Bob", "Bob removed Carol", "Carol removed Alice"]);
    assert_eq!(
        carol.sentence(of_carol),
        "Bob's removal of Carol was set aside because Alice removed Bob at the same time."
    );
    is_governable(&mut circle, &mut owners[2]);
}

#[test]
fn in_the_ring_the_other_way_round_one_stands_too() {
    let (mut circle, mut owners) = owners();
    let [of_carol, of_bob, of_alice] = [(0, 2), (2, 1), (1, 0)].map(|(by, whom): (usize, usize)| {
        let removal = remove(&owners[whom]);
        owners[by].does(removal)
    });
    all_meet(&mut owners);
    let bob = &owners[1];
    assert_eq!([of_carol, of_alice].map(|id| bob.reason(id)), [None, None]);
    assert_eq!(bob.reason(of_bob), Some(Reason::RemovedMeanwhile { by: of_carol }));
    assert_eq!(owners.each_ref().map(|owner| bob.role(owner)), [None, Some(Role::Owner), None]);
    is_governable(&mut circle, &mut owners[1]);
}

#[test]
fn of_owners_who_all_remove_all_others_the_senior_stands() {
    let (mut circle, mut owners) = owners();
    for by in 0..3 {
        for whom in 0..3 {
            if by != whom {
                let removal = remove(&owners[whom]);
                owners[by].does(removal);
            }
        }
    }
    all_meet(&mut owners);
    let alice = &owners[0];
    assert_eq!(owners.each_ref().map(|owner| alice.role(owner)), [Some(Role::Owner), None, None]);
    is_governable(&mut circle, &mut owners[0]);
}

#[test]
fn of_owners_who_all_leave_or_step_down_at_the_same_time_the_junior_remains() {
    let (mut circle, mut owners) = owners();
    let leaving = remove(&owners[0]);
    owners[0].does(leaving);
    let stepping_down = set_role(&owners[1], Role::Member);
    owners[1].does(stepping_down);
    let leaving = remove(&owners[2]);
    let by_carol = owners[2].does(leaving);
    all_meet(&mut owners);
    let carol = &owners[2];
    assert_eq!(owners.each_ref().map(|owner| carol.role(owner)), [None, Some(Role::Member), Some(Role::Owner)]);
    assert_eq!(carol.reason(by_carol), Some(Reason::LastOwner));
    assert_eq!(
        carol.sentence(by_carol),
        "Carol's leaving the circle was set aside because the circle would have had no owner with a device left."
    );
    is_governable(&mut circle, &mut owners[2]);
}

#[test]
fn an_heir_whose_promotion_is_set_aside_leaves_the_owner_in() {
    let (mut circle, mut owners) = owners();
    let mut heir = circle.joins("Dan", Role::Member, &mut owners[1]);
    // Bob makes Dan an owner and leaves; Alice lowers Bob at the same time, then leaves to Bob and Carol; Carol leaves.
    let promotion = set_role(&heir, Role::Owner);
    let promotion = owners[1].does(promotion);
    let leaving = remove(&owners[1]);
    let bob_leaves = owners[1].does(leaving);
    let lowering = set_role(&owners[1], Role::Admin);
    let lowering = owners[0].does(lowering);
    let leaving = remove(&owners[0]);
    let alice_leaves = owners[0].does(leaving);
    let leaving = remove(&owners[2]);
    let carol_leaves = owners[2].does(leaving);
    all_meet(&mut owners);
    heir.hears(&owners[0]);
    let [_, _, carol] = &owners;
    assert_eq!(carol.reason(promotion), Some(Reason::LoweredMeanwhile { by: lowering }));
    assert_eq!([alice_leaves, bob_leaves].map(|id| carol.reason(id)), [None, None]);
    assert_eq!(carol.reason(carol_leaves), Some(Reason::LastOwner));
    assert_eq!((carol.role(&heir), carol.role(carol)), (Some(Role::Member), Some(Role::Owner)));
    assert_eq!(
        carol.sentence(promotion),
        "Bob's making Dan an owner was set aside because Alice gave Bob a lower role at the same time."
    );
    let newcomer = add(&circle.stranger("Eve"), Role::Member);
    assert_eq!(carol.log.may_do(carol.device_id(), &newcomer), Ok(()));
}

#[test]
fn a_readmission_that_comes_to_nothing_takes_no_last_owner_with_it() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    let mut judy = circle.joins("Judy", Role::Admin, &mut alice);
    let paul = circle.joins("Paul", Role::Member, &mut alice);
    meet(&mut [&mut alice, &mut bob, &mut judy]);
    // Judy removes Paul and brings him in again with another device, while Alice makes him an owner: so the removal is
    // void, and the admission with it. Paul has his first device only.
    judy.does(remove(&paul));
    let phone = paul.device_id();
    let tablet = Peer { device: circle.stranger("Paul").device, ..paul };
    let again = judy.does(add(&tablet, Role::Member));
    alice.does(set_role(&tablet, Role::Owner));
    bob.hears(&alice);
    // That one Bob revokes, and leaves; and so does Alice. Each by itself left somebody.
    let bob_revokes = bob.does(Action::RevokeDevice { device: phone, keep_heads: vec![], keep_changes: vec![] });
    let bob_leaves = bob.does(remove(&bob));
    let alice_leaves = alice.does(remove(&alice));
    meet(&mut [&mut alice, &mut bob, &mut judy]);
    assert_eq!(judy.reason(again), Some(Reason::AlreadyThere));
    let [bob_revokes, bob_leaves, alice_leaves] = [bob_revokes, bob_leaves, alice_leaves].map(|id| judy.reason(id));
    assert_eq!(alice_leaves, None);
    assert!([bob_revokes, bob_leaves].contains(&Some(Reason::LastOwner)), "{bob_revokes:?} {bob_leaves:?}");
    let membership = judy.log.membership();
    let owner = |person| membership.people.get(&person).is_some_and(|person| person.role == Role::Owner);
    assert!(membership.devices.values().any(|device| owner(device.person)));
}
