//! Who wrote an operation.

use std::fmt;

use automerge::{ActorId, ObjId};

/// The length of an actor in bytes.
const ACTOR_BYTES: usize = 20;
/// How much of the author's device id an actor holds, in bytes.
const AUTHOR_BYTES: usize = 16;

/// The author of a change: the first 16 bytes of a device id, then the device's incarnation (big-endian).
///
/// A device takes a new incarnation when it cannot be sure to know its own last change (say, after a backup was
/// restored), so that it never writes two different changes under one sequence number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor([u8; ACTOR_BYTES]);

impl Actor {
    /// The author of every document's genesis change: nobody.
    pub const GENESIS: Self = Self([0; ACTOR_BYTES]);

    /// The actor of a device, by its 32-byte id, in its given incarnation.
    #[must_use]
    pub fn new(author: [u8; 32], incarnation: u32) -> Self {
        let mut bytes = [0; ACTOR_BYTES];
        bytes[..AUTHOR_BYTES].copy_from_slice(&author[..AUTHOR_BYTES]);
        bytes[AUTHOR_BYTES..].copy_from_slice(&incarnation.to_be_bytes());
        Self(bytes)
    }

    /// Wraps raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ACTOR_BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ACTOR_BYTES] {
        &self.0
    }

    /// The incarnation of the device.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[AUTHOR_BYTES..]);
        u32::from_be_bytes(bytes)
    }

    /// Whether this is an actor of the device with this id.
    #[must_use]
    pub fn belongs_to(&self, author: &[u8; 32]) -> bool {
        self.0[..AUTHOR_BYTES] == author[..AUTHOR_BYTES]
    }

    /// Whether both are actors of one device, in whatever incarnation.
    #[must_use]
    pub fn same_author(&self, other: &Self) -> bool {
        self.0[..AUTHOR_BYTES] == other.0[..AUTHOR_BYTES]
    }

    /// Reads what `Display` writes.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn from_automerge(id: &ActorId) -> Option<Self> {
        id.to_bytes().try_into().ok().map(Self)
    }

    pub(crate) fn to_automerge(self) -> ActorId {
        ActorId::from(self.0)
    }

    /// Who wrote the operation with this id. Changes of other shapes of actor are refused, so the fallback (nobody) is
    /// only reached by the root, which nobody wrote.
    pub(crate) fn of_operation(id: &ObjId) -> Self {
        match id {
            ObjId::Id(_, actor, _) => Self::from_automerge(actor).unwrap_or(Self::GENESIS),
            ObjId::Root => Self::GENESIS,
        }
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({:.8}…/{})", self.to_string(), self.incarnation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_belongs_to_its_device_in_every_incarnation() {
        let (alice, bob) = ([7; 32], [8; 32]);
        let actor = Actor::new(alice, 3);
        assert!(actor.belongs_to(&alice) && !actor.belongs_to(&bob));
        assert!(actor.same_author(&Actor::new(alice, 4)) && !actor.same_author(&Actor::new(bob, 3)));
        assert_eq!(actor.incarnation(), 3);
        assert_eq!(actor.to_string(), "0707070707070707070707070707070700000003");
        assert_eq!(Actor::from_hex(&actor.to_string()), Some(actor));
        assert_eq!(Actor::from_automerge(&actor.to_automerge()), Some(actor));
    }
}
