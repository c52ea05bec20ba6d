//! Two processes talk.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Device, two};

fn bodies(history: &Value) -> Vec<String> {
    let messages = history["messages"].as_array().unwrap().iter();
    messages.map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_one_says_the_other_hears() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    assert!(zoe.ok(&["chat", "history"]).contains("No messages yet. Send the first: clave chat send Hello"));
    let sent = zoe.ok(&["chat", "send", "你好", "👋"]);
    assert_eq!(sent, "Sent to the one device that is connected.\n");
    bob.ok(&["wait", "--messages", "1"]);
    bob.ok(&["chat", "send", "--", "-v is not a flag here"]);
    zoe.ok(&["wait", "--messages", "2"]);
    let (here, there) = (zoe.json(&["chat", "history"]), bob.json(&["chat", "history"]));
    assert_eq!(bodies(&here), ["你好 👋", "-v is not a flag here"]);
    assert_eq!(bodies(&here), bodies(&there));
    assert_eq!(here["messages"][0]["author"]["me"], true);
    assert_eq!(there["messages"][0]["author"]["me"], false);
    assert_eq!(there["messages"][0]["author"]["name"], "Zoë");
}

#[test]
fn messages_are_edited_answered_liked_and_withdrawn() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "Lunch at noon?"]);
    bob.ok(&["wait", "--messages", "1"]);
    let id = bob.json(&["chat", "history"])["messages"][0]["id"].as_str().unwrap().to_owned();
    bob.ok(&["chat", "react", &id[..14], "👍"]);
    bob.ok(&["chat", "send", "--reply-to", &id, "yes"]);
    zoe.ok(&["chat", "edit", "last", "Lunch", "at", "one?"]);
    bob.ok(&["chat", "withdraw", "last"]);
    let failed = bob.fails(&["chat", "edit", &id, "mine now"]);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("only its author may change it"));
    assert_eq!(bob.fails(&["chat", "edit", "zzzz", "x"]).exit, 3);

    // Until both have all of it.
    let mut tail = zoe.command(&["--json", "chat", "tail"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let (mut liked, mut withdrawn) = (false, false);
    for line in lines {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        liked |= message["reactions"][0]["text"] == "👍" && message["edited"] == true;
        withdrawn |= message["withdrawn"] == true && message["reply_to"].is_null();
        if liked && withdrawn {
            break;
        }
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    let shown = zoe.ok(&["chat", "history", "--ids"]);
    assert!(shown.contains("Lunch at one? (edited)") && shown.contains("👍 1"), "{shown}");
    assert!(shown.contains("(withdrawn)") && shown.contains(&id[..14]), "{shown}");
}

#[test]
fn tail_shows_what_comes() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "before"]);
    bob.ok(&["wait", "--messages", "1"]);
    let mut tail = bob.command(&["chat", "tail"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("before"));
    zoe.ok(&["chat", "send", "first line\nsecond line"]);
    assert!(lines.next().unwrap().unwrap().ends_with("first line"));
    let second = lines.next().unwrap().unwrap();
    assert!(second.starts_with("      ") && second.ends_with("second line"), "{second:?}");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_running_node_and_the_store_answer_alike() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "Kollektiv"]);
    assert_eq!(zoe.ok(&["chat", "send", "offline"]), "Stored. It goes out when this device is online: clave run\n");
    let running = zoe.run();
    assert_eq!(
        zoe.ok(&["chat", "send", "online"]),
        "Stored. Nobody else is connected: it goes out as soon as somebody is.\n"
    );
    assert_eq!(zoe.json(&["status"])["running"], true);
    zoe.ok(&["stop"]);
    drop(running);
    assert_eq!(zoe.json(&["status"])["running"], false);
    assert_eq!(bodies(&zoe.json(&["chat", "history"])), ["offline", "online"]);
    assert_eq!(zoe.fails(&["stop"]).exit, 3);
}

#[test]
fn what_others_wrote_cannot_touch_the_terminal() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}evil"]);
    zoe.ok(&["note", "new", "T\u{9d}itle", "--text", "a\x1b[31m\u{9b}b"]);
    bob.ok(&["wait", "--messages", "1"]);
    for shown in [bob.ok(&["chat", "history"]), bob.ok(&["--json", "chat", "history"]), zoe.ok(&["note", "list"])] {
        let harmful = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!shown.chars().any(harmful), "{shown:?}");
    }
    assert!(bob.ok(&["chat", "history"]).contains("␛]0;owned␇␛[2J�31m�evil"));
    let exact = bob.json(&["chat", "history"]);
    assert_eq!(bodies(&exact), ["\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}evil"]);
}
