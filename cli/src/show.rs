//! Answers in words. What others wrote (names, messages, titles) passes through [`text`] before it is printed.

use std::path::PathBuf;

mod audit;
mod inbox;
mod people;
mod push;
mod reach;
mod recovery;
mod relay;

pub(crate) use people::link_pending;

use crate::failure::Failure;
use crate::qr;
use crate::reply::{self, Reply};
use crate::screen::{Screen, bold, dim};
use crate::text::{self, bytes, cut, fit, line, table};
use crate::time::moment;

/// How many characters of an id a list shows.
const ID_CHARS: usize = 10;
/// How many of a message's id: its beginning is the time, which is alike for many.
const MESSAGE_ID_CHARS: usize = 14;
/// Columns for the name of who wrote a message.
const NAME_COLUMNS: usize = 14;

/// What the answer was to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Show {
    /// `clave run` answered, which stays online.
    pub(crate) is_running: bool,
    pub(crate) ids: bool,
    pub(crate) qr: bool,
    pub(crate) waiting: bool,
    pub(crate) founded: bool,
    pub(crate) joined: bool,
    pub(crate) created: bool,
    pub(crate) written: Option<PathBuf>,
    /// The other of a chat of two.
    pub(crate) with: Option<String>,
    /// The sentence for an answer that has none of its own.
    pub(crate) done: Option<&'static str>,
}

/// Shows an answer.
pub(crate) fn show(reply: &Reply, how: &Show, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.value(reply);
    }
    words(reply, how).iter().try_for_each(|line| screen.say(line))
}

fn words(reply: &Reply, how: &Show) -> Vec<String> {
    match reply {
        Reply::Done => vec![how.done.unwrap_or("Done.").to_owned()],
        Reply::Profile(profile) => vec![
            format!("{} on {}", bold(&line(&profile.person_name)), line(&profile.device_name)),
            format!("person  {}", profile.person),
            format!("device  {}", profile.device),
        ],
        Reply::Status(status) => self::status(status),
        Reply::Spaces { spaces } => self::spaces(spaces, how),
        Reply::Inbox { items } => inbox::inbox(items),
        Reply::Space(space) => self::space(space),
        Reply::Members { members, evidence } => {
            let evidence = audit::evidence(evidence);
            self::members(members).into_iter().chain(evidence).collect()
        }
        Reply::Circles { circles } => people::circles(circles, how),
        Reply::Removal(removal) => people::removal(removal),
        Reply::Rotation(rotation) => people::rotation(rotation),
        Reply::Access(access) => people::access(access),
        Reply::SetAside(set_aside) => people::set_aside(set_aside),
        Reply::Kept { changes, documents } => vec![people::kept(*changes, *documents)],
        Reply::LinkCode(code) => people::link_code(code, how),
        Reply::LinkAsked(asked) => people::link_asked(asked),
        Reply::Linked { name, .. } => {
            vec![format!("“{}” is a device of yours now, and has everything that you can read.", line(name))]
        }
        Reply::Revoked { name, circles, rotation } => {
            let mut words = vec![format!(
                "“{}” is out of {} and gets nothing more. What it had stays on it.",
                line(name),
                if *circles == 1 { "1 circle".to_owned() } else { format!("{circles} circles") }
            )];
            words.extend(people::rotation(rotation));
            words
        }
        Reply::Compare(compare) => people::compare(compare),
        Reply::Verified { name, verification } => vec![people::verified(name, verification)],
        Reply::SafetyNumber { name, number, verification } => people::safety_number(name, number, verification),
        Reply::Policies(policies) => people::policies(policies),
        Reply::Relays(relays) => relay::relays(relays),
        Reply::Push(push) => push::push(push),
        Reply::Audit(audit) => audit::audit(audit, how),
        Reply::Checked(checked) => audit::checked(checked),
        Reply::Invitation(link) => invitation(link, how),
        Reply::Invitations { invitations } => self::invitations(invitations),
        Reply::Asked(pending) => asked(pending, how),
        Reply::Joined { space, members } => joined(space, *members, how),
        Reply::Sent { online, .. } => vec![sent(*online, how)],
        Reply::Messages { messages } if messages.is_empty() && how.with.is_some() => {
            let with = quoted(how.with.as_deref().unwrap_or_default());
            vec![format!("No messages between the two of you yet. Send the first: clave dm {with} Hello")]
        }
        Reply::Messages { messages } if messages.is_empty() => {
            vec!["No messages yet. Send the first: clave chat send Hello".to_owned()]
        }
        Reply::Messages { messages } => messages.iter().flat_map(|message| chat(message, how)).collect(),
        Reply::Message(message) => chat(message, how),
        Reply::Gone { .. } => Vec::new(),
        Reply::Found { found, .. } if found.is_empty() => {
            vec!["Nothing here has these words. Try fewer, or the beginning of one.".to_owned()]
        }
        Reply::Found { found, more } => {
            let more = more.then(|| dim("There is more: give further words, or a greater --count."));
            found.iter().flat_map(|found| self::found(found, how)).chain(more).collect()
        }
        Reply::Note(note) if how.created => vec![
            format!("The note “{}” is there.", line(&note.title)),
            format!("Next: clave note edit {}", quoted(&note.title)),
        ],
        Reply::Note(note) => vec![bold(&line(&note.title)), String::new(), text::lines(note.markdown.trim_end())],
        Reply::Notes { notes } if notes.is_empty() => {
            vec!["No notes yet. Begin one: clave note new \"Weekly meeting\"".to_owned()]
        }
        Reply::Notes { notes } => {
            table(&notes.iter().map(|note| vec![short(&note.id), title(&note.title)]).collect::<Vec<_>>())
        }
        Reply::Present { present } if present.is_empty() => vec!["Nobody else is in it.".to_owned()],
        Reply::Present { present } => vec![self::present(present)],
        Reply::Text { text, .. } => vec![text::lines(text)],
        Reply::Heads { heads } => heads.clone(),
        Reply::Added { .. } => vec!["It is in the calendar. `clave cal agenda` shows what is coming.".to_owned()],
        Reply::Agenda(agenda) => self::agenda(agenda),
        Reply::Imported(report) => imported(report),
        Reply::Calendar { ics } => vec![text::lines(ics)],
        Reply::File(file) => vec![self::file(file, how)],
        Reply::Files { path, files } if files.is_empty() && path == "/" => {
            vec!["No files yet. Share one: clave file add PATH".to_owned()]
        }
        Reply::Files { files, .. } if files.is_empty() => vec!["This folder is empty.".to_owned()],
        Reply::Files { files, .. } => self::files(files),
        Reply::FileVersions { versions } => self::versions(versions),
        Reply::FileUsage { chunks, bytes, quota_bytes } => {
            let quota = quota_bytes.map(|quota| format!(", at most {}", self::bytes(quota))).unwrap_or_default();
            vec![format!("{} in {chunks} chunks{quota}", self::bytes(*bytes))]
        }
        Reply::FileCollected { removed_chunks, removed_bytes, condemned_chunks, condemned_bytes } => {
            let mut lines = vec![format!("Removed {} in {removed_chunks} chunks.", bytes(*removed_bytes))];
            if *condemned_chunks > 0 {
                let bytes = bytes(*condemned_bytes);
                lines.push(format!("{bytes} in {condemned_chunks} chunks follow if nothing needs them within a day."));
            }
            lines
        }
        Reply::Exported { file, bytes, records, with_files } => recovery::exported(file, *bytes, *records, *with_files),
        Reply::OpenExported(exported) => recovery::open_exported(exported),
        Reply::Restored(restored) => recovery::restored(restored),
        Reply::Running(running) => vec![format!("online as process {}", running.pid)],
    }
}

fn present(present: &[reply::Present]) -> String {
    let one = |one: &reply::Present| {
        let place = match one.selection {
            Some((anchor, focus)) if anchor == focus => format!(" at {focus}"),
            Some((anchor, focus)) => format!(" at {} to {}", anchor.min(focus), anchor.max(focus)),
            None => String::new(),
        };
        format!("{}{}{place}", line(&one.name), if one.me { " (another device of yours)" } else { "" })
    };
    format!("In it: {}", present.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn versions(versions: &[reply::FileVersion]) -> Vec<String> {
    let row = |(number, version): (usize, &reply::FileVersion)| {
        let when = version.modified_ms.map(moment).unwrap_or_default();
        vec![(number + 1).to_string(), bytes(version.bytes), when]
    };
    table(&versions.iter().enumerate().map(row).collect::<Vec<_>>())
}

fn status(status: &reply::Status) -> Vec<String> {
    let mut words = vec![format!(
        "{} on {}, {}",
        bold(&line(&status.profile.person_name)),
        line(&status.profile.device_name),
        if status.running { format!("online (process {})", status.pid) } else { "offline".to_owned() }
    )];
    words.push(format!("{} in {}", bytes(status.store_bytes), status.directory));
    words.extend(status.addresses.iter().map(|address| format!("  {}", line(address))));
    if status.running {
        words.extend(reach::reachable(status));
        words.push(format!("{} sent, {} received", bytes(status.sent_bytes), bytes(status.received_bytes)));
    }
    for space in &status.spaces {
        words.push(format!("space {} ({})", line(&space.name), people(space.members)));
        words.extend(space.removed.iter().map(|removed| format!("  {}", line(removed))));
    }
    words.extend(recovery::rejoining(&status.rejoining));
    for pending in &status.joining {
        let (name, until) = (line(&pending.space), moment(pending.expires_ms));
        words.push(match (pending.at_relay, status.running) {
            (true, _) => {
                format!("asked to join “{name}”: whoever invited you answers when they are online (until {until})")
            }
            (false, true) => format!("about to ask to join “{name}”: no relay was reached yet (until {until})"),
            (false, false) => format!("asks to join “{name}” when it is online: `clave run` (until {until})"),
        });
    }
    if status.spaces.is_empty() && status.joining.is_empty() {
        words.push("In no space yet: `clave space new NAME` founds one, `clave join LINK` joins one.".to_owned());
    }
    let rows: Vec<_> = status
        .peers
        .iter()
        .map(|peer| {
            let trip = peer.round_trip_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default();
            let traffic = format!("↑ {} ↓ {}", bytes(peer.sent_bytes), bytes(peer.received_bytes));
            vec![line(&peer.name), reach::way(&peer.way), trip, traffic]
        })
        .collect();
    if !rows.is_empty() {
        words.push("Connected:".to_owned());
        words.extend(table(&rows).into_iter().map(|row| format!("  {row}")));
    } else if status.running {
        words.push("Nobody else is connected.".to_owned());
    } else {
        words.push("`clave run` brings this device online.".to_owned());
    }
    for relays in &status.relays {
        words.extend(relay::relays(relays));
    }
    for name in &status.asked_by {
        words.push(format!("{} asks you to compare: clave verify {}", line(name), quoted(name)));
    }
    for refused in &status.refusals {
        words.push(format!("refused {} times: {}", refused.count, refused.reason));
    }
    words
}

fn spaces(spaces: &[reply::Space], how: &Show) -> Vec<String> {
    if let (true, [space]) = (how.founded, spaces) {
        return vec![
            format!("The {}space “{}” is founded, and you are its owner.", kind(space.post_quantum), line(&space.name)),
            "Next: `clave invite` makes a link for somebody else.".to_owned(),
        ];
    }
    if spaces.is_empty() {
        return vec!["No spaces yet: `clave space new NAME` founds one, `clave join LINK` joins one.".to_owned()];
    }
    let state = |space: &reply::Space| match space.removed {
        Some(_) => "you are out".to_owned(),
        None => kind(space.post_quantum).trim_end().to_owned(),
    };
    table(&spaces.iter().map(|s| vec![short(&s.id), line(&s.name), people(s.members), state(s)]).collect::<Vec<_>>())
}

/// Before the word for what it is.
fn kind(post_quantum: bool) -> &'static str {
    if post_quantum { "post-quantum " } else { "" }
}

fn space(space: &reply::SpaceDetail) -> Vec<String> {
    let mut words = vec![bold(&line(&space.name)), format!("id      {}", space.id)];
    let how = if space.post_quantum { ", by X-Wing (post-quantum)" } else { "" };
    let (epoch, commits, devices) = (short(&space.epoch), space.commits, space.devices);
    words.push(format!("keys    epoch {epoch}, {commits} commits, {devices} devices{how}"));
    words.push(format!("entries {} ({} of them wait for something)", space.entries, space.held));
    words.push(format!("chat    {} messages", space.messages));
    words.extend(members(&space.members));
    let heads = |heads: &[String]| heads.iter().map(|head| short(head)).collect::<Vec<_>>().join(" ");
    let rows: Vec<_> = space.documents.iter().map(|d| vec![d.kind.clone(), short(&d.id), heads(&d.heads)]).collect();
    words.extend(table(&rows));
    words
}

fn members(members: &[reply::Person]) -> Vec<String> {
    let device = |device: &reply::Device| format!("{}{}", line(&device.name), if device.online { " ●" } else { "" });
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            let name = format!("{}{}", line(&member.name), if member.me { " (you)" } else { "" });
            let devices = member.devices.iter().map(device).collect::<Vec<_>>().join(", ");
            let until = member.expires_ms.map(|at| format!(" until {}", moment(at))).unwrap_or_default();
            let mark = match member.verification.as_str() {
                "verified" => "verified",
                "changed" => "CHANGED: compare again",
                _ => "",
            };
            vec![name, format!("{}{until}", member.role), mark.to_owned(), devices]
        })
        .collect();
    table(&rows)
}

fn invitation(link: &reply::Link, how: &Show) -> Vec<String> {
    let mut words = vec![
        format!(
            "Whoever gets this link first can join “{}”, once, until {}:",
            line(&link.space),
            moment(link.expires_ms)
        ),
        String::new(),
        link.link.clone(),
        String::new(),
    ];
    if how.qr {
        match qr::draw(&link.link) {
            Some(code) => words.extend(code),
            None => words.push("(The link is too long for a QR code.)".to_owned()),
        }
        words.push(String::new());
    }
    words.push("They type: clave join LINK".to_owned());
    words.push(match (how.waiting, how.is_running) {
        (true, _) => "Waiting for them…".to_owned(),
        (false, true) => "Keep this device online until they have joined.".to_owned(),
        (false, false) => "Keep this device online (`clave run`) until they have joined.".to_owned(),
    });
    words
}

fn invitations(invitations: &[reply::Invitation]) -> Vec<String> {
    if invitations.is_empty() {
        return vec!["No invitations yet: `clave invite` makes one.".to_owned()];
    }
    let row = |invitation: &reply::Invitation| {
        let state = match (&invitation.used_by, invitation.state.as_str()) {
            (Some(name), _) => format!("used by {}", line(name)),
            (None, "open") => format!("open until {}", moment(invitation.expires_ms)),
            (None, state) => state.to_owned(),
        };
        vec![short(&invitation.id), state]
    };
    table(&invitations.iter().map(row).collect::<Vec<_>>())
}

fn asked(pending: &reply::PendingJoin, how: &Show) -> Vec<String> {
    let next = if how.is_running {
        "`clave wait --joined` waits for it, `clave status` says how it stands"
    } else {
        "`clave run` keeps this device online and takes the answer; until then it may be off"
    };
    vec![
        format!("A relay keeps your request to join “{}”.", line(&pending.space)),
        format!(
            "It is answered when the device that invited you is online, until {}. Next: {next}.",
            moment(pending.expires_ms)
        ),
    ]
}

fn joined(space: &reply::Space, members: usize, how: &Show) -> Vec<String> {
    if !how.joined {
        return vec![format!("Somebody joined “{}”: {} now.", line(&space.name), people(members))];
    }
    let mut words = vec![format!("You are in “{}” now ({}).", line(&space.name), people(members))];
    words.push(if how.is_running {
        "Next: `clave chat tail` shows what is said.".to_owned()
    } else {
        "Next: `clave run` keeps this device online; what was said and written before arrives then.".to_owned()
    });
    words
}

fn sent(online: usize, how: &Show) -> String {
    match (how.is_running, online) {
        (true, 0) => "Stored. Nobody else is connected: it goes out as soon as somebody is.".to_owned(),
        (true, 1) => "Sent to the one device that is connected.".to_owned(),
        (true, online) => format!("Sent to the {online} devices that are connected."),
        (false, _) => "Stored. It goes out when this device is online: clave run".to_owned(),
    }
}

/// Days, each with what happens on it.
fn agenda(agenda: &reply::Agenda) -> Vec<String> {
    if agenda.occurrences.is_empty() {
        return vec![
            "Nothing is coming up. Add something: clave cal add \"Weekly meeting\" --at \"2026-11-23 14:00\""
                .to_owned(),
        ];
    }
    let mut words = Vec::new();
    let mut day = String::new();
    for occurrence in &agenda.occurrences {
        let (date, clock) = crate::time::day_and_clock(occurrence.start_ms, &agenda.zone);
        if date != day {
            words.push(bold(&date));
            day = date;
        }
        let (_, end) = crate::time::day_and_clock(occurrence.end_ms, &agenda.zone);
        let when = if occurrence.all_day { "all day    ".to_owned() } else { format!("{clock}–{end}") };
        let mut what = format!("  {when}  {}", line(&occurrence.summary));
        if !occurrence.location.is_empty() {
            what.push_str(&format!(", {}", line(&occurrence.location)));
        }
        if occurrence.status == "CANCELLED" {
            what.push_str(" (cancelled)");
        }
        words.push(what);
    }
    if agenda.truncated {
        words.push("There is more than can be shown: ask for fewer days.".to_owned());
    }
    words
}

fn imported(report: &reply::Imported) -> Vec<String> {
    let mut words =
        vec![format!("{} added, {} updated, {} unchanged.", report.added, report.updated, report.unchanged)];
    for problem in &report.problems {
        words.push(format!("line {}, {}: {}", problem.line, line(&problem.component), line(&problem.reason)));
    }
    words
}

/// A message: time, name, text; further lines below the text.
fn chat(message: &reply::Chat, how: &Show) -> Vec<String> {
    let time = fit(&moment(message.sent_ms), if moment(message.sent_ms).len() > 5 { 16 } else { 5 });
    let name = fit(&line(&message.author.name), NAME_COLUMNS);
    let indent = " ".repeat(text::width(&time) + NAME_COLUMNS + 4);
    let body = match (&message.altered_by, message.withdrawn) {
        (Some(writer), _) => format!("(altered by {}) {}", line(&writer.name), text::lines(&message.body)),
        (None, true) => dim("(withdrawn)"),
        (None, false) => text::lines(&message.body),
    };
    let mut body = body.split('\n');
    let mut first = format!("{}  {}  {}", dim(&time), bold(&name), body.next().unwrap_or_default());
    if message.edited && !message.withdrawn {
        first.push_str(&dim(" (edited)"));
    }
    if let Some(state) = &message.state {
        first.push_str(&dim(&format!("  {}", push::mark(state))));
    }
    let mut words = Vec::new();
    if let Some(id) = &message.reply_to {
        words.push(format!("{indent}{}", dim(&format!("↱ {}", head(id, MESSAGE_ID_CHARS)))));
    }
    words.push(first);
    words.extend(body.map(|more| format!("{indent}{more}")));
    if let Some(reply::State::Failed { error, .. }) = &message.state {
        words.push(format!("{indent}{}", dim(error)));
    }
    for file in &message.attachments {
        words.push(format!("{indent}📎 {} ({})", line(&file.name), bytes(file.bytes)));
    }
    if !message.reactions.is_empty() {
        let reaction = |r: &reply::Reaction| format!("{} {}", line(&r.text), r.by.len());
        let all = message.reactions.iter().map(reaction).collect::<Vec<_>>().join("  ");
        words.push(format!("{indent}{all}"));
    }
    if how.ids {
        words.push(format!("{indent}{}", dim(head(&message.id, MESSAGE_ID_CHARS))));
    }
    words
}

/// A result: when, who or what, where; and the text with its words in bold.
fn found(found: &reply::Found, how: &Show) -> Vec<String> {
    let who = found.author.as_ref().map_or(found.kind.as_str(), |author| author.name.as_str());
    let place = found.circle.as_ref().map(|circle| dim(&format!(" in {}", line(circle)))).unwrap_or_default();
    let (mut text, mut at) = (String::new(), 0);
    for (from, to) in &found.matches {
        let parts = (found.snippet.get(at..*from), found.snippet.get(*from..*to));
        let (Some(before), Some(word)) = parts else { break };
        text.push_str(&line(before));
        text.push_str(&bold(&line(word)));
        at = *to;
    }
    text.push_str(&line(found.snippet.get(at..).unwrap_or_default()));
    let cut = |is_cut| if is_cut { "…" } else { "" };
    let text = format!("{}{text}{}", cut(found.cut_before), cut(found.cut_behind));
    let mut words = vec![format!("{}  {}{place}  {text}", dim(&moment(found.time_ms)), bold(&line(who)))];
    if how.ids {
        words.push(format!("    {}", dim(&line(&found.id))));
    }
    words
}

fn file(file: &reply::File, how: &Show) -> String {
    let (path, size) = (line(&file.path), file.bytes.map(bytes).unwrap_or_default());
    match (&how.written, how.created, file.folder) {
        (Some(destination), ..) => format!("{path} ({size}) is complete and checked: {}", destination.display()),
        (None, true, true) => format!("The folder {path} is there."),
        (None, true, false) => {
            format!("{path} ({size}) is in the drive. Others can get it while a device that has it is online.")
        }
        (None, false, _) => format!("It is {path} now."),
    }
}

fn files(files: &[reply::File]) -> Vec<String> {
    let row = |file: &reply::File| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let mut name = line(name);
        if file.folder {
            name.push('/');
        }
        if file.conflicts > 0 {
            name.push_str(" (others changed it at the same time)");
        }
        let when = file.modified_ms.map(moment).unwrap_or_default();
        vec![file.bytes.map(bytes).unwrap_or_default(), when, name]
    };
    table(&files.iter().map(row).collect::<Vec<_>>())
}

fn people(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

fn title(title: &str) -> String {
    if title.is_empty() { "(no title)".to_owned() } else { cut(&line(title), 60) }
}

fn quoted(title: &str) -> String {
    format!("\"{}\"", line(title))
}

fn short(id: &str) -> String {
    head(id, ID_CHARS).to_owned()
}

fn head(id: &str, chars: usize) -> &str {
    id.get(..chars).unwrap_or(id)
}
