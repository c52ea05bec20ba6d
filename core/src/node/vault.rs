//! The key that opens the store, and where it comes from.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clave_engine::crypto::{Entropy, PassphraseParams, VaultKey, WrappedVaultKey};
use zeroize::{Zeroize as _, Zeroizing};

use super::lifecycle::Home;
use super::{NodeConfig, Purpose};
use crate::host::{self, KeyWrapping};
use crate::store::{migrate, open_store_within};
use crate::{Error, KeyWrappingError, SealedStore, Store, StoreError, StoreKind, open_store};

/// What opens the vault.
pub enum Unlock {
    /// The key lies beside the store, in clear: whoever can read the directory can read everything.
    WithoutPassphrase,
    /// The key is wrapped by a passphrase (Argon2id, for which 64 MiB are needed).
    Passphrase(Zeroizing<String>),
    /// The key is wrapped by the host, which keeps what unwraps it where no program can read it.
    Host(Arc<dyn KeyWrapping>),
}

const VAULT_FILE: &str = "vault";

/// Where the chunks of files lie.
fn chunks(directory: &Path) -> PathBuf {
    directory.join("chunks")
}

/// Makes the vault of a new directory, or opens the one that is there.
pub(crate) fn create(config: &NodeConfig) -> Result<Arc<SealedStore>, Error> {
    if exists(&config.directory) {
        return open(config);
    }
    let mut entropy = seed_entropy()?;
    let key = VaultKey::generate(&mut entropy);
    let wrapped = match &config.unlock {
        Unlock::WithoutPassphrase => key.wrap_in_clear(),
        Unlock::Passphrase(passphrase) => {
            key.wrap_with_passphrase(passphrase, PassphraseParams::RECOMMENDED, &mut entropy)?
        }
        Unlock::Host(host) => {
            let wrapped = key.wrapped_by_host(host::wrap(&**host, key.as_bytes())?);
            wrapped.map_err(|_| KeyWrappingError::Unavailable)?
        }
    };
    let store = open_any(&config.directory, config.store, config.purpose)?;
    write_vault(&config.directory, &wrapped.to_bytes())?;
    Ok(Arc::new(SealedStore::new(store, key, entropy).with_chunks(&chunks(&config.directory))?))
}

/// Opens the vault of an existing directory.
pub(crate) fn open(config: &NodeConfig) -> Result<Arc<SealedStore>, Error> {
    if !exists(&config.directory) {
        return Err(Error::NoIdentity);
    }
    let bytes = Zeroizing::new(fs::read(path(&config.directory)).map_err(StoreError::from)?);
    let wrapped = WrappedVaultKey::from_bytes(&bytes).map_err(|_| StoreError::Damaged)?;
    // Before anything is locked: the host may ask its user, who may take their time.
    let of_host = match (&config.unlock, wrapped.of_host()) {
        (Unlock::Host(host), Some(made)) => Some(wrapped.unlock_by_host(&host::unwrap(&**host, made)?)?),
        _ => None,
    };
    let store = open_any(&config.directory, config.store, config.purpose)?;
    let key = match (of_host, &config.unlock) {
        (Some(key), _) => key,
        (None, Unlock::WithoutPassphrase | Unlock::Host(_)) => wrapped.unlock(None)?,
        (None, Unlock::Passphrase(passphrase)) => wrapped.unlock(Some(passphrase))?,
    };
    let store = SealedStore::new(store, key, seed_entropy()?).with_chunks(&chunks(&config.directory))?;
    migrate(&config.directory, &store)?;
    Ok(Arc::new(store))
}

/// Makes or opens a vault away from the caller's thread: a passphrase is stretched, or a host asks its user.
pub(crate) async fn off_thread(
    config: NodeConfig,
    work: fn(&NodeConfig) -> Result<Arc<SealedStore>, Error>,
) -> Result<(NodeConfig, Arc<SealedStore>), Error> {
    let work = tokio::task::spawn_blocking(move || {
        let store = work(&config);
        (config, store)
    });
    match work.await {
        Ok((config, store)) => Ok((config, store?)),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(Error::Stopped),
        },
    }
}

/// Opens a store of whatever kind the directory says it is.
fn open_any(directory: &Path, kind: StoreKind, purpose: Purpose) -> Result<Arc<dyn Store>, StoreError> {
    let open = |kind| match purpose.cache_bytes() {
        Some(bytes) => open_store_within(directory, kind, bytes),
        None => open_store(directory, kind),
    };
    match open(kind) {
        Err(StoreError::WrongKind { found, .. }) => open(found),
        store => store,
    }
}

/// Opens a vault again of which the key is known.
pub(super) fn reopen(home: &Home) -> Result<Arc<SealedStore>, Error> {
    let store = open_any(&home.directory, home.store, home.purpose)?;
    let key = VaultKey::from_bytes(home.vault.as_bytes().clone());
    Ok(Arc::new(SealedStore::new(store, key, seed_entropy()?).with_chunks(&chunks(&home.directory))?))
}

pub(super) fn exists(directory: &Path) -> bool {
    path(directory).exists()
}

fn path(directory: &Path) -> PathBuf {
    directory.join(VAULT_FILE)
}

/// Durably, and never half: a store without its vault is lost.
fn write_vault(directory: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let unfinished = directory.join("vault.new");
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path(directory))?;
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Randomness from the operating system.
pub(crate) fn seed_entropy() -> Result<Entropy, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| Error::Store(StoreError::Io(std::io::ErrorKind::Other)))?;
    let entropy = Entropy::from_seed(seed);
    seed.zeroize();
    Ok(entropy)
}
