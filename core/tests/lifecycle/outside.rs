//! What another process sees of one that is paused: its open files, locks, sockets and threads, as the system tells.

#![allow(clippy::print_stdout, reason = "the two processes talk by it")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::*;

const DIRECTORY: &str = "CLAVE_LIFECYCLE_DIRECTORY";
/// Before each line that is meant for the parent: the test harness writes there, too.
const SAYS: &str = "@ ";

/// The other process. Its runtime is its own: what is called `host` there is not the node's.
#[test]
fn the_other_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let host = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("host").enable_all().build();
    let host = host.unwrap();
    let (say, mut lines) = (|text: &str| println!("\n{SAYS}{text}"), std::io::stdin().lines());
    let mut hear = move || lines.next().expect("the parent says when it is over").unwrap();
    say("begun");
    let link = hear();
    let node = host.block_on(Node::create(config_in(Path::new(&directory)), "小波", "手机")).unwrap();
    let space = host.block_on(node.join(&link.parse().unwrap(), SAFETY)).unwrap();
    let mut shown = Shown(space.timeline().observe(100), Vec::new());
    host.block_on(shown.until(|bodies| !bodies.is_empty()));
    say("running");
    loop {
        match hear().as_str() {
            "pause" => {
                host.block_on(node.pause()).unwrap();
                say(&format!("paused {}", host.metrics().num_alive_tasks()));
            }
            "resume" => match host.block_on(node.resume()) {
                Ok(()) => say("resumed"),
                Err(error) => say(&format!("{} {}", error.code(), error.is_retryable())),
            },
            "shut down" => {
                host.block_on(node.shutdown());
                say(&format!("shut down {}", host.metrics().num_alive_tasks()));
            }
            "end" => return,
            wanted => {
                host.block_on(shown.until(|bodies| bodies.iter().any(|body| body == wanted)));
                say("shown");
            }
        }
    }
}

fn config_in(directory: &Path) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

struct Other {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Other {
    fn begin(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outside::the_other_process", "--nocapture", "--test-threads", "1"])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, to, from }
    }

    fn heard(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "the other process ended");
            if let Some(said) = line.trim_end().strip_prefix(SAYS) {
                return said.to_owned();
            }
        }
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.to, "{what}").unwrap();
        self.heard()
    }

    fn proc(&self, what: &str) -> std::path::PathBuf {
        format!("/proc/{}/{what}", self.process.id()).into()
    }

    /// Where its open files lead.
    fn open_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.proc("fd")).unwrap().flatten();
        entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
    }

    fn sockets(&self) -> usize {
        self.open_files().iter().filter(|target| target.starts_with("socket:")).count()
    }

    /// Its threads, but for the host's.
    fn threads(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.proc("task")).unwrap().flatten();
        let named = entries.filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            (name.trim_end() != "host").then(|| format!("{} {name}", entry.file_name().display()))
        });
        named.collect()
    }

    /// How many locks it holds on files of any kind.
    fn locks(&self) -> usize {
        let all = fs::read_to_string("/proc/locks").unwrap();
        let process = self.process.id().to_string();
        all.lines().filter(|line| line.split_whitespace().any(|word| word == process)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_held_after_a_pause_and_a_second_process_opens_the_store_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("bob");
    let alice = Node::create(config(&directory, "alice"), "Alice", "laptop").await.unwrap();
    alice.listening().await.unwrap();
    let space = alice.create_space("团队").await.unwrap();
    space.timeline().send("你好").await.unwrap();

    let mut other = Other::begin(&theirs);
    assert_eq!(other.heard(), "begun");
    let (threads, sockets) = (other.threads(), other.sockets());
    assert_eq!(other.ask(&space.invite(SAFETY).await.unwrap().to_string()), "running");
    assert!(other.locks() > 0 && other.sockets() > sockets && other.threads().len() > threads.len(), "it would show");
    let busy = Node::open(NodeConfig::new(&theirs)).await.err().expect("it runs there");
    assert!(matches!(busy, Error::Store(StoreError::Busy { holder: Some(holder) }) if holder == other.process.id()));

    let mut left = None;
    for round in ["一", "二", "三"] {
        assert_eq!(other.ask("pause"), "paused 0", "a task is left, so perhaps a timer");
        assert_eq!(other.locks(), 0);
        assert_eq!(other.sockets(), sockets);
        let path = theirs.display().to_string();
        assert!(!other.open_files().iter().any(|file| file.contains(&path)), "{:?}", other.open_files());
        // One thread per process is not the node's to end: futures-timer's, which libp2p waits with.
        let now: BTreeSet<String> = other.threads().difference(&threads).cloned().collect();
        assert!(now.len() <= 1, "{now:?}");
        assert_eq!(*left.get_or_insert_with(|| now.clone()), now, "they do not grow in number");

        let here = Node::open(NodeConfig::new(&theirs)).await.expect("at once");
        assert_eq!(other.ask("resume"), "store.busy true");
        here.spaces().await.unwrap()[0].timeline().send(format!("来自扩展 {round}")).await.unwrap();
        here.shutdown().await;
        assert_eq!(other.ask("resume"), "resumed");
        assert_eq!(other.ask(&format!("来自扩展 {round}")), "shown");
        assert!(other.locks() > 0);
        space.timeline().send(format!("round {round}")).await.unwrap();
        assert_eq!(other.ask(&format!("round {round}")), "shown");
    }
    assert_eq!(other.ask("shut down"), "shut down 0");
    assert_eq!((other.locks(), other.sockets()), (0, sockets));
    writeln!(other.to, "end").unwrap();
    assert!(other.process.wait().unwrap().success());
    alice.shutdown().await;
}
