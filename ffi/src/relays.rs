//! The relays of a space: they keep, sealed, what is written in it for who is not online.

use crate::convert::count;
use crate::{Circle, ClaveError, Space};

/// A relay of a space, as this device sees it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RelayStatus {
    /// Its number among the space's, from 1.
    pub number: u8,
    /// Where it is: a multiaddr that ends in its key.
    pub address: String,
    /// Whether it answers.
    pub connected: bool,
    /// What this device made in the space and that waits to be stored there, in entries and chunks of files.
    pub waiting: u32,
    /// What went wrong last and what to do, as a sentence, unless all went well since.
    pub error: Option<String>,
}

#[uniffi::export]
impl Space {
    /// The relays of this space, and how this device gets on with each.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn relays(&self) -> Result<Vec<RelayStatus>, ClaveError> {
        let space = self.space.clone();
        let relays = self.session.run(async move { space.relays().await }).await?;
        Ok(relays.into_iter().map(RelayStatus::from).collect())
    }

    /// Has the space use these relays, in this order, and no others: the first four of them, if there are more. Each is a
    /// multiaddr that ends in `/p2p/` and the relay's key, as the relay prints it. To add one or take one away, hand over those
    /// that [`relays`](Self::relays) names with or without it.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] (`argument.relay`) if one is no address of a relay, [`ClaveError::Network`] if one cannot be
    /// dialled, [`ClaveError::NotAllowed`] if this person may not set policies.
    pub async fn set_relays(&self, addresses: Vec<String>) -> Result<(), ClaveError> {
        let relay = |address: &String| address.parse().map_err(|_| ClaveError::no_relay());
        let relays: Vec<clave::RelayAddress> = addresses.iter().map(relay).collect::<Result<_, _>>()?;
        let space = self.space.clone();
        self.session.run(async move { space.set_relays(&relays).await }).await
    }
}

#[uniffi::export]
impl Circle {
    /// How much this device wrote here that no relay of the space has yet, in entries and chunks of files: others may have it
    /// all the same. Always none in a space without relays.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn waiting_for_relays(&self) -> Result<u32, ClaveError> {
        Ok(count(self.run(|circle| async move { circle.waiting_for_relays().await }).await?))
    }
}

impl From<clave::RelayStatus> for RelayStatus {
    fn from(relay: clave::RelayStatus) -> Self {
        Self {
            number: relay.number,
            address: relay.address.to_string(),
            connected: relay.connected,
            waiting: count(relay.waiting),
            error: relay.error.map(|error| error.to_string()),
        }
    }
}
