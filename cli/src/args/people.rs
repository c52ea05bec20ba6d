//! What can be typed about people: circles, members, access, policies, the audit.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum CircleCommand {
    /// Found a circle with people of the space; nobody else learns that it exists
    #[command(after_help = "Example:\n  clave circle create Budget --with Bob --with 王小明\n  clave circle create \
                            Contractors --isolated && clave --circle Contractors invite")]
    Create {
        /// What it is called
        name: String,
        /// Somebody of the space to bring in, by name or by the beginning of their id; may be repeated
        #[arg(long, value_name = "PERSON")]
        with: Vec<String>,
        /// People from outside the space can be in it too: `clave --circle NAME invite` makes a link for them
        #[arg(long)]
        isolated: bool,
        /// Agree on keys by X-Wing (ML-KEM-768 and X25519), for good. In a space that is not post-quantum itself, set its
        /// policy post_quantum_circles first
        #[arg(long)]
        post_quantum: bool,
    },
    /// List the circles of the space that you are in
    #[command(after_help = "Example:\n  clave circle list", visible_alias = "ls")]
    List,
    /// Leave a circle: what is here stays readable, nothing more arrives
    #[command(after_help = "Example:\n  clave circle leave Budget")]
    Leave {
        /// Its name, or the beginning of its id
        circle: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Dm {
    /// Whom, by name or by the beginning of their id
    pub(crate) person: String,
    /// What to say; `-` reads it from the standard input. Without it, the newest messages are shown
    #[arg(num_args = 0.., allow_hyphen_values = true)]
    pub(crate) text: Vec<String>,
    /// How many of the newest to show
    #[arg(short = 'n', long, default_value_t = 30, value_name = "COUNT")]
    pub(crate) count: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Members {
    #[command(subcommand)]
    pub(crate) command: Option<MembersCommand>,
}

/// The roles, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Answers to other owners only
    Owner,
    /// Runs it day by day: people below admins, names, policies
    Admin,
    /// Takes part and, unless the policy says otherwise, invites
    Member,
    /// A program
    Bot,
    /// Takes part for a while, invites nobody
    Guest,
}

impl From<RoleName> for clave::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Member => Self::Member,
            RoleName::Bot => Self::Bot,
            RoleName::Guest => Self::Guest,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Bring somebody of the space into a circle
    #[command(after_help = "Example:\n  clave --circle Budget members add Bob")]
    Add {
        /// Who, by name or by the beginning of their id
        person: String,
        /// As what
        #[arg(long, value_enum, default_value = "member", value_name = "ROLE")]
        role: RoleName,
    },
    /// Remove somebody with all their devices, and change the keys
    #[command(
        after_help = "Example:\n  clave members remove Eve\n  clave members remove Eve --no-wait\n\nFrom the space, it \
                            removes from all circles of it. They keep what they had, and get nothing more.",
        visible_alias = "rm"
    )]
    Remove {
        /// Who, by name or by the beginning of their id
        person: String,
        /// Do not wait until the keys have changed
        #[arg(long)]
        no_wait: bool,
        /// How long to wait until the keys have changed and who is connected has confirmed it
        #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
        wait: Duration,
    },
    /// Give somebody a role
    #[command(after_help = "Example:\n  clave members role Bob admin")]
    Role {
        /// Who, by name or by the beginning of their id
        person: String,
        /// Which
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Let somebody of the space into a circle as a guest until a date, or move the date of a guest
    #[command(after_help = "Example:\n  clave --circle Budget members grant Bob --until 2030-11-27\n  clave --circle \
                            Budget members grant Bob --until \"2030-11-27 18:00\"")]
    Grant {
        /// Who, by name or by the beginning of their id
        person: String,
        /// The last day, or the moment
        #[arg(long, value_name = "WHEN")]
        until: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List your devices in a space
    #[command(after_help = "Example:\n  clave device list", visible_alias = "ls")]
    List,
    /// Show a code that makes one further device yours, with all that you can read; asks before it is let in
    #[command(after_help = "Example:\n  clave device link --qr\n\nOn the new device: clave init --link CODE")]
    Link {
        /// How long the code works
        #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
        valid: Duration,
        /// Draw the code as a QR code
        #[arg(long)]
        qr: bool,
        /// Let in whoever has the code, without asking: for scripts
        #[arg(long)]
        yes: bool,
    },
    /// Name a device of yours, this one or another, for everybody to see
    #[command(after_help = "Example:\n  clave device rename phone \"Old phone\"")]
    Rename {
        /// Its name, or the beginning of its id
        device: String,
        /// What to call it
        name: String,
    },
    /// Take a device of yours, lost perhaps, out of every space, and change the keys
    #[command(after_help = "Example:\n  clave device revoke phone")]
    Revoke {
        /// Its name, or the beginning of its id
        device: String,
        /// How long to wait until the keys have changed
        #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
        wait: Duration,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Whom, by name or by the beginning of their id
    pub(crate) person: String,
    /// Show the safety number, which needs no connection: the same 60 digits on both sides
    #[arg(long, conflicts_with_all = ["mark", "unmark"])]
    pub(crate) number: bool,
    /// Note that you compared the safety number, and it is the same
    #[arg(long, conflicts_with = "unmark")]
    pub(crate) mark: bool,
    /// Take that note back
    #[arg(long)]
    pub(crate) unmark: bool,
    /// How long to wait for the other side, each time
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct SetAside {
    #[command(subcommand)]
    pub(crate) command: Option<SetAsideCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SetAsideCommand {
    /// Take over what a removed author wrote meanwhile, so that everybody is shown it again
    #[command(after_help = "Example:\n  clave set-aside keep chat\n  clave set-aside keep --all")]
    Keep {
        /// chat, calendar, drive, or a note by its title or the beginning of its id
        #[arg(required_unless_present = "all")]
        document: Option<String>,
        /// In all documents
        #[arg(long, conflicts_with = "document")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) command: Option<PolicyCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Set a policy
    #[command(after_help = "Example:\n  clave policy set members_may_invite false\n  clave policy set history \
                            since-joining\n  clave policy set history ratcheted:1d")]
    Set {
        /// members_may_invite, history or post_quantum_circles
        key: String,
        /// true or false; full, since-joining or ratcheted:TIME (what is older is erased)
        value: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelayCommand {
    /// Have the space use one more relay, four at most
    #[command(after_help = "Example:\n  clave relay add /dns4/relay.example.org/tcp/4400/p2p/12D3KooW…")]
    Add {
        /// Where it is: a multiaddr that ends in /p2p/ and the relay's PeerId, as the relay prints it
        address: String,
        /// What this device shows the relay, if that is for some only; `-` reads it from the standard input. Others in the space
        /// give it to their own devices, by `clave relay token`
        #[arg(long, value_name = "TOKEN")]
        token: Option<String>,
    },
    /// Show a relay this token, which its operator gave you; it stays on this device
    #[command(
        after_help = "Example:\n  clave relay token 1 s3cr3t\n  clave relay token 1 --remove\n\nBefore you join a space: \
                            name the relay by its address."
    )]
    Token {
        /// Its number in the list, or its address
        relay: String,
        /// The token; `-` reads it from the standard input
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        token: Option<String>,
        /// Show none any more
        #[arg(long)]
        remove: bool,
    },
    /// Have the space use a relay no more
    #[command(after_help = "Example:\n  clave relay remove 1")]
    Remove {
        /// Its number in the list, or its address
        relay: String,
    },
    /// List the relays of the space, and how this device gets on with each
    #[command(after_help = "Example:\n  clave relay list")]
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// Write it to a file, as JSON lines, each chained to the one before by its hash
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that an exported list is as it was made
    #[command(after_help = "Example:\n  clave audit check audit.jsonl\n\nExit code 4 if it was altered. Whoever \
                            alters all of it can make a list that fits in itself: compare the last hash with what \
                            `clave audit` prints for another member, or use --here.")]
    Check {
        /// The file; `-` reads the standard input
        file: PathBuf,
        /// The last hash, of the acts or of the keys, as another member reads it out
        #[arg(long, value_name = "HASH")]
        hash: Option<String>,
        /// Compare with what this device has seen
        #[arg(long)]
        here: bool,
    },
}
