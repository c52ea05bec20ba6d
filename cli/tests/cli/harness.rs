//! Devices for tests: data directories, and the real binary on them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A device with its data directory.
pub(crate) struct Device {
    home: TempDir,
    /// The recovery phrase that was shown when its person was made here.
    pub(crate) phrase: String,
}

/// A running `clave run`. It is killed on drop.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) addresses: Vec<String>,
    _stdout: BufReader<ChildStdout>,
}

/// How a command failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) exit: i32,
    pub(crate) reason: String,
    pub(crate) words: String,
}

impl Device {
    /// A directory without an identity.
    pub(crate) fn blank() -> Self {
        Self { home: tempfile::tempdir().unwrap(), phrase: String::new() }
    }

    pub(crate) fn new(person: &str, device: &str) -> Self {
        let mut new = Self::blank();
        let made = new.json(&["init", "--no-passphrase", "--name", person, "--device", device]);
        new.phrase = made["recovery_phrase"].as_str().unwrap().to_owned();
        new
    }

    /// The data directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A place for files that do not belong to Clave.
    pub(crate) fn outside(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clave"));
        command.arg("--dir").arg(self.directory()).args(args).current_dir(self.home.path());
        for variable in
            ["CLAVE_DIR", "CLAVE_SPACE", "CLAVE_CIRCLE", "CLAVE_PASSPHRASE", "CLAVE_LOG", "VISUAL", "EDITOR"]
        {
            command.env_remove(variable);
        }
        command.env("TZ", "Europe/Berlin").stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command printed, which has to succeed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "clave {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The value that a command printed with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[&["--json"], args].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("clave {args:?}: {error}: {text}"))
    }

    /// The values that a command printed with `--json`, one a line.
    #[track_caller]
    pub(crate) fn json_lines(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok(&[&["--json"], args].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a command printed to both outputs, the notes after the results.
    #[track_caller]
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "clave {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    /// How a command failed, in both forms, which have to agree.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str]) -> Failed {
        let plain = self.output(args);
        let json = self.output(&[&["--json"], args].concat());
        assert!(!json.status.success(), "clave {args:?} succeeded");
        assert_eq!(plain.status.code(), json.status.code());
        assert_eq!(json.stdout, b"", "nothing but the error");
        let value: Value = serde_json::from_slice(&json.stderr)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&json.stderr)));
        assert_eq!(value["type"], "error");
        assert_eq!(value["exit"].as_i64().map(|exit| exit as i32), json.status.code());
        let words = value["message"].as_str().unwrap().to_owned();
        let shown = String::from_utf8_lossy(&plain.stderr).into_owned();
        assert!(shown.contains(&words), "{shown} should say: {words}");
        Failed { exit: json.status.code().unwrap(), reason: value["reason"].as_str().unwrap_or("").to_owned(), words }
    }

    /// Starts `clave run` on loopback, and waits until it is ready.
    pub(crate) fn run(&self) -> Running {
        let mut child = self
            .command(&["--json", "run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--until-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let running: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let addresses = running["addresses"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned());
        Running { addresses: addresses.collect(), child, _stdout: stdout }
    }

    /// A new invitation.
    pub(crate) fn invite(&self) -> String {
        self.json(&["invite"])["link"].as_str().unwrap().to_owned()
    }
}

impl Running {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two people in one space, both online.
pub(crate) fn two() -> (Device, Running, Device, Running) {
    let (zoe, bob) = (Device::new("Zoë", "laptop"), Device::new("小明", "手机"));
    zoe.ok(&["space", "new", "Café 四月"]);
    let (zoe_runs, bob_runs) = (zoe.run(), bob.run());
    bob.ok(&["join", &zoe.invite()]);
    for device in [&zoe, &bob] {
        device.ok(&["wait", "--members", "2", "--online", "1"]);
    }
    (zoe, zoe_runs, bob, bob_runs)
}

/// A third person in the space of [`two`], online too. Returns once all three are connected with each other.
pub(crate) fn third(zoe: &Device, bob: &Device, name: &str, device: &str) -> (Device, Running) {
    let carol = Device::new(name, device);
    let running = carol.run();
    carol.ok(&["join", &zoe.invite()]);
    for device in [zoe, bob, &carol] {
        device.ok(&["wait", "--members", "3", "--online", "2"]);
    }
    (carol, running)
}

/// Changes what is inside an invitation link, and makes its checksum right again.
pub(crate) fn forge(link: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (prefix, body) = link.split_at("clave://join/".len());
    let mut bytes = data_encoding::BASE64URL_NOPAD.decode(body.as_bytes()).unwrap();
    bytes.truncate(bytes.len() - 4);
    change(&mut bytes);
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(&check.as_bytes()[..4]);
    format!("{prefix}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// Whether the needle is somewhere in the hay.
pub(crate) fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}
