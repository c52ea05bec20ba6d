//! The files of a circle.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use clave_engine::crdt::{DocumentKind, FileVersion, NodeId, Tree};
use clave_engine::membership::History;
use clave_engine::{ChunkId, ChunkRef, DocumentId, Event, FetchId, FileContent, SealedChunk, seal_content};
use tokio::sync::{broadcast, mpsc};

use crate::node::Node;
use crate::unfinished::Unfinished;
use crate::{Circle, Error};

/// Chunks that may wait between the thread that seals a file and the store.
const CHUNKS_QUEUED_MAX: usize = 8;

/// The files of a circle.
#[derive(Clone)]
pub struct Drive {
    circle: Circle,
}

/// How far a long operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0 while that is not known.
    pub total_bytes: u64,
}

impl Drive {
    pub(crate) fn new(circle: Circle) -> Self {
        Self { circle }
    }

    fn document(&self) -> DocumentId {
        DocumentId::well_known(self.circle.id, DocumentKind::Drive, 0)
    }

    /// The drive as people see it.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn tree(&self) -> Result<Tree, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        self.circle
            .node
            .read(move |engine| Ok(engine.document(circle, drive, DocumentKind::Drive)?.drive()?.tree()))
            .await
    }

    /// Runs `edit` on the drive; what it changes becomes one entry.
    ///
    /// # Errors
    /// Those of `edit`, or what the disk has to say.
    pub async fn edit<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut clave_engine::crdt::Drive<'_>, [u8; 16]) -> Result<T, clave_engine::crdt::CrdtError>
        + Send
        + 'static,
    ) -> Result<T, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        self.circle
            .node
            .command(move |engine, now| {
                let random = engine.random();
                engine.edit(circle, drive, DocumentKind::Drive, now, |document, _| edit(&mut document.drive()?, random))
            })
            .await
    }

    /// A new folder.
    ///
    /// # Errors
    /// If the name cannot be used or is taken, or there is no such parent.
    pub async fn create_folder(&self, parent: NodeId, name: &str) -> Result<NodeId, Error> {
        let name = name.to_owned();
        self.edit(move |drive, random| drive.mkdir(parent, &name, random)).await
    }

    /// Adds a file from disk; a file of that name in that folder gets a new version. Dropping the future cancels it.
    ///
    /// # Errors
    /// If the file cannot be read, the name cannot be used, or the disk refuses.
    pub async fn add(
        &self,
        source: &Path,
        folder: NodeId,
        name: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<NodeId, Error> {
        let failed = |error: std::io::Error| Error::File { path: source.display().to_string(), source: error };
        let file = File::open(source).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let secret = self.convergence_secret().await?;
        let (chunks, mut sealed) = mpsc::channel::<(SealedChunk, u64)>(CHUNKS_QUEUED_MAX);
        let sealing = tokio::task::spawn_blocking(move || {
            seal_content(&secret, BufReader::new(file), |chunk, done| chunks.blocking_send((chunk, done)).is_ok())
        });
        let circle = self.circle.id;
        while let Some((chunk, done_bytes)) = sealed.recv().await {
            self.circle.node.command(move |engine, now| engine.put_chunk(circle, chunk, now)).await?;
            progress(Progress { done_bytes, total_bytes: metadata.len().max(done_bytes) });
        }
        let content = sealing.await.map_err(|_| Error::Stopped)??.ok_or(Error::Cancelled)?;
        let version = FileVersion {
            manifest: *content.manifest.as_bytes(),
            manifest_key: content.manifest_key,
            bytes: content.bytes,
            blake3: content.content_hash,
            modified_ms: modified.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            media_type: String::new(),
        };
        let name = name.to_owned();
        self.edit(move |drive, random| {
            let known = drive.list(folder)?.into_iter().find(|node| node.name == name && !node.id.is_folder());
            match known {
                Some(node) => drive.put_version(node.id, &version).map(|()| node.id),
                None => drive.add_file(folder, &name, random, &version),
            }
        })
        .await
    }

    /// The newest content of a file.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn file(&self, node: NodeId) -> Result<FileVersion, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        let versions = self
            .circle
            .node
            .read(move |engine| Ok(engine.document(circle, drive, DocumentKind::Drive)?.drive()?.versions(node)?))
            .await?;
        versions.into_iter().next().map(|version| version.file).ok_or(Error::NotFound("file"))
    }

    /// Writes the newest content of a file to disk, having fetched what is missing from whoever has it; waits for
    /// somebody to come online if need be. The destination appears complete and checked or not at all. Dropping the
    /// future cancels it; what was fetched stays, so that a second try goes on from there.
    ///
    /// # Errors
    /// If the destination cannot be written, or what arrived is not what the drive says.
    pub async fn get(
        &self,
        node: NodeId,
        destination: &Path,
        mut progress: impl FnMut(Progress),
    ) -> Result<FileVersion, Error> {
        let version = self.file(node).await?;
        let content = content_of(&version);
        self.fetch(&content, &mut progress).await?;
        self.write(&content, destination).await?;
        Ok(version)
    }

    async fn fetch(&self, content: &FileContent, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
        let (circle, node) = (self.circle.id, &self.circle.node);
        let mut events = node.events();
        let wanted = content.clone();
        let fetch = node.command(move |engine, now| engine.fetch(circle, wanted, now)).await?;
        let guard = Fetching { node: node.clone(), fetch: Some(fetch) };
        loop {
            match events.recv().await {
                Ok(Event::FetchProgress { fetch: id, done_bytes, total_bytes }) if id == fetch => {
                    progress(Progress { done_bytes, total_bytes });
                }
                Ok(Event::Fetched { fetch: id }) if id == fetch => break,
                Ok(Event::FetchFailed { fetch: id }) if id == fetch => {
                    return Err(Error::Content(clave_engine::Refusal::BadChunk));
                }
                Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopped),
                // Its end may have been among what was missed: asking again is cheap.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    drop(guard);
                    return Box::pin(self.fetch(content, progress)).await;
                }
                Ok(_) => {}
            }
        }
        guard.finished();
        Ok(())
    }

    async fn write(&self, content: &FileContent, destination: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::File { path: destination.display().to_string(), source: error };
        let sealed = self.chunk(content.manifest).await?;
        let chunks: Vec<ChunkRef> = content.open_manifest(&sealed).map_err(Error::Content)?;
        let unfinished = Unfinished::beside(destination)?;
        let mut file = unfinished.create()?;
        let mut hasher = blake3::Hasher::new();
        for chunk in chunks {
            let plain = chunk.open(&self.chunk(chunk.id).await?).map_err(Error::Content)?;
            hasher.update(&plain);
            file.write_all(&plain).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        drop(file);
        if *hasher.finalize().as_bytes() != content.content_hash {
            return Err(Error::Content(clave_engine::Refusal::BadChunk));
        }
        unfinished.finish(destination).map(drop)
    }

    /// Whether all of a file's newest content is on this device.
    pub(crate) async fn is_here(&self, version: &FileVersion) -> Result<bool, Error> {
        let (circle, content) = (self.circle.id, content_of(version));
        self.circle
            .node
            .read(move |engine| {
                let Some(manifest) = engine.chunk(circle, content.manifest)? else { return Ok(false) };
                let Ok(chunks) = content.open_manifest(&manifest) else { return Ok(false) };
                for chunk in chunks {
                    if engine.chunk(circle, chunk.id)?.is_none() {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await
    }

    async fn chunk(&self, id: ChunkId) -> Result<Vec<u8>, Error> {
        let circle = self.circle.id;
        let chunk = self.circle.node.read(move |engine| engine.chunk(circle, id)).await?;
        chunk.ok_or(Error::NotFound("piece of the file"))
    }

    async fn convergence_secret(&self) -> Result<[u8; 32], Error> {
        let (circle, drive) = (self.circle.id, self.document());
        let secret = self
            .circle
            .node
            .read(move |engine| Ok(engine.document(circle, drive, DocumentKind::Drive)?.drive()?.convergence_secret()))
            .await?;
        if let Some(secret) = secret {
            return Ok(secret);
        }
        // It expired, or is from before this device came. With all of the past to be had it is on its way, unless it is this
        // device that should have written it, and whose disk refused.
        self.circle
            .node
            .command(move |engine, now| {
                if engine.membership(circle)?.history() == History::Full && !engine.is_founder(circle)? {
                    return Ok(None);
                }
                let secret = engine.random();
                engine.edit(circle, drive, DocumentKind::Drive, now, |document, _| {
                    document.drive()?.init_drive(secret)
                })?;
                Ok(Some(secret))
            })
            .await?
            .ok_or(Error::NotFound("drive"))
    }
}

/// Gives up a fetch when its caller does.
struct Fetching {
    node: Node,
    fetch: Option<FetchId>,
}

impl Fetching {
    fn finished(mut self) {
        self.fetch = None;
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch {
            let node = self.node.clone();
            tokio::spawn(async move { node.cancel_fetch(fetch).await });
        }
    }
}

fn content_of(version: &FileVersion) -> FileContent {
    FileContent {
        manifest: ChunkId::from_bytes(version.manifest),
        manifest_key: version.manifest_key,
        bytes: version.bytes,
        content_hash: version.blake3,
    }
}
