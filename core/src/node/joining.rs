//! Taking up invitations: at once, or by a request that waits at a relay.

use std::time::Duration;

use clave_engine::{Event, InvitationId, InviteLink, PendingJoin, PendingJoinState};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use super::Node;
use super::driver::{Command, Input, Run};
use crate::{Error, Space};

/// How long the inviter's device has to answer once a relay keeps the request, as it may be online: after that nobody waits.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

impl Node {
    /// Takes up an invitation: reaches the inviter, proves the link, and enters the space. If the link names relays, the
    /// request waits there as well, so that the two need not be online together.
    ///
    /// Gives up after `timeout`, unless a relay keeps the request by then: see [`Error::JoinPending`]. The link stays good.
    /// Dropping the future has the same effect.
    ///
    /// # Errors
    /// Why the invitation was refused, [`Error::JoinPending`], or [`Error::Unreachable`].
    pub async fn join(&self, link: &InviteLink, timeout: Duration) -> Result<Space, Error> {
        let invitation = link.invitation;
        let mut events = self.events();
        let joining = Joining { node: self, invitation };
        let link = link.clone();
        self.command(move |engine, now| engine.join(link, now)).await?;
        let last = Instant::now() + timeout;
        let soon = || last.min(Instant::now() + ANSWER_PATIENCE);
        let is_kept_already = self.pending_join(invitation).await?.is_some_and(|pending| is_kept(&pending));
        let mut until = if is_kept_already { soon() } else { last };
        let answer = async {
            while let Ok(event) = tokio::time::timeout_at(until, events.recv()).await {
                match event {
                    Ok(Event::Joined { circle, invitation: id }) if id == invitation => {
                        return Ok(Some(Space::new(self.clone(), circle)));
                    }
                    Ok(Event::JoinFailed { invitation: id, error }) if id == invitation => {
                        return Err(Error::Join(error));
                    }
                    Ok(Event::JoinAsked { invitation: id }) if id == invitation => until = soon(),
                    Ok(Event::JoinProgress { invitation: id, .. }) if id == invitation => until = last,
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopped),
                    _ => {}
                }
            }
            Ok(None)
        };
        if let Some(space) = self.while_running(answer).await? {
            return Ok(space);
        }
        drop(joining);
        match self.pending_join(invitation).await?.filter(is_kept) {
            Some(pending) => Err(Error::JoinPending(Box::new(pending))),
            None => Err(Error::Unreachable("the inviter's device")),
        }
    }

    /// The invitations that this device takes up through relays and that were not answered yet. They go on whenever the node
    /// is online, over restarts.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn pending_joins(&self) -> Result<Vec<PendingJoin>, Error> {
        self.read(|engine| Ok(engine.pending_joins())).await
    }

    /// Gives up taking an invitation up. The same link can be taken up again.
    ///
    /// # Errors
    /// [`Error::Stopped`], or if the disk refuses.
    pub async fn cancel_join(&self, invitation: InvitationId) -> Result<(), Error> {
        self.command(move |engine, now| engine.cancel_join(invitation, now)).await
    }

    async fn pending_join(&self, invitation: InvitationId) -> Result<Option<PendingJoin>, Error> {
        Ok(self.pending_joins().await?.into_iter().find(|pending| pending.invitation == invitation))
    }
}

/// Whether a relay keeps the request.
fn is_kept(pending: &PendingJoin) -> bool {
    pending.state != PendingJoinState::Asking
}

/// Gives up the attempt when its caller does, unless a relay keeps it.
struct Joining<'a> {
    node: &'a Node,
    invitation: InvitationId,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        let invitation = self.invitation;
        let (durable, _) = oneshot::channel();
        let run: Run = Box::new(move |engine, now_ms| {
            let Ok(engine) = engine else { return };
            if !engine.pending_joins().iter().any(|pending| pending.invitation == invitation && is_kept(pending)) {
                // A disk that failed is told to whoever asks next.
                let _ = engine.cancel_join(invitation, now_ms);
            }
        });
        // If there is no room the attempt goes on; it ends with the node at the latest.
        if let Ok(running) = self.node.running() {
            let _ = running.inputs.try_send(Input::Command(Command { run, durable }));
        }
    }
}
