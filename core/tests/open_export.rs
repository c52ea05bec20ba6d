//! The export in open formats: everything is there, under names that every file system takes, and again after an interruption.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clave::{Error, Node, NodeConfig, NodeId, Scope};

const ICS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:a@b\r\n\
                   DTSTAMP:20261122T100000Z\r\nDTSTART:20261123T140000Z\r\nSUMMARY:会议\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn everything_is_in_open_formats() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let node = Node::create(NodeConfig::new(scratch.path().join("device")), "Zoë", "手机").await.expect("it is new");
    let space = node.create_space("四月/../项目").await.expect("a space");
    let first = space.timeline().send("你好\nsecond line").await.expect("a message");
    for n in 0..1_050 {
        space.timeline().send(format!("message {n}")).await.expect("a message");
    }
    space.timeline().react(first, "👍", true).await.expect("a reaction");
    for title in ["会议记录.md", "Plan: a/b", "CON", "plan: A/B"] {
        let note = space.create_note(title).await.expect("a note");
        note.append_markdown(format!("# {title}\n")).await.expect("a small text");
    }
    space.calendar().import_ics(ICS).await.expect("it is small");
    let source = scratch.path().join("source");
    fs::write(&source, vec![5; 150_000]).expect("there is room");
    let folder = space.drive().create_folder(NodeId::ROOT, "aux").await.expect("a folder");
    space.drive().add(&source, folder, "计划?.bin", |_| {}).await.expect("a small file");
    let circle = space.create_circle("Budget", &[], Scope::Nested).await.expect("a circle");
    circle.timeline().send("再见").await.expect("a message");

    let out = scratch.path().join("out");
    let mut last = None;
    let done = node.export_open(&out, Duration::ZERO, |progress| last = Some(progress)).await.expect("there is room");
    assert_eq!((done.circles, done.messages, done.notes, done.events, done.files), (2, 1_052, 4, 1, 1), "{done:?}");
    assert!(done.missing.is_empty() && done.documents >= 8, "{done:?}");
    let last = last.expect("a file tells how far it is");
    assert_eq!((last.done_bytes, last.total_bytes), (150_000, 150_000));

    let place = out.join("四月_.._项目");
    let chat: serde_json::Value = serde_json::from_str(&read(&place.join("chat.json"))).expect("it is JSON");
    let messages = chat.as_array().expect("a list");
    assert_eq!(messages.len(), 1_051);
    assert_eq!(messages[0]["body"], "你好\nsecond line");
    assert_eq!(
        (&messages[0]["author"]["name"], &messages[0]["reactions"][0]["reaction"]),
        (&"Zoë".into(), &"👍".into())
    );
    let bodies: Vec<_> = messages[1..].iter().map(|message| message["body"].as_str().expect("text")).collect();
    assert_eq!(bodies, (0..1_050).map(|n| format!("message {n}")).collect::<Vec<_>>());
    let text = read(&place.join("chat.txt"));
    assert!(text.contains(" Zoë: 你好\n    second line\n") && text.ends_with("message 1049\n"), "{}", &text[..200]);
    assert_eq!(read(&place.join("notes/会议记录.md")), "# 会议记录.md\n");
    assert_eq!(read(&place.join("notes/_CON.md")), "# CON\n");
    let both = [read(&place.join("notes/Plan_ a_b.md")), read(&place.join("notes/plan_ A_B (2).md"))];
    assert_eq!(both, ["# Plan: a/b\n", "# plan: A/B\n"]);
    assert!(read(&place.join("calendar.ics")).contains("SUMMARY:会议"));
    assert_eq!(fs::read(place.join("files/_aux/计划_.bin")).expect("it is there"), vec![5; 150_000]);
    assert!(read(&place.join("circles/Budget/chat.txt")).ends_with(" Zoë: 再见\n"));
    for file in fs::read_dir(place.join("automerge")).expect("it is there") {
        let bytes = fs::read(file.expect("it is there").path()).expect("it is there");
        assert_eq!(bytes[..4], [0x85, 0x6f, 0x4a, 0x83], "an Automerge file begins so");
    }
    let about: serde_json::Value = serde_json::from_str(&read(&out.join("clave-export.json"))).expect("it is JSON");
    assert_eq!((&about["complete"], &about["layout"]), (&true.into(), &1.into()));

    // Once more: what is there and whole is kept, what is not is made again.
    space.timeline().send("later").await.expect("a message");
    fs::write(place.join("notes/_CON.md"), "half").expect("it is there");
    let again = node.export_open(&out, Duration::ZERO, |_| {}).await.expect("it is an export");
    assert_eq!((again.files, again.kept_files, again.messages), (0, 1, 1_053));
    assert_eq!(read(&place.join("notes/_CON.md")), "# CON\n");
    fs::write(place.join("files/_aux/计划_.bin"), vec![6; 150_000]).expect("it is there");
    let again = node.export_open(&out, Duration::ZERO, |_| {}).await.expect("it is an export");
    assert_eq!((again.files, again.kept_files), (1, 0));
    assert_eq!(fs::read(place.join("files/_aux/计划_.bin")).expect("it is there"), vec![5; 150_000]);
    let left: Vec<_> = walk(&out).into_iter().filter(|path| path.ends_with(".clave-part")).collect();
    assert_eq!(left, Vec::<String>::new());
    node.shutdown().await;
}

#[tokio::test]
async fn nothing_else_is_overwritten() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let node = Node::create(NodeConfig::new(scratch.path().join("device")), "Zoë", "laptop").await.expect("it is new");
    node.create_space("Team").await.expect("a space");
    let out = scratch.path().join("photos");
    fs::create_dir(&out).expect("it is new");
    fs::write(out.join("cat.jpg"), "a cat").expect("there is room");
    let error = node.export_open(&out, Duration::ZERO, |_| {}).await.expect_err("there is a cat");
    assert!(
        matches!(error, Error::NotEmpty(_)) && error.to_string().contains("is not empty: name a directory"),
        "{error}"
    );
    assert_eq!(walk(&out), [out.join("cat.jpg").display().to_string()]);
    node.shutdown().await;
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}
