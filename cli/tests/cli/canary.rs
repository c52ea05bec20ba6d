//! Nothing that people write, and none of their names, is readable on the wire or on disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Device, forge, holds};

const NAMES: [&str; 5] = ["CanaryPersonA", "CanaryDeviceA", "CanaryPersonB", "CanaryDeviceB", "CanarySpace"];
const MESSAGE: &str = "canary message 会议";
const TITLE: &str = "CanaryNoteTitle";
const NOTE: &str = "canary note text, written by two";
const FILE_NAME: &str = "CanaryFileName.bin";
const FILE: &str = "canary file content that is repeated. ";
const EVENT: &str = "CanaryEvent";
const PLACE: &str = "CanaryPlace";

/// Forwards connections, and keeps every byte that passes, in either direction.
fn proxy(to: String) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (near, far) = (stream.unwrap(), TcpStream::connect(&to).unwrap());
            for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                let seen = seen.clone();
                thread::spawn(move || copy(from, to, &seen));
            }
        }
    });
    (port, all)
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn every_file(directory: &Path, take: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A socket is no file.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => every_file(&path, take),
            Ok(metadata) if metadata.is_file() => take(&path, &fs::read(&path).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn no_canary_is_found_on_the_wire_or_on_disk() {
    let (a, b) = (Device::new(NAMES[0], NAMES[1]), Device::new(NAMES[2], NAMES[3]));
    a.ok(&["space", "new", NAMES[4]]);
    let (a_runs, b_runs) = (a.run(), b.run());
    let port = a_runs.addresses[0].rsplit('/').next().unwrap().to_owned();
    let (proxy_port, wire) = proxy(format!("127.0.0.1:{port}"));
    // The link leads to the proxy: the guest knows no other way.
    let link = forge(&a.invite(), |bytes| {
        let (real, other) = (format!("/tcp/{port}"), format!("/tcp/{proxy_port}"));
        assert_eq!(real.len(), other.len(), "ports of five digits");
        let at = bytes.windows(real.len()).position(|window| window == real.as_bytes()).unwrap();
        bytes[at..at + real.len()].copy_from_slice(other.as_bytes());
    });
    b.ok(&["join", &link]);

    a.ok(&["chat", "send", MESSAGE]);
    b.ok(&["wait", "--messages", "1"]);
    b.ok(&["chat", "send", MESSAGE]);
    a.ok(&["wait", "--messages", "2"]);
    a.ok(&["cal", "add", EVENT, "--at", "2030-01-01 10:00", "--where", PLACE]);
    a.ok(&["note", "new", TITLE, "--text", NOTE]);
    let content = FILE.repeat(20_000);
    fs::write(a.outside().join(FILE_NAME), &content).unwrap();
    a.ok(&["file", "add", FILE_NAME]);
    b.ok(&["wait", "--file", FILE_NAME]);
    b.ok(&["file", "get", FILE_NAME, "-o", "copy"]);

    // The other side can read all of it: so it went over the wire.
    let canaries = [&NAMES[..], &[MESSAGE, TITLE, NOTE, FILE_NAME, FILE, EVENT, PLACE]].concat();
    let mut readable = b.ok(&["chat", "history"]) + &b.ok(&["members"]) + &b.ok(&["space", "list"]);
    readable += &(b.ok(&["note", "list"]) + &b.ok(&["note", "show", TITLE]) + &b.ok(&["file", "ls"]));
    readable +=
        &(b.ok(&["cal", "agenda", "--from", "2030-01-01"]) + &fs::read_to_string(b.outside().join("copy")).unwrap());
    for canary in &canaries {
        assert!(holds(readable.as_bytes(), canary.as_bytes()), "{canary} did not arrive");
    }

    let mut checked_bytes = 0;
    let mut check = |wherever: &Path, bytes: &[u8]| {
        checked_bytes += bytes.len();
        for canary in &canaries {
            assert!(!holds(bytes, canary.as_bytes()), "{canary} can be read in {}", wherever.display());
        }
    };
    let wire = wire.lock().unwrap();
    assert!(wire.len() > content.len(), "the file went through the proxy: {} bytes", wire.len());
    check(Path::new("the recorded traffic"), &wire);
    for device in [&a, &b] {
        every_file(&device.directory(), &mut check);
    }
    drop((a_runs, b_runs));
    // And again when everything is written out.
    for device in [&a, &b] {
        every_file(&device.directory(), &mut check);
    }
    assert!(checked_bytes > 4 * content.len(), "both devices hold the file, sealed");
}
