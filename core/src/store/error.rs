//! What can go wrong with a store, and what to do about it.

use std::io;

use super::StoreKind;
use clave_engine::ReadError;

/// A failure of a store. Each one says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data directory is open elsewhere.
    #[error("the store is in use by {}; stop it, or choose another data directory", holder_name(*.holder))]
    Busy {
        /// The process that holds it, if it left its id.
        holder: Option<u32>,
    },
    /// The device or the file system failed.
    #[error(
        "the disk failed the store ({0}); check the disk and the permissions of the data directory, then try again"
    )]
    Io(io::ErrorKind),
    /// There is no room, or no quota, left.
    #[error("the disk is full; free some space, then try again")]
    OutOfSpace,
    /// What is on disk is not what was written.
    #[error("the store is damaged; put back a copy of the data directory, or begin in a new one and join again")]
    Damaged,
    /// A later version of Clave wrote the store.
    #[error("the store has format {found} and this version knows up to {supported}; update Clave")]
    TooNew {
        /// The version on disk.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// The data directory holds another kind of store.
    #[error(
        "the data directory holds a {found} store, not {asked}; set the store to {found}, or choose another data directory"
    )]
    WrongKind {
        /// What the directory holds.
        found: StoreKind,
        /// What was asked for.
        asked: StoreKind,
    },
    /// This build was made without that kind of store.
    #[error("this build has no {0} store; take one that was made with the feature `{0}`, or another data directory")]
    NotBuiltIn(StoreKind),
    /// A key or a value is over its limit.
    #[error("a record of {bytes} bytes is over the limit of {bytes_max}; store it in smaller pieces")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StoreError {
    /// Whether the same call may succeed later without anything being repaired or updated.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::OutOfSpace => true,
            Self::Io(kind) => !matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem),
            Self::Damaged
            | Self::TooNew { .. }
            | Self::WrongKind { .. }
            | Self::NotBuiltIn(_)
            | Self::TooLarge { .. } => false,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        error.kind().into()
    }
}

impl From<io::ErrorKind> for StoreError {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::OutOfSpace,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            kind => Self::Io(kind),
        }
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged => Self::Damaged,
            _ => Self::Unreadable,
        }
    }
}

/// A name that is no [`StoreKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such store; choose `redb` or `sled`")]
pub struct UnknownStoreKind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_to_do() {
        let says = [
            (StoreError::Busy { holder: Some(7) }, "in use by process 7; stop it"),
            (StoreError::Busy { holder: None }, "in use by another process; stop it"),
            (StoreError::Io(io::ErrorKind::TimedOut), "(timed out); check the disk"),
            (StoreError::OutOfSpace, "free some space"),
            (StoreError::Damaged, "put back a copy of the data directory"),
            (StoreError::TooNew { found: 9, supported: 1 }, "format 9 and this version knows up to 1; update Clave"),
            (
                StoreError::WrongKind { found: StoreKind::Sled, asked: StoreKind::Redb },
                "holds a sled store, not redb; set the store to sled",
            ),
            (
                StoreError::NotBuiltIn(StoreKind::Sled),
                "has no sled store; take one that was made with the feature `sled`",
            ),
            (StoreError::TooLarge { bytes: 300, bytes_max: 256 }, "of 300 bytes is over the limit of 256; store it"),
        ];
        for (error, words) in says {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(UnknownStoreKind.to_string().contains("choose `redb` or `sled`"));
    }

    #[test]
    fn a_full_disk_is_told_apart_and_worth_a_retry() {
        let full = StoreError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full, StoreError::OutOfSpace);
        assert!(full.is_retryable());
        assert!(StoreError::Busy { holder: None }.is_retryable());
        assert!(!StoreError::from(io::ErrorKind::PermissionDenied).is_retryable());
        assert!(!StoreError::Damaged.is_retryable());
    }

    #[test]
    fn the_engine_learns_damaged_from_unreadable() {
        assert_eq!(ReadError::from(StoreError::Damaged), ReadError::Damaged);
        assert_eq!(ReadError::from(StoreError::Io(io::ErrorKind::TimedOut)), ReadError::Unreadable);
    }
}
