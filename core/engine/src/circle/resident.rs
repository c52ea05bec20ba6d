//! Which documents stay in memory: those used last, within a budget.
//!
//! What is let go is only a copy: everything that changes a document is stored before anybody sees it. What is counted is an
//! estimate ([`Document::resident_bytes`]), so the budget is one of documents, not of the process.

use super::documents::Loaded;
use super::views::Name;
use super::*;

/// Bytes of loaded documents that are kept, unless the application says otherwise: fit for a phone.
pub const MEMORY_BUDGET_BYTES: usize = 32 * 1024 * 1024;

impl Loaded {
    fn resident_bytes(&self) -> usize {
        self.document.resident_bytes() + self.tally.as_ref().map_or(0, views::Tally::resident_bytes)
    }
}

impl Circle {
    /// About how much memory this circle's loaded documents take, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let arrived = self.arrived.values().map(|arrived| arrived.bytes).sum::<usize>();
        self.loaded.values().map(Loaded::resident_bytes).sum::<usize>() + arrived
    }

    /// How many documents of this circle are loaded.
    pub(crate) fn loaded_documents(&self) -> usize {
        self.loaded.len()
    }

    /// When the document that was not used for the longest time was used, other than `keep`.
    pub(crate) fn least_used(&self, keep: Option<&Name>) -> Option<(u64, Name)> {
        let others = self.loaded.iter().filter(|(name, _)| Some(*name) != keep);
        others.map(|(name, loaded)| (loaded.used, *name)).min()
    }

    /// Lets go of documents of this circle until its documents fit the budget, but for one.
    pub(super) fn make_room(&mut self, keep: &Name, desk: &Desk) {
        while self.loaded.len() > 1 && self.resident_bytes() > desk.memory_budget_bytes {
            let Some((_, name)) = self.least_used(Some(keep)) else { return };
            self.unload(&name);
        }
    }

    /// Lets go of one document.
    pub(crate) fn let_document_go(&mut self, name: &Name) {
        self.unload(name);
    }
}
