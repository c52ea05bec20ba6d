//! The relays of a space.

use clave::{Node, RELAYS_MAX, RelayAddress, RelayError, RelayStatus, RelayToken, Space};

use super::circle::Place;
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::{About, Secret};

/// The relays of a space, as they are shown.
pub(super) async fn of(space: &Space) -> Result<reply::Relays, Failure> {
    let relay = |status: RelayStatus| reply::Relay {
        number: status.number,
        address: status.address.to_string(),
        connected: status.connected,
        waiting: status.waiting,
        error: status.error.map(|error| error.to_string()),
        needs_token: matches!(status.error, Some(RelayError::Access | RelayError::Token)),
    };
    let relays = space.relays().await?.into_iter().map(relay).collect();
    Ok(reply::Relays { space: space.name().await?, relays })
}

pub(super) async fn list(place: &Place) -> Result<Reply, Failure> {
    Ok(Reply::Relays(of(&place.space).await?))
}

pub(super) async fn add(node: &Node, place: &Place, address: &str, token: Option<&Secret>) -> Result<Reply, Failure> {
    let address: RelayAddress = address.parse().map_err(Failure::usage)?;
    let token = token.map(parse_token).transpose()?;
    let mut known = addresses(place).await?;
    known.retain(|known| known.relay() != address.relay());
    if known.len() >= usize::from(RELAYS_MAX) {
        let hint = "`clave relay list` shows them; `clave relay remove` makes room";
        return Err(Failure::usage(format!("a space has at most {RELAYS_MAX} relays")).hint(hint));
    }
    let relay = address.relay();
    known.push(address);
    place.space.set_relays(&known).await?;
    if token.is_some() {
        node.set_relay_token(relay, token).await?;
    }
    list(place).await
}

/// Needs no space if the relay is named by its address: somebody may be about to join through it.
pub(super) async fn token(node: &Node, about: &About, relay: &str, token: Option<&Secret>) -> Result<Reply, Failure> {
    let token = token.map(parse_token).transpose()?;
    let id = match relay.parse::<RelayAddress>() {
        Ok(address) => address.relay(),
        Err(_) => {
            let place = super::circle::find(node, about).await?;
            let known = place.space.relays().await?.into_iter().find(|known| known.number.to_string() == relay);
            known.ok_or_else(|| none(relay))?.address.relay()
        }
    };
    node.set_relay_token(id, token).await?;
    Ok(Reply::Done)
}

fn parse_token(token: &Secret) -> Result<RelayToken, Failure> {
    token.words().parse().map_err(Failure::usage)
}

fn none(relay: &str) -> Failure {
    Failure::not_found(format!("there is no relay {relay}")).hint("`clave relay list` shows which there are")
}

pub(super) async fn remove(place: &Place, relay: &str) -> Result<Reply, Failure> {
    let relays = place.space.relays().await?;
    let is_it = |known: &RelayStatus| known.number.to_string() == relay || known.address.as_str() == relay;
    if !relays.iter().any(is_it) {
        return Err(none(relay));
    }
    let left: Vec<RelayAddress> = relays.into_iter().filter(|known| !is_it(known)).map(|known| known.address).collect();
    place.space.set_relays(&left).await?;
    list(place).await
}

async fn addresses(place: &Place) -> Result<Vec<RelayAddress>, Failure> {
    Ok(place.space.relays().await?.into_iter().map(|relay| relay.address).collect())
}
