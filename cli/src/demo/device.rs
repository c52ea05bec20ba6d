//! One device of the demo: a `clave run` in a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::unexpected;
use crate::failure::Failure;
use crate::reply::{Reply, Running};
use crate::request::{Ask, Heads, Request};
use crate::screen::Screen;
use crate::session::Client;

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the devices of a demo keep their data.
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Root {
    /// A new directory, in `parent` or among the temporary files.
    pub(crate) fn new(parent: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let failed = |error: std::io::Error| Failure::file(&parent, &error);
        std::fs::create_dir_all(&parent).map_err(failed)?;
        let directory = tempfile::Builder::new().prefix("clave-demo-").tempdir_in(&parent).map_err(failed)?;
        let path = std::path::absolute(directory.path()).map_err(failed)?;
        if keep {
            let _ = directory.keep();
            return Ok(Self { path, _temporary: None });
        }
        Ok(Self { path, _temporary: Some(directory) })
    }

    /// Says where to look.
    pub(crate) fn farewell(&self, screen: &Screen) -> Result<(), Failure> {
        if self._temporary.is_some() {
            return Ok(());
        }
        screen.say(&format!("The data of the devices lies in {}. To look around:", self.path.display()))?;
        screen.say(&format!("  clave --dir {}/1 chat history", self.path.display()))
    }

    /// A failure, with where to look for its cause.
    pub(crate) fn after(&self, failure: Failure) -> Failure {
        if self._temporary.is_some() || failure.hint.is_some() {
            return failure;
        }
        failure.hint(format!("what the devices said is in {}/*.log", self.path.display()))
    }
}

/// A device.
pub(crate) struct Device {
    pub(crate) person: String,
    pub(crate) name: String,
    /// A name for files: its number.
    pub(crate) label: String,
    pub(crate) directory: PathBuf,
    pub(crate) addresses: Vec<String>,
    log: PathBuf,
    life: Option<Life>,
    /// Bytes sent and received in earlier lives.
    earlier: (u64, u64),
}

/// A running process. It ends with this one, however that ends.
struct Life {
    child: Child,
    client: Client,
    _stdin: Option<ChildStdin>,
    _stdout: BufReader<ChildStdout>,
}

impl Device {
    /// Creates the identity and starts.
    pub(crate) async fn create(root: &Root, person: &str, name: &str) -> Result<Self, Failure> {
        let number = 1 + (1..).take_while(|n: &u32| root.path.join(n.to_string()).exists()).count();
        let label = number.to_string();
        let directory = root.path.join(&label);
        let log = root.path.join(format!("{label}.log"));
        let init = command(&directory, &log)?
            .args(["init", "--no-passphrase", "--name", person, "--device", name])
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| Failure::failed(format!("clave could not start itself: {error}")))?;
        if !init.status.success() {
            return Err(Failure::failed("a device could not be set up"));
        }
        let mut device = Self {
            person: person.to_owned(),
            name: name.to_owned(),
            label,
            directory,
            addresses: Vec::new(),
            log,
            life: None,
            earlier: (0, 0),
        };
        device.start().await?;
        Ok(device)
    }

    /// Starts the process, and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("clave could not start itself: {error}"));
        let mut child = command(&self.directory, &self.log)?
            .args(["run", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--until-eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().ok_or_else(unexpected)?);
        let mut line = String::new();
        within(&self.person, async { stdout.read_line(&mut line).await.map_err(failed) }).await?;
        let Ok(Reply::Running(Running { addresses, .. })) = serde_json::from_str(&line) else {
            return Err(Failure::failed(format!("the device of {} did not start", self.person)));
        };
        self.addresses = addresses;
        let client = Client::connect(&self.directory).await?.ok_or_else(unexpected)?;
        self.life = Some(Life { child, client, _stdin: stdin, _stdout: stdout });
        Ok(())
    }

    fn life(&mut self) -> Result<&mut Life, Failure> {
        self.life.as_mut().ok_or_else(|| Failure::failed(format!("the device of {} is not running", self.person)))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.life.as_ref().and_then(|life| life.child.id()).unwrap_or_default()
    }

    /// Asks the device something, as any `clave` command does.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Reply, Failure> {
        let person = self.person.clone();
        let client = &mut self.life()?.client;
        within(&person, client.call(&Request::new(ask), |_| Ok(()))).await
    }

    /// Another connection to the same process.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(&self.directory).await?.ok_or_else(unexpected)
    }

    /// The heads of every document.
    pub(crate) async fn heads(&mut self) -> Result<BTreeMap<String, Heads>, Failure> {
        let Reply::Space(space) = self.ask(Ask::SpaceShow).await? else { return Err(unexpected()) };
        Ok(space.documents.into_iter().map(|document| (document.id, document.heads)).collect())
    }

    /// Bytes sent and received in all its lives, as far as they were counted.
    pub(crate) async fn traffic(&mut self) -> Result<(u64, u64), Failure> {
        let Reply::Status(status) = self.ask(Ask::Status).await? else { return Err(unexpected()) };
        Ok((self.earlier.0 + status.sent_bytes, self.earlier.1 + status.received_bytes))
    }

    /// Keeps the counters of this life, which may end at any moment.
    pub(crate) async fn remember_traffic(&mut self) -> Result<(), Failure> {
        self.earlier = self.traffic().await?;
        Ok(())
    }

    /// Kills the process (SIGKILL) while it works on a question; whether it still answered that.
    pub(crate) async fn kill_while(&mut self, ask: Ask) -> Result<bool, Failure> {
        let mut life = self.life.take().ok_or_else(unexpected)?;
        let request = Request::new(ask);
        let (answered, killed) = tokio::join!(life.client.call(&request, |_| Ok(())), life.child.kill());
        killed.map_err(|error| Failure::failed(format!("the process could not be killed: {error}")))?;
        Ok(answered.is_ok())
    }

    /// Ends the process in good order.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        if let Some(mut life) = self.life.take() {
            life.client.call(&Request::new(Ask::Stop), |_| Ok(())).await?;
            within(&self.person, async { life.child.wait().await.map_err(Failure::failed) }).await?;
        }
        Ok(())
    }
}

/// This program, on another data directory.
fn command(directory: &Path, log: &Path) -> Result<Command, Failure> {
    let failed = |error: std::io::Error| Failure::file(log, &error);
    let program = std::env::current_exe().map_err(failed)?;
    let log = std::fs::File::options().create(true).append(true).open(log).map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("--dir").arg(directory).arg("--json").stderr(log).stdout(Stdio::null());
    command.env_remove("CLAVE_SPACE").env_remove(crate::place::PASSPHRASE_VARIABLE);
    Ok(command)
}

/// Every step has its time.
async fn within<T>(person: &str, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, step).await.unwrap_or_else(|_| {
        Err(Failure::unreachable(format!("the device of {person} did not get there within {PATIENCE:?}")))
    })
}
