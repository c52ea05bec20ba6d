//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clave::StoreKind;

mod account;
mod people;

pub(crate) use account::{AccountCommand, Backup, Recovery, Restore};
pub(crate) use people::{
    Audit, AuditCommand, CircleCommand, DeviceCommand, Dm, Members, MembersCommand, Policy, PolicyCommand,
    RelayCommand, RoleName, SetAside, SetAsideCommand, Verify,
};

/// Chat, files, calendar and notes for a team, end-to-end encrypted, without a server.
#[derive(Debug, Parser)]
#[command(
    name = "clave",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Example:\n  clave init\n  clave space new \"Café Kollektiv\"\n  clave run &\n  clave invite\n\n\
                  Exit codes:\n  0 done   1 failed   2 not understood   3 not found   4 refused   5 nobody answered\n  \
                  6 the data directory is in use   130 interrupted"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The data directory of this device
    #[arg(long, global = true, env = "CLAVE_DIR", value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) dir: Option<PathBuf>,
    /// The space, by name or by the beginning of its id; not needed if there is just one
    #[arg(long, short, global = true, env = "CLAVE_SPACE", value_name = "SPACE", help_heading = "Everywhere")]
    pub(crate) space: Option<String>,
    /// A circle of the space, by name or by the beginning of its id; everybody in the space if missing
    #[arg(long, short, global = true, env = "CLAVE_CIRCLE", value_name = "CIRCLE", help_heading = "Everywhere")]
    pub(crate) circle: Option<String>,
    /// Print JSON: one value, or one a line where there are several; errors too, to stderr
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Say more of what goes on, to stderr; twice for even more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create your identity on this device
    #[command(after_help = "Example:\n  clave init --name \"Zoë\" --device laptop\n\nThe passphrase is asked for, or \
                            taken from CLAVE_PASSPHRASE.\n\nWith the recovery phrase that it shows and an export of the account \
                            (`clave account export`), all else lost:\n  clave init --restore account.clave")]
    Init(Init),
    /// Export your account, so that you come back when every device is lost
    #[command(
        subcommand,
        after_help = "Example:\n  clave account export account.clave\n  clave init --restore account.clave"
    )]
    Account(AccountCommand),
    /// Make a backup that only your recovery phrase opens: encrypted, read back, the older ones kept beside it
    #[command(
        after_help = "Example:\n  clave backup /media/usb/clave.backup\n\nWorks while `clave run` does. Every night: put \
                            it into cron or a systemd timer, with --phrase-file."
    )]
    Backup(Backup),
    /// Come back from a backup, in a data directory with nothing in it
    #[command(
        after_help = "Example:\n  clave restore /media/usb/clave.backup --dir ~/clave\n\nThis becomes a new device of yours. \
                            It reads at once, and writes as soon as it has met a member of each space."
    )]
    Restore(Restore),
    /// Write everything that this device can read in open formats: Automerge, Markdown, .ics, plain files, JSON
    #[command(
        after_help = "Example:\n  clave export ~/clave-open\n\nIn clear: whoever can read the directory can read it. Once \
                            more into the same directory, it goes on where it was, and brings it up to date."
    )]
    Export(Export),
    /// Say who you are on this device
    #[command(after_help = "Example:\n  clave whoami")]
    Whoami,
    /// Show all circles at a glance: what was said last, and what you have not read
    #[command(after_help = "Example:\n  clave inbox\n  clave chat read --circle Budget")]
    Inbox,
    /// Found, list and look at spaces (teams)
    #[command(subcommand, after_help = "Example:\n  clave space new \"Café Kollektiv\"")]
    Space(SpaceCommand),
    /// Invite somebody by a link that works once
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clave invite --valid 48h --qr")]
    Invite(Invite),
    /// Join a space by an invitation link
    #[command(after_help = "Example:\n  clave join clave://join/CiBzb21l…")]
    Join(Join),
    /// Found, list and leave circles: private channels, departments, rooms for outside staff
    #[command(subcommand, after_help = "Example:\n  clave circle create Budget --with Bob --with 王小明")]
    Circle(CircleCommand),
    /// Talk with one person of the space alone
    #[command(after_help = "Example:\n  clave dm Bob Lunch at noon?\n  clave dm Bob")]
    Dm(Dm),
    /// List who is in; add and remove people, give roles
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clave members --circle Budget")]
    Members(Members),
    /// Say who can read what is written, and since when the others cannot
    #[command(after_help = "Example:\n  clave access --circle Budget")]
    Access,
    /// List, link and revoke your devices
    #[command(subcommand, after_help = "Example:\n  clave device link --qr")]
    Device(DeviceCommand),
    /// Make sure that somebody is who they are called: both compare seven pictures, or a number
    #[command(after_help = "Example:\n  clave verify Bob\n  clave verify --number Bob\n  clave verify --mark Bob")]
    Verify(Verify),
    /// Show what was set aside because of a removal, and why; take it over
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clave set-aside")]
    SetAside(SetAside),
    /// Show and set policies: who may invite, what newcomers can read
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clave policy")]
    Policy(Policy),
    /// Say which relays keep what is written here for who is not online; they cannot read it
    #[command(subcommand, after_help = "Example:\n  clave relay add /dns4/relay.example.org/tcp/4400/p2p/12D3KooW…")]
    Relay(RelayCommand),
    /// List everything that ever changed who is in and who may what; export it, check an export
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clave audit --export audit.jsonl")]
    Audit(Audit),
    /// Talk
    #[command(subcommand, after_help = "Example:\n  clave chat send 你好 👋")]
    Chat(ChatCommand),
    /// Find messages, notes, events and files of the space, or of a circle, by their words
    #[command(
        after_help = "Example:\n  clave search 发布会\n  clave search budget \"annual report\" --from Bob --since 2026-10-01\n  \
                            clave search agenda --kind note --circle Budget\n\nAll words have to be there. Put in quotation \
                            marks, they have to stand together; the shell needs a second pair: '\"annual report\"'"
    )]
    Search(Search),
    /// Write notes together
    #[command(subcommand, after_help = "Example:\n  clave note edit \"Weekly meeting\"")]
    Note(NoteCommand),
    /// Keep the calendar
    #[command(
        subcommand,
        after_help = "Example:\n  clave cal add \"Weekly meeting\" --at \"2026-11-23 14:00\" --repeat weekly"
    )]
    Cal(CalCommand),
    /// Share files
    #[command(subcommand, after_help = "Example:\n  clave file add plan.pdf --to /plans")]
    File(FileCommand),
    /// Say how this device is doing: addresses, who is connected, spaces, bytes
    #[command(after_help = "Example:\n  clave status --json")]
    Status,
    /// Look through the data directory of this device, which may not open any more, and mend it
    #[command(
        after_help = "Example:\n  clave doctor\n  clave doctor --repair\n\nExit code 0 if nothing is wrong (any more), \
                            1 if something is."
    )]
    Doctor(Doctor),
    /// Keep this device online until ctrl-c
    #[command(after_help = "Example:\n  clave run --listen /ip4/0.0.0.0/tcp/4001\n\nOther commands in the same data \
                            directory talk to it. It takes the same port again the next time.")]
    Run(Run),
    /// Stop the `clave run` of this data directory
    #[command(after_help = "Example:\n  clave stop")]
    Stop,
    /// Wait until people have joined, messages or a file have arrived, or devices are connected
    #[command(after_help = "Example:\n  clave wait --members 2 --timeout 10m && clave chat send welcome")]
    Wait(Wait),
    /// Show it all: three devices, as three processes on this machine, work together
    #[command(
        after_help = "Example:\n  clave demo --file photo.jpg --ics holidays.ics\n\nExit code 1 if anything differs \
                            between the devices in the end."
    )]
    Demo(Demo),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  clave completions bash > ~/.local/share/bash-completion/completions/clave")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum SpaceCommand {
    /// Found a space, and be its owner
    #[command(after_help = "Example:\n  clave space new \"四月项目\"")]
    New {
        /// What it is called
        name: String,
        /// Agree on keys by X-Wing (ML-KEM-768 and X25519), here and in all circles of the space, for good; larger messages
        #[arg(long)]
        post_quantum: bool,
    },
    /// List the spaces of this device
    #[command(after_help = "Example:\n  clave space list", visible_alias = "ls")]
    List,
    /// Show a space: people, documents and their heads, keys
    #[command(after_help = "Example:\n  clave space show --space Kollektiv")]
    Show,
    /// Leave a space: what is here stays readable, nothing more arrives
    #[command(after_help = "Example:\n  clave space leave --space Kollektiv")]
    Leave,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    #[command(subcommand)]
    pub(crate) command: Option<InviteCommand>,
    /// How long the link works: 30m, 24h, 7d
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub(crate) valid: Duration,
    /// Draw the link as a QR code
    #[arg(long)]
    pub(crate) qr: bool,
    /// Stay, and say when somebody has joined
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// List the invitations that this device made
    #[command(after_help = "Example:\n  clave invite list", visible_alias = "ls")]
    List,
    /// Take an invitation back
    #[command(after_help = "Example:\n  clave invite revoke h2k7")]
    Revoke {
        /// Its id, or the beginning of it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The link, as it was sent to you
    #[arg(required_unless_present = "cancel")]
    pub(crate) link: Option<String>,
    /// Give up what waits at a relay: this invitation, or all without LINK
    #[arg(long)]
    pub(crate) cancel: bool,
    /// How long to try
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The words
    #[arg(required = true, num_args = 1..)]
    pub(crate) words: Vec<String>,
    /// By this person only: a name, or the beginning of an id
    #[arg(long, value_name = "PERSON")]
    pub(crate) from: Option<String>,
    /// Of this kind only; can be given several times
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) kind: Vec<FoundKind>,
    /// Not before this day or moment
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Up to this day, or before this moment
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    pub(crate) count: usize,
    /// Show ids
    #[arg(long)]
    pub(crate) ids: bool,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FoundKind {
    Message,
    Note,
    Event,
    File,
}

impl FoundKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Note => "note",
            Self::Event => "event",
            Self::File => "file",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChatCommand {
    /// Send a message
    #[command(after_help = "Example:\n  clave chat send Lunch at noon?\n  echo hello | clave chat send -")]
    Send {
        /// The text; `-` reads it from the standard input
        #[arg(required = true, num_args = 1.., allow_hyphen_values = true)]
        text: Vec<String>,
        /// The message this answers, by the beginning of its id
        #[arg(long, value_name = "MESSAGE")]
        reply_to: Option<String>,
    },
    /// Show the newest messages, and new ones as they come
    #[command(after_help = "Example:\n  clave chat tail -n 5")]
    Tail {
        /// How many of the newest to begin with
        #[arg(short = 'n', long, default_value_t = 10, value_name = "COUNT")]
        count: usize,
        /// Show ids
        #[arg(long)]
        ids: bool,
    },
    /// Show the newest messages
    #[command(after_help = "Example:\n  clave chat history -n 50 --ids")]
    History {
        /// How many
        #[arg(short = 'n', long, default_value_t = 30, value_name = "COUNT")]
        count: usize,
        /// Only messages before this one, by the beginning of its id
        #[arg(long, value_name = "MESSAGE")]
        before: Option<String>,
        /// Show ids
        #[arg(long)]
        ids: bool,
    },
    /// Say that you have read everything, or everything up to a message; your other devices hear of it
    #[command(after_help = "Example:\n  clave chat read\n  clave chat read 0rhq7f")]
    Read {
        /// The last you have read, by the beginning of its id
        message: Option<String>,
    },
    /// Change a message of yours
    #[command(after_help = "Example:\n  clave chat edit last Lunch at one?")]
    Edit {
        /// The beginning of its id, or `last`
        message: String,
        /// The new text
        #[arg(required = true, num_args = 1.., allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Take a message of yours back
    #[command(after_help = "Example:\n  clave chat withdraw last")]
    Withdraw {
        /// The beginning of its id, or `last`
        message: String,
    },
    /// React to a message
    #[command(after_help = "Example:\n  clave chat react 0rhq7f 👍")]
    React {
        /// The beginning of its id, or `last`
        message: String,
        /// An emoji
        reaction: String,
        /// Take the reaction away
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NoteCommand {
    /// Begin a note
    #[command(after_help = "Example:\n  clave note new \"Weekly meeting\"")]
    New {
        /// Its title
        title: String,
        /// Its text, as Markdown; `-` reads it from the standard input
        #[arg(long, value_name = "MARKDOWN")]
        text: Option<String>,
    },
    /// List the notes
    #[command(after_help = "Example:\n  clave note list", visible_alias = "ls")]
    List,
    /// Print a note as Markdown
    #[command(after_help = "Example:\n  clave note show \"Weekly meeting\"", visible_alias = "cat")]
    Show {
        /// Its title, or the beginning of its id
        note: String,
    },
    /// Edit a note in $VISUAL or $EDITOR; what others write meanwhile is merged
    #[command(after_help = "Example:\n  EDITOR=nano clave note edit \"Weekly meeting\"")]
    Edit {
        /// Its title, or the beginning of its id
        note: String,
    },
    /// Make a note of a Markdown file
    #[command(after_help = "Example:\n  clave note import minutes.md --title \"Minutes\"")]
    Import {
        /// The file; `-` reads the standard input
        file: PathBuf,
        /// The note's title; the file's name if missing
        #[arg(long)]
        title: Option<String>,
    },
    /// Write a note to a Markdown file
    #[command(after_help = "Example:\n  clave note export \"Minutes\" -o minutes.md")]
    Export {
        /// Its title, or the beginning of its id
        note: String,
        /// Where to; the standard output if missing
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Replay a recorded editing session, each of its people on a device of their own
    #[command(after_help = "Example:\n  clave note replay friendsforever.json.gz\n\nThe format is that of \
                            josephg/editing-traces (concurrent). Exit code 1 if a device ends with another text.")]
    Replay {
        /// The trace: JSON, gzipped or not
        trace: PathBuf,
        /// Keep the data directories
        #[arg(long)]
        keep: bool,
    },
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum CalCommand {
    /// Add an event
    #[command(
        after_help = "Example:\n  clave cal add \"Weekly meeting\" --at \"2026-11-23 14:00\" --for 1h30m --repeat weekly\n  \
                            clave cal add \"Day off\" --at 2026-12-24"
    )]
    Add {
        /// What
        summary: String,
        /// When it starts: a date, or a date and a time in the local zone (or as 2026-11-23T14:00[Asia/Tokyo])
        #[arg(long, value_name = "WHEN")]
        at: String,
        /// How long it takes
        #[arg(long, value_parser = duration, value_name = "TIME")]
        r#for: Option<Duration>,
        /// daily, weekly, monthly, yearly, or a rule of RFC 5545 (FREQ=WEEKLY;BYDAY=MO,TH)
        #[arg(long, value_name = "RULE")]
        repeat: Option<String>,
        /// Where
        #[arg(long = "where", value_name = "PLACE")]
        place: Option<String>,
        /// What it is about
        #[arg(long, value_name = "TEXT")]
        about: Option<String>,
        /// Whom to ask to come, by mail address; may be repeated
        #[arg(long, value_name = "ADDRESS")]
        with: Vec<String>,
    },
    /// Show what is coming
    #[command(after_help = "Example:\n  clave cal agenda --days 30")]
    Agenda {
        /// How many days
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=3660), value_name = "COUNT")]
        days: u16,
        /// The first day; today if missing
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
    },
    /// Take in an .ics file: events that are here already are brought up to date
    #[command(after_help = "Example:\n  clave cal import holidays.ics")]
    Import {
        /// The file; `-` reads the standard input
        file: PathBuf,
    },
    /// Write the calendar as an .ics file, with all that was ever imported
    #[command(after_help = "Example:\n  clave cal export -o team.ics")]
    Export {
        /// Where to; the standard output if missing
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove an event with all its occurrences
    #[command(after_help = "Example:\n  clave cal remove \"Weekly meeting\"", visible_alias = "rm")]
    Remove {
        /// Its title, or the beginning of its UID
        event: String,
    },
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

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is written like 90s, 30m, 24h or 7d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

/// A text in several words, or from the standard input.
pub(crate) fn joined(words: &[String]) -> std::io::Result<String> {
    if words.len() == 1 && words[0] == "-" {
        return std::io::read_to_string(std::io::stdin()).map(|text| text.trim_end_matches('\n').to_owned());
    }
    Ok(words.join(" "))
}

/// Whether JSON was asked for, when the rest could not be understood.
pub(crate) fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Every line of every example is something that can be typed.
    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) -> usize {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            let (_, examples) =
                help.split_once("Example:\n").unwrap_or_else(|| panic!("{name} has no example: {help}"));
            let lines: Vec<_> = examples.lines().take_while(|line| line.starts_with("  ")).collect();
            assert!(!lines.is_empty(), "{name}");
            for line in lines {
                let typed = line.rsplit_once("| ").map_or(line, |(_, after)| after);
                let words = words(typed).into_iter().skip_while(|word| word.contains('=')).collect::<Vec<_>>();
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
            }
            1 + command.get_subcommands().map(check).sum::<usize>()
        }
        assert!(check(&Cli::command()) > 40);
    }

    /// As a shell would, up to an operator.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for c in line.trim().chars().chain([' ']) {
            match c {
                '"' => quoted = !quoted,
                '&' | '>' | '|' if !quoted => return words,
                ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
                c => word.push(c),
            }
        }
        words
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        for wrong in ["", "0s", "-1h", "soon", "5"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
