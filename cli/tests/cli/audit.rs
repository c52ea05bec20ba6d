//! The audit: shown, exported, checked.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Device, two};

/// Far longer than anything here takes.
const SAFETY: Duration = Duration::from_secs(60);

#[test]
fn everybody_sees_who_did_what_on_whose_authority() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["members", "role", "小明", "admin"]);
    zoe.ok(&["chat", "send", "told"]);
    bob.ok(&["wait", "--messages", "1"]);
    let said = bob.ok(&["audit"]);
    for words in [
        "Zoë created the circle “Café 四月” (as owner; laptop)",
        "Zoë added 小明 as a member (as owner, which Zoë gave; laptop)",
        "Zoë made 小明 an admin (as owner, which Zoë gave; laptop)",
        "Last hash: ",
        "Whoever has seen the same acts gets the same hash: compare it with another member.",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    assert_eq!(zoe.json(&["audit"])["hash"], bob.json(&["audit"])["hash"]);
}

#[test]
fn changes_of_keys_are_told_exported_and_checked_alike_everywhere() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let eve = Device::new("Eve", "phone");
    eve.ok(&["join", &zoe.invite()]);
    bob.ok(&["wait", "--members", "3"]);
    zoe.ok(&["members", "remove", "Eve"]);
    bob.ok(&["wait", "--members", "2"]);
    bob.ok(&["wait", "--rotated"]);
    let said = zoe.ok(&["audit"]);
    for words in [
        "Changes of the keys:",
        "Zoë changed the keys: 小明 (手机) is in",
        "Zoë changed the keys: Eve (phone) is in",
        "Zoë changed the keys: Eve (phone) is out",
        "Last hash of the keys: ",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    let unchecked = "that is what its author says: this device was not there to check it";
    assert!(!said.contains(unchecked), "{said}");
    // He was not there when he was brought in, and has it in writing all the same.
    assert_eq!(bob.ok(&["audit"]).matches(unchecked).count(), 1);
    let (of_zoe, of_bob) = (zoe.json(&["audit"]), bob.json(&["audit"]));
    assert_eq!(of_zoe["keys"]["hash"], of_bob["keys"]["hash"]);
    let export = |device: &Device| {
        device.ok(&["audit", "--export", "a.jsonl"]);
        fs::read_to_string(device.outside().join("a.jsonl")).unwrap()
    };
    let good = export(&zoe);
    assert_eq!(good, export(&bob), "the same bytes");
    let said = zoe.ok(&["audit", "check", "a.jsonl", "--here"]);
    assert!(said.contains("acts and 3 changes of keys, each chained") && said.contains("has seen the same"), "{said}");
    zoe.ok(&["audit", "check", "a.jsonl", "--hash", of_bob["keys"]["hash"].as_str().unwrap()]);

    let lines: Vec<&str> = good.lines().collect();
    let last = lines.len();
    let refused = |text: String, words: &str| {
        fs::write(zoe.outside().join("a.jsonl"), text).unwrap();
        let failed = zoe.fails(&["audit", "check", "a.jsonl"]);
        assert_eq!((failed.exit, failed.reason.as_str()), (4, "altered"), "{}", failed.words);
        assert!(failed.words.contains(words), "{words:?}: {}", failed.words);
    };
    refused(good.replace("Eve (phone) is out", "Eve (phone) is in"), &format!("line {last} was altered or moved"));
    refused(good.replace("\"standing\":\"stands\"", "\"standing\":\"fell\""), "was altered");
    refused(good.replace("\"keys_missing\":0", "\"keys_missing\":1"), "was altered or moved");
    refused(lines[..last - 1].join("\n"), "that speaks of 3 changes of keys, and 2 are here");
    refused([&lines[..2], &lines[last - 1..], &lines[2..last - 1]].concat().join("\n"), "was moved");
}

#[test]
fn an_export_that_was_altered_is_found_out() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    zoe.ok(&["policy", "set", "history", "since_joining"]);
    zoe.ok(&["policy", "set", "members_may_invite", "false"]);
    zoe.ok(&["policy", "set", "history", "full"]);
    let said = zoe.ok(&["audit", "--export", "a.jsonl"]);
    let hash = zoe.json(&["audit"])["hash"].as_str().unwrap().to_owned();
    assert!(said.contains("4 acts and 0 changes of keys are in a.jsonl.") && said.contains(&hash), "{said}");
    assert!(said.contains("`clave audit check a.jsonl` says whether it was altered."), "{said}");
    let file = zoe.outside().join("a.jsonl");
    let good = fs::read_to_string(&file).unwrap();
    for line in good.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let said = zoe.ok(&["audit", "check", "a.jsonl"]);
    assert!(
        said.contains("The file is as it was exported: 4 acts and 0 changes of keys, each chained to the one before."),
        "{said}"
    );
    assert!(said.contains("Whoever writes all of it anew can make a list that fits in itself"), "{said}");
    assert!(zoe.ok(&["audit", "check", "a.jsonl", "--hash", &hash]).contains("Its last hash is the one you gave."));
    assert!(
        zoe.ok(&["audit", "check", "a.jsonl", "--here"]).contains("This device has seen the same, and nothing more.")
    );
    // Anybody can check it, without an identity.
    let blank = Device::blank();
    blank.ok(&["audit", "check", file.to_str().unwrap()]);

    let lines: Vec<&str> = good.lines().collect();
    let refused = |text: String, words: &str| {
        fs::write(&file, text).unwrap();
        let failed = zoe.fails(&["audit", "check", "a.jsonl"]);
        assert_eq!((failed.exit, failed.reason.as_str()), (4, "altered"), "{}", failed.words);
        assert!(failed.words.contains(words), "{words:?}: {}", failed.words);
    };
    let not_as = "the file is not as it was exported: line ";
    refused(good.replace("since_joining", "ratcheted:60"), &format!("{not_as}3 was altered or moved"));
    refused([lines[0], lines[1], lines[3], lines[2], lines[4]].join("\n"), &format!("{not_as}3 was altered or moved"));
    refused([lines[0], lines[1], lines[2], lines[4]].join("\n"), &format!("{not_as}4 was altered or moved"));
    refused(
        lines[..4].join("\n"),
        "line 4 was the end of the list or the first line was altered: that speaks of 4 records, and 3 are here",
    );
    refused(good.replace("\"role\":\"owner\"", "\"role\":\"king\""), &format!("{not_as}2 was altered"));
    refused(good.replacen("\"time_ms\":", "\"time_ms\":1", 1), &format!("{not_as}2 was altered or moved"));
    refused([&good, "nonsense\n"].concat(), &format!("{not_as}6 is no record of an audit"));
    fs::write(&file, "hello").unwrap();
    assert_eq!(zoe.fails(&["audit", "check", "a.jsonl"]).exit, 2);
    assert_eq!(zoe.fails(&["audit", "check", "missing.jsonl"]).exit, 3);

    // What is older than what this device has seen is in order; another hash is not.
    fs::write(&file, &good).unwrap();
    zoe.ok(&["policy", "set", "members_may_invite", "true"]);
    assert!(
        zoe.ok(&["audit", "check", "a.jsonl", "--here"]).contains("This device has seen the same, and 1 more since.")
    );
    let failed = zoe.fails(&["audit", "check", "a.jsonl", "--hash", zoe.json(&["audit"])["hash"].as_str().unwrap()]);
    assert!(
        failed.words.starts_with("the list fits in itself, and its last hash is not that one: it is "),
        "{}",
        failed.words
    );
    let other = Device::new("Eve", "phone");
    assert_eq!(other.fails(&["audit", "check", file.to_str().unwrap(), "--here"]).exit, 3);
}

#[test]
fn a_device_that_runs_from_an_old_copy_of_its_data_is_seen() {
    let (zoe, mut zoe_runs, bob, mut bob_runs) = two();
    zoe.ok(&["members", "role", "小明", "admin"]);
    zoe.ok(&["chat", "send", "you are one now"]);
    bob.ok(&["wait", "--messages", "1"]);
    bob_runs.kill();
    let copy = Device::blank();
    assert!(Command::new("cp").arg("-r").arg(bob.directory()).arg(copy.directory()).status().unwrap().success());
    // Each of the two writes what the other knows nothing of.
    bob.ok(&["policy", "set", "members_may_invite", "false"]);
    copy.ok(&["policy", "set", "history", "since_joining"]);
    bob.ok(&["chat", "send", "from the one"]);
    let mut bob_runs = bob.run();
    zoe.ok(&["wait", "--messages", "2"]);
    let orderly = "no device in order does that";
    assert!(!zoe.ok(&["members"]).contains(orderly));
    bob_runs.kill();
    fs::write(copy.outside().join("x.txt"), "from the other").unwrap();
    copy.ok(&["file", "add", "x.txt"]);
    let _copy_runs = copy.run();
    zoe.ok(&["wait", "--file", "/x.txt"]);
    // What the copy did may come behind its file: nothing says in which order.
    let late = Instant::now() + SAFETY;
    while !zoe.ok(&["members"]).contains(orderly) {
        assert!(Instant::now() < late, "the two acts are not seen");
    }
    zoe_runs.kill();
    for said in [zoe.ok(&["members"]), zoe.ok(&["audit"])] {
        assert!(said.contains("“手机” of 小明 wrote two acts that know nothing of each other ("), "{said}");
        assert!(said.contains(orderly) && said.contains("clave members remove \"小明\""), "{said}");
    }
    let evidence = &zoe.json(&["members"])["evidence"][0];
    assert_eq!((&evidence["of"], &evidence["is_in"]), (&"operations".into(), &true.into()), "{evidence}");
}
