//! Doing what was asked. The only place where requests meet the library.

use std::str::FromStr;
use std::time::Duration;

use clave::{BackupPlan, ChangeHash, Event, InviteLink, Node, Scope, Space, Suite};
use tokio::sync::broadcast::error::RecvError;

use crate::failure::{Code, Failure};
use crate::reply::{self, Reply};
use crate::request::{Ask, Request};
use crate::wire::Out;

pub(crate) use account::{other_devices, rejoining};
pub(crate) use space::list as spaces;

mod account;
mod calendar;
mod chat;
mod circle;
mod device;
mod file;
mod note;
mod people;
mod push;
mod relay;
mod search;
mod space;
mod verify;
mod wait;

/// Does what was asked. Dropping the future cancels it.
pub(crate) async fn execute(node: &Node, request: &Request, out: &Out) -> Result<Reply, Failure> {
    match &request.ask {
        Ask::Whoami => return Ok(Reply::Profile(node.profile().into())),
        Ask::Status => return space::status(node).await,
        Ask::Stop => return Err(Failure::not_found("no node is running here")),
        Ask::SpaceNew { name, post_quantum } => return space::create(node, name, *post_quantum).await,
        Ask::Inbox => return chat::inbox(node).await,
        Ask::RelayToken { relay, token } => return relay::token(node, &request.about, relay, token.as_ref()).await,
        Ask::PushSet { url, keys, relay } => return push::set(node, url, keys.as_ref(), relay.as_deref()).await,
        Ask::PushClear => return push::clear(node).await,
        Ask::PushStatus => return push::status(node).await,
        Ask::SpaceList => return Ok(Reply::Spaces { spaces: space::list(node).await? }),
        Ask::Join { link, timeout_ms } => {
            let link = InviteLink::from_str(link)?;
            return space::join(node, &link, Duration::from_millis(*timeout_ms)).await;
        }
        Ask::JoinCancel { link } => {
            let link = link.as_deref().map(InviteLink::from_str).transpose()?;
            return space::cancel_joins(node, link.as_ref()).await;
        }
        Ask::AccountExport { file, phrase, with_files } => {
            return account::export(node, file, phrase, *with_files).await;
        }
        Ask::Backup { file, phrase, with_files, keep } => {
            let plan = BackupPlan { with_files: *with_files, keep: *keep };
            return account::back_up(node, file, phrase, plan, out).await;
        }
        Ask::OpenExport { directory, wait_ms } => {
            return account::open_export(node, directory, Duration::from_millis(*wait_ms), out).await;
        }
        Ask::PhraseCheck { phrase } => return account::check_phrase(node, phrase).await,
        Ask::PhraseChange { former, next } => return account::change_phrase(node, former, next).await,
        Ask::DeviceLink { valid_ms, confirm } => {
            return device::link(node, Duration::from_millis(*valid_ms), *confirm, out).await;
        }
        Ask::DeviceLinkConfirm { link, device, accept, valid_ms } => {
            return device::confirm(node, link, device, *accept, Duration::from_millis(*valid_ms)).await;
        }
        Ask::DeviceRename { device, name } => return device::rename(node, device, name).await,
        Ask::DeviceRevoke { device, wait_ms } => {
            return device::revoke(node, device, Duration::from_millis(*wait_ms)).await;
        }
        Ask::Wait(condition) if condition.needs_no_space() && request.about.circle.is_none() => {
            return wait::online(node, condition).await;
        }
        Ask::Wait(condition) => return wait::until(node, &request.about, condition).await,
        _ => {}
    }
    let place = circle::find(node, &request.about).await?;
    if let Some(departed) = circle::departed(&place.circle, &place.name).await? {
        if request.ask.needs_membership() {
            return Err(Failure::new(Code::Refused, departed).reason("removed"));
        }
        // Access says so itself.
        if !matches!(request.ask, Ask::Access | Ask::CircleList) {
            out.warn(departed).await?;
        }
    }
    let circle = &place.circle;
    match &request.ask {
        Ask::SpaceShow => space::show(&place).await,

        Ask::CircleNew { name, with, isolated, post_quantum } => {
            let scope = if *isolated { Scope::Isolated } else { Scope::Nested };
            circle::create(&place, name, with, scope, suite(*post_quantum)).await
        }
        Ask::CircleList => circle::list(&place).await,
        Ask::Leave => circle::leave(&place).await,
        Ask::Dm { person, body, count } => circle::direct(node, &place, person, body.as_deref(), *count).await,

        Ask::Members => people::list(&place).await,
        Ask::MembersAdd { person, role } => people::add(&place, person, role).await,
        Ask::MembersRemove { person, wait_ms } => {
            people::remove(node, &place, person, Duration::from_millis(*wait_ms), out).await
        }
        Ask::MembersRole { person, role } => people::set_role(&place, person, role).await,
        Ask::MembersGrant { person, until_ms } => people::grant(&place, person, *until_ms).await,
        Ask::Access => people::access(node, &place).await,
        Ask::DeviceList => device::list(&place).await,
        Ask::VerifyCompare { person } => verify::compare(node, &place, person, out).await,
        Ask::VerifyConfirm { device } => verify::confirm(node, &place, device).await,
        Ask::VerifyCancel { device } => verify::cancel(node, device).await,
        Ask::SafetyNumber { person } => verify::number(node, &place, person).await,
        Ask::MarkVerified { person, verified } => verify::mark(node, &place, person, *verified).await,
        Ask::SetAside => people::set_aside(&place).await,
        Ask::Keep { document } => people::keep(&place, document.as_deref()).await,
        Ask::BeginAnew => account::begin_anew(node, &place).await,
        Ask::Policies => people::policies(&place).await,
        Ask::PolicySet { key, value } => people::set_policy(&place, key, value).await,
        Ask::Relays => relay::list(&place).await,
        Ask::RelayAdd { address, token } => relay::add(node, &place, address, token.as_ref()).await,
        Ask::RelayRemove { relay } => relay::remove(&place, relay).await,
        Ask::Mute { muted } => push::mute(node, &place, *muted).await,
        Ask::Audit => people::audit(&place).await,

        Ask::Invite { valid_ms, wait } => {
            space::invite(node, &place, Duration::from_millis(*valid_ms), *wait, out).await
        }
        Ask::InviteList => space::invitations(circle).await,
        Ask::InviteRevoke { invitation } => space::revoke(circle, invitation).await,

        Ask::ChatSend { body, reply_to } => chat::send(node, circle, body, reply_to.as_deref()).await,
        Ask::ChatHistory { count, before } => chat::history(circle, *count, before.as_deref()).await,
        Ask::ChatTail { count } => chat::tail(node, &place, *count, out).await,
        Ask::ChatRead { message } => chat::read(circle, message.as_deref()).await,
        Ask::ChatEdit { message, body } => chat::edit(circle, message, body).await,
        Ask::ChatWithdraw { message } => chat::withdraw(circle, message).await,
        Ask::ChatReact { message, reaction, present } => chat::react(circle, message, reaction, *present).await,

        Ask::Search(asked) => search::search(&place, request.about.circle.is_some(), asked, out).await,

        Ask::NoteNew { title, markdown } => note::create(circle, title, markdown).await,
        Ask::NoteList => note::list(circle).await,
        Ask::NoteShow { note } => note::show(circle, note).await,
        Ask::NoteWatch { note } => note::watch(node, &place, note, out).await,
        Ask::NoteMerge { note, heads, markdown } => note::merge(circle, note, heads, markdown).await,
        Ask::NoteText { note } => note::text(circle, note).await,
        Ask::NoteSplice { note, at, splices } => note::splice(node, circle, note, at, splices).await,

        Ask::CalAdd { event } => calendar::add(circle, event).await,
        Ask::CalAgenda { from_ms, to_ms, zone } => calendar::agenda(circle, *from_ms, *to_ms, zone).await,
        Ask::CalImport { ics } => calendar::import(circle, ics).await,
        Ask::CalExport => calendar::export(circle).await,
        Ask::CalRemove { event } => calendar::remove(circle, event).await,

        Ask::FileAdd { source, folder, name } => file::add(circle, source, folder, name, out).await,
        Ask::FileList { path } => file::list(circle, path).await,
        Ask::FileGet { path, destination } => file::get(circle, path, destination, out).await,
        Ask::FileMkdir { path } => file::mkdir(circle, path).await,
        Ask::FileMove { from, to } => file::rename(circle, from, to).await,
        Ask::FileRemove { path } => file::remove(circle, path).await,
        Ask::FileVersions { path } => file::versions(circle, path).await,
        Ask::FileRestore { path, version } => file::restore(circle, path, *version).await,
        Ask::FileUsage => file::usage(circle).await,
        Ask::FileQuota { bytes } => file::set_quota(circle, *bytes).await,
        Ask::FileCollect { versions } => file::collect(circle, *versions).await,

        Ask::AccountExport { .. }
        | Ask::Backup { .. }
        | Ask::OpenExport { .. }
        | Ask::PhraseCheck { .. }
        | Ask::PhraseChange { .. }
        | Ask::DeviceLink { .. }
        | Ask::DeviceLinkConfirm { .. }
        | Ask::DeviceRename { .. }
        | Ask::DeviceRevoke { .. }
        | Ask::Whoami
        | Ask::Status
        | Ask::Stop
        | Ask::SpaceNew { .. }
        | Ask::SpaceList
        | Ask::Inbox
        | Ask::RelayToken { .. }
        | Ask::PushSet { .. }
        | Ask::PushClear
        | Ask::PushStatus
        | Ask::Join { .. }
        | Ask::JoinCancel { .. }
        | Ask::Wait(_) => {
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

fn suite(post_quantum: bool) -> Suite {
    if post_quantum { Suite::XWing } else { Suite::default() }
}

/// A space is in every answer that names one.
async fn space_reply(space: &Space) -> Result<reply::Space, Failure> {
    let (id, name) = (space.id().to_string(), space.name().await?);
    let removed = circle::departed(space, &name).await?;
    let post_quantum = space.status().await?.suite.is_post_quantum();
    Ok(reply::Space { id, name, members: space.members().await?.len(), post_quantum, removed })
}

/// Heads of a document, written in hexadecimal.
fn parse_heads(heads: &[String]) -> Result<Vec<ChangeHash>, Failure> {
    let parse = |text: &String| {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        ChangeHash::try_from(bytes.as_slice()).ok()
    };
    heads.iter().map(parse).collect::<Option<_>>().ok_or_else(|| Failure::usage("these are not heads of a document"))
}
