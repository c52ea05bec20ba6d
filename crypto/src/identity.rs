//! Persons, devices and the signatures they make (Ed25519, RFC 8032).

use std::fmt;
use std::str::FromStr;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::{CryptoError, Domain, Entropy};

macro_rules! public_key_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps a public key. Whether it is a valid curve point shows when a signature is checked.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The public key.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten characters, for logs and lists. Not unique against someone who tries.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..10].to_owned()
            }

            /// Checks `signature` over `message` in `domain`.
            ///
            /// # Errors
            /// [`CryptoError::BadSignature`] if it was not made by this key for this domain and message.
            pub fn verify(&self, domain: Domain, message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
                UnparsedPublicKey::new(&ED25519, &self.0)
                    .verify(&separated(domain, message), &signature.0)
                    .map_err(|_| CryptoError::BadSignature)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = CryptoError;

            fn try_from(bytes: &[u8]) -> Result<Self, CryptoError> {
                Ok(Self(bytes.try_into().map_err(|_| CryptoError::Malformed($what))?))
            }
        }

        /// 52 characters of lower-case base32.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = CryptoError;

            fn from_str(text: &str) -> Result<Self, CryptoError> {
                let bytes = data_encoding::BASE32_NOPAD
                    .decode(text.to_ascii_uppercase().as_bytes())
                    .map_err(|_| CryptoError::Malformed($what))?;
                Self::try_from(bytes.as_slice())
            }
        }
    };
}

public_key_id!(
    /// A person: the public half of an identity key.
    PersonId,
    "person id"
);
public_key_id!(
    /// A device: the public half of its key, which is also its libp2p identity and its MLS signature key.
    DeviceId,
    "device id"
);
public_key_id!(
    /// The public half of a person's [`RecoveryKey`]: who can sign with it holds the recovery phrase.
    RecoveryId,
    "recovery id"
);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps the 64 bytes of a signature.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = CryptoError;

    fn try_from(bytes: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self(bytes.try_into().map_err(|_| CryptoError::Malformed("signature"))?))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

pub(crate) struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl SigningKey {
    pub(crate) fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let public = pair(&seed).public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Self { seed, public }
    }

    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let bytes = pair(&self.seed).sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        Signature(bytes)
    }
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed")
}

pub(crate) fn separated(domain: Domain, message: &[u8]) -> Vec<u8> {
    [domain.label(), message].concat()
}

/// The identity key of a person. Certifies devices; kept sealed and used rarely.
pub struct PersonKey(SigningKey);

/// The key of one device.
pub struct DeviceKey(SigningKey);

/// The key that brings a new device in when all others are lost, or cannot be trusted. It derives from the
/// [recovery phrase](crate::RecoveryPhrase) and is stored nowhere, so that who steals a device does not have it.
pub struct RecoveryKey(SigningKey);

impl PersonKey {
    /// Makes a new identity.
    #[must_use]
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self::from_seed(Zeroizing::new(entropy.bytes()))
    }

    /// Restores an identity from its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// The seed, to be sealed in a vault and nowhere else.
    #[must_use]
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.0.seed
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> PersonId {
        PersonId(self.0.public)
    }

    /// Declares that `device` belongs to this person.
    #[must_use]
    pub fn certify(&self, device: DeviceId) -> DeviceCertificate {
        let signature = self.0.sign(&separated(Domain::DeviceCertificate, device.as_bytes()));
        DeviceCertificate { person: self.id(), device, signature }
    }

    /// Declares that whoever signs with the key whose public half is `recovery` may bring in devices of this person.
    #[must_use]
    pub fn certify_recovery(&self, recovery: &[u8; 32]) -> Signature {
        self.0.sign(&separated(Domain::RecoveryCertificate, recovery))
    }
}

impl DeviceKey {
    /// Makes a new device key.
    #[must_use]
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self::from_seed(Zeroizing::new(entropy.bytes()))
    }

    /// Restores a device key from its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// The seed, to be sealed in a vault, or handed to libp2p as the node's identity.
    #[must_use]
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.0.seed
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId(self.0.public)
    }

    /// Signs `message` for `domain`.
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        self.0.sign(&separated(domain, message))
    }

    /// Signs exactly these bytes. Only for MLS, whose structures carry their own domain labels (RFC 9420, 5.1.2).
    pub(crate) fn sign_raw(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }
}

impl RecoveryKey {
    pub(crate) fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> RecoveryId {
        RecoveryId(self.0.public)
    }

    /// Signs `message` for `domain`, which should be [`Domain::Recovery`].
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        self.0.sign(&separated(domain, message))
    }
}

/// A person's statement that a device is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// Whose device it is.
    pub person: PersonId,
    /// The device.
    pub device: DeviceId,
    /// The person's signature over the device's key.
    pub signature: Signature,
}

impl DeviceCertificate {
    /// Checks that the person made this statement.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`] if not.
    pub fn verify(&self) -> Result<(), CryptoError> {
        self.person.verify(Domain::DeviceCertificate, self.device.as_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entropy() -> Entropy {
        Entropy::from_seed([7; 32])
    }

    #[test]
    fn a_certificate_speaks_for_one_person_and_one_device() {
        let mut entropy = entropy();
        let (person, device) = (PersonKey::generate(&mut entropy), DeviceKey::generate(&mut entropy));
        let certificate = person.certify(device.id());
        certificate.verify().expect("a fresh certificate verifies");

        let stranger = PersonKey::generate(&mut entropy).id();
        let forged = DeviceCertificate { person: stranger, ..certificate };
        assert_eq!(forged.verify(), Err(CryptoError::BadSignature));
        let moved = DeviceCertificate { device: DeviceKey::generate(&mut entropy).id(), ..certificate };
        assert_eq!(moved.verify(), Err(CryptoError::BadSignature));
    }

    #[test]
    fn a_signature_is_worthless_in_another_domain() {
        let device = DeviceKey::generate(&mut entropy());
        let signature = device.sign(Domain::Entry, b"hello");
        device.id().verify(Domain::Entry, b"hello", &signature).expect("its own domain");
        let other = device.id().verify(Domain::MembershipOperation, b"hello", &signature);
        assert_eq!(other, Err(CryptoError::BadSignature));
    }

    #[test]
    fn ids_survive_being_written_down() {
        let id = DeviceKey::generate(&mut entropy()).id();
        assert_eq!(id.to_string().parse::<DeviceId>(), Ok(id));
        assert_eq!("tooshort".parse::<DeviceId>(), Err(CryptoError::Malformed("device id")));
    }

    /// RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn signatures_are_those_of_the_published_vectors() {
        let unhex = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                 d25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
                 387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key = DeviceKey::from_seed(Zeroizing::new(unhex(seed).try_into().unwrap()));
            assert_eq!(key.id().as_bytes().as_slice(), unhex(public));
            assert_eq!(key.sign_raw(&unhex(message)).as_bytes().as_slice(), unhex(signature));
        }
    }
}
