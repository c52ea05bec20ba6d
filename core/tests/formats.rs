//! Data directories that earlier versions left behind open, with everything in them; `fixtures/format-N/KIND` has one of each
//! format and kind, every file compressed. `CLAVE_WRITE_FIXTURES=1` writes those of the present format, if there are none.

#![allow(clippy::unwrap_used)] // The lint knows test functions, not the functions that they share.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clave::{Error, Node, NodeConfig, NodeId, STORE_FORMAT, StoreError, StoreKind, examine};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

const KINDS: [StoreKind; 2] = [StoreKind::Redb, StoreKind::Sled];
/// What is only there while somebody has the directory.
const PASSING: [&str; 2] = ["lock", "holder"];
const ICS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:a@b\r\n\
                   DTSTAMP:20261122T100000Z\r\nDTSTART:20261123T140000Z\r\nSUMMARY:会议\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn fixture(format: u32, kind: StoreKind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}/{kind}"))
}

fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match name.strip_suffix(".gz") {
            Some(name) => {
                let mut packed = GzDecoder::new(File::open(entry.path()).unwrap());
                io::copy(&mut packed, &mut File::create(to.join(name)).unwrap()).unwrap();
            }
            None => unpack(&entry.path(), &to.join(name)),
        }
    }
}

fn pack(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            pack(&entry.path(), &to.join(name));
        } else if !PASSING.contains(&name.as_str()) {
            fs::create_dir_all(to).unwrap();
            let file = BufWriter::new(File::create(to.join(format!("{name}.gz"))).unwrap());
            let mut packed = GzEncoder::new(file, Compression::best());
            io::copy(&mut File::open(entry.path()).unwrap(), &mut packed).unwrap();
            packed.finish().unwrap();
        }
    }
}

fn config(directory: &Path, kind: StoreKind) -> NodeConfig {
    NodeConfig { store: kind, ..NodeConfig::new(directory) }
}

async fn write(directory: &Path, kind: StoreKind) {
    let node = Node::create(config(directory, kind), "王小明", "手机").await.unwrap();
    let space = node.create_space("四月").await.unwrap();
    let first = space.timeline().send("你好").await.unwrap();
    space.timeline().send("second").await.unwrap();
    space.timeline().react(first, "👍", true).await.unwrap();
    let note = space.create_note("会议记录.md").await.unwrap();
    note.append_markdown("- 预算 **2027**\n").await.unwrap();
    space.calendar().import_ics(ICS).await.unwrap();
    let file = directory.with_extension("file");
    fs::write(&file, "a plan").unwrap();
    space.drive().add(&file, NodeId::ROOT, "计划.txt", |_| {}).await.unwrap();
    space.create_circle("Budget", &[], clave::Scope::Nested).await.unwrap().timeline().send("再见").await.unwrap();
    node.shutdown().await;
}

async fn check(directory: &Path, kind: StoreKind) {
    let node = Node::open(config(directory, kind)).await.unwrap();
    assert_eq!((node.profile().person_name.as_str(), node.profile().device_name.as_str()), ("王小明", "手机"));
    let space = node.spaces().await.unwrap().remove(0);
    assert_eq!(space.name().await.unwrap(), "四月");
    let messages = space.timeline().history(10, None).await.unwrap();
    assert_eq!(messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["你好", "second"]);
    assert_eq!(messages[0].reactions[0].0, "👍");
    let note = space.notes().await.unwrap().remove(0);
    assert_eq!(space.note(note.id).await.unwrap().snapshot().await.unwrap().markdown, "- 预算 **2027**\n");
    assert_eq!(space.calendar().events().await.unwrap().len(), 1);
    let file = space.drive().tree().await.unwrap().resolve("/计划.txt").unwrap();
    let copy = directory.with_extension("copy");
    space.drive().get(file, &copy, |_| {}).await.unwrap();
    assert_eq!(fs::read_to_string(copy).unwrap(), "a plan");
    let circle = space.circles().await.unwrap().into_iter().find(|circle| circle.name == "Budget").unwrap();
    let circle = space.circle(circle.id).await.unwrap();
    assert_eq!(circle.timeline().history(10, None).await.unwrap()[0].body, "再见");
    circle.timeline().send("it goes on").await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn every_format_so_far_opens_with_everything_in_it() {
    for kind in KINDS {
        for format in 1..=STORE_FORMAT {
            let packed = fixture(format, kind);
            if !packed.exists() && format == STORE_FORMAT && std::env::var_os("CLAVE_WRITE_FIXTURES").is_some() {
                let scratch = tempfile::tempdir().unwrap();
                let directory = scratch.path().join("device");
                write(&directory, kind).await;
                pack(&directory, &packed);
            }
            assert!(packed.exists(), "{}: write it with CLAVE_WRITE_FIXTURES=1", packed.display());
            let scratch = tempfile::tempdir().unwrap();
            let directory = scratch.path().join("device");
            unpack(&packed, &directory);
            check(&directory, kind).await;
            let record = fs::read_to_string(directory.join("store/format")).unwrap();
            assert_eq!(record, format!("clave store\nformat {STORE_FORMAT}\nkind {kind}\n"), "it was migrated");
            let examined = examine(&config(&directory, kind), false, |_| {}).unwrap();
            assert!(examined.is_sound(), "format {format}, {kind}: {examined:?}");
        }
    }
}

#[tokio::test]
async fn a_format_of_a_later_version_is_refused_and_left_alone() {
    for kind in KINDS {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("device");
        unpack(&fixture(1, kind), &directory);
        let later = format!("clave store\nformat {}\nkind {kind}\n", STORE_FORMAT + 1);
        fs::write(directory.join("store/format"), &later).unwrap();
        let error = Node::open(config(&directory, kind)).await.err().unwrap();
        assert!(matches!(error, Error::Store(StoreError::TooNew { .. })), "{error}");
        assert!(error.to_string().contains("update Clave") && !error.is_retryable(), "{error}");
        assert_eq!(fs::read_to_string(directory.join("store/format")).unwrap(), later);
        fs::write(directory.join("store/format"), format!("clave store\nformat 1\nkind {kind}\n")).unwrap();
        check(&directory, kind).await;
    }
}
