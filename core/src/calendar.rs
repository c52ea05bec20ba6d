//! The calendar of a space.

use clave_engine::DocumentId;
use clave_engine::crdt::DocumentKind;

use crate::Space;

/// The calendar of a space.
#[derive(Clone)]
pub struct Calendar {
    space: Space,
}

impl Calendar {
    pub(crate) fn new(space: Space) -> Self {
        Self { space }
    }

    fn document(&self) -> DocumentId {
        DocumentId::well_known(self.space.id, DocumentKind::Calendar, 0)
    }
}
