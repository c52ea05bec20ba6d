//! Cutting a long edit into several changes, so that none is unbounded.

use crate::Document;

/// About how much text a change of an import holds, in bytes.
pub const IMPORT_PIECE_BYTES: usize = 256 * 1024;

/// A document that is committed whenever enough was done to it.
pub(crate) struct Pieces<'a> {
    pub(crate) document: &'a mut Document,
    now_ms: u64,
    bytes: usize,
    changes: Vec<Vec<u8>>,
}

impl<'a> Pieces<'a> {
    /// Edits that were not committed before become a change of their own.
    pub(crate) fn new(document: &'a mut Document, now_ms: u64) -> Self {
        let changes = document.commit(now_ms).into_iter().collect();
        Self { document, now_ms, bytes: 0, changes }
    }

    /// Says that something of about this size was done.
    pub(crate) fn spent(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= IMPORT_PIECE_BYTES {
            self.bytes = 0;
            self.changes.extend(self.document.commit(self.now_ms));
        }
    }

    /// Commits the rest; all changes in order.
    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        let Self { document, now_ms, mut changes, .. } = self;
        changes.extend(document.commit(now_ms));
        changes
    }
}
