//! Being woken, and how far messages come.

use clave::MessageState;
use serde::{Deserialize, Serialize};

/// How each relay gets on with waking this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) has_endpoint: bool,
    /// When a push last arrived, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) woken_ms: Option<u64>,
    pub(crate) relays: Vec<PushRelay>,
    pub(crate) muted: Vec<Muted>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PushRelay {
    pub(crate) address: String,
    /// What a Web Push subscription is to be made for, in base64 for URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_key: Option<String>,
    /// Whether it was told where to push to, and took it.
    pub(crate) registered: bool,
    /// For how many mailboxes it wakes this device.
    pub(crate) mailboxes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accepted_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused_ms: Option<u64>,
    /// The HTTP status of the last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u32>,
    /// Why this device is not woken, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A circle for which this device is not woken; none: everybody in the space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Muted {
    pub(crate) space: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) circle: Option<String>,
}

/// How far a message of this device has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(crate) enum State {
    Queued,
    Relayed,
    Delivered { people: usize, devices: usize, everybody: bool },
    Failed { error: String, retryable: bool },
}

impl From<MessageState> for State {
    fn from(state: MessageState) -> Self {
        match state {
            MessageState::Relayed => Self::Relayed,
            MessageState::Delivered { people, devices, everybody } => Self::Delivered { people, devices, everybody },
            MessageState::Failed { error, retryable } => Self::Failed { error: error.to_string(), retryable },
            // Nothing is promised of what a later version knows.
            _ => Self::Queued,
        }
    }
}
