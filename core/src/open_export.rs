//! Everything that this device can read, in formats that any program reads: Automerge files, Markdown, iCalendar, plain files,
//! chat as JSON and as text.
//!
//! ```text
//! DIRECTORY/
//!   clave-export.json         what this is; written first, and again at the end, with what is missing
//!   <space>/                  the circle of everybody
//!     chat.json  chat.txt  calendar.ics
//!     notes/<title>.md
//!     files/…                 as in the drive
//!     automerge/<kind>-<id>.automerge
//!     circles/<circle>/…      the same again
//! ```
//!
//! In clear: whoever can read the directory can read it. Names are made such that every file system takes them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use clave_engine::crdt::{DocumentKind, FileVersion, NodeId, Tree};
use serde_json::json;

use crate::unfinished::Unfinished;
use crate::{Circle, Error, Message, MessageId, Node, Progress};

mod name;

use name::Names;

/// The version of the layout, in `clave-export.json`.
const LAYOUT_VERSION: u32 = 1;
const ABOUT_FILE: &str = "clave-export.json";
/// Messages that are read at once.
const MESSAGES_A_PAGE: usize = 1_000;
const HASH_BYTES: usize = 1 << 16;

/// What an open export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenExported {
    /// Spaces and circles.
    pub circles: u64,
    /// Messages.
    pub messages: u64,
    /// Notes.
    pub notes: u64,
    /// Events of calendars.
    pub events: u64,
    /// Files, those apart that were there already.
    pub files: u64,
    /// Files that an earlier run of the same export had written.
    pub kept_files: u64,
    /// Documents as Automerge files.
    pub documents: u64,
    /// Files whose content is not on this device and was not to be had: where they would have been.
    pub missing: Vec<PathBuf>,
}

impl Node {
    /// Writes everything that this device can read into `directory`, in open formats and in clear. The directory is made, or
    /// is empty, or holds an export, which is then brought up to date: files that are there and whole are not written again, so
    /// that one that was interrupted goes on. For content that is not on this device it waits so long for somebody who has
    /// it, file by file; what does not come is named. Each file appears whole or not at all. Dropping the future cancels it.
    ///
    /// # Errors
    /// If the directory holds something else, or cannot be written to.
    pub async fn export_open(
        &self,
        directory: &Path,
        wait: Duration,
        mut progress: impl FnMut(Progress),
    ) -> Result<OpenExported, Error> {
        prepare(directory)?;
        about(directory, None)?;
        let (mut done, mut spaces) = (OpenExported::default(), Names::default());
        let mut places = Vec::new();
        for space in self.spaces().await? {
            let place = directory.join(spaces.take(&space.name().await?, ""));
            let mut circles = Names::default();
            places.push((space.everybody().clone(), place.clone()));
            for info in space.circles().await?.into_iter().filter(|info| info.id != space.id()) {
                let within = place.join("circles").join(circles.take(&info.name, ""));
                places.push((space.circle(info.id).await?, within));
            }
        }
        let mut writer = Writer { done: &mut done, wait, bytes: Progress { done_bytes: 0, total_bytes: 0 } };
        for (circle, _) in &places {
            let tree = circle.drive().tree().await?;
            writer.bytes.total_bytes += kept(&tree).map(|(_, version)| version.bytes).sum::<u64>();
        }
        for (circle, place) in &places {
            writer.circle(circle, place, &mut progress).await?;
        }
        about(directory, Some(&done))?;
        Ok(done)
    }
}

/// Makes sure that nothing of somebody else's is overwritten.
fn prepare(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|error| in_file(directory, error))?;
    let mut entries = fs::read_dir(directory).map_err(|error| in_file(directory, error))?;
    if entries.next().is_some() && !directory.join(ABOUT_FILE).exists() {
        return Err(Error::NotEmpty(directory.display().to_string()));
    }
    Ok(())
}

fn about(directory: &Path, done: Option<&OpenExported>) -> Result<(), Error> {
    let missing: Vec<String> =
        done.iter().flat_map(|done| &done.missing).map(|path| path.display().to_string()).collect();
    let about = json!({
        "what": "An export of Clave in open formats: automerge/*.automerge, notes/*.md, calendar.ics, files/, chat.json, chat.txt",
        "layout": LAYOUT_VERSION,
        "complete": done.is_some(),
        "missing_files": missing,
    });
    write_file(&directory.join(ABOUT_FILE), format!("{about:#}\n").as_bytes())
}

struct Writer<'a> {
    done: &'a mut OpenExported,
    wait: Duration,
    bytes: Progress,
}

impl Writer<'_> {
    async fn circle(
        &mut self,
        circle: &Circle,
        place: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        create(place)?;
        self.chat(circle, place).await?;
        self.notes(circle, place).await?;
        let events = circle.calendar().events().await?.len();
        if events > 0 {
            write_file(&place.join("calendar.ics"), circle.calendar().export_ics().await?.as_bytes())?;
            self.done.events += events as u64;
        }
        self.automerge(circle, place).await?;
        self.files(circle, place, progress).await?;
        self.done.circles += 1;
        Ok(())
    }

    /// Page by page, oldest first, so that a long chat is not in memory at once.
    async fn chat(&mut self, circle: &Circle, place: &Path) -> Result<(), Error> {
        let (timeline, mut pages, mut before) = (circle.timeline(), Vec::<Option<MessageId>>::new(), None);
        loop {
            let page = timeline.history(MESSAGES_A_PAGE, before).await?;
            let Some(first) = page.first() else { break };
            pages.push(before);
            before = Some(first.id);
        }
        if pages.is_empty() {
            return Ok(());
        }
        let (mut as_json, mut as_text) =
            (Text::begin(&place.join("chat.json"))?, Text::begin(&place.join("chat.txt"))?);
        as_json.add("[")?;
        let mut separator = "\n";
        for before in pages.into_iter().rev() {
            for message in timeline.history(MESSAGES_A_PAGE, before).await? {
                as_json.add(&format!("{separator}{}", message_json(&message)))?;
                as_text.add(&message_text(&message))?;
                separator = ",\n";
                self.done.messages += 1;
            }
        }
        as_json.add("\n]\n")?;
        as_json.finish()?;
        as_text.finish()
    }

    async fn notes(&mut self, circle: &Circle, place: &Path) -> Result<(), Error> {
        let (folder, mut names) = (place.join("notes"), Names::default());
        for info in circle.notes().await? {
            create(&folder)?;
            let note = circle.note(info.id).await?.snapshot().await?;
            let title = if note.title.is_empty() { "untitled" } else { &note.title };
            let title = title.strip_suffix(".md").unwrap_or(title);
            write_file(&folder.join(names.take(title, ".md")), note.markdown.as_bytes())?;
            self.done.notes += 1;
        }
        Ok(())
    }

    async fn automerge(&mut self, circle: &Circle, place: &Path) -> Result<(), Error> {
        let folder = place.join("automerge");
        let id = circle.id();
        let documents = circle.node().read(move |engine| engine.documents(id)).await?;
        for known in documents {
            create(&folder)?;
            let saved = move |engine: &mut clave_engine::Engine| {
                Ok(engine.document(id, known.id, known.kind)?.to_automerge()?)
            };
            let bytes = circle.node().read(saved).await?;
            let kind = match known.kind {
                DocumentKind::Timeline => "chat",
                DocumentKind::Note => "note",
                DocumentKind::Calendar => "calendar",
                DocumentKind::Drive => "drive",
                _ => "document",
            };
            write_file(&folder.join(format!("{kind}-{}.automerge", known.id)), &bytes)?;
            self.done.documents += 1;
        }
        Ok(())
    }

    async fn files(&mut self, circle: &Circle, place: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), Error> {
        let (drive, tree) = (circle.drive(), circle.drive().tree().await?);
        let root = place.join("files");
        let mut folders = BTreeMap::from([(NodeId::ROOT, root)]);
        let mut waiting = vec![NodeId::ROOT];
        while let Some(folder) = waiting.pop() {
            let (at, mut names) = (folders[&folder].clone(), Names::default());
            let inside = tree.list(folder).map_err(clave_engine::EngineError::from)?;
            for node in inside.into_iter().filter(|node| !node.trashed) {
                let path = at.join(names.take(&node.name, ""));
                if node.id.is_folder() {
                    create(&path)?;
                    folders.insert(node.id, path);
                    waiting.push(node.id);
                    continue;
                }
                let Some(version) = node.current.as_ref().map(|version| &version.file) else { continue };
                create(&at)?;
                let before = self.bytes.done_bytes;
                self.file(&drive, node.id, version, &path, progress).await?;
                self.bytes.done_bytes = before + version.bytes;
                progress(self.bytes);
            }
        }
        Ok(())
    }

    async fn file(
        &mut self,
        drive: &crate::Drive,
        node: NodeId,
        version: &FileVersion,
        path: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        if holds(path, version)? {
            self.done.kept_files += 1;
            return Ok(());
        }
        let so_far = self.bytes;
        let tell = |part: Progress| {
            progress(Progress { done_bytes: so_far.done_bytes + part.done_bytes, ..so_far });
        };
        let here = drive.is_here(version).await?;
        let getting = drive.get(node, path, tell);
        let got = if here { Ok(getting.await) } else { tokio::time::timeout(self.wait, getting).await };
        match got {
            Ok(got) => got?,
            Err(_) => {
                self.done.missing.push(path.to_owned());
                return Ok(());
            }
        };
        self.done.files += 1;
        Ok(())
    }
}

/// The files of a drive that are not thrown away.
fn kept(tree: &Tree) -> impl Iterator<Item = (NodeId, &FileVersion)> {
    let kept = tree.files().filter(|node| !node.trashed);
    kept.filter_map(|node| Some((node.id, &node.current.as_ref()?.file)))
}

/// Whether a file is there with just that content.
fn holds(path: &Path, version: &FileVersion) -> Result<bool, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(in_file(path, error)),
    };
    if file.metadata().map_err(|error| in_file(path, error))?.len() != version.bytes {
        return Ok(false);
    }
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; HASH_BYTES]);
    loop {
        let read = file.read(&mut buffer).map_err(|error| in_file(path, error))?;
        if read == 0 {
            return Ok(*hasher.finalize().as_bytes() == version.blake3);
        }
        hasher.update(&buffer[..read]);
    }
}

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn message_json(message: &Message) -> serde_json::Value {
    let author = |author: &crate::Author| {
        json!({
            "name": author.name,
            "person": author.person.map(|person| person.to_string()),
            "device": author.device.map(|device| device.to_string()),
        })
    };
    let reactions: Vec<_> = message
        .reactions
        .iter()
        .map(|(reaction, by)| json!({ "reaction": reaction, "by": by.iter().map(author).collect::<Vec<_>>() }))
        .collect();
    json!({
        "id": message.id.to_string(),
        "sent": time(message.sent_ms),
        "sent_ms": message.sent_ms,
        "author": author(&message.author),
        "body": message.body,
        "reply_to": message.reply_to.map(|id| id.to_string()),
        "attachments": message.attachments.iter().map(|file| file.name.clone()).collect::<Vec<_>>(),
        "mentions": message.mentions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "edited": message.edited,
        "withdrawn": message.withdrawn,
        "altered_by": message.altered_by.as_ref().map(author),
        "reactions": reactions,
    })
}

fn message_text(message: &Message) -> String {
    let body = if message.withdrawn { "(withdrawn)" } else { &message.body };
    let edited = if message.edited { " (edited)" } else { "" };
    let indented = body.lines().collect::<Vec<_>>().join("\n    ");
    format!("{} {}: {indented}{edited}\n", time(message.sent_ms), message.author.name)
}

/// A text that is written piece by piece.
struct Text {
    unfinished: Unfinished,
    file: BufWriter<File>,
}

impl Text {
    fn begin(path: &Path) -> Result<Self, Error> {
        let unfinished = Unfinished::beside(path)?;
        let file = BufWriter::new(unfinished.create()?);
        Ok(Self { unfinished, file })
    }

    fn add(&mut self, text: &str) -> Result<(), Error> {
        self.file.write_all(text.as_bytes()).map_err(|error| self.unfinished.failed(error))
    }

    fn finish(self) -> Result<(), Error> {
        let Self { unfinished, file } = self;
        file.into_inner().map_err(|error| unfinished.failed(error.into_error()))?;
        unfinished.finish().map(drop)
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let unfinished = Unfinished::beside(path)?;
    let mut file = unfinished.create()?;
    file.write_all(bytes).map_err(|error| unfinished.failed(error))?;
    unfinished.finish().map(drop)
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| in_file(folder, error))
}

fn in_file(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}
