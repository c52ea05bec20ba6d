//! Operations that arrived before what they follow.

use std::collections::{BTreeMap, BTreeSet};

use clave_crypto::DeviceId;

use super::operation::{Operation, Refusal};
use crate::OperationId;

/// The most operations that a log holds until their parents arrive.
pub const PENDING_OPERATIONS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// What is held, with what each still misses.
    held: BTreeMap<OperationId, (Operation, BTreeSet<OperationId>)>,
    /// Who waits for an operation.
    waiting: BTreeMap<OperationId, BTreeSet<OperationId>>,
    by_author: BTreeMap<DeviceId, BTreeSet<OperationId>>,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn contains(&self, id: &OperationId) -> bool {
        self.held.contains_key(id)
    }

    /// What is to be fetched so that `missing` can be taken in: those, or what those that are held wait for.
    pub(crate) fn roots(&self, missing: &BTreeSet<OperationId>) -> BTreeSet<OperationId> {
        let (mut roots, mut seen, mut todo) =
            (BTreeSet::new(), BTreeSet::new(), Vec::from_iter(missing.iter().copied()));
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.held.get(&id) {
                Some((_, missing)) => todo.extend(missing.iter().copied()),
                None => {
                    roots.insert(id);
                }
            }
        }
        roots
    }

    /// Holds an operation. When there is no room, the author with the most held makes it: nobody can fill the place
    /// so that others' operations are refused.
    pub(crate) fn hold(&mut self, operation: Operation, missing: BTreeSet<OperationId>) -> Result<(), Refusal> {
        if self.held.len() >= PENDING_OPERATIONS_MAX {
            let own = self.by_author.get(&operation.author()).map_or(0, BTreeSet::len) + 1;
            let fullest = self.by_author.iter().max_by_key(|(author, held)| (held.len(), **author));
            match fullest {
                Some((_, held)) if held.len() > own => {
                    let victim = *held.last().expect("an author with held operations has a last one");
                    self.drop_held(victim);
                }
                _ => return Err(Refusal::TooManyPending),
            }
        }
        let id = operation.id();
        for parent in &missing {
            self.waiting.entry(*parent).or_default().insert(id);
        }
        self.by_author.entry(operation.author()).or_default().insert(id);
        self.held.insert(id, (operation, missing));
        Ok(())
    }

    /// The operations that waited for this one only.
    pub(crate) fn release(&mut self, arrived: OperationId) -> Vec<Operation> {
        let mut ready = Vec::new();
        for id in self.waiting.remove(&arrived).unwrap_or_default() {
            let (_, missing) = self.held.get_mut(&id).expect("who waits is held");
            missing.remove(&arrived);
            if missing.is_empty() {
                ready.extend(self.drop_held(id));
            }
        }
        ready
    }

    fn drop_held(&mut self, id: OperationId) -> Option<Operation> {
        let (operation, missing) = self.held.remove(&id)?;
        for parent in missing {
            if let Some(waiting) = self.waiting.get_mut(&parent) {
                waiting.remove(&id);
                if waiting.is_empty() {
                    self.waiting.remove(&parent);
                }
            }
        }
        if let Some(held) = self.by_author.get_mut(&operation.author()) {
            held.remove(&id);
            if held.is_empty() {
                self.by_author.remove(&operation.author());
            }
        }
        Some(operation)
    }
}
