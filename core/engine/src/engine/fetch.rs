//! Fetching the content of files from whoever has it.

use super::*;
use crate::files::{FileContent, SEALED_CHUNK_BYTES_MAX, SealedChunk, chunk_id};
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Key, Refusal};

/// Chunks that are asked of one peer at a time.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 8;
/// Chunks that may be on their way to one peer before no more are read for it.
pub(crate) const CHUNKS_SENT_MAX: usize = 4;
/// Chunks that a peer may wait for. An honest one has asked for [`CHUNKS_IN_FLIGHT_MAX`] at most, and again for as many
/// after an interruption that was not noticed here.
pub(crate) const CHUNKS_QUEUED_MAX: usize = 4 * CHUNKS_IN_FLIGHT_MAX;

/// Names a fetch while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

#[derive(Default)]
pub(super) struct Fetches {
    next: u64,
    active: BTreeMap<FetchId, Fetch>,
    /// Chunks asked for, by the peer that was asked.
    in_flight: BTreeMap<DeviceId, BTreeSet<(CircleId, ChunkId)>>,
    /// Peers that said they lack a chunk. Forgotten when they connect anew or a fetch begins.
    lacking: BTreeSet<(ChunkId, DeviceId)>,
}

struct Fetch {
    circle: CircleId,
    content: FileContent,
    /// Sizes of the chunks still wanted; the manifest counts nothing.
    wanted: BTreeMap<ChunkId, u64>,
    done_bytes: u64,
}

impl Fetches {
    pub(super) fn lose_peer(&mut self, peer: &DeviceId) {
        self.in_flight.remove(peer);
        self.lacking.retain(|(_, device)| device != peer);
    }

    fn is_asked(&self, circle: CircleId, chunk: ChunkId) -> bool {
        self.in_flight.values().any(|asked| asked.contains(&(circle, chunk)))
    }
}

impl Engine {
    /// Command: keeps a sealed chunk of a file that is about to be added to a drive.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn put_chunk(&mut self, circle: CircleId, chunk: SealedChunk, now_ms: u64) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        self.desk.put(chunk_key(circle, chunk.id), chunk.sealed);
        self.finish();
        Ok(())
    }

    /// A sealed chunk, if it is here.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn chunk(&self, circle: CircleId, id: ChunkId) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.desk.store.read(&chunk_key(circle, id))?)
    }

    /// Command: gets whatever is missing of a file's content from the members that are or come online.
    /// [`Event::FetchProgress`] follows, and [`Event::Fetched`] in the end. What was fetched before counts: an
    /// interrupted fetch goes on where it was.
    ///
    /// # Errors
    /// If this device is not in the circle or the store cannot be read.
    pub fn fetch(&mut self, circle: CircleId, content: FileContent, now_ms: u64) -> Result<FetchId, EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        let id = FetchId(self.fetches.next);
        self.fetches.next += 1;
        self.fetches.lacking.clear();
        let manifest = content.manifest;
        let fetch = Fetch { circle, content, wanted: BTreeMap::from([(manifest, 0)]), done_bytes: 0 };
        self.fetches.active.insert(id, fetch);
        if let Some(sealed) = self.chunk(circle, manifest)? {
            self.take_arrived(circle, manifest, &sealed)?;
        }
        self.finish();
        Ok(id)
    }

    /// Command: stops a fetch. What arrived stays.
    pub fn cancel_fetch(&mut self, id: FetchId) {
        self.fetches.active.remove(&id);
    }

    /// Asks peers for chunks, as many at a time as each may be asked for.
    pub(super) fn pump_fetches(&mut self) {
        if self.fetches.active.is_empty() {
            return;
        }
        let mut asks: BTreeMap<(DeviceId, CircleId), Vec<ChunkId>> = BTreeMap::new();
        let online = self.ready_peers();
        for fetch in self.fetches.active.values() {
            for chunk in fetch.wanted.keys() {
                if self.fetches.is_asked(fetch.circle, *chunk) {
                    continue;
                }
                let in_flight = |peer: &DeviceId| self.fetches.in_flight.get(peer).map_or(0, BTreeSet::len);
                let able = |peer: &&DeviceId| {
                    in_flight(peer) < CHUNKS_IN_FLIGHT_MAX
                        && !self.fetches.lacking.contains(&(*chunk, **peer))
                        && self.speaks_of(peer, &fetch.circle)
                };
                let Some(peer) = online.iter().filter(able).min_by_key(|peer| in_flight(peer)) else { continue };
                self.fetches.in_flight.entry(*peer).or_default().insert((fetch.circle, *chunk));
                asks.entry((*peer, fetch.circle)).or_default().push(*chunk);
            }
        }
        for ((peer, circle), ids) in asks {
            let ids = ids.iter().flat_map(|id| id.as_bytes().iter().copied()).collect();
            let want = proto::ChunkIds { circle: circle.as_bytes().to_vec(), ids };
            self.send(peer, Channel::Bulk, Body::WantChunks(want));
        }
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
            while let Some((circle, id)) = self.next_chunk(&peer) {
                let sealed = self.chunk(circle, id).ok().flatten();
                let chunk = proto::Chunk { circle: circle.as_bytes().to_vec(), id: id.as_bytes().to_vec(), sealed };
                self.send(peer, Channel::Bulk, Body::Chunk(chunk));
            }
        }
    }

    fn next_chunk(&mut self, device: &DeviceId) -> Option<(CircleId, ChunkId)> {
        let peer = self.peers.get_mut(device)?;
        let next = (peer.bulk_in_flight < CHUNKS_SENT_MAX).then(|| peer.chunks.pop_front()).flatten()?;
        // Who was removed since gets nothing more.
        let shared = self.circles.get(&next.0).is_some_and(|circle| circle.is_member(device));
        if shared { Some(next) } else { self.next_chunk(device) }
    }

    pub(super) fn take_chunk(&mut self, peer: DeviceId, chunk: proto::Chunk) -> Result<(), Refusal> {
        let circle = self.shared(peer, &chunk.circle)?;
        let id = ChunkId::try_from(chunk.id.as_slice()).map_err(|_| Refusal::Malformed)?;
        if !self.fetches.in_flight.get_mut(&peer).is_some_and(|asked| asked.remove(&(circle, id))) {
            return Err(Refusal::Unexpected);
        }
        let Some(sealed) = chunk.sealed else {
            self.fetches.lacking.insert((id, peer));
            return Ok(());
        };
        if sealed.len() > SEALED_CHUNK_BYTES_MAX || chunk_id(&sealed) != id {
            self.fetches.lacking.insert((id, peer));
            return Err(Refusal::BadChunk);
        }
        let progressed = self.take_arrived(circle, id, &sealed).map_err(|_| Refusal::BadChunk);
        self.desk.put(chunk_key(circle, id), sealed);
        progressed
    }

    /// Counts a chunk that is here now; a manifest brings further chunks to want.
    fn take_arrived(&mut self, circle: CircleId, id: ChunkId, sealed: &[u8]) -> Result<(), EngineError> {
        let ids: Vec<FetchId> = self.fetches.active.keys().copied().collect();
        for fetch_id in ids {
            let fetch = self.fetches.active.get_mut(&fetch_id).expect("the key was just read");
            let Some(bytes) = (fetch.circle == circle).then(|| fetch.wanted.remove(&id)).flatten() else { continue };
            fetch.done_bytes += bytes;
            if fetch.content.manifest == id {
                let Ok(chunks) = fetch.content.open_manifest(sealed) else {
                    // The drive names a manifest that is not this file's: nothing can ever be fetched by it.
                    self.fetches.active.remove(&fetch_id);
                    self.desk.events.push(Event::FetchFailed { fetch: fetch_id });
                    continue;
                };
                for chunk in chunks {
                    let key = chunk_key(circle, chunk.id);
                    let bytes = u64::from(chunk.bytes);
                    if self.desk.store.read(&key)?.is_some() {
                        fetch.done_bytes += bytes;
                    } else {
                        // A chunk that occurs twice in a file is fetched once and counts for both.
                        *fetch.wanted.entry(chunk.id).or_default() += bytes;
                    }
                }
            }
            let (done_bytes, total_bytes) = (fetch.done_bytes, fetch.content.bytes);
            self.desk.events.push(Event::FetchProgress { fetch: fetch_id, done_bytes, total_bytes });
            if fetch.wanted.is_empty() {
                self.fetches.active.remove(&fetch_id);
                self.desk.events.push(Event::Fetched { fetch: fetch_id });
            }
        }
        Ok(())
    }
}

fn chunk_key(circle: CircleId, id: ChunkId) -> Key {
    Key::new(Keyspace::Chunks, circle.as_bytes(), id.as_bytes())
}
