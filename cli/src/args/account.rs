//! What can be typed about an account: its export, and the way back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Write all that this device has of your account into a file that only your recovery phrase opens
    #[command(after_help = "Example:\n  clave account export account.clave\n  clave account export account.clave \
                            --with-files --phrase-file words.txt\n\nOn a bare machine: clave init --restore \
                            account.clave")]
    Export {
        /// Where to; an older export there is replaced once the new one is complete
        file: PathBuf,
        /// Also the content of files, as far as it is here; without, files are fetched from others after a restore
        #[arg(long)]
        with_files: bool,
        /// Read the recovery phrase from this file instead of the standard input
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
    /// Take another recovery phrase in place of the one you have, which is asked for
    #[command(
        after_help = "Example:\n  clave account new-phrase\n\nThe former phrase brings nobody in any more. Exports \
                            that were made before are still opened by it, and by no other: make a new one, and do away \
                            with those."
    )]
    NewPhrase {
        /// Read the present recovery phrase from this file instead of the standard input
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
    /// Make a space or circle in which you are alone yours again, after a restore: revokes your devices that are lost
    #[command(
        after_help = "Example:\n  clave account begin-anew --space Diary\n\nWhere others are in, one of them lets this \
                            device in, by itself, as soon as both are online."
    )]
    BeginAnew,
}

/// What makes `clave init` take up an identity that there was.
#[derive(Debug, Args)]
pub(crate) struct Recovery {
    /// Come back from an export of your account (`clave account export`); asks for the recovery phrase
    #[arg(long, value_name = "FILE", group = "recovery", conflicts_with_all = ["name", "link"])]
    pub(crate) restore: Option<PathBuf>,
    /// Come back with nothing but the recovery phrase: your identity, and none of your spaces
    #[arg(long, group = "recovery", conflicts_with = "link")]
    pub(crate) recover: bool,
    /// Read the recovery phrase from this file instead of the standard input
    #[arg(long, value_name = "FILE", requires = "recovery")]
    pub(crate) phrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to; the backups that were there before are kept as FILE.1 (the newest), FILE.2, …
    pub(crate) file: PathBuf,
    /// How many older ones to keep
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(..=99))]
    pub(crate) keep: u32,
    /// Leave the content of files out: after a restore they are fetched from others
    #[arg(long)]
    pub(crate) without_files: bool,
    /// Read the recovery phrase from this file instead of the standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) phrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: PathBuf,
    /// How you call this device (asked for if missing)
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Read the recovery phrase from this file instead of the standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) phrase_file: Option<PathBuf>,
    /// Go without a passphrase: whoever can read the data directory can read everything
    #[arg(long)]
    pub(crate) no_passphrase: bool,
    /// Which store to keep things in: redb or sled
    #[arg(long, default_value_t, value_name = "KIND")]
    pub(crate) store: clave::StoreKind,
}

/// A restore is a beginning.
impl From<Restore> for super::Init {
    fn from(restore: Restore) -> Self {
        let Restore { file, device, phrase_file, no_passphrase, store } = restore;
        let recovery = Recovery { restore: Some(file), recover: false, phrase_file };
        let timeout = std::time::Duration::ZERO;
        Self { name: None, device, link: None, at: Vec::new(), timeout, recovery, no_passphrase, store }
    }
}
