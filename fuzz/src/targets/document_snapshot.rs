//! Snapshots of documents, from the store or from another member.

use clave_crdt::{Document, DocumentKind};

use super::document_change::{self, mend, reader};

/// Loads the bytes as a snapshot of each kind: as they are, and with their checksum mended.
pub fn run(data: &[u8]) {
    check(data);
    if let Some(mended) = mend(data) {
        check(&mended);
    }
}

fn check(data: &[u8]) {
    for kind in DocumentKind::ALL {
        let Ok(mut document) = Document::load(kind, reader(), Some(data), &[] as &[&[u8]]) else { continue };
        let Ok(saved) = document.save() else { continue };
        let again = Document::load(kind, reader(), Some(&saved), &[] as &[&[u8]]).expect("what was saved loads");
        assert_eq!(again.heads(), document.heads(), "what was saved is another document");
    }
}

/// An empty and a written document of each kind.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let written = document_change::seeds();
    DocumentKind::ALL
        .into_iter()
        .flat_map(|kind| [&[][..], &written].map(|changes| (kind, changes)))
        .map(|(kind, changes)| {
            let mut document = Document::new(kind, reader());
            document.apply(changes).expect("the seeds are sound");
            document.save().expect("nothing is uncommitted")
        })
        .collect()
}
