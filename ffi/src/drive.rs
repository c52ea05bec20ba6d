//! The files of a circle.

use std::path::PathBuf;
use std::sync::Arc;

use clave::{DriveNode, NodeId};

use crate::convert::{hex, parse};
use crate::session::Session;
use crate::{ClaveError, Transfer};

/// The files of a circle.
#[derive(uniffi::Object)]
pub struct Drive {
    session: Arc<Session>,
    drive: clave::Drive,
}

/// A file or a folder.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FileEntry {
    /// Its id, the same on every device.
    pub id: String,
    /// Its name; where two of one folder were given the same, the later carries a number.
    pub name: String,
    /// The id of the folder that it is in.
    pub folder: String,
    /// Where it is, from the root: `/计划/预算.xlsx`.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether it is in the trash.
    pub trashed: bool,
    /// Size of its newest content, in bytes.
    pub bytes: u64,
    /// When that was last modified, by the clock of the device it comes from, in Unix milliseconds.
    pub modified_ms: u64,
    /// What it is, say `image/png`; empty if not known.
    pub media_type: String,
    /// How many contents were written at the same time as the newest, and nobody has chosen between them.
    pub conflicts: u32,
}

/// One content of a file.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FileVersion {
    /// Its name among the versions of this file.
    pub id: String,
    /// Size, in bytes.
    pub bytes: u64,
    /// When it was last modified, in Unix milliseconds.
    pub modified_ms: u64,
    /// What it is, say `image/png`; empty if not known.
    pub media_type: String,
    /// BLAKE3 of the content, in hexadecimal digits.
    pub blake3: String,
}

/// A file on disk that is to be added to a drive.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NewFile {
    /// Where it is.
    pub source: String,
    /// What it is called in the drive. A file of that name gets a new version.
    pub name: String,
    /// The id of the folder that it goes to; nothing is the root.
    #[uniffi(default = None)]
    pub folder: Option<String>,
}

/// A file of a drive that is to be written to disk.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct WantedFile {
    /// Its id.
    pub file: String,
    /// Where to.
    pub destination: String,
}

/// What a collection of content that nothing refers to did.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Collected {
    /// Bytes that were removed.
    pub removed_bytes: u64,
    /// Bytes that nothing refers to and that stay for a day.
    pub condemned_bytes: u64,
}

/// What files take on this device.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DriveUsage {
    /// In how many pieces.
    pub chunks: u64,
    /// Bytes of all versions, as far as they are here.
    pub bytes: u64,
    /// Bytes they may take, if that is limited.
    pub quota_bytes: Option<u64>,
}

impl Drive {
    pub(crate) fn new(session: Arc<Session>, drive: clave::Drive) -> Self {
        Self { session, drive }
    }

    async fn run<T: Send + 'static, F: Future<Output = Result<T, clave::Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(clave::Drive) -> F,
    ) -> Result<T, ClaveError> {
        self.session.run(work(self.drive.clone())).await
    }
}

#[uniffi::export]
impl Drive {
    /// Every file and folder, by path; those in the trash last.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn entries(&self) -> Result<Vec<FileEntry>, ClaveError> {
        let tree = self.run(|drive| async move { drive.tree().await }).await?;
        let entry = |node: &DriveNode| entry(node, tree.path(node.id).unwrap_or_default());
        let mut entries: Vec<FileEntry> = tree.nodes().map(entry).collect();
        entries.sort_by(|a, b| (a.trashed, &a.path, &a.id).cmp(&(b.trashed, &b.path, &b.id)));
        Ok(entries)
    }

    /// What lies in a folder, or in the root, in order of names; at the cost of what lies there, however much else the drive has. The
    /// paths begin at that folder.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    #[uniffi::method(default(folder = None))]
    pub async fn list(&self, folder: Option<String>) -> Result<Vec<FileEntry>, ClaveError> {
        let folder = folder_of(folder.as_ref())?;
        let nodes = self.run(|drive| async move { drive.list(folder).await }).await?;
        Ok(nodes.iter().map(|node| entry(node, format!("/{}", node.name))).collect())
    }

    /// The id of what is at a path.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn resolve(&self, path: String) -> Result<String, ClaveError> {
        let tree = self.run(|drive| async move { drive.tree().await }).await?;
        let node = tree.resolve(&path).map_err(|error| clave::Error::from(clave::EngineError::from(error)))?;
        Ok(node.to_string())
    }

    /// A new folder in another, or in the root.
    ///
    /// # Errors
    /// If the name cannot be used or is taken, or there is no such folder.
    #[uniffi::method(default(folder = None))]
    pub async fn create_folder(&self, name: String, folder: Option<String>) -> Result<String, ClaveError> {
        let folder = folder_of(folder.as_ref())?;
        Ok(self.run(|drive| async move { drive.create_folder(folder, &name).await }).await?.to_string())
    }

    /// Adds a file from disk to a folder, or the root; a file of that name there gets a new version. Its end gives the id.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `folder` is no id. All else is told by the transfer.
    #[uniffi::method(default(folder = None))]
    pub fn add(&self, source: String, name: String, folder: Option<String>) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, folder) = (self.drive.clone(), folder_of(folder.as_ref())?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            Ok(vec![drive.add(&PathBuf::from(source), folder, &name, progress).await?.to_string()])
        }))
    }

    /// Adds files from disk in one go: the drive has all of them or, up to 5,000, none. Its end gives their ids, in order.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_all(&self, files: Vec<NewFile>) -> Result<Arc<Transfer>, ClaveError> {
        let new = |file: NewFile| {
            let folder = folder_of(file.folder.as_ref())?;
            Ok(clave::NewFile { source: PathBuf::from(file.source), folder, name: file.name })
        };
        let files = files.into_iter().map(new).collect::<Result<Vec<_>, ClaveError>>()?;
        let drive = self.drive.clone();
        Ok(Transfer::begin(&self.session, |progress| async move {
            Ok(drive.add_all(files, progress).await?.iter().map(ToString::to_string).collect())
        }))
    }

    /// Adds a folder from disk with all that is in it. Its end gives the ids of the files.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    #[uniffi::method(default(folder = None))]
    pub fn add_folder(
        &self,
        source: String,
        name: String,
        folder: Option<String>,
    ) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, folder) = (self.drive.clone(), folder_of(folder.as_ref())?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            let added = drive.add_folder(&PathBuf::from(source), folder, &name, progress).await?;
            Ok(added.iter().map(ToString::to_string).collect())
        }))
    }

    /// Writes the newest content of a file to disk, having fetched what is missing from whoever has it; waits for somebody
    /// to come online if need be. The destination appears complete and checked or not at all.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if `file` is no id. All else is told by the transfer.
    pub fn get(&self, file: String, destination: String) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, file) = (self.drive.clone(), parse(&file, "file")?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            drive.get(file, &PathBuf::from(destination), progress).await?;
            Ok(Vec::new())
        }))
    }

    /// The same for an earlier version.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_version(&self, file: String, version: String, destination: String) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, file) = (self.drive.clone(), parse(&file, "file")?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            let version = version_of(&drive, file, &version).await?;
            drive.get_version(&version, &PathBuf::from(destination), progress).await?;
            Ok(Vec::new())
        }))
    }

    /// The same as [`get`](Self::get) for many files, each to its destination, with one request for all.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_all(&self, files: Vec<WantedFile>) -> Result<Arc<Transfer>, ClaveError> {
        let wanted = |file: WantedFile| Ok((parse(&file.file, "file")?, PathBuf::from(file.destination)));
        let files = files.into_iter().map(wanted).collect::<Result<Vec<_>, ClaveError>>()?;
        let drive = self.drive.clone();
        Ok(Transfer::begin(&self.session, |progress| async move {
            drive.get_all(files, progress).await?;
            Ok(Vec::new())
        }))
    }

    /// The same for everything in a folder, or the root: `destination` is the folder on disk that gets its content.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[uniffi::method(default(folder = None))]
    pub fn get_folder(&self, destination: String, folder: Option<String>) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, folder) = (self.drive.clone(), folder_of(folder.as_ref())?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            drive.get_folder(folder, &PathBuf::from(destination), progress).await?;
            Ok(Vec::new())
        }))
    }

    /// Fetches what is missing of the newest content of files, to have them offline; writes no file.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn fetch(&self, files: Vec<String>) -> Result<Arc<Transfer>, ClaveError> {
        let (drive, files) = (self.drive.clone(), crate::convert::parse_all(&files, "file")?);
        Ok(Transfer::begin(&self.session, |progress| async move {
            drive.fetch(files, progress).await?;
            Ok(Vec::new())
        }))
    }

    /// Every content that a file had, newest first.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn versions(&self, file: String) -> Result<Vec<FileVersion>, ClaveError> {
        let file = parse(&file, "file")?;
        let versions = self.run(|drive| async move { drive.versions(file).await }).await?;
        Ok(versions.iter().map(FileVersion::from).collect())
    }

    /// Makes an earlier content of a file its newest.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn restore_version(&self, file: String, version: String) -> Result<(), ClaveError> {
        let file = parse(&file, "file")?;
        let restore = |drive: clave::Drive| async move {
            let version = version_of(&drive, file, &version).await?;
            drive.restore_version(file, &version).await
        };
        self.run(restore).await
    }

    /// Gives a file or folder another name.
    ///
    /// # Errors
    /// If the name cannot be used or is taken, or there is no such thing.
    pub async fn rename(&self, id: String, name: String) -> Result<(), ClaveError> {
        let id = parse(&id, "file")?;
        self.run(|drive| async move { drive.edit(move |drive, _| drive.rename(id, &name)).await }).await
    }

    /// Moves a file or folder to a folder, or the root.
    ///
    /// # Errors
    /// If it would be inside itself, or there is no such thing.
    #[uniffi::method(default(folder = None))]
    pub async fn move_to(&self, id: String, folder: Option<String>) -> Result<(), ClaveError> {
        let (id, folder) = (parse(&id, "file")?, folder_of(folder.as_ref())?);
        self.run(|drive| async move { drive.edit(move |drive, _| drive.move_node(id, folder)).await }).await
    }

    /// Throws a file or folder away. It can be [restored](Self::restore).
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn trash(&self, id: String) -> Result<(), ClaveError> {
        let id = parse(&id, "file")?;
        self.run(|drive| async move { drive.edit(move |drive, _| drive.trash(id)).await }).await
    }

    /// Takes a file or folder out of the trash.
    ///
    /// # Errors
    /// [`ClaveError::NotFound`].
    pub async fn restore(&self, id: String) -> Result<(), ClaveError> {
        let id = parse(&id, "file")?;
        self.run(|drive| async move { drive.edit(move |drive, _| drive.restore(id)).await }).await?;
        Ok(())
    }

    /// What the content of the circle's files takes on this device.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn usage(&self) -> Result<DriveUsage, ClaveError> {
        let usage = self.run(|drive| async move { drive.usage().await }).await?;
        Ok(DriveUsage { chunks: usage.chunks, bytes: usage.bytes, quota_bytes: usage.quota_bytes })
    }

    /// How many bytes it may take; nothing: as many as there is room for. What is there already stays.
    ///
    /// # Errors
    /// What the disk has to say.
    #[uniffi::method(default(quota_bytes = None))]
    pub async fn set_quota(&self, quota_bytes: Option<u64>) -> Result<(), ClaveError> {
        self.run(|drive| async move { drive.set_quota(quota_bytes).await }).await
    }

    /// Removes content that no version of any file has had for a day, and gives its space back. With `versions_kept`, this device
    /// also does without the content of all but so many of the newest versions of each file; it can be fetched again from who
    /// has it, and is lost if nobody does.
    ///
    /// # Errors
    /// If the store cannot be read or the disk refuses; nothing that is needed is lost then.
    #[uniffi::method(default(versions_kept = None))]
    pub async fn collect(&self, versions_kept: Option<u32>) -> Result<Collected, ClaveError> {
        let kept = versions_kept.map(crate::convert::size);
        let collected = self.run(|drive| async move { drive.collect(kept).await }).await?;
        Ok(Collected { removed_bytes: collected.removed.bytes, condemned_bytes: collected.condemned.bytes })
    }
}

fn folder_of(folder: Option<&String>) -> Result<NodeId, ClaveError> {
    folder.map_or(Ok(NodeId::ROOT), |folder| parse(folder, "folder"))
}

async fn version_of(drive: &clave::Drive, file: NodeId, name: &str) -> Result<clave::FileVersion, clave::Error> {
    let versions = drive.versions(file).await?;
    let found = versions.into_iter().find(|version| FileVersion::from(version).id == name);
    found.map(|version| version.file).ok_or(clave::Error::NotFound("version"))
}

fn entry(node: &DriveNode, path: String) -> FileEntry {
    let file = node.current.as_ref().map(|version| &version.file);
    FileEntry {
        id: node.id.to_string(),
        name: node.name.clone(),
        folder: node.parent.to_string(),
        path,
        is_folder: node.id.is_folder(),
        trashed: node.trashed,
        bytes: file.map_or(0, |file| file.bytes),
        modified_ms: file.map_or(0, |file| file.modified_ms),
        media_type: file.map(|file| file.media_type.clone()).unwrap_or_default(),
        conflicts: crate::convert::count(node.conflicts.len()),
    }
}

impl From<&clave::Version> for FileVersion {
    fn from(version: &clave::Version) -> Self {
        Self {
            id: format!("{}-{}", version.id.counter, hex(&version.file.manifest[..8])),
            bytes: version.file.bytes,
            modified_ms: version.file.modified_ms,
            media_type: version.file.media_type.clone(),
            blake3: hex(&version.file.blake3),
        }
    }
}
