//! What an app can be told went wrong.

use std::io;

/// What there is to know about an error.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ErrorDetail {
    /// What happened, for programs: `group.cause`, or the group alone. A code never changes its meaning.
    pub code: String,
    /// What happened and what to do next, for people: one sentence in English.
    pub reason: String,
    /// Whether the same call may work later, without anything being changed.
    pub is_retryable: bool,
}

/// Why something did not work. There is one variant per group of causes; the code says which cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
#[error("{}", self.detail().reason)]
pub enum ClaveError {
    /// There is no identity in the directory yet, or there is one already.
    Identity {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The vault did not open: its passphrase is missing or wrong.
    Vault {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The disk, or somebody else who has the directory open.
    Store {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The network could not be set up as asked.
    Network {
        /// More about it.
        detail: ErrorDetail,
    },
    /// An invitation link is none, or was damaged on its way.
    Link {
        /// More about it.
        detail: ErrorDetail,
    },
    /// An invitation was refused.
    Invitation {
        /// More about it.
        detail: ErrorDetail,
    },
    /// A device could not be linked.
    Linking {
        /// More about it.
        detail: ErrorDetail,
    },
    /// A recovery phrase or an export is not what it should be, or this device waits to be let in again.
    Recovery {
        /// More about it.
        detail: ErrorDetail,
    },
    /// Nobody answered in time.
    Unreachable {
        /// More about it.
        detail: ErrorDetail,
    },
    /// What was asked for is not there, or not there yet.
    NotFound {
        /// More about it.
        detail: ErrorDetail,
    },
    /// This person may not do this.
    NotAllowed {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The caller gave something that cannot be used.
    Argument {
        /// More about it.
        detail: ErrorDetail,
    },
    /// A local file could not be read or written.
    File {
        /// More about it.
        detail: ErrorDetail,
    },
    /// What arrived is not what was meant.
    Content {
        /// More about it.
        detail: ErrorDetail,
    },
    /// It was cancelled.
    Cancelled {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The node is paused: resume it.
    Paused {
        /// More about it.
        detail: ErrorDetail,
    },
    /// The node was shut down.
    Stopped {
        /// More about it.
        detail: ErrorDetail,
    },
    /// A bug, or a cause that this version of the bindings has no name for.
    Internal {
        /// More about it.
        detail: ErrorDetail,
    },
}

#[uniffi::export]
impl ClaveError {
    /// What happened, for programs: `group.cause`, or the group alone. A code never changes its meaning.
    #[must_use]
    pub fn code(&self) -> String {
        self.detail().code.clone()
    }

    /// What happened and what to do next, for people: one sentence in English.
    #[must_use]
    pub fn reason(&self) -> String {
        self.detail().reason.clone()
    }

    /// Whether the same call may work later, without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.detail().is_retryable
    }
}

impl ClaveError {
    fn detail(&self) -> &ErrorDetail {
        match self {
            Self::Identity { detail }
            | Self::Vault { detail }
            | Self::Store { detail }
            | Self::Network { detail }
            | Self::Link { detail }
            | Self::Invitation { detail }
            | Self::Linking { detail }
            | Self::Recovery { detail }
            | Self::Unreachable { detail }
            | Self::NotFound { detail }
            | Self::NotAllowed { detail }
            | Self::Argument { detail }
            | Self::File { detail }
            | Self::Content { detail }
            | Self::Cancelled { detail }
            | Self::Paused { detail }
            | Self::Stopped { detail }
            | Self::Internal { detail } => detail,
        }
    }

    fn new(detail: ErrorDetail) -> Self {
        match detail.code.split('.').next().unwrap_or_default() {
            "identity" => Self::Identity { detail },
            "vault" => Self::Vault { detail },
            "store" => Self::Store { detail },
            "network" => Self::Network { detail },
            "link" => Self::Link { detail },
            "invitation" => Self::Invitation { detail },
            "linking" => Self::Linking { detail },
            "recovery" => Self::Recovery { detail },
            "unreachable" => Self::Unreachable { detail },
            "not_found" => Self::NotFound { detail },
            "not_allowed" => Self::NotAllowed { detail },
            "argument" | "verification" | "circle" | "quota" => Self::Argument { detail },
            "file" => Self::File { detail },
            "content" => Self::Content { detail },
            "cancelled" => Self::Cancelled { detail },
            "paused" => Self::Paused { detail },
            "stopped" => Self::Stopped { detail },
            _ => Self::Internal { detail },
        }
    }

    /// A text that should name a `what` does not.
    pub(crate) fn not_an_id(what: &str) -> Self {
        Self::new(ErrorDetail {
            code: "argument.id".to_owned(),
            reason: format!("this is not the id of a {what}: pass one as this library returned it"),
            is_retryable: false,
        })
    }

    /// Something that the caller gave cannot be used, for a reason that says what to give instead.
    pub(crate) fn unusable(code: &str, reason: &impl std::fmt::Display) -> Self {
        Self::new(ErrorDetail { code: format!("argument.{code}"), reason: reason.to_string(), is_retryable: false })
    }

    /// A listener threw something; of `what`, which may be a stack trace, the first line is told.
    pub(crate) fn listener_failed(what: &str) -> Self {
        let what = what.lines().next().unwrap_or_default();
        Self::new(ErrorDetail {
            code: "argument.listener".to_owned(),
            reason: format!("the listener failed ({what}) and is not called any more: mend it, and observe again"),
            is_retryable: false,
        })
    }

    /// A text that should be the address of a relay is not.
    pub(crate) fn no_relay() -> Self {
        Self::new(ErrorDetail {
            code: "argument.relay".to_owned(),
            reason:
                "this is not the address of a relay: pass it as the relay prints it, with /p2p/ and the key at its end"
                    .to_owned(),
            is_retryable: false,
        })
    }

    /// The system gave no threads.
    pub(crate) fn no_threads(error: &io::Error) -> Self {
        Self::new(ErrorDetail {
            code: "internal.threads".to_owned(),
            reason: format!("the system gave no threads ({error}): close other programs and try again"),
            is_retryable: true,
        })
    }
}

impl From<clave::Error> for ClaveError {
    fn from(error: clave::Error) -> Self {
        let (code, is_retryable) = (error.code().to_owned(), error.is_retryable());
        Self::new(ErrorDetail { code, reason: error.to_string(), is_retryable })
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ClaveError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::listener_failed(&error.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_sentence_its_code_and_its_retryability() {
        let busy = ClaveError::from(clave::Error::Store(clave::StoreError::Busy { holder: Some(7) }));
        assert!(matches!(busy, ClaveError::Store { .. }));
        assert_eq!((busy.code().as_str(), busy.is_retryable()), ("store.busy", true));
        assert_eq!(busy.to_string(), "the store is in use by process 7; stop it, or choose another data directory");

        let damaged = ClaveError::from(clave::Error::Link(clave::LinkError::Damaged));
        assert!(matches!(damaged, ClaveError::Link { .. }));
        assert_eq!((damaged.code().as_str(), damaged.is_retryable()), ("link.damaged", false));
        assert_eq!(damaged.reason(), clave::LinkError::Damaged.to_string());
    }

    #[test]
    fn every_group_of_codes_has_its_type() {
        for (error, group) in [
            (clave::Error::NoIdentity, "Identity"),
            (clave::Error::Join(clave::JoinError::Used), "Invitation"),
            (clave::Error::Unreachable("the device"), "Unreachable"),
            (clave::Error::NotFound("note"), "NotFound"),
            (clave::Error::Cancelled, "Cancelled"),
            (clave::Error::Paused, "Paused"),
            (clave::Error::Stopped, "Stopped"),
            (clave::Error::Linking(clave::LinkingError::Used), "Linking"),
            (clave::Error::Account(clave::AccountError::CutShort), "Recovery"),
            (clave::Error::Content(clave::Refusal::BadChunk), "Content"),
            (clave::Error::File { path: "x".to_owned(), source: io::ErrorKind::NotFound.into() }, "File"),
        ] {
            let error = ClaveError::from(error);
            assert!(format!("{error:?}").starts_with(&format!("{group} {{")), "{error:?}");
        }
        assert!(matches!(ClaveError::not_an_id("space"), ClaveError::Argument { .. }));
        assert!(matches!(ClaveError::no_threads(&io::ErrorKind::OutOfMemory.into()), ClaveError::Internal { .. }));
    }
}
