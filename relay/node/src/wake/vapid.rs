//! Who the relay is to push servers: a key of its own, and tokens by it (RFC 8292).

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use zeroize::Zeroizing;

use super::WakeError;
use crate::files;

/// For how long a token is good. At most a day (RFC 8292, section 2).
const TOKEN_SECONDS: u64 = 12 * 60 * 60;

/// Longer than any key file.
const KEY_BYTES_MAX: u64 = 1_024;

/// The key, and who answers for it.
pub(super) struct Vapid {
    pair: EcdsaKeyPair,
    public: [u8; 65],
    random: SystemRandom,
    /// A URI, or empty.
    contact: String,
}

impl Vapid {
    /// The key in the file (PKCS #8); a fresh one, written to it, if there is no file. Browsers tie a subscription to it: it has to stay.
    pub(super) fn load_or_create(path: &Path, contact: &str) -> Result<Self, WakeError> {
        let failed = |error| WakeError::Key(path.into(), error);
        let random = SystemRandom::new();
        let bytes = match File::open(path) {
            Ok(file) => {
                if files::is_exposed(&file).map_err(failed)? {
                    return Err(WakeError::Exposed(path.into()));
                }
                let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX as usize));
                file.take(KEY_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let made = made.map_err(|_| failed(io::Error::other("the system gives no randomness")))?;
                files::write_durably(path, made.as_ref()).map_err(failed)?;
                Zeroizing::new(made.as_ref().to_vec())
            }
            Err(error) => return Err(failed(error)),
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes, &random)
            .map_err(|_| WakeError::NoKey(path.into()))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| WakeError::NoKey(path.into()))?;
        Ok(Self { pair, public, random, contact: contact.into() })
    }

    /// Uncompressed.
    pub(super) fn public(&self) -> [u8; 65] {
        self.public
    }

    /// The header `Authorization` for a push server. `None` if the system gives no randomness.
    pub(super) fn authorization(&self, origin: &str, now_seconds: u64) -> Option<String> {
        let mut claims = serde_json::json!({ "aud": origin, "exp": now_seconds + TOKEN_SECONDS });
        if !self.contact.is_empty() {
            claims["sub"] = self.contact.as_str().into();
        }
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let signed = format!("{}.{}", encode(br#"{"typ":"JWT","alg":"ES256"}"#), encode(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("vapid t={signed}.{}, k={}", encode(signature.as_ref()), encode(&self.public)))
    }
}
