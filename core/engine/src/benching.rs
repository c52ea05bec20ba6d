//! Doors for `bench/` into what is private. Not part of the API.

use clave_crdt::DocumentKind;
use clave_crypto::{Checkpoint, ContentKey, DeviceKey, Entropy, Export, GroupKeyAgreement as _, Mls, RosterChange};

use crate::circle::Circle;
use crate::entry::{Body, Envelope};
use crate::membership::Log;
use crate::proto::entry::Changes;
use crate::{CircleId, DocumentId, Engine, EngineError};

/// Puts a device into a circle as if it had just joined, so that a circle of thousands takes no thousand joins.
///
/// # Errors
/// If the checkpoint is not of this engine's key agreement.
pub fn enter(engine: &mut Engine, log: Log, checkpoint: Checkpoint, now_ms: u64) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let circle = Circle::join(log, checkpoint, Vec::new(), &mut engine.desk)?;
    engine.circles.insert(circle.id, circle);
    engine.finish();
    Ok(())
}

/// The key that entries are sealed with in an epoch.
///
/// # Errors
/// If the checkpoint is not of MLS.
pub fn content_key(checkpoint: &Checkpoint, circle: CircleId) -> Result<ContentKey, EngineError> {
    Ok(ContentKey::from_bytes(Mls.export(checkpoint, Export::ContentKey, circle.as_bytes())?))
}

/// Signs a change of a chat and seals it, as its author's device does.
#[must_use]
pub fn seal_change(
    key: &ContentKey,
    circle: CircleId,
    author: &DeviceKey,
    document: DocumentId,
    change: Vec<u8>,
    now_ms: u64,
    entropy: &mut Entropy,
) -> Vec<u8> {
    let kind = DocumentKind::Timeline.number().into();
    let body = Body::Changes(Changes { document: document.as_bytes().to_vec(), kind, changes: vec![change] });
    Envelope::seal(circle, author, key, body, now_ms, entropy).expect("a message fits an entry").bytes
}

/// Has a device renew its keys.
///
/// # Errors
/// If this device is not in the circle.
pub fn rotate(engine: &mut Engine, circle: CircleId, now_ms: u64) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let (circle, desk) = engine.circle_mut(circle)?;
    let done = circle.commit(RosterChange::default(), None, desk).map(drop);
    engine.finish();
    done
}
