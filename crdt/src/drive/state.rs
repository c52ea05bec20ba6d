//! The tree that a set of records stands for.
//!
//! This is the move operation of Kleppmann, Mulligan, Gomes and Beresford, "A highly-available move operation for
//! replicated trees" (2021), evaluated over the whole set instead of undone and redone: the records are taken in
//! their total order, and a move that would put a folder into itself is passed over. What comes out is always a tree,
//! and depends on the set alone.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{FileVersion, NodeId, Placement, VersionId};
use super::{Version, name};

/// Everything known about every node.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    nodes: BTreeMap<NodeId, Entry>,
    children: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// What lies in each folder, by its name.
    named: BTreeMap<NodeId, BTreeMap<String, BTreeSet<NodeId>>>,
}

/// What is known about one node.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its first record.
    pub(super) born: VersionId,
    /// The folder it lies in. Until a record gives it a place, the trash: so nothing is ever out of reach.
    pub(super) parent: NodeId,
    /// The folder it was thrown away from.
    pub(super) trashed_from: Option<NodeId>,
    /// What it is called. Until a record says so, by its id.
    pub(super) name: String,
    /// Every version, oldest first.
    pub(super) versions: Vec<Version>,
    /// Versions that a later one replaced.
    replaced: BTreeSet<VersionId>,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Where the node lies, what it is called.
    Place(Placement),
    /// What is in it, and which versions that replaces.
    Content(FileVersion, Vec<VersionId>),
}

impl State {
    /// Evaluates a set of records.
    pub(super) fn evaluate(mut records: Vec<(VersionId, NodeId, Said)>) -> Self {
        records.sort_by_key(|(id, ..)| *id);
        let mut state = Self::default();
        // A move may come before its target in the total order only if its author lied. All nodes are made known first,
        // so that even then the set alone decides.
        for (id, node, _) in &records {
            state.know(*node, *id);
        }
        for (id, node, said) in records {
            state.take(id, node, said);
        }
        state
    }

    /// Takes in a record that is later than every other.
    pub(super) fn take(&mut self, id: VersionId, node: NodeId, said: Said) {
        self.know(node, id);
        match said {
            Said::Place(placement) => {
                if let Some(parent) = placement.parent().filter(|parent| self.may_lie_in(node, *parent)) {
                    self.place(node, parent);
                }
                if let Ok(name) = name::normal(&placement.name) {
                    self.rename(node, name);
                }
            }
            Said::Content(file, replaces) => {
                if let Some(entry) = self.nodes.get_mut(&node) {
                    // Only what is earlier can be replaced, so the last version always stands.
                    entry.replaced.extend(replaces.into_iter().filter(|replaced| *replaced < id));
                    entry.versions.push(Version { id, file });
                }
            }
        }
    }

    /// Whether this is a node, or the root, or the trash.
    pub(super) fn contains(&self, node: NodeId) -> bool {
        node.is_fixed() || self.nodes.contains_key(&node)
    }

    pub(super) fn entry(&self, node: NodeId) -> Option<&Entry> {
        self.nodes.get(&node)
    }

    /// What lies in a folder.
    pub(super) fn children(&self, folder: NodeId) -> impl Iterator<Item = (NodeId, &Entry)> {
        let children = self.children.get(&folder).into_iter().flatten();
        children.filter_map(|child| Some((*child, self.nodes.get(child)?)))
    }

    /// Whether something in a folder has this name.
    pub(super) fn has_named(&self, folder: NodeId, name: &str) -> bool {
        self.named.get(&folder).is_some_and(|names| names.contains_key(name))
    }

    /// Whether the node could be moved there: the target is a known folder, and not the node itself or within it.
    pub(super) fn may_lie_in(&self, node: NodeId, folder: NodeId) -> bool {
        folder.is_folder() && self.contains(folder) && !node.is_fixed() && !self.ancestry(folder).any(|id| id == node)
    }

    /// Whether it lies in the trash, by itself or with a folder around it.
    pub(super) fn is_trashed(&self, node: NodeId) -> bool {
        self.ancestry(node).any(|id| id == NodeId::TRASH)
    }

    /// The node, its folder, and so on up to the root or the trash.
    fn ancestry(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(node), |id| self.nodes.get(id).map(|entry| entry.parent))
    }

    fn know(&mut self, node: NodeId, id: VersionId) {
        if node.is_fixed() || self.nodes.contains_key(&node) {
            return;
        }
        let entry = Entry {
            born: id,
            parent: NodeId::TRASH,
            trashed_from: None,
            name: node.to_string(),
            versions: Vec::new(),
            replaced: BTreeSet::new(),
        };
        self.file(node, NodeId::TRASH, entry.name.clone());
        self.nodes.insert(node, entry);
    }

    fn file(&mut self, node: NodeId, folder: NodeId, name: String) {
        self.children.entry(folder).or_default().insert(node);
        self.named.entry(folder).or_default().entry(name).or_default().insert(node);
    }

    fn unfile(&mut self, node: NodeId, folder: NodeId, name: &str) {
        if let Some(siblings) = self.children.get_mut(&folder) {
            siblings.remove(&node);
        }
        if let Some(names) = self.named.get_mut(&folder)
            && let Some(same) = names.get_mut(name)
        {
            same.remove(&node);
            if same.is_empty() {
                names.remove(name);
            }
        }
    }

    fn rename(&mut self, node: NodeId, name: String) {
        let Some(entry) = self.nodes.get_mut(&node) else { return };
        let (folder, before) = (entry.parent, std::mem::replace(&mut entry.name, name.clone()));
        self.unfile(node, folder, &before);
        self.file(node, folder, name);
    }

    fn place(&mut self, node: NodeId, parent: NodeId) {
        let Some(entry) = self.nodes.get_mut(&node) else { return };
        let before = std::mem::replace(&mut entry.parent, parent);
        if parent != NodeId::TRASH {
            entry.trashed_from = None;
        } else if before != NodeId::TRASH {
            entry.trashed_from = Some(before);
        }
        let name = entry.name.clone();
        self.unfile(node, before, &name);
        self.file(node, parent, name);
    }
}

impl Entry {
    /// The versions that no other replaced, oldest first: the last is current, the others are in conflict with it.
    pub(super) fn standing(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions.iter().filter(|version| !self.replaced.contains(&version.id))
    }
}
