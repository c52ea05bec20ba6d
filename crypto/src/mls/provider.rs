//! What openmls is given to work with: ring and `hpke` for cryptography, our [`Entropy`] for randomness, a scratch
//! storage.
//!
//! Only the cipher suites of Clave are implemented, so nothing else can be negotiated and nothing else is linked. They
//! differ in the key encapsulation of HPKE alone (`kem`).
//! openmls encrypts the secrets of a path on several threads at once, in no order; a shared generator would then
//! give another commit each time. So the ephemeral key of each encryption is derived from the operation's seed *and*
//! from all that is encrypted: independent of order, and a repeated seed never meets a different plaintext.

use std::cell::RefCell;

use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair, KemOutput,
    SignatureScheme,
};
use ring::{aead, digest, hkdf, hmac, signature};
use tls_codec::SecretVLBytes;
use zeroize::Zeroizing;

use super::storage::Scratch;
use super::{ciphersuite, suite};
use crate::group::hpke_rng::HpkeRng;
use crate::{Entropy, Suite, labels};

mod kem;

use kem::with_kem;

/// The provider of one operation.
pub(super) struct Provider {
    crypto: Crypto,
    rand: Rand,
    storage: Scratch,
}

impl Provider {
    /// For an operation that draws randomness.
    pub(super) fn with_entropy(storage: Scratch, entropy: &mut Entropy) -> Self {
        let crypto = Crypto { seed: Some(Zeroizing::new(entropy.bytes())) };
        Self { crypto, rand: Rand(RefCell::new(Some(entropy.fork()))), storage }
    }

    /// For an operation that draws none: should openmls ask for some, the operation fails.
    pub(super) fn without_entropy(storage: Scratch) -> Self {
        Self { crypto: Crypto { seed: None }, rand: Rand(RefCell::new(None)), storage }
    }

    /// Gives back what openmls left in its storage.
    pub(super) fn into_storage(self) -> Scratch {
        self.storage
    }

    /// For tests that work over another storage.
    #[cfg(test)]
    pub(super) fn into_parts(self) -> (Crypto, Rand) {
        (self.crypto, self.rand)
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Crypto;
    type RandProvider = Rand;
    type StorageProvider = Scratch;

    fn storage(&self) -> &Scratch {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Rand {
        &self.rand
    }
}

/// Randomness for openmls.
pub struct Rand(RefCell<Option<Entropy>>);

impl OpenMlsRand for Rand {
    type Error = CryptoError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], CryptoError> {
        self.0.borrow_mut().as_mut().map(Entropy::bytes).ok_or(CryptoError::InsufficientRandomness)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; len];
        self.0.borrow_mut().as_mut().ok_or(CryptoError::InsufficientRandomness)?.fill(&mut out);
        Ok(out)
    }
}

/// The cipher suites. `seed` is that of this operation's encryptions.
pub struct Crypto {
    seed: Option<Zeroizing<[u8; 32]>>,
}

impl Crypto {
    /// What openmls is given here, for one who drives openmls alone to compare with.
    #[doc(hidden)]
    pub fn with_entropy(entropy: &mut Entropy) -> (Self, Rand) {
        (Self { seed: Some(Zeroizing::new(entropy.bytes())) }, Rand(RefCell::new(Some(entropy.fork()))))
    }

    fn ephemeral(&self, pk_r: &[u8], info: &[u8], aad: &[u8], ptxt: &[u8]) -> Result<HpkeRng, CryptoError> {
        let seed = self.seed.as_ref().ok_or(CryptoError::InsufficientRandomness)?;
        let mut hasher = blake3::Hasher::new_derive_key(labels::HPKE_EPHEMERAL);
        hasher.update(&**seed);
        for input in [pk_r, info, aad, ptxt] {
            hasher.update(&(input.len() as u64).to_le_bytes()).update(input);
        }
        Ok(HpkeRng(Entropy::from_seed(*hasher.finalize().as_bytes())))
    }
}

/// The output length of a key derivation.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn sha256_only(hash: HashType) -> Result<(), CryptoError> {
    if hash == HashType::Sha2_256 { Ok(()) } else { Err(CryptoError::UnsupportedHashAlgorithm) }
}

fn ed25519_only(scheme: SignatureScheme) -> Result<(), CryptoError> {
    if scheme == SignatureScheme::ED25519 { Ok(()) } else { Err(CryptoError::UnsupportedSignatureScheme) }
}

fn aead_key(alg: AeadType, key: &[u8]) -> Result<aead::LessSafeKey, CryptoError> {
    if alg != AeadType::ChaCha20Poly1305 {
        return Err(CryptoError::UnsupportedAeadAlgorithm);
    }
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key).map_err(|_| CryptoError::InvalidLength)?;
    Ok(aead::LessSafeKey::new(key))
}

fn aead_nonce(nonce: &[u8]) -> Result<aead::Nonce, CryptoError> {
    aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::InvalidLength)
}

impl OpenMlsCrypto for Crypto {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        suite(ciphersuite).map(|_| ()).ok_or(CryptoError::UnsupportedCiphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        Suite::ALL.map(ciphersuite).to_vec()
    }

    fn hkdf_extract(&self, hash_type: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        // RFC 5869, 2.2: the extraction is an HMAC under the salt.
        self.hmac(hash_type, salt, ikm)
    }

    fn hmac(&self, hash_type: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        sha256_only(hash_type)?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
        Ok(tag.as_ref().into())
    }

    fn hkdf_expand(
        &self,
        hash_type: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        sha256_only(hash_type)?;
        let mut out = vec![0; okm_len];
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk)
            .expand(&[info], Length(okm_len))
            .and_then(|okm| okm.fill(&mut out))
            .map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        Ok(out.into())
    }

    fn hash(&self, hash_type: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        sha256_only(hash_type)?;
        Ok(digest::digest(&digest::SHA256, data).as_ref().to_vec())
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut out = data.to_vec();
        aead_key(alg, key)?
            .seal_in_place_append_tag(aead_nonce(nonce)?, aead::Aad::from(aad), &mut out)
            .map_err(|_| CryptoError::TooMuchData)?;
        Ok(out)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut out = ct_tag.to_vec();
        let length = aead_key(alg, key)?
            .open_in_place(aead_nonce(nonce)?, aead::Aad::from(aad), &mut out)
            .map_err(|_| CryptoError::AeadDecryptionError)?
            .len();
        out.truncate(length);
        Ok(out)
    }

    /// Signature keys are device keys, which are not made here.
    fn signature_key_gen(&self, _alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        Err(CryptoError::UnsupportedSignatureScheme)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        ed25519_only(alg)?;
        signature::UnparsedPublicKey::new(&signature::ED25519, pk)
            .verify(data, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        ed25519_only(alg)?;
        let key = signature::Ed25519KeyPair::from_seed_unchecked(key).map_err(|_| CryptoError::SigningError)?;
        Ok(key.sign(data).as_ref().to_vec())
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let ephemeral = self.ephemeral(pk_r, info, aad, ptxt)?;
        with_kem!(&config, seal(pk_r, info, aad, ptxt, ephemeral))
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        with_kem!(&config, open(input, sk_r, info, aad))
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        let ephemeral = self.ephemeral(pk_r, info, exporter_context, b"")?;
        with_kem!(&config, setup_sender(pk_r, info, exporter_context, exporter_length, ephemeral))
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        with_kem!(&config, setup_receiver(enc, sk_r, info, exporter_context, exporter_length))
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        with_kem!(&config, derive(ikm))
    }
}
