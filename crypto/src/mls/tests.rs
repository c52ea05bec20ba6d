//! What is particular to MLS: our provider against the one of openmls, and leaves that lie.

use std::collections::{BTreeMap, BTreeSet};

use openmls::prelude::{
    CommitMessageBundle, Extension, Extensions, OpenMlsCrypto, OpenMlsRand, RequiredCapabilitiesExtension,
};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::types::{
    AeadType, CryptoError as ProviderError, HashType, HpkeAeadType, HpkeConfig, HpkeKdfType, HpkeKemType,
};

use super::*;
use crate::BlobId;

mod vectors;
mod x_wing;

/// Where nothing depends on which it is.
const SUITE: Suite = Suite::X25519;

fn entropy(seed: u8) -> Entropy {
    Entropy::from_seed([seed; 32])
}

fn provider(entropy: &mut Entropy) -> Provider {
    Provider::with_entropy(Scratch::default(), entropy)
}

/// The credential of one device with the signature key of another.
fn disguise(device: &DeviceKey, named: DeviceId) -> CredentialWithKey {
    CredentialWithKey { signature_key: device.id().as_bytes().as_slice().into(), ..credential(named) }
}

/// A key package as somebody makes it who does not use this crate.
fn foreign_key_package(device: &DeviceKey, identity: CredentialWithKey, lifetime: Lifetime) -> (KeyPackage, Vec<u8>) {
    let provider = provider(&mut entropy(9));
    let package = KeyPackage::builder()
        .key_package_lifetime(lifetime)
        .leaf_node_capabilities(capabilities(SUITE))
        .build(ciphersuite(SUITE), &provider, &DeviceSigner(device), identity)
        .expect("openmls does not mind")
        .into_key_package();
    let bytes = MlsMessageOut::from(package.clone()).tls_serialize_detached().expect("encodes");
    (package, bytes)
}

/// A group of two, at the same epoch.
struct Pair {
    alice: DeviceKey,
    bob: DeviceKey,
    alices: Checkpoint,
    bobs: Checkpoint,
}

fn pair() -> Pair {
    let mut entropy = entropy(7);
    let (alice, bob) = (DeviceKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let package = Mls.key_package(&bob, SUITE, false, &mut entropy);
    let created = Mls.create(&alice, b"circle", SUITE, &mut entropy);
    let change = RosterChange { add: vec![package.public], remove: vec![] };
    let output = Mls.commit(&alice, &created, &change, &mut entropy).expect("adds bob");
    let joined = Mls.join(&bob, &output.welcome.expect("bob was added"), &[&package.secret]).expect("joins");
    Pair { alice, bob, alices: output.checkpoint, bobs: joined.checkpoint }
}

impl Pair {
    /// Bob receives what alice makes by other means than this crate.
    fn bob_receives(
        &self,
        make: impl FnOnce(&mut MlsGroup, &Provider, &DeviceSigner<'_>) -> CommitMessageBundle,
    ) -> Result<Processed, CryptoError> {
        let provider = provider(&mut entropy(8));
        let mut group = load(&self.alice, &self.alices, &provider).expect("alice's own");
        let bundle = make(&mut group, &provider, &DeviceSigner(&self.alice));
        let message = bundle.into_commit().tls_serialize_detached().expect("encodes");
        let message = Mls.brief_commit(&self.bobs, &message).expect("a commit");
        Mls.process(&self.bob, &self.bobs, &message)
    }
}

/// Makes a commit with openmls alone; `$configure` is applied to its builder.
macro_rules! commit_with {
    ($group:ident, $provider:ident, $signer:ident, $builder:ident => $configured:expr) => {{
        let $builder = $group.commit_builder();
        $configured
            .load_psks($provider.storage())
            .expect("no PSKs")
            .build($provider.rand(), $provider.crypto(), $signer, |_| true)
            .expect("openmls does not mind")
            .stage_commit($provider)
            .expect("staged")
    }};
}

#[test]
fn an_unremarkable_foreign_commit_is_accepted() {
    // So that what the tests below refuse is refused for the reason they state.
    let pair = pair();
    let processed = pair
        .bob_receives(|group, provider, signer| commit_with!(group, provider, signer, b => b.force_self_update(true)));
    assert_eq!(processed.expect("a plain update").committer, pair.alice.id());

    let carol = DeviceKey::generate(&mut entropy(1));
    let lifetime = Lifetime::init(NOT_BEFORE, NOT_AFTER);
    let (package, bytes) = foreign_key_package(&carol, credential(carol.id()), lifetime);
    assert_eq!(Mls.inspect_key_package(&bytes).expect("in order").device, carol.id());
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => b.force_self_update(true).propose_adds([package]))
    });
    assert_eq!(processed.expect("a plain add").added, [carol.id()]);
}

#[test]
fn a_key_package_that_names_another_device_is_refused() {
    let pair = pair();
    let (mallory, carol) = (DeviceKey::generate(&mut entropy(1)), DeviceKey::generate(&mut entropy(2)).id());
    let lifetime = Lifetime::init(NOT_BEFORE, NOT_AFTER);
    let (package, bytes) = foreign_key_package(&mallory, disguise(&mallory, carol), lifetime);
    assert_eq!(Mls.inspect_key_package(&bytes), Err(CryptoError::LeafMismatch));
    let change = RosterChange { add: vec![bytes], remove: vec![] };
    let refused = Mls.commit(&pair.alice, &pair.alices, &change, &mut entropy(3)).err();
    assert_eq!(refused, Some(CryptoError::LeafMismatch), "by an honest committer");
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => b.force_self_update(true).propose_adds([package]))
    });
    assert_eq!(processed.err(), Some(CryptoError::LeafMismatch), "by all others");
}

#[test]
fn a_key_package_that_ages_is_refused() {
    let pair = pair();
    let carol = DeviceKey::generate(&mut entropy(1));
    // Valid now for any sane clock, but not for ever.
    let (package, bytes) = foreign_key_package(&carol, credential(carol.id()), Lifetime::init(0, u64::MAX - 1));
    assert_eq!(Mls.inspect_key_package(&bytes), Err(CryptoError::Refused("key package")));
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => b.force_self_update(true).propose_adds([package]))
    });
    assert_eq!(processed.err(), Some(CryptoError::Refused("key package")));
}

#[test]
fn a_path_that_changes_whose_leaf_it_is_is_refused() {
    let pair = pair();
    let carol = DeviceKey::generate(&mut entropy(1));
    // Another name on the same key.
    let named = LeafNodeParameters::builder().with_credential_with_key(disguise(&pair.alice, carol.id())).build();
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => b.force_self_update(true).leaf_node_parameters(named))
    });
    assert_eq!(processed.err(), Some(CryptoError::LeafMismatch));

    // Another device altogether, in a leaf that agrees with itself.
    let processed = pair.bob_receives(|group, provider, signer| {
        let new = openmls::prelude::NewSignerBundle {
            signer: &DeviceSigner(&carol),
            credential_with_key: credential(carol.id()),
        };
        group
            .commit_builder()
            .force_self_update(true)
            .load_psks(provider.storage())
            .expect("no PSKs")
            .build_with_new_signer(provider.rand(), provider.crypto(), signer, new, |_| true)
            .expect("openmls does not mind")
            .stage_commit(provider)
            .expect("staged")
    });
    assert_eq!(processed.err(), Some(CryptoError::LeafMismatch));
}

#[test]
fn a_commit_without_a_path_is_refused() {
    let pair = pair();
    let carol = DeviceKey::generate(&mut entropy(1));
    let (package, _) = foreign_key_package(&carol, credential(carol.id()), Lifetime::init(NOT_BEFORE, NOT_AFTER));
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => b.force_self_update(false).propose_adds([package]))
    });
    assert_eq!(processed.err(), Some(CryptoError::Refused("commit without a path")));
}

#[test]
fn policy_in_the_group_context_is_refused() {
    let pair = pair();
    let extension = Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(&[], &[], &[]));
    let extensions = Extensions::single(extension).expect("belongs there");
    let processed = pair.bob_receives(|group, provider, signer| {
        commit_with!(group, provider, signer, b => {
            b.force_self_update(true).propose_group_context_extensions(extensions).expect("belongs there")
        })
    });
    assert_eq!(processed.err(), Some(CryptoError::Refused("commit with a foreign proposal")));
}

#[test]
fn a_welcome_into_a_tree_with_a_lying_leaf_is_refused() {
    let mut entropy = entropy(4);
    let (mallory, bob) = (DeviceKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
    let package = Mls.key_package(&bob, SUITE, false, &mut entropy);
    let victim = DeviceKey::generate(&mut entropy).id();
    for (identity, expected) in
        [(credential(mallory.id()), None), (disguise(&mallory, victim), Some(CryptoError::LeafMismatch))]
    {
        let provider = &provider(&mut entropy);
        let signer = &DeviceSigner(&mallory);
        let mut group = MlsGroup::builder()
            .ciphersuite(ciphersuite(SUITE))
            .with_capabilities(capabilities(SUITE))
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build(provider, signer, identity)
            .expect("openmls does not mind");
        let added = read_key_package(&package.public, provider).expect("bob's");
        let bundle = commit_with!(group, provider, signer, b => b.force_self_update(false).propose_adds([added]));
        let welcome = bundle.into_welcome_msg().expect("bob was added").tls_serialize_detached().expect("encodes");
        assert_eq!(Mls.join(&bob, &welcome, &[&package.secret]).err(), expected);
    }
}

#[test]
fn an_external_commit_says_who_let_itself_in() {
    let pair = pair();
    let carol = DeviceKey::generate(&mut entropy(1));
    let enter = |device: &DeviceKey, identity: CredentialWithKey| {
        let provider = &provider(&mut entropy(5));
        let group = load(&pair.alice, &pair.alices, provider).expect("alice's own");
        let info = group
            .export_group_info(provider.crypto(), &DeviceSigner(&pair.alice), true)
            .expect("a group info")
            .tls_serialize_detached()
            .expect("encodes");
        let MlsMessageBodyIn::GroupInfo(info) = read_message(&info, "group info").expect("reads") else {
            panic!("it is a group info");
        };
        let outside = &Provider::with_entropy(Scratch::default(), &mut entropy(6));
        let (_, bundle) = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .build_group(outside, info, identity)
            .expect("openmls does not mind")
            .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(capabilities(SUITE)).build())
            .load_psks(outside.storage())
            .expect("no PSKs")
            .build(outside.rand(), outside.crypto(), &DeviceSigner(device), |_| true)
            .expect("openmls does not mind")
            .finalize(outside)
            .expect("finalized");
        let message = bundle.into_commit().tls_serialize_detached().expect("encodes");
        let message = Mls.brief_commit(&pair.bobs, &message).expect("a commit");
        Mls.process(&pair.bob, &pair.bobs, &message)
    };
    let entered = enter(&carol, credential(carol.id())).expect("a newcomer");
    assert_eq!((entered.committer, entered.added, entered.removed), (carol.id(), vec![carol.id()], vec![]));

    // Alice, who has lost her state: her new leaf replaces the old one.
    let entered = enter(&pair.alice, credential(pair.alice.id())).expect("a member");
    let alone = vec![pair.alice.id()];
    assert_eq!((entered.committer, &entered.added, &entered.removed), (alone[0], &alone, &alone));
    assert_eq!(entered.checkpoint.leaves, pair.bobs.leaves);

    let lie = enter(&carol, disguise(&carol, DeviceKey::generate(&mut entropy(2)).id())).err();
    assert_eq!(lie, Some(CryptoError::LeafMismatch));
}

#[test]
fn nothing_grows_with_the_number_of_commits() {
    let mut entropy = entropy(4);
    let Pair { alice, bob, mut alices, mut bobs } = pair();
    let mut turn = |alices: &mut Checkpoint, bobs: &mut Checkpoint| {
        let update = RosterChange::default();
        let output = Mls.commit(&alice, alices, &update, &mut entropy).expect("an update");
        *bobs = Mls.process(&bob, bobs, &output.message).expect("alice's").checkpoint;
        *alices = output.checkpoint;
        let output = Mls.commit(&bob, bobs, &update, &mut entropy).expect("an update");
        *alices = Mls.process(&alice, alices, &output.message).expect("bob's").checkpoint;
        *bobs = output.checkpoint;
        (alices.state.len(), bobs.state.len())
    };
    // In the first turns numbers grow by a byte, and a leaf of a key package becomes one of a commit.
    let early = (0..3).map(|_| turn(&mut alices, &mut bobs)).last();
    let late = (0..40).map(|_| turn(&mut alices, &mut bobs)).last();
    assert_eq!(early, late);
}

#[test]
fn without_entropy_there_is_no_randomness() {
    let provider = Provider::without_entropy(Scratch::default());
    assert_eq!(provider.rand().random_vec(1), Err(ProviderError::InsufficientRandomness));
    assert_eq!(provider.rand().random_array::<1>(), Err(ProviderError::InsufficientRandomness));
    let sealed = provider.crypto().hpke_seal(hpke(SUITE), &[9; 32], b"", b"", b"");
    assert_eq!(sealed.err(), Some(ProviderError::InsufficientRandomness));
}

fn hpke(suite: Suite) -> HpkeConfig {
    ciphersuite(suite).hpke_config()
}

/// RFC 9180 is spoken by others too: all that our provider does, that of openmls understands, and the reverse. RustCrypto
/// does not list the X-Wing suite that we have, but does all of its parts.
#[test]
fn our_hpke_agrees_with_that_of_openmls() {
    let provider = provider(&mut entropy(1));
    let (ours, theirs) = (provider.crypto(), RustCrypto::default());
    for suite in Suite::ALL {
        let hpke = || hpke(suite);
        let pair = ours.derive_hpke_keypair(hpke(), b"input key material of any length").expect("derives");
        let other = theirs.derive_hpke_keypair(hpke(), b"input key material of any length").expect("derives");
        assert_eq!(pair.public, other.public);
        assert_eq!(pair.public.len(), if suite == Suite::XWing { 1_216 } else { 32 });
        let mut private = other.private.to_vec();
        if suite == Suite::X25519 {
            // X25519 ignores five bits of a private key. `hpke` clears or sets them at once, hpke-rs when it uses the key.
            (private[0], private[31]) = (private[0] & 0xf8, private[31] & 0x7f | 0x40);
        }
        assert_eq!(*pair.private, *private);

        let sealed = ours.hpke_seal(hpke(), &pair.public, b"info", b"aad", b"secret").expect("seals");
        assert_eq!(sealed.kem_output.as_slice().len(), if suite == Suite::XWing { 1_120 } else { 32 });
        assert_eq!(theirs.hpke_open(hpke(), &sealed, &other.private, b"info", b"aad"), Ok(b"secret".to_vec()));
        assert_eq!(ours.hpke_seal(hpke(), &pair.public, b"info", b"aad", b"secret"), Ok(sealed), "replayable");
        let sealed = theirs.hpke_seal(hpke(), &pair.public, b"info", b"aad", b"secret").expect("seals");
        assert_eq!(ours.hpke_open(hpke(), &sealed, &pair.private, b"info", b"aad"), Ok(b"secret".to_vec()));
        assert!(ours.hpke_open(hpke(), &sealed, &pair.private, b"info", b"other").is_err());

        let (kem, secret) = ours.hpke_setup_sender_and_export(hpke(), &pair.public, b"i", b"c", 32).expect("sets up");
        let received = theirs.hpke_setup_receiver_and_export(hpke(), &kem, &pair.private, b"i", b"c", 32);
        assert_eq!(*received.expect("receives"), *secret);
        let (kem, secret) = theirs.hpke_setup_sender_and_export(hpke(), &pair.public, b"i", b"c", 32).expect("sets up");
        let received = ours.hpke_setup_receiver_and_export(hpke(), &kem, &pair.private, b"i", b"c", 32);
        assert_eq!(*received.expect("receives"), *secret);
    }
}

#[test]
fn our_primitives_agree_with_those_of_openmls() {
    let provider = provider(&mut entropy(1));
    let (ours, theirs) = (provider.crypto(), RustCrypto::default());
    let (hash, aead) = (HashType::Sha2_256, AeadType::ChaCha20Poly1305);
    assert_eq!(ours.hash(hash, b"data"), theirs.hash(hash, b"data"));
    for key in [b"".as_slice(), &[3; 32], &[3; 100]] {
        assert_eq!(ours.hkdf_extract(hash, key, b"ikm"), theirs.hkdf_extract(hash, key, b"ikm"));
    }
    assert_eq!(ours.hmac(hash, &[3; 32], b"m"), theirs.hmac(hash, &[3; 32], b"m"));
    for length in [0, 1, 32, 255 * 32] {
        assert_eq!(ours.hkdf_expand(hash, &[4; 32], b"i", length), theirs.hkdf_expand(hash, &[4; 32], b"i", length));
    }
    assert!(ours.hkdf_expand(hash, &[4; 32], b"i", 255 * 32 + 1).is_err());
    let sealed = ours.aead_encrypt(aead, &[5; 32], b"data", &[6; 12], b"aad").expect("seals");
    assert_eq!(theirs.aead_encrypt(aead, &[5; 32], b"data", &[6; 12], b"aad"), Ok(sealed.clone()));
    assert_eq!(ours.aead_decrypt(aead, &[5; 32], &sealed, &[6; 12], b"aad"), Ok(b"data".to_vec()));
    assert!(ours.aead_decrypt(aead, &[5; 32], &sealed[1..], &[6; 12], b"aad").is_err());

    let device = DeviceKey::generate(&mut entropy(2));
    let signature = DeviceSigner(&device).sign(b"message").expect("signs");
    let (scheme, id) = (SignatureScheme::ED25519, device.id());
    assert_eq!(ours.sign(scheme, b"message", &**device.seed()), Ok(signature.clone()));
    assert_eq!(theirs.verify_signature(scheme, b"message", id.as_bytes(), &signature), Ok(()));
    assert_eq!(ours.verify_signature(scheme, b"message", id.as_bytes(), &signature), Ok(()));
    assert!(ours.verify_signature(scheme, b"massage", id.as_bytes(), &signature).is_err());
}

#[test]
fn other_suites_are_not_spoken() {
    let provider = provider(&mut entropy(1));
    let crypto = provider.crypto();
    assert!(crypto.supports(Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519).is_err());
    assert!(crypto.hash(HashType::Sha2_512, b"").is_err());
    assert!(crypto.aead_encrypt(AeadType::Aes128Gcm, &[0; 16], b"", &[0; 12], b"").is_err());
    let aes = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::AesGcm128);
    assert!(crypto.derive_hpke_keypair(aes, b"ikm").is_err());
    let ml_kem = HpkeConfig(HpkeKemType::MlKem768, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305);
    assert!(crypto.derive_hpke_keypair(ml_kem, b"ikm").is_err());
}

#[test]
fn a_checkpoint_holds_the_group_and_nothing_else() {
    let pair = pair();
    for checkpoint in [&pair.alices, &pair.bobs] {
        let scratch = Scratch::default();
        scratch.fill(&checkpoint.state, "checkpoint").expect("its own");
        let slots: Vec<_> = scratch.sizes().into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(slots, (1..=10).collect::<Vec<_>>(), "{:?}", scratch.sizes());
    }
}

/// Both implementations of the tree's shape agree: ours puts it together as openmls wrote it.
#[test]
fn a_checkpoint_in_parts_is_the_same_put_together() {
    let sizes = [1usize, 2, 3, 9, 40].map(|devices| (devices, Suite::X25519));
    for (devices, suite) in sizes.into_iter().chain([(9, Suite::XWing)]) {
        let mut entropy = Entropy::from_seed([devices as u8; 32]);
        let keys: Vec<DeviceKey> = (0..devices).map(|_| DeviceKey::generate(&mut entropy)).collect();
        let add = keys[1..].iter().map(|key| Mls.key_package(key, suite, false, &mut entropy).public).collect();
        let created = Mls.create(&keys[0], b"group", suite, &mut entropy);
        let added = Mls.commit(&keys[0], &created, &RosterChange { add, remove: vec![] }, &mut entropy).expect("adds");
        // With blank nodes and unmerged leaves in it.
        let remove = keys[1..].iter().step_by(3).map(DeviceKey::id).collect();
        let change = RosterChange { add: vec![], remove };
        let removed = Mls.commit(&keys[0], &added.checkpoint, &change, &mut entropy).expect("removes");

        for checkpoint in [created, added.checkpoint, removed.checkpoint] {
            let parts = checkpoint.to_parts().expect("whole");
            let blobs: BTreeMap<BlobId, Vec<u8>> = parts.blobs.iter().cloned().collect();
            let ids: Vec<BlobId> = parts.blobs.iter().map(|(id, _)| *id).collect();
            assert_eq!(Checkpoint::blob_ids(&parts.state), Ok(ids));
            let again = Checkpoint::from_parts(&parts.state, |id| blobs.get(&id).cloned()).expect("all is there");
            assert_eq!(*again.to_bytes(), *checkpoint.to_bytes());

            for damaged in 0..parts.blobs.len() {
                let (damaged, content) = &parts.blobs[damaged];
                for instead in [None, Some(content[1..].to_vec())] {
                    let other = |id: BlobId| if id == *damaged { instead.clone() } else { blobs.get(&id).cloned() };
                    let missing = CryptoError::Malformed("checkpoint, of which a blob is missing");
                    assert_eq!(Checkpoint::from_parts(&parts.state, other).err(), Some(missing));
                }
            }
            for at in 0..parts.state.len() {
                let cut = Checkpoint::from_parts(&parts.state[..at], |id| blobs.get(&id).cloned());
                assert_eq!(cut.err(), Some(CryptoError::Malformed("checkpoint")));
            }
        }
    }
}

/// The bar is 20 kB at 1,000 devices (`group_costs` measures that); what it rests on shows at 100.
#[test]
fn an_epoch_shares_most_blobs_with_the_next() {
    let mut entropy = Entropy::from_seed([1; 32]);
    let keys: Vec<DeviceKey> = (0..100).map(|_| DeviceKey::generate(&mut entropy)).collect();
    let add = keys[1..].iter().map(|key| Mls.key_package(key, SUITE, false, &mut entropy).public).collect();
    let created = Mls.create(&keys[0], b"group", SUITE, &mut entropy);
    let first = Mls.commit(&keys[0], &created, &RosterChange { add, remove: vec![] }, &mut entropy).expect("adds");
    let next = Mls.commit(&keys[0], &first.checkpoint, &RosterChange::default(), &mut entropy).expect("an update");

    let (first, next) = (first.checkpoint.to_parts().expect("whole"), next.checkpoint.to_parts().expect("whole"));
    let known: BTreeSet<BlobId> = first.blobs.iter().map(|(id, _)| *id).collect();
    let new: Vec<_> = next.blobs.iter().filter(|(id, _)| !known.contains(id)).collect();
    assert_eq!((next.blobs.len(), new.len()), (17, 2), "128 leaves in runs of 8, one piece above; one path");
}

#[test]
fn the_content_key_at_hand_is_the_one_that_loading_gives() {
    let mut entropy = Entropy::from_seed([9; 32]);
    let device = DeviceKey::generate(&mut entropy);
    let first = Mls.create(&device, b"circle", SUITE, &mut entropy);
    let next = Mls.commit(&device, &first, &RosterChange::default(), &mut entropy).expect("it may").checkpoint;
    for checkpoint in [first, next] {
        let stored = Checkpoint::from_bytes(&checkpoint.to_bytes()).expect("it was written so");
        for (what, context) in
            [(Export::ContentKey, b"circle"), (Export::ContentKey, b"other!"), (Export::CommitKey, b"circle")]
        {
            let [at_hand, loaded] =
                [&checkpoint, &stored].map(|of| Mls.export(of, what, context).expect("it is sound"));
            assert_eq!(at_hand, loaded);
        }
    }
}
