//! How this device came to be out of a circle.

use crate::{Circle, ClaveError};

/// Why nothing more arrives on this device in a circle. What it had stays readable. Times are Unix milliseconds by the clock of
/// whoever did it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
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

#[uniffi::export]
impl Circle {
    /// How this device came to be out of this circle, or of the space around it; nothing, if it is in.
    ///
    /// # Errors
    /// [`ClaveError::Paused`], [`ClaveError::Stopped`].
    pub async fn departure(&self) -> Result<Option<Departure>, ClaveError> {
        let departure = self.run(|circle| async move { circle.departure().await }).await?;
        Ok(departure.and_then(Departure::of))
    }
}

impl Departure {
    fn of(departure: clave::Departure) -> Option<Self> {
        Some(match departure {
            clave::Departure::Left { time_ms } => Self::Left { time_ms },
            clave::Departure::Removed { by, time_ms } => Self::Removed { by, time_ms },
            clave::Departure::Revoked { by, time_ms } => Self::Revoked { by, time_ms },
            clave::Departure::Expired { time_ms } => Self::Expired { time_ms },
            clave::Departure::SetAside { why } => Self::SetAside { why },
            _ => return None,
        })
    }
}
