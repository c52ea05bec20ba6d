//! Group key agreement as pure functions over checkpoints.
//!
//! A circle agrees on a fresh secret whenever its roster changes, or a device wants to renew its keys. Each agreed
//! secret is an *epoch*; a *commit* leads from one epoch to the next. Devices are not online at the same time and
//! nobody orders their commits, so two may follow the same epoch: commits form a tree. Therefore nothing in here keeps
//! state. All that a device knows about an epoch is a [`Checkpoint`], which the caller stores; every operation takes
//! the checkpoint of the epoch it starts from and returns the one it leads to. The same checkpoint may be used any number
//! of times, for one's own commit and for those of rivals.
//!
//! What a commit *may* do is not decided here: [`Processed`] and [`Joined`] say what happened and who did it, the
//! caller checks that against the membership log, and throws the result away if it was not allowed.
//!
//! Two implementations: [`Mls`](crate::Mls) (RFC 9420), and [`SealedSecret`], a trivial one against which the first is
//! tested.

pub(crate) mod bytes;
pub(crate) mod hpke_rng;
mod parts;
mod sealed_secret;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::{CryptoError, DeviceId, DeviceKey, Entropy, Export, Suite, labels};
use bytes::{Reader, put_blob};
pub use parts::{BlobId, CheckpointParts};
pub use sealed_secret::SealedSecret;

/// How a circle's devices agree on the secret of an epoch.
pub trait GroupKeyAgreement {
    /// Starts a group of one device. `group` is its identifier, the same for all of its members, and so is its suite.
    fn create(&self, device: &DeviceKey, group: &[u8], suite: Suite, entropy: &mut Entropy) -> Checkpoint;

    /// Makes what others need to add this device to a group of that suite. One is for one use, except that
    /// concurrent commits may use the same one, and that one marked `last_resort` may be used when no other is left.
    fn key_package(&self, device: &DeviceKey, suite: Suite, last_resort: bool, entropy: &mut Entropy)
    -> KeyPackagePair;

    /// Checks a key package and says whose it is.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`], [`CryptoError::LeafMismatch`] if its credential names another device than the one
    /// that signed it, [`CryptoError::Refused`] if a signature or anything else about it is not valid.
    fn inspect_key_package(&self, key_package: &[u8]) -> Result<KeyPackageInfo, CryptoError>;

    /// Changes the roster and renews this device's keys (an empty change does just that). The new checkpoint must be
    /// stored before the message is sent: one's own commit cannot be processed.
    ///
    /// # Errors
    /// [`CryptoError::NotAMember`] if `device` is not the one whose checkpoint this is or a device to be removed is
    /// not there; [`CryptoError::OtherSuite`] if a key package is not of the group's suite; [`CryptoError::Refused`] if the
    /// change makes no sense (adding who is there, removing oneself); and those of [`inspect_key_package`](Self::inspect_key_package).
    fn commit(
        &self,
        device: &DeviceKey,
        parent: &Checkpoint,
        change: &RosterChange,
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError>;

    /// Follows another device's commit.
    ///
    /// # Errors
    /// [`CryptoError::WrongParent`] or [`CryptoError::Refused`] if it does not follow `parent`, [`CryptoError::Evicted`] if it removes this
    /// device, [`CryptoError::Malformed`], [`CryptoError::LeafMismatch`], [`CryptoError::Refused`].
    fn process(&self, device: &DeviceKey, parent: &Checkpoint, message: &[u8]) -> Result<Processed, CryptoError>;

    /// Enters a group by the welcome of the commit that added this device. `secrets` are those of every key package
    /// that might have been used.
    ///
    /// # Errors
    /// [`CryptoError::NotForUs`] if it was none of them, otherwise as for [`process`](Self::process).
    fn join(&self, device: &DeviceKey, welcome: &[u8], secrets: &[&[u8]]) -> Result<Joined, CryptoError>;

    /// Describes an epoch to a device that is to let itself in by an [external commit](Self::external_commit). It names
    /// all members: for whoever holds a key of the circle only.
    ///
    /// # Errors
    /// [`CryptoError::NotAMember`] if `device` is not the one whose checkpoint this is.
    fn group_info(&self, device: &DeviceKey, checkpoint: &Checkpoint) -> Result<Vec<u8>, CryptoError>;

    /// Lets this device into a group without being added by a member: for one that the membership log has, but that
    /// lost its state or was left behind. A leaf that it has there already is replaced. The parent is the described epoch.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`], [`CryptoError::LeafMismatch`], [`CryptoError::Refused`].
    fn external_commit(
        &self,
        device: &DeviceKey,
        group_info: &[u8],
        entropy: &mut Entropy,
    ) -> Result<CommitOutput, CryptoError>;

    /// Derives a secret that all members of the epoch can derive, and nobody else.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if the checkpoint is of another implementation, or damaged.
    fn export(&self, checkpoint: &Checkpoint, what: Export, context: &[u8])
    -> Result<Zeroizing<[u8; 32]>, CryptoError>;
}

/// Names an epoch: a hash of its authenticator, so that whoever names it alike agrees on everything in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId([u8; 32]);

impl EpochId {
    /// The name of the epoch with this authenticator.
    pub(crate) fn of_authenticator(authenticator: &[u8]) -> Self {
        Self(blake3::derive_key(labels::EPOCH_ID, authenticator))
    }

    /// Wraps an id read from storage or the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 52 characters of lower-case base32.
impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl FromStr for EpochId {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        let malformed = CryptoError::Malformed("epoch id");
        let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
        Ok(Self(bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(malformed)?))
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({})", &self.to_string()[..10])
    }
}

/// A key package and its private half.
pub struct KeyPackagePair {
    /// To be published.
    pub public: Vec<u8>,
    /// To be kept until the join is final, and given to [`GroupKeyAgreement::join`]. Secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// Names the key package.
    pub reference: [u8; 32],
}

/// What a valid key package says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPackageInfo {
    /// Whom it adds.
    pub device: DeviceId,
    /// To groups of which suite.
    pub suite: Suite,
    /// Names the key package.
    pub reference: [u8; 32],
    /// Whether it may be used again and again, when the device has no other left.
    pub last_resort: bool,
}

/// What a commit is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterChange {
    /// Key packages of devices to be added.
    pub add: Vec<Vec<u8>>,
    /// Devices to be removed.
    pub remove: Vec<DeviceId>,
}

impl RosterChange {
    /// Checks that `committer` can make this change, which adds `added`, to `parent`.
    pub(crate) fn check(
        &self,
        committer: DeviceId,
        parent: &Checkpoint,
        added: &[DeviceId],
    ) -> Result<(), CryptoError> {
        if let Some(absent) = self.remove.iter().find(|device| !parent.contains(device)) {
            return Err(CryptoError::NotAMember(*absent));
        }
        let removed: BTreeSet<_> = self.remove.iter().collect();
        let joined: BTreeSet<_> = added.iter().collect();
        let twice = removed.len() < self.remove.len() || joined.len() < added.len();
        let there = joined.iter().any(|device| parent.contains(device) && !removed.contains(device));
        if twice || there || removed.contains(&committer) {
            return Err(CryptoError::Refused("roster change"));
        }
        Ok(())
    }
}

/// One's own commit.
pub struct CommitOutput {
    /// For the other members of the parent epoch, less what whoever has that epoch's checkpoint knows.
    pub message: Vec<u8>,
    /// For all devices that were added, if any were.
    pub welcome: Option<Vec<u8>>,
    /// The epoch it leads to.
    pub checkpoint: Checkpoint,
}

/// Another's commit.
pub struct Processed {
    /// The epoch it leads to.
    pub checkpoint: Checkpoint,
    /// Who made it. A device that is among `added` has let itself in by an external commit.
    pub committer: DeviceId,
    /// Who was added. A device that is also among `removed` was given a new leaf.
    pub added: Vec<DeviceId>,
    /// Who was removed.
    pub removed: Vec<DeviceId>,
}

/// A welcome.
pub struct Joined {
    /// The epoch that was entered.
    pub checkpoint: Checkpoint,
    /// The suite of the group.
    pub suite: Suite,
    /// Who made the commit that added this device.
    pub committer: DeviceId,
    /// The key package that was used.
    pub reference: [u8; 32],
}

/// All that one device knows about one epoch. Its state is secret, and wiped when dropped.
pub struct Checkpoint {
    /// Names the epoch.
    pub epoch: EpochId,
    /// How many commits lead to it from the creation of the group. Rivals are equally deep: name nothing by it.
    pub depth: u64,
    /// Identifies the group.
    pub group: Vec<u8>,
    /// The devices that have the epoch's secret, sorted.
    pub leaves: Vec<DeviceId>,
    pub(crate) scheme: Scheme,
    pub(crate) state: Zeroizing<Vec<u8>>,
    /// The content key, if the group was at hand when the checkpoint was made: to load it again would cost as much as the
    /// commit did. Never stored.
    pub(crate) content_key: Option<Zeroizing<[u8; 32]>>,
}

/// Whose state is in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Scheme {
    Mls = 1,
    SealedSecret = 2,
}

impl Scheme {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CryptoError> {
        match reader.array()? {
            [1] => Ok(Self::Mls),
            [2] => Ok(Self::SealedSecret),
            _ => Err(reader.malformed()),
        }
    }
}

impl Checkpoint {
    /// The version of the encoding.
    const VERSION: u8 = 1;

    /// The encoding, to be sealed in a vault: it holds the epoch's secrets.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let length = 2 + 32 + 8 + 4 + self.group.len() + 4 + 32 * self.leaves.len() + 4 + self.state.len();
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        out.extend_from_slice(&[Self::VERSION, self.scheme as u8]);
        out.extend_from_slice(self.epoch.as_bytes());
        out.extend_from_slice(&self.depth.to_be_bytes());
        put_blob(&mut out, &self.group);
        bytes::put_devices(&mut out, &self.leaves);
        put_blob(&mut out, &self.state);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. The state inside is read when it is used.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let mut reader = Reader::new(bytes, "checkpoint");
        if reader.array()? != [Self::VERSION] {
            return Err(reader.malformed());
        }
        let scheme = Scheme::read(&mut reader)?;
        let checkpoint = Self {
            scheme,
            epoch: EpochId(reader.array()?),
            depth: u64::from_be_bytes(reader.array()?),
            group: reader.blob()?.to_vec(),
            leaves: reader.devices()?,
            state: Zeroizing::new(reader.blob()?.to_vec()),
            content_key: None,
        };
        let sorted = checkpoint.leaves.is_sorted_by(|a, b| a < b);
        reader.end()?;
        if sorted { Ok(checkpoint) } else { Err(CryptoError::Malformed("checkpoint")) }
    }

    /// Stands for an epoch whose secret is not here and never was: it has no leaves, and nothing can be done with it.
    #[must_use]
    pub fn without_secret(epoch: EpochId, depth: u64, group: &[u8]) -> Self {
        let (scheme, state) = (Scheme::SealedSecret, Zeroizing::new(Vec::new()));
        Self { epoch, depth, group: group.to_vec(), leaves: Vec::new(), scheme, state, content_key: None }
    }

    /// Whether `device` has the epoch's secret.
    #[must_use]
    pub fn contains(&self, device: &DeviceId) -> bool {
        self.leaves.binary_search(device).is_ok()
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("epoch", &self.epoch)
            .field("depth", &self.depth)
            .field("leaves", &self.leaves)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
