//! A person with a recovery phrase brings a device in when no other is left.

use clave_crypto::{DeviceKey, Domain, Suite};
use clave_engine::CircleId;
use clave_engine::membership::{
    Action, DeviceEntry, DeviceStanding, Insertion, KeyPackages, Log, Operation, PersonEntry, Reason,
    RecoveryCertificate, Refusal, Role, Scope, Stay, recovery_change_message, recovery_message,
};

use crate::harness::{Circle, NOW_MS, Peer, add, alice, entry, meet, remove};

/// Bob, whose admission names a recovery key, and the key.
fn bob(circle: &mut Circle, alice: &mut Peer, role: Role) -> (Peer, DeviceKey) {
    let mut bob = circle.stranger("Bob");
    let recovery = DeviceKey::generate(&mut circle.entropy);
    alice.does(Action::AddPerson { newcomer: with_recovery(&bob, &recovery), role });
    bob.hears(alice);
    (bob, recovery)
}

fn with_recovery(peer: &Peer, recovery: &DeviceKey) -> PersonEntry {
    let recovery = Some(RecoveryCertificate::new(&peer.person, *recovery.id().as_bytes()));
    PersonEntry { recovery, ..entry(peer.name, &peer.person, &peer.device) }
}

fn recover(circle: CircleId, peer: &Peer, device: &DeviceKey, recovery: &DeviceKey) -> Action {
    let entry = DeviceEntry::new(&peer.person, device, "new phone", KeyPackages::default());
    let message = recovery_message(circle, device.id(), peer.id());
    Action::RecoverDevice { device: entry, recovery_signature: recovery.sign(Domain::Recovery, &message) }
}

fn revoke(device: &DeviceKey) -> Action {
    Action::RevokeDevice { device: device.id(), keep_heads: Vec::new(), keep_changes: Vec::new() }
}

/// The same person on another device, which saw what `source` did.
fn on(device: &DeviceKey, peer: &Peer, source: &Peer) -> Peer {
    let (seed, person) = (device.seed().clone(), peer.person.seed().clone());
    let (device, person) = (DeviceKey::from_seed(seed), clave_crypto::PersonKey::from_seed(person));
    let mut peer = Peer { name: peer.name, person, device, log: Log::new(peer.log.circle()) };
    peer.hears(source);
    peer
}

#[test]
fn a_new_device_brings_itself_in_with_the_recovery_key() {
    let (mut circle, mut alice) = alice();
    let (bob, recovery) = bob(&mut circle, &mut alice, Role::Admin);
    let key = *recovery.id().as_bytes();
    assert_eq!(alice.log.membership().people[&bob.id()].recovery.map(|recovery| recovery.key), Some(key));
    let phone = circle.stranger("phone").device;
    let mut restored = on(&phone, &bob, &alice);
    let recovered = restored.does(recover(alice.log.circle(), &bob, &phone, &recovery));
    restored.does(revoke(&bob.device));
    meet(&mut [&mut alice, &mut restored]);
    assert_eq!(alice.log.describe(&recovered).as_deref(), Some("Bob recovered with the new device “new phone”"));
    assert_eq!(alice.log.membership().role_of(phone.id()), Some(Role::Admin));
    assert_eq!(alice.log.membership().devices[&phone.id()].since, recovered);
    let prefix = *recovered.as_bytes().first_chunk().expect("an id has 32 bytes");
    assert_eq!(alice.log.membership().stay(phone.id(), prefix), Stay::InStanding);
    assert!(matches!(alice.standing(&bob), DeviceStanding::Removed { .. }));
    restored.does(Action::Rename { name: "Choir".into() });
}

#[test]
fn only_the_new_device_itself_recovers_and_only_with_the_persons_own_recovery_key() {
    let (mut circle, mut alice) = alice();
    let (bob, recovery) = bob(&mut circle, &mut alice, Role::Admin);
    let plain = circle.joins("Carol", Role::Member, &mut alice);
    let (phone, other) = (circle.stranger("phone").device, circle.stranger("other").device);
    let here = alice.log.circle();
    let elsewhere = CircleId::from_bytes([1; 32]);
    let heads = alice.log.heads();
    let good = recover(here, &bob, &phone, &recovery);
    let Action::RecoverDevice { recovery_signature, .. } = &good else { unreachable!() };
    let for_another_device = Action::RecoverDevice {
        device: DeviceEntry::new(&bob.person, &other, "other", KeyPackages::default()),
        recovery_signature: *recovery_signature,
    };
    for (author, action) in [
        (&phone, recover(here, &bob, &phone, &other)),
        // Who steals a device has its key and the person's, not the recovery key.
        (&phone, recover(here, &bob, &phone, &bob.device)),
        (&phone, recover(elsewhere, &bob, &phone, &recovery)),
        (&phone, recover(here, &plain, &phone, &recovery)),
        (&phone, recover(here, &circle.stranger("Eve"), &phone, &recovery)),
        (&other, for_another_device),
        (&other, good.clone()),
        (&alice.device, good.clone()),
    ] {
        let operation = Operation::sign(author, heads.clone(), NOW_MS, action);
        assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::BadRecovery));
    }
    let too_early = Operation::sign(&phone, vec![circle.genesis.id()], NOW_MS, good.clone());
    assert_eq!(alice.log.insert(too_early), Insertion::Refused(Refusal::BadRecovery));
    assert_eq!(alice.log.may_do(phone.id(), &recover(here, &bob, &phone, &other)), Err(Reason::NoRecovery));
    assert_eq!(alice.log.may_do(alice.device_id(), &good), Err(Reason::NoRecovery));
    assert_eq!(alice.log.may_do(phone.id(), &good), Ok(()));
}

#[test]
fn a_recovery_key_is_named_by_its_person_only() {
    let (mut circle, mut alice) = alice();
    let (bob, mallory) = (circle.stranger("Bob"), circle.stranger("Mallory"));
    let mut newcomer = with_recovery(&bob, &mallory.device);
    newcomer.recovery = Some(RecoveryCertificate::new(&mallory.person, *mallory.device.id().as_bytes()));
    let add = Action::AddPerson { newcomer, role: Role::Member };
    let add = Operation::sign(&alice.device, alice.log.heads(), NOW_MS, add);
    assert_eq!(alice.log.insert(add), Insertion::Refused(Refusal::BadCertificate));
}

#[test]
fn who_is_out_recovers_nothing_and_a_removal_at_the_same_time_wins() {
    let (mut circle, mut alice) = alice();
    let (bob, recovery) = bob(&mut circle, &mut alice, Role::Member);
    let (phone, tablet) = (circle.stranger("phone").device, circle.stranger("tablet").device);
    let here = alice.log.circle();
    let mut restored = on(&phone, &bob, &alice);
    let meanwhile = restored.does(recover(here, &bob, &phone, &recovery));
    let renamed = restored.does(Action::SetProfile { person: bob.id(), name: "Rob".into() });
    let removal = alice.does(remove(&bob));
    let mut late = on(&tablet, &bob, &alice);
    let after = late.forces(recover(here, &bob, &tablet, &recovery));
    meet(&mut [&mut alice, &mut restored, &mut late]);
    assert_eq!(alice.reason(meanwhile), Some(Reason::RemovedMeanwhile { by: removal }));
    assert!(matches!(alice.reason(renamed), Some(Reason::AuthorSetAside { .. } | Reason::RemovedMeanwhile { .. })));
    assert_eq!(alice.reason(after), Some(Reason::AuthorRemoved { by: removal }));
    assert_eq!(alice.log.membership().device_standing(phone.id()), DeviceStanding::SetAside { admission: meanwhile });
    assert_eq!(
        alice.sentence(after),
        "Bob's recovery with the new device “new phone” was set aside because Alice had removed Bob before."
    );

    // Back in by an admission that names no recovery key: the old one is worth nothing.
    alice.does(add(&bob, Role::Member));
    assert_eq!(alice.log.membership().people[&bob.id()].recovery, None);
    let laptop = circle.stranger("laptop").device;
    let by_old_key = recover(here, &bob, &laptop, &recovery);
    assert_eq!(alice.log.may_do(laptop.id(), &by_old_key), Err(Reason::NoRecovery));
}

#[test]
fn a_recovery_cannot_be_repeated_after_the_device_was_revoked() {
    let (mut circle, mut alice) = alice();
    let (bob, recovery) = bob(&mut circle, &mut alice, Role::Member);
    let phone = circle.stranger("phone").device;
    let before = alice.log.heads();
    let action = recover(alice.log.circle(), &bob, &phone, &recovery);
    let mut stolen = on(&phone, &bob, &alice);
    stolen.does(action.clone());
    let mut laptop = on(&bob.device, &bob, &stolen);
    let revocation = laptop.does(revoke(&phone));
    stolen.hears(&laptop);
    let again = stolen.forces(action.clone());
    let backdated = stolen.takes(Operation::sign(&phone, before, NOW_MS + 1, action));
    meet(&mut [&mut alice, &mut laptop, &mut stolen]);
    assert_eq!(alice.reason(again), Some(Reason::NotNew));
    assert_eq!(alice.reason(backdated), Some(Reason::RemovedMeanwhile { by: revocation }));
    assert_eq!(alice.log.membership().device_standing(phone.id()), DeviceStanding::Removed { by: revocation });
}

#[test]
fn who_is_in_one_circle_can_be_brought_into_another_as_they_are() {
    let (mut circle, mut alice) = alice();
    let (mut bob, recovery) = bob(&mut circle, &mut alice, Role::Member);
    let tablet = circle.stranger("tablet").device;
    let key_packages = KeyPackages { single_use: vec![vec![1]], last_resort: None, x_wing: None };
    let second = DeviceEntry::new(&bob.person, &tablet, "tablet", key_packages);
    bob.does(Action::AddDevice { device: second.clone() });
    bob.does(Action::SetProfile { person: bob.id(), name: "Robert".into() });
    let newcomer = bob.log.membership().person_entry(bob.id()).expect("Bob is in");
    assert_eq!((newcomer.name.as_str(), newcomer.devices.len(), newcomer.invitation), ("Robert", 2, None));
    assert!(newcomer.devices.contains(&second));
    assert_eq!(bob.log.membership().person_entry(circle.stranger("Eve").id()), None);

    let founder = entry("Alice", &alice.person, &alice.device);
    let genesis = Action::Genesis {
        name: "Choir".into(),
        nonce: [9; 16],
        founder,
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let mut other = Log::found(&alice.device, genesis, NOW_MS).expect("Alice may found a circle");
    let add = Action::AddPerson { newcomer, role: Role::Guest };
    let add = other.new_operation(&alice.device, add, NOW_MS).expect("an owner may");
    assert_eq!(other.insert(add.clone()), Insertion::Inserted(vec![add.id()]), "what Bob signed holds here too");
    assert_eq!(other.membership().role_of(tablet.id()), Some(Role::Guest));
    let phone = circle.stranger("phone").device;
    assert_eq!(other.may_do(phone.id(), &recover(other.circle(), &bob, &phone, &recovery)), Ok(()));
}

fn change(peer: &Peer, former: &DeviceKey, next: &DeviceKey) -> Action {
    let (person, key) = (peer.id(), *next.id().as_bytes());
    let former_signature = former.sign(Domain::RecoveryChange, &recovery_change_message(person, &key));
    Action::SetRecovery { person, recovery: RecoveryCertificate::new(&peer.person, key), former_signature }
}

#[test]
fn after_a_change_of_the_recovery_key_the_former_one_is_worth_nothing() {
    let (mut circle, mut alice) = alice();
    let (mut bob, first) = bob(&mut circle, &mut alice, Role::Member);
    let [second, third] = ["second", "third"].map(|name| circle.stranger(name).device);
    let [phone, tablet, laptop] = ["phone", "tablet", "laptop"].map(|name| circle.stranger(name).device);
    let here = alice.log.circle();
    bob.does(change(&bob, &first, &second));
    alice.hears(&bob);
    let whose = bob.id();
    let in_force = |peer: &Peer| peer.log.membership().people[&whose].recovery.map(|recovery| recovery.key);
    assert_eq!(in_force(&alice), Some(*second.id().as_bytes()));
    // Not by the former, in its own time; not to yet another by the former.
    let by_former = recover(here, &bob, &phone, &first);
    assert_eq!(alice.log.may_do(phone.id(), &by_former), Err(Reason::NoRecovery));
    let mut thief = on(&phone, &bob, &alice);
    let forced = thief.forces(by_former);
    let further = bob.forces(change(&bob, &first, &third));
    let mut restored = on(&tablet, &bob, &bob);
    restored.does(recover(here, &bob, &tablet, &second));
    restored.does(change(&bob, &second, &third));
    let entry = DeviceEntry::new(&bob.person, &laptop, "laptop", KeyPackages::default());
    restored.does(Action::AddDevice { device: entry });
    meet(&mut [&mut alice, &mut bob, &mut thief, &mut restored]);
    assert_eq!(alice.reason(forced), Some(Reason::NoRecovery));
    assert_eq!(alice.reason(further), Some(Reason::NoRecovery));
    assert_eq!(in_force(&alice), Some(*third.id().as_bytes()));
    assert!(alice.log.membership().devices.contains_key(&tablet.id()));
    assert!(!alice.log.membership().devices.contains_key(&phone.id()));
}

#[test]
fn a_recovery_by_the_former_key_at_the_same_time_or_backdated_is_set_aside() {
    let (mut circle, mut alice) = alice();
    let (mut bob, first) = bob(&mut circle, &mut alice, Role::Admin);
    let [second, phone] = ["second", "phone"].map(|name| circle.stranger(name).device);
    let before = alice.log.heads();
    let mut thief = on(&phone, &bob, &alice);
    let changed = bob.does(change(&bob, &first, &second));
    alice.hears(&bob);
    // Whoever found the former phrase writes as though nothing had changed, and puts the owner of it out.
    let recovery = recover(alice.log.circle(), &bob, &phone, &first);
    let recovered = thief.takes(Operation::sign(&phone, before, NOW_MS, recovery));
    let revoked = thief.does(revoke(&bob.device));
    meet(&mut [&mut alice, &mut bob, &mut thief]);
    for peer in [&alice, &bob, &thief] {
        assert_eq!(peer.reason(recovered), Some(Reason::RecoveryChangedMeanwhile { by: changed }));
        assert!(peer.reason(revoked).is_some());
        assert!(peer.log.membership().devices.contains_key(&bob.device_id()));
        assert!(!peer.log.membership().devices.contains_key(&phone.id()));
    }
    assert_eq!(
        alice.sentence(recovered),
        "Bob's recovery with the new device “new phone” was set aside because Bob changed the recovery phrase at the same \
         time."
    );
}

#[test]
fn a_stolen_device_changes_no_recovery_key_and_nobody_changes_anothers() {
    let (mut circle, mut alice) = alice();
    let (mut bob, first) = bob(&mut circle, &mut alice, Role::Member);
    let mut carol = circle.joins("Carol", Role::Admin, &mut alice);
    let second = circle.stranger("second").device;
    let heads = alice.log.heads();
    // With the person's key and the device's, and without the phrase.
    for former in [&second, &bob.device] {
        let operation = Operation::sign(&bob.device, heads.clone(), NOW_MS, change(&bob, former, &second));
        assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::BadRecovery));
    }
    // Without the person's word.
    let Action::SetRecovery { person, former_signature, .. } = change(&bob, &first, &second) else { unreachable!() };
    let recovery = RecoveryCertificate::new(&carol.person, *second.id().as_bytes());
    let forged = Action::SetRecovery { person, recovery, former_signature };
    let operation = Operation::sign(&bob.device, heads, NOW_MS, forged);
    assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::BadCertificate));
    // By somebody else's device, with everything else in order.
    carol.hears(&alice);
    let others = carol.forces(change(&bob, &first, &second));
    meet(&mut [&mut alice, &mut carol]);
    assert_eq!(alice.reason(others), Some(Reason::NotTheirOwn));
    bob.hears(&alice);
    bob.does(change(&bob, &first, &second));
    // What the removed named is worth nothing for who is in anew.
    alice.hears(&bob);
    alice.does(remove(&bob));
    alice.does(add(&bob, Role::Member));
    assert_eq!(alice.log.membership().people[&bob.id()].recovery, None);
}
