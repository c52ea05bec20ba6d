//! Spaces, people, invitations.

use std::collections::BTreeMap;
use std::time::Duration;

use clave::{Circle, InvitationState, InviteLink, Node, Space};

use super::circle::Place;
use super::{next_event, pick, space_reply, suite};
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::wire::Out;

/// How long a node may take until it listens somewhere.
pub(super) const LISTEN_PATIENCE: Duration = Duration::from_secs(5);

/// The space that was named, or the only one.
pub(super) async fn find(node: &Node, asked: Option<&str>) -> Result<Space, Failure> {
    let mut known = Vec::new();
    for space in node.spaces().await? {
        known.push((space.name().await?, space));
    }
    let Some(asked) = asked else {
        return match known.len() {
            1 => Ok(known.remove(0).1),
            0 => Err(Failure::not_found("this device is in no space yet")
                .hint("found one with `clave space new NAME`, or join one with `clave join LINK`")),
            _ => {
                let names: Vec<_> = known.iter().map(|(name, _)| format!("“{name}”")).collect();
                Err(Failure::usage(format!("this device is in several spaces: {}", names.join(", ")))
                    .hint("say which with --space NAME"))
            }
        };
    };
    Ok(pick(known, asked, "space", |(_, space)| space.id().to_string(), |(name, _)| name)?.1)
}

pub(super) async fn create(node: &Node, name: &str, post_quantum: bool) -> Result<Reply, Failure> {
    let space = node.create_space_of(name, suite(post_quantum)).await?;
    Ok(Reply::Spaces { spaces: vec![space_reply(&space).await?] })
}

pub(crate) async fn list(node: &Node) -> Result<Vec<reply::Space>, Failure> {
    let mut spaces = Vec::new();
    for space in node.spaces().await? {
        spaces.push(space_reply(&space).await?);
    }
    spaces.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(spaces)
}

pub(super) async fn show(place: &Place) -> Result<Reply, Failure> {
    let space = &place.circle;
    let status = space.status().await?;
    Ok(Reply::Space(reply::SpaceDetail {
        id: space.id().to_string(),
        name: place.name.clone(),
        members: super::people::members(space).await?,
        messages: space.timeline().len().await?,
        epoch: status.epoch.to_string(),
        commits: status.depth,
        post_quantum: status.suite.is_post_quantum(),
        devices: status.leaves,
        entries: status.entries,
        held: status.held,
        documents: space.documents().await?.into_iter().map(reply::Document::from).collect(),
    }))
}

pub(super) async fn status(node: &Node) -> Result<Reply, Failure> {
    let status = node.status().await?;
    let (mut names, mut people) = (BTreeMap::new(), BTreeMap::new());
    for space in node.spaces().await? {
        for member in space.members().await? {
            for device in member.devices {
                names.insert(device.device, format!("{} ({})", member.name, device.name));
                people.insert(device.device, member.name.clone());
            }
        }
    }
    let (mut relays, mut space_names) = (Vec::new(), BTreeMap::new());
    for space in node.spaces().await? {
        let of = super::relay::of(&space).await?;
        space_names.insert(space.id(), of.space.clone());
        relays.extend(Some(of).filter(|of| !of.relays.is_empty()));
    }
    let circuits = status.relays.into_iter().filter(|relay| relay.circuits);
    let reservations = circuits.map(|relay| reply::Reservation::of(relay, |id| space_names.get(id).cloned())).collect();
    let mut asked_by = Vec::new();
    for (device, step) in node.verifications().await? {
        if step == clave::VerificationStep::Requested {
            asked_by.push(people.get(&device).cloned().unwrap_or_default());
        }
    }
    let peer = |peer: clave::PeerStatus| reply::Peer {
        device: peer.device.to_string(),
        name: names.get(&peer.device).cloned().unwrap_or_default(),
        address: peer.address,
        way: peer.way.into(),
        round_trip_ms: peer.round_trip.map(|time| (time.as_secs_f64() * 1e5).round() / 1e2),
        sent_bytes: peer.sent_bytes,
        received_bytes: peer.received_bytes,
    };
    let refused = |(reason, count): (clave::Refusal, u64)| reply::Refused { reason: reason.to_string(), count };
    Ok(Reply::Status(reply::Status {
        profile: node.profile().into(),
        // Whoever prints this knows better.
        running: false,
        pid: std::process::id(),
        directory: String::new(),
        addresses: status.addresses,
        reachability: status.reachability.into(),
        reservations,
        peers: status.peers.into_iter().map(peer).collect(),
        sent_bytes: status.sent_bytes,
        received_bytes: status.received_bytes,
        store_bytes: status.store_bytes,
        refusals: status.refusals.into_iter().map(refused).collect(),
        asked_by,
        spaces: list(node).await?,
        rejoining: super::rejoining(node).await?,
        joining: node.pending_joins().await?.into_iter().map(pending_reply).collect(),
        relays,
    }))
}

pub(super) async fn join(node: &Node, link: &InviteLink, timeout: Duration) -> Result<Reply, Failure> {
    let space = match node.join(link, timeout).await {
        Ok(space) => space,
        Err(clave::Error::JoinPending(pending)) => return Ok(Reply::Asked(pending_reply(*pending))),
        Err(error) => return Err(error.into()),
    };
    let members = space.members().await?.len();
    Ok(Reply::Joined { space: space_reply(&space).await?, members })
}

pub(super) async fn cancel_joins(node: &Node, link: Option<&InviteLink>) -> Result<Reply, Failure> {
    let pending = node.pending_joins().await?;
    let meant: Vec<_> =
        pending.into_iter().filter(|known| link.is_none_or(|link| link.invitation == known.invitation)).collect();
    if meant.is_empty() {
        return Err(Failure::not_found("no request to join waits for an answer").hint("`clave status` lists them"));
    }
    for known in meant {
        node.cancel_join(known.invitation).await?;
    }
    Ok(Reply::Done)
}

fn pending_reply(pending: clave::PendingJoin) -> reply::PendingJoin {
    reply::PendingJoin {
        id: pending.invitation.to_string(),
        space: pending.space_name,
        expires_ms: pending.expires_ms,
        at_relay: pending.state != clave::PendingJoinState::Asking,
    }
}

pub(super) async fn invite(
    node: &Node,
    place: &Place,
    valid: Duration,
    wait: bool,
    out: &Out,
) -> Result<Reply, Failure> {
    // A link without addresses is of no use but on the local network.
    let listening = tokio::time::timeout(LISTEN_PATIENCE, node.listening()).await;
    if let Ok(listening) = listening {
        listening?;
    }
    let circle = &place.circle;
    let mut events = node.events();
    let link = circle.invite(valid).await?;
    let reply = Reply::Invitation(reply::Link {
        id: link.invitation.to_string(),
        link: link.to_string(),
        space: link.space_name.clone(),
        expires_ms: link.expires_ms,
        addresses: link.addresses.clone(),
    });
    if !wait {
        return Ok(reply);
    }
    out.item(reply).await?;
    loop {
        let invitations = circle.invitations().await?;
        let state = invitations.iter().find(|known| known.id == link.invitation).map(|known| known.state);
        match state {
            Some(InvitationState::Used(_)) => {
                let members = circle.members().await?.len();
                let (id, name) = (circle.id().to_string(), place.name.clone());
                let post_quantum = circle.status().await?.suite.is_post_quantum();
                let space = reply::Space { id, name, members, post_quantum, removed: None };
                return Ok(Reply::Joined { space, members });
            }
            Some(InvitationState::Open) => {}
            _ => return Err(Failure::unreachable("nobody took the invitation up in time").hint("make another")),
        }
        let left_ms = link.expires_ms.saturating_sub(crate::time::now_ms());
        let expiry = tokio::time::sleep(Duration::from_millis(left_ms.saturating_add(1)));
        tokio::select! {
            event = next_event(&mut events, |event| matches!(event, clave::Event::MembershipChanged { .. })) => event?,
            () = expiry => {}
        }
    }
}

pub(super) async fn invitations(circle: &Circle) -> Result<Reply, Failure> {
    let members = circle.members().await?;
    let name_of = |device| {
        members.iter().find(|member| member.devices.iter().any(|known| known.device == device)).map(|m| m.name.clone())
    };
    let mut invitations: Vec<_> = circle.invitations().await?;
    invitations.sort_by_key(|info| info.expires_ms);
    let reply = |info: &clave::InvitationInfo| {
        let used_by = match info.state {
            InvitationState::Used(device) => Some(name_of(device).unwrap_or_else(|| device.short())),
            _ => None,
        };
        reply::Invitation::new(info, used_by)
    };
    Ok(Reply::Invitations { invitations: invitations.iter().map(reply).collect() })
}

pub(super) async fn revoke(circle: &Circle, asked: &str) -> Result<Reply, Failure> {
    let all = circle.invitations().await?;
    let found = pick(all, asked, "invitation", |info| info.id.to_string(), |_| "\0")?;
    if let InvitationState::Used(_) = found.state {
        return Err(Failure::new(
            crate::failure::Code::Refused,
            "this invitation was already used: whoever joined with it stays in the space",
        ));
    }
    circle.revoke_invitation(found.id).await?;
    Ok(Reply::Done)
}
