//! Records and the wrapped key of a vault, as whoever holds the disk may have changed them.

use clave_crypto::{Entropy, PassphraseParams, VaultKey, WrappedVaultKey};
use zeroize::Zeroizing;

const AAD: &[u8] = b"table and key";
const PLAINTEXT: &[u8] = b"a record";

fn vault() -> VaultKey {
    VaultKey::from_bytes(Zeroizing::new([4; 32]))
}

fn record() -> Vec<u8> {
    vault().seal(&mut Entropy::from_seed([5; 32]), AAD, PLAINTEXT)
}

/// Opens the bytes as a record, and decodes them as a wrapped key.
pub fn run(data: &[u8]) {
    if let Ok(plaintext) = vault().open(AAD, data) {
        assert!(data == record() && plaintext.as_slice() == PLAINTEXT, "a forged record was opened");
    }
    if let Ok(wrapped) = WrappedVaultKey::from_bytes(data) {
        assert_eq!(wrapped.to_bytes().as_slice(), data, "two encodings of one wrapped key");
    }
}

/// A record, and a key wrapped in each way.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let passphrase = vault()
        .wrap_with_passphrase("open sesame", PassphraseParams::FAST_FOR_TESTS, &mut Entropy::from_seed([6; 32]))
        .expect("the parameters are sound");
    let host = vault().wrapped_by_host(vec![9; 60]).expect("it is short");
    let wrapped = [vault().wrap_in_clear(), passphrase, host].map(|wrapped| wrapped.to_bytes().to_vec());
    [vec![record()], wrapped.into()].concat()
}
