//! All circles at a glance.

use std::collections::BTreeMap;

use clave::{CircleId, InboxItem};
use serde::{Deserialize, Serialize};

/// A circle, with what was said last and what is unread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) circle: String,
    pub(crate) name: String,
    /// The space it is in, unless it is that of everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) space: Option<String>,
    pub(crate) unread: usize,
    pub(crate) mentions: usize,
    pub(crate) messages: usize,
    /// Whether all that is here is counted.
    pub(crate) current: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newest: Option<Newest>,
}

/// The message that was said last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) sent_ms: u64,
    pub(crate) text: String,
}

impl Conversation {
    /// Of a circle; `names` are those of the spaces.
    pub(crate) fn of(item: InboxItem, names: &BTreeMap<CircleId, String>) -> Self {
        let InboxItem { circle, preview } = item;
        let newest = preview.newest.map(|newest| Newest {
            id: newest.id.to_string(),
            author: newest.name,
            sent_ms: newest.id.sent_ms(),
            text: newest.text,
        });
        Self {
            circle: circle.id.to_string(),
            name: circle.name,
            space: names.get(&circle.space).filter(|_| circle.space != circle.id).cloned(),
            unread: preview.unread,
            mentions: preview.mentions,
            messages: preview.messages,
            current: preview.current,
            newest,
        }
    }
}
