//! What can go wrong in this crate.

use crate::DeviceId;

/// An error of the cryptographic layer. Only [`CryptoError::OutOfMemory`] is worth retrying with the same input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A signature was not made by the key it is said to be of.
    #[error("the signature does not match")]
    BadSignature,
    /// A ciphertext was altered, or sealed under another key.
    #[error("could not be decrypted: it was altered, or sealed under another key")]
    BadCiphertext,
    /// Bytes are not an encoding of what they should be.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The passphrase does not open this vault.
    #[error("wrong passphrase: try again, or restore the vault from a backup if its file was damaged")]
    WrongPassphrase,
    /// The vault is wrapped by a passphrase and none was given.
    #[error("the vault is locked: give its passphrase")]
    PassphraseNeeded,
    /// The vault is wrapped by the host, and the host is not at hand.
    #[error("the vault is locked by the system's key store: open it with the app that made it")]
    HostNeeded,
    /// What the host made again is not the vault's key.
    #[error(
        "the system's key store no longer has the key of this vault: restore it from a backup, or link this device anew"
    )]
    WrongHostKey,
    /// The system would not give the memory that checking a passphrase takes.
    #[error("not enough memory to check the passphrase: close other programs and try again")]
    OutOfMemory,
    /// A handshake was asked for a step that is not its next one.
    #[error("the handshake is not at that step")]
    OutOfTurn,
    /// An earlier message could not be read, which ended the handshake or session.
    #[error("the session is over, because a message in it could not be read: start a new one")]
    SessionOver,
    /// A message is longer than this many bytes.
    #[error("too long: at most {0} bytes fit")]
    TooLong(usize),
    /// A group's credential names another device than the key that goes with it.
    #[error("a leaf's credential and its signature key are not of the same device")]
    LeafMismatch,
    /// Something well-formed is not acceptable.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// A key package is of another suite than the group it is to be used in.
    #[error("the key package is not of the group's cipher suite")]
    OtherSuite,
    /// A commit follows another epoch, or is of another group. It may be right for another checkpoint.
    #[error("the commit does not follow this epoch")]
    WrongParent,
    /// A commit removes the device that processes it. There is no next epoch for it.
    #[error("the commit removes this device")]
    Evicted,
    /// None of the key packages at hand is the one that a welcome is for.
    #[error("the welcome is for none of these key packages")]
    NotForUs,
    /// A device that an operation names, or that performs it, is not in the group.
    #[error("device {} is not in the group", .0.short())]
    NotAMember(DeviceId),
    /// In a verification, the other side showed another number than the one that it had committed to.
    #[error(
        "the other device changed its mind halfway: somebody may be in between, so compare safety numbers in person"
    )]
    CommitmentMismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_a_person_says_what_to_do() {
        for (error, text) in [
            (
                CryptoError::WrongPassphrase,
                "wrong passphrase: try again, or restore the vault from a backup if its file was damaged",
            ),
            (CryptoError::PassphraseNeeded, "the vault is locked: give its passphrase"),
            (
                CryptoError::HostNeeded,
                "the vault is locked by the system's key store: open it with the app that made it",
            ),
            (
                CryptoError::WrongHostKey,
                "the system's key store no longer has the key of this vault: restore it from a backup, or link this \
                 device anew",
            ),
            (CryptoError::OutOfMemory, "not enough memory to check the passphrase: close other programs and try again"),
            (
                CryptoError::SessionOver,
                "the session is over, because a message in it could not be read: start a new one",
            ),
            (
                CryptoError::CommitmentMismatch,
                "the other device changed its mind halfway: somebody may be in between, so compare safety numbers in \
                 person",
            ),
            (CryptoError::TooLong(9), "too long: at most 9 bytes fit"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
