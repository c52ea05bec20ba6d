//! Whatever is altered, cut short, moved elsewhere or opened with another key is refused; what nobody ever sealed
//! is refused without a panic.

#![allow(clippy::unwrap_used)]

use clave_crypto::{
    ChunkKey, ContentKey, CryptoError, DeviceId, DeviceKey, Entropy, Handshake, KeyId, NoisePublicKey,
    PassphraseParams, Protection, Session, Signature, VaultKey, WrappedVaultKey, open_chunk, open_from_device,
    seal_chunk, seal_to_device, unpad,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use zeroize::Zeroizing;

/// One way in which bytes can be wrong.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(byte, bit)| Damage::Flip(byte, bit)),
        any::<Index>().prop_map(Damage::Cut),
        vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

impl Damage {
    /// Never gives back what came in.
    fn to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip(byte, bit) => {
                let byte = byte.index(bytes.len());
                bytes[byte] ^= 1 << bit;
            }
            Self::Cut(length) => bytes.truncate(length.index(bytes.len())),
            Self::Append(more) => bytes.extend_from_slice(more),
        }
        bytes
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn content_key(byte: u8) -> ContentKey {
    ContentKey::from_bytes(Zeroizing::new([byte; 32]))
}

fn sessions(entropy: &mut Entropy) -> (Session, Session) {
    let mut ann = Handshake::initiator(&[5; 32], b"test", entropy);
    let mut bob = Handshake::responder(&[5; 32], b"test", entropy);
    bob.read(&ann.write(&[]).unwrap()).unwrap();
    ann.read(&bob.write(&[]).unwrap()).unwrap();
    bob.read(&ann.write(&[]).unwrap()).unwrap();
    (ann.into_session().unwrap(), bob.into_session().unwrap())
}

proptest! {
    #[test]
    fn content(seed: [u8; 32], text in text(), aad in text(), damage in damage()) {
        let mut entropy = Entropy::from_seed(seed);
        let key = content_key(1);
        let (salt, sealed) = key.seal(&mut entropy, &aad, &text);
        prop_assert_eq!(key.open(&salt, &aad, &sealed), Ok(text));

        let refused = Err(CryptoError::BadCiphertext);
        prop_assert_eq!(key.open(&salt, &aad, &damage.to(&sealed)), refused.clone());
        prop_assert_eq!(key.open(&salt, &[&aad[..], b"!"].concat(), &sealed), refused.clone());
        prop_assert_eq!(content_key(2).open(&salt, &aad, &sealed), refused.clone());
        let mut other_salt = salt;
        other_salt[usize::from(seed[0] % 16)] ^= 1;
        prop_assert_eq!(key.open(&other_salt, &aad, &sealed), refused);
    }

    #[test]
    fn chunks(secret: [u8; 32], text in text(), damage in damage()) {
        let (key, sealed) = seal_chunk(&secret, &text);
        prop_assert_eq!(open_chunk(&key, sealed.clone()), Ok(text));

        let refused = Err(CryptoError::BadCiphertext);
        prop_assert_eq!(open_chunk(&key, damage.to(&sealed)), refused.clone());
        let (other_key, _) = seal_chunk(&secret, &[7; 301]);
        prop_assert_eq!(open_chunk(&other_key, sealed), refused);
    }

    #[test]
    fn vault_records(seed: [u8; 32], text in text(), aad in text(), damage in damage()) {
        let mut entropy = Entropy::from_seed(seed);
        let key = VaultKey::generate(&mut entropy);
        let sealed = key.seal(&mut entropy, &aad, &text);
        prop_assert_eq!(sealed.len(), text.len() + VaultKey::OVERHEAD_BYTES);
        prop_assert_eq!(key.open(&aad, &sealed).map(|opened| opened.to_vec()), Ok(text));

        let refused = key.open(&aad, &damage.to(&sealed));
        prop_assert!(matches!(refused, Err(CryptoError::BadCiphertext | CryptoError::Malformed(_))));
        prop_assert_eq!(key.open(&[&aad[..], b"!"].concat(), &sealed), Err(CryptoError::BadCiphertext));
        prop_assert_eq!(VaultKey::generate(&mut entropy).open(&aad, &sealed), Err(CryptoError::BadCiphertext));
    }

    #[test]
    fn wrapped_vault_keys(seed: [u8; 32], locked: bool, damage in damage()) {
        let mut entropy = Entropy::from_seed(seed);
        let key = VaultKey::generate(&mut entropy);
        let wrapped = if locked {
            key.wrap_with_passphrase("open sesame", PassphraseParams::FAST_FOR_TESTS, &mut entropy).unwrap()
        } else {
            key.wrap_in_clear()
        };
        let bytes = wrapped.to_bytes();
        let unlocked = WrappedVaultKey::from_bytes(&bytes).and_then(|it| it.unlock(Some("open sesame"))).unwrap();
        prop_assert_eq!(unlocked.as_bytes(), key.as_bytes());

        match WrappedVaultKey::from_bytes(&damage.to(&bytes)).map(|it| (it.protection(), it)) {
            Err(refusal) => prop_assert!(matches!(refusal, CryptoError::Malformed(_))),
            // Other parameters lead to another key. Those within bounds that would cost seconds are not tried.
            Ok((Protection::Passphrase(params), damaged)) => {
                if params.memory_kib() * params.passes() <= 4_096 {
                    prop_assert_eq!(damaged.unlock(Some("open sesame")).err(), Some(CryptoError::WrongPassphrase));
                }
            }
            Ok(_) => prop_assert!(false, "damage took the protection away"),
        }
    }

    #[test]
    fn messages_to_a_device(seed: [u8; 32], text in text(), context in text(), damage in damage()) {
        let mut entropy = Entropy::from_seed(seed);
        let [ann, bob, eve] = std::array::from_fn(|_| DeviceKey::generate(&mut entropy));
        let sealed = seal_to_device(&ann, &bob.noise_public(), &context, &text, &mut entropy).unwrap();
        let (sender, opened) = open_from_device(&bob, &context, &sealed).unwrap();
        prop_assert_eq!((sender, opened.as_slice()), (ann.noise_public(), text.as_slice()));

        let refused = open_from_device(&bob, &context, &damage.to(&sealed)).err();
        prop_assert!(matches!(refused, Some(CryptoError::BadCiphertext | CryptoError::Malformed(_))), "{:?}", refused);
        let elsewhere = open_from_device(&bob, &[&context[..], b"!"].concat(), &sealed).err();
        prop_assert_eq!(elsewhere, Some(CryptoError::BadCiphertext));
        prop_assert_eq!(open_from_device(&eve, &context, &sealed).err(), Some(CryptoError::BadCiphertext));
    }

    #[test]
    fn a_handshake(seed: [u8; 32], at in 0..3_usize, damage in damage()) {
        let mut entropy = Entropy::from_seed(seed);
        let mut ann = Handshake::initiator(&[5; 32], b"test", &mut entropy);
        let mut bob = Handshake::responder(&[5; 32], b"test", &mut entropy);
        let mut refusal = None;
        for step in 0..3 {
            let (writer, reader) = if step == 1 { (&mut bob, &mut ann) } else { (&mut ann, &mut bob) };
            // A bad ephemeral key in the first message shows when the answer to it is written or read.
            let Ok(message) = writer.write(b"hello").map_err(|error| refusal = Some(error)) else { break };
            let message = if step == at { damage.to(&message) } else { message };
            let Ok(_) = reader.read(&message).map_err(|error| refusal = Some(error)) else { break };
        }
        prop_assert!(matches!(refusal, Some(CryptoError::BadCiphertext | CryptoError::Malformed(_))), "{:?}", refusal);
        prop_assert!(!(ann.is_finished() && bob.is_finished()));
    }

    #[test]
    fn a_session(seed: [u8; 32], text in text(), damage in damage()) {
        let (mut ann, mut bob) = sessions(&mut Entropy::from_seed(seed));
        let first = ann.seal(&text).unwrap();
        prop_assert_eq!(bob.open(&first), Ok(text.clone()));

        let second = ann.seal(&text).unwrap();
        let refused = bob.open(&damage.to(&second));
        prop_assert!(matches!(refused, Err(CryptoError::BadCiphertext | CryptoError::Malformed(_))));
        prop_assert_eq!(bob.open(&second), Err(CryptoError::SessionOver));
        prop_assert_eq!(bob.seal(&text), Err(CryptoError::SessionOver));
    }

    #[test]
    fn bytes_that_nobody_sealed(bytes in vec(any::<u8>(), 0..700), seed: [u8; 32]) {
        let mut entropy = Entropy::from_seed(seed);
        let salt = entropy.bytes();
        prop_assert!(content_key(1).open(&salt, &[], &bytes).is_err());
        prop_assert!(open_chunk(&ChunkKey::from_bytes(Zeroizing::new([salt, salt].concat().try_into().unwrap())), bytes.clone()).is_err());
        prop_assert!(VaultKey::generate(&mut entropy).open(&[], &bytes).is_err());
        prop_assert!(VaultKey::generate(&mut entropy).open(&[], &[&[1], &bytes[..]].concat()).is_err());
        prop_assert!(WrappedVaultKey::from_bytes(&bytes).is_err());
        prop_assert!(WrappedVaultKey::from_bytes(&[b"CLVK\x01\x00", &bytes[..]].concat()).is_err());
        prop_assert!(open_from_device(&DeviceKey::generate(&mut entropy), &[], &bytes).is_err());
        let (mut ann, _) = sessions(&mut entropy);
        prop_assert!(ann.open(&bytes).is_err());

        prop_assert_eq!(DeviceId::try_from(&bytes[..]).is_ok(), bytes.len() == 32);
        prop_assert_eq!(NoisePublicKey::try_from(&bytes[..]).is_ok(), bytes.len() == 32);
        prop_assert_eq!(KeyId::try_from(&bytes[..]).is_ok(), bytes.len() == 16);
        prop_assert_eq!(Signature::try_from(&bytes[..]).is_ok(), bytes.len() == 64);
        if let Ok(content) = unpad(bytes.clone()) {
            prop_assert_eq!(clave_crypto::pad(&content), bytes);
        }
    }

    #[test]
    fn a_wrong_secret_or_prologue_in_a_handshake(psk: [u8; 32], same_psk: bool) {
        let mut entropy = Entropy::from_seed(psk);
        let (other_psk, other_prologue) =
            if same_psk { (psk, &b"there"[..]) } else { (psk.map(|byte| !byte), &b"here"[..]) };
        let mut ann = Handshake::initiator(&psk, b"here", &mut entropy);
        let mut bob = Handshake::responder(&other_psk, other_prologue, &mut entropy);
        let refusal = (|| {
            bob.read(&ann.write(&[])?)?;
            ann.read(&bob.write(&[])?)?;
            bob.read(&ann.write(&[])?)
        })();
        prop_assert_eq!(refusal, Err(CryptoError::BadCiphertext));
        prop_assert!(!bob.is_finished());
    }
}
