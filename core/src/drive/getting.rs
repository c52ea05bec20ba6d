//! Getting files out of a drive: fetching what is missing, and writing them while it comes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use clave_engine::crdt::{DocumentKind, FileVersion, NodeId};
use clave_engine::{CircleId, Event, FetchId, FileContent};
use tokio::sync::broadcast;

use super::writing::{WrittenFile, write_files};
use super::{Drive, Progress, content_of};
use crate::Error;
use crate::node::Node;

impl Drive {
    /// Writes the newest content of a file to disk, having fetched what is missing from whoever has it; waits for
    /// somebody to come online if need be. The destination appears complete and checked or not at all. Dropping the
    /// future cancels it; what was fetched stays, so that a second try goes on from there.
    ///
    /// # Errors
    /// If the destination cannot be written, or what arrived is not what the drive says.
    pub async fn get(
        &self,
        node: NodeId,
        destination: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<FileVersion, Error> {
        let version = self.file(node).await?;
        self.get_version(&version, destination, progress).await?;
        Ok(version)
    }

    /// The same for any version of a file.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_version(
        &self,
        version: &FileVersion,
        destination: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        self.get_contents(vec![(content_of(version), destination.to_owned())], progress).await
    }

    /// The same for many files, each to its destination, with one request for all.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_all(&self, files: Vec<(NodeId, PathBuf)>, progress: impl FnMut(Progress)) -> Result<(), Error> {
        let (nodes, paths): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let contents = self.contents(nodes).await?;
        self.get_contents(contents.into_iter().zip(paths).collect(), progress).await
    }

    /// Fetches what is missing of the newest content of files, to have them offline; writes no file. Dropping the future
    /// cancels it; what was fetched stays.
    ///
    /// # Errors
    /// [`Error::NotFound`]; if what arrived is not what the drive says, or there is no room.
    pub async fn fetch(&self, files: Vec<NodeId>, mut progress: impl FnMut(Progress)) -> Result<(), Error> {
        let contents = self.contents(files).await?;
        let arrivals = Arrivals::default();
        self.circle.node.while_running(self.fetch_contents(contents, &arrivals, &mut progress)).await
    }

    async fn contents(&self, files: Vec<NodeId>) -> Result<Vec<FileContent>, Error> {
        let (circle, drive) = (self.circle.id, self.document());
        let contents = move |engine: &mut clave_engine::Engine| {
            let tree = engine.document(circle, drive, DocumentKind::Drive)?.drive()?.tree();
            let content = |node| Some(content_of(&tree.node(node)?.current.as_ref()?.file));
            Ok(files.into_iter().map(content).collect::<Option<Vec<_>>>())
        };
        self.circle.node.read(contents).await?.ok_or(Error::NotFound("file"))
    }

    /// The same for everything in a folder of the drive: `destination` is the folder on disk that gets its content. How many
    /// files that were.
    ///
    /// # Errors
    /// As [`get`](Self::get); if there is no such folder.
    pub async fn get_folder(
        &self,
        folder: NodeId,
        destination: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<usize, Error> {
        let tree = self.tree().await?;
        let (mut files, mut folders) = (Vec::new(), vec![(folder, destination.to_owned())]);
        while let Some((folder, path)) = folders.pop() {
            let failed = |source| Error::File { path: path.display().to_string(), source };
            std::fs::create_dir_all(&path).map_err(failed)?;
            for node in tree.list(folder).map_err(clave_engine::EngineError::from)? {
                let list = if node.id.is_folder() { &mut folders } else { &mut files };
                list.push((node.id, path.join(&node.name)));
            }
        }
        let count = files.len();
        self.get_all(files, progress).await?;
        Ok(count)
    }

    async fn get_contents(
        &self,
        files: Vec<(FileContent, PathBuf)>,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), Error> {
        let contents: Vec<FileContent> = files.iter().map(|(content, _)| content.clone()).collect();
        let arrivals = Arc::new(Arrivals::default());
        let _writing_ends_with_this = EndsWith(arrivals.clone());
        let (source, known) =
            (ChunkSource { node: self.circle.node.clone(), circle: self.circle.id }, arrivals.clone());
        let files = files.into_iter().map(|(content, destination)| WrittenFile { content, destination }).collect();
        let mut writing = tokio::task::spawn_blocking(move || write_files(files, &source, &known));
        let fetched = async {
            let fetching = self.fetch_contents(contents, &arrivals, &mut progress);
            let fetched = self.circle.node.while_running(fetching).await;
            arrivals.end(if fetched.is_ok() { Phase::Complete } else { Phase::Cancelled });
            fetched
        };
        tokio::pin!(fetched);
        tokio::select! {
            // Whoever cannot write need not fetch.
            written = &mut writing => {
                written.map_err(|_| Error::Stopped)??;
                fetched.await
            }
            fetched = &mut fetched => {
                fetched?;
                writing.await.map_err(|_| Error::Stopped)?
            }
        }
    }

    async fn fetch_contents(
        &self,
        contents: Vec<FileContent>,
        arrivals: &Arrivals,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), Error> {
        let (circle, node) = (self.circle.id, &self.circle.node);
        let mut events = node.events();
        'begin: loop {
            let wanted = contents.clone();
            let fetch = node.command(move |engine, now| engine.fetch(circle, wanted, now)).await?;
            let guard = Fetching { node: node.clone(), fetch: Some(fetch) };
            loop {
                match events.recv().await {
                    Ok(Event::FetchProgress { fetch: id, done_bytes, total_bytes }) if id == fetch => {
                        arrivals.note();
                        progress(Progress { done_bytes, total_bytes });
                    }
                    Ok(Event::Fetched { fetch: id }) if id == fetch => {
                        guard.finished();
                        return Ok(());
                    }
                    Ok(Event::FetchFailed { fetch: id }) if id == fetch => {
                        return Err(Error::Content(clave_engine::Refusal::BadChunk));
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopped),
                    // Its end may have been among what was missed: asking again is cheap.
                    Err(broadcast::error::RecvError::Lagged(_)) => continue 'begin,
                    Ok(_) => {}
                }
            }
        }
    }
}

/// Where chunks are read from. Holds no store, so that a node that is shut down lets go of it.
pub(super) struct ChunkSource {
    node: Node,
    circle: CircleId,
}

impl ChunkSource {
    pub(super) fn read(&self, id: clave_engine::ChunkId) -> Result<Option<Vec<u8>>, Error> {
        self.node.stored_chunk(self.circle, id)
    }
}

/// How a fetch is doing, for the thread that writes what comes of it.
#[derive(Default)]
pub(super) struct Arrivals {
    state: Mutex<(u64, Phase)>,
    changed: Condvar,
}

/// What can still be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// More comes.
    #[default]
    Fetching,
    /// All is there.
    Complete,
    /// Nobody wants it any more.
    Cancelled,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, (u64, Phase)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        self.lock().0 += 1;
        self.changed.notify_all();
    }

    fn end(&self, phase: Phase) {
        let mut state = self.lock();
        if state.1 == Phase::Fetching {
            state.1 = phase;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How far it is.
    pub(super) fn now(&self) -> (u64, Phase) {
        *self.lock()
    }

    /// Waits until it came further than it was.
    pub(super) fn wait(&self, than: (u64, Phase)) {
        drop(self.changed.wait_while(self.lock(), |state| *state == than));
    }
}

/// Stops the thread that writes when nobody waits for it any more.
struct EndsWith(Arc<Arrivals>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.end(Phase::Cancelled);
    }
}

/// Gives up a fetch when its caller does.
struct Fetching {
    node: Node,
    fetch: Option<FetchId>,
}

impl Fetching {
    fn finished(mut self) {
        self.fetch = None;
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch {
            let node = self.node.clone();
            tokio::spawn(async move { node.cancel_fetch(fetch).await });
        }
    }
}
