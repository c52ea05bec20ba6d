//! The data directory of this device, and what opens it.

use std::env;
use std::path::{Path, PathBuf};

use clave::{CryptoError, Error, Examination, NetworkConfig, Node, NodeConfig, StoreKind, Unlock};
use zeroize::Zeroizing;

use crate::failure::{Code, Failure};

/// The variable that holds the passphrase.
pub(crate) const PASSPHRASE_VARIABLE: &str = "CLAVE_PASSPHRASE";

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
}

impl Place {
    /// The directory that was asked for, or the platform's own.
    pub(crate) fn new(directory: Option<PathBuf>) -> Result<Self, Failure> {
        let directory = match directory.or_else(default_directory) {
            Some(directory) => std::path::absolute(&directory).map_err(|error| Failure::file(&directory, &error))?,
            None => return Err(Failure::usage("there is no home directory: name a data directory with --dir")),
        };
        Ok(Self { directory })
    }

    /// Opens the store, and asks for the passphrase if there is one.
    pub(crate) async fn open(&self, network: Option<NetworkConfig>) -> Result<Node, Error> {
        match Box::pin(Node::open(self.config(Unlock::WithoutPassphrase, network.clone()))).await {
            Err(Error::Vault(CryptoError::PassphraseNeeded)) => {
                let unlock = Unlock::Passphrase(known_passphrase()?);
                Box::pin(Node::open(self.config(unlock, network))).await
            }
            node => node,
        }
    }

    /// Looks through the store, and asks for the passphrase if there is one. Blocks.
    pub(crate) fn examine(&self, repair: bool, mut progress: impl FnMut(u64)) -> Result<Examination, Error> {
        match clave::examine(&self.config(Unlock::WithoutPassphrase, None), repair, &mut progress) {
            Err(Error::Vault(CryptoError::PassphraseNeeded)) => {
                let unlock = Unlock::Passphrase(known_passphrase()?);
                clave::examine(&self.config(unlock, None), repair, progress)
            }
            examination => examination,
        }
    }

    fn config(&self, unlock: Unlock, network: Option<NetworkConfig>) -> NodeConfig {
        NodeConfig { store: StoreKind::default(), unlock, network, ..NodeConfig::new(&self.directory) }
    }

    /// Makes the directory, for its owner's eyes only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.directory).map_err(|error| Failure::file(&self.directory, &error))
    }
}

/// The passphrase of a vault that has one.
fn known_passphrase() -> Result<Zeroizing<String>, Error> {
    let asked = || ask_passphrase("Passphrase: ");
    passphrase_variable().or_else(asked).ok_or(Error::Vault(CryptoError::PassphraseNeeded))
}

/// The passphrase from the environment.
pub(crate) fn passphrase_variable() -> Option<Zeroizing<String>> {
    env::var(PASSPHRASE_VARIABLE).ok().map(Zeroizing::new)
}

/// Asks for a passphrase without showing it, if there is somebody to ask.
pub(crate) fn ask_passphrase(prompt: &str) -> Option<Zeroizing<String>> {
    let terminal = console::Term::stderr();
    if !terminal.is_term() {
        return None;
    }
    terminal.write_str(prompt).ok()?;
    terminal.read_secure_line().ok().map(Zeroizing::new)
}

/// Asks for a new passphrase, twice.
pub(crate) fn ask_new_passphrase() -> Result<Zeroizing<String>, Failure> {
    let ask = |prompt: &str| {
        ask_passphrase(prompt).ok_or_else(|| {
            Failure::new(Code::Usage, "there is no terminal to ask for a passphrase in").hint(format!(
                "set {PASSPHRASE_VARIABLE}, or go without one with --no-passphrase: whoever gets at the data directory \
                 can then read everything"
            ))
        })
    };
    let first = ask("New passphrase: ")?;
    if first.is_empty() {
        return Err(Failure::usage("the passphrase is empty").hint("to go without one, say --no-passphrase"));
    }
    if *first == *ask("The same again: ")? { Ok(first) } else { Err(Failure::usage("the two are not the same")) }
}

fn default_directory() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::home_dir().filter(|home| home.is_absolute());
    if cfg!(windows) {
        variable("LOCALAPPDATA").map(|data| data.join("clave"))
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support/clave"))
    } else {
        variable("XDG_DATA_HOME")
            .or_else(|| home().map(|home| home.join(".local/share")))
            .map(|data| data.join("clave"))
    }
}

/// A path as the running node, which has another working directory, understands it.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::file(path, &error))
}
