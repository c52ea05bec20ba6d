//! The published vectors of the two patterns, and what a peer with a bad key gets.
//!
//! The vectors are those of `cacophony` (Unlicense), which snow's own tests use too.

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::{COMPLETE, Handshake, Keys, primitives};
use crate::{CryptoError, DeviceKey, Entropy, NoisePublicKey, open_from_device, seal_to_device};

const PROLOGUE: &str = "4a6f686e2047616c74";
const PSK: &str = "54686973206973206d7920417573747269616e20706572737065637469766521";
const INITIATOR_STATIC: &str = "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
const INITIATOR_EPHEMERAL: &str = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
const RESPONDER_STATIC: &str = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
const RESPONDER_STATIC_PUBLIC: &str = "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";
const RESPONDER_EPHEMERAL: &str = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";

fn unhex(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn key(hex: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(unhex(hex).try_into().unwrap())
}

#[test]
fn xxpsk3_gives_the_published_vector() {
    let (prologue, psk) = (unhex(PROLOGUE), key(PSK));
    let ann_keys = Keys { own: key(INITIATOR_STATIC), ephemeral: key(INITIATOR_EPHEMERAL) };
    let bob_keys = Keys { own: key(RESPONDER_STATIC), ephemeral: key(RESPONDER_EPHEMERAL) };
    let ann = ann_keys.builder(&psk, &prologue).and_then(snow::Builder::build_initiator).expect(COMPLETE);
    let bob = bob_keys.builder(&psk, &prologue).and_then(snow::Builder::build_responder).expect(COMPLETE);
    let (mut ann, mut bob) = (Handshake(Some(ann)), Handshake(Some(bob)));

    for (index, (payload, message)) in [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944325ea71699951ece20f284b6ad9604a029eb335b\
             f84564c308b6ade90ae45078",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432645535233ffe1432564d66a85227b677ced6fc2\
             730ae0998ff49aa1dc56b8186e31b16e416f5d9c03c71f6c34fd37ec013105020070a8b00c000ce7ed56629c119795f96463274b\
             c05519d5c24dc1",
        ),
        (
            "462e20412e20486179656b",
            "adf16c5375ec4172576783fd59f2bfa5c7a320d0a13b759592e1a2ddf5524cce59ccbb92ff5d321fced3bdb2840596df562c0e68\
             aad41b090abd285f6d300130072e06964a6ba494e58d47",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (writer, reader) = if index == 1 { (&mut bob, &mut ann) } else { (&mut ann, &mut bob) };
        let written = writer.write(&unhex(payload)).unwrap();
        assert_eq!(HEXLOWER.encode(&written), message);
        assert_eq!(reader.read(&written).unwrap(), unhex(payload));
    }

    let hash = "fc0819f08aebc23de9a783653d8d7d6395b7d243d9deec12f5d6fe2f4c206673";
    assert_eq!(HEXLOWER.encode(&ann.handshake_hash().unwrap()), hash);
    assert_eq!(HEXLOWER.encode(&bob.handshake_hash().unwrap()), hash);

    let mut bob = bob.0.unwrap().into_transport_mode().unwrap();
    let mut record = [0; 100];
    let written = bob.write_message(&unhex("4361726c204d656e676572"), &mut record).unwrap();
    assert_eq!(HEXLOWER.encode(&record[..written]), "dcdc045c8e9ec36c8ea4078552e5849f87cb9bdfbd2a4eee3baaf6");
}

#[test]
fn x_gives_the_published_vector() {
    let (own, ephemeral, recipient) = (key(INITIATOR_STATIC), key(INITIATOR_EPHEMERAL), unhex(RESPONDER_STATIC_PUBLIC));
    let prologue = unhex(PROLOGUE);
    let mut handshake = primitives::builder(super::to_device::PATTERN, Some(&ephemeral))
        .local_private_key(&*own)
        .and_then(|builder| builder.remote_public_key(&recipient))
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(snow::Builder::build_initiator)
        .unwrap();
    let mut message = [0; 200];
    let written = handshake.write_message(&unhex("4c756477696720766f6e204d69736573"), &mut message).unwrap();
    assert_eq!(
        HEXLOWER.encode(&message[..written]),
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79448bc3b729d16d3944f1bfae9fa98e0d306234\
         bfadc44880f99a69c6e55b6c1458e9c9dacab3f29aac44b435c57dc436d0830ae461a4479228789a38085be55b13e0128564\
         987994de842e73dd0a5c328b"
    );
}

/// The points of order 1, 2, 4 and 8 on Curve25519, of which the first two suffice to show the check.
const LOW_ORDER: [[u8; 32]; 2] = [[0; 32], {
    let mut one = [0; 32];
    one[0] = 1;
    one
}];

#[test]
fn a_key_that_forces_the_outcome_is_refused() {
    let mut entropy = Entropy::from_seed([3; 32]);
    let [ann, bob] = std::array::from_fn(|_| DeviceKey::generate(&mut entropy));
    for low in LOW_ORDER {
        let sealed = seal_to_device(&ann, &NoisePublicKey::from_bytes(low), &[], b"secret", &mut entropy);
        assert_eq!(sealed, Err(CryptoError::Malformed("Noise key")));

        let mut sealed = seal_to_device(&ann, &bob.noise_public(), &[], b"secret", &mut entropy).unwrap();
        sealed[..32].copy_from_slice(&low);
        assert_eq!(open_from_device(&bob, &[], &sealed).err(), Some(CryptoError::Malformed("Noise key")));
    }
}

#[test]
fn each_handshake_has_an_ephemeral_key_of_its_own() {
    let mut entropy = Entropy::from_seed([3; 32]);
    let [one, two] = [(); 2].map(|()| Handshake::initiator(&[1; 32], b"", &mut entropy).write(&[]).unwrap());
    assert_ne!(one[..32], two[..32]);
}

#[test]
fn nothing_is_written_without_an_ephemeral_key() {
    let mut handshake = primitives::builder("Noise_NN_25519_ChaChaPoly_BLAKE2s", None).build_initiator().unwrap();
    assert_eq!(handshake.write_message(&[], &mut [0; 100]), Err(snow::Error::Rng));
}
