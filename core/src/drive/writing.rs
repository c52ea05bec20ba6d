//! Writes files to disk while their chunks arrive.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use clave_engine::{ChunkId, FileContent, Manifest, Refusal};

use super::getting::{Arrivals, ChunkSource, Phase};
use crate::Error;

/// Pieces of content that wait to be hashed, of at most a mebibyte each.
const PIECES_QUEUED_MAX: usize = 4;
/// Files that are made durable together.
const FILES_SYNCED_MAX: usize = 200;
/// Fewer files than this are made durable each by itself: the rest of the file system need not wait for them.
#[cfg(target_os = "linux")]
const FILES_SYNCED_APART: usize = 8;

/// A file that is to be written.
pub(super) struct WrittenFile {
    pub(super) content: FileContent,
    pub(super) destination: PathBuf,
}

/// A file that is not under its name yet. Removed when it is dropped.
struct Unfinished {
    file: Option<File>,
    path: PathBuf,
    destination: PathBuf,
}

/// Writes each file as its chunks come; each appears under its name once it is complete, checked and durable. Blocks.
pub(super) fn write_files(files: Vec<WrittenFile>, source: &ChunkSource, arrivals: &Arrivals) -> Result<(), Error> {
    let mut unfinished = Vec::new();
    for file in &files {
        unfinished.push(write_file(file, source, arrivals)?);
        if unfinished.len() == FILES_SYNCED_MAX {
            finish(std::mem::take(&mut unfinished))?;
        }
    }
    finish(unfinished)
}

fn write_file(file: &WrittenFile, source: &ChunkSource, arrivals: &Arrivals) -> Result<Unfinished, Error> {
    let manifest = chunk(file.content.manifest, source, arrivals)?;
    let mut unfinished = Unfinished::create(&file.destination)?;
    match file.content.open_manifest(&manifest).map_err(Error::Content)? {
        Manifest::Content(content) => unfinished.write(&content)?,
        Manifest::Chunks(chunks) => {
            let hash = thread::scope(|scope| {
                let (pieces, hashed) = mpsc::sync_channel::<Vec<u8>>(PIECES_QUEUED_MAX);
                let hashing = scope.spawn(move || {
                    let mut hasher = blake3::Hasher::new();
                    for piece in hashed {
                        hasher.update(&piece);
                    }
                    *hasher.finalize().as_bytes()
                });
                for named in chunks {
                    let piece = named.open(&chunk(named.id, source, arrivals)?).map_err(Error::Content)?;
                    unfinished.write(&piece)?;
                    // It ends only after this.
                    let _ = pieces.send(piece);
                }
                drop(pieces);
                hashing.join().map_err(|_| Error::Stopped)
            })?;
            if hash != file.content.content_hash {
                return Err(Error::Content(Refusal::BadChunk));
            }
        }
    }
    Ok(unfinished)
}

/// A chunk, once it is here.
fn chunk(id: ChunkId, source: &ChunkSource, arrivals: &Arrivals) -> Result<Vec<u8>, Error> {
    loop {
        let now = arrivals.now();
        if let Some(chunk) = source.read(id)? {
            return Ok(chunk);
        }
        match now.1 {
            Phase::Fetching => arrivals.wait(now),
            Phase::Complete => return Err(Error::NotFound("piece of the file")),
            Phase::Cancelled => return Err(Error::Cancelled),
        }
    }
}

/// Makes files durable and gives them their names.
fn finish(files: Vec<Unfinished>) -> Result<(), Error> {
    sync_all(&files)?;
    files.into_iter().try_for_each(Unfinished::finish)
}

/// One sync of a file system costs less than one for each of many files.
#[cfg(target_os = "linux")]
fn sync_all(files: &[Unfinished]) -> Result<(), Error> {
    use std::os::linux::fs::MetadataExt as _;
    if files.len() < FILES_SYNCED_APART {
        return files.iter().try_for_each(Unfinished::sync);
    }
    let mut synced = std::collections::BTreeSet::new();
    for unfinished in files {
        let Some(file) = &unfinished.file else { continue };
        let device = file.metadata().map_err(|error| unfinished.failed(error))?.st_dev();
        if synced.insert(device) {
            rustix::fs::syncfs(file).map_err(|error| unfinished.failed(error.into()))?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn sync_all(files: &[Unfinished]) -> Result<(), Error> {
    files.iter().try_for_each(Unfinished::sync)
}

impl Unfinished {
    fn create(destination: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: destination.display().to_string(), source };
        let name = destination.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
        let mut name = name.to_owned();
        name.push(".clave-part");
        let path = destination.with_file_name(name);
        let file = File::create(&path).map_err(failed)?;
        Ok(Self { file: Some(file), path, destination: destination.to_owned() })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::File { path: self.destination.display().to_string(), source }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), File::sync_all).map_err(|error| self.failed(error))
    }

    fn finish(mut self) -> Result<(), Error> {
        self.file = None;
        let renamed = fs::rename(&self.path, &self.destination).map_err(|error| self.failed(error));
        if renamed.is_ok() {
            self.path.clear();
        }
        renamed
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
