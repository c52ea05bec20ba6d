//! How this device is reached, and reaches others.

use serde::{Deserialize, Serialize};

/// How frames reach a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub(crate) enum Way {
    Direct,
    HolePunched,
    Relayed { relay: String },
}

/// Whether a relay could reach this device from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reachability {
    Unknown,
    Public,
    Private,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) address: String,
    /// Whether it gives this device a place now.
    pub(crate) reserved: bool,
}

impl From<clave::Way> for Way {
    fn from(way: clave::Way) -> Self {
        match way {
            clave::Way::Direct => Self::Direct,
            clave::Way::HolePunched => Self::HolePunched,
            clave::Way::Relayed { relay } => Self::Relayed { relay },
        }
    }
}

impl From<clave::Reachability> for Reachability {
    fn from(reachability: clave::Reachability) -> Self {
        match reachability {
            clave::Reachability::Unknown => Self::Unknown,
            clave::Reachability::Public => Self::Public,
            clave::Reachability::Private => Self::Private,
        }
    }
}

impl From<clave::RelayReservation> for Reservation {
    fn from(relay: clave::RelayReservation) -> Self {
        Self { address: relay.address, reserved: relay.reserved }
    }
}
