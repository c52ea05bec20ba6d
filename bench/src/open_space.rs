//! Opening a device and showing the inbox, the newest 50 messages and today's agenda, in a space of few messages and of many.
//!
//! Each opening is a process of its own, so that its memory is its own. What is measured is a follower's device: another one
//! wrote everything. (The writer puts many changes into an entry, to be done in minutes; the documents are as they would be if
//! each message had come by itself. What is more than [`WRITTEN`] messages are copies of a segment that is read to its end.)

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clave::benching::command;
use clave::{CircleId, DocumentId, DocumentKind, Draft, Error, MessageId, NetworkConfig, Node, NodeConfig};
use clave_engine::crdt::SEGMENT_MESSAGES_MAX;
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::{Spread, human};

mod copies;

/// Names the folder of the device that a child process opens.
pub const CHILD: &str = "CLAVE_BENCH_OPEN_SPACE";

/// Messages that are written and followed, at most; and with `--quick`.
const WRITTEN: (u32, u32) = (10_000, 3_000);
/// Messages that are written at once.
const AT_ONCE: usize = 500;
/// Messages that are unread when the space is opened.
const UNREAD: usize = 137;
/// How long the follower may take for everything.
const PATIENCE: Duration = Duration::from_secs(3_600);
const DAY_MS: i64 = 86_400_000;
const WORKS: &str = "two devices on one machine reach each other, and the disk has room";
const WORDS: [&str; 8] = ["会议", "明天", "下午三点", "draft", "the figures", "review", "看一下", "thanks"];

fn config(folder: &Path, name: &str) -> NodeConfig {
    NodeConfig::new(folder.join(name)).online(NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        mdns: false,
        ..NetworkConfig::default()
    })
}

pub fn groups(scale: Scale, data: &Path) -> Vec<Value> {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let written = scale.of(WRITTEN.0, WRITTEN.1);
    let sizes = [scale.of(10_000, 500), scale.of(1_000_000, 5_000)];
    let folder = tempfile::tempdir_in(data).expect(WORKS);
    let mut devices = Vec::new();
    for size in sizes {
        let folder = folder.path().join(size.to_string());
        let started = Instant::now();
        let (circle, oldest) = runtime.block_on(build(&folder, size.min(written) as usize)).expect(WORKS);
        let copied = (size - size.min(written)) / SEGMENT_MESSAGES_MAX as u32;
        copies::of_segment(&folder.join("bob"), circle, oldest, copied);
        eprintln!("  {size} messages were written and followed in {}", human(started.elapsed().as_secs_f64()));
        devices.push(folder.join("bob"));
    }
    let mut seen: Vec<Vec<Value>> = vec![Vec::new(); sizes.len()];
    for round in 0..scale.rounds {
        for turn in 0..sizes.len() {
            let index = (round + turn) % sizes.len();
            seen[index].push(opened(&devices[index], sizes[index] as usize));
        }
    }
    vec![report(&sizes, &seen)]
}

fn report(sizes: &[u32], seen: &[Vec<Value>]) -> Value {
    println!("\nopen a device and show the inbox, the newest 50 messages and today's agenda");
    let spread = |index: usize, key: &str| {
        Spread::of(seen[index].iter().map(|round| round[key].as_f64().unwrap_or(f64::NAN)).collect())
    };
    let mut results = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let (whole, views) = (spread(index, "seconds"), spread(index, "views_seconds"));
        let (resident, peak) = (spread(index, "resident_kib"), spread(index, "peak_kib"));
        println!(
            "  {size:>9} messages  {:>10} ({} to {})   of that views {:>10}   {:.1} MB resident, {:.1} MB at most",
            human(whole.median),
            human(whole.low),
            human(whole.high),
            human(views.median),
            resident.median * 1.024e-3,
            peak.median * 1.024e-3,
        );
        for part in ["open_seconds", "inbox_seconds", "newest_seconds", "agenda_seconds"] {
            println!("      {part:16} {:>10}", human(spread(index, part).median));
        }
        results.push(json!({
            "messages": size, "seconds": whole.json(), "views_seconds": views.json(),
            "resident_kib": resident.json(), "peak_kib": peak.json(), "rounds": seen[index],
        }));
    }
    let ratio = |key| spread(sizes.len() - 1, key).median / spread(0, key).median;
    let more_mb = (spread(sizes.len() - 1, "resident_kib").median - spread(0, "resident_kib").median) * 1.024e-3;
    println!(
        "  ×{:.2} in all (bar 1.5), ×{:.2} of views; {more_mb:+.1} MB (bar +10)",
        ratio("seconds"),
        ratio("views_seconds")
    );
    json!({ "name": "open-space", "results": results, "ratio": ratio("seconds"), "views_ratio": ratio("views_seconds"), "more_mb": more_mb })
}

/// Two devices, of which one writes and the other follows, until both have everything. The oldest segment of the chat.
async fn build(folder: &Path, messages: usize) -> Result<(CircleId, DocumentId), Error> {
    let ada = Node::create(config(folder, "ada"), "Ada", "Laptop").await?;
    let bob = Node::create(config(folder, "bob"), "Bob", "Phone").await?;
    ada.listening().await?;
    let space = ada.create_space("百万").await?;
    let invitation = space.invite(Duration::from_secs(600)).await?;
    let followed = bob.join(&invitation, Duration::from_secs(60)).await?;
    let id = space.id();
    let mut posted = Vec::with_capacity(messages);
    while posted.len() < messages {
        let count =
            AT_ONCE.min(messages - posted.len()).min(SEGMENT_MESSAGES_MAX - posted.len() % SEGMENT_MESSAGES_MAX);
        let (first, number) = (posted.len(), (posted.len() / SEGMENT_MESSAGES_MAX) as u32);
        posted.extend(
            command(&ada, move |engine, now| {
                let segment = engine.segment(id, number, now)?;
                let randoms: Vec<[u8; 6]> = (0..count).map(|_| engine.random()).collect();
                engine.edit(id, segment, DocumentKind::Timeline, now, |document, changes| {
                    let mut ids: Vec<MessageId> = Vec::with_capacity(count);
                    for (n, random) in randoms.into_iter().enumerate() {
                        let words: Vec<&str> =
                            (0..8).map(|word| WORDS[(first + n * 7 + word * 3) % WORDS.len()]).collect();
                        let draft = Draft::text(format!("{} {}", first + n, words.join(" ")));
                        ids.push(document.timeline()?.post(now, random, &draft)?);
                        changes.extend(document.commit(now));
                    }
                    Ok(ids)
                })
            })
            .await?,
        );
    }
    space.calendar().import_ics(events()).await?;
    let started = Instant::now();
    loop {
        let preview = followed.preview().await?;
        if preview.current && preview.messages >= messages && followed.calendar().events().await?.len() >= 1_000 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "Bob has {} messages", preview.messages);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each segment begins with the present, while its predecessor may be dated ahead of it.
    posted.sort_unstable();
    followed.mark_read(posted.iter().rev().nth(UNREAD).copied()).await?;
    assert_eq!(followed.preview().await?.unread, UNREAD.min(messages));
    ada.shutdown().await;
    let mut segments = command(&bob, move |engine, _| engine.segments(id)).await?;
    segments.sort_by_key(|segment| segment.messages);
    bob.shutdown().await;
    Ok((id, segments.first().ok_or(Error::NotFound("chat"))?.id))
}

/// A thousand events of the last years, and some that recur.
fn events() -> String {
    let mut ics = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\n".to_owned();
    for n in 0..1_000 {
        let rule = if n % 50 == 0 { "RRULE:FREQ=WEEKLY\r\n" } else { "" };
        let (year, month, day, hour) = (2024 + n / 360, n / 30 % 12 + 1, n % 28 + 1, n % 24);
        ics += &format!(
            "BEGIN:VEVENT\r\nUID:{n}@example.org\r\nDTSTART;TZID=Asia/Shanghai:{year}{month:02}{day:02}T{hour:02}0000\r\n\
             DURATION:PT1H\r\n{rule}SUMMARY:周会 {n}\r\nEND:VEVENT\r\n"
        );
    }
    ics + "END:VCALENDAR\r\n"
}

/// What a process says that opens the device.
fn opened(folder: &Path, messages: usize) -> Value {
    let program = std::env::current_exe().expect("this program is somewhere");
    let output = Command::new(program).env(CHILD, folder).output().expect("this program runs");
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("a device could not be opened: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(said["messages"].as_u64(), Some(messages as u64));
    assert_eq!(said["unread"].as_u64(), Some(UNREAD.min(messages) as u64));
    said
}

/// The process that opens the device in a folder, and says what that took.
pub fn child(folder: &OsStr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    match runtime.block_on(open(Path::new(folder))) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn open(folder: &Path) -> Result<Value, Error> {
    let started = Instant::now();
    let node = Node::open(NodeConfig::new(folder)).await?;
    let open = started.elapsed();
    let inbox = node.inbox().await?;
    let after_inbox = started.elapsed();
    let item = inbox.first().ok_or(Error::NotFound("space"))?;
    let space = node.space(item.circle.id).await?;
    let newest = space.timeline().history(50, None).await?;
    assert_eq!(newest.len(), 50);
    let after_newest = started.elapsed();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let midnight_ms = now_ms - now_ms.rem_euclid(DAY_MS);
    let agenda = space.calendar().agenda(midnight_ms, midnight_ms + DAY_MS, "Asia/Shanghai").await?;
    let whole = started.elapsed();
    let said = json!({
        "seconds": whole.as_secs_f64(),
        "open_seconds": open.as_secs_f64(),
        "inbox_seconds": (after_inbox - open).as_secs_f64(),
        "newest_seconds": (after_newest - after_inbox).as_secs_f64(),
        "agenda_seconds": (whole - after_newest).as_secs_f64(),
        "views_seconds": (whole - open).as_secs_f64(),
        "resident_kib": field("VmRSS:"),
        "peak_kib": field("VmHWM:"),
        "messages": item.preview.messages,
        "unread": item.preview.unread,
        "occurrences": agenda.occurrences.len(),
    });
    node.shutdown().await;
    Ok(said)
}

/// A field of `/proc/self/status`, in KiB; 0 where there is none.
fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
