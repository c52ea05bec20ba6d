//! MLS (RFC 9420) by openmls, as a [`GroupKeyAgreement`].
//!
//! MLS is used to agree on keys and for nothing else: no application messages, no policy in the group context, no
//! proposals but those inside of a commit. A leaf is a device: its credential is the device's id, and its signature key
//! is that same Ed25519 key; a leaf where the two differ is refused wherever one is met. Every commit has a path, so
//! that every commit renews its maker's keys.
//!
//! Commits leave as `PublicMessage`s, less what whoever has the parent's checkpoint knows (see `brief`): whoever carries them
//! must seal them, for they name the devices they add. openmls
//! works over a scratch storage filled from the parent's checkpoint and read back into the new one.
//!
//! **Time.** openmls reads the system's clock in three places. It notes when message secrets were stored, which is
//! never used here and does not reach a checkpoint. It computes a default lifetime on creating a group, which is replaced.
//! And it checks the lifetime of a leaf that is added: so a key package must be valid from 0 to 2⁶⁴−1 and any
//! other is refused, which leaves no time on which two devices could disagree. When a device may be added is for the
//! membership log. What remains is that a clock before 1970-01-01 01:00 can neither create a group nor add to one.
//!
//! **Threads.** openmls derives and encrypts the secrets of a path on the threads of rayon's pool. What comes out does
//! not depend on their order (see `provider`).

mod brief;
mod codec;
mod provider;
mod storage;
mod tree;

use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, ContentType, Credential, CredentialType, CredentialWithKey,
    ExtensionType, GroupId, KeyPackage, KeyPackageIn, LeafNode, LeafNodeParameters, Lifetime, MlsGroup,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsProvider,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, Proposal, ProtocolMessage, ProtocolVersion, Sender,
    StagedCommit, StagedWelcome,
};
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::storage::StorageProvider as _;
use openmls_traits::types::SignatureScheme;
use tls_codec::{DeserializeBytes as _, Serialize as _};
use zeroize::Zeroizing;

use crate::group::{
    Checkpoint, CommitOutput, EpochId, GroupKeyAgreement, Joined, KeyPackageInfo, KeyPackagePair, Processed,
    RosterChange, Scheme,
};
use crate::{CryptoError, DeviceId, DeviceKey, Entropy, Export, Suite};
use provider::Provider;
#[doc(hidden)]
pub use provider::{Crypto, Rand};
use storage::Scratch;
pub(crate) use storage::{SplitState, join_state, split_state};
pub(crate) use tree::CutTree;

/// What MLS calls a suite.
fn ciphersuite(suite: Suite) -> Ciphersuite {
    match suite {
        Suite::X25519 => Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        Suite::XWing => Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519,
    }
}

/// The suite that MLS calls so, if it is one of ours.
fn suite(name: Ciphersuite) -> Option<Suite> {
    Suite::ALL.into_iter().find(|suite| ciphersuite(*suite) == name)
}

/// See the module's doc on time.
const NOT_BEFORE: u64 = 0;
const NOT_AFTER: u64 = u64::MAX;

/// MLS, of either [`Suite`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Mls;

impl Mls {
    /// Up to this many removals in one commit, the same seed gives the same commit.
    ///
    /// openmls 0.9 keeps the removals of a commit in a `HashMap`, hence in random order, and there is no saying
    /// otherwise. Commits are built until they happen to be in order, of leaves, which for three takes six attempts on
    /// average. With more, the order is left to chance: nothing is wrong with such a commit, but another run
    /// makes one with other bytes and another epoch id.
    pub const REPLAYABLE_REMOVALS_MAX: usize = 3;

    /// The epoch as another of its leaves sees it, without that leaf's private keys: enough to commit in its place with its
    /// device key, so that a benchmark warms a large tree without holding all of its members.
    #[doc(hidden)]
    pub fn seat(&self, checkpoint: &Checkpoint, device: DeviceId) -> Result<Checkpoint, CryptoError> {
        let provider = Provider::without_entropy(Scratch::default());
        let group = load_any(checkpoint, &provider)?;
        let leaf = group.member_leaf_index(&credential(device).credential).ok_or(CryptoError::NotAMember(device))?;
        let malformed = CryptoError::Malformed("checkpoint");
        provider.storage().write_own_leaf_index(group.group_id(), &leaf).map_err(|_| malformed)?;
        self::checkpoint(&group, provider)
    }

    /// A commit as openmls has it: the whole `MLSMessage`. For benchmarks beside bare openmls.
    #[doc(hidden)]
    pub fn whole_commit(&self, parent: &Checkpoint, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        brief::whole(message, parent)
    }

    /// A commit of bare openmls as this module has it.
    #[doc(hidden)]
    pub fn brief_commit(&self, parent: &Checkpoint, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        brief::brief(message, &parent.group, parent.depth)
    }
}

/// For three removals, the chance that none of so many attempts is in order is 10⁻²⁰.
const ATTEMPTS_MAX: usize = 256;

impl GroupKeyAgreement for Mls {
    fn create(&self, device: &DeviceKey, group: &[u8], suite: Suite, entropy: &mut Entropy) -> Checkpoint {
        let provider = Provider::with_entropy(Scratch::default(), entropy);
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group))
            .ciphersuite(ciphersuite(suite))
            .with_capabilities(capabilities(suite))
            .lifetime(Lifetime::init(NOT_BEFORE, NOT_AFTER))
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build(&provider, &DeviceSigner(device), credential(device.id()))
            .expect("a group of one depends on nothing from outside");
        checkpoint(&group, provider).expect("one's own leaf is in order")
    }

    fn key_package(
        &self,
        device: &DeviceKey,
        suite: Suite,
        last_resort: bool,
        entropy: &mut Entropy,
    ) -> KeyPackagePair {
        let provider = Provider::with_entropy(Scratch::default(), entropy);
        let mut builder = KeyPackage::builder()
            .key_package_lifetime(Lifetime::init(NOT_BEFORE, NOT_AFTER))
            .leaf_node_capabilities(capabilities(suite));
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder
            .build(ciphersuite(suite), &provider, &DeviceSigner(device), credential(device.id()))
            .expect("a key package depends on nothing from outside");
        let key_package = bundle.into_key_package();
        KeyPackagePair {
            reference: reference(&key_package, &provider),
            public: MlsMessageOut::from(key_package)
                .tls_serialize_detached()
                .expect("a key package is far smaller than any length limit"),
            secret: provider.into_storage().to_bytes(),
        }
    }

    fn inspect_key_package(&self, key_package: &[u8]) -> Result<KeyPackageInfo, CryptoError> {
        let provider = Provider::without_entropy(Scratch::default());
        let key_package = read_key_package(key_package, &provider)?;
        Ok(KeyPackageInfo {
            device: device_of_leaf(key_package.leaf_node())?,
            suite: suite(key_package.ciphersuite()).ok_or(CryptoError::Refused("key package"))?,
            reference: reference(&key_package, &provider),
            last_resort: key_package.last_resort(),
        })
    }

    fn commit(
        &self,
        device: &DeviceKey,
        parent: &Checkpoint,
        change: &RosterChange,
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError> {
        // The same randomness for each attempt, of which only the last leaves this function.
        let seed = Zeroizing::new(entropy.bytes());
        let attempts = if change.remove.len() <= Self::REPLAYABLE_REMOVALS_MAX { ATTEMPTS_MAX } else { 1 };
        let attempt = || build_commit(device, parent, change, &mut Entropy::from_seed(*seed));
        for _ in 1..attempts {
            if let (output, true) = attempt()? {
                return Ok(output);
            }
        }
        attempt().map(|(output, _)| output)
    }

    fn process(&self, device: &DeviceKey, parent: &Checkpoint, message: &[u8]) -> Result<Processed, CryptoError> {
        let whole = brief::whole(message, parent)?;
        let MlsMessageBodyIn::PublicMessage(message) = read_message(&whole, "commit")? else {
            return Err(CryptoError::Malformed("commit"));
        };
        let message = ProtocolMessage::from(message);
        if message.content_type() != ContentType::Commit {
            return Err(CryptoError::Malformed("commit"));
        }
        if message.group_id().as_slice() != parent.group || message.epoch().as_u64() != parent.depth {
            return Err(CryptoError::WrongParent);
        }

        let provider = Provider::without_entropy(Scratch::default());
        let mut group = load(device, parent, &provider)?;
        let processed = group.process_message(&provider, message).map_err(|_| CryptoError::Refused("commit"))?;
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(CryptoError::Refused("commit"));
        };
        let change = inspect_commit(&group, &sender, &staged)?;
        if staged.self_removed() {
            return Err(CryptoError::Evicted);
        }
        group.merge_staged_commit(&provider, *staged).map_err(|_| CryptoError::Refused("commit"))?;
        let checkpoint = checkpoint(&group, provider)?;

        // What was said about the roster must be what happened to it.
        let mut expected = parent.leaves.clone();
        expected.retain(|device| !change.removed.contains(device));
        expected.extend_from_slice(&change.added);
        expected.sort_unstable();
        if checkpoint.leaves != expected {
            return Err(CryptoError::LeafMismatch);
        }
        let Change { committer, added, removed } = change;
        Ok(Processed { checkpoint, committer, added, removed })
    }

    fn join(&self, device: &DeviceKey, welcome: &[u8], secrets: &[&[u8]]) -> Result<Joined, CryptoError> {
        let MlsMessageBodyIn::Welcome(welcome) = read_message(welcome, "welcome")? else {
            return Err(CryptoError::Malformed("welcome"));
        };
        let scratch = Scratch::default();
        for secret in secrets {
            scratch.fill(secret, "key package secret")?;
        }
        let provider = Provider::without_entropy(scratch);
        let refused = CryptoError::Refused("welcome");
        let builder =
            StagedWelcome::build_from_welcome(&provider, &join_config(), welcome).map_err(|error| match error {
                openmls::prelude::WelcomeError::NoMatchingKeyPackage => CryptoError::NotForUs,
                _ => refused.clone(),
            })?;
        let key_package = builder.processed_welcome().own_key_package().ok_or(CryptoError::NotForUs)?;
        let reference = reference(key_package, &provider);
        let staged = builder.skip_lifetime_validation().build().map_err(|_| refused.clone())?;
        let sender = staged.welcome_sender().map_err(|_| refused.clone())?;
        let committer = device_of_leaf(sender)?;
        let group = staged.into_group(&provider).map_err(|_| refused.clone())?;
        let suite = check_group(&group, device)?;
        provider.storage().forget_key_packages();
        Ok(Joined { checkpoint: checkpoint(&group, provider)?, suite, committer, reference })
    }

    fn group_info(&self, device: &DeviceKey, checkpoint: &Checkpoint) -> Result<Vec<u8>, CryptoError> {
        let provider = Provider::without_entropy(Scratch::default());
        load(device, checkpoint, &provider)?
            .export_group_info(provider.crypto(), &DeviceSigner(device), true)
            .map_err(|_| CryptoError::Malformed("checkpoint"))?
            .tls_serialize_detached()
            .map_err(|_| CryptoError::Malformed("checkpoint"))
    }

    fn external_commit(
        &self,
        device: &DeviceKey,
        group_info: &[u8],
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError> {
        let MlsMessageBodyIn::GroupInfo(group_info) = read_message(group_info, "group info")? else {
            return Err(CryptoError::Malformed("group info"));
        };
        let provider = Provider::with_entropy(Scratch::default(), entropy);
        let refused = CryptoError::Refused("group info");
        let suite = suite(group_info.ciphersuite()).ok_or_else(|| refused.clone())?;
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities(suite)).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .skip_lifetime_validation()
            .build_group(&provider, group_info, credential(device.id()))
            .map_err(|_| refused.clone())?
            .leaf_node_parameters(leaf)
            .load_psks(provider.storage())
            .map_err(|_| refused.clone())?
            .build(provider.rand(), provider.crypto(), &DeviceSigner(device), |_| true)
            .map_err(|_| refused.clone())?
            .finalize(&provider)
            .map_err(|_| refused.clone())?;
        check_group(&group, device)?;
        let whole = bundle.into_commit().tls_serialize_detached().map_err(|_| refused)?;
        let parent_depth = group.epoch().as_u64().saturating_sub(1);
        let message = brief::brief(&whole, group.group_id().as_slice(), parent_depth)?;
        Ok(CommitOutput { message, welcome: None, checkpoint: checkpoint(&group, provider)? })
    }

    fn export(
        &self,
        checkpoint: &Checkpoint,
        what: Export,
        context: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let known =
            checkpoint.content_key.as_ref().filter(|_| what == Export::ContentKey && context == checkpoint.group);
        if let Some(key) = known {
            return Ok(key.clone());
        }
        let provider = Provider::without_entropy(Scratch::default());
        let group = load_any(checkpoint, &provider)?;
        export_from(&group, &provider, what, context)
    }
}

fn export_from(
    group: &MlsGroup,
    provider: &Provider,
    what: Export,
    context: &[u8],
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let secret = group
        .export_secret(provider.crypto(), what.label(), context, 32)
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Malformed("checkpoint"))?;
    Ok(Zeroizing::new(secret.as_slice().try_into().expect("32 bytes were asked for")))
}

/// Signs for openmls with a device key.
struct DeviceSigner<'a>(&'a DeviceKey);

impl Signer for DeviceSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign_raw(payload).as_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// What a commit does.
struct Change {
    committer: DeviceId,
    added: Vec<DeviceId>,
    removed: Vec<DeviceId>,
}

/// Of a leaf: that it is of this suite is all that anybody needs to know about it.
fn capabilities(suite: Suite) -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[ciphersuite(suite)]),
        Some(&[ExtensionType::LastResort]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .build()
}

fn credential(device: DeviceId) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(device.as_bytes().to_vec()).into(),
        signature_key: device.as_bytes().as_slice().into(),
    }
}

/// The device of a leaf, whose credential and signature key must agree on it.
fn device_of(credential: &Credential, signature_key: &[u8]) -> Result<DeviceId, CryptoError> {
    let device = DeviceId::try_from(signature_key).map_err(|_| CryptoError::LeafMismatch)?;
    let named = BasicCredential::try_from(credential.clone()).map_err(|_| CryptoError::LeafMismatch)?;
    if named.identity() == device.as_bytes() { Ok(device) } else { Err(CryptoError::LeafMismatch) }
}

fn device_of_leaf(leaf: &LeafNode) -> Result<DeviceId, CryptoError> {
    device_of(leaf.credential(), leaf.signature_key().as_slice())
}

fn reference(key_package: &KeyPackage, provider: &Provider) -> [u8; 32] {
    let reference = key_package.hash_ref(provider.crypto()).expect("a key package that was read can be written");
    reference.as_slice().try_into().expect("a SHA-256 hash has 32 bytes")
}

fn read_message(bytes: &[u8], what: &'static str) -> Result<MlsMessageBodyIn, CryptoError> {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| CryptoError::Malformed(what))?;
    Ok(message.extract())
}

fn read_key_package(bytes: &[u8], provider: &Provider) -> Result<KeyPackage, CryptoError> {
    let MlsMessageBodyIn::KeyPackage(key_package) = read_message(bytes, "key package")? else {
        return Err(CryptoError::Malformed("key package"));
    };
    check_key_package(key_package, provider)
}

fn check_key_package(key_package: KeyPackageIn, provider: &Provider) -> Result<KeyPackage, CryptoError> {
    let unverified = key_package.unverified_credential();
    device_of(&unverified.credential, unverified.signature_key.as_slice())?;
    let key_package = key_package
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|_| CryptoError::Refused("key package"))?;
    check_added(&key_package)?;
    Ok(key_package)
}

/// What Clave asks of a key package beyond its being valid.
fn check_added(key_package: &KeyPackage) -> Result<DeviceId, CryptoError> {
    let lifetime = key_package.life_time();
    let timeless = lifetime.not_before() == NOT_BEFORE && lifetime.not_after() == NOT_AFTER;
    if !timeless || suite(key_package.ciphersuite()).is_none() {
        return Err(CryptoError::Refused("key package"));
    }
    device_of_leaf(key_package.leaf_node())
}

/// Makes a commit, and says whether its removals are in order.
fn build_commit(
    device: &DeviceKey,
    parent: &Checkpoint,
    change: &RosterChange,
    entropy: &mut Entropy,
) -> Result<(CommitOutput, bool), CryptoError> {
    let provider = Provider::with_entropy(Scratch::default(), entropy);
    let mut group = load(device, parent, &provider)?;
    let add = change.add.iter().map(|bytes| read_key_package(bytes, &provider)).collect::<Result<Vec<_>, _>>()?;
    let joiners = add.iter().map(|added| device_of_leaf(added.leaf_node())).collect::<Result<Vec<_>, _>>()?;
    if add.iter().any(|added| added.ciphersuite() != group.ciphersuite()) {
        return Err(CryptoError::OtherSuite);
    }
    change.check(device.id(), parent, &joiners)?;
    let remove = change
        .remove
        .iter()
        .map(|device| group.member_leaf_index(&credential(*device).credential).ok_or(CryptoError::NotAMember(*device)))
        .collect::<Result<Vec<_>, _>>()?;

    let refused = CryptoError::Refused("roster change");
    let bundle = group
        .commit_builder()
        .force_self_update(true)
        .propose_removals(remove)
        .propose_adds(add)
        .load_psks(provider.storage())
        .map_err(|_| refused.clone())?
        .build(provider.rand(), provider.crypto(), &DeviceSigner(device), |_| true)
        .map_err(|_| refused.clone())?
        .stage_commit(&provider)
        .map_err(|_| refused.clone())?;
    let in_order = group.pending_commit().is_some_and(|staged| {
        staged.remove_proposals().map(|removal| removal.remove_proposal().removed()).is_sorted_by(|a, b| a < b)
    });
    group.merge_pending_commit(&provider).map_err(|_| refused.clone())?;

    let (message, welcome, _) = bundle.into_messages();
    let encode = |message: MlsMessageOut| message.tls_serialize_detached().map_err(|_| refused.clone());
    let output = CommitOutput {
        message: brief::brief(&encode(message)?, &parent.group, parent.depth)?,
        welcome: welcome.map(encode).transpose()?,
        checkpoint: checkpoint(&group, provider)?,
    };
    Ok((output, in_order))
}

/// Reads a commit that openmls holds to be valid.
fn inspect_commit(group: &MlsGroup, sender: &Sender, staged: &StagedCommit) -> Result<Change, CryptoError> {
    let leaf = staged.update_path_leaf_node().ok_or(CryptoError::Refused("commit without a path"))?;
    let committer = device_of_leaf(leaf)?;
    let mut change = Change { committer, added: Vec::new(), removed: Vec::new() };
    for proposal in staged.queued_proposals() {
        match proposal.proposal() {
            Proposal::Add(add) => change.added.push(check_added(add.key_package())?),
            Proposal::Remove(remove) => {
                let member = group.member_at(remove.removed()).ok_or(CryptoError::Refused("commit"))?;
                change.removed.push(device_of(&member.credential, &member.signature_key)?);
            }
            Proposal::ExternalInit(_) => {}
            _ => return Err(CryptoError::Refused("commit with a foreign proposal")),
        }
    }
    match sender {
        Sender::Member(index) => {
            let member = group.member_at(*index).ok_or(CryptoError::Refused("commit"))?;
            if device_of(&member.credential, &member.signature_key)? != committer {
                return Err(CryptoError::LeafMismatch);
            }
        }
        Sender::NewMemberCommit => change.added.push(committer),
        Sender::External(_) | Sender::NewMemberProposal => return Err(CryptoError::Refused("commit")),
    }
    Ok(change)
}

fn load_any(checkpoint: &Checkpoint, provider: &Provider) -> Result<MlsGroup, CryptoError> {
    let malformed = CryptoError::Malformed("checkpoint");
    if checkpoint.scheme != Scheme::Mls {
        return Err(malformed);
    }
    provider.storage().fill(&checkpoint.state, "checkpoint")?;
    MlsGroup::load(provider.storage(), &GroupId::from_slice(&checkpoint.group))
        .map_err(|_| malformed.clone())?
        .filter(|group| group.group_id().as_slice() == checkpoint.group)
        .ok_or(malformed)
}

fn load(device: &DeviceKey, parent: &Checkpoint, provider: &Provider) -> Result<MlsGroup, CryptoError> {
    let group = load_any(parent, provider)?;
    check_own_leaf(&group, device)?;
    Ok(group)
}

/// Checks a group that somebody else describes, and says what its suite is.
fn check_group(group: &MlsGroup, device: &DeviceKey) -> Result<Suite, CryptoError> {
    let suite = suite(group.ciphersuite()).filter(|_| group.extensions().iter().next().is_none());
    check_own_leaf(group, device)?;
    suite.ok_or(CryptoError::Refused("group"))
}

fn check_own_leaf(group: &MlsGroup, device: &DeviceKey) -> Result<(), CryptoError> {
    let own = group.own_leaf_node().ok_or(CryptoError::Malformed("checkpoint"))?;
    if device_of_leaf(own)? == device.id() { Ok(()) } else { Err(CryptoError::NotAMember(device.id())) }
}

/// Writes down where the group is, after checking every leaf of it.
fn checkpoint(group: &MlsGroup, provider: Provider) -> Result<Checkpoint, CryptoError> {
    let mut leaves = group
        .members()
        .map(|member| device_of(&member.credential, &member.signature_key))
        .collect::<Result<Vec<_>, _>>()?;
    leaves.sort_unstable();
    if !leaves.is_sorted_by(|a, b| a < b) {
        return Err(CryptoError::LeafMismatch);
    }
    let content_key = export_from(group, &provider, Export::ContentKey, group.group_id().as_slice())?;
    Ok(Checkpoint {
        epoch: EpochId::of_authenticator(group.epoch_authenticator().as_slice()),
        depth: group.epoch().as_u64(),
        group: group.group_id().as_slice().to_vec(),
        leaves,
        scheme: Scheme::Mls,
        state: provider.into_storage().to_bytes(),
        content_key: Some(content_key),
    })
}

#[cfg(test)]
mod tests;
