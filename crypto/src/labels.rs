//! Every key derivation label and every domain separator of Clave, in one place.
//!
//! Two uses never share a label. A label is part of the wire or storage format: changing one breaks compatibility.

/// What a signature is about. Each domain is prefixed to the message that is signed, so that a signature made for
/// one purpose is worthless for any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// A person certifies a device.
    DeviceCertificate,
    /// A device accepts to be a person's: nobody can claim a device that is not theirs.
    DeviceConsent,
    /// A device signs an entry.
    Entry,
    /// A device signs an operation of a membership log.
    MembershipOperation,
    /// A device binds itself to an invitation handshake.
    InvitationHandshake,
}

impl Domain {
    /// The separator itself.
    #[must_use]
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::DeviceCertificate => b"clave/1 sign device-certificate\0",
            Self::DeviceConsent => b"clave/1 sign device-consent\0",
            Self::Entry => b"clave/1 sign entry\0",
            Self::MembershipOperation => b"clave/1 sign membership-operation\0",
            Self::InvitationHandshake => b"clave/1 sign invitation-handshake\0",
        }
    }
}
