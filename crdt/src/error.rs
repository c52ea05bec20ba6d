//! What can go wrong.

use crate::{ChangeFault, DocumentKind};

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrdtError {
    /// The peer's fault: these bytes are not a change that may enter a document.
    #[error("the change was refused: {0}; ask its author's device for it again")]
    Change(#[from] ChangeFault),
    /// The environment's fault: a stored document does not decode.
    #[error("the stored document is damaged; rebuild it from its changes")]
    DamagedSnapshot,
    /// A peer's fault: the document holds formatting that cannot be stored in one piece.
    #[error("the document cannot be stored in one piece; keep its changes")]
    NotStorable,
    /// The caller's fault: the document is of another kind.
    #[error("this is not a {expected} document; open it as what it is ({found})", found = kind_name(*.found))]
    WrongKind {
        /// The kind that was asked for.
        expected: DocumentKind,
        /// The kind it is, if this build knows it.
        found: Option<DocumentKind>,
    },
    /// The caller's fault: there are local edits that were not committed.
    #[error("there are uncommitted edits; commit or discard them first")]
    Uncommitted,
    /// The caller's fault: something is larger than the schema allows.
    #[error("{what} takes {bytes} bytes, more than the {limit} that are allowed; shorten it")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller's fault: what was named is not in the document.
    #[error("there is no such {0}; it may not have arrived yet")]
    NotFound(&'static str),
    /// The caller's fault: only its author may change this.
    #[error("only its author may change it")]
    NotAuthor,
    /// The caller's fault: the folder already holds something of this name.
    #[error("there is already something of that name; choose another")]
    NameTaken,
    /// The caller's fault: this segment of the chat has all the messages it takes.
    #[error("this part of the chat is full; start the next")]
    SegmentFull,
    /// The caller's fault: the argument does not fit the schema.
    #[error("{0}")]
    Invalid(&'static str),
    /// Our fault: the document's engine failed in a way that it should not.
    #[error("the document could not be changed ({0}); please report this")]
    Internal(&'static str),
}

fn kind_name(kind: Option<DocumentKind>) -> String {
    kind.map_or_else(|| "a kind this version does not know".to_owned(), |kind| kind.to_string())
}
