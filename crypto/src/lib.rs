//! Keys, Noise, MLS groups, AEAD, key derivation and the vault of Clave.
//!
//! This crate owns everything that touches a secret. It does no I/O, is not async, keeps no clock and asks nobody
//! for randomness ([`Entropy`] is an argument). It does not know what a message, a document or a peer is.

#![forbid(unsafe_code)]

mod entropy;
mod error;
mod identity;
mod labels;

pub use entropy::Entropy;
pub use error::CryptoError;
pub use identity::{DeviceCertificate, DeviceId, DeviceKey, PersonId, PersonKey, Signature};
pub use labels::Domain;
