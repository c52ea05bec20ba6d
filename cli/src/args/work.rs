//! What can be typed about notes and the calendar.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::duration;

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
    /// Show who else is in a note, and where, as it changes; they see that you are in it
    #[command(
        after_help = "Example:\n  clave note watch \"Weekly meeting\"\n\nOnly devices that are connected with this one \
                            are seen, and see it. Nothing of it is kept."
    )]
    Watch {
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
