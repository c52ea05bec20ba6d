//! Seals the content of files on all cores: one thread reads and cuts, the others seal, and what they make comes out file
//! by file in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use clave_engine::{ChunkRef, Cutter, FileContent, ManifestWriter, SealedChunk, seal_piece};
use tokio::sync::mpsc as queue;

use crate::Error;

/// Pieces that wait to be sealed, of at most a mebibyte each.
const PIECES_QUEUED_MAX: usize = 8;
/// Threads that seal at most.
const SEALERS_MAX: usize = 4;

/// What comes out.
pub(super) enum Sealed {
    /// A chunk, and how many bytes of content went into it.
    Chunk(SealedChunk, u64),
    /// All chunks of the file of that number came before.
    File(usize, FileContent),
}

/// What is to be done with a piece of a file.
enum Work {
    Piece { file: usize, number: usize, piece: Vec<u8> },
    End { file: usize, pieces: usize, bytes: u64, hash: [u8; 32], small: Option<Vec<u8>> },
}

/// Pieces of a file that were sealed, until it is complete.
#[derive(Default)]
struct Gathered {
    chunks: BTreeMap<usize, ChunkRef>,
    end: Option<(usize, u64, [u8; 32])>,
}

/// Reads and seals files, and hands over what comes of them until nobody takes it any more. Blocks.
pub(super) fn seal_files(secret: &[u8; 32], files: &[PathBuf], to: &queue::Sender<Sealed>) -> Result<(), Error> {
    let (work, pieces) = mpsc::sync_channel(PIECES_QUEUED_MAX);
    let pieces = Mutex::new(pieces);
    let gathered = Mutex::new(BTreeMap::new());
    let sealers = thread::available_parallelism().map_or(1, |threads| threads.get().min(SEALERS_MAX));
    thread::scope(|scope| {
        let sealing: Vec<_> =
            (0..sealers).map(|_| scope.spawn(|| seal_pieces(secret, &pieces, &gathered, to))).collect();
        let cut = cut_files(files, &work);
        drop(work);
        let sealed = sealing.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Stopped)));
        sealed.fold(cut, |result, sealed| result.and(sealed))
    })
}

fn cut_files(files: &[PathBuf], work: &mpsc::SyncSender<Work>) -> Result<(), Error> {
    for (file, path) in files.iter().enumerate() {
        let failed = |source| Error::File { path: path.display().to_string(), source };
        let source = File::open(path).map_err(failed)?;
        let mut cutter = Cutter::new(source);
        let (mut pieces, mut small) = (0, None);
        while let Some(piece) = cutter.next_piece().map_err(|error| Error::from(error).of_file(path))? {
            if cutter.is_small() {
                small = Some(piece);
            } else {
                if work.send(Work::Piece { file, number: pieces, piece }).is_err() {
                    return Err(Error::Cancelled);
                }
                pieces += 1;
            }
        }
        let (bytes, hash) = (cutter.bytes(), cutter.content_hash());
        if work.send(Work::End { file, pieces, bytes, hash, small }).is_err() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}

fn seal_pieces(
    secret: &[u8; 32],
    work: &Mutex<mpsc::Receiver<Work>>,
    gathered: &Mutex<BTreeMap<usize, Gathered>>,
    to: &queue::Sender<Sealed>,
) -> Result<(), Error> {
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let hand_over = |sealed| to.blocking_send(sealed).map_err(|_| Error::Cancelled);
    while let Some(work) = next() {
        let file = match work {
            Work::Piece { file, number, piece } => {
                let (chunk, named) = seal_piece(secret, &piece);
                hand_over(Sealed::Chunk(chunk, piece.len() as u64))?;
                let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                gathered.entry(file).or_default().chunks.insert(number, named);
                file
            }
            Work::End { file, bytes, hash, small: Some(small), .. } => {
                let mut manifest = ManifestWriter::default();
                manifest.put_content(small);
                let (content, chunk) = manifest.finish(secret, hash, bytes);
                hand_over(Sealed::Chunk(chunk, bytes))?;
                hand_over(Sealed::File(file, content))?;
                continue;
            }
            Work::End { file, pieces, bytes, hash, small: None } => {
                let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                gathered.entry(file).or_default().end = Some((pieces, bytes, hash));
                file
            }
        };
        if let Some((chunks, bytes, hash)) = complete(gathered, file) {
            let mut manifest = ManifestWriter::default();
            chunks.into_values().try_for_each(|chunk| manifest.push(chunk))?;
            let (content, chunk) = manifest.finish(secret, hash, bytes);
            hand_over(Sealed::Chunk(chunk, 0))?;
            hand_over(Sealed::File(file, content))?;
        }
    }
    Ok(())
}

/// The pieces of a file, once all of them are sealed and handed over.
#[allow(clippy::type_complexity)]
fn complete(
    gathered: &Mutex<BTreeMap<usize, Gathered>>,
    file: usize,
) -> Option<(BTreeMap<usize, ChunkRef>, u64, [u8; 32])> {
    let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
    let (pieces, bytes, hash) = gathered.get(&file)?.end?;
    if gathered.get(&file)?.chunks.len() < pieces {
        return None;
    }
    Some((gathered.remove(&file)?.chunks, bytes, hash))
}
