//! Notes, files and calendars.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Device, two};

fn solo() -> Device {
    let device = Device::new("Zoë", "laptop");
    device.ok(&["space", "new", "Kollektiv"]);
    device
}

#[test]
fn a_note_is_written_in_an_editor_and_merged() {
    let zoe = solo();
    zoe.ok(&["note", "new", "会议 Minutes", "--text", "# Agenda\n\n- one\n- two\n"]);
    // An editor during which somebody else changes the note.
    let clave = env!("CARGO_BIN_EXE_clave");
    let other = zoe.outside().join("other.sh");
    let meanwhile = zoe.outside().join("meanwhile.sh");
    fs::write(&meanwhile, "sed -i 's/one/eins/' \"$1\"\n").unwrap();
    let script = format!(
        "set -e\nEDITOR='sh {}' {clave} --dir {} note edit '会议 Minutes'\nsed -i 's/two/zwei/' \"$1\"\n",
        meanwhile.display(),
        zoe.directory().display()
    );
    fs::write(&other, script).unwrap();
    let edited =
        zoe.command(&["note", "edit", "会议 Minutes"]).env("EDITOR", format!("sh {}", other.display())).output();
    let edited = edited.unwrap();
    let said = String::from_utf8_lossy(&edited.stdout).into_owned();
    assert!(said.ends_with("Saved, and merged with what others wrote meanwhile.\n"), "{said}{edited:?}");
    assert!(zoe.ok(&["note", "show", "会议 Minutes"]).contains("# Agenda\n\n- eins\n- zwei"));
    let same = zoe.command(&["note", "edit", "会议 Minutes"]).env("EDITOR", "true").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&same.stdout), "Nothing was changed.\n");
    let broken = zoe.command(&["note", "edit", "会议 Minutes"]).env("EDITOR", "false").output().unwrap();
    assert_eq!(broken.status.code(), Some(1));
}

#[test]
fn who_is_in_a_note_is_seen_by_the_others_until_they_leave() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["note", "new", "会议"]);
    // What one connection carries arrives in its order: with this the note is there.
    zoe.ok(&["chat", "send", "look into the note"]);
    bob.ok(&["wait", "--messages", "1"]);
    let watch =
        |device: &Device| device.command(&["--json", "note", "watch", "会议"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut his = watch(&bob);
    let mut lines = BufReader::new(his.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["present"], json!([]));
    let mut hers = watch(&zoe);
    let seen = next();
    assert_eq!(seen["present"][0]["name"], "Zoë", "{seen}");
    assert_eq!(seen["present"][0]["me"], false);
    let first = BufReader::new(hers.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(first.into_iter().any(|line| line.contains("小明")), "she sees him");
    // As long as one of her windows is open, she is there.
    let mut second = watch(&zoe);
    assert!(BufReader::new(second.stdout.take().unwrap()).lines().next().unwrap().unwrap().contains("小明"));
    hers.kill().unwrap();
    hers.wait().unwrap();
    zoe.ok(&["chat", "send", "one window less"]);
    bob.ok(&["wait", "--messages", "2"]);
    let mut again = watch(&bob);
    let first = BufReader::new(again.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(first.contains("Zoë"), "{first}");
    again.kill().unwrap();
    again.wait().unwrap();
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(next()["present"], json!([]), "she left, and her node runs on");
    his.kill().unwrap();
    his.wait().unwrap();
}

#[test]
fn notes_come_in_and_go_out_as_markdown() {
    let zoe = solo();
    assert!(zoe.ok(&["note", "list"]).contains("No notes yet."));
    let (from, to) = (zoe.outside().join("Plan.md"), zoe.outside().join("out.md"));
    fs::write(&from, "# Plan\n\n- [x] *done*\n- [ ] 待办\n").unwrap();
    zoe.ok(&["note", "import", from.to_str().unwrap()]);
    zoe.ok(&["note", "export", "Plan", "-o", to.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&from).unwrap(), fs::read_to_string(&to).unwrap());
    assert_eq!(zoe.ok(&["note", "export", "Plan"]), fs::read_to_string(&from).unwrap());
    let id = zoe.json(&["note", "list"])["notes"][0]["id"].as_str().unwrap().to_owned();
    assert!(zoe.ok(&["note", "show", &id[..6]]).contains("待办"));
    zoe.ok(&["note", "new", "Plan"]);
    assert_eq!(zoe.fails(&["note", "show", "Plan"]).exit, 2, "two notes of one name");
}

#[test]
fn a_file_goes_round() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    assert!(zoe.ok(&["file", "ls"]).contains("No files yet."));
    let content: Vec<u8> = (0..700_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let source = zoe.outside().join("数据 data.bin");
    fs::write(&source, &content).unwrap();
    zoe.ok(&["file", "mkdir", "/plans"]);
    let added = zoe.json(&["file", "add", "数据 data.bin", "--to", "plans"]);
    assert_eq!(added["path"], "/plans/数据 data.bin");
    assert_eq!(added["blake3"], blake3::hash(&content).to_string());
    bob.ok(&["wait", "--file", "/plans/数据 data.bin"]);
    let said = bob.ok(&["file", "get", "/plans/数据 data.bin", "-o", "copy.bin"]);
    assert!(said.contains("is complete and checked"), "{said}");
    assert_eq!(fs::read(bob.outside().join("copy.bin")).unwrap(), content);

    zoe.ok(&["file", "mv", "/plans/数据 data.bin", "/"]);
    zoe.ok(&["file", "mv", "/数据 data.bin", "/renamed.bin"]);
    zoe.ok(&["file", "rm", "/plans"]);
    let names: Vec<_> =
        zoe.json(&["file", "ls"])["files"].as_array().unwrap().iter().map(|f| f["path"].clone()).collect();
    assert_eq!(names, ["/renamed.bin"]);
    assert_eq!(zoe.fails(&["file", "get", "/plans"]).exit, 3);
    assert_eq!(zoe.fails(&["file", "add", "missing.bin"]).exit, 3);
}

#[test]
fn a_calendar_comes_in_and_goes_out() {
    let zoe = solo();
    assert!(zoe.ok(&["cal", "agenda"]).contains("Nothing is coming up."));
    zoe.ok(&[
        "cal",
        "add",
        "周会",
        "--at",
        "2030-03-25 09:00",
        "--for",
        "30m",
        "--repeat",
        "weekly",
        "--where",
        "Café",
    ]);
    zoe.ok(&["cal", "add", "Day off", "--at", "2030-03-26"]);
    let shown = zoe.ok(&["cal", "agenda", "--from", "2030-03-25", "--days", "8"]);
    // The clocks go forward on March 31: nine o'clock stays nine o'clock.
    let expected = "Mon 2030-03-25\n  09:00–09:30  周会, Café\nTue 2030-03-26\n  all day      Day off\nMon 2030-04-01\n  \
                    09:00–09:30  周会, Café\n";
    assert_eq!(shown, expected);
    let out = zoe.outside().join("out.ics");
    zoe.ok(&["cal", "export", "-o", out.to_str().unwrap()]);
    let ics = fs::read_to_string(&out).unwrap();
    assert!(ics.contains("RRULE:FREQ=WEEKLY") && ics.contains("BEGIN:VCALENDAR"));
    assert_eq!(zoe.ok(&["cal", "import", "out.ics"]), "0 added, 0 updated, 2 unchanged.\n");
    let other = solo();
    assert_eq!(other.ok(&["cal", "import", out.to_str().unwrap()]), "2 added, 0 updated, 0 unchanged.\n");
    assert_eq!(other.ok(&["cal", "agenda", "--from", "2030-03-25", "--days", "8"]), expected);
    other.ok(&["cal", "remove", "周会"]);
    assert!(!other.ok(&["cal", "agenda", "--from", "2030-03-25", "--days", "8"]).contains("周会"));
    assert_eq!(other.fails(&["cal", "remove", "周会"]).exit, 3);
}
