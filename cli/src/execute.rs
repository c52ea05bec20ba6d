//! Doing what was asked. The only place where requests meet the library.

use std::str::FromStr;
use std::time::Duration;

use clave::{ChangeHash, Event, InviteLink, Node, Space};
use tokio::sync::broadcast::error::RecvError;

use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::{Ask, Request};
use crate::wire::Out;

mod calendar;
mod chat;
mod file;
mod note;
mod space;
mod wait;

/// Does what was asked. Dropping the future cancels it.
pub(crate) async fn execute(node: &Node, request: &Request, out: &Out) -> Result<Reply, Failure> {
    let name = request.space.as_deref();
    match &request.ask {
        Ask::Whoami => return Ok(Reply::Profile(node.profile().into())),
        Ask::Status => return space::status(node).await,
        Ask::Stop => return Err(Failure::not_found("no node is running here")),
        Ask::SpaceNew { name } => return space::create(node, name).await,
        Ask::SpaceList => return Ok(Reply::Spaces { spaces: space::list(node).await? }),
        Ask::Join { link, timeout_ms } => {
            let link = InviteLink::from_str(link)?;
            return space::join(node, &link, Duration::from_millis(*timeout_ms)).await;
        }
        Ask::Wait(condition) if condition.needs_no_space() => return wait::online(node, condition).await,
        _ => {}
    }
    let space = space::find(node, name).await?;
    match &request.ask {
        Ask::SpaceShow => space::show(&space).await,
        Ask::Members => {
            Ok(Reply::Members { members: space.members().await?.into_iter().map(reply::Person::from).collect() })
        }
        Ask::Wait(condition) => wait::until(node, &space, condition).await,
        Ask::Invite { valid_ms, wait } => {
            space::invite(node, &space, Duration::from_millis(*valid_ms), *wait, out).await
        }
        Ask::InviteList => space::invitations(&space).await,
        Ask::InviteRevoke { invitation } => space::revoke(&space, invitation).await,

        Ask::ChatSend { body, reply_to } => chat::send(node, &space, body, reply_to.as_deref()).await,
        Ask::ChatHistory { count, before } => chat::history(&space, *count, before.as_deref()).await,
        Ask::ChatTail { count } => chat::tail(&space, *count, out).await,
        Ask::ChatEdit { message, body } => chat::edit(&space, message, body).await,
        Ask::ChatWithdraw { message } => chat::withdraw(&space, message).await,
        Ask::ChatReact { message, reaction, present } => chat::react(&space, message, reaction, *present).await,

        Ask::NoteNew { title, markdown } => note::create(&space, title, markdown).await,
        Ask::NoteList => note::list(&space).await,
        Ask::NoteShow { note } => note::show(&space, note).await,
        Ask::NoteMerge { note, heads, markdown } => note::merge(&space, note, heads, markdown).await,
        Ask::NoteText { note } => note::text(&space, note).await,
        Ask::NoteSplice { note, at, splices } => note::splice(node, &space, note, at, splices).await,

        Ask::CalAdd { event } => calendar::add(&space, event).await,
        Ask::CalAgenda { from_ms, to_ms, zone } => calendar::agenda(&space, *from_ms, *to_ms, zone).await,
        Ask::CalImport { ics } => calendar::import(&space, ics).await,
        Ask::CalExport => calendar::export(&space).await,
        Ask::CalRemove { event } => calendar::remove(&space, event).await,

        Ask::FileAdd { source, folder, name } => file::add(&space, source, folder, name, out).await,
        Ask::FileList { path } => file::list(&space, path).await,
        Ask::FileGet { path, destination } => file::get(&space, path, destination, out).await,
        Ask::FileMkdir { path } => file::mkdir(&space, path).await,
        Ask::FileMove { from, to } => file::rename(&space, from, to).await,
        Ask::FileRemove { path } => file::remove(&space, path).await,

        Ask::Whoami | Ask::Status | Ask::Stop | Ask::SpaceNew { .. } | Ask::SpaceList | Ask::Join { .. } => {
            unreachable!("answered above")
        }
    }
}

/// The one thing of `all` whose name this is, or whose id begins so.
fn pick<T>(
    all: Vec<T>,
    asked: &str,
    what: &str,
    id: impl Fn(&T) -> String,
    name: impl Fn(&T) -> &str,
) -> Result<T, Failure> {
    let mut named: Vec<T> = Vec::new();
    let mut begun: Vec<T> = Vec::new();
    for item in all {
        if name(&item) == asked {
            named.push(item);
        } else if !asked.is_empty() && id(&item).starts_with(&asked.to_ascii_lowercase()) {
            begun.push(item);
        }
    }
    let mut found = if named.is_empty() { begun } else { named };
    match (found.pop(), found.len()) {
        (Some(item), 0) => Ok(item),
        (None, _) => Err(Failure::not_found(format!("there is no {what} “{asked}” here; it may not have arrived yet"))),
        (Some(_), more) => Err(Failure::usage(format!("“{asked}” can mean {} {what}s", more + 1))
            .hint("name it by its id, or by the beginning of that: lists show them with --ids")),
    }
}

/// Waits for the next event that may matter. What was missed counts as one that does.
async fn next_event(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    matters: impl Fn(&Event) -> bool,
) -> Result<(), Failure> {
    loop {
        match events.recv().await {
            Ok(event) if matters(&event) => return Ok(()),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(clave::Error::Stopped.into()),
        }
    }
}

/// A space is in every answer that names one.
async fn space_reply(space: &Space) -> Result<reply::Space, Failure> {
    Ok(reply::Space { id: space.id().to_string(), name: space.name().await?, members: space.members().await?.len() })
}

/// Heads of a document, written in hexadecimal.
fn parse_heads(heads: &[String]) -> Result<Vec<ChangeHash>, Failure> {
    let parse = |text: &String| {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        ChangeHash::try_from(bytes.as_slice()).ok()
    };
    heads.iter().map(parse).collect::<Option<_>>().ok_or_else(|| Failure::usage("these are not heads of a document"))
}
