//! Keys, Noise, MLS groups, AEAD, key derivation and the vault of Clave.
//!
//! This crate owns everything that touches a secret. It does no I/O, is not async, keeps no clock and asks nobody
//! for randomness ([`Entropy`] is an argument). It does not know what a message, a document or a peer is.

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
mod mls;
mod noise;
mod padding;
mod vault;

pub use chunk::{ChunkKey, open_chunk, seal_chunk};
pub use content::{ContentKey, KeyId};
pub use entropy::Entropy;
pub use error::CryptoError;
pub use group::{
    Checkpoint, CommitOutput, EpochId, GroupKeyAgreement, Joined, KeyPackageInfo, KeyPackagePair, Processed,
    RosterChange,
};
pub use identity::{DeviceCertificate, DeviceId, DeviceKey, PersonId, PersonKey, Signature};
pub use kdf::hash;
pub use labels::{Domain, Export, HashContext};
pub use mls::Mls;
pub use noise::{Handshake, NoisePublicKey, Session, open_from_device, seal_to_device};
pub use padding::{pad, padded_len, unpad};
pub use vault::{PassphraseParams, Protection, VaultKey, WrappedVaultKey};
