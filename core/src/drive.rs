//! The files of a circle.

use clave_engine::crdt::{CrdtError, DocumentKind, FileVersion, Node, NodeId, Tree, Version};
use clave_engine::membership::History;
use clave_engine::{CONDEMNED_MS, ChunkId, ChunkUsage, Collected, DocumentId, EngineError, FileContent, Manifest};

use crate::{Circle, Error};

mod adding;
mod getting;
mod sealing;
mod writing;

pub use adding::NewFile;

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

    /// What lies in a folder ([`NodeId::ROOT`] and [`NodeId::TRASH`] are folders), in order of their names. Costs what lies
    /// there, however much else the drive has; [`tree`](Self::tree) takes all of it in.
    ///
    /// # Errors
    /// If there is no such folder, or the store cannot be read.
    pub async fn list(&self, folder: NodeId) -> Result<Vec<Node>, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        self.circle.node.read(move |engine| engine.folder(circle, drive, folder)).await
    }

    /// What lies at a path like `/a/b`, at the cost of the folders on its way; `None`: the root itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], or if the path does not start with a slash or the store cannot be read.
    pub async fn resolve(&self, path: &str) -> Result<Option<Node>, Error> {
        let names = path.strip_prefix('/').ok_or(EngineError::from(CrdtError::Invalid("a path starts with '/'")))?;
        let mut at: Option<Node> = None;
        for name in names.split('/').filter(|name| !name.is_empty()) {
            let folder = at.map_or(NodeId::ROOT, |node| node.id);
            let nodes = if folder.is_folder() { self.list(folder).await? } else { Vec::new() };
            at = Some(nodes.into_iter().find(|node| node.is_called(name)).ok_or(Error::NotFound("file or folder"))?);
        }
        Ok(at)
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

    /// The newest content of a file.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn file(&self, node: NodeId) -> Result<FileVersion, Error> {
        let versions = self.versions(node).await?;
        versions.into_iter().next().map(|version| version.file).ok_or(Error::NotFound("file"))
    }

    /// Every content that a file had, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn versions(&self, node: NodeId) -> Result<Vec<Version>, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        self.circle
            .node
            .read(move |engine| Ok(engine.document(circle, drive, DocumentKind::Drive)?.drive()?.versions(node)?))
            .await
    }

    /// Makes an earlier content of a file its newest.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn restore_version(&self, node: NodeId, version: &FileVersion) -> Result<(), Error> {
        let version = version.clone();
        self.edit(move |drive, _| drive.put_version(node, &version)).await
    }

    /// Whether all of a file's newest content is on this device.
    pub(crate) async fn is_here(&self, version: &FileVersion) -> Result<bool, Error> {
        let (circle, content) = (self.circle.id, content_of(version));
        self.circle
            .node
            .read(move |engine| {
                let Some(manifest) = engine.chunk(circle, content.manifest)? else { return Ok(false) };
                let chunks = match content.open_manifest(&manifest) {
                    Ok(Manifest::Content(_)) => return Ok(true),
                    Ok(Manifest::Chunks(chunks)) => chunks,
                    Err(_) => return Ok(false),
                };
                for chunk in chunks {
                    if engine.chunk(circle, chunk.id)?.is_none() {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await
    }

    /// What the content of the circle's files takes on this device, of all versions, as far as it is here.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn usage(&self) -> Result<ChunkUsage, Error> {
        let circle = self.circle.id;
        self.circle.node.read(move |engine| engine.chunk_usage(circle)).await
    }

    /// How many bytes it may take; `None`: as many as there is room for. What is there already stays.
    ///
    /// # Errors
    /// What the disk has to say.
    pub async fn set_quota(&self, quota_bytes: Option<u64>) -> Result<(), Error> {
        let circle = self.circle.id;
        self.circle.node.command(move |engine, now| engine.set_chunk_quota(circle, quota_bytes, now)).await
    }

    /// Removes content that no version of any file has had for a day, and gives its space back. With `versions_kept`, this
    /// device also does without the content of all but so many of the newest versions of each file; it can be fetched again
    /// from who has it, and is lost if nobody does.
    ///
    /// # Errors
    /// If the store cannot be read or the disk refuses; nothing that is needed is lost then.
    pub async fn collect(&self, versions_kept: Option<usize>) -> Result<Collected, Error> {
        self.collect_older(versions_kept, CONDEMNED_MS).await
    }

    /// The same for content that no version has had for so long, in milliseconds.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub async fn collect_older(&self, versions_kept: Option<usize>, condemned_ms: u64) -> Result<Collected, Error> {
        let (circle, node) = (self.circle.id, &self.circle.node);
        let collect = move |engine: &mut clave_engine::Engine, now| {
            engine.collect_chunks(circle, versions_kept, condemned_ms, now)
        };
        let collected = node.command(collect).await?;
        node.reclaim_chunks().await?;
        Ok(collected)
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

fn content_of(version: &FileVersion) -> FileContent {
    FileContent {
        manifest: ChunkId::from_bytes(version.manifest),
        manifest_key: version.manifest_key,
        bytes: version.bytes,
        content_hash: version.blake3,
    }
}
