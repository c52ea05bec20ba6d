//! A removal, as three people see it.

use serde_json::Value;

use crate::harness::{third, two};

#[test]
fn a_removal_is_seen_by_all_three() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let (eve, _eve_runs) = third(&zoe, &bob, "Eve 伊娃", "phone");
    zoe.ok(&["circle", "create", "Ops", "--with", "Eve 伊娃", "--with", "小明"]);
    eve.ok(&["-c", "Ops", "wait", "--members", "3"]);
    zoe.ok(&["chat", "send", "before"]);
    eve.ok(&["wait", "--messages", "1"]);

    // Who removes sees at once who reads what, then that the keys have changed.
    let said = zoe.ok(&["members", "remove", "Eve 伊娃"]);
    for words in [
        "Eve 伊娃 is removed from “Café 四月”.",
        "And from the circles that you share: Ops.",
        "Eve 伊娃 keeps what was written before, on phone; nothing written from now on.",
        "Who reads on: Zoë (laptop), 小明 (手机).",
        "The keys are being changed…",
        "The keys have changed, after ",
        "Seen with the new ones: Zoë (laptop), 小明 (手机).",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    // Who was removed is told.
    eve.ok(&["wait", "--removed"]);
    let failed = eve.fails(&["chat", "send", "still here?"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "removed"));
    assert!(failed.words.starts_with("You were removed from “Café 四月” by Zoë ("), "{}", failed.words);
    assert!(failed.words.ends_with("). What you had stays readable; nothing more arrives."), "{}", failed.words);
    let said = eve.says(&["chat", "history"]);
    assert!(said.contains("before") && said.contains("Note: You were removed from “Café 四月” by Zoë"), "{said}");
    for args in [&["status"][..], &["access"]] {
        let said = eve.ok(args);
        assert!(said.contains("You were removed from “Café 四月” by Zoë ("), "{said}");
    }
    assert!(eve.ok(&["space", "list"]).contains("you are out"));
    assert!(eve.json(&["space", "list"])["spaces"][0]["removed"].as_str().unwrap().starts_with("You were removed"));
    eve.ok(&["-c", "Ops", "wait", "--removed"]);
    let failed = eve.fails(&["-c", "Ops", "chat", "send", "x"]);
    assert!(failed.words.starts_with("You were removed from “Ops” by "), "{}", failed.words);
    let failed = eve.fails(&["invite"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "removed"));

    // Who stays goes on, and sees who is out.
    bob.ok(&["wait", "--members-max", "2", "--rotated"]);
    bob.ok(&["chat", "send", "after"]);
    zoe.ok(&["wait", "--messages", "2"]);
    assert!(!eve.ok(&["chat", "history"]).contains("after"));
    let said = bob.ok(&["access"]);
    for words in [
        "Who can read what is written in “Café 四月” now:",
        "Who was in, keeps what they had, and gets nothing more:",
        "  Zoë removed Eve 伊娃.",
        "No device that is out has them.",
        "History: newcomers read everything that was ever written",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    assert!(said.lines().any(|line| line.contains("Eve 伊娃") && line.contains("phone  reads nothing new")), "{said}");
    assert!(
        said.lines().any(|line| line.contains("小明 (you)") && line.contains("reads, has the newest keys")),
        "{said}"
    );
    let access = bob.json(&["access"]);
    assert_eq!(access["rotated"], true);
    let eve_access = access["people"].as_array().unwrap().iter().find(|person| person["name"] == "Eve 伊娃").unwrap();
    assert_eq!(eve_access["devices"][0]["reading"], "ended");
    assert_eq!(eve_access["role"], Value::Null);

    assert_eq!(zoe.fails(&["members", "remove", "Eve 伊娃"]).exit, 3, "she is not in any more");
    let failed = bob.fails(&["members", "remove", "Zoë"]);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("your role may not manage people; ask an admin"), "{}", failed.words);
    assert_eq!(zoe.fails(&["members", "remove", "Zoë"]).words, "that is you");
}

#[test]
fn who_was_away_is_told_by_whoever_comes_first() {
    let (zoe, mut zoe_runs, bob, _bob_runs) = two();
    let (eve, mut eve_runs) = third(&zoe, &bob, "Eve", "phone");
    eve_runs.kill();
    bob.ok(&["wait", "--members", "3"]);
    let lines = zoe.json_lines(&["members", "remove", "Eve", "--no-wait"]);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0]["type"].as_str(), lines[0]["no_wait"].as_bool()), (Some("removal"), Some(true)));
    assert_eq!(lines[0]["keeps"], serde_json::json!(["phone"]));
    bob.ok(&["wait", "--members-max", "2", "--rotated"]);
    // Not by Zoë, who is gone by then.
    zoe_runs.kill();
    let _eve_runs = eve.run();
    eve.ok(&["wait", "--removed"]);
    assert!(eve.fails(&["chat", "send", "x"]).words.starts_with("You were removed from “Café 四月” by Zoë ("));
}

#[test]
fn a_tail_ends_with_the_removal() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "shown"]);
    bob.ok(&["wait", "--messages", "1"]);
    let mut tail = bob.command(&["chat", "tail"]);
    let mut tail = tail.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(tail.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("shown"));
    zoe.ok(&["members", "remove", "小明", "--no-wait"]);
    let output = tail.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("You were removed from “Café 四月” by Zoë ("), "{said}");
}

#[test]
fn whoever_leaves_a_space_reads_what_was_there() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    bob.ok(&["chat", "send", "mine"]);
    zoe.ok(&["wait", "--messages", "1"]);
    assert!(bob.ok(&["space", "leave"]).starts_with("You left."));
    zoe.ok(&["wait", "--members-max", "1", "--rotated"]);
    assert!(zoe.ok(&["access"]).contains("  小明 left the circle."));
    let said = bob.says(&["chat", "history"]);
    assert!(said.contains("mine") && said.contains("You left “Café 四月” ("), "{said}");
    assert_eq!(bob.fails(&["space", "leave"]).exit, 4);
}

/// Somebody is removed by one who cannot reach them: what they did and wrote meanwhile is set aside, and what they wrote
/// can be taken over.
#[test]
fn what_was_done_meanwhile_is_set_aside_and_can_be_taken_over() {
    let (zoe, mut zoe_runs, bob, mut bob_runs) = two();
    let (carol, _carol_runs) = third(&zoe, &bob, "Carol", "tablet");
    assert_eq!(zoe.ok(&["set-aside"]), "Nothing is set aside in “Café 四月”.\n");
    assert_eq!(zoe.ok(&["set-aside", "keep", "--all"]), "There is nothing to take over.\n");
    zoe.ok(&["members", "role", "小明", "admin"]);
    zoe.ok(&["chat", "send", "before"]);
    carol.ok(&["note", "new", "Plan"]);
    for device in [&zoe, &bob, &carol] {
        device.ok(&["wait", "--messages", "1"]);
    }
    zoe_runs.kill();
    // On the side of Bob and Carol.
    bob.ok(&["policy", "set", "members-may-invite", "false"]);
    bob.ok(&["chat", "send", "written in the dark"]);
    carol.ok(&["wait", "--messages", "2"]);
    assert!(carol.ok(&["policy"]).contains("members_may_invite    false"));
    bob_runs.kill();
    // On Zoë's.
    zoe.ok(&["members", "remove", "小明", "--no-wait"]);
    assert!(zoe.ok(&["policy"]).contains("members_may_invite    true"));

    let _zoe_runs = zoe.run();
    carol.ok(&["wait", "--members-max", "2", "--rotated"]);
    zoe.ok(&["chat", "send", "after"]);
    carol.ok(&["wait", "--messages", "2"]);
    carol.ok(&["chat", "send", "answer"]);
    zoe.ok(&["wait", "--messages", "3"]);
    for device in [&zoe, &carol] {
        assert!(device.ok(&["policy"]).contains("members_may_invite    true"));
        assert!(!device.ok(&["chat", "history"]).contains("written in the dark"));
        let said = device.ok(&["set-aside"]);
        let act = "小明's setting of the policy members_may_invite to “false” was set aside because Zoë removed 小明 at the same time.";
        assert!(said.contains(act), "{said}");
        assert!(said.contains("1 change by 小明 in the chat ("), "{said}");
        assert!(said.contains(") is not shown: Zoë removed 小明 at the same time."), "{said}");
        assert!(said.contains("To take over what they wrote: `clave set-aside keep DOCUMENT`, or --all."), "{said}");
        assert!(device.ok(&["audit"]).contains("      without effect: 小明's setting of the policy"));
    }
    let failed = carol.fails(&["set-aside", "keep", "Plan"]);
    assert_eq!((failed.exit, failed.words.as_str()), (3, "nothing is set aside in a document “Plan”"));
    let said = carol.ok(&["set-aside", "keep", "chat"]);
    assert_eq!(said, "1 change in 1 document is shown to everybody again, on your word.\n");
    zoe.ok(&["wait", "--messages", "4"]);
    assert!(zoe.ok(&["chat", "history"]).contains("written in the dark"));
    assert!(!zoe.ok(&["set-aside"]).contains("in the chat"));
}
