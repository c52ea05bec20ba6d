//! What an application can be told went wrong.

use clave_engine::crdt::CrdtError;
use clave_engine::crypto::{CryptoError, PhraseError};
use clave_engine::{
    AccountError, EngineError, JoinError, LinkError, LinkingError, NameError, PendingJoin, ReadError, Refusal,
    SealError,
};
use clave_transport::{AddressError, TransportError};

use crate::{KeyWrappingError, StoreError};

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
    /// There is a device in the data directory that belongs to nobody yet.
    #[error("this device is not linked yet: finish linking it, with a code from another device of yours")]
    NotLinked,
    /// A device could not be linked.
    #[error(transparent)]
    Linking(#[from] LinkingError),
    /// The vault did not open: no passphrase, or a wrong one.
    #[error(transparent)]
    Vault(#[from] CryptoError),
    /// The vault did not open: the host did not give its key.
    #[error(transparent)]
    KeyWrapping(#[from] KeyWrappingError),
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
    /// Nobody answered the request to join so far, but a relay keeps it: it is answered once the inviter's device is online, and
    /// read once this one is.
    #[error(
        "a relay keeps the request to join “{}”: it is answered when the device that made the invitation is online, and this one \
         need not wait", .0.space_name
    )]
    JoinPending(Box<PendingJoin>),
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
    /// A directory that is to be written into holds something else.
    #[error("{0} is not empty: name a directory that is, or does not exist yet, or one with an earlier export")]
    NotEmpty(String),
    /// What arrived is not what was meant.
    #[error("the file's content is damaged and was not written: {0}")]
    Content(Refusal),
    /// An export of an account cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// What was typed is not a recovery phrase.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The node is paused.
    #[error("the node is paused: resume it, then try again")]
    Paused,
    /// The node was shut down.
    #[error("the node was shut down: open it again")]
    Stopped,
}

impl Error {
    /// Names the file that was read.
    pub(crate) fn of_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::File { source, .. } => Self::File { path: path.display().to_string(), source },
            other => other,
        }
    }

    /// Whether the same call may work later, without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::KeyWrapping(error) => error.is_retryable(),
            Self::Unreachable(_) | Self::NotFound(_) | Self::Paused | Self::JoinPending(_) => true,
            Self::Join(error) => *error == JoinError::Busy,
            Self::Linking(error) => *error == LinkingError::Busy,
            Self::Engine(error) => matches!(error, EngineError::WriteFailed | EngineError::Rejoining),
            _ => false,
        }
    }

    /// What happened, for programs: `group.cause`, or the group alone. A code never changes its meaning; a later
    /// version may know more causes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "identity.missing",
            Self::IdentityExists => "identity.exists",
            Self::NotLinked => "identity.not_linked",
            Self::Linking(error) => linking_code(*error),
            Self::Vault(error) => vault_code(error),
            Self::KeyWrapping(KeyWrappingError::Unavailable) => "vault.unavailable",
            Self::KeyWrapping(KeyWrappingError::Cancelled) => "vault.cancelled",
            Self::KeyWrapping(KeyWrappingError::KeyGone) => "vault.key_gone",
            Self::Store(error) => store_code(error),
            Self::Transport(TransportError::BadAddress(_)) | Self::Address(_) => "network.address",
            Self::Transport(_) => "network.unavailable",
            Self::Link(LinkError::NotALink | LinkError::NotALinkCode) => "link.not_a_link",
            Self::Link(LinkError::MistypedCode) => "link.mistyped",
            Self::Link(_) => "link.damaged",
            Self::Join(error) => join_code(*error),
            Self::JoinPending(_) => "invitation.pending",
            Self::Unreachable(_) => "unreachable",
            Self::Engine(error) => engine_code(error),
            Self::NotFound(_) => "not_found",
            Self::File { .. } => "file",
            Self::NotEmpty(_) => "argument.not_empty",
            Self::Content(_) => "content",
            Self::Account(error) => account_code(*error),
            Self::Phrase(_) => "recovery.phrase",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

fn vault_code(error: &CryptoError) -> &'static str {
    match error {
        CryptoError::WrongPassphrase => "vault.wrong_passphrase",
        CryptoError::PassphraseNeeded => "vault.passphrase_needed",
        CryptoError::HostNeeded => "vault.host_needed",
        CryptoError::WrongHostKey => "vault.key_gone",
        CryptoError::OutOfMemory => "vault.out_of_memory",
        _ => "vault.damaged",
    }
}

fn store_code(error: &StoreError) -> &'static str {
    match error {
        StoreError::Busy { .. } => "store.busy",
        StoreError::Io(_) => "store.io",
        StoreError::OutOfSpace => "store.full",
        StoreError::Damaged => "store.damaged",
        StoreError::TooNew { .. } => "store.too_new",
        StoreError::WrongKind { .. } => "store.wrong_kind",
        StoreError::NotBuiltIn(_) => "store.not_built_in",
        StoreError::TooLarge { .. } => "store.too_large",
    }
}

fn account_code(error: AccountError) -> &'static str {
    match error {
        AccountError::NotAnExport => "recovery.not_an_export",
        AccountError::TooNew(_) => "recovery.too_new",
        AccountError::OtherPhrase => "recovery.other_phrase",
        AccountError::CutShort => "recovery.cut_short",
        _ => "recovery.damaged",
    }
}

fn join_code(error: JoinError) -> &'static str {
    match error {
        JoinError::Unknown => "invitation.unknown",
        JoinError::Used => "invitation.used",
        JoinError::Expired => "invitation.expired",
        JoinError::Revoked => "invitation.revoked",
        JoinError::Tampered => "invitation.tampered",
        JoinError::NotAllowed => "invitation.not_allowed",
        JoinError::AlreadyMember => "invitation.already_member",
        JoinError::Busy => "invitation.busy",
        JoinError::PersonThere => "invitation.person_there",
        JoinError::Removed => "invitation.removed",
        _ => "invitation.protocol",
    }
}

fn linking_code(error: LinkingError) -> &'static str {
    match error {
        LinkingError::Unknown => "linking.unknown",
        LinkingError::Used => "linking.used",
        LinkingError::Expired => "linking.expired",
        LinkingError::Declined => "linking.declined",
        LinkingError::Tampered => "linking.tampered",
        LinkingError::AlreadyLinked => "identity.exists",
        LinkingError::Busy => "linking.busy",
        _ => "linking.protocol",
    }
}

fn engine_code(error: &EngineError) -> &'static str {
    match error {
        EngineError::NoSuchCircle | EngineError::NoSuchInvitation => "not_found",
        EngineError::NoVerification => "verification.none",
        EngineError::Join(error) => join_code(*error),
        EngineError::NotLinked => "identity.not_linked",
        EngineError::Linking(error) => linking_code(*error),
        EngineError::Name(_) => "argument.name",
        EngineError::NotAllowed(_) | EngineError::MayNotInvite | EngineError::Document(CrdtError::NotAuthor) => {
            "not_allowed"
        }
        EngineError::TooLarge | EngineError::Document(CrdtError::TooLarge { .. }) => "argument.too_large",
        EngineError::Document(CrdtError::NotFound(_)) => "not_found",
        EngineError::Document(CrdtError::NameTaken) => "argument.name_taken",
        EngineError::Malformed | EngineError::Document(CrdtError::Invalid(_)) => "argument.invalid",
        EngineError::Document(CrdtError::WrongKind { .. }) => "argument.kind",
        EngineError::Store(ReadError::Damaged)
        | EngineError::Damaged
        | EngineError::IndexDamaged
        | EngineError::SearchIndexDamaged => "store.damaged",
        EngineError::Store(_) => "store.io",
        EngineError::Search(_) => "argument.search",
        EngineError::WriteFailed => "store.write_failed",
        EngineError::QuotaReached { .. } => "quota",
        EngineError::Rejoining => "recovery.rejoining",
        EngineError::NotAlone => "recovery.not_alone",
        EngineError::NoKeyPackage(_) => "circle.no_key_package",
        EngineError::OtherPhrase => "recovery.other_phrase",
        _ => "internal",
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Join(error) => Self::Join(error),
            EngineError::Linking(error) => Self::Linking(error),
            EngineError::NotLinked => Self::NotLinked,
            EngineError::Document(CrdtError::NotFound(what)) => Self::NotFound(what),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_may_arrive_wherever_it_was_looked_for() {
        let error = Error::from(EngineError::Document(CrdtError::NotFound("message")));
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "there is no such message here; it may not have arrived yet");
        assert_eq!(error.code(), "not_found");
    }

    #[test]
    fn codes_name_the_cause() {
        for (error, code) in [
            (Error::Vault(CryptoError::WrongPassphrase), "vault.wrong_passphrase"),
            (Error::Store(StoreError::Busy { holder: None }), "store.busy"),
            (Error::Address(AddressError::Malformed), "network.address"),
            (Error::Transport(TransportError::BadAddress(AddressError::Malformed)), "network.address"),
            (Error::Link(LinkError::Damaged), "link.damaged"),
            (EngineError::Join(JoinError::Used).into(), "invitation.used"),
            (NameError::Empty.into(), "argument.name"),
            (EngineError::MayNotInvite.into(), "not_allowed"),
            (ReadError::Unreadable.into(), "store.io"),
            (EngineError::Crypto(CryptoError::BadCiphertext).into(), "internal"),
            (Error::Paused, "paused"),
            (Error::Stopped, "stopped"),
        ] {
            assert_eq!(error.code(), code);
        }
    }
}
