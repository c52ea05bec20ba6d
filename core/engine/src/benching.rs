//! Doors for `bench/` into what is private. Not part of the API.

use clave_crypto::{Checkpoint, RosterChange};

use crate::circle::Circle;
use crate::membership::Log;
use crate::{CircleId, Engine, EngineError};

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
