//! A store in which something was altered: what the doctor says of it, what it mends, and what is there afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clave::{
    Error, Examination, NetworkConfig, Node, NodeConfig, NodeId, RawBatch, Scope, Space, StoreError, StoreKind,
    examine, open_store,
};

const SAFETY: Duration = Duration::from_secs(60);
const MESSAGES: usize = 30;
/// Tables whose damage takes something along that no other record of this device has: the identity, key-agreement state, keys.
const META: u8 = 1;
const ENTRIES: u8 = 2;
const CIRCLES: u8 = 3;
const CHECKPOINTS: u8 = 4;
const OPERATIONS: u8 = 6;
const DOCUMENTS: u8 = 7;
const CHANGES: u8 = 9;
const PLACES: u8 = 34;

fn config(directory: &Path) -> NodeConfig {
    NodeConfig::new(directory)
}

/// A person with something of everything.
async fn filled(directory: &Path, file: &Path) {
    let node = Node::create(config(directory), "王小明", "手机").await.expect("a new directory");
    let space = node.create_space("四月").await.expect("a space");
    for n in 0..MESSAGES {
        space.timeline().send(format!("你好 {n}")).await.expect("a message");
    }
    let note = space.create_note("会议记录.md").await.expect("a note");
    note.append_markdown("- 预算 **2027**\n").await.expect("a small text");
    space.drive().add(file, NodeId::ROOT, "计划.bin", |_| {}).await.expect("a small file");
    let circle = space.create_circle("Budget", &[], Scope::Nested).await.expect("a circle");
    circle.timeline().send("再见").await.expect("a message");
    node.shutdown().await;
}

async fn bodies(space: &Space) -> Vec<String> {
    space.timeline().history(1_000, None).await.expect("it runs").into_iter().map(|message| message.body).collect()
}

/// All of it is there.
async fn check(directory: &Path, what: &str) {
    let node = Node::open(config(directory)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let spaces = node.spaces().await.expect("it runs");
    assert_eq!(spaces.len(), 1, "{what}");
    let space = &spaces[0];
    assert_eq!(space.name().await.expect("it runs"), "四月", "{what}");
    assert_eq!(bodies(space).await, (0..MESSAGES).map(|n| format!("你好 {n}")).collect::<Vec<_>>(), "{what}");
    let notes = space.notes().await.expect("it runs");
    let note = space.note(notes[0].id).await.expect("it is listed").snapshot().await.expect("it runs");
    assert_eq!((note.title.as_str(), note.markdown.as_str()), ("会议记录.md", "- 预算 **2027**\n"), "{what}");
    assert!(space.drive().tree().await.expect("it runs").resolve("/计划.bin").is_ok(), "{what}");
    let circles = space.circles().await.expect("it runs");
    let circle = circles.iter().find(|circle| circle.name == "Budget").expect(what);
    let said = space.circle(circle.id).await.expect("it is listed").timeline().history(10, None).await;
    assert_eq!(said.expect("it runs")[0].body, "再见", "{what}");
    node.shutdown().await;
}

fn records(directory: &Path, table: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = open_store(directory, StoreKind::Redb).expect("nobody has it open");
    let mut found = Vec::new();
    let scanned = store.scan(table, &[], &[], &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        true
    });
    scanned.expect("it can be read");
    found
}

fn put(directory: &Path, table: u8, key: &[u8], value: &[u8]) {
    let store = open_store(directory, StoreKind::Redb).expect("nobody has it open");
    let mut batch = RawBatch::default();
    batch.put(table, key, value);
    store.apply(&[batch]).expect("there is room");
}

fn altered(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 0x40;
    value
}

fn look(directory: &Path) -> Examination {
    examine(&config(directory), false, |_| {}).expect("it can be looked through")
}

fn mend(directory: &Path) -> Examination {
    examine(&config(directory), true, |_| {}).expect("it can be mended")
}

/// A copy of a directory that nobody has open.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a temporary directory");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it is there");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("there is room");
        }
    }
}

#[tokio::test]
async fn what_was_altered_is_found_and_made_again_from_the_entries() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (whole, file) = (scratch.path().join("whole"), scratch.path().join("file"));
    std::fs::write(&file, vec![7; 100_000]).expect("there is room");
    filled(&whole, &file).await;
    let sound = look(&whole);
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!(sound.circles.len(), 2);
    let everybody = sound.circles.iter().map(|circle| &circle.report).max_by_key(|report| report.entries).expect("two");
    assert_eq!((everybody.name.as_deref(), everybody.documents), (Some("四月"), 3));
    assert!(everybody.changes as usize >= MESSAGES && everybody.chunks > 0 && everybody.operations > 0);

    for table in [CIRCLES, OPERATIONS, DOCUMENTS, CHANGES] {
        for (n, (key, value)) in records(&whole, table).into_iter().enumerate() {
            let what = format!("table {table}, record {n}");
            let damaged = scratch.path().join(format!("{table}-{n}"));
            copy(&whole, &damaged);
            put(&damaged, table, &key, &altered(&value));
            let found = look(&damaged);
            assert!(!found.is_sound() && found.repaired.is_none(), "{what}: {found:?}");
            assert_eq!(found.damaged.values().sum::<u64>(), 1, "{what}");
            let mended = mend(&damaged);
            assert!(mended.is_sound(), "{what}: {mended:?}");
            let repair = mended.repaired.expect("it did something");
            assert!(repair.removed >= 1 && repair.restored >= 1, "{what}: {repair:?}");
            let copies = std::fs::read_to_string(repair.copies.expect("it is named")).expect("it is there");
            assert!(copies.starts_with(&format!("{table} ")), "{what}");
            check(&damaged, &what).await;
            assert!(look(&damaged).is_sound(), "{what}, afterwards");
            std::fs::remove_dir_all(&damaged).expect("nobody has it open");
        }
    }
}

#[tokio::test]
async fn a_document_whose_snapshot_is_altered_is_made_again() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path().join("device");
    let node = Node::create(config(&directory), "Zoë", "laptop").await.expect("a new directory");
    let space = node.create_space("Team").await.expect("a space");
    let said: Vec<String> = (0..300).map(|n| format!("message {n}")).collect();
    for body in &said {
        space.timeline().send(body.as_str()).await.expect("a message");
    }
    node.shutdown().await;
    drop((space, node));
    // Loading writes the snapshot.
    let node = Node::open(config(&directory)).await.expect("it is whole");
    let space = node.spaces().await.expect("it runs").remove(0);
    assert_eq!(bodies(&space).await, said);
    space.timeline().send("one more").await.expect("a message");
    node.shutdown().await;
    drop((space, node));
    let snapshots = records(&directory, 8);
    assert_eq!(snapshots.len(), 1);
    put(&directory, 8, &snapshots[0].0, &altered(&snapshots[0].1));
    let mended = mend(&directory);
    assert!(mended.is_sound(), "{mended:?}");
    let node = Node::open(config(&directory)).await.expect("it is whole again");
    let space = node.spaces().await.expect("it runs").remove(0);
    assert_eq!(bodies(&space).await, [said, vec!["one more".to_owned()]].concat());
    node.shutdown().await;
}

fn pack(directory: &Path) -> PathBuf {
    directory.join("chunks/00000000.pack")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than a minute")
}

/// Alice, and Bob who has all of her messages and her file.
struct Two {
    scratch: tempfile::TempDir,
    alice: Node,
    hers: Space,
    file: NodeId,
}

const FILE: &str = "计划.bin";
static CONTENT: [u8; 200_000] = [9; 200_000];

impl Two {
    async fn meet() -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let source = scratch.path().join("file");
        std::fs::write(&source, CONTENT).expect("there is room");
        let alice = Node::create(online(&scratch.path().join("Alice")), "Alice", "phone").await;
        let alice = alice.expect("a new directory");
        let bob = Node::create(online(&scratch.path().join("Bob")), "Bob", "phone").await.expect("a new directory");
        within(alice.listening()).await.expect("it runs");
        let hers = alice.create_space("Team").await.expect("a space");
        let link = hers.invite(Duration::from_secs(3600)).await.expect("an invitation");
        let his = within(bob.join(&link, SAFETY)).await.expect("the link is good");
        for n in 0..10 {
            hers.timeline().send(format!("你好 {n}")).await.expect("a message");
        }
        let file = hers.drive().add(&source, NodeId::ROOT, FILE, |_| {}).await.expect("a small file");
        until(&his, 10).await;
        let two = Self { scratch, alice, hers, file };
        within(async {
            while his.drive().file(file).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        two.fetch(&his).await;
        bob.shutdown().await;
        two
    }

    fn bobs(&self) -> PathBuf {
        self.scratch.path().join("Bob")
    }

    async fn fetch(&self, his: &Space) {
        let target = self.scratch.path().join("copy");
        within(his.drive().get(self.file, &target, |_| {})).await.expect("Alice has it");
        assert_eq!(std::fs::read(&target).expect("it is there"), CONTENT);
        std::fs::remove_file(&target).expect("it is there");
    }
}

fn online(directory: &Path) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config(directory).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

async fn until(space: &Space, count: usize) {
    within(async {
        while bodies(space).await.len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_comes_again_from_others() {
    let two = Two::meet().await;
    let bobs = two.bobs();
    let entries = records(&bobs, ENTRIES);
    for (key, value) in &entries {
        put(&bobs, ENTRIES, key, &altered(value));
    }
    let found = look(&bobs);
    assert_eq!(found.damaged.values().sum::<u64>(), entries.len() as u64);
    let whole = std::fs::read(pack(&bobs)).expect("it is there");
    std::fs::write(pack(&bobs), altered(&whole)).expect("there is room");
    let mended = mend(&bobs);
    assert!(mended.is_sound(), "{mended:?}");
    assert!(records(&bobs, ENTRIES).is_empty());

    let bob = Node::open(online(&bobs)).await.expect("it is whole");
    let his = bob.spaces().await.expect("it runs").remove(0);
    assert_eq!(bodies(&his).await.len(), 10, "what the entries led to is here");
    two.fetch(&his).await;
    two.hers.timeline().send("later").await.expect("a message");
    until(&his, 11).await;
    bob.shutdown().await;
    two.alice.shutdown().await;
    let again = records(&bobs, ENTRIES);
    let missing: Vec<_> = entries.iter().filter(|(key, _)| !again.iter().any(|(again, _)| again == key)).collect();
    assert_eq!(missing.len(), 0, "of {} entries, the others came again", entries.len());
    let after = look(&bobs);
    assert!(after.is_sound(), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_damaged_are_taken_out_and_fetched_again() {
    let two = Two::meet().await;
    let bobs = two.bobs();
    let places = records(&bobs, PLACES).len();
    assert!(places >= 2 && look(&bobs).is_sound());
    let damage: [(&str, &dyn Fn()); 4] = [
        ("bytes", &|| {
            let whole = std::fs::read(pack(&bobs)).expect("it is there");
            std::fs::write(pack(&bobs), whole.iter().map(|byte| byte ^ 0x40).collect::<Vec<_>>())
                .expect("there is room");
        }),
        ("a pack cut short", &|| {
            let file = std::fs::File::options().write(true).open(pack(&bobs)).expect("it is there");
            file.set_len(3).expect("there is room");
        }),
        ("a lost pack", &|| std::fs::remove_file(pack(&bobs)).expect("it is there")),
        ("places", &|| {
            for (key, value) in records(&bobs, PLACES) {
                put(&bobs, PLACES, &key, &altered(&value));
            }
        }),
    ];
    for (what, damage) in damage {
        damage();
        let found = look(&bobs);
        let findings: usize = found.circles.iter().map(|circle| circle.report.findings.len()).sum();
        assert_eq!(found.damaged.values().sum::<u64>() as usize + findings, places, "{what}: {found:?}");
        let mended = mend(&bobs);
        assert!(mended.is_sound(), "{what}: {mended:?}");
        assert_eq!(mended.repaired.expect("it did something").removed as usize, places, "{what}");
        assert!(records(&bobs, PLACES).is_empty(), "{what}");
        let bob = Node::open(online(&bobs)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let his = bob.spaces().await.expect("it runs").remove(0);
        two.fetch(&his).await;
        bob.shutdown().await;
        drop((his, bob));
        assert_eq!(records(&bobs, PLACES).len(), places, "{what}");
        let after = look(&bobs);
        assert!(after.is_sound() && after.unused_packs.is_empty(), "{what}: {after:?}");
    }
    two.alice.shutdown().await;
}

#[tokio::test]
async fn packs_that_nobody_refers_to_are_said_and_a_collection_removes_them() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (directory, file) = (scratch.path().join("device"), scratch.path().join("file"));
    std::fs::write(&file, vec![7; 100_000]).expect("there is room");
    filled(&directory, &file).await;
    let unused = directory.join("chunks/00000007.pack");
    std::fs::write(&unused, [1; 5_000]).expect("there is room");
    let found = mend(&directory);
    assert!(found.is_sound() && found.repaired.is_none(), "{found:?}");
    assert_eq!(found.unused_packs.into_iter().collect::<Vec<_>>(), [(7, 5_000)]);
    let node = Node::open(config(&directory)).await.expect("it is whole");
    node.spaces().await.expect("it runs")[0].drive().collect(None).await.expect("there is room");
    node.shutdown().await;
    assert!(!unused.exists());
    assert!(look(&directory).unused_packs.is_empty());
}

#[tokio::test]
async fn what_nothing_can_make_again_is_left_and_said() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (whole, file) = (scratch.path().join("whole"), scratch.path().join("file"));
    std::fs::write(&file, b"a plan").expect("there is room");
    filled(&whole, &file).await;
    let identity = records(&whole, META);
    let before: Vec<_> = (1..=25).map(|table| records(&whole, table)).collect();
    put(&whole, META, &identity[0].0, &altered(&identity[0].1));
    let found = mend(&whole);
    assert!(!found.is_sound() && !found.identity && found.unopened.is_some() && found.repaired.is_none());
    put(&whole, META, &identity[0].0, &identity[0].1);
    assert_eq!((1..=25).map(|table| records(&whole, table)).collect::<Vec<_>>(), before, "nothing was touched");

    // Without the key-agreement state of a circle it cannot be opened; the rest is still there to be read by another version.
    for (key, value) in records(&whole, CHECKPOINTS) {
        put(&whole, CHECKPOINTS, &key, &altered(&value));
    }
    let found = mend(&whole);
    assert!(!found.is_sound() && found.unopened.is_some(), "{found:?}");
    assert!(found.repaired.expect("they were taken out").copies.expect("and copied").exists());
}

#[test]
fn a_directory_that_cannot_be_examined_says_why() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let error = examine(&config(scratch.path()), false, |_| {}).expect_err("there is nothing");
    assert!(matches!(error, Error::NoIdentity), "{error}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = scratch.path().join("device");
    let node = runtime.block_on(Node::create(config(&directory), "Zoë", "laptop")).expect("a new directory");
    let error = examine(&config(&directory), false, |_| {}).expect_err("it is in use");
    assert!(matches!(error, Error::Store(StoreError::Busy { .. })), "{error}");
    runtime.block_on(node.shutdown());
    std::fs::write(directory.join("store/clave.redb"), vec![b'x'; 50_000]).expect("there is room");
    let error = examine(&config(&directory), false, |_| {}).expect_err("it is no database");
    assert!(matches!(error, Error::Store(StoreError::Damaged)), "{error}");
}
