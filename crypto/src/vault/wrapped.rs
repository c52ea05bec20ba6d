//! The vault key as it lies on disk.
//!
//! `"CLVK" ‖ version (1) ‖ protection (0 none, 1 passphrase, 2 host)`, then
//!
//! - for none: `key (32) ‖ checksum (16)`;
//! - for a passphrase: `memory in KiB (4, big endian) ‖ passes (4) ‖ lanes (4) ‖ salt (16) ‖ sealed key (48)`,
//!   everything before the sealed key being its associated data;
//! - for a host: `checksum (16) ‖ what the host made of the key (1 to 4,096)`.

use zeroize::Zeroizing;

use super::{PassphraseParams, VaultKey};
use crate::{CryptoError, Entropy, aead, kdf, labels};

const HEAD: [u8; 5] = *b"CLVK\x01";
const NONE: u8 = 0;
const PASSPHRASE: u8 = 1;
const HOST: u8 = 2;
const SALT_BYTES: usize = 16;
const SEALED_BYTES: usize = 32 + aead::TAG_BYTES;
const CHECKSUM_BYTES: usize = 16;
const MALFORMED: CryptoError = CryptoError::Malformed("wrapped vault key");

/// The most bytes that a host may make of a key.
pub const HOST_WRAPPED_BYTES_MAX: usize = 4_096;

/// What stands between a stolen disk and the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// Nothing: whoever reads the disk reads the vault. An app must say so.
    None,
    /// A passphrase, which is tried at this cost.
    Passphrase(PassphraseParams),
    /// A key that the host keeps where no program can read it, as the Android Keystore or the Secure Enclave does.
    Host,
}

/// A [`VaultKey`] in the form in which it is stored.
pub struct WrappedVaultKey(Wrapping);

enum Wrapping {
    None(Zeroizing<[u8; 32]>),
    Passphrase { params: PassphraseParams, salt: [u8; SALT_BYTES], sealed: [u8; SEALED_BYTES] },
    Host { checksum: [u8; CHECKSUM_BYTES], wrapped: Vec<u8> },
}

impl VaultKey {
    /// Wraps the key in nothing: it will lie on disk in clear.
    #[must_use]
    pub fn wrap_in_clear(&self) -> WrappedVaultKey {
        WrappedVaultKey(Wrapping::None(self.key.clone()))
    }

    /// Takes what the host made of the key ([`as_bytes`](Self::as_bytes)), from which it makes the key again.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if it is nothing or longer than [`HOST_WRAPPED_BYTES_MAX`].
    pub fn wrapped_by_host(&self, wrapped: Vec<u8>) -> Result<WrappedVaultKey, CryptoError> {
        if wrapped.is_empty() || wrapped.len() > HOST_WRAPPED_BYTES_MAX {
            return Err(MALFORMED);
        }
        Ok(WrappedVaultKey(Wrapping::Host { checksum: checksum(&self.key), wrapped }))
    }

    /// Wraps the key under `passphrase`. Takes the time and memory that `params` say.
    ///
    /// # Errors
    /// [`CryptoError::OutOfMemory`]; [`CryptoError::Malformed`] if the passphrase is longer than Argon2 allows (4 GiB).
    pub fn wrap_with_passphrase(
        &self,
        passphrase: &str,
        params: PassphraseParams,
        entropy: &mut Entropy,
    ) -> Result<WrappedVaultKey, CryptoError> {
        let salt = entropy.bytes();
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(&*self.key);
        aead::seal(&*wrapping_key(passphrase, params, &salt)?, &passphrase_head(params, &salt), &mut sealed, 0);
        let sealed = sealed.try_into().expect("32 bytes and a tag");
        Ok(WrappedVaultKey(Wrapping::Passphrase { params, salt, sealed }))
    }
}

impl WrappedVaultKey {
    /// How the key is protected, hence whether [`unlock`](Self::unlock) needs a passphrase.
    #[must_use]
    pub fn protection(&self) -> Protection {
        match &self.0 {
            Wrapping::None(_) => Protection::None,
            Wrapping::Passphrase { params, .. } => Protection::Passphrase(*params),
            Wrapping::Host { .. } => Protection::Host,
        }
    }

    /// What the host made of the key, if it is one.
    #[must_use]
    pub fn of_host(&self) -> Option<&[u8]> {
        match &self.0 {
            Wrapping::Host { wrapped, .. } => Some(wrapped),
            _ => None,
        }
    }

    /// Takes the key that the host made again.
    ///
    /// # Errors
    /// [`CryptoError::WrongHostKey`] if it is another, or this is wrapped by no host.
    pub fn unlock_by_host(&self, key: &[u8]) -> Result<VaultKey, CryptoError> {
        let key: Option<[u8; 32]> = key.try_into().ok();
        let key = key
            .map(Zeroizing::new)
            .filter(|key| matches!(&self.0, Wrapping::Host { checksum: of_key, .. } if *of_key == checksum(key)));
        key.map(VaultKey::from_bytes).ok_or(CryptoError::WrongHostKey)
    }

    /// Takes the key out. Where there is no protection the passphrase is not looked at.
    ///
    /// # Errors
    /// [`CryptoError::HostNeeded`], [`CryptoError::PassphraseNeeded`], [`CryptoError::WrongPassphrase`] (also if the wrapped key was altered),
    /// [`CryptoError::OutOfMemory`].
    pub fn unlock(&self, passphrase: Option<&str>) -> Result<VaultKey, CryptoError> {
        match &self.0 {
            Wrapping::None(key) => Ok(VaultKey::from_bytes(key.clone())),
            Wrapping::Host { .. } => Err(CryptoError::HostNeeded),
            Wrapping::Passphrase { params, salt, sealed } => {
                let passphrase = passphrase.ok_or(CryptoError::PassphraseNeeded)?;
                let wrapping_key = wrapping_key(passphrase, *params, salt)?;
                let opened = aead::open(&wrapping_key, &passphrase_head(*params, salt), sealed)
                    .map(Zeroizing::new)
                    .map_err(|_| CryptoError::WrongPassphrase)?;
                let key = opened.as_slice().try_into().expect("48 sealed bytes are 32 in clear");
                Ok(VaultKey::from_bytes(Zeroizing::new(key)))
            }
        }
    }

    /// The encoding. It holds the key in clear if there is no protection.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match &self.0 {
            Wrapping::None(key) => [&HEAD[..], &[NONE], &key[..], &checksum(key)].concat(),
            Wrapping::Passphrase { params, salt, sealed } => [&passphrase_head(*params, salt), &sealed[..]].concat(),
            Wrapping::Host { checksum, wrapped } => [&HEAD[..], &[HOST], checksum, wrapped].concat(),
        })
    }

    /// Decodes what [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if it is no such encoding, was altered, or asks for more work than
    /// [`PassphraseParams`] allows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (protection, body) = bytes.strip_prefix(&HEAD).and_then(<[u8]>::split_first).ok_or(MALFORMED)?;
        match *protection {
            NONE => {
                let (key, sum) = body.split_first_chunk::<32>().ok_or(MALFORMED)?;
                if sum != checksum(key) {
                    return Err(MALFORMED);
                }
                Ok(Self(Wrapping::None(Zeroizing::new(*key))))
            }
            PASSPHRASE => {
                let (memory_kib, body) = body.split_first_chunk().ok_or(MALFORMED)?;
                let (passes, body) = body.split_first_chunk().ok_or(MALFORMED)?;
                let (lanes, body) = body.split_first_chunk().ok_or(MALFORMED)?;
                let (salt, body) = body.split_first_chunk().ok_or(MALFORMED)?;
                let params = PassphraseParams::new(
                    u32::from_be_bytes(*memory_kib),
                    u32::from_be_bytes(*passes),
                    u32::from_be_bytes(*lanes),
                )?;
                let sealed = body.try_into().map_err(|_| MALFORMED)?;
                Ok(Self(Wrapping::Passphrase { params, salt: *salt, sealed }))
            }
            HOST => {
                let (checksum, wrapped) = body.split_first_chunk().ok_or(MALFORMED)?;
                if wrapped.is_empty() || wrapped.len() > HOST_WRAPPED_BYTES_MAX {
                    return Err(MALFORMED);
                }
                Ok(Self(Wrapping::Host { checksum: *checksum, wrapped: wrapped.to_vec() }))
            }
            _ => Err(MALFORMED),
        }
    }
}

fn wrapping_key(
    passphrase: &str,
    params: PassphraseParams,
    salt: &[u8; SALT_BYTES],
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let stretched = params.stretch(passphrase, salt)?;
    Ok(kdf::derive(labels::VAULT_WRAPPING, &[&*stretched]))
}

fn passphrase_head(params: PassphraseParams, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let PassphraseParams { memory_kib, passes, lanes } = params;
    let numbers = [memory_kib, passes, lanes].map(u32::to_be_bytes);
    [&HEAD[..], &[PASSPHRASE], numbers.as_flattened(), salt].concat()
}

fn checksum(key: &[u8; 32]) -> [u8; CHECKSUM_BYTES] {
    kdf::derive(labels::VAULT_CHECKSUM, &[key])[..CHECKSUM_BYTES].try_into().expect("16 of 32 bytes")
}
