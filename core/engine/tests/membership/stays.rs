//! Whose writing is shown: the stays of devices, and the changes that removals keep.

use clave_crypto::DeviceId;
use clave_engine::OperationId;
use clave_engine::membership::{
    Action, DeviceEntry, KEEP_CHANGES_MAX, KEEP_HEADS_MAX, KeyPackages, OPERATION_BYTES_MAX, Reason, Role, Stay,
};

use crate::harness::{Peer, add, alice, entry, meet, remove};

fn prefix(admission: OperationId) -> [u8; 4] {
    *admission.as_bytes().first_chunk().expect("an id has 32 bytes")
}

impl Peer {
    fn stay(&self, device: DeviceId, admission: OperationId) -> Stay {
        let membership = self.log.membership();
        let stay = membership.stay(device, prefix(admission));
        let device_prefix = device.as_bytes().first_chunk().expect("an id has 32 bytes");
        assert_eq!(membership.stay_of_actor(device_prefix, &prefix(admission)), stay);
        stay
    }
}

#[test]
fn who_returns_begins_another_stay_and_the_first_one_stays_ended() {
    let (mut circle, mut alice) = alice();
    let bob = circle.stranger("Bob");
    let first = alice.does(add(&bob, Role::Member));
    assert!(!alice.log.membership().has_ended_stays());
    assert_eq!(alice.stay(bob.device_id(), first), Stay::InStanding);
    alice.does(remove(&bob));
    assert_eq!(alice.stay(bob.device_id(), first), Stay::Ended);
    let second = alice.does(add(&bob, Role::Member));
    assert_eq!(alice.stay(bob.device_id(), first), Stay::Ended);
    assert_eq!(alice.stay(bob.device_id(), second), Stay::InStanding);
    assert!(alice.log.membership().has_ended_stays());
    assert_eq!(alice.stay(alice.device_id(), second), Stay::Unknown, "that brought in somebody else");
    assert_eq!(alice.stay(alice.device_id(), circle.genesis.id()), Stay::InStanding);
    assert_eq!(alice.stay(circle.stranger("Eve").device_id(), first), Stay::Unknown);
}

#[test]
fn a_device_brought_in_twice_at_the_same_time_has_two_stays_that_one_removal_ends() {
    let (mut circle, mut alice) = alice();
    let mut ada = circle.joins("Ada", Role::Admin, &mut alice);
    let mut bob = circle.stranger("Bob");
    let by_ada = ada.does(add(&bob, Role::Member));
    let by_alice = alice.does(add(&bob, Role::Member));
    meet(&mut [&mut alice, &mut ada, &mut bob]);
    for admission in [by_ada, by_alice] {
        assert_eq!(alice.stay(bob.device_id(), admission), Stay::InStanding);
    }
    alice.does(remove(&bob));
    for admission in [by_ada, by_alice] {
        assert_eq!(alice.stay(bob.device_id(), admission), Stay::Ended);
    }
}

#[test]
fn a_stay_falls_with_its_admission_and_another_of_the_same_device_does_not() {
    let (mut circle, mut alice) = alice();
    let mut mallory = circle.joins("Mallory", Role::Admin, &mut alice);
    let mut bob = circle.stranger("Bob");
    let by_mallory = mallory.does(add(&bob, Role::Member));
    alice.does(remove(&mallory));
    let by_alice = alice.does(add(&bob, Role::Member));
    meet(&mut [&mut alice, &mut mallory, &mut bob]);
    assert!(matches!(alice.reason(by_mallory), Some(Reason::RemovedMeanwhile { .. })));
    assert_eq!(alice.stay(bob.device_id(), by_mallory), Stay::SetAside);
    assert_eq!(alice.stay(bob.device_id(), by_alice), Stay::InStanding);
    assert!(alice.log.membership().has_ended_stays());
}

#[test]
fn a_revoked_device_ends_its_own_stay_only() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let since = alice.log.membership().devices[&bob.device_id()].since;
    let phone = circle.stranger("phone").device;
    let device = DeviceEntry::new(&bob.person, &phone, "phone", KeyPackages::default());
    let added = bob.does(Action::AddDevice { device });
    bob.does(Action::RevokeDevice { device: phone.id(), keep_heads: Vec::new(), keep_changes: Vec::new() });
    assert_eq!(bob.stay(phone.id(), added), Stay::Ended);
    assert_eq!(bob.stay(bob.device_id(), since), Stay::InStanding);
}

#[test]
fn removals_that_stand_keep_the_changes_they_name() {
    let (mut circle, mut alice) = alice();
    let mut ada = circle.joins("Ada", Role::Admin, &mut alice);
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    let phone = circle.stranger("phone").device;
    let device = DeviceEntry::new(&bob.person, &phone, "phone", KeyPackages::default());
    bob.does(Action::AddDevice { device });
    meet(&mut [&mut alice, &mut ada, &mut bob]);
    let guest = circle.stranger("Gus");
    alice.does(Action::Grant { guest: entry("Gus", &guest.person, &guest.device), expires_ms: 1 });
    let (bob_id, keep_heads) = (bob.id(), Vec::new);
    let void = ada.does(Action::RevokePerson { person: bob_id, keep_heads: keep_heads(), keep_changes: vec![[9; 32]] });
    alice.does(remove(&ada));
    alice.does(Action::RevokeDevice { device: phone.id(), keep_heads: keep_heads(), keep_changes: vec![[1; 32]] });
    alice.does(Action::EndGrant { person: guest.id(), keep_heads: keep_heads(), keep_changes: vec![[2; 32]] });
    alice.does(Action::RevokePerson { person: bob_id, keep_heads: keep_heads(), keep_changes: vec![[3; 32], [2; 32]] });
    meet(&mut [&mut alice, &mut ada, &mut bob]);
    assert!(matches!(alice.reason(void), Some(Reason::RemovedMeanwhile { .. })));
    let kept: Vec<_> = alice.log.membership().kept_changes().iter().copied().collect();
    assert_eq!(kept, [[1; 32], [2; 32], [3; 32]]);
}

#[test]
fn the_end_of_a_grant_lets_stand_what_it_keeps() {
    let (mut circle, mut alice) = alice();
    let mut guest = circle.stranger("Gus");
    alice.does(Action::Grant { guest: entry("Gus", &guest.person, &guest.device), expires_ms: 1 });
    guest.hears(&alice);
    let kept = guest.does(Action::SetProfile { person: guest.id(), name: "August".into() });
    let lost = guest.does(Action::SetProfile { person: guest.id(), name: "Julius".into() });
    let end = Action::EndGrant { person: guest.id(), keep_heads: vec![kept], keep_changes: Vec::new() };
    let end = alice.does(end);
    meet(&mut [&mut alice, &mut guest]);
    assert_eq!((alice.reason(kept), alice.reason(lost)), (None, Some(Reason::RemovedMeanwhile { by: end })));
    assert_eq!(alice.log.membership().former_people[&guest.id()].name, "August");
}

#[test]
fn what_a_removal_keeps_is_bounded_and_fits() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Member, &mut alice);
    let removal = |count: usize| Action::RevokePerson {
        person: bob.id(),
        keep_heads: vec![OperationId::from_bytes([1; 32]); KEEP_HEADS_MAX],
        keep_changes: vec![[2; 32]; count],
    };
    let most = alice.log.new_operation(&alice.device, removal(KEEP_CHANGES_MAX), 0).expect("within bounds");
    assert!(most.encode().len() <= OPERATION_BYTES_MAX);
    assert_eq!(clave_engine::membership::Operation::decode(&most.encode()), Ok(most));
    let more = alice.log.new_operation(&alice.device, removal(KEEP_CHANGES_MAX + 1), 0);
    assert_eq!(more, Err(Reason::Unreadable));
}
