//! A person's account: its export, and the state after a restore.

use std::path::Path;
use std::time::Duration;

use clave::{BackupPlan, Circle, Node, RecoveryPhrase};

use super::{circle::Place, device};
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::Secret;
use crate::wire::Out;

pub(super) async fn export(node: &Node, file: &Path, phrase: &Secret, with_files: bool) -> Result<Reply, Failure> {
    let phrase = RecoveryPhrase::parse(phrase.words())?;
    let exported = node.export_account(file, &phrase, with_files).await?;
    Ok(Reply::Exported {
        file: file.display().to_string(),
        bytes: exported.bytes,
        records: exported.records,
        with_files,
    })
}

pub(super) async fn back_up(
    node: &Node,
    file: &Path,
    phrase: &Secret,
    plan: BackupPlan,
    out: &Out,
) -> Result<Reply, Failure> {
    let phrase = RecoveryPhrase::parse(phrase.words())?;
    let made = node.back_up(file, &phrase, plan, |progress| out.progress(progress)).await?;
    let (file, with_files) = (file.display().to_string(), plan.with_files);
    Ok(Reply::Exported { file, bytes: made.bytes, records: made.records, with_files })
}

pub(super) async fn open_export(node: &Node, directory: &Path, wait: Duration, out: &Out) -> Result<Reply, Failure> {
    let done = node.export_open(directory, wait, |progress| out.progress(progress)).await?;
    Ok(Reply::OpenExported(reply::OpenExported {
        directory: directory.display().to_string(),
        circles: done.circles,
        messages: done.messages,
        notes: done.notes,
        events: done.events,
        files: done.files + done.kept_files,
        documents: done.documents,
        missing: done.missing.iter().map(|path| path.display().to_string()).collect(),
    }))
}

pub(super) async fn check_phrase(node: &Node, phrase: &Secret) -> Result<Reply, Failure> {
    node.check_phrase(&RecoveryPhrase::parse(phrase.words())?).await?;
    Ok(Reply::Done)
}

pub(super) async fn change_phrase(node: &Node, former: &Secret, next: &Secret) -> Result<Reply, Failure> {
    node.change_phrase(&RecoveryPhrase::parse(former.words())?, &RecoveryPhrase::parse(next.words())?).await?;
    Ok(Reply::Done)
}

pub(super) async fn begin_anew(node: &Node, place: &Place) -> Result<Reply, Failure> {
    if !node.rejoining().await?.contains(&place.circle.id()) {
        return Err(Failure::usage(format!(
            "this device can write in “{}”: there is nothing to begin anew",
            place.name
        )));
    }
    node.begin_anew(place.circle.id()).await?;
    Ok(Reply::Done)
}

/// Where this restored device has not been let in yet.
pub(crate) async fn rejoining(node: &Node) -> Result<Vec<reply::Rejoining>, Failure> {
    let waiting = node.rejoining().await?;
    let mut found = Vec::new();
    if waiting.is_empty() {
        return Ok(found);
    }
    for space in node.spaces().await? {
        if waiting.contains(&space.id()) {
            found.push(shown(space.everybody(), space.name().await?, None).await?);
        }
        for info in space.circles().await? {
            if info.id != space.id() && waiting.contains(&info.id) {
                let within = Some(space.name().await?);
                found.push(shown(&space.circle(info.id).await?, info.name, within).await?);
            }
        }
    }
    Ok(found)
}

async fn shown(circle: &Circle, name: String, space: Option<String>) -> Result<reply::Rejoining, Failure> {
    let alone = circle.members().await?.iter().all(|member| member.is_me);
    Ok(reply::Rejoining { id: circle.id().to_string(), name, space, alone })
}

/// What the person's other devices are called.
pub(crate) async fn other_devices(node: &Node) -> Result<Vec<String>, Failure> {
    let me = node.profile().device;
    Ok(device::mine(node).await?.into_iter().filter(|known| known.device != me).map(|known| known.name).collect())
}
