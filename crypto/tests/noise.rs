//! Handshakes and sessions as their users meet them.

#![allow(clippy::unwrap_used)]

use clave_crypto::{CryptoError, DeviceKey, Entropy, Handshake, Session, open_from_device, seal_to_device};
use proptest::prelude::*;

/// The longest Noise message, and what a record of a session adds to its share of a message.
const RECORD_BYTES_MAX: usize = 65_535;
const SHARE_BYTES_MAX: usize = RECORD_BYTES_MAX - 17;

fn handshakes() -> (Handshake, Handshake) {
    let mut entropy = Entropy::from_seed([9; 32]);
    (Handshake::initiator(&[5; 32], b"test", &mut entropy), Handshake::responder(&[5; 32], b"test", &mut entropy))
}

fn sessions() -> (Session, Session) {
    let (mut ann, mut bob) = handshakes();
    bob.read(&ann.write(&[]).unwrap()).unwrap();
    ann.read(&bob.write(&[]).unwrap()).unwrap();
    bob.read(&ann.write(&[]).unwrap()).unwrap();
    (ann.into_session().unwrap(), bob.into_session().unwrap())
}

fn message(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_handshake_carries_payloads_and_ends_in_one_session() {
    let (mut ann, mut bob) = handshakes();
    for (index, payload) in [&b"one"[..], b"two", b"three"].into_iter().enumerate() {
        let (writer, reader) = if index == 1 { (&mut bob, &mut ann) } else { (&mut ann, &mut bob) };
        assert!(writer.is_my_turn() && !reader.is_my_turn());
        assert_eq!(reader.read(&writer.write(payload).unwrap()).unwrap(), payload);
    }
    assert!(ann.is_finished() && bob.is_finished() && !ann.is_my_turn() && !bob.is_my_turn());
    assert_eq!(ann.handshake_hash().unwrap(), bob.handshake_hash().unwrap());

    let hash = ann.handshake_hash().unwrap();
    let (mut ann, mut bob) = (ann.into_session().unwrap(), bob.into_session().unwrap());
    assert_eq!((ann.handshake_hash(), bob.handshake_hash()), (&hash, &hash));
    assert_eq!(bob.open(&ann.seal(b"hello").unwrap()).unwrap(), b"hello");
    assert_eq!(ann.open(&bob.seal(b"hello yourself").unwrap()).unwrap(), b"hello yourself");
}

#[test]
fn steps_out_of_turn_are_refused_and_harm_nothing() {
    let (mut ann, mut bob) = handshakes();
    assert_eq!(bob.write(&[]), Err(CryptoError::OutOfTurn));
    assert_eq!(ann.read(b"early"), Err(CryptoError::OutOfTurn));
    assert_eq!(ann.handshake_hash(), Err(CryptoError::OutOfTurn));
    let too_long = vec![0; Handshake::PAYLOAD_BYTES_MAX + 1];
    assert_eq!(ann.write(&too_long), Err(CryptoError::TooLong(Handshake::PAYLOAD_BYTES_MAX)));

    bob.read(&ann.write(&[]).unwrap()).unwrap();
    ann.read(&bob.write(&too_long[1..]).unwrap()).unwrap();
    bob.read(&ann.write(&too_long[1..]).unwrap()).unwrap();
    assert_eq!(ann.write(&[]), Err(CryptoError::OutOfTurn));
    assert_eq!(ann.read(&[]), Err(CryptoError::OutOfTurn));
    assert_eq!(handshakes().0.into_session().err(), Some(CryptoError::OutOfTurn));
}

#[test]
fn a_failed_handshake_does_not_listen_again() {
    let (mut ann, mut bob) = handshakes();
    let first = ann.write(&[]).unwrap();
    assert_eq!(bob.read(&[0; 48]), Err(CryptoError::BadCiphertext));
    assert_eq!(bob.read(&first), Err(CryptoError::SessionOver));
    assert_eq!(bob.write(&[]), Err(CryptoError::SessionOver));
    assert_eq!(bob.handshake_hash(), Err(CryptoError::SessionOver));
    assert!(!bob.is_finished() && !bob.is_my_turn());
    assert_eq!(bob.into_session().err(), Some(CryptoError::SessionOver));
}

#[test]
fn messages_of_any_length_pass() {
    let (mut ann, mut bob) = sessions();
    for bytes in [0, 1, SHARE_BYTES_MAX - 1, SHARE_BYTES_MAX, SHARE_BYTES_MAX + 1, 2 * SHARE_BYTES_MAX, 1_000_000] {
        let message = message(bytes);
        let sealed = ann.seal(&message).unwrap();
        assert_eq!(sealed.len(), bytes + bytes.div_ceil(SHARE_BYTES_MAX).max(1) * 17);
        assert_eq!(bob.open(&sealed).unwrap(), message, "{bytes} bytes");
    }
}

#[test]
fn a_message_cannot_be_cut_between_records_nor_joined_to_the_next() {
    let long = message(SHARE_BYTES_MAX + 10);
    let (mut ann, mut bob) = sessions();
    let sealed = ann.seal(&long).unwrap();
    assert_eq!(bob.open(&sealed[..RECORD_BYTES_MAX]), Err(CryptoError::BadCiphertext));

    let (mut ann, mut bob) = sessions();
    let full = ann.seal(&long[..SHARE_BYTES_MAX]).unwrap();
    let joined = [full, ann.seal(b"and more").unwrap()].concat();
    assert_eq!(bob.open(&joined), Err(CryptoError::BadCiphertext));

    let (_, mut bob) = sessions();
    assert_eq!(bob.open(&[]), Err(CryptoError::Malformed("Noise message")));
}

#[test]
fn repeated_reordered_and_reflected_messages_are_refused() {
    let (mut ann, mut bob) = sessions();
    let first = ann.seal(b"first").unwrap();
    bob.open(&first).unwrap();
    assert_eq!(bob.open(&first), Err(CryptoError::BadCiphertext));

    let (mut ann, mut bob) = sessions();
    let (_, second) = (ann.seal(b"first").unwrap(), ann.seal(b"second").unwrap());
    assert_eq!(bob.open(&second), Err(CryptoError::BadCiphertext));

    let (mut ann, _) = sessions();
    let own = ann.seal(b"mine").unwrap();
    assert_eq!(ann.open(&own), Err(CryptoError::BadCiphertext));
}

#[test]
fn a_device_opens_what_was_sealed_to_it_and_knows_by_whom() {
    let mut entropy = Entropy::from_seed([8; 32]);
    let [ann, bob] = std::array::from_fn(|_| DeviceKey::generate(&mut entropy));
    let long = message(200_000);
    let sealed = seal_to_device(&ann, &bob.noise_public(), b"keys", &long, &mut entropy).unwrap();
    let (sender, opened) = open_from_device(&bob, b"keys", &sealed).unwrap();
    assert_eq!(sender, ann.noise_public());
    assert_eq!(*opened, long);

    let again = seal_to_device(&ann, &bob.noise_public(), b"keys", &long, &mut entropy).unwrap();
    assert_ne!(sealed, again);
    assert_ne!(ann.noise_public().as_bytes(), ann.id().as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn long_conversations_stay_in_step(turns in proptest::collection::vec((any::<bool>(), 0..150_000_usize), 1..8)) {
        let (mut ann, mut bob) = sessions();
        for (by_ann, bytes) in turns {
            let (from, to) = if by_ann { (&mut ann, &mut bob) } else { (&mut bob, &mut ann) };
            let message = message(bytes);
            prop_assert_eq!(to.open(&from.seal(&message).unwrap()), Ok(message));
        }
    }
}
