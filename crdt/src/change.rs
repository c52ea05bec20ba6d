//! One change: what it says about itself, before it is let into a document.

use automerge::Change;

use crate::contained::contained;
use crate::{Actor, CrdtError};

/// The largest change that is accepted, in bytes. A burst of edits beyond this is the caller's to cut.
pub const CHANGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most dependencies a change may name. A change names the heads its author knew.
pub const CHANGE_DEPENDENCIES_MAX: usize = 4_096;
/// The highest operation counter that is accepted. Automerge counts in 32 bits; a change that jumped to the end of
/// them would leave nobody room to write.
pub(crate) const OPERATION_COUNTER_MAX: u64 = u32::MAX as u64;

/// The hash of a change.
pub type ChangeHash = [u8; 32];

/// What a change says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeInfo {
    /// Its author.
    pub actor: Actor,
    /// Its place among its author's changes, from 1, without gaps.
    pub seq: u64,
    /// Its hash (SHA-256, as Automerge defines it).
    pub hash: ChangeHash,
    /// The changes it builds on, the author's previous one among them.
    pub deps: Vec<ChangeHash>,
    /// How many operations it holds.
    pub operations: usize,
    /// When its author's clock says it was made, in Unix seconds. A claim, not a fact.
    pub time_s: i64,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeFault {
    /// The bytes are not one encoded change.
    #[error("it is damaged")]
    Malformed,
    /// The bytes are compressed. A few bytes could unpack to gigabytes, so compression is left to who carries them.
    #[error("it is compressed")]
    Compressed,
    /// It is larger than [`CHANGE_BYTES_MAX`] or has more dependencies than [`CHANGE_DEPENDENCIES_MAX`].
    #[error("it is too large")]
    TooLarge,
    /// It names an actor that is not 24 bytes long, or the genesis actor as its author.
    #[error("it has no valid author")]
    Actor,
    /// It depends on nothing, or on the genesis of another kind of document.
    #[error("it belongs to another document")]
    AnotherDocument,
    /// It does not continue its author's changes.
    #[error("it does not continue its author's earlier changes")]
    Sequence,
    /// Its author wrote another change under the same sequence number. It is not refused for that: it waits.
    #[error("its author wrote two different changes in one place")]
    Equivocation,
    /// Its operations are not numbered from where those of its dependencies end.
    #[error("its operations are numbered wrongly")]
    Numbering,
    /// It builds on a change that was refused.
    #[error("it builds on a change that was refused")]
    Dependency,
    /// Its operations do not fit the document (they change something that is not there).
    #[error("it changes something that does not exist")]
    Operations,
}

/// Reads what a change says about itself, and checks everything that can be checked without its document.
///
/// # Errors
///
/// The fault of the change.
pub fn inspect_change(bytes: &[u8]) -> Result<ChangeInfo, CrdtError> {
    Ok(info(&parse(bytes)?))
}

/// Where the first four bytes of its hash stand in an encoded change.
pub(crate) const CHECKSUM: std::ops::Range<usize> = 4..8;

/// Decodes a change and checks all that needs no document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Change, ChangeFault> {
    let change = decode(bytes)?;
    if bytes[CHECKSUM] != change.hash().0[..4] {
        return Err(ChangeFault::Malformed);
    }
    Ok(change)
}

/// The same for a change that has no checksum yet: puts it in. What is decoded goes on without it.
pub(crate) fn complete(mut bytes: Vec<u8>) -> Result<(Change, Vec<u8>), ChangeFault> {
    let change = decode(&bytes)?;
    bytes[CHECKSUM].copy_from_slice(&change.hash().0[..4]);
    Ok((change, bytes))
}

fn decode(bytes: &[u8]) -> Result<Change, ChangeFault> {
    /// Offset of the chunk's type.
    const TYPE: usize = 8;
    /// An uncompressed change.
    const TYPE_CHANGE: u8 = 1;
    /// A compressed change.
    const TYPE_COMPRESSED: u8 = 2;

    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(ChangeFault::TooLarge);
    }
    match bytes.get(TYPE) {
        Some(&TYPE_CHANGE) => {}
        Some(&TYPE_COMPRESSED) => return Err(ChangeFault::Compressed),
        _ => return Err(ChangeFault::Malformed),
    }
    let change =
        contained(|| Change::try_from(bytes)).ok_or(ChangeFault::Malformed)?.map_err(|_| ChangeFault::Malformed)?;
    if change.deps().len() > CHANGE_DEPENDENCIES_MAX {
        return Err(ChangeFault::TooLarge);
    }
    let author = Actor::from_automerge(change.actor_id()).ok_or(ChangeFault::Actor)?;
    if author == Actor::GENESIS || change.other_actor_ids().iter().any(|id| Actor::from_automerge(id).is_none()) {
        return Err(ChangeFault::Actor);
    }
    if change.seq() == 0 {
        return Err(ChangeFault::Sequence);
    }
    if change.start_op().get().saturating_add(change.len() as u64) > OPERATION_COUNTER_MAX {
        return Err(ChangeFault::Numbering);
    }
    Ok(change)
}

/// What a change says about itself.
pub(crate) fn info(change: &Change) -> ChangeInfo {
    ChangeInfo {
        actor: Actor::from_automerge(change.actor_id()).unwrap_or(Actor::GENESIS),
        seq: change.seq(),
        hash: change.hash().0,
        deps: change.deps().iter().map(|hash| hash.0).collect(),
        operations: change.len(),
        time_s: change.timestamp(),
    }
}
