//! What can be typed about the drive.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    /// Share a file; one of the same name in the same folder gets a new version
    #[command(after_help = "Example:\n  clave file add plan.pdf --to /plans")]
    Add {
        /// The file on this machine
        path: PathBuf,
        /// The folder in the drive
        #[arg(long, default_value = "/", value_name = "FOLDER")]
        to: String,
        /// Another name for it
        #[arg(long)]
        name: Option<String>,
    },
    /// List a folder of the drive
    #[command(after_help = "Example:\n  clave file ls /plans")]
    Ls {
        /// The folder
        #[arg(default_value = "/")]
        path: String,
    },
    /// Copy a file of the drive to this machine; what is missing is fetched from whoever has it
    #[command(after_help = "Example:\n  clave file get /plans/plan.pdf -o ~/plan.pdf")]
    Get {
        /// The file in the drive
        path: String,
        /// Where to: a file or a folder; this folder if missing
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
        /// How long to wait for somebody who has it
        #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Make a folder
    #[command(after_help = "Example:\n  clave file mkdir /plans/2026")]
    Mkdir {
        /// Its path in the drive
        path: String,
    },
    /// Move or rename a file or folder
    #[command(after_help = "Example:\n  clave file mv /plan.pdf /plans")]
    Mv {
        /// What
        from: String,
        /// The folder to put it in, or its new path
        to: String,
    },
    /// Throw a file or folder into the trash
    #[command(after_help = "Example:\n  clave file rm /plans/old.pdf")]
    Rm {
        /// What
        path: String,
    },
    /// List every content that a file had
    #[command(after_help = "Example:\n  clave file versions /plans/plan.pdf")]
    Versions {
        /// The file
        path: String,
    },
    /// Make an earlier content of a file its newest
    #[command(after_help = "Example:\n  clave file restore /plans/plan.pdf 2")]
    Restore {
        /// The file
        path: String,
        /// Which: its number in `clave file versions`, where 1 is the newest
        number: usize,
    },
    /// Show what files take on this device
    #[command(after_help = "Example:\n  clave file usage")]
    Usage,
    /// Limit what files may take on this device; what is here already stays
    #[command(after_help = "Example:\n  clave file quota 2000000000\n  clave file quota none")]
    Quota {
        /// Bytes, or `none`
        bytes: String,
    },
    /// Remove content that no version of any file has had for a day
    #[command(after_help = "Example:\n  clave file gc\n  clave file gc --versions 3")]
    Gc {
        /// Keep only so many of the newest versions of each file on this device. Others may be fetched again from whoever has
        /// them, and are lost if nobody does
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        versions: Option<u32>,
    },
}
