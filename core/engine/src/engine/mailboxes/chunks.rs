//! Chunks of files at relays: those of files that this device adds are stored there; those that no member has are asked for.

use super::outbox::{Item, Kind, Order};
use super::*;
use crate::engine::fetch::chunk_key;
use crate::files::{FileContent, Manifest, SEALED_CHUNK_BYTES_MAX};
use crate::proto::frame as proto;

/// The largest file whose chunks are stored at relays, in bytes of its content. Larger ones are fetched from members.
pub const RELAYED_FILE_BYTES_MAX: u64 = 32 << 20;

impl Engine {
    /// Command: has the content of files that were added be stored at the relays of the circle's space, as far as none is larger than
    /// [`RELAYED_FILE_BYTES_MAX`].
    ///
    /// # Errors
    /// If this device is not in the circle, or the store cannot be read.
    pub fn relay_files(&mut self, circle: CircleId, contents: &[FileContent], now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        let order = Order::of_chunk(now_ms);
        for content in contents.iter().filter(|content| content.bytes <= RELAYED_FILE_BYTES_MAX) {
            let Some(sealed) = self.chunk(circle, content.manifest)? else { continue };
            let note = |id: ChunkId| Item { circle, kind: Kind::Chunk, id: *id.as_bytes() };
            self.note_for_relay(note(content.manifest), order, None);
            if let Ok(manifest @ Manifest::Chunks(_)) = content.open_manifest(&sealed) {
                for chunk in manifest.into_chunks() {
                    if self.desk.store.contains(&chunk_key(circle, chunk.id))? {
                        self.note_for_relay(note(chunk.id), order, None);
                    }
                }
            }
        }
        self.finish();
        Ok(())
    }

    /// The relays that can be asked for chunks of a circle.
    pub(in crate::engine) fn relays_with_chunks(&self, circle: CircleId) -> Vec<DeviceId> {
        let open = |relay: &Relay| {
            let session = relay.session.as_ref();
            session.is_some_and(|session| session.open.values().any(|one| one.confirmed && one.of.circle == circle))
        };
        self.mailboxes.relays.iter().filter(|(_, relay)| open(relay)).map(|(id, _)| *id).collect()
    }

    /// Asks a relay for chunks.
    pub(in crate::engine) fn ask_relay_for_chunks(&mut self, id: DeviceId, circle: CircleId, ids: Vec<ChunkId>) {
        let Some(mut session) = self.mailboxes.relays.get_mut(&id).and_then(|relay| relay.session.take()) else {
            return;
        };
        self.get_chunks(id, &mut session, circle, ids);
        if let Some(relay) = self.mailboxes.relays.get_mut(&id) {
            relay.session = Some(session);
        }
    }

    fn get_chunks(&mut self, id: DeviceId, session: &mut Session, circle: CircleId, ids: Vec<ChunkId>) {
        let mailboxes = session.open.values().filter(|one| one.confirmed && one.of.circle == circle);
        let mailboxes: Vec<u8> = mailboxes.take(wire::OPEN_MAX).flat_map(|one| *one.of.id.as_bytes()).collect();
        let get = wire::Get {
            mailboxes: mailboxes.into(),
            kind: wire::Kind::Chunk.into(),
            ids: ids.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<_>>().into(),
            only_whether: false,
        };
        self.ask(id, session, request::Body::Get(get), Asked::Chunks(circle, ids));
    }

    pub(super) fn take_relayed_chunks(
        &mut self,
        id: DeviceId,
        session: &mut Session,
        circle: CircleId,
        mut asked: Vec<ChunkId>,
        blobs: wire::Blobs,
    ) -> Result<(), Failed> {
        if blobs.blobs.is_empty() || blobs.blobs.len() > asked.len() {
            self.relay_lacks(id, circle, &asked);
            return Err(Failed::NONSENSE);
        }
        let left = asked.split_off(blobs.blobs.len());
        let given = asked.into_iter().zip(blobs.blobs).map(|(id, blob)| {
            let sealed = (blob.found && blob.bytes.len() <= SEALED_CHUNK_BYTES_MAX).then_some(blob.bytes);
            proto::Chunk { id: id.as_bytes().to_vec(), sealed }
        });
        let given: Vec<proto::Chunk> = given.collect();
        self.take_given_chunks(id, circle, given);
        if !left.is_empty() {
            self.get_chunks(id, session, circle, left);
        }
        Ok(())
    }

    /// A relay does not give chunks: others are asked.
    pub(super) fn relay_lacks(&mut self, id: DeviceId, circle: CircleId, ids: &[ChunkId]) {
        let none = ids.iter().map(|id| proto::Chunk { id: id.as_bytes().to_vec(), sealed: None });
        let none: Vec<proto::Chunk> = none.collect();
        self.take_given_chunks(id, circle, none);
    }
}
