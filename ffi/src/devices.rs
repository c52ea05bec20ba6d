//! The devices of one's own person, and linking a further one.

use std::sync::Arc;
use std::time::Duration;

use crate::convert::parse;
use crate::session::Session;
use crate::{ClaveError, Node, NodeOptions};

/// A device of this person.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OwnDevice {
    /// The id of the device.
    pub device: String,
    /// What the person calls it.
    pub name: String,
    /// The ids of the circles that it is in, as far as this device is in them too.
    pub circles: Vec<String>,
    /// Whether it is connected now, or is this one.
    pub online: bool,
}

/// By which a further device of this person can be linked, once.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LinkCode {
    /// Names it: [`Node::confirm_link`], [`Node::cancel_link`].
    pub id: String,
    /// All of it, for a QR code.
    pub text: String,
    /// What is left to type, if there is no camera: the devices have to find each other nearby.
    pub typed: String,
}

/// How far linking has come.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LinkProgress {
    /// The other device asks the person whether they want it: show this, so that they can see that it is this device.
    AwaitsConfirmation {
        /// Whose device it becomes.
        person_name: String,
        /// What the other device shows as well, unless somebody is between the two.
        pictures: Vec<String>,
    },
    /// The device belongs to the person, and their spaces come in.
    Receiving {
        /// Circles that are here.
        done_circles: u32,
        /// Circles in all.
        total_circles: u32,
    },
}

/// Hears how far linking has come.
#[uniffi::export(foreign)]
pub trait LinkListener: Send + Sync {
    /// Called on a thread of the node's, which waits for it.
    ///
    /// # Errors
    /// Whatever it throws is ignored.
    fn on_progress(&self, progress: LinkProgress) -> Result<(), ClaveError>;
}

#[uniffi::export]
impl Node {
    /// Makes a new device a further one of the person whose other device shows `code` (its text): it gets the person's
    /// identity, every space, and all history that the person may read. `options` need a network. Called again with the same
    /// code it goes on where it was. Gives up after `timeout`.
    ///
    /// # Errors
    /// [`ClaveError::Linking`] if it was refused, [`ClaveError::Unreachable`], [`ClaveError::Identity`] if the directory holds
    /// a device that belongs to somebody.
    #[uniffi::constructor(default(listener = None))]
    pub async fn link(
        options: NodeOptions,
        device_name: String,
        code: String,
        timeout: Duration,
        listener: Option<Arc<dyn LinkListener>>,
    ) -> Result<Self, ClaveError> {
        let code = code.parse().map_err(clave::Error::Link)?;
        let progress = move |progress: clave::LinkProgress| {
            if let (Some(listener), Some(progress)) = (&listener, LinkProgress::of(progress)) {
                // It is not asked for anything.
                let _ = listener.on_progress(progress);
            }
        };
        let linking = async move { clave::Node::link(options.into(), &device_name, &code, timeout, progress).await };
        Ok(Self { session: Session::open(linking).await? })
    }

    /// This person's devices, this one among them.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn devices(&self) -> Result<Vec<OwnDevice>, ClaveError> {
        let node = self.session.node().clone();
        let devices = self.session.run(async move { node.devices().await }).await?;
        Ok(devices.into_iter().map(OwnDevice::from).collect())
    }

    /// Says how one of this person's devices is called, everywhere.
    ///
    /// # Errors
    /// If the name cannot be used, or it is no device of this person.
    pub async fn rename_device(&self, device: String, name: String) -> Result<(), ClaveError> {
        let (node, device) = (self.session.node().clone(), parse(&device, "device")?);
        self.session.run(async move { node.rename_device(device, &name).await }).await
    }

    /// Revokes another device of this person, for example one that was lost, in every circle. The keys change at once; the
    /// device keeps what it had and gets nothing more.
    ///
    /// # Errors
    /// If it is no other device of this person, or no owner would be left in some circle.
    pub async fn revoke_device(&self, device: String) -> Result<(), ClaveError> {
        let (node, device) = (self.session.node().clone(), parse(&device, "device")?);
        self.session.run(async move { node.revoke_device(device).await }).await
    }

    /// Makes a code by which one further device of this person can be linked, within `valid`. With `confirm`,
    /// [`Change::LinkRequested`](crate::Change::LinkRequested) says who asks, and [`confirm_link`](Self::confirm_link) decides; without, whoever has the
    /// code is let in.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn link_device(&self, valid: Duration, confirm: bool) -> Result<LinkCode, ClaveError> {
        let node = self.session.node().clone();
        let code = self.session.run(async move { node.link_device(valid, confirm).await }).await?;
        Ok(LinkCode { id: code.id().to_string(), text: code.to_string(), typed: code.typed() })
    }

    /// Lets a device in that asked, or turns it away.
    ///
    /// # Errors
    /// If this device made no such code.
    pub async fn confirm_link(&self, link: String, device: String, accept: bool) -> Result<(), ClaveError> {
        let (node, link, device) = (self.session.node().clone(), parse(&link, "code")?, parse(&device, "device")?);
        self.session.run(async move { node.confirm_link(link, device, accept).await }).await
    }

    /// Takes a code back that was not used.
    ///
    /// # Errors
    /// If this device made no such code.
    pub async fn cancel_link(&self, link: String) -> Result<(), ClaveError> {
        let (node, link) = (self.session.node().clone(), parse(&link, "code")?);
        self.session.run(async move { node.cancel_link(link).await }).await
    }
}

impl LinkProgress {
    fn of(progress: clave::LinkProgress) -> Option<Self> {
        let count = crate::convert::count;
        Some(match progress {
            clave::LinkProgress::AwaitsConfirmation { person_name, sas } => {
                Self::AwaitsConfirmation { person_name, pictures: crate::verification::pictures(&sas) }
            }
            clave::LinkProgress::Receiving { done_circles, total_circles, .. } => {
                Self::Receiving { done_circles: count(done_circles), total_circles: count(total_circles) }
            }
            _ => return None,
        })
    }
}

impl From<clave::OwnDevice> for OwnDevice {
    fn from(device: clave::OwnDevice) -> Self {
        Self {
            device: device.device.to_string(),
            name: device.name,
            circles: device.circles.iter().map(ToString::to_string).collect(),
            online: device.online,
        }
    }
}
