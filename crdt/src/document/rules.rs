//! What a change may do, by the kind of its document.
//!
//! These rules look at a change alone, so everyone refuses the same ones. They belong to the format for good: a later
//! schema may add keys of its own, and may not loosen these, for a device that refuses a change can take in nothing
//! that builds on it.

use automerge::legacy::{Key, ObjectId, Op, OpType};
use automerge::{Change, ExpandedChange, ScalarValue};

use crate::{ChangeFault, DocumentKind, drive, timeline};

/// Checks the operations of a change.
pub(super) fn check(kind: DocumentKind, change: &Change) -> Result<(), ChangeFault> {
    let forbidden: fn(&Op, &str) -> bool = match kind {
        // A message is withdrawn, not deleted, so that it shows who did that.
        DocumentKind::Timeline => |op, key| op.action == OpType::Delete && is_under(key, timeline::PREFIXES),
        // A drive only grows: its tree follows from everything that was ever done to it.
        DocumentKind::Drive => |op, key| !op.pred.is_empty() && is_under(key, drive::PREFIXES),
        DocumentKind::Note | DocumentKind::Calendar => |_, _| false,
    };
    let operations = ExpandedChange::from(change).operations;
    let is_forbidden = |op: &Op| root_key(op).is_some_and(|key| forbidden(op, key));
    if operations.iter().any(is_forbidden) || !marks_are_paired(&operations) {
        return Err(ChangeFault::Operations);
    }
    Ok(())
}

/// Whether each begin of a mark is followed by its end, and no end stands alone: Automerge finds one by the other.
fn marks_are_paired(operations: &[Op]) -> bool {
    let begins = |op: &Op| matches!(op.action, OpType::MarkBegin(_));
    let ends = |op: &Op| matches!(op.action, OpType::MarkEnd(_));
    let mut before = None;
    for op in operations {
        if before.is_some_and(begins) != ends(op) || (ends(op) && before.is_some_and(|begin| begin.obj != op.obj)) {
            return false;
        }
        before = Some(op);
    }
    !before.is_some_and(begins)
}

/// The keys of the root that a change writes to.
pub(super) fn root_keys(change: &Change) -> Vec<String> {
    ExpandedChange::from(change).operations.iter().filter_map(root_key).map(str::to_owned).collect()
}

/// The bytes that a change puts under keys of the root that start with a prefix.
pub(super) fn root_values(change: &Change, prefix: &str) -> Vec<Vec<u8>> {
    let operations = ExpandedChange::from(change).operations;
    let bytes = |op: &Op| match &op.action {
        OpType::Put(ScalarValue::Bytes(bytes)) if root_key(op).is_some_and(|key| key.starts_with(prefix)) => {
            Some(bytes.clone())
        }
        _ => None,
    };
    operations.iter().filter_map(bytes).collect()
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
