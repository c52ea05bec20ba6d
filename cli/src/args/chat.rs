//! What can be typed about messages, and to find what was written.

use clap::{Args, Subcommand};

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
    #[command(after_help = "Example:\n  clave chat history -n 50 --ids\n\nBehind what you sent from this device:\n  \
                            …   it is here, and nobody else is known to have it\n  \
                            ✓   a relay keeps it for the others\n  \
                            ✓2  two devices have it\n  \
                            ✓✓  everybody in the circle has it\n  \
                            !   no relay takes it: the next line says why")]
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
