//! Doors for `bench/` into what is private. Not part of the API.

use clave_crypto::{Checkpoint, RosterChange};

use crate::circle::Circle;
use crate::entry::Envelope;
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

/// Has a circle keep entries that nobody can open, of about the size of a short message, in one batch: filed, indexed and
/// written as others are, but neither sealed, signed nor judged. The same numbers make the same entries.
///
/// # Errors
/// If this device is not in the circle, or the store cannot be read.
pub fn fill(
    engine: &mut Engine,
    circle: CircleId,
    entries: impl IntoIterator<Item = (u32, u64)>,
    now_ms: u64,
) -> Result<(), EngineError> {
    engine.begin(now_ms)?;
    let (circle, desk) = engine.circle_mut(circle)?;
    let tag = circle.head_key().key_id();
    for (hour, number) in entries {
        let mut filler = [0; 256 + 16];
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut filler);
        circle.keep(&Envelope::filler(hour, tag, &filler), desk)?;
    }
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
