//! Taking up invitations: at once, or by a request that waits at a relay.

use std::time::Duration;

use crate::convert::parse;
use crate::{ClaveError, Node, Space};

/// An invitation that is taken up through relays and was not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PendingJoin {
    /// The id of the invitation.
    pub invitation: String,
    /// The id of the circle where it leads.
    pub circle: String,
    /// What the space was called when the link was made.
    pub space_name: String,
    /// The id of the device that answers.
    pub inviter: String,
    /// Until when it can be answered, in Unix milliseconds.
    pub expires_ms: u64,
    /// How far it is.
    pub state: PendingJoinState,
}

/// How far an invitation is that is taken up through relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PendingJoinState {
    /// No relay of the link is known to keep the request since the node was opened.
    Asking,
    /// A relay keeps it: the inviter's device answers once it is online, whether this one is or not.
    Asked,
    /// The answer is coming in.
    Arriving,
}

#[uniffi::export]
impl Node {
    /// Takes up an invitation: reaches the inviter, proves the link, and enters the space. If the link names relays, the request
    /// waits there as well, so that the two need not be online together. Gives up after `timeout`, unless a relay keeps the
    /// request by then; the link stays good.
    ///
    /// # Errors
    /// [`ClaveError::Link`] if it is none, [`ClaveError::Invitation`] if it was refused, or if a relay keeps the request
    /// (`invitation.pending`: it goes on by itself, see [`pending_joins`](Self::pending_joins), and
    /// [`Change::Join`](crate::Change::Join) tells), [`ClaveError::Unreachable`].
    pub async fn join(&self, link: String, timeout: Duration) -> Result<Space, ClaveError> {
        let link = link.parse().map_err(clave::Error::Link)?;
        let node = self.session.node().clone();
        let space = self.session.run(async move { node.join(&link, timeout).await }).await?;
        Ok(Space::new(self.session.clone(), space))
    }

    /// The invitations that this device takes up through relays and that were not answered yet. They go on whenever the node
    /// is online, over restarts.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn pending_joins(&self) -> Result<Vec<PendingJoin>, ClaveError> {
        let node = self.session.node().clone();
        let pending = self.session.run(async move { node.pending_joins().await }).await?;
        Ok(pending.into_iter().map(PendingJoin::from).collect())
    }

    /// Gives up taking an invitation up. The same link can be taken up again.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`], or if the disk refuses.
    pub async fn cancel_join(&self, invitation: String) -> Result<(), ClaveError> {
        let (node, invitation) = (self.session.node().clone(), parse(&invitation, "invitation")?);
        self.session.run(async move { node.cancel_join(invitation).await }).await
    }
}

impl From<clave::PendingJoin> for PendingJoin {
    fn from(pending: clave::PendingJoin) -> Self {
        let state = match pending.state {
            clave::PendingJoinState::Asked => PendingJoinState::Asked,
            clave::PendingJoinState::Arriving => PendingJoinState::Arriving,
            // Nothing that this does not know is further.
            _ => PendingJoinState::Asking,
        };
        Self {
            invitation: pending.invitation.to_string(),
            circle: pending.circle.to_string(),
            space_name: pending.space_name,
            inviter: pending.inviter.to_string(),
            expires_ms: pending.expires_ms,
            state,
        }
    }
}
