//! Remote changes into a long text: all in one call, as the engine does it, or one call each.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, Change, ObjType, ROOT};
use clave_crdt::{Actor, Document, DocumentKind};
use serde_json::Value;

use crate::Scale;
use crate::harness::{Group, prepared};

const SOUND: &str = "the edit is sound";

/// A note with `length` keystrokes in it, and `count` further keystrokes, a change each.
fn session(length: u32, count: u32) -> (Vec<u8>, Vec<Change>) {
    let reader = Actor::new([13; 32], [0; 4], 1);
    let genesis = Document::new(DocumentKind::Note, reader).save().expect("nothing is uncommitted");
    let writer = ActorId::from([&[12; 16][..], &1u32.to_be_bytes()].concat());
    let mut doc = AutoCommit::load(&genesis).expect("a document is an Automerge document").with_actor(writer);
    let text = doc.put_object(ROOT, "extra", ObjType::Text).expect(SOUND);
    let stroke = |doc: &mut AutoCommit, index: u32| {
        // Typing, with the cursor set elsewhere every hundred strokes.
        let at = if index.is_multiple_of(100) { index / 2 } else { index };
        doc.splice_text(&text, at as usize, 0, "x").expect(SOUND);
    };
    (0..length).for_each(|index| stroke(&mut doc, index));
    doc.commit();
    let (before, start) = (doc.save(), doc.get_heads());
    for index in length..length + count {
        stroke(&mut doc, index);
        doc.commit();
    }
    (before, doc.get_changes(&start))
}

pub fn groups(scale: Scale) -> Vec<Value> {
    let (length, count) = (scale.of(100_000, 1_000), scale.of(500, 20));
    let (snapshot, changes) = session(length, count);
    let bytes: Vec<Vec<u8>> = changes.iter().map(|change| change.raw_bytes().to_vec()).collect();
    let automerge = || AutoCommit::load(&snapshot).expect("it was saved right before");
    let document = || {
        Document::load(DocumentKind::Note, Actor::new([13; 32], [0; 4], 1), Some(&snapshot), &[] as &[&[u8]])
            .expect("it was saved right before")
    };
    let in_one_call = |mut doc: AutoCommit| {
        doc.apply_changes(changes.iter().cloned()).expect(SOUND);
        doc
    };
    let one_call_each = |mut doc: AutoCommit| {
        for change in &changes {
            doc.apply_changes([change.clone()]).expect(SOUND);
        }
        doc
    };
    let document_in_one_call = |mut document: Document| {
        let applied = document.apply(&bytes).expect("the changes are sound");
        assert!(applied.changed && applied.refused.is_empty());
        document
    };
    let document_one_call_each = |mut document: Document| {
        for change in &bytes {
            assert!(document.apply(&[change]).expect("the change is sound").changed);
        }
        document
    };
    let group = Group::new(format!("apply {count} remote keystrokes to a text of {length}"), count, "change")
        .with("automerge, one call", prepared(automerge, in_one_call))
        .with("automerge, a call each", prepared(automerge, one_call_each))
        .with("Document, one call", prepared(document, document_in_one_call))
        .with("Document, a call each", prepared(document, document_one_call_each));
    vec![group.measure(scale.rounds.min(9))]
}
