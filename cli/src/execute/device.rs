//! One's own devices.

use std::time::Duration;

use clave::{DeviceId, Event, InvitationId, LinkCode, MemberDevice, Node};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::circle::Place;
use super::{next_event, people, pick};
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::wire::Out;

pub(super) async fn list(place: &Place) -> Result<Reply, Failure> {
    let members = place.circle.members().await?.into_iter().filter(|member| member.is_me);
    Ok(Reply::Members { members: members.map(reply::Person::from).collect(), evidence: Vec::new() })
}

/// Shows a code, and waits until a device has used it and has everything; or, if the person wants to be asked, until one
/// asks to be let in.
pub(super) async fn link(node: &Node, valid: Duration, confirm: bool, out: &Out) -> Result<Reply, Failure> {
    // A code that leads nowhere is of no use but on the local network.
    if let Ok(listening) = tokio::time::timeout(super::space::LISTEN_PATIENCE, node.listening()).await {
        listening?;
    }
    let mut events = node.events();
    let code = node.link_device(valid, confirm).await?;
    let expires_ms = crate::time::now_ms() + u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    let (text, typed) = (code.to_string(), code.typed());
    out.item(Reply::LinkCode(reply::LinkCode { code: text, typed, addresses: code.addresses.clone(), expires_ms }))
        .await?;
    if confirm {
        return Ok(Reply::LinkAsked(asked(&mut events, &code, valid).await?));
    }
    linked(node, &mut events, code.id(), valid).await
}

async fn asked(events: &mut Receiver<Event>, code: &LinkCode, valid: Duration) -> Result<reply::LinkAsked, Failure> {
    let asked = async {
        loop {
            match events.recv().await {
                Ok(Event::LinkRequested { link, device, device_name, sas }) if link == code.id() => {
                    let (emoji, digits) = reply::pictures(&sas);
                    let (link, device) = (link.to_string(), device.to_string());
                    return Ok(reply::LinkAsked { link, device, device_name, emoji, digits });
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Failure::from(clave::Error::Stopped)),
            }
        }
    };
    tokio::time::timeout(valid, asked).await.unwrap_or_else(|_| Err(unused()))
}

/// Lets the device in that asked, or turns it away.
pub(super) async fn confirm(
    node: &Node,
    link: &str,
    device: &str,
    accept: bool,
    valid: Duration,
) -> Result<Reply, Failure> {
    let link: InvitationId = link.parse().map_err(|_| Failure::usage("this is not a link"))?;
    let device: DeviceId = device.parse().map_err(|_| Failure::usage("this is not a device"))?;
    let mut events = node.events();
    node.confirm_link(link, device, accept).await?;
    if accept { linked(node, &mut events, link, valid).await } else { Ok(Reply::Done) }
}

async fn linked(
    node: &Node,
    events: &mut Receiver<Event>,
    id: InvitationId,
    valid: Duration,
) -> Result<Reply, Failure> {
    let taken = async {
        loop {
            match events.recv().await {
                Ok(Event::DeviceLinked { link, device }) if link == id => return Ok(device),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Failure::from(clave::Error::Stopped)),
            }
        }
    };
    let device = tokio::time::timeout(valid, taken).await.unwrap_or_else(|_| Err(unused()))?;
    let name = mine(node).await?.into_iter().find(|known| known.device == device).map(|known| known.name);
    Ok(Reply::Linked { device: device.to_string(), name: name.unwrap_or_else(|| device.short()) })
}

fn unused() -> Failure {
    Failure::unreachable("no device used the code in time").hint("`clave device link` makes another")
}

/// Says how a device is called, in every circle.
pub(super) async fn rename(node: &Node, asked: &str, name: &str) -> Result<Reply, Failure> {
    let device = pick(node.devices().await?, asked, "device", |d| d.device.to_string(), |d| &d.name)?;
    let name = clave::check_name(name).map_err(|error| Failure::usage(error).hint("choose another name"))?;
    node.rename_device(device.device, name).await?;
    Ok(Reply::Done)
}

/// Takes a device out of every circle that this one is in with it, and waits until the keys have changed.
pub(super) async fn revoke(node: &Node, asked: &str, wait: Duration) -> Result<Reply, Failure> {
    let device = pick(mine(node).await?, asked, "device", |d| d.device.to_string(), |d| &d.name)?;
    if device.device == node.profile().device {
        return Err(Failure::usage("this is the device that you are using")
            .hint("revoke it from another one, or leave the space: clave space leave"));
    }
    let began = tokio::time::Instant::now();
    let mut events = node.events();
    let mut affected = Vec::new();
    for space in node.spaces().await? {
        let mut circles = vec![space.everybody().clone()];
        for info in space.circles().await? {
            if info.id != space.id() {
                circles.push(space.circle(info.id).await?);
            }
        }
        for circle in circles {
            let members = circle.members().await?;
            let here = members.iter().any(|member| member.devices.iter().any(|known| known.device == device.device));
            if here && circle.departure().await?.is_none() {
                affected.push(circle);
            }
        }
    }
    node.revoke_device(device.device).await?;
    let mut rotated_ms = None;
    loop {
        let rotation = people::rotation(node, &affected).await?;
        let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if rotation.rotated {
            rotated_ms.get_or_insert(waited_ms);
        }
        let moved = |event: &Event| {
            use Event::{EpochChanged, KeysConfirmed, MembershipChanged};
            matches!(event, EpochChanged { .. } | KeysConfirmed { .. } | MembershipChanged { .. })
        };
        let next = tokio::time::timeout_at(began + wait, next_event(&mut events, moved));
        if !rotation.finished && next.await.is_ok() {
            continue;
        }
        let (confirmed, unconfirmed) = (rotation.confirmed, rotation.unconfirmed);
        let rotation = reply::Rotation { rotated_ms, waited_ms, confirmed, unconfirmed };
        return Ok(Reply::Revoked { name: device.name, circles: affected.len(), rotation });
    }
}

/// The devices of this person, each once.
pub(super) async fn mine(node: &Node) -> Result<Vec<MemberDevice>, Failure> {
    let mut mine: Vec<MemberDevice> = Vec::new();
    for space in node.spaces().await? {
        for member in space.members().await?.into_iter().filter(|member| member.is_me) {
            for device in member.devices {
                if mine.iter().all(|known| known.device != device.device) {
                    mine.push(device);
                }
            }
        }
    }
    Ok(mine)
}
