//! openmls by itself: the same cryptography as Clave's, openmls's own storage in memory, nothing durable, nothing sealed,
//! nobody asked whether a commit may do what it does.

use std::collections::HashMap;

use clave_crypto::{DeviceId, DeviceKey, Entropy, OpenMlsCrypto, OpenMlsRand};
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey, ExtensionType, KeyPackage,
    KeyPackageIn, LeafNodeIndex, Lifetime, MlsGroup, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    OpenMlsProvider, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, ProtocolMessage, ProtocolVersion,
    StagedWelcome,
};
use openmls_memory_storage::MemoryStorage;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use ring::signature::Ed25519KeyPair;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::cost::{Cost, cost_of};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
const SOUND: &str = "both sides are honest";

/// What openmls works with.
pub struct Provider {
    crypto: OpenMlsCrypto,
    rand: OpenMlsRand,
    storage: MemoryStorage,
}

impl Provider {
    fn new(storage: MemoryStorage, entropy: &mut Entropy) -> Self {
        let (crypto, rand) = OpenMlsCrypto::with_entropy(entropy);
        Self { crypto, rand, storage }
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = OpenMlsCrypto;
    type RandProvider = OpenMlsRand;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &OpenMlsCrypto {
        &self.crypto
    }

    fn rand(&self) -> &OpenMlsRand {
        &self.rand
    }
}

struct Signature(Ed25519KeyPair);

impl Signer for Signature {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).as_ref().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

fn signer(device: &DeviceKey) -> Signature {
    Signature(Ed25519KeyPair::from_seed_unchecked(&**device.seed()).expect("a seed has 32 bytes"))
}

fn credential(device: DeviceId) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(device.as_bytes().to_vec()).into(),
        signature_key: device.as_bytes().as_slice().into(),
    }
}

fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&[ExtensionType::LastResort]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

/// A device before it is in any group.
pub struct Newcomer {
    signer: Signature,
    provider: Provider,
    pub key_package: Vec<u8>,
}

impl Newcomer {
    pub fn new(device: &DeviceKey, entropy: &mut Entropy) -> Self {
        let (provider, signer) = (Provider::new(MemoryStorage::default(), entropy), signer(device));
        let bundle = KeyPackage::builder()
            .key_package_lifetime(Lifetime::init(0, u64::MAX))
            .leaf_node_capabilities(capabilities())
            .build(SUITE, &provider, &signer, credential(device.id()))
            .expect(SOUND);
        let key_package = MlsMessageOut::from(bundle.into_key_package()).tls_serialize_detached().expect(SOUND);
        Self { signer, provider, key_package }
    }

    pub fn join(self, welcome: &[u8]) -> Member {
        let MlsMessageBodyIn::Welcome(welcome) = read(welcome) else { panic!("a welcome") };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build();
        let group = StagedWelcome::build_from_welcome(&self.provider, &config, welcome)
            .expect(SOUND)
            .skip_lifetime_validation()
            .build()
            .and_then(|staged| staged.into_group(&self.provider))
            .expect(SOUND);
        Member { signer: self.signer, provider: self.provider, group }
    }
}

/// A device in a group.
pub struct Member {
    signer: Signature,
    provider: Provider,
    group: MlsGroup,
}

/// Where a group was, to roll back to.
pub struct Snapshot(HashMap<Vec<u8>, Vec<u8>>);

/// What a commit changes.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    Add(&'a [u8]),
    Remove(DeviceId),
    Rotate,
}

impl Member {
    /// Makes a commit, merges it and derives the epoch's key. What it sends to a member, and to who was added.
    pub fn commit(&mut self, change: Change<'_>) -> (Vec<u8>, Option<Vec<u8>>, Cost) {
        let Self { signer, provider, group } = self;
        let ((commit, welcome), mut cost) = cost_of(|| {
            let (add, remove) = match change {
                Change::Add(key_package) => (Some(read_key_package(key_package, provider)), None),
                Change::Remove(device) => (None, Some(leaf_of(group, device))),
                Change::Rotate => (None, None),
            };
            let bundle = group
                .commit_builder()
                .force_self_update(true)
                .propose_removals(remove)
                .propose_adds(add)
                .load_psks(provider.storage())
                .expect(SOUND)
                .build(provider.rand(), provider.crypto(), signer, |_| true)
                .expect(SOUND)
                .stage_commit(provider)
                .expect(SOUND);
            group.merge_pending_commit(provider).expect(SOUND);
            let (commit, welcome, _) = bundle.into_messages();
            export(group, provider);
            let write = |message: MlsMessageOut| message.tls_serialize_detached().expect(SOUND);
            (write(commit), welcome.map(write))
        });
        cost.wire_bytes = commit.len();
        cost.stored_bytes = self.stored_bytes();
        (commit, welcome, cost)
    }

    /// Follows another's commit and derives the epoch's key.
    pub fn process(&mut self, commit: &[u8]) -> Cost {
        let Self { provider, group, .. } = self;
        let mut cost = cost_of(|| follow(group, provider, commit)).1;
        cost.stored_bytes = self.stored_bytes();
        cost
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.provider.storage.values.read().expect("nobody panics").clone())
    }

    /// Rolls back to where it was, then follows another's commit. Handing the snapshot over costs nothing.
    pub fn follow_rival(&mut self, snapshot: Snapshot, commit: &[u8]) -> Cost {
        let id = self.group.group_id().clone();
        *self.provider.storage.values.write().expect("nobody panics") = snapshot.0;
        let Self { provider, group, .. } = self;
        cost_of(|| {
            *group = MlsGroup::load(provider.storage(), &id).expect(SOUND).expect("it was stored");
            follow(group, provider, commit);
        })
        .1
    }

    /// What those who are in the same epoch agree on.
    pub fn authenticator(&self) -> Vec<u8> {
        self.group.epoch_authenticator().as_slice().to_vec()
    }

    fn stored_bytes(&self) -> usize {
        self.provider
            .storage
            .values
            .read()
            .expect("nobody panics")
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }
}

fn follow(group: &mut MlsGroup, provider: &Provider, commit: &[u8]) {
    let MlsMessageBodyIn::PublicMessage(message) = read(commit) else { panic!("a commit") };
    let processed = group.process_message(provider, ProtocolMessage::from(message)).expect(SOUND);
    let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else { panic!("a commit") };
    group.merge_staged_commit(provider, *staged).expect(SOUND);
    export(group, provider);
}

fn export(group: &MlsGroup, provider: &Provider) {
    std::hint::black_box(group.export_secret(provider.crypto(), "bench", b"", 32).expect(SOUND));
}

fn read(bytes: &[u8]) -> MlsMessageBodyIn {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).expect(SOUND).extract()
}

fn read_key_package(bytes: &[u8], provider: &Provider) -> KeyPackage {
    let MlsMessageBodyIn::KeyPackage(key_package) = read(bytes) else { panic!("a key package") };
    KeyPackageIn::validate(key_package, provider.crypto(), ProtocolVersion::Mls10).expect(SOUND)
}

fn leaf_of(group: &MlsGroup, device: DeviceId) -> LeafNodeIndex {
    group.member_leaf_index(&credential(device).credential).expect("it was added")
}
