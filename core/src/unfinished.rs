//! Files of the person's own, which appear whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::Error;

/// A file that is being written beside the place where it will be. What is not finished is removed.
pub(crate) struct Unfinished {
    path: PathBuf,
    destination: PathBuf,
}

impl Unfinished {
    /// For a file that is to be at `destination`.
    pub(crate) fn beside(destination: &Path) -> Result<Self, Error> {
        let named = |source| Error::File { path: destination.display().to_string(), source };
        let mut name =
            destination.file_name().ok_or_else(|| named(std::io::ErrorKind::InvalidInput.into()))?.to_owned();
        name.push(".clave-part");
        Ok(Self { path: destination.with_file_name(name), destination: destination.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins it.
    pub(crate) fn create(&self) -> Result<File, Error> {
        File::create(&self.path).map_err(|error| self.failed(error))
    }

    /// Begins it, for its owner's eyes only.
    pub(crate) fn create_private(&self) -> Result<File, Error> {
        let mut options = File::options();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path).map_err(|error| self.failed(error))
    }

    /// A failure of the disk, with the name that the file is to have.
    pub(crate) fn failed(&self, source: std::io::Error) -> Error {
        Error::File { path: self.destination.display().to_string(), source }
    }

    /// Makes it durable and puts it in its place. How long it is.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        let file = File::open(&self.path).map_err(|error| self.failed(error))?;
        file.sync_all().map_err(|error| self.failed(error))?;
        let bytes = file.metadata().map_err(|error| self.failed(error))?.len();
        drop(file);
        self.place()?;
        #[cfg(unix)]
        if let Some(directory) = self.destination.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| self.failed(error))?;
        }
        Ok(bytes)
    }

    /// Puts one that is durable already in its place.
    pub(crate) fn place(&self) -> Result<(), Error> {
        fs::rename(&self.path, &self.destination).map_err(|error| self.failed(error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone if it was put in its place.
        let _ = fs::remove_file(&self.path);
    }
}
