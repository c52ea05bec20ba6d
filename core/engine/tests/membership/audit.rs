//! The log as a list for people who have to account for it.

use clave_engine::membership::{
    Action, AuditRecord, BrokenChain, Insertion, Log, Operation, Reason, Role, verify_chain,
};

use crate::harness::{Peer, add, alice, meet, remove, set_role};

/// Alice brings Bob in, who takes another name, brings Carol in and is removed at the same time; Carol leaves.
fn story() -> (Peer, Peer) {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Member, &mut alice);
    alice.does(set_role(&bob, Role::Admin));
    bob.hears(&alice);
    bob.does(Action::SetProfile { person: bob.id(), name: "Robert".into() });
    alice.hears(&bob);
    let carol = circle.stranger("Carol");
    let later = Operation::sign(&bob.device, bob.log.heads(), 7, add(&carol, Role::Guest));
    bob.takes(later);
    alice.does(remove(&bob));
    let mut dora = circle.joins("Dora", Role::Member, &mut alice);
    dora.does(remove(&dora));
    meet(&mut [&mut alice, &mut bob, &mut dora]);
    (alice, bob)
}

#[test]
fn an_audit_says_who_did_what_on_whose_authority_and_what_came_of_it() {
    let (alice, bob) = story();
    let audit = alice.log.audit();
    let said: Vec<_> = audit.iter().map(|record| record.sentence.as_str()).collect();
    let mut expected = [
        "Alice created the circle “Band”",
        "Alice added Bob as a member",
        "Alice made Bob an admin",
        "Bob took the name “Robert”",
        "Robert added Carol as a guest",
        "Alice removed Robert",
        "Alice added Dora as a member",
        "Dora left the circle",
    ];
    if said[4].starts_with("Alice") {
        expected.swap(4, 5); // Done at the same time: in order of their ids.
    }
    assert_eq!(said, expected);
    let of = |device| move |record: &&AuditRecord| record.device == device;
    let by_bob: Vec<_> = audit.iter().filter(of(bob.device_id())).collect();
    let addition = by_bob[1];
    assert_eq!((addition.time_ms, addition.role), (7, Some(Role::Admin)));
    assert_eq!((addition.person, addition.person_name.as_str()), (Some(bob.id()), "Robert"));
    assert_eq!(addition.device_name, "Bob's phone");
    let warrant = addition.warrant.as_ref().expect("Bob was in");
    assert_eq!((warrant.admission, warrant.role_given), (audit[1].operation, audit[2].operation));
    assert_eq!((warrant.given_by, warrant.given_by_name.as_str()), (Some(alice.id()), "Alice"));
    let (reason, why) = addition.set_aside.as_ref().expect("Bob was removed at the same time");
    assert!(matches!(reason, Reason::RemovedMeanwhile { .. }));
    let because = "Robert's addition of Carol as a guest was set aside because Alice removed Robert at the same time.";
    assert_eq!(why, because);
    assert_eq!(
        (audit[0].role, audit[0].warrant.as_ref(), audit[0].set_aside.as_ref()),
        (Some(Role::Owner), None, None)
    );
    assert_eq!(audit[2].parents, [audit[1].operation]);
    for record in &audit {
        let operation = alice.log.operation(&record.operation).expect("it is in the log");
        assert_eq!((record.time_ms, record.device), (operation.time_ms(), operation.author()));
    }
}

#[test]
fn two_devices_with_the_same_operations_export_the_same_audit() {
    let (alice, _) = story();
    let mut backwards = Log::new(alice.log.circle());
    let operations: Vec<_> = alice.log.operations().cloned().collect();
    for operation in operations.into_iter().rev() {
        assert!(!matches!(backwards.insert(operation), Insertion::Refused(_)));
    }
    assert_eq!(backwards.audit(), alice.log.audit());
    assert_eq!(Log::new(alice.log.circle()).audit(), []);
}

/// Something done to an audit that is not to go unseen.
type Forgery = fn(&mut Vec<AuditRecord>);

#[test]
fn an_audit_that_was_altered_is_seen() {
    let (alice, _) = story();
    let (circle, audit) = (alice.log.circle(), alice.log.audit());
    let last = audit.last().expect("the list is not empty").hash;
    assert_eq!(verify_chain(circle, &audit), Ok(last));
    let forgeries: [(u64, Forgery); 12] = [
        (2, |audit| audit[2].sentence.push('!')),
        (2, |audit| audit[2].time_ms += 1),
        (3, |audit| audit[3].person_name = "Mallory".into()),
        (3, |audit| audit[3].device_name = "Mallory's".into()),
        (3, |audit| audit[3].person = None),
        (1, |audit| audit[1].role = Some(Role::Guest)),
        (1, |audit| audit[1].warrant = None),
        (2, |audit| audit[2].warrant.as_mut().expect("Alice is in").given_by_name.push('!')),
        (2, |audit| audit[2].parents.clear()),
        (0, |audit| audit[0].set_aside = Some((Reason::NoChange, "it was nothing".into()))),
        (4, |audit| audit.swap(4, 5)),
        (3, |audit| drop(audit.remove(3))),
    ];
    for (sequence, forge) in forgeries {
        let mut forged = audit.clone();
        forge(&mut forged);
        assert_eq!(verify_chain(circle, &forged), Err(BrokenChain { sequence }));
    }
    // What is cut off at the end is seen by the last hash only, which is why there is one to compare.
    let shorter = verify_chain(circle, &audit[..audit.len() - 1]).expect("whole as far as it goes");
    assert_ne!(shorter, last);
    let elsewhere = clave_engine::CircleId::from_bytes([1; 32]);
    assert_eq!(verify_chain(elsewhere, &audit), Err(BrokenChain { sequence: 0 }));
    let error = BrokenChain { sequence: 3 }.to_string();
    assert_eq!(error, "record 3 of the audit was altered, moved, or follows one that was left out; export it again");
}
