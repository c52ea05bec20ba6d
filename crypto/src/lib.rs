//! Keys, Noise, MLS groups, AEAD, key derivation and the vault of Clave.
//!
//! This crate owns everything that touches a secret. It does no I/O, is not async, keeps no clock and asks nobody
//! for randomness ([`Entropy`] is an argument). It does not know what a message, a document or a peer is.
//!
//! Secrets are zeroized when dropped and can be neither printed, cloned nor serialised. What `ring` and `snow` copy of
//! them for the time of a call, a handshake or a session is beyond our reach.
//!
//! | for | take |
//! | --- | --- |
//! | persons and devices, and what they sign | [`PersonKey`], [`DeviceKey`], [`DeviceCertificate`] |
//! | comparing keys with a person | [`SasExchange`], [`safety_number`] |
//! | what is left when every device is lost | [`RecoveryPhrase`], [`RecoveryKey`] |
//! | entries | [`ContentKey`] |
//! | mailboxes at relays | [`MailboxKey`] |
//! | chunks of files | [`seal_chunk`], [`open_chunk`] |
//! | everything on disk | [`VaultKey`], [`WrappedVaultKey`] |
//! | pairing and invitations | [`Handshake`], then [`Session`] |
//! | one message to one device | [`seal_to_device`], [`open_from_device`] |
//! | names of things | [`hash`] |
//!
//! ```
//! use clave_crypto::{ContentKey, CryptoError, Entropy, PassphraseParams, VaultKey, WrappedVaultKey};
//! use zeroize::Zeroizing;
//!
//! let mut entropy = Entropy::from_seed([7; 32]); // from the system's generator, in earnest
//!
//! // A device's vault, locked by a passphrase.
//! let vault = VaultKey::generate(&mut entropy);
//! let params = PassphraseParams::FAST_FOR_TESTS; // PassphraseParams::RECOMMENDED, in earnest
//! let on_disk = vault.wrap_with_passphrase("correct horse", params, &mut entropy)?.to_bytes();
//! let locked = WrappedVaultKey::from_bytes(&on_disk)?;
//! assert_eq!(locked.unlock(Some("battery staple")).err(), Some(CryptoError::WrongPassphrase));
//! let vault = locked.unlock(Some("correct horse"))?;
//!
//! // An entry, sealed for those who hold the key of an epoch; at rest it is sealed once more.
//! let key = ContentKey::from_bytes(Zeroizing::new(entropy.bytes()));
//! let (salt, ciphertext) = key.seal(&mut entropy, b"which circle", b"hello");
//! let record = vault.seal(&mut entropy, b"entries/1", &ciphertext);
//! assert_eq!(key.open(&salt, b"which circle", &vault.open(b"entries/1", &record)?)?, b"hello");
//! # Ok::<(), CryptoError>(())
//! ```

#![forbid(unsafe_code)]

mod aead;
mod chunk;
mod content;
mod entropy;
mod error;
mod group;
mod identity;
mod kdf;
mod labels;
mod mailbox;
mod mls;
mod noise;
mod padding;
mod recovery;
mod suite;
mod vault;
mod verify;

pub use chunk::{ChunkKey, open_chunk, seal_chunk};
pub use content::{ContentKey, KeyId, Salt};
pub use entropy::Entropy;
pub use error::CryptoError;
pub use group::{
    BlobId, Checkpoint, CheckpointParts, CommitOutput, EpochId, GroupKeyAgreement, Joined, KeyPackageInfo,
    KeyPackagePair, Processed, RosterChange, SealedSecret,
};
pub use identity::{DeviceCertificate, DeviceId, DeviceKey, PersonId, PersonKey, RecoveryId, RecoveryKey, Signature};
pub use kdf::hash;
pub use labels::{Domain, Export, HashContext};
pub use mailbox::{MailboxId, MailboxKey};
pub use mls::Mls;
#[doc(hidden)]
pub use mls::{Crypto as OpenMlsCrypto, Rand as OpenMlsRand};
pub use noise::{
    Handshake, Letter, NoisePublicKey, OpenedLetter, Session, open_from_device, open_letter, seal_to_device,
};
pub use padding::{pad, padded_len, unpad};
pub use recovery::{PhraseError, RecoveryPhrase};
pub use suite::Suite;
pub use vault::{HOST_WRAPPED_BYTES_MAX, PassphraseParams, Protection, VaultKey, WrappedVaultKey};
pub use verify::{Sas, SasContext, SasExchange, SasMessage, SasParty, SasStep, safety_number};
