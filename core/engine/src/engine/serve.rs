//! Chunks of files that are here: keeping them, and giving them to members who ask.

use bytes::Bytes;
use prost::Message as _;

use super::collect::condemned_key;
use super::fetch::{CHUNKS_IN_FLIGHT_MAX, chunk_key};
use super::*;
use crate::Refusal;
use crate::files::SealedChunk;
use crate::proto::frame as proto;

/// Frames of chunks that may be on their way to one peer before no more are read for it.
pub(crate) const CHUNK_FRAMES_SENT_MAX: usize = 16;
/// Chunks that a peer may wait for. An honest one has asked for [`CHUNKS_IN_FLIGHT_MAX`] at most, and again for as many
/// after an interruption that was not noticed here.
pub(crate) const CHUNKS_QUEUED_MAX: usize = 4 * CHUNKS_IN_FLIGHT_MAX;
/// Bytes of chunks after which a frame takes no more.
const CHUNKS_FRAME_BYTES: usize = 512 * 1024;
/// A chunk of fewer bytes is copied to what stands around it.
const PIECE_BYTES_MIN: usize = 16 * 1024;

// The numbers of fields in proto/frame.proto.
const FRAME_CHUNKS: u8 = 7;
const CHUNKS_CIRCLE: u8 = 1;
const CHUNKS_CHUNK: u8 = 2;
const CHUNK_ID: u8 = 1;
const CHUNK_SEALED: u8 = 2;

impl Engine {
    /// Command: keeps sealed chunks of files that are about to be added to a drive.
    ///
    /// # Errors
    /// If this device is not in the circle, or the circle's [quota](Self::set_chunk_quota) has no room for them.
    pub fn put_chunks(
        &mut self,
        circle: CircleId,
        chunks: impl IntoIterator<Item = SealedChunk>,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        let kept = chunks.into_iter().try_for_each(|chunk| {
            if !self.desk.store.contains(&chunk_key(circle, chunk.id))? {
                self.check_room(circle, chunk.sealed.len() as u64)?;
            }
            self.keep_chunk(circle, chunk)
        });
        self.finish();
        kept
    }

    /// Keeps a chunk, unless it is here already.
    pub(super) fn keep_chunk(&mut self, circle: CircleId, chunk: SealedChunk) -> Result<(), EngineError> {
        let key = chunk_key(circle, chunk.id);
        // Whoever wants it again must not lose it for not having wanted it before.
        self.desk.remove_if_there(condemned_key(circle, chunk.id))?;
        if !self.desk.store.contains(&key)? {
            self.count_chunk(circle, chunk.sealed.len() as u64);
            self.desk.put_chunk(key, chunk.sealed);
        }
        Ok(())
    }

    /// A sealed chunk, if it is here and durable.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn chunk(&self, circle: CircleId, id: ChunkId) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.desk.store.read(&chunk_key(circle, id))?)
    }

    pub(super) fn take_want_chunks(&mut self, peer: DeviceId, want: &proto::ChunkIds) -> Result<(), Refusal> {
        let circle = self.shared(peer, &want.circle)?;
        let (ids, rest) = want.ids.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Refusal::Malformed);
        }
        if ids.len() > CHUNKS_IN_FLIGHT_MAX {
            return Err(Refusal::Oversized);
        }
        let waiting = &mut self.peers.get_mut(&peer).expect("a frame comes from who is connected").chunks;
        if waiting.len() + ids.len() > CHUNKS_QUEUED_MAX {
            return Err(Refusal::TooManyHeld);
        }
        waiting.extend(ids.iter().map(|id| (circle, ChunkId::from_bytes(*id))));
        Ok(())
    }

    /// Sends chunks that were asked for as far as each peer takes them.
    pub(super) fn pump_chunks(&mut self) {
        let asked = self.peers.iter().filter(|(_, peer)| !peer.chunks.is_empty());
        for peer in asked.map(|(device, _)| *device).collect::<Vec<_>>() {
            while let Some(chunks) = self.next_chunks(&peer) {
                tracing::trace!(to = %peer.short(), kind = "chunks", "frame");
                self.send_pieces(peer, Channel::Bulk, chunk_frame(&chunks));
            }
        }
    }

    /// The next frame of chunks for a peer, all of one circle.
    fn next_chunks(&mut self, device: &DeviceId) -> Option<proto::Chunks> {
        let peer = self.peers.get_mut(device).filter(|peer| peer.bulk_in_flight < CHUNK_FRAMES_SENT_MAX)?;
        let (mut of, mut chunks, mut bytes) = (None, Vec::new(), 0);
        while bytes < CHUNKS_FRAME_BYTES
            && chunks.len() < CHUNKS_IN_FLIGHT_MAX
            && let Some((circle, id)) = peer.chunks.front().copied()
        {
            if of.is_some_and(|of| of != circle) {
                break;
            }
            peer.chunks.pop_front();
            // Who was removed since gets nothing more.
            if self.circles.get(&circle).is_some_and(|circle| circle.is_member(device)) {
                of = Some(circle);
                let sealed = self.desk.store.read(&chunk_key(circle, id)).ok().flatten().map(Bytes::from);
                bytes += sealed.as_ref().map_or(0, Bytes::len);
                chunks.push(proto::Chunk { id: id.as_bytes().to_vec(), sealed });
            }
        }
        Some(proto::Chunks { circle: of?.as_bytes().to_vec(), chunks })
    }
}

/// Encodes a frame of chunks without copying them together: what `prost` makes of it, in pieces.
fn chunk_frame(chunks: &proto::Chunks) -> Vec<Bytes> {
    let (mut pieces, mut small) = (Vec::new(), Vec::new());
    begin_field(&mut small, FRAME_CHUNKS, chunks.encoded_len());
    begin_field(&mut small, CHUNKS_CIRCLE, chunks.circle.len());
    small.extend_from_slice(&chunks.circle);
    for chunk in &chunks.chunks {
        begin_field(&mut small, CHUNKS_CHUNK, chunk.encoded_len());
        begin_field(&mut small, CHUNK_ID, chunk.id.len());
        small.extend_from_slice(&chunk.id);
        let Some(sealed) = &chunk.sealed else { continue };
        begin_field(&mut small, CHUNK_SEALED, sealed.len());
        if sealed.len() < PIECE_BYTES_MIN {
            small.extend_from_slice(sealed);
        } else {
            pieces.extend([std::mem::take(&mut small).into(), sealed.clone()]);
        }
    }
    pieces.extend((!small.is_empty()).then(|| small.into()));
    pieces
}

/// Begins a field that is so many bytes long.
fn begin_field(frame: &mut Vec<u8>, tag: u8, bytes: usize) {
    const LENGTH_DELIMITED: u8 = 2;
    frame.push(tag << 3 | LENGTH_DELIMITED);
    prost::encode_length_delimiter(bytes, frame).expect("a Vec takes any length");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::frame::Body;

    #[test]
    fn a_frame_in_pieces_is_the_frame_that_prost_encodes() {
        let lengths = [
            vec![],
            vec![None],
            vec![Some(0), Some(PIECE_BYTES_MIN - 1), None],
            vec![Some(PIECE_BYTES_MIN), Some(7), Some(300_000), Some(1)],
            vec![Some(500_000), Some(3_000_000)],
        ];
        for lengths in lengths {
            let chunk = |bytes: Option<usize>| proto::Chunk {
                id: vec![1; 32],
                sealed: bytes.map(|bytes| vec![2; bytes].into()),
            };
            let chunks = proto::Chunks { circle: vec![3; 32], chunks: lengths.into_iter().map(chunk).collect() };
            let pieces = chunk_frame(&chunks);
            assert_eq!(pieces.concat(), proto::Frame { body: Some(Body::Chunks(chunks)) }.encode_to_vec());
        }
    }
}
