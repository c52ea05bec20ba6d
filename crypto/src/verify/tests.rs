use std::collections::BTreeSet;

use super::*;
use crate::{DeviceKey, PersonKey};

const CIRCLE: &[u8] = &[9; 32];

fn person(seed: u8) -> PersonId {
    PersonKey::from_seed(Zeroizing::new([seed; 32])).id()
}

fn party(seed: u8) -> SasParty {
    SasParty { person: person(seed), device: DeviceKey::from_seed(Zeroizing::new([seed + 100; 32])).id() }
}

fn context(initiator: u8, responder: u8) -> SasContext<'static> {
    SasContext { initiator: party(initiator), responder: party(responder), circle: CIRCLE }
}

fn entropy(seed: u8) -> Entropy {
    Entropy::from_seed([seed; 32])
}

/// Alice, who is 1, and her commitment; Bob, who is 2.
fn alice_and_bob() -> (SasExchange, SasMessage, SasExchange) {
    let (alice, commitment) = SasExchange::initiate(&context(1, 2), &mut entropy(1));
    (alice, commitment, SasExchange::respond(&context(1, 2), &mut entropy(2)))
}

/// Carries the messages, and says what each side shows.
fn exchange(initiator: &SasContext<'_>, responder: &SasContext<'_>) -> Result<(Sas, Sas), CryptoError> {
    let (mut alice, commitment) = SasExchange::initiate(initiator, &mut entropy(1));
    let mut bob = SasExchange::respond(responder, &mut entropy(2));
    let nonce = bob.receive(commitment)?.send.expect("a nonce");
    let step = alice.receive(nonce)?;
    let shown = bob.receive(step.send.expect("a reveal"))?.sas.expect("the end");
    Ok((step.sas.expect("the end"), shown))
}

#[test]
fn both_see_the_same_and_it_never_changes() {
    let (alice, bob) = exchange(&context(1, 2), &context(1, 2)).expect("nobody in between");
    assert_eq!(alice, bob);
    let words: Vec<&str> = alice.emoji().iter().map(|(_, word)| *word).collect();
    assert_eq!(words.join(" "), "strawberry star book rabbit house cheese gift");
    assert_eq!(alice.digits(), [8402, 8628, 4842]);
}

/// Mallory gave each of them her own key as the other's, and talks to both.
#[test]
fn whoever_is_in_between_shows_each_something_else() {
    let (mut alice, to_mallory) = SasExchange::initiate(&context(1, 3), &mut entropy(1));
    let mut bob = SasExchange::respond(&context(3, 2), &mut entropy(2));
    let mut as_bob = SasExchange::respond(&context(1, 3), &mut entropy(3));
    let (mut as_alice, commitment) = SasExchange::initiate(&context(3, 2), &mut entropy(4));

    // She even waits with her own nonce for Alice until she has Bob's, and uses that one.
    let bobs_nonce = bob.receive(commitment).expect("Bob answers").send.expect("a nonce");
    as_bob.receive(to_mallory).expect("hers");
    let at_alice = alice.receive(bobs_nonce).expect("Alice reveals").sas.expect("the end");
    let reveal = as_alice.receive(bobs_nonce).expect("hers").send.expect("a reveal");
    let at_bob = bob.receive(reveal).expect("it is what she committed to").sas.expect("the end");

    assert_ne!(at_alice.emoji(), at_bob.emoji());
    assert_ne!(at_alice.digits(), at_bob.digits());
}

#[test]
fn a_nonce_cannot_be_chosen_after_the_other_was_seen() {
    let (_, commitment, mut bob) = alice_and_bob();
    bob.receive(commitment).expect("a commitment");
    assert_eq!(bob.receive(SasMessage::Reveal([5; 32])), Err(CryptoError::CommitmentMismatch));
    assert_eq!(bob.receive(SasMessage::Reveal([6; 32])), Err(CryptoError::SessionOver), "no second guess");
}

#[test]
fn sides_that_disagree_about_anything_are_told() {
    let ours = context(1, 2);
    let initiator = SasParty { device: party(3).device, ..ours.initiator };
    let responder = SasParty { person: party(3).person, ..ours.responder };
    for theirs in [
        SasContext { initiator, ..ours },
        SasContext { responder, ..ours },
        SasContext { circle: &[8; 32], ..ours },
        context(2, 1),
    ] {
        assert_eq!(exchange(&ours, &theirs), Err(CryptoError::CommitmentMismatch));
    }
}

/// Somebody sends Alice's own commitment back to her, as if Bob had started.
#[test]
fn a_reflected_exchange_is_refused() {
    let (mut alice, commitment, _) = alice_and_bob();
    let mut also_alice = SasExchange::respond(&context(2, 1), &mut entropy(5));
    let nonce = also_alice.receive(commitment).expect("a commitment").send.expect("a nonce");
    let reveal = alice.receive(nonce).expect("a nonce").send.expect("a reveal");
    assert_eq!(also_alice.receive(reveal), Err(CryptoError::CommitmentMismatch));
}

#[test]
fn messages_out_of_order_end_the_exchange() {
    let messages = [SasMessage::Commitment([1; 32]), SasMessage::Nonce([1; 32]), SasMessage::Reveal([1; 32])];
    for (due, message) in messages.iter().enumerate().flat_map(|(at, _)| messages.map(|message| (at, message))) {
        let (mut alice, commitment, mut bob) = alice_and_bob();
        let side = match due {
            0 => &mut bob,
            1 => &mut alice,
            _ => {
                bob.receive(commitment).expect("a commitment");
                &mut bob
            }
        };
        if messages[due] != message {
            assert_eq!(side.receive(message), Err(CryptoError::OutOfTurn));
            assert_eq!(side.receive(messages[due]), Err(CryptoError::SessionOver), "not even the right one");
        }
    }
    let (mut alice, commitment, mut bob) = alice_and_bob();
    let nonce = bob.receive(commitment).expect("a commitment").send.expect("a nonce");
    alice.receive(nonce).expect("the end");
    assert_eq!(alice.receive(nonce), Err(CryptoError::OutOfTurn), "nothing follows the end");
}

#[test]
fn messages_survive_the_wire() {
    for message in [SasMessage::Commitment([1; 32]), SasMessage::Nonce([2; 32]), SasMessage::Reveal([3; 32])] {
        assert_eq!(SasMessage::from_bytes(&message.to_bytes()), Ok(message));
    }
    for bytes in [&[][..], &[1; 32], &[1; 34], &[0; 33], &[4; 33]] {
        assert_eq!(SasMessage::from_bytes(bytes), Err(CryptoError::Malformed("verification message")));
    }
}

#[test]
fn every_picture_and_number_can_be_shown() {
    let (mut pictures, mut least, mut most) = (BTreeSet::new(), u16::MAX, u16::MIN);
    for n in 0..500u16 {
        let mut nonce = [0; 32];
        nonce[..2].copy_from_slice(&n.to_be_bytes());
        let sas = Sas::new(&[0; 32], &nonce, &[0; 32]);
        pictures.extend(sas.emoji());
        least = sas.digits().into_iter().chain([least]).min().unwrap();
        most = sas.digits().into_iter().chain([most]).max().unwrap();
    }
    assert_eq!(pictures.len(), 64);
    assert!((1000..1100).contains(&least) && (9100..=9191).contains(&most), "{least}..={most}");
}

#[test]
fn a_safety_number_is_of_a_pair_and_never_changes() {
    let number = safety_number(person(1), person(2));
    assert_eq!(number, safety_number(person(2), person(1)));
    assert_eq!(number, "54381 73762 12326 87786 14789 10792 93365 92030 15884 56344 64567 56706");
    let groups: Vec<&str> = number.split(' ').collect();
    assert_eq!(groups.len(), 12);
    assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_digit())));

    let other = safety_number(person(1), person(3));
    let shared = number.split(' ').filter(|group| other.contains(group)).count();
    assert_eq!(shared, 6, "the half of who is in both");
}
