//! The keys of mailboxes at relays: whoever has one may read and write what is kept under its public half.
//!
//! Owns how they derive and what a proof signs. Does not know what is in a mailbox, nor what relays are.

use std::fmt;

use crate::identity::{SigningKey, separated};
use crate::{ContentKey, DeviceId, Domain, Signature, kdf, labels};

/// The name of a mailbox: the public half of its key (Ed25519, RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId([u8; 32]);

impl MailboxId {
    /// Wraps the 32 bytes of a name.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxId({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// The right to one mailbox.
pub struct MailboxKey(SigningKey);

impl MailboxKey {
    /// That of the mailbox of an epoch, from its content key or its lasting key: both lead to the same.
    #[must_use]
    pub fn of_epoch(key: &ContentKey) -> Self {
        Self(SigningKey::from_seed(kdf::derive(labels::MAILBOX_KEY, &[&**key.lasting().as_bytes()])))
    }

    /// That of the mailbox for what is sealed to one device of a circle. Whoever ever was in the circle can compute it.
    #[must_use]
    pub fn of_device(circle: &[u8; 32], device: &DeviceId) -> Self {
        Self(SigningKey::from_seed(kdf::derive(labels::DIRECT_MAILBOX_KEY, &[circle, device.as_bytes()])))
    }

    /// That of the mailbox of an invitation, from the secret of its link.
    #[must_use]
    pub fn of_invitation(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_seed(kdf::derive(labels::INVITATION_MAILBOX_KEY, &[secret])))
    }

    /// The mailbox.
    #[must_use]
    pub fn id(&self) -> MailboxId {
        MailboxId(*self.0.public())
    }

    /// Proves the right to the mailbox to one relay, in the session of one challenge.
    #[must_use]
    pub fn prove(&self, relay: &[u8; 32], challenge: &[u8; 32]) -> Signature {
        let message = [relay.as_slice(), challenge, self.0.public()].concat();
        self.0.sign(&separated(Domain::MailboxProof, &message))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use zeroize::Zeroizing;

    use super::*;

    /// Golden: a device of another version has to find the same mailbox.
    #[test]
    fn mailboxes_derive_as_they_always_did() {
        let content = ContentKey::from_bytes(Zeroizing::new([1; 32]));
        let epoch = MailboxKey::of_epoch(&content);
        assert_eq!(epoch.id(), MailboxKey::of_epoch(&content.lasting()).id());
        let device = DeviceId::from_bytes([3; 32]);
        let direct = MailboxKey::of_device(&[2; 32], &device);
        let hex = |id: MailboxId| HEXLOWER.encode(id.as_bytes());
        assert_eq!(hex(epoch.id()), "af6a7f997410e0619d9d7dd52a3626efe19ee1fb8f62ae6a4ea47d2878ed1d2b");
        assert_eq!(hex(direct.id()), "f78db050bf157efa0be7c2131beb8b3f90e4fcf7b9a2fca3edd5a8f42f612d59");
        assert_eq!(
            hex(MailboxKey::of_invitation(&[1; 32]).id()),
            "75536770822aa45df24763a6f5b072db6962654e8443de0ae010f51ac312fc56"
        );
        assert_ne!(direct.id(), MailboxKey::of_device(&[4; 32], &device).id());
        assert_ne!(epoch.id(), MailboxKey::of_epoch(&ContentKey::from_bytes(Zeroizing::new([4; 32]))).id());
    }

    #[test]
    fn a_proof_is_by_the_mailbox_for_one_relay_and_one_session() {
        let key = MailboxKey::of_device(&[2; 32], &DeviceId::from_bytes([3; 32]));
        let proof = key.prove(&[5; 32], &[6; 32]);
        let signer = DeviceId::from_bytes(*key.id().as_bytes());
        let said = |relay: u8, challenge: u8| [[relay; 32], [challenge; 32], *key.id().as_bytes()].concat();
        assert!(signer.verify(Domain::MailboxProof, &said(5, 6), &proof).is_ok());
        for message in [said(6, 6), said(5, 5)] {
            assert!(signer.verify(Domain::MailboxProof, &message, &proof).is_err());
        }
        assert!(signer.verify(Domain::Entry, &said(5, 6), &proof).is_err());
    }
}
