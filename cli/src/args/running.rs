//! What can be typed about this device as a whole: making it, running it, waiting for it, looking after it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clave::StoreKind;

use super::{Recovery, duration};

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// How others see you (asked for if missing)
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How you call this device (asked for if missing)
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Be a further device of yours: the code that `clave device link` shows on another one
    #[arg(long, value_name = "CODE", conflicts_with = "name")]
    pub(crate) link: Option<String>,
    /// Where the other device is, as a multiaddr, for a code that was typed; may be repeated
    #[arg(long, value_name = "ADDRESS", requires = "link")]
    pub(crate) at: Vec<String>,
    /// How long to try to link
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME", requires = "link")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) recovery: Recovery,
    /// Go without a passphrase: whoever can read the data directory can read everything
    #[arg(long)]
    pub(crate) no_passphrase: bool,
    /// Which store to keep things in: redb or sled
    #[arg(long, default_value_t, value_name = "KIND")]
    pub(crate) store: StoreKind,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A directory that is empty or does not exist yet, or one with an earlier export
    pub(crate) directory: PathBuf,
    /// Fetch the content of files that is not on this device, and wait so long for each: 30s, 5m
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Take out records that are damaged, having copied them into a file, and make again what can be made from the others
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// An address to listen on, as a multiaddr; may be repeated. The port of last time on every interface if missing
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Neither look for others on the local network nor be found there
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Speak QUIC beside TCP
    #[arg(long)]
    pub(crate) quic: bool,
    /// A relay to be reachable through, with its /p2p/…; may be repeated: all are used
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) relay: Vec<String>,
    /// Stop when the standard input ends: for a program that starts this one
    #[arg(long, hide = true)]
    pub(crate) until_eof: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// At least so many people are in the space or circle
    #[arg(long, value_name = "COUNT")]
    pub(crate) members: Option<usize>,
    /// At most so many people are in it
    #[arg(long, value_name = "COUNT")]
    pub(crate) members_max: Option<usize>,
    /// No device that is out has the keys in use
    #[arg(long)]
    pub(crate) rotated: bool,
    /// All that was written here is stored at a relay of the space
    #[arg(long)]
    pub(crate) stored: bool,
    /// This device was removed, and has heard of it
    #[arg(long)]
    pub(crate) removed: bool,
    /// No request to join waits at a relay any more
    #[arg(long)]
    pub(crate) joined: bool,
    /// At least so many messages are here
    #[arg(long, value_name = "COUNT")]
    pub(crate) messages: Option<usize>,
    /// This restored device was let in again everywhere, and can write
    #[arg(long)]
    pub(crate) rejoined: bool,
    /// Something is at this path of the drive
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<String>,
    /// At least so many other devices are connected
    #[arg(long, value_name = "COUNT")]
    pub(crate) online: Option<usize>,
    /// At most so many other devices are connected
    #[arg(long, value_name = "COUNT")]
    pub(crate) online_max: Option<usize>,
    /// How long to wait
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A file to share; one of a few MB is made if missing
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// A calendar to import; one is made if missing
    #[arg(long, value_name = "PATH")]
    pub(crate) ics: Option<PathBuf>,
    /// Also replay a recorded editing session (JSON, gzipped or not), each of its people on a device of their own
    #[arg(long, value_name = "PATH")]
    pub(crate) trace: Option<PathBuf>,
    /// Keep the data directories, to look around in them; `--keep=false` removes them at the end
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) keep: bool,
    /// How many devices
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=8), value_name = "COUNT")]
    pub(crate) nodes: u8,
}
