//! Debian's syncthing, two of it on loopback, each with a home of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const KEY: &str = "clave-bench";
const FOLDER: &str = "bench";
/// How long it may take to do anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// What its version line says, if it is installed.
pub fn version() -> Option<String> {
    let output = Command::new("syncthing").arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

/// How long a folder takes from one that has it indexed to one that has nothing, from the moment it may: they are connected then.
pub fn transfer(folder: &Path, place: &Path) -> Duration {
    let files = super::count_files(folder) as u64;
    let copy = place.join("copy");
    std::fs::create_dir(&copy).expect("an empty place");
    let (alice, bob) = (Instance::start(&place.join("alice")), Instance::start(&place.join("bob")));
    alice.share(folder, &bob, false);
    bob.share(&copy, &alice, true);
    alice.wait_until(|status| status["state"] == "idle" && status["localFiles"] == files);
    alice.request("POST", &format!("/rest/system/resume?device={}", bob.id), None);
    bob.request("POST", &format!("/rest/system/resume?device={}", alice.id), None);
    // How long they take to find each other is not what is compared.
    bob.wait_until_connected(&alice);
    let started = Instant::now();
    bob.request("PATCH", &format!("/rest/config/folders/{FOLDER}"), Some(&json!({ "paused": false })));
    bob.wait_until(|status| status["localFiles"] == files && status["needFiles"] == 0 && status["state"] == "idle");
    started.elapsed()
}

struct Instance {
    child: Child,
    api: u16,
    data: u16,
    id: String,
}

impl Instance {
    fn start(home: &Path) -> Self {
        let mut generate = Command::new("syncthing");
        generate.arg("generate").arg(home_argument(home)).arg("--no-default-folder");
        let status = generate.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it is installed");
        assert!(status.success(), "syncthing generates keys");
        let (api, data) = (free_port(), free_port());
        let path = home.join("config.xml");
        let config = std::fs::read_to_string(&path).expect("it was generated");
        std::fs::write(&path, set_up(&config, api, data)).expect("the disk has room");
        let mut command = Command::new("syncthing");
        command.arg("serve").arg(home_argument(home)).args(["--no-browser", "--no-restart", "--no-upgrade"]);
        // Without the process that watches over it, and that would outlive what is killed here.
        command.env("STMONITORED", "yes");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is installed");
        let mut instance = Self { child, api, data, id: String::new() };
        let started = Instant::now();
        while instance.id.is_empty() {
            assert!(started.elapsed() < PATIENCE, "syncthing does not start");
            std::thread::sleep(Duration::from_millis(50));
            let status = instance.try_request("GET", "/rest/system/status", None).unwrap_or_default();
            instance.id = status["myID"].as_str().unwrap_or_default().to_owned();
        }
        instance
    }

    /// Shares a folder with the other one, who is not talked to yet.
    fn share(&self, folder: &Path, with: &Self, paused: bool) {
        let address = format!("tcp://127.0.0.1:{}", with.data);
        let device = json!({ "deviceID": with.id, "name": "other", "addresses": [address], "paused": true, "compression": "never" });
        self.request("POST", "/rest/config/devices", Some(&device));
        let folder = json!({
            "id": FOLDER, "path": folder, "devices": [{ "deviceID": with.id }], "fsWatcherEnabled": false, "rescanIntervalS": 3600, "paused": paused,
        });
        self.request("POST", "/rest/config/folders", Some(&folder));
    }

    fn wait_until_connected(&self, to: &Self) {
        let started = Instant::now();
        let connected = || {
            let connections = self.try_request("GET", "/rest/system/connections", None).unwrap_or_default();
            connections["connections"][&to.id]["connected"] == true
        };
        while !connected() {
            assert!(started.elapsed() < PATIENCE, "syncthing does not connect");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_until(&self, is_so: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        while !is_so(&self.try_request("GET", &format!("/rest/db/status?folder={FOLDER}"), None).unwrap_or_default()) {
            assert!(started.elapsed() < PATIENCE, "syncthing does not get there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) {
        assert!(self.try_request(method, path, body).is_some(), "syncthing takes {method} {path}");
    }

    fn try_request(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.lines().next()?.contains(" 200").then(|| serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home_argument(home: &Path) -> String {
    format!("--home={}", PathBuf::from(home).display())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    listener.local_addr().expect("it is bound").port()
}

/// Loopback only, nobody told.
fn set_up(config: &str, api: u16, data: u16) -> String {
    let set = |config: String, tag: &str, value: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        match (config.find(&open), config.find(&close)) {
            (Some(from), Some(to)) => format!("{}{value}{}", &config[..from + open.len()], &config[to..]),
            _ => config,
        }
    };
    let mut config = config.to_owned();
    if let Some(gui) = config.find("<gui") {
        let (before, after) = config.split_at(gui);
        let after = set(after.to_owned(), "address", &format!("127.0.0.1:{api}"));
        config = format!("{before}{}", set(after, "apikey", KEY));
    }
    let listen = format!("tcp://127.0.0.1:{data}");
    for (tag, value) in [
        ("listenAddress", listen.as_str()),
        ("globalAnnounceEnabled", "false"),
        ("localAnnounceEnabled", "false"),
        ("relaysEnabled", "false"),
        ("natEnabled", "false"),
        ("urAccepted", "-1"),
        ("crashReportingEnabled", "false"),
        ("startBrowser", "false"),
    ] {
        config = set(config, tag, value);
    }
    config
}
