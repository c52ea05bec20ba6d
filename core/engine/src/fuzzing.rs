//! Doors for `fuzz/` and the simulator into what is private. Not part of the API.

use clave_crypto::{ContentKey, DeviceKey, Entropy};
use prost::Message as _;

use crate::entry::Envelope;
use crate::proto::{entry, frame};
use crate::{CircleId, Engine, EntryId};

pub mod inside;
mod memory;
pub mod rogue;

pub use memory::Memory;

/// Reads an envelope; its id, if it is one. One that is read must be written as it was.
#[must_use]
pub fn envelope(bytes: &[u8]) -> Option<EntryId> {
    let envelope = Envelope::decode(bytes.to_vec()).ok()?;
    assert_eq!(envelope.bytes, bytes, "an envelope is kept as it came");
    Some(envelope.id)
}

/// What a member can seal, who writes what no honest program would.
pub struct Sealer {
    device: DeviceKey,
    key: ContentKey,
    circle: CircleId,
}

impl Sealer {
    /// With the keys of a member.
    #[must_use]
    pub fn of(engine: &Engine, circle: CircleId) -> Option<Self> {
        let key = engine.circles.get(&circle)?.head_key();
        let key = ContentKey::from_bytes(key.as_bytes().clone());
        Some(Self { device: engine.identity().device_key(), key, circle })
    }

    /// A sync frame with an entry that is in order as far as its signature and seal go, whatever `body` is.
    #[must_use]
    pub fn frame(&self, body: &[u8], now_ms: u64) -> Option<Vec<u8>> {
        let (circle, author) = (self.circle.as_bytes().to_vec(), self.device.id().as_bytes().to_vec());
        // The fields of a message may come in pieces: the body follows what stands for whose it is.
        let mut whole = entry::Entry { author, body: None }.encode_to_vec();
        whole.extend_from_slice(body);
        let mut entropy = Entropy::from_seed(*blake3::hash(body).as_bytes());
        let envelope = Envelope::seal_entry(self.circle, &self.device, &self.key, whole, now_ms, &mut entropy).ok()?;
        let entries = frame::Entries { circle, envelopes: vec![envelope.bytes] };
        Some(frame::Frame { body: Some(frame::frame::Body::Entries(entries)) }.encode_to_vec())
    }

    /// A frame of presence whose seal is in order, whatever is in it.
    #[must_use]
    pub fn presence(&self, here: &[u8]) -> Vec<u8> {
        let mut entropy = Entropy::from_seed(*blake3::hash(here).as_bytes());
        let said = crate::engine::presence::seal(self.circle, self.device.id(), &self.key, here, &mut entropy);
        frame::Frame { body: Some(frame::frame::Body::Presence(said)) }.encode_to_vec()
    }
}
