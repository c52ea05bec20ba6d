//! Verifying people: comparing keys over a connection, or by a number that is read aloud.

use crate::convert::parse;
use crate::{Circle, ClaveError, Node};

/// Whether somebody is who they are called, as far as this device knows.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Verification {
    /// It is the person this device belongs to.
    Own,
    /// Their key was compared on this device.
    Verified {
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// Their key was never compared here.
    Unverified,
    /// They have the name of somebody who was verified here, and another key: compare again.
    Changed {
        /// The id of who was verified under that name.
        former: String,
    },
}

/// A verification that is open.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OpenVerification {
    /// The id of the other device.
    pub device: String,
    /// How far it is.
    pub step: VerificationStep,
    /// Seven pictures, each followed by the English word for it, when there is something to compare.
    pub pictures: Vec<String>,
    /// Three numbers, for who cannot see pictures.
    pub numbers: Vec<u16>,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum VerificationStep {
    /// The other side asks: [`Node::accept_verification`] goes on.
    Requested,
    /// Waiting for the other side to agree.
    Asked,
    /// Both see something: is it the same? [`Node::confirm_verification`] or [`Node::cancel_verification`].
    Compare,
    /// This side said that it is the same; the other has not yet.
    Confirmed,
}

#[uniffi::export]
impl Circle {
    /// Asks the user of another person's device to compare: both then see the same seven pictures and three numbers.
    ///
    /// # Errors
    /// If that device is not connected, or is one's own.
    pub async fn begin_verification(&self, device: String) -> Result<(), ClaveError> {
        let device = parse(&device, "device")?;
        self.run(|circle| async move { circle.begin_verification(device).await }).await
    }

    /// Notes that somebody's safety number was compared, or takes any such note back.
    ///
    /// # Errors
    /// If they are not here.
    pub async fn mark_verified(&self, person: String, verified: bool) -> Result<(), ClaveError> {
        let person = parse(&person, "person")?;
        self.run(|circle| async move { circle.mark_verified(person, verified).await }).await
    }
}

#[uniffi::export]
impl Node {
    /// The number that two people read to each other: the same on both sides, 60 digits in groups of five.
    ///
    /// # Errors
    /// [`ClaveError::Argument`] if it is no person's id.
    pub async fn safety_number(&self, person: String) -> Result<String, ClaveError> {
        let (node, person) = (self.session.node().clone(), parse(&person, "person")?);
        self.session.run(async move { node.safety_number(person).await }).await
    }

    /// The verifications that are open.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn verifications(&self) -> Result<Vec<OpenVerification>, ClaveError> {
        let node = self.session.node().clone();
        let open = self.session.run(async move { node.verifications().await }).await?;
        Ok(open.into_iter().map(|(device, step)| OpenVerification::of(device, &step)).collect())
    }

    /// Agrees to compare with a device that asked.
    ///
    /// # Errors
    /// If it did not, or it is over.
    pub async fn accept_verification(&self, device: String) -> Result<(), ClaveError> {
        let (node, device) = (self.session.node().clone(), parse(&device, "device")?);
        self.session.run(async move { node.accept_verification(device).await }).await
    }

    /// Says that both see the same. Once the other side says so too, their person is verified.
    ///
    /// # Errors
    /// If there is nothing to compare.
    pub async fn confirm_verification(&self, device: String) -> Result<(), ClaveError> {
        let (node, device) = (self.session.node().clone(), parse(&device, "device")?);
        self.session.run(async move { node.confirm_verification(device).await }).await
    }

    /// Gives a verification up, or says that what is shown differs.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn cancel_verification(&self, device: String) -> Result<(), ClaveError> {
        let (node, device) = (self.session.node().clone(), parse(&device, "device")?);
        self.session.run(async move { node.cancel_verification(device).await }).await
    }
}

/// Seven pictures, each followed by the English word for it.
pub(crate) fn pictures(sas: &clave::Sas) -> Vec<String> {
    sas.emoji().iter().map(|(picture, word)| format!("{picture} {word}")).collect()
}

impl OpenVerification {
    fn of(device: clave::DeviceId, step: &clave::VerificationStep) -> Self {
        let (step, sas) = match step {
            clave::VerificationStep::Requested => (VerificationStep::Requested, None),
            clave::VerificationStep::Compare(sas) => (VerificationStep::Compare, Some(sas)),
            clave::VerificationStep::Confirmed(sas) => (VerificationStep::Confirmed, Some(sas)),
            // There is nothing to do in a step that this does not know, but to wait.
            _ => (VerificationStep::Asked, None),
        };
        let numbers = sas.map(|sas| sas.digits().to_vec()).unwrap_or_default();
        Self { device: device.to_string(), step, pictures: sas.map(pictures).unwrap_or_default(), numbers }
    }
}

impl From<clave::Verification> for Verification {
    fn from(verification: clave::Verification) -> Self {
        match verification {
            clave::Verification::Own => Self::Own,
            clave::Verification::Verified { at_ms, .. } => Self::Verified { at_ms },
            clave::Verification::Changed { former } => Self::Changed { former: former.to_string() },
            _ => Self::Unverified,
        }
    }
}
