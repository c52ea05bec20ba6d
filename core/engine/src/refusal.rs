//! Why something that arrived was refused.

use std::collections::BTreeMap;

/// The reason an entry, frame or operation from outside was refused. Each is counted; `docs/validation.md` names the
/// test of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not an encoding of what it should be.
    #[error("malformed")]
    Malformed,
    /// Larger than the bound for its kind.
    #[error("too large")]
    Oversized,
    /// Of a format version this build does not read.
    #[error("of an unknown version")]
    UnknownVersion,
    /// Altered, or sealed under another key than it says.
    #[error("its seal is broken")]
    BadSeal,
    /// Not signed by the author it names.
    #[error("its signature is wrong")]
    BadSignature,
    /// Made for another circle.
    #[error("made for another circle")]
    WrongCircle,
    /// Holds nothing this build knows.
    #[error("of an unknown kind")]
    UnknownBody,
    /// The author was never in the circle, or had no right to do this.
    #[error("its author has no right to it")]
    NotAllowed,
    /// A document change by another actor than the entry's author.
    #[error("a change in somebody else's name")]
    ForeignActor,
    /// A commit that does not follow the membership log.
    #[error("a commit that the membership log does not justify")]
    UnjustifiedCommit,
    /// The sender is not in the circle it speaks of.
    #[error("about a circle the sender is not in")]
    NotAMember,
    /// More than may wait at once.
    #[error("more than may wait")]
    TooManyHeld,
    /// A chunk whose hash is not its name.
    #[error("a chunk that is not what was asked for")]
    BadChunk,
    /// An introduction to a circle that leads nowhere, or was not made by a member of it.
    #[error("an introduction to a circle that does not hold")]
    BadIntroduction,
    /// Older than the history policy of its circle lets anything be.
    #[error("expired by the history policy")]
    Expired,
    /// Sealed with a lasting key what must not last, or with another what must.
    #[error("sealed with a key of the wrong kind")]
    WrongKey,
    /// A bundle that holds a change whose author is not proven by it.
    #[error("a bundle of more than its authors signed")]
    Unproven,
    /// In a mailbox into which it does not belong.
    #[error("in a mailbox into which it does not belong")]
    WrongMailbox,
    /// Said more often than is listened to.
    #[error("more often than is listened to")]
    TooOften,
    /// Nobody asked for it.
    #[error("unexpected")]
    Unexpected,
}

impl From<crate::membership::Refusal> for Refusal {
    fn from(refusal: crate::membership::Refusal) -> Self {
        use crate::membership::Refusal as Operation;
        match refusal {
            Operation::TooLong => Self::Oversized,
            Operation::Malformed => Self::Malformed,
            Operation::BadSignature | Operation::BadCertificate => Self::BadSignature,
            Operation::OtherCircle => Self::WrongCircle,
            Operation::UnknownAuthor | Operation::BadRecovery => Self::NotAllowed,
            Operation::TooManyPending => Self::TooManyHeld,
        }
    }
}

/// How often each reason occurred since the engine was opened.
pub type RefusalCounts = BTreeMap<Refusal, u64>;
