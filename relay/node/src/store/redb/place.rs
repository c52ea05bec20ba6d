//! Where a store's database and journal are.

use std::{io, path::PathBuf};

use redb::{Database, DatabaseError};

use super::{
    builder,
    journal::{DurableFile, open_file},
    journal_path,
};

/// Opens them, again and again if need be.
pub(super) trait Place: Send + Sync {
    fn database(&self) -> Result<Database, DatabaseError>;

    /// An empty one is a new one.
    fn journal(&self) -> io::Result<Box<dyn DurableFile>>;
}

/// Two files beside each other.
pub(super) struct Files {
    /// Of the database.
    pub(super) path: PathBuf,
    pub(super) cache_bytes: usize,
}

impl Place for Files {
    fn database(&self) -> Result<Database, DatabaseError> {
        builder(self.cache_bytes).create(&self.path)
    }

    fn journal(&self) -> io::Result<Box<dyn DurableFile>> {
        Ok(Box::new(open_file(&journal_path(&self.path))?))
    }
}
