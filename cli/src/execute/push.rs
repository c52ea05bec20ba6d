//! Being woken.

use clave::{Node, PushEndpoint, PushHealth, PushKeys, RelayAddress};

use super::circle::Place;
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::Secret;

pub(super) async fn set(
    node: &Node,
    url: &str,
    keys: Option<&(String, Secret)>,
    relay: Option<&str>,
) -> Result<Reply, Failure> {
    let keys = keys.map(|(p256dh, auth)| PushKeys::from_base64(p256dh, auth.words()));
    let endpoint = PushEndpoint::new(url, keys.transpose().map_err(Failure::usage)?).map_err(Failure::usage)?;
    match relay {
        Some(relay) => {
            let relay: RelayAddress = relay.parse().map_err(Failure::usage)?;
            node.push().set_endpoint_at(relay.relay(), Some(endpoint)).await?;
        }
        None => node.push().set_endpoint(endpoint).await?,
    }
    status(node).await
}

pub(super) async fn clear(node: &Node) -> Result<Reply, Failure> {
    node.push().clear().await?;
    status(node).await
}

pub(super) async fn status(node: &Node) -> Result<Reply, Failure> {
    let status = node.push().status().await?;
    let mut muted = Vec::new();
    for space in node.spaces().await? {
        let name = space.name().await?;
        if status.muted.contains(&space.id()) {
            muted.push(reply::Muted { space: name.clone(), circle: None });
        }
        for circle in space.circles().await?.into_iter().filter(|circle| status.muted.contains(&circle.id)) {
            muted.push(reply::Muted { space: name.clone(), circle: Some(circle.name) });
        }
    }
    let relay = |health: PushHealth| reply::PushRelay {
        address: health.address.to_string(),
        server_key: health.server_key.map(|key| data_encoding::BASE64URL_NOPAD.encode(&key)),
        registered: health.registered,
        mailboxes: health.mailboxes,
        accepted_ms: health.accepted_ms,
        refused_ms: health.refused_ms,
        status: health.status,
        error: health.error.map(|error| error.to_string()),
    };
    Ok(Reply::Push(reply::Push {
        has_endpoint: status.has_endpoint,
        woken_ms: status.woken_ms,
        relays: status.relays.into_iter().map(relay).collect(),
        muted,
    }))
}

pub(super) async fn mute(node: &Node, place: &Place, muted: bool) -> Result<Reply, Failure> {
    node.push().mute(place.circle.id(), muted).await?;
    Ok(Reply::Done)
}
