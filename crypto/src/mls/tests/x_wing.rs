//! The X-Wing suite: the published vectors of the key encapsulation, a group shared with somebody who runs openmls over
//! another provider, and that the two suites do not mix.
//!
//! The vectors are those of draft-connolly-cfrg-xwing-kem (`spec/test-vectors.json`). There are none of the working group for
//! the suite.

use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::types::{ExporterSecret, HpkeCiphertext, HpkeKeyPair, KemOutput};
use serde::Deserialize;
use tls_codec::SecretVLBytes;

use super::vectors::Passive;
use super::*;

/// One vector, in hexadecimal.
#[derive(Deserialize)]
struct Vector {
    /// Of the key pair; it is the private key.
    seed: String,
    /// What an encapsulation draws.
    eseed: String,
    pk: String,
    ct: String,
    ss: String,
}

/// Gives out what it holds.
struct Drawn(Vec<u8>);

impl TryRng for Drawn {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal")
}

#[test]
fn published_vectors_of_the_key_encapsulation() {
    let json = include_str!("../../../tests/fixtures/x-wing.json");
    let vectors: Vec<Vector> = serde_json::from_str(json).expect("the format of the draft");
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let private = <XWing as hpke::Kem>::PrivateKey::from_bytes(&hex(&vector.seed)).expect("32 bytes");
        let public = XWing::sk_to_pk(&private);
        assert_eq!(public.to_bytes().as_slice(), hex(&vector.pk));
        let mut drawn = Drawn(hex(&vector.eseed));
        let (secret, encapped) = XWing::encap_with_rng(&public, None, &mut drawn).expect("a valid key");
        assert!(drawn.0.is_empty());
        assert_eq!(encapped.to_bytes().as_slice(), hex(&vector.ct));
        assert_eq!(secret.0.as_slice(), hex(&vector.ss));
        assert_eq!(XWing::decap(&private, None, &encapped).expect("its own").0.as_slice(), hex(&vector.ss));
    }
}

#[test]
fn a_key_package_of_the_other_suite_is_refused() {
    let mut entropy = entropy(3);
    let (alice, bob) = (DeviceKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    for (of_group, of_package) in [(Suite::X25519, Suite::XWing), (Suite::XWing, Suite::X25519)] {
        let package = Mls.key_package(&bob, of_package, false, &mut entropy);
        assert_eq!(Mls.inspect_key_package(&package.public).expect("in order").suite, of_package);
        let group = Mls.create(&alice, b"circle", of_group, &mut entropy);
        let change = RosterChange { add: vec![package.public], remove: vec![] };
        assert_eq!(Mls.commit(&alice, &group, &change, &mut entropy).err(), Some(CryptoError::OtherSuite));

        let package = Mls.key_package(&bob, of_group, false, &mut entropy);
        let change = RosterChange { add: vec![package.public], remove: vec![] };
        let output = Mls.commit(&alice, &group, &change, &mut entropy).expect("of the group's suite");
        let joined = Mls.join(&bob, &output.welcome.expect("bob was added"), &[&package.secret]).expect("joins");
        assert_eq!(joined.suite, of_group);
    }
}

/// openmls's RustCrypto provider, which has all parts of the suite and does not list it.
struct Willing(RustCrypto);

macro_rules! delegate {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $out:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$out, ProviderError> {
            self.0.$name($($argument),*)
        })*
    };
}

impl OpenMlsCrypto for Willing {
    fn supports(&self, suite: Ciphersuite) -> Result<(), ProviderError> {
        if suite == ciphersuite(Suite::XWing) { Ok(()) } else { Err(ProviderError::UnsupportedCiphersuite) }
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![ciphersuite(Suite::XWing)]
    }

    delegate! {
        fn hkdf_extract(hash: HashType, salt: &[u8], ikm: &[u8]) -> SecretVLBytes;
        fn hmac(hash: HashType, key: &[u8], message: &[u8]) -> SecretVLBytes;
        fn hkdf_expand(hash: HashType, prk: &[u8], info: &[u8], length: usize) -> SecretVLBytes;
        fn hash(hash: HashType, data: &[u8]) -> Vec<u8>;
        fn aead_encrypt(alg: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Vec<u8>;
        fn aead_decrypt(alg: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Vec<u8>;
        fn signature_key_gen(alg: SignatureScheme) -> (Vec<u8>, Vec<u8>);
        fn verify_signature(alg: SignatureScheme, data: &[u8], pk: &[u8], signature: &[u8]) -> ();
        fn sign(alg: SignatureScheme, data: &[u8], key: &[u8]) -> Vec<u8>;
        fn hpke_seal(config: HpkeConfig, pk: &[u8], info: &[u8], aad: &[u8], ptxt: &[u8]) -> HpkeCiphertext;
        fn hpke_open(config: HpkeConfig, input: &HpkeCiphertext, sk: &[u8], info: &[u8], aad: &[u8]) -> Vec<u8>;
        fn hpke_setup_sender_and_export(
            config: HpkeConfig,
            pk: &[u8],
            info: &[u8],
            context: &[u8],
            length: usize,
        ) -> (KemOutput, ExporterSecret);
        fn hpke_setup_receiver_and_export(
            config: HpkeConfig,
            enc: &[u8],
            sk: &[u8],
            info: &[u8],
            context: &[u8],
            length: usize,
        ) -> ExporterSecret;
        fn derive_hpke_keypair(config: HpkeConfig, ikm: &[u8]) -> HpkeKeyPair;
    }
}

/// A member who runs openmls over its RustCrypto provider: all that is derived from an epoch to the next must be the same.
#[test]
fn a_group_is_shared_with_another_provider() {
    let mut entropy = entropy(4);
    let (alice, bob) = (DeviceKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let crypto = Willing(RustCrypto::default());
    let theirs = Passive { crypto, rand: RustCrypto::default(), storage: MemoryStorage::default() };
    let signer = DeviceSigner(&bob);
    let package = KeyPackage::builder()
        .key_package_lifetime(Lifetime::init(NOT_BEFORE, NOT_AFTER))
        .leaf_node_capabilities(capabilities(Suite::XWing))
        .build(ciphersuite(Suite::XWing), &theirs, &signer, credential(bob.id()))
        .expect("RustCrypto has the parts")
        .into_key_package();
    let package = MlsMessageOut::from(package).tls_serialize_detached().expect("encodes");

    let created = Mls.create(&alice, b"circle", Suite::XWing, &mut entropy);
    let change = RosterChange { add: vec![package], remove: vec![] };
    let added = Mls.commit(&alice, &created, &change, &mut entropy).expect("adds bob");
    let MlsMessageBodyIn::Welcome(welcome) = read_message(&added.welcome.expect("one"), "welcome").expect("reads")
    else {
        panic!("it is a welcome");
    };
    let staged = StagedWelcome::build_from_welcome(&theirs, &join_config(), welcome).expect("opens");
    let staged = staged.skip_lifetime_validation().build().expect("a valid welcome");
    let mut bobs = staged.into_group(&theirs).expect("a group");
    let mut alices = added.checkpoint;
    let same = |group: &MlsGroup, checkpoint: &Checkpoint| {
        assert_eq!(EpochId::of_authenticator(group.epoch_authenticator().as_slice()), checkpoint.epoch);
        let secret = group.export_secret(&theirs.crypto, Export::CommitKey.label(), b"", 32).expect("exports");
        assert_eq!(secret, *Mls.export(checkpoint, Export::CommitKey, b"").expect("exports"));
    };
    same(&bobs, &alices);

    for _ in 0..2 {
        let updated = Mls.commit(&alice, &alices, &RosterChange::default(), &mut entropy).expect("an update");
        let whole = brief::whole(&updated.message, &alices).expect("a commit");
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&whole).expect("a message");
        let message = message.try_into_protocol_message().expect("of a group");
        let processed = bobs.process_message(&theirs, message).expect("valid");
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            panic!("it is a commit");
        };
        bobs.merge_staged_commit(&theirs, *staged).expect("merged");
        same(&bobs, &updated.checkpoint);

        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities(Suite::XWing)).build();
        let bundle = bobs.self_update(&theirs, &signer, leaf).expect("an update");
        bobs.merge_pending_commit(&theirs).expect("merged");
        let message = bundle.into_commit().tls_serialize_detached().expect("encodes");
        let message = Mls.brief_commit(&updated.checkpoint, &message).expect("a commit");
        alices = Mls.process(&alice, &updated.checkpoint, &message).expect("valid").checkpoint;
        same(&bobs, &alices);
    }
}
