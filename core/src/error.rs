//! What an application can be told went wrong.

use clave_engine::crypto::CryptoError;
use clave_engine::{EngineError, JoinError, LinkError, NameError, ReadError, Refusal, SealError};
use clave_transport::{AddressError, TransportError};

use crate::StoreError;

/// Why something did not work. Every message says what to do next; [`is_retryable`](Self::is_retryable) says whether
/// the same call may work later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no identity in the data directory yet.
    #[error("there is no identity in this directory yet: create one first")]
    NoIdentity,
    /// There is one already.
    #[error("there is an identity in this directory already: open it, or choose another directory")]
    IdentityExists,
    /// The vault did not open: no passphrase, or a wrong one.
    #[error(transparent)]
    Vault(#[from] CryptoError),
    /// The disk, or somebody else who has the directory open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network could not be set up as asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An address is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An invitation link is not one.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An invitation was refused.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Nobody answered in time.
    #[error("{0} could not be reached: it has to be running and on a network that both can use. Try again when it is")]
    Unreachable(&'static str),
    /// The engine refused.
    #[error(transparent)]
    Engine(EngineError),
    /// What was asked for is not there.
    #[error("there is no such {0} here; it may not have arrived yet")]
    NotFound(&'static str),
    /// A local file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// What arrived is not what was meant.
    #[error("the file's content is damaged and was not written: {0}")]
    Content(Refusal),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The node was shut down.
    #[error("the node was shut down: open it again")]
    Stopped,
}

impl Error {
    /// Whether the same call may work later, without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Unreachable(_) | Self::NotFound(_) => true,
            Self::Join(error) => *error == JoinError::Busy,
            Self::Engine(error) => matches!(error, EngineError::WriteFailed),
            _ => false,
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Join(error) => Self::Join(error),
            error => Self::Engine(error),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Source(source) => Self::File { path: "the source".to_owned(), source },
            _ => Self::Engine(EngineError::TooLarge),
        }
    }
}
