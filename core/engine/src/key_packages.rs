//! MLS key packages of this device whose private halves wait for a Welcome.

use clave_crypto::mls::KeyPackagePair;
use zeroize::Zeroizing;

use crate::desk::Desk;
use crate::{EngineError, Key, Keyspace};

/// Key packages handed over when joining; the last is for last resort.
pub(crate) const PACKAGES_PER_JOIN: usize = 4;

/// Makes key packages and keeps their private halves until a join is final.
pub(crate) fn make(count: usize, desk: &mut Desk) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut packages = Vec::with_capacity(count);
    for _ in 0..count {
        let KeyPackagePair { public, secret, reference } = desk.agreement.key_package(&desk.device, &mut desk.entropy)?;
        desk.put(Key::new(Keyspace::KeyPackages, [], reference), secret.to_vec());
        packages.push(public);
    }
    Ok(packages)
}

/// The private halves that are kept.
pub(crate) fn secrets(desk: &Desk) -> Result<Vec<Zeroizing<Vec<u8>>>, EngineError> {
    Ok(desk.store.all(Keyspace::KeyPackages, &[])?.into_values().map(Zeroizing::new).collect())
}
