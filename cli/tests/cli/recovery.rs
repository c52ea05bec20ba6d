//! The recovery phrase, the export of an account, and the way back on a bare machine.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use crate::harness::{Device, holds, two};

/// Runs a command that reads the words from its standard input.
fn typing(device: &Device, words: &str, args: &[&str]) -> Output {
    let mut child =
        device.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A file with words in it.
fn paper(device: &Device, name: &str, words: &str) -> String {
    let path = device.outside().join(name);
    fs::write(&path, words).unwrap();
    path.display().to_string()
}

/// An export, beside the data directory.
fn export(device: &Device) -> PathBuf {
    let file = device.outside().join("account.clave");
    said(typing(device, &device.phrase, &["account", "export", file.to_str().unwrap()]));
    file
}

#[test]
fn init_shows_a_phrase_that_opens_an_export() {
    let zoe = Device::blank();
    let said = zoe.ok(&["init", "--no-passphrase", "--name", "Zoë", "--device", "laptop"]);
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("    ")).collect();
    assert_eq!(rows.len(), 6, "{said}");
    let cells: Vec<&str> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
    let numbers: Vec<String> = cells.iter().step_by(2).map(|&number| number.to_owned()).collect();
    assert_eq!(numbers, (1..=24).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    let words: Vec<&str> = cells.iter().skip(1).step_by(2).copied().collect();
    assert!(said.contains("Your recovery phrase: with these 24 words you come back when all your devices are lost"));
    assert!(said.contains("Write them on paper now") && said.contains("whoever has them is you"), "{said}");
    // They are a phrase, and this person's.
    assert!(typing(&zoe, &words.join("\n"), &["account", "export", "zoe.clave"]).status.success());
    let other = Device::new("Zoë", "laptop");
    assert_eq!(other.phrase.split(' ').count(), 24);
    assert_ne!(other.phrase, words.join(" "));
}

#[test]
fn a_lost_device_comes_back_reads_offline_and_writes_after_meeting_a_member() {
    let (zoe, _zoe_runs, bob, mut bob_runs) = two();
    zoe.ok(&["circle", "create", "预算", "--with", "小明"]);
    zoe.ok(&["chat", "send", "before the loss"]);
    bob.ok(&["wait", "--messages", "1"]);
    bob.ok(&["-c", "预算", "wait", "--members", "2"]);
    let me = bob.json(&["whoami"])["person"].clone();

    let file = bob.outside().join("account.clave");
    let words = said(typing(&bob, &bob.phrase, &["account", "export", "account.clave"]));
    assert!(words.contains(&format!("Your account is in {}: ", file.display())), "{words}");
    assert!(words.contains(" records, read back and whole."), "{words}");
    let again = ["account", "export", "account.clave", "--with-files", "--phrase-file"];
    let value = bob.json(&[&again[..], &[&paper(&bob, "words", &bob.phrase)]].concat());
    assert_eq!((value["type"].as_str(), value["with_files"].as_bool()), (Some("exported"), Some(true)));
    assert_eq!(value["bytes"].as_u64().unwrap(), fs::metadata(&file).unwrap().len());
    assert!(value["records"].as_u64().unwrap() > 10, "{value}");
    assert!(!holds(&fs::read(&file).unwrap(), b"before the loss"));
    bob_runs.kill();

    let tablet = Device::blank();
    let restore = ["init", "--no-passphrase", "--device", "平板", "--restore", file.to_str().unwrap()];
    let words = said(typing(&tablet, &bob.phrase.to_uppercase().replace(' ', "\n"), &restore));
    assert!(words.starts_with("You are 小明 again, on this device, which is called 平板.\n"), "{words}");
    let waits =
        "You can read; you can write again once a member of the space is met: “Café 四月”, “预算” (in “Café 四月”).";
    assert!(words.contains(waits) && words.contains("clave device revoke \"手机\""), "{words}");
    assert_eq!(tablet.json(&["whoami"])["person"], me);
    assert!(tablet.ok(&["chat", "history"]).contains("before the loss"));
    assert!(tablet.ok(&["status"]).contains(waits));
    let waiting = tablet.json(&["status"])["rejoining"].clone();
    assert_eq!(waiting.as_array().unwrap().len(), 2);
    let of = |name: &str| waiting.as_array().unwrap().iter().find(|known| known["name"] == name).unwrap();
    assert_eq!((&of("预算")["space"], &of("预算")["alone"]), (&"Café 四月".into(), &false.into()));
    let failed = tablet.fails(&["chat", "send", "too early"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "rejoining"));
    let failed = tablet.fails(&["account", "begin-anew"]);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("others are in this space"), "{}", failed.words);

    let _tablet_runs = tablet.run();
    tablet.ok(&["wait", "--rejoined"]);
    tablet.ok(&["chat", "send", "小明 is back"]);
    tablet.ok(&["-c", "预算", "chat", "send", "here too"]);
    zoe.ok(&["wait", "--messages", "2"]);
    zoe.ok(&["-c", "预算", "wait", "--messages", "1"]);
    let history = zoe.ok(&["chat", "history"]);
    assert!(history.lines().any(|line| line.contains("小明") && line.contains("小明 is back")), "{history}");
    assert!(tablet.json(&["status"]).get("rejoining").is_none());
    let words = tablet.ok(&["device", "revoke", "手机"]);
    assert!(words.contains("“手机” is out of 2 circles"), "{words}");
}

#[test]
fn who_was_alone_begins_anew() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "Diary"]);
    zoe.ok(&["chat", "send", "dear diary"]);
    assert_eq!(zoe.fails(&["account", "begin-anew"]).exit, 2, "there is nothing to begin anew");
    let file = export(&zoe);
    let new = Device::blank();
    let restore = ["--json", "init", "--no-passphrase", "--device", "new", "--restore", file.to_str().unwrap()];
    let restored: serde_json::Value = serde_json::from_str(&said(typing(&new, &zoe.phrase, &restore))).unwrap();
    assert_eq!((&restored["type"], &restored["person_name"]), (&"restored".into(), &"Zoë".into()));
    assert_eq!((&restored["spaces"][0]["name"], &restored["devices"][0]), (&"Diary".into(), &"laptop".into()));
    assert_eq!((&restored["rejoining"][0]["alone"], &restored["exported"]), (&true.into(), &true.into()));
    assert!(new.ok(&["status"]).contains("clave --space \"Diary\" account begin-anew"));
    assert_eq!(new.fails(&["chat", "send", "too early"]).exit, 4);
    new.ok(&["account", "begin-anew"]);
    new.ok(&["chat", "send", "again"]);
    let history = new.ok(&["chat", "history"]);
    assert!(history.contains("dear diary") && history.contains("again"), "{history}");
    assert!(!new.ok(&["device", "list"]).contains("laptop"));
}

#[test]
fn the_phrase_alone_gives_back_the_person() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let new = Device::blank();
    let recover = ["init", "--no-passphrase", "--recover", "--device", "new"];
    let unnamed = typing(&new, &zoe.phrase, &recover);
    assert_eq!(unnamed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("--name"));
    let words = said(typing(&new, &zoe.phrase, &[&recover[..], &["--name", "Zoë"]].concat()));
    assert!(words.contains("There is your identity, and nothing else"), "{words}");
    assert!(words.contains("have somebody in each space remove you and invite you anew"), "{words}");
    let (was, is) = (zoe.json(&["whoami"]), new.json(&["whoami"]));
    assert_eq!(was["person"], is["person"]);
    assert_ne!(was["device"], is["device"]);
    assert_eq!(new.fails(&["chat", "history"]).exit, 3);
}

#[test]
fn what_is_wrong_with_a_phrase_or_a_file_is_said() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let other = Device::new("小明", "手机");
    let file = export(&zoe);
    let file = file.to_str().unwrap();
    let good = paper(&zoe, "good", &zoe.phrase);
    let others = paper(&zoe, "others", &other.phrase);
    let words: Vec<&str> = zoe.phrase.split(' ').collect();
    let mut wrong = words.clone();
    wrong[6] = "clave";
    let wrong = paper(&zoe, "wrong", &wrong.join(" "));
    let short = paper(&zoe, "short", &words[..23].join(" "));

    let new = Device::blank();
    let restore = |phrase: &str, file: &str| {
        let failed =
            new.fails(&["init", "--no-passphrase", "--device", "x", "--phrase-file", phrase, "--restore", file]);
        assert_eq!(new.fails(&["whoami"]).exit, 3, "nothing is left behind");
        failed
    };
    let failed = restore(&wrong, file);
    assert_eq!((failed.exit, failed.reason.as_str()), (2, "phrase"));
    assert!(failed.words.starts_with("word 7 is not one of those"), "{}", failed.words);
    let failed = restore(&short, file);
    assert_eq!(failed.exit, 2);
    assert!(failed.words.contains("has 24 words, and this has 23"), "{}", failed.words);
    let failed = restore(&others, file);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "other_phrase"));
    assert!(failed.words.starts_with("this export was made with another recovery phrase"), "{}", failed.words);
    let failed = restore(&good, &wrong);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "not_an_export"));
    assert_eq!(restore(&good, "nowhere").exit, 3);
    assert_eq!(restore("nowhere", file).exit, 3);

    let whole = fs::read(file).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    let damaged = zoe.outside().join("damaged");
    for (bytes, words) in
        [(&altered[..], "this export is damaged"), (&whole[..whole.len() - 9], "this export is cut short")]
    {
        fs::write(&damaged, bytes).unwrap();
        let failed = restore(&good, damaged.to_str().unwrap());
        assert_eq!((failed.exit, failed.reason.as_str()), (4, "damaged"));
        assert!(failed.words.starts_with(words), "{}", failed.words);
    }

    // An export with somebody else's phrase would be lost to whoever makes it.
    let failed = zoe.fails(&["account", "export", "none", "--phrase-file", &others]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "other_phrase"));
    assert!(!zoe.outside().join("none").exists());
    let failed = zoe.fails(&["account", "export", "none"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (2, "phrase"));
    assert_eq!(zoe.fails(&["account", "export", "no such/none", "--phrase-file", &good]).exit, 3);
    for args in [&["--restore", file, "--recover"][..], &["--restore", file, "--name", "x"], &["--phrase-file", &good]]
    {
        assert_eq!(new.fails(&[&["init", "--no-passphrase"], args].concat()).exit, 2, "{args:?}");
    }
    // What there is is not overwritten, and a whole file still opens.
    let failed = zoe.fails(&["init", "--no-passphrase", "--restore", file, "--phrase-file", &good]);
    assert_eq!(failed.exit, 4);
    new.ok(&["init", "--no-passphrase", "--device", "x", "--phrase-file", &good, "--restore", file]);
    assert!(new.ok(&["space", "list"]).contains("四月"));
}

#[test]
fn a_new_phrase_takes_the_place_of_the_former() {
    let (zoe, _zoe_runs, bob, mut bob_runs) = two();
    bob.ok(&["chat", "send", "before"]);
    zoe.ok(&["wait", "--messages", "1"]);
    let old = export(&bob);
    let refused = typing(&bob, &zoe.phrase, &["account", "new-phrase"]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    let shown = said(typing(&bob, &bob.phrase, &["--json", "account", "new-phrase"]));
    let shown: serde_json::Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    let next = shown["recovery_phrase"].as_str().unwrap().to_owned();
    assert_ne!(next, bob.phrase);
    // The former opens what it opened, and makes nothing new.
    assert!(!typing(&bob, &bob.phrase, &["account", "export", "refused.clave"]).status.success());
    let new = bob.outside().join("new.clave");
    said(typing(&bob, &next, &["account", "export", new.to_str().unwrap()]));
    bob_runs.kill();

    let blank = Device::blank();
    let restore = |device: &Device, file: &PathBuf, words: &str| {
        typing(device, words, &["init", "--no-passphrase", "--restore", file.to_str().unwrap(), "--device", "new"])
    };
    assert!(!restore(&blank, &new, &bob.phrase).status.success());
    assert!(!restore(&blank, &old, &next).status.success());
    said(restore(&blank, &new, &next));
    let _runs = blank.run();
    blank.ok(&["wait", "--rejoined"]);
    blank.ok(&["chat", "send", "here I am"]);
    zoe.ok(&["wait", "--messages", "2"]);
    assert!(zoe.ok(&["chat", "history"]).contains("here I am"));
}
