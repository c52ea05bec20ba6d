//! Keys, Noise, MLS groups, AEAD, key derivation and the vault of Clave.
//!
//! This crate owns everything that touches a secret. It does no I/O, is not async, keeps no clock and asks nobody
//! for randomness ([`Entropy`] is an argument). It does not know what a message, a document or a peer is.

#![forbid(unsafe_code)]

mod entropy;
mod error;
mod group;
mod identity;
mod labels;
mod mls;

pub use entropy::Entropy;
pub use error::CryptoError;
pub use group::{
    Checkpoint, CommitOutput, EpochId, GroupKeyAgreement, Joined, KeyPackageInfo, KeyPackagePair, Processed,
    RosterChange, SealedSecret,
};
pub use identity::{DeviceCertificate, DeviceId, DeviceKey, PersonId, PersonKey, Signature};
pub use labels::{Domain, Export};
pub use mls::Mls;
