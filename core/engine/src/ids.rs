//! Newtyped identifiers.

use std::fmt;
use std::str::FromStr;

/// Bytes or text that are not the identifier they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct NotAnId(&'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Wraps raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first ten characters, for logs and lists.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..10].to_owned()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = NotAnId;

            fn try_from(bytes: &[u8]) -> Result<Self, NotAnId> {
                Ok(Self(bytes.try_into().map_err(|_| NotAnId($what))?))
            }
        }

        /// Lower-case base32.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let bytes = data_encoding::BASE32_NOPAD
                    .decode(text.to_ascii_uppercase().as_bytes())
                    .map_err(|_| NotAnId($what))?;
                Self::try_from(bytes.as_slice())
            }
        }
    };
}

id!(
    /// A circle: an audience with its own membership log and its own MLS group. The hash of its genesis operation.
    CircleId,
    32,
    "circle id"
);
id!(
    /// One Automerge document of one circle.
    DocumentId,
    16,
    "document id"
);
id!(
    /// An entry: the BLAKE3 hash of its sealed envelope.
    EntryId,
    32,
    "entry id"
);
id!(
    /// An operation of a membership log: the BLAKE3 hash of its encoding, signature included.
    OperationId,
    32,
    "operation id"
);
id!(
    /// A chunk of a file: the BLAKE3 hash of its ciphertext.
    ChunkId,
    32,
    "chunk id"
);
id!(
    /// An invitation: random, not secret.
    InvitationId,
    16,
    "invitation id"
);

/// A space is named by its root circle.
pub type SpaceId = CircleId;

impl DocumentId {
    /// The id of a document that every member finds without being told: the `number`th of its kind in a circle.
    #[must_use]
    pub fn well_known(circle: CircleId, kind: clave_crdt::DocumentKind, number: u32) -> Self {
        let name = [circle.as_bytes().as_slice(), &[kind.number()], &number.to_be_bytes()].concat();
        let hash = clave_crypto::hash(clave_crypto::HashContext::WellKnownDocument, &name);
        Self(*hash.first_chunk().expect("a hash is longer than a document id"))
    }
}
