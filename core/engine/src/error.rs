//! What a command to the engine can fail with.

use clave_crdt::CrdtError;
use clave_crypto::{CryptoError, DeviceId};

use crate::ReadError;
use crate::membership::POST_QUANTUM_CIRCLES;

/// Why a command failed. Grouped by who can do something about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller asked for a circle that this device is not in.
    #[error("this device is not in that space: join it first, with an invitation")]
    NoSuchCircle,
    /// Nothing can be sent to that device alone: it is not in, or the key that it published for this cannot be used.
    #[error("that device is not in this space, or cannot be written to: look at who is in it")]
    NoSuchDevice,
    /// The caller asked for an invitation that this device did not make.
    #[error("this device made no such invitation")]
    NoSuchInvitation,
    /// The device belongs to nobody yet.
    #[error("this device is not linked yet: finish linking it, with a code from another device of yours")]
    NotLinked,
    /// A link cannot be taken up.
    #[error(transparent)]
    Linking(#[from] crate::LinkingError),
    /// This device was restored, and nobody has let it in yet.
    #[error(
        "this device was restored and can only read so far: it writes once it has met another device of the space. Get \
         online while one of them is, and try again"
    )]
    Rejoining,
    /// Others can let this device in.
    #[error("others are in this space, and let this device in once it meets one of them: get online while they are")]
    NotAlone,
    /// The phrase is a recovery phrase, of somebody else.
    #[error("this is another person's recovery phrase: type the one that was shown when this identity was made")]
    OtherPhrase,
    /// An invitation cannot be taken up.
    #[error(transparent)]
    Join(#[from] crate::JoinError),
    /// There is nothing to compare with that device.
    #[error("there is no verification with that device: begin one while both are connected")]
    NoVerification,
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] crate::NameError),
    /// The caller may not do this.
    #[error("this would have no effect: {0}")]
    NotAllowed(crate::membership::Reason),
    /// The date that a guest is to stay until has passed.
    #[error("that date has passed by this device's clock: choose a later one")]
    DateHasPassed,
    /// The caller may not invite.
    #[error("you may not invite people here: ask an admin or owner of the space")]
    MayNotInvite,
    /// Somebody cannot be added to a circle that is post-quantum: this device of theirs has not said how.
    #[error(
        "device {} has published no post-quantum key in this space: set the policy {POST_QUANTUM_CIRCLES} to true, and try again \
         once that device was online; or make a circle of the space's own kind", .0.short()
    )]
    NoKeyPackage(DeviceId),
    /// Something in an operation is out of bounds.
    #[error("this is out of bounds: shorten the name or lower the number of devices")]
    Malformed,
    /// The caller wants to write more at once than one entry holds.
    #[error("this is too much for one change: split it into smaller pieces")]
    TooLarge,
    /// The chunks of a circle would take more than they may on this device.
    #[error(
        "the files of this circle take {used_bytes} bytes on this device and would take {more_bytes} more, over the quota of \
         {quota_bytes}: raise the quota, or remove what is no longer needed"
    )]
    QuotaReached {
        /// What they take.
        used_bytes: u64,
        /// What was to be added at least.
        more_bytes: u64,
        /// What they may take.
        quota_bytes: u64,
    },
    /// The edit itself was refused; the document is as it was.
    #[error(transparent)]
    Document(#[from] CrdtError),
    /// There is nothing to search for, or too much.
    #[error(transparent)]
    Search(#[from] crate::SearchError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// A write failed, and the engine's memory is ahead of the disk: open it again.
    #[error("the last changes could not be written; close and open again to go on from what is on disk")]
    WriteFailed,
    /// A stored record does not make sense.
    #[error(
        "the store holds a damaged record; put back a copy of the data directory, or begin in a new one and join again"
    )]
    Damaged,
    /// The index of a circle's entries lacks a page or holds one that makes no sense. The entries themselves are whole.
    #[error(
        "the index of a space's entries is damaged; close and open again, or run `clave doctor`, and it is made anew"
    )]
    IndexDamaged,
    /// What was searched is damaged. It is dropped, and made anew from the documents.
    #[error("the search index was damaged and is being made anew; search again")]
    SearchIndexDamaged,
    /// A cryptographic operation failed on our own data.
    #[error("a cryptographic operation failed: {0}")]
    Crypto(#[from] CryptoError),
}

impl From<prost::DecodeError> for EngineError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Damaged
    }
}
