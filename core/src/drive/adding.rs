//! Adding files from disk to a drive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clave_engine::crdt::{DocumentKind, FileVersion, NodeId};
use clave_engine::{FileContent, SealedChunk};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::sealing::{Sealed, seal_files};
use super::{Drive, Progress};
use crate::Error;

/// Sealed chunks that may wait between the threads that seal and the store.
const CHUNKS_QUEUED_MAX: usize = 16;
/// Bytes of sealed chunks that are handed to the store at a time.
const PUT_BYTES: usize = 4 << 20;
/// How often that may be under way at once.
const PUTS_MAX: usize = 3;
/// Files that one entry adds at most, so that it stays far below what an entry may hold.
const FILES_PER_ENTRY_MAX: usize = 5_000;

/// A file on disk that is to be added to a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Where it is.
    pub source: PathBuf,
    /// The folder of the drive that it goes to.
    pub folder: NodeId,
    /// What it is called there. A file of that name gets a new version.
    pub name: String,
}

impl Drive {
    /// Adds a file from disk; a file of that name in that folder gets a new version. Dropping the future cancels it.
    ///
    /// # Errors
    /// If the file cannot be read, the name cannot be used, or the disk refuses.
    pub async fn add(
        &self,
        source: &Path,
        folder: NodeId,
        name: &str,
        progress: impl FnMut(Progress),
    ) -> Result<NodeId, Error> {
        let file = NewFile { source: source.to_owned(), folder, name: name.to_owned() };
        let added = self.add_all(vec![file], progress).await?;
        added.into_iter().next().ok_or(Error::NotFound("file"))
    }

    /// Adds files from disk, as [`add`](Self::add) does, in one go: the drive has all of them or, up to 5,000, none.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub async fn add_all(&self, files: Vec<NewFile>, progress: impl FnMut(Progress)) -> Result<Vec<NodeId>, Error> {
        let (total_bytes, modified) = look_at(&files)?;
        let _adding = Adding::begin(self).await?;
        let sources = files.iter().map(|file| file.source.clone()).collect();
        let contents = self.seal_all(sources, total_bytes, progress).await?;
        let relayed = contents.clone();
        let versions: Vec<FileVersion> = contents
            .into_iter()
            .zip(modified)
            .map(|(content, modified_ms)| version_of(&content, modified_ms))
            .collect();
        let mut added = Vec::with_capacity(files.len());
        for (files, versions) in files.chunks(FILES_PER_ENTRY_MAX).zip(versions.chunks(FILES_PER_ENTRY_MAX)) {
            added.extend(self.name_all(files.to_vec(), versions.to_vec()).await?);
        }
        let circle = self.circle.id;
        self.circle.node.command(move |engine, now| engine.relay_files(circle, &relayed, now)).await?;
        Ok(added)
    }

    /// Adds a folder from disk with all that is in it, under its own name, to a folder of the drive. What is neither a file nor
    /// a folder is left out. Returns the files that were added.
    ///
    /// # Errors
    /// As [`add`](Self::add); if something has a name that is not Unicode.
    pub async fn add_folder(
        &self,
        source: &Path,
        parent: NodeId,
        name: &str,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<NodeId>, Error> {
        let mut files = Vec::new();
        let mut folders = vec![(source.to_owned(), parent, name.to_owned())];
        while let Some((path, parent, name)) = folders.pop() {
            let folder = self.folder_in(parent, &name).await?;
            let failed = |source| Error::File { path: path.display().to_string(), source };
            let mut entries = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let (source, kind) = (entry.path(), entry.file_type().map_err(failed)?);
                let name = entry.file_name().into_string().map_err(|_| Error::File {
                    path: source.display().to_string(),
                    source: std::io::ErrorKind::InvalidFilename.into(),
                })?;
                if kind.is_dir() {
                    folders.push((source, folder, name));
                } else if kind.is_file() {
                    files.push(NewFile { source, folder, name });
                }
            }
        }
        self.add_all(files, progress).await
    }

    async fn end_adding(&self) {
        let circle = self.circle.id;
        let end = move |engine: &mut clave_engine::Engine| {
            engine.end_adding(circle);
            Ok(())
        };
        // A node that was shut down collects nothing.
        let _ = self.circle.node.read(end).await;
    }

    async fn folder_in(&self, parent: NodeId, name: &str) -> Result<NodeId, Error> {
        let name = name.to_owned();
        self.edit(move |drive, random| {
            let known = drive.list(parent)?.into_iter().find(|node| node.name == name && node.id.is_folder());
            known.map_or_else(|| drive.mkdir(parent, &name, random), |node| Ok(node.id))
        })
        .await
    }

    async fn seal_all(
        &self,
        sources: Vec<PathBuf>,
        total_bytes: u64,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<FileContent>, Error> {
        let secret = self.convergence_secret().await?;
        let count = sources.len();
        let (to, mut sealed) = mpsc::channel(CHUNKS_QUEUED_MAX);
        let sealing = tokio::task::spawn_blocking(move || seal_files(&secret, &sources, &to));
        let (mut contents, mut puts) = (BTreeMap::new(), JoinSet::new());
        let (mut chunks, mut bytes, mut done_bytes) = (Vec::new(), 0, 0);
        while let Some(sealed) = sealed.recv().await {
            match sealed {
                Sealed::File(number, content) => drop(contents.insert(number, content)),
                Sealed::Chunk(chunk, content_bytes) => {
                    done_bytes += content_bytes;
                    bytes += chunk.sealed.len();
                    chunks.push(chunk);
                }
            }
            if bytes >= PUT_BYTES {
                self.put(&mut puts, &mut chunks).await?;
                bytes = 0;
                progress(Progress { done_bytes, total_bytes: total_bytes.max(done_bytes) });
            }
        }
        sealing.await.map_err(|_| Error::Stopped)??;
        self.put(&mut puts, &mut chunks).await?;
        while let Some(put) = puts.join_next().await {
            put.map_err(|_| Error::Stopped)??;
        }
        progress(Progress { done_bytes, total_bytes: done_bytes });
        if contents.len() == count { Ok(contents.into_values().collect()) } else { Err(Error::Cancelled) }
    }

    /// Hands chunks to the store, waiting for room.
    async fn put(&self, puts: &mut JoinSet<Result<(), Error>>, chunks: &mut Vec<SealedChunk>) -> Result<(), Error> {
        while puts.len() >= PUTS_MAX
            && let Some(put) = puts.join_next().await
        {
            put.map_err(|_| Error::Stopped)??;
        }
        let (node, circle, chunks) = (self.circle.node.clone(), self.circle.id, std::mem::take(chunks));
        puts.spawn(async move { node.command(move |engine, now| engine.put_chunks(circle, chunks, now)).await });
        Ok(())
    }

    /// Gives contents their names; what this changes becomes one entry.
    async fn name_all(&self, files: Vec<NewFile>, versions: Vec<FileVersion>) -> Result<Vec<NodeId>, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        let command = move |engine: &mut clave_engine::Engine, now| {
            let randoms: Vec<[u8; 16]> = files.iter().map(|_| engine.random()).collect();
            engine.edit(circle, drive, DocumentKind::Drive, now, |document, _| {
                let mut drive = document.drive()?;
                let mut known = BTreeMap::new();
                let mut nodes = Vec::with_capacity(files.len());
                for ((file, version), random) in files.iter().zip(&versions).zip(randoms) {
                    let there = match known.entry(file.folder) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(unknown) => {
                            let there = drive.list(file.folder)?.into_iter().filter(|node| !node.id.is_folder());
                            unknown.insert(there.map(|node| (node.name, node.id)).collect::<BTreeMap<_, _>>())
                        }
                    };
                    let node = match there.get(&file.name) {
                        Some(node) => drive.put_version(*node, version).map(|()| *node)?,
                        None => drive.add_file(file.folder, &file.name, random, version)?,
                    };
                    there.insert(file.name.clone(), node);
                    nodes.push(node);
                }
                Ok(nodes)
            })
        };
        self.circle.node.command(command).await
    }
}

/// Nothing that was added is collected before it has its name.
struct Adding {
    drive: Drive,
}

impl Adding {
    async fn begin(drive: &Drive) -> Result<Self, Error> {
        let circle = drive.circle.id;
        let begin = move |engine: &mut clave_engine::Engine| {
            engine.begin_adding(circle);
            Ok(())
        };
        drive.circle.node.read(begin).await?;
        Ok(Self { drive: drive.clone() })
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        let drive = self.drive.clone();
        tokio::spawn(async move { drive.end_adding().await });
    }
}

/// How many bytes files have in all, and when each was modified, in Unix milliseconds.
fn look_at(files: &[NewFile]) -> Result<(u64, Vec<u64>), Error> {
    let (mut total_bytes, mut modified) = (0, Vec::with_capacity(files.len()));
    for file in files {
        let failed = |source| Error::File { path: file.source.display().to_string(), source };
        let metadata = fs::metadata(&file.source).map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        total_bytes += metadata.len();
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        modified.push(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    }
    Ok((total_bytes, modified))
}

fn version_of(content: &FileContent, modified_ms: u64) -> FileVersion {
    FileVersion {
        manifest: *content.manifest.as_bytes(),
        manifest_key: content.manifest_key,
        bytes: content.bytes,
        blake3: content.content_hash,
        modified_ms,
        media_type: String::new(),
    }
}
