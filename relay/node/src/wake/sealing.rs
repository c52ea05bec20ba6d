//! What a push carries: a constant, sealed for the subscription (RFC 8291, with `aes128gcm` of RFC 8188), so that neither the push server nor whoever
//! listens learns more than that there was a push.

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand::{SecureRandom, SystemRandom},
};

/// What is sealed. It says nothing: that something came is all.
pub(super) const PLAINTEXT: &[u8] = b"wake";

/// The size of a record in the header of RFC 8188: more than the one that there is.
const RECORD_BYTES: u32 = 4_096;

/// The end of the last record (RFC 8188, section 2).
const LAST_RECORD: u8 = 2;

/// The keys of a subscription, as a browser gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PushKeys {
    /// P-256, uncompressed.
    pub(crate) p256dh: [u8; 65],
    pub(crate) auth: [u8; 16],
}

/// The body of a push: the constant under a fresh key.
///
/// # Errors
/// If `p256dh` is no point of the curve, or the system gives no randomness.
pub(super) fn body(keys: &PushKeys) -> Result<Vec<u8>, Unspecified> {
    let random = SystemRandom::new();
    let mut salt = [0; 16];
    random.fill(&mut salt)?;
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
    let own_public: [u8; 65] = own.compute_public_key()?.as_ref().try_into().map_err(|_| Unspecified)?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, keys.p256dh);
    agree_ephemeral(own, &theirs, |secret| seal(secret, keys, &own_public, &salt, PLAINTEXT))?
}

/// Whether something can be sealed for these keys.
pub(crate) fn are_keys(keys: &PushKeys) -> bool {
    body(keys).is_ok()
}

/// RFC 8291, section 3.4, with one record.
fn seal(
    secret: &[u8],
    keys: &PushKeys,
    own_public: &[u8; 65],
    salt: &[u8; 16],
    plaintext: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let mut input = [0; 32];
    let shared = Salt::new(HKDF_SHA256, &keys.auth).extract(secret);
    expand(&shared, &[b"WebPush: info\0", &keys.p256dh, own_public], &mut input)?;
    let record = Salt::new(HKDF_SHA256, salt).extract(&input);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    expand(&record, &[b"Content-Encoding: aes128gcm\0"], &mut key)?;
    expand(&record, &[b"Content-Encoding: nonce\0"], &mut nonce)?;

    let mut sealed = [plaintext, &[LAST_RECORD]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)?;
    let length = u8::try_from(own_public.len()).expect("65 is a byte");
    Ok([&salt[..], &RECORD_BYTES.to_be_bytes(), &[length], own_public, &sealed].concat())
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(from: &Prk, info: &[&[u8]], into: &mut [u8]) -> Result<(), Unspecified> {
    from.expand(info, Length(into.len()))?.fill(into)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use p256::{PublicKey, SecretKey, ecdh::diffie_hellman};

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_rfc() {
        let own = SecretKey::from_slice(&bytes::<32>("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")).unwrap();
        let own_public =
            bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8");
        let keys = PushKeys {
            p256dh: bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
        };
        let theirs = PublicKey::from_sec1_bytes(&keys.p256dh).unwrap();
        let secret = diffie_hellman(own.to_nonzero_scalar(), theirs.as_affine());
        let plaintext = b"When I grow up, I want to be a watermelon";
        let sealed =
            seal(secret.raw_secret_bytes(), &keys, &own_public, &bytes("DGv6ra1nlYgDCS1FRnbzlw"), plaintext).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_\
                        yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(BASE64URL_NOPAD.encode(&sealed), expected);
    }

    #[test]
    fn keys_that_are_no_point_are_refused_and_no_body_is_like_another() {
        let public = SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let p256dh = public.to_sec1_bytes().as_ref().try_into().unwrap();
        let keys = PushKeys { p256dh, auth: [1; 16] };
        assert!(are_keys(&keys));
        assert_ne!(body(&keys).unwrap(), body(&keys).unwrap());
        assert!(!are_keys(&PushKeys { p256dh: [4; 65], ..keys }));
        assert!(!are_keys(&PushKeys { p256dh: [0; 65], ..keys }));
    }
}
