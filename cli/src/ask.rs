//! Commands that are one question to a node: asked, answered, shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod account;
mod link;
mod people;
mod verify;

use crate::args::{
    self, AccountCommand, CalCommand, ChatCommand, Command, DeviceCommand, FileCommand, InviteCommand, Join,
    NoteCommand, SpaceCommand,
};
use crate::edit;
use crate::failure::Failure;
use crate::place::{self, Place};
use crate::progress::Bar;
use crate::reply::Reply;
use crate::request::{About, Ask, Condition, NewEvent, Request, Search};
use crate::screen::Screen;
use crate::session::Session;
use crate::show::{Show, show};
use crate::text;
use crate::when;
use crate::wire::Line;

/// How long a question may take, and how to show its answer.
struct Question {
    ask: Ask,
    show: Show,
    timeout: Option<Duration>,
    /// What to show progress of.
    progress: Option<&'static str>,
}

impl Question {
    fn new(ask: Ask) -> Self {
        Self { ask, show: Show::default(), timeout: None, progress: None }
    }
}

/// Runs a command.
pub(crate) async fn ask(place: &Place, about: About, command: Command, screen: &Screen) -> Result<(), Failure> {
    match command {
        Command::Stop => return stop(place, screen).await,
        Command::Verify(verify) if verify::alone(&verify).is_none() => {
            return verify::compare(place, about, verify, screen).await;
        }
        Command::Device(DeviceCommand::Link { valid, qr, yes: false }) => {
            return link::link(place, about, valid, qr, screen).await;
        }
        Command::Audit(audit) => return people::audit(place, about, audit, screen).await,
        Command::Account(AccountCommand::Export { file, with_files, phrase_file }) => {
            return account::export(place, &file, with_files, phrase_file, screen).await;
        }
        Command::Account(AccountCommand::NewPhrase { phrase_file }) => {
            return account::new_phrase(place, phrase_file, screen).await;
        }
        Command::Backup(backup) => return account::back_up(place, backup, screen).await,
        Command::Cal(CalCommand::Export { output }) => return export_calendar(place, about, output, screen).await,
        Command::Note(NoteCommand::Edit { note }) => return edit_note(place, about, note, screen).await,
        Command::Note(NoteCommand::Export { note, output }) => {
            return export_note(place, about, note, output, screen).await;
        }
        _ => {}
    }
    let mut about = about;
    let question = question(command, &mut about)?;
    let mut session = Session::open(place, question.ask.network()).await?;
    let result = put(&mut session, place, about, question, screen).await;
    session.close().await;
    result
}

async fn put(
    session: &mut Session,
    place: &Place,
    about: About,
    question: Question,
    screen: &Screen,
) -> Result<(), Failure> {
    let Question { ask, show: mut show_as, timeout, progress } = question;
    show_as.is_running = session.is_remote();
    let request = Request { about, ask };
    let bar = progress.map(|what| Bar::new(what, screen.json));
    let call = session.call(&request, |line| match line {
        Line::Progress { done_bytes, total_bytes } => {
            bar.iter().for_each(|bar| bar.set(done_bytes, total_bytes));
            Ok(())
        }
        Line::Item(reply) => show(&reply, &show_as, screen),
        Line::Warning(words) => {
            screen.warn(&text::line(&words));
            Ok(())
        }
        Line::Done(_) | Line::Failed(_) => Ok(()),
    });
    let reply = match timeout {
        None => call.await,
        Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            Err(Failure::unreachable(format!("nothing came within {timeout:?}"))
                .hint("see with `clave status` who is connected, and try again with a longer --timeout"))
        }),
    };
    drop(bar);
    let mut reply = reply?;
    if let Reply::Status(status) = &mut reply {
        status.running = show_as.is_running;
        status.directory = place.directory.display().to_string();
    }
    show(&reply, &show_as, screen)
}

/// What a command asks.
fn question(command: Command, about: &mut About) -> Result<Question, Failure> {
    Ok(match command {
        Command::Whoami => Question::new(Ask::Whoami),
        Command::Account(AccountCommand::BeginAnew) => said(
            Ask::BeginAnew,
            "It is yours again. The devices that were lost are revoked, and its keys have changed.",
        ),
        Command::Export(export) => {
            let ask = Ask::OpenExport {
                directory: place::absolute(&export.directory)?,
                wait_ms: millis(export.wait.unwrap_or_default()),
            };
            Question { progress: Some("Writing files"), ..Question::new(ask) }
        }
        Command::Status => Question::new(Ask::Status),
        Command::Circle(command) => people::circle(command, about),
        Command::Dm(dm) => people::direct(dm)?,
        Command::Members(members) => people::members(members)?,
        Command::Verify(verify) => verify::alone(&verify).ok_or_else(unexpected)?,
        Command::Device(command) => people::device(command),
        Command::Access => Question::new(Ask::Access),
        Command::SetAside(command) => people::set_aside(command),
        Command::Policy(policy) => people::policy(policy)?,
        Command::Relay(command) => {
            about.circle = None;
            people::relay(command)?
        }
        Command::Space(SpaceCommand::New { name, post_quantum }) => {
            let show = Show { founded: true, ..Show::default() };
            Question { show, ..Question::new(Ask::SpaceNew { name, post_quantum }) }
        }
        Command::Push(command) => people::push(command),
        Command::Mute(mute) => muted(mute, true, about),
        Command::Unmute(mute) => muted(mute, false, about),
        Command::Inbox => Question::new(Ask::Inbox),
        Command::Space(SpaceCommand::List) => Question::new(Ask::SpaceList),
        Command::Space(SpaceCommand::Show) => Question::new(Ask::SpaceShow),
        Command::Space(SpaceCommand::Leave) => {
            about.circle = None;
            said(Ask::Leave, people::LEFT)
        }
        Command::Invite(invite) => match invite.command {
            None => Question {
                show: Show { qr: invite.qr, waiting: invite.wait, ..Show::default() },
                ..Question::new(Ask::Invite { valid_ms: millis(invite.valid), wait: invite.wait })
            },
            Some(InviteCommand::List) => Question::new(Ask::InviteList),
            Some(InviteCommand::Revoke { id }) => {
                said(Ask::InviteRevoke { invitation: id }, "The invitation is taken back: the link no longer works.")
            }
        },
        Command::Join(Join { link: Some(link), cancel: false, timeout }) => Question {
            show: Show { joined: true, ..Show::default() },
            ..Question::new(Ask::Join { link, timeout_ms: millis(timeout) })
        },
        Command::Join(Join { link, .. }) => {
            said(Ask::JoinCancel { link }, "Nothing is asked any more; the link stays good.")
        }
        Command::Wait(wait) => Question {
            timeout: Some(wait.timeout),
            ..said(
                Ask::Wait(Condition {
                    members: wait.members,
                    members_max: wait.members_max,
                    rotated: wait.rotated,
                    stored: wait.stored,
                    removed: wait.removed,
                    rejoined: wait.rejoined,
                    joined: wait.joined,
                    messages: wait.messages,
                    file: wait.file,
                    online: wait.online,
                    online_max: wait.online_max,
                    ..Condition::default()
                }),
                "It is so.",
            )
        },
        Command::Chat(command) => chat(command)?,
        Command::Search(search) => self::search(search)?,
        Command::Note(command) => note(command)?,
        Command::Cal(command) => calendar(command)?,
        Command::File(command) => file(command)?,
        Command::Init(_)
        | Command::Account(AccountCommand::Export { .. } | AccountCommand::NewPhrase { .. })
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Doctor(_)
        | Command::Run(_)
        | Command::Stop
        | Command::Demo(_)
        | Command::Audit(_)
        | Command::Completions { .. } => {
            unreachable!("these are no questions")
        }
    })
}

fn chat(command: ChatCommand) -> Result<Question, Failure> {
    let text = |words: &[String]| {
        args::joined(words).map_err(|error| Failure::failed(format!("the standard input could not be read: {error}")))
    };
    Ok(match command {
        ChatCommand::Send { text: words, reply_to } => Question::new(Ask::ChatSend { body: text(&words)?, reply_to }),
        ChatCommand::Tail { count, ids } => {
            Question { show: Show { ids, ..Show::default() }, ..Question::new(Ask::ChatTail { count }) }
        }
        ChatCommand::History { count, before, ids } => {
            Question { show: Show { ids, ..Show::default() }, ..Question::new(Ask::ChatHistory { count, before }) }
        }
        ChatCommand::Read { message } => said(Ask::ChatRead { message }, "Read."),
        ChatCommand::Edit { message, text: words } => {
            said(Ask::ChatEdit { message, body: text(&words)? }, "Changed. Others see that it was edited.")
        }
        ChatCommand::Withdraw { message } => said(
            Ask::ChatWithdraw { message },
            "Withdrawn. That there was a message stays visible, and who has read it has read it.",
        ),
        ChatCommand::React { message, reaction, remove } => {
            said(Ask::ChatReact { message, reaction, present: !remove }, if remove { "Taken away." } else { "Added." })
        }
    })
}

fn muted(mute: args::Mute, muted: bool, about: &mut About) -> Question {
    about.circle = mute.name.or(about.circle.take());
    let words = if muted {
        "This device is not woken for what is written there. It arrives all the same while the device is on."
    } else {
        "This device is woken for what is written there."
    };
    said(Ask::Mute { muted }, words)
}

fn search(search: args::Search) -> Result<Question, Failure> {
    let moment = |text: Option<String>, is_end| text.map(|text| when::bound(&text, is_end)).transpose();
    Ok(Question {
        show: Show { ids: search.ids, ..Show::default() },
        ..Question::new(Ask::Search(Search {
            text: search.words.join(" "),
            from: search.from,
            kinds: search.kind.iter().map(|kind| kind.name().to_owned()).collect(),
            since_ms: moment(search.since, false)?,
            until_ms: moment(search.until, true)?,
            count: search.count,
        }))
    })
}

fn note(command: NoteCommand) -> Result<Question, Failure> {
    let created = |ask| Question { show: Show { created: true, ..Show::default() }, ..Question::new(ask) };
    Ok(match command {
        NoteCommand::New { title, text } => {
            let markdown = match text.as_deref() {
                Some("-") => read(Path::new("-"))?,
                Some(text) => text.to_owned(),
                None => String::new(),
            };
            created(Ask::NoteNew { title, markdown })
        }
        NoteCommand::List => Question::new(Ask::NoteList),
        NoteCommand::Show { note } => Question::new(Ask::NoteShow { note }),
        NoteCommand::Watch { note } => Question::new(Ask::NoteWatch { note }),
        NoteCommand::Import { file, title } => {
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let title = title.or(stem.filter(|stem| stem != "-"));
            let title = title.ok_or_else(|| Failure::usage("the note needs a title").hint("give it with --title"))?;
            created(Ask::NoteNew { title, markdown: read(&file)? })
        }
        NoteCommand::Edit { .. } | NoteCommand::Export { .. } | NoteCommand::Replay { .. } => {
            unreachable!("these are more than one question")
        }
    })
}

fn calendar(command: CalCommand) -> Result<Question, Failure> {
    Ok(match command {
        CalCommand::Add { summary, at, r#for, repeat, place, about, with } => {
            let (start, end) = when::span(&at, r#for)?;
            Question::new(Ask::CalAdd {
                event: NewEvent {
                    summary,
                    start,
                    end,
                    location: place,
                    description: about,
                    rrule: repeat.as_deref().map(when::rule),
                    attendees: with,
                },
            })
        }
        CalCommand::Agenda { days, from } => {
            let (from_ms, to_ms) = when::days(from.as_deref(), days)?;
            Question::new(Ask::CalAgenda { from_ms, to_ms, zone: when::zone_name() })
        }
        CalCommand::Import { file } => Question::new(Ask::CalImport { ics: read(&file)? }),
        CalCommand::Remove { event } => said(Ask::CalRemove { event }, "It is removed, for everybody."),
        CalCommand::Export { .. } => unreachable!("the document is the answer"),
    })
}

fn file(command: FileCommand) -> Result<Question, Failure> {
    Ok(match command {
        FileCommand::Add { path, to, name } => {
            let base = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name =
                name.or(base).ok_or_else(|| Failure::usage("this is not a file").hint("name one with --name"))?;
            let ask = Ask::FileAdd { source: place::absolute(&path)?, folder: to, name };
            Question {
                progress: Some("Sealing"),
                show: Show { created: true, ..Show::default() },
                ..Question::new(ask)
            }
        }
        FileCommand::Ls { path } => Question::new(Ask::FileList { path }),
        FileCommand::Get { path, output, timeout } => {
            let destination = destination(&path, output)?;
            let show = Show { written: Some(destination.clone()), ..Show::default() };
            let ask = Ask::FileGet { path, destination };
            Question { progress: Some("Fetching"), timeout: Some(timeout), show, ..Question::new(ask) }
        }
        FileCommand::Mkdir { path } => {
            Question { show: Show { created: true, ..Show::default() }, ..Question::new(Ask::FileMkdir { path }) }
        }
        FileCommand::Mv { from, to } => Question::new(Ask::FileMove { from, to }),
        FileCommand::Rm { path } => said(Ask::FileRemove { path }, "It is in the trash, for everybody."),
        FileCommand::Versions { path } => Question::new(Ask::FileVersions { path }),
        FileCommand::Restore { path, number } => Question::new(Ask::FileRestore { path, version: number }),
        FileCommand::Usage => Question::new(Ask::FileUsage),
        FileCommand::Quota { bytes } => {
            let number = || bytes.parse().map_err(|_| Failure::usage("a quota is a number of bytes, or `none`"));
            Question::new(Ask::FileQuota { bytes: if bytes == "none" { None } else { Some(number()?) } })
        }
        FileCommand::Gc { versions } => {
            Question::new(Ask::FileCollect { versions: versions.map(|versions| versions as usize) })
        }
    })
}

fn said(ask: Ask, done: &'static str) -> Question {
    Question { show: Show { done: Some(done), ..Show::default() }, ..Question::new(ask) }
}

/// Where a file of the drive goes: into a folder under its own name, or to a name that was given. The name in the
/// drive is somebody else's: only its last part is used.
fn destination(path: &str, output: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = Path::new(name).file_name().ok_or_else(|| Failure::usage("this is not the path of a file"))?;
    let output = output.unwrap_or_else(|| PathBuf::from("."));
    place::absolute(&if output.is_dir() { output.join(name) } else { output })
}

async fn stop(place: &Place, screen: &Screen) -> Result<(), Failure> {
    #[cfg(unix)]
    if let Some(mut client) = crate::session::Client::connect(&place.directory).await? {
        let reply = client.call(&Request::new(Ask::Stop), |_| Ok(())).await?;
        return show(&reply, &Show { done: Some("This device goes offline."), ..Show::default() }, screen);
    }
    Err(Failure::not_found("no node is running in this data directory").hint("`clave run` starts one"))
}

async fn edit_note(place: &Place, about: About, note: String, screen: &Screen) -> Result<(), Failure> {
    let question = |ask| Request { about: about.clone(), ask };
    let mut session = Session::open(place, crate::request::Network::Offline).await?;
    let opened = session.call(&question(Ask::NoteShow { note }), |_| Ok(())).await;
    // An editor may stay open for hours: nobody else is kept from the store meanwhile.
    session.close().await;
    let Reply::Note(opened) = opened? else { return Err(unexpected()) };
    let Some(markdown) = edit::edit(&opened.markdown, &opened.title).await? else {
        return show(&Reply::Done, &Show { done: Some("Nothing was changed."), ..Show::default() }, screen);
    };
    let merge = Ask::NoteMerge { note: opened.id, heads: opened.heads.clone(), markdown: markdown.clone() };
    let mut session = Session::open(place, crate::request::Network::Offline).await?;
    let merged = session.call(&question(merge), |_| Ok(())).await;
    session.close().await;
    let merged = merged.map_err(|failure| {
        // Nobody's text is lost because it could not be stored.
        let saved = std::env::temp_dir().join("clave-note.md");
        match std::fs::write(&saved, &markdown) {
            Ok(()) => failure.hint(format!("your text is in {}", saved.display())),
            Err(_) => failure,
        }
    })?;
    if screen.json {
        return show(&merged, &Show::default(), screen);
    }
    let Reply::Note(merged) = merged else { return Err(unexpected()) };
    let words =
        if merged.markdown == markdown { "Saved." } else { "Saved, and merged with what others wrote meanwhile." };
    screen.say(words)
}

async fn export_note(
    place: &Place,
    about: About,
    note: String,
    output: Option<PathBuf>,
    screen: &Screen,
) -> Result<(), Failure> {
    let mut session = Session::open(place, crate::request::Network::Offline).await?;
    let reply = session.call(&Request { about, ask: Ask::NoteShow { note } }, |_| Ok(())).await;
    session.close().await;
    let reply = reply?;
    let Reply::Note(note) = &reply else { return Err(unexpected()) };
    write_out(output, &note.markdown, &reply, screen)
}

async fn export_calendar(place: &Place, about: About, output: Option<PathBuf>, screen: &Screen) -> Result<(), Failure> {
    let mut session = Session::open(place, crate::request::Network::Offline).await?;
    let reply = session.call(&Request { about, ask: Ask::CalExport }, |_| Ok(())).await;
    session.close().await;
    let reply = reply?;
    let Reply::Calendar { ics } = &reply else { return Err(unexpected()) };
    write_out(output, ics, &reply, screen)
}

/// Writes a document to a file or to the standard output.
fn write_out(output: Option<PathBuf>, document: &str, reply: &Reply, screen: &Screen) -> Result<(), Failure> {
    if let Some(path) = &output {
        std::fs::write(path, document).map_err(|error| Failure::file(path, &error))?;
    }
    match output {
        _ if screen.json => screen.value(reply),
        None => screen.document(document),
        Some(path) => screen.say(&format!("Written to {}.", path.display())),
    }
}

/// Reads a text file, or the standard input.
fn read(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| Failure::file(path, &error));
    }
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

fn unexpected() -> Failure {
    Failure::failed("the running node gave an answer that this version does not know")
        .hint("stop it with `clave stop` and start it again with this version")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
