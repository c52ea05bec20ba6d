//! A drive as people see it: every name in a folder is different.

use std::collections::{BTreeMap, BTreeSet};

use super::record::NodeId;
use super::state::{Entry, State};
use super::{Version, name};
use crate::{Actor, CrdtError};

/// A file or a folder as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id, which says whether it is a folder.
    pub id: NodeId,
    /// The folder it lies in.
    pub parent: NodeId,
    /// Its name as shown: where two of one folder were given the same name, the later carries a number.
    pub name: String,
    /// Whether it is in the trash, by itself or with a folder around it.
    pub trashed: bool,
    /// The folder it was thrown away from, if it was itself thrown away.
    pub trashed_from: Option<NodeId>,
    /// Who made it.
    pub author: Actor,
    /// The newest content, for a file.
    pub current: Option<Version>,
    /// Contents that were written at the same time as the current one, newest first: nobody has chosen between them.
    pub conflicts: Vec<Version>,
}

impl Node {
    /// Whether this is its name, however its letters are composed.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name::to_compare(name)
    }
}

/// A drive as it stood when this was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    /// What lies in each folder, by name.
    folders: BTreeMap<NodeId, BTreeMap<String, NodeId>>,
}

impl Tree {
    pub(super) fn of(state: &State) -> Self {
        let mut tree = Self::default();
        for (top, trashed) in [(NodeId::ROOT, false), (NodeId::TRASH, true)] {
            let mut folders = vec![top];
            while let Some(folder) = folders.pop() {
                let names = shown_names(state, folder);
                for (name, (id, entry)) in &names {
                    tree.nodes.insert(*id, node(*id, name, entry, trashed));
                    if id.is_folder() {
                        folders.push(*id);
                    }
                }
                tree.folders.insert(folder, names.into_iter().map(|(name, (id, _))| (name, id)).collect());
            }
        }
        tree
    }

    /// The node with this id. The root and the trash are none.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// Every file and folder, in the trash or not, in order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Every file that is not in the trash, in order of their ids.
    pub fn files(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| !node.id.is_folder() && !node.trashed)
    }

    /// What lies in a folder (the root and the trash are folders), in order of their names.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn list(&self, folder: NodeId) -> Result<Vec<&Node>, CrdtError> {
        let names = self.folders.get(&folder).ok_or(CrdtError::NotFound("folder"))?;
        Ok(names.values().filter_map(|id| self.nodes.get(id)).collect())
    }

    /// What lies at a path like `/a/b`.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`]; [`CrdtError::Invalid`] if the path does not start with a slash.
    pub fn resolve(&self, path: &str) -> Result<NodeId, CrdtError> {
        let path = path.strip_prefix('/').ok_or(CrdtError::Invalid("a path starts with '/'"))?;
        path.split('/').filter(|name| !name.is_empty()).try_fold(NodeId::ROOT, |folder, name| {
            let names = self.folders.get(&folder).ok_or(CrdtError::NotFound("folder"))?;
            names.get(name::to_compare(name).as_ref()).copied().ok_or(CrdtError::NotFound("file or folder"))
        })
    }

    /// The path of a node that is not in the trash.
    #[must_use]
    pub fn path(&self, id: NodeId) -> Option<String> {
        if id == NodeId::ROOT {
            return Some("/".to_owned());
        }
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let node = self.nodes.get(&at)?;
            names.push(node.name.as_str());
            at = node.parent;
        }
        names.reverse();
        Some(format!("/{}", names.join("/")))
    }
}

fn node(id: NodeId, name: &str, entry: &Entry, trashed: bool) -> Node {
    let mut standing = entry.standing().rev().cloned();
    Node {
        id,
        parent: entry.parent,
        name: name.to_owned(),
        trashed,
        trashed_from: entry.trashed_from,
        author: entry.born.actor,
        current: standing.next(),
        conflicts: standing.collect(),
    }
}

/// Gives everything in a folder a name of its own. Of those with one name the oldest keeps it; the others get the next
/// number that is free, also free of names that somebody gave.
fn shown_names(state: &State, folder: NodeId) -> BTreeMap<String, (NodeId, &Entry)> {
    let mut children: Vec<_> = state.children(folder).collect();
    children.sort_by_key(|(id, entry)| (entry.born, *id));
    let given: BTreeSet<&str> = children.iter().map(|(_, entry)| entry.name.as_str()).collect();
    let mut shown = BTreeMap::new();
    // Where to go on counting, so that a thousand of one name do not cost a million tries.
    let mut next = BTreeMap::new();
    for (id, entry) in &children {
        let mut name = entry.name.clone();
        while shown.contains_key(&name) || (name != entry.name && given.contains(name.as_str())) {
            let number = next.entry((entry.name.as_str(), id.is_folder())).or_insert(1_usize);
            *number += 1;
            name = name::numbered(&entry.name, *number, id.is_folder());
        }
        shown.insert(name, (*id, *entry));
    }
    shown
}
