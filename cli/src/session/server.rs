//! Answering other processes for a running node.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clave::Node;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};

use super::socket::SocketPath;
use crate::execute::execute;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::request::{Ask, Request};
use crate::wire::{self, Line, Out};

/// Clients that are answered at the same time; more wait.
const CLIENTS_MAX: usize = 64;

/// The socket of a running node. It is removed on drop.
pub(crate) struct Server {
    listener: UnixListener,
    file: PathBuf,
    /// The user whom it answers.
    owner: u32,
    stop: Arc<Notify>,
}

impl Server {
    /// Opens the socket. The caller holds the data directory, so one that is there was left behind.
    pub(crate) fn bind(directory: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file(directory, &error);
        let path = SocketPath::of(directory).map_err(failed)?;
        let _ = fs::remove_file(&path.file);
        let listener = UnixListener::bind(&path.address).map_err(failed)?;
        fs::set_permissions(&path.file, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let owner = fs::metadata(&path.file).map_err(failed)?.uid();
        Ok(Self { listener, file: path.file, owner, stop: Arc::default() })
    }

    /// Answers until somebody asks it to stop. Dropping the future cancels every request.
    pub(crate) async fn serve(&self, node: &Node) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.notified() => return,
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0) {
                        tracing::warn!("a process of another user knocked and was sent away");
                        continue;
                    }
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    let (node, stop) = (node.clone(), self.stop.clone());
                    clients.spawn(async move {
                        if let Err(failure) = answer(stream, &node, &stop).await {
                            tracing::debug!(%failure, "a client went away");
                        }
                        drop(place);
                    });
                }
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

async fn answer(stream: UnixStream, node: &Node, stop: &Notify) -> Result<(), Failure> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let request: Request = match wire::read(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(failure) => return wire::write(&mut writer, &Line::Failed(failure)).await,
        };
        if matches!(request.ask, Ask::Stop) {
            wire::write(&mut writer, &Line::Done(Reply::Done)).await?;
            stop.notify_one();
            return Ok(());
        }
        let (out, mut lines) = Out::channel();
        let mut work = Box::pin(execute(node, &request, &out));
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                Some(line) = lines.recv() => wire::write(&mut writer, &line).await?,
                // A client says nothing while it waits: what can be read is its end. Its request ends with it.
                _ = reader.fill_buf() => return Ok(()),
            }
        };
        while let Ok(line) = lines.try_recv() {
            wire::write(&mut writer, &line).await?;
        }
        let end = match result {
            Ok(reply) => Line::Done(reply),
            Err(failure) => Line::Failed(failure),
        };
        wire::write(&mut writer, &end).await?;
    }
}
