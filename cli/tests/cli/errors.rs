//! What goes wrong, and how it is said.

use std::process::Stdio;

use crate::harness::Device;

#[test]
fn a_new_directory_says_what_to_do() {
    let blank = Device::blank();
    let output = blank.output(&["chat", "history"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no identity in this directory yet") && said.contains("clave init"), "{said}");
    let device = Device::new("Zoë", "laptop");
    let failed = device.fails(&["chat", "history"]);
    assert_eq!((failed.exit, failed.words.as_str()), (3, "this device is in no space yet"));
    assert_eq!(device.fails(&["init", "--no-passphrase", "--name", "x", "--device", "y"]).exit, 4);
}

#[test]
fn what_cannot_be_meant_is_usage() {
    let device = Device::new("Zoë", "laptop");
    for args in
        [&["frobnicate"][..], &["invite", "--valid", "soon"], &["space", "new"], &["cal", "agenda", "--days", "0"]]
    {
        assert_eq!(device.fails(args).exit, 2, "{args:?}");
    }
    device.ok(&["space", "new", "四月"]);
    device.ok(&["space", "new", "April"]);
    let failed = device.fails(&["chat", "history"]);
    assert_eq!(failed.exit, 2);
    assert!(failed.words.contains("“四月”") && failed.words.contains("“April”"), "{}", failed.words);
    device.ok(&["--space", "四月", "chat", "send", "hello"]);
    let id = device.json(&["space", "list"])["spaces"][1]["id"].as_str().unwrap().to_owned();
    device.ok(&["--space", &id[..9], "chat", "send", "hello"]);
    assert_eq!(device.fails(&["--space", "March", "members"]).exit, 3);
    assert_eq!(device.fails(&["chat", "send", " ", "--space", "April"]).exit, 2);
    assert_eq!(device.fails(&["note", "show", "nothing", "--space", "April"]).exit, 3);
    assert_eq!(device.fails(&["file", "get", "/nothing", "--space", "April"]).exit, 3);
    assert_eq!(device.fails(&["cal", "add", "x", "--at", "someday", "--space", "April"]).exit, 2);
}

#[test]
fn a_directory_in_use_names_who_holds_it() {
    let device = Device::new("Zoë", "laptop");
    let running = device.run();
    // Without its socket a running node cannot be asked.
    std::fs::remove_file(device.directory().join("socket")).unwrap();
    let failed = device.fails(&["whoami"]);
    assert_eq!(failed.exit, 6);
    assert!(failed.words.contains(&format!("process {}", running.child.id())), "{}", failed.words);
}

#[test]
fn one_node_runs_at_a_time() {
    let device = Device::new("Zoë", "laptop");
    let _running = device.run();
    let failed = device.fails(&["run", "--no-mdns"]);
    assert_eq!((failed.exit, failed.words.as_str()), (6, "this device is running already"));
}

#[test]
fn what_a_killed_node_left_behind_is_in_nobodys_way() {
    let device = Device::new("Zoë", "laptop");
    device.run().kill();
    assert!(device.directory().join("socket").exists());
    assert!(device.ok(&["whoami"]).contains("Zoë"));
    let _running = device.run();
    assert_eq!(device.json(&["status"])["running"], true);
}

#[test]
fn a_passphrase_is_needed_and_has_to_be_right() {
    let device = Device::blank();
    let with =
        |passphrase: &str, args: &[&str]| device.command(args).env("CLAVE_PASSPHRASE", passphrase).output().unwrap();
    let init = with("correct horse", &["init", "--name", "Zoë", "--device", "laptop"]);
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    assert!(!String::from_utf8_lossy(&init.stderr).contains("Note:"));
    assert!(with("correct horse", &["whoami"]).status.success());
    let wrong = with("battery staple", &["whoami"]);
    assert_eq!(wrong.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("wrong passphrase"));
    let failed = device.fails(&["whoami"]);
    assert_eq!(failed.exit, 4);
    assert!(failed.words.contains("the vault is locked"));
    let none = Device::blank().output(&["init", "--name", "Zoë", "--device", "laptop"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("--no-passphrase"));
}

#[test]
fn going_without_a_passphrase_is_warned_of() {
    let device = Device::blank();
    let init = device.output(&["init", "--no-passphrase", "--name", "Zoë", "--device", "laptop", "--store", "sled"]);
    assert!(String::from_utf8_lossy(&init.stderr).contains("whoever can read the data directory can read everything"));
    assert!(device.ok(&["whoami"]).contains("laptop"), "the directory knows its store");
    assert_eq!(Device::blank().fails(&["init", "--store", "floppy"]).exit, 2);
}

#[cfg(unix)]
#[test]
fn only_the_owner_gets_at_the_directory_and_the_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let device = Device::new("Zoë", "laptop");
    let _running = device.run();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&device.directory()), 0o700);
    assert_eq!(mode(&device.directory().join("socket")), 0o600);
}

#[cfg(unix)]
#[test]
fn a_node_ends_in_good_order_when_its_starter_does() {
    let device = Device::new("Zoë", "laptop");
    let mut running = device.run();
    drop(running.child.stdin.take());
    assert!(running.child.wait().unwrap().success());
    assert!(!device.directory().join("socket").exists());
}

#[test]
fn a_deep_directory_works_too() {
    let device = Device::new("Zoë", "laptop");
    let deep = device.outside().join("a".repeat(60)).join("b".repeat(60)).join("c".repeat(60));
    let clave = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clave"));
        command.arg("--dir").arg(&deep).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    assert!(clave(&["init", "--no-passphrase", "--name", "Z", "--device", "d"]).output().unwrap().status.success());
    if cfg!(target_os = "linux") {
        use std::io::{BufRead as _, BufReader};
        let mut run =
            clave(&["--json", "run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--until-eof"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let status = clave(&["--json", "status"]).output().unwrap();
        assert!(String::from_utf8_lossy(&status.stdout).contains("\"running\":true"));
        drop(run.stdin.take());
        run.wait().unwrap();
    }
}

#[test]
fn completions_are_printed() {
    let device = Device::blank();
    for shell in ["bash", "zsh", "fish"] {
        assert!(device.ok(&["completions", shell]).contains("clave"), "{shell}");
    }
}
