//! Pages in memory: those that were changed, until they are in a batch, and the ones used last, within a bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::Page;
use crate::desk::View;
use crate::{CircleId, EngineError, Key, Keyspace};

/// What the unchanged pages of all circles take in memory, at most, in bytes.
const PAGES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The number of every tree's root.
pub(super) const ROOT: u64 = 0;

/// Which tree of which circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TreeName {
    pub(super) circle: CircleId,
    pub(super) kind: u8,
}

impl TreeName {
    pub(super) fn scope(self) -> Vec<u8> {
        [self.circle.as_bytes().as_slice(), &[self.kind]].concat()
    }

    pub(super) fn key(self, number: u64) -> Key {
        Key::new(Keyspace::Index, self.scope(), number.to_be_bytes())
    }
}

type PageName = (TreeName, u64);

/// The pages of all trees of a device.
#[derive(Default)]
pub(crate) struct Pages {
    /// Those that the next batch takes; none: that the page is gone.
    changed: BTreeMap<PageName, Option<Arc<Page>>>,
    /// Others, and when each was last used.
    known: BTreeMap<PageName, (Arc<Page>, u64)>,
    by_use: BTreeMap<u64, PageName>,
    uses: u64,
    known_bytes: usize,
}

impl Pages {
    fn remember(&mut self, name: PageName, page: Arc<Page>) {
        self.forget(&name);
        self.uses += 1;
        self.known_bytes += page.memory_bytes();
        self.by_use.insert(self.uses, name);
        self.known.insert(name, (page, self.uses));
        while self.known_bytes > PAGES_BYTES_MAX
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            self.forget(&{ *oldest });
        }
    }

    fn forget(&mut self, name: &PageName) {
        if let Some((page, used)) = self.known.remove(name) {
            self.known_bytes -= page.memory_bytes();
            self.by_use.remove(&used);
        }
    }

    /// Forgets all of a tree, changed or not.
    pub(super) fn forget_tree(&mut self, tree: TreeName) {
        self.changed.retain(|(of, _), _| *of != tree);
        let names: Vec<PageName> = self.known.range((tree, 0)..=(tree, u64::MAX)).map(|(name, _)| *name).collect();
        names.iter().for_each(|name| self.forget(name));
    }

    /// Hands over what has to be written. From then on it is read from the store.
    pub(crate) fn take_changed(&mut self) -> Vec<(Key, Option<Vec<u8>>)> {
        let mut writes = Vec::with_capacity(self.changed.len());
        for ((tree, number), page) in std::mem::take(&mut self.changed) {
            writes.push((tree.key(number), page.as_ref().map(|page| page.encode())));
            if let Some(page) = page {
                self.remember((tree, number), page);
            }
        }
        writes
    }

    #[cfg(test)]
    pub(super) fn known_bytes(&self) -> usize {
        self.known_bytes
    }

    #[cfg(test)]
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }
}

/// The pages, and the store that those come from that are not in memory.
pub(crate) struct Shelf<'a> {
    pub(super) pages: &'a mut Pages,
    pub(super) store: &'a View,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(pages: &'a mut Pages, store: &'a View) -> Self {
        Self { pages, store }
    }

    /// A page, if it is there.
    pub(super) fn find(&mut self, tree: TreeName, number: u64) -> Result<Option<Arc<Page>>, EngineError> {
        let name = (tree, number);
        if let Some(page) = self.pages.changed.get(&name) {
            return Ok(page.clone());
        }
        let pages = &mut *self.pages;
        if let Some((page, used)) = pages.known.get_mut(&name) {
            pages.uses += 1;
            pages.by_use.remove(used);
            pages.by_use.insert(pages.uses, name);
            *used = pages.uses;
            return Ok(Some(Arc::clone(page)));
        }
        let Some(bytes) = self.store.read(&tree.key(number))? else { return Ok(None) };
        let page = Arc::new(Page::decode(&bytes)?);
        self.pages.remember(name, Arc::clone(&page));
        Ok(Some(page))
    }

    /// A page that has to be there.
    pub(super) fn page(&mut self, tree: TreeName, number: u64) -> Result<Arc<Page>, EngineError> {
        self.find(tree, number)?.ok_or(EngineError::IndexDamaged)
    }

    /// A page that has to be there, to be changed.
    pub(super) fn edit(&mut self, tree: TreeName, number: u64) -> Result<&mut Page, EngineError> {
        let page = self.page(tree, number)?;
        self.pages.forget(&(tree, number));
        let slot = self.pages.changed.entry((tree, number)).or_default();
        // Drops what was there first: the page is then not shared and not copied.
        *slot = None;
        Ok(Arc::make_mut(slot.insert(page)))
    }

    pub(super) fn put(&mut self, tree: TreeName, number: u64, page: Page) {
        self.pages.forget(&(tree, number));
        self.pages.changed.insert((tree, number), Some(Arc::new(page)));
    }

    pub(super) fn remove(&mut self, tree: TreeName, number: u64) {
        self.pages.forget(&(tree, number));
        self.pages.changed.insert((tree, number), None);
    }
}
