//! Pausing, resuming, catching up: what a phone asks of a node.

use std::time::Duration;

use crate::{ClaveError, Node};

/// How far catching up came.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CaughtUp {
    /// Whether this device has all that those it could reach had, members' devices and relays. If not, the deadline came first.
    pub completed: bool,
    /// Members' devices with which everything was compared.
    pub reached: u32,
    /// Members' devices that could not be reached, or not in time.
    pub unreached: u32,
    /// Relays that said all that they had for this device.
    pub relays: u32,
    /// The ids of circles in which something changed meanwhile.
    pub changed: Vec<String>,
}

#[uniffi::export]
impl Node {
    /// Lets go of everything that a phone takes offence at in an app that sleeps: what is on its way becomes durable, all
    /// connections are closed, the data directory is free for another process. When it returns no file is locked or open, and
    /// no thread and no timer of the node is left. Every handle stays good; what it is asked fails with
    /// [`ClaveError::Paused`] until [`resume`](Self::resume), transfers end with it, subscriptions go on afterwards.
    ///
    /// Waits up to a second for a listener that is being called. Calling it again is harmless. If its caller goes away it
    /// goes on.
    ///
    /// # Errors
    /// [`ClaveError::Stopped`].
    pub async fn pause(&self) -> Result<(), ClaveError> {
        self.session.pause().await
    }

    /// Opens everything again after [`pause`](Self::pause), without asking for the passphrase. Harmless while running.
    ///
    /// # Errors
    /// [`ClaveError::Store`] (`store.busy`, retryable) while another process has the directory, or what else the disk or the
    /// network has to say: the node is paused still. [`ClaveError::Stopped`].
    pub async fn resume(&self) -> Result<(), ClaveError> {
        self.session.resume().await
    }

    /// Whether the node is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.session.node().is_paused()
    }

    /// Gets what happened while this device was away: resumes it if it is paused, dials everybody, compares with whoever can
    /// be reached, reads what relays have, and returns when nothing more is on its way, or after `deadline`. What an app does that was woken in
    /// the background, before it pauses again. Content of files is not waited for.
    ///
    /// # Errors
    /// Those of [`resume`](Self::resume); [`ClaveError::Paused`] if somebody has it pause meanwhile.
    pub async fn catch_up(&self, deadline: Duration) -> Result<CaughtUp, ClaveError> {
        if self.session.handle().is_none() {
            self.session.resume().await?;
        }
        let node = self.session.node().clone();
        let caught_up = self.session.run(async move { node.catch_up(deadline).await }).await?;
        Ok(CaughtUp {
            completed: caught_up.completed,
            reached: u32::try_from(caught_up.reached).unwrap_or(u32::MAX),
            unreached: u32::try_from(caught_up.unreached).unwrap_or(u32::MAX),
            relays: u32::try_from(caught_up.relays).unwrap_or(u32::MAX),
            changed: caught_up.changed.iter().map(ToString::to_string).collect(),
        })
    }

    /// Lets everything become durable, closes all connections, ends its threads, lets go of the data directory: when it
    /// returns, the directory can be opened again at once. Every other call fails from now on. Waits up to a second for a
    /// listener that is being called.
    pub async fn shutdown(&self) {
        self.session.shutdown().await;
    }
}
