//! MLS key packages of this device whose private halves wait for a Welcome.

use clave_crypto::Suite;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::desk::Desk;
use crate::membership::KeyPackages;
use crate::proto::local;
use crate::{CircleId, EngineError, InvitationId, Key, Keyspace};

/// Key packages for single use that are handed over when joining.
const SINGLE_USE: usize = 3;

/// Makes key packages and keeps their private halves until a join is final.
pub(crate) fn make(suite: Suite, desk: &mut Desk) -> KeyPackages {
    make_named(suite, desk).0
}

/// Makes one for a circle of another suite than the space in whose log it is published.
pub(crate) fn make_last_resort(suite: Suite, desk: &mut Desk) -> Vec<u8> {
    make_one(suite, true, desk).0
}

/// Those of a join that is not final: the same at every attempt, so that the answer to one whose answer was lost can still
/// be read, and so that attempts leave nothing behind.
pub(crate) fn for_join(
    invitation: InvitationId,
    circle: CircleId,
    suite: Suite,
    expires_ms: u64,
    desk: &mut Desk,
) -> Result<KeyPackages, EngineError> {
    let key = key(invitation, circle);
    if let Some(record) = desk.store.read(&key)? {
        let record = local::Request::decode(record.as_slice())?;
        let (single_use, last_resort) = (record.single_use, Some(record.last_resort));
        return Ok(KeyPackages { single_use, last_resort, x_wing: None });
    }
    let (packages, references) = make_named(suite, desk);
    let record = local::Request {
        single_use: packages.single_use.clone(),
        last_resort: packages.last_resort.clone().unwrap_or_default(),
        references,
        expires_ms,
    };
    desk.put(key, record.encode_to_vec());
    Ok(packages)
}

/// The circle was entered: the membership log says by now what these are, and others may use them.
pub(crate) fn handed_over(invitation: InvitationId, circle: CircleId, desk: &mut Desk) {
    desk.remove(key(invitation, circle));
}

/// The join failed: nobody will use them.
pub(crate) fn withdraw(invitation: InvitationId, circle: CircleId, desk: &mut Desk) {
    let key = key(invitation, circle);
    // One that cannot be read is left to the next opening.
    if let Ok(Some(record)) = desk.store.read(&key) {
        forget(key, &record, desk);
    }
}

/// Forgets those of joins that were given up.
pub(crate) fn prune(desk: &mut Desk) -> Result<(), EngineError> {
    for (suffix, record) in desk.store.all(Keyspace::Requests, &[])? {
        if local::Request::decode(record.as_slice())?.expires_ms < desk.now_ms {
            forget(Key::new(Keyspace::Requests, [], suffix), &record, desk);
        }
    }
    Ok(())
}

/// The private halves that are kept.
pub(crate) fn secrets(desk: &Desk) -> Result<Vec<Zeroizing<Vec<u8>>>, EngineError> {
    Ok(desk.store.all(Keyspace::KeyPackages, &[])?.into_values().map(Zeroizing::new).collect())
}

fn forget(key: Key, record: &[u8], desk: &mut Desk) {
    for reference in local::Request::decode(record).map(|record| record.references).unwrap_or_default() {
        desk.remove(Key::new(Keyspace::KeyPackages, [], reference));
    }
    desk.remove(key);
}

fn make_named(suite: Suite, desk: &mut Desk) -> (KeyPackages, Vec<Vec<u8>>) {
    let mut references = Vec::with_capacity(SINGLE_USE + 1);
    let mut one = |last_resort| {
        let (public, reference) = make_one(suite, last_resort, desk);
        references.push(reference);
        public
    };
    let single_use = (0..SINGLE_USE).map(|_| one(false)).collect();
    let packages = KeyPackages { single_use, last_resort: Some(one(true)), x_wing: None };
    (packages, references)
}

/// A key package, and what names it.
fn make_one(suite: Suite, last_resort: bool, desk: &mut Desk) -> (Vec<u8>, Vec<u8>) {
    let pair = desk.agreement.key_package(&desk.device, suite, last_resort, &mut desk.entropy);
    desk.put(Key::new(Keyspace::KeyPackages, [], pair.reference), pair.secret.to_vec());
    (pair.public, pair.reference.to_vec())
}

fn key(invitation: InvitationId, circle: CircleId) -> Key {
    Key::new(Keyspace::Requests, [], [invitation.as_bytes().as_slice(), circle.as_bytes()].concat())
}
