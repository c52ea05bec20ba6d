//! The devices of one's own person. Linking one is in [`Node::link`](crate::Node::link).

use clave_engine::OwnDevice;
use clave_engine::crypto::DeviceId;

use crate::{Error, Node};

impl Node {
    /// This person's devices, this one among them, with the circles that each is in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn devices(&self) -> Result<Vec<OwnDevice>, Error> {
        self.read(|engine| Ok(engine.own_devices())).await
    }

    /// Says how one of this person's devices is called, this one or another: everywhere, for everybody to see. At most 256
    /// bytes, no line breaks or other control characters.
    ///
    /// # Errors
    /// If the name cannot be used, or it is no device of this person that is in any circle with this one.
    pub async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.command(move |engine, now| engine.rename_own_device(device, &name, now)).await
    }

    /// Revokes another device of this person, for example one that was lost, in every circle that this device is in. The
    /// keys change at once; the device keeps what it had and gets nothing more.
    ///
    /// # Errors
    /// If it is no other device of this person that is in any circle, or no owner would be left in some circle.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), Error> {
        self.command(move |engine, now| engine.revoke_own_device(device, now)).await
    }
}
