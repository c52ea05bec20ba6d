//! The chat.

use std::str::FromStr as _;

use clave::{Draft, ListDiff, Message, MessageId, Node, Space};

use super::pick;
use crate::failure::Failure;
use crate::reply::{Chat, Reply};
use crate::wire::Out;

/// How many of the newest messages are looked through for the beginning of an id.
const SEARCH_MAX: usize = 5_000;

pub(super) async fn send(node: &Node, space: &Space, body: &str, reply_to: Option<&str>) -> Result<Reply, Failure> {
    if body.trim().is_empty() {
        return Err(Failure::usage("there is nothing to send"));
    }
    let reply_to = match reply_to {
        Some(asked) => Some(find(space, asked).await?),
        None => None,
    };
    let id = space.timeline().post(Draft { reply_to, ..Draft::text(body) }).await?;
    Ok(Reply::Sent { id: id.to_string(), online: online(node, space).await? })
}

/// How many other devices of the space are connected.
async fn online(node: &Node, space: &Space) -> Result<usize, Failure> {
    let me = node.profile().device;
    let members = space.members().await?;
    Ok(members.iter().flat_map(|member| &member.devices).filter(|d| d.online && d.device != me).count())
}

pub(super) async fn history(space: &Space, count: usize, before: Option<&str>) -> Result<Reply, Failure> {
    let before = match before {
        Some(asked) => Some(find(space, asked).await?),
        None => None,
    };
    let messages = space.timeline().history(count, before).await?;
    Ok(Reply::Messages { messages: messages.into_iter().map(Chat::from).collect() })
}

/// Never returns but by a failure: it goes on until the client has had enough.
pub(super) async fn tail(space: &Space, count: usize, out: &Out) -> Result<Reply, Failure> {
    let mut updates = space.timeline().observe(count);
    let mut shown: Vec<Message> = Vec::new();
    loop {
        for step in updates.next().await? {
            let (changed, gone): (Vec<Message>, Option<MessageId>) = match &step {
                ListDiff::Reset(messages) | ListDiff::Append(messages) => (messages.clone(), None),
                ListDiff::Insert { item, .. } | ListDiff::Set { item, .. } => (vec![item.clone()], None),
                ListDiff::Remove { index } => (Vec::new(), shown.get(*index).map(|message| message.id)),
            };
            step.apply(&mut shown);
            for message in changed {
                out.item(Reply::Message(message.into())).await?;
            }
            if let Some(id) = gone {
                out.item(Reply::Gone { id: id.to_string() }).await?;
            }
        }
    }
}

pub(super) async fn edit(space: &Space, message: &str, body: &str) -> Result<Reply, Failure> {
    space.timeline().edit(find(space, message).await?, body).await?;
    Ok(Reply::Done)
}

pub(super) async fn withdraw(space: &Space, message: &str) -> Result<Reply, Failure> {
    space.timeline().withdraw(find(space, message).await?).await?;
    Ok(Reply::Done)
}

pub(super) async fn react(space: &Space, message: &str, reaction: &str, present: bool) -> Result<Reply, Failure> {
    space.timeline().react(find(space, message).await?, reaction, present).await?;
    Ok(Reply::Done)
}

/// A message by its id, by the beginning of it, or `last` for one's own newest.
async fn find(space: &Space, asked: &str) -> Result<MessageId, Failure> {
    if let Ok(id) = MessageId::from_str(asked) {
        return Ok(id);
    }
    let recent = space.timeline().history(SEARCH_MAX, None).await?;
    if asked == "last" {
        let mine = recent.iter().rev().find(|message| message.author.is_me && !message.withdrawn);
        return mine.map(|message| message.id).ok_or_else(|| Failure::not_found("there is no message of yours here"));
    }
    Ok(pick(recent, asked, "message", |message| message.id.to_string(), |_| "\0")?.id)
}
