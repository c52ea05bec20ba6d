//! Membership operations from a member: what is read is written as it was, and a log takes it or says why not.

use clave_engine::CircleId;
use clave_engine::membership::{Insertion, Log, Operation};

use super::engine_frames::session;

/// Reads the bytes as an operation, and offers it to a log.
pub fn run(data: &[u8]) {
    let Ok(operation) = Operation::decode(data) else { return };
    assert_eq!(operation.encode(), data, "two encodings of one operation");
    let sound = &session().operations;
    let genesis = Operation::decode(&sound[0]).expect("it is sound");
    let mut log = Log::new(CircleId::from_bytes(*genesis.id().as_bytes()));
    for bytes in sound {
        let _ = log.insert(Operation::decode(bytes).expect("it is sound"));
    }
    let before = log.membership().clone();
    let forged = !sound.iter().any(|bytes| bytes == data);
    match log.insert(operation) {
        Insertion::Inserted(_) => assert!(!forged, "a forged operation got in"),
        Insertion::MissingParents(_) | Insertion::Refused(_) => assert_eq!(*log.membership(), before),
        Insertion::Duplicate => assert!(!forged),
    }
    let _ = log.membership_at(&log.heads());
}

/// The operations of an honest session.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    session().operations.clone()
}
