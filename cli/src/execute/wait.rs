//! Waiting for something to be so.

use clave::{Event, Node, Space};

use super::{next_event, parse_heads};
use crate::failure::Failure;
use crate::reply::Reply;
use crate::request::Condition;

impl Condition {
    pub(super) fn needs_no_space(&self) -> bool {
        self.members.is_none() && self.messages.is_none() && self.file.is_none() && self.contains.is_none()
    }
}

/// Waits for as many devices as that.
pub(super) async fn online(node: &Node, condition: &Condition) -> Result<Reply, Failure> {
    let mut events = node.events();
    while !peers_fit(node, condition).await? {
        next_event(&mut events, |event| matches!(event, Event::Presence { .. })).await?;
    }
    Ok(Reply::Done)
}

/// Waits until all of it holds.
pub(super) async fn until(node: &Node, space: &Space, condition: &Condition) -> Result<Reply, Failure> {
    let mut events = node.events();
    while !holds(node, space, condition).await? {
        let matters = |event: &Event| {
            matches!(event, Event::DocumentChanged { .. } | Event::MembershipChanged { .. } | Event::Presence { .. })
        };
        next_event(&mut events, matters).await?;
    }
    Ok(Reply::Done)
}

async fn peers_fit(node: &Node, condition: &Condition) -> Result<bool, Failure> {
    let online = node.status().await?.peers.len();
    Ok(condition.online.is_none_or(|min| online >= min) && condition.online_max.is_none_or(|max| online <= max))
}

async fn holds(node: &Node, space: &Space, condition: &Condition) -> Result<bool, Failure> {
    if let Some(members) = condition.members
        && space.members().await?.len() < members
    {
        return Ok(false);
    }
    if let Some(messages) = condition.messages
        && space.timeline().len().await? < messages
    {
        return Ok(false);
    }
    if let Some(path) = &condition.file
        && super::file::resolve(&space.drive().tree().await?, path).is_err()
    {
        return Ok(false);
    }
    if !peers_fit(node, condition).await? {
        return Ok(false);
    }
    let Some(wanted) = &condition.contains else { return Ok(true) };
    let mut changes = Vec::new();
    for (document, heads) in wanted {
        let document = document.parse().map_err(|_| Failure::usage(format!("“{document}” is not a document id")))?;
        changes.push((document, parse_heads(heads)?));
    }
    Ok(space.contains(changes).await?)
}
