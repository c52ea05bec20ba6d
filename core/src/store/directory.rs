//! The data directory: who holds it, which kind and version of store is in it, and how one comes to be.
//!
//! A store is built in `store.new` and renamed to `store` once it and its `format` file are on disk, so that there
//! is no moment at which a crash leaves half a store under the final name.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::migration::STEPS;
use super::{StoreError, StoreKind};

/// The format version that this build writes, and the newest that it reads. See `docs/storage-format.md`.
///
/// It follows from the steps that lead here from format 1; what is written is older until they are taken.
pub const STORE_FORMAT: u32 = 1 + STEPS.len() as u32;

const LOCK_FILE: &str = "lock";
const HOLDER_FILE: &str = "holder";
const STORE_DIRECTORY: &str = "store";
const UNFINISHED_DIRECTORY: &str = "store.new";
const FORMAT_FILE: &str = "format";
const UNFINISHED_FORMAT_FILE: &str = "format.new";

/// Sole use of a data directory, until dropped or until the process ends, however it ends.
///
/// Opening a store takes it; a host that needs the directory for something else (a backup, say) can take it by hand.
#[derive(Debug)]
pub struct DirectoryLock {
    directory: PathBuf,
    file: File,
}

impl DirectoryLock {
    /// Creates `directory` if it is not there, and takes it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] with the holder's process id if it is taken, and what the disk has to say.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(directory)?;
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK_FILE))?;
        if !try_lock(&file)? {
            return Err(StoreError::Busy { holder: holder(directory) });
        }
        // A file of its own, because on Windows nobody else can read one that is locked.
        fs::write(directory.join(HOLDER_FILE), std::process::id().to_string())?;
        Ok(Self { directory: directory.to_owned(), file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // A courtesy: the next holder overwrites it.
        let _ = fs::remove_file(self.directory.join(HOLDER_FILE));
        // Closing the file would do, were it not that a process being spawned elsewhere in this one has it open, too,
        // between its fork and its exec.
        let _ = unlock(&self.file);
    }
}

/// Locks a file against everybody else, or says `false` if somebody has it. The lock goes with the file's last handle.
///
/// This is `File::try_lock`, which cannot be used before Rust 1.98: it fails on Android (rust-lang/rust#148325).
#[cfg(unix)]
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Locks a file against everybody else, or says `false` if somebody has it. The lock goes with the file's last handle.
#[cfg(not(unix))]
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(unix)]
fn unlock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, rustix::fs::FlockOperation::Unlock)?)
}

#[cfg(not(unix))]
fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

fn holder(directory: &Path) -> Option<u32> {
    fs::read_to_string(directory.join(HOLDER_FILE)).ok()?.trim().parse().ok()
}

/// Takes `directory` and returns where its store of this kind is, having had `create` make an empty one if there is
/// none.
pub(super) fn take_store(
    directory: &Path,
    kind: StoreKind,
    create: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(DirectoryLock, PathBuf), StoreError> {
    let lock = DirectoryLock::take(directory)?;
    let store = directory.join(STORE_DIRECTORY);
    if store.exists() {
        check_format(&store, kind)?;
    } else {
        let unfinished = directory.join(UNFINISHED_DIRECTORY);
        remove_directory(&unfinished)?;
        fs::create_dir(&unfinished)?;
        create(&unfinished)?;
        write_format(&unfinished.join(FORMAT_FILE), STORE_FORMAT, kind)?;
        sync_directory(&unfinished)?;
        fs::rename(&unfinished, &store)?;
        sync_directory(directory)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
    }
    Ok((lock, store))
}

fn write_format(path: &Path, format: u32, kind: StoreKind) -> Result<(), StoreError> {
    fs::write(path, format!("clave store\nformat {format}\nkind {kind}\n"))?;
    File::options().write(true).open(path)?.sync_all()?;
    Ok(())
}

/// Puts another version record in the place of the one of a store: as a whole, or not at all.
pub(super) fn write_next_format(directory: &Path, format: u32, kind: StoreKind) -> Result<(), StoreError> {
    let store = directory.join(STORE_DIRECTORY);
    let unfinished = store.join(UNFINISHED_FORMAT_FILE);
    write_format(&unfinished, format, kind)?;
    fs::rename(unfinished, store.join(FORMAT_FILE))?;
    sync_directory(&store)
}

fn check_format(store: &Path, asked: StoreKind) -> Result<(), StoreError> {
    let (_, found) = parse_format(&store.join(FORMAT_FILE))?;
    if found == asked { Ok(()) } else { Err(StoreError::WrongKind { found, asked }) }
}

/// The format and the kind of the store in a data directory.
pub(super) fn read_format(directory: &Path) -> Result<(u32, StoreKind), StoreError> {
    parse_format(&directory.join(STORE_DIRECTORY).join(FORMAT_FILE))
}

fn parse_format(path: &Path) -> Result<(u32, StoreKind), StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            return Err(StoreError::Damaged);
        }
        Err(error) => return Err(error.into()),
    };
    let mut lines = text.lines();
    if lines.next() != Some("clave store") {
        return Err(StoreError::Damaged);
    }
    let mut field = |name| lines.next().and_then(|line| line.strip_prefix(name)).ok_or(StoreError::Damaged);
    // The version comes first: what follows it may mean something else in a later one.
    let found = field("format ")?.parse().map_err(|_| StoreError::Damaged)?;
    if found > STORE_FORMAT {
        return Err(StoreError::TooNew { found, supported: STORE_FORMAT });
    }
    if found == 0 {
        return Err(StoreError::Damaged);
    }
    Ok((found, field("kind ")?.parse().map_err(|_| StoreError::Damaged)?))
}

pub(super) fn remove_directory(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable. Windows does so by itself and cannot open a directory as a file.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// The sum of the sizes of all files under a directory, in bytes.
pub(super) fn directory_bytes(path: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The backend may remove a file of its own while this looks around.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        bytes += if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Opens a backend, which may panic over a file that somebody altered.
pub(super) fn open_guarded<T>(open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(StoreError::Damaged))
}
