//! Backups: everything a relay needs to go on elsewhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    files,
    run::{blocks_path, store_path},
    store::{MailboxStore, StoreError, journal_path, renew_generation},
    wake::{self, Wakes},
};

/// The key's name in a backup.
const KEY: &str = "relay.key";

/// Why there is no backup, or it was not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BackupError {
    #[error("{0} is there already: name a directory that is not")]
    Exists(PathBuf),
    #[error("{0} cannot be written or read: {1}. Check that the relay's user may, and that there is room")]
    Io(PathBuf, io::Error),
    #[error("the store could not be copied: {0}")]
    Store(#[from] StoreError),
    #[error("{0} is no backup: name the directory that `clave-relay backup` wrote")]
    NoBackup(PathBuf),
    #[error(transparent)]
    Open(#[from] crate::store::OpenError),
}

/// Writes a backup to a directory that does not exist yet, of one moment, while the relay runs.
///
/// # Errors
/// See [`BackupError`]. Nothing is left there then.
pub(crate) async fn write(
    store: &dyn MailboxStore,
    wakes: Option<&Wakes>,
    config: &Config,
    to: &Path,
) -> Result<(), BackupError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.into()),
        _ => BackupError::Io(to.into(), error),
    };
    let mut builder = fs::DirBuilder::new();
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(to).map_err(failed)?;
    let written = fill(store, wakes, config, to).await;
    if written.is_err() {
        // It is ours, and half a backup helps nobody. If that fails as well, what went wrong first is what matters.
        let _ = fs::remove_dir_all(to);
    }
    written
}

async fn fill(store: &dyn MailboxStore, wakes: Option<&Wakes>, config: &Config, to: &Path) -> Result<(), BackupError> {
    let failed = |error: io::Error| BackupError::Io(to.into(), error);
    copy(&config.identity(), &to.join(KEY)).map_err(failed)?;
    let blocks = blocks_path(&config.data);
    if blocks.exists() {
        copy(&blocks, &blocks_path(to)).map_err(failed)?;
    }
    if let Some(wakes) = wakes {
        wakes.backup(&config.data, to).await?;
    }
    store.backup(store_path(to)).await?;
    files::sync_directory(to).map_err(failed)
}

/// Puts a backup into a data directory that has no store, under a new generation: what was stored since is lost, and devices must not rely on
/// the positions they remember.
///
/// # Errors
/// See [`BackupError`].
pub(crate) fn restore(from: &Path, config: &Config) -> Result<(), BackupError> {
    if !store_path(from).exists() || !from.join(KEY).exists() {
        return Err(BackupError::NoBackup(from.into()));
    }
    let store = store_path(&config.data);
    // A journal that was left there is of another store.
    for file in [store.clone(), journal_path(&store), config.identity()] {
        if file.exists() {
            return Err(BackupError::Exists(file));
        }
    }
    let failed = |error| BackupError::Io(config.data.clone(), error);
    fs::create_dir_all(&config.data).map_err(failed)?;
    let next = store.with_extension("restoring");
    copy(&store_path(from), &next).map_err(failed)?;
    renew_generation(&next)?;
    for path in [blocks_path, wake::key_path, wake::subscriptions_path] {
        if path(from).exists() {
            copy(&path(from), &path(&config.data)).map_err(failed)?;
        }
    }
    copy(&from.join(KEY), &config.identity()).map_err(failed)?;
    fs::rename(&next, &store).map_err(failed)?;
    files::sync_directory(&config.data).map_err(failed)
}

/// Copies a file with its mode, durably.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        hub::Hub,
        store::{MemoryStore, Quotas},
    };

    #[tokio::test]
    async fn one_that_fails_leaves_nothing_behind() {
        let quotas = Quotas {
            kept_seconds: 1,
            mailbox_bytes_max: 1,
            mailbox_entries_max: 1,
            store_bytes_max: 1,
            new_mailboxes_bytes_max: 1,
            mailboxes_max: 1,
        };
        let store = MemoryStore::new(quotas, Arc::<Hub>::default());
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().into(), ..Config::default() };
        let to = folder.path().join("backup");
        // There is no key.
        assert!(matches!(write(&store, None, &config, &to).await, Err(BackupError::Io(..))));
        assert!(!to.exists());
        // There is one, but the store has no file, as one on a cluster.
        fs::write(config.identity(), b"key").unwrap();
        assert!(matches!(write(&store, None, &config, &to).await, Err(BackupError::Store(_))));
        assert!(!to.exists());
        // What was there before is not ours to take away.
        fs::create_dir(&to).unwrap();
        assert!(matches!(write(&store, None, &config, &to).await, Err(BackupError::Exists(_))));
        assert!(to.exists());
    }
}
