//! What a drive is made of: records that are only ever added.

use std::fmt;

use automerge::ObjId;
use data_encoding::BASE32HEX_NOPAD;
use prost::Message as _;

use crate::{Actor, CrdtError};

/// The largest encoded version, in bytes.
pub const VERSION_BYTES_MAX: usize = 4 * 1024;

/// A file or folder. Whether it is one or the other is part of the id, so nobody can turn one into the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// The folder that holds everything.
    pub const ROOT: Self = Self([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    /// The folder that holds what was thrown away.
    pub const TRASH: Self = Self([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// A new folder's id, from 16 random bytes.
    #[must_use]
    pub const fn folder(mut random: [u8; 16]) -> Self {
        random[0] |= 1;
        Self(random)
    }

    /// A new file's id, from 16 random bytes.
    #[must_use]
    pub const fn file(mut random: [u8; 16]) -> Self {
        random[0] &= !1;
        Self(random)
    }

    /// Wraps raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is a folder.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is the root or the trash: always there, and not to be moved.
    pub(super) fn is_fixed(&self) -> bool {
        *self == Self::ROOT || *self == Self::TRASH
    }
}

/// 26 characters of base32.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32HEX_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl std::str::FromStr for NodeId {
    type Err = CrdtError;

    fn from_str(text: &str) -> Result<Self, CrdtError> {
        const WRONG: CrdtError = CrdtError::Invalid("this is not the id of a file or folder; copy it whole");
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(WRONG);
        }
        let bytes = BASE32HEX_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| WRONG)?;
        Ok(Self(bytes.try_into().map_err(|_| WRONG)?))
    }
}

/// The content of a file at one time.
#[derive(Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// The chunk that holds the list of the file's chunks.
    pub manifest: [u8; 32],
    /// The key of that chunk.
    pub manifest_key: [u8; 32],
    /// Size of the content, in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub blake3: [u8; 32],
    /// When the file was last modified, by the clock of the device it comes from, in Unix milliseconds.
    pub modified_ms: u64,
    /// What it is, say `image/png`; empty if not known.
    pub media_type: String,
}

/// Without the key.
impl fmt::Debug for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = BASE32HEX_NOPAD.encode(&self.manifest[..5]).to_ascii_lowercase();
        f.debug_struct("FileVersion").field("manifest", &manifest).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The most versions that one version can say it replaces.
pub(super) const REPLACES_MAX: usize = 64;

/// When a record was made, in Automerge's order of operations: it agrees with causality, and is the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    /// Lamport time.
    pub counter: u64,
    /// Who made it.
    pub actor: Actor,
}

impl VersionId {
    pub(super) fn of_operation(id: &ObjId) -> Self {
        let counter = match id {
            ObjId::Id(counter, ..) => *counter,
            ObjId::Root => 0,
        };
        Self { counter, actor: Actor::of_operation(id) }
    }
}

/// A record of where a node lies, what it is called, or both.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Placement {
    /// The folder it goes to; empty to leave it where it is.
    #[prost(bytes = "vec", tag = "1")]
    parent: Vec<u8>,
    /// Its new name; empty to leave it as it is.
    #[prost(string, tag = "2")]
    pub(super) name: String,
}

impl Placement {
    pub(super) fn new(parent: Option<NodeId>, name: Option<&str>) -> Self {
        let parent = parent.map(|id| id.0.to_vec()).unwrap_or_default();
        Self { parent, name: name.unwrap_or_default().to_owned() }
    }

    pub(super) fn parent(&self) -> Option<NodeId> {
        self.parent.as_slice().try_into().ok().map(NodeId)
    }
}

/// A record of a file's content.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionRecord {
    #[prost(bytes = "vec", tag = "1")]
    manifest: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    manifest_key: Vec<u8>,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(bytes = "vec", tag = "4")]
    blake3: Vec<u8>,
    #[prost(uint64, tag = "5")]
    modified_ms: u64,
    #[prost(string, tag = "6")]
    media_type: String,
    /// The versions that its author knew and replaced.
    #[prost(message, repeated, tag = "7")]
    replaces: Vec<WireVersionId>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireVersionId {
    #[prost(uint64, tag = "1")]
    counter: u64,
    #[prost(bytes = "vec", tag = "2")]
    actor: Vec<u8>,
}

impl VersionRecord {
    pub(super) fn encode(file: &FileVersion, replaces: &[VersionId]) -> Result<Vec<u8>, CrdtError> {
        let replaces =
            replaces.iter().map(|id| WireVersionId { counter: id.counter, actor: id.actor.as_bytes().to_vec() });
        let bytes = Self { replaces: replaces.collect(), ..Self::of(file) }.encode_to_vec();
        if bytes.len() > VERSION_BYTES_MAX {
            let what = "the description of the file";
            return Err(CrdtError::TooLarge { what, bytes: bytes.len(), limit: VERSION_BYTES_MAX });
        }
        Ok(bytes)
    }

    /// A version that was read from a record, without those it replaces.
    pub(super) fn unbound(file: &FileVersion) -> Vec<u8> {
        Self::of(file).encode_to_vec()
    }

    fn of(file: &FileVersion) -> Self {
        Self {
            manifest: file.manifest.to_vec(),
            manifest_key: file.manifest_key.to_vec(),
            bytes: file.bytes,
            blake3: file.blake3.to_vec(),
            modified_ms: file.modified_ms,
            media_type: file.media_type.clone(),
            replaces: Vec::new(),
        }
    }

    /// The version in a record, and those it replaces. `None` if the record is not well formed.
    pub(super) fn read(bytes: &[u8]) -> Option<(FileVersion, Vec<VersionId>)> {
        if bytes.len() > VERSION_BYTES_MAX {
            return None;
        }
        let record = Self::decode(bytes).ok()?;
        let file = FileVersion {
            manifest: record.manifest.try_into().ok()?,
            manifest_key: record.manifest_key.try_into().ok()?,
            bytes: record.bytes,
            blake3: record.blake3.try_into().ok()?,
            modified_ms: record.modified_ms,
            media_type: record.media_type,
        };
        let id = |id: WireVersionId| {
            Some(VersionId { counter: id.counter, actor: Actor::from_bytes(id.actor.try_into().ok()?) })
        };
        Some((file, record.replaces.into_iter().filter_map(id).collect()))
    }
}
