//! What a change may do, by the kind of its document.
//!
//! These rules look at a change alone, so everyone refuses the same ones. They belong to the format for good: a later
//! schema may add keys of its own, and may not loosen these, for a device that refuses a change can take in nothing
//! that builds on it.

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{Change, ExpandedChange};

use crate::{ChangeFault, DocumentKind, drive, timeline};

/// Checks the operations of a change.
pub(super) fn check(kind: DocumentKind, change: &Change) -> Result<(), ChangeFault> {
    let forbidden: fn(&Op, &str) -> bool = match kind {
        // A message is withdrawn, not deleted, so that it shows who did that.
        DocumentKind::Timeline => |op, key| op.action == OpType::Delete && is_under(key, timeline::PREFIXES),
        // A drive only grows: its tree follows from everything that was ever done to it.
        DocumentKind::Drive => |op, key| !op.pred.is_empty() && is_under(key, drive::PREFIXES),
        DocumentKind::Note | DocumentKind::Calendar => return Ok(()),
    };
    let change = ExpandedChange::from(change);
    let is_forbidden = |op: &Op| root_key(op).is_some_and(|key| forbidden(op, key));
    if change.operations.iter().any(is_forbidden) { Err(ChangeFault::Operations) } else { Ok(()) }
}

/// The keys of the root that a change writes to.
pub(super) fn root_keys(change: &Change) -> Vec<String> {
    ExpandedChange::from(change).operations.iter().filter_map(root_key).map(str::to_owned).collect()
}

fn root_key(op: &Op) -> Option<&str> {
    match (&op.obj, &op.key) {
        (ObjectId::Root, Key::Map(key)) => Some(key),
        _ => None,
    }
}

fn is_under(key: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}
