//! What gets into the log, and what the log says of itself.

use clave_crypto::{DeviceKey, Suite};
use clave_engine::membership::{
    Action, Equivocation, Insertion, Log, NAME_BYTES_MAX, OPERATION_BYTES_MAX, Operation, PARENTS_MAX,
    PENDING_OPERATIONS_MAX, Reason, Refusal, Role, Scope,
};
use clave_engine::{CircleId, OperationId};
use prost::Message as _;

use crate::harness::{NOW_MS, add, alice, entry, remove};

fn rename(name: impl ToString) -> Action {
    Action::Rename { name: name.to_string() }
}

#[test]
fn an_operation_is_what_its_author_signed() {
    let (_, alice) = alice();
    let operation = Operation::sign(&alice.device, alice.log.heads(), NOW_MS, rename("Choir"));
    let encoded = operation.encode();
    assert_eq!(Operation::decode(&encoded).as_ref(), Ok(&operation));

    let at = encoded.windows(5).position(|window| window == b"Choir").expect("the name is in the encoding");
    let mut altered = encoded;
    altered[at] = b'c';
    let altered = Operation::decode(&altered).expect("still well formed");
    assert_ne!(altered.id(), operation.id());
    let mut log = alice.log;
    assert_eq!(log.insert(altered), Insertion::Refused(Refusal::BadSignature));
}

#[test]
fn an_operation_says_when_its_author_wrote_it() {
    let (_, alice) = alice();
    let operation = alice.log.new_operation(&alice.device, rename("Choir"), 5).expect("an owner may");
    let read = Operation::decode(&operation.encode()).expect("its own encoding");
    assert_eq!((read.time_ms(), read.verify()), (5, Ok(())));
    let later = alice.log.new_operation(&alice.device, rename("Choir"), 6).expect("an owner may");
    assert_ne!(later.id(), operation.id(), "it is signed with the rest");
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
}

#[test]
fn nobody_writes_in_the_name_of_another() {
    let (mut circle, mut alice) = alice();
    let mallory = circle.joins("Mallory", Role::Member, &mut alice);
    let forged = Operation::sign(&mallory.device, alice.log.heads(), NOW_MS, rename("Mallory's"));
    let mut envelope = Envelope::decode(forged.encode().as_slice()).expect("an envelope");
    // The author is the first field of the body: tag, length, key.
    envelope.body[2..34].copy_from_slice(alice.device_id().as_bytes());
    let forged = Operation::decode(&envelope.encode_to_vec()).expect("well formed");
    assert_eq!(forged.author(), alice.device_id());
    assert_eq!(alice.log.insert(forged), Insertion::Refused(Refusal::BadSignature));
}

#[test]
fn an_operation_has_one_encoding() {
    let (_, alice) = alice();
    let encoded = Operation::sign(&alice.device, alice.log.heads(), NOW_MS, rename("Choir")).encode();
    for end in 0..encoded.len() {
        assert_eq!(Operation::decode(&encoded[..end]), Err(Refusal::Malformed));
    }
    let unknown_field = [encoded.as_slice(), &[0x18, 1]].concat();
    assert_eq!(Operation::decode(&unknown_field), Err(Refusal::Malformed));
    let envelope = Envelope::decode(encoded.as_slice()).expect("an envelope");
    let reordered = [&encoded[encoded.len() - 66..], &encoded[..encoded.len() - 66]].concat();
    assert_eq!(Envelope::decode(reordered.as_slice()).as_ref(), Ok(&envelope), "protobuf does not mind");
    assert_eq!(Operation::decode(&reordered), Err(Refusal::Malformed));
    assert_eq!(Operation::decode(&vec![0; OPERATION_BYTES_MAX + 1]), Err(Refusal::TooLong));
}

#[test]
fn operations_have_bounds() {
    let (_, alice) = alice();
    let long = rename("x".repeat(NAME_BYTES_MAX + 1));
    assert_eq!(alice.log.new_operation(&alice.device, long, NOW_MS), Err(Reason::Unreadable));
    let longest = rename("x".repeat(NAME_BYTES_MAX));
    assert!(alice.log.new_operation(&alice.device, longest, NOW_MS).is_ok());
    let parents = |count: usize| (0..count).map(|n| OperationId::from_bytes([n as u8; 32])).collect();
    let most = Operation::sign(&alice.device, parents(PARENTS_MAX), NOW_MS, rename("x"));
    assert_eq!(Operation::decode(&most.encode()), Ok(most));
    let too_many = Operation::sign(&alice.device, parents(PARENTS_MAX + 1), NOW_MS, rename("x"));
    assert_eq!(Operation::decode(&too_many.encode()), Err(Refusal::Malformed));
}

#[test]
fn a_device_is_claimed_only_with_both_keys() {
    let (mut circle, mut alice) = alice();
    let (bob, mallory) = (circle.stranger("Bob"), circle.stranger("Mallory"));
    let honest = entry("Bob", &bob.person, &bob.device);
    let mut uncertified = honest.clone();
    uncertified.devices[0].certificate.signature = mallory.person.certify(bob.device_id()).signature;
    let mut unconsented = honest.clone();
    unconsented.devices[0].consent = entry("Bob", &bob.person, &mallory.device).devices[0].consent;
    for newcomer in [uncertified, unconsented] {
        let add = Action::AddPerson { newcomer, role: Role::Member };
        let add = Operation::sign(&alice.device, alice.log.heads(), NOW_MS, add);
        assert_eq!(alice.log.insert(add), Insertion::Refused(Refusal::BadCertificate));
    }
    alice.does(Action::AddPerson { newcomer: honest, role: Role::Member });
}

#[test]
fn strangers_do_not_get_into_the_log() {
    let (mut circle, mut alice) = alice();
    let stranger = circle.stranger("Mallory");
    let operation = Operation::sign(&stranger.device, alice.log.heads(), NOW_MS, rename("Mallory's"));
    assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::UnknownAuthor));

    // Somebody who came in later, writing at a point where nothing introduced them.
    let newcomer = circle.joins("Bob", Role::Member, &mut alice);
    let operation = Operation::sign(&newcomer.device, vec![circle.genesis.id()], NOW_MS, rename("Bob's"));
    assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::UnknownAuthor));
}

#[test]
fn a_log_has_one_genesis() {
    let (mut circle, mut alice) = alice();
    let founder = || entry("Alice", &alice.person, &alice.device);
    let genesis = |nonce| Action::Genesis {
        name: "Band".into(),
        nonce: [nonce; 16],
        founder: founder(),
        parent: None,
        scope: Scope::Nested,
        suite: Suite::default(),
    };
    let other = Operation::sign(&alice.device, Vec::new(), NOW_MS, genesis(8));
    let late = Operation::sign(&alice.device, alice.log.heads(), NOW_MS, genesis(7));
    let orphan = Operation::sign(&alice.device, Vec::new(), NOW_MS, rename("x"));
    let mallory = circle.stranger("Mallory");
    assert_eq!(Log::found(&mallory.device, genesis(9), NOW_MS).map(|_| ()), Err(Refusal::UnknownAuthor));
    for operation in [other, late, orphan] {
        assert_eq!(alice.log.insert(operation), Insertion::Refused(Refusal::OtherCircle));
    }
    let id = circle.genesis.id();
    assert_eq!(alice.log.circle(), CircleId::from_bytes(*id.as_bytes()));
    assert_eq!(alice.log.insert(circle.genesis), Insertion::Duplicate);
}

#[test]
fn operations_wait_for_their_parents() {
    let (circle, mut alice) = alice();
    let first = alice.does(rename(1));
    let second = alice.does(rename(2));
    let third = alice.does(rename(3));
    let mut log = Log::new(alice.log.circle());
    let take = |id| alice.log.operation(&id).expect("Alice has it").clone();
    assert_eq!(log.insert(take(third)), Insertion::MissingParents(vec![second]));
    assert_eq!(log.insert(take(third)), Insertion::Duplicate);
    assert_eq!(log.insert(take(second)), Insertion::MissingParents(vec![first]));
    assert_eq!(log.insert(take(first)), Insertion::MissingParents(vec![circle.genesis.id()]));
    assert_eq!((log.pending(), log.len(), log.membership().people.len()), (3, 0, 0));
    let id = circle.genesis.id();
    assert_eq!(log.insert(circle.genesis), Insertion::Inserted(vec![id, first, second, third]));
    assert_eq!((log.pending(), log.heads()), (0, vec![third]));
    assert_eq!(log.membership(), alice.log.membership());
}

#[test]
fn what_waits_is_bounded_and_nobody_takes_the_place_of_others() {
    let (mut circle, mut alice) = alice();
    let flooder = DeviceKey::generate(&mut circle.entropy);
    let nowhere = OperationId::from_bytes([1; 32]);
    for n in 0..PENDING_OPERATIONS_MAX {
        let operation = Operation::sign(&flooder, vec![nowhere], NOW_MS, rename(n));
        assert_eq!(alice.log.insert_verified(operation), Insertion::MissingParents(vec![nowhere]));
    }
    let one_more = Operation::sign(&flooder, vec![nowhere], NOW_MS, rename("one more"));
    assert_eq!(alice.log.insert_verified(one_more), Insertion::Refused(Refusal::TooManyPending));
    let honest = Operation::sign(&alice.device, vec![nowhere], NOW_MS, rename("honest"));
    assert_eq!(alice.log.insert_verified(honest), Insertion::MissingParents(vec![nowhere]));
    assert_eq!(alice.log.pending(), PENDING_OPERATIONS_MAX);
}

#[test]
fn two_operations_of_one_device_at_the_same_time_are_seen() {
    let (mut circle, mut alice) = alice();
    let mut bob = circle.joins("Bob", Role::Admin, &mut alice);
    let before = bob.log.heads();
    bob.does(rename("one"));
    assert_eq!(bob.log.equivocations(), []);
    bob.forces_after(before, rename("two"));
    alice.hears(&bob);
    let equivocations = alice.log.equivocations();
    let [Equivocation { device, operations: [first, second] }] = equivocations[..] else {
        panic!("one device equivocates: {equivocations:?}")
    };
    assert_eq!((device, alice.log.precedes(&first, &second)), (bob.device_id(), Some(false)));
    assert_eq!(alice.log.membership().set_aside, [], "evidence, not a verdict");
}

#[test]
fn the_log_reads_as_a_history() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Admin, &mut alice);
    alice.does(rename("Choir"));
    alice.does(remove(&bob));
    let history: Vec<_> = alice.log.operations().filter_map(|op| alice.log.describe(&op.id())).collect();
    assert_eq!(
        history,
        [
            "Alice created the circle “Band”",
            "Alice added Bob as an admin",
            "Alice renamed the circle to “Choir”",
            "Alice removed Bob"
        ]
    );
    assert_eq!(alice.log.membership().name, "Choir");
    let removal = alice.log.heads();
    assert_eq!(alice.log.ancestors(&removal).map(|ancestors| ancestors.len()), Some(4));
}

#[test]
fn what_would_be_set_aside_is_not_written() {
    let (mut circle, mut alice) = alice();
    let bob = circle.joins("Bob", Role::Guest, &mut alice);
    let error = bob.log.new_operation(&bob.device, remove(&alice), NOW_MS).expect_err("a guest removes nobody");
    assert_eq!(error.to_string(), "your role may not manage people; ask an admin");
    let again = add(&bob, Role::Member);
    assert_eq!(alice.log.new_operation(&alice.device, again, NOW_MS), Err(Reason::AlreadyThere));
}
