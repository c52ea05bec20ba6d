//! Files.

use std::path::Path;

use clave::{Circle, NodeId, Progress, Tree};

use crate::failure::Failure;
use crate::reply::{self, Reply, hex};
use crate::wire::Out;

pub(super) async fn add(circle: &Circle, source: &Path, folder: &str, name: &str, out: &Out) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let parent = resolve(&drive.tree().await?, folder)?;
    if source.is_dir() {
        drive.add_folder(source, parent, name, |progress: Progress| out.progress(progress)).await?;
        let tree = drive.tree().await?;
        let id = tree.list(parent)?.into_iter().find(|node| node.name == name).map(|node| node.id);
        return one(&tree, id.ok_or_else(|| Failure::not_found("the folder was removed meanwhile"))?);
    }
    let id = drive.add(source, parent, name, |progress: Progress| out.progress(progress)).await?;
    one(&drive.tree().await?, id)
}

pub(super) async fn list(circle: &Circle, path: &str) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let path = format!("/{}", path.trim_matches('/'));
    let (folder, nodes) = match drive.resolve(&path).await.map_err(|error| not_there(error, &path))? {
        Some(node) if !node.id.is_folder() => (split(&path).0, vec![node]),
        node => (path.as_str(), drive.list(node.map_or(NodeId::ROOT, |node| node.id)).await?),
    };
    let files =
        nodes.iter().map(|node| shown(format!("{}/{}", folder.trim_end_matches('/'), node.name), node)).collect();
    Ok(Reply::Files { path, files })
}

pub(super) async fn get(circle: &Circle, path: &str, destination: &Path, out: &Out) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let tree = drive.tree().await?;
    let id = resolve(&tree, path)?;
    if id.is_folder() {
        drive.get_folder(id, destination, |progress: Progress| out.progress(progress)).await?;
        let path = tree.path(id).unwrap_or_default();
        let files = tree.list(id)?.into_iter().map(|node| file(&tree, node)).collect();
        return if id == NodeId::ROOT { Ok(Reply::Files { path, files }) } else { one(&tree, id) };
    }
    drive.get(id, destination, |progress: Progress| out.progress(progress)).await?;
    one(&tree, id)
}

pub(super) async fn mkdir(circle: &Circle, path: &str) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let (folder, name) = split(path);
    let parent = resolve(&drive.tree().await?, folder)?;
    let id = drive.create_folder(parent, name).await?;
    one(&drive.tree().await?, id)
}

/// As `mv` does: into `to` if that is a folder, else to that name.
pub(super) async fn rename(circle: &Circle, from: &str, to: &str) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let tree = drive.tree().await?;
    let node = resolve(&tree, from)?;
    match resolve(&tree, to) {
        Ok(folder) if folder.is_folder() => drive.edit(move |drive, _| drive.move_node(node, folder)).await?,
        Ok(_) => return Err(clave::CrdtError::NameTaken.into()),
        Err(_) => {
            let (folder, name) = split(to);
            let (parent, name) = (resolve(&tree, folder)?, name.to_owned());
            drive
                .edit(move |drive, _| {
                    drive.move_node(node, parent)?;
                    drive.rename(node, &name)
                })
                .await?;
        }
    }
    one(&drive.tree().await?, node)
}

pub(super) async fn remove(circle: &Circle, path: &str) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let node = resolve(&drive.tree().await?, path)?;
    if node == NodeId::ROOT {
        return Err(Failure::usage("the drive itself cannot be thrown away"));
    }
    drive.edit(move |drive, _| drive.trash(node)).await?;
    Ok(Reply::Done)
}

pub(super) async fn versions(circle: &Circle, path: &str) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let versions = drive.versions(resolve(&drive.tree().await?, path)?).await?;
    let shown = |version: clave::Version| reply::FileVersion {
        bytes: version.file.bytes,
        modified_ms: Some(version.file.modified_ms).filter(|ms| *ms > 0),
        blake3: hex(version.file.blake3),
    };
    Ok(Reply::FileVersions { versions: versions.into_iter().map(shown).collect() })
}

pub(super) async fn restore(circle: &Circle, path: &str, version: usize) -> Result<Reply, Failure> {
    let drive = circle.drive();
    let node = resolve(&drive.tree().await?, path)?;
    let versions = drive.versions(node).await?;
    let version = version.checked_sub(1).and_then(|index| versions.get(index));
    let version = version
        .ok_or_else(|| Failure::not_found("the file has no such version").hint("`clave file versions` lists them"))?;
    drive.restore_version(node, &version.file).await?;
    one(&drive.tree().await?, node)
}

pub(super) async fn usage(circle: &Circle) -> Result<Reply, Failure> {
    let usage = circle.drive().usage().await?;
    Ok(Reply::FileUsage { chunks: usage.chunks, bytes: usage.bytes, quota_bytes: usage.quota_bytes })
}

pub(super) async fn set_quota(circle: &Circle, bytes: Option<u64>) -> Result<Reply, Failure> {
    circle.drive().set_quota(bytes).await?;
    usage(circle).await
}

pub(super) async fn collect(circle: &Circle, versions: Option<usize>) -> Result<Reply, Failure> {
    let collected = circle.drive().collect(versions).await?;
    Ok(Reply::FileCollected {
        removed_chunks: collected.removed.chunks,
        removed_bytes: collected.removed.bytes,
        condemned_chunks: collected.condemned.chunks,
        condemned_bytes: collected.condemned.bytes,
    })
}

/// A path in the drive, with or without the slash at its beginning.
pub(super) fn resolve(tree: &Tree, path: &str) -> Result<NodeId, Failure> {
    tree.resolve(&format!("/{}", path.trim_start_matches('/'))).map_err(|_| missing(path))
}

fn not_there(error: clave::Error, path: &str) -> Failure {
    if matches!(error, clave::Error::NotFound(_)) { missing(path) } else { error.into() }
}

fn missing(path: &str) -> Failure {
    Failure::not_found(format!("there is no “{path}” in the drive; it may not have arrived yet"))
}

/// The folder and the name in a path.
fn split(path: &str) -> (&str, &str) {
    path.trim_end_matches('/').rsplit_once('/').unwrap_or(("/", path))
}

fn one(tree: &Tree, id: NodeId) -> Result<Reply, Failure> {
    let node = tree.node(id).ok_or_else(|| Failure::not_found("the file was removed meanwhile"))?;
    Ok(Reply::File(file(tree, node)))
}

fn file(tree: &Tree, node: &clave::DriveNode) -> reply::File {
    shown(tree.path(node.id).unwrap_or_else(|| node.name.clone()), node)
}

fn shown(path: String, node: &clave::DriveNode) -> reply::File {
    let version = node.current.as_ref().map(|version| &version.file);
    reply::File {
        id: node.id.to_string(),
        path,
        folder: node.id.is_folder(),
        bytes: version.map(|version| version.bytes),
        modified_ms: version.map(|version| version.modified_ms).filter(|ms| *ms > 0),
        blake3: version.map(|version| hex(version.blake3)),
        conflicts: node.conflicts.len(),
    }
}
