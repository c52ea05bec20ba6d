//! What is logged reaches the host's sink, one for the process; so this is one test in a process of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use clave::{LOG_LINES_WAITING_MAX, LogLevel, LogSink, NetworkConfig, Node, NodeConfig, set_log_sink};

const SAFETY: Duration = Duration::from_secs(60);
/// More lines than there are here.
const LINES_MAX: usize = 8 * LOG_LINES_WAITING_MAX;

/// Hands lines on; panics at the first, and waits once if it is told to.
struct Sink {
    lines: Mutex<mpsc::SyncSender<(LogLevel, String, String)>>,
    has_panicked: AtomicBool,
    waits: AtomicBool,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl LogSink for Sink {
    fn log(&self, level: LogLevel, target: &str, message: &str) {
        // What a sink logs itself does not come back to it.
        tracing::error!(target: "clave", "logged in the sink");
        assert!(self.has_panicked.swap(true, SeqCst), "as a host may");
        if self.waits.swap(false, SeqCst) {
            let _ = self.go_on.lock().expect("nobody panics with it").recv_timeout(SAFETY);
        }
        let line = (level, target.to_owned(), message.to_owned());
        let _ = self.lines.lock().expect("nobody panics with it").send(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_arrives_and_a_sink_that_fails_or_blocks_does_no_harm() {
    let ((lines, logged), (go, go_on)) = (mpsc::sync_channel(LINES_MAX), mpsc::sync_channel(1));
    let (has_panicked, waits) = (AtomicBool::new(false), AtomicBool::new(false));
    let sink = Arc::new(Sink { lines: Mutex::new(lines), has_panicked, waits, go_on: Mutex::new(go_on) });
    set_log_sink(sink.clone(), LogLevel::Warn).expect("it is the first");
    assert!(set_log_sink(sink.clone(), LogLevel::Trace).is_err(), "there is one");

    // Two addresses that nobody can listen on here: the first line is lost with the panic, the second arrives.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let listen = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"].map(str::to_owned).into();
    let network = NetworkConfig { listen, mdns: false, ..NetworkConfig::default() };
    let config = NodeConfig::new(directory.path().join("小红")).online(network);
    let node = Node::create(config, "小红", "手机").await.expect("a new directory");
    let (level, target, message) = logged.recv_timeout(SAFETY).expect("a line");
    assert_eq!((level, target.starts_with("clave")), (LogLevel::Warn, true));
    assert!(message.starts_with("listening failed") && message.contains("192.0.2."), "{message}");

    // A sink that does not return: the node goes on, lines wait and are dropped, and that is told.
    sink.waits.store(true, SeqCst);
    for number in 0..2 * LOG_LINES_WAITING_MAX {
        tracing::warn!(target: "clave", number, "说");
    }
    let space = node.create_space("编辑部").await.expect("nobody waits for the sink");
    space.timeline().send("四月见").await.expect("a message");
    tokio::time::timeout(SAFETY, node.shutdown()).await.expect("nobody waits for the sink");
    go.send(()).expect("it waits");
    let mut seen = BTreeSet::new();
    let dropped = loop {
        let (_, _, message) = logged.recv_timeout(SAFETY).expect("a line");
        assert!(!message.contains("logged in the sink") && !message.contains("四月"), "{message}");
        if message.contains("lines were dropped") {
            break message;
        }
        seen.insert(message);
    };
    assert!(dropped.starts_with(|first: char| first.is_ascii_digit()), "{dropped}");
    while seen.len() < LOG_LINES_WAITING_MAX {
        seen.insert(logged.recv_timeout(SAFETY).expect("those that waited arrive").2);
    }
    // What is below the level does not arrive, nor what others log.
    tracing::info!(target: "clave", "只是说说");
    tracing::error!(target: "libp2p_swarm", "别人的");
    tracing::warn!(target: "clave_engine::engine", "最后");
    let last = loop {
        let (_, _, message) = logged.recv_timeout(SAFETY).expect("a line");
        assert!(!message.contains("只是说说") && !message.contains("别人的"));
        if message == "最后" {
            break message;
        }
    };
    assert_eq!(last, "最后");
}
