//! Who wrote an operation.

use std::fmt;

use automerge::{ActorId, ObjId};

/// How much of the author's device id an actor holds, in bytes.
const DEVICE_BYTES: usize = 16;
/// Where the stay ends and the incarnation begins.
const STAY_END: usize = DEVICE_BYTES + 4;
/// Set in the incarnation of an actor that a document took by itself: see [`Actor::successor`].
const SUCCESSOR: u32 = 1 << 31;

/// The author of a change: the first 16 bytes of a device id, then the device's *stay* (4 bytes), then its incarnation (4
/// bytes, big-endian).
///
/// A stay lasts from one admission of a device to its removal, and is named by the first bytes of the id of the
/// operation that brought the device in. So it can be told what a device wrote in which of its stays.
///
/// A device takes a new incarnation when it cannot be sure to know its own last change (say, after a backup was
/// restored), so that it never writes two different changes under one sequence number. The incarnations of stores are
/// below 2^31; those above are taken by a document for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor([u8; Actor::BYTES]);

impl Actor {
    /// Length in bytes.
    pub const BYTES: usize = 24;

    /// The author of every document's genesis change: nobody.
    pub const GENESIS: Self = Self([0; Self::BYTES]);

    /// The actor of a device, by its 32-byte id, in a stay and in an incarnation of its store.
    #[must_use]
    pub fn new(device: [u8; 32], stay: [u8; 4], incarnation: u32) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[..DEVICE_BYTES].copy_from_slice(&device[..DEVICE_BYTES]);
        bytes[DEVICE_BYTES..STAY_END].copy_from_slice(&stay);
        bytes[STAY_END..].copy_from_slice(&incarnation.to_be_bytes());
        Self(bytes)
    }

    /// Wraps raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The first bytes of the device's id.
    #[must_use]
    pub fn device_prefix(&self) -> [u8; 16] {
        self.part(0)
    }

    /// The first bytes of the id of the operation that brought the device in.
    #[must_use]
    pub fn stay(&self) -> [u8; 4] {
        self.part(DEVICE_BYTES)
    }

    /// The incarnation of the device's store.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        u32::from_be_bytes(self.part(STAY_END))
    }

    fn part<const N: usize>(&self, start: usize) -> [u8; N] {
        std::array::from_fn(|at| self.0[start + at])
    }

    /// Whether this is an actor of the device with this id.
    #[must_use]
    pub fn belongs_to(&self, device: &[u8; 32]) -> bool {
        self.0[..DEVICE_BYTES] == device[..DEVICE_BYTES]
    }

    /// Whether both are actors of one device, in whatever stay and incarnation.
    #[must_use]
    pub fn same_author(&self, other: &Self) -> bool {
        self.device_prefix() == other.device_prefix()
    }

    /// Who this author goes on as while the change with this hash, its own, has to wait: to write under the sequence
    /// number of that change would be to write two different changes in one place. It follows from the change and the
    /// incarnation, so a copy of the store that was restored takes another.
    pub(crate) fn successor(&self, waiting: &crate::ChangeHash) -> Self {
        let line = u32::from_be_bytes([waiting[0], waiting[1], waiting[2], waiting[3]]) ^ self.incarnation();
        let mut bytes = self.0;
        bytes[STAY_END..].copy_from_slice(&(line | SUCCESSOR).to_be_bytes());
        Self(bytes)
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
    fn an_actor_belongs_to_its_device_in_every_stay_and_incarnation() {
        let (alice, bob) = ([7; 32], [8; 32]);
        let actor = Actor::new(alice, [1, 2, 3, 4], 3);
        assert!(actor.belongs_to(&alice) && !actor.belongs_to(&bob));
        assert!(
            actor.same_author(&Actor::new(alice, [9; 4], 4)) && !actor.same_author(&Actor::new(bob, [1, 2, 3, 4], 3))
        );
        assert_eq!((actor.device_prefix(), actor.stay(), actor.incarnation()), ([7; 16], [1, 2, 3, 4], 3));
        assert_eq!(actor.to_string(), "070707070707070707070707070707070102030400000003");
        assert_eq!(Actor::from_hex(&actor.to_string()), Some(actor));
        assert_eq!(Actor::from_automerge(&actor.to_automerge()), Some(actor));
    }

    #[test]
    fn a_successor_is_of_the_same_stay_and_no_incarnation_of_a_store() {
        let (actor, restored) = (Actor::new([7; 32], [1; 4], 3), Actor::new([7; 32], [1; 4], 4));
        let successor = actor.successor(&[0x11; 32]);
        assert_eq!((successor.device_prefix(), successor.stay()), (actor.device_prefix(), actor.stay()));
        assert_eq!(successor.incarnation(), 0x9111_1112);
        assert_ne!(successor, restored.successor(&[0x11; 32]));
        assert_ne!(successor, actor.successor(&[0x12; 32]));
    }
}
