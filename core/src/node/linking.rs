//! Linking a further device of one's own.

use std::time::Duration;

use clave_engine::crypto::{DeviceId, Sas};
use clave_engine::{Event, Identity, InvitationId, LinkCode};
use clave_transport::Transport;
use tokio::sync::broadcast;

use super::{Node, NodeConfig, seed_entropy, vault};
use crate::Error;

/// For how long a code is good that nobody said more about.
pub const LINK_VALID: Duration = Duration::from_secs(600);
/// How often an address that was given with a typed code is tried.
const DIAL_EVERY: Duration = Duration::from_secs(5);

/// How far linking has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkProgress {
    /// The other device asks the person whether they want it: show this, so that they can see that it is this device.
    AwaitsConfirmation {
        /// Whose device it becomes.
        person_name: String,
        /// What the other device shows as well, unless somebody is between the two.
        sas: Sas,
    },
    /// The device belongs to the person, and their spaces come in.
    Receiving {
        /// Circles that are here.
        done_circles: usize,
        /// Circles in all.
        total_circles: usize,
        /// Bytes of the one that is coming.
        done_bytes: u64,
        /// Bytes that it has in all.
        total_bytes: u64,
    },
}

impl Node {
    /// Makes a code by which one further device of this person can be linked, within `valid` ([`LINK_VALID`] is
    /// usual). Show it as a QR code (its text) and to type ([`LinkCode::typed`]). With `confirm`,
    /// [`Event::LinkRequested`] says who asks, and [`confirm_link`](Self::confirm_link) decides; without, whoever has the
    /// code is let in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn link_device(&self, valid: Duration, confirm: bool) -> Result<LinkCode, Error> {
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        self.command(move |engine, now| engine.link_device(valid_ms, confirm, now)).await
    }

    /// Lets a device in that asked, or turns it away.
    ///
    /// # Errors
    /// If this device made no such code.
    pub async fn confirm_link(&self, link: InvitationId, device: DeviceId, accept: bool) -> Result<(), Error> {
        self.command(move |engine, now| engine.confirm_link(link, device, accept, now)).await
    }

    /// Takes a code back that was not used.
    ///
    /// # Errors
    /// If this device made no such code.
    pub async fn cancel_link(&self, link: InvitationId) -> Result<(), Error> {
        self.command(move |engine, now| engine.revoke_invitation(link, now)).await
    }

    /// Makes a new device in `config`'s directory a further one of the person whose other device shows `code`: it gets the
    /// person's identity, every space, and all history that the person may read. `config` needs a network. Called again
    /// on the same directory, with the same code, it goes on where it was. Gives up after `timeout`; once the device
    /// belongs to the person, [`Node::open`] goes on as well.
    ///
    /// # Errors
    /// Why it was refused, [`Error::Unreachable`], [`Error::IdentityExists`] if the directory holds a device that belongs
    /// to somebody and has nothing left to fetch, a name that cannot be used, or what the disk has to say.
    pub async fn link(
        config: NodeConfig,
        device_name: &str,
        code: &LinkCode,
        timeout: Duration,
        mut progress: impl FnMut(LinkProgress),
    ) -> Result<Self, Error> {
        let (config, store) = vault::off_thread(config, vault::create).await?;
        let identity = match Identity::load(&*store)? {
            Some(identity) => identity,
            None => {
                let identity = Identity::provisional(device_name, &mut seed_entropy()?)?;
                store.write(vec![identity.to_batch()])?;
                identity
            }
        };
        let belonged = identity.person().is_some();
        let node = Self::start(config, identity, store).await?;
        let mut events = node.events();
        if !belonged {
            let taken = code.clone();
            node.command(move |engine, now| engine.take_link(taken, now)).await?;
        } else if !node.read(|engine| Ok(engine.is_linking())).await? {
            node.shutdown().await;
            return Err(Error::IdentityExists);
        }
        let answer = async {
            loop {
                match events.recv().await {
                    Ok(Event::LinkFinished) => return Ok(()),
                    Ok(Event::LinkFailed { error }) => return Err(Error::Linking(error)),
                    Ok(Event::LinkPending { person_name, sas }) => {
                        progress(LinkProgress::AwaitsConfirmation { person_name, sas });
                    }
                    Ok(Event::LinkProgress { done_circles, total_circles, done_bytes, total_bytes }) => {
                        progress(LinkProgress::Receiving { done_circles, total_circles, done_bytes, total_bytes });
                    }
                    Ok(_) => {}
                    // The end may be among what was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        if node.read(|engine| Ok(engine.identity().person().is_some() && !engine.is_linking())).await? {
                            return Ok(());
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Stopped),
                }
            }
        };
        let transport = node.running()?.transport.clone();
        let result = tokio::select! {
            result = tokio::time::timeout(timeout, answer) => {
                result.unwrap_or(Err(Error::Unreachable("your other device")))
            }
            error = dial_typed(transport.as_ref(), code) => Err(error),
        };
        if let Err(error) = result {
            node.shutdown().await;
            return Err(error);
        }
        // It follows the event that said so.
        let _ = node.inner.profile.subscribe().wait_for(Option::is_some).await;
        Ok(node)
    }
}

/// Tries the addresses of a code that does not say which device answers there. Comes back only to say that one of them
/// is no address.
async fn dial_typed(transport: Option<&Transport>, code: &LinkCode) -> Error {
    let addresses: Result<Vec<_>, _> = code.addresses.iter().map(|address| address.parse()).collect();
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(error) => return Error::Address(error),
    };
    loop {
        if let (Some(transport), None, false) = (transport, code.device, addresses.is_empty()) {
            transport.dial(None, addresses.clone()).await;
        }
        tokio::time::sleep(DIAL_EVERY).await;
    }
}
