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
    /// Whether `--relay` names it.
    #[serde(default)]
    pub(crate) by_person: bool,
    /// The names of the spaces whose policy names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_spaces: Vec<String>,
    /// Whether it keeps what is for who is not online, too.
    #[serde(default)]
    pub(crate) mailboxes: bool,
}

impl Reservation {
    /// A relay that is to carry circuits; `name` says how a space is called.
    pub(crate) fn of(relay: clave::RelayUse, name: impl Fn(&clave::SpaceId) -> Option<String>) -> Self {
        Self {
            by_person: relay.by_person,
            by_spaces: relay.by_spaces.iter().filter_map(name).collect(),
            mailboxes: relay.mailboxes,
            address: relay.address,
            reserved: relay.reserved,
        }
    }
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
