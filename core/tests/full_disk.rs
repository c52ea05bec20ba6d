//! A disk that is full, under a whole device, with so much room left and so much: what was acknowledged stays, the error
//! says what to do, and with room it goes on.
//!
//! Here the disk is full by a limit on the size of files, in a process of its own. `scripts/disk-full.sh` names a small file
//! system in `CLAVE_TEST_FULL_DISK`, which is then really full.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // The lint knows test functions, not the functions that they share.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, iter};

use clave::{Error, Node, NodeConfig, NodeId, Space, StoreError, StoreKind};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::TempDir;

const DIRECTORY_VARIABLE: &str = "CLAVE_TEST_FULL_NODE_DIRECTORY";
const KIND_VARIABLE: &str = "CLAVE_TEST_FULL_NODE_KIND";
const DISK_VARIABLE: &str = "CLAVE_TEST_FULL_DISK";
/// How much room is left, from nothing on, in steps of this.
const STEP_BYTES: u64 = 12 << 10;
const STEPS: u64 = 24;
/// What a person does at most before there is room again.
const ACTS_MAX: u32 = 24;
const FILE_BYTES: usize = 250_000;
const SAFETY: Duration = Duration::from_secs(120);

#[test]
fn redb_under_a_device_survives_a_full_disk() {
    survives(StoreKind::Redb);
}

#[test]
fn sled_under_a_device_survives_a_full_disk() {
    survives(StoreKind::Sled);
}

fn survives(kind: StoreKind) {
    let parent = env::var_os(DISK_VARIABLE).map_or_else(env::temp_dir, PathBuf::from);
    let directory = TempDir::new_in(parent).unwrap();
    // The limit comes with a signal that kills, unless it is ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY_VARIABLE, directory.path())
        .env(KIND_VARIABLE, kind.name())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let full = said.split_once("FULL ").and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
    assert!(full.is_some_and(|full| full >= STEPS / 2), "the disk was hardly ever full: {said}");
}

/// The process with the full disk. Does nothing when run as a test.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "its parent reads it")]
async fn child() {
    let (Ok(directory), Ok(kind)) = (env::var(DIRECTORY_VARIABLE), env::var(KIND_VARIABLE)) else { return };
    let config = || NodeConfig { store: kind.parse().unwrap(), ..NodeConfig::new(Path::new(&directory).join("data")) };
    let disk = Disk::new(Path::new(&directory));
    let outside = TempDir::new().unwrap();
    let file = outside.path().join("plan");
    let node = Node::create(config(), "王小明", "手机").await.unwrap();
    let space = node.create_space("四月").await.unwrap();
    let (mut said, mut full) = (Vec::new(), 0);
    for step in 0..STEPS {
        disk.leave(step * STEP_BYTES);
        full += u64::from(tokio::time::timeout(SAFETY, work(&space, &file, &mut said)).await.unwrap());
        disk.lift();
        let body = format!("there is room {step}");
        // Something of the device's own that was on its way to the full disk may yet take the first message down with it.
        if let Err(error) = space.timeline().send(body.as_str()).await {
            assert!(full_disk(&error), "{error:?}");
            space.timeline().send(body.as_str()).await.unwrap();
        }
        said.push(body);
        assert_eq!(missing(&space, &said).await, Vec::<String>::new(), "with {step} steps of room");
    }
    node.shutdown().await;
    drop((space, node));
    let node = Node::open(config()).await.unwrap();
    let space = node.spaces().await.unwrap().remove(0);
    assert_eq!(missing(&space, &said).await, Vec::<String>::new(), "opened again");
    let named = space.drive().tree().await.unwrap();
    for said in said.iter().filter_map(|said| said.strip_prefix("file ")) {
        let copy = outside.path().join("copy");
        space.drive().get(named.resolve(&format!("/{said}")).unwrap(), &copy, |_| {}).await.unwrap();
        assert_eq!(fs::read(copy).unwrap(), content(said), "{said}");
    }
    node.shutdown().await;
    println!("FULL {full} of {STEPS} times, {} things kept", said.len());
}

/// Talks and adds files, until the disk is full or that is enough. What was acknowledged goes into `said`. Whether it was full.
async fn work(space: &Space, file: &Path, said: &mut Vec<String>) -> bool {
    for act in 0..ACTS_MAX {
        let name = format!("文件 {} {act}", said.len());
        let (body, done) = if act % 3 == 2 {
            fs::write(file, content(&name)).unwrap();
            (format!("file {name}"), space.drive().add(file, NodeId::ROOT, &name, |_| {}).await.map(drop))
        } else {
            let body = format!("{name} {}", "你好".repeat(500));
            (body.clone(), space.timeline().send(body).await.map(drop))
        };
        match done {
            Ok(()) => said.push(body),
            Err(error) => {
                assert!(full_disk(&error), "{error:?}");
                assert!(error.to_string().contains("free some space") && error.is_retryable(), "{error}");
                // And what is there can be read, while it is full.
                assert_eq!(missing(space, said).await, Vec::<String>::new());
                return true;
            }
        }
    }
    false
}

fn full_disk(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::OutOfSpace))
}

/// What was acknowledged and is not here.
async fn missing(space: &Space, said: &[String]) -> Vec<String> {
    let history = space.timeline().history(usize::MAX, None).await;
    let history = match history {
        Ok(history) => history,
        // A database that closed itself over a full disk may need room to open.
        Err(error) if full_disk(&error) => {
            assert!(error.is_retryable());
            return Vec::new();
        }
        Err(error) => panic!("{error}"),
    };
    let tree = space.drive().tree().await.unwrap();
    let here = |said: &&String| match said.strip_prefix("file ") {
        Some(name) => tree.resolve(&format!("/{name}")).is_ok(),
        None => history.iter().any(|message| message.body == **said),
    };
    said.iter().filter(|said| !here(said)).cloned().collect()
}

/// Bytes that no compression and no deduplication makes fewer.
fn content(name: &str) -> Vec<u8> {
    let mut state = name.bytes().fold(1_u64, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte)));
    iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(FILE_BYTES)
    .collect()
}

/// How a disk comes to be full.
enum Disk {
    /// No file may grow beyond what the largest is, and a little.
    Limit(PathBuf),
    /// A file takes the room on a file system of its own.
    Ballast(PathBuf),
}

impl Disk {
    fn new(directory: &Path) -> Self {
        match env::var_os(DISK_VARIABLE) {
            Some(_) => Self::Ballast(directory.join("ballast")),
            None => Self::Limit(directory.join("data")),
        }
    }

    fn leave(&self, bytes: u64) {
        match self {
            Self::Limit(directory) => {
                let maximum = largest(directory) + bytes;
                setrlimit(Resource::Fsize, Rlimit { current: Some(maximum), maximum: None }).unwrap();
            }
            Self::Ballast(path) => {
                let mut file = File::create(path).unwrap();
                while file.write_all(&[7; 4096]).is_ok() {}
                let all = file.metadata().unwrap().len();
                file.set_len(all.saturating_sub(bytes)).unwrap();
            }
        }
    }

    fn lift(&self) {
        match self {
            Self::Limit(_) => setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap(),
            Self::Ballast(path) => fs::remove_file(path).unwrap(),
        }
    }
}

fn largest(directory: &Path) -> u64 {
    let mut found = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        found = found.max(if metadata.is_dir() { largest(&entry.path()) } else { metadata.len() });
    }
    found
}
