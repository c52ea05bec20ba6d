//! What stands and what is set aside.

use clave_crypto::Suite;
use clave_engine::membership::{
    Action, Authority, DeviceEntry, DeviceStanding, HISTORY, History, KeyPackages, Log, MEMBERS_MAY_INVITE,
    NAME_BYTES_MAX, Operation, Policy, Reason, Refusal, Right, Role, Scope,
};

use clave_crypto::DeviceId;

use crate::harness::{Peer, add, alice, entry, meet, remove, set_role};

#[test]
fn roles_may_do_what_the_table_says() {
    let (mut circle, mut alice) = alice();
    let admin = circle.joins("Ada", Role::Admin, &mut alice);
    let other_admin = circle.joins("Abe", Role::Admin, &mut alice);
    let member = circle.joins("Mia", Role::Member, &mut alice);
    let bot = circle.joins("Bot", Role::Bot, &mut alice);
    let guest = circle.joins("Gus", Role::Guest, &mut alice);
    let new = circle.stranger("Nia");
    let rename = Action::Rename { name: "Choir".to_owned() };
    let policy = Action::SetPolicy { key: "k".into(), value: "v".into(), keep_heads: Vec::new() };

    let log = &alice.log;
    let may = |peer: &crate::harness::Peer, action: &Action| log.may_do(peer.device_id(), action).is_ok();
    for (action, owner, admins, members) in [
        (&rename, true, true, false),
        (&policy, true, true, false),
        (&add(&new, Role::Owner), true, false, false),
        (&add(&new, Role::Admin), true, false, false),
        (&add(&new, Role::Bot), true, true, false),
        (&add(&new, Role::Member), true, true, true),
        (&add(&new, Role::Guest), true, true, true),
        (&remove(&alice), false, false, false),
        (&remove(&other_admin), true, false, false),
        (&remove(&bot), true, true, false),
        (&set_role(&other_admin, Role::Member), true, false, false),
        (&set_role(&guest, Role::Member), true, true, false),
        (&set_role(&guest, Role::Admin), true, false, false),
    ] {
        let found = [may(&alice, action), may(&admin, action), may(&member, action)];
        assert_eq!(found, [owner, admins, members], "{action:?}");
        assert!(!may(&guest, action), "{action:?}");
        assert!(bot.id() == guest.id() || matches!(action, Action::RevokePerson { .. }) || !may(&bot, action));
    }
    for peer in [&alice, &admin, &member, &bot, &guest] {
        assert!(log.membership().may(peer.device_id(), Right::Write));
        assert!(may(peer, &Action::SetProfile { person: peer.id(), name: "Me".into() }));
    }
    assert!(!log.membership().may(new.device_id(), Right::Write));
}

#[test]
fn nobody_raises_themselves() {
    let (mut circle, mut alice) = alice();
    let mut mallory = circle.joins("Mallory", Role::Member, &mut alice);
    let mut admin = circle.joins("Ada", Role::Admin, &mut alice);
    admin.hears(&alice);
    let raise = mallory.forces(set_role(&mallory, Role::Owner));
    let raise_by_admin = admin.forces(set_role(&admin, Role::Owner));
    meet(&mut [&mut alice, &mut mallory, &mut admin]);
    assert_eq!(alice.reason(raise), Some(Reason::RoleTooHigh { role: Role::Owner }));
    assert_eq!(alice.reason(raise_by_admin), Some(Reason::RoleTooHigh { role: Role::Owner }));
    assert_eq!((alice.role(&mallory), alice.role(&admin)), (Some(Role::Member), Some(Role::Admin)));
}

#[test]
fn of_two_who_remove_each_other_the_senior_stands() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    let mut carol = circle.joins("Carol", Role::Owner, &mut alice);
    bob.hears(&alice);
    let by_carol = carol.does(remove(&bob));
    let by_bob = bob.does(remove(&carol));
    meet(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(alice.role(&bob), Some(Role::Owner));
    assert_eq!(alice.role(&carol), None);
    assert_eq!(alice.standing(&carol), DeviceStanding::Removed { by: by_bob });
    assert_eq!(alice.reason(by_carol), Some(Reason::RemovedMeanwhile { by: by_bob }));
    assert_eq!(
        alice.sentence(by_carol),
        "Carol's removal of Bob was set aside because Bob removed Carol at the same time."
    );
}

#[test]
fn an_owner_prevails_over_an_admin_who_was_there_longer() {
    let (mut circle, mut alice) = alice();
    let mut admin = circle.joins("Ada", Role::Admin, &mut alice);
    let mut owner = circle.joins("Oscar", Role::Owner, &mut alice);
    let mut member = circle.joins("Mia", Role::Member, &mut alice);
    admin.hears(&alice);
    let by_admin = admin.does(remove(&member));
    let by_owner = owner.does(remove(&admin));
    meet(&mut [&mut alice, &mut admin, &mut owner, &mut member]);
    assert_eq!(alice.reason(by_admin), Some(Reason::RemovedMeanwhile { by: by_owner }));
    assert_eq!((alice.role(&admin), alice.role(&member)), (None, Some(Role::Member)));
}

#[test]
fn what_is_backdated_before_a_removal_is_set_aside() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let before = bob.log.heads();
    let eve = circle.stranger("Eve");
    let removal = alice.does(remove(&bob));
    bob.hears(&alice);
    // Bob knows that he is out, and writes as though he did not.
    let backdated = bob.forces_after(before, add(&eve, Role::Member));
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.reason(backdated), Some(Reason::RemovedMeanwhile { by: removal }));
    assert_eq!(alice.standing(&eve), DeviceStanding::SetAside { admission: backdated });
    assert_eq!(
        alice.sentence(backdated),
        "Bob's addition of Eve as a member was set aside because Alice removed Bob at the same time."
    );
}

#[test]
fn the_authors_clock_decides_nothing() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let eve = circle.stranger("Eve");
    let before = bob.log.heads();
    let removal = alice.does(remove(&bob));
    let long_ago = Operation::sign(&bob.device, before.clone(), 1, add(&eve, Role::Member));
    let in_the_future = Operation::sign(&bob.device, before, u64::MAX, add(&eve, Role::Guest));
    for operation in [long_ago, in_the_future] {
        let id = bob.takes(operation);
        alice.hears(&bob);
        assert_eq!(alice.reason(id), Some(Reason::RemovedMeanwhile { by: removal }));
    }
    let early = Operation::sign(&alice.device, alice.log.heads(), 0, add(&eve, Role::Member));
    alice.takes(early);
    assert_eq!(alice.role(&eve), Some(Role::Member));
}

#[test]
fn what_follows_a_removal_is_set_aside() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let eve = circle.stranger("Eve");
    let removal = alice.does(remove(&bob));
    bob.hears(&alice);
    let later = bob.forces(add(&eve, Role::Member));
    alice.hears(&bob);
    assert_eq!(alice.reason(later), Some(Reason::AuthorRemoved { by: removal }));
    assert_eq!(alice.standing(&eve), DeviceStanding::SetAside { admission: later });
}

#[test]
fn an_invitee_stays_if_invited_before_and_goes_if_invited_at_the_same_time() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let mut before = circle.joins("Ben", Role::Member, &mut bob);
    alice.hears(&bob);
    let removal = alice.does(remove(&bob));
    let mut meanwhile = circle.joins("Eve", Role::Member, &mut bob);
    let mut invited_by_eve = circle.joins("Mallory", Role::Member, &mut meanwhile);
    let profile = invited_by_eve.does(Action::SetProfile { person: invited_by_eve.id(), name: "Mal".into() });
    meet(&mut [&mut alice, &mut bob, &mut before, &mut meanwhile, &mut invited_by_eve]);

    assert_eq!(alice.role(&before), Some(Role::Member));
    assert_eq!((alice.role(&meanwhile), alice.role(&invited_by_eve)), (None, None));
    let reasons: Vec<_> = alice.log.membership().set_aside.iter().map(|set_aside| set_aside.reason).collect();
    assert!(matches!(reasons[0], Reason::RemovedMeanwhile { by } if by == removal), "{reasons:?}");
    assert!(matches!(reasons[1], Reason::AuthorSetAside { .. }), "{reasons:?}");
    assert!(matches!(alice.reason(profile), Some(Reason::AuthorSetAside { .. })));
    assert!(alice.sentence(profile).contains("had come in by an act of Eve that was itself set aside"));
}

#[test]
fn keep_heads_let_stand_what_they_name_and_what_came_before_it() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let (kept_first, kept_last, lost) = (circle.stranger("Kim"), circle.stranger("Kay"), circle.stranger("Lou"));
    let before = bob.log.heads();
    bob.does(add(&kept_first, Role::Member));
    let last_kept = bob.does(add(&kept_last, Role::Member));
    let set_aside = bob.does(add(&lost, Role::Member));
    let removal = Action::RevokePerson { person: bob.id(), keep_heads: vec![last_kept], keep_changes: Vec::new() };
    let removal = alice.forces_after(before, removal);
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!((alice.role(&kept_first), alice.role(&kept_last)), (Some(Role::Member), Some(Role::Member)));
    assert_eq!(alice.role(&lost), None);
    assert_eq!(alice.reason(set_aside), Some(Reason::RemovedMeanwhile { by: removal }));
}

#[test]
fn what_is_kept_stands_also_if_it_arrives_after_the_removal_that_keeps_it() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let before = bob.log.heads();
    let (kim, kay) = (circle.stranger("Kim"), circle.stranger("Kay"));
    let first = bob.does(add(&kim, Role::Member));
    let last = bob.does(add(&kay, Role::Member));
    let removal = Action::RevokePerson { person: bob.id(), keep_heads: vec![last], keep_changes: Vec::new() };
    let removal = alice.forces_after(before, removal);
    // One by one, with a look at each.
    let of_bob = |id| bob.log.operation(id).expect("Bob wrote it").clone();
    alice.takes(of_bob(&first));
    assert_eq!(alice.reason(first), Some(Reason::RemovedMeanwhile { by: removal }));
    alice.takes(of_bob(&last));
    assert_eq!((alice.reason(first), alice.reason(last)), (None, None));
    meet(&mut [&mut alice, &mut bob]);
}

#[test]
fn the_last_owner_can_neither_leave_nor_step_down() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    for action in [
        remove(&alice),
        set_role(&alice, Role::Member),
        Action::RevokeDevice { device: alice.device_id(), keep_heads: Vec::new(), keep_changes: Vec::new() },
    ] {
        assert_eq!(alice.log.may_do(alice.device_id(), &action), Err(Reason::LastOwner));
    }
    alice.does(set_role(&bob, Role::Owner));
    alice.does(remove(&alice));
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!((bob.role(&alice), bob.role(&bob)), (None, Some(Role::Owner)));
    assert_eq!(bob.log.may_do(bob.device_id(), &remove(&bob)), Err(Reason::LastOwner));
}

#[test]
fn of_two_owners_who_leave_at_the_same_time_the_junior_stays() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    alice.does(remove(&alice));
    let by_bob = bob.does(remove(&bob));
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!((bob.role(&alice), bob.role(&bob)), (None, Some(Role::Owner)));
    assert_eq!(bob.reason(by_bob), Some(Reason::LastOwner));
}

#[test]
fn a_lowered_role_cannot_be_used_by_backdating() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let before = bob.log.heads();
    let (eve, ned) = (circle.stranger("Eve"), circle.stranger("Ned"));
    let lowering = alice.does(set_role(&bob, Role::Member));
    bob.hears(&alice);
    let as_admin = bob.forces_after(before.clone(), add(&eve, Role::Bot));
    let as_member = bob.forces_after(before, add(&ned, Role::Member));
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.reason(as_admin), Some(Reason::LoweredMeanwhile { by: lowering }));
    assert_eq!(alice.reason(as_member), None, "a member may do that too");
    assert_eq!((alice.role(&eve), alice.role(&ned)), (None, Some(Role::Member)));
}

#[test]
fn a_withdrawn_policy_cannot_be_used_by_backdating() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let before = bob.log.heads();
    let (eve, ned) = (circle.stranger("Eve"), circle.stranger("Ned"));
    let policy = |value: &str| Action::SetPolicy {
        key: MEMBERS_MAY_INVITE.to_owned(),
        value: value.to_owned(),
        keep_heads: Vec::new(),
    };
    let closed = alice.does(policy("false"));
    bob.hears(&alice);
    let backdated = bob.forces_after(before, add(&eve, Role::Member));
    alice.hears(&bob);
    assert_eq!(alice.reason(backdated), Some(Reason::PolicyMeanwhile { by: closed }));
    let right = Right::Invite;
    assert_eq!(bob.log.may_do(bob.device_id(), &add(&ned, Role::Member)), Err(Reason::NotAllowed { right }));
    assert!(!alice.log.membership().may(bob.device_id(), right));
    alice.does(policy("true"));
    assert!(alice.log.membership().may(bob.device_id(), right));
    assert_eq!(alice.role(&eve), None);
}

#[test]
fn a_removal_that_pretends_not_to_know_of_a_promotion_is_void() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let mut mallory = circle.joins("Mallory", Role::Admin, &mut alice);
    let before = mallory.log.heads();
    let promotion = alice.does(set_role(&bob, Role::Owner));
    mallory.hears(&alice);
    let removal = mallory.forces_after(before.clone(), remove(&bob));
    let lowering = mallory.forces_after(before, set_role(&bob, Role::Guest));
    meet(&mut [&mut alice, &mut bob, &mut mallory]);
    assert_eq!(alice.role(&bob), Some(Role::Owner));
    assert_eq!(alice.reason(removal), Some(Reason::Overruled { by: promotion }));
    assert_eq!(alice.reason(lowering), Some(Reason::Overruled { by: promotion }));
}

#[test]
fn being_brought_in_twice_lowers_nobody() {
    let (mut circle, mut alice) = alice();
    let mut mallory = circle.joins("Mallory", Role::Member, &mut alice);
    let before = mallory.log.heads();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    alice.does(set_role(&bob, Role::Admin));
    let again = mallory.forces_after(before, add(&bob, Role::Guest));
    meet(&mut [&mut alice, &mut bob, &mut mallory]);
    assert_eq!(alice.reason(again), None);
    assert_eq!(alice.role(&bob), Some(Role::Admin));
}

#[test]
fn of_roles_given_at_the_same_time_the_seniors_counts() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    let mut carol = circle.joins("Carol", Role::Member, &mut alice);
    bob.hears(&alice);
    bob.does(set_role(&carol, Role::Owner));
    alice.does(set_role(&carol, Role::Admin));
    meet(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(alice.role(&carol), Some(Role::Admin));
}

#[test]
fn who_was_removed_returns_by_somebody_who_knows_and_with_the_devices_named() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let tablet = circle.stranger("tablet").device;
    let second = DeviceEntry::new(&bob.person, &tablet, "tablet", KeyPackages::default());
    bob.does(Action::AddDevice { device: second });
    alice.hears(&bob);
    let removal = alice.does(remove(&bob));
    alice.does(add(&bob, Role::Guest));
    bob.hears(&alice);
    assert_eq!((alice.role(&bob), alice.standing(&bob)), (Some(Role::Guest), DeviceStanding::Current));
    assert_eq!(alice.log.membership().device_standing(tablet.id()), DeviceStanding::Removed { by: removal });
    bob.does(Action::SetProfile { person: bob.id(), name: "Robert".into() });
    alice.hears(&bob);
    assert_eq!(alice.log.membership().people[&bob.id()].name, "Robert");
}

#[test]
fn of_a_removal_and_an_admission_at_the_same_time_the_removal_counts() {
    let (mut circle, mut alice) = alice();
    let mut ada = circle.joins("Ada", Role::Admin, &mut alice);
    let mut bob = circle.stranger("Bob");
    ada.does(add(&bob, Role::Member));
    alice.does(add(&bob, Role::Member));
    let removal = alice.does(remove(&bob));
    meet(&mut [&mut alice, &mut ada, &mut bob]);
    assert_eq!((alice.role(&bob), alice.standing(&bob)), (None, DeviceStanding::Removed { by: removal }));
    ada.does(add(&bob, Role::Member));
    assert_eq!(ada.standing(&bob), DeviceStanding::Current);
}

#[test]
fn a_revoked_device_is_out_and_its_person_is_not() {
    let (mut circle, mut alice) = alice();
    let mut laptop = circle.joins("Bob", Role::Admin, &mut alice);
    let mut phone = circle.stranger("Bob's phone");
    let device = DeviceEntry::new(&laptop.person, &phone.device, "phone", KeyPackages::default());
    laptop.does(Action::AddDevice { device });
    phone.hears(&laptop);
    let eve = circle.stranger("Eve");
    let by_thief = phone.does(add(&eve, Role::Member));
    let against_laptop = phone.does(Action::RevokeDevice {
        device: laptop.device_id(),
        keep_heads: Vec::new(),
        keep_changes: Vec::new(),
    });
    let revocation = laptop.does(Action::RevokeDevice {
        device: phone.device_id(),
        keep_heads: Vec::new(),
        keep_changes: Vec::new(),
    });
    meet(&mut [&mut alice, &mut laptop, &mut phone]);
    assert_eq!(alice.standing(&phone), DeviceStanding::Removed { by: revocation });
    assert_eq!(alice.standing(&laptop), DeviceStanding::Current, "the older device stands");
    for operation in [by_thief, against_laptop] {
        assert_eq!(alice.reason(operation), Some(Reason::RemovedMeanwhile { by: revocation }));
    }
    assert_eq!(alice.log.membership().people[&laptop.id()].devices.len(), 1);
}

#[test]
fn devices_are_added_by_their_own_person_only() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Member, &mut alice);
    let tablet = circle.stranger("tablet").device;
    let device = DeviceEntry::new(&bob.person, &tablet, "tablet", KeyPackages::default());
    let by_alice = Action::AddDevice { device: device.clone() };
    assert_eq!(alice.log.may_do(alice.device_id(), &by_alice), Err(Reason::NotTheirOwn));
    assert_eq!(alice.log.may_do(bob.device_id(), &Action::AddDevice { device }), Ok(()));
    let own_again = entry("Bob", &bob.person, &bob.device).devices.remove(0);
    let own_again = Action::AddDevice { device: own_again };
    assert_eq!(alice.log.may_do(bob.device_id(), &own_again), Err(Reason::AlreadyThere));
}

#[test]
fn devices_are_named_by_their_own_person_only_and_the_last_name_counts() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Guest, &mut alice);
    let tablet = circle.stranger("tablet").device;
    let second = DeviceEntry::new(&bob.person, &tablet, "tablet", KeyPackages::default());
    bob.does(Action::AddDevice { device: second });
    alice.hears(&bob);
    let named = |device: DeviceId, name: &str| Action::RenameDevice { device, name: name.into() };
    let name = |peer: &Peer, device: DeviceId| peer.log.membership().devices[&device].name.clone();
    // Of Bob's two each may name the other, and nobody else may: not even an owner.
    assert_eq!(alice.log.may_do(alice.device_id(), &named(tablet.id(), "x")), Err(Reason::NotTheirOwn));
    let stranger = circle.stranger("Eve").device_id();
    assert_eq!(bob.log.may_do(bob.device_id(), &named(stranger, "x")), Err(Reason::NotThere));
    bob.does(named(tablet.id(), "平板 📱"));
    bob.does(named(bob.device_id(), "old phone"));
    let long = Action::RenameDevice { device: tablet.id(), name: "é".repeat(NAME_BYTES_MAX / 2 + 1) };
    assert_eq!(bob.log.may_do(bob.device_id(), &long), Err(Reason::Unreadable));
    let by_tablet = bob.log.new_operation(&tablet, named(bob.device_id(), "new phone"), 1).expect("one of his");
    bob.takes(by_tablet);
    alice.hears(&bob);
    let names = [name(&alice, tablet.id()), name(&alice, bob.device_id())];
    assert_eq!(names, ["平板 📱", "new phone"]);
    assert!(alice.log.audit().last().is_some_and(|record| record.sentence.ends_with("“new phone”")));
    // What a lost device says at the same time as it is revoked has no effect.
    let before = bob.log.heads();
    let late = Operation::sign(&tablet, before, 1, named(bob.device_id(), "Mallory's"));
    let revoked = alice.does(Action::revoke_device(tablet.id()));
    alice.takes(late.clone());
    assert_eq!(alice.reason(late.id()), Some(Reason::RemovedMeanwhile { by: revoked }));
    assert_eq!(name(&alice, bob.device_id()), "new phone");
    assert_eq!(alice.log.membership().former_devices[&tablet.id()].name, "平板 📱");
    bob.hears(&alice);
    assert_eq!(bob.log.may_do(bob.device_id(), &named(tablet.id(), "x")), Err(Reason::NotThere), "it is out");
}

#[test]
fn a_device_has_one_person() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Member, &mut alice);
    // Alice's key consents to be Bob's, which only Alice can have it do.
    let device = DeviceEntry::new(&bob.person, &alice.device, "shared", KeyPackages::default());
    let taken = Action::AddDevice { device };
    assert_eq!(alice.log.may_do(bob.device_id(), &taken), Err(Reason::DeviceTaken));
}

#[test]
fn a_grant_ends_by_an_operation_and_never_by_itself() {
    let (mut circle, mut alice) = alice();
    let mut member = circle.joins("Mia", Role::Member, &mut alice);
    let mut guest = circle.stranger("Gus");
    let grant = |devices: bool, expires_ms| {
        let mut guest = entry("Gus", &guest.person, &guest.device);
        guest.devices.retain(|_| devices);
        Action::Grant { guest, expires_ms }
    };
    let (first, moved) = (grant(true, 1), grant(false, 2));
    assert_eq!(member.log.may_do(member.device_id(), &moved), Err(Reason::NotThere));
    member.does(first);
    assert_eq!(member.log.membership().people[&guest.id()].expires_ms, Some(1));
    member.does(moved);
    guest.hears(&member);
    assert_eq!(guest.log.membership().people[&guest.id()].expires_ms, Some(2));
    assert_eq!(guest.role(&guest), Some(Role::Guest));

    let end = |peer: &crate::harness::Peer| Action::EndGrant {
        person: peer.id(),
        keep_heads: Vec::new(),
        keep_changes: Vec::new(),
    };
    assert_eq!(member.log.may_do(member.device_id(), &end(&member)), Err(Reason::NoGrant));
    let ended = member.does(end(&guest));
    assert_eq!(member.standing(&guest), DeviceStanding::Removed { by: ended });
}

#[test]
fn a_person_speaks_for_themselves_only() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Member, &mut alice);
    let profile = Action::SetProfile { person: bob.id(), name: "Fool".into() };
    assert_eq!(alice.log.may_do(alice.device_id(), &profile), Err(Reason::NotTheirOwn));
}

#[test]
fn key_packages_come_with_the_device_and_are_replaced_as_a_whole() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.stranger("Bob");
    let mut newcomer = entry("Bob", &bob.person, &bob.device);
    newcomer.devices[0].key_packages = KeyPackages { single_use: vec![vec![1]], last_resort: None, x_wing: None };
    alice.does(Action::AddPerson { newcomer, role: Role::Member });
    bob.hears(&alice);
    assert_eq!(alice.log.membership().devices[&bob.device_id()].key_packages.single_use, [vec![1]]);
    let fresh = KeyPackages { single_use: vec![vec![2], vec![3]], last_resort: Some(vec![4]), x_wing: None };
    bob.does(Action::PublishKeyPackages { key_packages: fresh.clone() });
    alice.hears(&bob);
    assert_eq!(alice.log.membership().devices[&bob.device_id()].key_packages, fresh);
}

#[test]
fn what_a_newer_version_says_is_kept_and_has_no_effect() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let before = alice.log.membership().people.clone();
    let unknown = bob.forces(Action::Unknown { kind: 99, payload: vec![1, 2, 3] });
    let malformed = bob.forces(Action::Unknown { kind: 6, payload: vec![255] });
    let after = bob.does(Action::PublishKeyPackages { key_packages: KeyPackages::default() });
    alice.hears(&bob);
    assert_eq!(alice.reason(unknown), Some(Reason::Unreadable));
    assert_eq!(alice.reason(malformed), Some(Reason::Unreadable));
    assert_eq!((alice.reason(after), &alice.log.membership().people), (None, &before));
}

#[test]
fn a_right_is_that_of_a_point_in_the_log() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let joined = alice.log.heads();
    let genesis = vec![circle.genesis.id()];
    let removal = alice.does(remove(&bob));
    bob.hears(&alice);
    let write = |heads: &[_]| alice.log.authority(bob.device_id(), heads, Right::Write);
    assert_eq!(write(&genesis), Authority::Refused(Reason::AuthorUnknown));
    assert_eq!(write(&joined), Authority::Withdrawn { by: removal });
    assert_eq!(write(&[removal]), Authority::Refused(Reason::AuthorRemoved { by: removal }));
    assert_eq!(write(&[clave_engine::OperationId::from_bytes([0; 32])]), Authority::Unseen);
    let at_joined = alice.log.membership_at(&joined).expect("the heads are known");
    assert!(at_joined.may(bob.device_id(), Right::Write));
    assert!(!alice.log.membership().may(bob.device_id(), Right::Write));
    let alice_writes = alice.log.authority(alice.device_id(), &joined, Right::Write);
    assert_eq!(alice_writes, Authority::Granted);
}

#[test]
fn what_follows_a_void_revocation_counts_in_full() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Owner, &mut alice);
    let mut carol = circle.joins("Carol", Role::Admin, &mut alice);
    bob.hears(&alice);
    alice.does(remove(&alice));
    let leaving = bob.does(remove(&bob));
    let removal = bob.forces(remove(&carol));
    let meanwhile = carol.does(Action::Rename { name: "Carol's".into() });
    meet(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(bob.reason(leaving), Some(Reason::LastOwner));
    assert_eq!(bob.reason(removal), None, "so Bob had not left");
    assert_eq!(bob.reason(meanwhile), Some(Reason::RemovedMeanwhile { by: removal }));
}

#[test]
fn only_what_was_given_at_the_same_time_overrules() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let mut carol = circle.joins("Carol", Role::Member, &mut alice);
    bob.hears(&alice);
    alice.does(set_role(&bob, Role::Member));
    let mut ada = circle.joins("Ada", Role::Admin, &mut alice);
    let removal = ada.does(remove(&bob));
    meet(&mut [&mut alice, &mut bob, &mut carol, &mut ada]);
    assert_eq!(alice.reason(removal), None, "that Bob once was an admin is past");
    assert_eq!(alice.role(&bob), None);
}

#[test]
fn a_policy_that_cannot_be_read_leaves_the_old_one() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let set = |key: &str, value: &str| {
        let (key, value) = (key.to_owned(), value.to_owned());
        Action::SetPolicy { key, value, keep_heads: Vec::new() }
    };
    assert_eq!((alice.log.membership().history(), alice.log.membership().members_may_invite()), (History::Full, true));
    alice.does(Policy::History(History::Ratcheted { seconds: 86_400 }).into_action(Vec::new()));
    alice.does(Policy::MembersMayInvite(false).into_action(Vec::new()));
    for (key, value) in
        [(HISTORY, "none"), (HISTORY, "ratcheted:0"), (HISTORY, "ratcheted:3599"), (MEMBERS_MAY_INVITE, "perhaps")]
    {
        assert_eq!(alice.log.may_do(alice.device_id(), &set(key, value)), Err(Reason::Unreadable));
        let malformed = alice.forces(set(key, value));
        assert_eq!(alice.reason(malformed), Some(Reason::Unreadable));
    }
    alice.does(set("of a newer version", "anything"));
    meet(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.log.membership().history(), History::Ratcheted { seconds: 86_400 });
    assert!(!bob.log.membership().members_may_invite());
    assert_eq!(bob.log.membership().policies["of a newer version"], "anything");
    alice.does(set(HISTORY, "since_joining"));
    assert_eq!(alice.log.membership().history(), History::SinceJoining);
}

#[test]
fn a_circle_says_which_space_it_belongs_to_and_how() {
    let (mut circle, alice) = alice();
    let space = alice.log.circle();
    assert_eq!((alice.log.membership().parent, alice.log.membership().scope), (None, Scope::Nested));
    let mut found = |parent, scope| {
        let founder = entry("Alice", &alice.person, &alice.device);
        let genesis = Action::Genesis {
            name: "Board".into(),
            nonce: circle.entropy.bytes(),
            founder,
            parent,
            scope,
            suite: Suite::default(),
        };
        Log::found(&alice.device, genesis, 0)
    };
    for scope in [Scope::Nested, Scope::Isolated] {
        let log = found(Some(space), scope).expect("Alice may found a circle");
        assert_eq!((log.membership().parent, log.membership().scope), (Some(space), scope));
    }
    assert_eq!(found(None, Scope::Isolated).map(|_| ()), Err(Refusal::OtherCircle), "a space is within nothing");
}
