//! The chat.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use clave::{Circle, Draft, ListDiff, Message, MessageId, Node};

use super::circle::{Place, until_out};
use super::pick;
use crate::failure::Failure;
use crate::reply::{Chat, Conversation, Reply};
use crate::wire::Out;

/// How many of the newest messages are looked through for the beginning of an id.
const SEARCH_MAX: usize = 5_000;

pub(super) async fn send(node: &Node, circle: &Circle, body: &str, reply_to: Option<&str>) -> Result<Reply, Failure> {
    if body.trim().is_empty() {
        return Err(Failure::usage("there is nothing to send"));
    }
    let reply_to = match reply_to {
        Some(asked) => Some(find(circle, asked).await?),
        None => None,
    };
    let id = circle.timeline().post(Draft { reply_to, ..Draft::text(body) }).await?;
    Ok(Reply::Sent { id: id.to_string(), online: online(node, circle).await? })
}

/// How many other devices of the space are connected.
async fn online(node: &Node, circle: &Circle) -> Result<usize, Failure> {
    let me = node.profile().device;
    let members = circle.members().await?;
    Ok(members.iter().flat_map(|member| &member.devices).filter(|d| d.online && d.device != me).count())
}

pub(super) async fn history(circle: &Circle, count: usize, before: Option<&str>) -> Result<Reply, Failure> {
    let before = match before {
        Some(asked) => Some(find(circle, asked).await?),
        None => None,
    };
    let messages = circle.timeline().history(count, before).await?;
    Ok(Reply::Messages { messages: messages.into_iter().map(Chat::from).collect() })
}

/// Never returns but by a failure: it goes on until the client has had enough.
pub(super) async fn tail(node: &Node, place: &Place, count: usize, out: &Out) -> Result<Reply, Failure> {
    let circle = &place.circle;
    let mut events = node.events();
    let mut updates = circle.timeline().observe(count);
    let mut shown: Vec<Message> = Vec::new();
    loop {
        let steps = tokio::select! {
            steps = updates.next() => steps?,
            out = until_out(&mut events, place) => return Err(out),
        };
        for step in steps {
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

pub(super) async fn inbox(node: &Node) -> Result<Reply, Failure> {
    let items = node.inbox().await?;
    let spaces: BTreeMap<_, _> = items.iter().map(|item| (item.circle.id, item.circle.name.clone())).collect();
    let items = items.into_iter().map(|item| Conversation::of(item, &spaces)).collect();
    Ok(Reply::Inbox { items })
}

pub(super) async fn read(circle: &Circle, message: Option<&str>) -> Result<Reply, Failure> {
    let up_to = match message {
        Some(asked) => Some(find(circle, asked).await?),
        None => None,
    };
    circle.mark_read(up_to).await?;
    Ok(Reply::Done)
}

pub(super) async fn edit(circle: &Circle, message: &str, body: &str) -> Result<Reply, Failure> {
    circle.timeline().edit(find(circle, message).await?, body).await?;
    Ok(Reply::Done)
}

pub(super) async fn withdraw(circle: &Circle, message: &str) -> Result<Reply, Failure> {
    circle.timeline().withdraw(find(circle, message).await?).await?;
    Ok(Reply::Done)
}

pub(super) async fn react(circle: &Circle, message: &str, reaction: &str, present: bool) -> Result<Reply, Failure> {
    circle.timeline().react(find(circle, message).await?, reaction, present).await?;
    Ok(Reply::Done)
}

/// A message by its id, by the beginning of it, or `last` for one's own newest.
async fn find(circle: &Circle, asked: &str) -> Result<MessageId, Failure> {
    if let Ok(id) = MessageId::from_str(asked) {
        return Ok(id);
    }
    let recent = circle.timeline().history(SEARCH_MAX, None).await?;
    if asked == "last" {
        let mine = recent.iter().rev().find(|message| message.author.is_me && !message.withdrawn);
        return mine.map(|message| message.id).ok_or_else(|| Failure::not_found("there is no message of yours here"));
    }
    Ok(pick(recent, asked, "message", |message| message.id.to_string(), |_| "\0")?.id)
}
