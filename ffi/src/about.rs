//! About this library, and about a data directory that no node has open.

use crate::{ClaveError, NodeOptions};

/// Which library this is.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct BuildInfo {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, in hexadecimal digits, with `-dirty` behind it if something was changed; `unknown`
    /// if it was not built from a repository.
    pub git_hash: String,
    /// The version of what it writes to disk.
    pub store_format: u32,
}

/// What looking through a data directory found.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Examination {
    /// Whether nothing is wrong.
    pub is_sound: bool,
    /// Records that were read.
    pub records: u64,
    /// Bytes on disk.
    pub store_bytes: u64,
    /// Records that do not authenticate.
    pub damaged: u64,
    /// Why the device cannot be opened, as a sentence.
    pub unopened: Option<String>,
    /// Records that were taken out, if it was to be repaired.
    pub removed: Option<u64>,
}

/// The version of this library.
#[uniffi::export]
#[must_use]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Which library this is: for a report of a problem.
#[uniffi::export]
#[must_use]
pub fn build_info() -> BuildInfo {
    BuildInfo { version: version(), git_hash: env!("CLAVE_GIT_HASH").to_owned(), store_format: clave::STORE_FORMAT }
}

/// Looks through the data directory of a device that is not running, and, with `repair`, mends what can be mended without
/// loss. What is taken out is first copied beside the store.
///
/// # Errors
/// [`ClaveError::Store`] if it is in use or cannot be read, [`ClaveError::Vault`], [`ClaveError::Identity`].
#[uniffi::export]
pub async fn examine(options: NodeOptions, repair: bool) -> Result<Examination, ClaveError> {
    let (done, result) = tokio::sync::oneshot::channel();
    // It reads everything, and needs no node: on a thread that ends with it.
    let reading = std::thread::Builder::new().name("clave-doctor".to_owned()).spawn(move || {
        let _ = done.send(clave::examine(&options.into(), repair, |_| {}));
    });
    let reading = reading.map_err(|error| ClaveError::no_threads(&error))?;
    let Ok(result) = result.await else {
        return match reading.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(clave::Error::Stopped.into()),
        };
    };
    let examination = result?;
    Ok(Examination {
        is_sound: examination.is_sound(),
        records: examination.records,
        store_bytes: examination.store_bytes,
        damaged: examination.damaged.values().sum(),
        unopened: examination.unopened.as_ref().map(ToString::to_string),
        removed: examination.repaired.map(|repair| repair.removed),
    })
}
