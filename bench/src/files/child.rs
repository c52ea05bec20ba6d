//! The other side of a transfer: this program once more, as a process of its own, so that memory can be told apart.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clave::{NetworkConfig, Node, NodeConfig, NodeId};

use super::{iroh, raw};

/// A process that serves, and the lines it says.
pub struct Serving {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Serving {
    pub fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg("--child").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be run");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    pub fn line(&mut self) -> String {
        self.lines.next().expect("the child says more").expect("the child lives")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child does: `raw BYTES`, `node DIRECTORY SOURCE` or `iroh DIRECTORY SOURCE`.
pub fn run(arguments: &[String]) {
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads");
    let [kind, rest @ ..] = arguments else { panic!("a child is told what to do") };
    let say = |line: String| {
        println!("{line}");
        let _ = std::io::stdout().flush();
    };
    match (kind.as_str(), rest) {
        ("raw", [bytes]) => runtime.block_on(raw::serve(bytes.parse().expect("a number"), say)),
        ("iroh", [directory, source]) => runtime.block_on(iroh::serve(Path::new(directory), Path::new(source), say)),
        ("node", [directory, source]) => runtime.block_on(async {
            let (node, space) = found(Path::new(directory)).await;
            let started = Instant::now();
            add(&space, Path::new(source)).await;
            say(started.elapsed().as_secs_f64().to_string());
            for _ in 0..2 {
                say(space.invite(Duration::from_secs(3600)).await.expect("an invitation").to_string());
            }
            std::future::pending::<()>().await;
            drop(node);
        }),
        _ => panic!("a child is told what to do"),
    }
}

pub fn config(directory: &Path) -> NodeConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    NodeConfig::new(directory).online(NetworkConfig { listen, mdns: false, ..NetworkConfig::default() })
}

async fn found(directory: &Path) -> (Node, clave::Space) {
    let node = Node::create(config(directory), "Alice", "laptop").await.expect("an empty directory");
    node.listening().await.expect("loopback is there");
    let space = node.create_space("文件 Files").await.expect("a space");
    (node, space)
}

/// Adds a folder.
async fn add(space: &clave::Space, source: &Path) {
    space.drive().add_folder(source, NodeId::ROOT, "folder", |_| {}).await.expect("a readable folder");
}
