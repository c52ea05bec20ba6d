//! The passive-client vectors of the MLS working group (mlswg/mls-implementations): what others send, our provider
//! must understand.
//!
//! Those of our suite run over our provider. The other two suites that openmls supports run over its RustCrypto
//! provider: they show nothing about our cryptography, but that the protocol beneath it is the RFC's, and the one random
//! history of 200 epochs is among them. The four suites that remain take curves that openmls has no provider for.
//!
//! Fixtures of this crate are, of our suite, a welcome with a PSK, one with its tree apart, and a commit of six proposals
//! sent before it; of the other two a commit each, and the first five epochs of the random history. The full set runs
//! too where it is found: in the directory that `CLAVE_MLS_VECTORS` names, or in `shared/data/mls-vectors` beside the
//! repository.
#![expect(clippy::disallowed_methods, reason = "the vectors are files")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use openmls::prelude::{KeyPackageBundle, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, RatchetTreeIn};
use openmls::schedule::PreSharedKeyId;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::storage::StorageProvider as _;
use serde::{Deserialize, Deserializer};
use tls_codec::Deserialize as _;

use super::*;

/// Somebody's cryptography over openmls's storage, for the vectors use what Clave does not: PSKs and standalone
/// proposals.
pub(super) struct Passive<C, R> {
    pub(super) crypto: C,
    pub(super) rand: R,
    pub(super) storage: MemoryStorage,
}

impl<C: OpenMlsCrypto, R: OpenMlsRand> OpenMlsProvider for Passive<C, R> {
    type CryptoProvider = C;
    type RandProvider = R;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &C {
        &self.crypto
    }

    fn rand(&self) -> &R {
        &self.rand
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

fn run(vector: &Vector, passive: &Passive<impl OpenMlsCrypto, impl OpenMlsRand>) {
    for psk in &vector.external_psks {
        PreSharedKeyId::external(psk.psk_id.0.clone(), vec![]).store(passive, &psk.psk.0).expect("stored");
    }
    inject_key_package(vector, passive);

    let config = MlsGroupJoinConfig::builder()
        .use_ratchet_tree_extension(true)
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build();
    let MlsMessageBodyIn::Welcome(welcome) = read_message(&vector.welcome.0, "welcome").expect("reads") else {
        panic!("not a welcome");
    };
    let mut builder = StagedWelcome::build_from_welcome(passive, &config, welcome).expect("opens");
    if let Some(tree) = &vector.ratchet_tree {
        builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(&tree.0).expect("a tree"));
    }
    let staged = builder.skip_lifetime_validation().build().expect("a valid welcome");
    let mut group = staged.into_group(passive).expect("a group");
    assert_eq!(group.epoch_authenticator().as_slice(), vector.initial_epoch_authenticator.0);

    for epoch in &vector.epochs {
        for message in epoch.proposals.iter().chain([&epoch.commit]) {
            let message = MlsMessageIn::tls_deserialize_exact(&message.0).expect("a message");
            let message = message.try_into_protocol_message().expect("of a group");
            match group.process_message(passive, message).expect("valid").into_content() {
                ProcessedMessageContent::ProposalMessage(proposal) => {
                    group.store_pending_proposal(&passive.storage, *proposal).expect("stored");
                }
                ProcessedMessageContent::StagedCommitMessage(staged) => {
                    group.merge_staged_commit(passive, *staged).expect("merged");
                }
                _ => panic!("neither a proposal nor a commit"),
            }
        }
        assert_eq!(group.epoch_authenticator().as_slice(), epoch.epoch_authenticator.0);
    }
}

/// openmls keeps a key package with its private keys in a type that only it can make; but it can be read. It is not
/// validated on the way, for its lifetime ran out in 2024.
fn inject_key_package(vector: &Vector, passive: &Passive<impl OpenMlsCrypto, impl OpenMlsRand>) {
    let MlsMessageBodyIn::KeyPackage(key_package) = read_message(&vector.key_package.0, "key package").expect("reads")
    else {
        panic!("not a key package");
    };
    let mut bytes = codec::to_bytes(&key_package).expect("encodes");
    for private in [&vector.init_priv, &vector.encryption_priv] {
        bytes.extend_from_slice(&codec::to_bytes(private.0.as_slice()).expect("encodes"));
    }
    let bundle: KeyPackageBundle = codec::from_bytes(&bytes).expect("these are its fields");
    let reference = bundle.key_package().hash_ref(&passive.crypto).expect("hashes");
    passive.storage.write_key_package(&reference, &bundle).expect("stored");
}

/// What was run, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Over our provider.
    ours: usize,
    /// Over openmls's RustCrypto provider.
    others: usize,
    /// Epochs followed in all of these, beyond the one that a welcome leads to.
    epochs: usize,
    /// Of suites that no provider has.
    skipped: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.ours += more.ours;
        self.others += more.others;
        self.epochs += more.epochs;
        self.skipped += more.skipped;
    }
}

fn run_all(json: &[u8]) -> Tally {
    let vectors: Vec<Vector> = serde_json::from_slice(json).expect("the format of the working group");
    let mut tally = Tally::default();
    for vector in &vectors {
        let storage = MemoryStorage::default();
        if vector.cipher_suite == u16::from(ciphersuite(Suite::X25519)) {
            let (crypto, rand) = Provider::without_entropy(Scratch::default()).into_parts();
            run(vector, &Passive { crypto, rand, storage });
            tally += Tally { ours: 1, epochs: vector.epochs.len(), ..Tally::default() };
        } else if supported_by_rust_crypto(vector.cipher_suite) {
            let passive = Passive { crypto: RustCrypto::default(), rand: RustCrypto::default(), storage };
            run(vector, &passive);
            tally += Tally { others: 1, epochs: vector.epochs.len(), ..Tally::default() };
        } else {
            tally.skipped += 1;
        }
    }
    tally
}

fn supported_by_rust_crypto(suite: u16) -> bool {
    Ciphersuite::try_from(suite).is_ok_and(|suite| RustCrypto::default().supports(suite).is_ok())
}

/// Where the full set is, if it is anywhere.
fn directory() -> Option<PathBuf> {
    let beside = || {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        above.map(|directory| directory.join("shared/data/mls-vectors")).find(|directory| directory.is_dir())
    };
    std::env::var_os("CLAVE_MLS_VECTORS").map(PathBuf::from).or_else(beside)
}

/// Past the test harness, which would swallow it.
fn say(what: &str, tally: Tally) {
    let Tally { ours, others, epochs, skipped } = tally;
    let line = format!(
        "MLS vectors, {what}: {} ran ({ours} over our provider, {others} over RustCrypto) with {epochs} epochs, \
         {skipped} were skipped for their suite\n",
        ours + others
    );
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is there");
}

#[test]
fn published_vectors() {
    let fixtures = run_all(include_bytes!("../../../tests/fixtures/mls-passive-client.json"));
    say("fixtures", fixtures);
    assert_eq!(fixtures, Tally { ours: 3, others: 3, epochs: 2 + 2 + 2 + 5, skipped: 0 });

    let Some(directory) = directory() else {
        return;
    };
    let mut all = Tally::default();
    for name in ["welcome", "handling-commit", "random"] {
        let file = File::open(directory.join(format!("passive-client-{name}.json.gz"))).expect("a file of vectors");
        let mut json = Vec::new();
        GzDecoder::new(file).read_to_end(&mut json).expect("gzip");
        all += run_all(&json);
    }
    say("full set", all);
    assert_eq!(all, Tally { ours: 8 + 13, others: 2 * (8 + 13) + 1, epochs: 3 * 26 + 200, skipped: 4 * (8 + 13) });
}
