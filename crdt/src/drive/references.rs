//! Which contents a drive refers to, whatever is shown of it.

use std::collections::BTreeMap;

use super::record::VersionRecord;
use super::{VERSION_PREFIX, records};
use crate::drive::state::Said;
use crate::{CrdtError, Document, DocumentKind, FileVersion, NodeId};

impl Document {
    /// The contents that any version of any file has: in the trash or not, shown, set aside or waiting. With `newest`, of what is
    /// shown only that of so many of the newest versions of each file, at least one, and of those that are in conflict.
    ///
    /// # Errors
    ///
    /// [`CrdtError::WrongKind`].
    pub fn file_versions(&mut self, newest: Option<usize>) -> Result<Vec<FileVersion>, CrdtError> {
        self.expect_kind(DocumentKind::Drive)?;
        let hidden = self.hidden_values(VERSION_PREFIX);
        let mut versions: Vec<FileVersion> =
            hidden.iter().filter_map(|bytes| VersionRecord::read(bytes)).map(|(file, _)| file).collect();
        match newest {
            None => versions.extend(records(self).into_iter().filter_map(|(_, _, said)| match said {
                Said::Content(file, _) => Some(file),
                Said::Place(_) => None,
            })),
            Some(newest) => {
                let drive = self.drive()?;
                let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
                for node in drive.tree().nodes().filter(|node| !node.id.is_folder()) {
                    versions.extend(node.conflicts.iter().map(|version| version.file.clone()));
                    nodes.insert(node.id, newest.max(1));
                }
                for (node, newest) in nodes {
                    versions.extend(drive.versions(node)?.into_iter().take(newest).map(|version| version.file));
                }
            }
        }
        Ok(versions)
    }
}
