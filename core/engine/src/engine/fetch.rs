//! Fetching the content of files from whoever has it. Giving it is `serve.rs`.
//!
//! Every chunk is asked of one peer at a time: of those that may have it, the one that owes least. What a peer does not
//! have, gives wrongly or does not give for long is asked of another. What is asked for follows what became durable, so
//! bytes on their way and bytes that wait for the disk share one bound.

use bytes::Bytes;

use super::*;
use crate::files::{FileContent, Manifest, SEALED_CHUNK_BYTES_MAX, SealedChunk, chunk_id};
use crate::proto::frame as proto;
use crate::proto::frame::frame::Body;
use crate::{Key, Refusal};

/// Chunks that are asked of one peer at a time.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 512;
/// Bytes of chunks that are asked of one peer at a time, as far as sizes are known.
const PEER_BYTES_MAX: u64 = 36 * 1024 * 1024;
/// Bytes of chunks that are asked of all peers together at a time, likewise.
const FETCH_BYTES_MAX: u64 = 40 * 1024 * 1024;
/// So many chunks of a frame may be kept where they came in, and the frame with them, until they are durable: what takes a smaller
/// part of it is copied, so that nobody has large frames be kept for the little that is wanted of them.
const CHUNKS_IN_PLACE_MAX: usize = 4;
/// A peer that owes chunks and gives none for so long is asked for nothing more for as long again if others have them.
const STALL_MS_MAX: u64 = 10_000;
/// How long a peer that said it lacks a chunk, or gave a wrong one, is not asked for it again, in milliseconds.
const LACKING_MS: u64 = 30_000;
/// Chunks and peers of which it is remembered that the one lacks the other. Past it some are forgotten early.
const LACKING_MAX: usize = 65_536;

/// Names a fetch while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

#[derive(Default)]
pub(super) struct Fetches {
    next: u64,
    active: BTreeMap<FetchId, Fetch>,
    sources: BTreeMap<DeviceId, Source>,
    /// Chunks on their way, and who owes them.
    asked: BTreeMap<(CircleId, ChunkId), DeviceId>,
    asked_bytes: u64,
    /// Peers that lack a chunk, and until when that is believed. Forgotten when they connect anew or a fetch begins.
    lacking: BTreeMap<(ChunkId, DeviceId), u64>,
    /// Whether there may be something to ask for.
    changed: bool,
}

/// Who may be asked for chunks of a circle: relays for what no member has.
struct Able {
    members: Vec<DeviceId>,
    relays: Vec<DeviceId>,
}

/// A peer that is asked for chunks.
#[derive(Default)]
struct Source {
    /// What it was asked for, and how many bytes that may be.
    owes: BTreeMap<(CircleId, ChunkId), u64>,
    owed_bytes: u64,
    /// What it owed and another is asked for since. It may still come.
    late: BTreeSet<(CircleId, ChunkId)>,
    heard_ms: u64,
    slow_until_ms: u64,
}

struct Fetch {
    circle: CircleId,
    /// The manifests of its files.
    files: Vec<ChunkId>,
    /// Files whose manifest is not here.
    manifests: BTreeMap<ChunkId, FileContent>,
    /// The chunks still wanted: the bytes of content they count for, and what they may take on their way.
    wanted: BTreeMap<ChunkId, (u64, u64)>,
    /// Of these what is to be asked for, in order of their place in the files; some of it may be here.
    queue: VecDeque<ChunkId>,
    /// Of these what nobody who is connected has.
    stuck: Vec<ChunkId>,
    done_bytes: u64,
    total_bytes: u64,
    /// Whether a manifest is not what the drive says.
    failed: bool,
}

impl Fetch {
    fn want(&mut self, id: ChunkId, content_bytes: u64, sealed_bytes: u64) {
        // A chunk that occurs twice is fetched once and counts for both.
        let (content, _) = self.wanted.entry(id).or_insert_with(|| {
            self.queue.push_back(id);
            (0, sealed_bytes)
        });
        *content += content_bytes;
    }
}

impl Fetches {
    /// What a peer owes will not come from it, and what it has is no longer known.
    pub(super) fn lose_peer(&mut self, peer: &DeviceId) {
        self.lacking.retain(|(_, device), _| device != peer);
        if let Some(source) = self.sources.remove(peer) {
            self.take_back(&source.owes);
        }
        self.look_again();
    }

    /// The manifests of all files of a circle that are being fetched, and the chunks that are still wanted.
    pub(super) fn wanted(&self, circle: CircleId) -> BTreeSet<ChunkId> {
        let fetches = self.active.values().filter(|fetch| fetch.circle == circle);
        fetches.flat_map(|fetch| fetch.files.iter().chain(fetch.wanted.keys())).copied().collect()
    }

    /// Somebody may have what nobody had.
    pub(super) fn look_again(&mut self) {
        for fetch in self.active.values_mut() {
            fetch.queue.extend(std::mem::take(&mut fetch.stuck));
        }
        self.changed = true;
    }

    /// Chunks are to be asked of others.
    fn take_back(&mut self, owes: &BTreeMap<(CircleId, ChunkId), u64>) {
        for ((circle, chunk), bytes) in owes {
            self.asked.remove(&(*circle, *chunk));
            self.asked_bytes -= bytes;
            self.ask_again(*circle, *chunk);
        }
        self.changed = true;
    }

    fn ask_again(&mut self, circle: CircleId, chunk: ChunkId) {
        for fetch in self.active.values_mut().filter(|fetch| fetch.circle == circle) {
            if fetch.wanted.contains_key(&chunk) {
                fetch.queue.push_front(chunk);
            }
        }
    }

    fn lacks(&mut self, peer: DeviceId, chunk: ChunkId, now_ms: u64) {
        if self.lacking.len() >= LACKING_MAX {
            self.lacking.pop_first();
        }
        self.lacking.insert((chunk, peer), now_ms + LACKING_MS);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        if self.active.is_empty() {
            return None;
        }
        let owing = self.sources.values().filter(|source| !source.owes.is_empty());
        let stalls = owing.map(|source| source.heard_ms + STALL_MS_MAX).min();
        let is_stuck = self.active.values().any(|fetch| !fetch.stuck.is_empty());
        let lacking = is_stuck.then(|| self.lacking.values().min().copied()).flatten();
        stalls.into_iter().chain(lacking).min()
    }

    /// Asks others for what a peer owes for too long, and again for what somebody lacked.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let mut overdue = Vec::new();
        for source in self.sources.values_mut() {
            if !source.owes.is_empty() && source.heard_ms + STALL_MS_MAX <= now_ms {
                let owes = std::mem::take(&mut source.owes);
                source.late = owes.keys().copied().collect();
                (source.owed_bytes, source.slow_until_ms) = (0, now_ms + STALL_MS_MAX);
                overdue.push(owes);
            }
        }
        overdue.iter().for_each(|owes| self.take_back(owes));
        let before = self.lacking.len();
        self.lacking.retain(|_, until_ms| *until_ms > now_ms);
        if self.lacking.len() < before {
            self.look_again();
        }
    }

    /// Notes that a peer gave a chunk, or says that it has none. `false` if it was not asked for it.
    fn answered(&mut self, peer: &DeviceId, of: (CircleId, ChunkId), now_ms: u64) -> bool {
        let Some(source) = self.sources.get_mut(peer) else { return false };
        source.heard_ms = now_ms;
        match source.owes.remove(&of) {
            Some(bytes) => {
                source.owed_bytes -= bytes;
                self.asked_bytes -= bytes;
                self.asked.remove(&of);
                self.changed = true;
                true
            }
            None => source.late.remove(&of),
        }
    }

    /// What to ask of whom now, of the peers that may be asked in each circle.
    fn asks(&mut self, able: &BTreeMap<CircleId, Able>, now_ms: u64) -> BTreeMap<(DeviceId, CircleId), Vec<ChunkId>> {
        let mut asks: BTreeMap<_, Vec<ChunkId>> = BTreeMap::new();
        for fetch in self.active.values_mut() {
            let Some(Able { members, relays }) = able.get(&fetch.circle) else { continue };
            if members.is_empty() && relays.is_empty() {
                continue;
            }
            while self.asked_bytes < FETCH_BYTES_MAX
                && let Some(chunk) = fetch.queue.front().copied()
            {
                let of = (fetch.circle, chunk);
                let Some((_, bytes)) = fetch.wanted.get(&chunk).filter(|_| !self.asked.contains_key(&of)) else {
                    fetch.queue.pop_front();
                    continue;
                };
                let may_have = |peer: &&DeviceId| !self.lacking.contains_key(&(chunk, **peer));
                let rank = |peer: &DeviceId| {
                    self.sources.get(peer).map_or((false, 0, 0), |source| {
                        (source.slow_until_ms > now_ms, source.owed_bytes, source.owes.len())
                    })
                };
                let least = |peers: &[DeviceId]| {
                    peers.iter().filter(may_have).map(|peer| (*peer, rank(peer))).min_by_key(|(_, rank)| *rank)
                };
                let Some((peer, (_, owed_bytes, owed))) = least(members).or_else(|| least(relays)) else {
                    fetch.queue.pop_front();
                    fetch.stuck.push(chunk);
                    continue;
                };
                if owed_bytes >= PEER_BYTES_MAX || owed >= CHUNKS_IN_FLIGHT_MAX {
                    break;
                }
                fetch.queue.pop_front();
                let source = self.sources.entry(peer).or_default();
                if source.owes.is_empty() {
                    source.heard_ms = now_ms;
                }
                source.owes.insert(of, *bytes);
                source.owed_bytes += bytes;
                self.asked_bytes += bytes;
                self.asked.insert(of, peer);
                asks.entry((peer, fetch.circle)).or_default().push(chunk);
            }
        }
        asks
    }
}

impl Engine {
    /// Command: gets whatever is missing of the content of files from the members that are or come online.
    /// [`Event::FetchProgress`] follows, and [`Event::Fetched`] in the end. What was fetched before counts: an
    /// interrupted fetch goes on where it was.
    ///
    /// # Errors
    /// If this device is not in the circle, the store cannot be read, or the circle's [quota](Self::set_chunk_quota) has no
    /// room for them.
    pub fn fetch(
        &mut self,
        circle: CircleId,
        contents: impl IntoIterator<Item = FileContent>,
        now_ms: u64,
    ) -> Result<FetchId, EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        let id = FetchId(self.fetches.next);
        self.fetches.next += 1;
        self.fetches.lacking.clear();
        let mut fetch = Fetch {
            circle,
            files: Vec::new(),
            manifests: BTreeMap::new(),
            wanted: BTreeMap::new(),
            queue: VecDeque::new(),
            stuck: Vec::new(),
            done_bytes: 0,
            total_bytes: 0,
            failed: false,
        };
        for content in contents {
            fetch.total_bytes += content.bytes;
            fetch.files.push(content.manifest);
            match self.chunk(circle, content.manifest)? {
                Some(sealed) => self.take_manifest(&mut fetch, &content, &sealed)?,
                None => {
                    fetch.want(content.manifest, 0, content.manifest_bytes());
                    if let Some(same) = fetch.manifests.insert(content.manifest, content) {
                        // Two files of one content: what is fetched for one is there for both.
                        fetch.total_bytes -= same.bytes;
                    }
                }
            }
        }
        self.check_room(circle, fetch.total_bytes - fetch.done_bytes)?;
        self.fetches.active.insert(id, fetch);
        self.fetches.look_again();
        self.report_fetch(id);
        self.finish();
        Ok(id)
    }

    /// Whether all of a content is here.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_content(&self, circle: CircleId, content: &FileContent) -> Result<bool, EngineError> {
        let Some(sealed) = self.chunk(circle, content.manifest)? else { return Ok(false) };
        let Ok(manifest) = content.open_manifest(&sealed) else { return Ok(true) };
        for chunk in manifest.into_chunks() {
            if !self.desk.store.contains(&chunk_key(circle, chunk.id))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Command: stops a fetch. What arrived stays.
    pub fn cancel_fetch(&mut self, id: FetchId) {
        self.fetches.active.remove(&id);
    }

    /// Asks peers for chunks, as many at a time as each may be asked for.
    pub(super) fn pump_fetches(&mut self) {
        if !std::mem::take(&mut self.fetches.changed) || self.fetches.active.is_empty() {
            return;
        }
        let online = self.ready_peers();
        let circles: BTreeSet<CircleId> = self.fetches.active.values().map(|fetch| fetch.circle).collect();
        let able = |circle: CircleId| {
            let members = online.iter().filter(|peer| self.speaks_of(peer, &circle)).copied().collect();
            (circle, Able { members, relays: self.relays_with_chunks(circle) })
        };
        let able: BTreeMap<CircleId, Able> = circles.into_iter().map(able).collect();
        for ((peer, circle), ids) in self.fetches.asks(&able, self.desk.now_ms) {
            if able[&circle].relays.contains(&peer) {
                self.ask_relay_for_chunks(peer, circle, ids);
                continue;
            }
            let ids = ids.iter().flat_map(|id| id.as_bytes().iter().copied()).collect();
            let want = proto::ChunkIds { circle: circle.as_bytes().to_vec(), ids };
            self.send(peer, Channel::Bulk, Body::WantChunks(want));
        }
    }

    /// Takes chunks that lie in a frame of so many bytes.
    pub(super) fn take_chunks(
        &mut self,
        peer: DeviceId,
        mut chunks: proto::Chunks,
        frame_bytes: usize,
    ) -> Result<(), Refusal> {
        let circle = self.shared(peer, &chunks.circle)?;
        if chunks.chunks.len() > CHUNKS_IN_FLIGHT_MAX {
            return Err(Refusal::Oversized);
        }
        for chunk in &mut chunks.chunks {
            chunk.sealed = chunk.sealed.take().map(|sealed| kept_of(frame_bytes, sealed));
        }
        self.take_given_chunks(peer, circle, chunks.chunks);
        Ok(())
    }

    /// Takes what a peer or a relay gave, or says that it lacks.
    pub(super) fn take_given_chunks(&mut self, peer: DeviceId, circle: CircleId, chunks: Vec<proto::Chunk>) {
        let mut came_further = BTreeSet::new();
        for chunk in chunks {
            // A bad one says nothing of the others.
            if let Err(refusal) = self.take_chunk(peer, circle, chunk, &mut came_further) {
                self.desk.refuse(refusal);
            }
        }
        came_further.into_iter().for_each(|fetch| self.report_fetch(fetch));
    }

    fn take_chunk(
        &mut self,
        peer: DeviceId,
        circle: CircleId,
        chunk: proto::Chunk,
        came_further: &mut BTreeSet<FetchId>,
    ) -> Result<(), Refusal> {
        let id = ChunkId::try_from(chunk.id.as_slice()).map_err(|_| Refusal::Malformed)?;
        let now_ms = self.desk.now_ms;
        if !self.fetches.answered(&peer, (circle, id), now_ms) {
            return Err(Refusal::Unexpected);
        }
        let is_good = |sealed: &Bytes| sealed.len() <= SEALED_CHUNK_BYTES_MAX && chunk_id(sealed) == id;
        let was_given = chunk.sealed.is_some();
        let Some(sealed) = chunk.sealed.filter(is_good) else {
            self.fetches.lacks(peer, id, now_ms);
            self.fetches.ask_again(circle, id);
            return if was_given { Err(Refusal::BadChunk) } else { Ok(()) };
        };
        let wanted = self.fetches.active.iter().filter(|(_, fetch)| fetch.circle == circle);
        let of: Vec<FetchId> =
            wanted.filter(|(_, fetch)| fetch.wanted.contains_key(&id)).map(|(fetch, _)| *fetch).collect();
        for fetch_id in &of {
            let mut fetch = self.fetches.active.remove(fetch_id).expect("the key was just read");
            let (bytes, _) = fetch.wanted.remove(&id).expect("the key was just read");
            fetch.done_bytes += bytes;
            let content = fetch.manifests.remove(&id);
            let taken = content.map_or(Ok(()), |content| self.take_manifest(&mut fetch, &content, &sealed));
            self.fetches.active.insert(*fetch_id, fetch);
            taken.map_err(|_| Refusal::BadChunk)?;
        }
        came_further.extend(of);
        self.keep_chunk(circle, SealedChunk { id, sealed }).map_err(|_| Refusal::BadChunk)
    }

    /// What is to be fetched by a manifest that is here.
    fn take_manifest(&mut self, fetch: &mut Fetch, content: &FileContent, sealed: &[u8]) -> Result<(), EngineError> {
        match content.open_manifest(sealed) {
            Ok(Manifest::Content(small)) => fetch.done_bytes += small.len() as u64,
            Ok(Manifest::Chunks(chunks)) => {
                for chunk in chunks {
                    let bytes = u64::from(chunk.bytes);
                    if self.desk.store.contains(&chunk_key(fetch.circle, chunk.id))? {
                        fetch.done_bytes += bytes;
                    } else {
                        // Padding adds an eighth at most.
                        fetch.want(chunk.id, bytes, bytes + bytes / 8);
                    }
                }
            }
            // The drive names a manifest that is not this file's: nothing can ever be fetched by it.
            Err(_) => fetch.failed = true,
        }
        Ok(())
    }

    /// Tells how far a fetch is; ends it if that is all.
    fn report_fetch(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.active.get(&id) else { return };
        let (done_bytes, total_bytes, failed) = (fetch.done_bytes, fetch.total_bytes, fetch.failed);
        let is_done = fetch.wanted.is_empty();
        self.desk.events.push(Event::FetchProgress { fetch: id, done_bytes, total_bytes });
        if is_done {
            self.fetches.active.remove(&id);
            self.desk.events.push(if failed { Event::FetchFailed { fetch: id } } else { Event::Fetched { fetch: id } });
        }
    }
}

pub(super) fn chunk_key(circle: CircleId, id: ChunkId) -> Key {
    Key::new(Keyspace::Chunks, circle.as_bytes(), id.as_bytes())
}

/// A chunk that lies in a frame of so many bytes, as it is kept: see [`CHUNKS_IN_PLACE_MAX`].
fn kept_of(frame_bytes: usize, sealed: Bytes) -> Bytes {
    if sealed.len() < frame_bytes / CHUNKS_IN_PLACE_MAX { Bytes::copy_from_slice(&sealed) } else { sealed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_frame_is_not_kept_for_a_small_chunk() {
        let frame = Bytes::from(vec![7; 1_000]);
        let lies_in = |sealed: &Bytes| frame.as_ptr_range().contains(&sealed.as_ptr());
        assert!(lies_in(&kept_of(frame.len(), frame.slice(100..350))));
        let copied = kept_of(frame.len(), frame.slice(100..349));
        assert!(!lies_in(&copied));
        assert_eq!(copied, frame[100..349]);
    }
}
