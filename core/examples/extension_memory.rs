//! What a notification extension takes: opens a device that is in a space of many messages, as an app and as an extension does, each
//! in a process of its own, over the network of this machine; shows the inbox and the newest 50 messages, catches up, and prints
//! what the process had resident then and at most.
//!
//! ```console
//! $ cargo run --release -p clave --example extension_memory [MESSAGES]
//! ```
//!
//! What counts on iOS is memory that is not of files (`anonymous`): code is read again from its file when room is needed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clave::{Error, NetworkConfig, Node, NodeConfig, Purpose};
use tokio::task::JoinSet;

const CHILD: &str = "CLAVE_EXTENSION_MEMORY";
const MESSAGES: usize = 10_000;
/// Messages that are posted at a time.
const AT_ONCE: usize = 64;
const ROUNDS: usize = 5;

fn config(directory: &Path) -> NodeConfig {
    NodeConfig::new(directory).online(NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        mdns: false,
        ..NetworkConfig::default()
    })
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let messages = std::env::args().nth(1).map_or(MESSAGES, |count| count.parse().expect("a number of messages"));
    let done = match std::env::var_os(CHILD) {
        Some(directory) => runtime.block_on(open(&PathBuf::from(directory))),
        None => runtime.block_on(measure(messages)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(messages: usize) -> Result<(), Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path().join("小红");
    write(&directory, messages).await?;
    println!("{messages} messages; KiB resident, of that anonymous, and at most resident; medians of {ROUNDS}");
    for purpose in ["app", "extension"] {
        let mut rounds: Vec<[u64; 3]> = (0..ROUNDS).map(|_| child(&directory, purpose)).collect();
        rounds.sort_unstable();
        let [resident, anonymous, peak] = rounds[ROUNDS / 2];
        println!("{purpose:>10}  {resident:>7}  {anonymous:>7}  {peak:>7}");
    }
    Ok(())
}

async fn write(directory: &Path, messages: usize) -> Result<(), Error> {
    let node = Node::create(NodeConfig::new(directory), "小红", "手机").await?;
    let timeline = node.create_space("编辑部").await?.timeline();
    let mut sent = 0;
    while sent < messages {
        let mut posts = JoinSet::new();
        for number in sent..messages.min(sent + AT_ONCE) {
            let timeline = timeline.clone();
            posts.spawn(async move {
                timeline.send(format!("{number} 明天下午三点开会 the figures, a draft")).await
            });
        }
        sent += posts.len();
        for posted in posts.join_all().await {
            posted?;
        }
    }
    node.inbox().await?;
    node.shutdown().await;
    Ok(())
}

/// What a process says that opens the device.
fn child(directory: &Path, purpose: &str) -> [u64; 3] {
    let program = std::env::current_exe().expect("this program is somewhere");
    let output = Command::new(program).env(CHILD, directory).env("CLAVE_PURPOSE", purpose).output();
    let said = String::from_utf8(output.expect("this program runs").stdout).expect("it says numbers");
    let numbers: Vec<u64> = said.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("three of them")
}

async fn open(directory: &Path) -> Result<(), Error> {
    let is_extension = std::env::var("CLAVE_PURPOSE").is_ok_and(|purpose| purpose == "extension");
    let purpose = if is_extension { Purpose::Extension } else { Purpose::App };
    let node = Node::open(config(directory).for_purpose(purpose)).await?;
    node.catch_up(Duration::from_secs(2)).await?;
    let inbox = node.inbox().await?;
    let newest = node.space(inbox[0].circle.id).await?.timeline().history(50, None).await?;
    assert_eq!(newest.len(), 50);
    println!("{} {} {}", field("VmRSS:"), field("RssAnon:"), field("VmHWM:"));
    node.shutdown().await;
    Ok(())
}

/// A field of `/proc/self/status`, in KiB; 0 where there is none.
fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
