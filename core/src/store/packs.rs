//! Chunks of files, in files of their own beside the database: a quarter of a megabyte at a time is more than a B-tree
//! should move about.
//!
//! A *pack* is chunks one after another and nothing else; where each begins is a record of the database. A chunk is
//! appended and synced before the record that names it is committed. So a power cut leaves at worst bytes that no
//! record names, which [`Packs::remove`] takes away with their pack, and never a record without its bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::directory::{directory_bytes, sync_directory};

/// A pack that has so many bytes takes no more chunks.
const PACK_BYTES_MAX: u64 = 64 << 20;
/// Small chunks are gathered into writes of so many bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Packs that are held open for reading.
const OPEN_PACKS_MAX: usize = 16;

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pack: u64,
    pub(super) offset: u64,
    pub(super) bytes: u32,
}

impl Place {
    /// As it is stored: pack (8) ‖ offset (8) ‖ length (4).
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&self.pack.to_be_bytes()[..], &self.offset.to_be_bytes(), &self.bytes.to_be_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let (pack, rest) = bytes.split_first_chunk().ok_or(StoreError::Damaged)?;
        let (offset, rest) = rest.split_first_chunk().ok_or(StoreError::Damaged)?;
        let length = <[u8; 4]>::try_from(rest).map_err(|_| StoreError::Damaged)?;
        let (pack, offset) = (u64::from_be_bytes(*pack), u64::from_be_bytes(*offset));
        Ok(Self { pack, offset, bytes: u32::from_be_bytes(length) })
    }
}

/// The packs of one data directory.
pub(super) struct Packs {
    directory: PathBuf,
    appending: Mutex<Appending>,
    /// Packs that are read from, the one used last at the end.
    open: Mutex<Vec<(u64, Arc<File>)>>,
}

/// The pack that takes chunks.
pub(super) struct Appending {
    pack: u64,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl Packs {
    /// Opens the packs in `directory`, creating it if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        if !directory.exists() {
            fs::create_dir(directory)?;
            sync_directory(directory.parent().unwrap_or(directory))?;
        }
        let packs = Self {
            directory: directory.to_owned(),
            appending: Mutex::new(Appending { pack: 0, file: None, bytes: 0 }),
            open: Mutex::default(),
        };
        let newest = packs.all()?.into_iter().next_back();
        if let Some((pack, bytes)) = newest {
            let mut appending = packs.appending();
            (appending.pack, appending.bytes) = (pack, bytes);
        }
        Ok(packs)
    }

    /// Sole leave to append, and to decide on packs.
    pub(super) fn appending(&self) -> MutexGuard<'_, Appending> {
        // Whoever panicked while appending left bytes that no record names.
        self.appending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk. It is durable after [`sync`](Self::sync).
    pub(super) fn append(&self, to: &mut Appending, chunk: &[u8]) -> Result<Place, StoreError> {
        let bytes = u32::try_from(chunk.len()).map_err(|_| StoreError::Damaged)?;
        if to.bytes >= PACK_BYTES_MAX {
            self.sync(to)?;
            to.file = None;
            (to.pack, to.bytes) = (to.pack + 1, 0);
        }
        let result = self.append_here(to, chunk);
        if result.is_err() {
            // How much of it was written is not known: what follows goes into another pack.
            to.file = None;
            (to.pack, to.bytes) = (to.pack + 1, 0);
        }
        let offset = result?;
        Ok(Place { pack: to.pack, offset, bytes })
    }

    fn append_here(&self, to: &mut Appending, chunk: &[u8]) -> Result<u64, StoreError> {
        let writer = match &mut to.file {
            Some(writer) => writer,
            None => {
                let path = self.path(to.pack);
                let is_new = !path.exists();
                let file = File::options().create(true).append(true).open(&path)?;
                if is_new {
                    sync_directory(&self.directory)?;
                }
                // What a crash left behind the last record stays where it is.
                to.bytes = file.metadata()?.len();
                to.file.insert(BufWriter::with_capacity(BUFFER_BYTES, file))
            }
        };
        writer.write_all(chunk)?;
        let offset = to.bytes;
        to.bytes += chunk.len() as u64;
        Ok(offset)
    }

    /// Makes durable what was appended.
    pub(super) fn sync(&self, to: &mut Appending) -> Result<(), StoreError> {
        let Some(writer) = &mut to.file else { return Ok(()) };
        let synced = writer.flush().and_then(|()| writer.get_ref().sync_data());
        if let Err(error) = synced {
            // After a failed sync nobody knows what is on disk: these bytes are never named, and none follow them.
            let (file, _) = to.file.take().expect("it was just used").into_parts();
            drop(file);
            (to.pack, to.bytes) = (to.pack + 1, 0);
            return Err(error.into());
        }
        Ok(())
    }

    /// The chunk at a place.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, StoreError> {
        let file = self.file(place.pack)?;
        match read_at(&file, place.bytes as usize, place.offset) {
            Ok(chunk) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::Damaged),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&self, pack: u64) -> Result<Arc<File>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().position(|(number, _)| *number == pack);
        let file = match known {
            Some(at) => open.remove(at).1,
            None => Arc::new(File::open(self.path(pack))?),
        };
        open.push((pack, file.clone()));
        if open.len() > OPEN_PACKS_MAX {
            open.remove(0);
        }
        Ok(file)
    }

    /// The numbers and sizes of all packs.
    pub(super) fn all(&self) -> Result<BTreeMap<u64, u64>, StoreError> {
        let mut packs = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".pack")?.parse().ok());
            if let Some(number) = number {
                packs.insert(number, entry.metadata()?.len());
            }
        }
        Ok(packs)
    }

    /// Removes a pack that no record names, unless it is the one that takes chunks.
    pub(super) fn remove(&self, appending: &Appending, pack: u64) -> Result<(), StoreError> {
        if pack == appending.pack {
            return Ok(());
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(number, _)| *number != pack);
        drop(open);
        match fs::remove_file(self.path(pack)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn size_bytes(&self) -> Result<u64, StoreError> {
        directory_bytes(&self.directory)
    }

    fn path(&self, pack: u64) -> PathBuf {
        self.directory.join(format!("{pack:08}.pack"))
    }
}

impl Appending {
    /// Which pack this is.
    pub(super) fn pack(&self) -> u64 {
        self.pack
    }

    /// Goes on with a pack of its own, so that the present one can be emptied.
    pub(super) fn begin_another(&mut self) {
        if self.bytes > 0 {
            self.file = None;
            (self.pack, self.bytes) = (self.pack + 1, 0);
        }
    }
}

/// So many bytes from an offset on. Their room is not filled with zeros first.
#[cfg(unix)]
fn read_at(file: &File, bytes: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::with_capacity(bytes);
    while read.len() < bytes {
        let at = offset + read.len() as u64;
        let more = || rustix::io::pread(file, rustix::buffer::spare_capacity(&mut read), at);
        if rustix::io::retry_on_intr(more)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // There may be more room than was asked for.
    read.truncate(bytes);
    Ok(read)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: usize, offset: u64) -> io::Result<Vec<u8>> {
    use std::os::windows::fs::FileExt as _;
    let (mut read, mut done) = (vec![0; bytes], 0);
    while done < bytes {
        match file.seek_read(&mut read[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => done += more,
        }
    }
    Ok(read)
}
