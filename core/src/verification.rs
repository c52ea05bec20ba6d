//! Verifying people: comparing keys over a connection, or by a number that is read aloud.

use clave_engine::crypto::{DeviceId, PersonId};
use clave_engine::{Verification, VerificationStep};

use crate::{Circle, Error, Node};

impl Circle {
    /// Whether somebody here is who they are called, as far as this device knows.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn verification(&self, person: PersonId) -> Result<Verification, Error> {
        let id = self.id();
        self.node().read(move |engine| engine.verification(id, person)).await
    }

    /// Asks the user of another person's device to compare: both then see the same seven pictures and three numbers.
    /// [`Event::VerificationChanged`](crate::Event::VerificationChanged) tells both sides how far it is.
    ///
    /// # Errors
    /// If that device is not connected, or is one's own.
    pub async fn begin_verification(&self, device: DeviceId) -> Result<(), Error> {
        let id = self.id();
        self.node().command(move |engine, now| engine.begin_verification(id, device, now)).await
    }

    /// Notes that somebody's safety number was compared, or takes any such note back.
    ///
    /// # Errors
    /// If they are not here.
    pub async fn mark_verified(&self, person: PersonId, verified: bool) -> Result<(), Error> {
        let id = self.id();
        self.node().command(move |engine, now| engine.mark_verified(id, person, verified, now)).await
    }
}

impl Node {
    /// The number that two people read to each other: the same on both sides, 60 digits in groups of five.
    ///
    /// # Errors
    /// If this device has no person yet.
    pub async fn safety_number(&self, person: PersonId) -> Result<String, Error> {
        self.read(move |engine| engine.safety_number(person)).await
    }

    /// The devices with which a verification is open, and how far each is.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn verifications(&self) -> Result<Vec<(DeviceId, VerificationStep)>, Error> {
        self.read(|engine| {
            let devices = engine.verifications().into_iter();
            Ok(devices.filter_map(|device| Some((device, engine.verification_step(device)?))).collect())
        })
        .await
    }

    /// Agrees to compare with a device that asked.
    ///
    /// # Errors
    /// If it did not, or it is over.
    pub async fn accept_verification(&self, device: DeviceId) -> Result<(), Error> {
        self.command(move |engine, now| engine.accept_verification(device, now)).await
    }

    /// Says that both see the same. Once the other side says so too, their person is verified
    /// ([`Event::PersonVerified`](crate::Event::PersonVerified)).
    ///
    /// # Errors
    /// If there is nothing to compare.
    pub async fn confirm_verification(&self, device: DeviceId) -> Result<(), Error> {
        self.command(move |engine, now| engine.confirm_verification(device, now)).await
    }

    /// Gives a verification up, or says that what is shown differs: then somebody may sit between the two.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn cancel_verification(&self, device: DeviceId) -> Result<(), Error> {
        self.command(move |engine, now| {
            engine.cancel_verification(device, now);
            Ok(())
        })
        .await
    }
}
