//! A vault as its users meet it.

#![allow(clippy::unwrap_used)]

use clave_crypto::{CryptoError, Entropy, PassphraseParams, Protection, VaultKey, WrappedVaultKey};

fn entropy() -> Entropy {
    Entropy::from_seed([6; 32])
}

#[test]
fn a_passphrase_stands_between_the_disk_and_the_key() {
    let mut entropy = entropy();
    let key = VaultKey::generate(&mut entropy);
    let record = key.seal(&mut entropy, b"notes/1", b"a record");
    let params = PassphraseParams::new(16, 2, 2).unwrap();
    let bytes = key.wrap_with_passphrase("correct horse", params, &mut entropy).unwrap().to_bytes();
    assert!(!bytes.windows(32).any(|window| window == key.as_bytes().as_slice()));

    let wrapped = WrappedVaultKey::from_bytes(&bytes).unwrap();
    assert_eq!(wrapped.protection(), Protection::Passphrase(params));
    assert_eq!(wrapped.unlock(None).err(), Some(CryptoError::PassphraseNeeded));
    for wrong in ["", "correct hors", "Correct horse", "correct horse "] {
        assert_eq!(wrapped.unlock(Some(wrong)).err(), Some(CryptoError::WrongPassphrase));
    }
    let unlocked = wrapped.unlock(Some("correct horse")).unwrap();
    assert_eq!(unlocked.open(b"notes/1", &record).unwrap().as_slice(), b"a record");
}

#[test]
fn a_key_in_clear_says_so() {
    let key = VaultKey::generate(&mut entropy());
    let wrapped = WrappedVaultKey::from_bytes(&key.wrap_in_clear().to_bytes()).unwrap();
    assert_eq!(wrapped.protection(), Protection::None);
    assert_eq!(wrapped.unlock(None).unwrap().as_bytes(), key.as_bytes());
}

#[test]
fn a_wrapped_key_from_elsewhere_cannot_ask_for_more_than_the_bounds() {
    let mut entropy = entropy();
    let key = VaultKey::generate(&mut entropy);
    let wrapped = key.wrap_with_passphrase("p", PassphraseParams::FAST_FOR_TESTS, &mut entropy).unwrap();
    let mut bytes = wrapped.to_bytes().to_vec();
    let refused = Some(CryptoError::Malformed("passphrase parameters"));
    for number in [6..10, 10..14, 14..18] {
        let original = bytes[number.clone()].to_vec();
        for hostile in [u32::MAX, 1 << 31, 0] {
            bytes[number.clone()].copy_from_slice(&hostile.to_be_bytes());
            assert_eq!(WrappedVaultKey::from_bytes(&bytes).err(), refused, "{hostile} at {number:?}");
        }
        bytes[number].copy_from_slice(&original);
    }
    assert!(WrappedVaultKey::from_bytes(&bytes).is_ok());
}

#[test]
fn records_cannot_be_swapped_and_equal_ones_look_different() {
    let mut entropy = entropy();
    let key = VaultKey::generate(&mut entropy);
    let [one, two] = [(); 2].map(|()| key.seal(&mut entropy, b"notes/1", b"a record"));
    assert_ne!(one, two);
    assert_eq!(key.open(b"notes/2", &one), Err(CryptoError::BadCiphertext));
}

#[test]
fn a_generator_that_repeats_itself_never_seals_two_records_under_one_key() {
    let key = VaultKey::generate(&mut entropy());
    let salt = |text: &[u8]| key.seal(&mut entropy(), b"notes/1", text)[1..25].to_vec();
    assert_ne!(salt(b"before the snapshot"), salt(b"after the snapshot"));
}

#[test]
fn hidden_names_are_stable_distinct_and_bound_to_the_key() {
    let mut entropy = entropy();
    let (key, other) = (VaultKey::generate(&mut entropy), VaultKey::generate(&mut entropy));
    let same = VaultKey::from_bytes(key.as_bytes().clone());
    assert_eq!(key.hide(b"notes"), same.hide(b"notes"));
    assert_ne!(key.hide(b"notes"), key.hide(b"note"));
    assert_ne!(key.hide(b"notes"), other.hide(b"notes"));
}

#[test]
fn what_the_host_made_of_the_key_is_no_use_without_it() {
    let mut entropy = entropy();
    let key = VaultKey::generate(&mut entropy);
    // A host that keeps the mask to itself.
    let mask: [u8; 32] = entropy.bytes();
    let masked = |bytes: &[u8]| bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>();
    let bytes = key.wrapped_by_host(masked(&**key.as_bytes())).unwrap().to_bytes();
    assert!(!bytes.windows(32).any(|window| window == key.as_bytes().as_slice()));

    let wrapped = WrappedVaultKey::from_bytes(&bytes).unwrap();
    assert_eq!(wrapped.protection(), Protection::Host);
    for passphrase in [None, Some("correct horse")] {
        assert_eq!(wrapped.unlock(passphrase).err(), Some(CryptoError::HostNeeded));
    }
    let unmasked = masked(wrapped.of_host().unwrap());
    assert_eq!(wrapped.unlock_by_host(&unmasked).unwrap().as_bytes(), key.as_bytes());
    for wrong in [&unmasked[1..], &mask, &[], wrapped.of_host().unwrap()] {
        assert_eq!(wrapped.unlock_by_host(wrong).err(), Some(CryptoError::WrongHostKey));
    }
    let malformed = Some(CryptoError::Malformed("wrapped vault key"));
    assert_eq!(WrappedVaultKey::from_bytes(&bytes[..22]).err(), malformed);
    assert_eq!(WrappedVaultKey::from_bytes(&[&bytes[..], &[0; 4_096]].concat()).err(), malformed);
    for refused in [Vec::new(), vec![0; 4_097]] {
        assert_eq!(key.wrapped_by_host(refused).err(), malformed);
    }
    let clear = WrappedVaultKey::from_bytes(&key.wrap_in_clear().to_bytes()).unwrap();
    assert_eq!((clear.of_host(), clear.unlock_by_host(&unmasked).err()), (None, Some(CryptoError::WrongHostKey)));
}
