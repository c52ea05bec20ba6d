//! A checkpoint in parts, so that what one epoch has in common with the next is stored once.
//!
//! What is secret, and what is small, is the *state*. The rest is the public tree of the group, which says who is in it
//! and with which keys: it is cut into *blobs* named by their content (see `mls::tree`). A commit changes few of
//! them. The roster is not stored at all, for the tree says it.
//!
//! A state is `version (1) ‖ scheme (1) ‖ epoch (32) ‖ depth (8) ‖ group`, then for MLS `number of leaves (4) ‖ ids of the
//! blobs ‖ what belongs to no node ‖ the rest of openmls's storage`, for the test oracle `devices ‖ state`. Numbers are
//! big-endian, and what has no fixed length has its length or number before it (4).

use zeroize::Zeroizing;

use super::bytes::{Reader, put_blob, put_count, put_devices};
use super::{Checkpoint, EpochId, Scheme};
use crate::mls::{CutTree, SplitState, join_state, split_state};
use crate::{CryptoError, kdf, labels};

/// Names a blob of a checkpoint: the hash of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The name of a blob with this content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*kdf::derive(labels::CHECKPOINT_BLOB, &[content]))
    }

    /// Wraps an id read from storage.
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

/// A checkpoint, to be stored.
pub struct CheckpointParts {
    /// For this epoch alone. It holds the epoch's secrets, and is to be sealed in a vault.
    pub state: Zeroizing<Vec<u8>>,
    /// What other epochs may have in common with this one. No secrets, but they name the members: to be sealed too.
    pub blobs: Vec<(BlobId, Vec<u8>)>,
}

impl Checkpoint {
    /// The version of the encoding in parts.
    const PARTS_VERSION: u8 = 1;

    /// Cuts the checkpoint into parts. Blobs that are stored already need not be stored again.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if the checkpoint was read from damaged bytes.
    pub fn to_parts(&self) -> Result<CheckpointParts, CryptoError> {
        // With room for all, no copy of a part is left behind.
        let length = 64 + self.group.len() + 32 * self.leaves.len() + self.state.len();
        let mut state = Zeroizing::new(Vec::with_capacity(length));
        state.extend_from_slice(&[Self::PARTS_VERSION, self.scheme as u8]);
        state.extend_from_slice(self.epoch.as_bytes());
        state.extend_from_slice(&self.depth.to_be_bytes());
        put_blob(&mut state, &self.group);
        if self.scheme == Scheme::SealedSecret {
            put_devices(&mut state, &self.leaves);
            put_blob(&mut state, &self.state);
            return Ok(CheckpointParts { state, blobs: Vec::new() });
        }

        let SplitState { rest, tree } = split_state(&self.state)?;
        let CutTree { leaf_count, rest: of_tree, pieces } = CutTree::cut(&tree)?;
        let blobs: Vec<_> = pieces.into_iter().map(|piece| (BlobId::of(&piece), piece)).collect();
        state.extend_from_slice(&leaf_count.to_be_bytes());
        put_count(&mut state, blobs.len());
        for (id, _) in &blobs {
            state.extend_from_slice(id.as_bytes());
        }
        put_blob(&mut state, &of_tree);
        put_blob(&mut state, &rest);
        Ok(CheckpointParts { state, blobs })
    }

    /// Puts together what [`to_parts`](Self::to_parts) cut. `blob` looks one up.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if the state is damaged, or a blob is missing or is not what it is named by.
    pub fn from_parts(state: &[u8], mut blob: impl FnMut(BlobId) -> Option<Vec<u8>>) -> Result<Self, CryptoError> {
        let Head { scheme, epoch, depth, group, mut reader } = Head::read(state)?;
        if scheme == Scheme::SealedSecret {
            let (leaves, state) = (reader.devices()?, Zeroizing::new(reader.blob()?.to_vec()));
            reader.end()?;
            if !leaves.is_sorted_by(|a, b| a < b) {
                return Err(CryptoError::Malformed("checkpoint"));
            }
            return Ok(Self { epoch, depth, group, leaves, scheme, state, content_key: None });
        }

        let leaf_count = u32::from_be_bytes(reader.array()?);
        let pieces = blob_ids(&mut reader)?
            .into_iter()
            .map(|id| blob(id).filter(|content| BlobId::of(content) == id))
            .collect::<Option<Vec<_>>>()
            .ok_or(CryptoError::Malformed("checkpoint, of which a blob is missing"))?;
        let tree = CutTree { leaf_count, rest: reader.blob()?.to_vec(), pieces };
        let rest = reader.blob()?;
        reader.end()?;
        let (tree, leaves) = tree.join()?;
        if !leaves.is_sorted_by(|a, b| a < b) {
            return Err(CryptoError::LeafMismatch);
        }
        Ok(Self { epoch, depth, group, leaves, scheme, state: join_state(rest, tree)?, content_key: None })
    }

    /// The blobs that a state needs, for whoever cleans up after others.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`].
    pub fn blob_ids(state: &[u8]) -> Result<Vec<BlobId>, CryptoError> {
        let Head { scheme, mut reader, .. } = Head::read(state)?;
        if scheme == Scheme::SealedSecret {
            return Ok(Vec::new());
        }
        let _leaf_count: [u8; 4] = reader.array()?;
        blob_ids(&mut reader)
    }
}

fn blob_ids(reader: &mut Reader<'_>) -> Result<Vec<BlobId>, CryptoError> {
    (0..reader.count(32)?).map(|_| reader.array().map(BlobId)).collect()
}

/// How every state starts.
struct Head<'a> {
    scheme: Scheme,
    epoch: EpochId,
    depth: u64,
    group: Vec<u8>,
    reader: Reader<'a>,
}

impl<'a> Head<'a> {
    fn read(state: &'a [u8]) -> Result<Self, CryptoError> {
        let mut reader = Reader::new(state, "checkpoint");
        if reader.array()? != [Checkpoint::PARTS_VERSION] {
            return Err(reader.malformed());
        }
        let scheme = Scheme::read(&mut reader)?;
        let epoch = EpochId(reader.array()?);
        let depth = u64::from_be_bytes(reader.array()?);
        let group = reader.blob()?.to_vec();
        Ok(Self { scheme, epoch, depth, group, reader })
    }
}
