//! The trivial key agreement: whoever commits makes up a secret and seals it to each device by itself (HPKE, RFC 9180).
//!
//! It is what MLS is tested against: whatever engine or test runs over one must come to the same rosters and the same
//! agreement over the other. Its commits grow with the roster, and unlike MLS it does not prove to a member that
//! all others were sent the same secret: not for use outside of tests. It seals by X25519 whatever the suite, which it carries
//! along so that whoever runs over it decides as over MLS.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::bytes::{Reader, put_blob, put_count, put_devices};
use super::hpke_rng::HpkeRng;
use super::{
    Checkpoint, CommitOutput, EpochId, GroupKeyAgreement, Joined, KeyPackageInfo, KeyPackagePair, Processed,
    RosterChange, Scheme,
};
use crate::{CryptoError, DeviceId, DeviceKey, Domain, Entropy, Export, Signature, Suite, labels};

/// An encapsulated key (32), a sealed secret (32) and its tag (16).
const SEALED_BYTES: usize = 80;
const SIGNATURE_BYTES: usize = 64;

/// An epoch secret sealed to each device by itself. The oracle that [`Mls`](crate::Mls) is tested against.
#[derive(Clone, Copy, Debug, Default)]
pub struct SealedSecret;

impl GroupKeyAgreement for SealedSecret {
    fn create(&self, device: &DeviceKey, group: &[u8], suite: Suite, entropy: &mut Entropy) -> Checkpoint {
        let (private, public) = key_pair(entropy);
        let roster = vec![Leaf { device: device.id(), public }];
        State { own: device.id(), private, secret: Zeroizing::new(entropy.bytes()), suite, roster }.checkpoint(group, 0)
    }

    fn key_package(
        &self,
        device: &DeviceKey,
        suite: Suite,
        last_resort: bool,
        entropy: &mut Entropy,
    ) -> KeyPackagePair {
        let (private, key) = key_pair(entropy);
        let mut public = device.id().as_bytes().to_vec();
        public.extend_from_slice(&key);
        public.extend_from_slice(&[u8::from(last_resort), suite.number()]);
        sign(device, Domain::SealedKeyPackage, &mut public);
        let reference = reference(&public);
        let secret = Zeroizing::new([reference, *private].concat());
        KeyPackagePair { public, secret, reference }
    }

    fn inspect_key_package(&self, key_package: &[u8]) -> Result<KeyPackageInfo, CryptoError> {
        let (leaf, suite, last_resort) = read_key_package(key_package)?;
        Ok(KeyPackageInfo { device: leaf.device, suite, reference: reference(key_package), last_resort })
    }

    fn commit(
        &self,
        device: &DeviceKey,
        parent: &Checkpoint,
        change: &RosterChange,
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError> {
        let mut state = State::of(device.id(), parent)?;
        let joiners = read_joiners(change, state.suite)?;
        change.check(device.id(), parent, &joiners.iter().map(|leaf| leaf.device).collect::<Vec<_>>())?;

        let (private, public) = key_pair(entropy);
        let fresh = Zeroizing::new(entropy.bytes());
        state.roster.retain(|leaf| !change.remove.contains(&leaf.device));
        let header =
            Header { parent: parent.epoch, committer: device.id(), public, external: false, change: change.clone() };
        let (message, digest) = header.message(device, &state.roster, &fresh, entropy)?;

        state.advance(device.id(), public, joiners.iter().copied());
        state.private = private;
        state.secret = epoch_secret(&fresh, &digest);
        let welcome = if joiners.is_empty() {
            None
        } else {
            let mut welcome = Vec::new();
            put_blob(&mut welcome, &parent.group);
            welcome.extend_from_slice(&(parent.depth + 1).to_be_bytes());
            welcome.extend_from_slice(&digest);
            welcome.extend_from_slice(device.id().as_bytes());
            welcome.push(state.suite.number());
            put_roster(&mut welcome, &state.roster);
            put_count(&mut welcome, joiners.len());
            for (leaf, bytes) in joiners.iter().zip(&change.add) {
                welcome.extend_from_slice(&reference(bytes));
                welcome.extend_from_slice(&seal(leaf, &digest, &fresh, entropy)?);
            }
            sign(device, Domain::SealedWelcome, &mut welcome);
            Some(welcome)
        };
        Ok(CommitOutput { message, welcome, checkpoint: state.checkpoint(&parent.group, parent.depth + 1) })
    }

    fn process(&self, device: &DeviceKey, parent: &Checkpoint, message: &[u8]) -> Result<Processed, CryptoError> {
        let mut state = State::of(device.id(), parent)?;
        let mut reader = Reader::new(message, "commit");
        let header = Header::read(&mut reader)?;
        if header.parent != parent.epoch {
            return Err(CryptoError::WrongParent);
        }
        let refused = CryptoError::Refused("commit");
        let Header { committer, public, external, change, .. } = header;
        if committer == device.id() || !(external || parent.contains(&committer)) {
            return Err(refused);
        }
        if external && change != RosterChange::default() {
            return Err(refused);
        }
        verify(committer, Domain::SealedCommit, message, "commit")?;
        let digest = header_digest(&message[..message.len() - reader.left()]);
        let joiners = read_joiners(&change, state.suite)?;
        let mut added = joiners.iter().map(|leaf| leaf.device).collect::<Vec<_>>();
        change.check(committer, parent, &added)?;
        if change.remove.contains(&device.id()) {
            return Err(CryptoError::Evicted);
        }

        state.roster.retain(|leaf| !change.remove.contains(&leaf.device));
        let mut fresh = None;
        for leaf in state.roster.iter().filter(|leaf| leaf.device != committer) {
            let sealed: [u8; SEALED_BYTES] = reader.array()?;
            if leaf.device == device.id() {
                fresh = Some(open(&state.private, device.id(), &digest, &sealed)?);
            }
        }
        reader.array::<SIGNATURE_BYTES>()?;
        reader.end()?;
        state.advance(committer, public, joiners);
        state.secret = epoch_secret(&*fresh.ok_or(refused)?, &digest);
        let checkpoint = state.checkpoint(&parent.group, parent.depth + 1);
        let mut removed = change.remove;
        if external {
            added.push(committer);
            removed.extend(parent.contains(&committer).then_some(committer));
        }
        Ok(Processed { checkpoint, committer, added, removed })
    }

    fn join(&self, device: &DeviceKey, welcome: &[u8], secrets: &[&[u8]]) -> Result<Joined, CryptoError> {
        let mut reader = Reader::new(welcome, "welcome");
        let group = reader.blob()?;
        let depth = u64::from_be_bytes(reader.array()?);
        let digest = reader.array()?;
        let committer = reader.device()?;
        let suite = read_suite(&mut reader)?;
        let roster = read_roster(&mut reader)?;
        let mut found = None;
        for _ in 0..reader.count(32 + SEALED_BYTES)? {
            let (reference, sealed): ([u8; 32], [u8; SEALED_BYTES]) = (reader.array()?, reader.array()?);
            for secret in secrets {
                let mut secret = Reader::new(secret, "key package secret");
                let (candidate, private) = (secret.array::<32>()?, Zeroizing::new(secret.array::<32>()?));
                secret.end()?;
                if candidate == reference {
                    found = Some((reference, private, sealed));
                }
            }
        }
        reader.array::<SIGNATURE_BYTES>()?;
        reader.end()?;
        let (reference, private, sealed) = found.ok_or(CryptoError::NotForUs)?;
        verify(committer, Domain::SealedWelcome, welcome, "welcome")?;
        let secret = epoch_secret(&*open(&private, device.id(), &digest, &sealed)?, &digest);
        let checkpoint = State { own: device.id(), private, secret, suite, roster }.checkpoint(group, depth);
        if !checkpoint.contains(&device.id()) || !checkpoint.contains(&committer) {
            return Err(CryptoError::Refused("welcome"));
        }
        Ok(Joined { checkpoint, suite, committer, reference })
    }

    fn group_info(&self, device: &DeviceKey, checkpoint: &Checkpoint) -> Result<Vec<u8>, CryptoError> {
        let state = State::of(device.id(), checkpoint)?;
        let mut info = device.id().as_bytes().to_vec();
        info.extend_from_slice(checkpoint.epoch.as_bytes());
        info.extend_from_slice(&checkpoint.depth.to_be_bytes());
        put_blob(&mut info, &checkpoint.group);
        info.push(state.suite.number());
        put_roster(&mut info, &state.roster);
        sign(device, Domain::SealedGroupInfo, &mut info);
        Ok(info)
    }

    fn external_commit(
        &self,
        device: &DeviceKey,
        group_info: &[u8],
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError> {
        let mut reader = Reader::new(group_info, "group info");
        let (signer, parent) = (reader.device()?, EpochId::from_bytes(reader.array()?));
        let depth = u64::from_be_bytes(reader.array()?).checked_add(1).ok_or_else(|| reader.malformed())?;
        let group = reader.blob()?;
        let suite = read_suite(&mut reader)?;
        let roster = read_roster(&mut reader)?;
        reader.array::<SIGNATURE_BYTES>()?;
        reader.end()?;
        verify(signer, Domain::SealedGroupInfo, group_info, "group info")?;
        if !roster.iter().any(|leaf| leaf.device == signer) {
            return Err(CryptoError::Refused("group info"));
        }

        let (private, public) = key_pair(entropy);
        let fresh = Zeroizing::new(entropy.bytes());
        let change = RosterChange::default();
        let header = Header { parent, committer: device.id(), public, external: true, change };
        let (message, digest) = header.message(device, &roster, &fresh, entropy)?;
        let mut state = State { own: device.id(), private, secret: epoch_secret(&fresh, &digest), suite, roster };
        state.advance(device.id(), public, []);
        Ok(CommitOutput { message, welcome: None, checkpoint: state.checkpoint(group, depth) })
    }

    fn export(
        &self,
        checkpoint: &Checkpoint,
        what: Export,
        context: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let state = State::read(checkpoint)?;
        let mut hasher = blake3::Hasher::new_derive_key(labels::SEALED_EXPORT);
        hasher.update(&*state.secret);
        hasher.update(&(what.label().len() as u64).to_le_bytes()).update(what.label().as_bytes()).update(context);
        Ok(Zeroizing::new(*hasher.finalize().as_bytes()))
    }
}

/// A device and the key that secrets are sealed to it with.
#[derive(Clone, Copy)]
struct Leaf {
    device: DeviceId,
    public: [u8; 32],
}

/// What a device knows of an epoch.
struct State {
    own: DeviceId,
    private: Zeroizing<[u8; 32]>,
    secret: Zeroizing<[u8; 32]>,
    suite: Suite,
    roster: Vec<Leaf>,
}

impl State {
    fn read(checkpoint: &Checkpoint) -> Result<Self, CryptoError> {
        if checkpoint.scheme != Scheme::SealedSecret {
            return Err(CryptoError::Malformed("checkpoint"));
        }
        let mut reader = Reader::new(&checkpoint.state, "checkpoint");
        let state = Self {
            own: reader.device()?,
            private: Zeroizing::new(reader.array()?),
            secret: Zeroizing::new(reader.array()?),
            suite: read_suite(&mut reader)?,
            roster: read_roster(&mut reader)?,
        };
        reader.end()?;
        Ok(state)
    }

    fn of(device: DeviceId, checkpoint: &Checkpoint) -> Result<Self, CryptoError> {
        let state = Self::read(checkpoint)?;
        if state.own == device { Ok(state) } else { Err(CryptoError::NotAMember(device)) }
    }

    /// Gives the committer its new key and lets the joiners in.
    fn advance(&mut self, committer: DeviceId, public: [u8; 32], joiners: impl IntoIterator<Item = Leaf>) {
        self.roster.retain(|leaf| leaf.device != committer);
        self.roster.push(Leaf { device: committer, public });
        self.roster.extend(joiners);
        self.roster.sort_unstable_by_key(|leaf| leaf.device);
    }

    fn checkpoint(&self, group: &[u8], depth: u64) -> Checkpoint {
        let mut state = Zeroizing::new(Vec::with_capacity(100 + 64 * self.roster.len()));
        state.extend_from_slice(self.own.as_bytes());
        state.extend_from_slice(&*self.private);
        state.extend_from_slice(&*self.secret);
        state.push(self.suite.number());
        put_roster(&mut state, &self.roster);

        let mut authenticator = blake3::Hasher::new_derive_key(labels::SEALED_AUTHENTICATOR);
        authenticator.update(&*self.secret).update(&depth.to_be_bytes()).update(&state[96..]).update(group);
        Checkpoint {
            epoch: EpochId::of_authenticator(authenticator.finalize().as_bytes()),
            depth,
            group: group.to_vec(),
            leaves: self.roster.iter().map(|leaf| leaf.device).collect(),
            scheme: Scheme::SealedSecret,
            state,
            content_key: None,
        }
    }
}

/// What a commit says in clear.
struct Header {
    parent: EpochId,
    committer: DeviceId,
    /// The committer's new key.
    public: [u8; 32],
    /// Whether the committer lets itself in. Then it changes nothing else.
    external: bool,
    change: RosterChange,
}

impl Header {
    /// The whole commit, which seals `fresh` to all in `roster` but the committer; and the digest of what it says in clear.
    fn message(
        &self,
        device: &DeviceKey,
        roster: &[Leaf],
        fresh: &[u8; 32],
        entropy: &mut Entropy,
    ) -> Result<(Vec<u8>, [u8; 32]), CryptoError> {
        let mut message = self.to_bytes();
        let digest = header_digest(&message);
        for leaf in roster.iter().filter(|leaf| leaf.device != self.committer) {
            message.extend_from_slice(&seal(leaf, &digest, fresh, entropy)?);
        }
        sign(device, Domain::SealedCommit, &mut message);
        Ok((message, digest))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.parent.as_bytes().to_vec();
        out.extend_from_slice(self.committer.as_bytes());
        out.extend_from_slice(&self.public);
        out.push(u8::from(self.external));
        put_devices(&mut out, &self.change.remove);
        put_count(&mut out, self.change.add.len());
        for key_package in &self.change.add {
            put_blob(&mut out, key_package);
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CryptoError> {
        Ok(Self {
            parent: EpochId::from_bytes(reader.array()?),
            committer: reader.device()?,
            public: reader.array()?,
            external: match reader.array()? {
                [0] => false,
                [1] => true,
                _ => return Err(reader.malformed()),
            },
            change: RosterChange {
                remove: reader.devices()?,
                add: (0..reader.count(4)?).map(|_| reader.blob().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?,
            },
        })
    }
}

fn put_roster(out: &mut Vec<u8>, roster: &[Leaf]) {
    put_count(out, roster.len());
    for leaf in roster {
        out.extend_from_slice(leaf.device.as_bytes());
        out.extend_from_slice(&leaf.public);
    }
}

fn read_roster(reader: &mut Reader<'_>) -> Result<Vec<Leaf>, CryptoError> {
    let roster = (0..reader.count(64)?)
        .map(|_| Ok(Leaf { device: reader.device()?, public: reader.array()? }))
        .collect::<Result<Vec<_>, _>>()?;
    if roster.is_sorted_by(|a, b| a.device < b.device) { Ok(roster) } else { Err(reader.malformed()) }
}

fn read_suite(reader: &mut Reader<'_>) -> Result<Suite, CryptoError> {
    let [number] = reader.array()?;
    Suite::from_number(number).ok_or_else(|| reader.malformed())
}

fn read_joiners(change: &RosterChange, of: Suite) -> Result<Vec<Leaf>, CryptoError> {
    let joiner = |bytes: &Vec<u8>| match read_key_package(bytes)? {
        (leaf, suite, _) if suite == of => Ok(leaf),
        _ => Err(CryptoError::OtherSuite),
    };
    change.add.iter().map(joiner).collect()
}

fn read_key_package(bytes: &[u8]) -> Result<(Leaf, Suite, bool), CryptoError> {
    let mut reader = Reader::new(bytes, "key package");
    let leaf = Leaf { device: reader.device()?, public: reader.array()? };
    let [last_resort] = reader.array()?;
    let suite = read_suite(&mut reader)?;
    reader.array::<SIGNATURE_BYTES>()?;
    reader.end()?;
    verify(leaf.device, Domain::SealedKeyPackage, bytes, "key package")?;
    Ok((leaf, suite, last_resort != 0))
}

/// Appends a signature over all there is.
fn sign(device: &DeviceKey, domain: Domain, bytes: &mut Vec<u8>) {
    let signature = device.sign(domain, bytes);
    bytes.extend_from_slice(signature.as_bytes());
}

/// Checks the signature that `bytes` end with.
fn verify(signer: DeviceId, domain: Domain, bytes: &[u8], what: &'static str) -> Result<(), CryptoError> {
    let (signed, signature) = bytes.split_last_chunk().ok_or(CryptoError::Malformed(what))?;
    let signature = Signature::from_bytes(*signature);
    signer.verify(domain, signed, &signature).map_err(|_| CryptoError::Refused(what))
}

fn key_pair(entropy: &mut Entropy) -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let ikm = Zeroizing::new(entropy.bytes::<32>());
    let (private, public) = X25519HkdfSha256::derive_keypair(&*ikm);
    let mut bytes = Zeroizing::new([0; 32]);
    private.write_exact(&mut *bytes);
    (bytes, public.to_bytes().into())
}

fn reference(key_package: &[u8]) -> [u8; 32] {
    blake3::derive_key(labels::SEALED_REFERENCE, key_package)
}

fn header_digest(header: &[u8]) -> [u8; 32] {
    blake3::derive_key(labels::SEALED_HEADER, header)
}

fn epoch_secret(fresh: &[u8; 32], digest: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(labels::SEALED_EPOCH_SECRET);
    Zeroizing::new(*hasher.update(fresh).update(digest).finalize().as_bytes())
}

fn seal(leaf: &Leaf, digest: &[u8; 32], fresh: &[u8; 32], entropy: &mut Entropy) -> Result<Vec<u8>, CryptoError> {
    let refused = CryptoError::Refused("key package");
    let public = Deserializable::from_bytes(&leaf.public).map_err(|_| refused.clone())?;
    let (encapped, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        digest,
        fresh,
        leaf.device.as_bytes(),
        &mut HpkeRng(entropy.fork()),
    )
    .map_err(|_| refused)?;
    Ok([encapped.to_bytes().as_slice(), &sealed].concat())
}

fn open(
    private: &[u8; 32],
    device: DeviceId,
    digest: &[u8; 32],
    sealed: &[u8; SEALED_BYTES],
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let (encapped, sealed) = sealed.split_at(32);
    let private = Deserializable::from_bytes(private).map_err(|_| CryptoError::BadCiphertext)?;
    let encapped = Deserializable::from_bytes(encapped).map_err(|_| CryptoError::BadCiphertext)?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapped,
        digest,
        sealed,
        device.as_bytes(),
    )
    .map(Zeroizing::new)
    .map_err(|_| CryptoError::BadCiphertext)?;
    Ok(Zeroizing::new(opened.as_slice().try_into().map_err(|_| CryptoError::BadCiphertext)?))
}
