//! What chunks of files take on this device: how much, how much they may, and removing those that nothing refers to.
//!
//! A chunk is *referred to* if it is, or is named by, the manifest of any version of any file of the circle's drive (in
//! the trash or not, shown or set aside or waiting), or if it is being fetched. One that is not is condemned at first, and
//! removed by a later collection once it has been condemned for long enough; whoever keeps or adds it meanwhile acquits it.
//! A collection is one input: nothing comes between the look and the removal. While files are being added to the circle
//! nothing is removed, and what a killed process left half added stays for as long as the condemned do.

use clave_crdt::DocumentKind;

use super::fetch::chunk_key;
use super::*;
use crate::Key;
use crate::files::FileContent;

/// How long a chunk stays after nothing referred to it any more, in milliseconds, unless one asks otherwise: a day.
pub const CONDEMNED_MS: u64 = 86_400_000;

/// Chunks of one circle that are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkUsage {
    /// How many.
    pub chunks: u64,
    /// Sealed bytes of them.
    pub bytes: u64,
    /// Sealed bytes they may have on this device, if that is limited.
    pub quota_bytes: Option<u64>,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Chunks that were removed, and their sealed bytes.
    pub removed: ChunkUsage,
    /// Chunks that nothing refers to and that stay for a while, and their sealed bytes.
    pub condemned: ChunkUsage,
}

/// Sealed bytes of chunks by circle, counted when they are first asked for; and files that are being added.
#[derive(Default)]
pub(super) struct ChunkCounts {
    bytes: BTreeMap<CircleId, u64>,
    adding: BTreeMap<CircleId, usize>,
}

impl Engine {
    /// Files are about to be added to a circle: what is [put](Self::put_chunks) stays although nothing refers to it, until as
    /// many calls of [`end_adding`](Self::end_adding).
    pub fn begin_adding(&mut self, circle: CircleId) {
        *self.chunk_counts.adding.entry(circle).or_default() += 1;
    }

    /// They were added, or will not be.
    pub fn end_adding(&mut self, circle: CircleId) {
        if let Some(adding) = self.chunk_counts.adding.get_mut(&circle) {
            *adding -= 1;
            if *adding == 0 {
                self.chunk_counts.adding.remove(&circle);
            }
        }
    }

    /// What the chunks of a circle take here.
    ///
    /// # Errors
    /// If this device is not in the circle or the store cannot be read.
    pub fn chunk_usage(&mut self, circle: CircleId) -> Result<ChunkUsage, EngineError> {
        self.circle_mut(circle)?;
        let sizes = self.desk.store.sizes(Keyspace::Chunks, circle.as_bytes())?;
        let (chunks, bytes) = (sizes.len() as u64, sizes.values().sum());
        Ok(ChunkUsage { chunks, bytes, quota_bytes: self.chunk_quota(circle)? })
    }

    /// Command: how many sealed bytes the chunks of a circle may take on this device; `None`: as many as there is room for.
    /// What is there already stays.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn set_chunk_quota(
        &mut self,
        circle: CircleId,
        quota_bytes: Option<u64>,
        now_ms: u64,
    ) -> Result<(), EngineError> {
        self.begin(now_ms)?;
        self.circle_mut(circle)?;
        match quota_bytes {
            Some(bytes) => self.desk.put(quota_key(circle), bytes.to_be_bytes().to_vec()),
            None => self.desk.remove_if_there(quota_key(circle))?,
        }
        self.finish();
        Ok(())
    }

    fn chunk_quota(&self, circle: CircleId) -> Result<Option<u64>, EngineError> {
        let read = |bytes: Vec<u8>| bytes.try_into().map(u64::from_be_bytes).map_err(|_| EngineError::Damaged);
        self.desk.store.read(&quota_key(circle))?.map(read).transpose()
    }

    /// Refuses what would exceed the circle's quota.
    pub(super) fn check_room(&mut self, circle: CircleId, more_bytes: u64) -> Result<(), EngineError> {
        let Some(quota_bytes) = self.chunk_quota(circle)? else { return Ok(()) };
        let used_bytes = match self.chunk_counts.bytes.get(&circle) {
            Some(bytes) => *bytes,
            None => {
                let mut bytes = self.desk.store.sizes(Keyspace::Chunks, circle.as_bytes())?.values().sum();
                bytes += self.desk.chunk_bytes_unwritten(circle);
                self.chunk_counts.bytes.insert(circle, bytes);
                bytes
            }
        };
        if used_bytes + more_bytes <= quota_bytes {
            Ok(())
        } else {
            Err(EngineError::QuotaReached { used_bytes, more_bytes, quota_bytes })
        }
    }

    pub(super) fn count_chunk(&mut self, circle: CircleId, bytes: u64) {
        if let Some(used) = self.chunk_counts.bytes.get_mut(&circle) {
            *used += bytes;
        }
    }

    /// Command: removes chunks of a circle that nothing has referred to for `condemned_ms`, and condemns those that nothing
    /// refers to now. With `versions_kept`, this device also does without the content of all but so many of the newest
    /// versions of each file: it can be fetched again from who has it, and is lost if nobody does.
    ///
    /// # Errors
    /// If this device is not in the circle or the store cannot be read; nothing is removed then.
    pub fn collect_chunks(
        &mut self,
        circle: CircleId,
        versions_kept: Option<usize>,
        condemned_ms: u64,
        now_ms: u64,
    ) -> Result<Collected, EngineError> {
        self.begin(now_ms)?;
        let referred = self.referred_chunks(circle, versions_kept)?;
        let is_adding = self.chunk_counts.adding.contains_key(&circle);
        let condemned = self.desk.store.all(Keyspace::Condemned, circle.as_bytes())?;
        let mut collected = Collected::default();
        for (suffix, bytes) in self.desk.store.sizes(Keyspace::Chunks, circle.as_bytes())? {
            let id = ChunkId::try_from(suffix.as_slice()).map_err(|_| EngineError::Damaged)?;
            let since =
                condemned.get(&suffix).and_then(|since| Some(u64::from_be_bytes(since.as_slice().try_into().ok()?)));
            if referred.contains(&id) {
                if since.is_some() {
                    self.desk.remove(condemned_key(circle, id));
                }
                continue;
            }
            // A clock that was set back condemns anew.
            let since_ms = since.filter(|since| *since <= now_ms).unwrap_or(now_ms);
            let of = if now_ms - since_ms >= condemned_ms && !is_adding {
                self.desk.remove(chunk_key(circle, id));
                self.desk.remove_if_there(condemned_key(circle, id))?;
                &mut collected.removed
            } else {
                if since != Some(since_ms) {
                    self.desk.put(condemned_key(circle, id), since_ms.to_be_bytes().to_vec());
                }
                &mut collected.condemned
            };
            of.chunks += 1;
            of.bytes += bytes;
        }
        self.chunk_counts.bytes.remove(&circle);
        self.finish();
        Ok(collected)
    }

    /// Every chunk that something refers to.
    fn referred_chunks(
        &mut self,
        circle: CircleId,
        versions_kept: Option<usize>,
    ) -> Result<BTreeSet<ChunkId>, EngineError> {
        let mut referred = self.fetches.wanted(circle);
        let mut files = Vec::new();
        for info in self.documents(circle)?.into_iter().filter(|info| info.kind == DocumentKind::Drive) {
            let document = self.document(circle, info.id, info.kind)?;
            files.extend(document.file_versions(versions_kept)?);
        }
        for file in files {
            let content = FileContent {
                manifest: ChunkId::from_bytes(file.manifest),
                manifest_key: file.manifest_key,
                bytes: file.bytes,
                content_hash: file.blake3,
            };
            // What is named by a manifest that is not here cannot be known, and was not fetched by it.
            if referred.insert(content.manifest)
                && let Some(sealed) = self.chunk(circle, content.manifest)?
                && let Ok(manifest) = content.open_manifest(&sealed)
            {
                referred.extend(manifest.into_chunks().into_iter().map(|chunk| chunk.id));
            }
        }
        Ok(referred)
    }
}

pub(super) fn condemned_key(circle: CircleId, id: ChunkId) -> Key {
    Key::new(Keyspace::Condemned, circle.as_bytes(), id.as_bytes())
}

fn quota_key(circle: CircleId) -> Key {
    Key::new(Keyspace::Meta, circle.as_bytes(), "chunk quota")
}
