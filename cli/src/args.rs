//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

mod account;
mod chat;
mod file;
mod people;
mod push;
mod running;
mod space;
mod work;

pub(crate) use account::{AccountCommand, Backup, Recovery, Restore};
pub(crate) use chat::{ChatCommand, Search};
pub(crate) use file::FileCommand;
pub(crate) use people::{
    Audit, AuditCommand, CircleCommand, DeviceCommand, Dm, Members, MembersCommand, Policy, PolicyCommand,
    RelayCommand, RoleName, SetAside, SetAsideCommand, Verify,
};
pub(crate) use push::{Mute, PushCommand};
pub(crate) use running::{Demo, Doctor, Export, Init, Run, Wait};
pub(crate) use space::{Invite, InviteCommand, Join, SpaceCommand};
pub(crate) use work::{CalCommand, NoteCommand};

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
    /// Say where this device is woken when it is away, and see how that goes
    #[command(subcommand, after_help = "Example:\n  clave push set https://push.example.org/UP?token=abc")]
    Push(PushCommand),
    /// Have this device not be woken for what is written in a circle
    #[command(after_help = "Example:\n  clave mute Budget")]
    Mute(Mute),
    /// Have it be woken for that again
    #[command(after_help = "Example:\n  clave unmute Budget")]
    Unmute(Mute),
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
