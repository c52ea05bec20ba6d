//! Real NATS servers with JetStream, alone or in a cluster, which end with what started them.

use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The program; `None`, having said so, if there is none and none can be fetched.
#[allow(clippy::print_stdout, reason = "what is left out is said where it is gathered")]
pub async fn program() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/nats-server.sh");
    let found = Command::new(script).output().await.expect("a script of ours runs");
    if found.status.success() {
        return Some(String::from_utf8(found.stdout).expect("a path").trim_end().into());
    }
    println!("SKIPPED: JetStream: {}", String::from_utf8_lossy(&found.stderr).trim_end());
    None
}

/// A port that nobody has just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A server and its folder.
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    name: String,
    pub port: u16,
    /// Whether each write waits for the disk, in place of one every two minutes.
    syncs: bool,
    /// Its own port for the others, and all of them.
    routes: Option<(u16, Vec<u16>)>,
    process: Option<Child>,
}

impl Server {
    /// One that is alone.
    pub async fn start(program: &Path, folder: &Path) -> Self {
        let mut server = Self::new(program, folder, "alone", None);
        server.run().await;
        server
    }

    /// One that is alone, and has each write on the disk before it answers.
    #[allow(dead_code, reason = "tests and benches share this file")]
    pub async fn start_syncing(program: &Path, folder: &Path) -> Self {
        let mut server = Self::new(program, folder, "syncing", None);
        server.syncs = true;
        server.run().await;
        server
    }

    fn new(program: &Path, folder: &Path, name: &str, routes: Option<(u16, Vec<u16>)>) -> Self {
        let (program, folder) = (program.into(), folder.join(name));
        Self { program, folder, name: name.into(), port: free_port(), syncs: false, routes, process: None }
    }

    /// Starts it, again if it was killed.
    pub async fn run(&mut self) {
        let Self { folder, name, port, syncs, .. } = self;
        let sync = if *syncs { ", sync_interval: always" } else { "" };
        std::fs::create_dir_all(&*folder).expect("a folder");
        let mut config = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: {folder:?}, max_file_store: 8GB, max_memory_store: 256MB{sync} }}\n"
        );
        if let Some((own, all)) = &self.routes {
            let routes: Vec<_> = all.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
            config +=
                &format!("cluster {{ name: test, listen: \"127.0.0.1:{own}\", routes: [{}] }}\n", routes.join(", "));
        }
        let path = folder.join("nats.conf");
        std::fs::write(&path, config).expect("a configuration");
        let mut process = Command::new(&self.program)
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next_line().await.expect("it can be read");
            let line = line.unwrap_or_else(|| panic!("nats-server ended: {said:#?}"));
            if line.contains("Server is ready") {
                break;
            }
            said.push(line);
        }
        // It goes on to talk.
        let mut log = std::fs::File::create(folder.join("log")).expect("a log");
        tokio::spawn(async move {
            let mut said = said.into_iter();
            while let Some(line) = match said.next() {
                Some(line) => Some(line),
                None => lines.next_line().await.ok().flatten(),
            } {
                let _ = writeln!(log, "{line}");
            }
        });
        self.process = Some(process);
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().await.expect("it can be killed");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref()?.id()
    }
}

/// Waits for its end: its folder can be removed only once nobody writes there.
impl Drop for Server {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        let _ = process.start_kill();
        while matches!(process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// So many servers that know each other.
pub async fn cluster(program: &Path, folder: &Path, count: usize) -> Vec<Server> {
    let ports: Vec<_> = (0..count).map(|_| free_port()).collect();
    let mut servers = Vec::new();
    for (number, port) in ports.iter().enumerate() {
        let mut server = Server::new(program, folder, &format!("n{number}"), Some((*port, ports.clone())));
        server.run().await;
        servers.push(server);
    }
    servers
}
