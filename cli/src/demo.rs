//! `clave demo`: a team of devices, each a process of its own, works together on this machine. They meet over
//! loopback TCP as they would over any network; this process only types commands, through the same socket as anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::Demo;
use crate::failure::Failure;
use crate::reply::{Reply, hex};
use crate::request::{Ask, Condition, NewEvent};
use crate::screen::{Screen, bold};
use crate::text::{self, bytes};

mod device;
mod sample;
mod story;

pub(crate) use device::{Device, Root};
pub(crate) use story::Story;

const SPACE: &str = "Café Kollektiv";
const PEOPLE: [(&str, &str); 8] = [
    ("Zoë", "laptop"),
    ("王小明", "手机"),
    ("Amara", "tablet"),
    ("José", "desktop"),
    ("Олена", "ноутбук"),
    ("Noor", "phone"),
    ("Kai", "laptop"),
    ("Ines 🌻", "phone"),
];
/// Messages that the device which is killed has written and seen acknowledged before.
const WRITTEN_BEFORE_KILL: usize = 12;

/// Runs the demo; success only if all devices end with the same.
pub(crate) async fn demo(demo: Demo, directory: Option<PathBuf>, screen: &Screen) -> Result<ExitCode, Failure> {
    let root = Root::new(directory.as_deref(), demo.keep)?;
    let mut story = Story::new(screen);
    let told = tokio::select! {
        told = tell(&demo, &root, &mut story) => told,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    };
    match told {
        Ok(result) => {
            result.show(screen)?;
            root.farewell(screen)?;
            Ok(if result.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(failure) => Err(root.after(failure)),
    }
}

async fn tell(demo: &Demo, root: &Root, story: &mut Story<'_>) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let trace = demo.trace.as_deref().map(crate::replay::Trace::read).transpose()?;
    let agents = trace.as_ref().map_or(0, crate::replay::Trace::agents);
    let count = usize::from(demo.nodes).max(agents);
    let mut team = Team::gather(root, count, story).await?;
    team.chat(story).await?;
    let file = team.share_file(demo.file.as_deref(), root, story).await?;
    team.import_calendar(demo.ics.as_deref(), story).await?;
    let note = team.write_together(story).await?;
    team.survive(&note, story).await?;
    let replayed = match &trace {
        Some(trace) => Some(crate::replay::replay(trace, &mut team.devices, story).await?),
        None => None,
    };
    let mut outcome = team.compare(&file, root, story).await?;
    if let Some(replayed) = replayed {
        outcome.equal &= replayed.equal;
        outcome.trace = Some(replayed);
    }
    for device in &mut team.devices {
        device.stop().await?;
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The devices of the demo. The first belongs to who founds the space.
pub(crate) struct Team {
    pub(crate) devices: Vec<Device>,
    messages: usize,
}

impl Team {
    /// Starts the devices and brings them into one space.
    pub(crate) async fn gather(root: &Root, count: usize, story: &mut Story<'_>) -> Result<Self, Failure> {
        story.tell(&format!("{count} devices start, each a process of its own"))?;
        let mut devices = Vec::new();
        for (person, device) in PEOPLE.into_iter().take(count) {
            let device = Device::create(root, person, device).await?;
            story.detail(&format!(
                "{} on “{}”: process {}, {}",
                device.person,
                device.name,
                device.pid(),
                device.addresses.join(" ")
            ))?;
            devices.push(device);
        }
        let (founder, others) = devices.split_first_mut().expect("the demo has two devices at least");
        story.tell(&format!("{} founds the space “{SPACE}” and invites the others", founder.person))?;
        founder.ask(Ask::SpaceNew { name: SPACE.to_owned(), post_quantum: false }).await?;
        for other in others.iter_mut() {
            let started = Instant::now();
            let Reply::Invitation(invitation) = founder.ask(Ask::Invite { valid_ms: 600_000, wait: false }).await?
            else {
                return Err(unexpected());
            };
            other.ask(Ask::Join { link: invitation.link, timeout_ms: 20_000 }).await?;
            story.detail(&format!("{} joined by a link, in {}", other.person, millis(started)))?;
        }
        for device in &mut devices {
            let everybody = Condition { members: Some(count), online: Some(count - 1), ..Condition::default() };
            device.ask(Ask::Wait(everybody)).await?;
        }
        story.detail("every device is connected with every other, by libp2p over loopback TCP")?;
        Ok(Self { devices, messages: 0 })
    }

    async fn say(&mut self, who: usize, body: &str) -> Result<(), Failure> {
        self.devices[who].ask(Ask::ChatSend { body: body.to_owned(), reply_to: None }).await?;
        self.messages += 1;
        Ok(())
    }

    async fn chat(&mut self, story: &mut Story<'_>) -> Result<(), Failure> {
        story.tell("They chat")?;
        let started = Instant::now();
        let lines = ["Good morning! ☕", "早上好！", "Bonjour à tous", "¡Hola!", "Вітаю", "שלום", "Aloha", "Olá"];
        for who in 0..self.devices.len() {
            self.say(who, lines[who % lines.len()]).await?;
        }
        let all = Condition { messages: Some(self.messages), ..Condition::default() };
        for device in &mut self.devices {
            device.ask(Ask::Wait(all.clone())).await?;
        }
        story.detail(&format!("{} messages are on every device after {}", self.messages, millis(started)))
    }

    /// Returns the path in the drive.
    async fn share_file(
        &mut self,
        file: Option<&Path>,
        root: &Root,
        story: &mut Story<'_>,
    ) -> Result<SharedFile, Failure> {
        let source = match file {
            Some(path) => crate::place::absolute(path)?,
            None => sample::file(&root.path)?,
        };
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let author = 1;
        story.tell(&format!("{} shares the file “{}”", self.devices[author].person, text::line(&name)))?;
        // Who joined a moment ago may not have the drive yet.
        let drive = Condition { file: Some("/".to_owned()), ..Condition::default() };
        self.devices[author].ask(Ask::Wait(drive)).await?;
        let started = Instant::now();
        let ask = Ask::FileAdd { source: source.clone(), folder: "/".to_owned(), name };
        let Reply::File(added) = self.devices[author].ask(ask).await? else { return Err(unexpected()) };
        let size = added.bytes.unwrap_or_default();
        story.detail(&format!("{} cut, sealed and stored in {}", bytes(size), millis(started)))?;
        self.settle().await?;
        for who in (0..self.devices.len()).filter(|who| *who != author) {
            let started = Instant::now();
            self.fetch(who, &added.path, root).await?;
            let rate = size as f64 / started.elapsed().as_secs_f64();
            story.detail(&format!(
                "{} has it, checked, after {} ({}/s)",
                self.devices[who].person,
                millis(started),
                bytes(rate as u64)
            ))?;
        }
        Ok(SharedFile { path: added.path, content: hash(&source)?, author })
    }

    async fn fetch(&mut self, who: usize, path: &str, root: &Root) -> Result<PathBuf, Failure> {
        let destination = root.path.join(format!("fetched-by-{}", self.devices[who].label));
        let ask = Ask::FileGet { path: path.to_owned(), destination: destination.clone() };
        self.devices[who].ask(ask).await?;
        Ok(destination)
    }

    async fn import_calendar(&mut self, ics: Option<&Path>, story: &mut Story<'_>) -> Result<(), Failure> {
        let ics = match ics {
            Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
            None => sample::calendar(),
        };
        let last = self.devices.len() - 1;
        story.tell(&format!("{} imports a calendar", self.devices[last].person))?;
        let started = Instant::now();
        let Reply::Imported(report) = self.devices[last].ask(Ask::CalImport { ics }).await? else {
            return Err(unexpected());
        };
        let problems = match report.problems.len() {
            0 => String::new(),
            count => format!(", {count} problems in the file"),
        };
        story.detail(&format!("{} events in {}{problems}", report.added + report.unchanged, millis(started)))?;
        let took = self.settle().await?;
        story.detail(&format!("the same calendar is on every device after {took}"))
    }

    /// Two write one note at the same moment. Returns the note.
    async fn write_together(&mut self, story: &mut Story<'_>) -> Result<String, Failure> {
        let (first, rest) = self.devices.split_at_mut(1);
        let (alice, bob) = (&mut first[0], &mut rest[0]);
        story.tell(&format!("{} and {} write one note at the same time", alice.person, bob.person))?;
        let markdown = "# Agenda\n\n- welcome\n- budget\n\nDecisions:\n".to_owned();
        let ask = Ask::NoteNew { title: "会议纪要 Minutes".to_owned(), markdown };
        let Reply::Note(note) = alice.ask(ask).await? else { return Err(unexpected()) };
        self.settle().await?;
        let (first, rest) = self.devices.split_at_mut(1);
        let (alice, bob) = (&mut first[0], &mut rest[0]);
        let merge = |markdown: &str| Ask::NoteMerge {
            note: note.id.clone(),
            heads: note.heads.clone(),
            markdown: markdown.to_owned(),
        };
        let (by_alice, by_bob) = (
            merge("# Agenda\n\n- welcome\n- budget **2027**\n\nDecisions:\n\n1. buy an espresso machine\n"),
            merge("# Agenda for Monday\n\n- 欢迎\n- budget\n- any other business\n\nDecisions:\n"),
        );
        let (by_alice, by_bob) = tokio::join!(alice.ask(by_alice), bob.ask(by_bob));
        by_alice?;
        by_bob?;
        let took = self.settle().await?;
        story.detail(&format!("merged on every device after {took}; nobody's words are lost:"))?;
        let Reply::Note(merged) = self.devices[0].ask(Ask::NoteShow { note: note.id.clone() }).await? else {
            return Err(unexpected());
        };
        for line in merged.markdown.lines() {
            story.detail(&format!("  │ {}", text::line(line)))?;
        }
        Ok(note.id)
    }

    /// The last device is killed while it writes; the others go on; it comes back.
    async fn survive(&mut self, note: &str, story: &mut Story<'_>) -> Result<(), Failure> {
        let last = self.devices.len() - 1;
        let (away, rest) = self.devices.split_last_mut().expect("the demo has two devices at least");
        story.tell(&format!("{} is killed (SIGKILL) in the middle of writing", away.person))?;
        away.remember_traffic().await?;
        let mut acknowledged = 0;
        let number = |number: usize| Ask::ChatSend { body: format!("note to self, no. {number}"), reply_to: None };
        while acknowledged < WRITTEN_BEFORE_KILL {
            away.ask(number(acknowledged)).await?;
            acknowledged += 1;
        }
        acknowledged += usize::from(away.kill_while(number(acknowledged)).await?);
        story.detail(&format!("{acknowledged} of its messages were acknowledged; then it was gone"))?;

        story.tell("The others work on while it is away")?;
        for device in rest.iter_mut() {
            device.ask(Ask::Wait(Condition { online_max: Some(last - 1), ..Condition::default() })).await?;
        }
        for (who, device) in rest.iter_mut().enumerate() {
            let body = format!("{} is offline, we go on", if who == 0 { "Somebody" } else { "有人" });
            device.ask(Ask::ChatSend { body, reply_to: None }).await?;
        }
        let author = &mut rest[0];
        let Reply::Note(opened) = author.ask(Ask::NoteShow { note: note.to_owned() }).await? else {
            return Err(unexpected());
        };
        let markdown = format!("{}\nWritten while one of us was away.\n", opened.markdown);
        author.ask(Ask::NoteMerge { note: opened.id, heads: opened.heads, markdown }).await?;
        let event = NewEvent {
            summary: "Retrospective".to_owned(),
            start: "2026-12-01T10:00[Europe/Berlin]".to_owned(),
            end: Some("2026-12-01T11:00[Europe/Berlin]".to_owned()),
            ..NewEvent::default()
        };
        author.ask(Ask::CalAdd { event }).await?;
        author.ask(Ask::FileMkdir { path: "/while you were away".to_owned() }).await?;
        story.detail("messages, a paragraph in the note, an event, a folder")?;

        let away = &mut self.devices[last];
        story.tell(&format!("{} starts again", away.person))?;
        let started = Instant::now();
        away.start().await?;
        story.detail(&format!("as process {}, after {}", away.pid(), millis(started)))?;
        let Reply::Messages { messages } = away.ask(Ask::ChatHistory { count: 10_000, before: None }).await? else {
            return Err(unexpected());
        };
        let kept = messages.iter().filter(|message| message.body.starts_with("note to self")).count();
        if kept < acknowledged {
            return Err(Failure::failed(format!("{} acknowledged messages were lost", acknowledged - kept)));
        }
        let took = self.settle().await?;
        story.detail(&format!("it has all {acknowledged} acknowledged messages, and caught up within {took}"))
    }

    /// Waits until every device has the documents of every other; says how long that took.
    async fn settle(&mut self) -> Result<String, Failure> {
        let started = Instant::now();
        // Twice: what the second device had and the first had not is new to the others, too.
        for _ in 0..2 {
            for from in 0..self.devices.len() {
                let heads = self.devices[from].heads().await?;
                for to in (0..self.devices.len()).filter(|to| *to != from) {
                    let condition = Condition { contains: Some(heads.clone()), ..Condition::default() };
                    self.devices[to].ask(Ask::Wait(condition)).await?;
                }
            }
        }
        Ok(millis(started))
    }

    /// What every device has in the end.
    async fn compare(&mut self, file: &SharedFile, root: &Root, story: &mut Story<'_>) -> Result<Outcome, Failure> {
        story.tell("Everything is compared")?;
        self.settle().await?;
        let mut rows = Vec::new();
        for who in 0..self.devices.len() {
            let started = Instant::now();
            let content = if who == file.author {
                let Reply::Files { files, .. } =
                    self.devices[who].ask(Ask::FileList { path: file.path.clone() }).await?
                else {
                    return Err(unexpected());
                };
                files.first().and_then(|file| file.blake3.clone()).unwrap_or_default()
            } else {
                hash(&self.fetch(who, &file.path, root).await?)?
            };
            let device = &mut self.devices[who];
            let Reply::Space(space) = device.ask(Ask::SpaceShow).await? else { return Err(unexpected()) };
            let (sent_bytes, received_bytes) = device.traffic().await?;
            rows.push(Row {
                device: format!("{} ({})", device.person, device.name),
                directory: device.directory.display().to_string(),
                documents: space.documents.iter().map(|d| (format!("{} {}", d.kind, d.id), d.heads.clone())).collect(),
                messages: space.messages,
                members: space.members.len(),
                file: content,
                sent_bytes,
                received_bytes,
                milliseconds: started.elapsed().as_secs_f64() * 1e3,
            });
        }
        let same = |row: &Row| {
            let first = &rows[0];
            (&row.documents, row.messages, row.members) == (&first.documents, first.messages, first.members)
                && row.file == file.content
        };
        let equal = rows.iter().all(same);
        Ok(Outcome { equal, devices: rows, seconds: 0.0, trace: None })
    }
}

/// The file that went round.
struct SharedFile {
    path: String,
    /// BLAKE3 of what was shared.
    content: String,
    author: usize,
}

/// How it ended.
#[derive(Serialize)]
struct Outcome {
    equal: bool,
    seconds: f64,
    devices: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<crate::replay::Replayed>,
}

/// What one device had.
#[derive(Serialize)]
struct Row {
    device: String,
    directory: String,
    documents: BTreeMap<String, Vec<String>>,
    messages: usize,
    members: usize,
    /// BLAKE3 of the file as this device got it.
    file: String,
    sent_bytes: u64,
    received_bytes: u64,
    /// How long it took to ask it all this.
    milliseconds: f64,
}

impl Outcome {
    fn show(&self, screen: &Screen) -> Result<(), Failure> {
        if screen.json {
            return screen.value(&crate::screen::Tagged { r#type: "demo", value: self });
        }
        let mut table = vec![vec![String::new()]];
        table[0].extend(self.devices.iter().map(|row| text::line(&row.device)));
        let mut line = |name: String, cell: &dyn Fn(&Row) -> String| {
            let mut cells = vec![name];
            cells.extend(self.devices.iter().map(cell));
            let equal = cells[1..].iter().all(|cell| *cell == cells[1]);
            cells.push(if equal { "equal" } else { "DIFFERENT" }.to_owned());
            table.push(cells);
        };
        let short = |text: &str| text.get(..12).unwrap_or(text).to_owned();
        let documents: std::collections::BTreeSet<&String> =
            self.devices.iter().flat_map(|row| row.documents.keys()).collect();
        for document in documents {
            let name = document.get(..document.len().min(15)).unwrap_or(document);
            line(name.to_owned(), &|row| {
                let heads = row.documents.get(document);
                heads.map_or("-".to_owned(), |heads| heads.iter().map(|head| short(head)).collect::<Vec<_>>().join("+"))
            });
        }
        line("members".to_owned(), &|row| row.members.to_string());
        line("messages".to_owned(), &|row| row.messages.to_string());
        line("file (BLAKE3)".to_owned(), &|row| short(&row.file));
        let mut plain = |name: &str, cell: &dyn Fn(&Row) -> String| {
            let mut cells = vec![name.to_owned()];
            cells.extend(self.devices.iter().map(cell));
            table.push(cells);
        };
        plain("bytes sent", &|row| bytes(row.sent_bytes));
        plain("bytes received", &|row| bytes(row.received_bytes));
        plain("time to ask", &|row| format!("{:.0} ms", row.milliseconds));
        screen.say("")?;
        for (at, row) in text::table(&table).iter().enumerate() {
            screen.say(&if at == 0 { bold(row) } else { row.clone() })?;
        }
        screen.say("")?;
        let verdict = if self.equal { "All devices have the same." } else { "The devices DIFFER." };
        screen.say(&format!("{} {:.1} s in all.", bold(verdict), self.seconds))
    }
}

/// BLAKE3 of a file.
fn hash(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).map_err(failed)?, &mut hasher).map_err(failed)?;
    Ok(hex(hasher.finalize().as_bytes()))
}

fn millis(since: Instant) -> String {
    let took: Duration = since.elapsed();
    if took < Duration::from_secs(2) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

pub(crate) fn unexpected() -> Failure {
    Failure::failed("a device gave an answer to another question; please report this")
}
