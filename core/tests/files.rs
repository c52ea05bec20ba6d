//! Files over real nodes: sources that come and go, kills, versions, space.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clave::{EngineError, Error, NetworkConfig, NewFile, Node, NodeConfig, NodeId, Space};
use clave_engine::crypto::Entropy;

const SAFETY: Duration = Duration::from_secs(120);
const DIRECTORY_VARIABLE: &str = "CLAVE_TEST_FILES_DIRECTORY";

fn config(directory: &Path) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

async fn device(directory: &Path, name: &str) -> Node {
    let node = Node::create(config(&directory.join(name)), name, "laptop").await.expect("a new directory");
    node.listening().await.expect("loopback is there");
    node
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SAFETY, future).await.expect("it takes far less than two minutes")
}

fn content(bytes: usize, seed: u8) -> Vec<u8> {
    let mut content = vec![0; bytes];
    Entropy::from_seed([seed; 32]).fill(&mut content);
    content
}

fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a writable directory");
    path
}

async fn has_file(space: &Space, node: NodeId) {
    while space.drive().file(node).await.is_err() {
        tokio::task::yield_now().await;
    }
}

async fn invited(space: &Space, node: &Node) -> Space {
    let link = space.invite(Duration::from_secs(3600)).await.expect("an invitation");
    within(node.join(&link, SAFETY)).await.expect("the link is good")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_sources_leaves_in_the_middle() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let (alice, bob, carol) = (
        device(directory.path(), "Alice").await,
        device(directory.path(), "小波").await,
        device(directory.path(), "Carol").await,
    );
    let hers = alice.create_space("团队").await.expect("a space");
    let content = content(60_000_000, 1);
    let node = hers.drive().add(&file(directory.path(), "大.bin", &content), NodeId::ROOT, "大.bin", |_| {}).await;
    let node = node.expect("a readable file");
    let carols = invited(&hers, &carol).await;
    within(has_file(&carols, node)).await;
    within(carols.drive().get(node, &at("carol"), |_| {})).await.expect("Alice has it");
    let his = invited(&hers, &bob).await;
    within(has_file(&his, node)).await;
    within(async {
        while bob.status().await.expect("it runs").peers.len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (halfway, reached) = tokio::sync::oneshot::channel();
    let mut halfway = Some(halfway);
    let leaving = tokio::spawn(async move {
        reached.await.expect("it comes that far");
        alice.shutdown().await;
    });
    let (drive, destination) = (his.drive(), at("bob"));
    let got = within(drive.get(node, &destination, |progress| {
        if progress.done_bytes * 2 > progress.total_bytes
            && let Some(halfway) = halfway.take()
        {
            let _ = halfway.send(());
        }
    }));
    got.await.expect("Carol has it too");
    leaving.await.expect("she left");
    assert!(std::fs::read(at("bob")).expect("it was written") == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_get_brought_is_not_brought_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("Team").await.expect("a space");
    let bytes = 60_000_000;
    let content = content(bytes, 2);
    let node = hers.drive().add(&file(directory.path(), "a.bin", &content), NodeId::ROOT, "a.bin", |_| {}).await;
    let node = node.expect("a readable file");
    let his = invited(&hers, &bob).await;
    within(has_file(&his, node)).await;
    let destination = directory.path().join("copy");
    let (far, reached) = tokio::sync::oneshot::channel();
    let mut far = Some(far);
    let drive = his.drive();
    tokio::select! {
        _ = drive.get(node, &destination, |progress| {
            if progress.done_bytes * 3 > progress.total_bytes && let Some(far) = far.take() {
                let _ = far.send(());
            }
        }) => panic!("it was not cancelled"),
        _ = reached => {}
    }
    assert!(!destination.exists());
    bob.shutdown().await;
    let bob = Node::open(config(&directory.path().join("Bob"))).await.expect("it was shut down");
    let his = bob.space(his.id()).await.expect("he is in it");
    let had = his.drive().usage().await.expect("it runs").bytes;
    assert!(had > bytes as u64 / 3, "{had}");
    within(his.drive().get(node, &destination, |_| {})).await.expect("Alice has it");
    assert!(std::fs::read(&destination).expect("it was written") == content);
    let received = bob.status().await.expect("it runs").received_bytes;
    assert!(received + had < bytes as u64 * 21 / 20, "{received} came again, {had} were here");
}

/// The process that is killed while it fetches. Does nothing when run as a test.
#[tokio::test(flavor = "multi_thread")]
async fn fetching_child() {
    let Ok(directory) = env::var(DIRECTORY_VARIABLE) else { return };
    let directory = PathBuf::from(directory);
    let bob = Node::open(config(&directory.join("Bob"))).await.expect("it was shut down");
    let space = bob.spaces().await.expect("it runs").remove(0);
    let node = space.drive().tree().await.expect("it runs").files().next().expect("it is there").id;
    let _ = space.drive().get(node, &directory.join("killed"), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_before_a_kill_is_not_fetched_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("Team").await.expect("a space");
    let bytes = 100_000_000;
    let content = content(bytes, 3);
    let node = hers.drive().add(&file(directory.path(), "a.bin", &content), NodeId::ROOT, "a.bin", |_| {}).await;
    let node = node.expect("a readable file");
    let his = invited(&hers, &bob).await;
    within(has_file(&his, node)).await;
    bob.shutdown().await;

    let mut child = Command::new(env::current_exe().expect("it runs"));
    child.args(["--exact", "fetching_child", "--nocapture"]).env(DIRECTORY_VARIABLE, directory.path());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be run");
    let chunks = directory.path().join("Bob/chunks");
    let stored = || -> u64 {
        std::fs::read_dir(&chunks)
            .map_or(0, |packs| packs.flatten().filter_map(|pack| Some(pack.metadata().ok()?.len())).sum())
    };
    let started = Instant::now();
    while stored() < 20_000_000 {
        assert!(started.elapsed() < SAFETY, "nothing comes");
        std::thread::yield_now();
    }
    child.kill().expect("it is a child");
    child.wait().expect("it is a child");

    let bob = Node::open(config(&directory.path().join("Bob"))).await.expect("a kill loses nothing");
    let his = bob.space(his.id()).await.expect("he is in it");
    let had = his.drive().usage().await.expect("it runs").bytes;
    assert!(had > 5_000_000, "{had}");
    let destination = directory.path().join("copy");
    within(his.drive().get(node, &destination, |_| {})).await.expect("Alice has it");
    assert!(std::fs::read(&destination).expect("it was written") == content);
    let received = bob.status().await.expect("it runs").received_bytes;
    assert!(received + had < bytes as u64 * 21 / 20, "{received} came again, {had} were here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_over_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("Team").await.expect("a space");
    let folder = directory.path().join("文件夹");
    std::fs::create_dir_all(folder.join("会议/空")).expect("a writable directory");
    for n in 0..300_u32 {
        file(&folder, &format!("记录{n}.md"), n.to_string().repeat(n as usize).as_bytes());
    }
    file(&folder.join("会议"), "大.bin", &content(3_000_000, 4));
    let mut last = clave::Progress { done_bytes: 0, total_bytes: 0 };
    let added = hers.drive().add_folder(&folder, NodeId::ROOT, "文件夹", |progress| last = progress).await;
    assert_eq!(added.expect("a readable folder").len(), 301);
    assert_eq!(last.done_bytes, last.total_bytes);

    let his = invited(&hers, &bob).await;
    let top = within(async {
        loop {
            if let Ok(top) = his.drive().tree().await.expect("it runs").resolve("/文件夹/会议/大.bin") {
                break top;
            }
            tokio::task::yield_now().await;
        }
    });
    top.await;
    let tree = his.drive().tree().await.expect("it runs");
    let top = tree.resolve("/文件夹").expect("it came");
    let shown = |nodes: Vec<clave::DriveNode>| nodes.into_iter().map(|node| node.id).collect::<Vec<_>>();
    let listed = shown(his.drive().list(top).await.expect("it is a folder"));
    assert_eq!(listed, shown(tree.list(top).expect("it is a folder").into_iter().cloned().collect()));
    assert_eq!(listed.len(), 301);
    let large = his.drive().resolve("/文件夹/会议/大.bin").await.expect("it is there").expect("it is not the root");
    assert_eq!(Some(&large), tree.node(large.id));
    assert!(matches!(his.drive().resolve("/文件夹/会议/小.bin").await, Err(clave::Error::NotFound(_))));
    assert!(his.drive().list(large.id).await.is_err(), "a file is no folder");
    let copy = directory.path().join("copy");
    let count = within(his.drive().get_folder(top, &copy, |_| {})).await.expect("Alice has it");
    assert_eq!(count, 301);
    for n in 0..300_u32 {
        let name = format!("记录{n}.md");
        assert_eq!(
            std::fs::read(copy.join(&name)).expect("it was written"),
            n.to_string().repeat(n as usize).as_bytes()
        );
    }
    assert!(std::fs::read(copy.join("会议/大.bin")).expect("it was written") == content(3_000_000, 4));
    assert_eq!(std::fs::read_dir(&copy).expect("a folder").count(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_content_takes_space_once_and_old_versions_come_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("Team").await.expect("a space");
    let drive = hers.drive();
    let first = content(8_000_000, 5);
    let path = file(directory.path(), "a.bin", &first);
    let node = drive.add(&path, NodeId::ROOT, "报告.bin", |_| {}).await.expect("a readable file");
    let used = drive.usage().await.expect("it runs").bytes;
    drive.add(&path, NodeId::ROOT, "copy.bin", |_| {}).await.expect("a readable file");
    assert_eq!(drive.usage().await.expect("it runs").bytes, used);

    let mut second = first.clone();
    second.splice(4_000_000..4_000_000, *b"inserted");
    let path = file(directory.path(), "a.bin", &second);
    assert_eq!(drive.add(&path, NodeId::ROOT, "报告.bin", |_| {}).await.expect("a readable file"), node);
    let with_second = drive.usage().await.expect("it runs").bytes;
    assert!(with_second > used && with_second < used + 3_000_000, "{used}, then {with_second}");

    let versions = drive.versions(node).await.expect("it is there");
    assert_eq!(versions.len(), 2);
    let old = directory.path().join("old");
    drive.get_version(&versions[1].file, &old, |_| {}).await.expect("it is here");
    assert!(std::fs::read(&old).expect("it was written") == first);

    // Bob keeps all of it; Alice does without what the copy does not need either.
    let his = invited(&hers, &bob).await;
    within(has_file(&his, node)).await;
    within(his.drive().get_version(&versions[1].file, &old, |_| {})).await.expect("Alice has it");
    let copy = drive.tree().await.expect("it runs").resolve("/copy.bin").expect("it is there");
    let third = file(directory.path(), "c.bin", &content(100_000, 6));
    drive.add(&third, NodeId::ROOT, "copy.bin", |_| {}).await.expect("a readable file");
    drive.restore_version(copy, &versions[0].file).await.expect("it is there");
    assert_eq!(drive.collect_older(None, 0).await.expect("it runs").removed.chunks, 0);
    // What is on its way to Bob still goes with a later collection.
    let removed = within(async {
        loop {
            let removed = drive.collect_older(Some(1), 0).await.expect("it runs").removed;
            if removed.chunks > 0 {
                break removed;
            }
        }
    });
    let removed = removed.await;
    assert!(removed.bytes < 4_000_000, "{removed:?}");
    within(drive.get_version(&versions[1].file, &old, |_| {})).await.expect("Bob has it");
    assert!(std::fs::read(&old).expect("it was written") == first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_says_what_to_do_and_space_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alice = device(directory.path(), "Alice").await;
    let hers = alice.create_space("Team").await.expect("a space");
    let drive = hers.drive();
    drive.set_quota(Some(5_000_000)).await.expect("it runs");
    let small = file(directory.path(), "small", &content(1_000_000, 7));
    let node = drive.add(&small, NodeId::ROOT, "small", |_| {}).await.expect("there is room");
    let large = file(directory.path(), "large", &content(20_000_000, 8));
    let refused = drive.add(&large, NodeId::ROOT, "large", |_| {}).await.expect_err("there is no room");
    assert!(matches!(refused, Error::Engine(EngineError::QuotaReached { quota_bytes: 5_000_000, .. })), "{refused}");
    assert!(refused.to_string().contains("raise the quota"));
    assert_eq!(drive.tree().await.expect("it runs").files().count(), 1);
    // What was stored before it was refused goes, and nothing else.
    // Some of it may be on its way to the disk still, and goes with a later collection.
    within(async {
        while drive.usage().await.expect("it runs").bytes >= 1_300_000 {
            drive.collect_older(None, 0).await.expect("it runs");
        }
    })
    .await;
    drive.get(node, &directory.path().join("copy"), |_| {}).await.expect("it is here");
    drive.set_quota(None).await.expect("it runs");
    let added = vec![NewFile { source: large, folder: NodeId::ROOT, name: "large".to_owned() }];
    drive.add_all(added, |_| {}).await.expect("there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_there_offline_and_large_ones_are_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (alice, bob) = (device(directory.path(), "Alice").await, device(directory.path(), "Bob").await);
    let hers = alice.create_space("Team").await.expect("a space");
    let his = invited(&hers, &bob).await;
    bob.fetch_small_files(1_000_000);
    let mut events = bob.events();
    let drive = hers.drive();
    let small = drive.add(&file(directory.path(), "会议记录.md", b"small"), NodeId::ROOT, "会议记录.md", |_| {}).await;
    let large = drive.add(&file(directory.path(), "b", &content(2_000_000, 9)), NodeId::ROOT, "b", |_| {}).await;
    let (small, large) = (small.expect("a readable file"), large.expect("a readable file"));
    within(async { while !matches!(events.recv().await, Ok(clave::Event::Fetched { .. })) {} }).await;
    within(has_file(&his, large)).await;
    alice.shutdown().await;
    let copy = directory.path().join("copy");
    within(his.drive().get(small, &copy, |_| {})).await.expect("it is here");
    assert_eq!(std::fs::read(&copy).expect("it was written"), b"small");
    let drive = his.drive();
    let waits = tokio::time::timeout(Duration::from_millis(300), drive.get(large, &copy, |_| {}));
    assert!(waits.await.is_err());
}
