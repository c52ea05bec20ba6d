//! Two people make sure that nobody sits between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::harness::{Device, two};

/// A `clave verify` that waits for its person's answer.
struct Verifying {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Verifying {
    fn begin(device: &Device, args: &[&str]) -> Self {
        let mut command = device.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Answers; what else was printed, and the exit code.
    fn answer(mut self, word: &str) -> (String, i32) {
        self.child.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
        let mut rest = String::new();
        while !matches!(self.stdout.read_line(&mut rest), Ok(0)) {}
        let output = self.child.wait_with_output().unwrap();
        (rest + &String::from_utf8_lossy(&output.stderr), output.status.code().unwrap())
    }
}

/// Waits until somebody's question has arrived.
fn is_asked(device: &Device) -> String {
    loop {
        let said = device.ok(&["status"]);
        if said.contains("asks you to compare") {
            return said;
        }
    }
}

#[test]
fn both_see_the_same_and_are_marked() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    assert_eq!(zoe.json(&["members"])["members"][1]["verification"], "unverified");
    let mut asking = Verifying::begin(&zoe, &["--json", "verify", "小明"]);
    assert!(is_asked(&bob).contains("Zoë asks you to compare: clave verify \"Zoë\""));
    let mut agreeing = Verifying::begin(&bob, &["--json", "verify", "Zoë"]);
    let [hers, his] = [&mut asking, &mut agreeing].map(|side| serde_json::from_str::<Value>(&side.line()).unwrap());
    assert_eq!((&hers["emoji"], &hers["digits"]), (&his["emoji"], &his["digits"]));
    assert_eq!((hers["type"].as_str(), hers["emoji"].as_array().unwrap().len()), (Some("compare"), 7));
    // One side alone is not enough: it waits for the other.
    let answered = std::thread::scope(|scope| {
        let first = scope.spawn(|| asking.answer("maybe\nyes\n"));
        let second = agreeing.answer("y\n");
        [first.join().unwrap(), second]
    });
    for (said, code) in answered {
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("\"verification\":\"verified\""), "{said}");
    }
    for (device, other) in [(&zoe, "小明"), (&bob, "Zoë")] {
        let said = device.ok(&["members"]);
        assert!(said.lines().any(|line| line.contains(other) && line.contains("verified")), "{said}");
    }
    let said = zoe.ok(&["verify", "--unmark", "小明"]);
    assert_eq!(said, "小明 is not marked as verified any more.\n");
}

#[test]
fn what_differs_marks_nobody() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let mut asking = Verifying::begin(&zoe, &["verify", "小明"]);
    is_asked(&bob);
    let mut agreeing = Verifying::begin(&bob, &["verify", "Zoë"]);
    assert_eq!(asking.line(), "Compare with 小明, by voice or side by side:\n");
    assert_eq!(agreeing.line(), "Compare with Zoë, by voice or side by side:\n");
    let (said, code) = agreeing.answer("no\n");
    assert_eq!(code, 4);
    for words in [
        "or, where pictures do not work:  ",
        "Do both of you see the same, in the same order? [yes/no] ",
        "you saw something else: then somebody may sit between the two of you. Nobody is marked as verified",
        "do not trust this connection, and compare safety numbers",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    let (said, code) = asking.answer("yes\n");
    assert!(matches!(code, 1 | 4), "{said}");
    assert!(!zoe.ok(&["members"]).contains("verified"));
    assert_eq!(zoe.fails(&["verify", "Zoë"]).words, "that is you: verifying is for other people");
    assert_eq!(zoe.fails(&["verify", "Eve"]).exit, 3);
}

#[test]
fn safety_numbers_need_no_connection() {
    let (zoe, mut zoe_runs, bob, mut bob_runs) = two();
    zoe_runs.kill();
    bob_runs.kill();
    let hers = zoe.json(&["verify", "--number", "小明"]);
    assert_eq!(hers["number"], bob.json(&["verify", "--number", "Zoë"])["number"]);
    let said = zoe.ok(&["verify", "--number", "小明"]);
    assert!(
        said.contains("The safety number of you and 小明. 小明 sees the same: clave verify --number YOU"),
        "{said}"
    );
    assert!(said.contains("If it is the same: clave verify --mark \"小明\""), "{said}");
    let digits = said.lines().filter(|line| line.starts_with("    ")).flat_map(str::chars).filter(char::is_ascii_digit);
    assert_eq!(digits.count(), 60);
    let said = zoe.ok(&["verify", "--mark", "小明"]);
    assert_eq!(said, "小明 is verified on this device: nobody sits between the two of you.\n");
    assert!(zoe.ok(&["verify", "--number", "小明"]).contains("小明 is verified on this device already."));
    let failed = zoe.fails(&["verify", "小明", "--timeout", "500ms"]);
    assert_eq!((failed.exit, failed.words.as_str()), (5, "the other side did not answer within 500ms"));
}

#[test]
fn who_takes_a_verified_name_is_shown_as_changed() {
    let (zoe, _zoe_runs, _bob, _bob_runs) = two();
    zoe.ok(&["verify", "--mark", "小明"]);
    let other = Device::new("小明", "another");
    other.ok(&["join", &zoe.invite()]);
    let said = zoe.ok(&["members"]);
    assert!(said.lines().any(|line| line.contains("another") && line.contains("CHANGED: compare again")), "{said}");
    let members = zoe.json(&["members"]);
    let changed = members["members"].as_array().unwrap().iter().find(|m| m["verification"] == "changed").unwrap();
    let id = changed["person"].as_str().unwrap();
    assert_eq!(zoe.fails(&["verify", "--number", "小明"]).exit, 2, "two people of one name");
    let said = zoe.ok(&["verify", "--number", &id[..12]]);
    assert!(said.contains("Somebody else called 小明 was verified here before"), "{said}");
}
