//! What goes wrong, as a person or a script is told.

use std::fmt;

use clave::{
    AccountError, CrdtError, CryptoError, EngineError, Error, JoinError, LinkError, LinkingError, PhraseError,
    StoreError,
};
use serde::{Deserialize, Serialize};

/// The kinds of failure that a script can tell apart. Their exit codes are documented in `clave --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// Something did not work.
    Failed,
    /// The command cannot mean what was typed.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Somebody, or a rule, said no.
    Refused,
    /// Nobody answered in time.
    Unreachable,
    /// Another process holds the data directory.
    Busy,
    /// Ctrl-C.
    Interrupted,
}

impl Code {
    pub(crate) fn exit(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::Busy => 6,
            Self::Interrupted => 130,
        }
    }
}

/// A failure: a sentence, and what to do about it where the sentence does not say so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// A finer word for some refusals (`used`, `expired`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, reason: None, message: message.to_string(), hint: None }
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }

    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self::new(Code::Unreachable, message)
    }

    /// With something to do next.
    pub(crate) fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// With a word for scripts.
    pub(crate) fn reason(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// A file of the person's own could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Failed };
        // What `std` says of text that is none tells nobody which file to take instead.
        let what = match error.kind() {
            std::io::ErrorKind::InvalidData => {
                "this is not a text file in UTF-8: give another, or save it as UTF-8".to_owned()
            }
            _ => error.to_string(),
        };
        Self::new(code, format!("{}: {what}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(code_of(&error), &error);
        match &error {
            Error::NoIdentity => {
                failure.hint("`clave init` creates one here; `--dir` or CLAVE_DIR name another data directory")
            }
            Error::IdentityExists => failure.hint("`clave whoami` says whose it is"),
            Error::Join(join) => match reason_of(*join) {
                Some(reason) => failure.reason(reason),
                None => failure,
            },
            Error::Linking(LinkingError::Declined) => failure.reason("declined"),
            Error::NotLinked => failure.reason("not_linked").hint("`clave init --link CODE` goes on with it"),
            Error::Account(AccountError::NotAnExport) => failure.reason("not_an_export"),
            Error::Account(AccountError::OtherPhrase) | Error::Engine(EngineError::OtherPhrase) => {
                failure.reason("other_phrase")
            }
            Error::Account(AccountError::CutShort | AccountError::Damaged) => failure.reason("damaged"),
            Error::Engine(EngineError::Rejoining) => {
                failure.reason("rejoining").hint("`clave run` brings this device online; `clave status` says where it waits")
            }
            Error::Link(LinkError::NotALink) => failure.reason("not_a_link"),
            Error::Link(_) => failure.reason("damaged"),
            Error::Store(StoreError::Busy { holder }) => failure.hint(match holder {
                Some(pid) => format!(
                    "process {pid} does not answer on the socket of the data directory: wait until it is done, or end it"
                ),
                None => "wait until it is done, or end it".to_owned(),
            }),
            Error::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                failure.hint("the disk is full: free some space, then try again; nothing that was there is changed")
            }
            Error::Vault(CryptoError::PassphraseNeeded) => {
                failure.hint("set CLAVE_PASSPHRASE, or run this in a terminal to be asked for it")
            }
            _ => failure,
        }
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::NoIdentity | Error::NotFound(_) => Code::NotFound,
        Error::Vault(CryptoError::WrongPassphrase | CryptoError::PassphraseNeeded)
        | Error::Link(_)
        | Error::Account(_)
        | Error::IdentityExists
        | Error::NotEmpty(_) => Code::Refused,
        Error::Store(StoreError::Busy { .. }) => Code::Busy,
        Error::Join(JoinError::Busy) | Error::Linking(LinkingError::Busy) | Error::Unreachable(_) => Code::Unreachable,
        Error::Join(_) | Error::Linking(_) | Error::NotLinked => Code::Refused,
        Error::Address(_) => Code::Usage,
        Error::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Code::NotFound,
        Error::Engine(error) => match error {
            EngineError::NoSuchCircle | EngineError::NoSuchInvitation => Code::NotFound,
            EngineError::NotAllowed(_)
            | EngineError::MayNotInvite
            | EngineError::Rejoining
            | EngineError::NotAlone
            | EngineError::NoKeyPackage(_)
            | EngineError::OtherPhrase => Code::Refused,
            EngineError::Name(_) | EngineError::Search(_) => Code::Usage,
            EngineError::Document(CrdtError::NotFound(_)) => Code::NotFound,
            EngineError::Document(CrdtError::NotAuthor) => Code::Refused,
            EngineError::Document(CrdtError::NameTaken | CrdtError::TooLarge { .. } | CrdtError::Invalid(_)) => {
                Code::Usage
            }
            _ => Code::Failed,
        },
        _ => Code::Failed,
    }
}

fn reason_of(error: JoinError) -> Option<&'static str> {
    Some(match error {
        JoinError::Unknown => "unknown",
        JoinError::Used => "used",
        JoinError::Expired => "expired",
        JoinError::Revoked => "revoked",
        JoinError::Tampered => "tampered",
        JoinError::NotAllowed => "not_allowed",
        JoinError::Protocol => "protocol",
        JoinError::AlreadyMember => "already_member",
        _ => return None,
    })
}

impl From<CrdtError> for Failure {
    fn from(error: CrdtError) -> Self {
        Error::from(EngineError::Document(error)).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<PhraseError> for Failure {
    fn from(error: PhraseError) -> Self {
        Self::new(Code::Usage, error).reason("phrase")
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Error::from(error).into()
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(format!("a message between two clave processes could not be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_exit_code() {
        let join = |error| Failure::from(Error::Join(error));
        for (failure, exit, reason) in [
            (Failure::from(Error::NoIdentity), 3, None),
            (Failure::from(Error::Stopped), 1, None),
            (join(JoinError::Used), 4, Some("used")),
            (join(JoinError::Expired), 4, Some("expired")),
            (join(JoinError::Revoked), 4, Some("revoked")),
            (join(JoinError::Tampered), 4, Some("tampered")),
            (Failure::from(LinkError::Damaged), 4, Some("damaged")),
            (Failure::from(Error::Unreachable("Alice")), 5, None),
            (Failure::from(StoreError::Busy { holder: Some(7) }), 6, None),
            (Failure::from(PhraseError::UnknownWord(7)), 2, Some("phrase")),
            (Failure::from(Error::Account(AccountError::CutShort)), 4, Some("damaged")),
            (Failure::from(Error::Engine(EngineError::OtherPhrase)), 4, Some("other_phrase")),
            (Failure::from(CrdtError::NotAuthor), 4, None),
            (Failure::from(CrdtError::NotFound("note")), 3, None),
        ] {
            assert_eq!((failure.code.exit(), failure.reason.as_deref()), (exit, reason), "{failure}");
        }
        assert!(Failure::from(StoreError::Busy { holder: Some(7) }).hint.unwrap().contains("process 7"));
        assert!(Failure::from(Error::NoIdentity).hint.unwrap().contains("clave init"));
    }
}
