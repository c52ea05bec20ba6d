//! The passive-client vectors of the MLS working group (mlswg/mls-implementations): what others send, our provider
//! must understand.
//!
//! Three of them are fixtures of this crate: a welcome with a PSK, one with its tree apart, and a commit of six proposals
//! sent before it. The full set runs too if `CLAVE_MLS_VECTORS` names the directory with the
//! `passive-client-*.json.gz` files.
#![expect(clippy::disallowed_methods, reason = "the vectors are files")]

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use openmls::prelude::{KeyPackageBundle, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, RatchetTreeIn};
use openmls::schedule::PreSharedKeyId;
use openmls_rust_crypto::MemoryStorage;
use openmls_traits::storage::StorageProvider as _;
use serde::{Deserialize, Deserializer};
use tls_codec::Deserialize as _;

use super::super::provider::{Crypto, Rand};
use super::*;

/// Our cryptography over openmls's storage, for the vectors use what Clave does not: PSKs and standalone proposals.
struct Passive {
    ours: Provider,
    storage: MemoryStorage,
}

impl OpenMlsProvider for Passive {
    type CryptoProvider = Crypto;
    type RandProvider = Rand;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        self.ours.crypto()
    }

    fn rand(&self) -> &Rand {
        self.ours.rand()
    }
}

struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map(Hex).map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
struct Vector {
    cipher_suite: u16,
    external_psks: Vec<ExternalPsk>,
    key_package: Hex,
    encryption_priv: Hex,
    init_priv: Hex,
    welcome: Hex,
    ratchet_tree: Option<Hex>,
    initial_epoch_authenticator: Hex,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct ExternalPsk {
    psk_id: Hex,
    psk: Hex,
}

#[derive(Deserialize)]
struct Epoch {
    proposals: Vec<Hex>,
    commit: Hex,
    epoch_authenticator: Hex,
}

fn run(vector: &Vector) {
    let passive = Passive { ours: Provider::without_entropy(Scratch::default()), storage: MemoryStorage::default() };
    for psk in &vector.external_psks {
        PreSharedKeyId::external(psk.psk_id.0.clone(), vec![]).store(&passive, &psk.psk.0).expect("stored");
    }
    inject_key_package(vector, &passive);

    let config = MlsGroupJoinConfig::builder()
        .use_ratchet_tree_extension(true)
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build();
    let MlsMessageBodyIn::Welcome(welcome) = read_message(&vector.welcome.0, "welcome").expect("reads") else {
        panic!("not a welcome");
    };
    let mut builder = StagedWelcome::build_from_welcome(&passive, &config, welcome).expect("opens");
    if let Some(tree) = &vector.ratchet_tree {
        builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(&tree.0).expect("a tree"));
    }
    let staged = builder.skip_lifetime_validation().build().expect("a valid welcome");
    let mut group = staged.into_group(&passive).expect("a group");
    assert_eq!(group.epoch_authenticator().as_slice(), vector.initial_epoch_authenticator.0);

    for epoch in &vector.epochs {
        for message in epoch.proposals.iter().chain([&epoch.commit]) {
            let message = MlsMessageIn::tls_deserialize_exact(&message.0).expect("a message");
            let message = message.try_into_protocol_message().expect("of a group");
            match group.process_message(&passive, message).expect("valid").into_content() {
                ProcessedMessageContent::ProposalMessage(proposal) => {
                    group.store_pending_proposal(&passive.storage, *proposal).expect("stored");
                }
                ProcessedMessageContent::StagedCommitMessage(staged) => {
                    group.merge_staged_commit(&passive, *staged).expect("merged");
                }
                _ => panic!("neither a proposal nor a commit"),
            }
        }
        assert_eq!(group.epoch_authenticator().as_slice(), epoch.epoch_authenticator.0);
    }
}

/// openmls keeps a key package with its private keys in a type that only it can make; but it can be read. It is not
/// validated on the way, for its lifetime ran out in 2024.
fn inject_key_package(vector: &Vector, passive: &Passive) {
    let MlsMessageBodyIn::KeyPackage(key_package) = read_message(&vector.key_package.0, "key package").expect("reads")
    else {
        panic!("not a key package");
    };
    let mut bytes = codec::to_bytes(&key_package).expect("encodes");
    for private in [&vector.init_priv, &vector.encryption_priv] {
        bytes.extend_from_slice(&codec::to_bytes(private.0.as_slice()).expect("encodes"));
    }
    let bundle: KeyPackageBundle = codec::from_bytes(&bytes).expect("these are its fields");
    let reference = bundle.key_package().hash_ref(passive.crypto()).expect("hashes");
    passive.storage.write_key_package(&reference, &bundle).expect("stored");
}

/// How many ran, and how many were skipped because they are for another cipher suite.
fn run_all(json: &[u8]) -> (usize, usize) {
    let vectors: Vec<Vector> = serde_json::from_slice(json).expect("the format of the working group");
    let (ours, others): (Vec<_>, Vec<_>) = vectors.iter().partition(|vector| vector.cipher_suite == u16::from(SUITE));
    ours.iter().for_each(|vector| run(vector));
    (ours.len(), others.len())
}

#[test]
fn published_vectors() {
    let fixtures = include_bytes!("../../../tests/fixtures/mls-passive-client.json");
    assert_eq!(run_all(fixtures), (3, 0));

    let Some(directory) = std::env::var_os("CLAVE_MLS_VECTORS").map(PathBuf::from) else {
        return;
    };
    // The file of random histories has one, for another suite.
    let files = [("welcome", 8, 48), ("handling-commit", 13, 78), ("random", 0, 1)];
    for (name, ran, skipped) in files {
        let file = File::open(directory.join(format!("passive-client-{name}.json.gz"))).expect("a file of vectors");
        let mut json = Vec::new();
        GzDecoder::new(file).read_to_end(&mut json).expect("gzip");
        assert_eq!(run_all(&json), (ran, skipped), "how many ran, and were skipped for their suite, of {name}");
    }
}
