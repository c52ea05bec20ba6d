//! The content of files: cut by content, sealed chunk by chunk, named by the hash of the sealed bytes.
//!
//! Pure: chunks go to the store by [`Engine::put_chunk`](crate::Engine::put_chunk) and come from members by
//! [`Engine::fetch`](crate::Engine::fetch).

use std::io::Read;

use bytes::Bytes;
use clave_crypto::{ChunkKey, HashContext, hash, open_chunk, seal_chunk};
use fastcdc::v2020::FastCDC;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::proto::file as proto;
use crate::{ChunkId, Refusal};

/// The least, usual and greatest chunk, in bytes of content.
pub const CHUNK_BYTES: (usize, usize, usize) = (64 * 1024, 256 * 1024, 1024 * 1024);
/// The greatest sealed chunk, in bytes. A manifest may be larger than a chunk of content.
pub const SEALED_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Content of at most so many bytes stands in the manifest itself.
pub const SMALL_CONTENT_BYTES_MAX: usize = 32 * 1024;
/// Bytes of content that are read ahead.
const CUTTER_BYTES: usize = 8 * 1024 * 1024;
/// The most chunks a manifest may name.
const MANIFEST_CHUNKS_MAX: usize = 50_000;

/// Where the content of a file is: its manifest, and the key to it. Part of a drive document.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The sealed manifest.
    pub manifest: ChunkId,
    /// The key of the manifest.
    pub manifest_key: [u8; 32],
    /// The size of the content in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub content_hash: [u8; 32],
}

/// A chunk as it is stored and sent.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedChunk {
    /// The hash of the sealed bytes.
    pub id: ChunkId,
    /// Ciphertext.
    pub sealed: Bytes,
}

/// What a manifest says: where the content is, or the content itself if it is small.
pub enum Manifest {
    /// The chunks, in order.
    Chunks(Vec<ChunkRef>),
    /// The content: at most [`SMALL_CONTENT_BYTES_MAX`] bytes.
    Content(Vec<u8>),
}

/// What a manifest says of one chunk.
pub struct ChunkRef {
    /// The sealed chunk.
    pub id: ChunkId,
    key: ChunkKey,
    /// Bytes of content in it.
    pub bytes: u32,
}

/// Content that could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The source failed.
    #[error("the file could not be read: {0}")]
    Source(#[from] std::io::Error),
    /// More chunks than a manifest may name.
    #[error("the file is too large: at most about 12 GB can be shared as one file")]
    TooLarge,
}

/// Reads `source` to its end, hands each sealed chunk to `keep`, the manifest last.
///
/// `keep` is told the bytes of content read so far, for progress; it returns `false` to cancel, and then the result is
/// `None`. The same content under the same secret gives the same chunks, so what is there already need not be kept.
/// Whoever has threads to spare does the same with a [`Cutter`], [`seal_piece`] and a [`ManifestWriter`].
///
/// # Errors
/// If the source fails or is too large.
pub fn seal_content(
    convergence_secret: &[u8; 32],
    source: impl Read,
    mut keep: impl FnMut(SealedChunk, u64) -> bool,
) -> Result<Option<FileContent>, SealError> {
    let (mut cutter, mut manifest) = (Cutter::new(source), ManifestWriter::default());
    while let Some(piece) = cutter.next_piece()? {
        if cutter.is_small() {
            manifest.put_content(piece);
        } else {
            let (chunk, named) = seal_piece(convergence_secret, &piece);
            manifest.push(named)?;
            if !keep(chunk, cutter.bytes()) {
                return Ok(None);
            }
        }
    }
    let (content, chunk) = manifest.finish(convergence_secret, cutter.content_hash(), cutter.bytes());
    Ok(keep(chunk, content.bytes).then_some(content))
}

/// Cuts content into pieces, at places that follow from the content alone.
pub struct Cutter<R> {
    source: R,
    /// What was read and not handed out begins at `start`.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> Cutter<R> {
    /// Cuts what `source` gives until its end.
    pub fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), start: 0, ended: false, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// The next piece; none when that was all.
    ///
    /// # Errors
    /// If the source fails.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SealError> {
        let (least, usual, greatest) = CHUNK_BYTES;
        if !self.ended && self.buffer.len() - self.start < greatest {
            self.buffer.drain(..self.start);
            self.start = 0;
            let room = (CUTTER_BYTES - self.buffer.len()) as u64;
            self.ended = ((&mut self.source).take(room).read_to_end(&mut self.buffer)? as u64) < room;
        }
        let rest = &self.buffer[self.start..];
        let Some(cut) = FastCDC::new(rest, least, usual, greatest).next() else { return Ok(None) };
        let piece = rest[..cut.length].to_vec();
        self.hasher.update(&piece);
        self.start += piece.len();
        self.bytes += piece.len() as u64;
        Ok(Some(piece))
    }

    /// Bytes of content that were handed out so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the piece that was handed out is all there is, and small enough to stand in the manifest.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.ended && self.start == self.buffer.len() && self.bytes <= SMALL_CONTENT_BYTES_MAX as u64
    }

    /// BLAKE3 of what was handed out.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// Seals one piece of content; the second is for the manifest.
#[must_use]
pub fn seal_piece(convergence_secret: &[u8; 32], piece: &[u8]) -> (SealedChunk, ChunkRef) {
    let (key, sealed) = seal_chunk(convergence_secret, piece);
    let chunk = SealedChunk { id: chunk_id(&sealed), sealed: sealed.into() };
    let named =
        ChunkRef { id: chunk.id, key, bytes: u32::try_from(piece.len()).expect("a piece is at most a mebibyte") };
    (chunk, named)
}

/// Gathers what a manifest says.
#[derive(Default)]
pub struct ManifestWriter(proto::Manifest);

impl ManifestWriter {
    /// Adds the next chunk.
    ///
    /// # Errors
    /// If there are too many.
    pub fn push(&mut self, chunk: ChunkRef) -> Result<(), SealError> {
        if self.0.chunks.len() == MANIFEST_CHUNKS_MAX {
            return Err(SealError::TooLarge);
        }
        let (id, key) = (chunk.id.as_bytes().to_vec(), chunk.key.as_bytes().to_vec());
        self.0.chunks.push(proto::ChunkRef { id, key, bytes: chunk.bytes });
        Ok(())
    }

    /// Puts all of the content into the manifest: at most [`SMALL_CONTENT_BYTES_MAX`] bytes.
    pub fn put_content(&mut self, content: Vec<u8>) {
        debug_assert!(content.len() <= SMALL_CONTENT_BYTES_MAX);
        self.0.content = content;
    }

    /// Seals the manifest.
    #[must_use]
    pub fn finish(
        mut self,
        convergence_secret: &[u8; 32],
        content_hash: [u8; 32],
        bytes: u64,
    ) -> (FileContent, SealedChunk) {
        self.0.content_hash = content_hash.to_vec();
        let (key, sealed) = seal_chunk(convergence_secret, &self.0.encode_to_vec());
        let manifest = chunk_id(&sealed);
        let content = FileContent { manifest, manifest_key: **key.as_bytes(), bytes, content_hash };
        (content, SealedChunk { id: manifest, sealed: sealed.into() })
    }
}

/// The name of a sealed chunk.
pub(crate) fn chunk_id(sealed: &[u8]) -> ChunkId {
    ChunkId::from_bytes(hash(HashContext::Chunk, sealed))
}

impl FileContent {
    /// Opens the manifest and checks it against what the drive says of the file.
    ///
    /// # Errors
    /// If it does not open, is malformed, or is another file's.
    pub fn open_manifest(&self, sealed: &[u8]) -> Result<Manifest, Refusal> {
        let key = ChunkKey::from_bytes(Zeroizing::new(self.manifest_key));
        let manifest = open_chunk(&key, sealed.to_vec()).map_err(|_| Refusal::BadChunk)?;
        let manifest = proto::Manifest::decode(manifest.as_slice()).map_err(|_| Refusal::BadChunk)?;
        let total: u64 = manifest.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        if manifest.content_hash != self.content_hash || total + manifest.content.len() as u64 != self.bytes {
            return Err(Refusal::BadChunk);
        }
        if manifest.chunks.len() > MANIFEST_CHUNKS_MAX || manifest.content.len() > SMALL_CONTENT_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        if manifest.chunks.is_empty() {
            let is_it = *blake3::hash(&manifest.content).as_bytes() == self.content_hash;
            return if is_it { Ok(Manifest::Content(manifest.content)) } else { Err(Refusal::BadChunk) };
        }
        if !manifest.content.is_empty() {
            return Err(Refusal::BadChunk);
        }
        let read = |chunk: proto::ChunkRef| {
            let key = Zeroizing::new(<[u8; 32]>::try_from(chunk.key.as_slice()).ok()?);
            let id = ChunkId::try_from(chunk.id.as_slice()).ok()?;
            Some(ChunkRef { id, key: ChunkKey::from_bytes(key), bytes: chunk.bytes })
        };
        let chunks: Option<_> = manifest.chunks.into_iter().map(read).collect();
        chunks.map(Manifest::Chunks).ok_or(Refusal::BadChunk)
    }

    /// What the sealed manifest takes at most if it is well made, in bytes.
    pub(crate) fn manifest_bytes(&self) -> u64 {
        let least = CHUNK_BYTES.0 as u64;
        let small = if self.bytes <= SMALL_CONTENT_BYTES_MAX as u64 { self.bytes } else { self.bytes / least * 80 };
        (small + 256).min(SEALED_CHUNK_BYTES_MAX as u64)
    }
}

impl Manifest {
    /// The chunks it names.
    #[must_use]
    pub fn into_chunks(self) -> Vec<ChunkRef> {
        match self {
            Self::Chunks(chunks) => chunks,
            Self::Content(_) => Vec::new(),
        }
    }
}

impl ChunkRef {
    /// Opens the chunk.
    ///
    /// # Errors
    /// If it is not the chunk that is meant.
    pub fn open(&self, sealed: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let content = open_chunk(&self.key, sealed).map_err(|_| Refusal::BadChunk)?;
        if content.len() != self.bytes as usize { Err(Refusal::BadChunk) } else { Ok(content) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn content(bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        clave_crypto::Entropy::from_seed([3; 32]).fill(&mut content);
        content
    }

    fn seal(content: &[u8]) -> (FileContent, BTreeMap<ChunkId, Bytes>) {
        let mut kept = BTreeMap::new();
        let file = seal_content(&[9; 32], content, |chunk, _| {
            kept.insert(chunk.id, chunk.sealed);
            true
        });
        (file.expect("memory does not fail").expect("nobody cancelled"), kept)
    }

    #[test]
    fn what_was_sealed_opens_again() {
        for size in [0, 1, SMALL_CONTENT_BYTES_MAX, SMALL_CONTENT_BYTES_MAX + 1, 100_000, 3_000_000, 20_000_000] {
            let content = content(size);
            let (file, kept) = seal(&content);
            let opened: Vec<u8> = match file.open_manifest(&kept[&file.manifest]).expect("its own manifest") {
                Manifest::Content(content) => content,
                Manifest::Chunks(chunks) => chunks
                    .iter()
                    .flat_map(|chunk| chunk.open(kept[&chunk.id].to_vec()).expect("its own chunk"))
                    .collect(),
            };
            assert_eq!(opened, content);
            assert_eq!(file.content_hash, *blake3::hash(&content).as_bytes());
        }
    }

    #[test]
    fn small_content_is_one_chunk() {
        let (file, kept) = seal(&content(SMALL_CONTENT_BYTES_MAX));
        assert_eq!(kept.keys().collect::<Vec<_>>(), [&file.manifest]);
        assert!(kept[&file.manifest].len() as u64 <= file.manifest_bytes() * 9 / 8);
    }

    #[test]
    fn pieces_are_those_of_a_cutter_that_sees_everything() {
        let content = content(20_000_000);
        let (least, usual, greatest) = CHUNK_BYTES;
        let lengths = FastCDC::new(&content, least, usual, greatest).map(|cut| cut.length);
        // A source that gives little at a time.
        let mut cutter = Cutter::new(std::io::BufReader::with_capacity(1_000, content.as_slice()));
        for length in lengths {
            assert_eq!(cutter.next_piece().expect("memory does not fail").map(|piece| piece.len()), Some(length));
        }
        assert!(cutter.next_piece().expect("memory does not fail").is_none());
    }

    #[test]
    fn an_edit_in_the_middle_leaves_most_chunks_as_they_were() {
        let original = content(8_000_000);
        let mut edited = original.clone();
        edited.splice(4_000_000..4_000_000, *b"inserted");
        let (before, after) = (seal(&original).1, seal(&edited).1);
        let kept = after.keys().filter(|id| before.contains_key(id)).count();
        assert!(kept + 4 >= after.len(), "{kept} of {} chunks are shared", after.len());
    }

    #[test]
    fn a_manifest_of_another_file_is_refused() {
        let (file, _) = seal(&content(1_000));
        let (other, kept) = seal(&content(2_000));
        assert_eq!(file.open_manifest(&kept[&other.manifest]).err(), Some(Refusal::BadChunk));
    }

    #[test]
    fn sealing_can_be_cancelled() {
        let content = content(3_000_000);
        let sealed = seal_content(&[9; 32], content.as_slice(), |_, done| done < 1_000_000);
        assert!(sealed.expect("memory does not fail").is_none());
    }
}
