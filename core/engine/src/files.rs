//! The content of files: cut by content, sealed chunk by chunk, named by the hash of the sealed bytes.
//!
//! Pure: chunks go to the store by [`Engine::put_chunk`](crate::Engine::put_chunk) and come from members by
//! [`Engine::fetch`](crate::Engine::fetch).

use std::io::Read;

use clave_crypto::{ChunkKey, HashContext, hash, open_chunk, seal_chunk};
use fastcdc::v2020::StreamCDC;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::proto::file as proto;
use crate::{ChunkId, Refusal};

/// The least, usual and greatest chunk, in bytes of content.
pub const CHUNK_BYTES: (usize, usize, usize) = (64 * 1024, 256 * 1024, 1024 * 1024);
/// The greatest sealed chunk, in bytes. A manifest may be larger than a chunk of content.
pub const SEALED_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
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
    pub sealed: Vec<u8>,
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
///
/// # Errors
/// If the source fails or is too large.
pub fn seal_content(
    convergence_secret: &[u8; 32],
    source: impl Read,
    mut keep: impl FnMut(SealedChunk, u64) -> bool,
) -> Result<Option<FileContent>, SealError> {
    let (least, usual, greatest) = CHUNK_BYTES;
    let mut hasher = blake3::Hasher::new();
    let mut chunks = Vec::new();
    let mut bytes = 0;
    for piece in StreamCDC::new(source, least, usual, greatest) {
        let piece = piece.map_err(|error| SealError::Source(error.into()))?.data;
        hasher.update(&piece);
        bytes += piece.len() as u64;
        let (key, sealed) = seal_chunk(convergence_secret, &piece);
        let chunk = SealedChunk { id: chunk_id(&sealed), sealed };
        let length = u32::try_from(piece.len()).expect("a chunk is at most a mebibyte");
        chunks.push(proto::ChunkRef { id: chunk.id.as_bytes().to_vec(), key: key.as_bytes().to_vec(), bytes: length });
        if chunks.len() > MANIFEST_CHUNKS_MAX {
            return Err(SealError::TooLarge);
        }
        if !keep(chunk, bytes) {
            return Ok(None);
        }
    }
    let content_hash = *hasher.finalize().as_bytes();
    let manifest = proto::Manifest { chunks, content_hash: content_hash.to_vec() }.encode_to_vec();
    let (key, sealed) = seal_chunk(convergence_secret, &manifest);
    let content = FileContent { manifest: chunk_id(&sealed), manifest_key: **key.as_bytes(), bytes, content_hash };
    Ok(keep(SealedChunk { id: content.manifest, sealed }, bytes).then_some(content))
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
    pub fn open_manifest(&self, sealed: &[u8]) -> Result<Vec<ChunkRef>, Refusal> {
        let key = ChunkKey::from_bytes(Zeroizing::new(self.manifest_key));
        let manifest = open_chunk(&key, sealed).map_err(|_| Refusal::BadChunk)?;
        let manifest = proto::Manifest::decode(manifest.as_slice()).map_err(|_| Refusal::BadChunk)?;
        let total: u64 = manifest.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        if manifest.content_hash != self.content_hash || total != self.bytes {
            return Err(Refusal::BadChunk);
        }
        if manifest.chunks.len() > MANIFEST_CHUNKS_MAX {
            return Err(Refusal::Oversized);
        }
        let read = |chunk: proto::ChunkRef| {
            let key = Zeroizing::new(<[u8; 32]>::try_from(chunk.key.as_slice()).ok()?);
            let id = ChunkId::try_from(chunk.id.as_slice()).ok()?;
            Some(ChunkRef { id, key: ChunkKey::from_bytes(key), bytes: chunk.bytes })
        };
        manifest.chunks.into_iter().map(|chunk| read(chunk).ok_or(Refusal::BadChunk)).collect()
    }
}

impl ChunkRef {
    /// Opens the chunk.
    ///
    /// # Errors
    /// If it is not the chunk that is meant.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
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

    fn seal(content: &[u8]) -> (FileContent, BTreeMap<ChunkId, Vec<u8>>) {
        let mut kept = BTreeMap::new();
        let file = seal_content(&[9; 32], content, |chunk, _| {
            kept.insert(chunk.id, chunk.sealed);
            true
        });
        (file.expect("memory does not fail").expect("nobody cancelled"), kept)
    }

    #[test]
    fn what_was_sealed_opens_again() {
        for size in [0, 1, 100_000, 3_000_000] {
            let content = content(size);
            let (file, kept) = seal(&content);
            let chunks = file.open_manifest(&kept[&file.manifest]).expect("its own manifest");
            let opened: Vec<u8> =
                chunks.iter().flat_map(|chunk| chunk.open(&kept[&chunk.id]).expect("its own chunk")).collect();
            assert_eq!(opened, content);
            assert_eq!(file.content_hash, *blake3::hash(&content).as_bytes());
        }
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
