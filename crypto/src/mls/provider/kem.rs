//! HPKE (RFC 9180) over the key encapsulation of each suite.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
pub(super) use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use openmls_traits::types::{
    CryptoError, ExporterSecret, HpkeAeadType, HpkeCiphertext, HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair,
    KemOutput,
};
use shake::{ExtendableOutput as _, Shake256};
use zeroize::Zeroizing;

use crate::Suite;
use crate::group::hpke_rng::HpkeRng;

/// Of X25519 the key itself, of X-Wing the seed that both of its keys derive from.
const PRIVATE_KEY_BYTES: usize = 32;

/// The suite that HPKE is asked for.
pub(super) fn suite_of(config: &HpkeConfig) -> Result<Suite, CryptoError> {
    match (config.0, config.1, config.2) {
        (HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305) => Ok(Suite::X25519),
        (HpkeKemType::XWingKemDraft6, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305) => Ok(Suite::XWing),
        _ => Err(CryptoError::UnsupportedCiphersuite),
    }
}

/// Calls a function of this module with the key encapsulation that HPKE is asked for.
macro_rules! with_kem {
    ($config:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match kem::suite_of($config)? {
            Suite::X25519 => kem::$function::<kem::X25519HkdfSha256>($($argument),*),
            Suite::XWing => kem::$function::<kem::XWing>($($argument),*),
        }
    };
}
pub(super) use with_kem;

/// A key encapsulation whose key pairs derive from key material of any length.
pub(super) trait DeriveKeyPair: Kem {
    fn key_pair(ikm: &[u8]) -> Result<(Self::PrivateKey, Self::PublicKey), CryptoError>;
}

impl DeriveKeyPair for X25519HkdfSha256 {
    fn key_pair(ikm: &[u8]) -> Result<(Self::PrivateKey, Self::PublicKey), CryptoError> {
        Ok(Self::derive_keypair(ikm))
    }
}

impl DeriveKeyPair for XWing {
    /// SHAKE256 of the key material is the seed, as draft-connolly-cfrg-xwing-kem has it for HPKE, and openmls after it.
    /// `hpke` follows draft-ietf-hpke-pq, which labels what it hashes and gives another key.
    fn key_pair(ikm: &[u8]) -> Result<(Self::PrivateKey, Self::PublicKey), CryptoError> {
        let mut seed = Zeroizing::new([0; PRIVATE_KEY_BYTES]);
        Shake256::digest_xof(ikm, &mut *seed);
        let private = private_key::<Self>(&*seed)?;
        let public = Self::sk_to_pk(&private);
        Ok((private, public))
    }
}

fn public_key<K: Kem>(bytes: &[u8]) -> Result<K::PublicKey, CryptoError> {
    K::PublicKey::from_bytes(bytes).map_err(|_| CryptoError::InvalidPublicKey)
}

fn private_key<K: Kem>(bytes: &[u8]) -> Result<K::PrivateKey, CryptoError> {
    K::PrivateKey::from_bytes(bytes).map_err(|_| CryptoError::InvalidLength)
}

fn encapped_key<K: Kem>(bytes: &[u8]) -> Result<K::EncappedKey, CryptoError> {
    K::EncappedKey::from_bytes(bytes).map_err(|_| CryptoError::InvalidPublicKey)
}

pub(super) fn derive<K: DeriveKeyPair>(ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
    let (private, public) = K::key_pair(ikm)?;
    let mut bytes = Zeroizing::new([0; PRIVATE_KEY_BYTES]);
    private.write_exact(&mut *bytes);
    Ok(HpkeKeyPair { private: bytes.as_slice().into(), public: public.to_bytes().to_vec() })
}

pub(super) fn seal<K: Kem>(
    pk_r: &[u8],
    info: &[u8],
    aad: &[u8],
    ptxt: &[u8],
    mut ephemeral: HpkeRng,
) -> Result<HpkeCiphertext, CryptoError> {
    let (kem_output, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &public_key::<K>(pk_r)?,
        info,
        ptxt,
        aad,
        &mut ephemeral,
    )
    .map_err(|_| CryptoError::HpkeEncryptionError)?;
    Ok(HpkeCiphertext { kem_output: kem_output.to_bytes().to_vec().into(), ciphertext: ciphertext.into() })
}

pub(super) fn open<K: Kem>(
    input: &HpkeCiphertext,
    sk_r: &[u8],
    info: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &private_key::<K>(sk_r)?,
        &encapped_key::<K>(input.kem_output.as_slice())?,
        info,
        input.ciphertext.as_slice(),
        aad,
    )
    .map_err(|_| CryptoError::HpkeDecryptionError)
}

pub(super) fn setup_sender<K: Kem>(
    pk_r: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    exporter_length: usize,
    mut ephemeral: HpkeRng,
) -> Result<(KemOutput, ExporterSecret), CryptoError> {
    let (kem_output, context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &public_key::<K>(pk_r)?,
        info,
        &mut ephemeral,
    )
    .map_err(|_| CryptoError::SenderSetupError)?;
    let mut secret = vec![0; exporter_length];
    context.export(exporter_context, &mut secret).map_err(|_| CryptoError::ExporterError)?;
    Ok((kem_output.to_bytes().to_vec(), secret.into()))
}

pub(super) fn setup_receiver<K: Kem>(
    enc: &[u8],
    sk_r: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    exporter_length: usize,
) -> Result<ExporterSecret, CryptoError> {
    let context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &private_key::<K>(sk_r)?,
        &encapped_key::<K>(enc)?,
        info,
    )
    .map_err(|_| CryptoError::ReceiverSetupError)?;
    let mut secret = vec![0; exporter_length];
    context.export(exporter_context, &mut secret).map_err(|_| CryptoError::ExporterError)?;
    Ok(secret.into())
}
