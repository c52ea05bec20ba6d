//! How this device came to be out of a circle.

use clave_engine::membership::{Action, AuditRecord, DeviceStanding, Scope};
use clave_engine::{CircleId, Engine, EngineError};

use crate::node::now_ms;
use crate::{Circle, Error};

/// Why nothing more arrives on this device in a circle. What it had stays readable. Times are Unix milliseconds by the
/// clock of whoever did it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departure {
    /// This person left.
    Left {
        /// When.
        time_ms: u64,
    },
    /// Somebody removed this person.
    Removed {
        /// How they are called.
        by: String,
        /// When.
        time_ms: u64,
    },
    /// Somebody, perhaps this person, revoked this device; the person may still be in with others.
    Revoked {
        /// How they are called.
        by: String,
        /// When.
        time_ms: u64,
    },
    /// This person was a guest, and the date has passed.
    Expired {
        /// When.
        time_ms: u64,
    },
    /// What brought this device in turned out to have no effect.
    SetAside {
        /// Why, as a sentence.
        why: String,
    },
}

impl Circle {
    /// How this device came to be out of this circle, or of the space around it; nothing, if it is in.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn departure(&self) -> Result<Option<Departure>, Error> {
        let id = self.id;
        self.node
            .read(move |engine| {
                if let Some(departure) = departure(engine, id)? {
                    return Ok(Some(departure));
                }
                let space = engine.space_of(id)?;
                let nested = space != id && engine.membership(id)?.scope == Scope::Nested;
                match departure(engine, space) {
                    _ if !nested => Ok(None),
                    Err(EngineError::NoSuchCircle) => Ok(None),
                    departure => departure,
                }
            })
            .await
    }
}

fn departure(engine: &Engine, id: CircleId) -> Result<Option<Departure>, EngineError> {
    let membership = engine.membership(id)?;
    let (me, person) = (engine.identity().device(), engine.identity().person());
    let by = match membership.device_standing(me) {
        DeviceStanding::Current => {
            let known = person.and_then(|person| membership.people.get(&person));
            let ended = known.and_then(|known| known.expires_ms).filter(|at| *at <= now_ms());
            return Ok(ended.map(|time_ms| Departure::Expired { time_ms }));
        }
        DeviceStanding::Removed { by } => by,
        DeviceStanding::SetAside { admission } => {
            let why = record(engine, id, |record| record.operation == admission)?.and_then(|record| record.set_aside);
            return Ok(Some(Departure::SetAside { why: why.map(|(_, why)| why).unwrap_or_default() }));
        }
        DeviceStanding::Unknown => return Ok(None),
    };
    let Some(record) = record(engine, id, |record| record.operation == by)? else { return Ok(None) };
    let (time_ms, by_me) = (record.time_ms, record.person.is_some() && record.person == person);
    Ok(Some(match engine.operation(id, &by)?.map(|operation| operation.action()) {
        Some(Action::EndGrant { .. }) if !by_me => Departure::Expired { time_ms },
        Some(Action::RevokeDevice { .. }) => Departure::Revoked { by: record.person_name, time_ms },
        _ if by_me => Departure::Left { time_ms },
        _ => Departure::Removed { by: record.person_name, time_ms },
    }))
}

fn record(
    engine: &Engine,
    id: CircleId,
    is_it: impl Fn(&AuditRecord) -> bool,
) -> Result<Option<AuditRecord>, EngineError> {
    Ok(engine.audit(id)?.into_iter().find(is_it))
}
