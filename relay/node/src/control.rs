//! The control socket: how commands reach a relay that runs. A request is a line of JSON, and so is the answer.
//!
//! The socket lies in the data directory, which is the relay's own: who may open it may do all this.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use crate::snapshot::Snapshot;

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Who connects and says nothing for so long is left.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket's name in the data directory.
const SOCKET: &str = "control.sock";

/// What a running relay is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    Status,
    Drain,
    Reload,
    Backup(PathBuf),
    Block(String),
    Unblock(String),
    Blocked,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Status(Box<Snapshot>),
    Said(String),
    List(Vec<String>),
    /// It was not done, and why.
    Failed(String),
}

/// A command, and who waits for the answer.
pub(crate) type Asked = (Command, oneshot::Sender<Answer>);

/// Why a command did not reach the relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ControlError {
    #[error("no relay runs with the data directory {0}: start it, or name another with --data")]
    NotRunning(PathBuf),
    #[error("the control socket in {0} cannot be used: {1}. Run this as the relay's user")]
    Socket(PathBuf, io::Error),
    #[error("the relay gave no answer that this program understands: use the same version of both")]
    Nonsense,
}

/// Listens in the data directory. What a relay that was killed left there is taken away: the caller has the directory to itself.
pub(crate) fn listen(data: &Path) -> Result<UnixListener, ControlError> {
    let path = data.join(SOCKET);
    let listen = || {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        Ok(listener)
    };
    listen().map_err(|error| ControlError::Socket(data.into(), error))
}

/// Hands every command on, one after another.
pub(crate) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = answer(stream, &asked).await {
                    tracing::warn!(%error, "a command was not answered");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot be used");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LINE_BYTES_MAX));
    tokio::time::timeout(LINE_TIMEOUT, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Err(error) => Answer::Failed(format!("that is no command: {error}")),
        Ok(command) => {
            let stops = command == Command::Drain;
            let (reply, answer) = oneshot::channel();
            match asked.send((command, reply)).await {
                Ok(()) => answer.await.unwrap_or_else(|_| stopped(stops)),
                Err(_) => stopped(stops),
            }
        }
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}

/// What the end of the relay means to whoever asked something.
fn stopped(as_asked: bool) -> Answer {
    if as_asked { Answer::Said("stopped".into()) } else { Answer::Failed("the relay stops".into()) }
}

/// Has a running relay do something.
///
/// # Errors
/// See [`ControlError`]. That it was not done is an answer.
pub(crate) async fn ask(data: &Path, command: &Command) -> Result<Answer, ControlError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning(data.into()),
        _ => ControlError::Socket(data.into(), error),
    };
    let mut stream = UnixStream::connect(data.join(SOCKET)).await.map_err(failed)?;
    let mut text = serde_json::to_vec(command).map_err(|_| ControlError::Nonsense)?;
    text.push(b'\n');
    stream.write_all(&text).await.map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.map_err(failed)?;
    if line.is_empty() {
        // It may be gone before it could say so.
        return Ok(stopped(*command == Command::Drain));
    }
    serde_json::from_str(&line).map_err(|_| ControlError::Nonsense)
}
