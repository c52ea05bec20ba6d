//! What keeps a person's things: backups, the export in open formats, the doctor.

use std::fs;
use std::path::PathBuf;

use crate::harness::Device;

fn phrase_file(device: &Device) -> String {
    let path = device.outside().join("words.txt");
    fs::write(&path, &device.phrase).unwrap();
    path.display().to_string()
}

fn in_use(device: &Device) {
    device.ok(&["space", "new", "四月"]);
    device.ok(&["chat", "send", "你好"]);
    device.ok(&["note", "new", "会议记录.md", "--text=- 预算"]);
    let source = device.outside().join("plan.pdf");
    fs::write(&source, vec![7; 60_000]).unwrap();
    device.ok(&["file", "add", source.to_str().unwrap()]);
}

#[test]
fn backups_are_rotated_and_come_back_with_everything() {
    let zoe = Device::new("Zoë", "laptop");
    in_use(&zoe);
    let words = phrase_file(&zoe);
    let file = zoe.outside().join("zoe.backup");
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", file.display()));
    let args = ["backup", file.to_str().unwrap(), "--keep", "2", "--phrase-file", &words];
    // Also while it runs.
    let running = zoe.run();
    let said = zoe.ok(&args);
    assert!(said.contains("read back and whole") && said.contains("The content of files is in it"), "{said}");
    drop(running);
    let first = fs::read(&file).unwrap();
    for n in 0..3 {
        zoe.ok(&["chat", "send", &format!("message {n}")]);
        zoe.ok(&args);
    }
    assert!(numbered(1).exists() && numbered(2).exists() && !numbered(3).exists());
    assert!(fs::read(numbered(2)).unwrap() != first, "the oldest went");
    assert!(!crate::harness::holds(&fs::read(&file).unwrap(), "你好".as_bytes()));

    // What is no backup is not overwritten, and a wrong phrase changes nothing.
    let before = fs::read(&file).unwrap();
    let photo = zoe.outside().join("cat.jpg");
    fs::write(&photo, "a cat, and more than eight bytes").unwrap();
    let failed = zoe.fails(&["backup", photo.to_str().unwrap(), "--phrase-file", &words]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "not_an_export"));
    let other = Device::new("Bob", "desk");
    let failed = zoe.fails(&["backup", file.to_str().unwrap(), "--phrase-file", &phrase_file(&other)]);
    assert_eq!(failed.reason, "other_phrase");
    assert_eq!(fs::read(&file).unwrap(), before);

    let back = Device::blank();
    let restored = back.json(&[
        "restore",
        file.to_str().unwrap(),
        "--device",
        "tablet",
        "--no-passphrase",
        "--phrase-file",
        &words,
    ]);
    assert_eq!(restored["spaces"][0]["name"], "四月");
    let history = back.json(&["chat", "history"]);
    let bodies: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["你好", "message 0", "message 1", "message 2"]);
    let copy = back.outside().join("plan.pdf");
    back.ok(&["file", "get", "/plan.pdf", "-o", copy.to_str().unwrap(), "--timeout", "20s"]);
    assert_eq!(fs::read(copy).unwrap(), vec![7; 60_000]);
}

#[test]
fn everything_goes_into_open_formats() {
    let zoe = Device::new("Zoë", "laptop");
    in_use(&zoe);
    let out = zoe.outside().join("open");
    let said = zoe.ok(&["export", out.to_str().unwrap()]);
    assert!(said.contains("1 messages, 1 notes, 0 events, 1 files"), "{said}");
    assert_eq!(fs::read_to_string(out.join("四月/notes/会议记录.md")).unwrap(), "- 预算\n");
    assert_eq!(fs::read(out.join("四月/files/plan.pdf")).unwrap(), vec![7; 60_000]);
    let _running = zoe.run();
    let done = zoe.json(&["export", out.to_str().unwrap()]);
    assert_eq!((&done["messages"], &done["files"], &done["missing"]), (&1.into(), &1.into(), &serde_json::json!([])));
    let full = zoe.outside().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "x").unwrap();
    let failed = zoe.fails(&["export", full.to_str().unwrap()]);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("is not empty: name a directory"), "{}", failed.words);
}

#[test]
fn the_doctor_says_what_is_there_and_its_exit_code_whether_it_is_whole() {
    let zoe = Device::new("Zoë", "laptop");
    in_use(&zoe);
    let said = zoe.ok(&["doctor"]);
    assert!(said.contains("“四月”") && said.contains("Everything is as it should be."), "{said}");
    let report = zoe.json(&["doctor", "--repair"]);
    assert_eq!((&report["sound"], &report["repaired"]), (&true.into(), &serde_json::Value::Null));
    assert!(report["circles"][0]["chunks"].as_u64().unwrap() > 0);
    let pack = zoe.directory().join("chunks/00000000.pack");
    let chunks = fs::read(&pack).unwrap();
    fs::write(zoe.directory().join("chunks/00000009.pack"), [1; 3_000]).unwrap();
    fs::write(&pack, &chunks[..10]).unwrap();
    let found = zoe.output(&["doctor"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let report = zoe.json(&["doctor", "--repair"]);
    assert_eq!((&report["sound"], report["repaired"]["removed"].as_u64() > Some(0)), (&true.into(), true));
    let unused = report["unused_packs"].as_array().unwrap();
    assert!(unused.contains(&serde_json::json!({ "pack": 9, "bytes": 3_000 })), "{unused:?}");
    let said = zoe.ok(&["doctor"]);
    assert!(said.contains("chunks/00000009.pack: nothing in it is in use; `clave file gc` gives its"), "{said}");
    let running = zoe.run();
    let failed = zoe.fails(&["doctor"]);
    assert_eq!(failed.exit, 6);
    assert!(failed.words.contains("in use by process"), "{}", failed.words);
    drop(running);

    let path = zoe.directory().join("store/clave.redb");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; 50_000]).unwrap();
    let failed = zoe.fails(&["doctor", "--repair"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (1, "damaged"));
    assert!(failed.words.contains("the database as such"), "{}", failed.words);
    fs::write(&path, whole).unwrap();
    zoe.ok(&["doctor"]);
}
