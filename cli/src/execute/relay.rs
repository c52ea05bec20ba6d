//! The relays of a space.

use clave::{RELAYS_MAX, RelayAddress, RelayStatus, Space};

use super::circle::Place;
use crate::failure::Failure;
use crate::reply::{self, Reply};

/// The relays of a space, as they are shown.
pub(super) async fn of(space: &Space) -> Result<reply::Relays, Failure> {
    let relay = |status: RelayStatus| reply::Relay {
        number: status.number,
        address: status.address.to_string(),
        connected: status.connected,
        waiting: status.waiting,
        error: status.error.map(|error| error.to_string()),
    };
    let relays = space.relays().await?.into_iter().map(relay).collect();
    Ok(reply::Relays { space: space.name().await?, relays })
}

pub(super) async fn list(place: &Place) -> Result<Reply, Failure> {
    Ok(Reply::Relays(of(&place.space).await?))
}

pub(super) async fn add(place: &Place, address: &str) -> Result<Reply, Failure> {
    let address: RelayAddress = address.parse().map_err(Failure::usage)?;
    let mut known = addresses(place).await?;
    known.retain(|known| known.relay() != address.relay());
    if known.len() >= usize::from(RELAYS_MAX) {
        let hint = "`clave relay list` shows them; `clave relay remove` makes room";
        return Err(Failure::usage(format!("a space has at most {RELAYS_MAX} relays")).hint(hint));
    }
    known.push(address);
    place.space.set_relays(&known).await?;
    list(place).await
}

pub(super) async fn remove(place: &Place, relay: &str) -> Result<Reply, Failure> {
    let relays = place.space.relays().await?;
    let is_it = |known: &RelayStatus| known.number.to_string() == relay || known.address.as_str() == relay;
    if !relays.iter().any(is_it) {
        let hint = "`clave relay list` shows which there are";
        return Err(Failure::not_found(format!("there is no relay {relay}")).hint(hint));
    }
    let left: Vec<RelayAddress> = relays.into_iter().filter(|known| !is_it(known)).map(|known| known.address).collect();
    place.space.set_relays(&left).await?;
    list(place).await
}

async fn addresses(place: &Place) -> Result<Vec<RelayAddress>, Failure> {
    Ok(place.space.relays().await?.into_iter().map(|relay| relay.address).collect())
}
