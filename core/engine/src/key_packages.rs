//! MLS key packages of this device whose private halves wait for a Welcome.

use zeroize::Zeroizing;

use crate::desk::Desk;
use crate::membership::KeyPackages;
use crate::{EngineError, Key, Keyspace};

/// Key packages for single use that are handed over when joining.
const SINGLE_USE: usize = 3;

/// Makes key packages and keeps their private halves until a join is final.
pub(crate) fn make(desk: &mut Desk) -> KeyPackages {
    let single_use = (0..SINGLE_USE).map(|_| make_one(false, desk)).collect();
    KeyPackages { single_use, last_resort: Some(make_one(true, desk)) }
}

fn make_one(last_resort: bool, desk: &mut Desk) -> Vec<u8> {
    let pair = desk.agreement.key_package(&desk.device, last_resort, &mut desk.entropy);
    desk.put(Key::new(Keyspace::KeyPackages, [], pair.reference), pair.secret.to_vec());
    pair.public
}

/// The private halves that are kept.
pub(crate) fn secrets(desk: &Desk) -> Result<Vec<Zeroizing<Vec<u8>>>, EngineError> {
    Ok(desk.store.all(Keyspace::KeyPackages, &[])?.into_values().map(Zeroizing::new).collect())
}
