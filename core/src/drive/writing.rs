//! Writes files to disk while their chunks arrive.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use clave_engine::{ChunkId, FileContent, Manifest, Refusal};

use super::getting::{Arrivals, ChunkSource, Phase};
use crate::Error;
use crate::unfinished::Unfinished;

/// Pieces of content that wait to be hashed, of at most a mebibyte each.
const PIECES_QUEUED_MAX: usize = 4;
/// Bytes of a file after which the disk is set to work on it, so that little is left to wait for at its end.
const BYTES_SYNCED_AHEAD: u64 = 16 * 1024 * 1024;
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
struct Writing {
    // Closed before it is removed.
    file: File,
    unfinished: Unfinished,
}

/// Writes each file as its chunks come; each appears under its name once it is complete, checked and durable. Blocks.
pub(super) fn write_files(files: Vec<WrittenFile>, source: &ChunkSource, arrivals: &Arrivals) -> Result<(), Error> {
    let mut written = Vec::new();
    for file in &files {
        written.push(write_file(file, source, arrivals)?);
        if written.len() == FILES_SYNCED_MAX {
            finish(std::mem::take(&mut written))?;
        }
    }
    finish(written)
}

fn write_file(file: &WrittenFile, source: &ChunkSource, arrivals: &Arrivals) -> Result<Writing, Error> {
    let manifest = chunk(file.content.manifest, source, arrivals)?;
    let writing = Writing::begin(&file.destination)?;
    match file.content.open_manifest(&manifest).map_err(Error::Content)? {
        Manifest::Content(content) => writing.write(&content)?,
        Manifest::Chunks(chunks) => {
            let writing = &writing;
            let (hash, synced) = thread::scope(|scope| {
                let (pieces, hashed) = mpsc::sync_channel::<Vec<u8>>(PIECES_QUEUED_MAX);
                let (much, written) = mpsc::sync_channel(1);
                let hashing = scope.spawn(move || {
                    let mut hasher = blake3::Hasher::new();
                    for piece in hashed {
                        hasher.update(&piece);
                    }
                    *hasher.finalize().as_bytes()
                });
                // The disk says only once what it failed with.
                let syncing = scope.spawn(move || written.iter().try_for_each(|()| writing.sync()));
                let mut unsynced_bytes = 0;
                for named in chunks {
                    let piece = named.open(chunk(named.id, source, arrivals)?).map_err(Error::Content)?;
                    writing.write(&piece)?;
                    unsynced_bytes += piece.len() as u64;
                    if unsynced_bytes >= BYTES_SYNCED_AHEAD && much.try_send(()).is_ok() {
                        unsynced_bytes = 0;
                    }
                    // It ends only after this.
                    let _ = pieces.send(piece);
                }
                drop((pieces, much));
                let hash = hashing.join().map_err(|_| Error::Stopped)?;
                Ok::<_, Error>((hash, syncing.join().map_err(|_| Error::Stopped)?))
            })?;
            synced?;
            if hash != file.content.content_hash {
                return Err(Error::Content(Refusal::BadChunk));
            }
        }
    }
    Ok(writing)
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
fn finish(files: Vec<Writing>) -> Result<(), Error> {
    sync_all(&files)?;
    files.into_iter().try_for_each(Writing::place)
}

/// One sync of a file system costs less than one for each of many files.
#[cfg(target_os = "linux")]
fn sync_all(files: &[Writing]) -> Result<(), Error> {
    use std::os::linux::fs::MetadataExt as _;
    if files.len() < FILES_SYNCED_APART {
        return files.iter().try_for_each(Writing::sync);
    }
    let mut synced = std::collections::BTreeSet::new();
    for Writing { file, unfinished } in files {
        let device = file.metadata().map_err(|error| unfinished.failed(error))?.st_dev();
        if synced.insert(device) {
            rustix::fs::syncfs(file).map_err(|error| unfinished.failed(error.into()))?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn sync_all(files: &[Writing]) -> Result<(), Error> {
    files.iter().try_for_each(Writing::sync)
}

impl Writing {
    fn begin(destination: &Path) -> Result<Self, Error> {
        let unfinished = Unfinished::beside(destination)?;
        let file = unfinished.create()?;
        Ok(Self { file, unfinished })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        (&self.file).write_all(bytes).map_err(|error| self.unfinished.failed(error))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| self.unfinished.failed(error))
    }

    /// Gives one that is durable its name.
    fn place(self) -> Result<(), Error> {
        let Self { file, unfinished } = self;
        // Windows renames no file that is open.
        drop(file);
        unfinished.place()
    }
}
