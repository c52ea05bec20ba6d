//! Which cryptography a group agrees on its keys with.

/// The cipher suite of a group, the same for all of its epochs. All else about the two is equal: ChaCha20-Poly1305, SHA-256,
/// Ed25519.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Suite {
    /// Keys by X25519: `MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519` (RFC 9420).
    #[default]
    X25519 = 0,
    /// Keys by X-Wing, which is ML-KEM-768 and X25519 together: what was agreed stays secret as long as one of the two holds,
    /// against a quantum computer too. `MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519`, a code point of openmls and not of
    /// IANA, over draft-connolly-cfrg-xwing-kem. Signatures are Ed25519 all the same.
    XWing = 1,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X25519, Self::XWing];

    /// The number that stands for it on the wire and in storage.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The suite of a number; none if this version does not know it.
    #[must_use]
    pub fn from_number(number: impl Into<u64>) -> Option<Self> {
        let number = number.into();
        Self::ALL.into_iter().find(|suite| u64::from(suite.number()) == number)
    }

    /// Whether what is agreed stays secret from somebody who has a quantum computer later.
    #[must_use]
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, Self::XWing)
    }
}
