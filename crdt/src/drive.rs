//! Folders and files: a tree that survives concurrent moves.
//!
//! A drive is a set of records that only grows: where a node lies, what it is called, what is in a file. Everything
//! seen is evaluated from the set in one order that is the same everywhere, so:
//!
//! - two people who move two folders into each other get a tree, not a loop (the later move is passed over);
//! - to delete is to move to the trash, from where everything can be restored; what somebody adds to a folder while
//!   another throws it away lies in the trash with it;
//! - to rename and to move at the same time both take effect; of two renames, or two moves, the later stands;
//! - two things of one name in one folder are both there, one shown with a number;
//! - of two versions of a file written at the same time the later is shown, the other kept as a conflict until
//!   somebody writes a version that knew both.
//!
//! Whether a node is a file or a folder is part of its id. Records never change: a change that overwrites or deletes
//! one is refused ([`ChangeFault::Operations`](crate::ChangeFault::Operations)).

use automerge::{ObjId, ROOT, ReadDoc, ScalarValue, ScalarValueRef, Value, ValueRef};
use prost::Message as _;

use self::record::{Placement, REPLACES_MAX, VersionRecord};
use self::state::{Said, State};
use crate::{CrdtError, Document, DocumentKind};

mod name;
mod pages;
mod record;
mod references;
mod state;
#[cfg(test)]
mod tests;
mod tree;

pub use name::NAME_BYTES_MAX;
pub use pages::{FolderPage, folder_of_pages};
pub use record::{FileVersion, NodeId, VERSION_BYTES_MAX, VersionId};
pub use tree::{Node, Tree};

/// Prefix of the keys of placements: then the node, and a number.
const PLACE_PREFIX: &str = "t/";
/// Prefix of the keys of versions: then the node, and a number.
const VERSION_PREFIX: &str = "v/";
/// Key of the convergence secret.
const CONVERGENCE_KEY: &str = "convergence";
/// Prefixes of keys that are written once.
pub(crate) const PREFIXES: &[&str] = &[PLACE_PREFIX, VERSION_PREFIX, CONVERGENCE_KEY];

/// One content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name, and who wrote it.
    pub id: VersionId,
    /// What it is.
    pub file: FileVersion,
}

/// A view of a drive document.
///
/// Opening it evaluates the whole drive, so hold on to it for a row of operations, and to its [`Tree`] for a row of
/// questions.
pub struct Drive<'a> {
    document: &'a mut Document,
    state: State,
}

impl Document {
    /// This document as a drive.
    ///
    /// # Errors
    ///
    /// [`CrdtError::WrongKind`].
    pub fn drive(&mut self) -> Result<Drive<'_>, CrdtError> {
        self.expect_kind(DocumentKind::Drive)?;
        let state = State::evaluate(records(self));
        Ok(Drive { document: self, state })
    }
}

impl Drive<'_> {
    /// Sets the secret from which the keys of chunks are derived, so that the same content makes the same chunk inside
    /// this circle, and nowhere else. To be called once, by who creates the circle.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Invalid`] if there is one already.
    pub fn init_drive(&mut self, secret: [u8; 32]) -> Result<(), CrdtError> {
        if self.convergence_secret().is_some() {
            return Err(CrdtError::Invalid("the drive is set up already"));
        }
        self.document.put_root(CONVERGENCE_KEY.to_owned(), secret.to_vec())
    }

    /// The secret from which the keys of chunks are derived, if it has arrived. If several were set at the same time,
    /// the one of the least operation id.
    #[must_use]
    pub fn convergence_secret(&self) -> Option<[u8; 32]> {
        let values = self.document.automerge().get_all(ROOT, CONVERGENCE_KEY).ok()?;
        let secrets = values.iter().filter_map(|(value, id)| {
            let secret: [u8; 32] = value.as_bytes()?.try_into().ok()?;
            Some((VersionId::of_operation(id), secret))
        });
        secrets.min_by_key(|(id, _)| *id).map(|(_, secret)| secret)
    }

    /// Makes a folder. Its id comes from the 16 random bytes.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::NameTaken`]; [`CrdtError::Invalid`] or [`CrdtError::TooLarge`] if the name
    /// is none.
    pub fn mkdir(&mut self, parent: NodeId, name: &str, random: [u8; 16]) -> Result<NodeId, CrdtError> {
        let id = NodeId::folder(random);
        self.create(id, parent, name)?;
        Ok(id)
    }

    /// Adds a file. Its id comes from the 16 random bytes.
    ///
    /// # Errors
    ///
    /// As [`mkdir`](Self::mkdir), and [`CrdtError::TooLarge`] past [`VERSION_BYTES_MAX`].
    pub fn add_file(
        &mut self,
        parent: NodeId,
        name: &str,
        random: [u8; 16],
        file: &FileVersion,
    ) -> Result<NodeId, CrdtError> {
        let id = NodeId::file(random);
        // Encoded first, so that a file is added whole or not at all.
        let bytes = VersionRecord::encode(file, &[])?;
        self.create(id, parent, name)?;
        self.record(VERSION_PREFIX, id, bytes, Said::Content(file.clone(), Vec::new()))?;
        Ok(id)
    }

    /// Writes a new version of a file. It replaces every version known here, conflicts included.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::TooLarge`].
    pub fn put_version(&mut self, node: NodeId, file: &FileVersion) -> Result<(), CrdtError> {
        let entry = self.state.entry(node).filter(|_| !node.is_folder()).ok_or(CrdtError::NotFound("file"))?;
        let replaces: Vec<_> = entry.standing().rev().take(REPLACES_MAX).map(|version| version.id).collect();
        let bytes = VersionRecord::encode(file, &replaces)?;
        self.record(VERSION_PREFIX, node, bytes, Said::Content(file.clone(), replaces))
    }

    /// Every version of a file, newest first.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn versions(&self, node: NodeId) -> Result<Vec<Version>, CrdtError> {
        let entry = self.state.entry(node).filter(|_| !node.is_folder()).ok_or(CrdtError::NotFound("file"))?;
        Ok(entry.versions.iter().rev().cloned().collect())
    }

    /// Moves a file or folder to another folder.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::NameTaken`]; [`CrdtError::Invalid`] if the folder lies within what is
    /// moved.
    pub fn move_node(&mut self, node: NodeId, folder: NodeId) -> Result<(), CrdtError> {
        let entry = self.state.entry(node).ok_or(CrdtError::NotFound("file or folder"))?;
        if entry.parent == folder {
            return Ok(());
        }
        self.live_folder(folder)?;
        if !self.state.may_lie_in(node, folder) {
            return Err(CrdtError::Invalid("a folder cannot be moved into itself"));
        }
        self.free(folder, &entry.name)?;
        self.place(node, Some(folder), None)
    }

    /// Gives a file or folder another name.
    ///
    /// # Errors
    ///
    /// As [`mkdir`](Self::mkdir).
    pub fn rename(&mut self, node: NodeId, name: &str) -> Result<(), CrdtError> {
        let entry = self.state.entry(node).ok_or(CrdtError::NotFound("file or folder"))?;
        let name = name::normal(name)?;
        if entry.name == name {
            return Ok(());
        }
        self.free(entry.parent, &name)?;
        self.place(node, None, Some(&name))
    }

    /// Throws a file or folder away, with what is in it. It can be [restored](Self::restore).
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn trash(&mut self, node: NodeId) -> Result<(), CrdtError> {
        let entry = self.state.entry(node).ok_or(CrdtError::NotFound("file or folder"))?;
        if entry.parent == NodeId::TRASH { Ok(()) } else { self.place(node, Some(NodeId::TRASH), None) }
    }

    /// Takes a file or folder out of the trash, to where it was, or to the root if that is gone. Returns where to. Where
    /// its name was given away meanwhile, it is shown with a number.
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`] if it is not in the trash.
    pub fn restore(&mut self, node: NodeId) -> Result<NodeId, CrdtError> {
        let entry = self.state.entry(node).filter(|_| self.state.is_trashed(node));
        let entry = entry.ok_or(CrdtError::NotFound("file or folder in the trash"))?;
        let before = entry.trashed_from.unwrap_or(NodeId::ROOT);
        let is_usable = self.state.may_lie_in(node, before) && !self.state.is_trashed(before);
        let folder = if is_usable { before } else { NodeId::ROOT };
        self.place(node, Some(folder), None)?;
        Ok(folder)
    }

    /// The drive as people see it.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::of(&self.state)
    }

    /// What lies in a folder. As [`Tree::list`].
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`].
    pub fn list(&self, folder: NodeId) -> Result<Vec<Node>, CrdtError> {
        Ok(self.tree().list(folder)?.into_iter().cloned().collect())
    }

    /// What lies at a path. As [`Tree::resolve`].
    ///
    /// # Errors
    ///
    /// [`CrdtError::NotFound`], [`CrdtError::Invalid`].
    pub fn resolve(&self, path: &str) -> Result<NodeId, CrdtError> {
        self.tree().resolve(path)
    }

    /// Every file that is not in the trash.
    #[must_use]
    pub fn files(&self) -> Vec<Node> {
        self.tree().files().cloned().collect()
    }

    fn create(&mut self, id: NodeId, parent: NodeId, name: &str) -> Result<(), CrdtError> {
        if self.state.contains(id) {
            return Err(CrdtError::Invalid("these random bytes were used before; draw others"));
        }
        self.live_folder(parent)?;
        let name = name::normal(name)?;
        self.free(parent, &name)?;
        self.place(id, Some(parent), Some(&name))
    }

    /// For what is to be put into a folder: that it is one, and not in the trash.
    fn live_folder(&self, folder: NodeId) -> Result<(), CrdtError> {
        let is_live = folder.is_folder() && self.state.contains(folder) && !self.state.is_trashed(folder);
        if is_live { Ok(()) } else { Err(CrdtError::NotFound("folder")) }
    }

    fn free(&self, folder: NodeId, name: &str) -> Result<(), CrdtError> {
        if self.state.has_named(folder, name) { Err(CrdtError::NameTaken) } else { Ok(()) }
    }

    fn place(&mut self, node: NodeId, parent: Option<NodeId>, name: Option<&str>) -> Result<(), CrdtError> {
        let placement = Placement::new(parent, name);
        self.record(PLACE_PREFIX, node, placement.encode_to_vec(), Said::Place(placement))
    }

    /// Adds a record under the next free key of its node. Two devices may take the same key at the same time: then
    /// both values stand there, and both are records.
    fn record(&mut self, prefix: &str, node: NodeId, bytes: Vec<u8>, said: Said) -> Result<(), CrdtError> {
        let doc = self.document.automerge();
        let mut number = doc.map_range(ROOT, keys_of(prefix, node)).count();
        let mut key = format!("{prefix}{node}/{number}");
        while matches!(doc.get(ROOT, key.as_str()), Ok(Some(_))) {
            number += 1;
            key = format!("{prefix}{node}/{number}");
        }
        self.document.put_root(key.clone(), ScalarValue::Bytes(bytes))?;
        let written = self.document.automerge().get(ROOT, key);
        let Ok(Some((_, operation))) = written else { return Err(CrdtError::Internal("a record was not written")) };
        self.state.take(VersionId::of_operation(&operation), node, said);
        Ok(())
    }
}

/// The keys of the records about one node.
fn keys_of(prefix: &str, node: NodeId) -> std::ops::Range<String> {
    // '0' is the character after '/'.
    format!("{prefix}{node}/")..format!("{prefix}{node}0")
}

/// Every well-formed record of a document.
fn records(document: &Document) -> Vec<(VersionId, NodeId, Said)> {
    let mut records = Vec::new();
    for prefix in [PLACE_PREFIX, VERSION_PREFIX] {
        for item in document.root_items(prefix) {
            let Some(node) = node_of(&item.key, prefix) else { continue };
            let mut add = |bytes: &[u8], operation: &ObjId| {
                let said = match prefix {
                    PLACE_PREFIX => Placement::decode(bytes).ok().map(Said::Place),
                    _ => VersionRecord::read(bytes).map(|(file, replaces)| Said::Content(file, replaces)),
                };
                records.extend(said.map(|said| (VersionId::of_operation(operation), node, said)));
            };
            if item.conflict {
                let values = document.automerge().get_all(ROOT, item.key.as_ref()).unwrap_or_default();
                for (value, operation) in &values {
                    if let Value::Scalar(value) = value
                        && let ScalarValue::Bytes(bytes) = value.as_ref()
                    {
                        add(bytes, operation);
                    }
                }
            } else if let ValueRef::Scalar(ScalarValueRef::Bytes(bytes)) = &item.value {
                add(bytes, &item.id());
            }
        }
    }
    records
}

fn node_of(key: &str, prefix: &str) -> Option<NodeId> {
    key.strip_prefix(prefix)?.split('/').next()?.parse().ok()
}
