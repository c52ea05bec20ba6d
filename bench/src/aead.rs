//! Sealing and opening, beside `ring` with a key that is already there: the difference is the fresh key of each entry.

use clave_crypto::{ContentKey, Entropy, VaultKey};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::Scale;
use crate::harness::{Group, timed};

const AAD: &[u8] = b"header";
const SOUND: &str = "it was sealed right before";

pub fn groups(scale: Scale) -> Vec<Value> {
    [300, 65_536].into_iter().flat_map(|bytes| [sealing(bytes, scale), opening(bytes, scale)]).collect()
}

fn bare() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[1; 32]).expect("32 bytes"))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn bare_seal(key: &LessSafeKey, plaintext: &[u8]) -> Vec<u8> {
    let mut buffer = plaintext.to_vec();
    key.seal_in_place_append_tag(nonce(), Aad::from(AAD), &mut buffer).expect("short enough");
    buffer
}

fn sealing(bytes: usize, scale: Scale) -> Value {
    let (plaintext, key) = (vec![7; bytes], bare());
    let (content, vault) =
        (ContentKey::from_bytes(Zeroizing::new([2; 32])), VaultKey::from_bytes(Zeroizing::new([3; 32])));
    let (mut content_entropy, mut vault_entropy) = (Entropy::from_seed([4; 32]), Entropy::from_seed([5; 32]));
    Group::new(format!("seal {bytes} bytes"), 1, "record")
        .with("ring, one key", timed(|| bare_seal(&key, &plaintext)))
        .with("ContentKey, a key per entry", timed(|| content.seal(&mut content_entropy, AAD, &plaintext)))
        .with("VaultKey, a key per record", timed(|| vault.seal(&mut vault_entropy, AAD, &plaintext)))
        .measure(scale.rounds)
}

fn opening(bytes: usize, scale: Scale) -> Value {
    let (plaintext, key) = (vec![7; bytes], bare());
    let (content, vault) =
        (ContentKey::from_bytes(Zeroizing::new([2; 32])), VaultKey::from_bytes(Zeroizing::new([3; 32])));
    let sealed = bare_seal(&key, &plaintext);
    let (salt, ciphertext) = content.seal(&mut Entropy::from_seed([4; 32]), AAD, &plaintext);
    let record = vault.seal(&mut Entropy::from_seed([5; 32]), AAD, &plaintext);
    let bare_open = || {
        let mut buffer = sealed.clone();
        key.open_in_place(nonce(), Aad::from(AAD), &mut buffer).expect(SOUND).len()
    };
    Group::new(format!("open {bytes} bytes"), 1, "record")
        .with("ring, one key", timed(bare_open))
        .with("ContentKey, a key per entry", timed(|| content.open(&salt, AAD, &ciphertext).expect(SOUND)))
        .with("VaultKey, a key per record", timed(|| vault.open(AAD, &record).expect(SOUND)))
        .measure(scale.rounds)
}
