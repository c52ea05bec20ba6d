//! Waiting for something to be so.

use clave::{Event, Node};

use super::{circle, next_event, parse_heads};
use crate::failure::{Code, Failure};
use crate::reply::Reply;
use crate::request::{About, Condition};

impl Condition {
    pub(super) fn needs_no_space(&self) -> bool {
        self.members.is_none()
            && self.members_max.is_none()
            && self.messages.is_none()
            && self.file.is_none()
            && self.contains.is_none()
            && !self.rotated
            && !self.stored
            && !self.removed
    }
}

/// Waits for as many devices as that, and for being let in.
pub(super) async fn online(node: &Node, condition: &Condition) -> Result<Reply, Failure> {
    let mut events = node.events();
    while !node_fits(node, condition).await? {
        let matters = |event: &Event| {
            matches!(
                event,
                Event::Presence { .. } | Event::Rejoined { .. } | Event::Joined { .. } | Event::JoinFailed { .. }
            )
        };
        next_event(&mut events, matters).await?;
    }
    Ok(Reply::Done)
}

/// Waits until all of it holds. A circle may come to be known meanwhile.
pub(super) async fn until(node: &Node, about: &About, condition: &Condition) -> Result<Reply, Failure> {
    let mut events = node.events();
    while !holds(node, about, condition).await? {
        let matters = |event: &Event| {
            matches!(
                event,
                Event::DocumentChanged { .. }
                    | Event::MembershipChanged { .. }
                    | Event::EpochChanged { .. }
                    | Event::CircleJoined { .. }
                    | Event::Rejoined { .. }
                    | Event::Joined { .. }
                    | Event::JoinFailed { .. }
                    | Event::Removed { .. }
                    | Event::Stored { .. }
                    | Event::Presence { .. }
            )
        };
        next_event(&mut events, matters).await?;
    }
    Ok(Reply::Done)
}

async fn node_fits(node: &Node, condition: &Condition) -> Result<bool, Failure> {
    if condition.rejoined && !node.rejoining().await?.is_empty() {
        return Ok(false);
    }
    if condition.joined && !node.pending_joins().await?.is_empty() {
        return Ok(false);
    }
    let online = node.status().await?.peers.len();
    Ok(condition.online.is_none_or(|min| online >= min) && condition.online_max.is_none_or(|max| online <= max))
}

async fn holds(node: &Node, about: &About, condition: &Condition) -> Result<bool, Failure> {
    let circle = match circle::find(node, about).await {
        Ok(place) => place.circle,
        Err(failure) if failure.code == Code::NotFound && about.circle.is_some() => return Ok(false),
        Err(failure) => return Err(failure),
    };
    if condition.removed && circle.departure().await?.is_none() {
        return Ok(false);
    }
    if condition.rotated && !circle.access().await?.rotated {
        return Ok(false);
    }
    if condition.stored && circle.waiting_for_relays().await? > 0 {
        return Ok(false);
    }
    if let Some(members) = condition.members_max
        && circle.members().await?.len() > members
    {
        return Ok(false);
    }
    if let Some(members) = condition.members
        && circle.members().await?.len() < members
    {
        return Ok(false);
    }
    if let Some(messages) = condition.messages
        && circle.timeline().len().await? < messages
    {
        return Ok(false);
    }
    if let Some(path) = &condition.file {
        // Until the drive itself has arrived, it is one without anything in it.
        let arrived = circle.documents().await?.iter().any(|document| document.kind == clave::DocumentKind::Drive);
        if !arrived || super::file::resolve(&circle.drive().tree().await?, path).is_err() {
            return Ok(false);
        }
    }
    if !node_fits(node, condition).await? {
        return Ok(false);
    }
    let Some(wanted) = &condition.contains else { return Ok(true) };
    let mut changes = Vec::new();
    for (document, heads) in wanted {
        let document = document.parse().map_err(|_| Failure::usage(format!("“{document}” is not a document id")))?;
        changes.push((document, parse_heads(heads)?));
    }
    Ok(circle.contains(changes).await?)
}
