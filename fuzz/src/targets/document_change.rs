//! Changes from a member who writes what no honest program would.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjType, ROOT};
use clave_crdt::{Actor, Document, DocumentKind, inspect_change};
use sha2::{Digest, Sha256};

/// The actor of the changes in the seeds: 16 bytes of its author, then its stay and incarnation.
fn writer() -> ActorId {
    ActorId::from([&[12; 16][..], &[0; 4], &1u32.to_be_bytes()].concat())
}

pub(super) fn reader() -> Actor {
    Actor::new([13; 32], [0; 4], 1)
}

/// Puts the right checksum on a chunk (four bytes of magic, four of the hash of all that follows), so that mutations get
/// past it.
pub(super) fn mend(chunk: &[u8]) -> Option<Vec<u8>> {
    let body = chunk.get(8..)?;
    Some([&chunk[..4], &Sha256::digest(body)[..4], body].concat())
}

fn check(change: &[u8]) {
    let Ok(info) = inspect_change(change) else { return };
    for kind in DocumentKind::ALL {
        let mut document = Document::new(kind, reader());
        let before = document.heads();
        let Ok(applied) = document.apply(&[change]) else { continue };
        assert_eq!(applied.changed, document.contains(&info.hash), "changed, and yet not there, or the reverse");
        assert_eq!(applied.changed, document.heads() != before, "the heads do not say whether it changed");
        let Ok(saved) = document.save() else { continue };
        let mut again = Document::load(kind, reader(), Some(&saved), &[] as &[&[u8]]).expect("what was saved loads");
        assert_eq!(again.heads(), document.heads(), "what was saved is another document");
        let twice = again.apply(&[change]).expect("it was taken before");
        assert!(!twice.changed, "a change that was there changed the document");
    }
}

/// Inspects and applies the change as it is, and with its checksum mended.
pub fn run(data: &[u8]) {
    check(data);
    if let Some(mended) = mend(data) {
        check(&mended);
    }
}

/// Changes that somebody made to a document of each kind: texts, maps, lists, marks-like scalars, deletions.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    DocumentKind::ALL.into_iter().flat_map(changes).collect()
}

fn changes(kind: DocumentKind) -> Vec<Vec<u8>> {
    const SOUND: &str = "the edit is sound";
    let genesis = Document::new(kind, reader()).save().expect("nothing is uncommitted");
    let mut doc = AutoCommit::load(&genesis).expect("a document is an Automerge document").with_actor(writer());
    let start = doc.get_heads();
    let text = doc.put_object(ROOT, "extra", ObjType::Text).expect(SOUND);
    doc.splice_text(&text, 0, 0, "Grüße 👋 to all").expect(SOUND);
    doc.commit();
    let map = doc.put_object(ROOT, "more", ObjType::Map).expect(SOUND);
    doc.put(&map, "number", 7_i64).expect(SOUND);
    doc.put(&map, "bytes", vec![0_u8; 40]).expect(SOUND);
    let list = doc.put_object(&map, "list", ObjType::List).expect(SOUND);
    doc.insert(&list, 0, "first").expect(SOUND);
    doc.commit();
    doc.splice_text(&text, 0, 6, "").expect(SOUND);
    doc.delete(&map, "number").expect(SOUND);
    doc.delete(&list, 0).expect(SOUND);
    doc.commit();
    doc.get_changes(&start).iter().map(|change| change.raw_bytes().to_vec()).collect()
}
