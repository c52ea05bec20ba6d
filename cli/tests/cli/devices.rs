//! Further devices of a person: linking one, losing it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Device, two};

/// Links a blank device to one that runs; what both said.
fn link(to: &Device, blank: &Device, name: &str, typed: bool) -> [String; 2] {
    let mut linking = to.command(&["--json", "device", "link", "--yes"]);
    let mut linking = linking.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(linking.stdout.take().unwrap()).lines();
    let code: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let address = code["addresses"][0].as_str().unwrap();
    let mut args = vec!["init", "--no-passphrase", "--device", name, "--link"];
    match typed {
        true => args.extend([code["typed"].as_str().unwrap(), "--at", address]),
        false => args.push(code["code"].as_str().unwrap()),
    }
    let said = blank.ok(&args);
    let linked = lines.next().unwrap().unwrap();
    assert!(linking.wait().unwrap().success());
    [said, linked]
}

#[test]
fn a_second_device_reads_everything_and_is_out_when_revoked() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["circle", "create", "预算", "--with", "小明"]);
    zoe.ok(&["chat", "send", "before the phone"]);
    bob.ok(&["-c", "预算", "wait", "--members", "2"]);
    bob.ok(&["wait", "--messages", "1"]);
    let phone = Device::blank();
    let [said, linked] = link(&zoe, &phone, "手机二", false);
    assert!(said.starts_with("You are Zoë on this device too, which is called 手机二.\n"), "{said}");
    assert!(linked.contains("\"type\":\"linked\"") && linked.contains("\"name\":\"手机二\""), "{linked}");
    let _phone_runs = phone.run();
    phone.ok(&["wait", "--messages", "1", "--members", "2"]);
    assert!(phone.ok(&["chat", "history"]).contains("before the phone"));
    phone.ok(&["-c", "预算", "wait", "--members", "2"]);
    phone.ok(&["chat", "send", "from the phone"]);
    bob.ok(&["wait", "--messages", "2"]);
    assert!(bob.ok(&["chat", "history"]).lines().any(|line| line.contains("Zoë") && line.contains("from the phone")));
    let said = zoe.ok(&["device", "list"]);
    assert!(said.contains("laptop") && said.contains("手机二"), "{said}");

    // It is lost.
    let said = zoe.ok(&["device", "revoke", "手机二"]);
    assert!(said.contains("“手机二” is out of 2 circles and gets nothing more. What it had stays on it."), "{said}");
    assert!(said.contains("The keys have changed, after "), "{said}");
    phone.ok(&["wait", "--removed"]);
    let failed = phone.fails(&["chat", "send", "x"]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "removed"));
    assert!(failed.words.starts_with("This device was taken out of “Café 四月” by Zoë ("), "{}", failed.words);
    bob.ok(&["wait", "--rotated"]);
    let said = bob.ok(&["access"]);
    assert!(
        said.lines().any(|line| line.contains("Zoë") && line.contains("手机二") && line.contains("reads nothing new")),
        "{said}"
    );
    bob.ok(&["chat", "send", "without the phone"]);
    zoe.ok(&["wait", "--messages", "3"]);
    assert!(!phone.ok(&["chat", "history"]).contains("without the phone"));
    // What she wrote on it stays hers.
    assert!(zoe.ok(&["chat", "history"]).lines().any(|line| line.contains("Zoë") && line.contains("from the phone")));
    let failed = zoe.fails(&["device", "revoke", "laptop"]);
    assert_eq!((failed.exit, failed.words.as_str()), (2, "this is the device that you are using"));
    assert_eq!(zoe.fails(&["device", "revoke", "fridge"]).exit, 3);
}

#[test]
fn nothing_is_given_before_the_person_said_yes_to_what_both_show() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let _runs = zoe.run();
    for answer in ["yes\n", "no\n", ""] {
        let mut linking = zoe.command(&["device", "link"]);
        let linking = linking.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut linking = linking.spawn().unwrap();
        let mut lines = BufReader::new(linking.stdout.take().unwrap()).lines().map(Result::unwrap);
        let code = lines.find(|line| line.starts_with("clave://link/")).unwrap();
        let blank = Device::blank();
        let mut init = blank.command(&["init", "--no-passphrase", "--device", "手机", "--link", &code]);
        let mut init = init.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut waiting = BufReader::new(init.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = waiting.find(|line| line.contains("must show the same")).unwrap();
        assert_eq!(said, "This will be a device of Zoë. Your other device must show the same:");
        lines
            .find(|line| line == "A device called “手机” wants to be yours. It must show the same as this one:")
            .unwrap();
        let digits = "or, where pictures do not work:  ";
        let shown = |lines: &mut dyn Iterator<Item = String>| -> Vec<String> {
            let mut shown = Vec::new();
            for line in lines {
                shown.push(line);
                if shown.last().unwrap().starts_with(digits) {
                    break;
                }
            }
            shown
        };
        let (here, there) = (shown(&mut lines), shown(&mut waiting));
        assert!(here == there && here.len() == 10, "{here:?} {there:?}");
        linking.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let said: Vec<String> = lines.collect();
        let output = linking.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let failed: Vec<String> = waiting.collect();
        let init = init.wait_with_output().unwrap();
        if answer == "yes\n" {
            assert!(output.status.success() && init.status.success(), "{errors} {failed:?}");
            assert!(said.last().unwrap().starts_with("“手机” is a device of yours now"), "{said:?}");
            assert!(blank.ok(&["space", "list"]).contains("四月"));
            continue;
        }
        assert_eq!(output.status.code(), Some(if answer.is_empty() { 2 } else { 4 }), "{errors}");
        assert!(errors.contains("the code is worth nothing now"), "{errors}");
        assert_eq!(init.status.code(), Some(4));
        let failed = failed.join("\n");
        assert!(failed.contains("linking was declined on the other device"), "{failed}");
        // It belongs to nobody, and says what to do.
        let failed = blank.fails(&["whoami"]);
        assert_eq!((failed.exit, failed.reason.as_str()), (4, "not_linked"), "{}", failed.words);
        // Another code does it, in the same place.
        if answer.is_empty() {
            link(&zoe, &blank, "手机", false);
        }
    }
    assert_eq!(zoe.json(&["device", "list"])["members"][0]["devices"].as_array().unwrap().len(), 3);
}

#[test]
fn a_code_can_be_typed_and_works_once() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let _runs = zoe.run();
    let tablet = Device::blank();
    link(&zoe, &tablet, "tablet", true);
    assert!(tablet.ok(&["space", "list"]).contains("四月"));
    assert_eq!(tablet.fails(&["init", "--no-passphrase", "--link", "x", "--device", "y"]).exit, 4);
    let blank = Device::blank();
    let failed = blank.fails(&["init", "--no-passphrase", "--device", "y", "--link", "nonsense"]);
    assert_eq!(failed.exit, 4);
}

#[test]
fn nobody_takes_up_a_code() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let _runs = zoe.run();
    let output = zoe.output(&["device", "link", "--valid", "300ms", "--qr", "--yes"]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("Whoever takes up this code is you, until ") && said.contains("Show it to nobody:"),
        "{said}"
    );
    assert!(
        said.contains("On the new device: clave init --link CODE") && said.contains("or, to type:       clave init"),
        "{said}"
    );
    assert!(said.lines().filter(|line| line.starts_with('█')).count() > 15, "{said}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("no device used the code in time"));
}

#[test]
fn a_device_is_renamed_by_its_own_person_here_and_there() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    zoe.ok(&["verify", "小明", "--mark"]);
    let tablet = Device::blank();
    link(&zoe, &tablet, "tablet", false);
    let _tablet_runs = tablet.run();
    tablet.ok(&["wait", "--online", "1"]);
    // Whom she has verified is so on the new one as well.
    let of_bob = |device: &Device| {
        let members = device.ok(&["members"]);
        members.lines().find(|line| line.starts_with("小明")).unwrap().contains("verified")
    };
    assert!(of_bob(&zoe) && of_bob(&tablet));
    assert_eq!(zoe.ok(&["device", "rename", "laptop", " Zoës Rechner 💻 "]), "It is called that everywhere now.\n");
    zoe.ok(&["device", "rename", "tablet", "平板"]);
    zoe.ok(&["verify", "小明", "--unmark"]);
    zoe.ok(&["chat", "send", "done"]);
    for device in [&bob, &tablet] {
        device.ok(&["wait", "--messages", "1"]);
        let said = device.ok(&["members"]);
        assert!(said.contains("Zoës Rechner 💻") && said.contains("平板"), "{said}");
    }
    assert!(!of_bob(&tablet), "what is taken back on one is taken back on all");
    // The device itself has heard of it.
    assert!(tablet.ok(&["whoami"]).starts_with("Zoë on 平板\n"));
    assert_eq!(zoe.json(&["whoami"])["device_name"], "Zoës Rechner 💻");
    assert!(bob.ok(&["audit"]).contains("Zoë named the device "));
    for name in ["", "  ", "a\nb", "\u{202e}kool", &"é".repeat(129)] {
        assert_eq!(zoe.fails(&["device", "rename", "平板", name]).exit, 2, "{name:?}");
    }
    assert_eq!(zoe.fails(&["device", "rename", "fridge", "x"]).exit, 3);
    assert_eq!(zoe.fails(&["device", "rename", "手机", "x"]).exit, 3, "that is somebody else's");
    zoe.ok(&["device", "revoke", "平板"]);
}
