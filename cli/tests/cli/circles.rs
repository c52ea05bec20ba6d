//! Circles: private channels, rooms for outside staff, chats of two.

use crate::harness::{Device, third, two};

/// Whether a listing has a line with all of these.
#[track_caller]
fn has(said: &str, words: &[&str]) {
    assert!(
        said.lines().any(|line| words.iter().all(|word| line.contains(word))),
        "no line with {words:?} in:\n{said}"
    );
}

#[test]
fn a_circle_is_known_inside_only() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let (carol, _carol_runs) = third(&zoe, &bob, "Carol", "tablet");
    assert!(
        zoe.ok(&["circle", "list"]).contains("No circles yet: `clave circle create NAME --with PERSON` founds one.")
    );
    let said = zoe.ok(&["circle", "create", "预算", "--with", "小明"]);
    assert!(said.contains("The circle “预算” is founded (2 people), and you are its owner."), "{said}");
    assert!(said.contains("Nobody else of the space learns that it exists."), "{said}");
    assert!(said.contains("clave --circle \"预算\" chat send"), "{said}");
    bob.ok(&["--circle", "预算", "wait", "--members", "2"]);

    // Every kind of work is the circle's own.
    zoe.ok(&["--circle", "预算", "chat", "send", "只有我们"]);
    zoe.ok(&["-c", "预算", "note", "new", "Plan", "--text", "x"]);
    std::fs::write(zoe.outside().join("b.txt"), "figures").unwrap();
    zoe.ok(&["-c", "预算", "file", "add", "b.txt"]);
    zoe.ok(&["-c", "预算", "cal", "add", "Review", "--at", "2030-01-01"]);
    bob.ok(&["-c", "预算", "wait", "--messages", "1", "--file", "/b.txt"]);
    assert!(bob.ok(&["-c", "预算", "chat", "history"]).contains("只有我们"));
    bob.ok(&["-c", "预算", "file", "get", "/b.txt"]);
    assert!(bob.ok(&["-c", "预算", "cal", "agenda", "--from", "2030-01-01"]).contains("Review"));
    assert!(bob.ok(&["chat", "history"]).contains("No messages yet"));
    assert!(bob.ok(&["note", "list"]).contains("No notes yet"));

    has(&bob.ok(&["circle", "list"]), &["预算", "2 people"]);
    let id = bob.json(&["circle", "list"])["circles"][0]["id"].as_str().unwrap().to_owned();
    assert!(bob.ok(&["--circle", &id[..8], "members"]).contains("小明 (you)  member"));
    assert!(carol.ok(&["circle", "list"]).contains("No circles yet"));
    for asked in ["预算", &id] {
        let failed = carol.fails(&["--circle", asked, "chat", "history"]);
        assert_eq!(
            (failed.exit, failed.words),
            (3, format!("there is no circle “{asked}” here; it may not have arrived yet"))
        );
    }
    // It is no space of its own.
    assert_eq!(zoe.json(&["space", "list"])["spaces"].as_array().unwrap().len(), 1);

    assert_eq!(
        zoe.ok(&["-c", "预算", "members", "add", "Carol"]),
        "Added. It reaches their devices as soon as they are connected.\n"
    );
    carol.ok(&["-c", "预算", "wait", "--members", "3", "--messages", "1"]);
    assert!(carol.ok(&["-c", "预算", "chat", "history"]).contains("只有我们"));
    let failed = zoe.fails(&["-c", "预算", "members", "add", "Carol"]);
    assert!(failed.words.contains("this would have no effect: they are in the circle already"), "{}", failed.words);
    let nobody = zoe.output(&["-c", "预算", "members", "add", "Eve"]);
    assert_eq!(nobody.status.code(), Some(3));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(said.contains("there is nobody called “Eve” here") && said.contains("clave invite"), "{said}");

    assert!(carol.ok(&["circle", "leave", "预算"]).starts_with("You left. What is on this device stays readable;"));
    has(&carol.ok(&["circle", "list"]), &["预算", "you are out"]);
    zoe.ok(&["-c", "预算", "wait", "--members-max", "2", "--rotated"]);
    zoe.ok(&["-c", "预算", "chat", "send", "without Carol"]);
    bob.ok(&["-c", "预算", "wait", "--messages", "2"]);
    let said = carol.says(&["-c", "预算", "chat", "history"]);
    assert!(said.contains("只有我们") && !said.contains("without Carol"), "{said}");
    assert!(said.contains("You left “预算”"), "{said}");
    let failed = carol.fails(&["-c", "预算", "chat", "send", "x"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "removed"));
    let failed = zoe.fails(&["circle", "leave", "预算"]);
    assert_eq!(failed.exit, 4);
    assert!(
        failed.words.contains("no owner with a device left; make somebody else an owner first"),
        "{}",
        failed.words
    );
    assert_eq!(zoe.ok(&["-c", "预算", "members", "role", "小明", "owner"]), "They have that role now.\n");
    zoe.ok(&["circle", "leave", "预算"]);
}

#[test]
fn two_talk_alone() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let (carol, _carol_runs) = third(&zoe, &bob, "Carol", "tablet");
    let said = zoe.ok(&["dm", "小明"]);
    assert_eq!(said, "No messages between the two of you yet. Send the first: clave dm \"小明\" Hello\n");
    assert!(zoe.ok(&["dm", "小明", "你好", "bob"]).starts_with("Sent to the one device"));
    bob.ok(&["--circle", "Zoë", "wait", "--messages", "1"]);
    assert!(bob.ok(&["dm", "Zoë"]).contains("你好 bob"));
    bob.ok(&["dm", "Zoë", "回答"]);
    zoe.ok(&["-c", "小明", "wait", "--messages", "2"]);
    assert!(zoe.ok(&["dm", "小明", "-n", "1"]).contains("回答"));
    has(&zoe.ok(&["circle", "list"]), &["小明", "2 people", "chat of two"]);
    assert!(carol.ok(&["dm", "Zoë"]).contains("No messages between the two of you yet."));
    assert_eq!(zoe.fails(&["dm", "Zoë", "x"]).words, "that is you: a chat of two is with somebody else");
    assert_eq!(zoe.fails(&["circle", "leave", "小明"]).exit, 2);
    assert_eq!(zoe.fails(&["dm", "Eve"]).exit, 3);
}

#[test]
fn people_from_outside_get_into_an_isolated_circle_by_a_link() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["chat", "send", "inside only"]);
    bob.ok(&["wait", "--messages", "1"]);
    let said = zoe.ok(&["circle", "create", "承包商", "--isolated"]);
    assert!(said.contains("clave --circle \"承包商\" invite` makes a link for somebody from outside."), "{said}");
    let outsider = Device::new("Olga", "laptop");
    let _olga_runs = outsider.run();
    let link = zoe.json(&["--circle", "承包商", "invite"])["link"].as_str().unwrap().to_owned();
    let said = outsider.ok(&["join", &link]);
    assert!(said.contains("You are in “承包商” now (2 people)."), "{said}");
    zoe.ok(&["--circle", "承包商", "wait", "--members", "2"]);
    zoe.ok(&["-c", "承包商", "chat", "send", "welcome"]);
    // To her it stands alone: of the space around it she knows nothing.
    outsider.ok(&["wait", "--messages", "1"]);
    assert!(outsider.ok(&["chat", "history"]).contains("welcome"));
    assert!(outsider.ok(&["-c", "承包商", "chat", "history"]).contains("welcome"));
    let spaces = outsider.ok(&["space", "list"]);
    assert!(spaces.contains("承包商") && !spaces.contains("Café"), "{spaces}");
    assert_eq!(outsider.json(&["members"])["members"].as_array().unwrap().len(), 2);
    has(&zoe.ok(&["circle", "list"]), &["承包商", "open to people from outside"]);
    assert_eq!(zoe.json(&["members"])["members"].as_array().unwrap().len(), 2, "she is not in the space");
    assert!(bob.ok(&["circle", "list"]).contains("No circles yet"));
}

#[test]
fn a_guest_stays_until_a_date() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["circle", "create", "Board"]);
    let said = zoe.ok(&["-c", "Board", "members", "grant", "小明", "--until", "2030-11-27"]);
    assert!(said.contains("Everybody is reminded a day and an hour before it ends"), "{said}");
    bob.ok(&["-c", "Board", "wait", "--members", "2"]);
    has(&bob.ok(&["-c", "Board", "members"]), &["小明 (you)", "guest until 2030-11-28 00:00"]);
    zoe.ok(&["-c", "Board", "wait", "--rotated", "--members", "2"]);
    has(&zoe.ok(&["-c", "Board", "access"]), &["小明", "reads until 2030-11-28 00:00"]);
    zoe.ok(&["-c", "Board", "members", "grant", "小明", "--until", "2030-12-01 18:00"]);
    has(&zoe.ok(&["-c", "Board", "members"]), &["guest until 2030-12-01 18:00"]);
    let failed = zoe.fails(&["-c", "Board", "members", "grant", "小明", "--until", "2020-01-01"]);
    assert_eq!((failed.exit, failed.words.as_str()), (2, "“2020-01-01” has passed"));
    assert_eq!(zoe.fails(&["-c", "Board", "members", "grant", "小明", "--until", "Friday"]).exit, 2);
    // A stay that ends now: a moment ahead, so that the grant itself is in time.
    let soon = (jiff::Zoned::now() + jiff::Span::new().seconds(2))
        .with_time_zone(jiff::tz::TimeZone::get("Europe/Berlin").unwrap());
    let soon = soon.strftime("%Y-%m-%d %H:%M:%S").to_string();
    zoe.ok(&["-c", "Board", "members", "grant", "小明", "--until", &soon]);
    zoe.ok(&["-c", "Board", "wait", "--members-max", "1", "--rotated"]);
    let failed = bob.fails(&["-c", "Board", "chat", "send", "x"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "removed"));
    assert!(failed.words.starts_with("Your stay in “Board” ended ("), "{}", failed.words);
    assert!(failed.words.ends_with("What you had stays readable; nothing more arrives."), "{}", failed.words);
}
